"""Many writing transactions, one after the other, that leave room for everybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from plimsoll import clock
from plimsoll.store.contracts import Database

#: Seconds in which nobody here wants to write. A process that waits for SQLite tries ten times a second: without a pause that is longer
#: it would hardly ever find the database free.
AIR = 0.12


@contextmanager
def turn(database: Database) -> Iterator[Connection]:
    """Return a writing transaction, after which others have their turn.

    Args:
        database: where it is.
    """
    with database.write() as tx:
        yield tx
    clock.sleep(AIR)
