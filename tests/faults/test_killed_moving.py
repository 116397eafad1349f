"""An import that is killed goes on where it stopped: every point is there once, and nothing is copied twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.command_line import LIMIT, ROOT, process, project
from tests.unit.sdk.moving.store import meta, texts

POINTS, KILLS = 3000, 5

#: Runs that are there at first, and that come when an import has got to its end.
RUNS, MORE = 12, 4


def _big(folder: Path, first: int, end: int) -> None:
    home = meta(folder / "mlruns" / "5", experiment_id="5", name="big")
    for number in range(first, end):
        run = meta(home / f"{number + 1:032x}", run_name=f"r{number}", status=3, start_time=1700000000000, end_time=1700000005000)
        texts(run / "metrics", {"loss": "".join(f"17000000{step:05} {step * 0.5} {step}\n" for step in range(POINTS))})
        texts(run / "params", {"depth": "5"})
        texts(run / "artifacts", {f"{name}.txt": f"{name} of {number}" for name in "abc"})


def _events(home: Path) -> int:
    with sqlite3.connect(f"file:{home / 'plimsoll.db'}?mode=ro", uri=True) as database:
        found: int = database.execute("SELECT count(*) FROM runs").fetchone()[0]
    database.close()
    return found


def test_an_import_that_is_killed_again_and_again_goes_on(tmp_path: Path) -> None:
    folder = project(tmp_path)
    _big(folder, 0, runs := RUNS)
    assert process("init", folder=folder).code == 0
    command = [sys.executable, "-m", "plimsoll.cli.app", "import", "mlflow", "mlruns"]
    kills = 0
    while kills < KILLS:
        before = _events(folder / ".plimsoll")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        moving = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Killed once it has begun a further run or two, somewhere within it.
        deadline = time.monotonic() + LIMIT
        while _events(folder / ".plimsoll") < before + 1 + kills % 2 and moving.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        moving.kill()
        if moving.wait(LIMIT) == -signal.SIGKILL:
            kills += 1
        else:
            # It was quicker than this process: it goes on with more.
            assert moving.returncode == 0
            _big(folder, runs, runs + MORE)
            runs += MORE
    assert process("import", "mlflow", "mlruns", folder=folder).code == 0
    said = process("import", "mlflow", "mlruns", "--recheck", "--json", folder=folder)
    assert said.code == 0
    rows = {row["what"]: (row["copied"], row["here before"]) for row in json.loads(said.out)["counts"]}
    assert rows["runs"] == (0, runs)
    assert rows["points"] == (0, runs * POINTS)
    assert rows["artifacts"] == (0, runs * 3)
