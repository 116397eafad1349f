"""A search whose process is killed again and again ends with the trials of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from plimsoll.records.pipelines.search import ListSearches
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.sdk.door import FolderDoor, open_door
from tests.begun import Begun
from tests.faults.command_line import ROOT
from tests.repeats import repeats

KILLS = repeats(5, 8)

PIPELINE = """
    import time
    import plimsoll
    from plimsoll import pipeline, step

    @step
    def features() -> list[int]:
        time.sleep(0.05)
        return list(range(5))

    @step
    def train(rows: list[int], depth: int, rate: float) -> dict[str, float]:
        for epoch in range(4):
            plimsoll.current_run().log(loss=depth + rate + epoch, step=epoch)
            time.sleep(0.01)
        return {"score": depth * len(rows) + rate}

    @pipeline
    def flow(depth: int = 2, rate: float = 0.5):
        return train(features(), depth, rate)
"""

SEARCH = ("flow.py:flow", "--trials", "14", "--space", "depth=int(1,9)", "--space", "rate=float(0,1)", "--maximize", "score")


def begin(project: Path, home: str, *more: str) -> subprocess.Popen[str]:
    """Start a search of the command line."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "PLIMSOLL_HOME": home}
    command = [sys.executable, "-m", "plimsoll.cli.app", "search", *SEARCH, *more]
    return Begun(command, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)


def said(process: subprocess.Popen[str], lines: int) -> None:
    """Wait until a search has told of so many trials, or has ended."""
    assert process.stderr is not None
    for _ in range(lines):
        process.stderr.readline()


def trials(project: Path, home: str, id: str) -> list[dict[str, Any]]:
    """Return a search's trials without what differs from run to run."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PLIMSOLL_HOME": home}
    command = [sys.executable, "-m", "plimsoll.cli.app", "search", "show", id, "--json"]
    shown = json.loads(subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=True).stdout)
    return [{name: value for name, value in trial.items() if name != "run_id"} for trial in shown["trials"]]


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_ends_with_the_trials_of_an_undisturbed_one(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(dedent(PIPELINE))
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    out, error = begin(tmp_path, "quiet").communicate(timeout=6000)
    whole = trials(tmp_path, "quiet", out.strip())
    assert len(whole) == 14, error

    drawn = random.Random(5)
    killed = 0
    for _ in range(KILLS):
        process = begin(tmp_path, "noisy")
        said(process, drawn.randrange(1, 4))
        if process.poll() is None:
            killed += 1
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=600)
    assert killed >= KILLS / 2
    out, error = begin(tmp_path, "noisy").communicate(timeout=6000)
    assert trials(tmp_path, "noisy", out.strip()) == whole, error

    door = open_door(str(tmp_path / "noisy"), project=tmp_path)
    assert isinstance(door, FolderDoor)
    searches, runs = door.do(ListSearches()), door.do(SearchRuns(limit=1000)).runs
    door.close()
    assert {one.state for one in searches} == {"finished"}
    assert "running" not in {found.run.state for found in runs}
    assert {found.run.state for found in runs} <= {"finished", "lost"}


@pytest.mark.slow
def test_several_trials_at_once_that_are_killed_are_all_run_again(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(dedent(PIPELINE))
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    more = ("--jobs", "2", "--sampler", "random")
    for lines in (1, 3):
        process = begin(tmp_path, "home", *more)
        said(process, lines)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=600)
    out, error = begin(tmp_path, "home", *more).communicate(timeout=6000)
    found = trials(tmp_path, "home", out.strip())
    assert [trial["number"] for trial in found] == list(range(14)), error
    assert {trial["state"] for trial in found} == {"finished"}
    assert [trial["values"] for trial in found] == [[trial["params"]["depth"] * 5 + trial["params"]["rate"]] for trial in found]
