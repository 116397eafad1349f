"""Models in MLflow's layout become packages: read as their files say, and only what a person has allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import polars as pl
import pytest
import sklearn
import skops.io
import yaml
from sklearn.linear_model import LogisticRegression

from plimsoll.data.snapshot import get_tree
from plimsoll.data.tables.table import put_table
from plimsoll.errors import Corrupt, Denied, InvalidInput, PlimsollError, Refused, Untrusted
from plimsoll.records.data import RegisterSnapshot
from plimsoll.records.model import GetVersion, ListGrants, TrustPackage, Version
from plimsoll.records.registry.catalog import AdoptFiles, CreateModel
from plimsoll.records.registry.packing import PackVersion
from plimsoll.records.run import LogArtifact, StartRun
from plimsoll.registry.mlflow.packing import ORIGIN
from plimsoll.registry.package import open_package
from tests.unit.yard import Yard

DECLARED = """
[tool.plimsoll.models.late]
goal = "Say what is late."
label = "late"
unit = "id"
time = "at"
costs = { false_alarm = 1.0, missed = 3.0 }
"""

chance = np.random.default_rng(1)
ROWS = pl.DataFrame({"a": chance.normal(size=60), "b": chance.normal(size=60), "n": range(60)})
LABELS = (ROWS["a"] > 0).cast(pl.Int64)
DATA = ROWS.with_columns(late=LABELS, id=pl.int_range(60), at=pl.datetime(2026, 1, 1, time_zone="UTC"))
INPUTS = [{"type": kind, "name": name, "required": True} for kind, name in (("double", "a"), ("double", "b"), ("long", "n"))]


@pytest.fixture(scope="module")
def estimator() -> LogisticRegression:
    """A fitted model."""
    return LogisticRegression(max_iter=1000).fit(ROWS.to_pandas(), LABELS)


def document(form: str, **more: Any) -> dict[str, Any]:
    """Return what MLflow writes of such a model."""
    file = "model.skops" if form == "skops" else "model.pkl"
    flavor = {"code": None, "pickled_model": file, "serialization_format": form, "sklearn_version": sklearn.__version__}
    example = {"artifact_path": "input_example.json", "pandas_orient": "split", "type": "dataframe"}
    return {
        "flavors": {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": flavor},
        "saved_input_example_info": example,
        "signature": {"inputs": json.dumps(INPUTS), "outputs": '[{"type": "long", "required": true}]', "params": None},
        **more,
    }


def files(estimator: Any, form: str, **more: Any) -> dict[str, bytes]:
    """Return the files of a model as MLflow writes them."""
    written = document(form, **more)
    model = skops.io.dumps(estimator) if form == "skops" else cloudpickle.dumps(estimator)
    example = {"columns": ROWS.columns, "data": [list(row) for row in ROWS.head(3).rows()]}
    return {
        "MLmodel": yaml.safe_dump(written).encode(),
        "model.skops" if form == "skops" else "model.pkl": model,
        "input_example.json": json.dumps(example).encode(),
    }


def logged(yard: Yard, contents: dict[str, bytes], name: str = "late") -> Version:
    """Keep files in a run of Dana's and register them."""
    do, blobs = yard.workspace.do, yard.workspace.stores.blobs
    (yard.workspace.project / "pyproject.toml").write_text(DECLARED)
    run = do(StartRun(experiment="late"), yard.dana)
    for path, data in contents.items():
        do(LogArtifact(run_id=run.id, name=f"m/{path}", kind="file", digest=blobs.put(data), size=len(data)), yard.dana)
    do(CreateModel(name=name), yard.dana)
    return do(AdoptFiles(model=name, owner=run.id, path="m", source=f"runs:/{run.id}/m"), yard.dana)


def snapshot(yard: Yard, name: str, frame: pl.DataFrame) -> str:
    digest, _ = put_table(yard.workspace.stores.blobs, frame)
    return yard.workspace.do(RegisterSnapshot(name=name, digest=digest), yard.dana).digest


def pack(yard: Yard, **more: str) -> Version:
    return yard.workspace.do(PackVersion(ref="late/1", **more), yard.dana)


def test_a_model_that_names_only_harmless_classes_becomes_a_package_that_answers_alike(
    yard: Yard, estimator: LogisticRegression, tmp_path: Path
) -> None:
    logged(yard, files(estimator, "skops"))
    snapshot(yard, "trains", DATA.head(40))
    made = pack(yard, training="trains", holdout=snapshot(yard, "held", DATA.tail(20)))
    assert (made.number, made.author, made.tags, sorted(made.package.data)) == (2, "dana", {ORIGIN: "late/1"}, ["holdout", "training"])
    assert [(column.name, column.dtype) for column in made.package.signature.inputs] == [("a", "Float64"), ("b", "Float64"), ("n", "Int64")]
    get_tree(yard.workspace.stores.blobs, made.digest, tmp_path / "package")
    answers = open_package(tmp_path / "package", made.digest, trusted=False).predict(ROWS)
    assert answers == pytest.approx(estimator.predict_proba(ROWS.to_pandas())[:, 1])
    # The same files give the version that they are.
    assert pack(yard, training="trains", holdout="held").number == 2


