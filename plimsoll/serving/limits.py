"""How much may wait for an answer: a bounded queue that drops what would come too late.

Under overload a plain first-in-first-out queue answers nobody in time. This one refuses at the door what it cannot answer
before its deadline, and gives up, unasked, what has passed its deadline while waiting.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from plimsoll.errors import Overloaded

T = TypeVar("T")

#: Weight of the newest batch in the running mean of a batch's time.
NEWEST = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may ask for at most."""

    #: Bytes of a request's body.
    body_bytes: int = 16 * 2**20
    #: Rows of one request.
    rows: int = 10_000
    #: Seconds from the first to the last byte of a body.
    body_seconds: float = 10.0


@dataclass(slots=True, kw_only=True, eq=False)
class Waiting(Generic[T]):
    """One place in the queue."""

    #: What waits.
    item: T
    #: Rows that it brings.
    rows: int
    #: Seconds on the monotonic clock after which nobody wants the answer.
    deadline: float
    #: True when it left the queue before its turn.
    gone: bool = False


class WaitingLine(Generic[T]):
    """Requests in order of arrival, at most ``places`` of them, taken in batches of at most ``batch_rows`` rows.

    Args:
        places: requests that may wait.
        batch_rows: rows of one batch; a request with more makes a batch of its own.
    """

    def __init__(self, places: int, batch_rows: int) -> None:
        self._places = places
        self._batch_rows = batch_rows
        self._line: deque[Waiting[T]] = deque()
        self._waiting = 0
        self._waiting_rows = 0
        self._batch_seconds = 0.0

    def __len__(self) -> int:
        return self._waiting

    def expected_wait(self) -> float:
        """Return seconds until a request that comes now would be answered, from the time that batches took lately."""
        return self._batch_seconds * (self._waiting_rows // self._batch_rows + 2)

    def check(self, deadline: float, now: float) -> None:
        """Refuse a request that could not be answered; cheap enough to ask before its body is read.

        Args:
            deadline: seconds on the monotonic clock.
            now: seconds on the same clock.

        Raises:
            Overloaded: every place is taken, or the wait would outlast the deadline; ``retry_after`` is in seconds.
        """
        wait = self.expected_wait()
        # An empty line is always entered: only so can a slow batch's time be forgotten.
        if self._waiting >= self._places or (self._waiting and now + wait > deadline):
            raise Overloaded(
                f"{self._waiting} requests wait already and a new one would wait about {wait:.2f} s.",
                "Send it again after the time in Retry-After, or raise `queue` in the serving configuration.",
                retry_after=max(1, round(wait)),
            )

    def enter(self, item: T, rows: int, deadline: float, now: float) -> Waiting[T]:
        """Add a request at the end and return its place.

        Args:
            item: what waits.
            rows: rows that it brings.
            deadline: seconds on the monotonic clock.
            now: seconds on the same clock.

        Raises:
            Overloaded: as in :meth:`check`.
        """
        self.check(deadline, now)
        place = Waiting(item=item, rows=rows, deadline=deadline)
        self._line.append(place)
        self._waiting += 1
        self._waiting_rows += rows
        return place

    def leave(self, place: Waiting[T]) -> bool:
        """Give up a place and return whether it was still waiting.

        Args:
            place: what :meth:`enter` gave.
        """
        if place.gone:
            return False
        place.gone = True
        self._waiting -= 1
        self._waiting_rows -= place.rows
        return True

    def take(self, now: float) -> tuple[list[T], list[T]]:
        """Return the next batch, and what waited longer than its deadline; both leave the line.

        Args:
            now: seconds on the monotonic clock.
        """
        batch: list[T] = []
        late: list[T] = []
        rows = 0
        while self._line:
            place = self._line[0]
            if place.gone:
                self._line.popleft()
                continue
            if place.deadline > now and batch and rows + place.rows > self._batch_rows:
                break
            self._line.popleft()
            self.leave(place)
            if place.deadline <= now:
                late.append(place.item)
                continue
            batch.append(place.item)
            rows += place.rows
        return batch, late

    def took(self, seconds: float) -> None:
        """Note how long a batch took.

        Args:
            seconds: from sending it to its answer.
        """
        self._batch_seconds = seconds if not self._batch_seconds else (1 - NEWEST) * self._batch_seconds + NEWEST * seconds
