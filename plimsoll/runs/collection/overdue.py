"""What was deleted so long ago that it is to be removed, and what of it stays all the same."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from plimsoll import clock
from plimsoll.records.tracking.collect import Binned, Collect
from plimsoll.records.tracking.experiment import DEFAULT_EXPERIMENT_ID
from plimsoll.store.contracts import chunks
from plimsoll.store.schema import events, jobs, versions
from plimsoll.store.tables.tracking import experiments, logged_models, runs, traces

#: Microseconds from one collection to the next.
_DAY = 86_400_000_000


def due(tx: Connection) -> bool:
    """Return whether it is a day since the last collection was asked for, or, before the first, since the home was made.

    Args:
        tx: an open transaction.
    """
    last = tx.execute(select(func.max(jobs.c.created)).where(jobs.c.verb == Collect.__name__)).scalar()
    last = last or tx.execute(select(func.min(events.c.at))).scalar()
    return last is not None and clock.now() - last > _DAY


@dataclass(frozen=True, slots=True)
class Overdue:
    """What is to be removed."""

    #: Experiments that go whole.
    experiments: tuple[Binned, ...]
    #: Runs that go.
    runs: tuple[Binned, ...]
    #: Logged models that go.
    models: tuple[Binned, ...]
    #: What stays because a version stands on it.
    stays: tuple[Binned, ...]


def overdue(tx: Connection, before: int) -> Overdue:
    """Return what is to be removed. A version's run and logged model stay, and so does their experiment: they are its evidence.

    Args:
        tx: an open transaction.
        before: UTC microseconds; what was deleted at this time or earlier is overdue.
    """
    rows = tx.execute(select(versions.c.model, versions.c.number, versions.c.run_id, versions.c.model_id)).all()
    standing = {id: f"{row.model}/{row.number} stands on it" for row in rows for id in (row.run_id, row.model_id) if id is not None}
    found = tx.execute(select(experiments.c.id, experiments.c.name).where(experiments.c.deleted <= before)).all()
    named = {row.id: row.name for row in found if row.id != DEFAULT_EXPERIMENT_ID}
    held: dict[str, str] = {}
    for table in (runs, logged_models):
        for some in chunks(list(standing), 500):
            for id, experiment in tx.execute(select(table.c.id, table.c.experiment_id).where(table.c.id.in_(some))):
                held[experiment] = standing[id].replace("on it", f"on {id}")
    going = [id for id in named if id not in held]
    old_runs = tx.execute(select(runs.c.id, runs.c.name).where(runs.c.deleted <= before).order_by(runs.c.id)).all()
    own = select(logged_models.c.id, logged_models.c.name)
    old_models = {row.id: row.name for row in tx.execute(own.where(logged_models.c.deleted <= before))}
    for some in chunks(going, 500):
        old_models |= {row.id: row.name for row in tx.execute(own.where(logged_models.c.experiment_id.in_(some)))}
    listed = [
        *(Binned(kind="experiment", id=id, name=name, why=held.get(id, "")) for id, name in named.items()),
        *(Binned(kind="run", id=row.id, name=row.name, why=standing.get(row.id, "")) for row in old_runs),
        *(Binned(kind="logged model", id=id, name=name, why=standing.get(id, "")) for id, name in old_models.items()),
    ]
    goes = [each for each in listed if not each.why]
    return Overdue(
        experiments=tuple(each for each in goes if each.kind == "experiment"),
        runs=tuple(each for each in goes if each.kind == "run"),
        models=tuple(each for each in goes if each.kind == "logged model"),
        stays=tuple(each for each in listed if each.why),
    )


def traces_of_experiments(tx: Connection, ids: list[str]) -> set[str]:
    """Return the ids of the traces of experiments.

    Args:
        tx: an open transaction.
        ids: the experiments.
    """
    some = chunks(ids, 500)
    return {id for part in some for id in tx.execute(select(traces.c.id).where(traces.c.experiment_id.in_(part))).scalars()}
