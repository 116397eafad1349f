"""A step's own worker processes log to its run while it does, as loaders of data do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.records.run import GetRun
from plimsoll.sdk.door import open_door

# Messages that are longer than what a pipe takes in one piece.
FLOW = """
import multiprocessing, os, signal
from plimsoll import current_run, pipeline, step

def work(number):
    for at in range(100):
        current_run().log({f"{number}-{metric}-{'x' * 60}": float(at) for metric in range(150)}, step=at)
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)

@step
def loads(count: int) -> int:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work, args=(number,)) for number in range(1, count)]
    for worker in workers:
        worker.start()
    work(0)
    for worker in workers:
        worker.join()
    return count

@pipeline
def flow(count: int = 4):
    return loads(count)
"""


@pytest.mark.slow
def test_processes_that_a_step_forks_log_without_garbling_each_other(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "loads"\n\n[tool.plimsoll]\n')
    (tmp_path / "flow.py").write_text(FLOW)
    command = [sys.executable, "-W", "ignore", "-m", "plimsoll.cli.app", "run", "flow.py:flow", "--executor", "processes"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    door = open_door(str(tmp_path / ".plimsoll"))
    try:
        metrics = door.do(GetRun(id=done.stdout.split()[0])).metrics
    finally:
        door.close()
    logged = [metric for metric in metrics if metric.name.endswith("x")]
    assert len(logged) == 4 * 150
    assert {metric.count for metric in logged} == {100}
