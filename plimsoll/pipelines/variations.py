"""What a run gets when the project has something to say: declared parameters, a profile's, a variation's; and many variations at once.

Later ones win: the function's defaults, ``[tool.plimsoll.params]``, the profile's ``params``, the variation, what was asked for.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from plimsoll.data.project import PROJECT_FILE, ProjectTable, nearest, pipeline_ref, read_project
from plimsoll.errors import NotFound, PlimsollError
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.executors.call import Executor
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.executors.processes import Processes
from plimsoll.pipelines.plan import trace
from plimsoll.pipelines.running import PipelineResult, execute, typed_params
from plimsoll.records.run import Cause
from plimsoll.store.contracts import Blobs, Do

#: What stands for every declared variation.
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What one run gets."""

    #: Parameters that differ from the function's defaults, with the types of its annotations.
    params: dict[str, Any]
    #: ``variation`` and ``profile``, where there is one.
    tags: dict[str, str]


def settle(
    function: Callable[..., Any], given: Mapping[str, Any], project: Path, ref: str = "", *, variation: str = "", profile: str = ""
) -> Settled:
    """Return what one run of a pipeline gets.

    Args:
        function: the pipeline.
        given: parameters that were asked for, with their types.
        project: folder of the project; without a ``pyproject.toml`` it declares nothing.
        ref: the pipeline as ``path.py:name``; empty takes the file that defines it.
        variation: name of a declared variation; empty for none.
        profile: name of a declared profile; empty for none.

    Raises:
        NotFound: the variation or the profile is not declared.
        InvalidInput: a declared value does not fit the annotation of its parameter, or the project's table is wrong.
    """
    table = _table(project)
    ref = pipeline_ref(ref) if ref else _defined(function, project)
    found: dict[str, Any] = {}
    if table is not None:
        found |= table.params.get(ref, {})
    if profile:
        profiles = {} if table is None else table.profiles
        if profile not in profiles:
            declare = "Declare [tool.plimsoll.profiles.NAME]."
            raise NotFound(f"The project declares no profile {profile!r}.", nearest(profile, profiles, declare))
        found |= profiles[profile].params.get(ref, {})
    if variation:
        (variation,) = variations(table, ref, [variation])
        assert table is not None
        found |= table.variations[ref][variation]
    tags = {name: value for name, value in (("variation", variation), ("profile", profile)) if value}
    return Settled(params={**typed_params(function, found), **given}, tags=tags)


def variations(table: ProjectTable | None, ref: str, asked: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a pipeline's variations that were asked for, each once, in the order of the asking.

    Args:
        table: what the project declares, or None.
        ref: the pipeline as ``path.py:name``.
        asked: names; ``all`` stands for every declared one.

    Raises:
        NotFound: a name is not declared, or ``all`` is asked for and there is none.
    """
    ref = pipeline_ref(ref) if ref else "A pipeline outside of the project"
    known = {} if table is None else table.variations.get(ref, {})
    declare = f'Declare [tool.plimsoll.variations."{ref}".NAME] with its parameters.'
    found: dict[str, None] = {}
    for name in asked:
        if name != ALL and name not in known:
            raise NotFound(f"{ref} has no variation {name!r}.", nearest(name, known, declare))
        if not known:
            raise NotFound(f"{ref} has no variations.", declare)
        found |= dict.fromkeys(known if name == ALL else [name])
    return tuple(found)


def declared(function: Callable[..., Any], project: Path, asked: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the variations that were asked for, of a pipeline that is at hand; see :func:`variations`.

    Args:
        function: the pipeline.
        project: folder of the project.
        asked: names; ``all`` stands for every declared one.

    Raises:
        NotFound: a name is not declared, or ``all`` is asked for and there is none.
    """
    return variations(_table(project), _defined(function, project), asked)


def execute_all(
    function: Callable[..., Any],
    settled: Mapping[str, Settled],
    *,
    do: Do,
    blobs: Blobs,
    project: Path,
    experiment: str = "",
    cause: Cause = Cause(),
    executor: Literal["processes", "in_process"] = "processes",
    jobs: int | None = None,
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
        on_step: is told the name and every start and end of a step, by one thread at a time.

    Raises:
        PlimsollError: some failed; of the class of the first, with all of their facts, and ``details["traceback"]``.
    """
    project = project.resolve()
    in_process = InProcess(blobs, project)
    functions = {node.step.function for one in settled.values() for node in trace(function, one.params).nodes}
    runner: Executor = Processes(blobs, project, functions=functions) if executor == "processes" else in_process
    at_once = 1 if executor == "in_process" else jobs or os.cpu_count() or 1
    turn = threading.Lock()
    where: dict[str, Any] = {"do": do, "blobs": blobs, "project": project, "executor": runner, "in_process": in_process}

    def tell(name: str, event: StepEvent) -> None:
        if on_step is not None:
            with turn:
                on_step(name, event)

    def run(name: str) -> PipelineResult | PlimsollError:
        params, tags, heard = settled[name].params, settled[name].tags, partial(tell, name)
        try:
            return execute(function, params, experiment=experiment, tags=tags, cause=cause, on_step=heard, **where)
        except PlimsollError as error:
            return error

    try:
        ended = _at_once(run, list(settled), at_once, runner.close)
    finally:
        runner.close()
    results = {name: one for name, one in ended.items() if isinstance(one, PipelineResult)}
    _refuse({name: one for name, one in ended.items() if isinstance(one, PlimsollError)}, len(settled))
    return results


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


def _refuse(failed: Mapping[str, PlimsollError], total: int) -> None:
    if not failed:
        return
    first = next(iter(failed.values()))
    facts = " ".join(f"[{name}] {error.fact}" for name, error in failed.items())
    tracebacks = "".join(f"{name}:\n{error.details['traceback']}" for name, error in failed.items() if error.details.get("traceback"))
    fact = f"{len(failed)} of {total} variations failed: {facts}"
    raise type(first)(fact, first.remedy, failed=list(failed), traceback=tracebacks) from first


def _table(project: Path) -> ProjectTable | None:
    return read_project(project) if (project / PROJECT_FILE).is_file() else None


def _defined(function: Callable[..., Any], project: Path) -> str:
    """Return a function as ``path.py:name`` by the file that defines it; empty for a notebook's."""
    plain = inspect.unwrap(function)
    with contextlib.suppress(TypeError):
        source = Path(inspect.getsourcefile(plain) or "").resolve()
        if source.is_relative_to(project.resolve()):
            return f"{source.relative_to(project.resolve()).as_posix()}:{plain.__qualname__}"
    return ""
