"""Metric histories: chunks of packed columns, one summary row a series.

A chunk holds up to 4,096 points of one series in the order of arrival. New points become a chunk of their own; it takes
up the chunks before it that are no larger, as carries go through a binary counter. So a series written point by point
has a dozen small chunks at most, and each point is packed again a dozen times at most.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select, update

from plimsoll import clock
from plimsoll.errors import Conflict, Corrupt, InvalidInput, NotFound
from plimsoll.records.run import PointColumns, Series, SeriesSummary
from plimsoll.store.contracts import chunks
from plimsoll.store.segments import writers
from plimsoll.store.tables import tracking

#: Points in a full chunk.
FULL = 4096

#: First byte of a chunk: how the rest is packed.
_PACKING = b"\x01"

_WORD = 8


class _Columns(NamedTuple):
    steps: array[int]
    times: array[int]
    values: array[float]

    def extend(self, other: _Columns) -> None:
        self.steps.extend(other.steps)
        self.times.extend(other.times)
        self.values.extend(other.values)

    def cut(self, start: int, stop: int) -> _Columns:
        return _Columns(self.steps[start:stop], self.times[start:stop], self.values[start:stop])


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
        new = _by_name(points)
        known = self._known(tx, run_id, list(new))
        for name, row in known.items():
            tx.execute(update(tracking.series).where(tracking.series.c.id == row.id).values(**_summary(row, new[name])))
            self._add(tx, row.id, new.pop(name))
        if new:
            self._begin(tx, run_id, new)
        writers.advance(tx, run_id, writer, last, sequence)
        return len(points.values)

    def _begin(self, tx: Connection, run_id: str, new: dict[str, _Columns]) -> None:
        """Add series that the run does not have yet, all by two statements."""
        ids = {name: clock.new_id() for name in new}
        series = [{"id": ids[name], "run_id": run_id, "name": name, **_summary(None, columns)} for name, columns in new.items()]
        tx.execute(insert(tracking.series), series)
        tx.execute(insert(tracking.point_chunks), [chunk for name, columns in new.items() for chunk in _cut(ids[name], 0, columns)])

    def last_sequence(self, tx: Connection, run_id: str, writer: str) -> int:
        """Return the last sequence applied of a writer, 0 when it never wrote.

        Args:
            tx: an open transaction.
            run_id: the run.
            writer: the writer's id.
        """
        return writers.last_sequence(tx, run_id, writer)

    def read(self, tx: Connection, run_id: str, name: str, width: int | None) -> Series:
        """Return a history in order of (step, arrival), whole or thinned to a chart's width.

        Args:
            tx: an open transaction.
            run_id: the run.
            name: the metric.
            width: columns of equal step range; each keeps its first, smallest, largest and last point, and its first NaN.
                None for every point.

        Raises:
            NotFound: the run has no such metric.
            InvalidInput: the width is below 1.
            Corrupt: a chunk does not hold what its row says.
        """
        if width is not None and width < 1:
            raise InvalidInput(f"The width {width} is below 1.", "Ask for at least one column.")
        row = self._known(tx, run_id, [name]).get(name)
        if row is None:
            raise NotFound(f"The run {run_id!r} has no metric {name!r}.", f"List its metrics: plimsoll runs show {run_id}")
        table = tracking.point_chunks
        columns = _empty()
        for chunk in tx.execute(select(table).where(table.c.series_id == row.id).order_by(table.c.index)):
            columns.extend(_unpack(chunk.data, chunk._mapping["count"], name))
        columns = _in_order(columns)
        kept = range(len(columns.steps)) if width is None else _thin(columns, width)
        return Series(
            name=name,
            steps=tuple(columns.steps[i] for i in kept),
            times=tuple(columns.times[i] for i in kept),
            values=tuple(columns.values[i] for i in kept),
            sampled=len(kept) < len(columns.steps),
        )

    def summaries(self, tx: Connection, run_ids: Sequence[str]) -> dict[str, tuple[SeriesSummary, ...]]:
        """Return one summary a series for each run, by name; runs without metrics are left out.

        Args:
            tx: an open transaction.
            run_ids: any number of runs.
        """
        table = tracking.series
        found: dict[str, list[SeriesSummary]] = {}
        for some in chunks(list(dict.fromkeys(run_ids)), 500):
            for row in tx.execute(select(table).where(table.c.run_id.in_(some)).order_by(table.c.name)):
                found.setdefault(row.run_id, []).append(
                    SeriesSummary(
                        name=row.name,
                        count=row._mapping["count"],
                        last=_double(row.last),
                        min=_double(row.min),
                        max=_double(row.max),
                        last_step=row.last_step,
                        last_time=row.last_time,
                    )
                )
        return {run_id: tuple(rows) for run_id, rows in found.items()}

    def _known(self, tx: Connection, run_id: str, names: Sequence[str]) -> dict[str, Row[Any]]:
        table = tracking.series
        found: dict[str, Row[Any]] = {}
        for some in chunks(names, 500):
            for row in tx.execute(select(table).where(table.c.run_id == run_id, table.c.name.in_(some))):
                found[row.name] = row
        return found

    def _add(self, tx: Connection, series_id: str, new: _Columns) -> None:
        table = tracking.point_chunks
        columns = table.c
        newest = select(columns.index, columns["count"]).where(columns.series_id == series_id)
        tail = tx.execute(newest.order_by(columns.index.desc()).limit(FULL.bit_length() + 1)).all()
        first = tail[0][0] + 1 if tail else 0
        total = len(new.steps)
        for index, count in tail:
            if count > total or count + total > FULL:
                break
            first, total = index, total + count
        whole = _empty()
        mine = (columns.series_id == series_id, columns.index >= first)
        for chunk in tx.execute(select(table).where(*mine).order_by(columns.index)):
            whole.extend(_unpack(chunk.data, chunk._mapping["count"], series_id))
        tx.execute(delete(table).where(*mine))
        whole.extend(new)
        tx.execute(insert(table), _cut(series_id, first, whole))


def _empty() -> _Columns:
    return _Columns(array("q"), array("q"), array("d"))


def _by_name(points: PointColumns) -> dict[str, _Columns]:
    found: dict[str, _Columns] = {}
    try:
        for name, step, time, value in zip(points.names, points.steps, points.times, points.values, strict=True):
            columns = found.get(name)
            if columns is None:
                columns = found[name] = _empty()
            columns.steps.append(step)
            columns.times.append(time)
            columns.values.append(value)
    except OverflowError as error:
        raise InvalidInput(f"A point does not fit 64 bits: {error}.", "Send steps and times as 64-bit integers.") from error
    return found


def _cut(series_id: str, first: int, columns: _Columns) -> list[dict[str, Any]]:
    """Return the rows of as many chunks as there are, the first of them with the index ``first``."""
    parts = [columns.cut(at, at + FULL) for at in range(0, len(columns.steps), FULL)]
    return [{"series_id": series_id, "index": first + i, "count": len(part.steps), "data": _pack(part)} for i, part in enumerate(parts)]


def _pack(columns: _Columns) -> bytes:
    # The first bytes of all words, then the second ones …: steps and times then shrink to almost nothing.
    planes: list[bytes] = []
    for column in _each(columns):
        raw = _little(column).tobytes()
        planes.extend(raw[i::_WORD] for i in range(_WORD))
    return _PACKING + zlib.compress(b"".join(planes), 1)


def _unpack(data: bytes, count: int, what: str) -> _Columns:
    try:
        planes = zlib.decompress(data[1:]) if data[:1] == _PACKING else b""
    except zlib.error:
        planes = b""
    if len(planes) != 3 * _WORD * count:
        raise Corrupt(f"A chunk of {what!r} does not hold its {count} points.", "Restore the database from a backup.")
    columns = _empty()
    for number, column in enumerate(_each(columns)):
        raw = bytearray(_WORD * count)
        for i in range(_WORD):
            start = (number * _WORD + i) * count
            raw[i::_WORD] = planes[start : start + count]
        column.frombytes(raw)
        if sys.byteorder == "big":
            column.byteswap()
    return columns


def _each(columns: _Columns) -> tuple[array[Any], ...]:
    return columns.steps, columns.times, columns.values


def _little(column: array[Any]) -> array[Any]:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column


def _double(data: bytes) -> float:
    value: float = struct.unpack("<d", data)[0]
    return value


def _summary(row: Row[Any] | None, new: _Columns) -> dict[str, Any]:
    """Return the columns of a series' row after ``new`` points; ``row`` is the one before them."""
    step = max(new.steps)
    at = next(index for index in range(len(new.steps) - 1, -1, -1) if new.steps[index] == step)
    last, time = new.values[at], new.times[at]
    numbers = [value for value in new.values if not math.isnan(value)]
    count = len(new.steps)
    if row is not None:
        count += row._mapping["count"]
        if row.last_step > step:
            step, last, time = row.last_step, _double(row.last), row.last_time
        numbers.extend(value for value in (_double(row.min), _double(row.max)) if not math.isnan(value))
    return {
        "count": count,
        "last": struct.pack("<d", last),
        "last_number": None if math.isnan(last) else last,
        "min": struct.pack("<d", min(numbers, default=math.nan)),
        "max": struct.pack("<d", max(numbers, default=math.nan)),
        "last_step": step,
        "last_time": time,
    }


