"""The line is bounded, keeps order, and drops what is too late."""

from __future__ import annotations

import pytest

from plimsoll.errors import Overloaded
from plimsoll.serving.limits import WaitingLine


def test_a_full_line_refuses_and_says_when_to_come_back() -> None:
    line: WaitingLine[str] = WaitingLine(places=2, batch_rows=10)
    line.enter("a", 1, 9.0, 0.0)
    line.enter("b", 1, 9.0, 0.0)
    with pytest.raises(Overloaded) as caught:
        line.enter("c", 1, 9.0, 0.0)
    assert caught.value.details["retry_after"] >= 1
    assert line.take(0.0) == (["a", "b"], [])
    line.enter("c", 1, 9.0, 0.0)


def test_a_batch_has_at_most_its_rows_and_a_large_request_goes_alone() -> None:
    line: WaitingLine[str] = WaitingLine(places=9, batch_rows=10)
    for name, rows in (("a", 6), ("b", 4), ("c", 1), ("d", 50), ("e", 1)):
        line.enter(name, rows, 9.0, 0.0)
    assert [line.take(0.0)[0] for _ in range(4)] == [["a", "b"], ["c"], ["d"], ["e"]]


def test_what_waited_too_long_is_not_worked_on() -> None:
    line: WaitingLine[str] = WaitingLine(places=9, batch_rows=10)
    line.enter("late", 1, 1.0, 0.0)
    line.enter("fresh", 1, 9.0, 0.0)
    assert line.take(2.0) == (["fresh"], ["late"])


def test_who_left_the_line_gives_up_a_place() -> None:
    line: WaitingLine[str] = WaitingLine(places=1, batch_rows=10)
    place = line.enter("a", 1, 9.0, 0.0)
    assert line.leave(place)
    assert not line.leave(place)
    line.enter("b", 1, 9.0, 0.0)
    assert line.take(0.0) == (["b"], [])
    assert len(line) == 0


def test_a_request_that_would_wait_past_its_deadline_is_refused_at_once() -> None:
    line: WaitingLine[str] = WaitingLine(places=100, batch_rows=1)
    line.took(0.5)
    for index in range(10):
        line.enter(str(index), 1, 60.0, 0.0)
    with pytest.raises(Overloaded):
        line.enter("hasty", 1, 2.0, 0.0)
    line.enter("patient", 1, 60.0, 0.0)


def test_one_slow_batch_does_not_close_an_empty_line() -> None:
    line: WaitingLine[str] = WaitingLine(places=100, batch_rows=1)
    line.took(100.0)
    line.enter("a", 1, 1.0, 0.0)