def test_a_pickle_is_read_only_after_a_person_has_allowed_that_for_these_files(yard: Yard, estimator: LogisticRegression) -> None:
    version = logged(yard, files(estimator, "cloudpickle"))
    with pytest.raises(Untrusted, match="plimsoll models trust late/1"):
        pack(yard)
    yard.workspace.do(TrustPackage(digest=version.digest, reason="mine"), yard.nora)
    assert [grant.actor for grant in yard.workspace.do(ListGrants(digest=version.digest), yard.dana)] == ["nora"]
    assert pack(yard).package.estimator["class"] == "sklearn.linear_model._logistic.LogisticRegression"


class Evil:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_nothing_of_a_refused_model_runs(yard: Yard, tmp_path: Path) -> None:
    logged(yard, files(Evil(tmp_path / "mark"), "pickle"))
    with pytest.raises(Untrusted):
        pack(yard)
    assert not (tmp_path / "mark").exists()


def changed(**more: Any) -> dict[str, Any]:
    return document("skops") | more


def flavored(**more: Any) -> dict[str, Any]:
    known = document("skops")
    known["flavors"]["sklearn"] |= more
    return known


@pytest.mark.parametrize(
    ("written", "error", "told"),
    [
        (changed(flavors={"spacy": {}, "pytorch": {}}), Refused, "has the flavours pytorch, spacy"),
        (changed(flavors={"xgboost": {"data": "model.bin", "model_format": "bin"}}), Refused, "is written as 'bin'"),
        (changed(flavors=None), Refused, "has the flavours none"),
        (changed(flavors={"sklearn": {"code": "code"}}), Refused, "brings code of its own"),
        (flavored(serialization_format="dill"), Refused, "is written as 'dill'"),
        (flavored(sklearn_version="0.20.1"), Refused, "was made with scikit-learn 0.20.1"),
        (flavored(pickled_model="../../secrets/owner"), Corrupt, "has no file '../../secrets/owner'"),
        (flavored(pickled_model="/etc/passwd"), Corrupt, "has no file '/etc/passwd'"),
        (changed(signature={"inputs": '[{"type": "binary", "name": "a"}]'}), Refused, "MLflow's type 'binary'"),
        (changed(signature={"inputs": "{"}), Corrupt, "signature of late/1 cannot be read"),
        (changed(signature={"inputs": '[{"type": "string", "name": "z"}]'}), Corrupt, "does not fit its signature"),
        (changed(saved_input_example_info=None), InvalidInput, "keeps no example"),
    ],
)
def test_what_cannot_become_a_package_says_why(
    yard: Yard, estimator: LogisticRegression, written: dict[str, Any], error: type[PlimsollError], told: str
) -> None:
    logged(yard, files(estimator, "skops") | {"MLmodel": yaml.safe_dump(written).encode()})
    with pytest.raises(error, match=told.replace("(", r"\(")):
        pack(yard)
    assert yard.workspace.do(GetVersion(ref="late"), yard.dana).number == 1


@pytest.mark.parametrize("text", [b"", b"- 1", b"a: &x [*x", b"!!python/object/apply:os.system ['true']", b"\xff\xfe\x00"])
def test_a_document_that_is_none_is_damaged(yard: Yard, estimator: LogisticRegression, text: bytes) -> None:
    logged(yard, files(estimator, "skops") | {"MLmodel": text})
    with pytest.raises(Corrupt, match="MLmodel of late/1"):
        pack(yard)


def test_without_an_example_the_data_shows_what_the_rows_look_like(yard: Yard, estimator: LogisticRegression) -> None:
    logged(yard, files(estimator, "skops", saved_input_example_info=None))
    snapshot(yard, "held", DATA)
    assert [column.name for column in pack(yard, holdout="held").package.signature.inputs] == ["a", "b", "n"]


def test_a_package_is_packed_once_and_is_the_work_of_its_own_author(yard: Yard, estimator: LogisticRegression) -> None:
    logged(yard, files(estimator, "skops"))
    with pytest.raises(Denied, match="is the work of dana"):
        yard.workspace.do(PackVersion(ref="late/1"), yard.owner)
    made = pack(yard)
    with pytest.raises(Refused, match="late/2 is a package already"):
        yard.workspace.do(PackVersion(ref=f"late/{made.number}"), yard.dana)
