"""Points on their way: nothing that was acknowledged is lost or counted twice, whatever dies in between."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.data.snapshot import put_manifest
from plimsoll.errors import Denied, Internal, Overloaded, PlimsollError, StorageFull, Unauthenticated, Unreachable
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, FinishRun, GetRun, GetSeries, LogArtifact, LogInput, PointColumns, SetTags, StartRun
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.journal import Frame, Journal, frames
from plimsoll.sdk.sender import Sender, deliver
from plimsoll.sdk.tracking import left
from plimsoll.sdk.tracking.spool import Spool
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


def unlost(count: int, error: PlimsollError) -> None:
    pytest.fail(f"{count} points were lost: {error}")


def values(door: FolderDoor, run_id: str) -> tuple[float, ...]:
    return door.do(GetSeries(run_id=run_id, name="loss")).values


def replay(folder: Path, address: str, do: Callable[[Request[Any]], Any], warn: Callable[[str], object]) -> int:
    """Send what is left for one platform, and return how many journals were sent."""
    there: Any = SimpleNamespace(do=do)
    found = list(left.replay(folder, lambda asked: there if asked == address else None))
    for one in found:
        if one.fact and one.state != "busy":
            warn(one.fact)
    return sum(one.state == "sent" for one in found)


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
    sender = Sender(journal, door.do, pytest.fail, unlost)
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
    sender = Sender(journal, Outage(door.do, before=2, after=3), told.append, unlost)
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
    journal.add(point(1.0))
    with pytest.raises(Unreachable):
        deliver(journal, Outage(door.do, before=0, after=1), None, pytest.fail)
    journal.close()
    again = Journal(journal.path)
    again.add(point(2.0, 1))
    deliver(again, door.do, FinishRun(id=again.run_id), pytest.fail)
    again.close()
    assert values(door, journal.run_id) == (1.0, 2.0)


def test_a_journal_in_use_is_left_alone(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
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
    sender = Sender(journal, closed, lambda line: None, unlost)
    sender.append(point(1.0))
    with pytest.raises(Unauthenticated):
        sender.finish(FinishRun(id=journal.run_id), 5.0)
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    assert values(door, journal.run_id) == (1.0,)
    assert door.do(GetRun(id=journal.run_id)).run.state == "finished"


def test_what_a_dead_process_left_is_done_in_the_order_in_which_it_was_logged(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    journal.add(point(1.0))
    journal.keep(SetTags(id=journal.run_id, tags={"stage": "one", "kind": "small"}))
    journal.keep(LogInput(run_id=journal.run_id, name="rows", digest="0" * 64))
    journal.add(point(2.0, 1))
    journal.keep(SetTags(id=journal.run_id, tags={"stage": "two"}))
    journal.close()
    told: list[str] = []
    assert replay(tmp_path, door.address, door.do, told.append) == 1
    assert values(door, journal.run_id) == (1.0, 2.0)
    assert door.do(GetRun(id=journal.run_id)).run.tags == {"stage": "two", "kind": "small"}
    assert len(told) == 1
    assert "without this LogInput" in told[0]


@pytest.mark.parametrize("damaged", ["manifest", "file"])
def test_an_artifact_whose_waiting_bytes_are_damaged_is_named_and_what_is_behind_it_is_sent(
    door: FolderDoor, tmp_path: Path, damaged: str
) -> None:
    journal = begun(door, tmp_path)
    spool = Spool(journal.bytes, door)
    file = spool.blobs.put(b"weights")
    manifest = put_manifest(spool.blobs, Manifest(kind="tree", files=(FileEntry(path="w", digest=file, size=7),), meta={}))
    journal.keep(LogArtifact(run_id=journal.run_id, name="model", kind="tree", digest=manifest, size=7))
    journal.add(point(1.0))
    broken = {"manifest": manifest, "file": file}[damaged]
    (spool.blobs.folder / broken[:2] / broken).write_bytes(b"weighty")
    told: list[str] = []
    deliver(journal, spool.do, None, told.append)
    assert "'model' that waited to be sent are damaged" in told[0]
    assert values(door, journal.run_id) == (1.0,)
    assert door.do(GetRun(id=journal.run_id)).artifacts == ()
    journal.close()


def test_a_run_whose_process_died_ended_when_that_last_wrote_and_not_when_its_journal_was_found(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    journal.add(point(1.0))
    journal.close()
    wrote = clock.now() - 3_600_000_000
    os.utime(journal.path, ns=(wrote * 1000, wrote * 1000))
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    run = door.do(GetRun(id=journal.run_id)).run
    assert (run.state, abs((run.ended or 0) - wrote) < 1_000_000) == ("lost", True)


def test_what_a_forked_process_left_ends_no_run_that_goes_on(door: FolderDoor, tmp_path: Path) -> None:
    run = door.do(StartRun())
    journal = Journal(tmp_path / f"{run.id}.child.journal")
    journal.begin(run.id, door.address, forked=True)
    journal.add(point(1.0))
    journal.close()
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    assert (door.do(GetRun(id=run.id)).run.state, values(door, run.id)) == ("running", (1.0,))


def test_a_damaged_journal_is_named_and_what_is_before_the_damage_is_sent(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    for step in range(3):
        journal.add(point(float(step), step))
    journal.close()
    data = bytearray(journal.path.read_bytes())
    data[-1] ^= 4
    journal.path.write_bytes(data)
    told: list[str] = []
    assert replay(tmp_path, door.address, door.do, told.append) == 1
    assert values(door, journal.run_id) == (0.0, 1.0)
    assert "Record 4 of the journal" in told[0]
    assert list(tmp_path.glob("*.damaged"))


def test_a_journal_of_another_version_is_named_and_left_alone(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    journal.write(Frame(address=3))  # type: ignore[arg-type]
    journal.close()
    told: list[str] = []
    assert replay(tmp_path, door.address, door.do, told.append) == 0
    assert journal.path.exists()
    assert str(journal.path) in told[0]


def test_points_are_in_the_journal_a_moment_after_they_were_logged(door: FolderDoor, tmp_path: Path) -> None:
    def closed(request: Request[Any], /) -> Any:
        raise Unreachable("The server does not answer.")

    journal = begun(door, tmp_path)
    sender = Sender(journal, closed, lambda line: None, unlost)
    for step in range(5):
        sender.append(point(float(step), step))
        deadline = clock.monotonic() + 60
        while stored(journal) != [float(at) for at in range(step + 1)]:
            assert clock.monotonic() < deadline
            clock.sleep(0.005)
    with pytest.raises(Unreachable):
        sender.finish(FinishRun(id=journal.run_id), 0.0)


def stored(journal: Journal) -> list[float]:
    return [value for frame, _ in frames(journal.path.read_bytes()) if frame.points is not None for value in frame.points.values]


def test_what_flush_returned_for_is_in_the_journal(door: FolderDoor, tmp_path: Path) -> None:
    journal = begun(door, tmp_path)
    sender = Sender(journal, door.do, pytest.fail, unlost)
    for step in range(7_000):
        sender.append(point(float(step), step))
    sender.flush()
    assert stored(journal) == [float(step) for step in range(7_000)]
    sender.finish(FinishRun(id=journal.run_id), 5.0)
    assert values(door, journal.run_id) == tuple(float(step) for step in range(7_000))


def test_a_platform_that_hangs_holds_up_neither_the_loop_nor_for_long_the_end(
    door: FolderDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plimsoll.sdk.sender._GRACE", 0.3)
    asked, answer = threading.Event(), threading.Event()

    def hang(request: Request[Any], /) -> Any:
        asked.set()
        assert answer.wait(600)
        return door.do(request)

    journal = begun(door, tmp_path)
    sender = Sender(journal, hang, lambda line: None, unlost)
    sender.append(point(0.0))
    assert asked.wait(60)
    for step in range(1, 100):
        sender.append(point(float(step), step))
    began = clock.monotonic()
    with pytest.raises(Unreachable, match="has not answered"):
        sender.finish(FinishRun(id=journal.run_id), 0.0)
    assert clock.monotonic() - began < 300
    # The late answer and the next run's replay are the same batch.
    answer.set()
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    assert values(door, journal.run_id) == tuple(map(float, range(100)))


def test_a_disk_that_is_full_for_a_while_costs_nothing(door: FolderDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(door, tmp_path)
    told: list[str] = []
    sender = Sender(journal, door.do, told.append, unlost)
    write, full = os.write, threading.Event()

    def limited(file: int, data: bytes) -> int:
        if full.is_set() and file == journal._file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", limited)
    for step in range(60):
        if step % 20 == 10:
            sender.flush()
            full.set()
            sender.append(point(float(step), step))
            with pytest.raises(StorageFull):
                sender.flush()
            full.clear()
        else:
            sender.append(point(float(step), step))
    sender.finish(FinishRun(id=journal.run_id), 5.0)
    assert values(door, journal.run_id) == tuple(map(float, range(60)))
    assert all("waits in memory" in line for line in told)


def test_what_memory_does_not_hold_on_a_full_disk_is_counted(door: FolderDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.sdk.sender._HELD", 10)
    journal = begun(door, tmp_path)
    lost: list[int] = []
    sender = Sender(journal, door.do, lambda line: None, lambda count, error: lost.append(count))
    write = os.write

    def full(file: int, data: bytes) -> int:
        if file == journal._file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    for step in range(25):
        sender.append(point(float(step), step))
    run = sender.finish(FinishRun(id=journal.run_id), 5.0)
    # What was held in memory is sent from there.
    assert (run.state, lost) == ("finished", [15])
    assert values(door, journal.run_id) == tuple(map(float, range(10)))


def test_a_loop_that_is_faster_than_the_journal_writes_it_itself(door: FolderDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.sdk.sender._HELD", 10)
    monkeypatch.setattr("plimsoll.sdk.sender._INTERVAL", 60.0)
    journal = begun(door, tmp_path)
    lost: list[int] = []
    sender = Sender(journal, door.do, lambda line: None, lambda count, error: lost.append(count))
    for step in range(1000):
        sender.append(point(float(step), step))
    sender.finish(FinishRun(id=journal.run_id), 5.0)
    assert lost == []
    assert values(door, journal.run_id) == tuple(map(float, range(1000)))


def test_a_loop_waits_once_for_a_disk_that_does_not_answer(door: FolderDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.sdk.sender._HELD", 10)
    monkeypatch.setattr("plimsoll.sdk.sender._SLOW", 0.2)
    journal = begun(door, tmp_path)
    lost: list[int] = []
    sender = Sender(journal, door.do, lambda line: None, lambda count, error: lost.append(count))
    holds, answered = threading.Event(), threading.Event()

    def hold() -> None:
        with journal.lock:
            holds.set()
            answered.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    holds.wait(60)
    before = time.monotonic()
    for step in range(1000):
        sender.append(point(float(step), step))
    assert time.monotonic() - before < 5
    answered.set()
    holder.join()
    sender.finish(FinishRun(id=journal.run_id), 5.0)
    assert sum(lost) + len(values(door, journal.run_id)) == 1000


def test_an_outage_on_a_disk_that_stays_full_says_how_much_is_lost(
    door: FolderDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(request: Request[Any], /) -> Any:
        raise Unreachable("The server does not answer.")

    journal = begun(door, tmp_path)
    lost: list[int] = []
    sender = Sender(journal, closed, lambda line: None, lambda count, error: lost.append(count))
    sender.append(point(0.0))
    sender.flush()
    write = os.write

    def full(file: int, data: bytes) -> int:
        if file == journal._file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    for step in range(1, 4):
        sender.append(point(float(step), step))
    with pytest.raises(Unreachable):
        sender.finish(FinishRun(id=journal.run_id), 0.0)
    assert lost == [3]
    assert replay(tmp_path, door.address, door.do, pytest.fail) == 1
    assert values(door, journal.run_id) == (0.0,)


def test_a_program_that_ends_without_ending_its_run_keeps_all_that_it_logged(door: FolderDoor, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "left"\n[tool.plimsoll]\nhome = "home"\n')
    program = """
import plimsoll, plimsoll.sdk.sender, plimsoll.sdk.tracking.opened
plimsoll.sdk.sender._INTERVAL = 60.0
plimsoll.sdk.tracking.opened._WELCOME = 60.0
run = plimsoll.run().start()
run.log(loss=-1.0)
while not run._sender._stopping.wait(0.01) and run._sender._fresh:
    pass
for step in range(1000):
    run.log(loss=float(step))
print(run.id)
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PLIMSOLL_")}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "home" / "journal").iterdir()) == []
    assert values(door, done.stdout.strip()) == (-1.0, *map(float, range(1000)))


def test_a_loop_that_is_killed_keeps_all_that_it_flushed_and_no_holes(door: FolderDoor, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "killed"\n[tool.plimsoll]\nhome = "home"\n')
    program = """
import sys, plimsoll
with plimsoll.run() as run:
    for step in range(10**9):
        run.log(loss=float(step))
        if step >= 300 and step % 50 == 0:
            run.flush()
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
    assert replay(tmp_path / "home" / "journal", door.address, door.do, lambda line: None) == 1
    found = values(door, run_id)
    assert len(found) >= int(last) + 1
    assert found == tuple(map(float, range(len(found))))
