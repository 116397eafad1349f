"""What a run logs, on its way: into memory at once, into the journal a moment later, to the platform in batches.

A training loop waits for no disk and no network: :meth:`Sender.append` leaves points in a list. One thread writes what is new to
the journal, at once after a pause and every 50 ms while more comes; another sends it. So ``kill -9`` loses at most what was logged
in its last 50 ms (longer only on a machine that does not let the thread run, or whose disk hangs), and nothing of it was
acknowledged. Acknowledged is what :meth:`Sender.flush` or :meth:`Sender.finish` returned for.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

from plimsoll import clock
from plimsoll.errors import FINAL, Conflict, Internal, InvalidInput, NotFound, PlimsollError, StorageFull, Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, BeatRun, FinishRun, GetRun, PointColumns, ResumeRun, Run, StartRun
from plimsoll.runs.logger import Columns
from plimsoll.runs.pulse import BEAT
from plimsoll.sdk.journal import Frame, Journal, Kept
from plimsoll.store.contracts import Do

#: Seconds between two writes to the journal.
_INTERVAL = 0.05

#: Log calls whose points wait in memory when the disk takes none; what comes then is counted.
_HELD = 100_000

#: Seconds for which a loop that is faster than the journal's thread waits for it.
_SLOW = 1.0

#: Points of one frame, about.
_FRAME = 5_000

#: Points after which a batch is sent without waiting.
_BATCH = 10_000

#: Seconds after which a batch is sent however small it is, and after which an outage is tried again.
_PAUSE = 1.0

#: Seconds for which the end of a run waits for an answer that is under way.
_GRACE = 5.0

#: Refusals of the request itself; another token does not help.
REFUSED = (NotFound, Conflict, InvalidInput)


class Sender:
    """Takes points at once and sends them in batches, about one a second, from threads of its own.

    Args:
        journal: empty, or of an earlier process.
        do: the door.
        warn: is told, once an outage, that points stay in the journal for now.
        lose: is told how many points could not be kept, and why.
        working: whether ``do`` moves bytes at this moment; as long as it does, the end waits for it.
    """

    def __init__(
        self,
        journal: Journal,
        do: Do,
        warn: Callable[[str], None],
        lose: Callable[[int, PlimsollError], None],
        working: Callable[[], bool] = lambda: False,
    ) -> None:
        self.journal = journal
        self._do = do
        self._warn = warn
        self._lose = lose
        self._working = working
        self._fresh: deque[Columns] = deque()
        self._dropped = 0
        self._counting = threading.Lock()
        self._news, self._due, self._stopping = threading.Event(), threading.Event(), threading.Event()
        #: Held until the end; to wait for it is one call, where an event takes ten, and the journal's thread waits twenty times a second.
        self._over = threading.Lock()
        self._over.acquire()
        #: Whether who writes the journal must be woken when something comes.
        self._asleep = True
        #: Warned of an outage, or of a full disk, that has not ended since.
        self._out = self._full = False
        #: Whether the journal's disk has answered nothing for so long that nobody waits for it again before it does.
        self._stuck = False
        self._given_up = False
        #: How the run ends and for how many seconds that is tried; None as long as nobody has said so.
        self._last_will: tuple[FinishRun, float] | None = None
        self._told = threading.Event()
        self._ended: Any = None
        self._failure: BaseException | None = None
        #: How the platform answered the beginning.
        self._begun: Run | PlimsollError | None = None
        self._answered = threading.Event()
        self._beaten = clock.monotonic()
        if journal.batches:
            self._due.set()
        self._writer = threading.Thread(target=self._write, name="plimsoll-journal", daemon=True)
        self._poster = threading.Thread(target=self._run, name="plimsoll-points", daemon=True)
        self._writer.start()
        self._poster.start()

    def begun(self, seconds: float) -> Run | PlimsollError | None:
        """Return the run as the platform gave it, or why it did not, or None when it has not answered yet.

        Args:
            seconds: how long to wait for the answer.
        """
        self._answered.wait(seconds)
        return self._begun

    def append(self, points: PointColumns) -> None:
        """Take points and return; they are in the journal some 50 ms later, and are sent soon.

        While the disk takes nothing they wait in memory, up to those of 100,000 calls. Where the disk does, and a loop logs faster than
        it, the loop writes them itself.

        Args:
            points: of one moment.
        """
        self.log((points.names, points.steps, points.times, points.values))

    def log(self, columns: Columns) -> None:
        """Take points as :meth:`append` does. A loop calls this at every step.

        Args:
            columns: names, steps, times and values of one length, known to be valid.
        """
        if len(self._fresh) < _HELD or self._made_room():
            self._fresh.append(columns)
        else:
            with self._counting:
                self._dropped += len(columns[0])
        if self._asleep:
            self._wake()

    def _made_room(self) -> bool:
        """Write what waits from the thread that logs, which is faster than the journal's own; a slow disk is waited for once."""
        if self._full or self._stuck:
            return False
        if not self.journal.lock.acquire(timeout=_SLOW):
            self._stuck = True
            return False
        try:
            self._store()
        except StorageFull:
            return False  # the journal's thread finds and tells that
        finally:
            self.journal.lock.release()
        return True

    def _wake(self) -> None:
        self._asleep = False
        self._news.set()

    def flush(self) -> None:
        """Return once everything logged before is on the disk, where neither a killed process nor a power cut takes it away.

        Raises:
            StorageFull: the disk has no room; what it did not take waits in memory.
        """
        with self.journal.lock:
            self._store()
            self.journal.sync()

    def settle(self, seconds: float) -> None:
        """Return when the platform has what was logged before, or after some seconds.

        Args:
            seconds: how long to wait.
        """
        deadline = clock.monotonic() + seconds
        while not self._stopping.is_set() and clock.monotonic() < deadline:
            with self.journal.lock:
                with contextlib.suppress(StorageFull):
                    self._store()
                self.journal.cut()
                if not self.journal.batches and not self._fresh:
                    return
            self._due.set()
            self._stopping.wait(0.01)

    def do(self, request: Kept) -> None:
        """Leave a request in the journal, behind what was logged before; it is done soon.

        On a full disk it waits in memory.

        Args:
            request: of the run.
        """
        with self.journal.lock:
            # What the disk does not take now is sent a little later than this.
            with contextlib.suppress(StorageFull):
                self._store()
            self.journal.keep(request)
        self._due.set()

    def _stop(self) -> None:
        for event in (self._stopping, self._news, self._due):
            event.set()
        self._over.release()

    def abandon(self) -> None:
        """Forget the journal: the platform refuses the run before anything was logged."""
        self._stop()
        self._told.set()
        with self.journal.lock:
            self._given_up = True
            self.journal.remove()

    def finish(self, end: FinishRun, seconds: float) -> Any:
        """Send what is left, end the run, and forget the journal; return the ended run.

        Args:
            end: how the run ended.
            seconds: how long to try again when the platform takes nothing; for an answer under way it waits 5 seconds longer.

        Raises:
            PlimsollError: the platform does not take it now; the journal keeps everything, for the next run to send.
        """
        self._stop()
        self._writer.join()
        rest = self._last(end)
        # The thread is there already: a program that ends can begin none any more.
        self._last_will = end, seconds
        self._told.set()
        try:
            self._follow(seconds)
        except BaseException:
            if rest:
                self._lose(rest, StorageFull("The journal's disk is full.", "Free some space."))
            raise
        finally:
            if self._dropped:
                self._lose(self._dropped, StorageFull("The journal's disk took nothing for long.", "Free some space."))
        return self._ended

    def _last(self, end: FinishRun) -> int:
        """Write what is left and the end; return the number of points for which the disk has no room: they are sent from memory."""
        rest = 0
        with self.journal.lock:
            try:
                self._store()
            except StorageFull:
                left = _joined(self._fresh)
                rest = len(left.names)
                self.journal.cut(left)
            # On a full disk the end may still reach the platform; otherwise the next run finds that this one is lost.
            with contextlib.suppress(StorageFull):
                self.journal.write(Frame(end=end))
        return rest

    def _follow(self, seconds: float) -> None:
        """Wait for the end as long as there is progress, and raise what it raised."""
        left = len(self.journal.batches)
        deadline = clock.monotonic() + seconds + _GRACE
        while self._poster.is_alive():
            self._poster.join(0.05)
            if len(self.journal.batches) != left:
                left, deadline = len(self.journal.batches), clock.monotonic() + seconds + _GRACE
            elif self._working():
                deadline = clock.monotonic() + seconds + _GRACE
            elif clock.monotonic() > deadline:
                with self.journal.lock:
                    self._given_up = True
                    self.journal.close()
                raise Unreachable(f"The platform has not answered for {seconds + _GRACE:.0f} seconds.", "Look whether it is well.")
        if self._failure is not None:
            raise self._failure

    def _end(self, end: FinishRun, seconds: float) -> None:
        deadline = clock.monotonic() + seconds
        try:
            while True:
                try:
                    self._ended = deliver(self.journal, self._do, end, self._warn)
                    if not self._given_up:
                        self.journal.remove()
                    return
                except REFUSED:
                    self.journal.set_aside()
                    raise
                except PlimsollError as error:
                    # Another token may be taken, but this process has none.
                    if clock.monotonic() > deadline or isinstance(error, FINAL):
                        self.journal.close()
                        raise
                    clock.sleep(0.2)
        except BaseException as error:
            self._failure = error

    def _write(self) -> None:
        while not self._stopping.is_set():
            if self._asleep:
                self._news.wait()
            try:
                with self.journal.lock:
                    self._store()
                    if self.journal.waiting >= _BATCH:
                        self._due.set()
                self._full = self._stuck = False
            except StorageFull as error:
                if not self._full:
                    self._full = True
                    self._warn(f"{error} What the run logs waits in memory for now.")
            if self._over.acquire(timeout=_INTERVAL):
                return
            if not self._fresh:
                # While points keep coming nobody is woken: to wake a thread costs a loop ten times what a call does.
                self._news.clear()
                self._asleep = True
                if self._fresh:
                    self._wake()

    def _store(self) -> None:
        """Write what waits in memory to the journal; the caller holds its lock."""
        left = len(self._fresh)
        while left:
            parts: list[Columns] = []
            count = 0
            while left and count < _FRAME:
                parts.append(self._fresh.popleft())
                count += len(parts[-1][0])
                left -= 1
            try:
                self.journal.add(_joined(parts))
            except BaseException:
                self._fresh.extendleft(reversed(parts))
                raise

    def _tell(self, error: PlimsollError) -> None:
        """Warn, once an outage. What fails since the door was closed is none."""
        if not (self._out or self._given_up):
            self._out = True
            self._warn(f"{error} What the run logs stays in {self.journal.path} for now; the run goes on.")

    def _run(self) -> None:
        try:
            self._post_all()
        finally:
            self._told.wait()
            if self._last_will is not None:
                self._end(*self._last_will)

    def _post_all(self) -> None:
        """Send what there is about once a second, until the run ends or the platform refuses it for good."""
        while not self._stopping.is_set():
            self._due.wait(_PAUSE)
            self._due.clear()
            try:
                self._send()
                self._beat()
            except FINAL as error:
                if not self._refuse(error):
                    self._warn(f"{error} Points stay in {self.journal.path}.")
                return
            except PlimsollError as error:
                self._refuse(error)
                self._tell(error)
                self._stopping.wait(_PAUSE)

    def _refuse(self, error: PlimsollError) -> bool:
        """Remember why the run has not begun yet, and return whether somebody waits to be told."""
        waited = not self._answered.is_set()
        if not isinstance(self._begun, Run):
            self._begun = error
        self._answered.set()
        return waited

    def _beat(self) -> None:
        """Say that the process lives."""
        if isinstance(self._begun, Run) and clock.monotonic() >= self._beaten + BEAT:
            self._beaten = clock.monotonic()
            _done(self._do, BeatRun(id=self.journal.run_id))
            self.journal.touch()

    def _send(self) -> None:
        """Send what there is, until less than a batch is left."""
        few = 0
        while not self._stopping.is_set():
            with self.journal.lock:
                if not self.journal.batches and self.journal.waiting > few:
                    self.journal.cut()
                number = min(self.journal.batches, default=0)
            if not number:
                return
            begun = _post(self.journal, self._do, number, self._warn)
            self._out = False
            self.journal.acknowledge(number)
            if begun is not None:
                self._begun = begun
                self._answered.set()
            few = _BATCH


