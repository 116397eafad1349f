"""Whose thread acts: one that a step has begun, or one that was there before it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

#: How the names of Plimsoll's threads begin.
_OURS = "plimsoll-"

#: Where Linux lists the threads of this process. ``sys._current_frames`` would do so anywhere, but before Python 3.12 it may wait for
#: ever when another thread begins meanwhile (https://github.com/python/cpython/issues/106883).
_LISTED = Path("/proc/self/task")


class Threads:
    """The threads of a step: the one that makes it, and all that begin while it runs.

    Args:
        alone: the whole process belongs to the step.
    """

    def __init__(self, alone: bool) -> None:
        self._first = threading.current_thread()
        #: What was there before, with threads that libraries began by themselves, which Python does not list.
        self._others = {} if alone else _running()
        self._others.pop(threading.get_native_id(), None)

    def mine(self) -> bool:
        """Return whether the current thread is the step's."""
        number, thread = threading.get_native_id(), _listed(threading.get_ident())
        # An ended thread's number may be given to one that the step has begun.
        if number in self._others and thread is self._others[number]:
            return False
        # What beats for the run, tells of it or answers the step's guest may begin later than the step.
        return thread is None or thread is self._first or not thread.name.startswith(_OURS)


def _running() -> dict[int, threading.Thread | None]:
    """Return the threads of this process by the system's number; None for those that Python did not begin."""
    known = {thread.native_id: _listed(thread.ident) for thread in threading.enumerate() if thread.native_id is not None}
    try:
        return {number: known.get(number) for number in map(int, os.listdir(_LISTED))}
    except OSError:
        return known  # no Linux


def _listed(number: int | None) -> threading.Thread | None:
    """Return a thread by Python's number; None for one that Python did not begin, for which ``current_thread`` would make an object."""
    thread: threading.Thread | None = threading._active.get(number)  # type: ignore[attr-defined]
    return None if isinstance(thread, threading._DummyThread) else thread
