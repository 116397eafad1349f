"""Files that a step leaves behind: a result that is used again does not write them, so they must still be as they were left."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator

from plimsoll.data.trace.files.contents import mark
from plimsoll.data.trace.files.places import Places
from plimsoll.records.pipeline import KeyPart


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

    def add(self, path: str) -> None:
        """Note that the step writes a file.

        Args:
            path: an absolute path.
        """
        self._paths.add(path)

    def parts(self, known: Collection[str], temporary: Collection[str]) -> Iterator[KeyPart]:
        """Yield a part for each file that is still there when the step has ended.

        Args:
            known: paths that count already.
            temporary: beginnings of paths that are other ones each time.
        """
        passing = tuple(os.path.abspath(made) for made in temporary)
        for path in sorted({*self._paths, *self._within()}):
            seen = mark(path)
            if path in known or seen is None or not stat.S_ISREG(seen[0]) or path.startswith(passing):
                continue
            digest, text = self._places.contents.of(path)
            yield KeyPart(kind="file", name=self._places.part(path), digest=digest, text=text)

    def _within(self) -> Iterator[str]:
        for made in self.folders:
            for parent, folders, files in os.walk(made):
                folders[:] = [each for each in folders if each != "__pycache__"]
                yield from (path for path in (os.path.join(parent, name) for name in files) if self._places.counts(path))
