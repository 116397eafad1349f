from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll.pipelines.executors.call import Executor
from plimsoll.pipelines.executors.cluster.driver import RayCluster
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.executors.processes import Processes
from plimsoll.pipelines.executors.warm import Forked, Warm
from plimsoll.store.blobs import LocalBlobs
from plimsoll.testing.executors import ExecutorSuite
from tests.ray_nodes import ray_cluster


class Elsewhere:
    """Blobs that no other process can open: those behind a server look like this."""

    def __init__(self, blobs: LocalBlobs) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)


class Kept:
    """A warm process that outlives the executor.

    Args:
        warm: the process.
    """

    def __init__(self, warm: Warm) -> None:
        self._warm = warm

    def fork(self, environment: dict[str, str]) -> Forked:
        """Return a child; without one a fresh interpreter would be taken, and it is not that which is tried."""
        child = self._warm.fork(environment)
        assert child is not None
        return child

    def kill(self) -> None:
        """Leave it for the next executor."""


class TestInProcess(ExecutorSuite):
    separate = False

    @pytest.fixture
    def executor(self, blobs: LocalBlobs, project: Path) -> Executor:
        return InProcess(blobs, project)


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """The process that all tests of a class fork from; ``tests/unit/pipelines/test_warm.py`` tries how it begins and ends."""
    made = Warm([], sys.path)
    yield made
    made.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
class TestProcessesForkedFromAWarmOne(ExecutorSuite):
    @pytest.fixture
    def executor(self, blobs: LocalBlobs, project: Path, warm: Warm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
        monkeypatch.setattr("plimsoll.pipelines.executors.processes.Warm", lambda functions, path: Kept(warm))
        made = Processes(blobs, project, at_once=2)
        yield made
        made.close()


class TestFreshProcesses(ExecutorSuite):
    @pytest.fixture
    def executor(self, blobs: LocalBlobs, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
        # As on a system without fork, where every call gets an interpreter of its own.
        monkeypatch.setattr("plimsoll.pipelines.executors.warm.Warm.fork", lambda self, environment: None)
        made = Processes(blobs, project, at_once=2)
        yield made
        made.close()


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Two nodes on this machine."""
    with ray_cluster(1, 1) as cluster:
        yield cluster


@pytest.mark.slow
class TestRayWhoseNodesShareTheDriversDisk(ExecutorSuite):
    @pytest.fixture
    def executor(self, blobs: LocalBlobs, project: Path, ray: Any) -> Iterator[Executor]:
        made = RayCluster(blobs, project)
        yield made
        made.close()


@pytest.mark.slow
class TestRayWhoseNodesSeeNothingOfTheDriver(ExecutorSuite):
    @pytest.fixture
    def executor(self, blobs: LocalBlobs, project: Path, ray: Any) -> Iterator[Executor]:
        made = RayCluster(Elsewhere(blobs), project)  # type: ignore[arg-type]
        yield made
        made.close()
