"""Rollouts on counts: how often a good candidate is reverted, and how fast a bad one."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import clock
from plimsoll.errors import Conflict, InvalidInput
from plimsoll.records.deployment import Judgement, JudgeRollout, MoveRollout, ReleasePolicy
from plimsoll.records.monitor import LATENCY_EDGES
from plimsoll.records.plane import ReportPlane, TrackReport
from plimsoll.serving.rollout import Arm, Stage, error_evidence, judge, quantile, rate_evidence
from plimsoll.workspace import PLANE
from tests.unit.yard import Yard

POLICY = ReleasePolicy()
CELLS = len(LATENCY_EDGES) + 1


def at(cell: int, count: int) -> tuple[int, ...]:
    """Latencies that all lie in one cell."""
    return tuple(count if index == cell else 0 for index in range(CELLS))


def stage(
    candidate: tuple[int, int], stable: tuple[int, int], flips: tuple[int, int] = (0, 0), cells: tuple[int, int] | None = None
) -> Stage:
    """A stage from (requests, errors) of both arms, (paired, flipped) rows, and the latency cells of both."""
    slow = cells or (0, 0)
    return Stage(
        weight=candidate[0] / max(1, candidate[0] + stable[0]),
        candidate=Arm(
            requests=candidate[0], errors=candidate[1], paired=flips[0], flipped=flips[1], latency=at(slow[0], candidate[0] if cells else 0)
        ),
        stable=Arm(requests=stable[0], errors=stable[1], latency=at(slow[1], stable[0] if cells else 0)),
    )


def advise(*stages: Stage, wanted: int = 100, promised: float | None = None, policy: ReleasePolicy = POLICY) -> Judgement:
    return judge(stages, policy, wanted, promised)


def hits(generator: random.Random, count: int, rate: float) -> int:
    return sum(generator.random() < rate for _ in range(count))


def simulate(
    seed: int, candidate: float, stable: float, *, outage: range = range(0), heavy: float = 0.0, flips: float = 0.0, batch: int = 50
) -> tuple[str, int]:
    """Roll a candidate out, look after each batch of requests, and return how it went and after how many requests.

    ``candidate`` and ``stable`` are rates of errors; within ``outage`` everything fails; one caller sends the share ``heavy``.
    """
    generator = clock.generator(seed)
    done: list[Stage] = []
    total = 0
    for step in POLICY.steps[:-1]:
        kept = generator.random() < step.share
        asked = {"candidate": 0, "stable": 0}
        failed = {"candidate": 0, "stable": 0}
        paired = flipped = 0
        while True:
            own = hits(generator, batch, heavy)
            to_candidate = batch if step.share == 0 else hits(generator, batch - own, step.share) + (own if kept else 0)
            to_stable = batch if step.share == 0 else batch - to_candidate
            for name, count, rate in (("candidate", to_candidate, candidate), ("stable", to_stable, stable)):
                asked[name] += count
                failed[name] += hits(generator, count, 1.0 if total in outage else rate)
            total += batch
            paired += to_stable
            flipped += hits(generator, to_stable, flips)
            now = stage((asked["candidate"], failed["candidate"]), (asked["stable"], failed["stable"]), (paired, flipped))
            judgement = judge([*done, now], POLICY, step.requests, 0.01)
            if judgement.advice == "revert":
                return "reverted", total
            if judgement.advice == "advance":
                break
        done.append(now)
    return "live", total


def test_a_candidate_that_is_no_worse_is_hardly_ever_reverted_although_it_is_looked_at_all_the_time() -> None:
    ended = Counter(simulate(seed, 0.01, 0.01)[0] for seed in range(400))
    assert ended["reverted"] <= POLICY.alpha * 400


def test_a_candidate_that_is_no_worse_survives_a_caller_who_sends_a_third_of_the_traffic() -> None:
    ended = Counter(simulate(seed, 0.1, 0.1, heavy=0.3)[0] for seed in range(100))
    assert ended["reverted"] <= 1


def test_a_candidate_that_fails_fifty_times_as_often_is_reverted_within_the_shadow() -> None:
    runs = [simulate(seed, 0.05, 0.001, batch=20) for seed in range(100)]
    assert {how for how, _ in runs} == {"reverted"}
    assert sorted(total for _, total in runs)[90] <= 500


def test_an_outage_that_both_share_reverts_nothing() -> None:
    ended = Counter(simulate(seed, 0.001, 0.001, outage=range(100, 700))[0] for seed in range(100))
    assert ended == {"live": 100}


def test_flips_at_the_allowed_rate_pass_and_flips_far_above_it_revert() -> None:
    assert Counter(simulate(seed, 0.0, 0.0, flips=0.02)[0] for seed in range(100))["reverted"] <= 1
    assert {simulate(seed, 0.0, 0.0, flips=0.15)[0] for seed in range(20)} == {"reverted"}


def test_the_flip_limit_is_a_multiple_of_what_the_checks_saw_and_never_below_the_floor() -> None:
    limits = [advise(stage((100, 0), (100, 0), (100, 0)), promised=promised).numbers["flip_limit"] for promised in (0.0, 0.05, 0.9, None)]
    assert limits == [0.02, 0.1, 0.95, None]
    flipped = stage((1000, 0), (1000, 0), (1000, 150))
    judged = advise(flipped, promised=0.01)
    assert judged.advice == "revert"
    assert "15.0% of 1000 live rows; its checks saw 1.0% and allow 2.0%" in judged.reason
    assert advise(flipped, promised=0.1).advice == "advance"
    assert advise(flipped, promised=None).advice == "advance"


def test_a_slow_candidate_is_reverted_and_one_within_the_factor_is_not() -> None:
    fast, slow = 3, 9
    judged = advise(stage((200, 0), (200, 0), cells=(slow, fast)))
    assert judged.advice == "revert"
    assert "200 of 200 requests took the candidate over" in judged.reason
    assert advise(stage((200, 0), (200, 0), cells=(fast + 3, fast))).advice == "advance"
    assert advise(stage((200, 0), (200, 0), cells=(0, slow))).advice == "advance"


def test_latency_is_not_judged_before_the_stable_version_has_answered_fifty_requests() -> None:
    assert advise(stage((200, 0), (49, 0), cells=(20, 3))).advice == "advance"
    assert advise(stage((200, 0), (50, 0), cells=(20, 3))).advice == "revert"


def test_a_stable_version_slower_than_every_cell_makes_nothing_slow() -> None:
    judged = advise(stage((200, 0), (200, 0), cells=(CELLS - 1, CELLS - 1)))
    assert judged.advice == "advance"
    assert judged.numbers["stable_latency_p95_ms"] == math.inf


def test_a_stage_waits_for_its_requests_and_bad_news_do_not_wait() -> None:
    assert advise(stage((99, 0), (99, 0))).advice == "wait"
    assert advise(stage((100, 0), (100, 0))).advice == "advance"
    assert advise(stage((20, 20), (20, 0))).advice == "revert"


def test_errors_of_an_earlier_stage_still_count() -> None:
    bad, good = stage((300, 6), (300, 0)), stage((200, 6), (200, 0))
    assert [advise(bad).advice, advise(good).advice] == ["advance", "advance"]
    assert advise(bad, good, wanted=200).advice == "revert"


def test_no_traffic_at_all_says_nothing() -> None:
    judged = advise(stage((0, 0), (0, 0)), promised=0.01)
    assert (judged.advice, judged.numbers["log_e_errors"], judged.numbers["log_e_flips"]) == ("wait", 0.0, 0.0)


arms = st.builds(lambda requests, share: Arm(requests=requests, errors=round(requests * share)), st.integers(0, 5000), st.floats(0, 1))
stages = st.builds(Stage, weight=st.floats(0, 1), candidate=arms, stable=arms)


@given(st.lists(stages, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_evidence_never_depends_on_the_order_of_the_stages(found: list[Stage], generator: random.Random) -> None:
    shuffled = list(found)
    generator.shuffle(shuffled)
    assert error_evidence(shuffled) == pytest.approx(error_evidence(found), rel=1e-9, abs=1e-9)


@given(stages, st.integers(0, 5000), st.integers(0, 5000))
def test_evidence_does_not_depend_on_how_the_requests_of_a_stage_were_batched(found: Stage, candidate: int, stable: int) -> None:
    first = replace(
        found,
        candidate=replace(found.candidate, errors=min(candidate, found.candidate.errors)),
        stable=replace(found.stable, errors=min(stable, found.stable.errors)),
    )
    rest = replace(
        found,
        candidate=replace(found.candidate, errors=found.candidate.errors - first.candidate.errors),
        stable=replace(found.stable, errors=found.stable.errors - first.stable.errors),
    )
    assert error_evidence([first, rest]) == pytest.approx(error_evidence([found]), rel=1e-9, abs=1e-6)


@given(stages)
def test_another_error_of_the_candidate_never_speaks_for_it_and_one_of_the_stable_version_never_against_it(found: Stage) -> None:
    worse = replace(found, candidate=replace(found.candidate, errors=found.candidate.errors + 1))
    better = replace(found, stable=replace(found.stable, errors=found.stable.errors + 1))
    assert error_evidence([worse]) >= error_evidence([found]) - 1e-9
    assert error_evidence([better]) <= error_evidence([found]) + 1e-9


@pytest.mark.parametrize(("trials", "limit"), [(7, 0.02), (12, 0.3), (9, 0.95)])
def test_the_evidence_on_a_rate_is_worth_one_on_average_at_the_limit_and_less_below_it(trials: int, limit: float) -> None:
    def mean(rate: float) -> float:
        chance = [math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(trials + 1)]
        return sum(p * math.exp(rate_evidence(k, trials, limit)) for k, p in enumerate(chance))

    assert mean(limit) == pytest.approx(1.0)
    assert mean(limit / 2) < 1


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5])
def test_the_evidence_on_errors_is_worth_one_on_average_when_both_are_equally_good(weight: float) -> None:
    count = 12
    total = 0.0
    for own in range(count + 1):
        found = Stage(weight=weight, candidate=Arm(requests=100, errors=own), stable=Arm(requests=100, errors=count - own))
        total += math.comb(count, own) * weight**own * (1 - weight) ** (count - own) * math.exp(error_evidence([found]))
    assert total == pytest.approx(1.0)


def test_a_quantile_is_the_upper_edge_of_its_cell() -> None:
    assert quantile(at(3, 100), 0.95) == LATENCY_EDGES[3]
    assert quantile((95, 5) + (0,) * (CELLS - 2), 0.95) == LATENCY_EDGES[0]
    assert quantile((94, 6) + (0,) * (CELLS - 2), 0.95) == LATENCY_EDGES[1]
    assert quantile((0,) * CELLS, 0.95) == 0.0


@pytest.mark.parametrize(
    "wrong",
    [{"alpha": 0.0}, {"alpha": 1.0}, {"flip_floor": 0.0}, {"flip_factor": 0.5}, {"latency_factor": 0.0}, {"steps": ()}, {"approvals": -1}],
)
def test_rules_with_which_nothing_can_be_judged_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        ReleasePolicy(**wrong)  # type: ignore[arg-type]


def rolling(yard: Yard, flips: float | None = None) -> str:
    stable = yard.live("one")
    release = yard.approved("two", stable.package, flips)
    yard.start(release)
    return release.id


def judged(yard: Yard) -> Judgement:
    return yard.workspace.do(JudgeRollout(model="late"), yard.dana)


def test_counts_are_credited_to_the_stage_under_which_they_came(yard: Yard) -> None:
    id = rolling(yard)
    yard.count(id, 10)
    assert (judged(yard).advice, judged(yard).numbers["requests"]) == ("advance", 10)
    yard.workspace.do(MoveRollout(model="late", to="advance", reason="Enough."), yard.nora)
    assert (judged(yard).advice, judged(yard).numbers["requests"]) == ("wait", 0)
    yard.count(id, 10)
    yard.count(id, 30, track="shadow", paired=30, flipped=3)
    now = judged(yard).numbers
    assert (now["requests"], now["paired_rows"], now["flipped_rows"]) == (10, 30, 3)


def test_the_candidates_exposure_is_what_it_got_and_not_what_the_rules_planned(yard: Yard) -> None:
    id = rolling(yard)
    yard.count(id, 10)
    yard.workspace.do(MoveRollout(model="late", to="advance", reason="Enough."), yard.nora)
    stable = yard.deployed()
    assert stable is not None
    assert stable.stable is not None
    # Half was planned; a caller who sends nine tenths was kept on the candidate.
    yard.count(id, 900, errors=90)
    yard.count(stable.stable, 100, errors=10)
    assert judged(yard).advice == "advance"
    yard.count(id, 400, errors=400)
    assert judged(yard).advice == "revert"


def test_a_candidate_that_does_not_load_is_reverted_with_the_planes_reason(yard: Yard) -> None:
    id = rolling(yard)
    tracks = (TrackReport(model="late", release_id=id, state="failed", reason="No such column."),)
    yard.workspace.do(ReportPlane(plane="p", environment="production", address="", generations={}, tracks=tracks), PLANE)
    assert (judged(yard).advice, judged(yard).reason) == ("revert", "The candidate does not load: No such column.")


def test_what_the_checks_saw_of_flips_is_the_promise_that_live_flips_are_held_to(yard: Yard) -> None:
    id = rolling(yard, flips=0.01)
    yard.count(id, 500, paired=500, flipped=100)
    assert (judged(yard).advice, judged(yard).numbers["flip_limit"]) == ("revert", 0.02)


def test_nothing_is_judged_without_a_rollout(yard: Yard) -> None:
    yard.live("one")
    with pytest.raises(Conflict, match="no rollout under way"):
        judged(yard)
