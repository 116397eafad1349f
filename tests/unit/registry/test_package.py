from __future__ import annotations

import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from plimsoll import codec
from plimsoll.data.project import load_object
from plimsoll.data.snapshot import get_tree
from plimsoll.data.tables.table import get_table, put_table
from plimsoll.data.values import load, save
from plimsoll.errors import Corrupt, InvalidInput, Refused, Untrusted
from plimsoll.monitoring.sketches import Profile
from plimsoll.records.model import Costs, PackageMeta, Purpose
from plimsoll.registry.package import Model, open_package, read_answers, read_meta
from plimsoll.registry.requirements import RequirementWarning, check
from plimsoll.store.blobs import LocalBlobs

PURPOSE = Purpose(goal="Say who is late.", label="late", unit="id", time="at", costs=Costs(false_alarm=1.0, missed=2.0))

PROJECT = """
[tool.plimsoll.models.declared]
goal = "Say who is late."
label = "late"
unit = "id"
time = "at"
costs = { false_alarm = 1.0, missed = 2.0 }
"""

FEATURES = """
import polars as pl

from trial_rates import RATE

RATES = [RATE]

def features(rows):
    return rows.select(pl.col("a").cast(pl.Float64) * RATE, "b", pl.col("at").dt.hour().cast(pl.Float64).alias("hour"))

def ranked(rows):
    return rows.select(pl.col("a").rank().cast(pl.Float64), "b", pl.col("at").dt.hour().cast(pl.Float64).alias("hour"))

def dummies(rows):
    return rows.select("carrier").to_dummies()

def shorter(rows):
    return rows.select("b").head(1)
"""


def flights(count: int) -> pl.DataFrame:
    random = np.random.default_rng(7)
    start = datetime(2013, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "id": [f"flight {row}" for row in range(count)],
            "at": [start + timedelta(minutes=20 * row) for row in range(count)],
            "a": random.integers(0, 100, count),
            "b": random.random(count),
            "carrier": [["UA", "AA", "B6"][row % 3] for row in range(count)],
        }
    )
    return frame.with_columns(late=(pl.col("b") + pl.col("a") / 100 > 1.1).cast(pl.Int8))


