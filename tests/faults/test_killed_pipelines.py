"""A parallel pipeline that is killed again and again ends with what an undisturbed one gives."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from plimsoll.pipelines.cache import damage
from plimsoll.workspace import open_workspace
from tests.faults.command_line import ROOT
from tests.repeats import repeats

KILLS = repeats(12, 100)

PIPELINE = """
    import random
    import time
    from pathlib import Path
    import numpy as np
    import plimsoll
    from plimsoll import pipeline, step

    @step
    def source(seed: int) -> np.ndarray:
        time.sleep(0.03)
        return np.arange(1000) * seed

    @step
    def part(rows: np.ndarray, index: int) -> dict:
        plimsoll.current_run().log(part=float(index))
        time.sleep(0.02 * index)
        weight = float(Path(__file__).with_name("weight.txt").read_text())
        return {"sum": float(rows[index::8].sum()) * weight, "drawn": random.random(), "also": float(np.random.rand())}

    @step
    def folder(parts: list) -> Path:
        made = Path("made")
        made.mkdir(exist_ok=True)
        for index, each in enumerate(parts):
            made.joinpath(f"{index}.txt").write_text(repr(each))
        return made

    @step
    def total(parts: list) -> float:
        return sum(each["sum"] for each in parts)

    @pipeline
    def flow(seed: int = 1):
        rows = source(seed)
        parts = [part(rows, index) for index in range(5)]
        return {"total": total(parts), "folder": folder(parts)}
"""

DRIVER = """
    import json, sys
    sys.path.insert(0, ".")
    from pipe import flow
    from plimsoll import run
    from plimsoll.sdk.door import open_door
    door = open_door(sys.argv[1])
    print("ready", flush=True)
    for seed in sys.argv[2:]:
        result = run(flow, door=door, seed=int(seed))
        print(json.dumps({step.label: step.record.output.digest for step in result.steps}))
    door.close()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the pipeline and the script that runs it."""
    for name, text in (("pipe.py", PIPELINE), ("drive.py", DRIVER), ("weight.txt", "0.5"), ("pyproject.toml", "[tool.plimsoll]\n")):
        (tmp_path / name).write_text(dedent(text))
    return tmp_path


def begin(project: Path, home: str, *seeds: int) -> subprocess.Popen[str]:
    """Start the runs and return their process once the home is open."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "drive.py", home, *map(str, seeds)]
    process = subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(process.communicate()[1])
    return process


def ended(process: subprocess.Popen[str], seconds: float = 1200) -> list[dict[str, str]]:
    """Return the digests of runs that go on to their end.

    Raises:
        subprocess.TimeoutExpired: they take longer.
    """
    out, error = process.communicate(timeout=seconds)
    assert process.returncode == 0, error
    return [json.loads(line) for line in out.splitlines()]


def left_over(project: Path) -> list[str]:
    """Return the command lines of processes that work in the project."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and (entry / "cwd").readlink() == project:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # ended, or another user's
    return found


@pytest.mark.slow
def test_a_parallel_pipeline_killed_at_many_points_gives_the_digests_of_an_undisturbed_one(project: Path) -> None:
    drawn = random.Random(7)
    undisturbed = begin(project, "quiet", 0)
    begun = time.monotonic()
    ended(undisturbed)
    lasts = time.monotonic() - begun
    kills, disturbed = 0, list[dict[str, str]]()
    while kills < KILLS:
        process = begin(project, "home", len(disturbed) + 1)
        try:
            # It got to its end: go on with a run that finds nothing of this one.
            disturbed += ended(process, drawn.uniform(0, lasts))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    disturbed += ended(begin(project, "home", len(disturbed) + 1))
    assert disturbed == ended(begin(project, "quiet", *range(1, len(disturbed) + 1)))
    deadline = time.monotonic() + 120
    while left_over(project) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left_over(project) == []
    workspace = open_workspace(project / "home")
    try:
        with workspace.stores.database.read() as tx:
            digests = [json.loads(row[0])["digest"] for row in tx.exec_driver_sql("SELECT output FROM cache_entries")]
        assert digests
        assert [damage(workspace.stores.blobs, digest) for digest in digests] == [""] * len(digests)
    finally:
        workspace.close()
