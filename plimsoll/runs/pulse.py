"""Says that a run's process lives, as long as it does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from plimsoll.clock import Alarms
from plimsoll.errors import PlimsollError
from plimsoll.records.run import BeatRun
from plimsoll.store.contracts import Do

#: Seconds between two signs of life; six that are missing make a run look lost.
BEAT = 10.0


@contextlib.contextmanager
def pulse(run_id: str, do: Do, alarms: Alarms) -> Iterator[None]:
    """Say every ten seconds that the process of a run lives, from a thread of its own, until the block ends.

    Args:
        run_id: the run, which was begun with ``beats``.
        do: the door.
        alarms: begin the thread, once the run has taken that long.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.is_set():
            # What is wrong shows where the run's own requests are refused.
            with contextlib.suppress(PlimsollError):
                do(BeatRun(id=run_id))
            ended.wait(BEAT)

    alarm = alarms.set(BEAT, beat, "plimsoll-pulse")
    try:
        yield
    finally:
        ended.set()
        if not alarms.take_back(alarm):
            alarm.join()
