"""What webhooks are to be told, derived from the audit log and from how far each has come: a place in it is all that is kept.

A line that was told is behind the place; killed before that is noted, it is told again, with the same ids. The lines of one webhook
go one after another, so one that cannot be reached holds up nobody else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from plimsoll import clock
from plimsoll.records.registry.webhooks import Delivery, SettleDelivery, TakeDeliveries
from plimsoll.registry.webhooks.known import LOST, newest_line, secret_of
from plimsoll.registry.webhooks.noticed import messages_of, verbs_of
from plimsoll.store.contracts import Context
from plimsoll.store.schema import events, webhooks

#: Seconds in which a message must be told; afterwards anybody may tell it.
LEASE = 15.0

#: Seconds before each further attempt. When all were in vain the line is given up, and those behind it get one attempt each until
#: one is taken: what is gone for long is not waited for again and again.
WAITS = (1.0, 4.0, 16.0, 64.0, 256.0)

#: Lines that one look reads.
_LINES = 50

#: Seconds that nothing waits for longer, whatever the clock has said.
_LONGEST = 86_400.0


def _ready(now: int, newest: int) -> ColumnElement[bool]:
    due = or_(webhooks.c.due <= now, webhooks.c.due > now + round(_LONGEST * 1e6))
    return and_(webhooks.c.active, due, webhooks.c.position < newest)


def overdue(tx: Connection) -> bool:
    """Return whether some webhook may have something to be told; a reading transaction is enough.

    Args:
        tx: an open transaction.
    """
    return tx.execute(select(webhooks.c.id).where(_ready(clock.now(), newest_line(tx))).limit(1)).first() is not None


def take_deliveries(request: TakeDeliveries, context: Context) -> tuple[Delivery, ...]:
    """Return what is to be told now."""
    now, newest = clock.now(), newest_line(context.tx)
    query = select(webhooks).where(_ready(now, newest)).order_by(webhooks.c.due, webhooks.c.id)
    if request.webhook_id:
        query = query.where(webhooks.c.id == request.webhook_id)
    found: list[Delivery] = []
    for row in context.tx.execute(query).all():
        if len(found) >= request.limit:
            break
        secret = secret_of(context.stores.secrets, row)
        if secret is None:
            # Not told without its signature, and not given up.
            later = {"error": LOST, "due": now + round(WAITS[-1] * 1e6)}
            context.tx.execute(update(webhooks).where(webhooks.c.id == row.id).values(**later))
            continue
        delivery, position, unreadable = _next(context.tx, row, newest, secret)
        values: dict[str, Any] = {"position": position}
        for sequence, why in unreadable.items():
            _give_up(context, row.id, sequence, why, attempts=0)
            values |= {"dropped": row.dropped + len(unreadable), "error": why}
        if delivery is not None:
            found.append(delivery)
            values["due"] = now + round(LEASE * len(delivery.messages) * 1e6)
        context.tx.execute(update(webhooks).where(webhooks.c.id == row.id).values(**values))
    return tuple(found)


class _Next(NamedTuple):
    #: The next line that a webhook is told, or None.
    delivery: Delivery | None
    #: Up to where nothing else concerns it.
    position: int
    #: Sequences of lines before that which cannot be told -> why.
    unreadable: dict[int, str]


def _next(tx: Connection, row: Row[Any], newest: int, secret: str) -> _Next:
    wanted = events.c.verb.in_(verbs_of(row.happenings))
    unreadable: dict[int, str] = {}
    lines = tx.execute(select(events).where(events.c.sequence > row.position, wanted).order_by(events.c.sequence).limit(_LINES)).all()
    for line in lines:
        try:
            messages = messages_of(tx, line, row.id, row.happenings)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            # A line is never rewritten: a release that called a field otherwise has left it so for good.
            why = f"The line {line.sequence} of the log, {line.verb}, is not as this release writes it: {type(error).__name__}: {error}"
            unreadable[line.sequence] = why[:500]
            continue
        if messages:
            delivery = Delivery(webhook_id=row.id, url=row.url, secret=secret, sequence=line.sequence, messages=messages)
            return _Next(delivery, line.sequence - 1, unreadable)
    return _Next(None, newest if len(lines) < _LINES else int(lines[-1].sequence), unreadable)


def _give_up(context: Context, id: str, sequence: int, error: str, attempts: int) -> None:
    told = {"sequence": sequence, "error": error, "attempts": attempts}
    context.stores.events.append(context.tx, context.actor.name, "DropDelivery", f"webhook:{id}", told)


def settle_delivery(request: SettleDelivery, context: Context) -> None:
    """Note how a delivery went: told, to be tried again later, or given up."""
    mine = and_(webhooks.c.id == request.webhook_id, webhooks.c.position < request.sequence)
    row = context.tx.execute(select(webhooks).where(mine)).one_or_none()
    if row is None:
        return
    values: dict[str, Any] = {"position": request.sequence, "attempts": 0, "due": 0, "error": ""}
    if request.outcome != "sent":
        values["error"] = request.error[:500]
    if request.outcome == "failed":
        values["attempts"] = min(row.attempts + 1, len(WAITS) + 1)
        if row.attempts < len(WAITS):
            values |= {"position": row.position, "due": clock.now() + round(WAITS[row.attempts] * 1e6)}
    if request.outcome != "sent" and values["position"] == request.sequence:
        values["dropped"] = row.dropped + 1
        _give_up(context, row.id, request.sequence, values["error"], row.attempts + 1)
    context.tx.execute(update(webhooks).where(webhooks.c.id == row.id).values(**values))
