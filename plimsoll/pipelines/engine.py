"""Runs a plan: what can be reused is reused, the rest is computed, and every step says why.

A step's key is known when its inputs' digests are. A key that the cache knows, and whose bytes are there, is a hit: its
output's digest goes on and no bytes are loaded. So a step that gives what it gave before stops the wave of changes
(early cut-off), since the keys after it stay the same. What has ended is recorded while the run goes on: a run that is
killed and started again repeats only the steps that had not ended.

A call is claimed when there is room to run it. A run never waits for another one while it keeps a call from it that it
does not run, so two runs cannot wait for each other.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from plimsoll import clock
from plimsoll.errors import Corrupt, PlimsollError, StepFailed
from plimsoll.pipelines.executors.call import Call, Executor, Ran, Unsuitable
from plimsoll.pipelines.executors.hosted import Hosted
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.keys import entry_key, seed_of
from plimsoll.pipelines.loop.attempt import Attempt
from plimsoll.pipelines.loop.late import LateBlobs
from plimsoll.pipelines.loop.lookup import Found, Key, Lately, LookUp, discard, forget
from plimsoll.pipelines.loop.outcome import Outcome, granted, list_end, outcome_of
from plimsoll.pipelines.loop.partial import WHOLE, Part
from plimsoll.pipelines.loop.progress import Progress, Turn
from plimsoll.pipelines.loop.writer import Writer
from plimsoll.pipelines.plan import Node, Plan
from plimsoll.records.pipeline import Claim, ClaimCalls, EndedStep, KeyPart, Output, StepRecord
from plimsoll.records.request import Request
from plimsoll.records.run import PointColumns, Run
from plimsoll.runs.outbox import PATIENCE, Outbox
from plimsoll.runs.step_log import Logged, StepLog, read_log
from plimsoll.store.contracts import Blobs, Do

#: Seconds between two looks at what the steps have logged.
_LOOK = 0.2

#: Seconds between two looks at a step that another run computes, and at a room that other runs share.
_POLL = 0.1

#: Longest pause before a retry, in seconds, unless the first is longer.
_LONGEST = 30.0

#: Calls that find no room until no more are looked at; smaller ones pass those.
_PASSED = 16

#: A step that took longer than so many seconds is recorded before anything else begins.
_DEAR = 0.05

#: How often the output of one step is computed anew within a run because its bytes were damaged.
_REPAIRS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent:
    """Something happened to a step; what a live view shows."""

    #: Position in the plan, from 0; calls for the items of a list stand behind it.
    index: int
    #: The step's short name.
    label: str
    #: ``started``, ``waiting`` for another run that computes it, ``retrying``, or how it ended.
    state: Literal["started", "waiting", "retrying", "hit", "ran", "failed", "skipped"]
    #: Why it runs, or what went wrong.
    why: str
    #: Seconds since it started; 0 for a start.
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a plan is run with."""

    #: The door for entries, steps and points.
    do: Do
    #: Where outputs are.
    blobs: Blobs
    #: Runs the calls.
    executor: Executor
    #: Runs the calls that ``executor`` cannot.
    in_process: InProcess
    #: What earlier runs of the same process and code have seen; None looks at all anew.
    lately: Lately | None = None
    #: Is told of every start and end, in the thread that runs the plan.
    on_step: Callable[[StepEvent], None] = field(default=lambda event: None)
    #: Is told of every point that a step logs, as soon as it is here, in any thread; what it raises ends the step.
    heard: Callable[[PointColumns], None] | None = None
    #: Lets MLflow's client in each step log to the run; None where there is no such client.
    hosted: Hosted | None = None


def run_plan(plan: Plan, means: Means, run: Run, part: Part = WHOLE, damaged: Mapping[str, str] | None = None) -> Outcome:
    """Run a plan's steps and return how each went. A failed step ends what depends on it and nothing else.

    Args:
        plan: what to run.
        means: what it is run with.
        run: the run, under way.
        part: which steps are run.
        damaged: name of a call -> what is wrong with its stored output; those are dropped and computed again.

    Raises:
        PlimsollError: the door refused a request; the steps that ended until then are recorded.
    """
    return _Engine(plan, means, run, part, dict(damaged or {})).run()


