"""A run made the usual way: the project is imported, its pipeline planned, and what changed is computed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plimsoll.cli.asked import Asked
from plimsoll.cli.output import say, say_traceback
from plimsoll.cli.session import door
from plimsoll.data.trace.recording import Recorder
from plimsoll.errors import PlimsollError
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.executors.choice import Chosen, chosen_executor
from plimsoll.pipelines.plan import trace
from plimsoll.pipelines.recall.remember import remember
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.pipelines.settled import Settled
from plimsoll.pipelines.variations import execute_all, runs_at_once
from plimsoll.records.model import ListVersions, Version
from plimsoll.records.request import Request
from plimsoll.sdk.door import Door


def make(wanted: Asked, jobs: int | None, memory: Path | None) -> tuple[dict[str, str], tuple[Version, ...]]:
    """Run what was asked for and say how its steps went; return variation -> id of its run, and the versions that it made.

    Args:
        wanted: what was asked for.
        jobs: runs of variations at the same time; the number of processors when None.
        memory: where to remember what the run came to; None does not.
    """
    # Before a home is made for it: what cannot run must leave nothing behind.
    runs_at_once(jobs)
    before = frozenset(sys.modules)
    imported = Recorder(wanted.project).recording(_load, (), 0)
    with imported:
        function = wanted.load()
        settled = wanted.settled(function)
        plan = trace(function, settled[""].params) if memory is not None else None
    chosen = chosen_executor(wanted.executor, wanted.project, wanted.profile)
    said: list[Request[Any]] = []
    with door(create=True, profile=wanted.profile) as opened:

        def do(request: Request[Any]) -> Any:
            said.append(request)
            return opened.do(request)

        try:
            results = _run(opened, do, wanted, function, settled, jobs, chosen)
        except PlimsollError as error:
            say_traceback(error)
            raise
        states = [step.state for result in results.values() for step in result.steps]
        ids = {name: result.id for name, result in results.items()}
        versions = tuple(version for version in opened.do(ListVersions(limit=10)) if version.run_id in ids.values())
    ran = f"{states.count('ran')} of {len(states)} steps ran, {states.count('hit')} were reused."
    say(ran if "ran" in states else "Nothing changed: no step ran.")
    if plan is not None and memory is not None:
        records = [step.record for step in results[""].steps]
        remember(memory, plan, records, said, imported.trace(), wanted.project.resolve(), before)
    return ids, versions


def _load() -> None:
    """Stands for the import of the project among what is recorded."""


def _run(
    opened: Door,
    do: Callable[[Request[Any]], Any],
    wanted: Asked,
    function: Callable[..., Any],
    settled: dict[str, Settled],
    jobs: int | None,
    executor: Chosen,
) -> dict[str, PipelineResult]:
    where: dict[str, Any] = {"do": do, "blobs": opened.blobs, "project": wanted.project, "executor": executor}
    where |= {"experiment": wanted.experiment, "part": wanted.part}
    if wanted.variations != ("",):
        return execute_all(function, settled, jobs=jobs, on_step=_tell, **where)
    only = settled[""]
    return {"": execute(function, only.params, tags=only.tags, on_step=lambda event: _tell("", event), **where)}


def _tell(variation: str, event: StepEvent) -> None:
    if event.state != "started":
        first = f"{variation:<8} " if variation else ""
        say(f"  {first}{event.label:<20} {event.state:<8} {event.why}".rstrip())
