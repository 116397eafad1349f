"""Spans of request traces that come one by one, as OpenTelemetry's exporters send them."""

from __future__ import annotations

import re

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Json, Request
from plimsoll.records.tracking.traces.trace import RequestTrace

_ID = re.compile(r"[0-9a-f]{16}")

#: In one request.
_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One piece of the work that a trace is about."""

    #: Id of the trace.
    trace_id: str
    #: Within its trace: 16 hex digits.
    id: str
    #: Id of the span that it is part of; empty for the trace's own.
    parent_id: str = ""
    #: What was done.
    name: str
    #: Beginning and end in UTC nanoseconds; without an end it goes on.
    started: int
    ended: int | None = None
    #: The whole span as protobuf's JSON of OpenTelemetry has it.
    content: Json

    def __post_init__(self) -> None:
        for id in (self.id, self.parent_id):
            if (id or self.id == id) and not _ID.fullmatch(id):
                raise InvalidInput(f"{id[:80]!r} is no id of a span.", "Use 16 hex digits.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSpans(Request[int]):
    """Keep spans and return how many; the same id again replaces.

    A trace that is not there is made. One that goes on, since the span that it begins with has not ended yet, takes how it ended from
    the request that tells it.
    """

    #: What the spans tell of their traces: each trace once.
    traces: tuple[RequestTrace, ...]
    #: The spans, of these traces.
    spans: tuple[Span, ...]

    def __post_init__(self) -> None:
        if len(self.spans) > _MOST:
            raise InvalidInput(f"{len(self.spans):,} spans are too many at once.", f"Send at most {_MOST:,} in a request.")
        known = {trace.id for trace in self.traces}
        if len(known) != len(self.traces) or any(span.trace_id not in known for span in self.spans):
            raise InvalidInput("A trace of the spans is not told, or told twice.", "Tell each of their traces once.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSpans(Request[tuple[Span, ...]]):
    """Return the spans of a trace that came one by one, in order of their beginning."""

    #: The trace's id.
    trace_id: str
