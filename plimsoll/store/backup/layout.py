"""What a backup is: a folder whose ``manifest.json`` is written last.

``blobs/ab/abcdef…`` are the bytes, shared by every backup that was made there. Everything else of one backup lies in a folder of its
own: the database, the list of blobs, and small files. Without a manifest there is no backup, whatever else lies there.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blake3 import blake3

from plimsoll import codec
from plimsoll.errors import Corrupt, Denied, InvalidInput, NotFound, PlimsollError, StorageFull, Unavailable

#: The document that makes a folder a backup.
MANIFEST = "manifest.json"

#: Tells that a folder is for backups, also when the first one was not finished; who makes one there holds it locked.
MARK = "plimsoll.backup"

#: Names in the folder of one backup.
DATABASE, LIST = "database", "blobs.txt"

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFile:
    """A file of a backup."""

    #: Path below the backup's folder.
    path: str
    #: BLAKE3 of the content.
    digest: str
    #: Bytes.
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup holds; its JSON is the manifest."""

    #: Format of this document.
    version: Literal[1] = 1
    #: Plimsoll that made it.
    made_by: str
    #: Revision of the tables.
    revision: str
    #: ``sqlite`` or ``postgresql``.
    dialect: str
    #: UTC microseconds at which it began; everything that was acknowledged before is in it.
    created: int
    #: Folder with the files below.
    folder: str
    #: The database, the list of blobs, and what else was given.
    files: tuple[BackupFile, ...]
    #: Number of blobs.
    blobs: int
    #: Bytes of them.
    size: int


def read_backup(source: Path) -> Backup:
    """Return what a backup says it holds.

    Args:
        source: the folder.

    Raises:
        NotFound: there is none, or it was not finished.
        Corrupt: its manifest cannot be read.
    """
    try:
        data = (source / MANIFEST).read_bytes()
    except FileNotFoundError:
        begun = " A backup was begun there and not finished." if (source / MARK).exists() else ""
        raise NotFound(f"There is no backup in {str(source)!r}.{begun}", "Name a folder that plimsoll backup has filled.") from None
    except OSError as error:
        raise explained(error, source) from error
    try:
        return codec.from_json(data, Backup, "The manifest")
    except InvalidInput as error:
        raise Corrupt(f"The manifest of the backup {str(source)!r} cannot be read: {error.fact}", "Use another backup.") from error


def listed(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (digest, bytes) of each blob in a list.

    Args:
        path: the list.
    """
    with path.open() as lines:
        for line in lines:
            digest, _, size = line.strip().partition(" ")
            yield digest, int(size)


def copy_file(source: Path, target: Path) -> tuple[str, int]:
    """Copy a file's bytes to a new file that only its owner can read; return digest and size of what was copied.

    Args:
        source: the file.
        target: where no file is; parent folders are made.
    """
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen, size = blake3(), 0
    with source.open("rb") as old, os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
        while block := old.read(_BLOCK):
            seen.update(block)
            new.write(block)
            size += len(block)
    return seen.hexdigest(), size


def sync_folder(path: Path) -> None:
    """Make what was written, renamed and removed in a folder outlive a power cut.

    Args:
        path: the folder.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Raise the errors of the disk within the block as ours.

    Args:
        folder: where they happen, for the message.
    """
    try:
        yield
    except PlimsollError:
        raise
    except shutil.Error as error:
        raise Unavailable(f"Files cannot be copied to {str(folder)!r}: {error}.", "Look at the disk, then do it again.") from error
    except OSError as error:
        raise explained(error, folder) from error


def explained(error: OSError, folder: Path) -> PlimsollError:
    """Return what an error of the disk means.

    Args:
        error: what the system said.
        folder: where.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"The disk of {str(folder)!r} is full.", "Free some room and do it again.", path=str(folder))
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return Denied(f"{str(error.filename or folder)!r} cannot be used: {error.strerror}.", "Give yourself access to it.")
    if isinstance(error, NotADirectoryError | FileExistsError):
        return InvalidInput(f"{str(folder)!r} cannot be a folder: {error.strerror}.", "Name a folder, or a path where none is yet.")
    return Unavailable(f"The disk of {str(folder)!r} fails: {error}.", "Look at the disk, then do it again.")
