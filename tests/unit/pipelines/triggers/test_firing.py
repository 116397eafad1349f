"""Triggers in a real workspace, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from plimsoll import clock
from plimsoll.data.values import save
from plimsoll.errors import Denied, InvalidInput, NotFound
from plimsoll.pipelines.triggers.causes import LINES
from plimsoll.pipelines.triggers.firing import HELD
from plimsoll.records.access import Actor, Job, ListEvents, ListJobs
from plimsoll.records.data import RegisterSnapshot
from plimsoll.records.monitor import Finding, RecordWindow, WindowReport
from plimsoll.records.pipelines.part import PartAsked
from plimsoll.records.pipelines.trigger import (
    FireDue,
    FireTrigger,
    Firing,
    ListFirings,
    ListTriggers,
    RemoveTrigger,
    SetTrigger,
    Trigger,
    TriggerRule,
)
from plimsoll.records.request import Request
from plimsoll.records.run import LogInput, SetTags, StartRun
from plimsoll.worker import LEASE
from plimsoll.workspace import WORKER, open_workspace

OWNER = Actor(name="dana", roles=("admin",))
MINUTE = 60_000_000
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE

#: A day's beginning, UTC.
START = clock.from_iso("2026-03-02")


class Bench:
    """A workspace whose clock is set by hand."""

    def __init__(self, home: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = open_workspace(home, owner="dana", database=url)
        (self.workspace.project / "pipe.py").write_text("flow = None\n")
        self.time = START
        monkeypatch.setattr("plimsoll.clock.now", lambda: self.time)

    def do(self, request: Request[Any], actor: Actor = OWNER) -> Any:
        return self.workspace.do(request, actor)

    def set(self, name: str = "nightly", **rule: Any) -> Trigger:
        rule = {"on": "schedule", "pipeline": "pipe.py:flow", **rule}
        found: Trigger = self.do(SetTrigger(name=name, rule=TriggerRule(**rule)))
        return found

    def state(self, name: str = "nightly") -> Trigger:
        return next(found for found in self.do(ListTriggers()) if found.name == name)

    def look(self, **head: str) -> list[Firing]:
        """Let the worker look, as its loop does."""
        due = any(found.due for found in self.do(ListTriggers()))
        return list(self.do(FireDue(**head), WORKER)) if due or head else []

    def jobs(self) -> list[Job]:
        return list(reversed(self.do(ListJobs(limit=1000))))

    def finish(self) -> None:
        """End the oldest job that waits."""
        with self.workspace.stores.database.write() as tx:
            job = self.workspace.stores.queue.claim(tx, "w", LEASE)
            assert job is not None
            assert self.workspace.stores.queue.finish(tx, job.id, "w", None, None)

    def snapshot(self, *values: int, name: str = "flights", actor: Actor = OWNER) -> str:
        output = save(pl.DataFrame({"x": list(values)}), self.workspace.stores.blobs, self.workspace.project)
        self.do(RegisterSnapshot(name=name, digest=output.digest), actor)
        return output.digest

    def alert(self, start: int, model: str = "late", kind: Any = "performance") -> str:
        finding = Finding(kind=kind, subject="auc", alarming=True, p_value=0.0, reason="It fell.")
        report = WindowReport(
            model=model, environment="production", start=start, end=start + 1, rows=1, labels=1, metrics={}, slices={}, findings=(finding,)
        )
        found: str = self.do(RecordWindow(report=report, table=b"", labelled=0, pipeline=""), WORKER).alerts[0]
        return found


@pytest.fixture
def bench(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A new home on each database."""
    opened = Bench(tmp_path / "home", database_url, monkeypatch)
    yield opened
    opened.workspace.close()


# Schedules


def test_a_schedule_leaves_one_job_at_its_time_with_the_firing_as_its_cause(bench: Bench) -> None:
    told: dict[str, Any] = {"profile": "quick", "experiment": "e", "part": PartAsked(until="features"), "executor": "in_process"}
    bench.set(cron="30 6 * * *", zone="Europe/Berlin", params={"day": "{date}", "at": ["{time}"]}, **told)
    assert bench.state().next == START + 5 * HOUR + 30 * MINUTE
    bench.time += 5 * HOUR + 29 * MINUTE
    assert bench.look() == []
    bench.time += MINUTE
    (firing,) = bench.look()
    assert bench.look() == []
    (job,) = bench.jobs()
    assert (job.verb, job.actor, job.key, firing.job_id, firing.state) == (
        "RunPipeline",
        "worker",
        f"firing/{firing.id}",
        job.id,
        "started",
    )
    assert job.payload["params"] == {"day": "2026-03-02", "at": ["2026-03-02T05:30:00Z"]}
    assert job.payload["cause"] == {"kind": "trigger", "id": firing.id}
    assert (job.payload["key"], job.payload["profile"], job.payload["experiment"]) == (f"firing/{firing.id}", "quick", "e")
    assert (job.payload["part"]["until"], job.payload["executor"]) == ("features", "in_process")
    assert bench.state().next == START + DAY + 5 * HOUR + 30 * MINUTE
    told = [event.payload for event in bench.do(ListEvents(subject=f"firing:{firing.id}"))]
    assert [(line["trigger"], line["state"], line["job_id"]) for line in told] == [("nightly", "started", job.id)]


