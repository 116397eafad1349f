from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from plimsoll.errors import Corrupt, InvalidInput, Untrusted
from plimsoll.registry import flavors

RANDOM = np.random.default_rng(3)
NUMBERS = RANDOM.random((200, 3))
LABEL = (NUMBERS[:, 0] + 0.3 * RANDOM.random(200) > 0.6).astype(int)
FRAME = pl.DataFrame({"a": NUMBERS[:, 0], "b": NUMBERS[:, 1], "carrier": [["UA", "AA", "B6"][row % 3] for row in range(200)]})


def forest(**settings: Any) -> Any:
    return RandomForestClassifier(5, random_state=0, **settings).fit(NUMBERS, LABEL)


def columns() -> Any:
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]), (OneHotEncoder(), ["carrier"]), sparse_threshold=0
    )


ESTIMATORS = {
    "logistic": lambda: LogisticRegression().fit(NUMBERS, LABEL),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(NUMBERS, LABEL),
    "categories": lambda: HistGradientBoostingClassifier(max_iter=3, categorical_features=["carrier"], random_state=0).fit(FRAME, LABEL),
    "forest": lambda: forest(n_jobs=2),
    "gradient": lambda: GradientBoostingClassifier(n_estimators=3, random_state=0).fit(NUMBERS, LABEL),
    "pipeline": lambda: make_pipeline(columns(), LogisticRegression()).fit(FRAME, LABEL),
    "stack": lambda: make_pipeline(columns(), StackingClassifier([("l", LogisticRegression()), ("f", forest())])).fit(FRAME, LABEL),
    "calibrated": lambda: make_pipeline(columns(), CalibratedClassifierCV(LogisticRegression())).fit(FRAME, LABEL),
    "regressor": lambda: HistGradientBoostingRegressor(max_iter=5, random_state=0).fit(NUMBERS, NUMBERS[:, 1]),
    "linear": lambda: LinearRegression().fit(NUMBERS, NUMBERS[:, 1]),
}


def rows_for(estimator: Any) -> Any:
    return FRAME if hasattr(estimator, "feature_names_in_") else NUMBERS


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_an_estimator_comes_back_with_the_same_answers_and_without_trust(kind: str, tmp_path: Path) -> None:
    estimator = ESTIMATORS[kind]()
    path = tmp_path / "model.skops"
    flavors.save(estimator, path)
    back = flavors.load(path)
    with flavors.one_thread(estimator):
        expected = flavors.output_rule(estimator)(rows_for(estimator))
    assert np.array_equal(flavors.output_rule(back)(rows_for(estimator)), expected)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_same_training_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    flavors.save(ESTIMATORS[kind](), tmp_path / "one")
    flavors.save(ESTIMATORS[kind](), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_class_that_is_not_known_here_needs_trust_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    neighbours = KNeighborsClassifier().fit(NUMBERS, LABEL)
    flavors.save(neighbours, path)
    with pytest.raises(Untrusted, match=r"sklearn\.neighbors\._kd_tree\.KDTree") as refused:
        flavors.load(path)
    assert "plimsoll models trust" in refused.value.remedy
    back = flavors.load(path, refused.value.details["types"])
    assert np.array_equal(back.predict_proba(NUMBERS), neighbours.predict_proba(NUMBERS))


def test_a_file_cannot_name_a_function_that_starts_a_program(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    flavors.save(make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(NUMBERS, LABEL), path)
    change_schema(path, '"__module__": "numpy"', '"__module__": "os"', '"log1p"', '"system"')
    with pytest.raises(Untrusted, match=r"os\.system"):
        flavors.load(path)


def my_own_scale(values: Any) -> Any:
    return values * 2


def test_code_of_the_project_inside_an_estimator_is_refused_when_it_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(my_own_scale, "__module__", "late_features")
    with pytest.raises(InvalidInput, match=r"late_features\.my_own_scale"):
        flavors.save(make_pipeline(FunctionTransformer(my_own_scale), LogisticRegression()).fit(NUMBERS, LABEL), tmp_path / "model.skops")
    assert not (tmp_path / "model.skops").exists()


def test_a_lambda_inside_an_estimator_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        flavors.save(
            make_pipeline(FunctionTransformer(lambda rows: rows), LogisticRegression()).fit(NUMBERS, LABEL), tmp_path / "model.skops"
        )


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken"])
def test_something_else_than_a_model_file_is_corrupt(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(Corrupt):
        flavors.load(tmp_path / "model.skops")


def test_a_forest_whose_branches_lead_outside_the_tree_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    estimator = HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(NUMBERS, LABEL)
    nodes = estimator._predictors[0][0].nodes
    nodes["left"][0] = 1_000_000
    flavors.save(estimator, path)
    with pytest.raises(Corrupt, match="outside the tree"):
        flavors.load(path)
    nodes["left"][0], nodes["feature_idx"][0] = 1, 77
    flavors.save(estimator, path)
    with pytest.raises(Corrupt, match="a feature that does not exist"):
        flavors.load(path)


def test_a_forest_that_lies_about_its_number_of_features_is_corrupt(tmp_path: Path) -> None:
    estimator = forest()
    estimator.n_features_in_ = 2
    flavors.save(estimator, tmp_path / "model.skops")
    with pytest.raises(Corrupt, match="another number of features"):
        flavors.load(tmp_path / "model.skops")


def test_what_cannot_answer_one_number_a_row_is_refused() -> None:
    three = np.arange(200) % 3
    words = np.where(LABEL == 1, "late", "on time")
    for estimator, message in (
        (LogisticRegression().fit(NUMBERS, three), r"\[0, 1, 2\]"),
        (LogisticRegression().fit(NUMBERS, words), "on time"),
        (LinearSVC().fit(NUMBERS, LABEL), "no probabilities"),
        (StandardScaler().fit(NUMBERS), "neither a classifier nor a regressor"),
        (LogisticRegression(), "not fitted"),
        (object(), "not a scikit-learn estimator"),
    ):
        with pytest.raises(InvalidInput, match=message):
            flavors.output_rule(estimator)


def test_the_answer_of_a_classifier_is_the_probability_of_class_1() -> None:
    estimator = LogisticRegression().fit(NUMBERS, LABEL.astype(bool))
    assert np.array_equal(flavors.output_rule(estimator)(NUMBERS), estimator.predict_proba(NUMBERS)[:, 1])


def test_the_number_of_threads_is_the_users_again_after_the_block(tmp_path: Path) -> None:
    estimator = forest(n_jobs=2)
    with flavors.one_thread(estimator):
        assert estimator.n_jobs is None
    assert estimator.n_jobs == 2
    flavors.save(estimator, tmp_path / "model.skops")
    assert flavors.load(tmp_path / "model.skops").n_jobs is None


def test_a_description_is_plain_and_holds_no_addresses() -> None:
    estimator = make_pipeline(FunctionTransformer(np.log1p), SimpleImputer(), forest(n_jobs=2))
    described = flavors.describe(estimator)
    text = json.dumps(described, allow_nan=False)
    assert described["class"] == "sklearn.pipeline.Pipeline"
    assert " at 0x" not in text
    assert "RandomForestClassifier" in text


def change_schema(path: Path, *replacements: str) -> None:
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = members["schema.json"].decode()
    at = schema.index('"log1p"')
    part = schema[at - 200 : at + 200]
    changed = part
    for old, new in zip(replacements[::2], replacements[1::2], strict=True):
        assert old in changed
        changed = changed.replace(old, new)
    members["schema.json"] = schema.replace(part, changed).encode()
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
