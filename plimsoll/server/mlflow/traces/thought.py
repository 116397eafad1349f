"""Assessments in the words of MLflow's clients, and back."""

from __future__ import annotations

import json
from typing import Any

from plimsoll import clock
from plimsoll.records.tracking.traces.assessment import Assessment, AssessmentError, AssessmentKind, AssessmentSource, Said
from plimsoll.server.mlflow.speech import INVALID, Spoken
from plimsoll.server.mlflow.traces.times import moment

_SOURCES: dict[str, AssessmentSource] = {"HUMAN": "person", "LLM_JUDGE": "judge", "AI_JUDGE": "judge", "CODE": "code"}
_TOLD = {"person": "HUMAN", "judge": "LLM_JUDGE", "code": "CODE", "unknown": "SOURCE_TYPE_UNSPECIFIED"}
_KINDS: tuple[AssessmentKind, ...] = ("feedback", "expectation", "issue")


def object_of(name: str, value: Any) -> dict[str, Any]:
    """Return an object; empty for none.

    Args:
        name: where it stands, for the message.
        value: what was sent.

    Raises:
        Spoken: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Spoken(INVALID, f"Invalid value for parameter '{name}' supplied: it is no object.")
    return value


def texts_of(name: str, value: Any) -> dict[str, str]:
    """Return an object of texts.

    Args:
        name: where it stands, for the message.
        value: what was sent.

    Raises:
        Spoken: it is something else.
    """
    return {str(key): "" if text is None else str(text) for key, text in object_of(name, value).items()}


def listed(name: str, value: Any) -> list[Any]:
    """Return a list; empty for none.

    Args:
        name: where it stands, for the message.
        value: what was sent.

    Raises:
        Spoken: it is something else.
    """
    if value is not None and not isinstance(value, list):
        raise Spoken(INVALID, f"Invalid value for parameter '{name}' supplied: it is no list.")
    return value or []


def _text(name: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise Spoken(INVALID, f"Invalid value for parameter '{name}' supplied: it is no text.")
    return value or ""


def kind_of(sent: dict[str, Any]) -> AssessmentKind:
    """Return what kind an assessment is.

    Args:
        sent: as its client sent it.

    Raises:
        Spoken: it is none, or several.
    """
    found = [kind for kind in _KINDS if sent.get(kind) is not None]
    if len(found) != 1:
        raise Spoken(INVALID, "Exactly one of `expectation`, `feedback`, or `issue` should be specified.")
    return found[0]


def _exact(value: Any) -> Any:
    """Return a value with whole numbers as such: protobuf has one kind of number, and writes 4 as 4.0."""
    if isinstance(value, list):
        return [_exact(each) for each in value]
    if isinstance(value, dict):
        return {key: _exact(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def said_of(sent: dict[str, Any]) -> Said:
    """Return what an assessment says.

    Args:
        sent: as its client sent it.

    Raises:
        Spoken: it says nothing that is understood.
    """
    kind = kind_of(sent)
    held = object_of(kind, sent[kind])
    if kind == "issue":
        return Said(value=_text("issue.issue_name", held.get("issue_name")))
    value, packed = _exact(held.get("value")), object_of("serialized_value", held.get("serialized_value"))
    if packed:
        if packed.get("serialization_format") != "JSON_FORMAT":
            raise Spoken(INVALID, f"Unknown serialization format: {packed.get('serialization_format')}. Only JSON_FORMAT is supported.")
        try:
            value = json.loads(_text("serialized_value.value", packed.get("value")))
        except (ValueError, RecursionError):
            raise Spoken(INVALID, "The serialized value of an expectation is not valid JSON.") from None
    wrong = object_of("error", held.get("error") or sent.get("error"))
    if not wrong:
        return Said(value=value)
    code, message, stack = (_text(f"error.{name}", wrong.get(name)) for name in ("error_code", "error_message", "stack_trace"))
    return Said(value=value, error=AssessmentError(code=code, message=message, stack=stack))


def read(trace_id: str, sent: Any) -> Assessment:
    """Return an assessment.

    Args:
        trace_id: of its trace.
        sent: as its client sent it.

    Raises:
        Spoken: it is not understood.
    """
    sent = object_of("assessment", sent)
    if not sent.get("assessment_name"):
        raise Spoken(INVALID, "Missing value for required parameter 'assessment.assessment_name'.")
    source = object_of("source", sent.get("source"))
    return Assessment(
        trace_id=trace_id,
        id=_text("assessment_id", sent.get("assessment_id")),
        name=_text("assessment_name", sent.get("assessment_name")),
        kind=kind_of(sent),
        said=said_of(sent),
        source=_SOURCES.get(_text("source_type", source.get("source_type")), "unknown"),
        source_id=_text("source_id", source.get("source_id")),
        rationale=_text("rationale", sent.get("rationale")),
        span_id=_text("span_id", sent.get("span_id")),
        metadata=texts_of("metadata", sent.get("metadata")),
        overrides=_text("overrides", sent.get("overrides")),
        valid=sent.get("valid") is not False,
        created=moment("create_time", sent["create_time"]) if sent.get("create_time") else 0,
        updated=moment("last_update_time", sent["last_update_time"]) if sent.get("last_update_time") else 0,
    )


def told(each: Assessment) -> dict[str, Any]:
    """Return an assessment in its clients' words.

    Args:
        each: the assessment.
    """
    return {
        "assessment_id": each.id,
        "assessment_name": each.name,
        "trace_id": each.trace_id,
        "source": {"source_type": _TOLD[each.source], **({"source_id": each.source_id} if each.source_id else {})},
        "create_time": clock.exact_iso(each.created),
        "last_update_time": clock.exact_iso(each.updated),
        each.kind: _held(each),
        "metadata": each.metadata,
        "valid": each.valid,
        **{name: text for name in ("rationale", "span_id", "overrides") if (text := getattr(each, name))},
    }


def _held(each: Assessment) -> dict[str, Any]:
    value, error = each.said.value, each.said.error
    if each.kind == "issue":
        return {"issue_name": value}
    if each.kind == "expectation" and isinstance(value, list | dict):
        return {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": json.dumps(value)}}
    if error is None:
        return {"value": value}
    return {"value": value, "error": {"error_code": error.code, "error_message": error.message, "stack_trace": error.stack}}
