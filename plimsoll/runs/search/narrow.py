"""Which condition of a filter is looked up first.

Runs are found in one of two ways. Along the order's index, each run is asked whether it fulfils the filter, until the page is
full: quick when many do. Or the runs that fulfil the rarest condition are looked up by that condition's index, and sorted:
quick when they are few. Both give the same page. The rarest is found by counting, up to a bound: SQLite keeps no account of what
its tables hold, and PostgreSQL's mixes the values of all metrics. Who turns the pages is not counted for on each: the way is
remembered for some seconds, and gives the same page when another one would be quicker by then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, CompoundSelect, Connection, Select, SelectBase, func, intersect, literal_column, or_, select, text

from plimsoll import clock
from plimsoll.runs.search.language import Comparison, Condition, Every, Some
from plimsoll.runs.search.meaning import Known, known, selected
from plimsoll.store.tables.tracking import runs

#: So many runs that fulfil a condition are counted; more are many.
_MANY = 5000

#: The same where others are looked at on the way.
_WIDE = 200

#: The same beside values that cross, whose runs are read at a tenth of the cost: only far fewer are found sooner by another way.
_CROSSED = 1000

#: Seconds for which a way is remembered, and of so many questions at most.
_FRESH, _QUESTIONS = 10.0, 256

#: More rows than any table has.
_NO_LIMIT = 2**62

#: Microseconds to look up and sort a run by a condition's index, and to ask one along the order.
_LOOK_UP, _ASK = 2.0, 1.5

#: And to pass one by that is read beside others in the same order; of so many conditions at most.
_PASS, _BESIDE = 0.2, 8

#: What share of all runs is taken for many.
_RATHER = 0.7

#: What share of them is taken to fulfil a condition that no index leads to.
_UNSEEN = 0.1

#: Runs that fulfil two conditions may be rarer than chance would have it.
_DOUBT = 3


_TUPLES = "reltuples FROM pg_class WHERE oid = 'runs'::regclass"

_START = Known("attribute", "start_time")


class Route(NamedTuple):
    """How the runs are found that fulfil some conditions."""

    #: Leads to all of them; None when they are asked along the order, or when :attr:`lead` does.
    first: ColumnElement[bool] | None
    #: Gives the ids of all of them, each once, as ``run_id``.
    lead: SelectBase | None
    #: Indexes of the conditions that are still to be asked, the rarest first.
    ask: list[int]
    #: More runs than this that share the value by which they are ordered first are better asked along what orders them next; None is never.
    large: int | None = None


class _Led(NamedTuple):
    """How indexes lead to the runs that fulfil a condition."""

    #: They lead to all of them.
    queries: list[Select[Any]]
    #: Whether to no others.
    exactly: bool
    #: Whether others are looked at on the way.
    wide: bool = False
    #: Whether there is one query, which gives them in the order of their ids.
    in_order: bool = False


class _Way(NamedTuple):
    """A way to find runs."""

    led: _Led
    #: Which condition it is; None for the experiments.
    number: int | None
    #: Whether the order's index leads along the condition already.
    along: bool


def routed(
    tx: Connection, question: str, parts: Sequence[Condition], experiments: tuple[str, ...] | None, first: Known, limit: int
) -> Route:
    """Return the way that finds a page soonest, or did some seconds ago.

    Args:
        tx: an open transaction.
        question: digest of what is asked, the same for all its pages.
        parts: conditions that must all hold.
        experiments: ids of the experiments that are searched; None is all.
        first: by what runs are ordered first.
        limit: so many runs are wanted.
    """
    remembered: dict[tuple[str, int], tuple[float, Route]] = tx.info.setdefault("routes", {})
    when, route = remembered.get((question, limit), (-math.inf, None))
    if route is None or clock.monotonic() - when >= _FRESH:
        route = _routed(tx, parts, experiments, first, limit)
        if len(remembered) == _QUESTIONS:
            remembered.clear()
        remembered[question, limit] = clock.monotonic(), route
    return route


def _routed(tx: Connection, parts: Sequence[Condition], experiments: tuple[str, ...] | None, first: Known, limit: int) -> Route:
    dialect = tx.dialect.name
    ways = []
    for number, part in enumerate(parts):
        found = _led(part, dialect)
        if found is not None:
            ways.append(_Way(found, number, isinstance(part, Comparison) and known(part.name) == first))
    if experiments is not None:
        in_them = select(runs.c.id.label("run_id")).where(runs.c.experiment_id.in_(experiments))
        ways.append(_Way(_Led([in_them], False, in_order=len(experiments) == 1), None, len(experiments) == 1 and first == _START))
    if not ways and first.kind == "attribute":
        return Route(None, None, list(range(len(parts))))
    crossing = sum(way.led.in_order for way in ways) > 1
    most = [_WIDE if way.led.wide else _CROSSED if crossing and not way.led.in_order else _MANY for way in ways]
    total, counted = _counted(tx, ways, most)
    if _CROSSED in most and all(count >= bound for count, bound in zip(counted, most, strict=True)):
        most = [_WIDE if way.led.wide else _MANY for way in ways]
        total, counted = _counted(tx, ways, most)
    # What is not known is taken for as large as it can be.
    sizes = [count if count < bound else total for count, bound in zip(counted, most, strict=True)]
    rarity = {way.number: size for size, way in zip(sizes, ways, strict=True)}
    ask = sorted(range(len(parts)), key=lambda number: (rarity.get(number, total), _is_metric(parts[number])))
    shares = [max(count / total, _RATHER if count >= bound else 1 / total) for count, bound in zip(counted, most, strict=True)]
    # At least one run is taken to fulfil them all; of two hundred conditions the product would be nothing.
    share = max(math.prod(share for share, way in zip(shares, ways, strict=True) if not way.along), 1 / total)
    indexed = first.kind != "attribute" or first == _START
    asked = min(total, _DOUBT * limit / min(share, 1)) if indexed else total
    few = [number for number, bound in enumerate(most) if counted[number] < bound]
    rarest = min(few, key=counted.__getitem__, default=None)
    if rarest is None or counted[rarest] * _LOOK_UP > asked * _ASK:
        sure = max(share * _UNSEEN ** (len(parts) - sum(way.number is not None for way in ways)), 1 / total)
        # To read and sort so many takes as long as to ask along the next order until a page of them is found.
        large = math.sqrt(_DOUBT * limit * total * _ASK / _LOOK_UP / sure)
        return Route(None, None, ask, int(large) if large < total else None)
    return _looked_up(parts, ways, sizes, rarest, ask)


def _looked_up(parts: Sequence[Condition], ways: Sequence[_Way], sizes: Sequence[int], rarest: int, ask: list[int]) -> Route:
    """Return the route by the rarest condition, and by those whose runs are read in the same order beside it."""
    way = ways[rarest]
    taken = {way.number} if way.led.exactly else set()
    if way.number is None or not _is_once(parts[way.number]):
        return Route(or_(*map(runs.c.id.in_, way.led.queries)), None, [number for number in ask if number not in taken])
    lead: SelectBase = way.led.queries[0]
    beside = [
        number
        for number, other in enumerate(ways)
        if number != rarest and way.led.in_order and other.led.in_order and sizes[number] * _PASS <= sizes[rarest] * _LOOK_UP
    ]
    if beside:
        beside = sorted(beside, key=sizes.__getitem__)[:_BESIDE]
        taken.update(ways[number].number for number in beside)
        # SQLite reads two indexes side by side where it has to keep an order, which it forgets when there is no limit.
        both: CompoundSelect[Any] = intersect(lead, *(ways[number].led.queries[0] for number in beside))
        lead = both.order_by("run_id").limit(_NO_LIMIT)
    return Route(None, lead, [number for number in ask if number not in taken])


def _led(condition: Condition, dialect: str) -> _Led | None:
    """Return how indexes lead to all runs that fulfil a condition; None when none does."""
    match condition:
        case Comparison():
            found = selected(condition, dialect)
            return found and _Led([found.query], found.exactly, found.wide, found.in_order)
        case Some(parts):
            each = [_led(part, dialect) for part in parts]
            some = [led for led in each if led is not None]
            if len(some) < len(each):
                return None
            queries = [query for led in some for query in led.queries]
            return _Led(queries, all(led.exactly for led in some), any(led.wide for led in some))
        case Every(parts):
            # The first that an index leads to: each of them lets all through that fulfil all.
            return next((led._replace(exactly=False, in_order=False) for part in parts if (led := _led(part, dialect))), None)
    return None


def _is_once(condition: Condition) -> bool:
    """Return whether a run has at most one row of what a condition is about."""
    return isinstance(condition, Comparison) and known(condition.name).kind in ("metric", "parameter", "tag")


def _is_metric(condition: Condition) -> bool:
    """Return whether a condition is of a metric, whose rows are longer than those of params and tags."""
    return isinstance(condition, Comparison) and known(condition.name).kind == "metric"


def _counted(tx: Connection, ways: Sequence[_Way], most: Sequence[int]) -> tuple[int, list[int]]:
    """Return about how many runs there are, and how many each way leads to, each up to its bound."""
    # The last row's number, or what was counted when the table was last looked at.
    about = select(func.max(literal_column("runs.rowid"))).select_from(runs) if tx.dialect.name == "sqlite" else select(text(_TUPLES))
    counts = [_count(way, bound) for way, bound in zip(ways, most, strict=True)]
    last, *counted = tx.execute(select(about.scalar_subquery(), *counts)).one()
    return max(int(last or 0), 1, *counted), counted


def _count(way: _Way, most: int) -> Any:
    # Not their ids, which would be read to be counted.
    each: list[Select[Any]] = [
        query.with_only_columns(literal_column("1"), maintain_column_froms=True).limit(most) for query in way.led.queries
    ]
    parts = [select(func.count()).select_from(query.subquery()).scalar_subquery() for query in each]
    return sum(parts[1:], parts[0])
