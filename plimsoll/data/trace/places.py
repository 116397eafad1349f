"""Files as a step meets them: how they are named, which of them count, and what of them is seen.

A name is relative to the project where the file lies inside it, else absolute. What the step saw of the file is told by the
end of the name: nothing for its content, ``/`` for the names in a folder, ``(is there)`` and ``(size and time)``.
"""

from __future__ import annotations

import os
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

from blake3 import blake3

from plimsoll import clock
from plimsoll.fingerprint import digest_value

#: Digest of what is not there.
ABSENT = digest_value(None)

#: Ends of names: a folder's names, whether something is there, and what ``stat`` says of it.
NAMES, THERE, TIMES = "/", " (is there)", " (size and time)"

#: A file that was changed less than so many microseconds ago may change again without a new time.
_RACY = 2_000_000

_BLOCK = 1 << 20

#: How the names of Plimsoll's own temporary folders begin: what a step finds there (its inputs that are trees or models, staged blobs)
#: counts by its digest and not as a file. Nobody else's folder may be called so.
OWN = "plimsoll-own-"

#: Neither content nor names that anybody meant: the machine's own, and byte code.
_SYSTEM = ("/proc/", "/sys/", "/dev/")
_INSTALLED = ("site-packages", "dist-packages", "__pycache__")

#: What of a file shows that it was changed; ``ctime`` cannot be set back.
Mark = tuple[int, int, int, int, int, int]


class Places:
    """Names files for one project.

    Args:
        project: the project's folder.
        hidden: folders whose content does not count, such as the blobs'.
    """

    def __init__(self, project: Path, hidden: Iterable[Path] = ()) -> None:
        self._project = str(project.resolve())
        # All at once: each question by itself works out all answers.
        paths = sysconfig.get_paths()
        libraries = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        libraries |= {os.path.realpath(folder) for folder in libraries}
        # Python looks for itself in an archive too: lib/python311.zip
        archives = {f"{prefix}/lib/python" for prefix in (sys.prefix, sys.base_prefix)}
        own = {str(folder) for folder in hidden} | {str(folder.resolve()) for folder in hidden}
        self._left_out = (*_SYSTEM, *archives, *(folder + "/" for folder in libraries | own), f"{tempfile.gettempdir()}/{OWN}")

    def counts(self, path: str) -> bool:
        """Return whether a file belongs to what a step reads, and not to the interpreter, the machine or Plimsoll.

        Args:
            path: an absolute path.
        """
        return not path.startswith(self._left_out) and not any(part in path for part in _INSTALLED) and not path.endswith(".pyc")

    def inside(self, path: str) -> bool:
        """Return whether a path lies in the project.

        Args:
            path: an absolute path.
        """
        return path == self._project or path.startswith(self._project + "/")

    def name(self, path: str) -> str:
        """Return the name of a path.

        Args:
            path: an absolute path.
        """
        if path == self._project:
            return "."
        return path.removeprefix(self._project + "/") if self.inside(path) else path

    def path(self, name: str) -> tuple[str, str]:
        """Return the absolute path behind the name of a part, and the end that tells what of it counts.

        Args:
            name: what :meth:`name` gave, with its end.
        """
        end = next((end for end in (NAMES, THERE, TIMES) if name.endswith(end)), "")
        return os.path.normpath(os.path.join(self._project, name.removesuffix(end) or "/")), end

    def look(self, path: str, end: str) -> tuple[str, str]:
        """Return digest and short text of what a path shows now.

        Args:
            path: an absolute path.
            end: what of it counts.
        """
        if end == NAMES:
            return listing(path)
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return ABSENT, "absent"
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "file"
        if end == THERE:
            return digest_value(kind), f"a {kind}"
        if end == TIMES:
            shown = (kind, 0 if kind == "folder" else found.st_size, found.st_mtime_ns)
            return digest_value(shown), f"{found.st_size:,} bytes, changed {clock.iso(found.st_mtime_ns // 1000)}"
        return content(path)


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
    return clock.now() - max(seen[4], seen[5]) // 1000 < _RACY


def content(path: str) -> tuple[str, str]:
    """Return digest and size of a file's content; a folder and what cannot be read have a digest of their own.

    Args:
        path: an absolute path.
    """
    hasher, size = blake3(), 0
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return digest_value("special"), "not a file"
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                hasher.update(block)
                size += len(block)
    except FileNotFoundError:
        return ABSENT, "absent"
    except (OSError, ValueError) as error:
        return digest_value(type(error).__name__), "unreadable"
    return hasher.hexdigest(), f"{size:,} bytes"


def names_in(path: str) -> tuple[str, ...] | None:
    """Return the sorted names in a folder, byte code left out; None where there is no such folder.

    Args:
        path: an absolute path.
    """
    try:
        return tuple(sorted(name for name in os.listdir(path) if name != "__pycache__"))
    except (OSError, ValueError):
        return None


def listing(path: str) -> tuple[str, str]:
    """Return digest and number of the names in a folder.

    Args:
        path: an absolute path.
    """
    return listed(names_in(path))


def listed(names: tuple[str, ...] | None) -> tuple[str, str]:
    """Return digest and number of names.

    Args:
        names: what :func:`names_in` gave.
    """
    return (ABSENT, "absent") if names is None else (digest_value(names), f"{len(names):,} names")
