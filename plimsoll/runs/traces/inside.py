"""What filters of traces say of their spans: one span has to fulfil all conditions that ``and`` joins."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_

from plimsoll.errors import InvalidInput
from plimsoll.records.request import Json
from plimsoll.runs.search.language import Comparison
from plimsoll.runs.search.meaning import signed
from plimsoll.store.tables.tracking import span_values, trace_spans, traces

_ATTRIBUTE = "attributes."
_TYPE = "mlflow.spanType"
_STATES = {"STATUS_CODE_OK": "OK", "STATUS_CODE_ERROR": "ERROR"}

_SIGNS = ("=", "!=", "IN", "NOT IN", "LIKE", "ILIKE", "RLIKE")


def values_of(content: Json) -> dict[str, str]:
    """Return what a search finds a span by: ``status``, ``type``, ``attributes.NAME`` and the text that is ``told``, as far as they are.

    Args:
        content: a span as protobuf's JSON of OpenTelemetry has it; what is otherwise tells nothing.
    """
    if not isinstance(content, dict):
        return {}
    found = {}
    status = content.get("status")
    if isinstance(status, dict) and status.get("code") in _STATES:
        found["status"] = _STATES[status["code"]]
    found |= {_ATTRIBUTE + name: text for name, text in _attributes(content)}
    if _ATTRIBUTE + _TYPE in found:
        found["type"] = found[_ATTRIBUTE + _TYPE]
    events = content.get("events")
    texts = [status.get("message") if isinstance(status, dict) else None]
    for event in events if isinstance(events, list) else ():
        if isinstance(event, dict):
            texts += [event.get("name"), *(text for pair in _attributes(event) for text in pair)]
    if told := "\n".join(text for text in texts if isinstance(text, str) and text):
        found["told"] = told
    return found


def _attributes(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    sent = content.get("attributes")
    for each in sent if isinstance(sent, list) else ():
        if isinstance(each, dict) and isinstance(each.get("key"), str):
            yield each["key"], _text(each.get("value"))


def _text(value: Any) -> str:
    """Return an attribute's value as text. MLflow's clients send texts as JSON has them, with quotes around."""
    kind, held = next(iter(value.items())) if isinstance(value, dict) and value else ("", None)
    if kind == "string_value" and isinstance(held, str) and held.startswith('"'):
        try:
            held = json.loads(held)
        except ValueError:
            return str(held)
    return held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)


def is_inside(condition: Comparison) -> bool:
    """Return whether a condition is one on spans.

    Args:
        condition: of a filter of traces.
    """
    kind, key = condition.name.kind.lower(), condition.name.key.lower()
    return kind == "span" or (kind in ("", "trace", "attribute", "attributes") and key == "text")


def holds_inside(conditions: Sequence[Comparison], dialect: str) -> ColumnElement[bool]:
    """Return whether one span of a trace fulfils conditions, as an expression over ``traces``.

    Args:
        conditions: such that :func:`is_inside`, at least one.
        dialect: ``sqlite`` or ``postgresql``.

    Raises:
        InvalidInput: a name means nothing of a span, or is compared with what it cannot be; or a pattern is none.
    """
    return exists().where(trace_spans.c.trace_id == traces.c.id, *(_holds(each, dialect) for each in conditions))


def _holds(condition: Comparison, dialect: str) -> ColumnElement[bool]:
    key, sign, value = condition.name.key, condition.operator, condition.value
    content = key in ("text", "content")
    signs: Sequence[str] = ("LIKE", "ILIKE") if content else _SIGNS
    if sign not in signs:
        raise InvalidInput(f"span.{key} comparator '{sign}' not one of '{list(signs)}'", "Compare it with one of these.")
    if not isinstance(value, str | tuple):
        raise InvalidInput(f"Expected a quoted string value for span (e.g. 'my-value'). Got value {value}", "Put it in single quotes.")
    mine = and_(span_values.c.trace_id == trace_spans.c.trace_id, span_values.c.span_id == trace_spans.c.id)
    holds = signed(span_values.c.value, sign, value, dialect)
    if content:
        # A span's text is what it holds and what that is called there.
        called = signed(func.substr(span_values.c.name, len(_ATTRIBUTE) + 1), sign, value, dialect)
        return or_(signed(trace_spans.c.name, sign, value, dialect), exists().where(mine, or_(holds, called)))
    if key == "name":
        return signed(trace_spans.c.name, sign, value, dialect)
    return exists().where(mine, span_values.c.name == _named(key), holds)


def _named(key: str) -> str:
    name = key.removeprefix(_ATTRIBUTE)
    if name == key and key not in ("type", "status"):
        known = f"name, status, type, {_ATTRIBUTE}<attribute_name>"
        raise InvalidInput(f"Invalid span attribute '{key}'. Supported attributes: {known}.", "Correct the name.")
    if not name:
        raise InvalidInput("Span attribute name cannot be empty after 'attributes.'", "Name the attribute.")
    bare = name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in '`"' else name
    return key if name == key else _ATTRIBUTE + bare
