"""What steps log, on its way: every point once through outages, and a warning where nothing helps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.errors import Internal, NotFound, Overloaded, PlimsollError, StorageFull, Unavailable, Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, GetRun, GetSeries, LogInput, PointColumns, SetTags, StartRun
from plimsoll.records.tracking.change import DeleteRun
from plimsoll.runs import outbox
from plimsoll.runs.outbox import Outbox
from plimsoll.sdk.door import FolderDoor
from plimsoll.workspace import open_workspace


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderDoor]:
    monkeypatch.setattr(outbox, "_BATCH", 0.0)
    workspace = open_workspace(tmp_path / "home", owner="dana")
    opened = FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    yield opened
    opened.close()


class Losing:
    """A door that does the work and loses the answers that it is told to lose."""

    def __init__(self, door: FolderDoor, errors: list[PlimsollError], done: bool) -> None:
        self._door, self.errors, self._done = door, errors, done

    def __call__(self, request: Request[Any], /) -> Any:
        lost = self.errors.pop(0) if self.errors else None
        if lost is not None and not self._done:
            raise lost
        result = self._door.do(request)
        if lost is not None:
            raise lost
        return result


def point(value: float) -> PointColumns:
    return PointColumns(names=("loss",), steps=(int(value),), times=(clock.now(),), values=(value,))


def values(door: FolderDoor, run_id: str) -> tuple[float, ...]:
    return door.do(GetSeries(run_id=run_id, name="loss")).values


def test_points_logged_after_an_answer_was_lost_are_kept(door: FolderDoor, capsys: pytest.CaptureFixture[str]) -> None:
    run = door.do(StartRun())
    waiting = Outbox(run.id, Losing(door, [Unreachable("The answer was lost.")], done=True))
    waiting.heard("w", point(0.0))
    waiting.flush()
    waiting.heard("w", point(1.0))
    waiting.flush()
    waiting.heard("w", point(2.0))
    waiting.close(5.0)
    assert values(door, run.id) == (0.0, 1.0, 2.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [Unreachable, Overloaded, Unavailable, StorageFull, Internal])
@pytest.mark.parametrize("done", [True, False])
def test_every_error_that_may_pass_is_tried_again(door: FolderDoor, error: type[PlimsollError], done: bool) -> None:
    run = door.do(StartRun())
    waiting = Outbox(run.id, Losing(door, [error("Not now.")] * 3, done))
    waiting.heard("w", SetTags(id=run.id, tags={"kind": "small"}))
    waiting.heard("w", point(0.0))
    waiting.flush()
    waiting.heard("v", point(1.0))
    waiting.close(5.0)
    assert values(door, run.id) == (0.0, 1.0)
    assert door.do(GetRun(id=run.id)).run.tags == {"kind": "small"}


def test_an_outage_that_does_not_end_is_a_warning_with_the_loss(door: FolderDoor, capsys: pytest.CaptureFixture[str]) -> None:
    run = door.do(StartRun())
    waiting = Outbox(run.id, Losing(door, [Overloaded("The server is full.")] * 100, done=False))
    waiting.heard("w", point(0.0))
    waiting.flush()
    waiting.heard("w", point(1.0))
    waiting.close(0.0)
    told = capsys.readouterr().err
    assert "The server is full." in told
    assert "lost 2 points and 0 tags" in told


def test_points_that_are_refused_for_good_are_one_warning(door: FolderDoor, capsys: pytest.CaptureFixture[str]) -> None:
    run = door.do(StartRun())
    waiting = Outbox(run.id, door.do)
    door.do(DeleteRun(id=run.id))
    for value in (0.0, 1.0):
        waiting.heard("w", point(value))
        waiting.flush()
    waiting.close(5.0)
    assert capsys.readouterr().err.count("is deleted") == 1


def test_an_input_that_does_not_exist_is_refused_and_the_points_behind_it_go_on(door: FolderDoor) -> None:
    run = door.do(StartRun())
    waiting = Outbox(run.id, door.do)
    waiting.heard("w", LogInput(run_id=run.id, name="rows", digest="0" * 64))
    waiting.heard("w", point(0.0))
    with pytest.raises(NotFound):
        waiting.flush()
    waiting.close(5.0)
    assert values(door, run.id) == (0.0,)


def test_what_an_outage_gathers_is_sent_in_batches_that_can_be_sent(door: FolderDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_MOST", 10)
    run = door.do(StartRun())
    sizes: list[int] = []

    def do(request: Request[Any], /) -> Any:
        if isinstance(request, AppendPoints):
            sizes.append(len(request.points.names))
        return door.do(request)

    waiting = Outbox(run.id, do)
    for value in range(25):
        waiting.heard("w", point(float(value)))
    waiting.close(5.0)
    assert sizes == [10, 10, 5]
    assert values(door, run.id) == tuple(map(float, range(25)))
