"""Traces of clients before 3.0: begun and ended by two requests, told with times in milliseconds."""

from __future__ import annotations

from typing import Any

from plimsoll import clock
from plimsoll.records.tracking.traces.span import RecordSpans
from plimsoll.records.tracking.traces.trace import RecordTrace, RequestTrace, SearchTraces, TagTrace
from plimsoll.server.mlflow.experiments import active
from plimsoll.server.mlflow.speech import INVALID, Asked, Spoken, pairs, texts
from plimsoll.server.mlflow.traces.recorded import PLACE, STATES, known_trace, place_of

_INPUTS, _OUTPUTS = "mlflow.traceInputs", "mlflow.traceOutputs"
_TOLD = {state: name for name, state in STATES.items()} | {"unknown": "TRACE_STATUS_UNSPECIFIED"}


def _info(trace: RequestTrace) -> dict[str, Any]:
    return {
        "request_id": trace.id,
        "experiment_id": trace.experiment_id,
        "timestamp_ms": trace.started // 1000,
        "execution_time_ms": (trace.duration or 0) // 1000,
        "status": _TOLD[trace.state],
        "request_metadata": pairs(trace.metadata),
        "tags": pairs({**trace.tags, PLACE: place_of(trace)}),
    }


def _tags(asked: Asked) -> dict[str, str]:
    return {name: text for name, text in texts("tags", asked.items("tags")).items() if name != PLACE}


def start(asked: Asked) -> dict[str, Any]:
    """Begin a trace."""
    trace = RequestTrace(
        id=f"tr-{clock.new_id()}",
        experiment_id=active(asked, asked.text("experiment_id")).id,
        state="running",
        started=asked.whole("timestamp_ms", 0) * 1000 or clock.now(),
        duration=None,
        tags=_tags(asked),
        metadata=texts("request_metadata", asked.items("request_metadata")),
    )
    return {"trace_info": _info(asked.do(RecordTrace(trace=trace)))}


def end(asked: Asked) -> dict[str, Any]:
    """End a trace; what has ended stays as it is."""
    known = known_trace(asked, asked.text("trace_id"))
    state = STATES.get(asked.text("status", required=False) or "OK")
    if state is None or state == "running":
        raise Spoken(INVALID, f"Invalid value {asked.fields.get('status')!r} for parameter 'status' supplied.")
    ended = asked.whole("timestamp_ms", 0) * 1000 or clock.now()
    metadata, tags = texts("request_metadata", asked.items("request_metadata")), _tags(asked)
    told = RequestTrace(
        id=known.id,
        experiment_id=known.experiment_id,
        state=state,
        started=known.started,
        duration=max(0, ended - known.started),
        request=metadata.get(_INPUTS, known.metadata.get(_INPUTS, "")),
        response=metadata.get(_OUTPUTS, ""),
        metadata=metadata,
    )
    asked.do(RecordSpans(traces=(told,), spans=()))
    if tags:
        asked.do(TagTrace(id=known.id, tags=tags))
    return info(asked)


def info(asked: Asked) -> dict[str, Any]:
    """Return a trace without its spans."""
    return {"trace_info": _info(known_trace(asked, asked.text("trace_id")))}


def search(asked: Asked) -> dict[str, Any]:
    """Return a page of traces without their spans."""
    limit = asked.page_size(100, 500)
    page = asked.do(
        SearchTraces(
            experiments=tuple(asked.words("experiment_ids")),
            where=asked.text("filter", required=False),
            order=tuple(asked.words("order_by")),
            limit=limit,
            page=asked.text("page_token", required=False) or None,
        )
    )
    return {"traces": [_info(trace) for trace in page.traces], **({"next_page_token": page.next} if page.next else {})}