@pytest.mark.parametrize(("catch_up", "hours"), [("latest", [5]), ("all", [3, 4, 5]), ("none", [])])
def test_times_that_passed_while_nobody_looked_are_made_up_for_as_the_rule_says(bench: Bench, catch_up: Any, hours: list[int]) -> None:
    bench.set(cron="0 * * * *", catch_up=catch_up, catch_up_limit=3, concurrency=10, params={"at": "{time}"})
    bench.time += 5 * HOUR + 30 * MINUTE
    assert [firing.params["at"] for firing in bench.look()] == [f"2026-03-02T0{hour}:00:00Z" for hour in hours]
    bench.time += 30 * MINUTE
    assert [firing.params["at"] for firing in bench.look()] == ["2026-03-02T06:00:00Z"]


def test_a_clock_set_back_fires_no_time_twice_and_goes_on(bench: Bench) -> None:
    bench.set(cron="0 * * * *", concurrency=10)
    bench.time += 2 * HOUR
    assert len(bench.look()) == 1
    bench.time -= 90 * MINUTE
    assert bench.look() == []
    assert bench.state().next == START + HOUR
    for _ in range(4):
        bench.time += 30 * MINUTE
        bench.look()
    assert sorted(firing.key for firing in bench.do(ListFirings())) == [f"schedule/{START + hour * HOUR}" for hour in (1, 2)]
    bench.time += 30 * MINUTE
    assert [firing.key for firing in bench.look()] == [f"schedule/{START + 3 * HOUR}"]


@pytest.mark.parametrize("years", [1, -1])
def test_a_clock_that_is_a_year_wrong_for_a_while_makes_no_storm(bench: Bench, years: int) -> None:
    bench.set(cron="* * * * *", concurrency=100, catch_up="all", catch_up_limit=5)
    bench.time += MINUTE
    bench.look()
    right = bench.time
    bench.time += years * 365 * DAY
    wrong = bench.look()
    bench.time = right
    bench.look()
    bench.time += MINUTE
    (after,) = bench.look()
    assert len(wrong) <= 5
    assert after.key == f"schedule/{START + 2 * MINUTE}"
    assert len(bench.jobs()) == 2 + len(wrong)
    assert len({job.key for job in bench.jobs()}) == len(bench.jobs())


def test_setting_a_schedule_as_it_is_keeps_what_it_has_to_make_up_for(bench: Bench) -> None:
    bench.set(cron="0 * * * *")
    bench.time += HOUR
    bench.set(cron="0 * * * *")
    assert len(bench.look()) == 1
    bench.time += HOUR
    bench.set(cron="30 * * * *")
    assert bench.look() == []


def test_a_trigger_that_is_off_makes_up_for_nothing_when_it_is_on_again(bench: Bench) -> None:
    bench.set(cron="0 * * * *", enabled=False)
    bench.set("data", on="snapshot", dataset="flights", enabled=False)
    bench.time += 3 * HOUR
    bench.snapshot(1)
    assert bench.look() == []
    assert bench.state().next is None
    bench.set(cron="0 * * * *")
    bench.set("data", on="snapshot", dataset="flights")
    assert bench.look() == []


# Places


def test_above_its_places_a_firing_is_held_and_started_in_order_when_one_is_free(bench: Bench) -> None:
    bench.set(on="call", params={"n": "{key}"}, concurrency=2)
    fired = []
    for count in range(5):
        bench.time += 1
        fired += bench.do(FireTrigger(name="nightly", key=str(count)))
    assert [firing.state for firing in fired] == ["started", "started", "held", "held", "held"]
    assert "2 of 2 places" in fired[2].reason
    assert (bench.state().active, bench.state().held, bench.look()) == (2, 3, [])
    bench.finish()
    bench.time += 1
    # A place is free, but others were there before.
    (late,) = bench.do(FireTrigger(name="nightly", key="5"))
    assert (late.state, late.reason) == ("held", "1 of 2 places are taken, and 3 firings wait before it.")
    assert [(firing.key, firing.state) for firing in bench.look()] == [("call/2", "started")]
    assert bench.look() == []
    bench.finish()
    bench.finish()
    assert [firing.key for firing in bench.look()] == ["call/3", "call/4"]
    assert sorted(job.payload["params"]["n"] for job in bench.jobs()) == ["0", "1", "2", "3", "4"]
    assert bench.state().held == 1
    assert {job.actor for job in bench.jobs()} == {"dana"}


