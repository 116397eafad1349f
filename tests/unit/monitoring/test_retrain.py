"""The retraining policy's decisions, and the retraining job with a pipeline that is a stand-in for minutes of work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import InvalidInput, NotFound, StepFailed
from plimsoll.monitoring.retrain import Past, decide, fill, retrain
from plimsoll.records.access import Actor
from plimsoll.records.deployment import CreateRelease, Release, ServingConfig
from plimsoll.records.model import CheckReport, CheckVersion, Verdict
from plimsoll.records.monitor import (
    AcknowledgeAlert,
    Alert,
    Finding,
    ListAlerts,
    RecordRetraining,
    RecordWindow,
    Retrain,
    RetrainPolicy,
    SetRetrainPolicy,
    WindowReport,
)
from plimsoll.records.pipeline import RunPipeline
from plimsoll.records.run import FinishRun, Run, StartRun
from plimsoll.store import schema
from plimsoll.store.contracts import JobContext
from plimsoll.workspace import WORKER
from tests.unit.monitoring.deployed import DAY, Deployed, deploy

POLICY = RetrainPolicy(cooldown_days=30, minimum_labels=5_000, budget=2)


@pytest.mark.parametrize(
    ("change", "wanted", "words"),
    [
        ({}, True, "number 1 of 2"),
        ({"policy": None}, False, "no retraining policy"),
        ({"policy": replace(POLICY, enabled=False)}, False, "switched off"),
        ({"kind": "input"}, False, "kind input alone is no reason"),
        ({"pipeline": ""}, False, "names no pipeline"),
        ({"labelled": 3_210}, False, "only 3,210 of 5,000 labels"),
        ({"history": [Past(at=80 * DAY, active=True)]}, False, "under way"),
        ({"history": [Past(at=80 * DAY, active=False)]}, False, "until 1970-04-21T00:00:00Z"),
        ({"history": [Past(at=70 * DAY, active=False)]}, True, "number 2 of 2"),
        ({"history": [Past(at=20 * DAY, active=False), Past(at=60 * DAY, active=False)]}, False, "budget of 2 in 365 days"),
    ],
)
def test_the_policy_decides_and_says_why(change: dict[str, Any], wanted: bool, words: str) -> None:
    given: dict[str, Any] = {
        "policy": POLICY,
        "kind": "performance",
        "at": 100 * DAY,
        "history": [],
        "labelled": 6_000,
        "pipeline": "pipeline.py:parcels",
    }
    decided, reason = decide(**given | change)
    assert decided is wanted
    assert words in reason


def test_the_windows_end_takes_the_place_of_its_name_in_every_text() -> None:
    assert fill({"end": "{end}", "months": 4, "deep": [{"path": "to {end}"}]}, 31 * DAY) == {
        "end": "1970-02-01",
        "months": 4,
        "deep": [{"path": "to 1970-02-01"}],
    }


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    """A workspace with one live release and a policy."""
    found = deploy(tmp_path / "home")
    found.workspace.do(SetRetrainPolicy(model="parcels", policy=replace(POLICY, minimum_labels=0)), WORKER)
    yield found
    found.workspace.close()


def record(deployed: Deployed, day: int, *, alarming: bool = True, release: str = "r1") -> WindowReport:
    """Record a window with one performance finding."""
    finding = Finding(
        kind="performance", subject="auc", alarming=alarming, p_value=0.001, reason="auc is low.", numbers={"release": release}
    )
    report = WindowReport(
        model="parcels",
        environment="production",
        start=day * DAY,
        end=(day + 1) * DAY,
        rows=1,
        labels=1,
        metrics={},
        slices={},
        findings=(finding,),
    )
    return deployed.workspace.do(RecordWindow(report=report, table=b"", labelled=1, pipeline="pipeline.py:parcels"), WORKER)


def only_alert(deployed: Deployed) -> Alert:
    """Return the one alert that there is."""
    (alert,) = deployed.workspace.do(ListAlerts(), WORKER)
    return alert


def test_alert_and_decision_are_in_the_audit_log(deployed: Deployed) -> None:
    record(deployed, 50)
    alert = only_alert(deployed)
    with deployed.workspace.stores.database.read() as tx:
        events = deployed.workspace.stores.events.list(tx, f"alert:{alert.id}", None, 10)
    assert [event.verb for event in events] == ["StartRetraining", "RaiseAlert"]
    assert events[0].payload["job_id"] == alert.job_id


def test_an_episode_that_goes_on_after_a_retraining_gets_a_new_alert_when_the_cooldown_is_over(deployed: Deployed) -> None:
    record(deployed, 50)
    deployed.workspace.do(RecordRetraining(alert_id=only_alert(deployed).id, release_id=None, outcome="Refused."), WORKER)
    assert [bool(record(deployed, day).alerts) for day in range(51, 83)] == [False] * 29 + [True, False, False]
    decisions = [alert.decision for alert in deployed.workspace.do(ListAlerts(), WORKER)]
    assert [decision.split(" is ")[-1] for decision in decisions] == ["number 2 of 2 in 365 days.", "number 1 of 2 in 365 days."]


def test_a_window_that_is_watched_late_is_compared_with_those_before_it_and_not_with_later_ones(deployed: Deployed) -> None:
    record(deployed, 48)
    record(deployed, 49, alarming=False)
    record(deployed, 52)
    assert record(deployed, 50).alerts
    assert not record(deployed, 51).alerts


def test_the_outcome_of_a_retraining_is_the_first_that_was_noted(deployed: Deployed) -> None:
    record(deployed, 50)
    alert = only_alert(deployed)
    first = deployed.workspace.do(RecordRetraining(alert_id=alert.id, release_id="r", outcome="Proposed."), WORKER)
    assert deployed.workspace.do(RecordRetraining(alert_id=alert.id, release_id=None, outcome="Failed."), WORKER) == first
    assert outcome_of(deployed) == ("r", "Proposed.")


def test_a_retraining_whose_worker_gave_up_does_not_block_the_next(deployed: Deployed) -> None:
    record(deployed, 50)
    with deployed.workspace.stores.database.write() as tx:
        tx.execute(schema.jobs.update().values(state="failed"))
    record(deployed, 51, alarming=False)
    assert record(deployed, 90).alerts
    assert deployed.workspace.do(ListAlerts(), WORKER)[0].decision.startswith("Retraining: ")


def test_an_alert_is_acknowledged_by_the_first_who_saw_it(deployed: Deployed) -> None:
    record(deployed, 50)
    alert = only_alert(deployed)
    dana, omar = (Actor(name=name, roles=("operate",)) for name in ("dana", "omar"))
    assert deployed.workspace.do(AcknowledgeAlert(id=alert.id), dana).acknowledged == "dana"
    assert deployed.workspace.do(AcknowledgeAlert(id=alert.id[:20]), omar).acknowledged == "dana"
    assert deployed.workspace.do(ListAlerts(open_only=True), WORKER) == ()
    with pytest.raises(NotFound):
        deployed.workspace.do(AcknowledgeAlert(id="ffffff"), dana)
    with pytest.raises(InvalidInput, match="too short"):
        deployed.workspace.do(AcknowledgeAlert(id="ff"), dana)


class Door:
    """Answers for the pipeline, the checks and the proposal; everything else is the workspace's."""

    def __init__(self, deployed: Deployed, outcome: str, state: str = "finished") -> None:
        self.deployed = deployed
        self.outcome = outcome
        self.state = state
        self.asked: list[Any] = []

    def __call__(self, request: Any) -> Any:
        """Do one verb."""
        self.asked.append(request)
        answer: Callable[[Any], Any] = getattr(self, type(request).__name__, lambda other: self.deployed.workspace.do(other, WORKER))
        return answer(request)

    def RunPipeline(self, request: RunPipeline) -> Run:
        """Make a run and, unless it is to fail, a version."""
        if self.state == "raises":
            raise StepFailed("The step train failed.")
        run = self.deployed.workspace.do(StartRun(experiment="parcels", cause=request.cause, key=request.key), WORKER)
        run = self.deployed.workspace.do(FinishRun(id=run.id, state="finished"), WORKER) if run.state == "running" else run
        if self.state == "finished":
            self.add_version(run, "parcels", 2)
        return run

    def add_version(self, run: Run, model: str, number: int, **more: Any) -> None:
        """Number a version of the run, once."""
        with self.deployed.workspace.stores.database.write() as tx:
            mine = (schema.versions.c.run_id == run.id, schema.versions.c.model == model, schema.versions.c.number == number)
            if not tx.execute(schema.versions.select().where(*mine)).first():
                row = {"digest": str(number) * 64, "author": "worker", "created": 0, "updated": 0, "meta": {}, "source": "", **more}
                noted = {"model": model, "number": number, "run_id": run.id, "description": "", "stage": "none"}
                tx.execute(schema.versions.insert().values(**noted, **row))

    def CheckVersion(self, request: CheckVersion) -> CheckReport:
        """Give the verdict that the test wants."""
        verdict = Verdict(check="money", outcome=self.outcome, reason="It costs 0.40 more a row.")  # type: ignore[arg-type]
        return CheckReport(id="c", model="parcels", number=2, champion=None, verdicts=(verdict,), created=0)

    def CreateRelease(self, request: CreateRelease) -> Release:
        """Propose it."""
        return Release(
            id="the-release",
            environment=request.environment,
            model="parcels",
            number=2,
            package="2" * 64,
            config=ServingConfig(),
            digest="3" * 64,
            author="worker",
            proposer="worker",
            state="proposed",
            reason="",
            created=0,
        )


