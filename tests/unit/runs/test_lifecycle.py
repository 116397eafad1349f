"""Runs begin once, fall silent, come back, and end as they really ended."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from plimsoll import clock
from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.pipeline import EndedStep, RecordSteps, StepRecord
from plimsoll.records.request import Request
from plimsoll.records.run import (
    AppendPoints,
    Artifact,
    BeatRun,
    FinishRun,
    GetRun,
    LogArtifact,
    LogInput,
    ModelUse,
    PointColumns,
    ResumeRun,
    Run,
    SetTags,
    StartRun,
)
from plimsoll.records.tracking.change import DeleteRun, LogBatch, LogDatasets, RemoveArtifacts, RemoveTags, RestoreRun, UpdateRun
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.records.tracking.experiment import DeleteExperiment, RenameExperiment, RestoreExperiment
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.records.tracking.logged_model import CreateLoggedModel, LinkModels, LogModelMetrics, ModelMetric
from plimsoll.runs.described import SILENCE
from plimsoll.store.tables.tracking import point_chunks, runs
from tests.unit.yard import Yard


def start(yard: Yard, **asked: object) -> Run:
    return yard.workspace.do(StartRun(**asked), yard.dana)  # type: ignore[arg-type]


def known(yard: Yard, id: str) -> Run:
    return yard.workspace.do(GetRun(id=id), yard.dana).run


def silence(yard: Yard, id: str, longer: int = 1) -> int:
    """Let a run's process be silent for a little more than it may be, and return when it spoke last."""
    seen = clock.now() - SILENCE - longer
    with yard.workspace.stores.database.write() as tx:
        tx.execute(update(runs).where(runs.c.id == id).values(seen=seen))
    return seen


def test_two_starts_with_one_id_or_one_key_are_one_run(yard: Yard) -> None:
    id = clock.new_id()
    assert start(yard, id=id, name="first").id == id
    assert start(yard, id=id, name="second").name == "first"
    keyed = start(yard, key="night")
    assert start(yard, key="night", id=clock.new_id()).id == keyed.id
    assert len(yard.workspace.do(SearchRuns(), yard.dana).runs) == 2


@pytest.mark.parametrize("id", ["", "abc", "0" * 31 + "G", "../" + "0" * 29, "0" * 33])
def test_what_is_no_id_is_refused(id: str) -> None:
    with pytest.raises(InvalidInput, match="32 hex digits"):
        StartRun(id=id)


def test_a_run_that_ended_is_given_back_by_its_key_and_goes_on_only_when_asked_to(yard: Yard) -> None:
    run = start(yard, key="night", params={"depth": 3})
    yard.workspace.do(FinishRun(id=run.id, state="failed", error="Boom."), yard.dana)
    assert start(yard, key="night").state == "failed"
    again = start(yard, key="night", resume=True, params={"depth": 3, "rate": 0.1}, tags={"try": "2"})
    assert (again.id, again.state, again.ended, again.error) == (run.id, "running", None, None)
    assert (again.params, again.tags) == ({"depth": 3, "rate": 0.1}, {"try": "2"})
    with pytest.raises(InvalidInput, match="is '3' already"):
        start(yard, key="night", resume=True, params={"depth": 4})


def test_a_key_of_another_experiments_run_is_refused_and_does_not_log_into_it(yard: Yard) -> None:
    run = start(yard, key="night", experiment="trees")
    with pytest.raises(Conflict, match=f"is that of the run {run.id} in the experiment 'trees', not in 'nets'"):
        start(yard, key="night", experiment="nets", resume=True, params={"depth": 3})
    assert start(yard, key="night", experiment="trees").id == start(yard, key="night").id == run.id
    assert known(yard, run.id).params == {}


@pytest.mark.parametrize("by", ["key", "id"])
def test_what_a_dead_process_had_begun_does_not_open_a_run_again_that_has_ended_since(yard: Yard, by: str) -> None:
    run = start(yard, key="night")

    def begin(started: int, beats: bool, mark: str) -> Run:
        if by == "key":
            return start(yard, key="night", resume=True, started=started, beats=beats, tags={mark: "yes"})
        return yard.workspace.do(ResumeRun(id=run.id, started=started, beats=beats, tags={mark: "yes"}), yard.dana)

    ended = yard.workspace.do(FinishRun(id=run.id), yard.dana).ended
    assert ended is not None
    late = begin(ended - 1, False, "late")
    assert (late.state, late.ended, late.tags) == ("finished", ended, {"late": "yes"})
    # Of a process that has begun after the end, or lives whatever its clock says, the run goes on.
    assert begin(ended + 1, False, "after").state == "running"
    yard.workspace.do(FinishRun(id=run.id), yard.dana)
    assert begin(ended - 1, True, "alive").state == "running"


def test_a_run_is_resumed_by_its_id_and_one_that_is_not_there_is_not_found(yard: Yard) -> None:
    run = start(yard)
    yard.workspace.do(FinishRun(id=run.id), yard.dana)
    resumed = yard.workspace.do(ResumeRun(id=run.id, tags={"a": "b"}), yard.dana)
    assert (resumed.state, resumed.tags) == ("running", {"a": "b"})
    with pytest.raises(NotFound):
        yard.workspace.do(ResumeRun(id="0" * 32), yard.dana)


