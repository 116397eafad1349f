"""Files as a step meets them: how they are named, which of them count, and what of them is seen.

A name is relative to the project where the file lies inside it, else absolute. What the step saw of the file is told by the
end of the name: nothing for its content, ``/`` for the names in a folder, a word in brackets for what is asked beside those.
"""

from __future__ import annotations

import fnmatch
import functools
import glob
import os
import stat
import sys
import sysconfig
import tempfile
import zoneinfo
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plimsoll import clock
from plimsoll.data.code.source import Sources
from plimsoll.data.environment import packages_folder
from plimsoll.data.trace.files.contents import ABSENT, Contents
from plimsoll.fingerprint import digest_value

#: Ends of names: the names in a folder, whether something is there, what ``stat`` says of it or a part of that, what a link
#: says, and where a path with links in it leads.
NAMES, THERE, STATE, SIZE, TIME = "/", " (is there)", " (state)", " (size)", " (time)"
PERMISSIONS, LINK, LEADS = " (permissions)", " (link)", " (leads to)"
#: Only where the name of a file ends like one of those.
_CONTENT = " (content)"
_ENDS = (NAMES, THERE, STATE, SIZE, TIME, PERMISSIONS, LINK, LEADS, _CONTENT)

#: How the names of Plimsoll's own temporary folders begin: what a step finds there (its inputs that are trees or models, staged blobs)
#: counts by its digest and not as a file. Nobody else's folder may be called so.
OWN = "plimsoll-own-"

#: The machine's own, which nobody has written.
_SYSTEM = ("/proc/", "/sys/", "/dev/")
#: Stands between a name and what it is: no name holds it.
_IS = "\0"
#: Names that a folder's text tells at most.
_TOLD = 200