def do_retrain(deployed: Deployed, door: Door) -> str:
    """Do the retraining of the one alert."""
    workspace = deployed.workspace
    context = JobContext(
        actor=WORKER, stores=workspace.stores, project=workspace.project, home=workspace.home, do=door, progress=lambda line: None
    )
    return retrain(Retrain(alert_id=only_alert(deployed).id, pipeline="pipeline.py:parcels", params={"end": "1970-02-20"}), context)


def outcome_of(deployed: Deployed) -> tuple[str | None, str]:
    """Return what the retraining left behind."""
    with deployed.workspace.stores.database.read() as tx:
        row = tx.execute(schema.retrainings.select()).one()
    return row.release_id, row.outcome


def test_a_retraining_runs_checks_and_proposes_with_the_alert_as_cause_and_bears_being_done_twice(deployed: Deployed) -> None:
    record(deployed, 50)
    door = Door(deployed, "pass")
    assert do_retrain(deployed, door) == "the-release"
    assert do_retrain(deployed, door) == "the-release"
    assert [type(request).__name__ for request in door.asked[:4]] == ["RunPipeline", "CheckVersion", "CreateRelease", "RecordRetraining"]
    assert door.asked[0].cause.kind == "alert"
    assert door.asked[0].cause.id == only_alert(deployed).id
    assert door.asked[1].ref == "parcels/2"
    release_id, outcome = outcome_of(deployed)
    assert release_id == "the-release"
    assert "passed its checks" in outcome


