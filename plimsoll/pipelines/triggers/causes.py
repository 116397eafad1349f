"""What happened that fires a trigger, as the database tells it. Reading only: the same look says what is due and what is done about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, func, literal, select

from plimsoll import clock
from plimsoll.pipelines.triggers.schedule import due
from plimsoll.records.pipelines.trigger import TriggerRule
from plimsoll.store.schema import events, firings, jobs
from plimsoll.store.tables.tracking import run_inputs, runs, snapshots

#: Lines of the audit log that one look reads at most.
LINES = 1000

#: Verb of the line that tells of a cause.
_TOLD = {"snapshot": "RegisterSnapshot", "alert": "RaiseAlert"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """One thing that a trigger fires for."""

    #: The same thing has the same key.
    key: str
    #: Word -> text, for the parameters.
    values: dict[str, str]
    #: Why nothing runs for it; empty when something does.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How far a trigger has looked."""

    #: Of a schedule: the time that comes next, UTC microseconds.
    next: int | None
    #: Of a snapshot or alert trigger: sequence of the last line of the audit log that it knows.
    position: int
    #: Of a git trigger: the last commit of its branch.
    commit: str | None
    #: When the trigger was made, UTC microseconds.
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the project's repository is; empty when nobody has looked."""

    #: Commit in hex.
    commit: str = ""
    #: Branch; empty when detached.
    branch: str = ""


def newest_line(tx: Connection) -> int:
    """Return the sequence of the last line of the audit log, 0 when it is empty.

    Args:
        tx: an open transaction.
    """
    return int(tx.execute(select(func.max(events.c.sequence))).scalar() or 0)


def look(tx: Connection, name: str, rule: TriggerRule, seen: Seen, head: Head, now: int) -> tuple[tuple[Occasion, ...], Seen]:
    """Return what a trigger fires for now, oldest first, and how far it has looked then.

    Args:
        tx: an open transaction.
        name: the trigger's name.
        rule: what it says.
        seen: how far it had looked.
        head: where the project's repository is.
        now: UTC microseconds.
    """
    if not rule.enabled:
        return (), replace(seen, next=None, position=newest_line(tx), commit=head.commit or seen.commit)
    if rule.on == "schedule":
        found = due(rule, seen.next, now, seen.since)
        occasions = tuple(Occasion(key=f"schedule/{at}", values=moment(at, rule.zone)) for at in found.run)
        return occasions, replace(seen, next=found.next)
    if rule.on == "git":
        return _commits(rule, seen, head, now)
    if rule.on in _TOLD:
        return _lines(tx, name, rule, seen)
    return (), seen


def moment(at: int, zone: str = "UTC") -> dict[str, str]:
    """Return a time as the words ``date`` (in a time zone) and ``time`` (in UTC).

    Args:
        at: UTC microseconds.
        zone: name of a time zone.
    """
    local = datetime.fromtimestamp(at // 1_000_000, UTC).astimezone(ZoneInfo(zone))
    return {"date": local.date().isoformat(), "time": clock.iso(at)}


def newest_snapshot(tx: Connection, dataset: str) -> str | None:
    """Return the digest of a dataset's newest snapshot, or None.

    Args:
        tx: an open transaction.
        dataset: its name.
    """
    query = select(snapshots.c.digest).where(snapshots.c.name == dataset).order_by(snapshots.c.created.desc(), snapshots.c.digest)
    found: str | None = tx.execute(query.limit(1)).scalar()
    return found


def _commits(rule: TriggerRule, seen: Seen, head: Head, now: int) -> tuple[tuple[Occasion, ...], Seen]:
    if not head.commit or head.commit == seen.commit or (rule.branch and rule.branch != head.branch):
        return (), seen
    # The first look finds where the project stands, which is nothing new.
    reason = "" if seen.commit else "The project was at this commit when the trigger was set."
    values = {**moment(now), "commit": head.commit, "branch": head.branch}
    return (Occasion(key=f"git/{head.commit}", values=values, reason=reason),), replace(seen, commit=head.commit)


def _lines(tx: Connection, name: str, rule: TriggerRule, seen: Seen) -> tuple[tuple[Occasion, ...], Seen]:
    newest = newest_line(tx)
    if newest == seen.position:
        return (), seen
    told = events.c.verb == _TOLD[rule.on]
    query = select(events).where(events.c.sequence > seen.position, told).order_by(events.c.sequence).limit(LINES)
    rows = tx.execute(query).all()
    position = newest if len(rows) < LINES else int(rows[-1].sequence)
    found: list[Occasion] = []
    for row in rows:
        if rule.on == "alert":
            found += _alert(rule, row)
        elif row.payload["name"] == rule.dataset:
            if row.actor in _working_for(tx, name):
                # It may be this trigger's own run that registers it; once that has ended, its inputs tell.
                return tuple(found), replace(seen, position=int(row.sequence) - 1)
            found += _snapshot(tx, name, row)
    return tuple(found), replace(seen, position=position)


def _snapshot(tx: Connection, name: str, row: Row[Any]) -> Iterator[Occasion]:
    digest, dataset = row.payload["digest"], row.payload["name"]
    first = tx.execute(select(func.min(events.c.sequence)).where(events.c.subject == row.subject)).scalar()
    own = (
        select(run_inputs.c.run_id)
        .join(runs, runs.c.id == run_inputs.c.run_id)
        .join(firings, runs.c.key == literal("firing/") + firings.c.id)
        .where(firings.c.trigger == name, run_inputs.c.digest == digest)
        .limit(1)
    )
    # Registering what is there again is nothing new; and a trigger that fires itself would never end.
    if first == row.sequence and tx.execute(own).first() is None:
        yield Occasion(key=f"snapshot/{digest}", values={**moment(row.at), "snapshot": digest, "dataset": dataset})


def _alert(rule: TriggerRule, row: Row[Any]) -> Iterator[Occasion]:
    model, environment, finding = row.payload["model"], row.payload["environment"], row.payload["finding"]
    if rule.model in ("", model) and rule.environment in ("", environment) and finding["kind"] in (rule.findings or (finding["kind"],)):
        id = row.subject.removeprefix("alert:")
        words = {"alert": id, "model": model, "environment": environment, "finding": finding["kind"], "subject": finding["subject"]}
        yield Occasion(key=f"alert/{id}", values={**moment(row.at), **words})


def _working_for(tx: Connection, name: str) -> set[str]:
    """Return for whom runs of a trigger are under way."""
    query = (
        select(jobs.c.actor)
        .join(firings, firings.c.job_id == jobs.c.id)
        .where(firings.c.trigger == name, firings.c.state == "started", jobs.c.state.in_(("waiting", "working")))
    )
    return set(tx.execute(query).scalars())
