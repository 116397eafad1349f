"""A small project and a whole platform around it: ``plimsoll up`` in processes of its own, an author and an approver at its door."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from plimsoll import clock
from plimsoll.errors import NotFound, Unreachable
from plimsoll.records.access import AddActor
from plimsoll.records.deployment import ApproveRelease, CreateRelease, GetDeployment, GetRelease, Release, ServingConfig
from plimsoll.records.model import CheckReport, CheckVersion, ListVersions, Version
from plimsoll.records.pipeline import RunPipeline
from plimsoll.records.plane import ListPlanes
from plimsoll.sdk.http import HttpDoor
from plimsoll.workspace import open_workspace
from tests.begun import Begun
from tests.forked import plimsoll

#: Makes the home and the models.
AUTHOR = "dana"

#: Says yes or no.
APPROVER = "omar"

PROJECT = """
[project]
name = "trains"

[tool.plimsoll.models.trains]
goal = "Say which trains will be late."
pipeline = "training.py:trains"
baseline = "features.py:rule"
label = "late"
unit = "id"
time = "at"
decision_stage = "an hour before departure"
minimum_saving = 0.01
margin = 0.05
slices = ["line"]
costs = { false_alarm = 1.0, missed = 3.0 }
known_at = { minutes = "after arrival" }
budget = { load_seconds = 120.0, memory_mib = 1500.0, latency_ms = 5000.0 }

[tool.plimsoll.serving.trains]
fallback = 0.1

# Few requests, and a latency that two busy cores do not break.
[tool.plimsoll.environments.production]
approvals = 1
latency_factor = 1000.0
steps = [{ share = 0.0, requests = 40 }, { share = 0.5, requests = 40 }, { share = 1.0, requests = 1 }]
"""

FEATURES = """
import polars as pl


def rule(rows):
    return (rows["rain"] > 1.2).cast(pl.Int64)


def rain_alone(rows):
    return rows.select("rain")


def rain_and_wind(rows):
    return rows.select("rain", "wind")


def picky(rows):
    # No row of the training or of the holdout is so wet.
    if rows.height and (rows["rain"] > 20).any():
        raise ValueError("so much rain")
    return rows.select(pl.col("rain"), pl.col("wind") * 1.0)
"""

TRAINING = """
from datetime import datetime, timedelta, timezone

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

import features
from plimsoll import Model, pipeline, step

FUNCTIONS = {name: getattr(features, name) for name in ("rain_alone", "rain_and_wind", "picky")}


@step(snapshot="trains")
def timetable(count: int, day: int) -> pl.DataFrame:
    random = np.random.default_rng(day)
    rain, wind = random.normal(size=count), random.normal(size=count)
    late = rain + wind + random.normal(size=count) > 1.2
    start = datetime(2013, 1, 1, tzinfo=timezone.utc) + timedelta(days=day)
    return pl.DataFrame(
        {
            "id": [f"{day}-{row}" for row in range(count)],
            "at": [start + timedelta(minutes=28 * row) for row in range(count)],
            "rain": rain,
            "wind": wind,
            "line": random.choice(["east", "west"], count),
            "late": late.astype(np.int8),
        }
    )


@step
def train(training: pl.DataFrame, holdout: pl.DataFrame, function: str) -> Model:
    prepare = FUNCTIONS[function]
    inputs = training.select("rain", "wind")
    estimator = LogisticRegression().fit(prepare(inputs).to_numpy(), training["late"].to_numpy())
    return Model(estimator, name="trains", features=prepare, example=inputs.head(5), training=training, holdout=holdout)


@step
def evaluate(model: Model, holdout: pl.DataFrame) -> dict:
    return {"brier": float(((model.predict(holdout) - holdout["late"].to_numpy()) ** 2).mean())}


@pipeline
def trains(function: str = "rain_alone"):
    training, holdout = timetable(2000, 0), timetable(1000, 100)
    return evaluate(train(training, holdout, function), holdout)
"""

#: Five steps of plain Python, of which two use a helper; ``die`` and ``wait`` make one of them end, or hold it up.
CHAIN = """
import os
import signal
import time
from pathlib import Path

from plimsoll import current_run, pipeline, step
from scale import scaled


@step
def begin(count: int) -> list:
    return list(range(count))


@step
def double(numbers: list) -> list:
    return [scaled(number) for number in numbers]


@step
def square(numbers: list) -> list:
    return [number * number for number in numbers]


@step
def join(doubled: list, squared: list, die: bool) -> int:
    if die:
        signal.raise_signal(9)
    current_run().log(seen=len(doubled))
    return sum(doubled) + sum(squared)


