"""Watching windows of a live release, on a real workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from plimsoll.errors import NotFound
from plimsoll.records.monitor import (
    AppendLabels,
    AppendPredictions,
    ListAlerts,
    ListWindows,
    PredictionColumns,
    RetrainPolicy,
    SealPredictions,
    SetRetrainPolicy,
    TrackName,
    WatchWindow,
)
from plimsoll.workspace import PLANE, WORKER
from tests.unit.monitoring.deployed import DAY, Deployed, deploy


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    """A workspace with one live release."""
    found = deploy(tmp_path / "home")
    yield found
    found.workspace.close()


def test_a_good_day_is_measured_and_raises_nothing(deployed: Deployed) -> None:
    deployed.serve(50)
    report = deployed.watch(50)
    assert (report.rows, report.labels, report.alerts) == (300, 300, ())
    assert report.metrics["auc"] == pytest.approx(0.83, abs=0.06)
    assert set(report.slices) == {"depot=north", "depot=south", "depot=west"}
    assert {finding.subject for finding in report.findings} >= {"weight", "depot", "prediction", "auc", "brier", "money_per_row"}
    assert deployed.workspace.do(ListWindows(model="parcels"), WORKER) == (report,)


def test_labels_that_were_not_known_by_then_are_not_used(deployed: Deployed) -> None:
    deployed.serve(50)
    report = deployed.watch(50, as_of=50 * DAY + 3_600_000_000 + 99 * 60_000_000)
    assert (report.rows, report.labels) == (300, 100)
    assert deployed.watch(50).labels == 300
    assert len(deployed.workspace.do(ListWindows(model="parcels"), WORKER)) == 1


def answer(deployed: Deployed, sequence: int, output: float, *, status: int = 200, track: TrackName = "stable", request: str = "r") -> None:
    """Log one row of a request."""
    names = {"request_id": (request,), "row": (0,), "unit": ("u",), "track": (track,), "release_id": (deployed.release,), "trace": ("",)}
    numbers = {"at": (50 * DAY + sequence,), "output": (output,), "status": (status,), "latency": (900,)}
    columns = PredictionColumns(**names, **numbers, inputs={"weight": (1.0,), "depot": ("north",)})  # type: ignore[arg-type]
    batch = AppendPredictions(plane="p", sequence=sequence, model="parcels", environment="production", rows=columns, counts=())
    deployed.workspace.do(batch, PLANE)


def test_a_request_that_was_answered_several_times_counts_once_with_its_first_answer(deployed: Deployed) -> None:
    for sequence, output in enumerate((0.25, 0.75, 0.75), start=1):
        answer(deployed, sequence, output)
    report = deployed.watch(50)
    assert (report.rows, report.metrics["mean_prediction"]) == (1, 0.25)


def test_copies_for_a_shadow_and_declared_defaults_are_no_answers_of_the_live_release(deployed: Deployed) -> None:
    answer(deployed, 1, 0.75, track="shadow")
    answer(deployed, 2, 0.25)
    answer(deployed, 3, 0.75, track="fallback", request="s")
    report = deployed.watch(50)
    assert (report.rows, report.metrics["mean_prediction"]) == (1, 0.25)


def test_windows_of_another_length_and_those_that_overlap_are_no_evidence_a_second_time(deployed: Deployed) -> None:
    hour = DAY // 24
    for day in (49, 50, 51, 52):
        deployed.serve(day)
    for start, hours in ((-24, 12), (0, 24), (1, 24), (24, 24)):
        begin = 50 * DAY + start * hour
        deployed.workspace.do(WatchWindow(model="parcels", start=begin, end=begin + hours * hour), WORKER)
    (auc,) = [finding for finding in deployed.watch(52).findings if finding.subject == "auc"]
    assert auc.numbers["windows"] == 3


def test_a_request_that_failed_and_was_sent_again_counts_with_its_answer(deployed: Deployed) -> None:
    for sequence, (output, status) in enumerate([(float("nan"), 503), (0.75, 200), (float("nan"), 503)], start=1):
        answer(deployed, sequence, output, status=status)
    labels = AppendLabels(model="parcels", writer="truth", sequence=1, request_id=("r",), row=(0,), at=(50 * DAY + 9,), value=(1,))
    deployed.workspace.do(labels, WORKER)
    report = deployed.watch(50)
    assert (report.rows, report.labels, report.metrics["mean_prediction"]) == (1, 1, 0.75)


@pytest.mark.parametrize("seal", [False, True])
def test_the_label_that_arrived_last_counts_whatever_its_time(deployed: Deployed, seal: bool) -> None:
    deployed.serve(50, count=40)
    before = deployed.watch(50).metrics["positive_share"]
    assert before < 1
    ids = tuple(f"d50-{index}" for index in range(40))
    # Within a batch too the later line wins: each is first said to be no and then to be yes, as known an hour earlier.
    labels = AppendLabels(
        model="parcels",
        writer="correction",
        sequence=1,
        request_id=ids * 2,
        row=(0,) * 80,
        at=tuple(50 * DAY + 3_000 for _ in ids) + tuple(50 * DAY + 2_000 for _ in ids),
        value=(0,) * 40 + (1,) * 40,
    )
    deployed.workspace.do(labels, WORKER)
    if seal:
        deployed.workspace.do(SealPredictions(minimum_rows=1), WORKER)
    after = deployed.watch(50)
    assert (after.labels, after.metrics["positive_share"]) == (40, 1.0)


def test_a_broken_unit_raises_one_alert_for_its_whole_episode(deployed: Deployed) -> None:
    for day in (50, 51, 52):
        deployed.serve(day, change=pl.col("weight") * 1.6)
    first = deployed.watch(50)
    assert len(first.alerts) == 1
    assert deployed.watch(50).alerts == first.alerts
    assert deployed.watch(51).alerts == ()
    assert deployed.watch(52).alerts == ()
    (alert,) = deployed.workspace.do(ListAlerts(), WORKER)
    assert (alert.finding.kind, alert.finding.subject) == ("input", "weight")
    assert alert.decision == "Not retrained: the deployment has no retraining policy."


def test_the_same_fault_under_a_new_release_is_a_new_alert(deployed: Deployed) -> None:
    deployed.serve(50, change=pl.col("weight") * 1.6)
    first = deployed.watch(50)
    deployed.live(2)
    deployed.serve(51, change=pl.col("weight") * 1.6)
    second = deployed.watch(51)
    assert len(second.alerts) == 1
    assert second.alerts != first.alerts


def test_decay_is_found_and_the_policy_leaves_a_retraining_in_the_queue(deployed: Deployed) -> None:
    policy = RetrainPolicy(minimum_labels=2_000, params={"until": "{end}", "nested": {"dates": ["{end}"]}})
    deployed.workspace.do(SetRetrainPolicy(model="parcels", policy=policy), WORKER)
    found = []
    for day in range(50, 62):
        deployed.serve(day, skill=1.35 if day < 52 else 0.5)
        found.append(deployed.watch(day))
    alarming = [report for report in found if any(f.alarming and f.kind == "performance" for f in report.findings)]
    assert 52 <= alarming[0].start // DAY <= 56
    alerts = [alert for alert in deployed.workspace.do(ListAlerts(), WORKER) if alert.finding.kind == "performance"]
    assert {alert.finding.subject for alert in alerts} <= {"auc", "brier", "money_per_row"}
    (started,) = [alert for alert in alerts if alert.job_id is not None]
    assert started.decision.startswith("Retraining: 2,1")
    others = {alert.decision for alert in alerts if alert.job_id is None}
    assert others <= {"Not retrained: another retraining is under way."}
    with deployed.workspace.stores.database.read() as tx:
        job = deployed.workspace.stores.queue.get(tx, started.job_id or "")
    assert job.verb == "Retrain"
    # 2,000 labels are there with day 56, the seventh.
    assert job.payload["params"] == {"until": "1970-02-27", "nested": {"dates": ["1970-02-27"]}}


def test_a_new_release_starts_with_fresh_evidence(deployed: Deployed) -> None:
    for day in range(50, 58):
        deployed.serve(day, skill=0.5)
        last = deployed.watch(day)
    assert any(finding.alarming and finding.kind == "performance" for finding in last.findings)
    deployed.live(2)
    deployed.serve(58)
    fresh = deployed.watch(58)
    assert not any(finding.alarming for finding in fresh.findings if finding.kind == "performance")
    assert next(finding for finding in fresh.findings if finding.subject == "auc").numbers["windows"] == 1


def test_sealing_changes_nothing_that_a_window_sees(deployed: Deployed) -> None:
    deployed.serve(50)
    before = deployed.watch(50)
    assert deployed.workspace.do(SealPredictions(minimum_rows=1), WORKER) == 600
    assert deployed.watch(50) == before


def test_a_window_without_rows_is_kept_without_findings_and_a_model_that_is_not_live_is_refused(deployed: Deployed) -> None:
    report = deployed.watch(90)
    assert (report.rows, report.labels, report.metrics, report.findings) == (0, 0, {}, ())
    with pytest.raises(NotFound, match="Nothing of other is live"):
        deployed.workspace.do(WatchWindow(model="other", start=0, end=DAY), WORKER)
