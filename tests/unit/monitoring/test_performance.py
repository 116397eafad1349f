"""Performance: measures that are right, and an alarm that bears being looked at every day."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import polars as pl
import pytest

from plimsoll.monitoring.performance import (
    ALPHA,
    LEAST_WINDOWS,
    Outcome,
    calibration,
    e_process,
    judge_performance,
    measure,
    money_per_row,
    promised,
    slices,
    wilson,
)
from plimsoll.monitoring.sketches import Profile
from plimsoll.records.model import Costs
from plimsoll.records.monitor import Finding

COSTS = Costs(false_alarm=1.0, missed=3.0)
DAY = 86_400_000_000


def window(rng: np.random.Generator, index: int, rows: int = 300, distance: float = 1.35) -> Outcome:
    """Return a day whose positive share varies between days; ``distance`` 1.35 gives an AUC near .83, 0.74 near .70."""
    share = float(np.clip(rng.normal(0.25, 0.05), 0.05, 0.6))
    labels = (rng.random(rows) < share).astype(np.int64)
    score = rng.normal(0, 1, rows) + distance * labels
    answers = 1 / (1 + np.exp(-(1.35 * (score - 0.675) + math.log(0.25 / 0.75))))
    numbers = measure(labels, answers, COSTS)
    return Outcome(start=index * DAY, rows=rows, labels=rows, metrics=numbers)


def alarms(findings: list[Finding]) -> list[str]:
    """Return the measures that alarm."""
    return [finding.subject for finding in findings if finding.alarming]


@cache
def stationary(seed: int, days: int) -> tuple[Outcome, ...]:
    """Return windows in which nothing changes."""
    rng = np.random.default_rng(seed)
    return tuple(window(rng, index) for index in range(days))


def test_looking_every_day_for_200_days_rarely_gives_a_false_alarm() -> None:
    # The evidence never falls back, so the last look of a history tells whether any look alarmed.
    wrong = sum(bool(alarms(judge_performance(days[28:], days[:28]))) for days in (stationary(seed, 228) for seed in range(40)))
    assert wrong <= 2


def test_a_fall_of_the_auc_from_83_to_70_is_found_within_a_few_windows() -> None:
    delays = []
    for seed in range(20):
        days = stationary(seed, 88)
        rng = np.random.default_rng(1_000 + seed)
        worse = [window(rng, 88 + index, distance=0.74) for index in range(20)]
        delays.append(next(n for n in range(1, 21) if "auc" in alarms(judge_performance([*days[28:], *worse[:n]], days[:28]))))
    assert float(np.median(delays)) * 300 <= 2_400
    assert max(delays) * 300 <= 4_500


def test_the_finding_tells_value_promise_evidence_and_since_when() -> None:
    days = stationary(1, 48)
    rng = np.random.default_rng(7)
    worse = [window(rng, 48 + index, distance=0.74) for index in range(12)]
    finding = next(f for f in judge_performance([*days[28:], *worse], days[:28]) if f.subject == "auc")
    assert finding.kind == "performance"
    assert finding.alarming
    assert finding.p_value is not None
    assert finding.p_value <= ALPHA
    assert abs(finding.numbers["since"] / DAY - 48) <= 3
    assert finding.numbers["recent"] == pytest.approx(0.70, abs=0.03)
    assert finding.reason.startswith("auc is 0.")
    assert "the holdout promised 0.8" in finding.reason


def test_one_freak_day_is_no_alarm() -> None:
    days = stationary(2, 68)
    freak = Outcome(start=68 * DAY, rows=300, labels=300, metrics={"auc": 0.3, "brier": 0.6, "money_per_row": 2.0})
    assert alarms(judge_performance([*days[28:], freak], days[:28])) == []


def test_windows_with_few_or_mostly_missing_labels_do_not_count() -> None:
    days = stationary(3, 40)
    bad = {"auc": 0.4, "brier": 0.5, "money_per_row": 2.0}
    few = [Outcome(start=(40 + index) * DAY, rows=900, labels=300, metrics=bad) for index in range(30)]
    tiny = [Outcome(start=(80 + index) * DAY, rows=40, labels=40, metrics=bad) for index in range(30)]
    assert judge_performance([*days[28:], *few, *tiny], days[:28]) == judge_performance(days[28:], days[:28])


def test_without_a_packed_promise_the_first_windows_are_the_promise() -> None:
    days = stationary(4, 60)
    assert judge_performance(days[:LEAST_WINDOWS], []) == []
    rng = np.random.default_rng(9)
    worse = [window(rng, 60 + index, distance=0.5) for index in range(30)]
    findings = judge_performance([*days, *worse], [])
    assert "auc" in alarms(findings)
    assert "first 14 labelled windows" in findings[0].reason


def test_the_promise_of_a_profile_gives_the_same_measures_as_the_rows_themselves() -> None:
    rng = np.random.default_rng(3)
    labels, answers = (rng.random(400) < 0.3).astype(np.int64), rng.random(400)
    time = pl.Series(np.repeat([0, DAY], 200)).cast(pl.Datetime("us"))
    profile = Profile.build(pl.DataFrame({"x": answers})).promising(time=time, answers=answers, labels=labels, threshold=COSTS.threshold)
    first, second = promised(profile.promises, COSTS)
    expected = measure(labels[200:], answers[200:], COSTS)
    assert second.metrics == pytest.approx({name: expected[name] for name in ("auc", "brier", "money_per_row")})
    assert (first.start, second.start, second.labels) == (0, DAY, 200)


def test_the_expectation_of_the_evidence_stays_below_one_while_the_promise_holds() -> None:
    rng = np.random.default_rng(11)
    values = [e_process(rng.normal(0, 1, 30))[0] for _ in range(2_000)]
    for line in (5, 20):
        assert np.mean(np.array(values) >= line) <= 1 / line


def test_money_counts_each_wrong_decision_at_its_cost() -> None:
    labels, answers = np.array([0, 0, 1, 1]), np.array([0.25, 0.1, 0.2, 0.9])
    assert COSTS.threshold == 0.25
    assert money_per_row(labels, answers, COSTS) == pytest.approx((1.0 + 3.0) / 4)


def test_calibration_has_slope_one_for_true_probabilities_and_less_for_answers_that_are_too_sure() -> None:
    rng = np.random.default_rng(13)
    odds = rng.normal(-1, 1.5, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    error, slope = calibration(labels, 1 / (1 + np.exp(-odds)))
    assert slope == pytest.approx(1.0, abs=0.05)
    assert error < 0.02
    error, slope = calibration(labels, 1 / (1 + np.exp(-2 * odds)))
    assert slope == pytest.approx(0.5, abs=0.05)
    assert error > 0.05


def test_what_is_not_known_is_absent_from_the_measures() -> None:
    assert measure(np.zeros(0, np.int64), np.zeros(0), COSTS) == {}
    one_class = measure(np.array([0, 0]), np.array([0.1, 0.2]), COSTS)
    assert "auc" not in one_class
    assert "calibration_slope" not in one_class
    assert one_class["positive_share"] == 0.0


def test_wilsons_interval_matches_published_values_and_holds_its_level_on_few_rows() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(1, 10)
    assert (round(low, 4), round(high, 4)) == (0.0179, 0.4042)
    rng = np.random.default_rng(17)
    covered = [low <= 0.1 <= high for low, high in (wilson(int(k), 15) for k in rng.binomial(15, 0.1, 2_000))]
    assert np.mean(covered) > 0.92


def test_slices_below_the_minimum_are_left_out_and_the_others_have_intervals() -> None:
    rng = np.random.default_rng(19)
    labels, answers = (rng.random(300) < 0.3).astype(np.int64), rng.random(300)
    groups = {"carrier": ["AA"] * 200 + ["B6"] * 90 + [None] * 10}
    found = slices(groups, labels, answers, COSTS, 50)
    assert list(found) == ["carrier=AA", "carrier=B6"]
    wrong = float(np.mean((answers[:200] >= 0.25) != (labels[:200] == 1)))
    assert found["carrier=AA"]["wrong_low"] < wrong < found["carrier=AA"]["wrong_high"]
    assert found["carrier=AA"]["rows"] == 200
