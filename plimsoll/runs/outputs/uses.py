"""Which data and logged models runs read, and which logged models they made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from sqlalchemy import Connection, bindparam, select

from plimsoll.records.run import ModelUse
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.store.contracts import chunks
from plimsoll.store.tables.tracking import dataset_uses, datasets, model_uses

_DATASET = tuple(each.name for each in fields(Dataset))

# Made once, since making a statement takes longer than to run it.
_DATASETS = (
    select(datasets, dataset_uses.c.run_id, dataset_uses.c.tags)
    .join(dataset_uses, dataset_uses.c.dataset_id == datasets.c.id)
    .where(dataset_uses.c.run_id.in_(bindparam("ids", expanding=True)))
    .order_by(datasets.c.id)
)
_MODELS = (
    select(model_uses)
    .where(model_uses.c.run_id.in_(bindparam("ids", expanding=True)))
    .order_by(model_uses.c.role, model_uses.c.step, model_uses.c.model_id)
)


def datasets_of_runs(tx: Connection, run_ids: Sequence[str]) -> dict[str, tuple[DatasetUse, ...]]:
    """Return which data runs say they read, for those that do.

    Args:
        tx: an open transaction.
        run_ids: the runs.
    """
    found: dict[str, list[DatasetUse]] = {}
    for some in chunks(run_ids, 500):
        for row in tx.execute(_DATASETS, {"ids": some}):
            dataset = Dataset(**{name: row._mapping[name] for name in _DATASET})
            found.setdefault(row.run_id, []).append(DatasetUse(dataset=dataset, tags=row.tags))
    return {id: tuple(uses) for id, uses in found.items()}


def models_of_runs(tx: Connection, run_ids: Sequence[str]) -> dict[str, tuple[ModelUse, ...]]:
    """Return which logged models runs read and made, for those that did.

    Args:
        tx: an open transaction.
        run_ids: the runs.
    """
    found: dict[str, list[ModelUse]] = {}
    for some in chunks(run_ids, 500):
        for row in tx.execute(_MODELS, {"ids": some}):
            found.setdefault(row.run_id, []).append(ModelUse(model_id=row.model_id, role=row.role, step=row.step))
    return {id: tuple(uses) for id, uses in found.items()}