def test_of_a_pipeline_that_makes_several_models_the_one_of_the_alert_is_proposed_and_only_as_a_package(deployed: Deployed) -> None:
    class Several(Door):
        def RunPipeline(self, request: RunPipeline) -> Run:
            run = super().RunPipeline(request)
            self.add_version(run, "letters", 9)
            self.add_version(run, "parcels", 3, meta=None)
            return run

    with deployed.workspace.stores.database.write() as tx:
        tx.execute(schema.models.insert().values(name="letters", created=0, updated=0, description="", last=9))
    record(deployed, 50)
    door = Several(deployed, "pass")
    assert do_retrain(deployed, door) == "the-release"
    assert door.asked[1].ref == "parcels/2"


def test_a_run_that_did_not_finish_is_not_proposed_even_when_it_has_made_a_version(deployed: Deployed) -> None:
    class Lost(Door):
        def RunPipeline(self, request: RunPipeline) -> Run:
            return replace(super().RunPipeline(request), state="lost", error="Its process fell silent.")

    record(deployed, 50)
    assert do_retrain(deployed, Lost(deployed, "pass")) == ""
    release_id, kept = outcome_of(deployed)
    assert (release_id, kept.endswith("lost: Its process fell silent.")) == (None, True)


@pytest.mark.parametrize(
    ("outcome", "state", "words"),
    [("fail", "finished", "[money] It costs 0.40 more a row."), ("pass", "nothing", "made no new version")],
)
def test_what_may_not_be_proposed_is_not_and_the_reason_is_kept(deployed: Deployed, outcome: str, state: str, words: str) -> None:
    record(deployed, 50)
    assert do_retrain(deployed, Door(deployed, outcome, state)) == ""
    release_id, kept = outcome_of(deployed)
    assert release_id is None
    assert words in kept


def test_a_pipeline_that_fails_ends_the_retraining_with_its_error(deployed: Deployed) -> None:
    record(deployed, 50)
    with pytest.raises(StepFailed):
        do_retrain(deployed, Door(deployed, "pass", "raises"))
    assert outcome_of(deployed) == (None, "Failed: The step train failed.")
