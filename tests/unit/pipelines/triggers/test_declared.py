"""Triggers that the project's table declares, and the worker that looks after them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.cli.applied import apply_project
from plimsoll.data.project import read_project
from plimsoll.errors import InvalidInput
from plimsoll.records.access import ListEvents, ListJobs
from plimsoll.records.pipelines.trigger import FireTrigger, ListFirings, ListTriggers, SetTrigger, TriggerRule
from plimsoll.sdk.door import FolderDoor
from plimsoll.worker import COMMIT, FIRE, Worker
from plimsoll.workspace import WORKER, Workspace, open_workspace
from tests.unit.pipelines.bench import OWNER

MODEL = "[tool.plimsoll.models.late]\ngoal='g'\nlabel='l'\nunit='u'\ntime='t'\ncosts={false_alarm=1, missed=1}\npipeline='./pipe.py:flow'\n"

PROJECT = """
[project]
name = "late"

[tool.plimsoll.profiles.quick]

[tool.plimsoll.variations."pipe.py:flow"]
fr = {}
de = {}

[tool.plimsoll.triggers.nightly]
on = "schedule"
cron = "30 3 * * *"
zone = "Europe/Berlin"
pipeline = "./pipe.py:flow"
variations = ["all"]
profile = "quick"
catch-up = "all"
catch-up-limit = 3
params = { day = "{date}" }

