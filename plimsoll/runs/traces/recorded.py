"""Request traces are kept, tagged, given their files, and forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from plimsoll.errors import Conflict, NotFound
from plimsoll.records.run import Artifact
from plimsoll.records.tracking.traces.trace import (
    DeleteTraces,
    GetTrace,
    KeepTraceFile,
    LinkTraces,
    ListTraceFiles,
    RecordTrace,
    RequestTrace,
    TagTrace,
)
from plimsoll.runs.experiments import experiment_for
from plimsoll.runs.lifecycle import present
from plimsoll.runs.outputs.files import FILE
from plimsoll.runs.outputs.kept import artifacts_of
from plimsoll.runs.traces.assessed import add_assessments, assessments_of
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.tables.statements import Upsert
from plimsoll.store.tables.tracking import artifacts, assessments, span_values, trace_links, trace_metadata, trace_spans, trace_tags, traces

_LINKS = Upsert(trace_links, replacing=False)
_OWN = ("id", "experiment_id", "state", "started", "duration", "request", "response", "client_id")


def traces_of(tx: Connection, rows: Sequence[Row[Any]]) -> tuple[RequestTrace, ...]:
    """Return rows of ``traces`` as records, in their order.

    Args:
        tx: an open transaction.
        rows: whole rows.
    """
    tags: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    metadata: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    for some in chunks(list(tags), 500):
        for table, found in ((trace_tags, tags), (trace_metadata, metadata)):
            for row in tx.execute(select(table).where(table.c.trace_id.in_(some)).order_by(table.c.name)):
                found[row.trace_id][row.name] = row.value
    thought, spans = assessments_of(tx, list(tags)), dict.fromkeys(tags, 0)
    for some in chunks(list(tags), 500):
        count = select(trace_spans.c.trace_id, func.count()).where(trace_spans.c.trace_id.in_(some)).group_by(trace_spans.c.trace_id)
        spans |= {row[0]: row[1] for row in tx.execute(count)}
    return tuple(
        RequestTrace(
            **{name: row._mapping[name] for name in _OWN},
            tags=tags[row.id],
            metadata=metadata[row.id],
            assessments=thought[row.id],
            spans=spans[row.id],
        )
        for row in rows
    )


def trace_of(tx: Connection, id: str) -> RequestTrace:
    """Return a trace.

    Args:
        tx: an open transaction.
        id: its id.

    Raises:
        NotFound: there is none.
    """
    row = tx.execute(select(traces).where(traces.c.id == id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no trace {id!r}.", "Use an id that a search of traces named.", trace_id=id)
    return traces_of(tx, [row])[0]


def record_trace(request: RecordTrace, context: Context) -> RequestTrace:
    """Keep a trace in an experiment that is in use."""
    trace, tx = request.trace, context.tx
    experiment_for(tx, "", trace.experiment_id)
    known = tx.execute(select(traces.c.experiment_id).where(traces.c.id == trace.id)).scalar()
    if known is not None and known != trace.experiment_id:
        raise Conflict(f"The trace {trace.id} belongs to the experiment {known}.", "Give each trace an id of its own.")
    for table in (trace_tags, trace_metadata):
        tx.execute(table.delete().where(table.c.trace_id == trace.id))
    row = {name: getattr(trace, name) for name in _OWN}
    if known is None:
        tx.execute(insert(traces).values(**row))
    else:
        tx.execute(traces.update().where(traces.c.id == trace.id).values(**row))
    for table, values in ((trace_tags, trace.tags), (trace_metadata, trace.metadata)):
        if values:
            tx.execute(insert(table), [{"trace_id": trace.id, "name": name, "value": value} for name, value in values.items()])
    add_assessments(tx, trace.id, trace.assessments)
    return trace_of(tx, trace.id)


def get_trace(request: GetTrace, context: Context) -> RequestTrace:
    """Return a trace."""
    return trace_of(context.tx, request.id)


def tag_trace(request: TagTrace, context: Context) -> RequestTrace:
    """Add, replace and remove tags."""
    known = trace_of(context.tx, request.id)
    missing = [name for name in request.remove if name not in known.tags]
    if missing:
        raise NotFound(f"The trace {request.id} has no tag {missing[0]!r}.", "Correct the tag's name.", tag=missing[0])
    for some in chunks([*request.tags, *request.remove], 500):
        context.tx.execute(trace_tags.delete().where(trace_tags.c.trace_id == request.id, trace_tags.c.name.in_(some)))
    if request.tags:
        context.tx.execute(
            insert(trace_tags), [{"trace_id": request.id, "name": name, "value": value} for name, value in request.tags.items()]
        )
    return trace_of(context.tx, request.id)


def link_traces(request: LinkTraces, context: Context) -> None:
    """Note that traces belong to a run."""
    present(context, request.run_id)
    _LINKS.rows(context.tx, [{"run_id": request.run_id, "trace_id": id} for id in dict.fromkeys(request.ids)])


def delete_traces(request: DeleteTraces, context: Context) -> int:
    """Forget traces with their files; what is not there is left out."""
    query = select(traces.c.id).where(traces.c.experiment_id == request.experiment_id).order_by(traces.c.started, traces.c.id)
    gone: list[str] = []
    if request.until is not None:
        gone = list(context.tx.execute(query.where(traces.c.started <= request.until).limit(request.limit)).scalars())
    for some in chunks(request.ids, 500):
        gone += context.tx.execute(query.where(traces.c.id.in_(some))).scalars()
    for some in chunks(gone, 500):
        for table in (trace_tags, trace_metadata, trace_links, assessments, span_values, trace_spans):
            context.tx.execute(table.delete().where(table.c.trace_id.in_(some)))
        context.tx.execute(artifacts.delete().where(artifacts.c.owner.in_(some)))
        context.tx.execute(traces.delete().where(traces.c.id.in_(some)))
    return len(gone)


def list_trace_files(request: ListTraceFiles, context: Context) -> tuple[Artifact, ...]:
    """Return a trace's files."""
    trace_of(context.tx, request.id)
    return artifacts_of(context, request.id)


def keep_trace_file(request: KeepTraceFile, context: Context) -> Artifact:
    """Attach stored bytes to a trace."""
    trace_of(context.tx, request.id)
    if not context.stores.blobs.has(request.digest):
        raise NotFound(f"The bytes {request.digest[:12]} of {request.name!r} are not stored.", "Upload them before naming them.")
    context.tx.execute(artifacts.delete().where(artifacts.c.owner == request.id, artifacts.c.name == request.name))
    row = {"owner": request.id, "name": request.name, "kind": FILE, "digest": request.digest, "size": request.size}
    context.tx.execute(insert(artifacts).values(**row))
    return Artifact(name=request.name, kind=FILE, digest=request.digest, size=request.size)
