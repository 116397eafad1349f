"""The way of a ``python_function`` that MLflow's own client wrote: nothing of it runs without a grant, with one it goes into production."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from plimsoll.data.snapshot import get_tree
from plimsoll.errors import Untrusted
from plimsoll.records.deployment import ApproveRelease, CreateRelease, GetRelease
from plimsoll.records.model import CheckVersion, GetReport, GetVersion, TrustPackage
from plimsoll.records.registry.packing import PackVersion
from plimsoll.registry.package import open_package
from plimsoll.registry.requirements import RequirementWarning
from tests.flows.real_platform import Platform, until
from tests.wire.conftest import Served, work
from tests.wire.test_released import DECLARED, keep_data

pytestmark = pytest.mark.slow

#: The last is an estimator whose own transformer lies in its ``code_paths``.
KINDS = ("pickled", "coded", "loaded", "fitted")

#: MLflow is installed beside the platform, as its users do; here from the environment of the newer client, behind all that is here.
_BESIDE = "import sys\nsys.path.append({!r})\n"


class _Having(Platform):
    """A platform whose processes can import MLflow."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of every process that is started here."""
        before = super().environment
        return {**before, "PYTHONPATH": f"{before['PYTHONPATH']}{os.pathsep}{self.project.parent / 'beside'}"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform with MLflow, whose project says what the models are for."""
    found = list(Path(sys.prefix).glob("wire-3/lib/python*/site-packages"))
    folder = tmp_path_factory.mktemp("called")
    made = _Having(folder, f"sqlite:///{folder}/plimsoll.db")
    beside = made.project.parent / "beside"
    beside.mkdir()
    (beside / "sitecustomize.py").write_text(_BESIDE.format(str(found[0]) if found else ""))
    with (made.project / "pyproject.toml").open("a") as file:
        names = [(name, generation) for name in KINDS for generation in (2, 3)]
        file.write("".join(DECLARED.format(*each) for each in names))
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_function_runs_only_by_a_persons_word_for_these_very_files(python: Path, platform: Platform, tmp_path: Path) -> None:
    generation = python.parts[-3][-1]
    work("called", python, Served(platform.url, platform.token), tmp_path)
    mark = tmp_path / "mark"
    mark.unlink()
    told = json.loads((tmp_path / "told.json").read_text())
    rows = pl.DataFrame(told["rows"])
    training, holdout = keep_data(platform, rows, told["labels"])
    do = platform.author.do

    packed = {}
    for kind in KINDS:
        ref = f"{kind}-{generation}/1"
        with pytest.raises(Untrusted, match=f"plimsoll models trust {ref}"):
            do(PackVersion(ref=ref))
        assert not mark.exists()
        do(TrustPackage(digest=do(GetVersion(ref=ref)).digest, reason="ours"))
        made = packed[kind] = do(PackVersion(ref=ref, training=training, holdout=holdout))
        assert mark.exists()
        mark.unlink()
        assert (made.package.flavor, made.package.types) == ("python_function", ("mlflow.pyfunc.load_model",))
        # Whoever gets the package from elsewhere has not allowed it: its grant is one for this digest, and in this home.
        get_tree(platform.author.blobs, made.digest, tmp_path / kind)
        with pytest.warns(RequirementWarning, match="mlflow-skinny"), pytest.raises(Untrusted, match="nobody has allowed that"):
            open_package(tmp_path / kind, made.digest, trusted=False)
        reference = pl.read_parquet(tmp_path / kind / "answers.parquet")
        assert reference["prediction"].to_list() == pytest.approx(told["answers"][kind][-300:], rel=1e-12)
        # Each kind is examined once, and what goes into production of each client.
        if (kind, generation) in (("pickled", "3"), ("loaded", "2"), ("fitted", "2")):
            continue
        do(CheckVersion(ref=made.digest))
        report = do(GetReport(ref=made.digest))
        verdicts = {verdict.check: verdict.outcome for verdict in report.verdicts}
        # In a fresh process behind the real server it has answered as it did where it was packed.
        assert (verdicts["parity"], verdicts["footprint"]) == ("pass", "pass"), report.verdicts
        assert mark.exists()
        mark.unlink()

    # A word for the first files is none for the second, which differ in one number.
    with pytest.raises(Untrusted, match="plimsoll models trust"):
        do(PackVersion(ref=f"pickled-{generation}/2"))
    assert not mark.exists()

    made = packed["coded"]
    release = do(CreateRelease(ref=made.digest))
    platform.approver.do(ApproveRelease(id=release.id, digest=release.digest, note="Read."))
    until(lambda: do(GetRelease(id=release.id)).state == "live", "the worker has put it live", 240)
    asked = {"dataframe_split": {"columns": rows.columns, "data": [list(row) for row in rows.rows()]}}
    path = f"/models/coded-{generation}/invocations"
    until(lambda: platform.plane_pid() is not None and platform.plane.post(path, json=asked).status_code == 200, "the plane serves it", 240)
    assert platform.plane.post(path, json=asked).json()["predictions"] == pytest.approx(told["answers"]["coded"], rel=1e-12)
