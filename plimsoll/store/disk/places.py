"""Where a blob lies in its folder, and what the disk's errors mean."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from obstore.exceptions import BaseError

from plimsoll.errors import Denied, InvalidInput, NotFound, PlimsollError, StorageFull, Unavailable
from plimsoll.records.request import check_digest

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


def place(digest: str) -> str:
    """Return the path of a blob within its folder.

    Args:
        digest: 64 hex digits.

    Raises:
        InvalidInput: it is no digest.
    """
    check_digest("Blob", digest)
    return f"{digest[:2]}/{digest}"


def missing(digest: str) -> NotFound:
    """Return what is raised when a blob is not there.

    Args:
        digest: 64 hex digits.
    """
    return NotFound(f"There is no blob {digest}.", "Correct the digest, or send the bytes first.", digest=digest)


def _meaning(error: Exception, folder: Path, digest: str) -> PlimsollError:
    text = str(error).partition("\n")[0]
    number = getattr(error, "errno", None)
    codes = (number,) if number else tuple(code for code in (*_FULL, *_DENIED) if f"(os error {code})" in text)
    if isinstance(error, FileNotFoundError) and digest:
        return missing(digest)
    if any(code in _FULL for code in codes):
        return StorageFull(f"The disk of {str(folder)!r} is full; nothing was stored.", "Free some room and do it again.", path=str(folder))
    if isinstance(error, PermissionError) or any(code in _DENIED for code in codes):
        return Denied(f"The folder {str(folder)!r} cannot be used: {text}.", "Give yourself read and write access to it.")
    if isinstance(error, NotADirectoryError | FileExistsError):
        return InvalidInput(f"{str(folder)!r} cannot be a folder of blobs: {text}.", "Name a folder, or a path where none is yet.")
    return Unavailable(f"The disk of {str(folder)!r} fails: {text}.", "Look at the machine's disk, then do it again.")


@contextmanager
def explained(folder: Path, digest: str = "") -> Iterator[None]:
    """Raise the errors of the disk, which obstore and the system word differently, as ours.

    Args:
        folder: of the blobs.
        digest: of the blob that a missing file stands for.
    """
    try:
        yield
    except PlimsollError:
        raise
    except (OSError, BaseError) as error:
        raise _meaning(error, folder, digest) from error


def sync(path: Path | str) -> None:
    """Wait until a folder or a file is on the disk.

    Args:
        path: either.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
