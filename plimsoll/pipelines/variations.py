"""Many variations of one pipeline at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from plimsoll.errors import InvalidInput, PlimsollError
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.executors.call import Executor
from plimsoll.pipelines.executors.choice import Chosen, open_executor
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.plan import trace
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.pipelines.settled import Settled
from plimsoll.records.pipelines.part import NO_PART, ExecutorName, PartAsked
from plimsoll.records.run import Cause
from plimsoll.store.contracts import Blobs, Do


def execute_all(
    function: Callable[..., Any],
    settled: Mapping[str, Settled],
    *,
    do: Do,
    blobs: Blobs,
    project: Path,
    experiment: str = "",
    cause: Cause = Cause(),
    executor: ExecutorName | Chosen = "processes",
    jobs: int | None = None,
    part: PartAsked = NO_PART,
    on_step: Callable[[str, StepEvent], None] | None = None,
) -> dict[str, PipelineResult]:
    """Run a pipeline once for each of several sets of parameters, and return the results by name when all of them went well.

    All plans are made before the first run begins. The steps of all runs share one pool of processes. A run that fails does not
    hold up the others.

    Args:
        function: a function decorated with ``@pipeline``.
        settled: name -> what its run gets.
        do: the door; several threads use it.
        blobs: where outputs go.
        project: folder of the project.
        experiment: of all runs; empty takes the pipeline's name.
        cause: why they run.
        executor: as for :func:`plimsoll.pipelines.running.execute`; ``in_process`` runs one after another.
        jobs: runs at the same time; None takes the number of processors.
        part: which steps of each run are run.
        on_step: is told the name and every start and end of a step, by one thread at a time.

    Raises:
        PlimsollError: ``jobs`` is less than 1; or some failed: of the class of the first, with all facts and ``details["traceback"]``.
    """
    project = project.resolve()
    in_process = InProcess(blobs, project)
    functions = {node.step.function for one in settled.values() for node in trace(function, one.params).nodes}
    chosen = Chosen(executor) if isinstance(executor, str) else executor
    at_once = 1 if chosen.name == "in_process" else runs_at_once(jobs)
    turn = threading.Lock()
    where: dict[str, Any] = {"do": do, "blobs": blobs, "project": project, "in_process": in_process, "part": part}

    def tell(name: str, event: StepEvent) -> None:
        if on_step is not None:
            with turn:
                on_step(name, event)

    def run(runner: Executor, name: str) -> PipelineResult | PlimsollError:
        params, tags, heard = settled[name].params, settled[name].tags, partial(tell, name)
        try:
            return execute(function, params, experiment=experiment, tags=tags, cause=cause, on_step=heard, executor=runner, **where)
        except PlimsollError as error:
            return error

    with closing(in_process), open_executor(chosen, in_process, blobs, functions) as runner:
        ended = _at_once(partial(run, runner), list(settled), at_once, runner.close)
    results = {name: one for name, one in ended.items() if isinstance(one, PipelineResult)}
    refuse({name: one for name, one in ended.items() if isinstance(one, PlimsollError)}, len(settled))
    return results


def runs_at_once(jobs: int | None) -> int:
    """Return how many runs there are at the same time.

    Args:
        jobs: what was asked for; None takes the number of processors.

    Raises:
        InvalidInput: it is less than 1.
    """
    if jobs is not None and jobs < 1:
        raise InvalidInput(f"There cannot be {jobs} jobs at the same time.", "Give 1 or more: --jobs 2")
    return jobs or os.cpu_count() or 1


def _at_once(
    run: Callable[[str], PipelineResult | PlimsollError], names: list[str], count: int, kill: Callable[[], None]
) -> dict[str, PipelineResult | PlimsollError]:
    with ThreadPoolExecutor(max(1, min(count, len(names))), thread_name_prefix="plimsoll-run") as threads:
        try:
            return dict(zip(names, threads.map(run, names), strict=True))
        except BaseException:
            # Ctrl-C: what has not begun never will, and what runs is killed, so that its runs end as failed.
            threads.shutdown(wait=False, cancel_futures=True)
            kill()
            raise


def refuse(failed: Mapping[str, PlimsollError], total: int) -> None:
    """Raise what says how many of several runs failed, and why; nothing happens when none did.

    Args:
        failed: variation -> its error.
        total: how many there were.

    Raises:
        PlimsollError: of the class of the first error, with all facts and tracebacks.
    """
    if not failed:
        return
    first = next(iter(failed.values()))
    facts = " ".join(f"[{name}] {error.fact}" for name, error in failed.items())
    tracebacks = "".join(f"{name}:\n{error.details['traceback']}" for name, error in failed.items() if error.details.get("traceback"))
    fact = f"{len(failed)} of {total} runs failed: {facts}"
    raise type(first)(fact, first.remedy, failed=list(failed), traceback=tracebacks) from first
