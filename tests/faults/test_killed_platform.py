"""A whole platform under traffic whose processes are killed with SIGKILL at random moments: what was acknowledged is there once."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from plimsoll import clock
from plimsoll.errors import Overloaded, Unavailable, Unreachable
from plimsoll.monitoring.log import labels_stream, predictions_stream
from plimsoll.records.access import Event, GetJob, ListEvents, VerifyEvents
from plimsoll.records.monitor import AppendLabels, SealPredictions
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, GetSeries, PointColumns, StartRun
from plimsoll.sdk.http import HttpDoor
from plimsoll.workspace import open_workspace
from tests.flows.real_platform import PATIENCE, Platform, alive, answers, until
from tests.repeats import repeats

pytest.importorskip("sklearn", reason="serving a model needs plimsoll[sklearn]")

R = TypeVar("R")

#: Which process is killed at each point, in an order that the seed decides.
VICTIMS = ("up", "up", "worker", "plane", "up and worker", "up and plane") * repeats(1, 2)

SEED = 20130501


class Traffic:
    """Callers that go on through every outage and remember what they were told.

    Args:
        platform: the platform; its address stays the same.
    """

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.door = HttpDoor(platform.url, platform.token)
        self.stopping = threading.Event()
        #: The first error of a caller that is no outage.
        self.defects: list[BaseException] = []
        self.points: list[float] = []
        self.predictions: dict[str, float] = {}
        self.labels: dict[str, int] = {}
        self.jobs: list[str] = []
        self.runs: list[str] = []
        self.run = self.door.do(StartRun(experiment="kills")).id
        acts = (self._log, self._ask, self._label, self._submit, self._start)
        self._threads = [threading.Thread(target=self._go, args=(act,)) for act in acts]
        for thread in self._threads:
            thread.start()

    def least(self) -> int:
        """Return how often the caller was told of something that was told least often."""
        return min(map(len, (self.points, self.predictions, self.labels, self.jobs, self.runs)))

    def stop(self) -> None:
        """Let every caller finish what it has begun."""
        self.stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive()
        self.door.close()
        assert not self.defects, self.defects

    def _go(self, act: Callable[[int], None]) -> None:
        number = 0
        try:
            while not self.stopping.is_set():
                number += 1
                act(number)
                self.stopping.wait(0.05)
        except BaseException as error:
            self.defects.append(error)

    def _insist(self, act: Callable[[], R]) -> R:
        """Ask until there is an answer."""
        deadline = clock.monotonic() + PATIENCE
        while True:
            try:
                return act()
            except (Unreachable, Overloaded, Unavailable):
                assert clock.monotonic() < deadline
                clock.sleep(0.05)

    def _do(self, request: Request[R]) -> R:
        return self._insist(lambda: self.door.do(request))

    def _log(self, number: int) -> None:
        value = float(number)
        columns = PointColumns(names=("loss",), steps=(number,), times=(clock.now(),), values=(value,))
        self._do(AppendPoints(run_id=self.run, writer="caller", sequence=number, points=columns))
        self.points.append(value)

    def _ask(self, number: int) -> None:
        # Each try is a request of its own: one whose answer was lost with the plane is none that was acknowledged.
        id = f"asked-{number}"
        with contextlib.suppress(httpx.HTTPError):
            response = self.platform.ask((number / 100, 0.0), id=id)
            if response.status_code not in (429, 503):
                (self.predictions[id],) = answers(response)

    def _label(self, number: int) -> None:
        waiting = [id for id in list(self.predictions) if id not in self.labels]
        if waiting:
            ids, values = tuple(waiting), tuple(int(id[-1]) % 2 for id in waiting)
            at = (clock.now(),) * len(ids)
            self._do(
                AppendLabels(model="trains", writer="truth", sequence=number, request_id=ids, row=(0,) * len(ids), at=at, value=values)
            )
            self.labels.update(zip(ids, values, strict=True))

    def _submit(self, number: int) -> None:
        job = self._insist(lambda: self.door.submit(SealPredictions(), f"seal-{number}"))
        self.jobs.append(job.id)
        self.stopping.wait(1.0)

    def _start(self, number: int) -> None:
        self.runs.append(self._do(StartRun(experiment="kills", key=f"run-{number}")).id)
        self.stopping.wait(0.3)


def _asked(platform: Platform) -> int:
    """Return the status of a request, 0 when nobody took it."""
    with contextlib.suppress(httpx.HTTPError):
        return platform.ask((1.0, 0.0)).status_code
    return 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path, f"sqlite:///{tmp_path / 'plimsoll.db'}")
    made.start()
    yield made
    made.close()


@pytest.mark.slow
def test_what_was_acknowledged_is_there_once_whichever_process_was_killed(platform: Platform) -> None:
    release = platform.release("rain_alone")
    until(lambda: platform.state(release) == "live", "the release is live")
    platform.served()
    random = clock.generator(SEED)
    victims = random.sample(VICTIMS, len(VICTIMS))
    traffic = Traffic(platform)
    try:
        for victim in victims:
            clock.sleep(random.uniform(0.1, 1.2))
            workers = until(platform.worker_pid, "a worker lives")
            until(lambda: _asked(platform) == 200, "the plane answers")
            plane = until(platform.plane_pid, "a plane lives")
            if "plane" in victim:
                _kill(plane)
            if "worker" in victim:
                _kill(workers)
            if "up" in victim:
                platform.kill()
                if "plane" not in victim:
                    until(lambda: _asked(platform) == 200, "the plane answers while its server is down")
                platform.start()
        until(lambda: _asked(platform) == 200, "the plane is back")
        until(lambda: traffic.least() > 5 or traffic.defects, "each caller was told of something")
    finally:
        traffic.stop()
    _check(platform, traffic)


def _check(platform: Platform, traffic: Traffic) -> None:
    author = platform.author
    series = author.do(GetSeries(run_id=traffic.run, name="loss"))
    assert list(series.values) == traffic.points
    until(lambda: all(author.do(GetJob(id=id)).state == "done" for id in traffic.jobs), "every job is done")
    told = collections.Counter(event.subject for event in _events(author) if event.verb == "StartRun")
    assert {id: told[f"run:{id}"] for id in traffic.runs} == dict.fromkeys(traffic.runs, 1)
    assert author.do(VerifyEvents()).broken_at is None
    done = platform.command("events", "verify")
    assert done.returncode == 0, done.stderr
    stored: dict[str, list[float]] = {}

    def sent() -> bool:
        stored.clear()
        for row in _rows(platform, predictions_stream("trains", "production")):
            stored.setdefault(row["request_id"], []).append(row["output"])
        return stored.keys() >= traffic.predictions.keys()

    until(sent, "the plane has sent its log")
    assert {id: stored[id] for id in traffic.predictions} == {id: [value] for id, value in traffic.predictions.items()}
    labels = collections.Counter((row["request_id"], row["value"]) for row in _rows(platform, labels_stream("trains", "production")))
    assert labels == dict.fromkeys(traffic.labels.items(), 1)
    pid = platform.plane_pid()
    assert pid is not None
    assert platform.process is not None
    platform.process.terminate()
    platform.process.wait(PATIENCE)
    assert not alive(pid)


def _events(author: HttpDoor) -> Iterator[Event]:
    """Give all audit lines, newest first: the slower the machine, the more there are."""
    page = author.do(ListEvents(limit=1000))
    while page:
        yield from page
        page = author.do(ListEvents(limit=1000, before=page[-1].sequence))


def _rows(platform: Platform, stream: str) -> list[dict[str, Any]]:
    workspace = open_workspace(platform.home, platform.project, database=platform.database)
    try:
        with workspace.stores.database.read() as tx:
            return list(workspace.stores.segments.scan(tx, stream, 0, 2**62).to_dicts())
    finally:
        workspace.close()
