"""A plane with real processes on loopback: what callers see when models, replicas, the server or the plane itself fail."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from plimsoll import clock, codec
from plimsoll.extras import require
from plimsoll.records.deployment import Kill, ServingConfig
from plimsoll.records.model import Costs, Purpose
from plimsoll.records.plane import DesiredModel, DesiredState, Track
from plimsoll.registry.package import Model, open_package, package_digest
from tests.begun import Begun
from tests.flows.real_platform import alive

#: Seconds for which an answer, or a state, is waited for: what must come, comes on a slow machine, too.
PATIENCE = 120.0

#: The feature code of the tests' models; the bad one fails on one value of ``a``.
GOOD = """
def features(rows):
    return rows.select("a", "n")
"""
BAD = """
def features(rows):
    if rows.height and rows.get_column("a").max() == 666:
        raise RuntimeError("cannot")
    return rows.select(-rows.get_column("a"), "n")
"""


def until(condition: Callable[[], Any]) -> Any:
    deadline = clock.monotonic() + PATIENCE
    while not (found := condition()):
        assert clock.monotonic() < deadline, "the condition never came true"
        clock.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two trusted packages with code, by name; the bad one decides the other way round."""
    project = tmp_path_factory.mktemp("project")
    (project / "pyproject.toml").write_text('[project]\nname = "demo"\n')
    random = np.random.default_rng(1)
    frame = pl.DataFrame({"a": random.normal(size=200), "n": random.integers(0, 9, 200)})
    estimator = require("sklearn.linear_model").LogisticRegression().fit(frame.to_numpy(), frame.get_column("a").to_numpy() > 0)
    purpose = Purpose(goal="g", label="y", unit="flight", time="t", costs=Costs(false_alarm=1.0, missed=1.0))
    made = {}
    sys.path.insert(0, str(project))
    try:
        for name, code in (("good", GOOD), ("bad", BAD)):
            (project / f"features_{name}.py").write_text(code)
            module = __import__(f"features_{name}")
            folder = tmp_path_factory.mktemp(name)
            model = Model(estimator, name="demo", example=frame.head(5), features=module.features, purpose=purpose)
            model.__plimsoll_save__(folder, project)
            made[name] = folder
    finally:
        sys.path.remove(str(project))
    return made


def track(name: Any, folder: Path, share: float, release: str, **config: Any) -> Track:
    number = 1 if release == "old" else 2
    digest = package_digest(folder)
    return Track(name=name, release_id=release, number=number, package=digest, share=share, config=ServingConfig(**config), trusted=True)


