"""Metric histories: chunks of packed columns, one summary row a series.

A chunk holds up to 8,192 points of one series in the order of arrival. New points become a chunk of their own; it takes
up the chunks before it that are no larger, as carries go through a binary counter, but for those that are three quarters
full. So a series written point by point has a dozen small chunks at most, and each point is packed again a dozen times at most.

However many series a batch has, it is a handful of statements.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import partial
from itertools import filterfalse, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Delete, Row, Select, and_, bindparam, delete, exists, func, insert, select, tuple_, update

from plimsoll import codec
from plimsoll.errors import Conflict, Corrupt, InvalidInput, NotFound
from plimsoll.records.run import PointColumns, Series, SeriesSummary
from plimsoll.records.tracking.find import LastPoint
from plimsoll.store.contracts import chunks
from plimsoll.store.points.chunks import FULL, Block, Packed, block, joined, pack, room, unpack, unpack_all
from plimsoll.store.points.order import Bounds, Chart, Columns, between, in_order, page
from plimsoll.store.segments import writers
from plimsoll.store.tables import tracking
from plimsoll.store.tables.statements import Statement, among

_series, _chunks = tracking.series.c, tracking.point_chunks.c

#: What a statement names at most; SQLite takes 32,766 parameters.
_NAMES = 500

#: A chunk of more points stays as it is: to fill it would pack all of them once more.
_CLOSED = FULL * 3 // 4

#: Chunks of a chart that are unpacked together.
_AT_ONCE = 16

# Made once, since making a statement takes longer than to run it.
_KNOWN = select(tracking.series).where(_series.run_id == bindparam("of"), _series.name.in_(bindparam("names", expanding=True)))
_NEWEST = select(func.max(_series.id))
_STANDING = Statement(
    select(_NEWEST.scalar_subquery().label("newest"), exists().where(_series.run_id == bindparam("of")).label("any_series"))
)
_NEW_SERIES, _NEW_CHUNKS = Statement(insert(tracking.series)), Statement(insert(tracking.point_chunks))
_UNSETTLED = (
    select(_series.id, _series.open)
    .join(tracking.point_chunks)
    .where(_series.run_id == bindparam("of"), _chunks.index >= _series.open)
    .group_by(_series.id, _series.open)
    .having(func.count() > 1)
)


#: What a summary is read from.
_SUMMARY = ("run_id", "name", "count", "last", "last_number", "min", "max", "last_step", "last_time")


def _of_runs(names: Sequence[str], dialect: str) -> Select[Any]:
    """Return the query of columns of all series of the runs in the parameter ``of``, run by run."""
    chosen = select(*(_series[name] for name in names)).where(among(_series.run_id, "of", dialect))
    return chosen.order_by(_series.run_id, _series.name)


_SUMMARIES = Statement(partial(_of_runs, _SUMMARY))
_LAST = Statement(partial(_of_runs, ("run_id", "name", "last", "last_number", "last_step", "last_time")))
_DOUBLES = struct.Struct("<2d")


class SqlPoints:
    """Histories in the tables ``series`` and ``point_chunks``; a value comes back bit for bit."""

    def append(self, tx: Connection, run_id: str, writer: str, sequence: int, points: PointColumns) -> int:
        """Append points and return how many were added; 0 when this writer's sequence was applied before.

        Args:
            tx: an open writing transaction.
            run_id: an existing run.
            writer: id of who sends, its own for each process.
            sequence: number of the batch, from 1 without gaps.
            points: any number of points of any number of series.

        Raises:
            Conflict: the sequence leaves a gap (an earlier batch is missing).
            InvalidInput: the sequence is below 1, or a time does not fit 64 bits.
        """
        if sequence < 1:
            raise InvalidInput(f"The sequence {sequence} is below 1.", "Number the batches of a writer from 1.")
        last = writers.last_sequence(tx, run_id, writer)
        if sequence <= last:
            return 0
        if sequence > last + 1:
            raise Conflict(
                f"Batch {sequence} of the writer {writer!r} came after batch {last}.", f"Send batch {last + 1} first.", expected=last + 1
            )
        _add(tx, run_id, points)
        writers.advance(tx, run_id, writer, last, sequence)
        return len(points.values)

    def settle(self, tx: Connection, run_id: str, last: PointColumns | None = None) -> None:
        """Add the last points, and pack what is left in small chunks of a run's series into as few as there can be.

        No more points are expected.

        Args:
            tx: an open writing transaction.
            run_id: the run.
            last: they belong to no writer, so to settle again with them adds them again.

        Raises:
            InvalidInput: a time does not fit 64 bits.
        """
        if last is not None and last.values:
            standing: Any = _STANDING.one(tx, {"of": run_id})
            if not standing.any_series:
                # As a run ends that has only counted at its end: what is new is packed as it is to stay.
                _begin(tx, run_id, _by_name(last), standing.newest)
                return
            _add(tx, run_id, last)
        rows = tx.execute(_UNSETTLED, {"of": run_id}).all()
        for some in chunks(rows, _NAMES):
            _settle(tx, {row.id: row.open for row in some})

    def last_sequence(self, tx: Connection, run_id: str, writer: str) -> int:
        """Return the last sequence applied of a writer, 0 when it never wrote.

        Args:
            tx: an open transaction.
            run_id: the run.
            writer: the writer's id.
        """
        return writers.last_sequence(tx, run_id, writer)

    def read(
        self,
        tx: Connection,
        run_id: str,
        name: str,
        width: int | None = None,
        steps: tuple[int, int] | None = None,
        positions: tuple[int, int] | None = None,
    ) -> Series:
        """Return a history in order of (step, arrival): whole, a part of it, or thinned to a chart's width.

        Args:
            tx: an open transaction.
            run_id: the run.
            name: the metric.
            width: columns of equal step range; each keeps its first, smallest, largest and last point, and its first NaN.
                None for every point.
            steps: first and last step of the part; None for all steps.
            positions: how many of these points to pass over, and how many to return at most; not beside a width.

        Raises:
            NotFound: the run has no such metric.
            InvalidInput: the width is below 1.
            Corrupt: a chunk does not hold what its row says.
        """
        if width is not None and (width < 1 or positions is not None):
            raise InvalidInput(f"The width {width} is below 1, or has a page beside it.", "Ask for at least one column, or for a page.")
        row = next(iter(_rows(tx, run_id, [name])), None)
        if row is None:
            raise NotFound(f"The run {run_id!r} has no metric {name!r}.", f"List its metrics: plimsoll runs show {run_id}")
        mine = [_chunks.series_id == row.id]
        passed = 0
        if steps is not None:
            mine += [_chunks.high >= steps[0], _chunks.low <= steps[1]]
        elif positions is not None:
            chosen, passed = page(_bounds(tx, mine), *positions)
            mine.append(_chunks.index.in_(chosen))
        stored = tx.execute(select(tracking.point_chunks).where(*mine).order_by(_chunks.index)).all()
        packed = [Packed(each.data, each._mapping["count"], f"Chunk {each.index} of {name!r} in the run {run_id}") for each in stored]
        if width is not None and stored:
            low, high = min(each.low for each in stored), max(each.high for each in stored)
            if steps is not None:
                low, high = max(low, steps[0]), min(high, steps[1])
            return _charted(name, low, high, width, packed)
        columns = in_order(unpack_all(packed))
        if steps is not None:
            columns = between(columns, *steps)
        count = row._mapping["count"] if steps is None else len(columns.steps)
        if positions is not None:
            first = passed if steps is None else positions[0]
            columns = columns.at(slice(first, first + positions[1]))
        return _told(name, columns, count, False)

    def summaries(self, tx: Connection, run_ids: Sequence[str], names: Sequence[str] | None = None) -> dict[str, tuple[SeriesSummary, ...]]:
        """Return one summary a series for each run, by name; runs without metrics are left out.

        Args:
            tx: an open transaction.
            run_ids: any number of runs.
            names: metrics that are read; None is all of them.
        """
        found: dict[str, list[SeriesSummary]] = {}
        for some in chunks(list(dict.fromkeys(run_ids)), _NAMES):
            if names is None:
                rows = _SUMMARIES.plain(tx, {"of": some})
            else:
                rows = tx.execute(_of_runs(_SUMMARY, tx.dialect.name).where(_series.name.in_(names)), {"of": some}).all()
            # All records at once: to make them one by one takes twice as long.
            for row, summary in zip(rows, codec.convert(list(map(_told_of, rows)), list[SeriesSummary], "The stored series"), strict=True):
                found.setdefault(row[0], []).append(summary)
        return {run_id: tuple(rows) for run_id, rows in found.items()}

    def last_points(self, tx: Connection, run_ids: Sequence[str]) -> dict[str, list[LastPoint]]:
        """Return the last point of each series for each run, by name; runs without metrics are left out.

        Args:
            tx: an open transaction.
            run_ids: any number of runs.
        """
        found: dict[str, list[LastPoint]] = {}
        for some in chunks(list(dict.fromkeys(run_ids)), _NAMES):
            rows = _LAST.plain(tx, {"of": some})
            for run_id, mine in groupby(rows, key=itemgetter(0)):
                found[run_id] = [(name, _last(last, number), step, time) for _, name, last, number, step, time in mine]
        return found


def _told_of(row: Sequence[Any]) -> dict[str, Any]:
    """Return a row of :data:`_SUMMARY` as the fields of its record."""
    _, name, count, last, number, low, high, step, time = row
    least, most = _DOUBLES.unpack(low + high)
    last = _last(last, number)
    return {"name": name, "count": count, "last": last, "min": least, "max": most, "last_step": step, "last_time": time}


def _bounds(tx: Connection, mine: Sequence[ColumnElement[bool]]) -> list[Bounds]:
    return [Bounds(*each) for each in tx.execute(select(_chunks.index, _chunks["count"], _chunks.low, _chunks.high).where(*mine))]


def _charted(name: str, low: int, high: int, width: int, packed: Sequence[Packed]) -> Series:
    """Return what a chart of the steps from ``low`` to ``high`` needs, part by part: a million points are never in memory at once."""
    chart, place, count, kept = Chart(low, high, width), room(_AT_ONCE), 0, []
    for some in chunks(packed, _AT_ONCE):
        columns = between(in_order(unpack_all(some, place)), low, high)
        count += len(columns.steps)
        kept.append(chart.thinned(columns))
    columns = chart.thinned(in_order(joined([Block(*each) for each in kept])))
    return _told(name, columns, count, len(columns.steps) < count)


def _rows(tx: Connection, run_id: str, names: Sequence[str]) -> list[Row[Any]]:
    return [row for some in chunks(names, _NAMES) for row in tx.execute(_KNOWN, {"of": run_id, "names": some})]


def _add(tx: Connection, run_id: str, points: PointColumns) -> None:
    new = _by_name(points)
    known = {row.name: row for row in _rows(tx, run_id, list(new))}
    _grow(tx, [(known[name], block) for name, block in new.items() if name in known])
    unknown = {name: block for name, block in new.items() if name not in known}
    if unknown:
        _begin(tx, run_id, unknown, tx.execute(_NEWEST).scalar())


def _begin(tx: Connection, run_id: str, new: dict[str, _Part], newest: int | None) -> None:
    """Add series that the run does not have yet; ``newest`` is the number of the newest one of all runs."""
    # Writers go one at a time, so nobody else takes these numbers.
    cuts = {name: _cut(id, 0, part.points) for id, (name, part) in enumerate(sorted(new.items()), (newest or 0) + 1)}
    series = [
        {"id": cuts[name][0]["series_id"], "run_id": run_id, "name": name, "open": _open(0, cuts[name]), **_summary(None, part)}
        for name, part in sorted(new.items())
    ]
    _NEW_SERIES.change_each(tx, series)
    _NEW_CHUNKS.change_each(tx, [chunk for cut in cuts.values() for chunk in cut])


def _grow(tx: Connection, parts: list[tuple[Row[Any], _Part]]) -> None:
    """Add points to series that are there."""
    if not parts:
        return
    first, old = _merged(tx, parts)
    cuts = [_cut(row.id, first[row.id], joined([*old.get(row.id, ()), part.points])) for row, part in parts]
    if old:
        tx.execute(_from_there(), [{"of": id, "from": first[id]} for id in old])
    _NEW_CHUNKS.change_each(tx, [chunk for cut in cuts for chunk in cut])
    rows = [{"of": row.id, "open": _open(row.open, cut), **_summary(row, part)} for (row, part), cut in zip(parts, cuts, strict=True)]
    tx.execute(update(tracking.series).where(_series.id == bindparam("of")), rows)


def _merged(tx: Connection, parts: list[tuple[Row[Any], _Part]]) -> tuple[dict[int, int], dict[int, list[Block]]]:
    """Return the index of each series' next chunk, and what the chunks from there on hold, which it takes up."""
    first: dict[int, int] = {}
    behind: dict[int, int] = {}
    total = {row.id: part.points.size for row, part in parts}
    taken: list[tuple[int, int]] = []
    for some in chunks(parts, _NAMES):
        open = {row.id: row.open for row, _ in some}
        newest = select(_chunks.series_id, _chunks.index, _chunks["count"]).join(tracking.series)
        newest = newest.where(_series.id.in_(list(open)), _chunks.index >= _series.open)
        closed: set[int] = set()
        for id, index, count in tx.execute(newest.order_by(_chunks.series_id, _chunks.index.desc())).all():
            first.setdefault(id, behind.setdefault(id, index + 1))
            if id not in closed and count <= total[id]:
                taken.append((id, index))
                first[id], total[id] = index, count + total[id]
            else:
                closed.add(id)
        for id, index in open.items():
            first.setdefault(id, index)
    old: dict[int, list[Block]] = {}
    damaged: set[int] = set()
    for some in chunks(sorted(taken), _NAMES):
        old, damaged = _held(tx, tuple_(_chunks.series_id, _chunks.index).in_(some), old, damaged)
    return {id: behind[id] if id in damaged else index for id, index in first.items()}, old


