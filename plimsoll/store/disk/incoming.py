"""Blobs that are written part by part."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from plimsoll import clock
from plimsoll.errors import Damaged
from plimsoll.store.disk.places import explained, place, sync

#: Bytes after which a blob that is being written is synced, so that no sync at its end takes minutes.
_SYNCED = 1 << 26


class LocalIncoming:
    """A blob on its way into a folder: hashed while it is written, synced and renamed when it is kept.

    Args:
        folder: of the blobs.
        holds: tells whether a blob of that digest and size is there, and makes it as good as new.
    """

    def __init__(self, folder: Path, holds: Callable[[str, int], bool]) -> None:
        self._folder, self._holds = folder, holds
        self._path = folder / "tmp" / clock.new_id()
        self._seen, self._size, self._synced = blake3(), 0, 0
        with explained(folder):
            self._file = self._path.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        """Add the next part.

        Args:
            data: any bytes, best about a MiB.

        Raises:
            StorageFull: the disk has no room.
        """
        with explained(self._folder):
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            self._seen.update(data)
            self._size += len(data)
            if self._size - self._synced >= _SYNCED:
                os.fdatasync(self._file.fileno())
                self._synced = self._size

    def keep(self, digest: str | None = None) -> tuple[str, int]:
        """Make it a blob, and return its digest and bytes.

        Args:
            digest: what it must be; None takes any.

        Raises:
            Damaged: it is another; nothing is kept.
            StorageFull: the disk has no room; nothing is kept.
        """
        found = self._seen.hexdigest()
        if digest is not None and found != digest:
            raise Damaged(f"The bytes sent have the digest {found[:12]}, not {digest[:12]}.", "Send them again.")
        if not self._holds(found, self._size):
            shelf = self._folder / found[:2]
            with explained(self._folder):
                os.fsync(self._file.fileno())
                if not shelf.exists():
                    shelf.mkdir(exist_ok=True)
                    sync(self._folder)
                self._path.rename(self._folder / place(found))
                sync(shelf)
        return found, self._size

    def drop(self) -> None:
        """Give up what was not kept; after it was kept this does nothing."""
        self._file.close()
        self._path.unlink(missing_ok=True)