class World:
    """A plane's process and its folder for a server."""

    def __init__(self, folder: Path, packages: dict[str, Path]) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None
        self.address = ""
        self.generation = 0
        (folder / "packages").mkdir()
        for path in packages.values():
            (folder / "packages" / package_digest(path)).symlink_to(path)

    def want(self, *tracks: Track, kill: Kill | None = None) -> None:
        self.generation += 1
        model = DesiredModel(model="demo", generation=self.generation, tracks=tracks, kill=kill)
        new = self.folder / "desired.new"
        new.write_bytes(codec.to_json(DesiredState(environment="production", models=(model,))))
        new.replace(self.folder / "desired.json")

    def start(self) -> None:
        script = Path(__file__).with_name("serving_plane.py")
        root = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        # Safe path: a module beside the script has the name of one of the standard library.
        command = [sys.executable, "-P", str(script), str(self.folder)]
        self.process = Begun(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:")

    def ready(self) -> None:
        until(lambda: httpx.get(f"{self.address}/v2/health/ready", timeout=PATIENCE).status_code == 200)

    def served(self) -> None:
        """Wait until every track of the newest generation is loaded and routed to."""
        path = self.folder / "report.json"
        until(lambda: path.exists() and json.loads(path.read_bytes())["generations"].get("demo") == self.generation)

    def ask(self, rows: list[dict[str, Any]], client: Any = httpx, **headers: str) -> httpx.Response:
        body = {"dataframe_records": rows}
        response: httpx.Response = client.post(f"{self.address}/invocations", json=body, headers=headers, timeout=PATIENCE)
        return response

    def tracks(self) -> set[str]:
        """Return the tracks that answer twenty requests of different names."""
        return {self.ask([ROW], **{"x-request-id": str(index)}).headers["plimsoll-track"] for index in range(20)}

    def metrics(self) -> list[str]:
        return httpx.get(f"{self.address}/metrics", timeout=PATIENCE).text.splitlines()

    def replica(self, folder: Path) -> int:
        """Return the process id of a package's replica."""
        assert self.process is not None
        digest = package_digest(folder)
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            # One that is being replaced may be gone by now.
            with contextlib.suppress(OSError):
                if digest in Path(f"/proc/{pid}/cmdline").read_text():
                    return int(pid)
        raise AssertionError(f"no replica of {digest[:12]} lives")

    @contextlib.contextmanager
    def held(self, folder: Path) -> Iterator[int]:
        """Hold a package's replica, so that what it is asked is certain to wait; give its process id."""
        pid = self.replica(folder)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def queued(self, folder: Path) -> int:
        """Return how many requests wait for a package's replica, beside those that it has."""
        mark = f'plimsoll_queue_requests{{package="{package_digest(folder)[:12]}"}} '
        return sum(int(float(line.removeprefix(mark))) for line in self.metrics() if line.startswith(mark))

    def wait_queued(self, folder: Path, count: int) -> None:
        """Wait until so many requests wait behind the one that a held replica has."""
        # Twice: the first of them all is seen in the queue as well, for a moment.
        for _ in range(2):
            until(lambda: self.queued(folder) == count)

    def taken(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted((self.folder / "taken").glob("*.json"))]

    def logged(self) -> list[tuple[str, str, int]]:
        """Return request id, track and status of every row that reached the server."""
        batches = [batch["rows"] for batch in self.taken()]
        return [found for rows in batches for found in zip(rows["request_id"], rows["track"], rows["status"], strict=True)]

    def counted(self, name: str) -> dict[str, int]:
        """Return what a track did in the newest generation."""
        found = [count for batch in self.taken() for count in batch["counts"] if count["generation"] == self.generation]
        counts = [count for count in found if count["track"] == name]
        return {key: sum(count[key] for count in counts) for key in ("requests", "errors", "paired", "flipped")}

    def stop(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(PATIENCE)
            assert self.process.stdout is not None
            self.process.stdout.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, packages: dict[str, Path]) -> Iterator[World]:
    """A plane for all tests that leave it as they found it: each begins with a generation of its own, and counts that one alone."""
    found = World(tmp_path_factory.mktemp("shared"), packages)
    found.want(track("stable", packages["good"], 1.0, "old"), track("canary", packages["bad"], 0.0, "new"))
    found.start()
    found.ready()
    yield found
    found.stop()


@pytest.fixture
def calm(shared: World, packages: dict[str, Path]) -> World:
    """The shared plane, whose second track gets no request: what it has loaded, the next test need not load."""
    shared.want(track("stable", packages["good"], 1.0, "old"), track("canary", packages["bad"], 0.0, "new"))
    shared.served()
    return shared


@pytest.fixture
def world(tmp_path: Path, packages: dict[str, Path]) -> Iterator[World]:
    found = World(tmp_path, packages)
    yield found
    found.stop()


@pytest.fixture
def serving(world: World, packages: dict[str, Path]) -> World:
    world.want(track("stable", packages["good"], 1.0, "old"))
    world.start()
    world.ready()
    return world


ROW = {"a": 1.0, "n": 3}


def test_every_way_of_asking_gives_what_the_model_answers(calm: World, packages: dict[str, Path]) -> None:
    model = open_package(packages["good"], package_digest(packages["good"]), trusted=True)
    counter = 'plimsoll_requests_total{model="demo",status="200",track="stable",version="1"} '
    before = sum((float(line.removeprefix(counter)) for line in calm.metrics() if line.startswith(counter)), 0.0)
    rows = [{"a": index / 7 - 2, "n": index % 9} for index in range(30)]
    expected = model.predict({"a": [row["a"] for row in rows], "n": [row["n"] for row in rows]}).tolist()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = calm.ask(rows, **{"x-request-id": "mine", "traceparent": trace})
    assert answer.json() == {"predictions": expected}
    marks = ("x-request-id", "traceparent", "plimsoll-version", "plimsoll-track")
    assert [answer.headers[name] for name in marks] == ["mine", trace, "1", "stable"]
    assert "plimsoll-fallback" not in answer.headers
    body = {
        "id": "open-1",
        "inputs": [
            {"name": "a", "shape": [30, 1], "datatype": "FP64", "data": [[row["a"]] for row in rows]},
            {"name": "n", "shape": [30], "datatype": "INT64", "data": [row["n"] for row in rows]},
        ],
    }
    for path in ("/v2/models/demo/infer", "/v2/models/demo/versions/1/infer"):
        found = httpx.post(calm.address + path, json=body, timeout=PATIENCE).json()
        assert found["outputs"] == [{"name": "prediction", "shape": [30], "datatype": "FP64", "data": expected}]
        assert (found["model_name"], found["model_version"], found["id"]) == ("demo", "1", "open-1")
    described = httpx.get(f"{calm.address}/v2/models/demo", timeout=PATIENCE).json()
    assert [(one["name"], one["datatype"]) for one in described["inputs"]] == [("a", "FP64"), ("n", "INT64")]
    ready = httpx.get(f"{calm.address}/v2/models/demo/versions/1/ready", timeout=PATIENCE)
    assert ready.json() == {"name": "demo", "ready": True}
    assert httpx.get(f"{calm.address}/v2", timeout=PATIENCE).json()["name"] == "plimsoll"
    assert f"{counter}{before + 3}" in calm.metrics()
    assert any(line.startswith("plimsoll_replica_up{") for line in calm.metrics())


BAD_REQUESTS: list[tuple[str, str, bytes, dict[str, str], int]] = [
    ("POST", "/invocations", b"{", {}, 400),
    ("POST", "/invocations", b'{"dataframe_records": [{"a": "x", "n": 1}]}', {}, 400),
    ("POST", "/invocations", b'{"dataframe_records": [{"a": 1}]}', {}, 400),
    ("POST", "/invocations", b'{"dataframe_records": [{"a": 1, "n": 1, "z": 1}]}', {}, 400),
    ("POST", "/invocations", b"a,n\n1,2,3\n", {"content-type": "text/csv"}, 400),
    ("POST", "/invocations", b"x", {"content-type": "application/x-parquet"}, 415),
    ("POST", "/invocations", b"x", {"content-encoding": "gzip"}, 415),
    ("POST", "/invocations", b" " * (17 * 2**20), {}, 413),
    ("POST", "/invocations", b'{"instances": [[1.0, 1]]}', {"plimsoll-deadline-ms": "soon"}, 400),
    ("POST", "/invocations", b'{"instances": [[1.0, 1]]}', {"x-request-id": "a b"}, 400),
    ("POST", "/invocations", b'{"instances": [[1.0, 1]]}', {"host": "evil.example"}, 400),
    ("POST", "/invocations", b'{"instances": [[1.0, 1]]}', {"host": "127.0.0.1:1"}, 400),
    ("POST", "/invocations", b'{"instances": [[1.0, 1]]}', {"origin": "http://evil.example"}, 403),
    ("POST", "/v2/models/demo/infer", b'{"inputs": []}', {"content-type": "text/plain"}, 415),
    ("POST", "/models/other/invocations", b"{}", {}, 404),
    ("POST", "/v2/models/other/infer", b"{}", {}, 404),
    ("POST", "/v2/models/demo/versions/9/infer", b'{"inputs": []}', {}, 400),
    ("POST", "/v2/models/demo/versions/x/infer", b"{}", {}, 404),
    ("POST", "/v2/models/demo/infer", b"\x00" * 10, {"inference-header-content-length": "5"}, 415),
    ("POST", "/v2/models/demo/infer", b'{"inputs": [{"name": "a", "shape": [2, 2], "datatype": "FP64", "data": [1,2,3,4]}]}', {}, 400),
    ("GET", "/v2/models/demo/infer", b"", {}, 405),
    ("GET", "/invocations", b"", {}, 405),
    ("POST", "/v2/repository/index", b"", {}, 404),
    ("GET", "/v2/models/demo/config", b"", {}, 404),
    ("GET", "/v2/models/demo/versions/7", b"", {}, 404),
    ("GET", "/nowhere", b"", {}, 404),
    ("DELETE", "/metrics", b"", {}, 405),
]


def test_no_bad_request_is_the_servers_fault(calm: World) -> None:
    with httpx.Client(base_url=calm.address, timeout=PATIENCE) as client:
        for method, path, content, headers, status in BAD_REQUESTS:
            answer = client.request(method, path, content=content, headers=headers)
            assert answer.status_code == status, (method, path, content[:60], answer.text)
            body = answer.json()
            assert body.get("error") or (body["error_code"] and body["message"])
        named = client.post("/invocations", content=b'{"dataframe_records": [{"a": 1, "n": 1}, {"a": "x", "n": 1}]}').json()["message"]
        assert "'a'" in named
        assert "row 1" in named
    assert calm.ask([ROW]).status_code == 200


def test_a_canary_killed_under_load_fails_no_request(shared: World, packages: dict[str, Path]) -> None:
    good, bad = packages["good"], packages["bad"]
    shared.want(track("stable", good, 0.5, "old"), track("canary", bad, 0.5, "new"))
    shared.served()
    answers: list[tuple[int, str]] = []
    enough = threading.Event()

    def load(worker: int) -> None:
        with httpx.Client() as client:
            for index in itertools.count():
                if enough.is_set():
                    return
                answer = shared.ask([ROW], client, **{"x-request-id": f"{worker}-{index}"})
                answers.append((answer.status_code, answer.headers.get("plimsoll-track", "")))

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(load, worker) for worker in range(8)]
        try:
            until(lambda: {name for _, name in answers} == {"stable", "canary"})
            with shared.held(bad) as before:
                # It has a request in its hands, and others wait for it.
                until(lambda: shared.queued(bad))
                os.kill(before, signal.SIGKILL)
            until(lambda: shared.counted("canary")["errors"])
        finally:
            enough.set()
    for each in running:
        each.result()
    assert {status for status, _ in answers} == {200}
    until(
        lambda: (
            shared.counted("stable")["requests"] + shared.counted("canary")["requests"] - shared.counted("canary")["errors"] == len(answers)
        )
    )
    assert shared.counted("stable")["errors"] == 0
    # The report may still tell of the process that died; only a new one counts.
    until(lambda: sum(line.startswith("plimsoll_replica_up{") and line.endswith(" 1.0") for line in shared.metrics()) == 2)
    until(lambda: shared.tracks() == {"stable", "canary"})
    assert shared.replica(bad) != before


