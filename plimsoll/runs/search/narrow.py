"""Which condition of a filter is looked up first.

Runs are found in one of two ways. Along the order's index, each run is asked whether it fulfils the filter, until the page is
full: quick when many do. Or the runs that fulfil the rarest condition are looked up by that condition's index, and sorted:
quick when they are few. Both give the same page. The rarest is found by counting, up to a bound: SQLite keeps no account of what
its tables hold, and PostgreSQL's mixes the values of all metrics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, or_, select, text

from plimsoll.runs.search.language import Comparison, Condition, Every, Some
from plimsoll.runs.search.meaning import Known, known, selected
from plimsoll.store.tables.tracking import runs

#: So many runs that fulfil a condition are counted; more are many.
_MANY = 5000

#: Microseconds to look up and sort a run by a condition's index, and to ask one along the order.
_LOOK_UP, _ASK = 2.0, 1.5

#: What share of all runs is taken for many.
_RATHER = 0.7

#: Runs that fulfil two conditions may be rarer than chance would have it.
_DOUBT = 3


_TUPLES = "reltuples FROM pg_class WHERE oid = 'runs'::regclass"

_START = Known("attribute", "start_time")


class Route(NamedTuple):
    """How the runs are found that fulfil some conditions."""

    #: Leads to all of them; None when they are asked along the order, or when :attr:`lead` does.
    first: ColumnElement[bool] | None
    #: Gives the ids of all of them, each once, as ``run_id``.
    lead: Select[Any] | None
    #: Indexes of the conditions that are still to be asked, the rarest first.
    ask: list[int]


class _Way(NamedTuple):
    queries: list[Select[Any]]
    exactly: bool
    #: Which condition it is; None for the experiments.
    number: int | None
    #: Whether the order's index leads along the condition already.
    along: bool


def routed(tx: Connection, parts: Sequence[Condition], experiments: tuple[str, ...] | None, first: Known, limit: int) -> Route:
    """Return the way that finds a page soonest.

    Args:
        tx: an open transaction.
        parts: conditions that must all hold.
        experiments: ids of the experiments that are searched; None is all.
        first: by what runs are ordered first.
        limit: so many runs are wanted.
    """
    dialect = tx.dialect.name
    ways = []
    for number, part in enumerate(parts):
        found = _led(part, dialect)
        if found is not None:
            ways.append(_Way(*found, number, isinstance(part, Comparison) and known(part.name) == first))
    if experiments is not None:
        in_them = select(runs.c.id).where(runs.c.experiment_id.in_(experiments))
        ways.append(_Way([in_them], False, None, len(experiments) == 1 and first == _START))
    if not ways:
        return Route(None, None, list(range(len(parts))))
    # About how many runs there are: the last row's number, or what was counted when the table was last looked at.
    about = select(func.max(literal_column("runs.rowid"))).select_from(runs) if dialect == "sqlite" else select(text(_TUPLES))
    last, *counted = tx.execute(select(about.scalar_subquery(), *map(_count, ways))).one()
    total = max(int(last or 0), 1, *counted)
    rarity = {way.number: count for count, way in zip(counted, ways, strict=True)}
    ask = sorted(range(len(parts)), key=lambda number: (rarity.get(number, total), _is_metric(parts[number])))
    shares = [max(count / total, _RATHER if count >= _MANY else 1 / total) for count in counted]
    share = math.prod(share for share, way in zip(shares, ways, strict=True) if not way.along)
    indexed = first.kind != "attribute" or first == _START
    asked = min(total, _DOUBT * limit / min(share, 1)) if indexed else total
    fewest = min(counted)
    if fewest >= _MANY or fewest * _LOOK_UP > asked * _ASK:
        return Route(None, None, ask)
    way = ways[counted.index(fewest)]
    ask = [number for number in ask if not (way.exactly and number == way.number)]
    if way.number is not None and _is_once(parts[way.number]):
        return Route(None, way.queries[0], ask)
    return Route(or_(*map(runs.c.id.in_, way.queries)), None, ask)


def _led(condition: Condition, dialect: str) -> tuple[list[Select[Any]], bool] | None:
    """Return the queries that together lead to all runs that fulfil a condition, and whether to no others."""
    match condition:
        case Comparison():
            found = selected(condition, dialect)
            return None if found is None else ([found.query], found.exactly)
        case Some(parts):
            each = [_led(part, dialect) for part in parts]
            some = [led for led in each if led is not None]
            return ([query for led in some for query in led[0]], all(led[1] for led in some)) if len(some) == len(each) else None
        case Every(parts):
            # The first that an index leads to: each of them lets all through that fulfil all.
            return next(((led[0], False) for part in parts if (led := _led(part, dialect))), None)
    return None


def _is_once(condition: Condition) -> bool:
    """Return whether a run has at most one row of what a condition is about."""
    return isinstance(condition, Comparison) and known(condition.name).kind in ("metric", "parameter", "tag")


def _is_metric(condition: Condition) -> bool:
    """Return whether a condition is of a metric, whose rows are longer than those of params and tags."""
    return isinstance(condition, Comparison) and known(condition.name).kind == "metric"


def _count(way: _Way) -> Any:
    parts = [select(func.count()).select_from(query.limit(_MANY).subquery()).scalar_subquery() for query in way.queries]
    return sum(parts[1:], parts[0])
