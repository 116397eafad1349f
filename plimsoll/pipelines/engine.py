"""Runs a plan: what can be reused is reused, the rest is computed, and every step says why.

A step's key is known when its inputs' digests are. A key that the cache knows, and whose bytes are there, is a hit: its
output's digest goes on and no bytes are loaded. So a step that gives what it gave before stops the wave of changes
(early cut-off), since the keys after it stay the same. Entries are recorded as soon as a step has ended: a run that is
killed and started again repeats only the steps that had not ended.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from plimsoll import clock
from plimsoll.data.code.source import Sources
from plimsoll.data.snapshot import get_manifest
from plimsoll.data.trace.now import Now
from plimsoll.errors import Corrupt, InvalidInput, NotFound, PlimsollError, StepFailed, Unfingerprintable
from plimsoll.pipelines.cache import damage, explain, fresh
from plimsoll.pipelines.executors.call import Call, Executor, Ran, Unsuitable
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.keys import code_parts, digest_parts, entry_key, key_parts, purpose_parts, seed_of
from plimsoll.pipelines.plan import Node, Plan, beside
from plimsoll.records.model import ListGrants
from plimsoll.records.pipeline import (
    CacheEntry,
    DropEntry,
    EndedStep,
    FindEntries,
    GetKeyParts,
    GetLatestEntry,
    KeyPart,
    Output,
    RecordSteps,
    StepRecord,
)
from plimsoll.records.request import Request
from plimsoll.records.run import PointColumns, Run
from plimsoll.runs.outbox import Outbox
from plimsoll.store.contracts import Blobs, Do

#: Seconds between two looks at what the steps have logged.
_LOOK = 0.2

#: Seconds for which what the steps logged is still tried once all of them have ended.
_PATIENCE = 10.0

#: Seconds before the first retry; each later pause is twice as long, up to the second number.
_BACKOFF, _LONGEST = 0.5, 30.0

#: How often the output of one step is computed anew within a run because its bytes were damaged.
_REPAIRS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent:
    """Something happened to a step; what a live view shows."""

    #: Position in the plan, from 0.
    index: int
    #: The step's short name.
    label: str
    #: ``started``, ``retrying``, or how it ended.
    state: Literal["started", "retrying", "hit", "ran", "failed", "skipped"]
    #: Why it runs, or what went wrong.
    why: str
    #: Seconds since it started; 0 for a start.
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a plan went."""

    #: One record a node, in the order of the plan.
    records: tuple[StepRecord, ...]
    #: Position -> output, for every node that has one.
    outputs: dict[int, Output]
    #: Positions whose output this run has computed itself.
    made: frozenset[int]

    @property
    def failed(self) -> StepRecord | None:
        """The first step that failed, or None."""
        return next((record for record in self.records if record.state == "failed"), None)


@dataclass(slots=True, kw_only=True)
class _Attempt:
    node: Node
    call: str | None
    parts: tuple[KeyPart, ...]
    why: str
    started: int
    attempt: int = 1
    #: Monotonic seconds before which it must not begin.
    due: float = 0.0


def run_plan(
    plan: Plan,
    *,
    do: Do,
    blobs: Blobs,
    run: Run,
    executor: Executor,
    in_process: InProcess,
    on_step: Callable[[StepEvent], None] | None = None,
    heard: Callable[[PointColumns], None] | None = None,
    damaged: Mapping[int, str] | None = None,
) -> Outcome:
    """Run a plan's steps and return how each went. A failed step ends what depends on it and nothing else.

    Args:
        plan: what to run.
        do: the door for entries, steps and points.
        blobs: where outputs are.
        run: the run, under way.
        executor: runs the calls.
        in_process: runs the calls that ``executor`` cannot.
        on_step: is told of every start and end, in this thread.
        heard: is told of every point that a step logs, as soon as it is here, in any thread; what it raises ends the step.
        damaged: position of a node -> what is wrong with its stored output; those are dropped and computed again.

    Raises:
        PlimsollError: the door refused a request; the steps that ended until then are recorded.
    """
    return _Engine(plan, do, blobs, run, executor, in_process, on_step or _ignore, heard or _ignore, dict(damaged or {})).run()


