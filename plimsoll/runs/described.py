"""Runs as they are stored, read into records."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, Text, and_, bindparam, case, cast, func, select, type_coerce

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.request import Json
from plimsoll.records.run import Run
from plimsoll.store.contracts import chunks
from plimsoll.store.tables.statements import Statement, among
from plimsoll.store.tables.tracking import HEAD, experiments, run_params, run_tags, runs

#: Columns that hold a JSON document.
_PACKED = ("cause", "code", "machine", "params", "tags")

#: Microseconds of silence after which a run that said that it lives is taken for lost.
SILENCE = 60_000_000


def _params(dialect: str, all: bool) -> ColumnElement[str]:
    """Return a run's parameters as members of a JSON object: a row for each would take most of the time of a search."""
    name, value = run_params.c.name, func.coalesce(type_coerce(run_params.c.value, Text), "null")
    quoted = func.json_quote(name) if dialect == "sqlite" else cast(func.to_json(name), Text)
    member = quoted.concat(":").concat(value)
    # Not SQLAlchemy's own word for both, which writes the statement anew each time.
    return _of_run(func.group_concat(member) if dialect == "sqlite" else func.string_agg(member, ","), run_params, all, "params")


def _tags(dialect: str, all: bool) -> ColumnElement[str]:
    """Return a run's tags as a JSON object; texts need no joining by hand, which takes longer."""
    pair = (run_tags.c.name, run_tags.c.value)
    whole = func.json_group_object(*pair) if dialect == "sqlite" else cast(func.json_object_agg(*pair), Text)
    return _of_run(whole, run_tags, all, "tags")


def _of_run(told: ColumnElement[str], table: Table, all: bool, names: str) -> ColumnElement[str]:
    mine = select(told).where(table.c.run_id == runs.c.id).correlate(runs)
    return (mine if all else mine.where(table.c.name.in_(bindparam(names, expanding=True)))).scalar_subquery()


@functools.cache
def selected_runs(dialect: str, params: bool = True, tags: bool = True) -> Select[Any]:
    """Return the query of all runs, each with its experiment's name, its parameters and its tags; callers narrow it.

    It is made once, which takes longer than to run it.

    Args:
        dialect: ``sqlite`` or ``postgresql``.
        params: whether all parameters are read; else those in the query's parameter ``params``.
        tags: the same of the tags.
    """
    own = [type_coerce(column, Text) if column.name in _PACKED else column for column in runs.c if column is not runs.c.key]
    named = (experiments.c.name.label("experiment"), _params(dialect, params).label("params"), _tags(dialect, tags).label("tags"))
    return select(*own, *named).join(experiments, experiments.c.id == runs.c.experiment_id)


@functools.cache
def _several(dialect: str, params: bool, tags: bool) -> Select[Any]:
    return selected_runs(dialect, params, tags).where(runs.c.id.in_(bindparam("ids", expanding=True)))


_WHOLE = Statement(lambda dialect: selected_runs(dialect).where(among(runs.c.id, "ids", dialect)))
_ONE = Statement(lambda dialect: selected_runs(dialect).where(runs.c.id == bindparam("id")))
_NEW_PARAMS, _NEW_TAGS = Statement(run_params.insert()), Statement(run_tags.insert())


def state_now() -> ColumnElement[str]:
    """Return the state of a run as it is to be shown, as an expression over ``runs``.

    Nothing writes that a run is lost for its silence: it is seen from the clock, so it needs no worker, and a run that speaks
    again is under way again.
    """
    silent = and_(runs.c.state == "running", runs.c.seen < clock.now() - SILENCE)
    return case((silent, "lost"), else_=runs.c.state)


def runs_of(tx: Connection, ids: Sequence[str], params: tuple[str, ...] | None = None, tags: tuple[str, ...] | None = None) -> list[Run]:
    """Return runs that are there, in the order of their ids.

    Args:
        tx: an open transaction.
        ids: their whole ids.
        params: names of the parameters to read; None is all.
        tags: names of the tags to read; None is all.
    """
    if params is None and tags is None:
        rows = {row.id: row for row in _WHOLE.all(tx, {"ids": list(ids)})}
    else:
        query = _several(tx.dialect.name, params is None, tags is None)
        chosen = {name: names for name, names in (("params", params), ("tags", tags)) if names is not None}
        rows = {row.id: row for some in chunks(ids, 500) for row in tx.execute(query, {"ids": some, **chosen}).all()}
    return described_runs([rows[id] for id in ids])


def described_runs(rows: Sequence[Any]) -> list[Run]:
    """Return rows of :func:`selected_runs` as records, in their order.

    Args:
        rows: what the query gave.
    """
    if not rows:
        return []
    since = clock.now() - SILENCE
    # Documents are put in as the text that they are, and all records read at once: one by one would take most of the time of a search.
    told = codec.to_json([_told(row._asdict(), since) for row in rows])
    found = codec.from_json(told, list[Run], "The stored runs")
    for run in found:
        _sort(run.params)
        _sort(run.tags)
    return found


def is_silent(state: str, seen: int | None, since: int) -> bool:
    """Tell whether a run is to be shown as lost.

    Args:
        state: the state that is stored.
        seen: UTC microseconds of its process's last sign of life, or None where it gives none.
        since: UTC microseconds; one that was not heard of since is silent.
    """
    return state == "running" and seen is not None and seen < since


def _told(told: dict[str, Any], since: int) -> dict[str, Any]:
    told["params"], told["tags"] = f"{{{told['params'] or ''}}}", told["tags"] or "{}"
    for name in _PACKED:
        told[name] = codec.Raw(told[name] or "null")
    seen = told.pop("seen")
    if is_silent(told["state"], seen, since):
        told |= {"state": "lost", "ended": seen, "error": f"Nothing was heard of its process since {clock.iso(seen)}."}
    return told


def _sort(values: dict[str, Any]) -> None:
    """Sort by name: an aggregate has no order of its own, though mostly it comes so."""
    names = list(values)
    if names != sorted(names):
        items = sorted(values.items())
        values.clear()
        values.update(items)


class Stored(NamedTuple):
    """A run as it is stored. One that is silent looks lost, but what is stored is no end."""

    #: As it is shown.
    run: Run
    #: The state that is stored.
    state: str
    #: UTC microseconds of its process's last sign of life, or None where it gives none.
    seen: int | None


def one_run(tx: Connection, id: str) -> Run:
    """Return a run by its whole id, deleted or not.

    Args:
        tx: an open transaction.
        id: the run's id.

    Raises:
        NotFound: there is no such run.
    """
    return stored_run(tx, id).run


def stored_run(tx: Connection, id: str) -> Stored:
    """Return a run by its whole id, deleted or not.

    Args:
        tx: an open transaction.
        id: the run's id.

    Raises:
        NotFound: there is no such run.
    """
    row = _ONE.one(tx, {"id": id})
    if row is None:
        raise missing_run(id)
    return Stored(described_runs([row])[0], row.state, row.seen)


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
        _NEW_PARAMS.change_each(tx, rows)


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
        _NEW_TAGS.change_each(tx, rows)


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
