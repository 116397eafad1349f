"""The traces of MLflow's clients from 3.0: ours, in their words. Spans come and go as a file of the trace."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from plimsoll import clock
from plimsoll.errors import Conflict, NotFound
from plimsoll.records.tracking.experiment import LONGEST_TAG
from plimsoll.records.tracking.traces.span import ListSpans
from plimsoll.records.tracking.traces.trace import (
    DeleteTraces,
    GetTrace,
    LinkTraces,
    RecordTrace,
    RequestTrace,
    SearchTraces,
    TagTrace,
    TraceState,
)
from plimsoll.server.mlflow.experiments import active
from plimsoll.server.mlflow.speech import HELP, INVALID, MISSING, Asked, Spoken, checked_name
from plimsoll.server.mlflow.traces.thought import listed, object_of, read, texts_of, told
from plimsoll.server.mlflow.traces.times import length, moment

#: Traces that come with all their spans.
_AT_ONCE = 100

#: Traces that one request may link to a run.
_MOST_LINKS = 100

#: What its clients call a state -> ours.
STATES: dict[str, TraceState] = {"OK": "ok", "ERROR": "error", "IN_PROGRESS": "running", "STATE_UNSPECIFIED": "unknown"}
_TOLD = {state: name for name, state in STATES.items()}

#: Where its clients look for the spans.
PLACE = "mlflow.artifactLocation"

#: Tells its clients whether to ask for the spans instead.
_SPANS = "mlflow.trace.spansLocation"


def place_of(trace: RequestTrace) -> str:
    """Return where a trace's files are.

    Args:
        trace: the trace.
    """
    return f"mlflow-artifacts:/{trace.experiment_id}/traces/{trace.id}/artifacts"


def _told(trace: RequestTrace) -> dict[str, Any]:
    spans = {_SPANS: "TRACKING_STORE"} if trace.spans else {}
    took = {} if trace.duration is None else {"execution_duration": f"{trace.duration // 1_000_000}.{trace.duration % 1_000_000:06}s"}
    return {
        "trace_id": trace.id,
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": trace.experiment_id}},
        "request_time": clock.exact_iso(trace.started),
        **took,
        "state": _TOLD[trace.state],
        "request_preview": trace.request,
        "response_preview": trace.response,
        **({"client_request_id": trace.client_id} if trace.client_id else {}),
        "trace_metadata": trace.metadata,
        **({"assessments": [told(each) for each in trace.assessments]} if trace.assessments else {}),
        "tags": {**trace.tags, PLACE: place_of(trace), **spans},
    }


def _experiment(location: Any) -> str:
    place = object_of("trace_location", location).get("mlflow_experiment")
    found = object_of("trace_location.mlflow_experiment", place).get("experiment_id")
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
    info = object_of("trace.trace_info", object_of("trace", asked.fields.get("trace")).get("trace_info"))
    id = info.get("trace_id")
    if not isinstance(id, str) or not id:
        raise Spoken(INVALID, "Missing value for required parameter 'trace.trace_info.trace_id'.")
    # A long text is cut rather than the trace be lost with it.
    tags = {name: text[:LONGEST_TAG] for name, text in texts_of("tags", info.get("tags")).items()}
    metadata = {name: text[:LONGEST_TAG] for name, text in texts_of("trace_metadata", info.get("trace_metadata")).items()}
    for name in (PLACE, _SPANS):
        tags.pop(name, None)
    trace = RequestTrace(
        id=id,
        experiment_id=active(asked, _experiment(info.get("trace_location"))).id,
        state=STATES.get(str(info.get("state")), "unknown"),
        started=moment("request_time", info.get("request_time")),
        duration=length("execution_duration", info.get("execution_duration")),
        request=str(info.get("request_preview") or "")[:10_000],
        response=str(info.get("response_preview") or "")[:10_000],
        client_id=str(info.get("client_request_id") or ""),
        tags=tags,
        metadata=metadata,
        assessments=tuple(read(id, each) for each in listed("assessments", info.get("assessments"))),
    )
    try:
        return {"trace": {"trace_info": _told(asked.do(RecordTrace(trace=trace)))}}
    except Conflict as error:
        raise Spoken(INVALID, str(error)) from None


def whole(asked: Asked) -> dict[str, Any]:
    """Return a trace with the spans that came one by one."""
    return {"trace": _with_spans(asked, known_trace(asked, asked.text("trace_id")))}


def several(asked: Asked) -> dict[str, Any]:
    """Return traces with the spans that came one by one; what is not there is left out."""
    found = []
    for id in asked.words("trace_ids")[:_AT_ONCE]:
        with suppress(NotFound):
            found.append(_with_spans(asked, asked.do(GetTrace(id=id))))
    return {"traces": found}


def infos(asked: Asked) -> dict[str, Any]:
    """Return traces without their spans; what is not there is left out."""
    found = []
    for id in asked.words("trace_ids")[:_AT_ONCE]:
        with suppress(NotFound):
            found.append(_told(asked.do(GetTrace(id=id))))
    return {"trace_infos": found}


def _with_spans(asked: Asked, trace: RequestTrace) -> dict[str, Any]:
    return {"trace_info": _told(trace), "spans": [span.content for span in asked.do(ListSpans(trace_id=trace.id))]}


def get(asked: Asked) -> dict[str, Any]:
    """Return a trace without its spans."""
    return {"trace": {"trace_info": _told(known_trace(asked, asked.text("trace_id")))}}


def search(asked: Asked) -> dict[str, Any]:
    """Return a page of traces without their spans."""
    if not asked.items("locations"):
        raise Spoken(INVALID, f"Missing value for required parameter 'locations'.{HELP}")
    limit = asked.page_size(100, 500)
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
    experiment = asked.text("experiment_id")
    ids, until = tuple(asked.words("request_ids")), asked.fields.get("max_timestamp_millis")
    if ids and until is not None:
        raise Spoken(INVALID, "Only one of `max_timestamp_millis` and `trace_ids` can be specified.")
    if not ids and until is None:
        raise Spoken(INVALID, "Either `max_timestamp_millis` or `trace_ids` must be specified.")
    # None of them is not all of them.
    limit = None if asked.fields.get("max_traces") is None else asked.whole("max_traces", 0)
    if ids and limit:
        raise Spoken(INVALID, "`max_traces` can't be specified if `trace_ids` is specified.")
    if not ids and limit is not None and limit <= 0:
        raise Spoken(INVALID, f"`max_traces` must be a positive integer, received {limit}.")
    latest = None if until is None else asked.whole("max_timestamp_millis", 0) * 1000 + 999
    request = DeleteTraces(experiment_id=experiment, ids=ids, until=latest, limit=limit or None)
    return {"traces_deleted": asked.do(request)}


def link(asked: Asked) -> dict[str, Any]:
    """Say that traces belong to a run."""
    ids = asked.words("trace_ids")
    if not ids:
        raise Spoken(INVALID, f"Missing value for required parameter 'trace_ids'.{HELP}")
    if len(ids) > _MOST_LINKS:
        raise Spoken(INVALID, f"Cannot link more than {_MOST_LINKS} traces to a run in a single request. Provided {len(ids)} traces.")
    asked.do(LinkTraces(run_id=asked.run_id(), ids=tuple(ids)))
    return {}


def set_tag(asked: Asked) -> dict[str, Any]:
    """Set a tag."""
    known, key = known_trace(asked, asked.text("trace_id")), asked.text("key")
    checked_name("key", "key", key)
    # MLflow's server cuts what is longer, and existing code relies on that it does not raise.
    asked.do(TagTrace(id=known.id, tags={key: asked.text("value", required=False)[:LONGEST_TAG]}))
    return {}


def delete_tag(asked: Asked) -> dict[str, Any]:
    """Remove a tag."""
    known, key = known_trace(asked, asked.text("trace_id")), asked.text("key")
    if key not in known.tags:
        raise Spoken(MISSING, f"No trace tag with key '{key}' for trace with ID '{known.id}'")
    asked.do(TagTrace(id=known.id, remove=(key,)))
    return {}
