"""``plimsoll run`` with variations: one of them, several, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.cli.asked import Told
from plimsoll.cli.commands.run import run
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.run import GetRun
from plimsoll.workspace import WORKER, open_workspace

PROJECT = """
[tool.plimsoll.variations."pipe.py:flow"]
fr = { country = "FR", depth = 6 }
de = { country = "DE" }
"""

PIPE = """
from plimsoll import pipeline, step


@step
def fit(country: str, depth: int) -> int:
    return depth


@pipeline
def flow(country: str = "IT", depth: int = 4):
    return {"depth": fit(country, depth)}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("PLIMSOLL_URL", "PLIMSOLL_HOME", "PLIMSOLL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "pipe", None)
    del sys.modules["pipe"]
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "pipe.py").write_text(PIPE)
    return tmp_path


def test_a_folder_with_a_project_of_its_own_is_run_there(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ``plimsoll run examples/flights:train`` from the top of a repository."""
    inner = project / "examples" / "flights"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text("[tool.plimsoll]\n")
    (inner / "nested_flow.py").write_text(PIPE)
    run("examples/flights:flow")
    said = capsys.readouterr()
    assert "examples/flights is a project of its own" in said.err
    assert (inner / ".plimsoll").is_dir()
    assert not (project / ".plimsoll").exists()
    monkeypatch.chdir(project)
    run("examples/flights:flow")
    assert "Nothing changed" in capsys.readouterr().err


def test_one_variation_runs_by_its_name_and_again_from_the_cache(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for _ in range(2):
        run("pipe.py:flow", told=Told(variation=["fr"], set=["depth=8"]))
        printed.append(capsys.readouterr())
    ids = [each.out.split() for each in printed]
    assert [name for name, _ in ids] == ["fr", "fr"]
    assert "Nothing changed" in printed[1].err
    workspace = open_workspace(project / ".plimsoll", project)
    try:
        detail = workspace.do(GetRun(id=ids[1][1]), WORKER)
    finally:
        workspace.close()
    assert (detail.run.params["depth"], detail.run.tags["variation"]) == (8, "fr")


def test_variations_and_numbers_of_them_that_cannot_be_are_refused(project: Path) -> None:
    with pytest.raises(NotFound, match="no variation 'es'"):
        run("pipe.py:flow", told=Told(variation=["es"]))
    with pytest.raises(InvalidInput, match="jobs"):
        run("pipe.py:flow", told=Told(variation=["all"]), jobs=0)
    assert not (project / ".plimsoll").exists()


def test_a_run_that_is_interrupted_says_so_and_does_not_exit_like_one_that_went_well(project: Path) -> None:
    waits = PIPE.replace("    return depth", "    open('begun', 'w').close()\n    while True:\n        time.sleep(0.05)")
    (project / "pipe.py").write_text(f"import time\n{waits}")
    command = [sys.executable, "-m", "plimsoll", "run", "pipe.py:flow"]
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = clock.monotonic() + 180
            while not (project / "begun").exists() and process.poll() is None:
                assert clock.monotonic() < deadline
                clock.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=180)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert "Interrupted." in said


def test_what_comes_next_is_asked_where_the_profile_has_put_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (project / "pyproject.toml").open("a") as file:
        file.write("[tool.plimsoll.profiles.quick]\nhome = 'elsewhere'\n")
    run("flow", told=Told(profile="quick"))
    assert "next: PLIMSOLL_PROFILE=quick plimsoll runs show " in capsys.readouterr().err
    assert (project / "elsewhere" / "plimsoll.db").exists()
    run("pipe:flow")
    assert "next: plimsoll runs show " in capsys.readouterr().err
