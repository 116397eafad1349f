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
from plimsoll.data.trace.files.places import Places
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
        #: Folders that the step has made; native code may have written in them, which tells nobody.
        self.folders = set[str]()
        self._told, self._begun = set[str](), clock.now() - _BEHIND

    def add(self, path: str) -> None:
        """Note that the step writes a file.

        Args:
            path: an absolute path.
        """
        self._paths.add(path)

    def tell(self, value: Any) -> None:
        """Note what the step returned: if it names a file that has changed since the step began, native code may have written it.

        Args:
            value: what it returned.
        """
        for each in paths_in([value]):
            text = os.fsdecode(each)
            if text and "\0" not in text and len(text) <= _LONGEST:
                self._told.add(os.path.abspath(text))

    def parts(self, known: Collection[str], temporary: Collection[str]) -> Iterator[KeyPart]:
        """Yield a part for each file that is still there when the step has ended.

        Args:
            known: paths that count already.
            temporary: beginnings of paths that are other ones each time.
        """
        passing = tuple(os.path.abspath(made) for made in temporary)
        for path in sorted({*self._paths, *self._within(self.folders), *self._changed()}):
            seen = mark(path)
            if path in known or seen is None or not stat.S_ISREG(seen[0]) or path.startswith(passing):
                continue
            digest, text = self._places.contents.of(path)
            yield KeyPart(kind="file", name=self._places.part(path), digest=digest, text=text)

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
