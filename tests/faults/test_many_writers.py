"""Many processes that log to one server on SQLite at the same time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.records.run import GetRun, GetSeries, StartRun
from tests.flows.real_platform import Platform

PROCESSES, BATCHES, POINTS = 16, 500, 10

_PROGRAM = """
import sys
from plimsoll.records.run import AppendPoints, PointColumns
from plimsoll.sdk.http import HttpDoor

url, token, run, writer, batches, count = *sys.argv[1:5], *map(int, sys.argv[5:])
door = HttpDoor(url, token)
for sequence in range(1, batches + 1):
    steps = tuple(range((sequence - 1) * count, sequence * count))
    columns = PointColumns(names=(writer,) * count, steps=steps, times=(1,) * count, values=tuple(map(float, steps)))
    receipt = door.do(AppendPoints(run_id=run, writer=writer, sequence=sequence, points=columns))
    assert (receipt.sequence, receipt.added) == (sequence, count), receipt
door.close()
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
    shared = [sys.executable, "-c", _PROGRAM, platform.url, platform.token, run]
    writers = [
        subprocess.Popen([*shared, name, str(BATCHES), str(POINTS)], env=platform.environment, stderr=subprocess.PIPE, text=True)
        for name in names
    ]
    try:
        for writer in writers:
            _, told = writer.communicate(timeout=600)
            assert (writer.returncode, told) == (0, "")
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(10)
    assert {metric.name: metric.count for metric in platform.author.do(GetRun(id=run)).metrics} == dict.fromkeys(names, BATCHES * POINTS)
    for name in names:
        series = platform.author.do(GetSeries(run_id=run, name=name))
        assert series.steps == tuple(range(BATCHES * POINTS))
        assert series.values == tuple(map(float, range(BATCHES * POINTS)))