def test_a_trigger_that_does_not_queue_skips_and_says_why(bench: Bench) -> None:
    bench.set(cron="* * * * *", when_busy="skip")
    bench.time += MINUTE
    assert bench.look()[0].state == "started"
    bench.time += MINUTE
    (skipped,) = bench.look()
    assert (skipped.state, skipped.job_id) == ("skipped", None)
    assert "does not queue" in skipped.reason
    bench.finish()
    bench.time += MINUTE
    assert bench.look()[0].state == "started"


def test_what_waits_is_bounded(bench: Bench) -> None:
    bench.set(on="call")
    states = [bench.do(FireTrigger(name="nightly", key=str(count)))[0].state for count in range(HELD + 2)]
    assert (states[0], set(states[1:-1]), states[-1]) == ("started", {"held"}, "skipped")


def test_what_a_trigger_holds_waits_while_it_is_off(bench: Bench) -> None:
    bench.set(on="call")
    for _ in range(2):
        bench.time += 1
        bench.do(FireTrigger(name="nightly"))
    bench.set(on="call", enabled=False)
    bench.finish()
    # The worker lets all triggers fire when any of them has something to do.
    assert list(bench.do(FireDue(), WORKER)) == []
    assert (bench.state().held, bench.state().due) == (1, False)
    bench.set(on="call")
    assert [firing.state for firing in bench.look()] == ["started"]


def test_a_trigger_that_is_removed_starts_nothing_more_and_keeps_its_history(bench: Bench) -> None:
    bench.set(on="call")
    for _ in range(2):
        bench.time += 1
        bench.do(FireTrigger(name="nightly"))
    assert bench.do(RemoveTrigger(name="nightly")).name == "nightly"
    bench.finish()
    assert bench.look() == []
    assert [firing.state for firing in bench.do(ListFirings(trigger="nightly"))] == ["skipped", "started"]
    with pytest.raises(NotFound, match="plimsoll triggers list"):
        bench.do(FireTrigger(name="nightly"))
    with pytest.raises(NotFound):
        bench.do(RemoveTrigger(name="nightly"))


# Calls


def test_the_same_key_fires_once_and_gives_the_same_firing(bench: Bench) -> None:
    bench.set(on="call", params={"depth": 3, "because": "{key}"})
    first, again = (bench.do(FireTrigger(name="nightly", key="push-7", params={"depth": 5})) for _ in range(2))
    assert first == again
    assert first[0].params == {"depth": 5, "because": "push-7"}
    assert len(bench.jobs()) == 1
    assert len({bench.do(FireTrigger(name="nightly"))[0].id for _ in range(2)}) == 2


def test_each_variation_is_a_firing_with_a_job_of_its_own(bench: Bench) -> None:
    bench.set(cron="0 * * * *", variations=("fr", "de"), concurrency=2)
    bench.time += HOUR
    assert [(firing.variation, firing.state) for firing in bench.look()] == [("fr", "started"), ("de", "started")]
    assert sorted(job.payload["variation"] for job in bench.jobs()) == ["de", "fr"]


def test_who_may_write_may_fire_and_only_the_worker_lets_fire(bench: Bench) -> None:
    bench.set(on="call")
    hook = Actor(name="hook", roles=("read", "write"), person=False)
    assert bench.do(FireTrigger(name="nightly"), hook)[0].job_id is not None
    assert bench.jobs()[0].actor == "hook"
    for request in (SetTrigger(name="x", rule=TriggerRule(on="call", pipeline="p.py:f")), RemoveTrigger(name="nightly"), FireDue()):
        with pytest.raises(Denied):
            bench.do(request, hook)
    with pytest.raises(Denied):
        bench.do(FireTrigger(name="nightly"), Actor(name="reader", roles=("read",)))


def test_a_firing_that_is_taken_leaves_no_job_and_no_place(bench: Bench) -> None:
    bench.set(on="git", params={"commit": "{commit}"})
    (taken,) = bench.do(FireTrigger(name="nightly", key="ci/abc", values={"commit": "abc"}, take=True))
    assert (taken.state, taken.params, bench.jobs(), bench.state().active) == ("taken", {"commit": "abc"}, [], 0)
    with pytest.raises(InvalidInput, match=r"\{commit\}"):
        bench.do(FireTrigger(name="nightly"))


