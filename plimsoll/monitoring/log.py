"""Predictions and labels as they arrive: rows into segments, counts into the tracks' counters, each batch exactly once.

Everything a batch changes is changed in one transaction together with the writer's sequence, so a batch that is sent again after a
crash, of whichever side, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import func, select, update

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.monitor import LATENCY_EDGES, AppendLabels, AppendPredictions, PredictionColumns, PredictionReceipt, TrafficCount
from plimsoll.records.plane import ReportPlane
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.schema import models, planes, prediction_index, traffic

#: What stands before the names of input columns in the stream of predictions.
INPUT = "in."


def predictions_stream(model: str, environment: str) -> str:
    """Return the name of the stream of a deployment's logged rows.

    Args:
        model: registered name.
        environment: its name.
    """
    return f"predictions/{model}/{environment}"


def labels_stream(model: str, environment: str) -> str:
    """Return the name of the stream of a deployment's truths.

    Args:
        model: registered name.
        environment: its name.
    """
    return f"labels/{model}/{environment}"


def append_predictions(request: AppendPredictions, context: Context) -> PredictionReceipt:
    """Append a plane's rows and counts; a batch seen before changes nothing."""
    stream = predictions_stream(request.model, request.environment)
    segments = context.stores.segments
    last = segments.last_sequence(context.tx, stream, request.plane)
    if request.sequence <= last:
        return PredictionReceipt(sequence=last, added=0)
    for count in request.counts:
        if len(count.latency) != len(LATENCY_EDGES) + 1:
            raise InvalidInput(
                f"A latency count has {len(count.latency)} cells.", f"Count into {len(LATENCY_EDGES) + 1} cells between LATENCY_EDGES."
            )
    rows = request.rows
    columns: dict[str, Sequence[Any]] = {
        "request_id": rows.request_id,
        "row": rows.row,
        "unit": rows.unit,
        "track": rows.track,
        "release_id": rows.release_id,
        "output": rows.output,
        "status": rows.status,
        "latency": rows.latency,
        "trace": rows.trace,
        **{INPUT + name: values for name, values in rows.inputs.items()},
    }
    added = segments.append(context.tx, stream, request.plane, request.sequence, columns, rows.at)
    _index(context, stream, rows)
    _count(context, request.model, request.environment, request.counts)
    if request.dropped:
        _drop(context, request)
    return PredictionReceipt(sequence=request.sequence, added=added)


def append_labels(request: AppendLabels, context: Context) -> PredictionReceipt:
    """Append truths; a batch seen before changes nothing.

    Raises:
        NotFound: there is no such model.
    """
    if context.tx.execute(select(models.c.name).where(models.c.name == request.model)).first() is None:
        raise NotFound(f"There is no model {request.model!r}.", "List models with: plimsoll models list")
    stream = labels_stream(request.model, request.environment)
    segments = context.stores.segments
    last = segments.last_sequence(context.tx, stream, request.writer)
    if request.sequence <= last:
        return PredictionReceipt(sequence=last, added=0)
    # Reading a stream orders it by `at`, which says nothing about which of two truths was told last.
    count = len(request.row)
    arrival = {"arrived": (clock.now(),) * count, "place": range(count)}
    columns: dict[str, Sequence[Any]] = {"request_id": request.request_id, "row": request.row, "value": request.value, **arrival}
    added = segments.append(context.tx, stream, request.writer, request.sequence, columns, request.at)
    return PredictionReceipt(sequence=request.sequence, added=added)


def _index(context: Context, stream: str, rows: PredictionColumns) -> None:
    """Note between which times each request's rows lie: a request has several rows and tracks, and may be sent again much later."""
    found: dict[str, tuple[int, int]] = {}
    for request_id, at in zip(rows.request_id, rows.at, strict=True):
        start, end = found.get(request_id, (at, at))
        found[request_id] = min(start, at), max(end, at)
    table = prediction_index
    for ids in chunks(sorted(found), 500):
        query = select(table).where(table.c.stream == stream, table.c.request_id.in_(ids))
        known = {row.request_id: (row.start, row.end) for row in context.tx.execute(query)}
        fresh = [{"request_id": id, "stream": stream, "start": found[id][0], "end": found[id][1]} for id in ids if id not in known]
        if fresh:
            context.tx.execute(table.insert(), fresh)
        for id, (start, end) in known.items():
            wider = min(start, found[id][0]), max(end, found[id][1])
            if wider != (start, end):
                where = (table.c.stream == stream, table.c.request_id == id)
                context.tx.execute(update(table).where(*where).values(start=wider[0], end=wider[1]))


def _count(context: Context, model: str, environment: str, counts: Iterable[TrafficCount]) -> None:
    for count in counts:
        key = {
            "model": model,
            "environment": environment,
            "generation": count.generation,
            "release_id": count.release_id,
            "track": count.track,
        }
        where = [traffic.c[name] == value for name, value in key.items()]
        numbers = {"requests": count.requests, "errors": count.errors, "paired": count.paired, "flipped": count.flipped}
        known = context.tx.execute(select(traffic).where(*where)).one_or_none()
        if known is None:
            context.tx.execute(traffic.insert().values(**key, **numbers, latency=list(count.latency)))
            continue
        latency = [before + more for before, more in zip(known.latency, count.latency, strict=True)]
        added = {name: traffic.c[name] + value for name, value in numbers.items()}
        context.tx.execute(update(traffic).where(*where).values(**added, latency=latency))


def _drop(context: Context, request: AppendPredictions) -> None:
    where = planes.c.plane == request.plane
    if context.tx.execute(update(planes).where(where).values(dropped=func.coalesce(planes.c.dropped, 0) + request.dropped)).rowcount:
        return
    # A plane may log before it has said what it has loaded.
    report = ReportPlane(plane=request.plane, environment=request.environment, address="", generations={}, tracks=())
    row = {"plane": request.plane, "environment": request.environment, "report": codec.plain(report), "at": clock.now()}
    context.tx.execute(planes.insert().values(**row, dropped=request.dropped))
