from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from plimsoll.registry.checks.slices import check_slices
from tests.unit.registry.checks.made import answers, purpose, rule

FOUND = answers(count=6000, days=21, slice_rows=200)
RULE = rule(FOUND)
#: 20 slices of 300 rows.
CARRIERS = np.array([f"c{index % 20:02d}" for index in range(6000)])


def test_a_model_that_is_good_on_every_slice_passes_and_names_the_weakest() -> None:
    verdict = check_slices(FOUND, RULE, {"carrier": CARRIERS})
    assert verdict.outcome == "pass", verdict.reason
    assert "None of 20 slices" in verdict.reason
    assert "The lowest AUC" in verdict.reason
    assert verdict.numbers["judged"]["carrier=c03"]["rows"] == 300


def test_a_slice_on_which_the_rule_is_better_is_refused_by_name() -> None:
    bad = np.where(CARRIERS == "c03", 1 - FOUND.candidate, FOUND.candidate)
    verdict = check_slices(replace(FOUND, candidate=bad), RULE, {"carrier": CARRIERS})
    assert verdict.outcome == "fail"
    assert "carrier=c03 (300 rows)" in verdict.reason
    assert "carrier=c04" not in verdict.reason


def test_a_slice_that_is_ordered_clearly_worse_is_told_to_the_approver() -> None:
    inside = np.isin(CARRIERS, ["c03", "c04", "c05"])
    random = np.random.default_rng(6)
    groups = {"group": np.where(inside, "odd", "plain")}
    blurred = np.where(inside, 0.26 + 0.5 * random.random(6000), FOUND.candidate)
    verdict = check_slices(replace(FOUND, candidate=blurred), None, groups)
    assert verdict.outcome == "warn"
    assert "group=odd" in verdict.reason
    assert verdict.numbers["judged"]["group=odd"]["auc"] == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("rows", [10, 30, 50])
def test_a_slice_of_few_rows_is_listed_as_not_judged_however_bad_and_whatever_the_purpose_says(rows: int) -> None:
    tiny = np.where(np.arange(6000) % (6000 // rows) == 0, "tiny", "rest")
    bad = np.where(tiny == "tiny", 1 - FOUND.candidate, FOUND.candidate)
    found = replace(FOUND, candidate=bad, purpose=purpose(slice_rows=1))
    verdict = check_slices(found, RULE, {"carrier": tiny})
    assert verdict.outcome == "pass"
    assert verdict.numbers["not_judged"] == {"carrier=tiny": rows}
    assert f"carrier=tiny ({rows})" in verdict.reason


def test_a_slice_of_few_days_is_not_judged() -> None:
    early = np.where(FOUND.days < 3, "early", "later")
    verdict = check_slices(FOUND, RULE, {"part": early})
    assert list(verdict.numbers["not_judged"]) == ["part=early"]


def test_a_slice_below_the_purpose_s_own_size_is_not_judged() -> None:
    verdict = check_slices(replace(FOUND, purpose=purpose(slice_rows=301)), RULE, {"carrier": CARRIERS})
    assert len(verdict.numbers["not_judged"]) == 20
    assert "fewer than 301 rows" in verdict.reason
    assert "and 10 more" in verdict.reason


def test_a_declared_slice_that_the_holdout_lacks_is_refused() -> None:
    verdict = check_slices(FOUND, RULE, {}, ("origin",))
    assert verdict.outcome == "fail"
    assert "'origin'" in verdict.reason


def test_no_declared_slice_passes_and_says_so() -> None:
    assert "No slice is declared" in check_slices(FOUND, RULE, {}).reason


def test_a_slice_of_one_class_has_no_auc_and_is_judged_by_money_alone() -> None:
    groups: npt.NDArray[np.str_] = np.where(FOUND.labels == 1, "late", "on time")
    numbers = check_slices(FOUND, RULE, {"truth": groups}).numbers["judged"]["truth=late"]
    assert "auc" not in numbers
    assert "saving" in numbers


def test_a_slice_on_which_model_and_rule_hardly_ever_differ_is_not_judged_by_money() -> None:
    acts = FOUND.candidate >= 0.25
    differing = np.flatnonzero((CARRIERS == "c03") & (acts == (FOUND.labels == 1)))[::20][:15]
    turned = acts.copy()
    turned[differing] ^= True
    found = replace(FOUND, candidate=np.where(turned, 0.9, 0.1))
    verdict = check_slices(found, acts, {"carrier": CARRIERS})
    assert verdict.outcome == "pass", verdict.reason
    assert "saving" not in verdict.numbers["judged"]["carrier=c03"]


def test_a_slice_that_is_ordered_a_little_worse_is_nothing_to_look_at_however_surely_that_is_known() -> None:
    many = answers(count=40_000, days=30)
    odd = np.arange(40_000) % 2 == 0
    noise = np.random.default_rng(8).normal(0, 0.6, 40_000)
    odds = np.log(many.candidate / (1 - many.candidate)) + np.where(odd, noise, 0.0)
    found = replace(many, candidate=1 / (1 + np.exp(-odds)))
    verdict = check_slices(found, None, {"group": np.where(odd, "odd", "even")})
    part = verdict.numbers["judged"]["group=odd"]
    assert part["p_weak"] < 0.01
    assert -0.05 < part["auc_behind_rest"] < 0
    assert verdict.outcome == "pass"


def test_a_day_on_which_the_model_knows_little_everywhere_does_not_make_a_slice_s_gap_less_sure() -> None:
    good = FOUND.days % 3 > 0
    lost = np.random.default_rng(9).random(6000)
    found = replace(FOUND, candidate=np.where(good, FOUND.candidate, lost))
    part = check_slices(found, None, {"half": np.where(np.arange(6000) % 2 == 0, "one", "two")}).numbers["judged"]["half=one"]
    alone, gap = (part[f"{name}_high"] - part[f"{name}_low"] for name in ("auc", "auc_behind_rest"))
    assert gap < alone


def test_twenty_slices_on_which_the_model_is_like_the_rule_are_refused_once_in_twenty_at_most() -> None:
    failed = warned = 0
    for seed in range(120):
        random = np.random.default_rng(seed)
        found = answers(count=6000, days=21, seed=seed, slice_rows=200)
        acts = found.candidate >= 0.25
        # Both turn the same share of decisions around by chance, so neither is better anywhere.
        first, second = (acts ^ (random.random(6000) < 0.1) for _ in range(2))
        verdict = check_slices(replace(found, candidate=np.where(first, 0.9, 0.1)), second, {"carrier": CARRIERS})
        failed += verdict.outcome == "fail"
        warned += verdict.outcome == "warn"
    assert failed <= 120 * 0.05 + 4
    assert warned <= 120 * 0.05 + 4
