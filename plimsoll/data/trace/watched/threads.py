"""Whose thread acts: one that a step has begun, or one that was there before it."""

from __future__ import annotations

import sys
import threading

#: How the names of Plimsoll's threads begin.
_OURS = "plimsoll-"


class Threads:
    """The threads of a step: the one that makes it, and all that begin while it runs.

    Args:
        alone: the whole process belongs to the step.
    """

    def __init__(self, alone: bool) -> None:
        self._first = threading.current_thread()
        #: What was there before, with threads that libraries began by themselves, which Python lists nowhere else.
        others = () if alone else sys._current_frames().keys() - {threading.get_ident()}
        self._others = {number: _listed(number) for number in others}

    def mine(self) -> bool:
        """Return whether the current thread is the step's."""
        number = threading.get_ident()
        thread = _listed(number)
        # An ended thread's number may be given to one that the step has begun.
        if number in self._others and thread is self._others[number]:
            return False
        # What beats for the run, tells of it or answers the step's guest may begin later than the step.
        return thread is None or thread is self._first or not thread.name.startswith(_OURS)


def _listed(number: int) -> threading.Thread | None:
    """Return a thread by its number; None for one that Python did not begin, for which ``current_thread`` would make an object."""
    thread: threading.Thread | None = threading._active.get(number)  # type: ignore[attr-defined]
    return None if isinstance(thread, threading._DummyThread) else thread
