from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import plimsoll
from plimsoll.data.values import save
from plimsoll.errors import InvalidInput, NotFound, StorageFull, Unfingerprintable, Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import FinishRun, GetRun, GetSeries, ListRuns, RunDetail
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.journal import Journal
from plimsoll.sdk.run import OpenRun, run
from plimsoll.workspace import open_workspace


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderDoor]:
    """A door to a new home, and a project around it."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "notes"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLIMSOLL_URL", raising=False)
    workspace = open_workspace(tmp_path / ".plimsoll", owner="dana")
    opened = FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    yield opened
    opened.close()


def detail(door: FolderDoor, opened: OpenRun) -> RunDetail:
    return door.do(GetRun(id=opened.id))


def test_a_block_is_a_run_that_ends_finished_with_what_it_logged(door: FolderDoor, tmp_path: Path) -> None:
    with run(door=door, experiment="notebook", name="first", depth=3) as opened:
        opened.log(loss=0.5)
        opened.log({"loss": 0.25, "acc/top 1": 0.75}, step=7)
        opened.log(loss=math.nan)
        opened.tag(stage="try")
        opened.log_artifact("table", {"a": [1, 2]})
        (tmp_path / "note.txt").write_text("hello")
        opened.log_artifact("note", tmp_path / "note.txt")
        assert detail(door, opened).run.state == "running"
    found = detail(door, opened)
    assert (found.run.state, found.run.experiment, found.run.name, found.run.params, found.run.tags, found.run.author) == (
        "finished",
        "notebook",
        "first",
        {"depth": 3},
        {"stage": "try"},
        "dana",
    )
    assert opened.record == found.run
    assert found.run.environment is not None
    assert [artifact.name for artifact in found.artifacts] == ["note", "table"]
    series = door.do(GetSeries(run_id=opened.id, name="loss"))
    assert series.steps == (0, 7, 8)
    assert (series.values[:2], math.isnan(series.values[2])) == ((0.5, 0.25), True)


def test_a_block_that_raises_fails_with_the_traceback_and_the_exception_goes_on(door: FolderDoor) -> None:
    opened = run(door=door)

    def block() -> None:
        with opened:
            opened.log(loss=1.0)
            math.floor(1 / 0)

    with pytest.raises(ZeroDivisionError):
        block()
    found = detail(door, opened)
    assert found.run.state == "failed"
    assert found.run.error is not None
    assert found.run.error.startswith("Traceback")
    assert "math.floor(1 / 0)" in found.run.error
    assert "ZeroDivisionError: division by zero" in found.run.error
    assert [metric.name for metric in found.metrics] == ["loss"]


def test_an_interrupt_fails_the_run_too(door: FolderDoor) -> None:
    opened = run(door=door)
    with pytest.raises(KeyboardInterrupt), opened:
        raise KeyboardInterrupt
    assert detail(door, opened).run.state == "failed"


def test_code_called_within_the_block_finds_the_run_and_none_outside(door: FolderDoor) -> None:
    assert plimsoll.current_run().id == ""
    with run(door=door) as outer:
        assert plimsoll.current_run().id == outer.id
        with run(door=door) as inner:
            plimsoll.current_run().log(depth=2.0)
        assert plimsoll.current_run().id == outer.id
    assert plimsoll.current_run().id == ""
    assert [metric.name for metric in detail(door, inner).metrics] == ["depth"]
    assert detail(door, outer).metrics == ()


def test_the_same_object_used_twice_is_two_runs(door: FolderDoor) -> None:
    opened = run(door=door)
    ids = []
    for _ in range(2):
        with opened:
            opened.log(loss=1.0)
            opened.log(loss=2.0)
        ids.append(opened.id)
        assert detail(door, opened).metrics[0].count == 2
    assert len(set(ids)) == 2


def test_a_run_that_has_not_begun_says_how_to_begin_it(door: FolderDoor) -> None:
    opened = run(door=door)
    for use in (lambda: opened.log(a=1.0), lambda: opened.id, lambda: opened.record, lambda: opened.tag(a="b")):
        with pytest.raises(InvalidInput, match=r"with plimsoll\.run"):
            use()
    assert door.do(ListRuns()) == ()


def test_a_run_that_somebody_else_ended_says_so_and_training_goes_on(door: FolderDoor, capsys: pytest.CaptureFixture[str]) -> None:
    with run(door=door) as opened:
        door.do(FinishRun(id=opened.id, state="stopped"))
        opened.log(a=1.0)
    assert "has ended as stopped" in capsys.readouterr().err
    kept = list((door.workspace.home / "journal").glob("*.refused"))
    assert [path.stem for path in kept] == [opened.id]


class Flaky:
    """A door that answers only while it is open; blobs too."""

    def __init__(self, door: FolderDoor) -> None:
        self._door, self.address, self.workspace, self.open = door, door.address, door.workspace, True

    def do(self, request: Request[Any], /) -> Any:
        self._check()
        return self._door.do(request)

    @property
    def blobs(self) -> Any:
        self._check()
        return self._door.blobs

    def _check(self) -> None:
        if not self.open:
            raise Unreachable("The server does not answer.")


def flaky(door: FolderDoor, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("plimsoll.sdk.run._PATIENCE", 0.0)
    monkeypatch.setattr("plimsoll.sdk.run._journals", lambda opened: opened.workspace.home / "journal")
    return Flaky(door)


def test_tags_and_artifacts_of_an_outage_arrive_in_their_order_and_nothing_is_raised(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closing = flaky(door, monkeypatch)
    with run(door=closing) as opened:
        stored = save(3, door.blobs, Path())
        monkeypatch.setattr(opened, "_keep", lambda value, project: stored)
        closing.open = False
        opened.tag(stage="one", kind="small")
        opened.log_artifact("three", 3)
        opened.tag(stage="two")
        opened.log(loss=1.0)
    told = capsys.readouterr().err
    assert told.count("the run goes on") == 1
    assert detail(door, opened).run.state == "running"
    with run(door=door):
        pass
    found = detail(door, opened)
    assert (found.run.state, found.run.tags) == ("finished", {"stage": "two", "kind": "small"})
    assert [artifact.name for artifact in found.artifacts] == ["three"]
    assert [metric.last for metric in found.metrics] == [1.0]


def test_an_artifact_whose_bytes_cannot_be_stored_is_one_warning_and_counted(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closing = flaky(door, monkeypatch)
    with run(door=closing) as opened:
        closing.open = False
        for name in "abc":
            opened.log_artifact(name, 1)
        closing.open = True
        opened.log_artifact("d", 1)
    told = capsys.readouterr().err
    assert told.count("does not answer") == 1
    assert "without what could not be kept: 3 artifacts" in told
    assert [artifact.name for artifact in detail(door, opened).artifacts] == ["d"]


def test_what_is_wrong_with_a_tag_or_an_artifact_is_still_told_at_once(door: FolderDoor) -> None:
    with run(door=door) as opened:
        with pytest.raises(Unfingerprintable):
            opened.log_artifact("a", object())
        with pytest.raises(NotFound):
            plimsoll.current_run().log_input("rows", "0" * 64)


def test_a_disk_that_is_full_for_a_while_costs_no_points(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with run(door=door) as opened:
        write = os.write
        assert opened._sender is not None
        journal = opened._sender.journal._file

        def full(handle: int, data: bytes) -> int:
            if handle == journal:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(handle, data)

        opened.log(loss=1.0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for _ in range(3):
                opened.log(loss=2.0, acc=1.0)
        opened.log(loss=3.0)
    told = capsys.readouterr().err
    assert told.count("cannot grow") <= 1
    assert "could not be kept" not in told
    found = detail(door, opened)
    assert found.run.state == "finished"
    assert door.do(GetSeries(run_id=opened.id, name="loss")).values == (1.0, 2.0, 2.0, 2.0, 3.0)


def test_a_disk_that_stays_full_does_not_keep_the_run_from_ending(door: FolderDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    with run(door=door) as opened:
        opened.log(loss=1.0)

        def full(self: Journal, data: bytes) -> None:
            raise StorageFull("The journal cannot grow.")

        monkeypatch.setattr(Journal, "_write", full)
        opened.log(loss=2.0)
        opened.tag(kind="small")
    found = detail(door, opened)
    assert (found.run.state, found.run.tags) == ("finished", {"kind": "small"})
    assert door.do(GetSeries(run_id=opened.id, name="loss")).values == (1.0, 2.0)


def test_what_is_no_pipeline_is_refused(door: FolderDoor) -> None:
    with pytest.raises(InvalidInput, match=r"@plimsoll\.pipeline"):
        run(lambda: 1, door=door)


def test_without_a_door_the_projects_own_home_is_used(door: FolderDoor) -> None:
    with run() as opened:
        opened.log(a=1.0)
    assert detail(door, opened).run.state == "finished"


def test_without_a_project_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("PLIMSOLL_URL", raising=False)
    with pytest.raises(NotFound) as refused, run():
        pass
    assert refused.value.remedy
    assert not (tmp_path / "empty" / ".plimsoll").exists()
