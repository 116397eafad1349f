"""``plimsoll submit``."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from plimsoll import clock
from plimsoll.cli.asked import Told, asked
from plimsoll.cli.output import next_step, say
from plimsoll.cli.session import door
from plimsoll.errors import PlimsollError, Unavailable, from_wire
from plimsoll.pipelines.variations import refuse
from plimsoll.records.access import GetJob, Job
from plimsoll.records.pipeline import RunPipeline
from plimsoll.sdk.door import Door, FolderDoor


def submit(
    pipeline: str | None = None,
    *,
    told: Told = Told(),
    wait: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Leave a pipeline's run for the worker of a server, or of a home that is up; what runs is the worker's copy of the project.

    Args:
        pipeline: ``path.py:name``, ``module:name``, ``folder:name`` or ``name``; without it, the pipeline of the project's only model.
        told: what the run is told; each variation is a job of its own.
        wait: follow the run to its end; the exit code says how it went.
    """
    wanted = asked(pipeline, told)
    with door(profile=wanted.profile) as opened:
        if isinstance(opened, FolderDoor):
            _check_worker(opened.workspace.home)
        asks = RunPipeline(
            pipeline=wanted.ref,
            params=wanted.params,
            profile=wanted.profile,
            experiment=wanted.experiment,
            part=wanted.part,
            executor=wanted.executor,
        )
        jobs = {name: opened.submit(replace(asks, variation=name)) for name in wanted.variations}
        if wait:
            _follow(opened, jobs)
            return
    for name, job in jobs.items():
        print(f"{name} {job.id}".strip())
    next_step(f"plimsoll jobs show {next(iter(jobs.values())).id}")


def _check_worker(home: Path) -> None:
    """Refuse a home that nobody serves: the job would wait for ever."""
    lock = home / "up.lock"
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    except OSError:
        pass
    raise Unavailable(
        f"Nobody works on the home {home}: no server is up there.",
        "Start one with: plimsoll up, name another with PLIMSOLL_URL, or run it here with: plimsoll run",
    )


def _follow(opened: Door, jobs: Mapping[str, Job]) -> None:
    """Tell the progress of jobs until all of them have ended, and print their runs."""
    said: dict[str, str] = {}
    waiting, pause = dict(jobs), 0.02
    failed: dict[str, PlimsollError] = {}
    for name, job in jobs.items():
        say(f"{name} job {job.id}".strip())
    try:
        while waiting:
            clock.sleep(pause)
            pause = min(0.5, pause * 1.5)
            for name, job in list(waiting.items()):
                job = opened.do(GetJob(id=job.id))
                line = f"  {name} {job.progress}".rstrip() if name else f"  {job.progress}"
                if job.progress and said.get(name) != line:
                    said[name] = line
                    say(line)
                if job.state not in ("waiting", "working"):
                    del waiting[name]
                    if job.error is None:
                        print(f"{name} {job.result['id']}".strip(), flush=True)
                    else:
                        failed[name] = from_wire(job.error)
    except KeyboardInterrupt:
        say(f"The worker goes on. Look at: plimsoll jobs show {next(iter(waiting.values())).id}")
        raise
    for error in failed.values():
        sys.stderr.write(error.details.get("traceback", ""))
    if len(jobs) == 1 and failed:
        raise next(iter(failed.values()))
    refuse(failed, len(jobs))
