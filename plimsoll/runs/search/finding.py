"""Runs that a filter lets through, a page at a time.

A page's ids are found first, and the runs described then. What orders by a metric, a parameter or a tag is answered in parts,
each along an index: the runs that have a number or a text, then those whose metric is NaN, then those that have none.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, Select, Table, and_, case, exists, func, not_, select

from plimsoll import codec
from plimsoll.records.run import RunDetail
from plimsoll.records.tracking.find import RunPage, SearchRuns
from plimsoll.runs.described import runs_of
from plimsoll.runs.outputs.uses import datasets_of_runs, models_of_runs
from plimsoll.runs.search.language import Comparison, Condition, Every, Name, parsed_filter, parsed_order
from plimsoll.runs.search.meaning import Known, attribute, condition_of, known, ordered, ordering, value_holds, value_of
from plimsoll.runs.search.narrow import routed
from plimsoll.runs.search.pages import Key, Place, behind, place_of, token_of
from plimsoll.store.contracts import Context
from plimsoll.store.tables.tracking import HEAD, runs

_START = Known("attribute", "start_time")


class _Part(NamedTuple):
    """Runs that come one after the other along an index."""

    query: Select[Any]
    #: What orders them.
    keys: list[Key]
    #: Values of the keys before these, the same for each run of the part.
    given: tuple[Any, ...] = ()


class _Walk(NamedTuple):
    """What parts are made for."""

    tx: Connection
    request: SearchRuns
    #: Where the page before ended.
    place: Place | None
    #: A value that more runs have than this is better gone through by what orders next.
    large: int | None


def search_runs(request: SearchRuns, context: Context) -> RunPage:
    """Return a page of the runs that a filter lets through, in order; ties by start, newest first, then by id."""
    ids, token = page_ids(request, context.tx)
    return RunPage(runs=_details(request, context, ids), next=token)


def page_ids(request: SearchRuns, tx: Connection) -> tuple[list[str], str | None]:
    """Return the ids of a page's runs, in order, and the token of the next page.

    Args:
        request: which runs are searched for.
        tx: an open transaction.

    Raises:
        InvalidInput: the filter, the order or the token is not understood.
    """
    asked = (request.experiments, request.where, request.order, request.view)
    whole = codec.digest(codec.to_msgpack(asked))
    question = whole[:16]
    place = None if request.page is None else place_of(request.page, question)
    found: list[tuple[tuple[Any, ...], str]] = []
    for part in _parts(request, whole, tx, place):
        query = part.query.add_columns(*(key.expression.label(f"key_{index}") for index, key in enumerate(part.keys)))
        if place is not None:
            before = len(part.given)
            if place.keys[:before] != part.given:
                continue
            query, place = query.where(behind(part.keys, place.keys[before:])), None
        query = query.order_by(*(key.expression.desc() if key.descending else key.expression for key in part.keys))
        rows = tx.execute(query.limit(request.limit + 1 - len(found))).all()
        found.extend(((*part.given, *keys), id) for id, *keys in rows)
        if len(found) > request.limit:
            break
    shown = found[: request.limit]
    token = token_of(Place(question, shown[-1][0])) if len(found) > request.limit else None
    return [id for _, id in shown], token


def _details(request: SearchRuns, context: Context, ids: Sequence[str]) -> tuple[RunDetail, ...]:
    page = runs_of(context.tx, ids, request.params, request.tags)
    metrics = {} if request.metrics == () else context.stores.points.summaries(context.tx, ids, request.metrics)
    read = datasets_of_runs(context.tx, ids) if request.uses else {}
    models = models_of_runs(context.tx, ids) if request.uses else {}
    return tuple(
        RunDetail(
            run=run,
            metrics=metrics.get(run.id, ()),
            artifacts=(),
            inputs=(),
            datasets=read.get(run.id, ()),
            models=models.get(run.id, ()),
        )
        for run in page
    )


def _parts(request: SearchRuns, question: str, tx: Connection, place: Place | None) -> Iterator[_Part]:
    dialect = tx.dialect.name
    order = ordered(tuple(parsed_order(text) for text in request.order))
    condition = parsed_filter(request.where)
    conditions: Sequence[Condition] = condition.parts if isinstance(condition, Every) else [condition]
    first = order[0][0] if order else _START
    route = routed(tx, question, conditions, request.experiments, first, request.limit)
    ask = [conditions[number] for number in route.ask]
    if route.lead is not None:
        lead = route.lead.subquery("lead")
        # What is asked of others than the run's own row is asked first: few are left whose own rows are read.
        others = [condition_of(part, dialect, lead.c.run_id) for part in ask]
        led = select(runs.c.id).join(lead, lead.c.run_id == runs.c.id).where(*others, *_seen(request, first))
        yield _rest(led, [], order, indexed=False)
    elif route.first is not None:
        holds = [condition_of(part, dialect) for part in ask]
        yield _rest(select(runs.c.id).where(*holds, *_seen(request, first), route.first), [], order, indexed=False)
    else:
        yield from _walked(_Walk(tx, request, place, route.large), ask, order, ())


def _walked(walk: _Walk, conditions: Sequence[Condition], order: list[tuple[Known, bool]], given: tuple[Any, ...]) -> Iterator[_Part]:
    """Return the parts of runs that are asked along the index of what orders them first."""
    if order and order[0][0].kind != "attribute":
        yield from _along(walk, conditions, order, given)
        return
    first = order[0][0] if order else _START
    holds = [condition_of(part, walk.tx.dialect.name) for part in conditions]
    yield _rest(select(runs.c.id).where(*holds, *_seen(walk.request, first)), [], order, given)


def _seen(request: SearchRuns, first: Known) -> list[ColumnElement[bool]]:
    """Return the conditions of which runs are searched at all."""
    seen: list[ColumnElement[bool]] = []
    if request.view != "all":
        seen.append(runs.c.deleted.is_(None) if request.view == "active" else runs.c.deleted.is_not(None))
    if request.experiments is not None:
        # By their index several experiments would be read whole, and sorted; a value that is computed has none.
        led = first.kind == "attribute" and (first != _START or len(request.experiments) == 1)
        seen.append((runs.c.experiment_id if led else func.coalesce(runs.c.experiment_id, "")).in_(request.experiments))
    return seen


def _along(walk: _Walk, conditions: Sequence[Condition], order: list[tuple[Known, bool]], given: tuple[Any, ...]) -> Iterator[_Part]:
    """Return the parts of runs ordered by a metric, a parameter or a tag: those with a value, with NaN, and with none.

    Runs that share a value with many others are a part of their own, which goes along what orders them next. The last part goes
    along the runs.
    """
    dialect = walk.tx.dialect.name
    (name, descending), rest = order[0], order[1:]
    table, column = value_of(name)
    mine = _alias(table, "first")
    value = mine.c[ordering(name).name]
    own = [condition for condition in conditions if isinstance(condition, Comparison) and known(condition.name) == name]
    number = name.kind == "metric"
    # What is asked of the value by which they are ordered bounds the way along the index.
    bounding = [condition for condition in own if number and condition.operator not in ("IS NULL", "IS NOT NULL")]
    bounds = [value_holds(name, value, condition.operator, condition.value, dialect) for condition in bounding]
    # The others are asked of what that index leads to: most runs do not fulfil them, and their own rows are never read.
    others = [condition_of(condition, dialect, mine.c.run_id) for condition in conditions if condition not in bounding]
    seen = _seen(walk.request, name)
    joined = select(runs.c.id).where(*seen, *others).join(mine, and_(mine.c.run_id == runs.c.id, mine.c.name == name.key))
    signs = {condition.operator for condition in own}
    if "IS NULL" not in signs:
        asked = [value_holds(name, column, condition.operator, condition.value, dialect) for condition in own]
        passed: list[ColumnElement[bool]] = []
        for shared in _shared(walk, order, given, asked):
            same = Comparison(Name(name.kind, name.key), "=", shared)
            yield from _walked(walk, [*conditions, same], rest, (*given, 0, shared))
            passed = [value < shared if descending else value > shared]
        holding = joined.where(value.is_not(None), *bounds, *passed)
        yield _rest(holding, [Key(value, descending)], rest, given=(*given, 0))
    if number and signs <= {"!=", "IS NOT NULL"}:
        yield _rest(joined.where(value.is_(None)), [], rest, given=(*given, 1, None))
    if signs <= {"IS NULL"}:
        holds = [condition_of(part, dialect) for part in conditions]
        without = not_(exists().where(table.c.run_id == runs.c.id, table.c.name == name.key))
        by_start = select(runs.c.id).where(*holds, *_seen(walk.request, _START), without)
        yield _rest(by_start, [], rest, given=(*given, 2, None))


def _shared(walk: _Walk, order: list[tuple[Known, bool]], given: tuple[Any, ...], asked: Sequence[ColumnElement[bool]]) -> Iterator[Any]:
    """Return the values by which runs are ordered first, in order from the place on, as long as many runs share them.

    By what orders them next, a page of those runs is found soon; by the value's index, all of them would be read and sorted.
    """
    (name, descending), rest = order[0], order[1:]
    if walk.large is None or (rest and rest[0][0].kind == "attribute" and rest[0][0] != _START):
        return
    table, _ = value_of(name)
    value = ordering(name)
    query = select(value).where(table.c.name == name.key, value.is_not(None), *asked)
    query = query.order_by(value.desc() if descending else value).limit(1)
    beyond: list[ColumnElement[bool]] = []
    before = len(given)
    if walk.place is not None and walk.place.keys[:before] == given:
        kind, begin, *_ = (*walk.place.keys[before:], None, None)
        if kind != 0 or begin is None or not Key(value, descending).takes(begin):
            return
        beyond = [value <= begin if descending else value >= begin]
    while True:
        following = query.where(*beyond)
        ends = select(following.scalar_subquery(), following.offset(walk.large).scalar_subquery())
        shared, last = walk.tx.execute(ends).one()
        # A text that fills its head is not known whole.
        if shared is None or shared != last or (isinstance(shared, str) and len(shared) >= HEAD):
            return
        yield shared
        beyond = [value < shared if descending else value > shared]


@functools.lru_cache(maxsize=64)
def _alias(table: Table, name: str) -> FromClause:
    """Return a table by another name; with all its columns it takes long to make."""
    return table.alias(name)


def _rest(query: Select[Any], keys: list[Key], order: list[tuple[Known, bool]], given: tuple[Any, ...] = (), indexed: bool = True) -> _Part:
    """Return a query with what orders it: ``keys``, then ``order``, then start and id."""
    keys = list(keys)
    for number, (name, descending) in enumerate(order):
        if name.kind == "attribute":
            expression = attribute(name.key)
            if name.key == "end_time":
                keys.append(Key(case((expression.is_(None), 1), else_=0), False))
            elif name == _START and not indexed:
                expression = expression + 0
            keys.append(Key(expression, descending))
            continue
        table, _ = value_of(name)
        mine = _alias(table, f"also_{number}")
        value = mine.c[ordering(name).name]
        query = query.outerjoin(mine, and_(mine.c.run_id == runs.c.id, mine.c.name == name.key))
        keys.append(Key(case((mine.c.run_id.is_(None), 2), (value.is_(None), 1), else_=0), False))
        keys.append(Key(value, descending))
    if _START not in [name for name, _ in order]:
        # Added to, the start has no index: the runs were looked up by another one, and few of them are sorted.
        keys.append(Key(runs.c.started if indexed else runs.c.started + 0, True))
    return _Part(query, [*keys, Key(runs.c.id, False)], given)
