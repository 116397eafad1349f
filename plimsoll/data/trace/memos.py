"""What the user's functions keep by ``functools.cache`` in a process that runs several steps.

A step in a process of its own finds there what its imports have kept. In a process that it shares, an earlier step or the pipeline's
body may have kept more: what it takes from there it does not read, so it would not count.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from plimsoll.data.trace.origin import Origins

#: What ``functools.cache`` and ``lru_cache`` make of a function.
_MEMO = type(functools.cache(int))

_HOLDERS = (FunctionType, _MEMO, staticmethod, classmethod)


class Memos:
    """Knows which functions had kept something before any run began, and empties the others."""

    def __init__(self) -> None:
        self._origins = Origins()
        #: Modules that have been looked at, and those of them that are the user's.
        self._seen: set[str] = set()
        self._users: set[str] = set()
        #: How many modules there were then, and the last of them: to compare all their names takes longer than many a step.
        self._looked: tuple[int, str] = 0, ""
        #: How many results each has computed before any run began.
        self._before: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def begin(self) -> None:
        """Note what imports have kept. A pipeline is about to be called, which may keep more."""
        # Whether an import has called it or a cell of a notebook cannot be told there.
        notebook = hasattr(sys, "ps1")
        for memo in self._all():
            self._before.setdefault(memo, 0 if notebook else memo.cache_info().misses)

    def imported_by_step(self) -> None:
        """Note that what is new has come with a step, which may have called it."""
        if self._looked != _newest():
            for memo in self._all():
                self._before.setdefault(memo, 0)

    def empty(self) -> list[Any]:
        """Empty what pipelines and steps have kept; return the functions that have kept something since an import as well."""
        mixed = []
        for memo in self._all():
            before, misses = self._before.setdefault(memo, 0), memo.cache_info().misses
            if misses < before:
                before = self._before[memo] = 0  # somebody has emptied it
            if misses > before > 0:
                mixed.append(memo)
            elif misses > before:
                memo.cache_clear()
        return mixed

    def _all(self) -> Iterator[Any]:
        newest = _newest()
        for name in sys.modules.keys() - self._seen if self._looked != newest else ():
            module = sys.modules.get(name)
            file = vars(module).get("__file__") if isinstance(module, ModuleType) else None  # asking for it may import it
            if name == "__main__" or (isinstance(file, str) and self._origins.of(file) == "user"):
                self._users.add(name)
            self._seen.add(name)
        self._looked = newest
        for name in tuple(self._users):
            module = sys.modules.get(name)
            held = list(vars(module).values()) if isinstance(module, ModuleType) else []
            for cls in [each for each in held if isinstance(each, type) and each.__module__ in self._users]:
                held += vars(cls).values()
            for each in held:
                # Most are something else, and this is asked for each step.
                if isinstance(each, _HOLDERS) and (type(each) is not FunctionType or "__wrapped__" in each.__dict__):
                    yield from _within(each, self._users)


def _newest() -> tuple[int, str]:
    return len(sys.modules), next(reversed(sys.modules), "")


def _within(value: Any, names: set[str]) -> Iterator[Any]:
    """Yield the memory of a function of some modules, of a method, or of what a decorator has put around one."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    while isinstance(value, (_MEMO, FunctionType)):
        if isinstance(value, _MEMO) and value.__module__ in names:
            yield value
        value = vars(value).get("__wrapped__")


#: A process has one set of modules.
MEMOS = Memos()
