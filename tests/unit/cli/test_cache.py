"""What the command line says of the cache, and of a step that fails without any of the user's code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from plimsoll.cli.asked import Told
from plimsoll.cli.commands.run import run
from plimsoll.cli.nouns.cache import show, verify, why
from plimsoll.errors import InvalidInput, NotFound, StepFailed

PIPE = """
import other
import plimsoll
from plimsoll import pipeline, step


@step
def fit(depth: int) -> int:
    return depth


@step
def double(row: int) -> int:
    return 2 * row


@step
def rows(depth: int) -> list:
    return [depth, 1 // (depth - 5)]


@pipeline
def flow(depth: int = 4):
    return {"depth": fit(depth)}


@pipeline
def mapped(depth: int = 4):
    return plimsoll.map(double, fit(depth))


@pipeline
def listed(depth: int = 4):
    return plimsoll.map(double, rows(depth))


@pipeline
def beside(depth: int = 4):
    return [double(depth), other.double(depth)]
"""

OTHER = """
from plimsoll import pipeline, step


@step
def double(row: int) -> int:
    return row + row


@pipeline
def alone(depth: int = 4):
    return double(depth)
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PLIMSOLL_URL", "PLIMSOLL_HOME", "PLIMSOLL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("pipe", "other"):
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    (tmp_path / "pipe.py").write_text(PIPE)
    (tmp_path / "other.py").write_text(OTHER)


def test_why_of_a_run_alone_names_a_step_to_ask_for(capsys: pytest.CaptureFixture[str]) -> None:
    run("pipe.py:flow", told=Told(executor="in_process"))
    id = next(word for word in capsys.readouterr().out.split() if len(word) == 32)
    with pytest.raises(InvalidInput, match="is a run, and any of its steps") as caught:
        why(id[:12])
    assert f"plimsoll cache why {id[:16]} fit" in caught.value.remedy


def test_why_a_step_ran_is_asked_by_its_name_alone_or_for_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    for depth in (4, 6, 4):
        run("pipe.py:flow", told=Told(set=[f"depth={depth}"], executor="in_process"))
    *_, last = capsys.readouterr().out.split()
    why("fit")
    assert "param depth: 4 -> 6" in capsys.readouterr().out
    why(last, "fit")
    assert capsys.readouterr().out.startswith("fit was reused")
    with pytest.raises(NotFound, match="fit"):
        why("fitt")


def test_a_step_is_asked_for_by_the_number_that_a_run_printed_also_when_another_run_has_computed_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for ref, depth in (("other.py:alone", 4), ("other.py:alone", 5), ("pipe.py:beside", 5)):
        run(ref, told=Told(set=[f"depth={depth}"], executor="in_process"))
    assert [line.split()[:2] for line in capsys.readouterr().err.splitlines() if "double#2" in line] == [["double#2", "hit"]]
    show("double#2")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:2]] == ["other.double"]
    why("double#2")
    assert capsys.readouterr().out.startswith("double ran; since run")


def test_a_cache_without_damage_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run("pipe.py:flow", told=Told(executor="in_process"))
    capsys.readouterr()
    assert verify() == 0
    assert ["damaged", "none"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_failure_outside_of_the_users_code_is_told_once_and_one_inside_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed, match="mapped over an int"):
        run("pipe.py:mapped", told=Told(executor="in_process"))
    told = [line for line in capsys.readouterr().err.splitlines() if "mapped over" in line]
    assert [line.split()[:2] for line in told] == [["double", "failed"]]
    with pytest.raises(StepFailed, match="ZeroDivisionError"):
        run("pipe.py:listed", told=Told(set=["depth=5"], executor="in_process"))
    assert "    return [depth, 1 // (depth - 5)]\n" in capsys.readouterr().err


def test_a_list_that_was_asked_to_run_anew_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("", "double"):
        run("pipe.py:listed", told=Told(executor="in_process", only=part))
    assert "2 of 2 items ran: it was asked to run anew" in capsys.readouterr().err