class _Engine:
    def __init__(self, plan: Plan, means: Means, run: Run, part: Part, damaged: dict[str, str]) -> None:
        self._means, self._do, self._blobs, self._run, self._part = means, means.do, means.blobs, run, part
        self._damaged = damaged
        self._repairs: dict[int, int] = {}
        self._look = LookUp(means.do, means.blobs, means.in_process.project, means.lately)
        self._log = Outbox(run.id, means.do)
        late = means.blobs
        self._store: Callable[[], None] = late.flush if isinstance(late, LateBlobs) else lambda: None
        self._writer = Writer(run.id, means.do, self._store, means.in_process.alarms)
        for node in plan.nodes:
            self._look.read(node)
        self._progress = Progress(plan, means.blobs, part.left_out, part.alone)
        self._records: dict[int, StepRecord] = {}
        #: Positions whose output this run has computed itself.
        self._made: set[int] = set()
        #: Call keys that are being computed -> nodes that wait for one because they have the same.
        self._busy: dict[str, list[int]] = {}
        #: Call keys that this run has computed for later ones too -> key, output and log.
        self._kept: dict[str, tuple[str, Output, bytes]] = {}
        #: Positions of which the run has all that they logged.
        self._told: set[int] = set()
        #: Calls that have no result yet: those that wait for room, and those whose next look has a time.
        self._queue: deque[Attempt] = deque()
        self._later: list[Attempt] = []
        #: Whether a call is to be claimed once more at once.
        self._asked_anew = False
        self._running: dict[Future[Ran], Attempt] = {}
        #: Position -> the call that has a place.
        self._placed: dict[int, Attempt] = {}
        self._here: deque[Attempt] = deque()

    def run(self) -> Outcome:
        try:
            self._begin_ready()
            while not self._progress.done:
                self._writer.check()
                self._submit_queue()
                if self._here:
                    attempt = self._here.popleft()
                    if self._holds(attempt):
                        self._writer.start()
                        self._settle(attempt, self._means.in_process.submit(self._call(attempt)))
                elif not (self._progress.done or self._progress.ready or self._asked_anew):
                    self._wait()
                self._log.flush()
                self._begin_ready()
            self._log.close(PATIENCE)
            rest = self._writer.finish()
        except BaseException:
            # An executor that several runs share goes on without the calls that have not begun.
            for future in self._running:
                future.cancel()
            for attempt in tuple(self._placed.values()):
                self._give_back(attempt)
            # What ended the run is the news. What has ended is recorded; the last points are tried once, their loss is only told.
            with contextlib.suppress(PlimsollError):
                self._writer.close()
            with contextlib.suppress(PlimsollError):
                self._log.close(0.0)
            raise
        return outcome_of(self._progress, self._records, self._made, self._part.only_needed, rest)

    def _wait(self) -> None:
        self._writer.start()
        pauses = [_LOOK, *([_POLL] if self._queue else []), *(attempt.due - clock.monotonic() for attempt in self._later)]
        pause = max(0.001, min(pauses))
        if not self._running:
            clock.sleep(pause)
            return
        for future in wait(self._running, timeout=pause, return_when=FIRST_COMPLETED)[0]:
            self._settle(self._running.pop(future), future)

    def _begin_ready(self) -> None:
        for turn in self._progress.turns():
            try:
                self._begin(turn)
            except Corrupt as error:
                if "input" not in error.details:
                    raise
                self._repair(error.details["input"], error, turn.node)
            except StepFailed as error:
                text = error.details.get("traceback") or str(error)
                self._end(EndedStep(record=self._record_of(turn.node, "failed", str(error), clock.now(), error=text)))

    def _begin(self, turn: Turn) -> None:
        if turn.error is not None:
            raise turn.error
        started = clock.now()
        if turn.skipped:
            self._end(EndedStep(record=self._record_of(turn.node, "skipped", turn.skipped, started)))
            return
        if turn.node.each:
            if not self._progress.expand(turn.node):
                self._end_list(turn.node)
            return
        node = self._progress.known(turn.node)
        if not self._progress.holds(node):
            self._progress.ask(node.index)
            return
        key = self._look.key(node, self._progress.outputs, {index: self._progress.name(index) for index in node.inputs})
        if node is not turn.node:
            key = replace(key, parts=(*key.parts, *self._progress.choices(turn.node)))
        if key.call is not None and key.call in self._busy:
            self._busy[key.call].append(node.index)
            return
        origin, cache = self._progress.origin(node.index), node.step.options.cache
        attempt = Attempt(node=node, key=key, why=key.why, started=started, claims=key.call is not None and cache is not False)
        if attempt.claims and key.call in self._kept:
            name, output, log = self._kept[key.call]
            self._hit(node, started, name, output, read_log(log))
            return
        if not attempt.claims:
            attempt.why = key.why or "it is declared with cache=False"
        elif self._part.is_anew(origin, self._progress.number(node.index)):
            attempt.why, attempt.claims = "it was asked to run anew", False
        elif (origin in self._part.cached or node.name in self._damaged or self._look.may_hit(node)) and self._found(
            attempt, self._look.find(node, str(key.call), self._damaged.pop(node.name, ""))
        ):
            return
        if origin in self._part.cached:
            raise self._part.refusal(node, attempt.why or "it has no earlier result")
        if key.call is not None:
            self._busy.setdefault(key.call, [])
        self._queue.append(attempt)

    def _found(self, attempt: Attempt, found: Found) -> bool:
        """Take what a look gave, and return whether the step has ended with it."""
        if found.entry is not None:
            own = found.entry.run_id == self._run.id and found.entry.step == attempt.node.name
            self._hit(attempt.node, attempt.started, found.entry.key, found.entry.output, found.logged, own)
            return True
        attempt.why, attempt.seen = found.why or attempt.why, (*attempt.seen, *found.seen)
        return False

    def _submit_queue(self) -> None:
        """Begin the calls for which there is room and that no other run computes."""
        now, self._asked_anew = clock.monotonic(), False
        self._queue.extend(attempt for attempt in self._later if attempt.due <= now)
        self._later = [attempt for attempt in self._later if attempt.due > now]
        claiming, ready, left = list[Attempt](), list[Attempt](), list[Attempt]()
        while self._queue and len(left) < _PASSED:
            attempt = self._queue.popleft()
            if not self._holds(attempt):
                continue
            attempt.place = self._means.executor.room.take(attempt.node.step)
            if attempt.place is not None:
                self._placed[attempt.node.index] = attempt
            (left if attempt.place is None else claiming if attempt.claims and not attempt.claimed else ready).append(attempt)
        self._queue.extendleft(reversed(left))
        wanted = tuple(item.wanted() for item in claiming)
        claims = self._do(ClaimCalls(run_id=self._run.id, calls=wanted)) if wanted else ()
        for attempt, claim in zip(claiming, claims, strict=True):
            if self._claim(attempt, claim):
                ready.append(attempt)
            else:
                self._give_back(attempt)
        for attempt in ready:
            if attempt.attempt == 1:
                self._look.begins(attempt.node, attempt.why)
                self._tell(attempt, "started", attempt.why)
            attempt.began = clock.monotonic()
            self._writer.start()
            self._running[self._means.executor.submit(self._call(attempt))] = attempt

    def _claim(self, attempt: Attempt, claim: Claim) -> bool:
        """Return whether the call is this run's to compute."""
        if claim.holder == self._run.id:
            self._writer.hold(claim.call)
            attempt.claimed = True
            attempt.why = attempt.why or self._look.explain(attempt.node, attempt.key, claim)
            return True
        if claim.holder:
            attempt.due = clock.monotonic() + _POLL
            self._later.append(attempt)
            if not attempt.waits:
                attempt.waits = True
                self._tell(attempt, "waiting", f"run {claim.holder[:12]} computes it")
        elif self._found(attempt, self._look.among(attempt.node, claim.entries)):
            self._free(attempt.key.call)
        else:
            # None of the results that the claim told of can be used; the next one leaves them out.
            self._queue.append(attempt)
            self._asked_anew = True
        return False

    def _call(self, attempt: Attempt) -> Call:
        node, outputs = attempt.node, self._progress.outputs
        inputs = {index: outputs[index] for index in node.inputs}
        writer = f"step-{node.index}-{clock.new_id()}"

        log = attempt.log = StepLog()

        def heard(logged: PointColumns | Request[Any]) -> None:
            log.take(logged)
            if node.index in self._told:
                return
            if not isinstance(logged, PointColumns):
                self._store()
            self._log.heard(writer, logged)
            if self._means.heard is not None and isinstance(logged, PointColumns):
                self._means.heard(logged)

        code = attempt.key.code
        known = frozenset(part.name for part in (*attempt.key.parts, *(code.parts if code else ())) if part.kind == "environment")
        attempt.guest = self._means.hosted.admit(self._run, log.take, known) if self._means.hosted else None
        return Call(
            node=node,
            inputs=inputs,
            code="" if code is None else code.own,
            met=lambda: self._look.met(node),
            seed=seed_of(node, attempt.key.parts),
            run_id=self._run.id,
            trusted=frozenset(
                index for index, output in inputs.items() if self._progress.owner(index) in self._made or granted(self._do, output)
            ),
            heard=heard,
            again=log.clear,
            known=known,
            shared=self._progress.shared(node),
            beside=self._progress.beside(node.index),
            gpus=tuple(attempt.place.gpus) if attempt.place else (),
            variables=attempt.guest.variables if attempt.guest else {},
        )

    def _settle(self, attempt: Attempt, future: Future[Ran]) -> None:
        self._give_back(attempt)
        effects = attempt.guest.leave() if attempt.guest else ()
        try:
            ran = future.result()
            self._succeed(attempt, replace(ran, effects=(*ran.effects, *effects)) if effects else ran)
        except Unsuitable as error:
            limits = attempt.node.step.options
            unlimited = ", without its limits" if limits.timeout is not None or limits.memory is not None else ""
            attempt.why = f"{attempt.why}; run in the calling process{unlimited}: {error.fact.removesuffix('.')}"
            self._here.append(attempt)
        except Corrupt as error:
            if "input" not in error.details:
                raise
            self._put_back(attempt)
            self._repair(error.details["input"], error, attempt.node)
        except StepFailed as error:
            self._fail(attempt, error)

    def _holds(self, attempt: Attempt) -> bool:
        """Return whether all that a call takes is there; if not, since it is being repaired, the call waits for it anew."""
        if self._progress.holds(attempt.node):
            return True
        self._put_back(attempt)
        self._progress.ask(attempt.node.index)
        return False

    def _put_back(self, attempt: Attempt) -> None:
        # Its claim goes before its input is repaired: whoever repairs that must never wait for this run.
        self._writer.release(str(attempt.key.call))
        self._free(attempt.key.call)

    def _give_back(self, attempt: Attempt) -> None:
        if attempt.place is not None:
            self._means.executor.room.give(attempt.place)
            del self._placed[attempt.node.index]
            attempt.place = None

    def _succeed(self, attempt: Attempt, ran: Ran) -> None:
        node, key, why, cache = attempt.node, attempt.key, attempt.why, attempt.node.step.options.cache
        keep = key.call is not None and cache is not False and (cache is not True or not ran.effects)
        if cache is True and ran.effects:
            why = f'{why}; not kept for later runs, because it {", and ".join(ran.effects)} (cache="forever" would keep it)'
        if ran.changed:
            why = f"{why}; it changed its argument {', '.join(ran.changed)} in place, which later steps do not see: return a changed copy"
        name = None if key.call is None else entry_key(key.call, ran.trace)
        record = self._record_of(node, "ran", why, attempt.started, key=name, output=ran.output)
        self._made.add(node.index)
        self._told.add(node.index)
        logged = None
        if keep and key.call is not None and name is not None:
            log = attempt.log.packed()
            logged = self._blobs.put(log) if log else None
            self._kept[key.call] = name, ran.output, log
        ended = replace(self._ended(record, key, ran.trace, keep), logged=logged)
        self._end(ended, key, wait=clock.monotonic() - attempt.began > _DEAR)

    def _fail(self, attempt: Attempt, error: StepFailed) -> None:
        options = attempt.node.step.options
        if attempt.attempt <= options.retries:
            pause = min(options.backoff * 2 ** (attempt.attempt - 1), max(_LONGEST, options.backoff))
            self._tell(attempt, "retrying", str(error))
            attempt.attempt += 1
            attempt.due = clock.monotonic() + pause
            self._later.append(attempt)
            return
        text = error.details.get("traceback") or str(error)
        tries = f" (tried {attempt.attempt} times)" if attempt.attempt > 1 else ""
        key = None if attempt.key.call is None else entry_key(attempt.key.call, ())
        record = self._record_of(attempt.node, "failed", f"{error!s}{tries}", attempt.started, key=key, error=text)
        self._end(self._ended(record, attempt.key), attempt.key)

    def _ended(self, record: StepRecord, key: Key, trace: tuple[KeyPart, ...] = (), keep: bool = False) -> EndedStep:
        code = "" if key.code is None else key.code.digest
        return EndedStep(record=record, call=key.call, parts=key.parts, code=code, trace=trace, keep=keep)

    def _repair(self, position: int, error: PlimsollError, needed_by: Node) -> None:
        """Compute an output anew whose bytes turned out to be damaged, and then the step that needed it."""
        progress = self._progress
        output = progress.outputs.get(position)
        if output is not None:
            # Otherwise another step has found the same damage, and it is being repaired.
            index = progress.owner(position)
            node, whole = progress.nodes[index], progress.outputs.get(index, output)
            self._repairs[index] = self._repairs.get(index, 0) + 1
            if self._repairs[index] > _REPAIRS:
                text = f"The output of {node.label} is damaged again and again: {error.fact}"
                self._end(EndedStep(record=self._record_of(needed_by, "failed", text, clock.now(), error=text)))
                return
            record = self._records.pop(index)
            progress.reopen(position)
            self._made.discard(index)
            self._damaged[node.name] = error.fact
            self._kept = {call: kept for call, kept in self._kept.items() if kept[1] != whole}
            if record.key is None:
                discard(self._blobs, whole.digest)
            else:
                forget(self._do, self._blobs, record.key, whole, error.fact)
            progress.ask(index)
        progress.ask(needed_by.index)

    def _hit(self, node: Node, started: int, key: str, output: Output, logged: Logged, own: bool = False) -> None:
        if logged.parts and node.index not in self._told:
            self._log.repeat(logged, node.name, key, own=own, listen=self._means.heard)
        self._told.add(node.index)
        self._end(EndedStep(record=self._record_of(node, "hit", "", started, key=key, output=output)))

    def _record_of(
        self,
        node: Node,
        state: Literal["hit", "ran", "failed", "skipped"],
        why: str,
        started: int,
        *,
        key: str | None = None,
        output: Output | None = None,
        error: str | None = None,
    ) -> StepRecord:
        return StepRecord(
            run_id=self._run.id,
            index=node.index,
            name=node.name,
            state=state,
            key=key,
            why=why,
            started=started,
            ended=clock.now(),
            output=output,
            error=error,
        )

    def _end(self, ended: EndedStep, key: Key | None = None, *, wait: bool = False) -> None:
        record = ended.record
        self._records[record.index] = record
        self._writer.put(ended, () if key is None or key.code is None else key.code.parts, wait=wait)
        label = self._progress.nodes[record.index].label
        self._means.on_step(StepEvent(index=record.index, label=label, state=record.state, why=record.why, seconds=_since(record.started)))
        parent = self._progress.end(record.index, record.output)
        if ended.call is not None:
            self._free(ended.call)
        if parent is not None:
            self._end_list(self._progress.nodes[parent])

    def _end_list(self, node: Node) -> None:
        """End the node of a list whose items have all ended."""
        end = list_end(node, self._progress, self._records)
        record = self._record_of(node, end.state, end.why, end.started, key=end.key, error=end.error)
        self._end(EndedStep(record=record, parts=end.parts))

    def _free(self, call: str | None) -> None:
        """Let the nodes that wait for a call look for its entry."""
        for index in self._busy.pop(call, ()) if call is not None else ():
            self._progress.ask(index)

    def _tell(self, attempt: Attempt, state: Literal["started", "waiting", "retrying"], why: str) -> None:
        seconds = 0.0 if state == "started" else _since(attempt.started)
        self._means.on_step(StepEvent(index=attempt.node.index, label=attempt.node.label, state=state, why=why, seconds=seconds))


def _since(started: int) -> float:
    return max(0.0, (clock.now() - started) / 1e6)
