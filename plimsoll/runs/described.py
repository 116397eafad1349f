"""Runs as they are stored, read into records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, Text, and_, bindparam, case, select, type_coerce

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.request import Json
from plimsoll.records.run import Cause, CodeVersion, Run
from plimsoll.records.tracking.machine import Machine
from plimsoll.store.contracts import chunks
from plimsoll.store.tables.tracking import HEAD, experiments, run_params, run_tags, runs

#: Columns that hold a JSON document -> its type.
_PACKED: dict[str, Any] = {"cause": Cause, "code": CodeVersion, "machine": Machine | None}

#: Microseconds of silence after which a run that said that it lives is taken for lost.
SILENCE = 60_000_000


def selected_runs() -> Select[Any]:
    """Return the query of all runs, each with its experiment's name; callers narrow it."""
    own = [type_coerce(column, Text) if column.name in _PACKED else column for column in runs.c if column is not runs.c.key]
    return select(*own, experiments.c.name.label("experiment")).join(experiments, experiments.c.id == runs.c.experiment_id)


def _values(table: Table, value: ColumnElement[Any]) -> Select[Any]:
    mine = table.c.run_id.in_(bindparam("ids", expanding=True))
    return select(table.c.run_id, table.c.name, value).where(mine).order_by(table.c.run_id, table.c.name)


# Every run that begins or ends needs these; making a statement takes longer than to run it.
_PARAMS, _TAGS = _values(run_params, type_coerce(run_params.c.value, Text)), _values(run_tags, run_tags.c.value)
_ONE = selected_runs().where(runs.c.id == bindparam("id"))
_NEW_PARAMS, _NEW_TAGS = run_params.insert(), run_tags.insert()


def state_now() -> ColumnElement[str]:
    """Return the state of a run as it is to be shown, as an expression over ``runs``.

    Nothing writes that a run is lost for its silence: it is seen from the clock, so it needs no worker, and a run that speaks
    again is under way again.
    """
    silent = and_(runs.c.state == "running", runs.c.seen < clock.now() - SILENCE)
    return case((silent, "lost"), else_=runs.c.state)


def described_runs(
    tx: Connection, rows: Sequence[Row[Any]], params: tuple[str, ...] | None = None, tags: tuple[str, ...] | None = None
) -> list[Run]:
    """Return rows of :func:`selected_runs` as records, in their order.

    Args:
        tx: an open transaction.
        rows: what the query gave.
        params: names of the parameters to read; None is all.
        tags: names of the tags to read; None is all.
    """
    ids = [row.id for row in rows]
    own_params = _by_run(tx, ids, params, run_params, _PARAMS)
    own_tags = _by_run(tx, ids, tags, run_tags, _TAGS)
    # All documents at once: a call for each would take most of the time of a search.
    packed = [raw or "null" for values in own_params.values() for raw in values.values()]
    unpacked = iter(codec.from_json(f"[{','.join(packed)}]", list[Any], "The stored parameters"))
    for values in own_params.values():
        for name in values:
            values[name] = next(unpacked)
    return [_run(row, own_params[row.id], own_tags[row.id]) for row in rows]


