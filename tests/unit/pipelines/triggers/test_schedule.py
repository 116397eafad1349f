"""The times of a schedule: what cron says, in every time zone, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import clock
from plimsoll.errors import InvalidInput
from plimsoll.pipelines.triggers.schedule import GRACE, after, due, latest, next_time
from plimsoll.records.pipelines.trigger import CatchUp, TriggerRule

HOUR = 3_600_000_000
DAY = 24 * HOUR
YEAR = 365 * DAY

#: Zones whose clocks change at one, two and three o'clock, at midnight, by half an hour, or never.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Asia/Kolkata")

CRONS = ("* * * * *", "*/7 * * * *", "30 2 * * *", "0,30 2 * * *", "15 */2 * * *", "0 0 * * *", "0 0 1 * *", "5 4 * * SUN", "0 12 29 2 *")


def schedule(cron: str, zone: str = "UTC", catch_up: CatchUp = "latest", limit: int = 3) -> TriggerRule:
    return TriggerRule(on="schedule", pipeline="p.py:f", cron=cron, zone=zone, catch_up=catch_up, catch_up_limit=limit)


def at(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1e6)


triggers = st.builds(schedule, st.sampled_from(CRONS), st.sampled_from(ZONES))
moments = st.integers(at("2023-01-01"), at("2027-01-01"))


def between(rule: TriggerRule, begin: int, end: int) -> list[int]:
    """Return the times after ``begin`` up to ``end``."""
    found = []
    for one in after(rule, begin):
        if one > end:
            break
        found.append(one)
    return found


def test_local_times_keep_their_hour_over_the_year() -> None:
    morning = schedule("30 6 * * *", "Europe/Berlin")
    assert clock.iso(next_time(morning, at("2026-01-10")) or 0) == "2026-01-10T05:30:00Z"
    assert clock.iso(next_time(morning, at("2026-07-10")) or 0) == "2026-07-10T04:30:00Z"


def test_a_time_that_the_clocks_skip_is_made_up_for_at_once_and_once() -> None:
    berlin = schedule("30 2 * * *", "Europe/Berlin")
    assert [clock.iso(one) for one in between(berlin, at("2026-03-28T12:00"), at("2026-03-30T12:00"))] == [
        "2026-03-29T01:00:00Z",
        "2026-03-30T00:30:00Z",
    ]


def test_a_time_that_comes_twice_counts_once() -> None:
    berlin = schedule("30 2 * * *", "Europe/Berlin")
    assert [clock.iso(one) for one in between(berlin, at("2026-10-24T12:00"), at("2026-10-26T12:00"))] == [
        "2026-10-25T00:30:00Z",
        "2026-10-26T01:30:00Z",
    ]


def test_a_schedule_of_every_hour_has_one_time_an_hour_through_both_changes() -> None:
    hourly = schedule("0 * * * *", "Europe/Berlin")
    for begin in (at("2026-03-28T12:00"), at("2026-10-24T12:00")):
        assert between(hourly, begin, begin + DAY) == [begin + HOUR * count for count in range(1, 25)]


@settings(max_examples=300, deadline=None)
@given(triggers, moments, st.integers(0, 3 * DAY), st.integers(0, 3 * DAY))
def test_looking_in_two_spans_finds_what_one_look_over_both_finds(rule: TriggerRule, begin: int, first: int, second: int) -> None:
    middle, end = begin + first, begin + first + second
    assert between(rule, begin, middle) + between(rule, middle, end) == between(rule, begin, end)


@settings(max_examples=200, deadline=None)
@given(triggers, moments, st.integers(0, 3 * DAY), st.integers(1, 20))
def test_the_latest_times_are_the_last_of_all(rule: TriggerRule, begin: int, span: int, count: int) -> None:
    assert list(latest(rule, begin, begin + span, count)) == between(rule, begin - 1, begin + span)[-count:]


@settings(max_examples=300, deadline=None)
@given(
    st.builds(schedule, st.sampled_from(CRONS), st.sampled_from(ZONES), st.sampled_from(["latest", "all", "none"]), st.integers(1, 5)),
    moments,
    st.lists(st.integers(-2 * DAY, 2 * DAY), min_size=1, max_size=12),
)
def test_however_the_clock_jumps_no_time_runs_twice_and_no_look_runs_more_than_allowed(
    rule: TriggerRule, begin: int, jumps: list[int]
) -> None:
    now, expected, ran = begin, next_time(rule, begin), set[int]()
    for jump in jumps:
        now += jump
        found = due(rule, expected, now)
        allowed = rule.catch_up_limit if rule.catch_up == "all" else 1
        assert len(found.run) <= allowed
        assert list(found.run) == sorted(set(found.run))
        assert all(one <= now for one in found.run)
        assert found.next is None or found.next > now
        if rule.catch_up == "none":
            assert all(one > now - GRACE for one in found.run)
        ran |= set(found.run)
        expected = found.next
    # Names of times, so that a firing's key can hold them apart: all are times of the schedule.
    assert all(one in between(rule, one - 1, one) for one in ran)


@settings(max_examples=100, deadline=None)
@given(triggers, moments, st.lists(st.integers(1, 3 * HOUR), min_size=1, max_size=20))
def test_a_worker_that_makes_up_for_all_misses_none(rule: TriggerRule, begin: int, waits: list[int]) -> None:
    every = schedule(rule.cron, rule.zone, "all", 1000)
    now, expected, ran = begin, next_time(every, begin), list[int]()
    for wait in waits:
        now += wait
        found = due(every, expected, now)
        ran += found.run
        expected = found.next
    assert ran == between(every, begin, now)


def test_a_clock_set_forward_a_year_runs_no_more_than_allowed_and_is_quick() -> None:
    began = clock.cpu()
    now = at("2026-05-01T12:00:30")
    for catch_up, count in (("latest", 1), ("all", 3), ("none", 1)):
        minute = schedule("* * * * *", catch_up=catch_up)  # type: ignore[arg-type]
        found = due(minute, next_time(minute, now), now + YEAR)
        assert (len(found.run), found.missed) == (count, True)
    assert due(schedule("0 6 * * *", catch_up="none"), now, now + YEAR).run == ()
    assert clock.cpu() - began < 1.0


def test_a_clock_set_back_a_year_waits_for_the_next_time_of_its_own() -> None:
    daily = schedule("0 6 * * *")
    now = at("2026-05-01T12:00")
    found = due(daily, next_time(daily, now), now - YEAR)
    assert (found.run, found.next) == ((), at("2025-05-02T06:00"))


def test_at_the_end_of_time_there_is_no_next() -> None:
    assert next_time(schedule("0 6 * * *"), round(datetime(9950, 1, 1, tzinfo=UTC).timestamp() * 1e6)) is None


@pytest.mark.parametrize(
    ("cron", "zone", "message"),
    [
        ("", "UTC", "0 fields"),
        ("0 6 * *", "UTC", "4 fields"),
        ("0 0 6 * * *", "UTC", "6 fields"),
        ("61 * * * *", "UTC", "Bad minute"),
        ("0 0 31 2 *", "UTC", r"cannot be read|never comes"),
        ("0 6 * * *", "Europe/Berlim", "time zone 'Europe/Berlim'"),
        ("0 6 * * *", "../etc/passwd", "time zone"),
    ],
)
def test_a_schedule_that_cannot_be_read_or_never_comes_is_refused(cron: str, zone: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        schedule(cron, zone)