class Places:
    """Names files for one project.

    Args:
        project: the project's folder.
        hidden: folders whose content does not count, such as the blobs'.
        remembered: where the digests of large files are remembered; None remembers them in this process alone.
    """

    def __init__(self, project: Path, hidden: Iterable[Path] = (), remembered: Path | None = None) -> None:
        #: What files hold.
        self.contents = Contents(remembered)
        #: Where code lies, asked of the disk once for all recordings.
        self.sources = Sources()
        self._project = str(project.resolve())
        own = {str(folder) for folder in hidden} | {str(folder.resolve()) for folder in hidden}
        self._left_out = (*_not_read(), *(folder + "/" for folder in own), f"{tempfile.gettempdir()}/{OWN}")

    def counts(self, path: str) -> bool:
        """Return whether a file belongs to what a step reads, and not to the interpreter, the machine or Plimsoll.

        Args:
            path: an absolute path.
        """
        return not path.startswith(self._left_out) and packages_folder(path) is None and not is_machine(path)

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

    def part(self, path: str, end: str = "") -> str:
        """Return the name of a part.

        Args:
            path: an absolute path.
            end: what of it counts; empty for its content.
        """
        name = self.name(path)
        return name.removesuffix("/") + NAMES if end == NAMES else name + (end or (_CONTENT if name.endswith(_ENDS) else ""))

    def path(self, name: str) -> tuple[str, str]:
        """Return the absolute path behind the name of a part, and the end that tells what of it counts.

        Args:
            name: what :meth:`part` gave.
        """
        end = next((end for end in _ENDS if name.endswith(end)), "")
        return os.path.normpath(os.path.join(self._project, name.removesuffix(end) or "/")), "" if end == _CONTENT else end

    def look(self, path: str, end: str) -> tuple[str, str]:
        """Return digest and short text of what a path shows now.

        Args:
            path: an absolute path.
            end: what of it counts.
        """
        if end == NAMES:
            return listing(path)
        if end == LEADS:
            led = self.name(os.path.realpath(path))
            return digest_value(led), led
        if end == LINK:
            return _link(path)
        if not end:
            return self.contents.of(path)
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return ABSENT, "absent"
        kind = "folder" if stat.S_ISDIR(found.st_mode) else "file"
        # The size of a folder, and how many names it has, say how a file system keeps it.
        size, names = (0, 0) if kind == "folder" else (found.st_size, found.st_nlink)
        owner, changed = (found.st_mode, found.st_uid, found.st_gid), clock.iso(found.st_mtime_ns // 1000)
        shown: dict[str, tuple[Any, str]] = {
            THERE: (kind, f"a {kind}"),
            SIZE: ((kind, size), f"{size:,} bytes"),
            TIME: ((kind, found.st_mtime_ns), f"changed {changed}"),
            PERMISSIONS: ((kind, *owner), stat.filemode(found.st_mode)),
            STATE: ((kind, *owner, names, size, found.st_mtime_ns), f"{stat.filemode(found.st_mode)} {size:,} bytes, changed {changed}"),
        }
        value, text = shown[end]
        return digest_value(value), text


@functools.cache
def _not_read() -> tuple[str, ...]:
    """Return how the paths of Python and of what is installed begin."""
    # All at once: each question by itself works out all answers.
    paths = sysconfig.get_paths()
    libraries = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    libraries |= {os.path.realpath(folder) for folder in libraries}
    # Python looks for itself in an archive too: lib/python311.zip
    archives = {f"{prefix}/lib/python" for prefix in (sys.prefix, sys.base_prefix)}
    # Zones are read once a process, by whichever step comes first.
    zones = {folder.rstrip("/") for folder in zoneinfo.TZPATH}
    return (*archives, *(folder + "/" for folder in libraries | zones))


def is_machine(path: str) -> bool:
    """Return whether a file is made by the machine while it is read: processes, devices and their like.

    Args:
        path: an absolute path.
    """
    return path.startswith(_SYSTEM) and not path.startswith("/dev/shm/")


def is_text(name: str) -> bool:
    """Return whether a name can be written into a key; one of bytes that are no text cannot.

    Args:
        name: as Python tells it.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _link(path: str) -> tuple[str, str]:
    try:
        led = os.readlink(path)
    except (OSError, ValueError):
        there = os.path.lexists(path)
        return (digest_value("no link"), "no link") if there else (ABSENT, "absent")
    return digest_value(("link", led)), f"to {led}"


def names_in(path: str) -> tuple[str, ...] | None:
    """Return the sorted names in a folder with what each is, byte code left out; None where there is no such folder.

    Args:
        path: an absolute path; where the last part is a pattern (``data/*.csv``), only names that match it.
    """
    try:
        return _names(path, "*")
    except (OSError, ValueError):
        folder, like = os.path.split(path)
    try:
        return _names(folder, like) if glob.has_magic(like) else None
    except (OSError, ValueError):
        return None


def _names(folder: str, like: str) -> tuple[str, ...]:
    with os.scandir(folder) as found:
        return tuple(sorted(_named(entry) for entry in found if entry.name != "__pycache__" and fnmatch.fnmatchcase(entry.name, like)))


def folder_of(path: str) -> str:
    """Return the folder that :func:`names_in` looks into.

    Args:
        path: what it was given.
    """
    return path if not glob.has_magic(os.path.basename(path)) or os.path.isdir(path) else os.path.dirname(path)


def _named(entry: os.DirEntry[str]) -> str:
    # Whoever goes through a folder is told which of its names are folders and links.
    kind = ("/" if entry.is_dir() else "") + ("@" if entry.is_symlink() else "")
    return f"{entry.name}{_IS}{kind}" if kind else entry.name


def bare(name: str) -> str:
    """Return a name without what it is.

    Args:
        name: one of what :func:`names_in` gave.
    """
    return name.partition(_IS)[0]


def listing(path: str) -> tuple[str, str]:
    """Return the digest of the names in a folder, and the names as text.

    Args:
        path: an absolute path.
    """
    return listed(names_in(path))


def listed(names: tuple[str, ...] | None) -> tuple[str, str]:
    """Return the digest of names, and a text: the first of them, and how many there are.

    Args:
        names: what :func:`names_in` gave.
    """
    if names is None:
        return ABSENT, "absent"
    told = ", ".join(map(bare, names[:_TOLD])) + (", …" if len(names) > _TOLD else "")
    return digest_value(names), f"{told} ({len(names):,})" if names else "empty"
