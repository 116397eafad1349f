"""Spans that come one by one are kept, and make their traces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, func, insert, select

from plimsoll.errors import Conflict
from plimsoll.records.tracking.traces.span import ListSpans, RecordSpans, Span
from plimsoll.records.tracking.traces.trace import RecordTrace, RequestTrace
from plimsoll.runs.traces.inside import values_of
from plimsoll.runs.traces.recorded import record_trace, trace_of
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.tables.tracking import span_values, trace_spans, traces

#: Of one trace: a client reads all of them at once.
_MOST = 20_000

#: Of an attribute that a search finds a span by.
_LONGEST_NAME = 250

_OWN = ("trace_id", "id", "parent_id", "name", "started", "ended", "content")


def record_spans(request: RecordSpans, context: Context) -> int:
    """Keep spans and what they tell of their traces."""
    tx = context.tx
    for told in request.traces:
        _keep(told, context)
    for some in chunks(request.spans, 200):
        by_trace: dict[str, list[str]] = {}
        for span in some:
            by_trace.setdefault(span.trace_id, []).append(span.id)
        for trace, ids in by_trace.items():
            tx.execute(trace_spans.delete().where(trace_spans.c.trace_id == trace, trace_spans.c.id.in_(ids)))
            tx.execute(span_values.delete().where(span_values.c.trace_id == trace, span_values.c.span_id.in_(ids)))
        # One that a request holds twice is kept as it comes last.
        last = {(span.trace_id, span.id): span for span in some}.values()
        tx.execute(insert(trace_spans), [_row(span) for span in last])
        tx.execute(insert(span_values), [row for span in last for row in _values(span)])
    for told in request.traces:
        if tx.execute(select(func.count()).select_from(trace_spans).where(trace_spans.c.trace_id == told.id)).scalar_one() > _MOST:
            raise Conflict(f"The trace {told.id} would have more than {_MOST:,} spans.", "Trace less of what it does.")
    return len(request.spans)


def _row(span: Span) -> dict[str, Any]:
    return {name: getattr(span, name) for name in _OWN}


def _values(span: Span) -> list[dict[str, str]]:
    """Return the rows that a search finds a span by."""
    found = {"status": "UNSET", "type": "UNKNOWN"} | values_of(span.content)
    # One database of two keeps no NUL, and no index takes a name of any length.
    return [
        {"trace_id": span.trace_id, "span_id": span.id, "name": name, "value": value.replace("\0", "\ufffd")}
        for name, value in found.items()
        if len(name) <= _LONGEST_NAME and "\0" not in name
    ]


def _keep(told: RequestTrace, context: Context) -> None:
    known = _known(context.tx, told.id)
    if known is None or known.experiment_id != told.experiment_id:
        # Another experiment is refused there.
        record_trace(RecordTrace(trace=told), context)
        return
    if known.state != "running":
        return
    if told.state == "running":
        newer = replace(known, started=min(known.started, told.started), metadata=told.metadata | known.metadata)
    else:
        # What it says of itself at its end is newer than what it said before.
        newer = replace(told, metadata=known.metadata | told.metadata)
    newer = replace(newer, assessments=(), tags=told.tags | known.tags)
    record_trace(RecordTrace(trace=newer), context)


def _known(tx: Connection, id: str) -> RequestTrace | None:
    there = tx.execute(select(traces.c.id).where(traces.c.id == id)).scalar() is not None
    return trace_of(tx, id) if there else None


def list_spans(request: ListSpans, context: Context) -> tuple[Span, ...]:
    """Return a trace's spans."""
    trace_of(context.tx, request.trace_id)
    query = select(trace_spans).where(trace_spans.c.trace_id == request.trace_id).order_by(trace_spans.c.started, trace_spans.c.id)
    return tuple(Span(**{name: row._mapping[name] for name in _OWN}) for row in context.tx.execute(query))
