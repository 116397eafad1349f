"""Rows of what was deleted go for good, a bounded number in each transaction.

First comes a mark after which it cannot be restored. Killed at any point, what is marked is still out of sight, and the next
removal ends what was begun: at no time can anybody take back one half of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, Table, delete, or_, select, tuple_, update

from plimsoll import codec
from plimsoll.records.pipelines.search import Trial
from plimsoll.runs.collection.turns import turn
from plimsoll.store.contracts import JobContext, chunks
from plimsoll.store.schema import cache_entries, claims, key_parts, steps, trials, versions
from plimsoll.store.tables.tracking import (
    GONE,
    artifacts,
    assessments,
    dataset_uses,
    datasets,
    experiment_tags,
    experiments,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    model_uses,
    point_chunks,
    run_inputs,
    run_params,
    run_tags,
    runs,
    series,
    span_values,
    trace_links,
    trace_metadata,
    trace_spans,
    trace_tags,
    traces,
    writers,
)

#: Runs, logged models or traces that are removed together.
_TOGETHER = 50

#: Chunks of points that one transaction removes: some 50 MB at most.
_CHUNKS = 1000

#: Rows that name a run and go with it.
OF_RUNS = (series, run_params, run_tags, run_inputs, dataset_uses, logged_model_metrics, model_uses, trace_links, steps, claims)

#: Rows that name a logged model and go with it.
OF_MODELS = (logged_model_params, logged_model_tags, logged_model_metrics, model_uses)

_STANDING = select(versions.c.run_id).where(versions.c.run_id.is_not(None))
_STANDING_MODELS = select(versions.c.model_id).where(versions.c.model_id.is_not(None))
_GOING = select(experiments.c.id).where(experiments.c.deleted == GONE)


def remove_runs(context: JobContext, ids: Sequence[str], before: int) -> int:
    """Remove runs with all that they logged, and return how many; one that was restored or became a version's stays.

    Args:
        context: the job's.
        ids: the runs.
        before: UTC microseconds; only what was deleted at this time or earlier goes.
    """
    removed = 0
    for some in chunks(ids, _TOGETHER):
        context.progress(f"{removed} of {len(ids)} runs removed")
        goes = _mark(context, runs, some, before)
        while goes and _drop_points(context, goes):
            pass
        with turn(context.stores.database) as tx:
            for table in OF_RUNS:
                tx.execute(delete(table).where(table.c.run_id.in_(goes)))
            tx.execute(delete(artifacts).where(artifacts.c.owner.in_(goes)))
            tx.execute(delete(writers).where(writers.c.stream.in_(goes)))
            tx.execute(update(logged_models).where(logged_models.c.run_id.in_(goes)).values(run_id=None))
            _forget_in_trials(tx, goes)
            tx.execute(delete(runs).where(runs.c.id.in_(goes)))
            _tell(context, tx, "run", goes)
        removed += len(goes)
    return removed


def remove_models(context: JobContext, ids: Sequence[str], before: int) -> int:
    """Remove logged models with their files, and return how many; one that became a version's or whose experiment was restored stays.

    Args:
        context: the job's.
        ids: the logged models.
        before: UTC microseconds; only what was deleted at this time or earlier goes, or is in an experiment that goes.
    """
    removed = 0
    for some in chunks(ids, _TOGETHER):
        with turn(context.stores.database) as tx:
            mine = logged_models.c
            away = or_(mine.deleted <= before, mine.experiment_id.in_(_GOING))
            goes = list(tx.execute(select(mine.id).where(mine.id.in_(some), away, mine.id.not_in(_STANDING_MODELS))).scalars())
            for table in OF_MODELS:
                tx.execute(delete(table).where(table.c.model_id.in_(goes)))
            tx.execute(delete(artifacts).where(artifacts.c.owner.in_(goes)))
            tx.execute(delete(logged_models).where(logged_models.c.id.in_(goes)))
            _tell(context, tx, "loggedmodel", goes)
        removed += len(goes)
    return removed


def mark_experiments(context: JobContext, ids: Sequence[str], before: int) -> list[str]:
    """Make experiments such that they cannot be restored, and return those of them that are to be removed.

    Args:
        context: the job's.
        ids: the experiments.
        before: UTC microseconds; only what was deleted at this time or earlier goes.
    """
    return [id for some in chunks(ids, _TOGETHER) for id in _mark(context, experiments, some, before)]


def remove_experiments(context: JobContext, ids: Sequence[str]) -> int:
    """Remove experiments whose runs and logged models are gone, and return how many: their names are free again.

    Args:
        context: the job's.
        ids: experiments that :func:`mark_experiments` returned.
    """
    return sum(_remove_experiment(context, id) for id in ids)


def remove_key_parts(context: JobContext) -> None:
    """Remove what keys were made of that no step and no entry has any more.

    Args:
        context: the job's.
    """
    used = [select(column).where(column.is_not(None)) for column in (steps.c.key, cache_entries.c.key, key_parts.c.code)]
    unused = [key_parts.c.key.not_in(keys) for keys in used]
    with context.stores.database.read() as tx:
        goes = list(tx.execute(select(key_parts.c.key).where(*unused)).scalars())
    for some in chunks(goes, 500):
        with turn(context.stores.database) as tx:
            # Looked at again: a step that has just been recorded finds its parts there and does not write them.
            tx.execute(delete(key_parts).where(key_parts.c.key.in_(some), *unused))


def _mark(context: JobContext, table: Table, ids: Sequence[str], before: int) -> list[str]:
    with turn(context.stores.database) as tx:
        query = select(table.c.id).where(table.c.id.in_(ids), table.c.deleted <= before)
        if table is runs:
            query = query.where(table.c.id.not_in(_STANDING))
        goes = list(tx.execute(query).scalars())
        tx.execute(update(table).where(table.c.id.in_(goes)).values(deleted=GONE))
    return goes


def _forget_in_trials(tx: Connection, ids: Sequence[str]) -> None:
    """Let trials, whose proposals and values stay, name their runs no more: a search that goes on looks at the runs that it names."""
    for row in tx.execute(select(trials).where(trials.c.run_id.in_(ids))).all():
        trial = replace(codec.from_msgpack(row.data, Trial, "The stored trial"), run_id=None)
        mine = (trials.c.search_id == row.search_id, trials.c.number == row.number)
        tx.execute(update(trials).where(*mine).values(run_id=None, data=codec.to_msgpack(trial)))


def _drop_points(context: JobContext, ids: Sequence[str]) -> bool:
    """Remove some of the points of runs; return whether there were any."""
    key = (point_chunks.c.series_id, point_chunks.c.index)
    with turn(context.stores.database) as tx:
        found = tx.execute(select(*key).join(series).where(series.c.run_id.in_(ids)).limit(_CHUNKS)).all()
        for some in chunks([tuple(row) for row in found], 200):
            tx.execute(delete(point_chunks).where(tuple_(*key).in_(some)))
    return bool(found)


def _remove_experiment(context: JobContext, id: str) -> bool:
    database = context.stores.database
    while True:
        with turn(database) as tx:
            some = list(tx.execute(select(traces.c.id).where(traces.c.experiment_id == id).limit(_TOGETHER)).scalars())
            for table in (trace_tags, trace_metadata, trace_links, assessments, span_values, trace_spans):
                tx.execute(delete(table).where(table.c.trace_id.in_(some)))
            tx.execute(delete(artifacts).where(artifacts.c.owner.in_(some)))
            tx.execute(delete(traces).where(traces.c.id.in_(some)))
        if not some:
            break
    with turn(database) as tx:
        for table in (runs, logged_models):
            if tx.execute(select(table.c.id).where(table.c.experiment_id == id).limit(1)).scalar() is not None:
                return False
        tx.execute(delete(datasets).where(datasets.c.experiment_id == id))
        tx.execute(delete(experiment_tags).where(experiment_tags.c.experiment_id == id))
        tx.execute(delete(experiments).where(experiments.c.id == id))
        _tell(context, tx, "experiment", [id])
    return True


def _tell(context: JobContext, tx: Connection, kind: str, ids: Sequence[str]) -> None:
    for id in ids:
        context.stores.events.append(tx, context.actor.name, "Collect", f"{kind}:{id}", {})
