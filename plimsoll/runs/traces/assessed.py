"""Assessments of request traces are kept, changed and forgotten."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from plimsoll import clock, codec
from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.mlflow.words import SESSION_KEY
from plimsoll.records.tracking.traces.assessment import (
    Assessment,
    AssessmentError,
    DeleteAssessment,
    GetAssessment,
    LogAssessment,
    Said,
    UpdateAssessment,
)
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.tables.tracking import assessments, traces

#: Of one trace: each is part of every answer that holds the trace.
_MOST = 1000

_PLAIN = (
    "trace_id", "id", "name", "kind", "source", "source_id", "rationale", "span_id", "metadata", "overrides", "valid", "created", "updated",
)  # fmt: skip


def assessments_of(tx: Connection, traces: Sequence[str]) -> dict[str, tuple[Assessment, ...]]:
    """Return the assessments of traces, by trace, the oldest first.

    Args:
        tx: an open transaction.
        traces: ids.
    """
    found: dict[str, list[Assessment]] = {id: [] for id in traces}
    for some in chunks(list(traces), 500):
        query = select(assessments).where(assessments.c.trace_id.in_(some)).order_by(assessments.c.created, assessments.c.id)
        for row in tx.execute(query):
            found[row.trace_id].append(_assessment(row))
    return {id: tuple(each) for id, each in found.items()}


def _assessment(row: Row[Any]) -> Assessment:
    error = None if row.error is None else codec.convert(row.error, AssessmentError, "An assessment's error")
    said = Said(value=None if row.value is None else row.value[0], error=error)
    return Assessment(said=said, **{name: row._mapping[name] for name in _PLAIN})


def _row(each: Assessment) -> dict[str, Any]:
    value = each.said.value
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308 and math.isfinite(value)
    return {
        **{name: getattr(each, name) for name in _PLAIN},
        # In a list, since a column cannot tell JSON's null from nothing.
        "value": [value],
        "error": None if each.said.error is None else codec.plain(each.said.error),
        "text": value if isinstance(value, str) else codec.to_json(value).decode(),
        "number": float(value) if numeric else None,
        "session": SESSION_KEY in each.metadata,
    }


def _named(each: Assessment) -> Assessment:
    """Return it with an id and its times."""
    created = each.created or clock.now()
    said = codec.to_msgpack(replace(each, id="", valid=True, created=created, updated=created))
    id = each.id or f"a-{codec.digest(said)[:32]}"
    return replace(each, id=id, created=created, updated=each.updated or created)


def add_assessments(tx: Connection, trace: str, given: Iterable[Assessment]) -> list[Assessment]:
    """Keep assessments of a trace that is there, and return them as they are kept; those with a known id replace it.

    Args:
        tx: a writing transaction.
        trace: the trace's id.
        given: the assessments.

    Raises:
        NotFound: one overrides what is not there.
        Conflict: the trace has too many.
    """
    mine, kept = assessments.c.trace_id == trace, []
    for sent in given:
        each = _named(replace(sent, trace_id=trace))
        known = tx.execute(select(assessments).where(mine, assessments.c.id == each.id)).one_or_none()
        if known is not None and not sent.id:
            # Sent again, as after a lost answer: what happened to it since stays.
            kept.append(_assessment(known))
            continue
        if each.overrides:
            done = tx.execute(assessments.update().where(mine, assessments.c.id == each.overrides).values(valid=False))
            if not done.rowcount:
                raise _missing(trace, each.overrides)
        if known is not None:
            each = replace(each, valid=known.valid)
            tx.execute(assessments.delete().where(mine, assessments.c.id == each.id))
        tx.execute(insert(assessments).values(**_row(each)))
        kept.append(each)
    if kept and tx.execute(select(func.count()).select_from(assessments).where(mine)).scalar_one() > _MOST:
        raise Conflict(f"The trace {trace} would have more than {_MOST:,} assessments.", "Delete some of them first.")
    return kept


def _missing(trace: str, id: str) -> NotFound:
    return NotFound(f"The trace {trace} has no assessment {id!r}.", "Use an id that the trace names.", trace_id=trace)


def _check_trace(tx: Connection, id: str) -> None:
    if tx.execute(select(traces.c.id).where(traces.c.id == id)).scalar() is None:
        raise NotFound(f"There is no trace {id!r}.", "Use an id that a search of traces named.", trace_id=id)


def _one(tx: Connection, trace: str, id: str) -> Assessment:
    _check_trace(tx, trace)
    row = tx.execute(select(assessments).where(assessments.c.trace_id == trace, assessments.c.id == id)).one_or_none()
    if row is None:
        raise _missing(trace, id)
    return _assessment(row)


def log_assessment(request: LogAssessment, context: Context) -> Assessment:
    """Keep an assessment."""
    _check_trace(context.tx, request.assessment.trace_id)
    return add_assessments(context.tx, request.assessment.trace_id, [request.assessment])[0]


def get_assessment(request: GetAssessment, context: Context) -> Assessment:
    """Return an assessment."""
    return _one(context.tx, request.trace_id, request.id)


def update_assessment(request: UpdateAssessment, context: Context) -> Assessment:
    """Change an assessment."""
    known = _one(context.tx, request.trace_id, request.id)
    if request.kind not in (None, known.kind):
        raise InvalidInput(f"Cannot update {request.kind} value on an assessment that is {known.kind}.", "Log a new assessment.")
    changed = replace(
        known,
        name=known.name if request.name is None else request.name,
        said=known.said if request.said is None else request.said,
        rationale=known.rationale if request.rationale is None else request.rationale,
        metadata=known.metadata | request.metadata,
        updated=max(clock.now(), known.updated),
    )
    where = (assessments.c.trace_id == request.trace_id, assessments.c.id == request.id)
    context.tx.execute(assessments.update().where(*where).values(**_row(changed)))
    return changed


def delete_assessment(request: DeleteAssessment, context: Context) -> Assessment:
    """Forget an assessment; what it overrode counts again, unless another one overrides that too."""
    gone, mine = _one(context.tx, request.trace_id, request.id), assessments.c.trace_id == request.trace_id
    context.tx.execute(assessments.delete().where(mine, assessments.c.id == request.id))
    others = select(assessments.c.id).where(mine, assessments.c.overrides == gone.overrides).limit(1)
    if gone.overrides and context.tx.execute(others).scalar() is None:
        context.tx.execute(assessments.update().where(mine, assessments.c.id == gone.overrides).values(valid=True))
    return gone
