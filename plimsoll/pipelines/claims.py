"""Which run computes a call, so that two runs that need the same step at once compute it once.

A run claims a call in the transaction in which it sees that nobody has computed it. Claims are small and not worth a wait
for the disk: a power cut loses them together with the runs that held them.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, func, literal_column, or_, select, update

from plimsoll import clock
from plimsoll.pipelines.cache import has_run, last_beside, own_run, unseen_entries
from plimsoll.records.pipeline import Claim, ClaimCalls, ReleaseClaims, RenewClaims, WantedCall
from plimsoll.store.contracts import Context
from plimsoll.store.schema import claims
from plimsoll.store.tables.statements import Statement, Upsert
from plimsoll.store.tables.tracking import runs

#: Microseconds after which a claim that was not renewed is anybody's.
LEASE = 5_000_000

#: Microseconds after which a forgotten claim is swept away.
_FORGOTTEN = 86_400_000_000


_HOLDER = Statement(select(claims.c.run_id).where(claims.c.call == bindparam("call")))


def _is_free(new: Any) -> ColumnElement[bool]:
    """Return whether a claim that is there gives way to a new one."""
    # By its name: SQLAlchemy would join the table once more.
    holder: ColumnElement[str] = literal_column("claims.run_id")
    under_way = select(runs.c.id).where(runs.c.id == holder, runs.c.state == "running").exists()
    # A claim from far in the future was made before the clock was set back.
    return or_(claims.c.run_id == new.run_id, func.abs(new.renewed - claims.c.renewed) > LEASE, ~under_way)


_NEW_CLAIM = Upsert(claims, replacing=_is_free)


def claim_calls(request: ClaimCalls, context: Context) -> tuple[Claim, ...]:
    """Take calls that a run is about to compute; of each it is told who has it, or what was found instead.

    Raises:
        NotFound: there is no such run.
        Conflict: the run has ended.
        Denied: it is the run of another actor.
    """
    own_run(context, request.run_id)
    return tuple(_claim(wanted, request.run_id, context) for wanted in request.calls)


def _claim(wanted: WantedCall, run_id: str, context: Context) -> Claim:
    entries = unseen_entries(context, wanted.call, wanted.seen)
    if entries:
        return Claim(call=wanted.call, holder="", entries=entries)
    if not _NEW_CLAIM.row(context.tx, {"call": wanted.call, "run_id": run_id, "renewed": clock.now()}):
        holder: Any = _HOLDER.one(context.tx, {"call": wanted.call})
        return Claim(call=wanted.call, holder=holder.run_id)
    last, parts, same = last_beside(context, wanted.step, wanted.code)
    unkept = last is None and has_run(context, wanted.step)
    return Claim(call=wanted.call, holder=run_id, last=last, parts=parts, same_code=same, unkept=unkept)


def renew_claims(request: RenewClaims, context: Context) -> None:
    """Tell that a run still computes what it has claimed.

    Raises:
        NotFound: there is no such run.
        Conflict: the run has ended.
        Denied: it is the run of another actor.
    """
    own_run(context, request.run_id)
    context.tx.execute(update(claims).where(claims.c.run_id == request.run_id).values(renewed=clock.now()))


def release_claims(request: ReleaseClaims, context: Context) -> None:
    """Give back calls without a result.

    Raises:
        NotFound: there is no such run.
        Conflict: the run has ended.
        Denied: it is the run of another actor.
    """
    own_run(context, request.run_id)
    mine = claims.c.run_id == request.run_id
    context.tx.execute(delete(claims).where(mine & claims.c.call.in_(request.calls) if request.calls else mine))
    context.tx.execute(delete(claims).where(claims.c.renewed < clock.now() - _FORGOTTEN))
