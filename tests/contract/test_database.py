from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from plimsoll.store.contracts import Database
from plimsoll.store.database import open_database
from plimsoll.testing.database import DatabaseSuite, Open


class TestDatabase(DatabaseSuite):
    @pytest.fixture
    def reopen(self, empty_database_url: str) -> Iterator[Open]:
        with ExitStack() as stack:

            def reopen() -> Database:
                opened = open_database(empty_database_url)
                stack.callback(opened.close)
                return opened

            yield reopen
