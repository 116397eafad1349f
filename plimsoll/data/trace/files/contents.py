"""What files hold, as digests. A file that looks as it did when it was read is not read again."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

from blake3 import blake3

from plimsoll import clock, codec
from plimsoll.fingerprint import digest_value

#: Digest of what is not there.
ABSENT = digest_value(None)

#: A file that was changed less than so many microseconds ago may change again without a new time.
_RACY = 2_000_000

#: The same for what lasts: who writes by a mapping gives a page its time once, until the system has written it, half a minute later.
_FRESH = 60_000_000

#: Bytes of a file that is remembered for other processes as well: to read a smaller one takes no longer than to look it up.
_LARGE = 1 << 20

_BLOCK = 1 << 20

#: What of a file shows that it was changed; ``ctime`` cannot be set back.
Mark = tuple[int, int, int, int, int, int]


class Contents:
    """Digests of what files hold, each with how the file looked before it was read; threads may share one.

    Every file is remembered in this process, and large ones in a folder too, one file each, so that an input of gigabytes is read
    once after a change and not by every run. A file that has just been changed is never remembered.

    Args:
        folder: of the large ones; made when it is needed. None remembers nothing for other processes.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, tuple[Mark, tuple[str, str]]] = {}

    def of(self, path: str) -> tuple[str, str]:
        """Return digest and size of a file's content; a folder and what cannot be read have a digest of their own.

        Args:
            path: an absolute path.
        """
        seen, known = mark(path), self._known.get(path)
        if seen is None:
            return _content(path)
        if known is not None and known[0] == seen:
            return known[1]
        # Asked before it is read: by the end of a long reading a change of its beginning would look old.
        age, lasting = _age(seen), None
        if self._folder is not None and age > _FRESH and stat.S_ISREG(seen[0]) and seen[3] >= _LARGE:
            lasting = self._folder / codec.digest(os.fsencode(path))
        digest = "" if lasting is None else _read(lasting, seen)
        content = (digest, _size(seen[3])) if digest else _content(path)
        if age >= _RACY:
            self._known[path] = seen, content
            if lasting is not None and not digest and content[1] == _size(seen[3]):
                _write(lasting, seen, content[0])
        return content


def held(path: str, contents: Contents) -> str:
    """Return a digest of what a path names: a file's content, or the names and contents of all files in a folder.

    Args:
        path: an absolute path.
        contents: reads the files.
    """
    if not os.path.isdir(path):
        return contents.of(path)[0]
    found = []
    for folder, folders, files in os.walk(path):
        folders.sort()
        found += [(os.path.relpath(each, path), contents.of(each)[0]) for each in (os.path.join(folder, name) for name in sorted(files))]
    return digest_value([(os.fsencode(name), digest) for name, digest in found])


def mark(path: str) -> Mark | None:
    """Return what shows whether a file is changed from now on; None where there is none.

    Args:
        path: an absolute path.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_racy(seen: Mark) -> bool:
    """Return whether a file is so young, or from the future, that a change might not show in its mark.

    Args:
        seen: what :func:`mark` gave.
    """
    return _age(seen) < _RACY


def _age(seen: Mark) -> int:
    return clock.now() - max(seen[4], seen[5]) // 1000


def _content(path: str) -> tuple[str, str]:
    hasher, size = blake3(), 0
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return digest_value("special"), "not a file"
        with open(path, "rb", buffering=0) as file:
            block = memoryview(bytearray(_BLOCK))
            while read := file.readinto(block):
                hasher.update(block[:read])
                size += read
    except FileNotFoundError:
        return ABSENT, "absent"
    except (OSError, ValueError) as error:
        return digest_value(type(error).__name__), "unreadable"
    if not size and path.endswith("-wal"):
        return ABSENT, "absent"  # readers of a database leave its log empty or take it away, as it happens
    return hasher.hexdigest(), _size(size)


def _size(size: int) -> str:
    return f"{size:,} bytes"


def _read(lasting: Path, seen: Mark) -> str:
    """Return the digest that is remembered of a file that looked so; empty where there is none, and where it is damaged."""
    try:
        *looked, digest, sum = json.loads(lasting.read_bytes())
        if tuple(looked) == seen and sum == _sum(seen, digest):
            return str(digest)
    except (OSError, ValueError, TypeError):
        pass
    return ""


def _write(lasting: Path, seen: Mark, digest: str) -> None:
    unfinished = lasting.with_name(f"{lasting.name}.{clock.new_id()}")
    try:
        for folder in (lasting.parent.parent, lasting.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        unfinished.write_text(json.dumps([*seen, digest, _sum(seen, digest)]))
        unfinished.replace(lasting)
    except OSError:
        # It saves time and nothing else.
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _sum(seen: Mark, digest: str) -> str:
    return codec.digest(codec.canonical([*seen, digest]))
