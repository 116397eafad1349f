"""Which batch of each writer came last: what makes a batch that is sent twice count once."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, insert, select, update

from plimsoll.store.tables.tracking import writers

# Made once, since making a statement takes longer than to run it.
_MINE = writers.c.stream == bindparam("of"), writers.c.writer == bindparam("by")
_LAST, _NEW, _NEXT = select(writers.c.sequence).where(*_MINE), insert(writers), update(writers).where(*_MINE)


def last_sequence(tx: Connection, stream: str, writer: str) -> int:
    """Return the last sequence applied of a writer, 0 when it never wrote.

    Args:
        tx: an open transaction.
        stream: a run's id or a segment's name.
        writer: the writer's id.
    """
    return tx.execute(_LAST, {"of": stream, "by": writer}).scalar() or 0


def advance(tx: Connection, stream: str, writer: str, last: int, sequence: int) -> None:
    """Note that a writer's batch is applied, in the transaction that applies it.

    Args:
        tx: an open writing transaction.
        stream: a run's id or a segment's name.
        writer: the writer's id.
        last: what :func:`last_sequence` gave in this transaction.
        sequence: from 1; greater than the last one.
    """
    if last == 0:
        tx.execute(_NEW, {"stream": stream, "writer": writer, "sequence": sequence})
    else:
        tx.execute(_NEXT, {"of": stream, "by": writer, "sequence": sequence})
