"""The journal's file: what was written is there again, in its order and under its numbers, whatever happened to the file."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import Conflict, Corrupt, Denied, InvalidInput, StorageFull
from plimsoll.records.run import AppendPoints, FinishRun, PointColumns, SetTags
from plimsoll.sdk.journal import Frame, Journal, frames


def point(value: float, step: int = 0, name: str = "loss") -> PointColumns:
    return PointColumns(names=(name,), steps=(step,), times=(1,), values=(value,))


def begun(path: Path) -> Journal:
    journal = Journal(path)
    journal.begin("run", "somewhere")
    return journal


def held(journal: Journal) -> list[float]:
    """Return the values that wait in a journal, in their order."""
    journal.cut()
    found: list[float] = []
    for number in sorted(journal.batches):
        batch = journal.request(number)
        assert isinstance(batch, AppendPoints)
        found += batch.points.values
    return found


class Disk:
    """Takes what is written, while it has room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 60
        self._write: Callable[[int, bytes], int] = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, file: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._write(file, data[: self.room])
        self.room -= written
        return written


def test_what_is_written_is_there_again_under_the_same_numbers(tmp_path: Path) -> None:
    journal = begun(tmp_path / "x.journal")
    journal.add(point(1.0))
    journal.add(point(2.0, 1))
    journal.keep(SetTags(id="run", tags={"a": "b"}))
    journal.add(point(3.0, 2))
    journal.cut()
    journal.add(point(4.0, 3))
    journal.write(Frame(end=FinishRun(id="run")))
    told = {number: journal.request(number) for number in journal.batches}
    journal.close()
    again = Journal(journal.path)
    assert (again.run_id, again.writer, again.address) == ("run", journal.writer, "somewhere")
    assert {number: again.request(number) for number in again.batches} == told
    assert [batch.sequence for batch in told.values() if isinstance(batch, AppendPoints)] == [1, 2]
    assert (again.waiting, again.end, again.damage) == (1, FinishRun(id="run"), "")
    again.close()


def test_a_journal_in_use_is_not_opened_twice(tmp_path: Path) -> None:
    journal = begun(tmp_path / "x.journal")
    with pytest.raises(Conflict):
        Journal(journal.path)
    journal.close()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 2000), flip=st.integers(0, 2000) | st.none())
def test_a_journal_that_is_cut_or_damaged_anywhere_keeps_the_frames_before_and_names_the_next(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int | None
) -> None:
    path = tmp_path_factory.mktemp("journal") / "x.journal"
    journal = begun(path)
    for step in range(20):
        journal.add(point(float(step), step))
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
    assert held(again) == [float(step) for step in range(max(0, whole - 1))]
    place = ends[whole - 1] if whole else 0
    rest = bytes(data[:cut])[place:]
    assert again.damage.startswith(f"Record {whole + 1} of the journal {path}, at byte {place}," if rest else "")
    assert bool(again.damage) == bool(rest)
    if rest:
        assert path.with_suffix(".damaged").read_bytes() == rest
    again.close()


@pytest.mark.parametrize("size", [8, 4096])
def test_zeros_that_a_power_cut_left_at_the_end_are_damage_and_the_points_before_them_are_kept(tmp_path: Path, size: int) -> None:
    journal = begun(tmp_path / "x.journal")
    journal.add(point(1.0))
    journal.close()
    with journal.path.open("ab") as file:
        file.write(bytes(size))
    again = Journal(journal.path)
    assert held(again) == [1.0]
    assert again.damage.startswith("Record 3 of the journal")
    again.close()


def test_a_frame_that_this_version_does_not_know_stays_as_it_is(tmp_path: Path) -> None:
    journal = begun(tmp_path / "x.journal")
    journal.write(Frame(address=3))  # type: ignore[arg-type]
    journal.close()
    before = journal.path.read_bytes()
    with pytest.raises(InvalidInput, match="frame"):
        Journal(journal.path)
    assert journal.path.read_bytes() == before


def test_bytes_that_change_under_a_run_are_not_sent(tmp_path: Path) -> None:
    journal = begun(tmp_path / "x.journal")
    journal.add(point(1.0))
    journal.cut()
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[:-40] + b"?" + data[-39:])
    with pytest.raises(Corrupt, match="damaged at byte"):
        journal.request(1)
    journal.close()


