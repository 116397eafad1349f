"""What a platform takes that nobody asks for anything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plimsoll.records.run import GetRun, StartRun
from plimsoll.records.tracking.find import SearchRuns
from tests.flows.real_platform import Platform, until

pytestmark = pytest.mark.slow

DATABASES = ("sqlite",)

#: What processes take that have imported for themselves.
FORKED = False

#: Of the server and of its worker, each, resident.
MOST = 150e6


def resident(pid: int) -> float:
    """Return the bytes of a process that are in memory."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def test_an_idle_server_and_its_worker_take_little_memory(platform: Platform) -> None:
    for _ in range(50):
        run = platform.author.do(StartRun(experiment="idle"))
        platform.author.do(GetRun(id=run.id))
        platform.author.do(SearchRuns())
    assert platform.process is not None
    worker = until(platform.worker_pid, "a worker lives")
    taken = {"server": resident(platform.process.pid), "worker": resident(worker)}
    assert max(taken.values()) < MOST, taken
