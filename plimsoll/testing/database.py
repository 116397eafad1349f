"""What every :class:`~plimsoll.store.contracts.Database` must do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from plimsoll.errors import PlimsollError
from plimsoll.store import schema
from plimsoll.store.contracts import Database
from plimsoll.store.tables import tracking

Open = Callable[[], Database]

_NAMES = schema.models


def _row(name: str, number: int) -> dict[str, object]:
    return {"name": name, "created": number, "updated": 1, "description": "", "last": 0}


class DatabaseSuite:
    """Derive from it and override :meth:`reopen`."""

    @pytest.fixture
    def reopen(self) -> Open:
        """Return a function that opens the same database again, empty at the first call of a test, as another process would."""
        raise NotImplementedError("Override the fixture 'reopen'.")

    def test_what_was_written_is_there_for_the_next_to_open(self, reopen: Open) -> None:
        first, second = reopen(), reopen()
        with first.write() as tx:
            tx.execute(insert(_NAMES).values(_row("flights", 1)))
        with second.read() as tx:
            assert tx.execute(select(_NAMES.c.name)).scalars().all() == ["flights"]

    def test_a_block_that_raises_leaves_nothing(self, reopen: Open) -> None:
        database = reopen()

        def fail() -> None:
            with database.write() as tx:
                tx.execute(insert(_NAMES).values(_row("flights", 1)))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        with database.read() as tx:
            assert tx.execute(select(_NAMES)).first() is None

    def test_a_reader_sees_one_state_and_does_not_hold_up_a_writer(self, reopen: Open) -> None:
        reader, writer = reopen(), reopen()
        with reader.read() as tx:
            assert tx.execute(select(_NAMES)).first() is None
            with writer.write() as other:
                other.execute(insert(_NAMES).values(_row("flights", 1)))
            assert tx.execute(select(_NAMES)).first() is None
        with reader.read() as tx:
            assert tx.execute(select(_NAMES)).first() is not None

    def test_a_reading_transaction_cannot_write(self, reopen: Open) -> None:
        database = reopen()
        with pytest.raises(Exception, match=r"(?i)read.?only"), database.read() as tx:
            tx.execute(insert(_NAMES).values(_row("flights", 1)))
        with database.write() as tx:
            tx.execute(insert(_NAMES).values(_row("flights", 1)))

    def test_writers_wait_for_each_other_so_no_update_is_lost(self, reopen: Open) -> None:
        databases = [reopen(), reopen()]
        with databases[0].write() as tx:
            tx.execute(insert(_NAMES).values(_row("counter", 0)))

        def count(database: Database) -> None:
            for _ in range(20):
                with database.write() as tx:
                    value = tx.execute(select(_NAMES.c.created)).scalar_one()
                    tx.execute(update(_NAMES).values(created=value + 1))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count, databases * 2))
        with databases[0].read() as tx:
            assert tx.execute(select(_NAMES.c.created)).scalar_one() == 80

    def test_the_version_tells_of_every_commit_and_of_nothing_else(self, reopen: Open) -> None:
        database, other = reopen(), reopen()
        seen = [database.version()]
        for number, writer in enumerate((database, other, database, other)):
            with writer.write() as tx:
                tx.execute(insert(_NAMES).values(_row(str(number), 1)))
            seen.append(database.version())
        with other.read() as tx:
            assert len(tx.execute(select(_NAMES)).all()) == 4
        if None in seen:
            assert set(seen) == {None}
        else:
            assert len(set(seen)) == 5
            assert database.version() == seen[-1]

    def test_a_row_that_names_nothing_is_refused(self, reopen: Open) -> None:
        database = reopen()
        with pytest.raises(IntegrityError), database.write() as tx:
            tx.execute(insert(tracking.run_tags).values(run_id="none", name="a", value="b", head="b"))

    def test_a_value_that_no_column_holds_is_refused_in_our_words(self, reopen: Open) -> None:
        database = reopen()
        for row in (_row("big", 2**63), _row("lone \ud800", 1)):
            with pytest.raises(PlimsollError, match="cannot hold a value"), database.write() as tx:
                tx.execute(insert(_NAMES).values(row))

    def test_two_that_open_an_empty_database_at_once_make_its_tables_once(self, reopen: Open) -> None:
        with ThreadPoolExecutor(4) as pool:
            databases = [future.result() for future in [pool.submit(reopen) for _ in range(4)]]
        for number, database in enumerate(databases):
            with database.write() as tx:
                tx.execute(insert(_NAMES).values(_row(str(number), 1)))
        with databases[0].read() as tx:
            assert len(tx.execute(select(_NAMES)).all()) == 4