[tool.plimsoll.triggers.pushed]
on = "git"
pipeline = "pipe.py:flow"
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A new home beside a project."""
    (tmp_path / "pipe.py").write_text("flow = None\n")
    opened = open_workspace(tmp_path / ".plimsoll", owner="dana")
    yield opened
    opened.close()


def write(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=dana", "-c", "user.email=dana@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_a_table_is_read_with_one_spelling_of_the_pipeline_and_every_variation_by_name(tmp_path: Path) -> None:
    nightly = read_project(write(tmp_path, PROJECT)).triggers["nightly"]
    assert (nightly.pipeline, nightly.variations, nightly.profile) == ("pipe.py:flow", ("fr", "de"), "quick")
    assert (nightly.catch_up, nightly.catch_up_limit, nightly.params) == ("all", 3, {"day": "{date}"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.plimsoll.triggers.t]\non = 'call'\n", r"triggers.t\].*pipeline"),
        ("[tool.plimsoll.triggers.t]\non = 'sometimes'\npipeline = 'p.py:f'\n", r"triggers.t\].*sometimes"),
        ("[tool.plimsoll.triggers.t]\non = 'call'\npipeline = 'train'\n", r"triggers.t\].*'train' is not a reference"),
        ("[tool.plimsoll.triggers.t]\non = 'schedule'\ncron = '0 3 * *'\npipeline = 'p.py:f'\n", r"triggers.t\].*4 fields"),
        ("[tool.plimsoll.triggers.t]\non = 'call'\npipeline = 'p.py:f'\nvariations = ['all']\n", r"variation 'all', which p.py:f has not"),
        (PROJECT.replace('["all"]', '["frr"]'), r"variation 'frr'.*mean fr"),
        (PROJECT.replace('profile = "quick"', 'profile = "quik"'), r"profile 'quik'.*mean quick"),
        (
            MODEL + "[tool.plimsoll.retrain.late]\n[tool.plimsoll.triggers.t]\non = 'alert'\npipeline = 'pipe.py:flow'\n",
            r"alert of late would run pipe.py:flow twice.*retrain.late",
        ),
    ],
)
def test_a_wrong_trigger_is_refused_by_its_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_project(write(tmp_path, text))


def test_a_policy_and_a_trigger_may_answer_the_same_alert_with_different_pipelines(tmp_path: Path) -> None:
    rule = "[tool.plimsoll.retrain.late]\n[tool.plimsoll.triggers.t]\non = 'alert'\npipeline = 'report.py:write'\n"
    assert read_project(write(tmp_path, MODEL + rule)).triggers["t"].pipeline == "report.py:write"


def test_the_home_follows_the_table_and_leaves_alone_what_was_set_by_hand(workspace: Workspace, tmp_path: Path) -> None:
    door = FolderDoor(workspace, OWNER)
    door.do(SetTrigger(name="mine", rule=TriggerRule(on="call", pipeline="pipe.py:flow")))
    apply_project(door, read_project(write(tmp_path, PROJECT)), tmp_path)
    assert {found.name: found.declared for found in door.do(ListTriggers())} == {"mine": False, "nightly": True, "pushed": True}
    lines = len(door.do(ListEvents()))
    apply_project(door, read_project(tmp_path), tmp_path)
    assert len(door.do(ListEvents())) == lines
    later = PROJECT.partition("[tool.plimsoll.triggers.pushed]")[0].replace("30 3", "30 4")
    apply_project(door, read_project(write(tmp_path, later)), tmp_path)
    assert {found.name: found.rule.cron for found in door.do(ListTriggers())} == {"mine": "", "nightly": "30 4 * * *"}


def test_a_pipeline_that_is_not_there_is_told_when_its_trigger_is_declared_and_hinders_nothing(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    door = FolderDoor(workspace, OWNER)
    apply_project(door, read_project(write(tmp_path, PROJECT)), tmp_path)
    assert capsys.readouterr().err == ""
    (tmp_path / "pipe.py").unlink()
    # Told each time, also when nothing is to be set; what is switched off will not fail.
    for text in (PROJECT, PROJECT + "enabled = false\n"):
        apply_project(door, read_project(write(tmp_path, text)), tmp_path)
        said = capsys.readouterr().err
        assert "The trigger 'nightly' would fail: There is no file 'pipe.py'" in said
        assert ("'pushed'" in said) == (text == PROJECT)
    assert len(door.do(ListTriggers())) == 2
    (tmp_path / "pipe.py").write_text("other = None\n")
    apply_project(door, read_project(tmp_path), tmp_path)
    assert "pipe.py has no 'flow'" in capsys.readouterr().err


def test_the_worker_fires_what_is_due_looks_once_a_second_and_writes_nothing_otherwise(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = 60_000_000
    wall, passed = clock.now() // minute * minute, 0.0
    monkeypatch.setattr("plimsoll.clock.now", lambda: wall + round(passed * 1e6))
    monkeypatch.setattr("plimsoll.clock.monotonic", lambda: 100.0 + passed)
    workspace.do(SetTrigger(name="often", rule=TriggerRule(on="schedule", cron="* * * * *", pipeline="pipe.py:flow")), OWNER)
    worker = Worker(workspace, "w")
    worker._fire()
    lines = len(workspace.do(ListEvents(), OWNER))
    assert workspace.do(ListJobs(), OWNER) == ()
    passed = 60.0
    worker._fire()
    assert len(workspace.do(ListJobs(), OWNER)) == 1
    passed += FIRE / 2
    monkeypatch.setattr(workspace.stores.database, "write", lambda: pytest.fail("nothing is due"))
    worker._fire()
    passed += FIRE
    worker._fire()
    assert len(workspace.do(ListEvents(), OWNER)) == lines + 1


def test_the_worker_notices_a_moved_commit(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = 0.0
    monkeypatch.setattr("plimsoll.clock.monotonic", lambda: 100.0 + passed)
    worker = Worker(workspace, "w")
    workspace.do(SetTrigger(name="pushed", rule=TriggerRule(on="git", branch="main", pipeline="pipe.py:flow")), OWNER)
    worker._fire()
    assert workspace.do(ListFirings(), OWNER) == ()
    git(tmp_path, "init", "-q", "-b", "main")
    for count in range(3):
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", f"commit {count}")
        passed += COMMIT
        worker._fire()
    found = workspace.do(ListFirings(trigger="pushed"), WORKER)
    assert [firing.state for firing in found] == ["held", "started", "skipped"]
    assert len({firing.values["commit"] for firing in found}) == 3


def test_fired_by_hand_a_trigger_of_the_table_has_the_next_places_too(workspace: Workspace, tmp_path: Path) -> None:
    door = FolderDoor(workspace, OWNER)
    apply_project(door, read_project(write(tmp_path, PROJECT)), tmp_path)
    assert [firing.state for firing in door.do(FireTrigger(name="nightly"))] == ["started", "held"]
