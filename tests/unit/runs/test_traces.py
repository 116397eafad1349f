from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.run import StartRun
from plimsoll.records.tracking.experiment import CreateExperiment
from plimsoll.records.tracking.traces.trace import (
    DeleteTraces,
    GetTrace,
    KeepTraceFile,
    LinkTraces,
    ListTraceFiles,
    RecordTrace,
    RequestTrace,
    SearchTraces,
    TagTrace,
    TraceState,
)
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


def record(yard: Yard, id: str, at: int = 1, state: TraceState = "ok", experiment: str = "0", **more: object) -> RequestTrace:
    trace = RequestTrace(id=id, experiment_id=experiment, state=state, started=at * 1000, **{"duration": 5000, **more})  # type: ignore[arg-type]
    return yard.workspace.do(RecordTrace(trace=trace), yard.dana)


def found(yard: Yard, where: str = "", *order: str) -> list[str]:
    asked = SearchTraces(experiments=("0",), where=where, order=order)
    return [trace.id for trace in yard.workspace.do(asked, yard.dana).traces]


def test_a_trace_is_kept_replaced_tagged_and_given_its_files(yard: Yard) -> None:
    first = record(yard, "tr-1", state="running", duration=None, tags={"a": "b"}, metadata={"m": "n"}, request="q")
    assert yard.workspace.do(GetTrace(id="tr-1"), yard.dana) == first
    again = record(yard, "tr-1", tags={"c": "d"}, response="r")
    assert yard.workspace.do(GetTrace(id="tr-1"), yard.dana) == again
    yard.workspace.do(TagTrace(id="tr-1", tags={"e": "f"}, remove=("c",)), yard.dana)
    with pytest.raises(NotFound, match="no tag 'c'"):
        yard.workspace.do(TagTrace(id="tr-1", remove=("c",)), yard.dana)
    assert yard.workspace.do(GetTrace(id="tr-1"), yard.dana).tags == {"e": "f"}
    blobs = yard.workspace.stores.blobs
    for content in (b"one", b"two"):
        yard.workspace.do(KeepTraceFile(id="tr-1", name="traces.json", digest=blobs.put(content), size=3), yard.dana)
    (file,) = yard.workspace.do(ListTraceFiles(id="tr-1"), yard.dana)
    assert blobs.get(file.digest) == b"two"
    with pytest.raises(NotFound, match="not stored"):
        yard.workspace.do(KeepTraceFile(id="tr-1", name="x", digest="0" * 64, size=1), yard.dana)


def test_a_trace_never_moves_to_another_experiment_and_needs_one_that_is_there(yard: Yard) -> None:
    other = yard.workspace.do(CreateExperiment(name="other"), yard.dana).id
    record(yard, "tr-1")
    with pytest.raises(Conflict, match="belongs to the experiment 0"):
        record(yard, "tr-1", experiment=other)
    with pytest.raises(NotFound):
        record(yard, "tr-2", experiment="77")
    with pytest.raises(InvalidInput, match="no id of a trace"):
        record(yard, "a/b")


def test_traces_are_forgotten_by_id_or_the_oldest_up_to_a_time(yard: Yard) -> None:
    for number in range(5):
        record(yard, f"tr-{number}", at=number, tags={"a": "b"}, metadata={"c": "d"})
    digest = yard.workspace.stores.blobs.put(b"x")
    yard.workspace.do(KeepTraceFile(id="tr-0", name="x", digest=digest, size=1), yard.dana)
    assert yard.workspace.do(DeleteTraces(experiment_id="0", ids=("tr-4", "none")), yard.dana) == 1
    assert yard.workspace.do(DeleteTraces(experiment_id="1", ids=("tr-3",)), yard.dana) == 0
    assert yard.workspace.do(DeleteTraces(experiment_id="0", until=2000, limit=2), yard.dana) == 2
    assert found(yard) == ["tr-3", "tr-2"]
    assert yard.workspace.do(DeleteTraces(experiment_id="0", until=3000), yard.dana) == 2
    with pytest.raises(NotFound):
        yard.workspace.do(ListTraceFiles(id="tr-0"), yard.dana)
    with pytest.raises(InvalidInput):
        DeleteTraces(experiment_id="0")


