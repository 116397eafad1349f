"""What was deleted long ago is removed for good, and only bytes that nothing names are freed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, String, func, select

from plimsoll import clock, codec
from plimsoll.data.values import save
from plimsoll.errors import Conflict, NotFound, PlimsollError
from plimsoll.records.data import FileEntry, Manifest, RegisterSnapshot
from plimsoll.records.model import CreateVersion
from plimsoll.records.pipeline import ClaimCalls, EndedStep, KeyPart, RecordSteps, StepRecord, WantedCall
from plimsoll.records.pipelines.search import GetSearch, Objective, RecordTrials, SearchPlan, StartSearch, Trial
from plimsoll.records.registry.catalog import AdoptFiles, CreateModel
from plimsoll.records.run import AppendPoints, FinishRun, GetRun, LogArtifact, LogInput, ModelUse, PointColumns, Run, StartRun
from plimsoll.records.tracking.change import DeleteRun, LogDatasets, RestoreRun
from plimsoll.records.tracking.collect import Collect, CollectReport
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.records.tracking.experiment import CreateExperiment, DeleteExperiment, GetExperiment, RestoreExperiment
from plimsoll.records.tracking.logged_model import (
    CreateLoggedModel,
    DeleteLoggedModel,
    FinishLoggedModel,
    GetLoggedModel,
    KeepModelFile,
    LinkModels,
    LogModelMetrics,
    ModelMetric,
)
from plimsoll.records.tracking.traces.assessment import Assessment, Said
from plimsoll.records.tracking.traces.trace import KeepTraceFile, LinkTraces, RecordTrace, RequestTrace
from plimsoll.runs.collection import collect, removal
from plimsoll.runs.collection.named import Named
from plimsoll.runs.collection.overdue import Overdue, due, overdue
from plimsoll.runs.step_log import StepLog
from plimsoll.sdk.journal import Journal
from plimsoll.store.contracts import JobContext, StoredBlob
from plimsoll.store.schema import key_parts
from plimsoll.store.tables.columns import metadata
from plimsoll.store.tables.tracking import logged_models, runs
from tests.unit.yard import Yard, open_yard

DAY = 86_400.0


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


def age(yard: Yard) -> None:
    """Make every stored byte a day old."""
    yesterday = clock.now() / 1e6 - DAY
    for path in (yard.workspace.home / "blobs").rglob("*"):
        os.utime(path, (yesterday, yesterday))


def collected(yard: Yard, older_than: float | None = 0.0, *, dry_run: bool = False) -> CollectReport:
    """Collect with bytes that are all a day old."""
    age(yard)
    return yard.workspace.do(Collect(older_than=older_than, dry_run=dry_run), yard.nora)


def tree(yard: Yard, *contents: bytes) -> tuple[str, tuple[str, ...]]:
    """Store a tree; return its digest and those of its files."""
    blobs = yard.workspace.stores.blobs
    files = tuple(FileEntry(path=f"f{at}", digest=blobs.put(data), size=len(data)) for at, data in enumerate(contents))
    return blobs.put(codec.canonical(Manifest(kind="tree", files=files, meta={}))), tuple(entry.digest for entry in files)


def full(yard: Yard, experiment: str) -> Run:
    """Begin a run and let everything name it that can."""
    do, dana, blobs = yard.workspace.do, yard.dana, yard.workspace.stores.blobs
    run = do(StartRun(experiment_id=experiment, key="again", params={"a": 1}, tags={"b": "c"}, environment=blobs.put(b"packages")), dana)
    points = PointColumns(names=("loss",) * 3, steps=(1, 2, 3), times=(1, 2, 3), values=(0.1, 0.2, 0.3))
    do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points), dana)
    digest, _ = tree(yard, b"kept by the run")
    do(LogArtifact(run_id=run.id, name="own", kind="tree", digest=digest, size=15), dana)
    data, _ = tree(yard, b"data")
    do(RegisterSnapshot(name="flights", digest=data), dana)
    do(LogInput(run_id=run.id, name="flights", digest=data), dana)
    use = DatasetUse(dataset=Dataset(name="d", digest="1", source_type="local", source="x"))
    do(LogDatasets(run_id=run.id, uses=(use,)), dana)
    made = do(CreateLoggedModel(experiment_id=experiment, run_id=run.id), dana)
    do(KeepModelFile(id=made.id, name="model", digest=blobs.put(b"model of the run"), size=16), dana)
    do(LinkModels(run_id=run.id, uses=(ModelUse(model_id=made.id, role="output"),)), dana)
    do(LogModelMetrics(metrics=(ModelMetric(model_id=made.id, run_id=run.id, name="auc", value=0.5, step=0, time=1),)), dana)
    do(ClaimCalls(run_id=run.id, calls=(WantedCall(call="1" * 64, step="s.begin"),)), dana)
    part = KeyPart(kind="param", name="count", digest="2" * 64, text="1")
    record = StepRecord(
        run_id=run.id, index=0, name="s.begin", state="ran", key="3" * 64, why="", started=0, ended=1,
        output=save([1, 2], blobs, yard.workspace.project),
    )  # fmt: skip
    do(RecordSteps(run_id=run.id, steps=(EndedStep(record=record, call="4" * 64, parts=(part,), keep=False),)), dana)
    goal = Objective(metric="loss", direction="minimize")
    plan = SearchPlan(pipeline="p.py:flow", space={"a": "int(1, 3)"}, objectives=(goal,))
    search = do(StartSearch(plan=plan, trials=1, holder="h", key="k"), dana)
    do(RecordTrials(search_id=search.id, holder="h", trials=(Trial(number=0, run_id=run.id, state="finished"),)), dana)
    thought = (Assessment(trace_id="tr-1", name="good", kind="feedback", said=Said(value=1)),)
    trace = RequestTrace(id="tr-1", experiment_id=experiment, state="ok", started=1, duration=1, tags={"a": "b"}, assessments=thought)
    do(RecordTrace(trace=trace), dana)
    do(LinkTraces(run_id=run.id, ids=("tr-1", "tr-elsewhere")), dana)
    do(KeepTraceFile(id="tr-1", name="spans", digest=blobs.put(b"spans"), size=5), dana)
    return run


def named(yard: Yard, id: str) -> list[str]:
    """Return the tables with a row that holds an id in a column of its own."""
    found = []
    with yard.workspace.stores.database.read() as tx:
        for table in metadata.sorted_tables:
            ids = ("id", "run_id", "owner", "model_id", "trace_id", "stream")
            columns = [column for column in table.columns if column.name in ids and isinstance(column.type, String)]
            if any(tx.execute(select(func.count()).where(column == id)).scalar_one() for column in columns):
                found.append(table.name)
    return found


def test_a_deleted_experiment_goes_for_good_with_all_that_is_in_it_and_its_name_and_key_are_free(yard: Yard) -> None:
    do = yard.workspace.do
    experiment = do(CreateExperiment(name="old", tags={"a": "b"}), yard.dana)
    run = full(yard, experiment.id)
    search = do(StartSearch(plan=_plan(), trials=1, holder="h", key="k"), yard.dana)
    before = {table.name for table in metadata.sorted_tables if table.name in named(yard, run.id)}
    assert before >= {table.name for table in removal.OF_RUNS} | {"runs", "artifacts", "writers", "trials"}
    do(DeleteExperiment(id=experiment.id), yard.dana)
    told = collected(yard, dry_run=True)
    found = collected(yard)
    assert (found.experiments, found.runs, found.models) == (1, 1, 1)
    assert (told.experiments, told.runs, told.models, told.blobs, told.freed) == (1, 1, 1, found.blobs, found.freed)
    assert found.freed >= len(b"packages" + b"kept by the run" + b"model of the run" + b"spans")
    assert named(yard, run.id) == named(yard, experiment.id) == named(yard, "tr-1") == []
    with yard.workspace.stores.database.read() as tx:
        assert tx.execute(select(func.count()).select_from(key_parts)).scalar_one() == 0
    (trial,) = do(GetSearch(id=search.id), yard.dana).trials
    assert (trial.state, trial.run_id) == ("finished", None)
    do(RecordTrials(search_id=search.id, holder="h", trials=(trial,)), yard.dana)
    with pytest.raises(NotFound):
        do(GetRun(id=run.id), yard.dana)
    assert do(CreateExperiment(name="old"), yard.dana).id != experiment.id
    assert do(StartRun(key="again"), yard.dana).id != run.id
    assert collected(yard).blobs == 0


def _plan() -> SearchPlan:
    return SearchPlan(pipeline="p.py:flow", space={"a": "int(1, 3)"}, objectives=(Objective(metric="loss", direction="minimize"),))


def test_every_table_that_refers_to_a_run_or_a_logged_model_is_thought_of() -> None:
    naming = {
        target: {table.name for table in metadata.sorted_tables for key in table.foreign_keys if key.column is target.c.id}
        for target in (runs, logged_models)
    }
    # A version keeps both; trials and logged models outlive their run.
    assert naming[runs] - {table.name for table in removal.OF_RUNS} == {"versions", "trials", "logged_models"}
    assert naming[logged_models] - {table.name for table in removal.OF_MODELS} == {"versions"}


def test_what_was_deleted_of_late_stays_as_long_as_the_setting_says_and_can_be_restored(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    do = yard.workspace.do
    run = do(StartRun(), yard.dana)
    do(DeleteRun(id=run.id), yard.dana)
    assert collected(yard, older_than=None).runs == 0
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + int(29.9 * DAY * 1e6))
    assert collected(yard, older_than=None).runs == 0
    do(RestoreRun(id=run.id), yard.dana)
    do(DeleteRun(id=run.id), yard.dana)
    monkeypatch.setattr(clock, "now", lambda: real() + int(60 * DAY * 1e6))
    monkeypatch.setenv("PLIMSOLL_KEEP_DELETED", "31d")
    assert collected(yard, older_than=None).runs == 0
    monkeypatch.setenv("PLIMSOLL_KEEP_DELETED", "30d")
    assert collected(yard, older_than=None).runs == 1


def test_a_run_that_a_version_stands_on_stays_and_so_does_its_experiment(yard: Yard) -> None:
    do = yard.workspace.do
    package = yard.package("one")
    run = do(StartRun(experiment="late"), yard.dana)
    other = do(StartRun(experiment="late"), yard.dana)
    do(CreateVersion(model="late", digest=package, run_id=run.id), yard.dana)
    do(DeleteExperiment(id=run.experiment_id), yard.dana)
    found = collected(yard)
    assert (found.experiments, found.runs) == (0, 1)
    assert {(each.kind, each.why) for each in found.binned if each.why} == {
        ("experiment", f"late/1 stands on {run.id}"),
        ("run", "late/1 stands on it"),
    }
    assert named(yard, other.id) == []
    assert do(RestoreExperiment(id=run.experiment_id), yard.dana).deleted is None
    assert do(GetRun(id=run.id), yard.dana).run.deleted is None


def test_a_run_that_is_being_removed_cannot_be_restored_nor_made_a_version_of_and_goes_the_next_time(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    do = yard.workspace.do
    experiment = do(CreateExperiment(name="old"), yard.dana)
    run = full(yard, experiment.id)
    package = yard.package("one")
    do(DeleteExperiment(id=experiment.id), yard.dana)

    def dies(*_: object) -> bool:
        raise Conflict("killed", "")

    with monkeypatch.context() as patched:
        patched.setattr(removal, "_drop_points", dies)
        with pytest.raises(Conflict, match="killed"):
            collected(yard)
    refused = (
        RestoreRun(id=run.id),
        RestoreExperiment(id=experiment.id),
        CreateVersion(model="late", digest=package, run_id=run.id),
    )
    for request in refused:
        with pytest.raises(PlimsollError, match="removed for good"):
            do(request, yard.dana)
    assert collected(yard, older_than=None).runs == 1
    assert named(yard, run.id) == []


def test_what_is_restored_or_made_a_version_of_while_a_collection_begins_stays(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    do, package = yard.workspace.do, yard.package("one")
    restored, standing = do(CreateExperiment(name="restored"), yard.dana), do(CreateExperiment(name="standing"), yard.dana)
    run, evidence = do(StartRun(experiment_id=restored.id), yard.dana), do(StartRun(experiment_id=standing.id), yard.dana)
    model, source = (do(CreateLoggedModel(experiment_id=each.id), yard.dana) for each in (restored, standing))
    do(KeepModelFile(id=source.id, name="weights", digest=yard.workspace.stores.blobs.put(b"weights"), size=7), yard.dana)
    do(FinishLoggedModel(id=source.id, state="ready"), yard.dana)
    do(CreateModel(name="taken"), yard.dana)
    for experiment in (restored, standing):
        do(DeleteExperiment(id=experiment.id), yard.dana)

    def looked(tx: Connection, before: int) -> Overdue:
        found = overdue(tx, before)
        assert {each.id for each in (*found.runs, *found.models)} == {run.id, evidence.id, model.id, source.id}
        do(RestoreExperiment(id=restored.id), yard.dana)
        do(CreateVersion(model="late", digest=package, run_id=evidence.id), yard.dana)
        do(AdoptFiles(model="taken", owner=source.id), yard.dana)
        return found

    monkeypatch.setattr(collect, "overdue", looked)
    found = collected(yard)
    assert (found.experiments, found.runs, found.models) == (0, 0, 0)
    assert do(GetLoggedModel(id=model.id), yard.dana).deleted is None
    assert do(GetLoggedModel(id=source.id), yard.dana).id == source.id
    assert do(GetRun(id=run.id), yard.dana).run.deleted is None
    assert do(GetRun(id=evidence.id), yard.dana).run.id == evidence.id


def test_a_deleted_logged_model_goes_by_itself(yard: Yard) -> None:
    do, blobs = yard.workspace.do, yard.workspace.stores.blobs
    made = do(CreateLoggedModel(experiment_id="0"), yard.dana)
    do(KeepModelFile(id=made.id, name="model", digest=blobs.put(b"heavy"), size=5), yard.dana)
    do(DeleteLoggedModel(id=made.id), yard.dana)
    assert collected(yard).models == 1
    with pytest.raises(NotFound):
        do(GetLoggedModel(id=made.id, deleted=True), yard.dana)
    assert not blobs.has(codec.digest(b"heavy"))


def test_nothing_that_anything_names_is_freed(yard: Yard) -> None:
    do, blobs = yard.workspace.do, yard.workspace.stores.blobs
    full(yard, "0")
    yard.live("one")
    kept = {blob.digest for blob in blobs.stored()}
    assert collected(yard).blobs == 0
    assert {blob.digest for blob in blobs.stored()} == kept
    assert do(GetExperiment(id="0"), yard.dana).deleted is None


def test_bytes_that_nothing_names_go_after_a_day_and_not_before(yard: Yard) -> None:
    blobs = yard.workspace.stores.blobs
    collected(yard)
    digest, files = tree(yard, b"one", b"two")
    assert yard.workspace.do(Collect(older_than=0.0), yard.nora).blobs == 0
    found = collected(yard)
    assert found.blobs == 3
    assert not any(path for path in (digest, *files) if blobs.has(path))


def test_bytes_that_somebody_asked_for_stay_until_they_can_be_named(yard: Yard) -> None:
    digest, _ = tree(yard, b"one")
    age(yard)
    # As a client of a server does before it decides not to send them.
    assert yard.workspace.stores.blobs.has(digest)
    assert yard.workspace.do(Collect(older_than=0.0), yard.nora).blobs == 1
    assert yard.workspace.stores.blobs.has(digest)


def test_the_files_of_a_tree_that_is_named_while_bytes_are_freed_stay(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    collected(yard)
    digest, files = tree(yard, b"one", b"two")
    run = yard.workspace.do(StartRun(), yard.dana)
    first_look = collect._old

    def looked(context: JobContext, named: set[str]) -> list[StoredBlob]:
        found = first_look(context, named)
        assert {blob.digest for blob in found} == {digest, *files}
        yard.workspace.do(LogArtifact(run_id=run.id, name="own", kind="tree", digest=digest, size=6), yard.dana)
        return found

    monkeypatch.setattr(collect, "_old", looked)
    assert collected(yard).blobs == 0
    assert all(yard.workspace.stores.blobs.has(file) for file in files)


def test_what_only_the_log_of_a_cached_step_names_stays(yard: Yard) -> None:
    do, blobs = yard.workspace.do, yard.workspace.stores.blobs
    digest, files = tree(yard, b"one", b"two")
    run, log = do(StartRun(), yard.dana), StepLog()
    log.take(LogArtifact(run_id=run.id, name="own", kind="tree", digest=digest, size=6))
    record = StepRecord(
        run_id=run.id, index=0, name="s.begin", state="ran", key="3" * 64, why="", started=0, ended=1,
        output=save(1, blobs, yard.workspace.project),
    )  # fmt: skip
    ended = EndedStep(record=record, call="4" * 64, keep=True, logged=blobs.put(log.packed()))
    do(RecordSteps(run_id=run.id, steps=(ended,)), yard.dana)
    collected(yard)
    assert all(blobs.has(file) for file in (digest, *files))


@pytest.mark.parametrize("before", [1, 32, 63])
def test_a_digest_at_the_border_of_two_blocks_of_a_manifest_is_found(yard: Yard, before: int) -> None:
    blobs, file = yard.workspace.stores.blobs, codec.digest(b"one")
    manifest = b"{" + b" " * ((1 << 20) - 1 - before) + file.encode() + b"}"
    assert Named(blobs).inside(blobs.put(manifest)) == (file,)


def test_the_files_of_a_damaged_manifest_stay(yard: Yard) -> None:
    digest, files = tree(yard, b"one", b"two")
    run = yard.workspace.do(StartRun(), yard.dana)
    yard.workspace.do(LogArtifact(run_id=run.id, name="own", kind="tree", digest=digest, size=6), yard.dana)
    path = yard.workspace.home / "blobs" / digest[:2] / digest
    path.write_bytes(path.read_bytes()[:-2] + b"?}")
    assert collected(yard).blobs == 0
    assert all(yard.workspace.stores.blobs.has(file) for file in files)


def test_what_a_waiting_job_names_stays(yard: Yard) -> None:
    digest, _ = tree(yard, b"one")
    job = yard.workspace.submit(Collect(), yard.nora)
    with yard.workspace.stores.database.write() as tx:
        row = metadata.tables["jobs"]
        tx.execute(row.update().where(row.c.id == job.id).values(payload={"digest": digest}))
    assert collected(yard).blobs == 0


def test_what_a_killed_run_has_stored_and_not_told_yet_stays_as_long_as_its_journal(yard: Yard) -> None:
    digest, files = tree(yard, b"one")
    id = clock.new_id()
    journal = Journal(yard.workspace.home / "journal" / f"{id}.journal")
    journal.begin(id, str(yard.workspace.home))
    journal.keep(LogArtifact(run_id=id, name="own", kind="tree", digest=digest, size=3))
    journal.close()
    assert (collected(yard, dry_run=True).blobs, collected(yard).blobs) == (0, 0)
    assert all(yard.workspace.stores.blobs.has(file) for file in files)
    journal.path.unlink()
    assert collected(yard).blobs == 2


def test_it_is_due_a_day_after_the_last_one_or_after_the_home_was_made(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    real = clock.now

    def is_due(days: float) -> bool:
        with monkeypatch.context() as patched, yard.workspace.stores.database.read() as tx:
            patched.setattr(clock, "now", lambda: real() + int(days * DAY * 1e6))
            return due(tx)

    assert [is_due(days) for days in (0, 0.9, 1.1)] == [False, False, True]
    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: real() + int(1.1 * DAY * 1e6))
        yard.workspace.submit(Collect(), yard.nora)
    assert [is_due(days) for days in (1.2, 2.0, 2.2)] == [False, False, True]


def test_an_ended_run_that_is_not_deleted_is_left_alone(yard: Yard) -> None:
    run = yard.workspace.do(StartRun(), yard.dana)
    yard.workspace.do(FinishRun(id=run.id), yard.dana)
    assert collected(yard).runs == 0
    assert yard.workspace.do(GetRun(id=run.id), yard.dana).run.state == "finished"


def test_after_each_of_its_transactions_others_have_a_turn(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    run = yard.workspace.do(StartRun(), yard.dana)
    yard.workspace.do(DeleteRun(id=run.id), yard.dana)
    pauses: list[float] = []
    monkeypatch.setattr(clock, "sleep", pauses.append)
    assert collected(yard).runs == 1
    # Its mark, its points, its rows. Who waits for SQLite looks every tenth of a second.
    assert len(pauses) >= 3
    assert min(pauses) > 0.1
