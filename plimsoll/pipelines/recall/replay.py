"""A run of which nothing has changed since it was remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plimsoll import clock, codec
from plimsoll.data.environment import code_version
from plimsoll.data.trace.now import Now
from plimsoll.errors import Corrupt, NotFound
from plimsoll.pipelines.cache import damage, fresh, log_of
from plimsoll.pipelines.loop.late import remembered_by
from plimsoll.pipelines.recall.memory import Memory, RememberedStep, read
from plimsoll.records.data import RegisterSnapshot
from plimsoll.records.model import CreateVersion
from plimsoll.records.pipeline import CacheEntry, EndedStep, GetEntry, RecordSteps, StepRecord
from plimsoll.records.request import Request
from plimsoll.records.run import FinishRun, LogInput, Run
from plimsoll.runs.outbox import PATIENCE, Outbox
from plimsoll.runs.step_log import Logged
from plimsoll.store.contracts import Blobs, Do

#: What a run may say at its end.
SAID: dict[str, type[Request[Any]]] = {cls.__name__: cls for cls in (RegisterSnapshot, LogInput, CreateVersion, FinishRun)}


@dataclass(frozen=True, slots=True)
class Recalled:
    """A run all of whose steps were hits."""

    #: The run, ended.
    run: Run
    #: Short names of its steps, in the order of the plan.
    labels: tuple[str, ...]


def recall(path: Path, *, do: Do, blobs: Blobs, project: Path) -> Recalled | None:
    """Make the run that a memory tells of, without importing the project; None where it must go its usual way.

    Args:
        path: where the memory would lie.
        do: the door.
        blobs: where outputs are.
        project: folder of the project.

    Raises:
        PlimsollError: the door refused a request; the run has ended as failed.
    """
    memory = read(path, project)
    if memory is None:
        return None
    found = _found(memory, do, blobs, project)
    if found is None or (memory.start.environment is not None and not blobs.has(memory.start.environment)):
        return None
    run = do(replace(memory.start, code=code_version(project, blobs, memory.start.code.entry)))
    try:
        steps = tuple(EndedStep(record=_hit(run, step, entry)) for step, (entry, _) in zip(memory.steps, found, strict=True))
        log = Outbox(run.id, do)
        for step, (entry, logged) in zip(memory.steps, found, strict=True):
            if logged.parts:
                log.repeat(logged, step.name, entry.key)
        do(RecordSteps(run_id=run.id, steps=steps))
        log.close(PATIENCE)
        for name, plain in memory.said:
            request: Any = codec.convert(plain, SAID[name], "What a run said")
            done = do(_of(run)(request))
    except BaseException as error:
        do(FinishRun(id=run.id, state="failed", error=str(error) or type(error).__name__))
        raise
    return Recalled(done, tuple(step.label for step in memory.steps))


def _found(memory: Memory, do: Do, blobs: Blobs, project: Path) -> list[tuple[CacheEntry, Logged]] | None:
    """Return the entry of each step and what it logged, or None when one may not be used."""
    now, found = Now(project, remembered_by(blobs)), list[tuple[CacheEntry, Logged]]()
    for step in memory.steps:
        try:
            entry = do(GetEntry(key=step.key))
        except NotFound:
            return None
        same = entry.output.digest == step.output and all(now.digest(part) == part.digest for part in entry.trace)
        if not same or not fresh(entry, step.cache) or damage(blobs, entry.output.digest):
            return None
        try:
            found.append((entry, log_of(blobs, entry.logged)))
        except Corrupt:
            return None
    return found


def _hit(run: Run, step: RememberedStep, entry: CacheEntry) -> StepRecord:
    at = clock.now()
    return StepRecord(
        run_id=run.id, index=step.index, name=step.name, state="hit", key=step.key, why="", started=at, ended=at, output=entry.output
    )


def _of(run: Run) -> Callable[[Any], Any]:
    """Return what makes a remembered request one of this run."""

    def own(request: Any) -> Any:
        if isinstance(request, FinishRun):
            points = request.points
            # A point's time is that of the run that logs it.
            at = None if points is None else replace(points, times=(clock.now(),) * len(points.times))
            return replace(request, id=run.id, points=at)
        return replace(request, run_id=run.id) if hasattr(request, "run_id") else request

    return own
