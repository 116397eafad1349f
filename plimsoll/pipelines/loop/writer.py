"""Records what has ended, several steps in one transaction, while the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from plimsoll import clock
from plimsoll.errors import PlimsollError
from plimsoll.records.pipeline import EndedStep, KeyPart, RecordSteps, ReleaseClaims, RenewClaims
from plimsoll.store.contracts import Do

#: Seconds for which a step that ran waits for others to be recorded with, and a hit, which nobody would compute again.
_LINGER, _LEISURE = 0.05, 0.1

#: Seconds between two signs of life for the calls that this run has claimed.
_BEAT = 1.0

#: Steps in one transaction at most: others want to write too.
_MOST = 500


class Writer:
    """Records the ended steps of a run, in their order, and renews the run's claims, from one thread.

    A killed process loses what has ended within the last hundredths of a second, and computes that again.

    Args:
        run_id: the run.
        do: the door.
        store: stores the bytes that the steps name; called before each transaction.
        alarms: begin the thread when something is to be recorded; a run of a few milliseconds has ended before.
    """

    def __init__(self, run_id: str, do: Do, store: Callable[[], None], alarms: clock.Alarms) -> None:
        self._run_id, self._do, self._store, self._alarms = run_id, do, store, alarms
        self._changed = threading.Condition()
        self._waiting: list[EndedStep] = []
        self._recorded = self._put = 0
        #: Monotonic seconds at which what waits is recorded.
        self._due = float("inf")
        self._code: dict[str, tuple[KeyPart, ...]] = {}
        self._known: set[str] = set()
        self._held: set[str] = set()
        self._failure: BaseException | None = None
        self._closing = False
        #: Begins the thread.
        self._alarm: clock.Alarm | None = None

    def put(self, ended: EndedStep, code: tuple[KeyPart, ...] = (), *, wait: bool = False) -> None:
        """Take a step to be recorded.

        Args:
            ended: the step.
            code: the parts that ``ended.code`` is the digest of.
            wait: return only when it is recorded.

        Raises:
            PlimsollError: recording has failed, now or before.
        """
        with self._changed:
            self._raise()
            self._waiting.append(ended)
            self._put += 1
            if ended.code:
                self._code.setdefault(ended.code, code)
            if ended.call is not None:
                self._held.discard(ended.call)
            urgent = wait or ended.record.state in ("ran", "failed")
            self._due = min(self._due, clock.monotonic() + (0.0 if wait else _LINGER if urgent else _LEISURE))
            if urgent:
                self.start()
            self._changed.notify_all()
            number = self._put
            while wait and self._recorded < number:
                self._changed.wait()
                self._raise()

    def hold(self, call: str) -> None:
        """Renew the claim of a call until its step is put, or :meth:`release`.

        Args:
            call: call key.
        """
        with self._changed:
            self._held.add(call)
            self.start()

    def release(self, call: str) -> None:
        """Give back a call without a result.

        Args:
            call: call key.
        """
        with self._changed:
            held = call in self._held
            self._held.discard(call)
        if held:
            self._do(ReleaseClaims(run_id=self._run_id, calls=(call,)))

    def check(self) -> None:
        """Raise what has gone wrong.

        Raises:
            PlimsollError: recording has failed.
        """
        with self._changed:
            self._raise()

    def close(self) -> None:
        """Record what waits, give back what is claimed, and end the thread.

        Raises:
            PlimsollError: recording has failed.
        """
        rest = self.finish()
        if rest is not None:
            self._record(rest)

    def finish(self) -> RecordSteps | None:
        """End the thread, give back what is claimed, and return what is still to be recorded by whoever ends the run, or None.

        The bytes that it names are to be stored before.

        Raises:
            PlimsollError: recording has failed.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._alarm is not None and not self._alarms.take_back(self._alarm):
            self._alarm.join()
        self._raise()
        # A claim is never given back before the result that it stands for is recorded.
        while len(self._waiting) > (0 if self._held else _MOST):
            self._record(self._batch())
        if self._held:
            self._do(ReleaseClaims(run_id=self._run_id))
        return self._batch() if self._waiting else None

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def start(self) -> None:
        """See to it that what waits is recorded in time, because something begins that may take long; hits alone wait for the run's end."""
        with self._changed:
            if self._closing or (self._alarm is not None and self._alarm.due <= self._due):
                return
            # One that rings at this moment is looked after by its thread.
            if self._alarm is None or self._alarms.take_back(self._alarm):
                soon = min(_LINGER, self._due - clock.monotonic())
                self._alarm = self._alarms.set(soon, self._work, "plimsoll-writer")

    def _work(self) -> None:
        beat = clock.monotonic() + _BEAT
        while True:
            with self._changed:
                while not self._closing and clock.monotonic() < min(self._due, beat):
                    self._changed.wait(min(self._due, beat) - clock.monotonic())
                if self._closing:
                    return
                batch = self._batch() if self._waiting and clock.monotonic() >= self._due else None
                renew = bool(self._held) and clock.monotonic() >= beat
            if clock.monotonic() >= beat:
                beat = clock.monotonic() + _BEAT
            if batch is not None:
                try:
                    self._record(batch)
                except BaseException:
                    # The run's own thread raises it.
                    return
            if renew:
                self._renew()

    def _batch(self) -> RecordSteps:
        batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        if not self._waiting:
            self._due = float("inf")
        code = {ended.code: self._code[ended.code] for ended in batch if ended.code and ended.code not in self._known}
        return RecordSteps(run_id=self._run_id, steps=tuple(batch), code=code)

    def _record(self, batch: RecordSteps) -> None:
        try:
            self._store()
            self._do(batch)
        except BaseException as error:
            # Nothing after it may be recorded.
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            raise
        with self._changed:
            self._known.update(batch.code)
            self._recorded += len(batch.steps)
            self._changed.notify_all()

    def _renew(self) -> None:
        try:
            self._do(RenewClaims(run_id=self._run_id))
        except PlimsollError:
            # An outage: the next sign of life may come through; without one another run computes the step too, which is right.
            return
