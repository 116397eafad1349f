"""The audit log: one hash chain, each line covering the line before.

A changed, removed or inserted line is found by :meth:`SqlEvents.verify`. Lines cut off at the end are not: for that,
keep the newest digest somewhere else.
"""

from __future__ import annotations

import builtins
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from plimsoll import clock, codec
from plimsoll.records.access import Event, Verification
from plimsoll.records.request import Json
from plimsoll.store import schema
from plimsoll.store.tables.statements import Statement

#: What the first line has for the digest of the line before.
GENESIS = "0" * 64

_NEW = Statement(insert(schema.events))
_NEWEST = Statement(select(schema.events.c.sequence, schema.events.c.digest).order_by(schema.events.c.sequence.desc()).limit(1))


class SqlEvents:
    """The chain in the table ``events``.

    Writing transactions go one at a time on every dialect, so the newest line stays the newest until the commit; the
    primary key on the sequence refuses a fork if that ever ceases to hold.
    """

    def append(self, tx: Connection, actor: str, verb: str, subject: str, payload: Json) -> Event:
        """Add a line in the transaction of what it tells.

        Args:
            tx: an open writing transaction.
            actor: name of who did it.
            verb: name of what was done.
            subject: what it was done to, such as ``release:0199…``.
            payload: the request as JSON, without secrets.
        """
        newest = _NEWEST.one(tx, {})
        # As it will be read back: NaN is null there, a tuple is a list.
        told = codec.from_json(codec.to_json(payload), object)
        line: dict[str, Any] = {
            "sequence": newest.sequence + 1 if newest else 1,
            "at": clock.now(),
            "actor": actor,
            "verb": verb,
            "subject": subject,
            "payload": told,
            "previous": newest.digest if newest else GENESIS,
        }
        line["digest"] = _digest(line)
        _NEW.change(tx, line)
        return Event(**line)

    def list(self, tx: Connection, subject: str | None, before: int | None, limit: int) -> tuple[Event, ...]:
        """Return lines, newest first.

        Args:
            tx: an open transaction.
            subject: only lines on this subject (exact text); None for all.
            before: only lines with a smaller sequence; None for all.
            limit: at most so many lines.
        """
        table = schema.events
        query = select(table).order_by(table.c.sequence.desc()).limit(limit)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        if before is not None:
            query = query.where(table.c.sequence < before)
        return tuple(_event(row) for row in tx.execute(query))

    def verify(self, tx: Connection) -> Verification:
        """Recompute the chain from its first line; stops at the first line that does not fit.

        Args:
            tx: an open transaction.
        """
        read, previous = 0, GENESIS
        chain = select(schema.events).order_by(schema.events.c.sequence)
        rows = tx.execute(chain.execution_options(yield_per=1000))
        for row in rows:
            read += 1
            line = dict(row._mapping)
            digest = line.pop("digest")
            if line["sequence"] != read or line["previous"] != previous or _digest(line) != digest:
                rows.close()
                return Verification(events=read, broken_at=line["sequence"])
            previous = digest
        return Verification(events=read, broken_at=None)


def _digest(line: dict[str, Any]) -> str:
    return codec.digest(codec.canonical(line))


def _event(row: Row[builtins.tuple[Any, ...]]) -> Event:
    return Event(**row._mapping)
