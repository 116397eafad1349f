"""Bytes by their BLAKE3 digest, in a folder: ``ab/abcdef…``, with unfinished ones under ``tmp/``.

A blob is written under a name of its own, synced, and renamed. A process killed before the rename leaves a file in
``tmp/`` that nobody sees and that a later start removes; one killed after it leaves a blob that no row names. A blob that is
being collected is moved to ``tmp/`` under its digest first; what a killed collector left there is put back.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from blake3 import blake3
from obstore.store import LocalStore

from plimsoll import clock, codec
from plimsoll.errors import Corrupt, NotFound
from plimsoll.store.contracts import Incoming, StoredBlob
from plimsoll.store.disk.incoming import LocalIncoming
from plimsoll.store.disk.places import explained, missing, place, sync

#: Microseconds after which an unfinished file has no writer any more.
_STALE = 24 * 3600 * 1_000_000

#: Bytes that are read, hashed and written at once.
_BLOCK = 1 << 20

#: Files that are synced at the same time: a journalling file system then writes its journal once for several.
_AT_ONCE = 8

#: End of the name of a blob that is being collected.
_ASIDE = ".aside"

_NAME = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


class LocalBlobs:
    """Blobs in one folder of this machine; any number of processes may share it.

    Args:
        folder: made when it does not exist; files that were left unfinished for a day are removed from it.

    Raises:
        Denied: the folder cannot be made or written.
        StorageFull: there is no room for the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        # As text: for a small blob, to make a path and to read its name takes longer than to ask the disk.
        self._root = f"{self._folder}/"
        with explained(self._folder):
            (self._folder / "tmp").mkdir(parents=True, exist_ok=True)
            self._sweep()
            self._store = LocalStore(self._folder)

    @property
    def folder(self) -> Path:
        """The folder, absolute: another process of this machine opens the same blobs by it."""
        return self._folder

    def put(self, data: bytes) -> str:
        """Store ``data`` and return its digest; storing the same bytes again writes nothing.

        Args:
            data: any bytes.

        Raises:
            StorageFull: the disk has no room; nothing is visible.
        """
        return self.put_all((data,))[0]

    def put_all(self, parts: Iterable[bytes]) -> tuple[str, ...]:
        """Store several small blobs and return their digests; together they take little longer than one.

        Args:
            parts: any bytes, all of them in memory.

        Raises:
            StorageFull: the disk has no room; some of them may be stored.
        """
        named = [(codec.digest(data), data) for data in parts]
        # Looked at, since they are small: a manifest that was damaged would else be named anew, and stay so.
        missing = {digest: data for digest, data in named if not (self._holds(digest, len(data)) and self._sound(digest, data))}
        if missing:
            with explained(self._folder):
                self._write_small(missing)
        return tuple(digest for digest, _ in named)

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file's content, in bounded memory, and return its digest and size in bytes.

        A file that changes while it is read is stored as it was read.

        Args:
            path: an existing file.

        Raises:
            NotFound: there is no such file.
            StorageFull: the disk has no room; nothing is visible.
        """
        try:
            seen, size = blake3(), 0
            for block in _blocks(path):
                seen.update(block)
                size += len(block)
            digest = seen.hexdigest()
            # Twice through the file, so that the same bytes again cost no write.
            return (digest, size) if self._holds(digest, size) else self._write(_blocks(path))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound(f"There is no file {str(path)!r}.", "Correct the path.") from error

    def get(self, digest: str) -> bytes:
        """Return the bytes, verified against the digest.

        Args:
            digest: 64 hex digits.

        Raises:
            NotFound: there is no such blob.
            Corrupt: the stored bytes have another digest.
        """
        # Not through obstore, which takes ten times as long for a small file.
        with explained(self._folder, digest):
            data = _read(self._root + place(digest))
        if codec.digest(data) != digest:
            raise self._corrupt(digest)
        return data

    def get_file(self, digest: str, path: Path) -> None:
        """Write the verified bytes to ``path``, which appears whole or not at all; parent folders are made.

        Args:
            digest: 64 hex digits.
            path: where to; a file that is there is replaced.

        Raises:
            NotFound: there is no such blob.
            Corrupt: the stored bytes have another digest.
            StorageFull: the disk has no room for the copy.
        """
        with explained(self._folder, digest):
            stream = self._store.get(place(digest)).stream(min_chunk_size=_BLOCK)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.parent / f".{clock.new_id()}.part"
            try:
                seen = blake3()
                with part.open("xb") as file:
                    for block in stream:
                        seen.update(block)
                        file.write(block)
                    file.flush()
                    os.fsync(file.fileno())
                if seen.hexdigest() != digest:
                    raise self._corrupt(digest)
                part.replace(path)
                sync(path.parent)
            finally:
                part.unlink(missing_ok=True)

    def has(self, digest: str) -> bool:
        """Return whether the blob is stored, without reading it; one that is asked for is as young as one that is stored now.

        Args:
            digest: 64 hex digits.
        """
        path = self._root + place(digest)
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        except PermissionError:
            return os.path.exists(path)  # another user's; only its owner may collect it
        return True

    def open(self, digest: str) -> BinaryIO:
        """Return the stored bytes as a file to read at any place, not verified: the reader compares. They stay until it is closed.

        Args:
            digest: 64 hex digits.

        Raises:
            NotFound: there is no such blob.
        """
        with explained(self._folder, digest):
            return (self._folder / place(digest)).open("rb", buffering=0)

    def incoming(self) -> Incoming:
        """Return a blob that is written part by part, and that nobody sees until it is kept.

        Raises:
            StorageFull: the disk has no room.
        """
        return LocalIncoming(self._folder, self._holds)

    def size(self, digest: str) -> int:
        """Return the blob's bytes.

        Args:
            digest: 64 hex digits.

        Raises:
            NotFound: there is no such blob.
        """
        size = self._size(digest)
        if size is None:
            raise missing(digest)
        return size

    def delete(self, digest: str) -> None:
        """Remove the blob; one that is not there is no error.

        Args:
            digest: 64 hex digits.
        """
        if self.has(digest):
            try:
                with explained(self._folder, digest):
                    self._store.delete(place(digest))
            except NotFound:
                return

    def stored(self) -> Iterator[StoredBlob]:
        """Yield every blob that is stored, shelf by shelf; what comes or goes meanwhile may be among them or not."""
        with explained(self._folder):
            shelves = sorted(entry.name for entry in os.scandir(self._folder) if len(entry.name) == 2)
            for shelf in shelves:
                with os.scandir(self._folder / shelf) as entries:
                    for entry in entries:
                        if not _NAME.fullmatch(entry.name) or entry.name[:2] != shelf:
                            continue
                        try:
                            found = entry.stat()
                        except FileNotFoundError:
                            continue
                        yield StoredBlob(entry.name, found.st_size, found.st_mtime_ns // 1000)

    def blocks(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes in blocks of a MiB, as they are stored: not verified.

        Args:
            digest: 64 hex digits.

        Raises:
            NotFound: there is no such blob.
        """
        with explained(self._folder, digest):
            yield from _blocks(self._folder / place(digest))

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let nothing be collected, by any process, until the block ends."""
        with explained(self._folder):
            folder = os.open(self._folder / "tmp", os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_SH)
            yield
        finally:
            os.close(folder)

    def collect(self, digest: str, age: float) -> int:
        """Remove the blob unless somebody has stored or asked for it within ``age`` seconds; return the bytes that it had.

        It also stays while somebody keeps all blobs, as a backup does.

        Args:
            digest: 64 hex digits.
            age: seconds.
        """
        path, aside = self._folder / place(digest), self._folder / "tmp" / f"{digest}{_ASIDE}"
        with explained(self._folder):
            folder = os.open(self._folder / "tmp", os.O_RDONLY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return _collected(path, aside, age)
            except BlockingIOError:
                return 0
            finally:
                os.close(folder)

    def _size(self, digest: str) -> int | None:
        try:
            return os.stat(self._root + place(digest)).st_size
        except FileNotFoundError:
            return None
        except OSError:
            with explained(self._folder, digest):
                raise

    def _sound(self, digest: str, data: bytes) -> bool:
        try:
            return _read(self._root + place(digest)) == data
        except OSError:
            return False

    def _holds(self, digest: str, size: int) -> bool:
        # A blob cut short by a failing disk is written again.
        if self._size(digest) != size:
            return False
        try:
            # It is as good as new, so that collecting what is old leaves it.
            os.utime(self._root + place(digest))
        except FileNotFoundError:
            return False
        except PermissionError:
            return True  # another user's; only its owner may collect it
        return True

    def _write_small(self, blobs: dict[str, bytes]) -> None:
        unfinished = {digest: f"{self._root}tmp/{clock.new_id()}" for digest in blobs}
        shelves = {digest: self._root + digest[:2] for digest in blobs}
        try:
            with ExitStack() as opened:
                files = []
                for digest, path in unfinished.items():
                    files.append(opened.enter_context(open(path, "xb")))
                    files[-1].write(blobs[digest])
                    files[-1].flush()
                _each(lambda file: os.fsync(file.fileno()), files)
            new = [shelf for shelf in set(shelves.values()) if not os.path.exists(shelf)]
            for shelf in new:
                os.makedirs(shelf, exist_ok=True)
            if new:
                sync(self._folder)
            for digest, path in unfinished.items():
                os.rename(path, f"{shelves[digest]}/{digest}")
            _each(sync, set(shelves.values()))
        except BaseException:
            for path in unfinished.values():
                Path(path).unlink(missing_ok=True)
            raise

    def _write(self, blocks: Iterator[bytes]) -> tuple[str, int]:
        coming = self.incoming()
        try:
            for block in blocks:
                coming.write(block)
            return coming.keep()
        finally:
            coming.drop()

    def _sweep(self) -> None:
        oldest = clock.now() - _STALE
        # Not through obstore, which hides the files it has not finished.
        for entry in os.scandir(self._folder / "tmp"):
            try:
                if entry.name.endswith(_ASIDE):
                    self._put_back(Path(entry.path))
                elif entry.stat().st_mtime_ns // 1000 < oldest:
                    os.unlink(entry.path)
            except FileNotFoundError:
                continue

    def _put_back(self, aside: Path) -> None:
        """End what a killed collector began. It may have moved a blob that somebody had just stored again, so the blob stays."""
        digest = aside.name.removesuffix(_ASIDE)
        folder = os.open(aside.parent, os.O_RDONLY)
        try:
            # A collector that lives has the lock to itself for as long as a blob lies aside.
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if self._size(digest) is None:
                aside.rename(self._folder / place(digest))
            else:
                aside.unlink()
        except BlockingIOError:
            return
        finally:
            os.close(folder)

    def _corrupt(self, digest: str) -> Corrupt:
        path = self._folder / place(digest)
        return Corrupt(
            f"The blob {digest} does not hold the bytes of its name.",
            f"Restore {str(path)!r} from a backup, or delete it and make its content again.",
            digest=digest,
        )


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _young(path: Path, age: float) -> bool:
    return clock.now() - path.stat().st_mtime_ns // 1000 < age * 1e6


def _collected(path: Path, aside: Path, age: float) -> int:
    try:
        if _young(path, age):
            return 0
        # Out of sight before the second look: whoever stores the same bytes now does not find them, and writes them.
        path.rename(aside)
    except FileNotFoundError:
        return 0
    if _young(aside, age):
        aside.rename(path)
        return 0
    size = aside.stat().st_size
    aside.unlink()
    return size


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _each(work: Callable[[T], None], items: Iterable[T]) -> None:
    found = list(items)
    if len(found) == 1:
        work(found[0])
        return
    with ThreadPoolExecutor(min(_AT_ONCE, len(found))) as pool:
        for _ in pool.map(work, found):
            pass
