"""What the worker does between jobs, by the same verbs as a person."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from plimsoll import clock
from plimsoll.errors import Conflict, Corrupt
from plimsoll.records.access import GetJob, ListEvents, ListJobs
from plimsoll.records.deployment import (
    GetDeployment,
    JudgeRollout,
    KillDeployment,
    ReleasePolicy,
    ReviveDeployment,
    RollBack,
    SetEnvironment,
)
from plimsoll.records.monitor import SealPredictions
from plimsoll.records.registry.packing import PackVersion
from plimsoll.worker import LEASE, SEAL_ROWS, Lane, Worker, run_job
from plimsoll.workspace import WORKER, Workspace
from tests.unit.yard import Yard


def until(condition: Callable[[], object]) -> None:
    deadline = clock.monotonic() + 300
    while not condition():
        assert clock.monotonic() < deadline
        clock.sleep(0.02)


@pytest.fixture
def worker(yard: Yard) -> Worker:
    """A worker in this process."""
    return Worker(yard.workspace, "worker-1")


def test_an_approved_release_is_rolled_out_and_moved_by_its_evidence(yard: Yard, worker: Worker) -> None:
    first = yard.approved("one")
    worker._roll()
    assert yard.release(first.id).state == "live"
    second = yard.approved("two", first.package)
    worker._roll()
    assert yard.release(second.id).state == "rolling"
    for _ in range(2):
        worker._roll()
        yard.count(second.id, 10)
    worker._roll()
    assert yard.release(second.id).state == "live"
    verbs = [event.verb for event in yard.workspace.do(ListEvents(), WORKER) if event.actor == "worker"]
    assert [verb for verb in verbs if "Rollout" in verb] == ["MoveRollout", "MoveRollout", "StartRollout", "StartRollout"]


def test_a_candidate_that_fails_is_taken_back(yard: Yard, worker: Worker) -> None:
    second = yard.approved("two", yard.live("one").package)
    worker._roll()
    yard.count(second.id, 20, errors=20)
    deployment = yard.deployed()
    assert deployment is not None
    assert deployment.stable is not None
    yard.count(deployment.stable, 20)
    worker._roll()
    assert yard.release(second.id).state == "rolled_back"
    assert "failed 20 times while the stable version failed 0 times" in yard.release(second.id).reason


def test_a_rollout_that_was_replaced_since_it_was_judged_is_left_alone(yard: Yard, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    live = yard.live("one")
    second, third = yard.approved("two", live.package), yard.approved("three", live.package)
    yard.start(second)
    yard.count(second.id, 20, errors=20)
    yard.count(live.id, 20)
    judged = yard.deployed()
    assert judged is not None
    do: Callable[..., Any] = Workspace.do

    def meanwhile(self: Workspace, request: Any, actor: Any) -> Any:
        found = do(self, request, actor)
        if isinstance(request, JudgeRollout):
            monkeypatch.setattr(Workspace, "do", do)
            yard.workspace.do(RollBack(model="late", reason="By hand."), yard.nora)
            yard.start(third)
        return found

    monkeypatch.setattr(Workspace, "do", meanwhile)
    with pytest.raises(Conflict, match="has moved on from generation"):
        worker._move(judged)
    assert [yard.release(release.id).state for release in (second, third)] == ["rolled_back", "rolling"]


def test_an_approval_that_has_become_stale_is_rejected_with_the_reason(yard: Yard, worker: Worker) -> None:
    stale = yard.approved("two")
    yard.live("one")
    worker._roll()
    found = yard.release(stale.id)
    assert found.state == "rejected"
    assert "compared with another version than late/2" in found.reason
    assert "plimsoll checks run late/1" in found.reason


def test_an_approval_under_weaker_rules_waits_for_the_other_people_and_is_not_rejected(yard: Yard, worker: Worker) -> None:
    release = yard.approved("one")
    yard.rules(approvals=2)
    worker._roll()
    assert yard.release(release.id).state == "approved"
    yard.approve(release, yard.add("pia", "approve"))
    worker._roll()
    assert yard.release(release.id).state == "live"


def test_a_release_waits_while_the_switch_is_on_or_another_is_under_way(yard: Yard, worker: Worker) -> None:
    champion = yard.live("one").package
    yard.workspace.do(KillDeployment(model="late", reason="Fire."), yard.nora)
    second, third = yard.approved("two", champion), yard.approved("three", champion)
    worker._roll()
    assert yard.release(second.id).state == "approved"
    yard.workspace.do(ReviveDeployment(model="late", reason="Out."), yard.nora)
    worker._roll()
    assert [yard.release(release.id).state for release in (second, third)] == ["rolling", "approved"]


def test_where_nothing_is_asked_the_newest_release_is_what_stays(yard: Yard, worker: Worker) -> None:
    policy = ReleasePolicy(checks=False, approvals=0, steps=(ReleasePolicy().steps[-1],))
    yard.workspace.do(SetEnvironment(name="dev", policy=policy), yard.owner)
    older, newer = (yard.propose(yard.version(mark), "dev") for mark in ("one", "two"))
    worker._roll()
    deployment = yard.workspace.do(GetDeployment(model="late", environment="dev"), yard.dana)
    assert (deployment.stable, deployment.candidate) == (older.id, newer.id)


def test_one_deployment_in_trouble_does_not_hold_up_the_others(
    yard: Yard, worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = yard.approved("one"), yard.approved("two")
    begin: Callable[[Worker, object], None] = Worker._begin

    def troubled(self: Worker, release: object) -> None:
        if getattr(release, "id", "") == first.id:
            raise Corrupt("A blob is damaged.")
        begin(self, release)

    monkeypatch.setattr(Worker, "_begin", troubled)
    monkeypatch.setattr("plimsoll.clock.sleep", lambda seconds: None)
    worker._roll()
    assert yard.release(second.id).state == "live"
    assert "worker: A blob is damaged." in capsys.readouterr().err


def test_a_log_that_has_grown_is_sealed_by_one_job(yard: Yard, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker._seal()
    assert yard.workspace.do(ListJobs(), WORKER) == ()
    monkeypatch.setattr("plimsoll.store.segments.rows.SqlSegments.waiting", lambda self, tx: {"p": SEAL_ROWS})
    before = len(yard.workspace.do(ListEvents(), WORKER))
    for _ in range(3):
        worker._seal()
    (job,) = yard.workspace.do(ListJobs(), WORKER)
    assert (job.verb, job.state) == ("SealPredictions", "waiting")
    assert len(yard.workspace.do(ListEvents(), WORKER)) == before + 1


def claimed(yard: Yard) -> str:
    job = yard.workspace.submit(SealPredictions(), yard.nora)
    with yard.workspace.stores.database.write() as tx:
        found = yard.workspace.stores.queue.claim(tx, "worker-1", LEASE)
    assert found is not None
    assert found.id == job.id
    return job.id


def test_collecting_is_left_for_the_queue_once_a_day(yard: Yard, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> int:
        worker._looks = 0.0
        worker._collect()
        return sum(job.verb == "Collect" for job in yard.workspace.do(ListJobs(), WORKER))

    assert asked() == 0
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + 90_000_000_000)
    assert [asked(), asked()] == [1, 1]


def test_an_idle_worker_asks_little_and_still_sees_a_job_at_once(yard: Yard, worker: Worker) -> None:
    asked: list[object] = []
    note = asked.append
    event.listen(Engine, "begin", note)
    working = threading.Thread(target=worker.run)
    working.start()
    try:
        until(lambda: asked)
        clock.sleep(1.0)
        before = len(asked)
        clock.sleep(3.0)
        # Every other second, each of two lanes and five rounds, where it was five times a second.
        assert 3 <= len(asked) - before <= 45
        job = yard.workspace.submit(SealPredictions(), yard.nora)
        until(lambda: yard.workspace.do(GetJob(id=job.id), WORKER).state == "done")
    finally:
        worker.stop(0, None)
        working.join()
        event.remove(Engine, "begin", note)


def test_a_job_records_its_result(yard: Yard) -> None:
    run_job(yard.workspace, claimed(yard), "worker-1")
    (job,) = yard.workspace.do(ListJobs(), WORKER)
    assert (job.state, job.result, job.error) == ("done", 0, None)


def test_a_defect_within_a_job_is_recorded_with_the_job_to_look_for(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    id = claimed(yard)
    monkeypatch.setattr(type(yard.workspace.stores.segments), "waiting", lambda segments, tx: 1 / 0)
    run_job(yard.workspace, id, "worker-1")
    (job,) = yard.workspace.do(ListJobs(), WORKER)
    assert (job.state, job.error["code"], job.error["details"]) == ("failed", "internal", {"job": id})
    assert "ZeroDivisionError" in job.error["fact"]


def test_a_job_of_an_actor_who_lost_the_role_is_refused(yard: Yard) -> None:
    id = claimed(yard)
    yard.add("nora", "read")
    run_job(yard.workspace, id, "worker-1")
    (job,) = yard.workspace.do(ListJobs(), WORKER)
    assert (job.state, job.error["code"]) == ("failed", "denied")


def test_the_process_that_stays_is_replaced_after_a_package_was_installed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = tmp_path / "site-packages"
    installed.mkdir()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(installed))
    # Without scikit-learn, which these jobs have no use for, a process begins sooner.
    (tmp_path / "skops.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    lane = Lane(yard.workspace, "worker-1", user_code=True)

    def process() -> int:
        """Have a job done, and return which process it was forked from."""
        id = yard.workspace.submit(PackVersion(ref="late/9"), yard.owner).id
        until(lambda: lane.turn() and lane._job is None)
        assert yard.workspace.do(GetJob(id=id), yard.owner).error["code"] == "not_found"
        assert lane._kept is not None
        return lane._kept.pid

    try:
        first = process()
        assert process() == first
        (installed / "sklearn").mkdir()
        assert process() != first
    finally:
        lane.end()