def test_a_pipelines_run_is_not_resumed_after_its_end(yard: Yard) -> None:
    run = start(yard)
    record = StepRecord(run_id=run.id, index=0, name="a", state="ran", key=None, why="", started=0, ended=1, output=None)
    yard.workspace.do(RecordSteps(run_id=run.id, steps=(EndedStep(record=record),)), yard.dana)
    yard.workspace.do(FinishRun(id=run.id), yard.dana)
    with pytest.raises(Conflict, match="not changed after its end"):
        yard.workspace.do(ResumeRun(id=run.id), yard.dana)


def additions(yard: Yard, id: str) -> list[Request[object]]:
    """Return every way to give a run more, or to take something from it, that evidence must not change by."""
    digest = yard.workspace.stores.blobs.put(b"late")
    model = yard.workspace.do(CreateLoggedModel(experiment_id="0"), yard.dana).id
    points = PointColumns(names=("loss",), steps=(7,), times=(1,), values=(0.5,))
    metric = ModelMetric(model_id=model, run_id=id, name="auc", value=0.5, step=0, time=1)
    return [
        AppendPoints(run_id=id, writer="late", sequence=1, points=points),
        LogBatch(run_id=id, points=points, params={"late": 1}),
        LogArtifact(run_id=id, name="late", kind="file", digest=digest, size=4),
        RemoveArtifacts(run_id=id, names=("model",)),
        LogInput(run_id=id, name="flights", digest=digest),
        LogDatasets(run_id=id, uses=(DatasetUse(dataset=Dataset(name="d", digest="1", source_type="local", source="x")),)),
        LinkModels(run_id=id, uses=(ModelUse(model_id=model, role="input"),)),
        LogModelMetrics(metrics=(metric,)),
        UpdateRun(id=id, state="failed"),
        ResumeRun(id=id, params={"late": 1}),
    ]


def test_what_a_pipelines_run_has_recorded_stays_as_it_was_when_it_ended(yard: Yard) -> None:
    run = start(yard)
    record = StepRecord(run_id=run.id, index=0, name="a", state="ran", key=None, why="", started=0, ended=1, output=None)
    yard.workspace.do(RecordSteps(run_id=run.id, steps=(EndedStep(record=record),)), yard.dana)
    yard.workspace.do(FinishRun(id=run.id), yard.dana)
    before = yard.workspace.do(GetRun(id=run.id), yard.dana)
    for request in additions(yard, run.id):
        with pytest.raises(Conflict, match="ended as finished"):
            yard.workspace.do(request, yard.dana)
    assert yard.workspace.do(GetRun(id=run.id), yard.dana) == before


def test_a_deleted_run_is_not_changed(yard: Yard) -> None:
    run = start(yard, tags={"a": "b"})
    yard.workspace.do(DeleteRun(id=run.id), yard.dana)
    before = yard.workspace.do(GetRun(id=run.id), yard.dana)
    more = [
        SetTags(id=run.id, tags={"late": "c"}),
        RemoveTags(id=run.id, names=("a",)),
        FinishRun(id=run.id),
        UpdateRun(id=run.id, name="c"),
    ]
    for request in [*additions(yard, run.id), *more]:
        with pytest.raises(Conflict, match="is deleted"):
            yard.workspace.do(request, yard.dana)
    assert yard.workspace.do(GetRun(id=run.id), yard.dana) == before


def test_a_run_is_not_restored_into_an_experiment_that_is_deleted(yard: Yard) -> None:
    run = start(yard, experiment="old")
    yard.workspace.do(DeleteExperiment(id=run.experiment_id), yard.dana)
    with pytest.raises(Conflict, match="experiment 'old' is deleted"):
        yard.workspace.do(RestoreRun(id=run.id), yard.dana)
    assert known(yard, run.id).deleted is not None


def test_an_experiment_comes_back_without_the_runs_that_were_deleted_before_it_and_is_not_renamed_meanwhile(yard: Yard) -> None:
    do, before, within = yard.workspace.do, start(yard, experiment="old"), start(yard, experiment="old")
    do(DeleteRun(id=before.id), yard.dana)
    do(DeleteExperiment(id=before.experiment_id), yard.dana)
    with pytest.raises(Conflict, match="is deleted"):
        do(RenameExperiment(id=before.experiment_id, name="new"), yard.dana)
    do(RestoreExperiment(id=before.experiment_id), yard.dana)
    assert known(yard, before.id).deleted is not None
    assert known(yard, within.id).deleted is None


def test_bytes_that_are_not_stored_are_no_artifact_and_end_no_run(yard: Yard) -> None:
    run = start(yard)
    gone = Artifact(name="plot", kind="file", digest="0" * 64, size=4)
    for request in (LogArtifact(run_id=run.id, name="plot", kind="file", digest="0" * 64, size=4), FinishRun(id=run.id, artifacts=(gone,))):
        with pytest.raises(NotFound, match="are not stored"):
            yard.workspace.do(request, yard.dana)
    found = yard.workspace.do(GetRun(id=run.id), yard.dana)
    assert (found.run.state, found.artifacts) == ("running", ())


