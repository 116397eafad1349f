"""Assessments as MLflow's clients log, read, change and delete them. Searches of traces find them with their traces."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from plimsoll.errors import NotFound
from plimsoll.records.tracking.traces.assessment import Assessment, DeleteAssessment, GetAssessment, LogAssessment, UpdateAssessment
from plimsoll.server.mlflow.speech import HELP, INVALID, MISSING, Asked, Spoken
from plimsoll.server.mlflow.traces.recorded import known_trace
from plimsoll.server.mlflow.traces.thought import kind_of, object_of, read, said_of, texts_of, told

_CHANGED = ("assessment_name", "feedback", "expectation", "rationale", "metadata")


def _answer(each: Assessment) -> dict[str, Any]:
    return {"assessment": told(each)}


def log(asked: Asked) -> dict[str, Any]:
    """Keep an assessment."""
    trace = known_trace(asked, asked.text("trace_id"))
    sent = object_of("assessment", asked.fields.get("assessment"))
    try:
        return _answer(asked.do(LogAssessment(assessment=read(trace.id, sent))))
    except NotFound:
        raise _missing(trace.id, str(sent.get("overrides"))) from None


def get(asked: Asked) -> dict[str, Any]:
    """Return an assessment."""
    trace, id = known_trace(asked, asked.text("trace_id")).id, asked.text("assessment_id")
    try:
        return _answer(asked.do(GetAssessment(trace_id=trace, id=id)))
    except NotFound:
        raise _missing(trace, id) from None


def update(asked: Asked) -> dict[str, Any]:
    """Change what the request's mask names."""
    trace, id = known_trace(asked, asked.text("trace_id")).id, asked.text("assessment_id")
    if asked.fields.get("assessment") is None:
        raise Spoken(INVALID, f"Missing value for required parameter 'assessment'.{HELP}")
    sent, mask = object_of("assessment", asked.fields.get("assessment")), _mask(asked.fields.get("update_mask"))
    unknown = next((name for name in mask if name not in _CHANGED), None)
    if unknown is not None or not mask:
        raise Spoken(INVALID, f"Invalid value {unknown!r} in 'update_mask'. Use some of: {', '.join(_CHANGED)}.")
    says = "feedback" in mask or "expectation" in mask
    request = UpdateAssessment(
        trace_id=trace,
        id=id,
        kind=kind_of(sent) if says else None,
        said=said_of(sent) if says else None,
        name=str(sent.get("assessment_name", "")) if "assessment_name" in mask else None,
        rationale=str(sent.get("rationale", "")) if "rationale" in mask else None,
        metadata=texts_of("metadata", sent.get("metadata")) if "metadata" in mask else {},
    )
    try:
        return _answer(asked.do(request))
    except NotFound:
        raise _missing(trace, id) from None


def _mask(sent: Any) -> list[str]:
    """Return the names in a field mask: protobuf writes them with capitals and commas."""
    if isinstance(sent, dict):
        sent = ",".join(map(str, sent.get("paths") or ()))
    names = sent.split(",") if isinstance(sent, str) and sent else []
    return [re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name.strip()) for name in names]


def delete(asked: Asked) -> dict[str, Any]:
    """Forget an assessment; one that is not there is no error."""
    trace = known_trace(asked, asked.text("trace_id")).id
    with suppress(NotFound):
        asked.do(DeleteAssessment(trace_id=trace, id=asked.text("assessment_id")))
    return {}


def _missing(trace: str, id: str) -> Spoken:
    return Spoken(MISSING, f"Assessment with ID '{id}' not found for trace '{trace}'")
