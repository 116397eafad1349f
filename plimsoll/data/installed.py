"""Where packages are installed. A folder of the user's that is only called so is none."""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig

_NAMES = ("/site-packages/", "/dist-packages/")
#: What tells that a package was installed into a folder.
_DISTRIBUTIONS = (".dist-info", ".egg-info", ".egg-link")


def packages_folder(path: str) -> str | None:
    """Return the folder of installed packages that a path lies in; None for nearly all of the user's.

    It is the interpreter's own, or one that modules are imported from now and that something was installed into.

    Args:
        path: an absolute path; that of a folder ends with a slash.
    """
    for name in _NAMES:
        start = path.find(name)
        while start >= 0:
            folder = path[: start + len(name) - 1]
            if folder in _own() or _is_used(folder, tuple(sys.path)):
                return folder
            start = path.find(name, start + 1)
    return None


@functools.cache
def _own() -> frozenset[str]:
    """Return the folders of installed packages that this interpreter has, however they are spelt."""
    paths = sysconfig.get_paths()
    folders = {paths["purelib"], paths["platlib"], site.getusersitepackages(), *site.getsitepackages()}
    return frozenset(folders | {os.path.realpath(folder) for folder in folders})


@functools.lru_cache
def _is_used(folder: str, imported_from: tuple[str, ...]) -> bool:
    real = os.path.realpath(folder)
    if real in _own():
        return True
    if real not in {os.path.realpath(entry) for entry in imported_from}:
        return False
    try:
        return any(name.endswith(_DISTRIBUTIONS) for name in os.listdir(real))
    except OSError:
        return False
