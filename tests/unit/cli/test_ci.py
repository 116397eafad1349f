"""``plimsoll ci``: what the git triggers want for a commit, run in its checkout; and ``plimsoll triggers``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.cli.automation import triggers
from plimsoll.cli.automation.ci import ci
from plimsoll.cli.output import Format
from plimsoll.errors import InvalidInput, NotFound, StepFailed
from plimsoll.records.pipelines.trigger import ListFirings, ListTriggers
from plimsoll.records.run import GetRun
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.workspace import WORKER, open_workspace

PROJECT = """
[project]
name = "late"

[tool.plimsoll.variations."pipe.py:flow"]
fr = { depth = 2 }
de = { depth = 3 }

[tool.plimsoll.triggers.pushed]
on = "git"
branch = "main"
pipeline = "pipe.py:flow"
variations = ["all"]
params = { commit = "{commit}" }

[tool.plimsoll.triggers.nightly]
on = "schedule"
cron = "0 3 * * *"
pipeline = "pipe.py:flow"
"""

PIPE = """
from pathlib import Path

from plimsoll import pipeline, step


@step(cache=False)
def one(depth: int) -> int:
    if Path("broken").exists():
        raise ValueError("the build is broken")
    return depth


@pipeline
def flow(depth: int = 1, commit: str = ""):
    return {"depth": one(depth)}
"""


def git(*words: str) -> str:
    identity = ["-c", "user.name=dana", "-c", "user.email=dana@example.org"]
    return subprocess.run(["git", *identity, *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with one commit on the branch main."""
    monkeypatch.chdir(tmp_path)
    for name in ("PLIMSOLL_URL", "PLIMSOLL_HOME", "PLIMSOLL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "pipe.py").write_text(PIPE)
    (tmp_path / ".gitignore").write_text(".plimsoll\nbroken\n")
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    sys.modules.pop("pipe", None)
    yield tmp_path
    sys.modules.pop("pipe", None)


def test_a_commit_is_run_once_here_with_the_firing_as_its_cause(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ci()
    first = capsys.readouterr().out
    ci()
    assert capsys.readouterr().out == first
    home = open_workspace(checkout / ".plimsoll")
    runs = {found.run.tags["variation"]: found.run for found in home.do(SearchRuns(), WORKER).runs}
    firings = {found.variation: found for found in home.do(ListFirings(trigger="pushed"), WORKER)}
    home.close()
    assert {name: (run.params["depth"], run.params["commit"]) for name, run in runs.items()} == {
        "fr": (2, git("rev-parse", "HEAD")),
        "de": (3, git("rev-parse", "HEAD")),
    }
    assert {name: (run.cause.kind, run.cause.id, run.id) for name, run in runs.items()} == {
        name: ("trigger", firing.id, firing.run_id) for name, firing in firings.items()
    }
    assert {firing.state for firing in firings.values()} == {"taken"}


def test_a_run_that_failed_fails_the_command_and_is_run_again(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "broken").touch()
    with pytest.raises(StepFailed, match=r"2 of 2 runs failed: \[pushed fr\].*the build is broken"):
        ci()
    assert "ValueError: the build is broken" in capsys.readouterr().err
    (checkout / "broken").unlink()
    ci()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [["pushed", "fr"], ["pushed", "de"]]
    home = open_workspace(checkout / ".plimsoll")
    assert [home.do(GetRun(id=line[2]), WORKER).run.state for line in lines] == ["finished", "finished"]
    home.close()


def test_only_the_named_branch_counts_and_without_one_the_command_asks(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ci(branch="feature")
    said = capsys.readouterr()
    assert (said.out, "feature" in said.err) == ("", True)
    assert not (checkout / ".plimsoll").exists()
    git("checkout", "-q", "--detach")
    with pytest.raises(InvalidInput, match="plimsoll ci --branch main"):
        ci()
    ci(branch="main")
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_changes_that_the_commit_has_not_are_refused_and_new_files_are_not(checkout: Path) -> None:
    (checkout / "report.txt").write_text("made by the build")
    ci()
    text = (checkout / "pipe.py").read_text()
    (checkout / "pipe.py").write_text(text + "\n")
    with pytest.raises(InvalidInput, match=r"has changes that commit \w+ has not: pipe.py"):
        ci()
    (checkout / "pipe.py").write_text(text)
    ci()


def test_outside_of_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="git commit"):
        ci()


def test_triggers_are_set_fired_listed_and_removed(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = open_workspace(checkout / ".plimsoll")
    triggers.set_(
        "weekly", on="schedule", pipeline="./pipe.py:flow", cron="0 3 * * SUN", zone="Europe/Berlin", param=["depth=4", "commit={date}"]
    )
    assert "comes next at" in capsys.readouterr().err
    (found,) = home.do(ListTriggers(), WORKER)
    assert (found.rule.pipeline, found.rule.params) == ("pipe.py:flow", {"depth": 4, "commit": "{date}"})
    triggers.fire("weekly", set=["depth=5"], value=["date=2013-01-01"], key="k", form=Format(json=True))
    (fired,) = json.loads(capsys.readouterr().out)
    assert (fired["because of"], fired["state"]) == ("call/k", "started")
    assert home.do(ListFirings(), WORKER)[0].params == {"depth": 5, "commit": "2013-01-01"}
    triggers.list_(form=Format(json=True))
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["of"], row["running"]) == ("0 3 * * SUN Europe/Berlin", 1)
    triggers.history("weekly", form=Format(json=True))
    assert json.loads(capsys.readouterr().out)[0]["id"] == fired["id"]
    triggers.remove("weekly")
    assert home.do(ListTriggers(), WORKER) == ()
    with pytest.raises(InvalidInput, match="--value"):
        triggers.fire("weekly", value=["date"])
    home.close()
