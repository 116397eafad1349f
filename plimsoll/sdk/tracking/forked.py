"""What a process logs to a run that the process began from which it was forked, such as a worker that loads data.

A forked process has neither the threads nor the connections of its parent, and must not use what it has inherited of them. So it
writes each thing to a journal of its own and returns: nothing is lost, however it ends. Its parent sends these journals when they
are let go: after some seconds, or when the forked process has ended. Without a parent the next run or ``plimsoll sync`` does.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from plimsoll import clock
from plimsoll.errors import StorageFull
from plimsoll.records.run import PointColumns
from plimsoll.sdk.journal import Journal, Kept

#: Seconds after which a journal is let go, and its parent looks for journals.
TURN = 5.0


def tell_forks(method: Callable[[], None]) -> None:
    """Call a method in each process that is forked from now on: a loop does not ask at every step which process it is in.

    Args:
        method: of an object, as long as anybody holds it.
    """
    _told().add(weakref.WeakMethod(method, _told().discard))


@functools.cache
def _told() -> set[weakref.WeakMethod[Callable[[], None]]]:
    told = set[weakref.WeakMethod[Callable[[], None]]]()

    def forked() -> None:
        for method in [known() for known in told]:
            if method is not None:
                method()

    # Python never forgets one of these.
    os.register_at_fork(after_in_child=forked)
    return told


class Forked:
    """The journals of one forked process.

    Args:
        parent: the journal of the process that began the run.
    """

    def __init__(self, parent: Journal) -> None:
        # Of the parent's journal only what never changes: somebody may have held its lock when this process was forked.
        self._parent, self._address = parent.path, parent.address
        self._run_id = parent.run_id
        self.process = os.getpid()
        self._lock = threading.Lock()
        self._journal: Journal | None = None
        self._begun = 0.0

    def take(self, what: PointColumns | Kept) -> None:
        """Write something; it is in the file when this returns.

        Args:
            what: points, or a request of the run.

        Raises:
            StorageFull: the disk has no room; it is not kept.
            Denied: this user may not write the journal.
        """
        with self._lock:
            if self._journal is not None and clock.monotonic() > self._begun + TURN:
                self._let_go()
            if self._journal is None:
                self._journal, self._begun = self._begin(), clock.monotonic()
            if isinstance(what, PointColumns):
                self._journal.add(what)
            elif not self._journal.keep(what):
                raise StorageFull(f"The journal {self._journal.path} cannot grow.", "Free some room; training may go on.")

    def flush(self) -> None:
        """Return once everything that was written survives a power cut."""
        with self._lock:
            if self._journal is not None:
                self._journal.sync()

    def close(self) -> None:
        """Let the parent send what there is."""
        with self._lock:
            self._let_go()

    def _begin(self) -> Journal:
        journal = Journal(self._parent.with_name(f"{self._parent.stem}.{clock.new_id()}.journal"))
        try:
            journal.begin(self._run_id, self._address, forked=True)
        except BaseException:
            journal.remove()
            raise
        return journal

    def _let_go(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def left_by_children(parent: Path) -> list[Path]:
    """Return the journals that processes forked from a run's own have left or still write, oldest first.

    Args:
        parent: the journal of the process that began the run.
    """
    return sorted(parent.parent.glob(f"{parent.stem}.*.journal"))


def begun_by(journal: Path) -> Path:
    """Return the journal of the process that began a run.

    Args:
        journal: the journal of a process that was forked from it.
    """
    return journal.with_name(f"{journal.name.partition('.')[0]}.journal")