@step(cache="forever")  # which process it runs in is asked for the test alone
def hold(total: int, folder: str) -> int:
    if folder:
        Path(folder, "holds").write_text(str(os.getpid()))
        deadline = time.monotonic() + 600
        while not Path(folder, "go").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    return total + scaled(1)


@pipeline
def chain(count: int = 4, die: bool = False, folder: str = ""):
    numbers = begin(count)
    return hold(join(double(numbers), square(numbers), die), folder)
"""

SCALE = """
def scaled(number):
    return number * 2
"""


#: Seconds for which an answer, or a state, is waited for: what must come, comes on a slow machine, too.
PATIENCE = 180.0


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Return the first true value of a condition.

    Args:
        condition: is asked again and again.
        what: what is waited for, for the message.
        seconds: after which the test fails.
    """
    deadline = clock.monotonic() + seconds
    while not (found := condition()):
        assert clock.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        clock.sleep(0.02)
    return found


def kept_port() -> socket.socket:
    """Return a socket whose TCP port nobody else is given until it is closed; a server that sets ``SO_REUSEADDR`` can listen on it.

    It is below those that systems give to clients: while a server is down, no connection of a test beside this one takes its port.
    """
    while True:
        kept = socket.socket()
        try:
            kept.bind(("127.0.0.1", 20_000 + int.from_bytes(os.urandom(2)) % 12_000))
        except OSError:
            kept.close()
            continue
        # From now on whoever sets it, too, may have the port; another test that looks for one does not.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return kept


def port_of(kept: socket.socket) -> int:
    """Return the port of a socket.

    Args:
        kept: a bound one.
    """
    return int(kept.getsockname()[1])


