"""``plimsoll submit``: a run left for a worker, and followed to its end."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.cli.access.jobs import show
from plimsoll.cli.asked import Told
from plimsoll.cli.automation.submit import submit
from plimsoll.cli.automation.triggers import history, set_
from plimsoll.cli.output import Format
from plimsoll.errors import InvalidInput, NotFound, StepFailed, Unavailable
from plimsoll.records.access import GetJob, ListJobs
from plimsoll.records.pipeline import ListSteps
from plimsoll.records.pipelines.trigger import FireTrigger, ListTriggers
from plimsoll.records.run import GetRun
from plimsoll.workspace import open_workspace
from tests.unit.conftest import Running

PROJECT = """
[project]
name = "tiny"

[tool.plimsoll.variations."tiny.py:flow"]
big = { size = 10 }
bad = { size = -1 }
"""

PIPE = """
from plimsoll import pipeline, step


@step
def sized(size: int, names: tuple) -> int:
    if size < 0:
        raise ValueError("too small")
    return size + len(names)


@step
def doubled(size: int) -> int:
    return 2 * size


@pipeline
def flow(size: int = 1, names: tuple[str, ...] = ()):
    size = sized(size, names)
    return {"size": size, "double": doubled(size)}
"""


@pytest.fixture
def here(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server whose project is the folder that commands are given in."""
    folder = running.yard.workspace.project
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "tiny.py").write_text(PIPE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PLIMSOLL_URL", running.address.url)
    monkeypatch.setenv("PLIMSOLL_TOKEN", running.yard.workspace.token("owner"))
    return running


def test_the_job_is_left_with_what_was_asked_for_and_its_id_is_printed(here: Running, capsys: pytest.CaptureFixture[str]) -> None:
    submit("tiny.py:flow", told=Told(set=["size=3", 'names=["a"]'], experiment="tries", executor="in_process"))
    id = capsys.readouterr().out.strip()
    job = here.http().do(GetJob(id=id))
    assert (job.verb, job.state, job.actor) == ("RunPipeline", "waiting", "olga")
    assert (job.payload["params"], job.payload["experiment"]) == ({"size": 3, "names": ["a"]}, "tries")
    assert job.payload["executor"] == "in_process"
    show(id[:12], form=Format(json=True))
    assert json.loads(capsys.readouterr().out)["id"] == id


def test_waiting_tells_the_progress_and_prints_the_run(here: Running, capsys: pytest.CaptureFixture[str]) -> None:
    with here.working():
        submit("tiny.py:flow", told=Told(set=["size=4", 'names=["a"]']), wait=True)
    said = capsys.readouterr()
    found = here.http().do(GetRun(id=said.out.strip()))
    assert (found.run.state, found.run.params) == ("finished", {"size": 4, "names": ["a"]})
    assert "doubled: ran" in said.err


def test_the_worker_runs_the_part_that_was_asked_for_where_it_was_asked_to(here: Running, capsys: pytest.CaptureFixture[str]) -> None:
    with here.working():
        submit("tiny.py:flow", told=Told(variation=["big"], until="sized", executor="in_process"), wait=True)
        until = capsys.readouterr().out.split()[1]
        submit("tiny.py:flow", told=Told(variation=["big"], from_="doubled", executor="in_process"), wait=True)
        since = capsys.readouterr().out.split()[1]
        with pytest.raises(NotFound, match="no step 'size'"):
            submit("tiny.py:flow", told=Told(only="size"), wait=True)
    states = [[step.state for step in here.http().do(ListSteps(run_id=id))] for id in (until, since)]
    assert states == [["ran", "skipped"], ["hit", "ran"]]
    tags = here.http().do(GetRun(id=until)).run.tags
    assert tags == {"variation": "big", "partial": "until sized"}


def test_variations_are_jobs_of_their_own_and_one_that_fails_is_named(here: Running, capsys: pytest.CaptureFixture[str]) -> None:
    with here.working(), pytest.raises(StepFailed, match=r"1 of 2 runs failed: \[bad\].*too small"):
        submit("tiny.py:flow", told=Told(variation=["all"]), wait=True)
    said = capsys.readouterr()
    assert "ValueError: too small" in said.err
    name, id = said.out.split()
    assert (name, here.http().do(GetRun(id=id)).run.tags) == ("big", {"variation": "big"})


def test_a_run_that_fails_is_the_commands_own_failure(here: Running) -> None:
    with here.working():
        with pytest.raises(StepFailed, match="too small"):
            submit("tiny.py:flow", told=Told(set=["size=-3"]), wait=True)
        with pytest.raises(InvalidInput, match="'size'"):
            submit("tiny.py:flow", told=Told(set=["size=x"]), wait=True)
        with pytest.raises(NotFound, match="no file"):
            submit("nothing.py:flow", wait=True)


def test_a_pipeline_that_the_servers_project_has_not_is_refused_at_once(here: Running) -> None:
    """And leaves no job, of the command line as of a trigger."""
    before = here.http().do(ListJobs())
    with pytest.raises(NotFound, match=r"tiny\.py has no 'flaw'") as caught:
        submit("tiny.py:flaw")
    assert "flow" in caught.value.remedy
    with pytest.raises(InvalidInput, match="not a reference to code"):
        submit("tiny.py")
    with pytest.raises(NotFound, match=r"tiny\.py has no 'nope'"):
        set_("nightly", on="call", pipeline="tiny.py:nope")
    with pytest.raises(NotFound, match=r"no file 'tin\.py'"):
        set_("nightly", on="call", pipeline="tin.py:flow")
    assert here.http().do(ListJobs()) == before
    assert "nightly" not in {trigger.name for trigger in here.http().do(ListTriggers())}
    set_("nightly", on="call", pipeline="tiny.py:flow")


def test_the_history_of_a_trigger_says_why_a_run_failed(here: Running, capsys: pytest.CaptureFixture[str]) -> None:
    set_("small", on="call", pipeline="tiny.py:flow", param=["size=-1"])
    with here.working():
        (firing,) = here.http().do(FireTrigger(name="small"))
        here.http().wait(here.http().do(GetJob(id=firing.job_id)))
    history("small", form=Format(json=True))
    (row,) = json.loads(capsys.readouterr().out)
    assert "failed" in row["job"]
    assert "too small" in row["reason"]


def test_a_home_that_nobody_works_on_is_refused_and_one_that_is_up_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "tiny.py").write_text(PIPE)
    workspace = open_workspace(tmp_path / ".plimsoll", owner="dana")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLIMSOLL_URL", raising=False)
    with pytest.raises(Unavailable, match="plimsoll up"):
        submit("tiny.py:flow")
    with (tmp_path / ".plimsoll" / "up.lock").open("w") as lock:
        with pytest.raises(Unavailable, match="plimsoll up"):
            submit("tiny.py:flow")
        fcntl.flock(lock, fcntl.LOCK_EX)
        submit("tiny.py:flow")
    (job,) = workspace.do(ListJobs(), workspace.identify(workspace.token("owner")))
    assert job.id == capsys.readouterr().out.strip()
    workspace.close()
