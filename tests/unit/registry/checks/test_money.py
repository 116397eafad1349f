from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from plimsoll.registry.checks.evidence import Answers, Champion, Floats
from plimsoll.registry.checks.money import auc_by_day, auc_difference, check_baseline, check_champion, mean_by_day
from tests.unit.registry.checks.made import answers, purpose, rule

FOUND = answers()


def champion(given: Floats) -> Champion:
    """A champion with these answers."""
    return Champion(name="flights/3", answers=given)


def test_a_model_that_is_shown_to_save_enough_over_the_rule_passes_with_its_numbers() -> None:
    verdict = check_baseline(FOUND, rule(FOUND))
    assert verdict.outcome == "pass", verdict.reason
    acts = FOUND.candidate >= 0.25
    cost = np.mean((acts & (FOUND.labels == 0)) * 1.0 + (~acts & (FOUND.labels == 1)) * 3.0)
    assert verdict.numbers["cost"] == pytest.approx(cost)
    assert f"USD {cost:.2f} a row" in verdict.reason
    assert verdict.numbers["saving_at_least"] > 0
    assert verdict.numbers["auc"] == pytest.approx(roc_auc_score(FOUND.labels, FOUND.candidate))


def test_one_acts_from_the_cost_threshold_on() -> None:
    assert FOUND.acts(np.array([0.2499, 0.25, 0.9])).tolist() == [False, True, True]


def test_a_model_is_refused_when_the_saving_is_there_but_not_the_required_one() -> None:
    saving = check_baseline(FOUND, rule(FOUND)).numbers["saving_at_least"]
    wanting = replace(FOUND, purpose=purpose(minimum_saving=saving + 0.001))
    verdict = check_baseline(wanting, rule(FOUND))
    assert verdict.outcome == "fail"
    assert verdict.numbers["saving"] > saving + 0.001


def test_a_model_that_is_worse_than_the_rule_is_refused() -> None:
    random = np.random.default_rng(4)
    guess = replace(FOUND, candidate=random.random(len(FOUND.labels)))
    verdict = check_baseline(guess, rule(FOUND))
    assert verdict.outcome == "fail"
    assert "-USD" in verdict.reason


def test_a_saving_that_rests_on_one_day_is_refused() -> None:
    lucky = answers(count=4000, days=20)
    wrong = (lucky.candidate >= 0.25) ^ (lucky.days == 7)
    saving = check_baseline(lucky, wrong)
    assert saving.numbers["saving"] > 0
    assert saving.outcome == "fail"


def test_too_few_days_are_refused_because_nobody_knows_how_sure_it_is() -> None:
    verdict = check_baseline(answers(days=4), rule(answers(days=4)))
    assert verdict.outcome == "fail"
    assert "4 days do not show" in verdict.reason


def test_without_a_manual_rule_the_approver_is_told_and_doing_the_same_everywhere_is_the_rule() -> None:
    verdict = check_baseline(FOUND, None)
    assert verdict.outcome == "warn"
    assert "No manual rule" in verdict.reason
    guess = np.random.default_rng(4).random(len(FOUND.labels))
    assert check_baseline(replace(FOUND, candidate=guess), None).outcome == "fail"


def test_nothing_in_production_is_nothing_to_compare_with() -> None:
    verdict = check_champion(FOUND, None)
    assert verdict.outcome == "pass"
    assert "flip_rate" not in verdict.numbers


def test_the_version_in_production_itself_passes_without_a_margin() -> None:
    verdict = check_champion(FOUND, replace(champion(FOUND.candidate), same=True))
    assert verdict.outcome == "pass"
    assert verdict.reason == "It is flights/3, which is in production."
    assert verdict.numbers["flip_rate"] == 0


def test_a_version_that_decides_the_same_everywhere_passes_without_a_margin() -> None:
    squeezed = 0.25 + (FOUND.candidate - 0.25) * 0.9
    assert check_champion(FOUND, champion(squeezed)).outcome == "pass"


def test_a_better_candidate_passes_and_tells_how_many_decisions_change() -> None:
    weak = answers(skill=0.3).candidate
    verdict = check_champion(FOUND, champion(weak))
    assert verdict.outcome == "pass", verdict.reason
    flips = np.mean((FOUND.candidate >= 0.25) != (weak >= 0.25))
    assert verdict.numbers["flip_rate"] == pytest.approx(flips)
    assert f"{flips:.1%} of the rows" in verdict.reason


def test_a_worse_candidate_is_refused_as_not_shown_to_be_as_good() -> None:
    verdict = check_champion(answers(skill=0.3), champion(FOUND.candidate))
    assert verdict.outcome == "fail"
    assert verdict.reason.startswith("Not shown to be at least as good")


def test_a_margin_lets_a_little_worse_candidate_pass_and_no_more() -> None:
    worse, margin = answers(skill=0.3), 0.0
    bound = -check_champion(worse, champion(FOUND.candidate)).numbers["saving_at_least"]
    assert bound > 0
    for factor, outcome in ((1.01, {"pass", "warn"}), (0.99, {"fail"})):
        margin = bound * factor
        assert check_champion(replace(worse, purpose=purpose(margin=margin)), champion(FOUND.candidate)).outcome in outcome


def test_a_candidate_within_the_margin_that_orders_worse_is_told_to_the_approver() -> None:
    blurred = np.where(FOUND.candidate >= 0.25, 0.9, 0.1)
    blurred[:200] = 0.9
    verdict = check_champion(replace(FOUND, candidate=blurred, purpose=purpose(margin=1.0)), champion(FOUND.candidate))
    assert verdict.outcome == "warn"
    assert "order the rows worse" in verdict.reason


