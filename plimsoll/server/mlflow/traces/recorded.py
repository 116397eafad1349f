"""The traces of MLflow's clients from 3.0: ours, in their words. Spans come and go as a file of the trace."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from plimsoll.errors import Conflict, NotFound
from plimsoll.records.tracking.trace import (
    DeleteTraces,
    GetTrace,
    RecordTrace,
    RequestTrace,
    SearchTraces,
    TagTrace,
    TraceState,
)
from plimsoll.server.mlflow.experiments import active
from plimsoll.server.mlflow.speech import INVALID, MISSING, Asked, Spoken

_STATES: dict[str, TraceState] = {"OK": "ok", "ERROR": "error", "IN_PROGRESS": "running", "STATE_UNSPECIFIED": "unknown"}
_TOLD = {state: name for name, state in _STATES.items()}

#: Where its clients look for the spans.
_PLACE = "mlflow.artifactLocation"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_LENGTH = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?s")


def _moment(name: str, text: Any) -> int:
    """Return UTC microseconds of a time as protobuf writes it."""
    match = _MOMENT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise Spoken(INVALID, f"Invalid value {text!r} for parameter '{name}' supplied.")
    try:
        whole = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
    except ValueError:
        raise Spoken(INVALID, f"Invalid value {text!r} for parameter '{name}' supplied.") from None
    return (whole - _EPOCH) // timedelta(microseconds=1) + int(f"{match[2] or '':0<9}"[:6])


def _length(name: str, text: Any) -> int | None:
    """Return microseconds of a duration as protobuf writes it, or None for none."""
    if text is None:
        return None
    match = _LENGTH.fullmatch(text) if isinstance(text, str) else None
    if match is None or text.startswith("-"):
        raise Spoken(INVALID, f"Invalid value {text!r} for parameter '{name}' supplied.")
    return int(match[1]) * 1_000_000 + int(f"{match[2] or '':0<9}"[:6])


def _told(trace: RequestTrace) -> dict[str, Any]:
    at = _EPOCH + timedelta(microseconds=trace.started)
    took = {} if trace.duration is None else {"execution_duration": f"{trace.duration // 1_000_000}.{trace.duration % 1_000_000:06}s"}
    return {
        "trace_id": trace.id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": trace.experiment_id}},
        "request_time": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        **took,
        "state": _TOLD[trace.state],
        "request_preview": trace.request,
        "response_preview": trace.response,
        **({"client_request_id": trace.client_id} if trace.client_id else {}),
        "trace_metadata": trace.metadata,
        "tags": {**trace.tags, _PLACE: f"mlflow-artifacts:/{trace.experiment_id}/traces/{trace.id}/artifacts"},
    }


def _object(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Spoken(INVALID, f"Invalid value for parameter '{name}' supplied: it is no object.")
    return value


def _texts(name: str, value: Any) -> dict[str, str]:
    return {str(key): "" if text is None else str(text) for key, text in _object(name, value).items()}


def _experiment(location: Any) -> str:
    found = _object("trace_location.mlflow_experiment", _object("trace_location", location).get("mlflow_experiment")).get("experiment_id")
    if not isinstance(found, str) or not found:
        raise Spoken(INVALID, "Missing value for required parameter 'trace_location.mlflow_experiment.experiment_id'.")
    return found


def known_trace(asked: Asked, id: str) -> RequestTrace:
    """Return a trace.

    Args:
        asked: the request.
        id: its id.

    Raises:
        Spoken: there is none.
    """
    try:
        return asked.do(GetTrace(id=id))
    except NotFound:
        raise Spoken(MISSING, f"Trace with ID '{id}' not found.") from None


def start(asked: Asked) -> dict[str, Any]:
    """Keep a trace, which its clients send when it has ended."""
    info = _object("trace.trace_info", _object("trace", asked.fields.get("trace")).get("trace_info"))
    id = info.get("trace_id")
    if not isinstance(id, str) or not id:
        raise Spoken(INVALID, "Missing value for required parameter 'trace.trace_info.trace_id'.")
    if info.get("assessments"):
        raise Spoken("NOT_IMPLEMENTED", "Assessments of traces are not spoken yet. Send the trace without them.")
    tags = _texts("tags", info.get("tags"))
    tags.pop(_PLACE, None)
    trace = RequestTrace(
        id=id,
        experiment_id=active(asked, _experiment(info.get("trace_location"))).id,
        state=_STATES.get(str(info.get("state")), "unknown"),
        started=_moment("request_time", info.get("request_time")),
        duration=_length("execution_duration", info.get("execution_duration")),
        request=str(info.get("request_preview") or "")[:10_000],
        response=str(info.get("response_preview") or "")[:10_000],
        client_id=str(info.get("client_request_id") or ""),
        tags=tags,
        metadata=_texts("trace_metadata", info.get("trace_metadata")),
    )
    try:
        return {"trace": {"trace_info": _told(asked.do(RecordTrace(trace=trace)))}}
    except Conflict as error:
        raise Spoken(INVALID, str(error)) from None


def get(asked: Asked) -> dict[str, Any]:
    """Return a trace without its spans."""
    return {"trace": {"trace_info": _told(known_trace(asked, asked.text("trace_id")))}}


def search(asked: Asked) -> dict[str, Any]:
    """Return a page of traces without their spans."""
    limit = asked.whole("max_results", 100) or 100
    if not 1 <= limit <= 500:
        raise Spoken(INVALID, f"Invalid value {limit} for parameter 'max_results' supplied. It must be at most 500.")
    page = asked.do(
        SearchTraces(
            experiments=tuple(_experiment(location) for location in asked.items("locations")),
            where=asked.text("filter", required=False),
            order=tuple(asked.words("order_by")),
            limit=limit,
            page=asked.text("page_token", required=False) or None,
        )
    )
    return {"traces": [_told(trace) for trace in page.traces], **({"next_page_token": page.next} if page.next else {})}


def delete(asked: Asked) -> dict[str, Any]:
    """Forget traces for good."""
    ids, until = tuple(asked.words("request_ids")), asked.fields.get("max_timestamp_millis")
    if bool(ids) == (until is not None):
        raise Spoken(INVALID, "Either `max_timestamp_millis` or `trace_ids` must be specified, but not both.")
    limit = asked.whole("max_traces", 0)
    if ids and limit:
        raise Spoken(INVALID, "`max_traces` can't be specified if `trace_ids` is specified.")
    if limit < 0:
        raise Spoken(INVALID, f"`max_traces` must be a positive integer, received {limit}.")
    latest = None if until is None else asked.whole("max_timestamp_millis", 0) * 1000 + 999
    request = DeleteTraces(experiment_id=asked.text("experiment_id"), ids=ids, until=latest, limit=limit or None)
    return {"traces_deleted": asked.do(request)}


def set_tag(asked: Asked) -> dict[str, Any]:
    """Set a tag."""
    known, key = known_trace(asked, asked.text("trace_id")), asked.text("key")
    asked.do(TagTrace(id=known.id, tags={key: asked.text("value", required=False)}))
    return {}


def delete_tag(asked: Asked) -> dict[str, Any]:
    """Remove a tag."""
    known, key = known_trace(asked, asked.text("trace_id")), asked.text("key")
    if key not in known.tags:
        raise Spoken(MISSING, f"No trace tag with key '{key}' for trace with ID '{known.id}'")
    asked.do(TagTrace(id=known.id, remove=(key,)))
    return {}
