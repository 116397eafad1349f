"""What a run or a logged model keeps, as files: trees, tables and values are the folders of files that they are made of."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import PlimsollError
from plimsoll.records.data import FileEntry
from plimsoll.records.run import Artifact
from plimsoll.store.contracts import Blobs, Context
from plimsoll.store.tables.tracking import artifacts

#: An artifact that is one blob, not a manifest of several.
FILE = "file"


def flat_files(blobs: Blobs, kept: Iterable[Artifact]) -> list[FileEntry]:
    """Return every file of artifacts, by the artifact's name and the path within it.

    Args:
        blobs: where manifests are.
        kept: the artifacts. One whose manifest is not there has no files.
    """
    found: dict[str, FileEntry] = {}
    for artifact in kept:
        if artifact.kind == FILE:
            found[artifact.name] = FileEntry(path=artifact.name, digest=artifact.digest, size=artifact.size)
            continue
        try:
            manifest = get_manifest(blobs, artifact.digest)
        except PlimsollError:
            continue
        if manifest.meta.get("path") == FILE and len(manifest.files) == 1:
            (entry,) = manifest.files
            found[artifact.name] = FileEntry(path=artifact.name, digest=entry.digest, size=entry.size)
            continue
        for entry in manifest.files:
            path = f"{artifact.name}/{entry.path}"
            found[path] = FileEntry(path=path, digest=entry.digest, size=entry.size)
    return list(found.values())


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
