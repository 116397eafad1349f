"""What every :class:`~plimsoll.store.contracts.Events` must do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import delete, update

from plimsoll.records.access import Verification
from plimsoll.store import schema
from plimsoll.store.contracts import Database, Events


class EventsSuite:
    """Derive from it and override :meth:`database` and :meth:`events`."""

    @pytest.fixture
    def database(self) -> Database:
        """Return a fresh database."""
        raise NotImplementedError("Override the fixture 'database'.")

    @pytest.fixture
    def events(self) -> Events:
        """Return the audit log."""
        raise NotImplementedError("Override the fixture 'events'.")

    def _tell(self, database: Database, events: Events, count: int) -> None:
        for number in range(count):
            with database.write() as tx:
                events.append(tx, "dana", "SetTags", f"run:{number % 2}", {"number": number, "loss": 0.1})

    def test_lines_come_back_newest_first_and_page_by_page(self, database: Database, events: Events) -> None:
        self._tell(database, events, 5)
        with database.read() as tx:
            assert [event.sequence for event in events.list(tx, None, None, 3)] == [5, 4, 3]
            assert [event.sequence for event in events.list(tx, None, 3, 3)] == [2, 1]
            assert [event.sequence for event in events.list(tx, "run:1", None, 9)] == [4, 2]

    def test_a_line_comes_back_as_it_was_given(self, database: Database, events: Events) -> None:
        payload = {"text": "ü\u0000", "nan": float("nan"), "pair": (1, 2), "float": 1e300, "nested": {"b": 1, "a": None}}
        with database.write() as tx:
            told = events.append(tx, "dana", "StartRun", "run:1", payload)
        with database.read() as tx:
            assert events.list(tx, None, None, 1) == (told,)
            assert events.verify(tx) == Verification(events=1, broken_at=None)

    def test_an_empty_and_a_whole_chain_verify(self, database: Database, events: Events) -> None:
        with database.read() as tx:
            assert events.verify(tx) == Verification(events=0, broken_at=None)
        self._tell(database, events, 7)
        with database.read() as tx:
            assert events.verify(tx) == Verification(events=7, broken_at=None)

    @pytest.mark.parametrize(
        "change",
        [
            {"actor": "eve"},
            {"payload": {"number": 3, "loss": 0.2}},
            {"at": 1},
            {"verb": "x"},
            {"subject": "run:9"},
            {"previous": "0" * 64},
            {"digest": "f" * 64},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_a_changed_line_is_found(self, database: Database, events: Events, change: dict[str, Any]) -> None:
        self._tell(database, events, 5)
        with database.write() as tx:
            tx.execute(update(schema.events).where(schema.events.c.sequence == 3).values(**change))
        with database.read() as tx:
            assert events.verify(tx).broken_at == 3

    @pytest.mark.parametrize("removed", [1, 3])
    def test_a_removed_line_is_found(self, database: Database, events: Events, removed: int) -> None:
        self._tell(database, events, 5)
        with database.write() as tx:
            tx.execute(delete(schema.events).where(schema.events.c.sequence == removed))
        with database.read() as tx:
            assert events.verify(tx).broken_at == removed + 1

    def test_a_line_that_was_forged_with_its_digest_breaks_the_next(self, database: Database, events: Events) -> None:
        self._tell(database, events, 2)
        with database.write() as tx:
            tx.execute(delete(schema.events).where(schema.events.c.sequence == 2))
            events.append(tx, "eve", "SetTags", "run:1", {})
            forged = events.list(tx, None, None, 1)[0]
            tx.execute(delete(schema.events).where(schema.events.c.sequence == 2))
        self._tell(database, events, 2)
        with database.write() as tx:
            values = {"actor": forged.actor, "at": forged.at, "subject": forged.subject, "payload": forged.payload, "digest": forged.digest}
            tx.execute(update(schema.events).where(schema.events.c.sequence == 2).values(**values))
        with database.read() as tx:
            assert events.verify(tx).broken_at == 3

    def test_a_line_is_there_exactly_when_its_transaction_is(self, database: Database, events: Events) -> None:
        self._tell(database, events, 1)

        def fail() -> None:
            with database.write() as tx:
                events.append(tx, "dana", "SetTags", "run:1", {})
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        self._tell(database, events, 1)
        with database.read() as tx:
            assert events.verify(tx) == Verification(events=2, broken_at=None)

    def test_many_writers_make_one_chain(self, database: Database, events: Events) -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: self._tell(database, events, 10), range(4)))
        with database.read() as tx:
            assert events.verify(tx) == Verification(events=40, broken_at=None)
