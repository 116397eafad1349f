"""What a run or a logged model keeps."""

from __future__ import annotations

from sqlalchemy import select

from plimsoll.records.data import FileEntry
from plimsoll.records.run import Artifact
from plimsoll.runs.outputs.files import flat_files
from plimsoll.store.contracts import Context
from plimsoll.store.tables.tracking import artifacts


def artifacts_of(context: Context, owner: str) -> tuple[Artifact, ...]:
    """Return what a run or a logged model keeps, by name.

    Args:
        context: the open transaction.
        owner: id of either.
    """
    rows = context.tx.execute(select(artifacts).where(artifacts.c.owner == owner).order_by(artifacts.c.name)).all()
    return tuple(Artifact(name=row.name, kind=row.kind, digest=row.digest, size=row.size) for row in rows)


def files_of(context: Context, owner: str) -> list[FileEntry]:
    """Return every file that a run or a logged model keeps.

    Args:
        context: the open transaction.
        owner: id of either.
    """
    return flat_files(context.stores.blobs, artifacts_of(context, owner))
