"""Bytes on their way between a client and wherever a run keeps them: they wait in a file, since that may be far away."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from plimsoll import clock
from plimsoll.errors import Damaged
from plimsoll.store.contracts import Blobs


class Passing:
    """Blobs of any kind, read and written part by part.

    Args:
        blobs: where they are.
        folder: where files wait.
    """

    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs, self._folder = blobs, folder
        self.put: Callable[[bytes], str] = blobs.put
        self.put_all: Callable[[Iterable[bytes]], tuple[str, ...]] = blobs.put_all
        self.put_file: Callable[[Path], tuple[str, int]] = blobs.put_file
        self.get: Callable[[str], bytes] = blobs.get
        self.get_file: Callable[[str, Path], None] = blobs.get_file
        self.has: Callable[[str], bool] = blobs.has
        self.size: Callable[[str], int] = blobs.size
        self.delete: Callable[[str], None] = blobs.delete
        self.collect: Callable[[str, float], int] = blobs.collect

    def open(self, digest: str) -> BinaryIO:
        """Return the bytes as a file; they are there until it is closed.

        Args:
            digest: 64 hex digits.
        """
        path = self._folder / clock.new_id()
        self._blobs.get_file(digest, path)
        try:
            return path.open("rb")
        finally:
            path.unlink()

    def incoming(self) -> _Coming:
        """Return a blob that is written part by part."""
        return _Coming(self._blobs, self._folder)


class _Coming:
    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        self._file = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115  # drop closes it

    def write(self, data: bytes) -> None:
        """Add the next part.

        Args:
            data: any bytes.
        """
        self._file.write(data)

    def keep(self, digest: str | None = None) -> tuple[str, int]:
        """Store it, and return its digest and bytes.

        Args:
            digest: what it must be; None takes any.

        Raises:
            Damaged: it is something else.
        """
        self._file.flush()
        stored, size = self._blobs.put_file(Path(self._file.name))
        if digest is not None and stored != digest:
            raise Damaged(f"The bytes sent have the digest {stored[:12]}, not {digest[:12]}.", "Send them again.")
        return stored, size

    def drop(self) -> None:
        """Remove the file."""
        self._file.close()