def test_what_the_canary_cannot_answer_is_answered_by_stable(shared: World, packages: dict[str, Path]) -> None:
    shared.want(track("stable", packages["good"], 0.0, "old"), track("canary", packages["bad"], 1.0, "new"))
    shared.served()
    assert shared.ask([ROW]).headers["plimsoll-track"] == "canary"
    answer = shared.ask([{"a": 666.0, "n": 1}])
    assert (answer.status_code, answer.headers["plimsoll-track"], answer.headers["plimsoll-version"]) == (200, "stable", "1")
    until(lambda: shared.counted("canary") == {"requests": 2, "errors": 1, "paired": 0, "flipped": 0})


def test_a_shadow_is_compared_and_never_answers(shared: World, packages: dict[str, Path]) -> None:
    shared.want(track("stable", packages["good"], 1.0, "old"), track("shadow", packages["bad"], 0.0, "new"))
    shared.served()
    answers = [shared.ask([{"a": 2.0, "n": 1}, {"a": -2.0, "n": 1}]) for _ in range(5)]
    assert {answer.headers["plimsoll-track"] for answer in answers} == {"stable"}
    assert shared.ask([{"a": 666.0, "n": 1}]).status_code == 200
    until(lambda: shared.counted("shadow") == {"requests": 6, "errors": 1, "paired": 10, "flipped": 10})


