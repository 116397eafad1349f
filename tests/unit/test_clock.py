from __future__ import annotations

import itertools
import threading
import time
import uuid

import pytest

from plimsoll import clock


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000.0), ("12h", 43_200.0), (" 1.5 H ", 5400.0), ("2w", 1_209_600.0), ("0s", 0.0), ("3m", 180.0)]
)
def test_a_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert clock.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "1y", "1d2h", "nan d"])
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        clock.seconds_of(text)


def test_ids_are_uuids_of_version_7_that_sort_by_their_making_also_within_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    # A little more than the 4096th part of a millisecond, which is what an id tells apart, over several of them.
    began = clock.now() * 1000
    times = itertools.count(began, 250)
    monkeypatch.setattr(time, "time_ns", lambda: next(times))
    made = [clock.new_id() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {(uuid.UUID(id).version, uuid.UUID(id).variant) for id in made} == {(7, uuid.RFC_4122)}
    assert [int(id[:12], 16) for id in made] == [(began + 250 * count) // 1_000_000 for count in range(10_000)]


def test_alarms_ring_in_threads_of_their_own_and_never_once_taken_back_or_closed() -> None:
    alarms, rung, names = clock.Alarms(), threading.Event(), list[str]()

    def ring() -> None:
        names.append(threading.current_thread().name)
        rung.set()

    late = alarms.set(3600, ring, "late")
    soon = alarms.set(0.01, ring, "soon")
    assert rung.wait(60)
    soon.join()
    assert not alarms.take_back(soon)
    assert alarms.take_back(late)
    assert not alarms.take_back(late)
    at_once = alarms.set(0, ring, "at once")
    at_once.join()
    alarms.set(0.01, ring, "never")
    alarms.close()
    never = alarms.set(0.01, ring, "never either")
    clock.sleep(0.05)
    assert alarms.take_back(never)
    assert names[:2] == ["soon", "at once"]
    assert "never either" not in names
