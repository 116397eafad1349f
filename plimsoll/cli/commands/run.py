"""``plimsoll run``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from plimsoll.cli.asked import Asked, asked
from plimsoll.cli.commands.bisect import bisect_runs
from plimsoll.cli.output import Format, next_step, say
from plimsoll.cli.session import door
from plimsoll.errors import InvalidInput, PlimsollError
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.pipelines.settled import Settled
from plimsoll.pipelines.variations import execute_all
from plimsoll.records.model import ListVersions
from plimsoll.sdk.door import Door


def run(
    pipeline: str | None = None,
    *,
    set: Annotated[list[str] | None, Parameter(negative=())] = None,
    variation: Annotated[list[str] | None, Parameter(negative=())] = None,
    profile: str | None = None,
    experiment: str = "",
    jobs: int | None = None,
    bisect: Annotated[tuple[str, str] | None, Parameter(negative=())] = None,
    metric: str = "",
    form: Format = Format(),
) -> None:
    """Run a pipeline; steps that nothing has changed for are not run again.

    Args:
        pipeline: ``path.py:name``; without it, the pipeline of the project's only model.
        set: a parameter as ``name=value``, where the value is JSON or plain text; may be given several times.
        variation: name of a declared set of parameters, or ``all``; may be given several times, each is a run of its own.
        profile: name of a declared profile: settings and parameters.
        experiment: groups runs; the pipeline's name unless given.
        jobs: runs of variations at the same time; the number of processors unless given.
        bisect: two runs; instead of a run, find by reruns which difference between them moved a metric.
        metric: the metric that ``--bisect`` asks about; the only one that differs unless given.
        form: how ``--bisect`` prints its table.
    """
    if bisect is not None:
        if pipeline or set or variation:
            raise InvalidInput("--bisect takes pipeline and parameters from the two runs.", "Leave the others out.")
        return bisect_runs(*bisect, metric, profile, form)
    wanted = asked(pipeline, set, variation, profile)
    # Before a home is made for it: what cannot run must leave nothing behind.
    function = wanted.load()
    settled = wanted.settled(function)
    with door(create=True, profile=wanted.profile) as opened:
        try:
            results = _run(opened, wanted, function, settled, experiment, jobs)
        except PlimsollError as error:
            sys.stderr.write(error.details.get("traceback", ""))
            raise
        states = [step.state for result in results.values() for step in result.steps]
        say(
            f"{states.count('ran')} of {len(states)} steps ran, {states.count('hit')} were reused."
            if "ran" in states
            else "Nothing changed: no step ran."
        )
        made = [version for version in opened.do(ListVersions(limit=10)) if version.run_id in [result.id for result in results.values()]]
    for name, result in results.items():
        print(f"{name} {result.id}".strip())
    if made:
        next_step(f"plimsoll checks run {made[0].model}/{made[0].number}")
    else:
        next_step(f"plimsoll runs show {next(iter(results.values())).id[:16]}")


def _run(
    opened: Door, wanted: Asked, function: Callable[..., Any], settled: dict[str, Settled], experiment: str, jobs: int | None
) -> dict[str, PipelineResult]:
    where: dict[str, Any] = {"do": opened.do, "blobs": opened.blobs, "project": wanted.project, "experiment": experiment}
    if wanted.variations != ("",):
        return execute_all(function, settled, jobs=jobs, on_step=_tell, **where)
    only = settled[""]
    return {"": execute(function, only.params, tags=only.tags, on_step=lambda event: _tell("", event), **where)}


def _tell(variation: str, event: StepEvent) -> None:
    if event.state != "started":
        first = f"{variation:<8} " if variation else ""
        say(f"  {first}{event.label:<20} {event.state:<8} {event.why}".rstrip())