def test_traces_that_are_linked_to_a_run_are_found_by_it_beside_those_that_it_made(yard: Yard) -> None:
    run, other = (yard.workspace.do(StartRun(), yard.dana).id for _ in range(2))
    record(yard, "made", 1, metadata={"mlflow.sourceRun": run})
    record(yard, "linked", 2, metadata={"mlflow.sourceRun": other})
    record(yard, "neither", 3)
    for _ in range(2):
        yard.workspace.do(LinkTraces(run_id=run, ids=("linked", "late", "linked")), yard.dana)
    assert found(yard, f"run_id = '{run}'") == found(yard, f"metadata.`mlflow.sourceRun` = '{run}'") == ["linked", "made"]
    assert found(yard, f"run_id = '{other}'") == ["linked"]
    record(yard, "late", 4)
    assert found(yard, f"run_id = '{run}' and status = 'OK'") == ["late", "linked", "made"]
    assert yard.workspace.do(DeleteTraces(experiment_id="0", ids=("linked",)), yard.dana) == 1
    record(yard, "linked", 5)
    assert found(yard, f"run_id = '{run}'") == ["late", "made"]
    with pytest.raises(NotFound):
        yard.workspace.do(LinkTraces(run_id="0" * 32, ids=("made",)), yard.dana)
    with pytest.raises(InvalidInput, match="no id of a trace"):
        LinkTraces(run_id=run, ids=("a/b",))


def test_traces_are_found_by_filter_in_order_and_page_by_page(yard: Yard) -> None:
    record(yard, "one", 1, tags={"mlflow.traceName": "ask", "team": "x"}, metadata={"mlflow.sourceRun": "r1"}, client_id="c1")
    record(yard, "two", 2, state="error", duration=9_000_000, tags={"mlflow.traceName": "tell"})
    record(yard, "three", 3, state="running", duration=None)
    assert found(yard) == ["three", "two", "one"]
    assert found(yard, "status = 'OK'") == ["one"]
    assert found(yard, "trace.status IN ('ERROR', 'IN_PROGRESS') and name != 'x'") == ["two"]
    assert found(yard, "execution_time_ms > 100 and end_time >= 9002") == ["two"]
    assert found(yard, "timestamp_ms <= 2 and client_request_id = 'c1'") == ["one"]
    assert found(yard, "client_request_id != 'c2'") == found(yard, "client_request_id LIKE '%'") == ["one"]
    assert found(yard, "client_request_id IS NULL") == ["three", "two"]
    assert found(yard, "run_id = 'r1' and tags.team LIKE 'x%' and metadata.`mlflow.sourceRun` = 'r1'") == ["one"]
    assert found(yard, "tags.team RLIKE '^[xy]$' and metadata.`mlflow.sourceRun` RLIKE 'r' and name RLIKE 'as'") == ["one"]
    assert found(yard, "", "execution_time_ms DESC") == ["two", "one", "three"]
    assert found(yard, "", "status", "timestamp_ms ASC") == ["two", "three", "one"]
    for order in ("name", "tags.`mlflow.traceName` ASC"):
        assert found(yard, "", order) == ["one", "two", "three"]
    assert found(yard, "", "name DESC") == ["two", "one", "three"]
    assert found(yard, "", "run_id") == found(yard, "", "metadata.`mlflow.sourceRun` DESC") == ["one", "three", "two"]
    for order in ("timestamp_ms DESC",), ("tags.team", "name DESC"):
        seen, token = [], None
        for _ in range(3):
            page = yard.workspace.do(SearchTraces(experiments=("0",), limit=1, page=token, order=order), yard.dana)
            seen += [trace.id for trace in page.traces]
            token = page.next
        assert (seen, token) == (found(yard, "", *order), None)
    for order in ("name", "tags.x", "name DESC"), ("feedback.x",), ("depth",):
        with pytest.raises(InvalidInput):
            found(yard, "", *order)
    seen, token = [], None
    for _ in range(3):
        page = yard.workspace.do(SearchTraces(experiments=("0",), limit=1, page=token), yard.dana)
        seen += [trace.id for trace in page.traces]
        token = page.next
    assert (seen, token) == (["three", "two", "one"], None)
    for where in ("text = 'x'", "span.depth = 'x'", "issue.name = 'x'", "status > 'OK'"):
        with pytest.raises(InvalidInput):
            found(yard, where)
