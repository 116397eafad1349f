"""When a schedule's times come, and which of those that passed unseen are made up for.

A time is named by the UTC microsecond at which it comes, so that a firing for it has the same key however often the clock is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from plimsoll.records.pipelines.trigger import TriggerRule

_SECOND = 1_000_000

#: Microseconds after its time for which a schedule that makes up for nothing still runs: the worker looks once a second.
GRACE = 60 * _SECOND

#: The first look back for passed times; each further one is so many times as long.
_BACK, _FACTOR = 3600 * _SECOND, 8

#: Later than any clock of ours; cron's arithmetic ends with the year 9999.
_END = round(datetime(9900, 1, 1, tzinfo=UTC).timestamp()) * _SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a schedule has to do now."""

    #: Times to run for, oldest first.
    run: tuple[int, ...]
    #: Whether times have passed that nobody makes up for.
    missed: bool
    #: The first time after now, or None when none comes.
    next: int | None


def after(rule: TriggerRule, moment: int) -> Iterator[int]:
    """Yield the times of a schedule after a moment, in order.

    Args:
        rule: with ``cron`` and ``zone``.
        moment: UTC microseconds.
    """
    if moment >= _END:
        return
    start = datetime.fromtimestamp(moment // _SECOND, UTC).astimezone(ZoneInfo(rule.zone))
    last = moment
    for found in CronSim(rule.cron, start - timedelta(seconds=1)):
        # In the hour that comes twice, the first of the two is meant, which may lie before the start.
        at = round(found.timestamp()) * _SECOND
        if at > last:
            last = at
            yield at


def next_time(rule: TriggerRule, moment: int) -> int | None:
    """Return the first time of a schedule after a moment, or None when none comes.

    Args:
        rule: with ``cron`` and ``zone``.
        moment: UTC microseconds.
    """
    return next(after(rule, moment), None)


def latest(rule: TriggerRule, first: int, now: int, count: int) -> tuple[int, ...]:
    """Return the last times of a schedule from ``first`` to ``now``, both included, oldest first.

    The work does not grow with the span: it looks back an hour, then eight, and so on, until there are enough.

    Args:
        rule: with ``cron`` and ``zone``.
        first: UTC microseconds.
        now: UTC microseconds.
        count: at most so many, at least 1.
    """
    back = _BACK
    while True:
        begin = max(first, now - back)
        found: list[int] = []
        for at in after(rule, begin - 1):
            if at > now:
                break
            found.append(at)
        if len(found) >= count or begin == first:
            return tuple(found[-count:])
        back *= _FACTOR


def due(rule: TriggerRule, expected: int | None, now: int, since: int = 0) -> Due:
    """Return what a schedule has to do.

    A clock that was set back finds the next time nearer than it was expected: that one counts. A clock that was set forward
    finds times that passed, of which no more are made up for than the rule allows.

    Args:
        rule: with ``cron``, ``zone`` and the policy.
        expected: the time that was to come next, UTC microseconds; None for none.
        now: UTC microseconds.
        since: when the schedule was made, UTC microseconds: a clock that was set back and forward again must not make up for
            times before. One in the future was told by a wrong clock, and says nothing.
    """
    coming = next_time(rule, now)
    if expected is None or expected > now:
        return Due(run=(), missed=False, next=coming)
    wanted = rule.catch_up_limit if rule.catch_up == "all" else 1
    passed = latest(rule, max(expected, since + 1) if since <= now else expected, now, wanted + 1)
    run = passed[-wanted:]
    if rule.catch_up == "none":
        run = tuple(at for at in run if at > now - GRACE)
    return Due(run=run, missed=len(passed) > len(run), next=coming)