def test_answers_go_on_while_the_server_is_down_and_are_logged_when_it_is_back(serving: World) -> None:
    down = serving.folder / "down"
    down.touch()
    assert serving.ask([ROW], **{"x-request-id": "while-down"}).status_code == 200
    assert serving.process is not None
    serving.process.kill()
    serving.stop()
    serving.start()
    serving.ready()
    assert serving.ask([ROW], **{"x-request-id": "after-restart"}).status_code == 200
    down.unlink()
    until(lambda: len(serving.logged()) == 2)
    assert [found[0] for found in serving.logged()] == ["while-down", "after-restart"]


def test_a_killed_plane_loses_no_acknowledged_row_logs_none_twice_and_leaves_no_replica(serving: World, packages: dict[str, Path]) -> None:
    acknowledged: list[str] = []
    for round_number in range(2):
        with httpx.Client() as client:
            for index in range(40):
                name = f"{round_number}-{index}"
                if serving.ask([ROW, ROW], client, **{"x-request-id": name}).status_code == 200:
                    acknowledged.append(name)
        replica = serving.replica(packages["good"])
        assert serving.process is not None
        serving.process.send_signal(signal.SIGKILL)
        serving.stop()
        until(lambda replica=replica: not alive(replica))
        serving.start()
        serving.ready()
    until(lambda: len(serving.logged()) >= 2 * len(acknowledged))
    assert sorted(name for name, _, _ in serving.logged()) == sorted(acknowledged * 2)