def _in_order(columns: _Columns) -> _Columns:
    steps = columns.steps
    if all(steps[i] <= steps[i + 1] for i in range(len(steps) - 1)):
        return columns
    order = sorted(range(len(steps)), key=steps.__getitem__)
    return _Columns(
        array("q", (steps[i] for i in order)),
        array("q", (columns.times[i] for i in order)),
        array("d", (columns.values[i] for i in order)),
    )


def _thin(columns: _Columns, width: int) -> Sequence[int]:
    """Return the positions to keep, in order."""
    steps = columns.steps
    low, span = steps[0], steps[-1] - steps[0] + 1
    kept: list[int] = []
    start = 0
    for column in range(1, width + 1):
        # Where the next column begins: exact integers, since a step may use all its 64 bits.
        stop = bisect_left(steps, low - (-column * span // width), start)
        if stop > start:
            kept.extend(sorted(set(_extremes(columns.values, start, stop))))
        start = stop
    return kept


def _extremes(values: array[float], start: int, stop: int) -> Iterator[int]:
    part = values[start:stop]
    yield start
    yield stop - 1
    if not math.isnan(sum(part)):
        yield start + part.index(min(part))
        yield start + part.index(max(part))
        return
    # A NaN, or infinities of both signs: min() and max() of a list with NaN depend on its order.
    numbers = [i for i in range(start, stop) if not math.isnan(values[i])]
    if len(numbers) < stop - start:
        yield next(i for i in range(start, stop) if math.isnan(values[i]))
    if numbers:
        yield min(numbers, key=values.__getitem__)
        yield max(numbers, key=values.__getitem__)
