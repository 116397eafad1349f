from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.tracking.experiment import CreateExperiment
from plimsoll.records.tracking.traces.span import ListSpans, RecordSpans, Span
from plimsoll.records.tracking.traces.trace import DeleteTraces, GetTrace, RecordTrace, RequestTrace
from plimsoll.runs.traces import spans
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


def told(state: Any = "running", started: int = 5, **more: Any) -> RequestTrace:
    duration = None if state == "running" else 3
    return RequestTrace(id="tr-1", experiment_id="0", state=state, started=started, duration=duration, **more)


def span(number: int, name: str = "work", **more: Any) -> Span:
    return Span(trace_id="tr-1", id=f"{number:016x}", name=name, started=number, content={"name": name, "deep": [{}]}, **more)


def record(yard: Yard, trace: RequestTrace, *sent: Span) -> RequestTrace:
    assert yard.workspace.do(RecordSpans(traces=(trace,), spans=sent), yard.dana) == len(sent)
    return yard.workspace.do(GetTrace(id="tr-1"), yard.dana)


def test_spans_come_back_in_order_and_the_same_one_again_replaces(yard: Yard) -> None:
    many = [span(number, parent_id="0" * 16, ended=number + 1) for number in range(450)]
    assert record(yard, told(), *reversed(many)).spans == 450
    assert list(yard.workspace.do(ListSpans(trace_id="tr-1"), yard.dana)) == many
    again = record(yard, told(), span(7, "first"), span(7, "again"))
    assert again.spans == 450
    assert yard.workspace.do(ListSpans(trace_id="tr-1"), yard.dana)[7].name == "again"


def test_a_trace_that_goes_on_takes_its_end_once_and_keeps_its_tags(yard: Yard) -> None:
    record(yard, told(started=9), span(1))
    assert record(yard, told(started=4, metadata={"m": "n"}), span(2)).started == 4
    ended = record(yard, told("error", 4, tags={"a": "b"}, metadata={"m": "at its end"}, request="q"), span(3))
    assert (ended.state, ended.duration, ended.request, ended.tags, ended.metadata) == ("error", 3, "q", {"a": "b"}, {"m": "at its end"})
    assert record(yard, told("ok", 1, tags={"c": "d"}), span(4)) == RequestTrace(**{**_fields(ended), "spans": 4})


def _fields(trace: RequestTrace) -> dict[str, Any]:
    return {name: getattr(trace, name) for name in trace.__slots__}


def test_a_trace_that_its_client_tells_itself_keeps_its_spans(yard: Yard) -> None:
    record(yard, told(), span(1))
    kept = yard.workspace.do(RecordTrace(trace=told("ok", response="r")), yard.dana)
    assert (kept.state, kept.response, kept.spans) == ("ok", "r", 1)


def test_spans_go_with_their_trace_and_need_its_experiment(yard: Yard) -> None:
    record(yard, told(), span(1))
    elsewhere = RequestTrace(
        id="tr-1", experiment_id=yard.workspace.do(CreateExperiment(name="other"), yard.dana).id, state="ok", started=1, duration=1
    )
    with pytest.raises(Conflict, match="belongs to the experiment 0"):
        yard.workspace.do(RecordSpans(traces=(elsewhere,), spans=(span(2),)), yard.dana)
    yard.workspace.do(DeleteTraces(experiment_id="0", ids=("tr-1",)), yard.dana)
    with pytest.raises(NotFound):
        yard.workspace.do(ListSpans(trace_id="tr-1"), yard.dana)
    assert record(yard, told(), span(3)).spans == 1


def test_a_trace_has_no_more_than_so_many_and_a_refused_request_leaves_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_MOST", 2)
    with pytest.raises(Conflict, match="more than 2 spans"):
        record(yard, told(), *(span(number) for number in range(3)))
    with pytest.raises(NotFound):
        yard.workspace.do(GetTrace(id="tr-1"), yard.dana)


def test_a_request_that_does_not_tell_its_traces_is_refused() -> None:
    for traces in ((), (told(), told())):
        with pytest.raises(InvalidInput, match="told twice"):
            RecordSpans(traces=traces, spans=(span(1),))
    with pytest.raises(InvalidInput, match="10,001 spans"):
        RecordSpans(traces=(told(),), spans=(span(1),) * 10_001)
    for wrong in ({"id": ""}, {"id": "A" * 16}, {"parent_id": "x"}):
        with pytest.raises(InvalidInput, match="no id of a span"):
            Span(**{"trace_id": "tr-1", "id": "a" * 16, "name": "", "started": 1, "content": {}, **wrong})  # type: ignore[arg-type]
