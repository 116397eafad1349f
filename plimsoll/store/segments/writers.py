"""Which batch of each writer came last: what makes a batch that is sent twice count once."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from plimsoll.store.tables import tracking


def last_sequence(tx: Connection, stream: str, writer: str) -> int:
    """Return the last sequence applied of a writer, 0 when it never wrote.

    Args:
        tx: an open transaction.
        stream: a run's id or a segment's name.
        writer: the writer's id.
    """
    table = tracking.writers
    mine = select(table.c.sequence).where(table.c.stream == stream, table.c.writer == writer)
    return tx.execute(mine).scalar() or 0


def advance(tx: Connection, stream: str, writer: str, last: int, sequence: int) -> None:
    """Note that a writer's batch is applied, in the transaction that applies it.

    Args:
        tx: an open writing transaction.
        stream: a run's id or a segment's name.
        writer: the writer's id.
        last: what :func:`last_sequence` gave in this transaction.
        sequence: from 1; greater than the last one.
    """
    table = tracking.writers
    if last == 0:
        tx.execute(insert(table).values(stream=stream, writer=writer, sequence=sequence))
    else:
        tx.execute(update(table).where(table.c.stream == stream, table.c.writer == writer).values(sequence=sequence))
