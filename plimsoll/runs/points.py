"""Metric points of runs."""

from __future__ import annotations

from plimsoll.errors import InvalidInput
from plimsoll.records.run import AppendPoints, GetSeries, PointsReceipt, Series
from plimsoll.runs.lifecycle import changeable
from plimsoll.store.contracts import Context


def append_points(request: AppendPoints, context: Context) -> PointsReceipt:
    """Append a writer's next batch; a batch seen before changes nothing, even when the run has ended since."""
    if request.sequence < 1:
        raise InvalidInput(f"The sequence {request.sequence} is below 1.", "Count a writer's batches from 1.")
    points = context.stores.points
    last = points.last_sequence(context.tx, request.run_id, request.writer)
    if request.sequence <= last:
        return PointsReceipt(sequence=last, added=0)
    changeable(context, request.run_id)
    added = points.append(context.tx, request.run_id, request.writer, request.sequence, request.points)
    return PointsReceipt(sequence=request.sequence, added=added)


def get_series(request: GetSeries, context: Context) -> Series:
    """Return a metric's history, whole, a part of it, or thinned to a width in pixels."""
    paged = request.first > 0 or request.limit is not None
    positions = (request.first, 2**62 if request.limit is None else request.limit) if paged else None
    return context.stores.points.read(context.tx, request.run_id, request.name, request.width, request.steps, positions)
