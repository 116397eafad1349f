"""The files and folders that one path stands for, when a reader is given a folder or a pattern."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator

from plimsoll.data.trace.files.contents import mark
from plimsoll.data.trace.files.places import bare, names_in


def several(path: str) -> Iterator[tuple[str, bool]]:
    """Yield what is read of a path: files, and folders whose names count, with whether it is a folder.

    Args:
        path: the absolute path of a file or folder, or a pattern.
    """
    if glob.has_magic(path) and mark(path) is None:
        yield from _matches(path)
    elif os.path.isdir(path):
        yield from _tree(path)
    else:
        yield path, False


def _matches(pattern: str) -> Iterator[tuple[str, bool]]:
    """Yield the folders among whose names a pattern is looked for, and the files that match."""
    folders, parts = ["/"], pattern.strip("/").split("/")
    for position, part in enumerate(parts):
        if part == "**":
            for folder in folders:
                yield from _tree(folder)
            return
        found = []
        for folder in folders:
            if glob.has_magic(part):
                yield folder, True
                names = [bare(name) for name in names_in(folder) or ()]
                found += [os.path.join(folder, name) for name in names if fnmatch.fnmatch(name, part)]
            else:
                found.append(os.path.join(folder, part))
        folders = found
        if position == len(parts) - 1:
            for match in found:
                if mark(match) is not None:
                    yield from several(match)


def _tree(folder: str) -> Iterator[tuple[str, bool]]:
    """Yield a folder and those in it, and all their files."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        yield parent, True
        yield from ((os.path.join(parent, name), False) for name in files)