def test_overload_is_answered_at_once_and_what_waits_in_time(world: World, packages: dict[str, Path]) -> None:
    good = packages["good"]
    world.want(track("stable", good, 1.0, "old", queue=3, batch_rows=1, deadline_ms=round(PATIENCE * 1000)))
    world.start()
    world.ready()
    with ThreadPoolExecutor(16) as pool:
        with world.held(good):
            waiting = []
            for count in range(4):
                waiting.append(pool.submit(world.ask, [ROW]))
                world.wait_queued(good, count)
            refused = list(pool.map(world.ask, [[ROW]] * 12))
            assert not any(each.done() for each in waiting)
        assert {each.result().status_code for each in waiting} == {200}
    assert {answer.status_code for answer in refused} == {429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


def test_an_answer_that_would_come_too_late_is_given_up(calm: World, packages: dict[str, Path]) -> None:
    with calm.held(packages["good"]):
        assert calm.ask([ROW], **{"plimsoll-deadline-ms": "1000"}).status_code == 504
    until(lambda: calm.counted("stable")["errors"] == 1)
    # The model is still at it: the next test finds it free.
    until(lambda: calm.ask([ROW]).status_code == 200)


def test_the_kill_switch_answers_from_stable_or_the_declared_default(shared: World, packages: dict[str, Path]) -> None:
    stable = track("stable", packages["good"], 0.0, "old", fallback=0.125)
    canary = track("canary", packages["bad"], 1.0, "new")
    shared.want(stable, canary)
    shared.served()
    shared.want(stable, canary, kill=Kill(mode="stable", reason="odd answers", actor="dana", at=1, release_id="old"))
    shared.served()
    answer = shared.ask([ROW])
    assert (answer.headers["plimsoll-track"], answer.headers["plimsoll-fallback"], answer.headers["plimsoll-kill"]) == (
        "stable",
        "true",
        "stable",
    )
    shared.want(stable, canary, kill=Kill(mode="fallback", reason="odd answers", actor="dana", at=1))
    shared.served()
    answer = shared.ask([ROW, ROW])
    assert answer.json() == {"predictions": [0.125, 0.125]}
    assert (answer.headers["plimsoll-track"], answer.headers["plimsoll-fallback"]) == ("fallback", "true")
    inputs = [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1]}, {"name": "n", "shape": [1], "datatype": "INT64", "data": [1]}]
    found = httpx.post(f"{shared.address}/v2/models/demo/infer", json={"inputs": inputs}, timeout=PATIENCE).json()
    assert found["parameters"]["fallback"] is True
    assert found["outputs"][0]["data"] == [0.125]
    none = replace(stable, config=ServingConfig())
    shared.want(none, canary, kill=Kill(mode="fallback", reason="odd answers", actor="dana", at=1))
    shared.served()
    answer = shared.ask([ROW])
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_a_package_that_nobody_trusts_is_reported_and_gets_no_request(shared: World, packages: dict[str, Path]) -> None:
    shared.want(track("stable", packages["good"], 0.5, "old"), replace(track("canary", packages["bad"], 0.5, "new"), trusted=False))
    report = shared.folder / "report.json"
    until(lambda: report.exists() and any(one["state"] == "failed" for one in json.loads(report.read_bytes())["tracks"]))
    failed = next(one for one in json.loads(report.read_bytes())["tracks"] if one["state"] == "failed")
    assert failed["release_id"] == "new"
    assert "allowed" in failed["reason"] or "trust" in failed["reason"]
    assert shared.tracks() == {"stable"}


