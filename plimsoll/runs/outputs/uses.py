"""Which logged models runs read and made."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from plimsoll.records.run import ModelUse
from plimsoll.store.contracts import chunks
from plimsoll.store.tables.tracking import model_uses


def models_of_runs(tx: Connection, run_ids: Sequence[str]) -> dict[str, tuple[ModelUse, ...]]:
    """Return which logged models runs read and made, for those that did.

    Args:
        tx: an open transaction.
        run_ids: the runs.
    """
    found: dict[str, list[ModelUse]] = {}
    for some in chunks(run_ids, 500):
        query = (
            select(model_uses).where(model_uses.c.run_id.in_(some)).order_by(model_uses.c.role, model_uses.c.step, model_uses.c.model_id)
        )
        for row in tx.execute(query):
            found.setdefault(row.run_id, []).append(ModelUse(model_id=row.model_id, role=row.role, step=row.step))
    return {id: tuple(uses) for id, uses in found.items()}
