"""Spans as the file that MLflow's clients write them to, for its pages: made of those that came one by one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from plimsoll.records.tracking.traces.span import Span
from plimsoll.server.mlflow.speech import written
from plimsoll.server.mlflow.traces.spans import plain_value

#: The name of the file.
SPANS_FILE = "traces.json"


def filed(spans: Iterable[Span]) -> bytes:
    """Return the file of a trace's spans.

    Args:
        spans: all of them.
    """
    return written({"spans": [_span(span.content) for span in spans]})


def _span(content: Mapping[str, Any]) -> dict[str, Any]:
    status = content.get("status", {})
    return {
        "trace_id": content["trace_id"],
        "span_id": content["span_id"],
        "parent_span_id": content.get("parent_span_id"),
        "name": content.get("name", ""),
        "start_time_unix_nano": _time(content, "start_time_unix_nano"),
        "end_time_unix_nano": _time(content, "end_time_unix_nano"),
        "events": [_event(event) for event in content.get("events", ())],
        "status": {"code": status.get("code", "STATUS_CODE_UNSET"), "message": status.get("message", "")},
        # Each is JSON within JSON there.
        "attributes": {name: json.dumps(value, ensure_ascii=False) for name, value in _attributes(content).items()},
        "links": [_link(link) for link in content.get("links", ())],
    }


def _time(content: Mapping[str, Any], name: str) -> int | None:
    return int(content.get(name, 0)) or None


def _attributes(content: Mapping[str, Any]) -> dict[str, Any]:
    return {each["key"]: plain_value(each.get("value", {})) for each in content.get("attributes", ())}


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": event.get("name", ""), "time_unix_nano": _time(event, "time_unix_nano"), "attributes": _attributes(event)}


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    trace, span = (base64.b64decode(link.get(name, "")).hex() for name in ("trace_id", "span_id"))
    return {"trace_id": f"tr-{trace}", "span_id": span, "attributes": _attributes(link)}
