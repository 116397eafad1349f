"""When a finding may start a retraining, and the retraining itself.

The decision is pure and always has a reason. The retraining is a job: it runs the pipeline with the alert as its cause, has
the version examined like any other, and proposes it. It approves nothing. Done twice (a worker may die in between) it finds its
run by the alert's key, and the proposal it made is the open one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from plimsoll import clock
from plimsoll.errors import NotFound, PlimsollError
from plimsoll.records.deployment import CreateRelease
from plimsoll.records.model import CheckVersion
from plimsoll.records.monitor import FindingKind, RecordRetraining, Retrain, RetrainPolicy
from plimsoll.records.pipeline import RunPipeline
from plimsoll.records.run import Cause
from plimsoll.store.contracts import JobContext
from plimsoll.store.schema import alerts, versions

_DAY = 86_400_000_000
_BUDGET_DAYS = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An earlier retraining, as the policy sees it."""

    #: Event time, UTC microseconds.
    at: int
    #: It has not ended yet.
    active: bool


def decide(
    policy: RetrainPolicy | None, kind: FindingKind, at: int, history: Sequence[Past], labelled: int, pipeline: str
) -> tuple[bool, str]:
    """Return whether an alert starts a retraining, and why or why not in one sentence.

    Args:
        policy: the deployment's policy; None when none was set.
        kind: kind of the alert's finding.
        at: event time of the end of the alert's window, UTC microseconds.
        history: the deployment's earlier retrainings, in any order.
        labelled: labelled rows since the live model's training.
        pipeline: what would run, as ``path.py:name``.
    """
    if policy is None:
        return False, "Not retrained: the deployment has no retraining policy."
    if not policy.enabled:
        return False, "Not retrained: the policy is switched off."
    if kind not in policy.kinds:
        return False, f"Not retrained: a finding of kind {kind} alone is no reason; the policy counts {', '.join(policy.kinds) or 'none'}."
    if not pipeline:
        return False, "Not retrained: the model's purpose names no pipeline."
    if any(past.active for past in history):
        return False, "Not retrained: another retraining is under way."
    last = max((past.at for past in history), default=None)
    if last is not None and at < last + policy.cooldown_days * _DAY:
        until = clock.iso(round(last + policy.cooldown_days * _DAY))
        return False, f"Not retrained: {policy.cooldown_days:g} days of cooldown since {clock.iso(last)} last until {until}."
    if labelled < policy.minimum_labels:
        return False, f"Not retrained: only {labelled:,} of {policy.minimum_labels:,} labels are there."
    used = sum(past.at > at - _BUDGET_DAYS * _DAY for past in history)
    if used >= policy.budget:
        return False, f"Not retrained: the budget of {policy.budget} in {_BUDGET_DAYS} days is used."
    return True, f"Retraining: {labelled:,} labels are there, and it is number {used + 1} of {policy.budget} in {_BUDGET_DAYS} days."


def fill(params: Any, end: int) -> Any:
    """Return parameters with ``{end}`` in every text replaced by a date, also inside lists and tables.

    Args:
        params: JSON-able.
        end: event time of the end of the alert's window, UTC microseconds; it becomes an ISO date such as ``2013-06-01``.
    """
    if isinstance(params, str):
        return params.replace("{end}", clock.iso(end)[:10])
    if isinstance(params, dict):
        return {name: fill(value, end) for name, value in params.items()}
    if isinstance(params, list | tuple):
        return [fill(value, end) for value in params]
    return params


def retrain(request: Retrain, context: JobContext) -> str:
    """Run the pipeline, have the version examined, propose it; return the release's id, or '' when there is none to propose.

    Raises:
        NotFound: there is no such alert.
        PlimsollError: the pipeline, the checks or the proposal failed; the retraining's outcome says so.
    """
    with context.stores.database.read() as tx:
        alert = tx.execute(select(alerts).where(alerts.c.id == request.alert_id)).one_or_none()
    if alert is None:
        raise NotFound(f"There is no alert {request.alert_id!r}.", "List alerts with: plimsoll alerts list")
    try:
        release_id, outcome = _propose(request, alert.model, alert.environment, context)
    except PlimsollError as error:
        context.do(RecordRetraining(alert_id=request.alert_id, release_id=None, outcome=f"Failed: {error}"))
        raise
    context.do(RecordRetraining(alert_id=request.alert_id, release_id=release_id or None, outcome=outcome))
    return release_id


def _propose(request: Retrain, model: str, environment: str, context: JobContext) -> tuple[str, str]:
    context.progress(f"running {request.pipeline}")
    run = context.do(
        RunPipeline(
            pipeline=request.pipeline,
            params=request.params,
            cause=Cause(kind="alert", id=request.alert_id),
            key=f"retrain/{request.alert_id}",
        )
    )
    if run.state != "finished":
        return "", f"The run {run.id} {run.state}: {run.error or 'no reason was recorded'}"
    with context.stores.database.read() as tx:
        # The pipeline may make other models beside the one that is in trouble.
        packages = (versions.c.run_id == run.id, versions.c.model == model, versions.c.meta.is_not(None))
        query = select(versions.c.model, versions.c.number).where(*packages).order_by(versions.c.number.desc())
        made = tx.execute(query).first()
    if made is None:
        return "", f"The run {run.id} made no new version of {model}: the same data gave the same model."
    ref = f"{made.model}/{made.number}"
    context.progress(f"checking {ref}")
    report = context.do(CheckVersion(ref=ref, environment=environment))
    if report.outcome == "fail":
        failed = " ".join(f"[{verdict.check}] {verdict.reason}" for verdict in report.verdicts if verdict.outcome == "fail")
        return "", f"{ref} was refused by its checks: {failed or 'no check ran.'}"
    release = context.do(CreateRelease(ref=ref, environment=environment))
    return release.id, f"{ref} passed its checks and was proposed as release {release.id}."
