from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.pipelines.executors.call import Executor
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.executors.processes import Processes
from plimsoll.store.blobs import LocalBlobs
from plimsoll.testing.executors import ExecutorSuite


class TestInProcess(ExecutorSuite):
    separate = False

    @pytest.fixture
    def executor(self, blobs: LocalBlobs, project: Path) -> Executor:
        return InProcess(blobs, project)


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
class TestProcessesForkedFromAWarmOne(ExecutorSuite):
    @pytest.fixture
    def executor(self, blobs: LocalBlobs, project: Path) -> Iterator[Executor]:
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
