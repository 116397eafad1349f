"""What is added to a run besides its series and artifacts: batches, tags, datasets."""

from __future__ import annotations

import struct

from sqlalchemy import Connection, insert, select

from plimsoll import clock
from plimsoll.errors import NotFound
from plimsoll.records.run import PointColumns, Run, SetTags
from plimsoll.records.tracking.change import LogBatch, LogDatasets, RemoveTags
from plimsoll.records.tracking.dataset import Dataset, ListReadDatasets, ReadDataset
from plimsoll.runs.described import add_params, one_run, put_tags, remove_tags
from plimsoll.runs.lifecycle import changeable, present
from plimsoll.store.contracts import Context, Points
from plimsoll.store.tables.tracking import dataset_uses, datasets, writers

#: Writer of the points that come without a writer of their own.
_BATCHES = "(batches)"

#: Tag of a dataset's use that says what the data was for.
_CONTEXT = "mlflow.data.context"

#: Datasets that are told at once.
_MOST_DATASETS = 1000


def log_batch(request: LogBatch, context: Context) -> None:
    """Add points, parameters and tags, all or none."""
    changeable(context, request.run_id)
    add_params(context.tx, request.run_id, request.params)
    put_tags(context.tx, request.run_id, request.tags)
    points = request.points and _new_points(context.tx, context.stores.points, request.run_id, request.points)
    if points and points.values:
        mine = select(writers.c.sequence).where(writers.c.stream == request.run_id, writers.c.writer == _BATCHES)
        last = context.tx.execute(mine).scalar() or 0
        context.stores.points.append(context.tx, request.run_id, _BATCHES, last + 1, points)


def _new_points(tx: Connection, store: Points, run_id: str, points: PointColumns) -> PointColumns:
    """Return the points that are not there yet."""
    lowest: dict[str, int] = {}
    for name, step in zip(points.names, points.steps, strict=True):
        lowest[name] = min(step, lowest.get(name, step))
    highest = {row.name: row.last_step for row in store.summaries(tx, [run_id]).get(run_id, ())}
    seen: set[tuple[str, int, int, bytes]] = set()
    for name, step in lowest.items():
        if name in highest and highest[name] >= step:
            known = store.read(tx, run_id, name, steps=(step, highest[name]))
            seen.update((name, *point) for point in zip(known.steps, known.times, map(_bits, known.values), strict=True))
    kept: list[int] = []
    for index, point in enumerate(zip(points.names, points.steps, points.times, map(_bits, points.values), strict=True)):
        if point not in seen:
            seen.add(point)
            kept.append(index)
    return PointColumns(
        names=tuple(points.names[i] for i in kept),
        steps=tuple(points.steps[i] for i in kept),
        times=tuple(points.times[i] for i in kept),
        values=tuple(points.values[i] for i in kept),
    )


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def set_tags(request: SetTags, context: Context) -> Run:
    """Add or replace tags; a run that has ended may still be tagged."""
    present(context, request.id)
    put_tags(context.tx, request.id, request.tags)
    return one_run(context.tx, request.id)


def remove_run_tags(request: RemoveTags, context: Context) -> Run:
    """Remove tags that are there."""
    present(context, request.id)
    known = one_run(context.tx, request.id)
    missing = [name for name in request.names if name not in known.tags]
    if missing:
        raise NotFound(f"The run {request.id} has no tag {missing[0]!r}.", "Correct the tag's name.", tag=missing[0], run_id=request.id)
    remove_tags(context.tx, request.id, request.names)
    return one_run(context.tx, request.id)


def log_datasets(request: LogDatasets, context: Context) -> None:
    """Record which datasets a run read."""
    run = changeable(context, request.run_id)
    for use in request.uses:
        id = _dataset_id(context.tx, run.experiment_id, use.dataset)
        mine = (dataset_uses.c.run_id == request.run_id, dataset_uses.c.dataset_id == id)
        context.tx.execute(dataset_uses.delete().where(*mine))
        context.tx.execute(insert(dataset_uses).values(run_id=request.run_id, dataset_id=id, tags=use.tags, context=use.tags.get(_CONTEXT)))


def list_read_datasets(request: ListReadDatasets, context: Context) -> tuple[ReadDataset, ...]:
    """Return which datasets the runs of experiments read."""
    told = (datasets.c.experiment_id, datasets.c.name, datasets.c.digest, dataset_uses.c.context)
    query = select(*told).distinct().join_from(datasets, dataset_uses, dataset_uses.c.dataset_id == datasets.c.id)
    query = query.where(datasets.c.experiment_id.in_(request.experiments))
    order = (datasets.c.name, datasets.c.digest, datasets.c.experiment_id, dataset_uses.c.context)
    return tuple(ReadDataset(**row._mapping) for row in context.tx.execute(query.order_by(*order).limit(_MOST_DATASETS)))


def _dataset_id(tx: Connection, experiment_id: str, dataset: Dataset) -> str:
    same = (datasets.c.experiment_id == experiment_id, datasets.c.name == dataset.name, datasets.c.digest == dataset.digest)
    known: str | None = tx.execute(select(datasets.c.id).where(*same)).scalar()
    if known is not None:
        return known
    id = clock.new_id()
    described = {
        "name": dataset.name,
        "digest": dataset.digest,
        "source_type": dataset.source_type,
        "source": dataset.source,
        "schema": dataset.schema,
        "profile": dataset.profile,
    }
    tx.execute(insert(datasets).values(id=id, experiment_id=experiment_id, **described))
    return id