def _settle(tx: Connection, open: dict[int, int]) -> None:
    blocks, _ = _held(tx, and_(_series.id.in_(list(open)), _chunks.index >= _series.open), {}, set())
    small = {id: each for id, each in blocks.items() if len(each) > 1}
    if small:
        tx.execute(_from_there(), [{"of": id, "from": open[id]} for id in small])
        _NEW_CHUNKS.change_each(tx, [row for id, each in small.items() for row in _cut(id, open[id], joined(each))])


def _held(
    tx: Connection, chosen: ColumnElement[bool], found: dict[int, list[Block]], damaged: set[int]
) -> tuple[dict[int, list[Block]], set[int]]:
    """Return what was found before and what the chosen chunks hold, by series; a series with a damaged chunk is named apart.

    Such a chunk stays as it is: whoever reads it is told, and the run goes on.
    """
    found, damaged = dict(found), set(damaged)
    stored = select(_chunks.series_id, _chunks.index, _chunks["count"], _chunks.data).join(tracking.series).where(chosen)
    for id, index, count, data in tx.execute(stored.order_by(_chunks.series_id, _chunks.index)).all():
        try:
            found.setdefault(id, []).append(unpack(data, count, f"Chunk {index} of the series {id}"))
        except Corrupt:
            damaged.add(id)
    return {id: each for id, each in found.items() if id not in damaged}, damaged


