"""The doctor finds each kind of harm, names what is hit and what to do, and calls nothing wrong that is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from plimsoll import clock, codec
from plimsoll.cli.keeping import doctor as doctor_file
from plimsoll.cli.keeping import kept
from plimsoll.cli.keeping.doctor import doctor
from plimsoll.cli.keeping.finding import MOST, Finding, shortened
from plimsoll.cli.keeping.journals import journal_findings
from plimsoll.cli.keeping.kept import kept_findings
from plimsoll.cli.keeping.rows import row_findings
from plimsoll.cli.output import Format
from plimsoll.data.values import save
from plimsoll.records.data import FileEntry, Manifest, RegisterSnapshot
from plimsoll.records.pipeline import EndedStep, RecordSteps, StepRecord
from plimsoll.records.pipelines.kept import PruneCache
from plimsoll.records.run import AppendPoints, CodeVersion, FinishRun, LogArtifact, PointColumns, Run, StartRun
from plimsoll.runs.step_log import StepLog
from plimsoll.sdk.journal import Journal
from plimsoll.store import schema
from plimsoll.store.tables.tracking import point_chunks, series
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


class Digests:
    """A run with one of everything, and the digests that it names.

    Args:
        yard: where it is begun.
    """

    def __init__(self, yard: Yard) -> None:
        do, dana, blobs = yard.workspace.do, yard.dana, yard.workspace.stores.blobs
        self.environment, self.diff = blobs.put(b"packages"), blobs.put(b"diff")
        code = CodeVersion(entry="p.py:flow", dirty_diff=self.diff)
        self.run: Run = do(StartRun(experiment="late", environment=self.environment, code=code), dana)
        points = PointColumns(names=("loss",) * 3, steps=(1, 2, 3), times=(1, 2, 3), values=(0.1, 0.2, 0.3))
        do(AppendPoints(run_id=self.run.id, writer="w", sequence=1, points=points), dana)
        self.tree, self.file = self._tree(yard, b"in a tree")
        do(LogArtifact(run_id=self.run.id, name="own", kind="tree", digest=self.tree, size=9), dana)
        self.plain = blobs.put(b'{"looks": "like a document", "names": "' + b"0" * 64 + b'"}')
        do(LogArtifact(run_id=self.run.id, name="plain.json", kind="file", digest=self.plain, size=1), dana)
        self.data, self.rows = self._tree(yard, b"rows")
        do(RegisterSnapshot(name="flights", digest=self.data), dana)
        logged, self.logged = self._tree(yard, b"logged by a step")
        log = StepLog()
        log.take(LogArtifact(run_id=self.run.id, name="figure", kind="tree", digest=logged, size=1))
        self.log = blobs.put(log.packed())
        output = save(["given by a step"], blobs, yard.workspace.project)
        self.output = output.digest
        record = StepRecord(
            run_id=self.run.id, index=0, name="s.begin", state="ran", key="3" * 64, why="", started=0, ended=1, output=output
        )
        do(RecordSteps(run_id=self.run.id, steps=(EndedStep(record=record, call="4" * 64, keep=True, logged=self.log),)), dana)
        do(LogArtifact(run_id=self.run.id, name="begin", kind=output.kind, digest=output.digest, size=output.size), dana)
        do(FinishRun(id=self.run.id), dana)
        self.version = yard.live("one").package

    def _tree(self, yard: Yard, data: bytes) -> tuple[str, str]:
        blobs = yard.workspace.stores.blobs
        entry = FileEntry(path="f", digest=blobs.put(data), size=len(data))
        return blobs.put(codec.canonical(Manifest(kind="tree", files=(entry,), meta={}))), entry.digest


def place(yard: Yard, digest: str) -> Path:
    return yard.workspace.home / "blobs" / digest[:2] / digest


def wrong(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings if not finding.good}


@pytest.mark.parametrize("quick", [False, True])
def test_a_sound_home_has_nothing_wrong(yard: Yard, quick: bool) -> None:
    Digests(yard)
    found = [*row_findings(yard.workspace, quick), *kept_findings(yard.workspace, quick)]
    assert [finding for finding in found if not finding.good] == []
    told = {finding.what for finding in found}
    assert told >= {"database", "audit log", "points", "blobs", "models", "releases", "datasets", "runs", "artifacts", "cache"}
    assert ("unnamed bytes" in told) != quick


def spoiled(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1, *path.read_bytes()[1:]]))


@pytest.mark.parametrize("harm", [Path.unlink, spoiled], ids=["missing", "damaged"])
@pytest.mark.parametrize(
    ("field", "named", "fix"),
    [
        ("environment", "environment of run", "restore"),
        ("diff", "uncommitted changes of run", "restore"),
        ("tree", "artifact own of", "restore"),
        ("file", "artifact own of", "restore"),
        ("plain", "artifact plain.json of", "restore"),
        ("data", "dataset flights", "restore"),
        ("rows", "dataset flights", "restore"),
        ("log", "log of s.begin", "cache verify --repair"),
        ("logged", "log of s.begin", "cache verify --repair"),
        ("output", "result of s.begin", "cache verify --repair"),
        ("version", "late/1", "restore"),
    ],
)
def test_bytes_that_are_gone_or_damaged_are_told_with_what_names_them(
    tmp_path: Path, harm: Callable[[Path], None], field: str, named: str, fix: str
) -> None:
    yard = open_yard(tmp_path / "home")
    try:
        digest = getattr(Digests(yard), field)
        harm(place(yard, digest))
        found = wrong(kept_findings(yard.workspace, quick=False))
        hit = next(finding for what, finding in found.items() if what.startswith(named))
        assert digest in hit.found
        assert f"plimsoll {fix}" in hit.fix
        assert ("blobs" in found) == (harm is spoiled)
    finally:
        yard.workspace.close()


def test_what_was_pruned_of_a_runs_steps_is_not_wrong(yard: Yard) -> None:
    digests = Digests(yard)
    yesterday = clock.now() / 1e6 - 86_400
    for path in (yard.workspace.home / "blobs").rglob("*"):
        os.utime(path, (yesterday, yesterday))
    assert yard.workspace.do(PruneCache(older_than=0.0), yard.nora).freed > 0
    assert not place(yard, digests.output).exists()
    assert wrong(kept_findings(yard.workspace, quick=False)) == {}


def test_bytes_that_nothing_names_are_counted(yard: Yard) -> None:
    Digests(yard)
    before = next(each for each in kept_findings(yard.workspace, quick=False) if each.what == "unnamed bytes")
    yard.workspace.stores.blobs.put(b"x" * 2500)
    found = next(each for each in kept_findings(yard.workspace, quick=False) if each.what == "unnamed bytes")
    assert (before.good, found.good) == (True, True)
    assert found.found == "1 blobs, 2.5 kB"
    assert "plimsoll collect" in found.fix


def test_a_quick_look_reads_some_of_the_bytes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    Digests(yard)
    monkeypatch.setattr(kept, "_SOME", 3)
    read = next(each.found for each in kept_findings(yard.workspace, quick=True) if each.what == "blobs")
    assert read.startswith("3 of ")
    monkeypatch.setattr(kept, "_BYTES", 0)
    assert next(each.found for each in kept_findings(yard.workspace, quick=True) if each.what == "blobs").startswith("0 of ")


@pytest.mark.parametrize("quick", [False, True])
def test_a_chunk_whose_checksum_does_not_fit_is_told_with_its_metric_and_run(yard: Yard, quick: bool) -> None:
    run = Digests(yard).run
    with yard.workspace.stores.database.write() as tx:
        data = tx.execute(point_chunks.select()).one().data
        tx.execute(update(point_chunks).values(data=data[:-1] + bytes([data[-1] ^ 1])))
    found = wrong(row_findings(yard.workspace, quick))
    assert list(found) == [f"points loss of run {run.id[:16]}"]
    assert "plimsoll restore" in found.popitem()[1].fix


def test_a_series_that_lacks_points_is_told(yard: Yard) -> None:
    run = Digests(yard).run
    with yard.workspace.stores.database.write() as tx:
        tx.execute(update(series).values(count=4))
    found = wrong(row_findings(yard.workspace, quick=True))
    assert found[f"points loss of run {run.id[:16]}"].found == "holds 3 points, its row says 4"


def test_a_line_of_the_audit_log_that_was_changed_is_told(yard: Yard) -> None:
    with yard.workspace.stores.database.write() as tx:
        tx.execute(update(schema.events).where(schema.events.c.sequence == 3).values(actor="nobody"))
    found = wrong(row_findings(yard.workspace, quick=True))
    assert found["audit log"].found == "line 3 does not fit"
    assert found["audit log"].fix


def test_a_row_that_refers_to_nothing_is_told(tmp_path: Path) -> None:
    yard = open_yard(tmp_path / "home")
    yard.workspace.stores.database.close()
    try:
        run = Digests(yard).run
        with yard.workspace.stores.database.write() as tx:
            tx.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            raw = tx.connection.driver_connection
            assert raw is not None
            raw.execute("COMMIT")
            raw.execute("PRAGMA foreign_keys = OFF")
            raw.execute("DELETE FROM runs WHERE id = ?", (run.id,))
            raw.execute("PRAGMA foreign_keys = ON")
            raw.execute("BEGIN IMMEDIATE")
        found = wrong(row_findings(yard.workspace, quick=True))
        assert "refers to a missing one of runs" in found["database"].found
    finally:
        yard.workspace.close()


def journal(home: Path, name: str = "one") -> Path:
    path = home / "journal" / f"{name}.journal"
    opened = Journal(path)
    opened.begin("r" * 32, str(home))
    opened.close()
    return path


def test_a_journal_that_was_cut_is_told_once_its_run_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert wrong(journal_findings(tmp_path)) == {}
    path = journal(tmp_path)
    whole = path.read_bytes()
    assert wrong(journal_findings(tmp_path)) == {}
    path.write_bytes(whole + whole[:10])
    assert wrong(journal_findings(tmp_path)) == {}, "it may be under way"
    os.utime(path, (0, 0))
    found = wrong(journal_findings(tmp_path))
    assert list(found) == ["journal one.journal"]
    assert f"record 2 of {path}, at byte {len(whole)} of {len(whole) + 10}" in found["journal one.journal"].found
    assert "plimsoll sync" in found["journal one.journal"].fix
    assert path.read_bytes() == whole + whole[:10], "nothing is changed"


@pytest.mark.parametrize("end", ["refused", "damaged"])
def test_what_was_set_aside_of_journals_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = journal(tmp_path)
    path.rename(path.with_suffix(f".{end}"))
    assert list(wrong(journal_findings(tmp_path))) == [f"journal one.{end}"]


def test_many_findings_of_one_kind_are_counted(tmp_path: Path) -> None:
    found = [Finding(f"a{number}", False, "gone", "fix it") for number in range(MOST + 5)]
    assert shortened(found[:MOST], "artifacts") == found[:MOST]
    assert shortened(found, "artifacts")[MOST:] == [Finding("artifacts", False, "5 more are wrong in the same way", "fix it")]


@pytest.mark.parametrize(("name", "value", "word"), [("_LOW", 1 << 62, "GiB free"), ("_FEW", 1 << 62, "room for")])
def test_a_disk_that_is_nearly_full_is_told_and_the_exit_code_is_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: int, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    open_yard(tmp_path / "home").workspace.close()
    assert doctor(home=str(tmp_path / "home")) == 0
    monkeypatch.setattr(doctor_file, name, value)
    capsys.readouterr()
    assert doctor(home=str(tmp_path / "home"), form=Format(json=True)) == 3
    rows = {row["looked at"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["disk"]["state"] == "wrong"
    assert word in rows["disk"]["found"]
    assert "plimsoll collect" in rows["disk"]["fix"]
