"""Modules in folders that a step itself puts on Python's path (``sys.path.insert(0, "lib")`` in its body).

Whoever looks later whether the result still holds has another path and would not find them. So they count by what their files hold,
and by the places where they were looked for first.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

from plimsoll.data.trace.files.places import THERE

#: What a module's file is called behind its name; a folder has nothing there.
_ENDS = ("", *importlib.machinery.SOURCE_SUFFIXES, *importlib.machinery.EXTENSION_SUFFIXES)


class Searched:
    """What one step has looked for in folders that it put on the path.

    Args:
        read: notes that a file is read.
        aspect: notes that something of a file besides its content is asked.
    """

    def __init__(self, read: Callable[[str], None], aspect: Callable[[str, str], None]) -> None:
        self._read, self._aspect = read, aspect
        self._path = list(sys.path)
        self._folders: dict[str, None] = {}

    def search(self, name: str) -> bool:
        """Note where a module is about to be looked for, and return whether it is in a folder that the step has added.

        Args:
            name: its dotted name.
        """
        if sys.path == self._path:
            return False
        top = name.partition(".")[0]
        for folder in [each for each in sys.path if isinstance(each, str) and each not in self._path]:
            at = os.path.abspath(folder)
            self._folders[at] = None
            if os.path.isfile(at):
                self._read(folder)  # an archive
                continue
            for end in _ENDS:
                self._aspect(os.path.join(folder, top + end), THERE)
            if any(os.path.exists(os.path.join(at, top + end)) for end in _ENDS):
                return True
        return False

    def settle(self, modules: MutableMapping[str, Any], named: set[str]) -> None:
        """Note the files of the modules that came from there; what they import from elsewhere is put to what counts by its name.

        Args:
            modules: those that count as modules; what came from there is taken out.
            named: names of modules that will count if they are loaded; what came from there is taken out.
        """
        if not self._folders:
            return
        own, imported = set[str](), set[str]()
        for name, module in list(sys.modules.items()):
            # Not by the module's own attribute, by which a lazy one would be loaded.
            spec = getattr(module, "__dict__", {}).get("__spec__")
            file = getattr(spec, "origin", None)
            if spec is None or not isinstance(file, str):
                continue
            within = next((each for each in self._folders if os.path.abspath(file).startswith(each + "/")), "")
            if within:
                own.add(name)
                modules.pop(name, None)
                if not os.path.isfile(within):
                    self._read(file)
                imported.update(_imports(spec))
        named.update(name for name in imported if name in sys.modules)
        named.difference_update(own)


def _imports(spec: importlib.machinery.ModuleSpec) -> set[str]:
    """Return the names that a module may import, with those of what it takes from packages."""
    get = getattr(spec.loader, "get_source", None)
    text = get(spec.name) if get is not None else None
    found: set[str] = set()
    for node in ast.walk(ast.parse(text or "")):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, spec.parent) if node.level else base
            found.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
    return found