class _Engine:
    def __init__(
        self,
        plan: Plan,
        do: Do,
        blobs: Blobs,
        run: Run,
        executor: Executor,
        in_process: InProcess,
        on_step: Callable[[StepEvent], None],
        heard: Callable[[PointColumns], None],
        damaged: dict[int, str],
    ) -> None:
        self._plan, self._do, self._blobs, self._run = plan, do, blobs, run
        self._executor, self._in_process, self._on_step, self._heard = executor, in_process, on_step, heard
        self._damaged = damaged
        self._repairs: dict[int, int] = {}
        self._code = _Code(in_process.project)
        self._now = Now(in_process.project)
        self._beside = beside(plan)
        self._log = Outbox(run.id, do)
        self._records: dict[int, StepRecord] = {}
        self._outputs: dict[int, Output] = {}
        #: Nodes whose output this run has computed itself.
        self._made: set[int] = set()
        self._begun: set[int] = set()
        #: Call keys that are being computed -> nodes that wait for one because they have the same.
        self._busy: dict[str, list[int]] = {}
        #: Ended steps that are not recorded yet: hits, which nobody waits for, go together.
        self._ended: list[EndedStep] = []
        self._running: dict[Future[Ran], _Attempt] = {}
        self._here: deque[_Attempt] = deque()
        self._later: list[_Attempt] = []

    def run(self) -> Outcome:
        for node in self._plan.nodes:
            self._code.read(node)
        try:
            while len(self._records) < len(self._plan.nodes):
                self._begin_ready()
                if self._here:
                    attempt = self._here.popleft()
                    self._settle(attempt, self._in_process.submit(self._call(attempt)))
                elif self._running or self._later:
                    # Hits are recorded before anything is waited for: what a run under way stands on is not pruned.
                    self._flush()
                    ready, _ = wait(self._running, timeout=_LOOK, return_when=FIRST_COMPLETED)
                    if not self._running:
                        clock.sleep(_LOOK)
                    for future in ready:
                        self._settle(self._running.pop(future), future)
                self._log.flush()
            self._flush()
        except BaseException:
            # An executor that several runs share goes on without the calls that have not begun.
            for future in self._running:
                future.cancel()
            # What ended the run is the news; its last points are tried once and their loss is only told.
            with contextlib.suppress(PlimsollError):
                self._log.close(0.0)
            raise
        self._log.close(_PATIENCE)
        records = tuple(self._records[node.index] for node in self._plan.nodes)
        return Outcome(records=records, outputs=self._outputs, made=frozenset(self._made))

    def _begin_ready(self) -> None:
        now = clock.monotonic()
        for attempt in [attempt for attempt in self._later if attempt.due <= now]:
            self._later.remove(attempt)
            self._submit(attempt)
        for node in self._plan.nodes:
            if node.index in self._begun:
                continue
            lost = next((index for index in node.inputs if index in self._records and index not in self._outputs), None)
            if lost is not None:
                self._begun.add(node.index)
                self._end(self._record_of(node, "skipped", f"step {self._plan.nodes[lost].label} has no result", clock.now()))
            elif all(index in self._outputs for index in node.inputs):
                self._begun.add(node.index)
                self._begin(node)

    def _begin(self, node: Node) -> None:
        started = clock.now()
        call, parts, why = self._key(node)
        if call is not None and call in self._busy:
            self._busy[call].append(node.index)
            return
        if call is not None and node.step.options.cache is not False:
            entry, why = self._look_up(node, call, parts, self._damaged.pop(node.index, ""))
            if entry is not None:
                self._outputs[node.index] = entry.output
                self._end(self._record_of(node, "hit", "", started, key=entry.key, output=entry.output))
                return
            self._busy[call] = []
        attempt = _Attempt(node=node, call=call, parts=parts, why=why, started=started)
        self._on_step(StepEvent(index=node.index, label=node.label, state="started", why=why, seconds=0.0))
        self._submit(attempt)

    def _key(self, node: Node) -> tuple[str | None, tuple[KeyPart, ...], str]:
        """Return call key and parts, or no call key and why there is none."""
        try:
            names = {index: self._plan.nodes[index].name for index in node.inputs}
            parts = key_parts(node, (*self._code.parts(node), *self._code.purposes(node)), self._outputs, names)
        except Unfingerprintable as error:
            return None, (), f"it cannot be cached: {error.fact}"
        return digest_parts(parts), parts, "" if node.step.options.cache else "it is declared with cache=False"

    def _look_up(self, node: Node, call: str, parts: tuple[KeyPart, ...], broken: str) -> tuple[CacheEntry | None, str]:
        """Return the entry that may be used for a call, or None and why there is none."""
        why = ""
        for entry in self._do(FindEntries(call=call)):
            if any(self._now.digest(part) != part.digest for part in entry.trace):
                continue
            if not fresh(entry, node.step.options.cache):
                why = why or f"its earlier result is older than {node.step.options.cache:g} s"
                continue
            wrong = broken or damage(self._blobs, entry.output.digest)
            if not wrong:
                return entry, ""
            _forget(self._do, self._blobs, entry.key, entry.output, wrong)
            broken, why = "", f"its stored output was damaged ({wrong})"
        if broken:
            why = f"its stored output was damaged ({broken})"
        return None, why or self._explain(node, parts)

    def _explain(self, node: Node, parts: tuple[KeyPart, ...]) -> str:
        try:
            latest = self._do(GetLatestEntry(step=node.name))
            old = self._do(GetKeyParts(key=latest.key))
        except NotFound:
            return "it has no earlier result"
        now = (replace(part, digest=self._now.digest(part), text=self._now.text(part)) for part in latest.trace)
        return explain(old, (*parts, *now), node.step.name) or "its earlier result was dropped"

    def _submit(self, attempt: _Attempt) -> None:
        self._running[self._executor.submit(self._call(attempt))] = attempt

    def _call(self, attempt: _Attempt) -> Call:
        inputs = {index: self._outputs[index] for index in attempt.node.inputs}
        writer = f"step-{attempt.node.index}-{clock.new_id()}"

        def heard(logged: PointColumns | Request[Any]) -> None:
            self._log.heard(writer, logged)
            if isinstance(logged, PointColumns):
                self._heard(logged)

        return Call(
            node=attempt.node,
            inputs=inputs,
            code=self._code.digest(attempt.node),
            seed=seed_of(attempt.node, attempt.parts),
            run_id=self._run.id,
            trusted=frozenset(index for index, output in inputs.items() if index in self._made or granted(self._do, output)),
            heard=heard,
            known=frozenset(part.name for part in attempt.parts if part.kind == "environment"),
            beside=self._beside[attempt.node.index],
        )

    def _settle(self, attempt: _Attempt, future: Future[Ran]) -> None:
        try:
            self._succeed(attempt, future.result())
        except Unsuitable as error:
            limits = attempt.node.step.options
            unlimited = ", without its limits" if limits.timeout is not None or limits.memory is not None else ""
            attempt.why = f"{attempt.why}; run in the calling process{unlimited}: {error.fact}"
            self._here.append(attempt)
        except Corrupt as error:
            if "input" not in error.details:
                raise
            self._repair(attempt, error.details["input"], error)
        except StepFailed as error:
            self._fail(attempt, error)

    def _succeed(self, attempt: _Attempt, ran: Ran) -> None:
        node, why, cache = attempt.node, attempt.why, attempt.node.step.options.cache
        keep = attempt.call is not None and cache is not False and (cache is not True or not ran.effects)
        if cache is True and ran.effects:
            why = f"{why}; not kept for later runs, because it {', and '.join(ran.effects)}"
        key = None if attempt.call is None else entry_key(attempt.call, ran.trace)
        record = self._record_of(node, "ran", why, attempt.started, key=key, output=ran.output)
        ended = EndedStep(record=record, call=attempt.call, parts=attempt.parts, trace=ran.trace, keep=keep)
        record = self._record(ended)
        assert record.output is not None
        self._outputs[node.index] = record.output
        if record.output.digest == ran.output.digest:
            self._made.add(node.index)
        self._told(record, attempt.call)

    def _fail(self, attempt: _Attempt, error: StepFailed) -> None:
        node = attempt.node
        if attempt.attempt <= node.step.options.retries:
            pause = min(_BACKOFF * 2 ** (attempt.attempt - 1), _LONGEST)
            self._on_step(StepEvent(index=node.index, label=node.label, state="retrying", why=str(error), seconds=_since(attempt.started)))
            attempt.attempt += 1
            attempt.due = clock.monotonic() + pause
            self._later.append(attempt)
            return
        text = error.details.get("traceback") or str(error)
        tries = f" (tried {attempt.attempt} times)" if attempt.attempt > 1 else ""
        key = None if attempt.call is None else entry_key(attempt.call, ())
        record = self._record_of(node, "failed", f"{error!s}{tries}", attempt.started, key=key, error=text)
        self._told(self._record(EndedStep(record=record, call=attempt.call, parts=attempt.parts)), attempt.call)

    def _repair(self, attempt: _Attempt, index: int, error: PlimsollError) -> None:
        """Compute an input anew whose bytes turned out to be damaged, and then the step that needed it."""
        if index not in self._outputs:
            # Another step has found the same damage, and it is being repaired.
            self._release(attempt.call)
            self._begun.discard(attempt.node.index)
            return
        self._repairs[index] = self._repairs.get(index, 0) + 1
        if self._repairs[index] > _REPAIRS:
            self._fail(attempt, StepFailed(f"The output of {self._plan.nodes[index].label} is damaged again and again: {error.fact}"))
            return
        record, output = self._records.pop(index), self._outputs.pop(index)
        self._made.discard(index)
        self._damaged[index] = error.fact
        if record.key is None:
            _discard(self._blobs, output)
        else:
            _forget(self._do, self._blobs, record.key, output, error.fact)
        self._release(attempt.call)
        self._begun -= {index, attempt.node.index}

    def _release(self, call: str | None) -> None:
        """Let the nodes that wait for a call look for its entry."""
        if call is not None:
            self._begun.difference_update(self._busy.pop(call, ()))

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

    def _end(self, record: StepRecord) -> None:
        """End a step that nobody waits for; it is recorded with the next one that somebody does."""
        self._ended.append(EndedStep(record=record))
        self._told(record, None)

    def _record(self, ended: EndedStep) -> StepRecord:
        """Record a step with those that ended before it, in one transaction, and return its record as it is kept."""
        self._ended.append(ended)
        return self._flush()[-1]

    def _flush(self) -> tuple[StepRecord, ...]:
        waiting, self._ended = tuple(self._ended), []
        return self._do(RecordSteps(run_id=self._run.id, steps=waiting)) if waiting else ()

    def _told(self, record: StepRecord, call: str | None) -> None:
        self._records[record.index] = record
        self._release(call)
        label, seconds = self._plan.nodes[record.index].label, _since(record.started)
        self._on_step(StepEvent(index=record.index, label=label, state=record.state, why=record.why, seconds=seconds))


