"""What every :class:`~plimsoll.store.contracts.Segments` must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from plimsoll.errors import InvalidInput
from plimsoll.store.contracts import Database, Segments


class SegmentsSuite:
    """Derive from it and override :meth:`database` and :meth:`segments`."""

    @pytest.fixture
    def database(self) -> Database:
        """Return a fresh database."""
        raise NotImplementedError("Override the fixture 'database'.")

    @pytest.fixture
    def segments(self) -> Segments:
        """Return the segments of an empty blob store."""
        raise NotImplementedError("Override the fixture 'segments'.")

    def _log(self, database: Database, segments: Segments, sequence: int, times: list[int], writer: str = "w") -> int:
        with database.write() as tx:
            return segments.append(tx, "late", writer, sequence, {"id": [f"{writer}{sequence}.{i}" for i in range(len(times))]}, times)

    def test_rows_come_back_in_order_of_time_within_the_asked_span(self, database: Database, segments: Segments) -> None:
        self._log(database, segments, 1, [30, 10])
        self._log(database, segments, 2, [20, 40])
        for _ in ("waiting", "sealed"):
            with database.read() as tx:
                frame = segments.scan(tx, "late", 10, 40)
                assert frame["at"].to_list() == [10, 20, 30]
                assert frame["id"].to_list() == ["w1.1", "w2.0", "w1.0"]
                assert segments.scan(tx, "late", 11, 11).height == 0
                assert segments.scan(tx, "never", 0, 99).columns == ["at"]
            segments.seal(database, "late")

    def test_a_batch_that_comes_twice_counts_once_even_after_sealing(self, database: Database, segments: Segments) -> None:
        assert self._log(database, segments, 1, [1, 2]) == 2
        assert self._log(database, segments, 1, [1, 2]) == 0
        segments.seal(database, "late")
        assert self._log(database, segments, 1, [1, 2]) == 0
        assert self._log(database, segments, 4, [3]) == 1
        assert self._log(database, segments, 1, [4], writer="v") == 1
        with database.read() as tx:
            assert segments.scan(tx, "late", 0, 9).height == 4
            assert segments.last_sequence(tx, "late", "w") == 4
            assert segments.last_sequence(tx, "late", "never") == 0

    def test_sealing_moves_every_waiting_row_once(self, database: Database, segments: Segments) -> None:
        self._log(database, segments, 1, [1, 2, 3])
        self._log(database, segments, 2, [4])
        with database.read() as tx:
            before = segments.scan(tx, "late", 0, 9)
            assert segments.waiting(tx) == {"late": 4}
        assert segments.seal(database, "late") == 4
        assert segments.seal(database, "late") == 0
        assert segments.seal(database, "never") == 0
        with database.read() as tx:
            assert segments.waiting(tx) == {}
            assert segments.scan(tx, "late", 0, 9).equals(before)

    def test_a_reader_that_began_before_the_sealing_still_sees_each_row_once(self, database: Database, segments: Segments) -> None:
        self._log(database, segments, 1, [1, 2, 3])
        with database.read() as tx:
            assert segments.waiting(tx) == {"late": 3}
            segments.seal(database, "late")
            assert segments.scan(tx, "late", 0, 9).height == 3

    def test_two_that_seal_at_once_lose_and_double_nothing(self, database: Database, segments: Segments) -> None:
        for sequence in range(1, 11):
            self._log(database, segments, sequence, [sequence])
        with ThreadPoolExecutor(4) as pool:
            sealed = sum(pool.map(lambda _: segments.seal(database, "late"), range(4)))
        assert sealed == 10
        with database.read() as tx:
            assert segments.scan(tx, "late", 0, 99)["at"].to_list() == list(range(1, 11))

    def test_columns_may_come_and_go_and_change_their_kind(self, database: Database, segments: Segments) -> None:
        nan = float("nan")
        with database.write() as tx:
            segments.append(tx, "late", "w", 1, {"a": [1, None], "b": [True, None], "c": [nan, 1], "d": [None, None]}, [1, 2])
            segments.append(tx, "late", "w", 2, {"a": [1.5], "e": [[1, {"x": 2}]], "f": [b"\x00"], "g": ["ü\u0000"]}, [3])
        for _ in ("waiting", "sealed"):
            with database.read() as tx:
                rows = segments.scan(tx, "late", 0, 9).rows(named=True)
            assert [row["a"] for row in rows] == [1.0, None, 1.5]
            assert [row["b"] for row in rows] == [True, None, None]
            assert str(rows[0]["c"]) == "nan"
            assert rows[1]["c"] == 1.0
            assert [row["d"] for row in rows] == [None] * 3
            assert (rows[2]["e"], rows[2]["f"], rows[2]["g"]) == ('[1,{"x":2}]', b"\x00", "ü\u0000")
            segments.seal(database, "late")

    def test_rows_that_do_not_fit_are_refused(self, database: Database, segments: Segments) -> None:
        refused: list[Mapping[str, Sequence[Any]]] = [{"a": [1]}, {"at": [1, 2]}, {"a": [object(), 1]}, {"a": [2**64, 1]}]
        for columns in refused:
            with pytest.raises(InvalidInput), database.write() as tx:
                segments.append(tx, "late", "w", 1, columns, [1, 2])
        with database.read() as tx:
            assert segments.waiting(tx) == {}
            assert segments.last_sequence(tx, "late", "w") == 0
