"""A run that nobody ends is ended with its program, and threads find the run that they work for."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import plimsoll
from plimsoll.errors import InvalidInput
from plimsoll.records.run import GetRun, GetSeries, RunDetail
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.runs.logger import RunLogger, current
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.run import run
from plimsoll.sdk.tracking.left import replay
from plimsoll.workspace import open_workspace


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderDoor]:
    """A door to a new home, and a project around it."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "notes"\n[tool.plimsoll]\nhome = "home"\ncapture = "none"\n')
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("PLIMSOLL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._WELCOME", 60.0)
    workspace = open_workspace(tmp_path / "home", owner="dana")
    opened = FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    yield opened
    opened.close()


def ended(door: FolderDoor, program: str) -> tuple[RunDetail, subprocess.CompletedProcess[str]]:
    """Return the run of a program that logs to it and then goes on as given, and what became of the program."""
    begin = "import os, signal, sys, threading, time, plimsoll, plimsoll.sdk.tracking.opened\n"
    # Nothing is to be told of a start that takes a while.
    begin += "plimsoll.sdk.tracking.opened._WELCOME = 60.0\nrun = plimsoll.run().start()\nrun.log(loss=1.0)\n"
    done = subprocess.run([sys.executable, "-c", begin + program], capture_output=True, text=True, timeout=300, check=False)
    return door.do(GetRun(id=door.do(SearchRuns()).runs[0].run.id)), done


@pytest.mark.parametrize(
    ("program", "state", "why", "well"),
    [
        ("", "finished", "", True),
        ("sys.exit()", "finished", "", True),
        # Nothing tells at the end of a program that it was this.
        ("sys.exit(3)", "finished", "", False),
        ("1 / 0", "failed", "ZeroDivisionError: division by zero", False),
        ("raise KeyboardInterrupt", "stopped", "KeyboardInterrupt", False),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    pass", "finished", "", True),
        # A prompt shows an exception and goes on.
        ("sys.ps1 = '>>> '\nsys.last_value = ValueError('seen')", "finished", "", True),
        ("run.finish('failed', 'It did not converge.')", "failed", "It did not converge.", True),
        ("sys.excepthook = lambda *error: None\nraise ValueError('hidden')", "failed", "ValueError: hidden", False),
    ],
)
def test_a_run_that_nobody_ended_ends_with_its_program_as_that_ends(
    door: FolderDoor, program: str, state: str, why: str, well: bool
) -> None:
    found, done = ended(door, program)
    assert (found.run.state, done.returncode == 0) == (state, well), done.stderr
    assert (why in found.run.error) if found.run.error else not why
    assert [metric.count for metric in found.metrics] == [1]
    assert list(Path("home", "journal").iterdir()) == []


def test_a_block_in_a_thread_that_the_program_does_not_wait_for_is_stopped(door: FolderDoor) -> None:
    program = """
run.finish()
begun = threading.Event()
def work():
    with plimsoll.run(name="inner") as inner:
        inner.log(loss=1.0)
        begun.set()
        time.sleep(600)
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""
    found, done = ended(door, program)
    assert (found.run.name, found.run.state, found.run.error) == ("inner", "stopped", "Its program ended before the block did."), (
        done.stderr
    )
    assert done.stderr == ""


def test_a_program_that_is_killed_leaves_its_run_to_its_journal(door: FolderDoor) -> None:
    found, done = ended(door, "run.flush()\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(600)")
    assert (found.run.state, done.returncode) == ("running", -15)
    assert [left.state for left in replay(Path("home", "journal"), lambda address: door)] == ["sent"]
    assert door.do(GetRun(id=found.run.id)).run.state == "lost"
    assert door.do(GetSeries(run_id=found.run.id, name="loss")).values == (1.0,)


def told(code: Callable[[], Any]) -> Any:
    """Return what code gives in a thread that knows no context, or raise what it raises there."""
    given: list[Any] = []

    def work() -> None:
        try:
            given.append(code())
        except BaseException as error:
            given.append(error)

    # A thread of Python 3.14 may inherit the context, which this one must not.
    thread = threading.Thread(target=lambda: contextvars.Context().run(work))
    thread.start()
    thread.join()
    if isinstance(given[0], BaseException):
        raise given[0]
    return given[0]


def test_a_thread_finds_the_run_that_is_under_way(door: FolderDoor) -> None:
    with run(door=door) as outer:
        assert told(plimsoll.current_run) is outer
        with run(door=door) as inner:
            assert told(plimsoll.current_run) is inner
        assert told(plimsoll.current_run) is outer
        told(lambda: plimsoll.current_run().log(loss=1.0))
        assert asyncio.run(asyncio.to_thread(plimsoll.current_run)) is outer
        nested = told(lambda: run(door=door, nested=True).start())
        nested.finish()
    assert door.do(GetSeries(run_id=outer.id, name="loss")).values == (1.0,)
    assert door.do(GetRun(id=nested.id)).run.tags == {"mlflow.parentRunId": outer.id}
    assert told(plimsoll.current_run).id == ""


def test_a_run_without_a_block_is_the_current_one_until_it_ends(door: FolderDoor) -> None:
    opened = run(door=door).start()
    assert plimsoll.current_run() is opened
    assert told(plimsoll.current_run) is opened
    assert plimsoll.current_run().id == opened.id
    told(opened.finish)
    assert plimsoll.current_run().id == ""


def test_a_thread_is_told_when_several_runs_could_be_meant(door: FolderDoor) -> None:
    go, ready = threading.Event(), threading.Event()
    ids: list[str] = []

    def other() -> None:
        with run(door=door) as second:
            ids.append(second.id)
            ready.set()
            assert go.wait(60)

    with run(door=door) as first:
        thread = threading.Thread(target=other)
        thread.start()
        assert ready.wait(60)
        try:
            assert plimsoll.current_run() is first
            with pytest.raises(InvalidInput, match=f"several are under way.*{first.id}.*{ids[0]}"):
                told(plimsoll.current_run)
        finally:
            go.set()
            thread.join()
        assert told(plimsoll.current_run) is first


def test_whatever_run_is_current_can_be_flushed(door: FolderDoor) -> None:
    plimsoll.current_run().flush()
    sent: list[Any] = []
    step = RunLogger("r", sent.append, lambda value: None)
    token = current.set(step)
    try:
        plimsoll.current_run().log(loss=1.0)
        plimsoll.current_run().flush()
    finally:
        current.reset(token)
    assert len(sent) == 1
    with run(door=door):
        plimsoll.current_run().flush()