def _from_there() -> Delete:
    return delete(tracking.point_chunks).where(_chunks.series_id == bindparam("of"), _chunks.index >= bindparam("from"))


class _Part(NamedTuple):
    """New points of one series."""

    steps: Sequence[int]
    times: Sequence[int]
    values: Sequence[float]
    points: Block


def _by_name(points: PointColumns) -> dict[str, _Part]:
    names, found = points.names, dict[str, tuple[Sequence[int], Sequence[int], Sequence[float]]]()
    several = len(set(names))
    if names == names[:several] * (len(names) // max(1, several)):
        # A loop logs the same metrics again and again.
        found = {
            name: (points.steps[at::several], points.times[at::several], points.values[at::several])
            for at, name in enumerate(names[:several])
        }
    else:
        places: dict[str, list[int]] = {}
        for at, name in enumerate(names):
            places.setdefault(name, []).append(at)
        for name, mine in places.items():
            found[name] = ([points.steps[at] for at in mine], [points.times[at] for at in mine], [points.values[at] for at in mine])
    return {name: _Part(*columns, block(*columns)) for name, columns in found.items()}


def _cut(series_id: int, first: int, points: Block) -> list[dict[str, Any]]:
    """Return the rows of as many chunks as there are, the first of them with the index ``first``."""
    rows = []
    for index, at in enumerate(range(0, points.size, FULL), first):
        part = points.cut(at, at + FULL)
        low, high = part.range
        rows.append({"series_id": series_id, "index": index, "count": part.size, "low": low, "high": high, "data": pack(part)})
    return rows


def _open(before: int, cut: list[dict[str, Any]]) -> int:
    """Return the index of the first chunk that a later one may still take up."""
    return max((chunk["index"] + 1 for chunk in cut if chunk["count"] > _CLOSED), default=before)


def _double(data: bytes) -> float:
    value: float = struct.unpack("<d", data)[0]
    return value


def _last(data: bytes | None, number: float) -> float:
    """Return a series' last value: what is stored of it, or, where nothing is, the number that search compares."""
    return number if data is None else _double(data)


def _summary(row: Row[Any] | None, new: _Part) -> dict[str, Any]:
    """Return the columns of a series' row after ``new`` points; ``row`` is the one before them."""
    step, count = max(new.steps), len(new.steps)
    at = count - 1 - (0 if new.steps[-1] == step else new.steps[::-1].index(step))
    last, time = new.values[at], new.times[at]
    # A sum is NaN when one of them is, and otherwise seldom: to look at each takes longer.
    numbers = list(filterfalse(math.isnan, new.values) if math.isnan(sum(new.values)) else new.values)
    if row is not None:
        count += row._mapping["count"]
        if row.last_step > step:
            step, last, time = row.last_step, _last(row.last, row.last_number), row.last_time
        numbers.extend(value for value in (_double(row.min), _double(row.max)) if not math.isnan(value))
    return {
        "count": count,
        "last": None if last and not math.isnan(last) else struct.pack("<d", last),
        "last_number": None if math.isnan(last) else last,
        "min": struct.pack("<d", min(numbers, default=math.nan)),
        "max": struct.pack("<d", max(numbers, default=math.nan)),
        "last_step": step,
        "last_time": time,
    }


def _told(name: str, columns: Columns, count: int, sampled: bool) -> Series:
    steps, times, values = (tuple(column.tolist()) for column in columns)
    return Series(name=name, steps=steps, times=times, values=values, count=count, sampled=sampled)
