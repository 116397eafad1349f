"""``plimsoll run``."""

from __future__ import annotations

import importlib
from typing import Annotated

from cyclopts import Parameter

from plimsoll.cli.asked import asked
from plimsoll.cli.output import Format, next_step
from plimsoll.cli.recalled import memory_of, recalled
from plimsoll.data.project import ExecutorName
from plimsoll.errors import InvalidInput
from plimsoll.records.pipelines.part import NO_PART, PartAsked


def run(
    pipeline: str | None = None,
    *,
    set: Annotated[list[str] | None, Parameter(negative=())] = None,
    variation: Annotated[list[str] | None, Parameter(negative=())] = None,
    profile: str | None = None,
    experiment: str = "",
    jobs: int | None = None,
    executor: ExecutorName | None = None,
    until: str = "",
    from_: Annotated[str, Parameter(name="--from")] = "",
    only: str = "",
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
        executor: where steps run: each in a process of its own, in this one, or on a Ray cluster; the setting unless given.
        until: a step; it and what it needs are run, and nothing after it.
        from_: a step; it and all that depends on it are computed anew, with what they need of the others.
        only: a step; it alone is computed anew, from results that are in the cache.
        bisect: two runs; instead of a run, find by reruns which difference between them moved a metric.
        metric: the metric that ``--bisect`` asks about; the only one that differs unless given.
        form: how ``--bisect`` prints its table.
    """
    if bisect is not None:
        if pipeline or set or variation:
            raise InvalidInput("--bisect takes pipeline and parameters from the two runs.", "Leave the others out.")
        # By name, like what makes a run below: both import far more than a run needs of which nothing has changed.
        importlib.import_module("plimsoll.cli.commands.bisect").bisect_runs(*bisect, metric, profile, form)
        return
    wanted = asked(pipeline, set, variation, profile)
    part = PartAsked(until=until, from_=from_, only=only)
    if part != NO_PART and wanted.variations != ("",):
        raise InvalidInput("--until, --from and --only take a part of one run, not of several variations.", "Name one --set instead.")
    memory = memory_of(wanted, experiment) if part == NO_PART else None
    again = recalled(memory, wanted)
    if again is not None:
        ids, made = {"": again.run.id}, ()
    else:
        ids, made = importlib.import_module("plimsoll.cli.making").make(wanted, experiment, jobs, memory, part, executor)
    for name, id in ids.items():
        print(f"{name} {id}".strip())
    if made:
        next_step(f"plimsoll checks run {made[0].model}/{made[0].number}")
    else:
        next_step(f"plimsoll runs show {next(iter(ids.values()))[:16]}")
