"""Triggers as verbs: set, list and remove them, fire them, and let them fire by themselves.

A firing, its job and how far the trigger has looked are one transaction. Killed before it, nothing happened and the next look
finds the same; killed after it, the job waits. A cause has a key, and a key fires once a trigger and variation.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, insert, literal, select, update

from plimsoll import clock, codec
from plimsoll.errors import NotFound
from plimsoll.pipelines.triggers.causes import LINES, Head, Occasion, Seen, look, moment, newest_line, newest_snapshot
from plimsoll.pipelines.triggers.schedule import next_time
from plimsoll.records.pipeline import RunPipeline
from plimsoll.records.pipelines.trigger import (
    FireDue,
    FireTrigger,
    Firing,
    FiringState,
    ListFirings,
    ListTriggers,
    RemoveTrigger,
    SetTrigger,
    Trigger,
    TriggerRule,
    filled,
)
from plimsoll.records.run import Cause
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.schema import firings, jobs, triggers
from plimsoll.store.tables.tracking import runs

#: Firings of one trigger that wait for a free place; above that they are skipped.
HELD = 100


def set_trigger(request: SetTrigger, context: Context) -> Trigger:
    """Set a trigger; setting it as it is changes nothing."""
    known = context.tx.execute(select(triggers).where(triggers.c.name == request.name)).first()
    values: dict[str, Any] = {"rule": codec.plain(request.rule), "declared": request.declared, "author": context.actor.name}
    if known is None or _rule(known) != request.rule:
        values["next"] = next_time(request.rule, clock.now()) if request.rule.on == "schedule" and request.rule.enabled else None
    if known is None or not _rule(known).enabled or _about(_rule(known)) != _about(request.rule):
        values |= {"position": newest_line(context.tx), "commit": None}
    if known is None:
        context.tx.execute(insert(triggers).values(name=request.name, created=clock.now(), **values))
    else:
        context.tx.execute(update(triggers).where(triggers.c.name == request.name).values(**values))
    return _state(context.tx, request.name)


def list_triggers(request: ListTriggers, context: Context) -> tuple[Trigger, ...]:
    """Return every trigger, by name."""
    active, held = _active(context.tx), _held(context.tx)
    rows = context.tx.execute(select(triggers).order_by(triggers.c.name)).all()
    return tuple(_trigger(context.tx, row, active.get(row.name, 0), held.get(row.name, 0)) for row in rows)


def remove_trigger(request: RemoveTrigger, context: Context) -> Trigger:
    """Remove a trigger and return what it was.

    Raises:
        NotFound: there is no such trigger.
    """
    found = _state(context.tx, request.name)
    held = and_(firings.c.trigger == request.name, firings.c.state == "held")
    context.tx.execute(update(firings).where(held).values(state="skipped", reason="The trigger was removed before a place was free."))
    context.tx.execute(triggers.delete().where(triggers.c.name == request.name))
    return found


def fire_trigger(request: FireTrigger, context: Context) -> tuple[Firing, ...]:
    """Fire a trigger now, whatever its kind, also one that is switched off.

    Raises:
        NotFound: there is no such trigger.
        InvalidInput: a word of its parameters has no value.
    """
    rule = _rule(_named(context.tx, request.name))
    values = {**moment(clock.now(), rule.zone), "key": request.key, "dataset": rule.dataset}
    snapshot = newest_snapshot(context.tx, rule.dataset) if rule.dataset else None
    values |= {"snapshot": snapshot} if snapshot else {}
    values = {name: value for name, value in values.items() if value} | request.values
    occasion = Occasion(key=f"call/{request.key or clock.new_id()}", values=values)
    ids = [
        _fire(context, request.name, rule, occasion, variation, dict(request.params), request.take)
        for variation in rule.variations or ("",)
    ]
    return _these(context.tx, ids)


def fire_due(request: FireDue, context: Context) -> tuple[Firing, ...]:
    """Fire whatever is due and start what was held; return the firings that this look has touched."""
    head = Head(commit=request.commit, branch=request.branch)
    ids: list[str] = []
    held = _held(context.tx)
    for row in context.tx.execute(select(triggers).order_by(triggers.c.name)).all():
        rule, seen = _rule(row), _seen(row)
        ids += _start_held(context, row.name, rule) if row.name in held else []
        occasions, now_seen = look(context.tx, row.name, rule, seen, head, clock.now())
        for occasion in occasions:
            ids += [_fire(context, row.name, rule, occasion, variation, {}) for variation in rule.variations or ("",)]
        if now_seen != seen:
            place = {"next": now_seen.next, "position": now_seen.position, "commit": now_seen.commit}
            context.tx.execute(update(triggers).where(triggers.c.name == row.name).values(**place))
    return _these(context.tx, ids)


def list_firings(request: ListFirings, context: Context) -> tuple[Firing, ...]:
    """Return firings, newest first."""
    query = _shown().order_by(firings.c.at.desc(), firings.c.id.desc()).limit(request.limit)
    if request.trigger is not None:
        query = query.where(firings.c.trigger == request.trigger)
    return tuple(_firing(row) for row in context.tx.execute(query))


def _about(rule: TriggerRule) -> tuple[str, ...]:
    """Return what a trigger looks at: with another one, it begins anew."""
    return rule.on, rule.dataset, rule.branch, rule.model, rule.environment, *rule.findings


def _fire(
    context: Context, name: str, rule: TriggerRule, occasion: Occasion, variation: str, params: dict[str, Any], take: bool = False
) -> str:
    """Record a firing, and leave its job where there is a place; return its id, or that of the firing that the cause had before."""
    same = and_(firings.c.trigger == name, firings.c.key == occasion.key, firings.c.variation == variation)
    known: str | None = context.tx.execute(select(firings.c.id).where(same)).scalar()
    if known is not None:
        return known
    id = clock.new_id()
    values = {"key": occasion.key, **occasion.values}
    request = RunPipeline(
        pipeline=rule.pipeline,
        params={**filled(rule.params, values), **params},
        variation=variation,
        profile=rule.profile,
        experiment=rule.experiment,
        part=rule.part,
        executor=rule.executor,
        cause=Cause(kind="trigger", id=id),
        key=f"firing/{id}",
    )
    state, reason = ("taken", "") if take else _decide(context.tx, name, rule, occasion)
    row = {
        "id": id,
        "trigger": name,
        "key": occasion.key,
        "variation": variation,
        "words": values,
        "request": codec.plain(request),
        "actor": context.actor.name,
        "at": clock.now(),
        "state": state,
        "reason": reason,
        "job_id": _job(context, request, context.actor.name) if state == "started" else None,
    }
    context.tx.execute(insert(firings).values(row))
    told = {field: row[field] for field in ("trigger", "key", "variation", "state", "reason", "job_id")}
    context.stores.events.append(context.tx, context.actor.name, "FireTrigger", f"firing:{id}", told)
    return id


def _decide(tx: Connection, name: str, rule: TriggerRule, occasion: Occasion) -> tuple[FiringState, str]:
    if occasion.reason:
        return "skipped", occasion.reason
    active, held = _active(tx).get(name, 0), _held(tx).get(name, 0)
    if active < rule.concurrency and not held:
        return "started", ""
    busy = f"{active} of {rule.concurrency} places are taken"
    if rule.when_busy == "skip":
        return "skipped", f"{busy}, and the trigger does not queue."
    if held >= HELD:
        return "skipped", f"{busy}, and {held} firings wait already."
    return "held", f"{busy}, and {held} firings wait before it." if held else f"{busy}."


def _start_held(context: Context, name: str, rule: TriggerRule) -> list[str]:
    free = rule.concurrency - _active(context.tx).get(name, 0) if rule.enabled else 0
    if free <= 0:
        return []
    query = select(firings).where(firings.c.trigger == name, firings.c.state == "held")
    started = []
    for row in context.tx.execute(query.order_by(firings.c.at, firings.c.id).limit(free)).all():
        request = codec.convert(row.request, RunPipeline, "The stored request")
        job_id = _job(context, request, row.actor)
        context.tx.execute(update(firings).where(firings.c.id == row.id).values(state="started", reason="", job_id=job_id))
        context.stores.events.append(context.tx, context.actor.name, "StartFiring", f"firing:{row.id}", {"job_id": job_id})
        started.append(row.id)
    return started


def _job(context: Context, request: RunPipeline, actor: str) -> str:
    return context.stores.queue.put(context.tx, request, actor=actor, key=request.key).id


def _active(tx: Connection) -> dict[str, int]:
    """Return trigger -> its firings whose job waits or is worked on; of all, since the jobs under way are few and a history is long."""
    query = select(firings.c.trigger, func.count()).join(jobs, jobs.c.id == firings.c.job_id)
    query = query.where(jobs.c.state.in_(("waiting", "working"))).group_by(firings.c.trigger)
    return {name: count for name, count in tx.execute(query)}


def _held(tx: Connection) -> dict[str, int]:
    """Return trigger -> its firings that wait for a place."""
    query = select(firings.c.trigger, func.count()).where(firings.c.state == "held").group_by(firings.c.trigger)
    return {name: count for name, count in tx.execute(query)}


def _named(tx: Connection, name: str) -> Row[Any]:
    row = tx.execute(select(triggers).where(triggers.c.name == name)).first()
    if row is None:
        raise NotFound(f"There is no trigger {name!r}.", "List triggers with: plimsoll triggers list")
    return row


def _rule(row: Row[Any]) -> TriggerRule:
    return codec.convert(row.rule, TriggerRule, f"The stored trigger {row.name}")


def _seen(row: Row[Any]) -> Seen:
    return Seen(next=row.next, position=row.position, commit=row.commit, since=row.created)


def _state(tx: Connection, name: str) -> Trigger:
    return _trigger(tx, _named(tx, name), _active(tx).get(name, 0), _held(tx).get(name, 0))


def _trigger(tx: Connection, row: Row[Any], active: int, held: int) -> Trigger:
    rule, seen = _rule(row), _seen(row)
    occasions, now_seen = look(tx, row.name, rule, seen, Head(), clock.now())
    # A place that is only further along in the log need not be kept at once.
    moved = now_seen.next != seen.next or now_seen.position - seen.position > LINES
    lost = rule.on == "git" and rule.enabled and seen.commit is None
    return Trigger(
        name=row.name,
        rule=rule,
        declared=row.declared,
        author=row.author,
        created=row.created,
        next=row.next,
        active=active,
        held=held,
        due=bool(occasions) or moved or lost or (rule.enabled and held > 0 and active < rule.concurrency),
    )


def _shown() -> Select[Any]:
    joined = firings.outerjoin(jobs, jobs.c.id == firings.c.job_id).outerjoin(runs, runs.c.key == literal("firing/") + firings.c.id)
    return select(firings, jobs.c.state.label("job_state"), jobs.c.error, runs.c.id.label("run_id")).select_from(joined)


def _these(tx: Connection, ids: list[str]) -> tuple[Firing, ...]:
    """Return firings in the order of their ids in a list, which a database does not keep."""
    found = {row.id: _firing(row) for part in chunks(ids, 500) for row in tx.execute(_shown().where(firings.c.id.in_(part)))}
    return tuple(found[id] for id in ids)


def _firing(row: Row[Any]) -> Firing:
    return Firing(
        id=row.id,
        trigger=row.trigger,
        key=row.key,
        variation=row.variation,
        values=row.words,
        params=row.request["params"],
        at=row.at,
        state=row.state,
        reason=row.reason or (row.error or {}).get("fact", ""),
        job_id=row.job_id,
        job_state=row.job_state,
        run_id=row.run_id,
    )
