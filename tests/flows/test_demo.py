"""The demo as a newcomer starts it, cut short: a real server, real processes, real flights."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the demo needs plimsoll[demo]")


def _demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plimsoll.cli.app", "demo", "--folder", "demo", "--end", "2013-05-15", "--share", "0.5", *options]
    environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1500)


@pytest.mark.slow
def test_the_demo_refuses_the_leak_takes_the_broken_candidate_back_and_loses_no_request(tmp_path: Path) -> None:
    told = _demo(tmp_path)
    assert told.returncode == 0, told.stderr[-2000:]
    story = " ".join(told.stdout.split())
    assert "It takes 'dep_delay', which is known only after departure" in story
    assert "Nothing changed, so no step ran." in story
    assert "dana approves it herself: refused." in story
    assert re.search(r"flights/3 rolled_back\. The candidate decides otherwise than the stable version", story)
    assert re.search(r"Callers got \d+ answers; failed requests: 0;", story)
    assert "ALERT [input] temp_unit" in story
    request = re.search(r"plimsoll predictions why (\w+)", story)
    assert request is not None
    project = tmp_path / "demo" / "flights"
    why = subprocess.run(
        [sys.executable, "-m", "plimsoll.cli.app", "predictions", "why", request[1], "--json"], cwd=project, capture_output=True, text=True
    )
    assert why.returncode == 0, why.stderr
    for part in ('"approvals"', '"omar"', '"lineage"', '"training"', '"commit"'):
        assert part in why.stdout
    again = _demo(tmp_path)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "flights/1 was released by an earlier demo" in again.stdout
    assert "goes on from there" in again.stdout
    other = _demo(tmp_path, "--seed", "7")
    assert other.returncode == 1
    assert "holds a demo with other options" in other.stderr