@pytest.mark.parametrize("room", [0, 1, 30])
def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    journal = begun(tmp_path / "x.journal")
    journal.add(point(1.0))
    before = journal.path.read_bytes()
    disk = Disk(monkeypatch)
    disk.room = room
    with pytest.raises(StorageFull, match="cannot grow"):
        journal.add(point(2.0, 1))
    assert journal.path.read_bytes() == before
    disk.room = 1 << 60
    journal.add(point(3.0, 2))
    journal.close()
    again = Journal(journal.path)
    assert held(again) == [1.0, 3.0]
    again.close()


def test_a_batch_that_was_made_on_a_full_disk_is_the_same_batch_after_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(tmp_path / "x.journal")
    journal.add(point(1.0))
    disk = Disk(monkeypatch)
    disk.room = 0
    journal.cut()
    batch = journal.request(1)
    disk.room = 1 << 60
    # The mark goes before what is logged later, or the batch would have it after a crash.
    journal.add(point(2.0, 1))
    journal.close()
    again = Journal(journal.path)
    assert again.request(1) == batch
    assert held(again) == [1.0, 2.0]
    again.close()


def test_what_the_platform_takes_makes_room_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(tmp_path / "x.journal")
    small = journal.path.stat().st_size
    journal.add(point(1.0))
    Disk(monkeypatch).room = 0
    journal.cut()
    journal.acknowledge(1)
    assert journal.path.stat().st_size == small
    journal.close()


@pytest.mark.parametrize("killed", [False, True])
def test_a_long_journal_in_which_nothing_waits_is_cut_back_and_counts_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    monkeypatch.setattr("plimsoll.sdk.journal._LONG", 500)
    journal = begun(tmp_path / "x.journal")
    sizes = []
    for step in range(50):
        journal.add(point(float(step), step))
        journal.cut()
        assert journal.request(step + 1) == AppendPoints(
            run_id="run", writer=journal.writer, sequence=step + 1, points=point(float(step), step)
        )
        journal.acknowledge(step + 1)
        sizes.append(journal.path.stat().st_size)
    assert max(sizes) < 800
    if not killed:
        journal.add(point(50.0, 50))
    journal.close()
    again = Journal(journal.path)
    assert (again.run_id, again.writer) == ("run", journal.writer)
    assert held(again) == ([] if killed else [50.0])
    assert killed or again.number == 51
    again.close()


def test_a_journal_that_is_cut_back_goes_on_with_the_run_that_the_platform_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.sdk.journal._LONG", 0)
    journal = begun(tmp_path / "x.journal")
    journal.adopt("known")
    journal.add(point(1.0))
    journal.cut()
    journal.acknowledge(1)
    journal.add(point(2.0, 1))
    journal.close()
    again = Journal(journal.path)
    again.cut()
    assert (again.run_id, again.request(2)) == (
        "known",
        AppendPoints(run_id="known", writer=journal.writer, sequence=2, points=point(2.0, 1)),
    )
    again.close()


def test_a_batch_has_no_more_than_so_many_points(tmp_path: Path) -> None:
    journal = begun(tmp_path / "x.journal")
    for step in range(90):
        journal.add(PointColumns(names=("loss",) * 500, steps=(step,) * 500, times=(1,) * 500, values=(float(step),) * 500))
    journal.cut()
    batches = [journal.request(number) for number in journal.batches]
    assert [len(batch.points.names) for batch in batches if isinstance(batch, AppendPoints)] == [20_000, 20_000, 5_000]
    journal.close()


def test_a_journal_where_nobody_may_write_is_denied(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Denied, match="file"):
        Journal(tmp_path / "file" / "x.journal")


def test_a_journal_that_is_begun_is_never_taken_for_one_that_was_left(tmp_path: Path) -> None:
    stop, taken = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            for path in tmp_path.glob("*.journal"):
                with contextlib.suppress(Conflict, FileNotFoundError):
                    Journal(path).close()
                    taken.append(path)

    looking = threading.Thread(target=look)
    looking.start()
    with contextlib.ExitStack() as open_ones:
        open_ones.callback(looking.join)
        open_ones.callback(stop.set)
        for number in range(100):
            open_ones.enter_context(contextlib.closing(begun(tmp_path / f"{number}.journal")))
        stop.set()
        looking.join()
    assert taken == []