# Snapshots


def test_a_new_snapshot_fires_once_with_its_digest_and_an_old_one_never(bench: Bench) -> None:
    old = bench.snapshot(1)
    bench.set(on="snapshot", dataset="flights", params={"data": "{snapshot}"})
    bench.snapshot(1)
    bench.snapshot(7, name="weather")
    assert bench.look() == []
    new = bench.snapshot(2)
    (firing,) = bench.look()
    assert (firing.key, firing.params) == (f"snapshot/{new}", {"data": new})
    bench.snapshot(2)
    bench.snapshot(1)
    assert bench.look() == []
    by_hand = bench.do(FireTrigger(name="nightly", values={"snapshot": old}))[0]
    assert by_hand.params == {"data": old}


def test_fired_by_hand_a_snapshot_trigger_takes_the_newest(bench: Bench) -> None:
    bench.set(on="snapshot", dataset="flights", params={"data": "{snapshot}"})
    with pytest.raises(InvalidInput, match=r"\{snapshot\}"):
        bench.do(FireTrigger(name="nightly"))
    bench.snapshot(1)
    bench.time += 1
    newest = bench.snapshot(2)
    assert bench.do(FireTrigger(name="nightly"))[0].params == {"data": newest}


def test_a_run_that_registers_the_dataset_itself_does_not_start_the_next(bench: Bench) -> None:
    bench.set(on="snapshot", dataset="flights", concurrency=5)
    bench.snapshot(1)
    (first,) = bench.look()
    run = bench.do(StartRun(key=f"firing/{first.id}"), WORKER)
    made = bench.snapshot(2, actor=WORKER)
    # It is under way: its own snapshot and somebody else's by the same hand cannot be told apart yet.
    assert bench.look() == []
    bench.do(LogInput(run_id=run.id, name="flights", digest=made), WORKER)
    other = bench.snapshot(3)
    assert bench.look() == []
    bench.finish()
    assert [firing.key for firing in bench.look()] == [f"snapshot/{other}"]


def test_many_other_lines_of_the_log_hide_no_snapshot(bench: Bench) -> None:
    bench.set(on="snapshot", dataset="flights")
    run = bench.do(StartRun())
    for count in range(LINES + 5):
        bench.do(SetTags(id=run.id, tags={"n": str(count)}))
    assert bench.state().due
    assert bench.look() == []
    assert not bench.state().due
    bench.snapshot(1)
    assert len(bench.look()) == 1


# Alerts and commits


def test_an_alert_of_the_named_model_and_kind_fires_once(bench: Bench) -> None:
    bench.set(on="alert", model="late", findings=("performance",), params={"why": "{finding} of {model}", "id": "{alert}"})
    bench.alert(0, model="early")
    bench.alert(0, kind="input")
    assert bench.look() == []
    id = bench.alert(5)
    (firing,) = bench.look()
    assert (firing.key, firing.params) == (f"alert/{id}", {"why": "performance of late", "id": id})
    assert bench.look() == []


def test_a_moved_commit_of_the_branch_fires_and_the_first_one_that_is_seen_does_not(bench: Bench) -> None:
    bench.set(on="git", branch="main", params={"commit": "{commit}"})
    assert bench.state().due
    (first,) = bench.look(commit="a" * 40, branch="main")
    assert (first.state, bench.jobs()) == ("skipped", [])
    assert not bench.state().due
    assert bench.look(commit="b" * 40, branch="other") == []
    assert [firing.params for firing in bench.look(commit="c" * 40, branch="main")] == [{"commit": "c" * 40}]
    assert bench.look(commit="c" * 40, branch="main") == []
    # Back and forth is nothing new.
    assert len(bench.look(commit="a" * 40, branch="main")) == 1
    assert len(bench.look(commit="c" * 40, branch="main")) == 1
    assert len(bench.jobs()) == 1


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"on": "snapshot"}, "Dataset"),
        ({"on": "snapshot", "dataset": "d", "cron": "0 * * * *"}, "no 'cron'"),
        ({"on": "call", "params": {"a": ["{snapshot}"]}}, r"\{snapshot\}.*does not know"),
        ({"on": "call", "concurrency": 0}, "0 runs"),
        ({"on": "schedule", "cron": "0 * * * *", "catch_up_limit": 0}, "make up for 0"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        TriggerRule(pipeline="p.py:f", **rule)
