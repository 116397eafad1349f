"""What watching found, kept: windows, alerts, the retraining policy's answers.

An alert stands for an *episode*. The first window in which something alarms raises it; while the next windows go on alarming about
the same thing under the same release, no other is raised, but the policy is asked again, because cooldown and missing labels pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select, update

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.monitoring.retrain import Past, decide, fill
from plimsoll.records.monitor import (
    AcknowledgeAlert,
    Alert,
    Finding,
    FindingKind,
    ListAlerts,
    ListWindows,
    RecordRetraining,
    RecordWindow,
    Retrain,
    Retraining,
    RetrainPolicy,
    SetRetrainPolicy,
    WindowReport,
)
from plimsoll.store.contracts import Context
from plimsoll.store.schema import alerts, retrain_policies, retrainings, windows


def record_window(request: RecordWindow, context: Context) -> WindowReport:
    """Keep a window, raise its alerts and ask the policy; the same window again replaces its report and repeats no alert."""
    report = request.report
    where = (
        windows.c.model == report.model,
        windows.c.environment == report.environment,
        windows.c.start == report.start,
        windows.c.end == report.end,
    )
    earlier = _alarms_before(context, report)
    raised: list[str] = []
    for finding in report.findings:
        if not finding.alarming:
            continue
        alert = _known(context, report, finding)
        if alert is not None:
            raised.append(alert.id)
        elif _same(finding) in earlier:
            alert = _latest(context, report, finding)
            if alert is not None and alert.job_id is not None and _decide(context, request, finding.kind)[0]:
                # It was retrained for this, is still wrong, and may be retrained again: that needs an alert of its own.
                alert = None
        if alert is None:
            alert = _raise(context, report, finding)
            raised.append(alert.id)
        if alert.job_id is None:
            _ask(context, request, alert)
    report = replace(report, alerts=tuple(raised))
    values = {"report": codec.plain(report), "table": request.table}
    if context.tx.execute(update(windows).where(*where).values(**values)).rowcount == 0:
        key = {"model": report.model, "environment": report.environment, "start": report.start, "end": report.end}
        context.tx.execute(windows.insert().values(**key, **values))
    return report


def _same(finding: Finding) -> tuple[str, str, str]:
    """Return what makes two findings one episode: kind, subject, and the release that was live."""
    return finding.kind, finding.subject, str(finding.numbers.get("release", ""))


def _alarms_before(context: Context, report: WindowReport) -> frozenset[tuple[str, str, str]]:
    query = (
        select(windows.c.report)
        .where(windows.c.model == report.model, windows.c.environment == report.environment, windows.c.end <= report.start)
        .order_by(windows.c.end.desc())
        .limit(1)
    )
    found = context.tx.execute(query).scalar()
    if found is None:
        return frozenset()
    before = codec.convert(found, WindowReport, "The stored report")
    return frozenset(_same(finding) for finding in before.findings if finding.alarming)


def _of(report: WindowReport, finding: Finding) -> tuple[Any, ...]:
    return (
        alerts.c.model == report.model,
        alerts.c.environment == report.environment,
        alerts.c.kind == finding.kind,
        alerts.c.subject == finding.subject,
    )


def _known(context: Context, report: WindowReport, finding: Finding) -> Alert | None:
    query = select(alerts).where(*_of(report, finding), alerts.c.start == report.start, alerts.c.end == report.end)
    row = context.tx.execute(query).one_or_none()
    return None if row is None else _alert(row)


def _latest(context: Context, report: WindowReport, finding: Finding) -> Alert | None:
    query = select(alerts).where(*_of(report, finding), alerts.c.start < report.start).order_by(alerts.c.start.desc()).limit(1)
    row = context.tx.execute(query).first()
    return None if row is None else _alert(row)


def _alert(row: Row[Any]) -> Alert:
    fields = {name: value for name, value in row._mapping.items() if name not in ("kind", "subject")}
    return codec.convert(fields, Alert, "The stored alert")


def _raise(context: Context, report: WindowReport, finding: Finding) -> Alert:
    alert = Alert(
        id=clock.new_id(),
        model=report.model,
        environment=report.environment,
        start=report.start,
        end=report.end,
        finding=finding,
        created=clock.now(),
    )
    context.tx.execute(alerts.insert().values(**codec.plain(alert), kind=finding.kind, subject=finding.subject))
    about = {"model": alert.model, "environment": alert.environment, "start": alert.start, "end": alert.end}
    context.stores.events.append(
        context.tx, context.actor.name, "RaiseAlert", f"alert:{alert.id}", about | {"finding": codec.plain(finding)}
    )
    return alert


def _ask(context: Context, request: RecordWindow, alert: Alert) -> None:
    """Let the policy decide on an alert that has no retraining yet, and leave the retraining in the queue."""
    report = request.report
    wanted, reason = _decide(context, request, alert.finding.kind)
    job_id = None
    if wanted:
        policy = _policy(context, report.model, report.environment) or RetrainPolicy()
        job = Retrain(alert_id=alert.id, pipeline=request.pipeline, params=fill(policy.params, report.end))
        job_id = context.stores.queue.put(context.tx, job, actor=context.actor.name, key=f"retrain/{alert.id}").id
        row = {"alert_id": alert.id, "model": report.model, "environment": report.environment, "at": report.end}
        context.tx.execute(retrainings.insert().values(**row))
        payload = {"alert_id": alert.id, "job_id": job_id, "reason": reason, "params": codec.plain(job.params)}
        context.stores.events.append(context.tx, context.actor.name, "StartRetraining", f"alert:{alert.id}", payload)
    context.tx.execute(update(alerts).where(alerts.c.id == alert.id).values(decision=reason, job_id=job_id))


def _decide(context: Context, request: RecordWindow, kind: FindingKind) -> tuple[bool, str]:
    report = request.report
    policy = _policy(context, report.model, report.environment)
    return decide(policy, kind, report.end, _history(context, report.model, report.environment), request.labelled, request.pipeline)


def _policy(context: Context, model: str, environment: str) -> RetrainPolicy | None:
    query = select(retrain_policies.c.policy).where(retrain_policies.c.model == model, retrain_policies.c.environment == environment)
    found = context.tx.execute(query).scalar()
    return None if found is None else codec.convert(found, RetrainPolicy, "The stored policy")


def _history(context: Context, model: str, environment: str) -> list[Past]:
    query = (
        select(retrainings.c.at, retrainings.c.outcome, alerts.c.job_id)
        .join(alerts, alerts.c.id == retrainings.c.alert_id)
        .where(retrainings.c.model == model, retrainings.c.environment == environment)
    )
    past = []
    for row in context.tx.execute(query).all():
        # A worker that died often enough leaves a failed job and no outcome.
        active = row.outcome is None and context.stores.queue.get(context.tx, row.job_id).state in ("waiting", "working")
        past.append(Past(at=row.at, active=active))
    return past


def list_windows(request: ListWindows, context: Context) -> tuple[WindowReport, ...]:
    """Return window reports, newest first."""
    query = (
        select(windows.c.report)
        .where(windows.c.model == request.model, windows.c.environment == request.environment)
        .order_by(windows.c.start.desc(), windows.c.end.desc())
        .limit(request.limit)
    )
    return tuple(codec.convert(found, WindowReport, "The stored report") for found in context.tx.execute(query).scalars())


def list_alerts(request: ListAlerts, context: Context) -> tuple[Alert, ...]:
    """Return alerts, newest first."""
    query = select(alerts).order_by(alerts.c.id.desc()).limit(request.limit)
    if request.model is not None:
        query = query.where(alerts.c.model == request.model)
    if request.open_only:
        query = query.where(alerts.c.acknowledged.is_(None))
    return tuple(_alert(row) for row in context.tx.execute(query))


def acknowledge_alert(request: AcknowledgeAlert, context: Context) -> Alert:
    """Say that a person saw an alert; the first to say so stays.

    Raises:
        NotFound: there is no such alert.
        InvalidInput: the id is too short, or several alerts begin with it.
    """
    if len(request.id) < 6:
        raise InvalidInput(f"{request.id!r} is too short for an alert's id.", "Give at least 6 digits.")
    rows = context.tx.execute(select(alerts).where(alerts.c.id.startswith(request.id, autoescape=True)).limit(2)).all()
    if not rows:
        raise NotFound(f"There is no alert {request.id!r}.", "List alerts with: plimsoll alerts list")
    if len(rows) > 1:
        raise InvalidInput(f"Several alerts begin with {request.id!r}.", "Give more digits of the id.")
    alert = _alert(rows[0])
    if alert.acknowledged is not None:
        return alert
    context.tx.execute(update(alerts).where(alerts.c.id == alert.id).values(acknowledged=context.actor.name))
    return replace(alert, acknowledged=context.actor.name)


def set_retrain_policy(request: SetRetrainPolicy, context: Context) -> RetrainPolicy:
    """Set when a deployment's findings may start a retraining; it may be set before the first release."""
    where = (retrain_policies.c.model == request.model, retrain_policies.c.environment == request.environment)
    policy = codec.plain(request.policy)
    if context.tx.execute(update(retrain_policies).where(*where).values(policy=policy)).rowcount == 0:
        context.tx.execute(retrain_policies.insert().values(model=request.model, environment=request.environment, policy=policy))
    return request.policy


def record_retraining(request: RecordRetraining, context: Context) -> Retraining:
    """Note how a retraining ended.

    Raises:
        NotFound: the alert started none.
    """
    query = select(retrainings).where(retrainings.c.alert_id == request.alert_id)
    row = context.tx.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"The alert {request.alert_id!r} started no retraining.", "List alerts with: plimsoll alerts list")
    found = codec.convert(dict(row._mapping), Retraining, "The stored retraining")
    if found.outcome is not None:
        return found
    values = {"release_id": request.release_id, "outcome": request.outcome}
    context.tx.execute(update(retrainings).where(retrainings.c.alert_id == request.alert_id).values(**values))
    return replace(found, release_id=request.release_id, outcome=request.outcome)
