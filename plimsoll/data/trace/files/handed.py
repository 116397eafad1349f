"""Paths that a step gives to installed packages: a file that is not opened by Python may be read in native code, which tells nobody."""

from __future__ import annotations

import itertools
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from plimsoll.data.trace.files.contents import Mark, mark
from plimsoll.data.trace.files.places import Places
from plimsoll.data.trace.origin import home_of

#: Of text that an installed package is given: what may name a file, the longest that is looked for, and how much from one place.
_LIKE_A_FILE, _LONGEST, _ENOUGH = re.compile(r"[./]"), 4096, 500
#: How often a place is looked at whose texts cannot be told, how many items of a list, of how many lists within each other, and
#: how many folders.
_LOOKS, _ITEMS, _DEPTH, _FOLDERS = 16, 100, 3, 4
#: Packages whose methods open files by Python, or are watched by name.
_OPEN_BY_PYTHON = frozenset({
    "numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn", "matplotlib", "joblib", "torch", "sqlalchemy", "pydantic", "PIL",
    "networkx", "statsmodels", "requests", "httpx", "rich", "tqdm", "xgboost", "lightgbm", "plimsoll", "msgspec", "attr", "yaml",
})  # fmt: skip

#: Code, by its identity, and where in it.
Place = tuple[int, int]


class Handed:
    """The files whose paths were given to installed packages in one step.

    Args:
        places: tells which files count.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        #: Path -> the file as it was then, and whether the path was relative.
        self._files: dict[str, tuple[Mark, bool]] = {}
        #: Place -> how much text it has given; far below none once a file was among it.
        self._texts = Counter[Place]()

    def give(self, given: Any, place: Place) -> None:
        """Note what is given first.

        Args:
            given: text, bytes, a path, or anything that may hold some.
            place: the code that gives it, and where.
        """
        if not isinstance(given, (str, bytes, os.PathLike)):
            self._texts[place] += _ENOUGH // _LOOKS
        for each in paths_in([given]):
            self._texts[place] += 1
            raw = os.fspath(each)
            text = os.fsdecode(raw) if len(raw) <= _LONGEST else ""
            if not text or "\0" in text or (raw is each and not may_name_file(text)):
                continue
            path = os.path.abspath(text)
            seen = mark(path)
            if seen is not None and stat.S_ISREG(seen[0]) and self._places.counts(path) and path not in self._files:
                self._files[path] = seen, not os.path.isabs(text)
                self._texts[place] = -sys.maxsize

    def give_some(self, function: Any, frame: FrameType, place: Place) -> None:
        """Note that a method is called, or a function by keywords, so that it is not told what it is given.

        Any path that the code has at hand may be among it.

        Args:
            function: what is called.
            frame: where it is called.
            place: the code that calls it, and where.
        """
        if opens_by_python(function):
            self._texts[place] += _ENOUGH
            return
        code, names = frame.f_code, frame.f_globals
        values = [*code.co_consts, *frame.f_locals.values(), *(names[name] for name in code.co_names if name in names)]
        self.give_any(values, code.co_filename, place)

    def give_any(self, values: Iterable[Any], file: str, place: Place) -> None:
        """Note what may be given, by itself or as a name in one of the folders that are at hand.

        Args:
            values: what code names and holds.
            file: where it is written.
            place: the code that gives it, and where.
        """
        paths = [os.fsdecode(each) for each in itertools.islice(paths_in(values), _ITEMS) if len(os.fspath(each)) <= _LONGEST]
        folders = [os.path.dirname(file), *(each for each in paths if os.path.isabs(each) and os.path.isdir(each))][:_FOLDERS]
        # The last part of a path is often written where the call is: HERE / "words.bin"
        self.give([paths, [os.path.join(folder, each.lstrip("/")) for folder in folders for each in paths if "." in each]], place)

    def gives_no_files(self, place: Place) -> bool:
        """Return whether a place has given so much text, and no path of a file, that it need not be watched further.

        Args:
            place: the code that gives it, and where.
        """
        return self._texts[place] >= _ENOUGH

    def files(self) -> Iterator[tuple[str, Mark, bool]]:
        """Yield each file's path, how it was when its path was given, and whether the path was relative; changed ones are left out.

        One that was written meanwhile is what the package was to write.
        """
        for path, (seen, relative) in self._files.items():
            if mark(path) == seen:
                yield path, seen, relative


def may_name_file(text: str) -> bool:
    """Return whether text that is given to an installed package looks like the path of a file.

    Args:
        text: any.
    """
    return _LIKE_A_FILE.search(text) is not None


def opens_by_python(value: Any) -> bool:
    """Return whether a function or module is of a package that opens its files by Python, or whose readers are watched by name.

    Args:
        value: it.
    """
    return home_of(value).partition(".")[0] in _OPEN_BY_PYTHON


def paths_in(values: Iterable[Any], depth: int = _DEPTH) -> Iterator[Any]:
    """Yield the texts and paths among values, and in lists, tuples and dicts within them.

    Args:
        values: anything.
        depth: how many containers may lie in each other.
    """
    for value in values:
        if isinstance(value, (str, bytes, os.PathLike)):
            yield value
        elif depth and type(value) in (list, tuple, dict):
            yield from paths_in(itertools.islice(value.values() if type(value) is dict else value, _ITEMS), depth - 1)
