"""A run around any code."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from plimsoll import clock
from plimsoll.data import values
from plimsoll.data.environment import code_version, put_environment
from plimsoll.data.project import PROJECT_FILE, find_project, setting
from plimsoll.data.surroundings import machine, readable, shown_arguments
from plimsoll.errors import (
    FINAL,
    DeadlineExceeded,
    Denied,
    Internal,
    InvalidInput,
    NotFound,
    Overloaded,
    PlimsollError,
    StorageFull,
    Unavailable,
    Unreachable,
)
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Json, Request
from plimsoll.records.run import CodeVersion, FinishRun, GetRun, PointColumns, ResumeRun, Run, SeriesSummary, StartRun, check_run_id
from plimsoll.records.tracking.experiment import DEFAULT_EXPERIMENT
from plimsoll.runs.described import param_text
from plimsoll.runs.logger import NOTES, PARENT, RunLogger, begun_here, current, named, plain_param, plain_text, points, run_around
from plimsoll.sdk.autolog import Autolog
from plimsoll.sdk.door import Door, FolderDoor, connect
from plimsoll.sdk.journal import Journal, Kept
from plimsoll.sdk.sender import Sender
from plimsoll.sdk.tracking.asked import RunAsked, provisional
from plimsoll.sdk.tracking.endings import State, ending, uncaught
from plimsoll.sdk.tracking.forked import TURN, Forked, left_by_children, tell_forks
from plimsoll.sdk.tracking.left import begin_journal, replay, send, told
from plimsoll.sdk.tracking.machine import Watch
from plimsoll.sdk.tracking.spool import Spool
from plimsoll.store.contracts import Blobs

#: Seconds for which a start waits for the platform's answer; without one the run begins all the same.
_WELCOME = 3.0

#: Seconds for which the end of a run is tried before it is left in the journal.
_PATIENCE = 10.0

#: Errors that are no fault of what is stored, and end with the outage or when the disk has room again.
_OUTAGES = (Unreachable, Overloaded, Unavailable, DeadlineExceeded, StorageFull, Internal)


class OpenRun(RunLogger):
    """A run around any code: ``with plimsoll.run(...) as run:``, or ``run.start()`` and ``run.finish()``.

    Logging waits for no disk and no network. ``kill -9`` loses at most what was logged in its last 50 ms; what :meth:`flush`
    returned for, nothing loses.

    Nothing that the platform does makes the code fail or wait: everything is written to a journal beside the run, and a thread
    brings it to the platform. A run begins also while the platform does not answer. What is not there at the end stays in the
    journal; the next run of the project, or ``plimsoll sync``, sends it, each thing once. What cannot be kept on a full disk is
    counted, and the end says how much that was.

    A run that nobody finishes ends with its program, as that ends. As long as its process lives, the run says so; a minute after it
    fell silent it is shown as lost. Processes that are forked from it log to the run as well, points, params and tags; they do not
    end it.

    Args:
        door: the platform; None takes the one that the settings name.
        asked: what it begins with.
    """

    def __init__(self, door: Door | None, asked: RunAsked) -> None:
        super().__init__("", self.take, self._store)
        self._given, self._asked = door, asked
        self._door: Door | None = None
        self._sender: Sender | None = None
        self._record: Run | None = None
        self._replaying: threading.Thread | None = None
        self._ending, self._closing = threading.Event(), threading.Event()
        self._forked: Forked | None = None
        self._blobs: Blobs | None = None
        self._project = Path()
        self._capture: str | int = "all"
        self._watch: Watch | None = None
        self._autolog: Autolog | None = None
        self._process = 0
        self._params: dict[str, Json] = {}
        self._reset: Any = None
        #: Runs of the thread in which this one began, and the exception that was the program's last one then.
        self._here: list[RunLogger] = []
        self._seen: BaseException | None = None
        #: What could not be kept -> how many.
        self._lost: Counter[str] = Counter()

    @property
    def id(self) -> str:
        """The run's id.

        A run with a key that began while the platform did not answer gets the id of the first start once it answers.
        """
        return self._sender.journal.run_id if self._sender is not None else self.record.id

    def __repr__(self) -> str:
        begun = self._sender is not None or self._record is not None
        return f"<run {self.id}, {self.record.state}>" if begun else "<a run that has not begun>"

    @property
    def record(self) -> Run:
        """The run as it began, told by the platform once it has answered, and, once it has ended, as it ended."""
        if self._sender is not None and isinstance(answer := self._sender.begun(0), Run):
            return answer
        if self._record is None:
            raise _not_begun()
        return self._record

    @property
    def params(self) -> dict[str, Json]:
        """The run's parameters by name, as far as they are known here."""
        return dict(self._params)

    def start(self) -> OpenRun:
        """Begin the run and return it.

        Raises:
            NotFound: there is neither an address nor a project here, or no such run to go on with.
            Conflict: the experiment or the run is deleted, or a pipeline's run is to go on.
            InvalidInput: the run has begun already, or has a parameter with another value.
            Unauthenticated: the platform does not know who asks.
            Denied: this actor may not write.
            StorageFull: there is no room for a journal.
        """
        if self._sender is not None:
            raise InvalidInput(f"The run {self.id} is under way.", "End it first, or make another one with plimsoll.run(...).")
        self._lost.clear()
        self._next.clear()
        if not self._process:
            tell_forks(self._be_forked)
        self._project, self._process = _here(), os.getpid()
        self._capture = setting("capture", None, self._project if (self._project / PROJECT_FILE).is_file() else None)[0]
        self._door = self._given or connect()
        try:
            self._open(self._door)
        except BaseException:
            self._close()
            raise
        self._seen, self._here = uncaught(), begun_here()
        self._here.append(self)
        atexit.register(self._end_with_program)
        return self

    def finish(self, state: State = "finished", error: str | None = None) -> None:
        """End the run; ending it again changes nothing.

        What the platform does not take within some seconds stays in the journal, and is told.

        Args:
            state: how it ended; ``stopped`` is on purpose, before it was done.
            error: why, for one that failed or was stopped.

        Raises:
            InvalidInput: the run has not begun, or no run ends so.
        """
        if self._sender is None:
            if self._record is None:
                raise _not_begun()
            return
        if os.getpid() != self._process:
            # A forked child leaves the block that its parent entered.
            self._in_child(self._sender).close()
            return
        sender, end = self._sender, FinishRun(id=self.id, state=state, error=error, ended=clock.now())
        atexit.unregister(self._end_with_program)
        if self._autolog is not None:
            self._autolog.close()
            self._autolog = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        try:
            self._record = sender.finish(end, _PATIENCE) or self.record
            self._ending.set()
            if self._replaying is not None:
                self._replaying.join(_PATIENCE)
        except PlimsollError as refused:
            # Training is done and must not fail for this.
            self._tell_left(sender.journal, refused)
        finally:
            self._sender = None
            self._points = self._send_points
            self._here.remove(self)
            if self._lost:
                lost = ", ".join(f"{count} {what}" for what, count in sorted(self._lost.items()))
                warn(f"The run {self.record.id} is recorded without what could not be kept: {lost}.")
            self._close()

    def __enter__(self) -> OpenRun:
        self.start()
        self._reset = current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        current.reset(self._reset)
        self._reset = None
        self.finish(*ending(error))

    def _end_with_program(self) -> None:
        """End the run, since its program ends and nobody has ended it."""
        error = uncaught()
        if self._reset is not None:
            # The block is in a thread that ends with the program, wherever it is.
            self.finish("stopped", "Its program ended before the block did.")
        else:
            self.finish(*ending(None if error is self._seen else error))

    def flush(self) -> None:
        """Return once everything logged before is on this machine's disk; it reaches the platform whatever happens to this process.

        Raises:
            InvalidInput: the run is not under way.
            StorageFull: the disk has no room; what it did not take waits in memory.
        """
        if self._sender is None:
            raise self._not_under_way()
        if os.getpid() != self._process:
            self._in_child(self._sender).flush()
        else:
            self._sender.flush()

    def settle(self, seconds: float) -> None:
        """Return when the platform has what was logged before, or after some seconds.

        Args:
            seconds: how long to wait.
        """
        if self._sender is not None:
            self._sender.settle(seconds)

    def set_params(self, values: Mapping[str, Json] | None = None, /, **more: Json) -> None:
        """Add parameters that are known only now. A parameter is written once; the same value again changes nothing.

        Args:
            values: parameter -> value; what is no JSON is kept as its text.
            more: the same as ``values``, as keywords.

        Raises:
            InvalidInput: a name is not valid, or the run has the parameter with another value.
        """
        given = {name: plain_param(value) for name, value in named("Params", values, more).items()}
        for name, value in given.items():
            if name in self._params and param_text(self._params[name]) != param_text(value):
                fact = (
                    f"The param {name!r} is {param_text(self._params[name])[:80]!r} already and cannot become {param_text(value)[:80]!r}."
                )
                raise InvalidInput(fact, "Log it under another name, or begin a new run.")
        super().set_params(given)
        self._params |= given

    def _open(self, door: Door) -> None:
        id, made = clock.new_id(), list[Any]()

        def write(journal: Journal) -> None:
            spool = None if isinstance(door, FolderDoor) else Spool(journal.bytes, door)
            self._blobs = door.blobs if spool is None else spool.blobs
            begin = self._beginning(id)
            journal.begin(begin.id or id, door.address)
            if not journal.keep(begin):
                raise StorageFull(f"The journal {journal.path} cannot grow.", "Free some room and begin again.")
            made[:] = spool, begin

        journal = begin_journal(door, id, write, warn)
        spool, begin = made
        ask = door.do if spool is None else spool.do
        self._closing.clear()
        self._ending.clear()

        def do(request: Request[Any], /) -> Any:
            answer = ask(request)
            if isinstance(request, ResumeRun) or (isinstance(request, StartRun) and answer.id != request.id):
                # What an earlier process of the run has left counts as well.
                self._send_left(journal.path.parent, door)
                self._continue(ask(GetRun(id=answer.id)).metrics)
            return answer

        self._sender = sender = Sender(journal, do, warn, self._lose_points, lambda: spool is not None and spool.moving())
        answer = sender.begun(_WELCOME)
        if isinstance(answer, FINAL):
            self._sender = None
            sender.abandon()
            raise answer
        self._points = sender.log
        self._params = dict(answer.params if isinstance(answer, Run) else begin.params)
        self._record = answer if isinstance(answer, Run) else provisional(begin, journal.run_id)
        if answer is None:
            warn(f"{door.address} does not answer. What the run logs stays in {journal.path} for now; the run goes on.")
        if self._capture == "all":
            self._watch = Watch(self._log_machine)
        self._autolog = Autolog(self, door, self._bytes())
        self._replaying = threading.Thread(target=self._send_others, args=(journal.path, door), name="plimsoll-left", daemon=True)
        self._replaying.start()

    def _be_forked(self) -> None:
        """Leave the memory alone that a forked process has of its parent: nobody writes it to a journal there."""
        self._points = self._send_points

    def _log_machine(self, values: dict[str, float]) -> None:
        """Log what the machine does; the step is the whole seconds since the run began."""
        self.take(points(values, [(clock.now() - self.record.started) // 1_000_000] * len(values)))

    def _continue(self, metrics: tuple[SeriesSummary, ...]) -> None:
        """Count on where the run's earlier processes have stopped."""
        for metric in metrics:
            self._next.setdefault(metric.name, metric.last_step + 1)

    def _send_others(self, own: Path, door: Door) -> None:
        """Send what earlier runs have left, and then, until the end, what forked processes leave."""
        try:
            self._send_left(own.parent, door)
            ended = False
            while not ended and not self._closing.is_set():
                ended = self._ending.wait(TURN)
                self._send_forked(own, door, ended)
        except Exception:
            # The door was closed in the middle of a request; the journal has not lost anything.
            if not self._closing.is_set():
                raise

    def _send_left(self, folder: Path, door: Door) -> None:
        """Send what earlier runs on the same platform have left; what cannot be sent now is told and stays."""
        found = replay(folder, lambda address: door if address == door.address and not self._closing.is_set() else None)
        for line in told(found, folder, door.address):
            if self._closing.is_set():
                return
            warn(line)

    def _send_forked(self, own: Path, door: Door, ended: bool) -> None:
        """Send what forked processes have let go; what is left at the end is told."""
        for left in send(left_by_children(own), lambda address: None if self._closing.is_set() else door):
            if self._closing.is_set():
                return
            if ended and left.state == "busy":
                warn(f"A forked process still logs to the run {self.id}. Once it has ended, send the rest with: plimsoll sync")
            elif left.fact and left.state != "busy" and (ended or left.state != "waiting"):
                warn(f"{left.fact} ({left.path.name}, of a forked process)")

    def _beginning(self, id: str) -> StartRun | ResumeRun:
        asked, blobs = self._asked, self._bytes()
        params = {name: plain_param(value) for name, value in asked.params.items()}
        tags = {name: plain_text(value) for name, value in asked.tags.items()}
        parent = asked.parent
        if asked.nested and (parent := run_around()) is None:
            raise InvalidInput(
                "This code does not execute in a run, so a nested one has no parent.", "Give parent=, or begin it inside of a run."
            )
        if parent is not None:
            tags[PARENT] = parent if isinstance(parent, str) else parent.id
            check_run_id(tags[PARENT])
        if asked.notes:
            tags[NOTES] = plain_text(asked.notes)
        if asked.run_id is not None:
            return ResumeRun(id=asked.run_id, params=params, tags=tags, started=clock.now())
        captured, code, environment = self._capture != "none", CodeVersion(), None
        try:
            if captured:
                code, environment = (
                    code_version(self._project, blobs, readable(Path(sys.argv[0]).name or "interactive")),
                    put_environment(blobs),
                )
        except StorageFull as error:
            if not isinstance(self._door, FolderDoor):  # another disk may have room for what waits for the server
                raise
            warn(f"{error.fact} The run begins without its code and environment.")
        return StartRun(
            id=id,
            experiment=asked.experiment or (parent.record.experiment if isinstance(parent, OpenRun) else DEFAULT_EXPERIMENT),
            name=asked.name,
            params=params,
            tags=tags,
            key=asked.key,
            code=replace(code, arguments=shown_arguments(sys.argv[1:])) if captured else code,
            environment=environment,
            machine=machine() if captured else None,
            started=clock.now(),
            beats=True,
            resume=True,
        )

    def take(self, what: PointColumns | Request[Any]) -> None:
        """Take points, or what the journal keeps, and return at once.

        Args:
            what: of this run.

        Raises:
            InvalidInput: the run is not under way, or does not take this.
        """
        sender = self._sender
        if sender is None:
            raise self._not_under_way()
        if not isinstance(what, PointColumns | Kept):
            raise InvalidInput(f"A run does not take {type(what).__name__}.")
        if os.getpid() != self._process:
            try:
                self._in_child(sender).take(what)
            except (StorageFull, Denied) as error:
                self.lose("things of a forked process", len(what.names) if isinstance(what, PointColumns) else 1, str(error))
        elif isinstance(what, PointColumns):
            sender.append(what)
        else:
            sender.do(what)

    def _in_child(self, sender: Sender) -> Forked:
        if self._forked is None or self._forked.process != os.getpid():
            self._forked = Forked(sender.journal)
        return self._forked

    def _not_under_way(self) -> InvalidInput:
        if self._record is None:
            return _not_begun()
        return InvalidInput(f"The run {self._record.id} has ended.", "Go on with it by plimsoll.run(run_id=...), or begin another one.")

    def _store(self, value: Any) -> Output | None:
        if self._sender is None:
            raise self._not_under_way()
        if os.getpid() != self._process:
            self.lose("artifacts", 1, "A forked process cannot keep files in its parent's run; it gives them to its parent.")
            return None
        try:
            return values.save(value, self._bytes(), self._project)
        except _OUTAGES as error:
            self.lose("artifacts", 1, str(error))
            return None

    def _bytes(self) -> Blobs:
        if self._blobs is None:
            raise _not_begun()
        return self._blobs

    def _lose_points(self, count: int, error: PlimsollError) -> None:
        self.lose("points", count, str(error))

    def lose(self, kind: str, count: int, fact: str) -> None:
        """Count what cannot be kept; the first of a kind is told.

        Args:
            kind: in the plural.
            count: how many.
            fact: why.
        """
        if kind not in self._lost:
            warn(f"{fact} The run goes on; {kind} that cannot be kept are counted.")
        self._lost[kind] += count

    def _tell_left(self, journal: Journal, refused: PlimsollError) -> None:
        if journal.path.exists():
            points, requests = journal.left
            left = f"{points:,} points, {requests} params, tags or artifacts, and its end"
            warn(f"{refused.fact} Of the run {self.id}, {left} are still in {journal.path}. Send them with: plimsoll sync")
        elif (aside := journal.path.with_suffix(".refused")).exists():
            warn(f"{refused} What the run {self.id} logged is kept in {aside}.")
        else:
            warn(f"{refused} All that the run logged is recorded.")

    def _close(self) -> None:
        self._closing.set()
        self._ending.set()
        if self._given is None and self._door is not None:
            self._door.close()
        self._door = self._blobs = None


def warn(line: str) -> None:
    """Tell a person something that is no reason to stop.

    Args:
        line: one sentence or two.
    """
    print(f"plimsoll: {line}", file=sys.stderr, flush=True)


def _not_begun() -> InvalidInput:
    return InvalidInput("The run has not begun.", "Use it as: with plimsoll.run(...) as run:")


def _here() -> Path:
    try:
        return find_project(Path.cwd())
    except NotFound:
        return Path.cwd()
