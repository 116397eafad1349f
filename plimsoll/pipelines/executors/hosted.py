"""MLflow's client inside of steps: what it logs is logged by the step, also when a later run finds the step's result."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plimsoll.data.project import PROJECT_FILE, setting
from plimsoll.pipelines.executors.call import Executor
from plimsoll.pipelines.executors.cluster.driver import RayCluster
from plimsoll.pipelines.loop.late import LateBlobs
from plimsoll.records.request import Request
from plimsoll.records.run import PointColumns, Run
from plimsoll.records.tracking.change import LogBatch
from plimsoll.runs.guests.guest import Guest
from plimsoll.runs.guests.loopback import NOBODY_COMES_IN, Loopback, elsewhere, is_installed
from plimsoll.store.contracts import Do

#: Takes what a step logs, for later runs.
Keep = Callable[[PointColumns | Request[Any]], None]

#: Distributions that bring the client.
_CLIENTS = ("mlflow", "mlflow-skinny")


@dataclass(frozen=True, slots=True)
class StepGuest:
    """The client in one try of a step."""

    #: The client's way into the run.
    guest: Guest
    #: By which it finds that way.
    variables: dict[str, str]
    #: Closes it.
    dismiss: Callable[[Guest], None]

    def leave(self) -> tuple[str, ...]:
        """Let the client in no more, and return what it did that another run need not repeat alike."""
        self.dismiss(self.guest)
        return tuple(self.guest.effects)


class Hosted:
    """Lets the clients of one run's steps in.

    Args:
        do: the door.
        loopback: where they come in.
        address: where MLflow's client logs to by the user's own choice; empty when none was made.
    """

    def __init__(self, do: Do, loopback: Loopback, address: str) -> None:
        self._do, self._loopback, self._address = do, loopback, address
        self._told = False

    def admit(self, run: Run, keep: Keep, known: Container[str]) -> StepGuest | None:
        """Let the client of a step's next try in, unless the user has sent it elsewhere.

        Args:
            run: the run, under way.
            keep: takes what it logs, for later runs; the run itself has it by then.
            known: distributions that the step's code names.
        """
        if self._address:
            if not self._told and any(name in known for name in _CLIENTS):
                self._told = True
                said = "so what MLflow logs in steps goes there and not into the run. Unset it to have it here."
                print(f"plimsoll: MLFLOW_TRACKING_URI names {self._address}, {said}", file=sys.stderr, flush=True)
            return None

        def write(request: Request[Any]) -> None:
            self._do(request)
            for part in _parts(request):
                keep(part)

        guest = Guest(lambda: run, self._do, write, self._loopback.blobs)
        try:
            return StepGuest(guest, self._loopback.admit(guest), self._loopback.dismiss)
        except OSError as error:
            print(f"plimsoll: {NOBODY_COMES_IN} ({error}).", file=sys.stderr, flush=True)
            return None


def _parts(request: Request[Any]) -> Iterator[PointColumns | Request[Any]]:
    """Yield a request as a step's log keeps it: points by themselves, which a run that goes on takes once."""
    if not isinstance(request, LogBatch) or request.points is None:
        yield request
        return
    yield request.points
    if request.params or request.tags:
        yield replace(request, points=None)


@contextlib.contextmanager
def hosting(do: Do, blobs: LateBlobs, executor: Executor, project: Path) -> Iterator[Hosted | None]:
    """Give what lets the clients of a run's steps in; None without MLflow, and on a cluster, whose machines do not reach this one.

    Args:
        do: the door.
        blobs: where outputs are.
        executor: runs the calls.
        project: folder of the project.
    """
    if isinstance(executor, RayCluster) or not is_installed():
        yield None
        return
    url = setting("url", None, project if (project / PROJECT_FILE).is_file() else None)[0]
    loopback = Loopback(blobs.stored)
    try:
        yield Hosted(do, loopback, elsewhere(str(url)) or "")
    finally:
        loopback.close()
