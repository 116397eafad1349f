"""What was written is sent exactly once, wherever the process was cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import clock
from plimsoll.errors import Corrupt, Unreachable
from plimsoll.records.monitor import AppendPredictions, PredictionReceipt
from plimsoll.serving import prediction_log
from plimsoll.serving.prediction_log import BATCH_ROWS, MAGIC, Entry, Journal, Sender, batches, read_entries
from plimsoll.serving.traffic import Tally


def entry(name: str, model: str = "flights", rows: int = 1) -> Entry:
    return Entry(
        model=model,
        request_id=name,
        at=[1_000_000] * rows,
        unit=["AA1"] * rows,
        track="stable",
        release_id="r1",
        output=[0.25] * rows,
        status=200,
        latency=700,
        trace="",
        inputs={"a": [1.5] * rows, "text": ["x"] * rows},
        tallies=[Tally(release_id="r1", track="stable", generation=3, requests=1, latency={1: 1})],
    )


class Store:
    """Takes batches as the server does: a sequence that is not larger than the last changes nothing."""

    def __init__(self) -> None:
        self.last = 0
        self.rows: list[tuple[str, int]] = []
        self.requests = 0
        self.dropped = 0
        self.lose_answers = 0
        self.up = True

    def __call__(self, request: Any, /) -> Any:
        if not self.up:
            raise Unreachable("The server does not answer.")
        assert isinstance(request, AppendPredictions)
        if request.sequence > self.last:
            assert request.sequence == self.last + 1
            self.last = request.sequence
            self.rows += zip(request.rows.request_id, request.rows.row, strict=True)
            self.requests += sum(count.requests for count in request.counts)
            self.dropped += request.dropped
        if self.lose_answers:
            self.lose_answers -= 1
            raise Unreachable("The connection broke after the server had taken the batch.")
        return PredictionReceipt(sequence=self.last, added=0)


def until(condition: Callable[[], bool]) -> None:
    deadline = clock.monotonic() + 60
    while not condition():
        assert clock.monotonic() < deadline, "the condition never came true"
        clock.sleep(0.005)


def send_all(journal: Journal, store: Store, expected: int) -> None:
    sender = Sender(journal, store, "plane-1", "production")
    sender.start()
    until(lambda: len(store.rows) >= expected and not journal.waiting())
    sender.close(60)


def test_an_answer_that_got_lost_makes_no_row_twice(tmp_path: Path) -> None:
    journal, store = Journal(tmp_path), Store()
    for index in range(20):
        journal.append(entry(str(index), model=f"m{index % 3}", rows=2))
    store.lose_answers = 2
    send_all(journal, store, 40)
    assert sorted(store.rows) == sorted((str(index), row) for index in range(20) for row in range(2))
    assert store.requests == 20


def test_rows_written_before_a_kill_are_sent_by_the_next_process(tmp_path: Path) -> None:
    store = Store()
    journal = Journal(tmp_path)
    journal.append(entry("before"))
    # The process is gone without a word; its file was never closed.
    again = Journal(tmp_path)
    again.append(entry("after"))
    send_all(again, store, 2)
    assert store.rows == [("before", 0), ("after", 0)]


def test_a_kill_between_the_mark_and_the_removal_sends_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, store = Journal(tmp_path), Store()
    journal.append(entry("one"))
    journal.seal()
    for batch in batches(journal.entries(1), "plane-1", "production", 0):
        store(batch)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            journal.acknowledge(1, 1)
    again = Journal(tmp_path)
    assert again.waiting() == []
    again.append(entry("two"))
    send_all(again, store, 2)
    assert store.rows == [("one", 0), ("two", 0)]


def test_a_mark_that_cannot_be_written_sends_nothing_under_another_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, store = Journal(tmp_path), Store()
    journal.append(entry("one"))
    tries: list[Path] = []
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        tries.append(self)
        if len(tries) <= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(prediction_log, "RETRY", 0.01)
    send_all(journal, store, 1)
    assert len(tries) == 4
    assert (store.rows, store.last) == ([("one", 0)], 1)


def test_a_sent_file_that_cannot_be_removed_is_not_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, store = Journal(tmp_path), Store()
    journal.append(entry("one"))
    tries: list[Path] = []

    def refuse(self: Path, missing_ok: bool = False) -> None:
        tries.append(self)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(prediction_log, "RETRY", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        send_all(journal, store, 1)
    assert len(tries) == 1
    assert [path.name for path in tmp_path.glob("*.journal")] == ["000000000001.journal"]
    journal.append(entry("two"))
    send_all(journal, store, 2)
    assert store.rows == [("one", 0), ("two", 0)]
    assert list(tmp_path.glob("*.journal")) == []


def test_a_journal_cut_at_any_byte_gives_its_whole_entries(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for index in range(3):
        journal.append(entry(str(index)))
    journal.seal()
    data = (tmp_path / "000000000001.journal").read_bytes()
    seen = set()
    for cut in range(len(data) + 1):
        found = [one.request_id for one in read_entries(data[:cut])]
        assert found == ["0", "1", "2"][: len(found)]
        seen.add(len(found))
    assert seen == {0, 1, 2, 3}


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_never_gives_a_changed_entry(position: int, change: int) -> None:
    good = [entry(str(index)) for index in range(3)]
    data = bytearray(MAGIC)
    for one in good:
        body = prediction_log.codec.to_msgpack(one)
        data += prediction_log._FRAME.pack(len(body), prediction_log.zlib.crc32(body)) + body
    data[position % len(data)] ^= change
    try:
        found = list(read_entries(bytes(data)))
    except Corrupt:
        return
    assert found == good[: len(found)]


def test_the_format_on_disk_is_the_one_that_was_released() -> None:
    body = prediction_log.codec.to_msgpack(entry("a"))
    assert body.hex() == (
        "9da7666c6967687473a16191ce000f424091a3414131a6737461626c65a2723191cb3fd0000000000000ccc8cd02bca0"
        "82a16191cb3ff8000000000000a4746578749" + "1a1789198a27231a6737461626c650301008101010000" + "00"
    )


def test_a_full_journal_drops_rows_and_keeps_counts(tmp_path: Path) -> None:
    journal, store = Journal(tmp_path, capacity=2_000), Store()
    for index in range(100):
        journal.append(entry(str(index)))
    assert journal.dropped > 50
    send_all(journal, store, 100 - journal.dropped)
    until(lambda: store.requests == 100 or not journal.waiting())
    journal.seal()
    send_all(journal, store, 100 - journal.dropped)
    assert store.requests == 100
    assert store.dropped == journal.dropped == 100 - len(store.rows)


def test_a_full_disk_loses_rows_and_no_later_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, store = Journal(tmp_path), Store()
    journal.append(entry("before"))
    real = os.write

    def half(descriptor: int, data: Any) -> int:
        if len(data) > 20:
            return real(descriptor, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        journal.append(entry("during"))
    journal.append(entry("after"))
    send_all(journal, store, 2)
    assert store.rows == [("before", 0), ("after", 0)]
    assert (store.requests, store.dropped) == (3, 1)


def test_nothing_is_lost_while_the_server_is_away(tmp_path: Path) -> None:
    journal, store = Journal(tmp_path), Store()
    store.up = False
    sender = Sender(journal, store, "plane-1", "production")
    sender.start()
    for index in range(50):
        journal.append(entry(str(index)))
    until(lambda: bool(journal.waiting()))
    store.up = True
    until(lambda: len(store.rows) == 50)
    sender.close(60)
    assert [name for name, _ in store.rows] == [str(index) for index in range(50)]


def test_batches_depend_on_nothing_but_the_entries() -> None:
    entries = [entry(str(index), model=f"m{index % 2}", rows=300) for index in range(9)]
    first = batches(entries, "p", "production", 7)
    assert first == batches(entries, "p", "production", 7)
    assert [batch.sequence for batch in first] == list(range(8, 8 + len(first)))
    assert max(len(batch.rows.row) for batch in first) < BATCH_ROWS + 300
    assert sum(len(batch.rows.row) for batch in first) == 2_700
