"""Whose thread acts: one that works for a step, or one that was there before it and does something else."""

from __future__ import annotations

import sys
import threading

from plimsoll.data.trace.origin import FRONTS, Origins

#: How the names of Plimsoll's threads begin.
_OURS = "plimsoll-"


class Threads:
    """The threads of a step: the one that makes it, all that begin while it runs, and those of before that work for whoever asks.

    A pool that an earlier step has begun reads for this one, and so do threads that libraries began by themselves, which Python does
    not list. What is not the step's is a thread whose loop is a library's own, such as a notebook's, and one that makes another step.

    Args:
        alone: the whole process belongs to the step.
        origins: tells whose code a thread runs.
    """

    def __init__(self, alone: bool, origins: Origins) -> None:
        self._alone, self._origins = alone, origins
        self._first = threading.current_thread()
        self._before = frozenset(threading.enumerate()) - {self._first}

    def mine(self) -> bool:
        """Return whether what the current thread does counts."""
        thread = _listed(threading.get_ident())
        if thread is self._first:
            return True
        if self._alone or (thread is not None and thread not in self._before):
            # What beats for the run, tells of it or answers the step's guest may begin later than the step.
            return thread is None or not thread.name.startswith(_OURS)
        return self._works(thread)

    def _works(self, thread: threading.Thread | None) -> bool:
        kinds, frame, first = list[str](), sys._getframe(2), ""
        while frame is not None:
            first = first if frame.f_code.co_filename == threading.__file__ else frame.f_code.co_filename
            kinds.append(self._origins.of(frame.f_code.co_filename))
            frame = frame.f_back  # type: ignore[assignment]
        # What watches the step stands above.
        while kinds and kinds[0] == "plimsoll":
            del kinds[0]
        if "plimsoll" in kinds:
            return False
        if "user" in kinds:
            return True
        return self._origins.package(first) not in FRONTS if thread is None else self._origins.of(first) != "third"


def _listed(number: int | None) -> threading.Thread | None:
    """Return a thread by Python's number; None for one that Python did not begin, for which ``current_thread`` would make an object."""
    thread: threading.Thread | None = threading._active.get(number)  # type: ignore[attr-defined]
    return None if isinstance(thread, threading._DummyThread) else thread
