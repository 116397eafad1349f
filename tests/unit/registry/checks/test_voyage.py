from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from plimsoll.records.model import Budget
from plimsoll.registry.checks.footprint import check_footprint
from plimsoll.registry.checks.parity import check_parity
from plimsoll.registry.trial import Trial

EXPECTED = np.linspace(0.1, 0.9, 1000)
GOOD = Trial(
    load_seconds=3.0,
    memory_mib=200.0,
    latency_p50_ms=4.0,
    latency_p99_ms=9.0,
    requests=200,
    failed=0,
    rows=1000,
    expected=EXPECTED,
    answered=EXPECTED.copy(),
)
BUDGET = Budget(load_seconds=10.0, memory_mib=500.0, latency_ms=50.0)


def answered(row: int, value: float) -> Trial:
    """The good trial, but for one answer."""
    changed = EXPECTED.copy()
    changed[row] = value
    return replace(GOOD, answered=changed)


def test_a_server_that_says_exactly_what_training_said_passes() -> None:
    verdict = check_parity(GOOD)
    assert verdict.outcome == "pass"
    assert "1,000" in verdict.reason
    assert verdict.numbers["largest_difference"] == 0


def test_one_answer_that_differs_in_its_last_bit_is_refused() -> None:
    verdict = check_parity(answered(17, float(np.nextafter(EXPECTED[17], 1))))
    assert verdict.outcome == "fail"
    assert "1 of 1,000 rows differently" in verdict.reason
    assert 0 < verdict.numbers["largest_difference"] < 1e-15


def test_a_row_without_an_answer_is_refused() -> None:
    verdict = check_parity(answered(17, float("nan")))
    assert verdict.outcome == "fail"
    assert "1 of 1,000 reference rows got no answer" in verdict.reason


def test_a_failed_request_is_refused_although_every_answer_is_right() -> None:
    verdict = check_parity(replace(GOOD, failed=2, failure="HTTP 500: oh"))
    assert verdict.outcome == "fail"
    assert "2 requests failed" in verdict.reason
    assert "HTTP 500: oh" in verdict.reason


def test_agreement_on_few_rows_is_refused() -> None:
    verdict = check_parity(replace(GOOD, rows=20, expected=EXPECTED[:20], answered=EXPECTED[:20]))
    assert verdict.outcome == "fail"
    assert "20 reference rows" in verdict.reason


def test_a_package_within_its_budget_passes_with_all_three_numbers() -> None:
    verdict = check_footprint(GOOD, BUDGET)
    assert verdict.outcome == "pass"
    for said in ("3 s of 10 s", "200 MiB of 500 MiB", "9 ms of 50 ms"):
        assert said in verdict.reason


@pytest.mark.parametrize(
    ("trial", "said"),
    [
        (replace(GOOD, load_seconds=11.0), "11 s of 10 s allowed, which is too much"),
        (replace(GOOD, memory_mib=700.0), "700 MiB of 500 MiB allowed, which is too much"),
        (replace(GOOD, latency_p99_ms=60.0), "60 ms of 50 ms allowed, which is too much"),
        (replace(GOOD, latency_p99_ms=float("nan"), requests=0), "no request was answered"),
    ],
)
def test_a_package_over_its_budget_is_refused_by_the_number(trial: Trial, said: str) -> None:
    verdict = check_footprint(trial, BUDGET)
    assert verdict.outcome == "fail"
    assert said in verdict.reason


@pytest.mark.parametrize("trial", [replace(GOOD, load_seconds=9.0), replace(GOOD, memory_mib=None)])
def test_a_package_near_its_budget_or_not_measured_is_told_to_the_approver(trial: Trial) -> None:
    assert check_footprint(trial, BUDGET).outcome == "warn"


def test_what_is_near_does_not_soften_what_is_over() -> None:
    assert check_footprint(replace(GOOD, load_seconds=11.0, memory_mib=450.0), BUDGET).outcome == "fail"
