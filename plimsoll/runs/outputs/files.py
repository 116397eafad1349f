"""Artifacts as files: trees, tables and values are the folders of files that they are made of."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import PlimsollError
from plimsoll.records.data import FileEntry
from plimsoll.records.run import Artifact
from plimsoll.store.contracts import Blobs

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