ROWS = flights(1500)
TRAINING, HOLDOUT = ROWS.head(1200), ROWS.tail(300)
INPUTS = ["at", "a", "b", "carrier"]
EXAMPLE = TRAINING.select(INPUTS).head(5)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "trial_features.py").write_text(FEATURES)
    (folder / "trial_rates.py").write_text("RATE = 2.0\n")
    path = list(sys.path)
    yield folder
    sys.path[:] = path
    for name in ("trial_features", "trial_rates"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def feature(project: Path) -> Callable[[str], Any]:
    return lambda name: load_object(project, f"trial_features.py:{name}")


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture(scope="module")
def model(feature: Callable[[str], Any]) -> Model:
    features = feature("features")
    estimator = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(features(TRAINING), TRAINING["late"].to_numpy())
    return Model(estimator, name="late", example=EXAMPLE, features=features, training=TRAINING, holdout=HOLDOUT, purpose=PURPOSE)


def plain(name: str = "late", **changed: Any) -> Model:
    """A model without a feature function."""
    estimator = LogisticRegression().fit(TRAINING.select("a", "b"), TRAINING["late"].to_numpy())
    return Model(**{"estimator": estimator, "name": name, "example": EXAMPLE.select("a", "b"), "purpose": PURPOSE} | changed)


def unpacked(model: Model, blobs: LocalBlobs, project: Path, folder: Path) -> str:
    digest = save(model, blobs, project).digest
    get_tree(blobs, digest, folder)
    return digest


def test_a_package_answers_exactly_as_the_model_it_was_made_from(model: Model, blobs: LocalBlobs, project: Path, tmp_path: Path) -> None:
    digest = unpacked(model, blobs, project, tmp_path / "package")
    opened = open_package(tmp_path / "package", digest, trusted=True)
    assert np.array_equal(opened.predict(HOLDOUT), model.predict(HOLDOUT))
    assert opened.signature == model.signature
    assert opened.example.equals(EXAMPLE)


def test_a_step_gets_back_the_model_that_another_step_returned(model: Model, blobs: LocalBlobs, project: Path) -> None:
    output = save(model, blobs, project)
    back = load(output, blobs, project=project)
    assert np.array_equal(back.predict(HOLDOUT), model.predict(HOLDOUT))
    assert save(back, blobs, project) == output, "returning it again must not make another package"


def test_a_steps_model_runs_only_code_that_is_the_projects_own_now_or_that_is_trusted(
    model: Model, blobs: LocalBlobs, project: Path, tmp_path: Path
) -> None:
    output = save(model, blobs, project)
    with pytest.raises(Untrusted, match="feature code"):
        load(output, blobs)
    edited = tmp_path / "edited"
    shutil.copytree(project, edited)
    (edited / "trial_rates.py").write_text("RATE = 3.0\n")
    with pytest.raises(Untrusted, match="plimsoll models trust"):
        load(output, blobs, project=edited)
    assert np.array_equal(load(output, blobs, project=edited, trusted=True).predict(HOLDOUT), model.predict(HOLDOUT))


def test_the_projects_own_code_does_not_vouch_for_unknown_classes_in_a_model_file(blobs: LocalBlobs, project: Path) -> None:
    estimator = make_pipeline(FunctionTransformer(np.linalg.norm, kw_args={"axis": 1, "keepdims": True}), LogisticRegression())
    model = plain(estimator=estimator.fit(TRAINING.select("a", "b").to_numpy(), TRAINING["late"].to_numpy()))
    output = save(model, blobs, project)
    with pytest.raises(Untrusted):
        load(output, blobs, project=project)
    assert np.array_equal(load(output, blobs, trusted=True).predict(HOLDOUT), model.predict(HOLDOUT))


def test_the_same_model_is_the_same_package(model: Model, blobs: LocalBlobs, project: Path) -> None:
    assert save(model, blobs, project) == save(model, blobs, project)


def test_predict_takes_polars_pandas_and_columns_alike(model: Model) -> None:
    rows = HOLDOUT.select(INPUTS).head(20)
    expected = model.predict(rows)
    columns = rows.to_dict(as_series=False)
    text = {**columns, "at": [moment.isoformat() for moment in columns["at"]]}
    assert expected.dtype == np.float64
    assert expected.shape == (20,)
    for given in (pandas.DataFrame(columns), columns, text, HOLDOUT.head(20), rows.select(reversed(INPUTS))):
        assert np.array_equal(model.predict(given), expected)


def test_no_rows_get_no_answers(model: Model) -> None:
    assert model.predict(HOLDOUT.head(0)).shape == (0,)


def test_rows_that_do_not_fit_are_refused_by_name(model: Model) -> None:
    with pytest.raises(InvalidInput, match="'b'"):
        model.predict(HOLDOUT.drop("b"))
    with pytest.raises(InvalidInput, match="'b'"):
        model.predict(HOLDOUT.with_columns(b=pl.lit("much")))


def test_code_runs_only_after_somebody_trusted_the_package(model: Model, blobs: LocalBlobs, project: Path, tmp_path: Path) -> None:
    digest = unpacked(model, blobs, project, tmp_path / "package")
    with pytest.raises(Untrusted, match="feature code"):
        open_package(tmp_path / "package", digest, trusted=False)


def test_a_package_without_code_opens_without_trust(blobs: LocalBlobs, project: Path, tmp_path: Path) -> None:
    model = plain()
    digest = unpacked(model, blobs, project, tmp_path / "package")
    opened = open_package(tmp_path / "package", digest, trusted=False)
    assert np.array_equal(opened.predict(HOLDOUT), model.predict(HOLDOUT))


def test_an_estimator_of_unknown_classes_opens_only_with_trust(blobs: LocalBlobs, project: Path, tmp_path: Path) -> None:
    estimator = KNeighborsClassifier().fit(TRAINING.select("a", "b"), TRAINING["late"].to_numpy())
    digest = unpacked(plain(estimator=estimator), blobs, project, tmp_path / "package")
    with pytest.raises(Untrusted, match="KDTree"):
        open_package(tmp_path / "package", digest, trusted=False)
    assert open_package(tmp_path / "package", digest, trusted=True).predict(HOLDOUT).shape == (300,)


@pytest.mark.parametrize("name", ["package.json", "model.skops", "answers.parquet", "code/trial_features.py", "data/training.json"])
def test_a_changed_file_makes_the_package_corrupt(name: str, model: Model, blobs: LocalBlobs, project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    digest = unpacked(model, blobs, project, folder)
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(Corrupt):
        open_package(folder, digest, trusted=True)


def test_an_added_or_removed_file_makes_the_package_corrupt(model: Model, blobs: LocalBlobs, project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    digest = unpacked(model, blobs, project, folder)
    (folder / "code" / "polars.py").write_text("")
    with pytest.raises(Corrupt):
        open_package(folder, digest, trusted=True)
    (folder / "code" / "polars.py").unlink()
    open_package(folder, digest, trusted=True)
    (folder / "profile.msgpack").unlink()
    with pytest.raises(Corrupt):
        open_package(folder, digest, trusted=True)


def test_the_packed_data_are_snapshots_under_their_own_digests(model: Model, blobs: LocalBlobs, project: Path) -> None:
    back = load(save(model, blobs, project), blobs, trusted=True)
    assert back.meta.data.keys() == {"training", "holdout"}
    assert get_table(blobs, back.meta.data["training"]).equals(TRAINING)
    assert back.meta.data["holdout"] == put_table(blobs, HOLDOUT)[0]


def test_the_reference_holds_what_training_computed_on_rows_it_never_saw(
    model: Model, blobs: LocalBlobs, project: Path, tmp_path: Path
) -> None:
    unpacked(model, blobs, project, tmp_path / "package")
    reference = read_answers(tmp_path / "package", read_meta(tmp_path / "package"))
    assert reference.rows.equals(HOLDOUT.select(INPUTS))
    assert np.array_equal(reference.answers, model.predict(HOLDOUT))


def test_the_profile_counts_the_data_and_only_answers_to_unseen_rows(
    model: Model, blobs: LocalBlobs, project: Path, tmp_path: Path
) -> None:
    unpacked(model, blobs, project, tmp_path / "package")
    profile = Profile.from_bytes((tmp_path / "package" / "profile.msgpack").read_bytes())
    assert profile.rows == 1500
    assert profile.reference["prediction"].sum() == 300
    assert len(profile.days) == 21, "1,500 rows of 20 minutes are 21 days"


def test_the_purpose_comes_from_the_project_when_it_is_not_given(blobs: LocalBlobs, project: Path) -> None:
    back = load(save(plain("declared", purpose=None), blobs, project), blobs)
    assert back.meta.purpose.goal == "Say who is late."
    with pytest.raises(InvalidInput, match=r"\[tool\.plimsoll\.models\.late\]|what the model 'late' is for"):
        save(plain(purpose=None), blobs, project)


def test_package_json_says_what_the_model_is_made_of(model: Model, blobs: LocalBlobs, project: Path, tmp_path: Path) -> None:
    unpacked(model, blobs, project, tmp_path / "package")
    meta = codec.from_json((tmp_path / "package" / "package.json").read_bytes(), PackageMeta)
    assert (meta.model, meta.flavor, meta.features) == ("late", "sklearn", "trial_features:features")
    assert {"scikit-learn", "numpy", "polars", "skops", "python"} <= meta.requirements.keys()
    assert meta.estimator["params"]["max_iter"] == 10
    assert {path.name for path in (tmp_path / "package" / "code").rglob("*.py")} == {"trial_features.py", "trial_rates.py"}


def test_features_that_look_at_other_rows_are_refused(feature: Callable[[str], Any]) -> None:
    for name, fitted in (("ranked", ("a", "b", "hour")), ("dummies", ("carrier_AA", "carrier_B6", "carrier_UA")), ("shorter", ("b",))):
        features = feature(name)
        made = features(TRAINING) if name != "shorter" else TRAINING.select("b")
        assert made.columns == list(fitted)
        estimator = LogisticRegression().fit(made, TRAINING["late"].to_numpy())
        with pytest.raises(InvalidInput, match=name):
            Model(estimator, name="late", example=EXAMPLE, features=features)


def test_an_estimator_that_looks_at_other_rows_is_refused() -> None:
    estimator = make_pipeline(FunctionTransformer(np.argsort, kw_args={"axis": 0}), LogisticRegression())
    estimator.fit(TRAINING.select("a", "b").to_numpy(), TRAINING["late"].to_numpy())
    with pytest.raises(InvalidInput, match="when it is alone"):
        plain(estimator=estimator)


def test_parts_that_do_not_fit_each_other_are_refused(project: Path, blobs: LocalBlobs) -> None:
    for changed, message in (
        ({"example": EXAMPLE.select("a", "b").head(1)}, "1 rows"),
        ({"training": TRAINING.drop("a")}, "training data does not fit"),
        ({"holdout": HOLDOUT.head(0)}, "holdout data has no rows"),
        ({"features": lambda rows: rows}, "not a plain function"),
        ({"name": "../late"}, "not a valid name"),
    ):
        with pytest.raises(InvalidInput, match=message):
            plain(**changed)
    with pytest.raises(InvalidInput, match="lacks the label"):
        save(plain(training=TRAINING.drop("late")), blobs, project)
    leaking = LogisticRegression().fit(TRAINING.select("a", "late"), TRAINING["late"].to_numpy())
    with pytest.raises(InvalidInput, match="one of the model's inputs"):
        save(plain(estimator=leaking, example=TRAINING.select("a", "late").head(3)), blobs, project)


def test_a_model_whose_packed_code_would_answer_differently_is_refused(
    model: Model, blobs: LocalBlobs, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What runs is no longer what the file says.
    monkeypatch.setattr(sys.modules["trial_features"], "RATE", 3.0)
    with pytest.raises(InvalidInput, match="answers differently"):
        save(model, blobs, project)


def test_answers_of_a_forest_do_not_depend_on_its_threads(blobs: LocalBlobs, project: Path) -> None:
    made = []
    for jobs in (1, 2):
        estimator = RandomForestClassifier(20, n_jobs=jobs, random_state=0).fit(TRAINING.select("a", "b"), TRAINING["late"].to_numpy())
        made.append(load(save(plain(estimator=estimator), blobs, project), blobs).predict(HOLDOUT))
    assert np.array_equal(*made)


def test_another_release_of_the_library_is_refused_and_a_small_difference_warned_about(blobs: LocalBlobs, project: Path) -> None:
    meta = load(save(plain(), blobs, project), blobs).meta
    major, minor, patch = meta.requirements["scikit-learn"].split(".")[:3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(meta)
    meta.requirements["scikit-learn"] = f"{major}.{int(minor) + 1}.0"
    with pytest.raises(Refused, match=f"made with scikit-learn {major}.{int(minor) + 1}.0"):
        check(meta)
    meta.requirements["scikit-learn"] = f"{major}.{minor}.{int(patch) + 1}"
    with pytest.warns(RequirementWarning, match="scikit-learn"):
        check(meta)
