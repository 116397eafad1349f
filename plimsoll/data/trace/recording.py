"""The recording of one call of a step: everything it reads and does by itself is collected while it runs.

Nothing of it may break a step. Where recording goes wrong the step's result stands, and is not kept for later runs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from plimsoll.data.trace.calls import Monitor, Tracing, begins
from plimsoll.data.trace.events import Hook
from plimsoll.data.trace.files.handed import paths_in
from plimsoll.data.trace.files.places import Places
from plimsoll.data.trace.found import Found, Trace
from plimsoll.data.trace.memos import MEMOS
from plimsoll.data.trace.origin import caller
from plimsoll.data.trace.reading.way import Reached, brought_by, reached
from plimsoll.data.trace.variables import Variables
from plimsoll.data.trace.watched.chance import Arrays, Chance
from plimsoll.data.trace.watched.inserted import Inserted

# A process has one set of audit hooks, one environment and one set of monitoring tools, so what listens to them is one as well.
_HOOK = Hook()
_VARIABLES = Variables(lambda: _HOOK.active)
_MONITOR = Monitor(lambda: _HOOK.active)
_INSERTED = Inserted(lambda: _HOOK.active, begins)
#: Runs of several threads begin and end what listens one after the other; what it imports may lead here again.
_TURN = threading.RLock()

_NONE: Mapping[str, str] = MappingProxyType({})


def prepare() -> None:
    """Find beforehand what recordings watch in the modules that are loaded: processes that are forked from this one need not."""
    if sys.version_info < (3, 12):
        _INSERTED.find()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Leave what recordings watch in place between those of the block: to exchange it for each takes longer than many a step."""
    if sys.version_info >= (3, 12):
        yield
        return
    try:
        _INSERTED.begin()
        yield
    finally:
        _INSERTED.end()


class Recorder:
    """Makes recordings for one project, and remembers what static reading sees of each function.

    Args:
        project: the project's folder.
        hidden: folders whose content does not count, such as the blobs'.
        changed: variables that Plimsoll has set in this process -> what they are without it.
        alone: the whole process belongs to one step; else other threads, and the generators' state, are somebody else's.
        remembered: where the digests of large files are remembered; None remembers them in this process alone.
    """

    def __init__(
        self,
        project: Path,
        hidden: Iterable[Path] = (),
        changed: Mapping[str, str | None] | None = None,
        alone: bool = False,
        remembered: Path | None = None,
    ) -> None:
        self._places = Places(project, hidden, remembered)
        self._changed = dict(changed or {})
        self._arrays = None if alone else Arrays()
        self._reached: dict[Callable[..., Any], Reached] = {}

    def recording(
        self, function: Callable[..., Any], known: Container[str], seed: int, own: Mapping[str, str] = _NONE, given: Iterable[Any] = ()
    ) -> Recording:
        """Return a recording for one call.

        Args:
            function: the user's function.
            known: distributions that its key names.
            seed: what the global random generators are set to, from 0 to 2**32 - 1.
            own: variables that Plimsoll sets for the time of this call, and nobody else can have set for it.
            given: its arguments, which may bring code along.
        """
        brought = brought_by(given)
        if function not in self._reached:
            self._reached[function] = reached(function)
        way = reached(function, *brought) if brought else self._reached[function]
        return Recording(self._places, way, known, self._changed, self._arrays, seed, own)


class Recording:
    """A context in which one call of a step runs; :meth:`Recorder.recording` makes it.

    Args:
        places: names files.
        way: what static reading has seen of the function.
        known: distributions that static reading has found.
        changed: variables that Plimsoll has set in this process.
        arrays: saves the state of NumPy's generator; None when the whole process belongs to the step.
        seed: of the global random generators.
        own: variables that are set for the time of the call.
    """

    def __init__(
        self,
        places: Places,
        way: Reached,
        known: Container[str],
        changed: Mapping[str, str | None],
        arrays: Arrays | None,
        seed: int,
        own: Mapping[str, str],
    ) -> None:
        self._chance, alone = Chance(seed, arrays), arrays is None
        self._make = functools.partial(Found, places, way.seen, way.held, known, changed, alone, own=own, imports=self._chance.imports)
        self._way, self._arrays = way, arrays
        self._found: Found | None = None
        #: What ends the watching.
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> Recording:
        self._found = found = self._make(id(caller(1)))
        try:
            with _TURN:
                self._begin(found)
        except Exception as error:
            found.trouble = f"{type(error).__name__}: {error}"
        except BaseException:
            with _TURN:
                self._ends.close()  # interrupted: nobody else would
            raise
        return self

    def _begin(self, found: Found) -> None:
        if self._way.now:
            found.effect('may have read the clock by a text that means the present ("now")')
        self._forget(found)
        self._ends.callback(self._chance.end)
        self._chance.begin()
        self._ends.callback(_unheard, found)
        _HOOK.begin(found)
        _VARIABLES.begin()
        if _MONITOR.begin():
            self._ends.callback(_MONITOR.end)
        elif sys.version_info >= (3, 12):
            found.effect("ran beside tools that have taken all of Python's monitoring, so what it read could not be seen")
        else:
            self._ends.callback(_INSERTED.end)
            _INSERTED.begin()
            tracing = Tracing(found, self._way)
            self._ends.callback(tracing.end)
            tracing.begin()

    def _forget(self, found: Found) -> None:
        """A step that has a process of its own finds what its imports have left there, and nothing else."""
        if self._arrays is None:
            return
        mixed = [(memo, memo.cache_info().hits) for memo in MEMOS.empty()]

        def end() -> None:
            MEMOS.imported_by_step()
            for memo, hits in mixed:
                if memo.cache_info().hits > hits:
                    found.effect(
                        f"took what {memo.__qualname__} has kept by functools.cache, some of it since an import and some of another step"
                    )

        self._ends.callback(end)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self._found is not None and self._chance.unset():
            self._found.effect("imported polars, whose random generator could not be set")
        with _TURN:
            self._ends.close()

    def read(self, value: Any) -> None:
        """Note that what the step returned is read now: a path that it did not write itself counts by its content.

        Args:
            value: what it returned.
        """
        if self._found is not None:
            self._found.look(self._found.read_all if isinstance(value, os.PathLike) else self._gives, value)

    def _gives(self, value: Any) -> None:
        found = self._found
        if found is not None:
            found.left.tell(value)
        if (
            found is not None
            and found.temporary
            and any(made in os.fsdecode(each) for each in paths_in([value]) for made in found.temporary)
        ):
            found.effect("returned the name of a temporary file, which is another one each time")

    def trace(self) -> Trace:
        """Return what was found, once the call has ended."""
        assert self._found is not None
        try:
            return self._found.trace()
        except Exception as error:
            return Trace(effects=(f"could not be traced ({type(error).__name__}: {error})",))


def _unheard(found: Found) -> None:
    _HOOK.end(found)
    if not _HOOK.active:
        _VARIABLES.end()
