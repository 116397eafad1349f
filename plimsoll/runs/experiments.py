"""Experiments begin, are renamed, and go out of sight with their runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, update

from plimsoll import clock
from plimsoll.errors import Conflict, NotFound
from plimsoll.records.tracking.experiment import (
    DEFAULT_EXPERIMENT,
    DEFAULT_EXPERIMENT_ID,
    CreateExperiment,
    DeleteExperiment,
    Experiment,
    GetExperiment,
    ListExperiments,
    RenameExperiment,
    RestoreExperiment,
    TagExperiment,
)
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.tables.statements import Statement
from plimsoll.store.tables.tracking import GONE, experiment_tags, experiments, runs

_STANDING = select(experiments.c.id, experiments.c.name, experiments.c.deleted)
_NAMED, _OF_ID = (Statement(_STANDING.where(column == bindparam("value"))) for column in (experiments.c.name, experiments.c.id))


def _found(tx: Connection, where: ColumnElement[bool]) -> tuple[Experiment, ...]:
    return experiments_of(
        tx, tx.execute(select(experiments).where(where).order_by(experiments.c.updated.desc(), experiments.c.id.desc())).all()
    )


def experiments_of(tx: Connection, rows: Sequence[Row[Any]]) -> tuple[Experiment, ...]:
    """Return rows of ``experiments`` as records, in their order.

    Args:
        tx: an open transaction.
        rows: whole rows.
    """
    tags: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    for some in chunks(list(tags), 500):
        query = select(experiment_tags).where(experiment_tags.c.experiment_id.in_(some)).order_by(experiment_tags.c.name)
        for tag in tx.execute(query):
            tags[tag.experiment_id][tag.name] = tag.value
    return tuple(_experiment(row, tags[row.id]) for row in rows)


def _experiment(row: Row[Any], tags: dict[str, str]) -> Experiment:
    return Experiment(id=row.id, name=row.name, tags=tags, created=row.created, updated=row.updated, deleted=row.deleted)


def _one(tx: Connection, id: str) -> Experiment:
    found = _found(tx, experiments.c.id == id)
    if not found:
        raise NotFound(f"There is no experiment with the id {id!r}.", "List them with: plimsoll experiments list", experiment_id=id)
    return found[0]


def _active(tx: Connection, id: str) -> Experiment:
    found = _one(tx, id)
    if found.deleted is not None:
        raise Conflict(f"The experiment {found.name!r} is deleted.", f"Restore it with: plimsoll experiments restore {id}")
    return found


def _insert(tx: Connection, id: str, name: str, tags: dict[str, str], created: int | None = None) -> None:
    now = clock.now()
    tx.execute(experiments.insert().values(id=id, name=name, created=now if created is None else created, updated=now))
    if tags:
        tx.execute(experiment_tags.insert(), [{"experiment_id": id, "name": tag, "value": value} for tag, value in tags.items()])


def _touch(tx: Connection, id: str, **change: Any) -> Experiment:
    tx.execute(update(experiments).where(experiments.c.id == id).values(updated=clock.now(), **change))
    return _one(tx, id)


def experiment_for(tx: Connection, name: str, id: str | None = None) -> tuple[str, str]:
    """Return id and name of the experiment of a new run; one that is only named is made if need be.

    Args:
        tx: an open writing transaction.
        name: its name.
        id: its id, which then counts instead of the name.

    Raises:
        NotFound: there is none with this id.
        Conflict: it is deleted.
    """
    row = _NAMED.one(tx, {"value": name}) if id is None else _OF_ID.one(tx, {"value": id})
    if row is not None and row.deleted is None:
        return row.id, row.name
    if row is not None or id is not None:
        _active(tx, row.id if row is not None else id or "")
    made = new_id(tx)
    _insert(tx, made, name, {})
    return made, name


def new_id(tx: Connection) -> str:
    """Return an id that no experiment has or had: the microsecond, as decimal digits, for MLflow's clients want digits.

    Args:
        tx: an open writing transaction.
    """
    at = clock.now()
    while tx.execute(select(experiments.c.id).where(experiments.c.id == str(at))).one_or_none() is not None:
        at += 1
    return str(at)


def make_default(tx: Connection) -> None:
    """Make the experiment that every home has, unless it is there.

    Args:
        tx: an open writing transaction.
    """
    if tx.execute(select(experiments.c.id).where(experiments.c.id == DEFAULT_EXPERIMENT_ID)).one_or_none() is None:
        _insert(tx, DEFAULT_EXPERIMENT_ID, DEFAULT_EXPERIMENT, {})


def create_experiment(request: CreateExperiment, context: Context) -> Experiment:
    """Make an experiment."""
    _check_free(context.tx, request.name)
    if request.id and _OF_ID.one(context.tx, {"value": request.id}) is not None:
        raise Conflict(f"There is an experiment with the id {request.id} already.", "Leave the id out for a new one.")
    _insert(context.tx, id := request.id or new_id(context.tx), request.name, request.tags, request.created)
    return _one(context.tx, id)


def _check_free(tx: Connection, name: str) -> None:
    taken = _found(tx, experiments.c.name == name)
    if taken and taken[0].deleted is not None:
        raise Conflict(
            f"The experiment {name!r} is there, deleted.",
            f"Restore it with: plimsoll experiments restore {taken[0].id}, or use another name.",
            experiment_id=taken[0].id,
            deleted=True,
        )
    if taken:
        raise Conflict(f"There is an experiment {name!r} already.", "Use it, or use another name.", experiment_id=taken[0].id)


def get_experiment(request: GetExperiment, context: Context) -> Experiment:
    """Return an experiment by id or name."""
    if request.id:
        return _one(context.tx, request.id)
    found = _found(context.tx, experiments.c.name == request.name)
    if not found:
        raise NotFound(f"There is no experiment {request.name!r}.", "List them with: plimsoll experiments list")
    return found[0]


def list_experiments(request: ListExperiments, context: Context) -> tuple[Experiment, ...]:
    """Return experiments, the one changed last first."""
    seen = experiments.c.deleted.is_(None)
    return _found(context.tx, seen | experiments.c.deleted.is_not(None) if request.deleted else seen)


def rename_experiment(request: RenameExperiment, context: Context) -> Experiment:
    """Give an experiment another name."""
    known = _active(context.tx, request.id)
    if known.name == request.name:
        return known
    _check_free(context.tx, request.name)
    return _touch(context.tx, request.id, name=request.name)


def delete_experiment(request: DeleteExperiment, context: Context) -> Experiment:
    """Put an experiment and its runs out of sight; deleting it again changes nothing."""
    known = _one(context.tx, request.id)
    if known.deleted is not None:
        return known
    if request.id == DEFAULT_EXPERIMENT_ID:
        raise Conflict("The default experiment cannot be deleted.", "Delete its runs instead.")
    now = clock.now()
    mine = (runs.c.experiment_id == request.id, runs.c.deleted.is_(None))
    context.tx.execute(update(runs).where(*mine).values(deleted=now))
    return _touch(context.tx, request.id, deleted=now)


def restore_experiment(request: RestoreExperiment, context: Context) -> Experiment:
    """Take a deletion back; the runs that were deleted before it stay deleted."""
    known = _one(context.tx, request.id)
    if known.deleted is None:
        return known
    if known.deleted == GONE:
        raise Conflict(f"The experiment {known.name!r} is being removed for good.", "Its time in the bin is over; make a new one.")
    with_it = (runs.c.experiment_id == request.id, runs.c.deleted == known.deleted)
    context.tx.execute(update(runs).where(*with_it).values(deleted=None))
    return _touch(context.tx, request.id, deleted=None)


def tag_experiment(request: TagExperiment, context: Context) -> Experiment:
    """Add, replace and remove tags."""
    known = _active(context.tx, request.id)
    missing = [name for name in request.remove if name not in known.tags]
    if missing:
        raise NotFound(f"The experiment {known.name!r} has no tag {missing[0]!r}.", "Correct the tag's name.")
    table = experiment_tags
    for some in chunks([*request.tags, *request.remove], 500):
        context.tx.execute(table.delete().where(table.c.experiment_id == request.id, table.c.name.in_(some)))
    if request.tags:
        rows = [{"experiment_id": request.id, "name": name, "value": value} for name, value in request.tags.items()]
        context.tx.execute(table.insert(), rows)
    return _touch(context.tx, request.id)
