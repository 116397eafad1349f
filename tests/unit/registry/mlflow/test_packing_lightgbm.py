"""LightGBM's models become packages: a booster's text is data, its estimators are read as any pickle, and served is the text alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import polars as pl
import pytest
import skops.io
import yaml

from plimsoll.data.snapshot import get_tree
from plimsoll.errors import Corrupt, PlimsollError, Refused, Untrusted
from plimsoll.records.model import TrustPackage, Version
from plimsoll.registry.package import Model, open_package
from tests.unit.registry.mlflow.test_packing import LABELS, ROWS, document, files, logged, pack
from tests.unit.yard import Yard

lightgbm: Any = pytest.importorskip("lightgbm", reason="The package lightgbm is not here. Install it with: pip install 'plimsoll[test]'")

PANDAS = ROWS.to_pandas()
QUIET = {"n_jobs": 1, "verbose": -1, "min_child_samples": 3}


def trained(rows: Any = PANDAS, labels: Any = None, **params: Any) -> Any:
    """Return a booster of five trees."""
    given = {"objective": "binary", "num_threads": 1, "verbose": -1, "min_data_in_leaf": 3, **params}
    return lightgbm.train(given, lightgbm.Dataset(rows, LABELS.to_numpy() if labels is None else labels), 5)


def grown_files(model: Any, form: str = "text") -> dict[str, bytes]:
    """Return the files of a model as MLflow's flavour of LightGBM writes them: in 3 it names a format of a booster as well."""
    name = {"text": "model.lgb", "skops": "model.skops"}.get(form, "model.pkl")
    kind = f"{type(model).__module__}.{type(model).__name__}"
    flavor = {"code": None, "data": name, "lgb_version": lightgbm.__version__, "model_class": kind, "serialization_format": "skops"}
    flavor |= {} if form == "text" else {"serialization_format": form}
    if form == "pickle":
        del flavor["serialization_format"]
    written = document("skops", flavors={"python_function": {"loader_module": "mlflow.lightgbm"}, "lightgbm": flavor})
    data = {"text": lambda: model.model_to_string().encode(), "skops": lambda: skops.io.dumps(model)}.get(
        form, lambda: cloudpickle.dumps(model)
    )
    return files(None, "skops") | {"MLmodel": yaml.safe_dump(written).encode(), name: data()}


def answers_of(yard: Yard, made: Version, place: Path, rows: pl.DataFrame = ROWS) -> Any:
    """Return what the package answers where nobody has allowed anything."""
    get_tree(yard.workspace.stores.blobs, made.digest, place)
    return open_package(place, made.digest, trusted=False).predict(rows)


def test_a_booster_needs_no_grant_to_be_packed_and_none_to_be_served(yard: Yard, tmp_path: Path) -> None:
    booster = trained()
    logged(yard, grown_files(booster))
    made = pack(yard)
    assert (made.package.flavor, made.package.types) == ("lightgbm", ())
    assert made.package.estimator["params"] == {"objective": "binary sigmoid:1", "trees": 5, "columns": 3}
    assert "lightgbm" in made.package.requirements
    assert answers_of(yard, made, tmp_path / "package").tolist() == booster.predict(PANDAS).tolist()
    assert sorted(path.name for path in (tmp_path / "package").iterdir()) == [
        "answers.parquet",
        "example.parquet",
        "model.txt",
        "package.json",
    ]


@pytest.mark.parametrize("form", ["skops", "cloudpickle", "pickle"])
def test_an_estimator_is_read_under_a_grant_and_served_without_one(yard: Yard, tmp_path: Path, form: str) -> None:
    classifier = lightgbm.LGBMClassifier(n_estimators=5, **QUIET).fit(PANDAS, LABELS)
    version = logged(yard, grown_files(classifier, form))
    with pytest.raises(Untrusted, match="plimsoll models trust late/1"):
        pack(yard)
    yard.workspace.do(TrustPackage(digest=version.digest, reason="mine"), yard.nora)
    assert answers_of(yard, pack(yard), tmp_path / "package").tolist() == classifier.predict_proba(PANDAS)[:, 1].tolist()


def test_a_regressor_and_categories_as_whole_numbers_answer_alike(yard: Yard, tmp_path: Path) -> None:
    regressor = lightgbm.LGBMRegressor(n_estimators=5, min_data_per_group=1, cat_smooth=1, max_cat_to_onehot=1, **QUIET)
    regressor.fit(PANDAS.assign(n=PANDAS.n % 7), 9 * (PANDAS.n % 7 == 3) + PANDAS.a, categorical_feature=["n"])
    assert "num_cat=1" in regressor.booster_.model_to_string()
    logged(yard, grown_files(regressor.booster_))
    rows = ROWS.with_columns(n=pl.when(pl.col("n") % 5 == 0).then(None).otherwise(pl.col("n") % 7), a=pl.when(pl.col("n") > 9).then("a"))
    answers = answers_of(yard, pack(yard), tmp_path / "package", rows)
    assert answers.tolist() == regressor.predict(rows.to_pandas()).tolist()


def test_whole_numbers_that_float32_cannot_hold_are_told_apart(tmp_path: Path) -> None:
    rows = pl.DataFrame({"id": [2**24 + step % 2 for step in range(60)]})
    booster = trained(rows.to_pandas(), [step % 2 for step in range(60)])
    assert Model(booster, name="late", example=rows.head(3)).predict(rows).tolist() == booster.predict(rows.to_pandas()).tolist()
    assert len(set(booster.predict(rows.to_pandas()))) == 2


@pytest.mark.parametrize(
    ("contents", "error", "told"),
    [
        (lambda: grown_files(trained(objective="multiclass", num_class=2)), Refused, "for 2 classes"),
        (lambda: grown_files(trained(objective=_own)), Refused, "of its own"),
        (lambda: grown_files(trained()) | {"model.lgb": b"tree\nnonsense"}, Corrupt, "model.lgb of late/1 cannot be read"),
        (lambda: grown_files(trained(linear_tree=True)), Corrupt, "leaves are linear models"),
        (lambda: grown_files(trained(PANDAS.assign(n=(PANDAS.n % 3).astype("category")))), Refused, "categories of pandas"),
        (lambda: grown_files(trained(PANDAS[["n", "b", "a"]])), Refused, "fitted to the columns n, b, a, and its signature says a, b, n"),
    ],
)
def test_a_booster_that_cannot_become_a_package_says_why(yard: Yard, contents: Any, error: type[PlimsollError], told: str) -> None:
    logged(yard, contents())
    with pytest.raises(error, match=told):
        pack(yard)


def _own(guesses: Any, data: Any) -> Any:
    return guesses - data.get_label(), np.ones_like(guesses)


def test_a_classifier_of_other_classes_is_refused_under_a_grant_too(yard: Yard) -> None:
    version = logged(yard, grown_files(lightgbm.LGBMClassifier(n_estimators=2, **QUIET).fit(PANDAS, LABELS + 1), "cloudpickle"))
    yard.workspace.do(TrustPackage(digest=version.digest, reason="mine"), yard.nora)
    with pytest.raises(Refused, match=r"trained on the classes \[1, 2\]"):
        pack(yard)