def test_a_run_of_which_another_process_has_spoken_since_is_not_lost_with_the_one_that_died(yard: Yard) -> None:
    run = start(yard, beats=True)
    died = clock.now()
    yard.workspace.do(BeatRun(id=run.id), yard.dana)
    assert yard.workspace.do(FinishRun(id=run.id, state="lost", ended=died), yard.dana).state == "running"
    assert known(yard, run.id).state == "running"


def test_a_run_that_says_that_it_lives_and_falls_silent_is_lost_until_it_speaks_again(yard: Yard) -> None:
    run = start(yard, beats=True)
    assert known(yard, run.id).state == "running"
    seen = silence(yard, run.id)
    lost = known(yard, run.id)
    assert (lost.state, lost.ended) == ("lost", seen)
    assert "Nothing was heard" in (lost.error or "")
    for state in ("lost", "running"):
        found = [detail.run.id for detail in yard.workspace.do(SearchRuns(where=f"state = '{state}'"), yard.dana).runs]
        assert found == ([run.id] if state == "lost" else [])
    assert yard.workspace.do(SearchRuns(where="status = 'FAILED'"), yard.dana).runs[0].run.id == run.id
    yard.workspace.do(BeatRun(id=run.id), yard.dana)
    assert known(yard, run.id).state == "running"


def test_a_run_that_never_said_that_it_lives_is_not_lost(yard: Yard) -> None:
    run = start(yard)
    assert known(yard, run.id).state == "running"
    resumed = start(yard, beats=True)
    silence(yard, resumed.id)
    yard.workspace.do(UpdateRun(id=resumed.id, state="finished"), yard.dana)
    assert yard.workspace.do(UpdateRun(id=resumed.id, state="running"), yard.dana).state == "running"
    assert known(yard, resumed.id).state == "running"


def test_a_silent_run_takes_what_its_journal_still_had_and_ends_as_it_really_ended(yard: Yard) -> None:
    run = start(yard, beats=True)
    silence(yard, run.id)
    points = PointColumns(names=("loss",), steps=(0,), times=(1,), values=(0.5,))
    assert yard.workspace.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points), yard.dana).added == 1
    assert known(yard, run.id).state == "lost"
    ended = yard.workspace.do(FinishRun(id=run.id, state="failed", error="Boom.", ended=77), yard.dana)
    assert (ended.state, ended.error, ended.ended) == ("failed", "Boom.", 77)
    assert known(yard, run.id) == ended


def test_a_run_that_was_told_lost_may_still_end_otherwise_and_any_other_end_stays(yard: Yard) -> None:
    run = start(yard, beats=True)
    silence(yard, run.id)
    assert yard.workspace.do(FinishRun(id=run.id, state="lost", error="Its process ended."), yard.dana).error == "Its process ended."
    assert known(yard, run.id).error == "Its process ended."
    assert yard.workspace.do(FinishRun(id=run.id), yard.dana).state == "finished"
    with pytest.raises(Conflict, match="ended as finished"):
        yard.workspace.do(FinishRun(id=run.id, state="failed"), yard.dana)
    yard.workspace.do(BeatRun(id=run.id), yard.dana)
    assert known(yard, run.id).state == "finished"


def test_a_start_that_is_repeated_is_a_sign_of_life(yard: Yard) -> None:
    run = start(yard, beats=True, key="night")
    silence(yard, run.id)
    assert start(yard, beats=True, key="night").state == "running"


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "./a",
        "a/.",
        "file:a",
        "https://a/b",
        "C:/a",
        "",
        "a/",
        "a\\b",
        "a;b",
        "some:thing",
        "a%2fb",
        "a#b",
        "a%2e",
    ],
)
def test_a_name_that_is_no_path_within_the_run_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        LogArtifact(run_id="r", name=name, kind="file", digest="0" * 64, size=0)


@pytest.mark.parametrize("name", ["a", "plots/loss.png", "a b/c=1", "x.tar.gz", "features.2", "_hidden/a", "epoch:10", "50% off"])
def test_a_relative_path_is_a_name(name: str) -> None:
    assert LogArtifact(run_id="r", name=name, kind="file", digest="0" * 64, size=0).name == name


@pytest.mark.parametrize("end", [FinishRun, UpdateRun])
def test_a_run_that_ends_leaves_one_chunk_a_series(yard: Yard, end: type[FinishRun | UpdateRun]) -> None:
    run = start(yard)
    for sequence in range(1, 8):
        columns = PointColumns(names=("a", "b"), steps=(sequence, sequence), times=(1, 1), values=(0.5, 0.25))
        yard.workspace.do(AppendPoints(run_id=run.id, writer="w", sequence=sequence, points=columns), yard.dana)
    yard.workspace.do(end(id=run.id, state="finished"), yard.dana)
    with yard.workspace.stores.database.read() as tx:
        assert tx.execute(select(point_chunks.c["count"])).scalars().all() == [7, 7]
