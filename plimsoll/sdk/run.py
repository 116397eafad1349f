"""``plimsoll.run``: a pipeline's run, or a run around any code."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, overload

from plimsoll.data.project import PROJECT_FILE, chosen_profile, find_project
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.pipelines.executors.choice import chosen_executor
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.pipelines.settled import ALL, Settled, declared, settle
from plimsoll.pipelines.step import is_pipeline
from plimsoll.pipelines.variations import execute_all
from plimsoll.records.pipelines.part import ExecutorName, PartAsked
from plimsoll.runs.logger import RunLogger
from plimsoll.sdk.door import Door, connect
from plimsoll.sdk.live import live_view
from plimsoll.sdk.tracking.asked import RunAsked
from plimsoll.sdk.tracking.opened import OpenRun

#: No params or tags.
NOTHING: Mapping[str, Any] = MappingProxyType({})


@overload
def run(
    function: Callable[..., Any],
    /,
    *,
    door: Door | None = None,
    experiment: str = "",
    profile: str | None = None,
    executor: ExecutorName | None = None,
    until: str = "",
    from_: str = "",
    only: str = "",
    **params: Any,
) -> PipelineResult: ...


@overload
def run(
    *,
    door: Door | None = None,
    experiment: str = "",
    name: str = "",
    params: Mapping[str, Any] = NOTHING,
    tags: Mapping[str, str] = NOTHING,
    notes: str = "",
    key: str | None = None,
    run_id: str | None = None,
    parent: RunLogger | str | None = None,
    nested: bool = False,
) -> OpenRun: ...


def run(
    function: Callable[..., Any] | None = None,
    /,
    *,
    door: Door | None = None,
    experiment: str = "",
    name: str = "",
    profile: str | None = None,
    executor: ExecutorName | None = None,
    until: str = "",
    from_: str = "",
    only: str = "",
    **params: Any,
) -> PipelineResult | OpenRun:
    """Run a pipeline and return its result; without one, return a run to be used as ``with plimsoll.run(…) as run:``.

    A notebook shows the pipeline's graph while it runs. A run without a pipeline takes what
    :class:`plimsoll.sdk.tracking.asked.RunAsked` has: ``experiment``, ``name``, ``params`` and ``tags`` (by name), ``notes``;
    ``key``, with which a repeated start is the same run; ``run_id`` of a run that goes on; ``parent``, a run or its id, or
    ``nested=True`` for the run that this code executes in.

    Args:
        function: a function decorated with ``@pipeline``, or None.
        door: the platform; None takes the one that the settings name.
        experiment: groups runs; empty takes the pipeline's name, or ``Default``.
        name: a name for people, for a run without a pipeline.
        profile: name of a profile of ``[tool.plimsoll]``, for a pipeline; None takes the one that ``PLIMSOLL_PROFILE`` names.
        executor: ``processes`` gives each step a process of its own; ``in_process`` helps a debugger, ``ray`` uses a cluster;
            None takes the setting ``executor``.
        until: a step of the pipeline; it and what it needs are run, and nothing after it.
        from_: a step; it and all that depends on it are computed anew, with what they need of the others.
        only: a step; it alone is computed anew, from results that are in the cache.
        params: parameters of the pipeline, by name; one that is called as an option here is, stands in ``params={name: value}``.
            Without a pipeline, what else the run begins with.

    Raises:
        InvalidInput: the function is no pipeline, or does not take these parameters; or a run does not take them.
        NotFound: there is no such profile.
        StepFailed: a step failed; its traceback is in ``details``.
    """
    if function is None:
        pipelines = {"profile": profile, "executor": executor, "until": until, "from_": from_, "only": only}
        return OpenRun(door, _asked(params | {name: value for name, value in pipelines.items() if value}, experiment, name))
    project, chosen = prepared(function, profile)
    own = own_params(function, params | ({"name": name} if name else {}), run, locals())
    settled = settle(function, own, project, profile=chosen)
    with opened_door(door, chosen) as opened, live_view(function, settled.params) as on_step:
        return execute(
            function,
            settled.params,
            do=opened.do,
            blobs=opened.blobs,
            project=project,
            experiment=experiment,
            tags=settled.tags,
            executor=chosen_executor(executor, project, chosen),
            part=PartAsked(until=until, from_=from_, only=only),
            on_step=on_step,
        )


def _asked(given: Mapping[str, Any], experiment: str, name: str) -> RunAsked:
    known = [each.name for each in fields(RunAsked)]
    for other in given:
        if other not in known:
            raise InvalidInput(
                f"A run without a pipeline takes no {other!r}.",
                f"Give parameters as params={{{other!r}: …}}; it takes: {', '.join(known)}.",
            )
    return RunAsked(experiment=experiment, name=name, **given)


def run_variations(
    function: Callable[..., Any],
    /,
    sets: Mapping[str, Mapping[str, Any]] | Sequence[str] | Literal["all"] = ALL,
    *,
    door: Door | None = None,
    experiment: str = "",
    profile: str | None = None,
    executor: ExecutorName | None = None,
    jobs: int | None = None,
    **params: Any,
) -> dict[str, PipelineResult]:
    """Run a pipeline once for each of several sets of parameters, at the same time, and return the results by the sets' names.

    Each is a run of its own with the tag ``variation``. What they share is computed once.

    Args:
        function: a function decorated with ``@pipeline``.
        sets: names of variations that ``[tool.plimsoll.variations]`` declares, ``"all"`` of them, or name -> parameters.
        door: the platform; None takes the one that the settings name.
        experiment: groups runs; empty takes the pipeline's name.
        profile: name of a profile of ``[tool.plimsoll]``; None takes the one that ``PLIMSOLL_PROFILE`` names.
        executor: as for ``run``; ``in_process`` runs one after another.
        jobs: runs at the same time; None takes the number of processors.
        params: parameters that all of them get, by name, or within ``params={name: value}``.

    Raises:
        InvalidInput: the function is no pipeline, or does not take these parameters.
        NotFound: there is no such variation or profile.
        StepFailed: some failed; the others have ended well, and the next call does not compute them again.
    """
    project, chosen = prepared(function, profile)
    params = own_params(function, params, run_variations, locals())
    settled: dict[str, Settled]
    if isinstance(sets, Mapping):
        settled = {name: settle(function, {**params, **own}, project, profile=chosen) for name, own in sets.items()}
        settled = {name: Settled(params=one.params, tags={"variation": name, **one.tags}) for name, one in settled.items()}
    else:
        asked = [sets] if isinstance(sets, str) else list(sets)
        settled = {name: settle(function, params, project, variation=name, profile=chosen) for name in declared(function, project, asked)}
    with opened_door(door, chosen) as opened:
        return execute_all(
            function,
            settled,
            do=opened.do,
            blobs=opened.blobs,
            project=project,
            experiment=experiment,
            executor=chosen_executor(executor, project, chosen),
            jobs=jobs,
        )


def own_params(
    function: Callable[..., Any], given: Mapping[str, Any], caller: Callable[..., Any], told: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters that a pipeline is given, told apart from the options of what runs it.

    Args:
        function: a pipeline.
        given: what was given by name and is no option; ``params`` among it holds more, unless the pipeline itself takes that name.
        caller: what runs it; its arguments that have names only are the options.
        told: option -> its value.

    Raises:
        InvalidInput: the pipeline has a parameter that is called as an option that was given.
    """
    names = inspect.signature(function).parameters
    more = given.get("params") if "params" not in names else None
    found = {name: value for name, value in given.items() if name != "params"} | dict(more) if isinstance(more, Mapping) else dict(given)
    for name, option in inspect.signature(caller).parameters.items():
        if option.kind is option.KEYWORD_ONLY and name in names and name not in found and told[name] != option.default:
            raise InvalidInput(
                f"{name!r} is an option of plimsoll.{caller.__name__} and a parameter of the pipeline: it is not clear which is meant.",
                f"Give the parameter as params={{{name!r}: …}}, or rename it.",
            )
    return found


def prepared(function: Callable[..., Any], profile: str | None) -> tuple[Path, str]:
    """Return a pipeline's project and the name of the chosen profile.

    Args:
        function: must be a pipeline.
        profile: what was asked for; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        InvalidInput: it is no pipeline.
    """
    if not is_pipeline(function):
        raise InvalidInput(f"{function!r} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    project = _project_of(function)
    return project, chosen_profile(profile, project if (project / PROJECT_FILE).is_file() else None)[0]


@contextlib.contextmanager
def opened_door(door: Door | None, profile: str | None = None) -> Iterator[Door]:
    """Give an open door, or open the one that the settings name and close it again.

    Args:
        door: an open one, or None.
        profile: whose settings count.
    """
    if door is not None:
        yield door
        return
    opened = connect(profile=profile)
    try:
        yield opened
    finally:
        opened.close()


def _project_of(function: Callable[..., Any]) -> Path:
    source = inspect.getsourcefile(inspect.unwrap(function))
    try:
        return find_project(Path(source).parent if source and Path(source).exists() else Path.cwd())
    except NotFound:
        return Path.cwd()