def _by_run(
    tx: Connection, ids: Sequence[str], names: tuple[str, ...] | None, table: Table, query: Select[Any]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {id: {} for id in ids}
    for some in chunks(ids if names is None or names else (), 500):
        for run_id, name, own in tx.execute(query if names is None else query.where(table.c.name.in_(names)), {"ids": some}).all():
            found[run_id][name] = own
    return found


def _run(row: Row[Any], params: dict[str, Json], tags: dict[str, str]) -> Run:
    told = row._asdict()
    seen = told.pop("seen")
    packed = {name: codec.from_json(told.pop(name) or "null", kind, "The stored run") for name, kind in _PACKED.items()}
    if row.state == "running" and seen is not None and seen < clock.now() - SILENCE:
        told |= {"state": "lost", "ended": seen, "error": f"Nothing was heard of its process since {clock.iso(seen)}."}
    return Run(**told, **packed, params=params, tags=tags)


def one_run(tx: Connection, id: str) -> Run:
    """Return a run by its whole id, deleted or not.

    Args:
        tx: an open transaction.
        id: the run's id.

    Raises:
        NotFound: there is no such run.
    """
    return stored_run(tx, id)[0]


def stored_run(tx: Connection, id: str) -> tuple[Run, str, int | None]:
    """Return a run by its whole id, deleted or not, the state that is stored, and when its process last said that it lives.

    A run that is silent looks lost, but what is stored is no end.

    Args:
        tx: an open transaction.
        id: the run's id.

    Raises:
        NotFound: there is no such run.
    """
    row = tx.execute(_ONE, {"id": id}).one_or_none()
    if row is None:
        raise missing_run(id)
    return described_runs(tx, [row])[0], row.state, row.seen


def missing_run(id: str) -> NotFound:
    """Return the error for a run that is not there.

    Args:
        id: what was asked for.
    """
    return NotFound(f"There is no run {id!r}.", "List runs with: plimsoll runs list", run_id=id)


def param_text(value: Json) -> str:
    """Return a parameter as search and MLflow's clients see it: a text as it is, anything else as Python shows it.

    Args:
        value: what was given.
    """
    return value if isinstance(value, str) else str(value)


def insert_params(tx: Connection, run_id: str, params: dict[str, Json]) -> None:
    """Add parameters that the run does not have yet.

    Args:
        tx: an open writing transaction.
        run_id: the run.
        params: values by name.
    """
    if params:
        texts = {name: param_text(value) for name, value in params.items()}
        rows = [{"run_id": run_id, "name": name, "value": params[name], "text": text, "head": text[:HEAD]} for name, text in texts.items()]
        tx.execute(_NEW_PARAMS, rows)


def add_params(tx: Connection, run_id: str, params: dict[str, Json]) -> None:
    """Add parameters; one that the run has already must have the same value.

    Args:
        tx: an open writing transaction.
        run_id: the run.
        params: values by name.

    Raises:
        InvalidInput: one has another value already.
    """
    known: dict[str, str] = {}
    for some in chunks(list(params), 500):
        mine = (run_params.c.run_id == run_id, run_params.c.name.in_(some))
        known.update((row.name, row.text) for row in tx.execute(select(run_params.c.name, run_params.c.text).where(*mine)))
    for name, text in known.items():
        if text != param_text(params[name]):
            raise InvalidInput(
                f"The param {name!r} of the run {run_id} is {text[:80]!r} already and cannot become {param_text(params[name])[:80]!r}.",
                "Log it under another name, or begin a new run.",
                param=name,
                old=text,
                new=param_text(params[name]),
                run_id=run_id,
            )
    insert_params(tx, run_id, {name: value for name, value in params.items() if name not in known})


def put_tags(tx: Connection, run_id: str, tags: dict[str, str]) -> None:
    """Add or replace tags.

    Args:
        tx: an open writing transaction.
        run_id: the run.
        tags: values by name.
    """
    remove_tags(tx, run_id, tags)
    insert_tags(tx, run_id, tags)


def insert_tags(tx: Connection, run_id: str, tags: dict[str, str]) -> None:
    """Add tags that the run does not have yet.

    Args:
        tx: an open writing transaction.
        run_id: the run.
        tags: values by name.
    """
    if tags:
        rows = [{"run_id": run_id, "name": name, "value": value, "head": value[:HEAD]} for name, value in tags.items()]
        tx.execute(_NEW_TAGS, rows)


def remove_tags(tx: Connection, run_id: str, names: Iterable[str]) -> int:
    """Remove tags and return how many were there.

    Args:
        tx: an open writing transaction.
        run_id: the run.
        names: their names.
    """
    table, removed = run_tags, 0
    for some in chunks(list(names), 500):
        removed += tx.execute(table.delete().where(table.c.run_id == run_id, table.c.name.in_(some))).rowcount
    return removed