def test_a_plane_told_to_stop_answers_what_it_has_and_sends_its_log(world: World, packages: dict[str, Path]) -> None:
    good = packages["good"]
    world.want(track("stable", good, 1.0, "old", batch_rows=1))
    world.start()
    world.ready()
    assert world.process is not None

    def closed() -> bool:
        try:
            httpx.get(f"{world.address}/ping", timeout=PATIENCE)
        except httpx.TransportError:
            return True
        return False

    with ThreadPoolExecutor(2) as pool:
        with world.held(good) as replica:
            running = [pool.submit(world.ask, [ROW], httpx, **{"x-request-id": name}) for name in ("one", "two")]
            world.wait_queued(good, 1)
            world.process.terminate()
            until(closed)
            assert not any(each.done() for each in running)
        assert {each.result().status_code for each in running} == {200}
    assert world.process.wait(PATIENCE) == 0
    assert sorted(world.logged()) == [("one", "stable", 200), ("two", "stable", 200)]
    until(lambda: not alive(replica))


def test_one_folder_is_served_without_any_server(packages: dict[str, Path]) -> None:
    folder = packages["good"]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "plimsoll.server.standalone", str(folder), "--digest", package_digest(folder)]
    refused = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False)
    assert refused.returncode != 0
    assert "allowed" in refused.stderr
    process = subprocess.Popen([*command, "--trusted"], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert line["pid"] == process.pid
        assert httpx.post(f"{line['address']}/invocations", json={"dataframe_records": [ROW]}, timeout=PATIENCE).status_code == 200
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


def test_one_folder_that_is_damaged_while_it_is_served_ends_with_the_reason(packages: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(packages["good"], tmp_path / "package")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "plimsoll.server.standalone", str(folder), "--digest", package_digest(folder), "--trusted"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        (folder / "example.parquet").write_bytes(b"changed")
        os.kill(line["replica"], signal.SIGKILL)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert "was changed while it was served" in said
        assert str(folder) in said
    finally:
        process.kill()
        process.communicate()
