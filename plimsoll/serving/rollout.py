"""How a candidate earns its traffic: evidence that may be looked at after every request.

All tests here are e-processes (mixtures of likelihood ratios): the chance that one ever exceeds ``1 / alpha`` while
the candidate is no worse is at most ``alpha``, however often it is looked at (Ville's inequality; Robbins 1970,
"Statistical methods related to the law of the iterated logarithm"). ``alpha`` is split over the three tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Row, select

from plimsoll.errors import Conflict, Refused
from plimsoll.records.deployment import Deployment, GetRelease, Judgement, JudgeRollout, MoveRollout, Release, ReleasePolicy, RollBack
from plimsoll.records.monitor import LATENCY_EDGES
from plimsoll.records.plane import ListPlanes
from plimsoll.registry.promotion import get_release, move_release
from plimsoll.registry.versions import newest_report
from plimsoll.serving.deployments import existing, list_planes, point_alias, roll_back, save
from plimsoll.store.contracts import Context
from plimsoll.store.schema import traffic

#: Odds of a bad event falling on the candidate instead of the stable track, relative to equal arms.
_ODDS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)

#: Share of the candidate's requests that may be slower than ``latency_factor`` times the stable track's p95.
_SLOW_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one track did during one stage."""

    #: Answered requests.
    requests: int = 0
    #: Of these, failed ones.
    errors: int = 0
    #: Rows answered by both tracks.
    paired: int = 0
    #: Of these, rows with another decision.
    flipped: int = 0
    #: Counts in the cells of ``LATENCY_EDGES``.
    latency: tuple[int, ...] = (0,) * (len(LATENCY_EDGES) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Candidate and stable track under one split of the traffic."""

    #: Probability that a bad event is the candidate's when both are equally good: its share of the exposure.
    weight: float
    #: The candidate.
    candidate: Arm
    #: The stable track at the same time.
    stable: Arm


def _log_mean_exp(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs) / len(logs))


def error_evidence(stages: Sequence[Stage]) -> float:
    """Return the log of the e-value against "the candidate fails no more often than the stable track".

    Args:
        stages: every stage of the rollout so far. A failure both tracks share (an outage) tells nothing, and does nothing.
    """
    logs = []
    for odds in _ODDS:
        total = 0.0
        for stage in stages:
            weight = stage.weight
            if not 0 < weight < 1:
                continue
            # The candidate's chance of a bad event grows from weight to weight * odds / whole.
            whole = math.log1p(weight * (odds - 1))
            total += stage.candidate.errors * (math.log(odds) - whole) - stage.stable.errors * whole
        logs.append(total)
    return _log_mean_exp(logs)


def rate_evidence(hits: int, trials: int, limit: float) -> float:
    """Return the log of the e-value against "the rate is at most ``limit``".

    Args:
        hits: how often it happened.
        trials: out of so many.
        limit: the rate that is allowed, between 0 and 1 (excluded).
    """
    logs = []
    for part in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
        rate = limit + (1 - limit) * part
        logs.append(hits * math.log(rate / limit) + (trials - hits) * math.log((1 - rate) / (1 - limit)))
    return _log_mean_exp(logs)


def quantile(latency: Sequence[int], share: float) -> float:
    """Return a latency in microseconds below which ``share`` of the requests stayed (the upper edge of its cell).

    Args:
        latency: counts in the cells of ``LATENCY_EDGES``.
        share: such as 0.95.
    """
    target, seen = share * sum(latency), 0
    for cell, count in enumerate(latency):
        seen += count
        if seen >= target and seen:
            return float(LATENCY_EDGES[cell]) if cell < len(LATENCY_EDGES) else math.inf
    return 0.0


def _slow(latency: Sequence[int], limit: float) -> int:
    return sum(count for cell, count in enumerate(latency) if cell > 0 and LATENCY_EDGES[cell - 1] >= limit)


def judge(stages: Sequence[Stage], policy: ReleasePolicy, wanted: int, promised_flips: float | None) -> Judgement:
    """Weigh the evidence: revert as soon as one test is decisive, advance once the stage has its requests.

    Args:
        stages: every stage of the rollout so far, the present one last.
        policy: the rules with which the rollout began.
        wanted: requests that the candidate must have had in the present stage.
        promised_flips: share of decisions that differed from the stable version when the checks compared both; None if unknown.
    """
    bar = math.log(3 / policy.alpha)
    now = stages[-1]
    arms = [stage.candidate for stage in stages]
    errors = error_evidence(stages)
    paired, flipped = sum(arm.paired for arm in arms), sum(arm.flipped for arm in arms)
    limit = min(0.95, max(policy.flip_floor, policy.flip_factor * promised_flips)) if promised_flips is not None else None
    flips = rate_evidence(flipped, paired, limit) if limit is not None else 0.0
    stable_latency = [sum(cells) for cells in zip(*(stage.stable.latency for stage in stages), strict=True)]
    latency = [sum(cells) for cells in zip(*(arm.latency for arm in arms), strict=True)]
    slow_from = policy.latency_factor * quantile(stable_latency, 0.95)
    enough = sum(stable_latency) >= 50
    slow = _slow(latency, slow_from) if enough else 0
    slowness = rate_evidence(slow, sum(latency), _SLOW_SHARE) if enough else 0.0
    numbers = {
        "requests": now.candidate.requests,
        "wanted": wanted,
        "errors": sum(arm.errors for arm in arms),
        "stable_errors": sum(stage.stable.errors for stage in stages),
        "log_e_errors": round(errors, 3),
        "paired_rows": paired,
        "flipped_rows": flipped,
        "flip_limit": limit,
        "log_e_flips": round(flips, 3),
        "latency_p95_ms": round(quantile(latency, 0.95) / 1000, 3),
        "stable_latency_p95_ms": round(quantile(stable_latency, 0.95) / 1000, 3),
        "log_e_latency": round(slowness, 3),
        "log_e_bar": round(bar, 3),
    }
    if errors > bar:
        reason = f"The candidate failed {numbers['errors']} times while the stable version failed {numbers['stable_errors']} times."
        return Judgement(advice="revert", reason=reason, numbers=numbers)
    if flips > bar:
        reason = (
            f"The candidate decides otherwise than the stable version on {flipped / paired:.1%} of {paired} live rows; its checks saw"
            f" {promised_flips:.1%} and allow {limit:.1%}: live input is not what it was examined on."
        )
        return Judgement(advice="revert", reason=reason, numbers=numbers)
    if slowness > bar:
        reason = (
            f"{slow} of {sum(latency)} requests took the candidate over {slow_from / 1000:.1f} ms,"
            f" {policy.latency_factor:g} times the stable version's 95th percentile."
        )
        return Judgement(advice="revert", reason=reason, numbers=numbers)
    if now.candidate.requests < wanted:
        reason = f"{now.candidate.requests} of {wanted} requests seen at this stage; nothing speaks against it so far."
        return Judgement(advice="wait", reason=reason, numbers=numbers)
    reason = f"{now.candidate.requests} requests at this stage, {now.candidate.errors} failed; nothing speaks against it."
    return Judgement(advice="advance", reason=reason, numbers=numbers)


def _arm(rows: Sequence[Row[tuple[object, ...]]]) -> Arm:
    arm = Arm()
    for row in rows:
        arm = Arm(
            requests=arm.requests + row.requests,
            errors=arm.errors + row.errors,
            paired=arm.paired + row.paired,
            flipped=arm.flipped + row.flipped,
            latency=tuple(a + b for a, b in zip(arm.latency, row.latency, strict=True)),
        )
    return arm


def _stages(context: Context, deployment: Deployment, policy: ReleasePolicy) -> list[Stage]:
    """One stage for each generation of this rollout: steps follow one another without gaps in the generations."""
    stages = []
    for index in range(deployment.step + 1):
        generation = deployment.generation - deployment.step + index
        query = select(traffic).where(
            traffic.c.model == deployment.model,
            traffic.c.environment == deployment.environment,
            traffic.c.generation == generation,
        )
        rows = context.tx.execute(query).all()
        share = policy.steps[index].share
        own = [row for row in rows if row.release_id == deployment.candidate]
        both = _arm(own)
        candidate = _arm([row for row in own if row.track == ("canary" if share > 0 else "shadow")])
        candidate = replace(candidate, paired=both.paired, flipped=both.flipped)
        stable = _arm([row for row in rows if row.release_id == deployment.stable and row.track == "stable"])
        # Not the share of the policy: callers keep their track, so one that sends much moves the split; a shadow drops when busy.
        weight = candidate.requests / max(1, candidate.requests + stable.requests)
        stages.append(Stage(weight=weight, candidate=candidate, stable=stable))
    return stages


def _promised_flips(context: Context, release: Release) -> float | None:
    report = newest_report(context, release.model, release.number)
    for verdict in report.verdicts if report is not None else ():
        if "flip_rate" in verdict.numbers:
            return float(verdict.numbers["flip_rate"])
    return None


def _failed_to_load(context: Context, deployment: Deployment) -> str:
    for plane in list_planes(ListPlanes(environment=deployment.environment), context):
        for track in plane.report.tracks:
            if track.release_id == deployment.candidate and track.state == "failed":
                return track.reason
    return ""


def judge_rollout(request: JudgeRollout, context: Context) -> Judgement:
    """Weigh the evidence of the rollout under way, without moving it."""
    deployment, policy = existing(context, request.model, request.environment)
    if deployment.candidate is None:
        raise Conflict(f"{request.model} has no rollout under way.", "Start one with: plimsoll releases roll RELEASE")
    release = get_release(GetRelease(id=deployment.candidate), context)
    failed = _failed_to_load(context, deployment)
    if failed:
        reason = f"The candidate does not load: {failed}"
        return Judgement(advice="revert", reason=reason, numbers={}, generation=deployment.generation)
    wanted = policy.steps[deployment.step].requests
    judgement = judge(_stages(context, deployment, policy), policy, wanted, _promised_flips(context, release))
    return replace(judgement, generation=deployment.generation)


def move_rollout(request: MoveRollout, context: Context) -> Deployment:
    """Move the candidate on, which needs the evidence, or take it back, which needs none."""
    deployment, policy = existing(context, request.model, request.environment)
    if deployment.candidate is None:
        raise Conflict(f"{request.model} has no rollout under way.", "Start one with: plimsoll releases roll RELEASE")
    if request.generation is not None and request.generation != deployment.generation:
        raise Conflict(
            f"{request.model} has moved on from generation {request.generation} to {deployment.generation}.",
            "Judge it again, then move it.",
        )
    if request.to == "revert":
        return roll_back(RollBack(model=request.model, environment=request.environment, reason=request.reason), context)
    judgement = judge_rollout(JudgeRollout(model=request.model, environment=request.environment), context)
    if judgement.advice != "advance":
        raise Refused(f"The evidence does not let it go on: {judgement.reason}", "Wait for more traffic, or take it back.")
    release = get_release(GetRelease(id=deployment.candidate), context)
    step = deployment.step + 1
    if step < len(policy.steps) and policy.steps[step].share < 1:
        share = policy.steps[step].share
        move_release(context, release, "rolling", f"On step {step + 1} of {len(policy.steps)} with {share:.0%}: {request.reason}")
        return save(context, replace(deployment, step=step))
    if deployment.stable is not None:
        old = get_release(GetRelease(id=deployment.stable), context)
        move_release(context, old, "retired", f"Replaced by {release.model}/{release.number}.")
    move_release(context, release, "live", request.reason)
    point_alias(context, release)
    return save(context, replace(deployment, stable=release.id, previous=deployment.stable, candidate=None, step=0))