def alive(pid: int) -> bool:
    """Return whether a process runs, or a thread of it.

    Args:
        pid: its id.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        # The first thread of a process that was killed may be dead before the others: until they are, nobody hears of its end.
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


class Platform:
    """One home, its ``plimsoll up``, and who asks it.

    Args:
        folder: an empty folder.
        database: where the metadata are.
        forked: whether its processes are forked from one that has imported what they import (``tests/begun.py``).
    """

    def __init__(self, folder: Path, database: str, forked: bool = True) -> None:
        self.forked = forked
        self.project = folder / "trains"
        self.home = self.project / ".plimsoll"
        self.database = database
        self._kept = (kept_port(), kept_port())
        self.ports = (port_of(self._kept[0]), port_of(self._kept[1]))
        self.process: subprocess.Popen[bytes] | None = None
        self.project.mkdir()
        for name, text in (
            ("pyproject.toml", PROJECT),
            ("features.py", FEATURES),
            ("training.py", TRAINING),
            ("chain.py", CHAIN),
            ("scale.py", SCALE),
        ):
            (self.project / name).write_text(text)
        workspace = open_workspace(self.home, self.project, database=database, owner=AUTHOR)
        try:
            token = workspace.token("owner")
            invited = workspace.do(AddActor(name=APPROVER, roles=("read", "approve", "operate")), workspace.identify(token))
        finally:
            workspace.close()
        self.token = token
        self.author = HttpDoor(self.url, token)
        self.approver = HttpDoor(self.url, invited.token)
        self.plane = httpx.Client(base_url=f"http://127.0.0.1:{self.ports[1]}", timeout=PATIENCE, trust_env=False)

    @property
    def url(self) -> str:
        """Address of the control server."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of every process that is started here."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PLIMSOLL_")}
        return {**kept, "PLIMSOLL_DATABASE": self.database, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}

    def start(self) -> None:
        """Start ``plimsoll up`` and return once it answers."""
        (self.home / "logs").mkdir(exist_ok=True)
        command = ["up", "--port", str(self.ports[0]), "--serving-port", str(self.ports[1]), "--parent", str(os.getpid())]
        path = self.home / "logs" / "up.log"
        with path.open("ab") as log:
            self.process = (Begun if self.forked else subprocess.Popen)(
                [sys.executable, "-m", "plimsoll.cli.app", *command],
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else b""
        assert line.decode().strip() == self.url, f"up did not start: {path.read_text()[-2000:]}"

    def kill(self) -> None:
        """End ``plimsoll up`` as a power cut does; what it started is left to itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)
        self._forget()

    def close(self) -> None:
        """End everything."""
        with contextlib.ExitStack() as last:
            for kept in (*self._kept, self.author, self.approver, self.plane):
                last.callback(kept.close)
            pid = self.plane_pid()
            if self.process is not None:
                self.process.terminate()
                try:
                    self.process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait(PATIENCE)
                self._forget()
            if pid is not None and alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                until(lambda: not alive(pid), "the plane has ended")

    def _forget(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def plane_pid(self) -> int | None:
        """Return the process id of the serving plane, or None when none answers."""
        with contextlib.suppress(httpx.HTTPError):
            return int(self.plane.get("/plane").json()["pid"])
        return None

    def worker_pid(self) -> int | None:
        """Return the process id of the worker of the running ``up``, or None while there is none."""
        assert self.process is not None
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"plimsoll.worker" in (path / "cmdline").read_bytes():
                    return int(path.name)
        return None

    def command(self, *words: str, door: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``plimsoll WORDS`` in the project, as the author.

        Args:
            words: the command line.
            door: ask the server; False opens the home.
        """
        return plimsoll(words, self.project, self._asked(door))

    def begin(self, *words: str, door: bool = True) -> subprocess.Popen[str]:
        """Start ``plimsoll WORDS`` in the project and return at once.

        Args:
            words: the command line.
            door: ask the server; False opens the home.
        """
        return Begun(
            [sys.executable, "-m", "plimsoll.cli.app", *words],
            cwd=self.project,
            env=self._asked(door),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _asked(self, door: bool) -> dict[str, str]:
        asked = {"PLIMSOLL_URL": self.url, "PLIMSOLL_TOKEN": self.token} if door else {}
        return {**self.environment, **asked}

    def train(self, function: str) -> Version:
        """Let the worker train a model and return its version."""
        run = self.author.do(RunPipeline(pipeline="training.py:trains", params={"function": function}))
        return next(version for version in self.author.do(ListVersions(model="trains")) if version.run_id == run.id)

    def check(self, version: Version) -> CheckReport:
        """Let the worker examine a version."""
        return self.author.do(CheckVersion(ref=f"trains/{version.number}", environment="production"))

    def propose(self, version: Version) -> Release:
        """Propose a version for production, as the project declares it."""
        return self.author.do(CreateRelease(ref=version.digest, config=ServingConfig(fallback=0.1)))

    def release(self, function: str) -> Release:
        """Train, check, propose and approve; the worker then rolls it out."""
        version = self.train(function)
        report = self.check(version)
        assert report.outcome != "fail", [verdict for verdict in report.verdicts if verdict.outcome == "fail"]
        release = self.propose(version)
        return self.approver.do(ApproveRelease(id=release.id, digest=release.digest, note="The checks are good."))

    def state(self, release: Release) -> str:
        """Return where a release stands."""
        return self.author.do(GetRelease(id=release.id)).state

    def served(self) -> None:
        """Wait until the plane serves the newest generation of the deployment."""

        def same() -> bool:
            try:
                wanted = self.author.do(GetDeployment(model="trains")).generation
            except NotFound:
                return False
            planes = self.author.do(ListPlanes(environment="production"))
            return any(plane.report.generations.get("trains") == wanted for plane in planes)

        until(same, "the plane serves what it should")

    def ask(self, *rows: tuple[float, float], id: str | None = None, unit: str = "", at: str | None = None) -> httpx.Response:
        """Ask for predictions by the Open Inference Protocol.

        Args:
            rows: rain and wind of each row.
            id: the request's id.
            unit: the train.
            at: event time, ISO 8601.
        """
        body: dict[str, Any] = {
            "inputs": [
                {"name": name, "shape": [len(rows)], "datatype": "FP64", "data": [row[index] for row in rows]}
                for index, name in enumerate(("rain", "wind"))
            ],
            "parameters": {key: value for key, value in (("unit", unit), ("event_time", at)) if value},
        }
        if id is not None:
            body["id"] = id
        return self.plane.post("/v2/models/trains/infer", json=body)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric of the plane over all series with these labels.

        Args:
            name: as Prometheus reads it.
            labels: label -> value.
        """
        total = 0.0
        for line in self.plane.get("/metrics").text.splitlines():
            found = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if found is None:
                continue
            has = dict(re.findall(r'(\w+)="([^"]*)"', found[1] or ""))
            if labels.items() <= has.items():
                total += float(found[2])
        return total


def weather(seed: int) -> random.Random:
    """Return a source of rain and wind."""
    return clock.generator(seed)


def answers(response: httpx.Response) -> list[float]:
    """Return the numbers of an answer by the Open Inference Protocol."""
    assert response.status_code == 200, response.text
    found: list[float] = response.json()["outputs"][0]["data"]
    return found


def unreachable(platform: Platform) -> bool:
    """Return whether the control server does not answer."""
    try:
        platform.author.do(ListPlanes(environment="production"))
    except Unreachable:
        return True
    return False


def printed(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what a command printed with ``--json``."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
