"""Trees of files by content.

A tree is a manifest: the canonical JSON of a :class:`Manifest`, itself a blob. Files are stored first and the
manifest last, so a manifest that is there has all of its files, whenever the process was killed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from plimsoll import clock, codec
from plimsoll.errors import Conflict, Corrupt, InvalidInput
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Json, check_digest
from plimsoll.store.contracts import Blobs


def put_manifest(blobs: Blobs, manifest: Manifest) -> str:
    """Store the list of a tree's files, which must be stored already, and return the digest that names the tree.

    Args:
        blobs: where to.
        manifest: the list, sorted by path.

    Raises:
        InvalidInput: a path is absolute, climbs out of the tree, occurs twice or is out of order.
    """
    _check_paths(manifest, "The tree")
    return blobs.put(codec.canonical(manifest))


def get_manifest(blobs: Blobs, digest: str) -> Manifest:
    """Return the manifest that names a tree.

    Args:
        blobs: where from.
        digest: what :func:`put_manifest` gave.

    Raises:
        NotFound: there is no such blob.
        Corrupt: the stored bytes have another digest.
        InvalidInput: the blob is no manifest, or one of its paths leaves the tree.
    """
    check_digest("Manifest", digest)
    manifest = codec.from_json(blobs.get(digest), Manifest, f"The manifest {digest[:12]}")
    _check_paths(manifest, f"The manifest {digest[:12]}")
    return manifest


def outputs_in(manifest: Manifest) -> dict[str, Output]:
    """Return the outputs that :func:`plimsoll.data.values.save_outputs` stored, by name.

    Args:
        manifest: of the output that stands for them.

    Raises:
        Corrupt: it is no such manifest.
    """
    try:
        pairs = codec.convert(manifest.meta["outputs"], list[tuple[str, Output]], "The outputs")
    except (KeyError, InvalidInput) as error:
        raise Corrupt("The outputs of a step cannot be read.", "Drop the cache entry and run the step again.") from error
    return dict(pairs)


def put_tree(blobs: Blobs, folder: Path, kind: str, meta: dict[str, Json]) -> tuple[str, int]:
    """Store every file below ``folder`` and return the tree's digest and the bytes of all files.

    Only paths and contents count: times, permissions and empty folders are not kept.

    Args:
        blobs: where to.
        folder: an existing folder; a symbolic link or a special file in it is refused.
        kind: what the tree is: ``table``, ``tree``, ``value`` or ``model``.
        meta: JSON-able values that a reader needs.

    Raises:
        InvalidInput: the folder does not exist, or has something in it that is neither file nor folder.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{str(folder)!r} is not a folder.", "Give the path of an existing folder.")
    files = []
    for path, name in sorted(_walk(folder, ""), key=lambda found: found[1]):
        digest, size = blobs.put_file(path)
        files.append(FileEntry(path=name, digest=digest, size=size))
    manifest = Manifest(kind=kind, files=tuple(files), meta=meta)
    return put_manifest(blobs, manifest), sum(entry.size for entry in files)


def get_tree(blobs: Blobs, digest: str, folder: Path) -> Manifest:
    """Write a tree to ``folder``, which appears whole and verified or not at all, and return its manifest.

    Doing it again verifies what is there instead of writing it.

    Args:
        blobs: where from.
        digest: the tree's digest.
        folder: where to; its parent is made. It may exist when it is empty or holds this very tree.

    Raises:
        NotFound: the manifest or one of its files is not stored.
        Corrupt: stored bytes do not match their digest.
        Conflict: ``folder`` exists and holds something else.
    """
    manifest = get_manifest(blobs, digest)
    if folder.exists() and not _is_empty(folder):
        _check_same(manifest, digest, folder)
        return manifest
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A sibling, so that the rename stays on one file system. A killed process leaves it behind under its own name.
    partial = folder.parent / f".{folder.name}.{clock.new_id()}.part"
    try:
        partial.mkdir()
        for entry in manifest.files:
            blobs.get_file(entry.digest, partial / entry.path)
        try:
            partial.rename(folder)
        except OSError:
            # Another process may have been faster; then its tree must be the same.
            if not folder.is_dir() or _is_empty(folder):
                raise
            _check_same(manifest, digest, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _walk(folder: Path, prefix: str) -> Iterator[tuple[Path, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), name + "/")
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path), name
            else:
                raise InvalidInput(f"{entry.path!r} is a link or a special file.", "Replace it with a plain file, or remove it.")


def _check_paths(manifest: Manifest, what: str) -> None:
    previous: str | None = None
    files: set[str] = set()
    for entry in manifest.files:
        parts = entry.path.split("/")
        if not all(parts) or {".", ".."} & set(parts) or "\\" in entry.path or "\0" in entry.path or not _is_text(entry.path):
            raise InvalidInput(f"{what} has the file path {entry.path[:80]!r}.", "Use relative paths with '/' and without '..'.")
        if previous is not None and entry.path <= previous:
            raise InvalidInput(f"{what} lists {entry.path[:80]!r} twice or out of order.", "Sort the files by path, each once.")
        if any("/".join(parts[:depth]) in files for depth in range(1, len(parts))):
            raise InvalidInput(f"{what} needs a file of {entry.path[:80]!r} to be a folder too.", "Rename one of them.")
        check_digest("File", entry.digest)
        files.add(entry.path)
        previous = entry.path


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is None


def _check_same(manifest: Manifest, digest: str, folder: Path) -> None:
    found = {}
    if folder.is_dir():
        # Python writes its byte code beside modules that are imported from a tree.
        found = {name: path for path, name in _walk(folder, "") if "__pycache__" not in name.split("/")}
    same = found.keys() == {entry.path for entry in manifest.files}
    for entry in manifest.files if same else ():
        hasher = blake3()
        hasher.update_mmap(found[entry.path])
        same = same and hasher.hexdigest() == entry.digest
    if not same:
        raise Conflict(f"The folder {str(folder)!r} exists and is not the tree {digest[:12]}.", "Remove the folder, then try again.")
