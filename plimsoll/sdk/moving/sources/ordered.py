"""Histories of any length in the order in which they are kept, and what tells whether two of them are the same."""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator

from plimsoll import codec
from plimsoll.sdk.moving.sources.source import Point

_PACKED = struct.Struct("<qqd")


def place_of(point: Point) -> tuple[int, int, bool, float]:
    """Return what orders points, so that the last one is the metric's last value: step, time, value; NaN before any number.

    Args:
        point: any point.
    """
    nan = math.isnan(point.value)
    return point.step, point.time, not nan, 0.0 if nan else point.value


def in_order(read: Callable[[], Iterator[Point]]) -> Iterator[Point]:
    """Yield points by step, time and value. What is in order already is streamed; anything else is sorted on disk.

    Args:
        read: reads the points from the beginning, the same each time.
    """
    last: tuple[int, int, bool, float] | None = None
    for point in read():
        place = place_of(point)
        if last is not None and place < last:
            yield from _sorted(read())
            return
        last = place
    yield from read()


def _sorted(points: Iterator[Point]) -> Iterator[Point]:
    # A database without a name is a file that nobody sees, and that goes with the connection.
    database = sqlite3.connect("")
    try:
        database.execute("CREATE TABLE points (step INTEGER, time INTEGER, number REAL, bits BLOB)")
        rows = ((step, time, None if math.isnan(value) else value, struct.pack("<d", value)) for step, time, value in points)
        database.executemany("INSERT INTO points VALUES (?, ?, ?, ?)", rows)
        # NULL, which stands for NaN, comes first.
        for step, time, bits in database.execute("SELECT step, time, bits FROM points ORDER BY step, time, number, rowid"):
            yield Point(step, time, struct.unpack("<d", bits)[0])
    finally:
        database.close()


class Tally:
    """How many points there are, and a sum over their digests: the same for the same points in any order, repeated ones counted."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, points: Iterable[Point]) -> None:
        """Take in more points.

        Args:
            points: any points.
        """
        for point in points:
            self.count += 1
            self._sum += int(codec.digest(_PACKED.pack(*point)), 16)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and (self.count, self._sum) == (other.count, other._sum)

    __hash__ = None  # type: ignore[assignment]
