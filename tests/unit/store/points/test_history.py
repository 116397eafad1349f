from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update

from plimsoll.errors import Corrupt
from plimsoll.records.run import PointColumns
from plimsoll.store.contracts import Database
from plimsoll.store.database import open_database
from plimsoll.store.points.chunks import FULL
from plimsoll.store.points.history import SqlPoints
from plimsoll.store.points.order import Chart, Columns
from plimsoll.store.tables import tracking

_BLANK = {"name": "", "state": "running", "author": "a", "cause": {}, "code": {}, "started": 1}

_POINT = st.tuples(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5), st.integers(-(2**63), 2**63 - 1), st.floats())


@pytest.fixture
def sqlite(sqlite_url: str) -> Iterator[Database]:
    """A database with the run ``r``."""
    database = open_database(sqlite_url)
    with database.write() as tx:
        tx.execute(insert(tracking.experiments).values(id="e", name="e", created=1, updated=1))
        tx.execute(insert(tracking.runs).values(id="r", experiment_id="e", **_BLANK))
    yield database
    database.close()


def _batch(points: list[tuple[int, int, float]]) -> PointColumns:
    return PointColumns(
        names=("loss",) * len(points),
        steps=tuple(step for step, _, _ in points),
        times=tuple(time for _, time, _ in points),
        values=tuple(value for _, _, value in points),
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batches=st.lists(st.lists(_POINT, max_size=12), min_size=1, max_size=12))
def test_any_batches_read_back_as_one_stable_sort_by_step(sqlite: Database, batches: list[list[tuple[int, int, float]]]) -> None:
    with sqlite.write() as tx:
        for table in (tracking.point_chunks, tracking.series, tracking.writers):
            tx.execute(delete(table))
        for number, batch in enumerate(batches, 1):
            SqlPoints().append(tx, "r", "w", number, _batch(batch))
        sent = sorted((point for batch in batches for point in batch), key=lambda point: point[0])
        if not sent:
            assert SqlPoints().summaries(tx, ["r"]) == {}
            return
        series = SqlPoints().read(tx, "r", "loss", None)
        (summary,) = SqlPoints().summaries(tx, ["r"])["r"]
    assert list(zip(series.steps, series.times, strict=True)) == [(step, time) for step, time, _ in sent]
    assert [struct.pack("<d", value) for value in series.values] == [struct.pack("<d", value) for _, _, value in sent]
    numbers = [value for _, _, value in sent if not math.isnan(value)]
    assert (summary.count, summary.last_step) == (len(sent), sent[-1][0])
    assert struct.pack("<d", summary.last) == struct.pack("<d", sent[-1][2])
    assert math.isnan(summary.min) if not numbers else summary.min == min(numbers)
    assert math.isnan(summary.max) if not numbers else summary.max == max(numbers)


def test_a_series_written_point_by_point_has_few_chunks(sqlite: Database) -> None:
    with sqlite.write() as tx:
        for number in range(1, 701):
            SqlPoints().append(tx, "r", "w", number, _batch([(number, number, 0.5)]))
        assert tx.execute(select(func.count()).select_from(tracking.point_chunks)).scalar_one() <= 12


def test_large_batches_fill_the_chunks(sqlite: Database) -> None:
    with sqlite.write() as tx:
        for number in range(1, 11):
            SqlPoints().append(tx, "r", "w", number, _batch([(number, at, 0.5) for at in range(10_000)]))
        sizes = tx.execute(select(tracking.point_chunks.c["count"])).scalars().all()
        assert sum(sizes) == 100_000
        assert len(sizes) <= 14
        assert SqlPoints().read(tx, "r", "loss").times == tuple(range(10_000)) * 10


def test_a_chart_of_many_chunks_is_that_of_all_their_points(sqlite: Database) -> None:
    dice = random.Random(3)
    points = [(step, step, math.nan if dice.random() < 0.001 else dice.gauss(0, 1)) for step in range(20 * FULL + 7)]
    with sqlite.write() as tx:
        for number, begin in enumerate(range(0, len(points), FULL), 1):
            SqlPoints().append(tx, "r", "w", number, _batch(points[begin : begin + FULL]))
        series = SqlPoints().read(tx, "r", "loss", width=50)
    whole = Chart(0, len(points) - 1, 50).thinned(Columns(*map(np.array, zip(*points, strict=True))))
    assert series.times == tuple(whole.times.tolist())
    assert series.values == pytest.approx(whole.values.tolist(), abs=0, rel=0, nan_ok=True)
    assert (series.count, series.sampled) == (len(points), True)


def test_a_settled_series_has_one_chunk_and_the_same_points(sqlite: Database) -> None:
    with sqlite.write() as tx:
        for number in range(1, 401):
            SqlPoints().append(tx, "r", "w", number, _batch([(number, number, 0.5)]))
        before = SqlPoints().read(tx, "r", "loss")
        SqlPoints().settle(tx, "r")
        SqlPoints().settle(tx, "none")
        assert tx.execute(select(tracking.point_chunks.c["count"])).scalars().all() == [400]
        assert SqlPoints().read(tx, "r", "loss") == before
        SqlPoints().append(tx, "r", "w", 401, _batch([(401, 401, 0.5)] * 5_000))
        SqlPoints().settle(tx, "r")
        assert SqlPoints().read(tx, "r", "loss").steps == (*range(1, 401), *[401] * 5_000)


def test_an_append_does_not_pack_full_chunks_again(sqlite: Database) -> None:
    full = [(number, number, 0.5) for number in range(FULL)]
    with sqlite.write() as tx:
        SqlPoints().append(tx, "r", "w", 1, _batch(full))
        # Whoever unpacked it now would report it.
        tx.execute(update(tracking.point_chunks).values(data=b""))
        for number in range(2, 12):
            SqlPoints().append(tx, "r", "w", number, _batch([(FULL, FULL, 0.5)]))


@pytest.mark.parametrize("data", [b"", b"\x01rubbish", b"\x09"])
def test_a_damaged_chunk_is_reported_as_corrupt(sqlite: Database, data: bytes) -> None:
    with sqlite.write() as tx:
        SqlPoints().append(tx, "r", "w", 1, _batch([(1, 1, 0.5)]))
        tx.execute(update(tracking.point_chunks).values(data=data))
    with sqlite.read() as tx, pytest.raises(Corrupt, match="loss"):
        SqlPoints().read(tx, "r", "loss", None)


def test_a_run_goes_on_and_ends_beside_a_damaged_chunk(sqlite: Database) -> None:
    with sqlite.write() as tx:
        SqlPoints().append(tx, "r", "w", 1, _batch([(1, 1, 0.5)]))
        SqlPoints().append(tx, "r", "w", 2, _batch([(2, 2, 0.5)] * 3))
        tx.execute(update(tracking.point_chunks).values(data=b"rubbish"))
        for number in range(3, 9):
            SqlPoints().append(tx, "r", "w", number, _batch([(number, number, 0.5)] * 2))
        SqlPoints().settle(tx, "r")
        assert tx.execute(select(tracking.point_chunks.c.data).where(tracking.point_chunks.c.data == b"rubbish")).all()
        with pytest.raises(Corrupt, match="Chunk 0"):
            SqlPoints().read(tx, "r", "loss")
        assert SqlPoints().read(tx, "r", "loss", steps=(4, 8)).values == (0.5,) * 10
