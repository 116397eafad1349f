"""What every :class:`~plimsoll.store.contracts.Points` must do."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import pytest
from sqlalchemy import insert

from plimsoll import clock
from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.run import PointColumns
from plimsoll.store.contracts import Database, Points
from plimsoll.store.tables import tracking


def _points(name: str, steps: Sequence[int], values: Sequence[float]) -> PointColumns:
    return PointColumns(names=(name,) * len(steps), steps=tuple(steps), times=tuple(range(len(steps))), values=tuple(values))


def _bits(values: Sequence[float]) -> list[bytes]:
    return [struct.pack("<d", value) for value in values]


class PointsSuite:
    """Derive from it and override :meth:`database` and :meth:`points`."""

    @pytest.fixture
    def database(self) -> Database:
        """Return a fresh database."""
        raise NotImplementedError("Override the fixture 'database'.")

    @pytest.fixture
    def points(self) -> Points:
        """Return the point store."""
        raise NotImplementedError("Override the fixture 'points'.")

    @pytest.fixture
    def run(self, database: Database) -> str:
        """The id of a run that may log, made in ``database``."""
        id = clock.new_id()
        blank = {"name": "", "state": "running", "author": "a", "cause": {}, "code": {}, "started": 1}
        with database.write() as tx:
            tx.execute(insert(tracking.experiments).values(id=id, name=id, created=1, updated=1))
            tx.execute(insert(tracking.runs).values(id=id, experiment_id=id, **blank))
        return id

    def test_values_come_back_bit_for_bit(self, database: Database, points: Points, run: str) -> None:
        odd = struct.unpack("<d", bytes.fromhex("010000000000f87f"))[0]
        values = [math.nan, odd, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1]
        steps = [-(2**63), -1, 0, 1, 2, 3, 4, 5, 2**63 - 1]
        with database.write() as tx:
            assert points.append(tx, run, "w", 1, _points("loss", steps, values)) == len(values)
        with database.read() as tx:
            series = points.read(tx, run, "loss", None)
        assert _bits(series.values) == _bits(values)
        assert list(series.steps) == steps
        assert series.times == tuple(range(len(values)))
        assert not series.sampled

    def test_a_batch_that_comes_twice_counts_once(self, database: Database, points: Points, run: str) -> None:
        for expected in (2, 0):
            with database.write() as tx:
                assert points.append(tx, run, "w", 1, _points("loss", [1, 2], [0.5, 0.25])) == expected
        with database.write() as tx:
            assert points.append(tx, run, "other", 1, _points("loss", [3], [0.1])) == 1
        with database.read() as tx:
            assert points.read(tx, run, "loss", None).steps == (1, 2, 3)
            assert points.summaries(tx, [run])[run][0].count == 3
            assert [points.last_sequence(tx, run, writer) for writer in ("w", "other", "never")] == [1, 1, 0]

    def test_a_missing_batch_is_asked_for_and_nothing_changes(self, database: Database, points: Points, run: str) -> None:
        with database.write() as tx:
            points.append(tx, run, "w", 1, _points("loss", [1], [0.5]))
        with pytest.raises(Conflict) as caught, database.write() as tx:
            points.append(tx, run, "w", 3, _points("loss", [3], [0.5]))
        assert caught.value.details["expected"] == 2
        with pytest.raises(InvalidInput), database.write() as tx:
            points.append(tx, run, "w", 0, _points("loss", [3], [0.5]))
        with database.read() as tx:
            assert points.read(tx, run, "loss", None).steps == (1,)

    def test_points_are_in_order_of_step_and_then_arrival(self, database: Database, points: Points, run: str) -> None:
        with database.write() as tx:
            points.append(tx, run, "w", 1, _points("loss", [5, 1, 3], [1.0, 2.0, 3.0]))
            points.append(tx, run, "w", 2, _points("loss", [3, 1], [4.0, 5.0]))
        with database.read() as tx:
            series = points.read(tx, run, "loss", None)
        assert series.steps == (1, 1, 3, 3, 5)
        assert series.values == (2.0, 5.0, 3.0, 4.0, 1.0)

    def test_batches_of_every_size_add_up(self, database: Database, points: Points, run: str) -> None:
        step, sent = 0, []
        for sequence, size in enumerate([1, 1, 1, 5000, 1, 4095, 2, 0, 9000, 1, 1, 3, 700, 1]):
            values = [float(step + i) for i in range(size)]
            with database.write() as tx:
                points.append(tx, run, "w", sequence + 1, _points("loss", range(step, step + size), values))
            step += size
            sent += values
        with database.read() as tx:
            assert list(points.read(tx, run, "loss", None).values) == sent

    def test_a_batch_of_many_series_is_sorted_out(self, database: Database, points: Points, run: str) -> None:
        names = [f"m{number % 600}" for number in range(1200)]
        columns = PointColumns(
            names=tuple(names), steps=tuple(range(1200)), times=tuple(range(1200)), values=tuple(float(number) for number in range(1200))
        )
        with database.write() as tx:
            assert points.append(tx, run, "w", 1, columns) == 1200
        with database.read() as tx:
            assert points.read(tx, run, "m7", None).values == (7.0, 607.0)
            assert len(points.summaries(tx, [run])[run]) == 600

    def test_the_last_points_are_added_each_time_and_are_no_writers(self, database: Database, points: Points, run: str) -> None:
        with database.write() as tx:
            points.settle(tx, run, _points("loss", [1, 2], [0.5, 0.25]))
            points.append(tx, run, "w", 1, _points("loss", [3], [0.125]))
            points.settle(tx, run, _points("loss", [4], [2.0]))
            points.settle(tx, run, _points("auc", [4], [3.0]))
            points.settle(tx, run, _points("loss", [], []))
        with database.read() as tx:
            assert points.read(tx, run, "loss").values == (0.5, 0.25, 0.125, 2.0)
            assert points.read(tx, run, "auc").values == (3.0,)
            assert [(found.name, found.count) for found in points.summaries(tx, [run])[run]] == [("auc", 1), ("loss", 4)]

    def test_settling_changes_nothing_that_is_read(self, database: Database, points: Points, run: str) -> None:
        sequence = 0
        for settled in (False, True, True):
            for _ in range(40):
                sequence += 1
                with database.write() as tx:
                    points.append(tx, run, "w", sequence, _points("loss", [sequence, -sequence], [float(sequence), 0.5]))
            if settled:
                with database.write() as tx:
                    points.settle(tx, run)
        with database.read() as tx:
            series = points.read(tx, run, "loss")
        assert series.steps == (*range(-120, 0), *range(1, 121))
        assert series.values == (*[0.5] * 120, *map(float, range(1, 121)))

    def test_batches_in_turn_and_in_any_order_are_the_same(self, database: Database, points: Points, run: str) -> None:
        for sequence, names in enumerate((("a", "b", "a", "b"), ("b", "a", "a", "b"), ("a", "b", "a"), ()), 1):
            count = len(names)
            columns = PointColumns(names=names, steps=(sequence,) * count, times=(1,) * count, values=tuple(map(float, range(count))))
            with database.write() as tx:
                assert points.append(tx, run, "w", sequence, columns) == count
        with database.read() as tx:
            assert points.read(tx, run, "a").values == (0.0, 2.0, 1.0, 2.0, 0.0, 2.0)
            assert points.read(tx, run, "b").values == (1.0, 3.0, 0.0, 3.0, 1.0)

    def test_a_summary_tells_the_whole_history(self, database: Database, points: Points, run: str) -> None:
        with database.write() as tx:
            points.append(tx, run, "w", 1, _points("loss", [1, 9], [math.nan, 3.0]))
            points.append(tx, run, "w", 2, _points("loss", [9, 5], [4.0, -7.0]))
            points.append(tx, run, "w", 3, _points("acc", [1], [math.nan]))
        with database.read() as tx:
            acc, loss = points.summaries(tx, [run, "none"])[run]
            assert list(points.summaries(tx, [run, "none"])) == [run]
            last = points.last_points(tx, [run, "none"])
        assert (loss.name, loss.count, loss.last, loss.min, loss.max, loss.last_step) == ("loss", 4, 4.0, -7.0, 4.0, 9)
        assert acc.name == "acc"
        assert math.isnan(acc.last)
        assert repr(last) == repr({run: [(each.name, each.last, each.last_step, each.last_time) for each in (acc, loss)]})
        assert math.isnan(acc.min)
        assert math.isnan(acc.max)

    def test_a_last_point_is_what_was_logged_bit_for_bit(self, database: Database, points: Points, run: str) -> None:
        logged = [0.1, -0.0, math.inf, -math.inf, 5e-324, 1 / 3, 1e300]
        with database.write() as tx:
            for number, value in enumerate(logged):
                points.append(tx, run, "w", number + 1, _points(f"m{number}", [number], [value]))
            found = points.last_points(tx, [run])[run]
        assert repr([value for _, value, _, _ in found]) == repr(logged)
        assert [(name, step) for name, _, step, _ in found] == [(f"m{number}", number) for number in range(len(logged))]

    @pytest.mark.parametrize("width", [1, 7, 100])
    def test_thinning_loses_no_spike(self, database: Database, points: Points, run: str, width: int) -> None:
        values = [math.sin(step / 50) for step in range(10_000)]
        values[4_321], values[8_765], values[6_000] = 99.0, -99.0, math.nan
        with database.write() as tx:
            points.append(tx, run, "w", 1, _points("loss", range(10_000), values))
        with database.read() as tx:
            series = points.read(tx, run, "loss", width)
        assert series.sampled
        assert len(series.steps) <= 4 * width + 1
        kept = dict(zip(series.steps, series.values, strict=True))
        assert (kept[4_321], kept[8_765], kept[0]) == (99.0, -99.0, values[0])
        assert kept[9_999] == values[9_999]
        assert math.isnan(kept[6_000])
        assert list(series.steps) == sorted(kept)
        for column in range(width):
            inside = [step for step in range(10_000) if step * width // 10_000 == column]
            numbers = [values[step] for step in inside if not math.isnan(values[step])]
            there = [kept[step] for step in inside if step in kept and not math.isnan(kept[step])]
            assert {inside[0], inside[-1]} <= kept.keys()
            assert (min(there), max(there)) == (min(numbers), max(numbers))

    def test_what_fits_the_width_is_whole_and_says_so(self, database: Database, points: Points, run: str) -> None:
        with database.write() as tx:
            points.append(tx, run, "w", 1, _points("loss", [-(2**63), 0, 2**63 - 1], [1.0, 2.0, 3.0]))
        with database.read() as tx:
            series = points.read(tx, run, "loss", 800)
            with pytest.raises(InvalidInput):
                points.read(tx, run, "loss", 0)
        assert series.values == (1.0, 2.0, 3.0)
        assert not series.sampled

    @pytest.mark.parametrize("steps", [range(10_000), [step % 7 for step in range(9_000)], [0] * 9_000, range(9_000, 0, -1)])
    def test_a_range_and_its_pages_are_the_exact_points(self, database: Database, points: Points, run: str, steps: Sequence[int]) -> None:
        with database.write() as tx:
            for sequence, start in enumerate(range(0, len(steps), 1_500), 1):
                part = steps[start : start + 1_500]
                points.append(tx, run, "w", sequence, _points("loss", part, [float(start + at) for at in range(len(part))]))
        whole = sorted(zip(steps, map(float, range(len(steps))), strict=True), key=lambda point: point[0])
        with database.read() as tx:
            for first, last in [(0, 0), (3, 5), (4_000, 4_200), (-5, 2**63 - 1), (-(2**63), -1), (5, 4)]:
                inside = [point for point in whole if first <= point[0] <= last]
                series = points.read(tx, run, "loss", steps=(first, last))
                assert list(zip(series.steps, series.values, strict=True)) == inside
                assert (series.count, series.sampled) == (len(inside), False)
                middle = points.read(tx, run, "loss", steps=(first, last), positions=(2, 3))
                assert (list(middle.values), middle.count) == ([value for _, value in inside[2:5]], len(inside))
            for first, limit in [(0, 1), (0, 5_000), (4_095, 2), (7_777, 1_000), (8_999, 5_000), (20_000, 5), (3, 0)]:
                page = points.read(tx, run, "loss", positions=(first, limit))
                assert list(zip(page.steps, page.values, strict=True)) == whole[first : first + limit]
                assert (page.count, page.sampled) == (len(whole), False)

    def test_a_chart_of_a_range_has_columns_of_that_range(self, database: Database, points: Points, run: str) -> None:
        values = [float(step % 100) for step in range(10_000)]
        with database.write() as tx:
            points.append(tx, run, "w", 1, _points("loss", range(10_000), values))
        with database.read() as tx:
            series = points.read(tx, run, "loss", 2, (5_000, 5_999))
            assert points.read(tx, run, "loss", 2, (20_000, 30_000)).values == ()
            with pytest.raises(InvalidInput):
                points.read(tx, run, "loss", 2, None, (0, 1))
        assert series.steps == (5_000, 5_099, 5_499, 5_500, 5_599, 5_999)
        assert (series.count, series.sampled) == (1_000, True)

    def test_an_unknown_metric_is_not_found(self, database: Database, points: Points, run: str) -> None:
        with database.read() as tx, pytest.raises(NotFound):
            points.read(tx, run, "none", None)

    def test_points_are_there_exactly_when_their_transaction_is(self, database: Database, points: Points, run: str) -> None:
        def fail() -> None:
            with database.write() as tx:
                points.append(tx, run, "w", 1, _points("loss", [1], [1.0]))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with database.write() as tx:
            assert points.append(tx, run, "w", 1, _points("loss", [1], [1.0])) == 1
