"""Many processes that log to one server on SQLite at the same time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.records.run import GetRun, GetSeries, StartRun
from tests.flows.real_platform import Platform
from tests.repeats import repeats

PROCESSES, BATCHES, POINTS = 16, repeats(150, 500), 10

#: Forks the writers, so that all begin at the same moment, and ends well if all of them do.
_PROGRAM = """
import os, sys
from plimsoll.records.run import AppendPoints, PointColumns
from plimsoll.sdk.http import HttpDoor

url, token, run, batches, count, writers = *sys.argv[1:4], *map(int, sys.argv[4:6]), sys.argv[6:]


def write(writer):
    door = HttpDoor(url, token)
    for sequence in range(1, batches + 1):
        steps = tuple(range((sequence - 1) * count, sequence * count))
        columns = PointColumns(names=(writer,) * count, steps=steps, times=(1,) * count, values=tuple(map(float, steps)))
        receipt = door.do(AppendPoints(run_id=run, writer=writer, sequence=sequence, points=columns))
        assert (receipt.sequence, receipt.added) == (sequence, count), receipt
    door.close()


begun = []
for writer in writers:
    begun.append(os.fork())
    if begun[-1] == 0:
        write(writer)
        sys.exit()
sys.exit(any([os.waitpid(each, 0)[1] for each in begun]))
"""


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform on SQLite, with an address of its own."""
    platform = Platform(tmp_path, f"sqlite:///{tmp_path / 'plimsoll.db'}")
    platform.start()
    yield platform
    platform.close()


@pytest.mark.slow
def test_sixteen_processes_that_log_at_once_see_no_error_and_lose_nothing(platform: Platform) -> None:
    run = platform.author.do(StartRun(experiment="crowd")).id
    names = [f"w{number}" for number in range(PROCESSES)]
    command = [sys.executable, "-c", _PROGRAM, platform.url, platform.token, run, str(BATCHES), str(POINTS), *names]
    writers = subprocess.Popen(command, env=platform.environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, told = writers.communicate(timeout=600)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(writers.pid, signal.SIGKILL)
        writers.wait(60)
    assert (writers.returncode, told) == (0, "")
    assert {metric.name: metric.count for metric in platform.author.do(GetRun(id=run)).metrics} == dict.fromkeys(names, BATCHES * POINTS)
    for name in names:
        series = platform.author.do(GetSeries(run_id=run, name=name))
        assert series.steps == tuple(range(BATCHES * POINTS))
        assert series.values == tuple(map(float, range(BATCHES * POINTS)))