class _Code:
    """What the keys say of the code of each step's function, read once a run and before any step runs."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._sources = Sources()
        self._parts: dict[int, tuple[KeyPart, ...] | Unfingerprintable] = {}
        self._purposes: dict[int, tuple[KeyPart, ...]] = {}

    def read(self, node: Node) -> None:
        if id(node.step) in self._parts:
            return
        self._purposes[id(node.step)] = purpose_parts(node.step.function, self._project)
        try:
            self._parts[id(node.step)] = code_parts(node.step.function, self._sources)
        except Unfingerprintable as error:
            self._parts[id(node.step)] = error

    def parts(self, node: Node) -> tuple[KeyPart, ...]:
        found = self._parts[id(node.step)]
        if isinstance(found, Unfingerprintable):
            raise found
        return found

    def purposes(self, node: Node) -> tuple[KeyPart, ...]:
        return self._purposes[id(node.step)]

    def digest(self, node: Node) -> str:
        found = self._parts[id(node.step)]
        return "" if isinstance(found, Unfingerprintable) else digest_parts(found)


def granted(do: Do, output: Output) -> bool:
    """Return whether somebody has allowed the code of a stored model to run.

    Args:
        do: the door.
        output: what a step gave; only a model has code.
    """
    return output.kind == "model" and bool(do(ListGrants(digest=output.digest)))


def _forget(do: Do, blobs: Blobs, key: str, output: Output, reason: str) -> None:
    # In this order: killed in between, the entry lacks its bytes and is computed again. Damaged bytes without an entry
    # would be taken for stored ones for ever.
    _discard(blobs, output)
    do(DropEntry(key=key, reason=reason))


def _discard(blobs: Blobs, output: Output) -> None:
    """Delete the blobs of an output that are damaged: a blob that is there would not be written again."""
    try:
        manifest = get_manifest(blobs, output.digest)
    except NotFound:
        return
    except (Corrupt, InvalidInput):
        blobs.delete(output.digest)
        return
    for entry in manifest.files:
        try:
            blobs.get(entry.digest)
        except (Corrupt, NotFound):
            blobs.delete(entry.digest)


def _since(started: int) -> float:
    return max(0.0, (clock.now() - started) / 1e6)


def _ignore(what: object) -> None:
    return
