"""Points on their way: nothing that was logged is lost or counted twice, whatever dies in between."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import clock
from plimsoll.errors import Conflict, Denied, Internal, Overloaded, PlimsollError, Unauthenticated, Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, FinishRun, GetRun, GetSeries, LogInput, PointColumns, SetTags, StartRun
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.journal import Frame, Journal, Sender, deliver, frames, replay
from plimsoll.workspace import open_workspace


@pytest.fixture
def door(tmp_path: Path) -> Iterator[FolderDoor]:
    workspace = open_workspace(tmp_path / "home", owner="dana")
    opened = FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    yield opened
    opened.close()


@contextlib.contextmanager
def open_workspace_door(home: Path) -> Iterator[FolderDoor]:
    workspace = open_workspace(home, owner="omar")
    opened = FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    yield opened
    opened.close()


def point(value: float, step: int = 0, name: str = "loss") -> PointColumns:
    return PointColumns(names=(name,), steps=(step,), times=(clock.now(),), values=(value,))


def begun(door: FolderDoor, folder: Path) -> Journal:
    run = door.do(StartRun())
    journal = Journal(folder / f"{run.id}.journal")
    journal.begin(run.id, door.address)
    return journal


def values(door: FolderDoor, run_id: str) -> tuple[float, ...]:
    return door.do(GetSeries(run_id=run_id, name="loss")).values


class Outage:
    """A door that is closed for a while, and one that loses the answer after the work was done."""

    def __init__(self, do: Callable[[Request[Any]], Any], before: int, after: int) -> None:
        self._do, self._before, self._after = do, before, after

    def __call__(self, request: Request[Any], /) -> Any:
        if self._before > 0:
            self._before -= 1
            raise Unreachable("The server does not answer.")
        result = self._do(request)
        if self._after > 0:
            self._after -= 1
            raise Unreachable("The answer was lost.")
        return result


def test_points_are_sent_and_the_journal_is_gone_when_the_run_ends(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    sender = Sender(journal, door.do, pytest.fail)
    for step in range(2500):
        sender.append(point(float(step), step))
    sender.append(point(math.nan, 2500))
    run = sender.finish(FinishRun(id=journal.run_id), 5.0)
    found = values(door, journal.run_id)
    assert run.state == "finished"
    assert found[:-1] == tuple(map(float, range(2500)))
    assert math.isnan(found[-1])
    assert list(tmp_path.glob("*.journal")) == []


def test_an_outage_is_one_warning_and_every_point_arrives_once(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    told: list[str] = []
    sender = Sender(journal, Outage(door.do, before=2, after=3), told.append)
    for step in range(1200):
        sender.append(point(float(step), step))
    sender.finish(FinishRun(id=journal.run_id), 10.0)
    assert values(door, journal.run_id) == tuple(map(float, range(1200)))
    assert len(told) <= 2


def test_what_a_long_outage_gathers_is_sent_in_batches_of_bounded_size(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    for step in range(90):
        journal.add(PointColumns(names=("loss",) * 500, steps=(step,) * 500, times=(1,) * 500, values=(float(step),) * 500))
    journal.close()
    sizes: list[int] = []

    def do(request: Request[Any], /) -> Any:
        if isinstance(request, AppendPoints):
            sizes.append(len(request.points.names))
        return door.do(request)

    assert replay(tmp_path, door.address, do, pytest.fail) == 1
    assert sizes == [20_000, 20_000, 5_000]
    assert values(door, journal.run_id) == tuple(float(step) for step in range(90) for _ in range(500))


def test_what_a_dead_process_left_is_sent_by_the_next_run_and_its_run_is_lost(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    journal.write(Frame(points=point(1.0)))
    journal.write(Frame(points=point(2.0, 1)))
    journal.close()
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    assert values(door, journal.run_id) == (1.0, 2.0)
    assert door.do(GetRun(id=journal.run_id)).run.state == "lost"
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 0


def test_a_batch_whose_answer_was_lost_is_not_applied_twice(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    journal.write(Frame(points=point(1.0)))
    journal.waiting.append(point(1.0))
    with pytest.raises(Unreachable):
        deliver(journal, Outage(door.do, before=0, after=1), None, pytest.fail)
    journal.close()
    again = Journal(journal.path)
    again.write(Frame(points=point(2.0, 1)))
    again.waiting.append(point(2.0, 1))
    deliver(again, door.do, FinishRun(id=again.run_id), pytest.fail)
    again.close()
    assert values(door, journal.run_id) == (1.0, 2.0)


def test_a_journal_in_use_is_left_alone(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    with pytest.raises(Conflict):
        Journal(journal.path)
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 0
    assert journal.path.exists()
    journal.close()


def test_a_journal_of_a_run_that_is_not_known_here_is_set_aside(door: FolderDoor, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.journal")
    journal.begin("0" * 32, door.address)
    journal.write(Frame(points=point(1.0)))
    journal.close()
    told: list[str] = []
    replay(tmp_path, door.address, door.do, told.append)
    assert [path.name for path in tmp_path.glob("x.*")] == ["x.refused"]
    assert "x.refused" in told[0]


def test_a_journal_of_another_platform_waits_for_a_run_there(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    journal.write(Frame(points=point(1.0)))
    journal.close()
    with open_workspace_door(tmp_path / "elsewhere") as other:
        told: list[str] = []
        assert replay(tmp_path, other.address, other.do, told.append) == 0
        assert journal.path.exists()
        assert door.address in told[0]
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    assert values(door, journal.run_id) == (1.0,)


@pytest.mark.parametrize("error", [Unauthenticated, Denied, Overloaded, Internal])
def test_a_journal_that_this_actor_may_not_send_or_nobody_now_stays(door: FolderDoor, tmp_path: Path, error: type[PlimsollError]) -> None:
    journal = begun(door, tmp_path)
    journal.write(Frame(points=point(1.0)))
    journal.close()

    def closed(request: Request[Any], /) -> Any:
        raise error("Not like this.")

    told: list[str] = []
    assert replay(tmp_path, door.address, closed, told.append) == 0
    assert "Not like this." in told[0]
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    assert values(door, journal.run_id) == (1.0,)


def test_a_run_whose_token_was_taken_away_keeps_its_journal(door: FolderDoor, tmp_path: Path) -> None:
    def closed(request: Request[Any], /) -> Any:
        raise Unauthenticated("The token is not known here.")

    journal = begun(door, tmp_path)
    sender = Sender(journal, closed, lambda line: None)
    sender.append(point(1.0))
    with pytest.raises(Unauthenticated):
        sender.finish(FinishRun(id=journal.run_id), 5.0)
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    assert values(door, journal.run_id) == (1.0,)
    assert door.do(GetRun(id=journal.run_id)).run.state == "finished"


def test_what_a_dead_process_left_is_done_in_the_order_in_which_it_was_logged(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    journal.write(Frame(points=point(1.0)))
    journal.waiting.append(point(1.0))
    journal.keep(SetTags(id=journal.run_id, tags={"stage": "one", "kind": "small"}))
    journal.keep(LogInput(run_id=journal.run_id, name="rows", digest="0" * 64))
    journal.write(Frame(points=point(2.0, 1)))
    journal.waiting.append(point(2.0, 1))
    journal.keep(SetTags(id=journal.run_id, tags={"stage": "two"}))
    journal.close()
    told: list[str] = []
    assert replay(tmp_path, door.address, door.do, told.append) == 1
    assert values(door, journal.run_id) == (1.0, 2.0)
    assert door.do(GetRun(id=journal.run_id)).run.tags == {"stage": "two", "kind": "small"}
    assert len(told) == 1
    assert "without this LogInput" in told[0]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 2000), flip=st.integers(0, 2000) | st.none())
def test_a_journal_that_is_cut_or_damaged_anywhere_keeps_the_frames_before(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int | None
) -> None:
    path = tmp_path_factory.mktemp("journal") / "x.journal"
    journal = Journal(path)
    journal.begin("run", "somewhere")
    for step in range(20):
        journal.write(Frame(points=point(float(step), step)))
    journal.close()
    data = bytearray(path.read_bytes())
    ends = [end for _, end in frames(bytes(data))]
    assert len(ends) == 21
    damaged = min(cut, len(data))
    if flip is not None and flip < len(data):
        data[flip] ^= 1
        damaged = min(damaged, flip)
    path.write_bytes(data[:cut])
    again = Journal(path)
    whole = sum(end <= damaged for end in ends)
    assert [part.values[0] for part in again.waiting] == [float(step) for step in range(max(0, whole - 1))]
    again.close()


def test_a_loop_that_is_killed_loses_nothing_that_it_logged(door: FolderDoor, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "killed"\n[tool.plimsoll]\nhome = "home"\n')
    program = """
import sys, plimsoll
with plimsoll.run() as run:
    for step in range(10**9):
        run.log(loss=float(step))
        if step >= 300:
            print(run.id, step, flush=True)
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PLIMSOLL_")}
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        run_id, last = child.stdout.readline().split()
        child.send_signal(signal.SIGKILL)
        for line in child.stdout:
            if line.endswith("\n"):
                last = line.split()[1]
    assert replay(tmp_path / "home" / "journal", door.address, door.do, pytest.fail) == 1
    found = values(door, run_id)
    assert len(found) >= int(last) + 1
    assert found == tuple(map(float, range(len(found))))