def test_a_champion_that_cannot_answer_these_rows_is_a_refusal_with_the_reason() -> None:
    verdict = check_champion(FOUND, Champion(name="flights/3", answers=None, reason="The column 'b' is missing."))
    assert verdict.outcome == "fail"
    assert "The column 'b' is missing." in verdict.reason
    assert "flip_rate" not in verdict.numbers


def test_rows_that_the_champion_was_trained_on_are_mentioned() -> None:
    verdict = check_champion(FOUND, replace(champion(answers(skill=0.3).candidate), seen=0.4))
    assert "trained on 40% of these rows" in verdict.reason


def test_the_mean_of_one_row_a_day_without_correlation_has_the_textbook_interval() -> None:
    values = np.array([1.0, -1.0, 1.5, -1.5, 0.5, -0.5, 2.0, -2.0, 1.0, -1.0]) + 3
    estimate = mean_by_day(values, np.arange(10))
    textbook = t.interval(0.9, 9, values.mean(), values.std(ddof=1) / math.sqrt(10))
    assert (estimate.lower(), estimate.upper()) == pytest.approx(textbook)


def test_a_day_that_is_like_the_one_before_widens_the_interval() -> None:
    values = np.repeat([1.0, -1.0, 2.0, -2.0, 1.0], 4)
    days = np.arange(20)
    shuffled = np.random.default_rng(1).permutation(20)
    assert mean_by_day(values, days).lower() < mean_by_day(values, shuffled.astype(np.int64)).lower()


def test_repeating_every_row_of_a_day_makes_nothing_surer() -> None:
    values, days = np.random.default_rng(2).normal(size=200), np.arange(200) // 10
    once, tenfold = mean_by_day(values, days), mean_by_day(np.repeat(values, 10), np.repeat(days, 10))
    assert once.error == pytest.approx(tenfold.error)


def test_the_difference_of_two_aucs_on_the_same_rows_is_paired() -> None:
    weak = FOUND.candidate + np.random.default_rng(3).normal(0, 0.02, len(FOUND.labels))
    paired = auc_difference(FOUND.labels, FOUND.candidate, weak, FOUND.days)
    alone = auc_by_day(FOUND.labels, FOUND.candidate, FOUND.days)
    assert paired.value == pytest.approx(roc_auc_score(FOUND.labels, FOUND.candidate) - roc_auc_score(FOUND.labels, weak))
    assert paired.error < alone.error / 3


def test_ties_count_half_and_one_class_has_no_auc() -> None:
    labels, days = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0]), np.arange(6)
    same = auc_by_day(labels, np.full(6, 0.3), days)
    assert (same.value, same.error) == (0.5, 0.0)
    assert math.isnan(auc_by_day(np.ones(6), np.arange(6.0), days).value)


def worlds(truth: Callable[[np.random.Generator, Floats], Floats], correlation: float, count: int = 400) -> list[tuple[Answers, Champion]]:
    """Pairs of versions on 21 days of 60 rows, whose difference in cost has a luck of the day that stays for a while."""
    made = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        luck = np.empty(21)
        luck[0] = random.normal()
        for day in range(1, 21):
            luck[day] = correlation * luck[day - 1] + math.sqrt(1 - correlation**2) * random.normal()
        days = np.repeat(np.arange(21), 60)
        labels = np.zeros(len(days))
        # Without positives a false alarm costs 1 and everything else nothing: the difference in cost is that of two rates.
        candidate = (random.random(len(days)) < truth(random, luck)[days]).astype(np.float64)
        other = (random.random(len(days)) < 0.2).astype(np.float64)
        labels[0] = candidate[0] = other[0] = 1.0
        found = Answers(purpose=purpose(margin=0.02), labels=labels, days=days, candidate=candidate)
        made.append((found, champion(other)))
    return made


def refused(made: list[tuple[Answers, Champion]]) -> tuple[float, float]:
    """Share that the check refuses, and share that the point estimate within the margin would promote."""
    verdicts = [check_champion(found, given) for found, given in made]
    return (
        sum(verdict.outcome == "fail" for verdict in verdicts) / len(verdicts),
        sum(verdict.numbers["saving"] > -0.02 for verdict in verdicts) / len(verdicts),
    )


def test_a_candidate_worse_by_the_margin_is_refused_19_times_in_20_where_the_point_estimate_is_a_coin() -> None:
    share, coin = refused(worlds(lambda random, luck: 0.22 + 0.03 * luck, correlation=0.0))
    assert share >= 0.95
    assert 0.4 < coin < 0.6


def test_a_candidate_worse_by_twice_the_margin_is_hardly_ever_promoted_although_days_hang_together() -> None:
    share, _ = refused(worlds(lambda random, luck: 0.24 + 0.03 * luck, correlation=0.3))
    assert share >= 0.99


def test_days_that_hang_together_do_not_double_the_error() -> None:
    share, _ = refused(worlds(lambda random, luck: 0.22 + 0.04 * luck, correlation=0.3))
    assert share >= 0.92


def test_a_candidate_that_is_clearly_better_is_promoted() -> None:
    share, _ = refused(worlds(lambda random, luck: 0.15 + 0.02 * luck, correlation=0.0, count=100))
    assert share <= 0.02