def _joined(parts: Iterable[Columns]) -> PointColumns:
    """Return all points, in order."""
    names: tuple[str, ...]
    names, steps, times, values = (tuple(chain.from_iterable(column)) for column in zip(*parts, strict=True))
    return PointColumns(names=names, steps=steps, times=times, values=values)


def _post(journal: Journal, do: Do, number: int, warn: Callable[[str], None]) -> Any:
    """Do one thing and return the answer; the run that it begins is the journal's from then on."""
    request = journal.request(number)
    try:
        answer = _done(do, request)
    except REFUSED as error:
        if isinstance(request, AppendPoints | StartRun | ResumeRun) or (journal.forked and not _begun(journal.run_id, do)):
            raise
        # One of them must not hold up the points behind it, which say themselves when the whole run is refused.
        warn(f"{error} The run {journal.run_id} goes on without this {type(request).__name__}.")
        return None
    if isinstance(request, StartRun | ResumeRun):
        journal.adopt(answer.id)
        return answer
    return None


def _done(do: Do, request: Request[Any]) -> Any:
    """Do a request; a defect of the platform, which may be in this very process, is an outage like others: training does not die of it."""
    try:
        return do(request)
    except PlimsollError:
        raise
    except Exception as defect:
        fact = f"The platform failed at {type(request).__name__}: {type(defect).__name__}: {defect}"
        raise Internal(fact.rstrip(".") + ".", "Run: plimsoll doctor, and report it.") from defect


def _begun(run_id: str, do: Do) -> bool:
    """Return whether the platform knows a run."""
    try:
        do(GetRun(id=run_id))
    except NotFound:
        return False
    return True


def deliver(journal: Journal, do: Do, end: FinishRun | None, warn: Callable[[str], None]) -> Run | None:
    """Send every batch and request that a journal still has, and the end of its run; return the run, or None without an end.

    Args:
        journal: opened.
        do: the door.
        end: how the run ended, or None when nobody knows.
        warn: is told of a request that is refused for good, and of an end when the run has ended otherwise.

    Raises:
        PlimsollError: the platform does not take it now, or refuses it for good.
    """
    journal.cut()
    for number in sorted(journal.batches):
        _post(journal, do, number, warn)
        journal.acknowledge(number)
    if end is None:
        return None
    try:
        ended: Run = _done(do, replace(end, id=journal.run_id))
    except Conflict as error:
        known: Run = do(GetRun(id=journal.run_id)).run
        if known.deleted is not None:
            raise
        # Whoever ended it knew more than a process that found its journal.
        if end.state != "lost":
            warn(f"{error} All that its process logged is recorded.")
        return known
    return ended
