"""``plimsoll run``."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from plimsoll.cli.asked import Told, asked
from plimsoll.cli.output import Format, next_step
from plimsoll.cli.recalled import memory_of, recalled
from plimsoll.errors import InvalidInput
from plimsoll.records.pipelines.part import NO_PART


def run(
    pipeline: str | None = None,
    *,
    told: Told = Told(),
    jobs: int | None = None,
    bisect: Annotated[tuple[str, str] | None, Parameter(negative=())] = None,
    metric: str = "",
    form: Format = Format(),
) -> None:
    """Run a pipeline; steps that nothing has changed for are not run again.

    Args:
        pipeline: ``path.py:name``, ``module:name``, ``folder:name`` or ``name``; without it, the pipeline of the project's only model.
        told: what the run is told.
        jobs: runs of variations at the same time; the number of processors unless given.
        bisect: two runs; instead of a run, find by reruns which difference between them moved a metric.
        metric: the metric that ``--bisect`` asks about; the only one that differs unless given.
        form: how ``--bisect`` prints its table.
    """
    if bisect is not None:
        if pipeline or replace(told, profile=None) != Told():
            raise InvalidInput("--bisect takes pipeline and parameters from the two runs.", "Leave the others out.")
        # By name, like what makes a run below: both import far more than a run needs of which nothing has changed.
        importlib.import_module("plimsoll.cli.commands.bisect").bisect_runs(*bisect, metric, told.profile, form)
        return
    wanted = asked(pipeline, told)
    memory = memory_of(wanted, wanted.experiment) if wanted.part == NO_PART else None
    again = recalled(memory, wanted)
    if again is not None:
        ids, made = {"": again.run.id}, ()
    else:
        ids, made = importlib.import_module("plimsoll.cli.making").make(wanted, jobs, memory)
    for name, id in ids.items():
        print(f"{name} {id}".strip())
    # What it has made lies where the profile says.
    by = f"PLIMSOLL_PROFILE={told.profile} " if told.profile else ""
    if made:
        next_step(f"{by}plimsoll checks run {made[0].model}/{made[0].number}")
    else:
        next_step(f"{by}plimsoll runs show {next(iter(ids.values()))[:16]}")
