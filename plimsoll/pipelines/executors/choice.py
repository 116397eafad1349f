"""Which executor a run gets: the one it was asked for, or the one that the settings name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from plimsoll.data.project import PROJECT_FILE, setting
from plimsoll.pipelines.executors.call import Executor
from plimsoll.pipelines.executors.cluster.driver import RayCluster
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.executors.processes import Processes
from plimsoll.records.pipelines.part import ExecutorName
from plimsoll.store.contracts import Blobs


@dataclass(frozen=True, slots=True)
class Chosen:
    """An executor that is not open yet."""

    #: Its name.
    name: ExecutorName
    #: Of a Ray cluster; None takes ``RAY_ADDRESS``, and without it begins one on this machine.
    ray_address: str | None = None


def chosen_executor(asked: ExecutorName | None, project: Path, profile: str | None = None) -> Chosen:
    """Return what was asked for, or else what the settings ``executor`` and ``ray_address`` say.

    Args:
        asked: a name, or None.
        project: the project's folder.
        profile: name of a profile; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        InvalidInput: there is no such executor; the message says where it was named.
        NotFound: there is no such profile.
    """
    folder = project if (project / PROJECT_FILE).is_file() else None
    name = cast(ExecutorName, setting("executor", asked, folder, profile)[0])
    if name != "ray":
        return Chosen(name)
    address, origin = setting("ray_address", None, folder, profile)
    return Chosen(name, os.environ.get("RAY_ADDRESS") if origin == "default" else str(address))


@contextlib.contextmanager
def open_executor(
    executor: ExecutorName | Chosen | Executor, in_process: InProcess, blobs: Blobs, functions: Iterable[Callable[..., Any]]
) -> Iterator[Executor]:
    """Open an executor for one run or for many, and close it again; one that is open already stays as it is.

    Args:
        executor: its name, what was chosen, or an open one.
        in_process: what runs calls in this process.
        blobs: where outputs are.
        functions: steps that may run, as far as known.
    """
    chosen = Chosen(executor) if isinstance(executor, str) else executor
    if not isinstance(chosen, Chosen):
        yield chosen
        return
    if chosen.name == "in_process":
        yield in_process
        return
    own: Executor
    if chosen.name == "ray":
        own = RayCluster(blobs, in_process.project, chosen.ray_address)
    else:
        own = Processes(blobs, in_process.project, functions=functions)
    try:
        yield own
    finally:
        own.close()
