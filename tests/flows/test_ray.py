"""Pipelines on the nodes of a Ray cluster, of which one is lost."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.data.project import load_object
from plimsoll.errors import InvalidInput, StepFailed
from plimsoll.pipelines.executors.cluster.driver import RayCluster
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.records.access import Actor
from plimsoll.workspace import open_workspace
from tests.flows.real_platform import alive
from tests.ray_nodes import ray_cluster

pytestmark = pytest.mark.slow

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"

HELD = """
import os, time
from pathlib import Path
from plimsoll import pipeline, step

@step
def begin(count):
    return list(range(count))

@step(cache="forever")  # which process it runs in is asked for the test alone
def hold(numbers, folder):
    with open(Path(folder, "holds"), "a") as file:
        file.write(f"{os.getpid()}\\n")
    while not Path(folder, "go").exists():
        time.sleep(0.02)
    return sum(numbers)

@step
def join(total, others):
    return total + len(others)

@pipeline
def flow(folder: str, count: int = 5):
    numbers = begin(count)
    return join(hold(numbers, folder), begin(2))
"""

ASKING = """
import os, time
from pathlib import Path
from plimsoll import pipeline, step

def hold(name, folder):
    with open(Path(folder, "holds"), "a") as file:
        file.write(f"{name} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', 'none')}\\n")
    while not Path(folder, "go").exists():
        time.sleep(0.02)

@step(cpu=0.25, gpu=1)
def graphics(folder, number):
    hold("graphics", folder)

@step(cpu=0.25, memory="600GB")
def large(folder, number):
    Path(folder, "alone").mkdir()
    hold("large", folder)
    Path(folder, "alone").rmdir()

@pipeline
def flow(folder: str):
    return [*(graphics(folder, number) for number in range(2)), *(large(folder, number) for number in range(2))]
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget the modules of a test's project, so that the next may have the same names."""
    known, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if name.partition(".")[0] in ("pipe", "late"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that runs no step, and two nodes that do."""
    with ray_cluster(0, 1, 1) as made:
        yield made


def run(home: Path, project: Path, ref: str, executor: Any, **params: Any) -> PipelineResult:
    """Run a pipeline in a home of its own."""
    opened = open_workspace(home, project, owner="dana")
    actor = Actor(name="dana", roles=("admin",))
    runner = executor(opened.stores.blobs, project) if callable(executor) else executor
    try:
        function = load_object(project, ref)
        blobs = opened.stores.blobs
        return execute(function, params, do=lambda request: opened.do(request, actor), blobs=blobs, project=project, executor=runner)
    finally:
        if callable(executor):
            runner.close()
        opened.close()


def identity(result: PipelineResult) -> dict[str, tuple[str | None, str | None]]:
    """Return the key and the output's digest of each step."""
    return {step.label: (step.record.key, step.record.output and step.record.output.digest) for step in result.steps}


def test_a_run_whose_steps_are_all_known_asks_no_node(tmp_path: Path) -> None:
    project = held(tmp_path)
    (project / "go").touch()
    first = run(tmp_path / "home", project, "pipe.py:flow", "processes", folder=str(project))
    nowhere = lambda blobs, where: RayCluster(blobs, where, "127.0.0.1:1")  # noqa: E731
    again = run(tmp_path / "home", project, "pipe.py:flow", nowhere, folder=str(project))
    assert {step.state for step in again.steps} == {"hit"}
    assert identity(again) == identity(first)


def test_a_step_whose_node_is_lost_runs_on_another_one(cluster: Any, tmp_path: Path) -> None:
    project = held(tmp_path)
    spare = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")
    ended: list[Any] = []

    def body() -> None:
        ended.append(run(tmp_path / "home", project, "pipe.py:flow", RayCluster, folder=str(project)))

    running = threading.Thread(target=body)
    running.start()
    holds = project / "holds"
    until(lambda: holds.exists() and holds.read_text().count("\n") == 1)
    step = int(holds.read_text())
    node = node_of(cluster, step)
    try:
        cluster.remove_node(node, allow_graceful=False)
        until(lambda: not alive(step))
        until(lambda: holds.read_text().count("\n") == 2)
    finally:
        (project / "go").touch()
        running.join(300)
    (result,) = ended
    assert result.value == 12
    if node is not spare:
        cluster.remove_node(spare)
        cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1")


def test_steps_run_where_there_is_what_they_ask_for_and_wait_while_others_have_it(cluster: Any, tmp_path: Path) -> None:
    project = held(tmp_path)
    (project / "pipe.py").write_text(ASKING)
    bigger = cluster.add_node(num_cpus=1, num_gpus=2, memory=10**12, node_ip_address="127.0.0.1")
    ended: list[Any] = []

    def body() -> None:
        ended.append(run(tmp_path / "home", project, "pipe.py:flow", RayCluster, folder=str(project)))

    running = threading.Thread(target=body)
    running.start()
    holds = project / "holds"
    try:
        until(lambda: holds.exists() and holds.read_text().count("\n") == 3)
        begun = sorted(line.split() for line in holds.read_text().splitlines())
        assert [node_of(cluster, int(process)) for _, process, _ in begun] == [bigger] * 3
        assert [name for name, _, _ in begun] == ["graphics", "graphics", "large"]
        assert {device for name, _, device in begun if name == "graphics"} == {"0", "1"}
    finally:
        (project / "go").touch()
        running.join(300)
        cluster.remove_node(bigger)
    # Two large ones at the same time would have failed.
    assert [step.state for step in ended[0].steps] == ["ran"] * 4


def test_a_step_that_asks_for_more_than_any_node_has_is_refused(tmp_path: Path) -> None:
    project = held(tmp_path)
    text = (project / "pipe.py").read_text().replace("@step\ndef begin", "@step(memory=10**13)\ndef begin")
    (project / "pipe.py").write_text(text)
    with pytest.raises(StepFailed, match="No node of the Ray cluster has what begin asks for"):
        run(tmp_path / "home", project, "pipe.py:flow", RayCluster, folder=str(project))


def test_an_address_of_rays_client_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="client server"):
        RayCluster(None, tmp_path, "ray://127.0.0.1:10001")  # type: ignore[arg-type]


def held(folder: Path) -> Path:
    """Return a project whose second step waits for a file."""
    project = folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text('[project]\nname = "held"\n')
    (project / "pipe.py").write_text(HELD)
    return project


def node_of(cluster: Any, process: int) -> Any:
    """Return the node on which a step's process runs: its Ray worker's parent."""
    parents = []
    while process > 1:
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        parents.append(process)
    (found,) = (node for node in cluster.list_all_nodes() if node.all_processes["raylet"][0].process.pid in parents)
    return found


def until(condition: Any, seconds: float = 300.0) -> None:
    """Wait for a condition."""
    deadline = clock.monotonic() + seconds
    while not condition():
        assert clock.monotonic() < deadline, "the condition did not come true in time"
        clock.sleep(0.02)
