"""Points in order of (step, arrival), and which of them a chart of some width needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from plimsoll import extras
from plimsoll.store.points.chunks import Block


class Bounds(NamedTuple):
    """What a chunk's row says of its points."""

    #: Place of the chunk in order of arrival.
    place: int
    #: Number of points.
    size: int
    #: Smallest step.
    low: int
    #: Largest step.
    high: int


class Columns(NamedTuple):
    """Arrays of one length ``(n,)``, in order of (step, arrival)."""

    #: int64.
    steps: Any
    #: int64, UTC microseconds.
    times: Any
    #: float64.
    values: Any

    def at(self, kept: Any) -> Columns:
        """Return the points at some positions.

        Args:
            kept: a slice, or an array of positions of shape ``(m,)``.
        """
        return Columns(self.steps[kept], self.times[kept], self.values[kept])


def in_order(points: Block) -> Columns:
    """Return points in order of (step, arrival).

    Args:
        points: in order of arrival.
    """
    np = extras.require("numpy")
    columns = Columns(np.frombuffer(points.steps, "<i8"), np.frombuffer(points.times, "<i8"), np.frombuffer(points.values, "<f8"))
    if (columns.steps[1:] >= columns.steps[:-1]).all():
        return columns
    return columns.at(np.argsort(columns.steps, kind="stable"))


def between(columns: Columns, first: int, last: int) -> Columns:
    """Return the points whose steps lie in a range.

    Args:
        columns: in order.
        first: smallest step.
        last: largest step, of the range too.
    """
    return columns.at(slice(columns.steps.searchsorted(first, "left"), columns.steps.searchsorted(last, "right")))


def page(chunks: Sequence[Bounds], first: int, count: int) -> tuple[list[int], int]:
    """Return which chunks hold points of a page, in order of arrival, and how many of their points come before the page.

    Chunks whose steps overlap are taken together: only all of them give the order of their points.

    Args:
        chunks: of one series, in any order.
        first: position of the page's first point in order of (step, arrival), from 0.
        count: number of points.
    """
    chosen: list[int] = []
    before = position = 0
    for group in _groups(chunks):
        size = sum(chunk.size for chunk in group)
        if position + size <= first:
            before = position + size
        elif position < first + count:
            chosen += [chunk.place for chunk in group]
        position += size
    return sorted(chosen), first - before


def _groups(chunks: Sequence[Bounds]) -> list[list[Bounds]]:
    """Return groups of chunks such that every point of a group comes before every point of the next."""
    groups: list[list[Bounds]] = []
    high = newest = 0
    for chunk in sorted(chunks, key=lambda chunk: (chunk.low, chunk.place)):
        if groups and (chunk.low < high or (chunk.low == high and chunk.place < newest)):
            groups[-1].append(chunk)
            high, newest = max(high, chunk.high), max(newest, chunk.place)
        else:
            groups.append([chunk])
            high, newest = chunk.high, chunk.place
    return groups


class Chart:
    """A chart's columns of equal step range. It takes a history in parts, each in order, and keeps what each column needs.

    Args:
        low: first step of the chart.
        high: last step of the chart.
        width: number of columns, at least 1.
    """

    def __init__(self, low: int, high: int, width: int) -> None:
        self._np = np = extras.require("numpy")
        span = high - low + 1
        # The last step of each column but the last: exact integers, since a step may use all its 64 bits.
        self._ends = np.array([low - (-column * span // width) - 1 for column in range(1, width)], "<i8")

    def thinned(self, columns: Columns) -> Columns:
        """Return of each column the first, smallest, largest and last point, and the first NaN, in order.

        Doing it to parts of a history, and then to what is left of them in order, gives the same as doing it to the whole.

        Args:
            columns: in order; steps between the chart's first and last one.
        """
        np, values = self._np, columns.values
        if not len(values):
            return columns
        first, last = self._ends.searchsorted(columns.steps[[0, -1]], "left").tolist()
        stops = [*columns.steps.searchsorted(self._ends[first:last], "right").tolist(), len(values)]
        holes = np.isnan(values)
        if not holes.any():
            holes = None
        kept: list[int] = []
        start = 0
        for stop in stops:
            if stop > start:
                kept += (start, stop - 1)
            if stop - start > 2:
                part = values[start:stop]
                if holes is None or not holes[start:stop].any():
                    kept += (start + int(part.argmin()), start + int(part.argmax()))
                else:
                    kept += self._beside_holes(values, holes, start, stop)
            start = stop
        return columns.at(np.array(sorted(set(kept)), "<i8"))

    def _beside_holes(self, values: Any, holes: Any, start: int, stop: int) -> list[int]:
        """Return the first NaN of a column, and the smallest and the largest of its numbers."""
        numbers = start + self._np.flatnonzero(~holes[start:stop])
        found = [start + int(holes[start:stop].argmax())]
        if len(numbers):
            found += (int(numbers[values[numbers].argmin()]), int(numbers[values[numbers].argmax()]))
        return found
