from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Blobs, Database, Events, Points, Queue, Segments
from plimsoll.store.events import SqlEvents
from plimsoll.store.points.history import SqlPoints
from plimsoll.store.queue import SqlQueue
from plimsoll.store.segments.rows import SqlSegments
from plimsoll.testing.blobs import BlobsSuite
from plimsoll.testing.events import EventsSuite
from plimsoll.testing.points import PointsSuite
from plimsoll.testing.queue import QueueSuite
from plimsoll.testing.segments import SegmentsSuite


class TestLocalBlobs(BlobsSuite):
    @pytest.fixture
    def blobs(self, tmp_path: Path) -> Blobs:
        return LocalBlobs(tmp_path / "blobs")

    @pytest.fixture
    def spoil(self, tmp_path: Path) -> Callable[[str, bytes], None]:
        def spoil(digest: str, data: bytes) -> None:
            (tmp_path / "blobs" / digest[:2] / digest).write_bytes(data)

        return spoil


class _OnBothDialects:
    @pytest.fixture
    def database(self, database: Database) -> Database:
        return database


class TestSqlPoints(_OnBothDialects, PointsSuite):
    @pytest.fixture
    def points(self) -> Points:
        return SqlPoints()


class TestSqlQueue(_OnBothDialects, QueueSuite):
    @pytest.fixture
    def queue(self) -> Queue:
        return SqlQueue()


class TestSqlEvents(_OnBothDialects, EventsSuite):
    @pytest.fixture
    def events(self) -> Events:
        return SqlEvents()


class TestSqlSegments(_OnBothDialects, SegmentsSuite):
    @pytest.fixture
    def segments(self, tmp_path: Path) -> Segments:
        return SqlSegments(LocalBlobs(tmp_path / "blobs"))
