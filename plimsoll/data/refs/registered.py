"""Datasets: tables and trees that are registered under a name."""

from __future__ import annotations

import re
from dataclasses import fields

from sqlalchemy import RowMapping, select

from plimsoll import clock, codec
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.data import Column, GetSnapshot, ListSnapshots, RegisterSnapshot, Snapshot
from plimsoll.store.contracts import Context
from plimsoll.store.tables.statements import Upsert
from plimsoll.store.tables.tracking import snapshots

_PREFIX = re.compile(r"[0-9a-f]{6,64}")
_NEW = Upsert(snapshots, replacing=False)


def register_snapshot(request: RegisterSnapshot, context: Context) -> Snapshot:
    """Register a stored table or tree. Content that is registered already keeps its first name, author and time.

    Raises:
        NotFound: the manifest or one of its files is not stored.
        InvalidInput: the manifest is neither a table nor a tree.
        Conflict: a stored file has another size than the manifest says.
    """
    blobs = context.stores.blobs
    manifest = get_manifest(blobs, request.digest)
    if manifest.kind not in ("table", "tree"):
        raise InvalidInput(f"A {manifest.kind} is not a dataset.", "Register a table or a tree.")
    for entry in manifest.files:
        if blobs.size(entry.digest) != entry.size:
            raise Conflict(f"The file {entry.path!r} has another size than its manifest says.", "Store the files again, then register.")
    row = {
        "digest": request.digest,
        "name": request.name,
        "kind": manifest.kind,
        "rows": codec.convert(manifest.meta.get("rows"), int | None, "The manifest's rows"),  # type: ignore[arg-type]
        "size": sum(entry.size for entry in manifest.files),
        "columns": codec.plain(codec.convert(manifest.meta.get("columns", []), tuple[Column, ...], "The manifest's columns")),
        "created": clock.now(),
        "author": context.actor.name,
    }
    _NEW.rows(context.tx, [row])
    return get_snapshot(GetSnapshot(digest=request.digest), context)


def get_snapshot(request: GetSnapshot, context: Context) -> Snapshot:
    """Return a snapshot by digest or its beginning.

    Raises:
        InvalidInput: the text is not 6 to 64 hex digits, or several snapshots begin with it.
        NotFound: no snapshot begins with it.
    """
    if not _PREFIX.fullmatch(request.digest):
        raise InvalidInput(f"{request.digest[:80]!r} is not the beginning of a digest.", "Give 6 to 64 lower-case hex digits.")
    found = context.tx.execute(select(snapshots).where(snapshots.c.digest.like(f"{request.digest}%")).limit(2)).mappings().all()
    if not found:
        raise NotFound(f"There is no snapshot {request.digest}.", "List snapshots with: plimsoll snapshots list")
    if len(found) > 1:
        raise InvalidInput(f"Several snapshots begin with {request.digest}.", "Give more digits.")
    return _from_row(found[0])


def snapshot_of(context: Context, digest: str) -> Snapshot | None:
    """Return a registered snapshot, or None when nobody registered the digest.

    Args:
        context: the open transaction.
        digest: the manifest's whole digest.
    """
    row = context.tx.execute(select(snapshots).where(snapshots.c.digest == digest)).mappings().one_or_none()
    return None if row is None else _from_row(row)


def list_snapshots(request: ListSnapshots, context: Context) -> tuple[Snapshot, ...]:
    """Return snapshots, newest first."""
    query = select(snapshots).order_by(snapshots.c.created.desc(), snapshots.c.digest).limit(max(request.limit, 0))
    if request.name is not None:
        query = query.where(snapshots.c.name == request.name)
    return tuple(_from_row(row) for row in context.tx.execute(query).mappings())


def _from_row(row: RowMapping) -> Snapshot:
    return codec.convert({field.name: row[field.name] for field in fields(Snapshot)}, Snapshot, "The snapshot's row")
