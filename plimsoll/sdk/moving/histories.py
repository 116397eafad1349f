"""Histories are moved in page by page, each point once, in the order in which the last one is the metric's value."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import islice

from plimsoll import clock
from plimsoll.records.request import check_key
from plimsoll.records.run import AppendPoints, GetSeries, PointColumns, RunDetail, SeriesSummary
from plimsoll.sdk.door import Door
from plimsoll.sdk.moving.ledger import Ledger
from plimsoll.sdk.moving.sources.ordered import Tally
from plimsoll.sdk.moving.sources.source import Point, Source, SourceRun

#: Points in one request, and in one page that is read back.
_BATCH = 10_000


class HistoryCopy:
    """Copies histories.

    What a series has here is the beginning of what it has at the source, so its number of points says where to go on: nothing is
    remembered beside the points themselves.

    Args:
        door: where to.
        source: where from.
        ledger: gets what happened.
    """

    def __init__(self, door: Door, source: Source, ledger: Ledger) -> None:
        self._door, self._source, self._ledger = door, source, ledger
        #: Nobody else writes under this name, so that a batch that is sent twice counts once.
        self._writer = f"import-{clock.new_id()}"

    def copy(self, run: SourceRun, detail: RunDetail, settled: bool) -> None:
        """Bring the histories of a run, and read back what was written.

        Args:
            run: at the source.
            detail: the same run here.
            settled: whether a series whose last point is the same needs no reading.
        """
        known = {series.name: series for series in detail.metrics}
        told: dict[str, Tally] = {}
        for sequence, batch in enumerate(batches(self._series(run, known, settled, told), _BATCH), 1):
            names, points = zip(*batch, strict=True)
            columns = PointColumns(
                names=names,
                steps=tuple(point.step for point in points),
                times=tuple(point.time for point in points),
                values=tuple(point.value for point in points),
            )
            self._door.do(AppendPoints(run_id=run.id, writer=self._writer, sequence=sequence, points=columns))
        for name, tally in told.items():
            before = known[name].count if name in known else 0
            if tally.count == 0 or self._read_back(run.id, name) == tally:
                self._ledger.copied("point", max(0, tally.count - before))
                self._ledger.here("point", min(tally.count, before))
            else:
                self._ledger.differs("point", f"The history of {name!r} of the run {run.id} is not as at the source.")

    def _series(
        self, run: SourceRun, known: dict[str, SeriesSummary], settled: bool, told: dict[str, Tally]
    ) -> Iterator[tuple[str, Point]]:
        """Yield what is not here yet, and add up everything that is at the source."""
        for name, last in run.metrics.items():
            if settled and name in known and same_point(known[name], last):
                self._ledger.here("point", known[name].count)
                continue
            with self._ledger.refusals("point", f"{name[:80]} of run {run.id}"):
                check_key("Metric", name)
                tally = told[name] = Tally()
                passed = known[name].count if name in known else 0
                for point in self._source.points(run.id, name):
                    tally.add((point,))
                    if tally.count > passed:
                        yield name, point

    def _read_back(self, run_id: str, name: str) -> Tally:
        tally, first = Tally(), 0
        while True:
            page = self._door.do(GetSeries(run_id=run_id, name=name, first=first, limit=_BATCH))
            tally.add(map(Point, page.steps, page.times, page.values))
            first += len(page.steps)
            if not page.steps or first >= page.count:
                return tally


def same_point(series: SeriesSummary, point: Point) -> bool:
    """Return whether a series ends with a point.

    Args:
        series: as it is here.
        point: the last one at the source.
    """
    same = struct.pack("<d", series.last) == struct.pack("<d", point.value) or (series.last != series.last and point.value != point.value)
    return same and (series.last_step, series.last_time) == (point.step, point.time)


def batches(items: Iterable[tuple[str, Point]], size: int) -> Iterator[list[tuple[str, Point]]]:
    """Yield items in lists.

    Args:
        items: any number of them.
        size: of a list, at most.
    """
    each = iter(items)
    while batch := list(islice(each, size)):
        yield batch
