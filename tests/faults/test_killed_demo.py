"""The demo, or a process of it, killed with SIGKILL in the middle of its story: the same command again goes on and ends well."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll import clock
from tests.begun import Begun
from tests.flows.real_platform import PATIENCE, until

pytest.importorskip("sklearn", reason="the demo needs plimsoll[demo]")
pytest.importorskip("pandas", reason="the demo needs plimsoll[demo]")

_ROOT = Path(__file__).parents[2]

SEED = 20130502

#: What the story says before the kill, and what is killed within three seconds of it. The demo itself always is.
POINTS = (
    ("A model from the flights", ("plimsoll.cli.app up",)),
    ("A colleague's idea", ("plimsoll.worker",)),
    ("Live traffic from", ("plimsoll.server.plane",)),
    ("A tidy-up", ("plimsoll.cli.app up", "plimsoll.worker")),
)


def _processes(folder: Path) -> dict[int, str]:
    """Return the command line of every process that works in or on a folder, by process id."""
    found = {}
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid, words = int(path.name), (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            line = " ".join(words).strip()
            if line and pid != os.getpid() and (str(folder) in line or Path(os.readlink(path / "cwd")).is_relative_to(folder)):
                found[pid] = line
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _begin(folder: Path, story: Path) -> subprocess.Popen[bytes]:
    """Start the demo; its story goes to a file."""
    command = [sys.executable, "-m", "plimsoll.cli.app", "demo", "--folder", str(folder), "--end", "2013-05-06", "--share", "0.1"]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with story.open("wb") as out:
        return Begun(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_a_demo_that_was_killed_again_and_again_goes_on_and_leaves_no_process(tmp_path: Path) -> None:
    folder, story, random = tmp_path / "demo", tmp_path / "story", clock.generator(SEED)
    for words, others in POINTS:
        demo = _begin(folder, story)
        try:
            until(
                lambda words=words, demo=demo: words in story.read_text(errors="replace") or demo.poll() is not None,
                f"the story says {words!r}",
                1200,
            )
            assert demo.poll() is None, story.read_text()[-2000:]
            clock.sleep(random.uniform(0.0, 3.0))
            for pid, line in _processes(folder).items():
                if any(other in line for other in others):
                    _kill(pid)
        finally:
            demo.kill()
            demo.wait(PATIENCE)
    try:
        demo = _begin(folder, story)
        assert demo.wait(1500) == 0, story.read_text()[-2000:]
        assert "this one goes on from there" in story.read_text()
        assert "What it was worth" in story.read_text()
        until(lambda: not _processes(folder), "nothing of it runs any more")
        _check(folder / "flights")
    finally:
        for pid in _processes(folder):
            _kill(pid)


def _check(project: Path) -> None:
    """No model is made twice, none is proposed twice, and the audit log fits."""
    versions = _printed(project, "models", "list")
    assert collections.Counter(version["version"] for version in versions) == {"flights/1": 1, "flights/2": 1, "flights/3": 1}
    assert len({version["digest"] for version in versions}) == 3
    releases = collections.Counter(release["version"] for release in _printed(project, "releases", "list"))
    assert releases == {"flights/1": 1, "flights/3": 1}
    assert _run(project, "events", "verify").returncode == 0


def _printed(project: Path, *words: str) -> list[dict[str, str]]:
    done = _run(project, *words, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def _run(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plimsoll.cli.app", *words]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=600)
