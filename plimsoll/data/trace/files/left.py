"""Files that a step leaves behind: a result that is used again does not write them, so they must still be as they were left."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Collection, Iterator
from typing import Any

from plimsoll import clock
from plimsoll.data.trace.files.contents import mark
from plimsoll.data.trace.files.handed import paths_in
from plimsoll.data.trace.files.places import LINK, THERE, Places
from plimsoll.records.pipeline import KeyPart

#: Microseconds by which a file system's time may lie behind the clock.
_BEHIND = 20_000
#: Files of folders that are looked at because a step returned the folder's name: it may be that of a great input.
_ENOUGH = 1_000
#: The longest text that may name a file.
_LONGEST = 4096


class Left:
    """What one step has written.

    Args:
        places: names files and tells which count.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._paths = set[str]()
        #: Files that the step appends to and has not written from their beginning, and those of them that it looked at after that.
        self._logs, self._read = set[str](), set[str]()
        #: Folders that the step has made; native code may have written in them, which tells nobody.
        self.folders = set[str]()
        self._told, self._begun = set[str](), clock.now() - _BEHIND

    def add(self, path: str) -> None:
        """Note that the step writes a file from its beginning, or removes it.

        Args:
            path: an absolute path.
        """
        self._paths.add(path)

    def append(self, path: str) -> None:
        """Note that the step appends to a file of which it sees nothing yet: what the file holds then is nobody's result.

        Args:
            path: an absolute path.
        """
        if path not in self._paths:
            self._logs.add(path)

    def read(self, path: str) -> None:
        """Note that the step looks at a file; one that it has appended to is another one each time.

        Args:
            path: an absolute path.
        """
        if path in self._logs:
            self._read.add(path)

    def tell(self, value: Any) -> None:
        """Note what the step returned: if it names a file that has changed since the step began, native code may have written it.

        A file that the step has appended to is named for somebody who reads it.

        Args:
            value: what it returned.
        """
        for each in paths_in([value]):
            text = os.fsdecode(each)
            if text and "\0" not in text and len(text) <= _LONGEST:
                self._told.add(os.path.abspath(text))
                self.read(os.path.abspath(text))

    def parts(self, known: Collection[str], temporary: Collection[str]) -> Iterator[KeyPart]:
        """Yield a part for each file, link and empty folder that is still there when the step has ended, and for each that is gone.

        Args:
            known: paths that count already.
            temporary: beginnings of paths that are other ones each time.
        """
        passing = tuple(os.path.abspath(made) for made in temporary)
        gone, filled = set[str](), set[str]()
        for path in sorted({*self._paths, *self.folders, *self._within(self.folders), *self._changed()}, reverse=True):
            if path in known or path in self._logs or path.startswith(passing):
                continue
            seen, end = mark(path), ""
            if seen is None:
                gone.add(_first_missing(path))
                continue
            filled.add(os.path.dirname(path))
            if not stat.S_ISREG(seen[0]):
                # Files come before the folders that they lie in.
                end = LINK if os.path.islink(path) else THERE if path in self.folders and path not in filled else ""
                if not end:
                    continue
            digest, text = self._places.look(path, end)
            yield KeyPart(kind="file", name=self._places.part(path, end), digest=digest, text=text)
        for path in sorted(gone):
            digest, text = self._places.look(path, THERE)
            yield KeyPart(kind="file", name=self._places.part(path, THERE), digest=digest, text=text)

    def appended(self, temporary: Collection[str]) -> Iterator[str]:
        """Yield the names of files that the step has appended to and then looked at, and that another run would find longer.

        Args:
            temporary: beginnings of paths that are other ones each time.
        """
        passing = tuple(os.path.abspath(made) for made in temporary)
        yield from (self._places.name(path) for path in sorted(self._read - self._paths) if mark(path) and not path.startswith(passing))

    def _changed(self) -> Iterator[str]:
        for path in (*self._told, *itertools.islice(self._within(self._told), _ENOUGH)):
            # Not when it was written last, which a copy takes from its source.
            if self._places.counts(path) and os.path.isfile(path) and os.stat(path).st_ctime_ns // 1000 >= self._begun:
                yield path

    def _within(self, among: Collection[str]) -> Iterator[str]:
        for each in among:
            for parent, folders, files in os.walk(each):
                folders[:] = [each for each in folders if each != "__pycache__"]
                yield from (path for path in (os.path.join(parent, name) for name in files) if self._places.counts(path))


def _first_missing(path: str) -> str:
    """Return the outermost of the folders around what is missing that is missing itself: one part for all that was in it."""
    while not os.path.exists(os.path.dirname(path)):
        path = os.path.dirname(path)
    return path
