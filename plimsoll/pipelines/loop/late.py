"""Small blobs of steps that run in this process, kept until they are stored together."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from plimsoll import codec
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Blobs

#: Bytes up to which a blob waits, and of all that wait.
_SMALL, _MOST = 1 << 16, 1 << 24


class LateBlobs:
    """Blobs that are stored a moment later. They can be read at once; nothing may name them elsewhere before :meth:`flush`.

    Killed before, nothing of them is there, and nothing tells of them.

    Args:
        blobs: where they go.
    """

    def __init__(self, blobs: Blobs) -> None:
        #: Where they go.
        self.stored = blobs
        self._waiting: dict[str, bytes] = {}
        self._size = 0
        self._turn = threading.Lock()

    def flush(self) -> None:
        """Store what waits; any thread may call it.

        Raises:
            PlimsollError: they cannot be stored; they wait on.
        """
        with self._turn:
            waiting = dict(self._waiting)
            if waiting:
                self.stored.put_all(waiting.values())
                for digest, data in waiting.items():
                    if self._waiting.pop(digest, None) is not None:
                        self._size -= len(data)

    def put(self, data: bytes) -> str:
        """Take ``data`` and return its digest; what is not small is stored at once.

        Args:
            data: any bytes.
        """
        if len(data) > _SMALL or self._size > _MOST:
            return self.stored.put(data)
        digest = codec.digest(data)
        if digest not in self._waiting:
            self._size += len(data)
            self._waiting[digest] = data
        return digest

    def put_all(self, parts: Iterable[bytes]) -> tuple[str, ...]:
        """Take several small blobs and return their digests.

        Args:
            parts: any bytes.
        """
        return tuple(self.put(data) for data in parts)

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file's content at once and return its digest and size in bytes.

        Args:
            path: the file.
        """
        return self.stored.put_file(path)

    def get(self, digest: str) -> bytes:
        """Return the bytes, verified unless they are only here.

        Args:
            digest: 64 hex digits.
        """
        data = self._waiting.get(digest)
        return self.stored.get(digest) if data is None else data

    def get_file(self, digest: str, path: Path) -> None:
        """Write the verified bytes to ``path``, whole or not at all.

        Args:
            digest: 64 hex digits.
            path: where to; parent folders are made.
        """
        self.flush()
        self.stored.get_file(digest, path)

    def has(self, digest: str) -> bool:
        """Return whether the blob is here or stored.

        Args:
            digest: 64 hex digits.
        """
        return digest in self._waiting or self.stored.has(digest)

    def size(self, digest: str) -> int:
        """Return the blob's bytes.

        Args:
            digest: 64 hex digits.
        """
        data = self._waiting.get(digest)
        return self.stored.size(digest) if data is None else len(data)

    def delete(self, digest: str) -> None:
        """Remove the blob.

        Args:
            digest: 64 hex digits.
        """
        self.flush()
        self.stored.delete(digest)

    def collect(self, digest: str, age: float) -> int:
        """Remove the blob unless somebody has stored it within ``age`` seconds; return the bytes that it had.

        Args:
            digest: 64 hex digits.
            age: seconds.
        """
        return 0 if digest in self._waiting else self.stored.collect(digest, age)


def late_of(blobs: Blobs) -> LateBlobs:
    """Return blobs that are stored a moment later: the given ones, if they are such.

    Args:
        blobs: where they go.
    """
    return blobs if isinstance(blobs, LateBlobs) else LateBlobs(blobs)


def remembered_by(blobs: Blobs, what: Literal["files", "functions"] = "files") -> Path | None:
    """Return the folder beside a home's blobs in which something is remembered; None where blobs are elsewhere.

    Args:
        blobs: of a home, or of a server.
        what: the digests of large files, or what functions say.
    """
    stored = blobs.stored if isinstance(blobs, LateBlobs) else blobs
    return remembered_in(stored.folder.parent, what) if isinstance(stored, LocalBlobs) else None


def remembered_in(home: Path, what: Literal["files", "functions"] = "files") -> Path:
    """Return the folder in which something is remembered.

    Args:
        home: the home's folder.
        what: the digests of large files, or what functions say.
    """
    return home / "recall" / what
