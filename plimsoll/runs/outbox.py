"""What the steps of a run log, on its way to the platform: in batches, each point once, through an outage of some length."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from plimsoll import clock
from plimsoll.errors import FINAL, PlimsollError
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, PointColumns
from plimsoll.records.tracking.change import LogBatch
from plimsoll.runs.step_log import Logged, joined, one_by_one
from plimsoll.store.contracts import Do

#: Seconds between two batches of points.
_BATCH = 1.0

#: Points in one batch, about: what an outage has gathered must not become too large to send.
_MOST = 10_000

#: Seconds for which what was logged is still tried once all steps have ended.
PATIENCE = 10.0

#: Seconds between two tries at the end.
_PAUSE = 0.2


class Outbox:
    """Collects what steps log, from any thread; one thread sends it. Points that are lost are a warning and no failure.

    Args:
        run_id: the run.
        do: the door.
    """

    def __init__(self, run_id: str, do: Do) -> None:
        self._run_id = run_id
        self._do = do
        self._heard: SimpleQueue[tuple[str, tuple[PointColumns | Request[Any], ...]]] = SimpleQueue()
        self._points: dict[str, deque[PointColumns]] = {}
        #: Writer -> its newest batch, until it is acknowledged. It never grows: the answer that was lost may have been a yes,
        #: and points that joined the batch later would be taken for known.
        self._batches: dict[str, AppendPoints] = {}
        self._sequences: dict[str, int] = {}
        self._requests: deque[Request[Any]] = deque()
        self._refused = 0
        self._next = 0.0

    def heard(self, writer: str, *logged: PointColumns | Request[Any]) -> None:
        """Take what a step logged; it is sent by the next flush. What comes in one call is cut into the same batches every time.

        Args:
            writer: unique name of the process that logs.
            logged: points, or requests to be done.
        """
        self._heard.put((writer, logged))

    def repeat(
        self, logged: Logged, name: str, key: str, *, own: bool = False, listen: Callable[[PointColumns], None] | None = None
    ) -> None:
        """Take what a call has logged whose result was found, as if the call had just logged it; points keep their times.

        A run that another process goes on with has it once all the same.

        Args:
            logged: what was logged.
            name: of the call within the run.
            key: of the result.
            own: the call was computed by this very run, so some of it may be there, or all.
            listen: is told of every point; when it raises, nothing after that point is taken.
        """
        told: list[PointColumns | Request[Any]] = []
        try:
            for part in logged.of(self._run_id):
                for one in one_by_one(part) if listen and isinstance(part, PointColumns) else (part,):
                    told.append(LogBatch(run_id=self._run_id, points=one) if own and isinstance(one, PointColumns) else one)
                    if listen and isinstance(one, PointColumns):
                        listen(one)
        finally:
            # All at once, under a name of its own: the same batches under the same numbers, and those that are known change nothing.
            self.heard(f"{name} as found in {key[:16]}", *told)

    def flush(self) -> None:
        """Do what is waiting, about once a second; what is not taken for now is tried again the next time.

        Raises:
            PlimsollError: a tag, an artifact or an input is refused for good; it is forgotten.
        """
        if clock.monotonic() >= self._next:
            self._next = clock.monotonic() + _BATCH
            self._try()

    def close(self, seconds: float) -> None:
        """Do what is left, and say what is lost.

        Args:
            seconds: how long to try.

        Raises:
            PlimsollError: a tag, an artifact or an input is refused for good; it is forgotten.
        """
        deadline = clock.monotonic() + seconds
        while (error := self._try()) is not None and clock.monotonic() < deadline:
            clock.sleep(_PAUSE)
        if error is not None:
            parts = [*(batch.points for batch in self._batches.values()), *(part for kept in self._points.values() for part in kept)]
            lost = sum(len(part.names) for part in parts)
            _warn(f"{error} Run {self._run_id} lost {lost} points and {len(self._requests)} tags, artifacts and inputs of its steps.")

    def _try(self) -> PlimsollError | None:
        """Do what is waiting until the platform does not take something for now, and return why."""
        while not self._heard.empty():
            writer, together = self._heard.get()
            for logged in together:
                if isinstance(logged, PointColumns):
                    self._points.setdefault(writer, deque()).append(logged)
                else:
                    self._requests.append(logged)
        try:
            while self._requests:
                self._request(self._requests[0])
            for writer in [*self._batches, *self._points]:
                while (batch := self._batch(writer)) is not None:
                    self._append(batch)
                    del self._batches[writer]
        except FINAL:
            raise
        except PlimsollError as error:
            return error
        return None

    def _request(self, request: Request[Any]) -> None:
        try:
            self._do(request)
        except FINAL:
            self._requests.popleft()
            raise
        self._requests.popleft()

    def _batch(self, writer: str) -> AppendPoints | None:
        """Return the writer's batch that is not acknowledged, or a new one; None when it has no points."""
        if writer not in self._batches and writer in self._points:
            waiting, parts, count = self._points[writer], list[PointColumns](), 0
            while waiting and count < _MOST:
                parts.append(waiting.popleft())
                count += len(parts[-1].names)
            if not waiting:
                del self._points[writer]
            sequence = self._sequences[writer] = self._sequences.get(writer, 0) + 1
            self._batches[writer] = AppendPoints(run_id=self._run_id, writer=writer, sequence=sequence, points=joined(parts))
        return self._batches.get(writer)

    def _append(self, batch: AppendPoints) -> None:
        try:
            self._do(batch)
        except FINAL as error:
            if not self._refused:
                _warn(f"{error} The run goes on without {len(batch.points.names)} of its points, and without later ones like them.")
            self._refused += len(batch.points.names)


def _warn(line: str) -> None:
    print(f"plimsoll: {line}", file=sys.stderr, flush=True)
