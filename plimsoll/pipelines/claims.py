"""Which run computes a call, so that two runs that need the same step at once compute it once.

A run claims a call in the transaction in which it sees that nobody has computed it. Claims are small and not worth a wait
for the disk: a power cut loses them together with the runs that held them.
"""

from __future__ import annotations

from sqlalchemy import bindparam, delete, select, update

from plimsoll import clock
from plimsoll.pipelines.cache import insert_claim, latest_entry, own_run, parts_beside, unseen_entries
from plimsoll.records.pipeline import Claim, ClaimCalls, ReleaseClaims, RenewClaims, WantedCall
from plimsoll.store.contracts import Context
from plimsoll.store.schema import claims
from plimsoll.store.tables.tracking import runs

#: Microseconds after which a claim that was not renewed is anybody's.
LEASE = 5_000_000

#: Microseconds after which a forgotten claim is swept away.
_FORGOTTEN = 86_400_000_000


_HELD = (
    select(claims.c.run_id, claims.c.renewed, runs.c.state)
    .join(runs, runs.c.id == claims.c.run_id)
    .where(claims.c.call == bindparam("call"))
)


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
    row = context.tx.execute(_HELD, {"call": wanted.call}).one_or_none()
    # A claim from far in the future was made before the clock was set back.
    if row is not None and row.run_id != run_id and row.state == "running" and abs(clock.now() - row.renewed) <= LEASE:
        return Claim(call=wanted.call, holder=row.run_id)
    insert_claim(context, wanted.call, run_id)
    latest = latest_entry(context, wanted.step)
    parts, same = ((), False) if latest is None else parts_beside(context, latest.key, wanted.code)
    return Claim(call=wanted.call, holder=run_id, latest=latest, parts=parts, same_code=same)


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
