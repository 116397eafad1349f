"""``plimsoll triggers``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from plimsoll.cli.asked import parameters
from plimsoll.cli.output import Format, Id, next_step, say, show_list, when
from plimsoll.cli.session import door
from plimsoll.data.project import pipeline_ref
from plimsoll.errors import InvalidInput
from plimsoll.records.monitor import FindingKind
from plimsoll.records.pipelines.trigger import (
    CatchUp,
    FireTrigger,
    Firing,
    ListFirings,
    ListTriggers,
    RemoveTrigger,
    SetTrigger,
    TriggerKind,
    TriggerRule,
)

app = App(name="triggers")

Several = Annotated[list[str] | None, Parameter(negative=())]


@app.command(name="list")
def list_(*, form: Format = Format()) -> None:
    """List triggers.

    Args:
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListTriggers())
    rows = [
        {
            "name": trigger.name,
            "on": trigger.rule.on if trigger.rule.enabled else f"{trigger.rule.on} (off)",
            "of": _subject(trigger.rule),
            "pipeline": trigger.rule.pipeline,
            "next": when(trigger.next),
            "running": trigger.active,
            "held": trigger.held,
            "declared": trigger.declared,
        }
        for trigger in found
    ]
    show_list(rows, form, "There are no triggers. Declare one: [tool.plimsoll.triggers.NAME]")


@app.command(name="set")
def set_(
    name: str,
    *,
    on: TriggerKind,
    pipeline: str,
    param: Several = None,
    variation: Several = None,
    profile: str = "",
    experiment: str = "",
    off: Annotated[bool, Parameter(negative=())] = False,
    cron: str = "",
    zone: str = "UTC",
    catch_up: CatchUp = "latest",
    catch_up_limit: int = 10,
    dataset: str = "",
    branch: str = "",
    model: str = "",
    environment: str = "",
    finding: Annotated[list[FindingKind] | None, Parameter(negative=())] = None,
    concurrency: int = 1,
    when_busy: Literal["queue", "skip"] = "queue",
) -> None:
    """Set a trigger, whole: what is not given has its default. One that the project's table declares is set from there by init and up.

    Args:
        name: its name.
        on: what fires it.
        pipeline: ``path.py:name``.
        param: a parameter as ``name=value``, where the value is JSON or text, perhaps with words such as ``{date}``; may be given often.
        variation: name of a declared variation; may be given several times.
        profile: name of a declared profile.
        experiment: groups runs; the pipeline's name unless given.
        off: it never fires by itself.
        cron: of a schedule: five fields.
        zone: of a schedule: time zone of ``cron``.
        catch_up: of a schedule: which of the times run that passed while no worker looked.
        catch_up_limit: of a schedule: with ``all``, at most so many.
        dataset: of a snapshot trigger: the dataset.
        branch: of a git trigger: only this branch.
        model: of an alert trigger: only alerts of this model.
        environment: of an alert trigger: only alerts of this environment.
        finding: of an alert trigger: only findings of this kind; may be given several times.
        concurrency: its runs at the same time.
        when_busy: what happens above that.
    """
    of: dict[str, Any] = {"cron": cron, "zone": zone, "catch_up": catch_up, "catch_up_limit": catch_up_limit, "dataset": dataset}
    of |= {"branch": branch, "model": model, "environment": environment, "findings": tuple(finding or ())}
    of |= {"params": parameters(param or ()), "variations": tuple(variation or ()), "profile": profile, "experiment": experiment}
    of |= {"concurrency": concurrency, "when_busy": when_busy}
    rule = TriggerRule(on=on, pipeline=pipeline_ref(pipeline), enabled=not off, **of)
    with door() as opened:
        trigger = opened.do(SetTrigger(name=name, rule=rule))
    say(f"{name} is set." + (f" It comes next at {when(trigger.next)} UTC." if trigger.next else ""))
    next_step(f"plimsoll triggers fire {name}")


@app.command
def fire(name: str, *, set: Several = None, value: Several = None, key: str = "", form: Format = Format()) -> None:
    """Fire a trigger now, whatever its kind; the worker runs the pipeline.

    Args:
        name: the trigger's name.
        set: a parameter as ``name=value`` that goes before the trigger's own; may be given several times.
        value: what a word in braces stands for, as ``word=text``; may be given several times.
        key: what makes two calls the same; the same key again fires nothing.
        form: how to print.
    """
    values = {}
    for pair in value or ():
        word, sign, text = pair.partition("=")
        if not sign:
            raise InvalidInput(f"{pair!r} is no value.", "Write --value word=text")
        values[word] = text
    with door() as opened:
        found = opened.do(FireTrigger(name=name, key=key, params=parameters(set or ()), values=values))
    show_list([_row(firing) for firing in found], form, "")
    if not form.json and found[0].job_id:
        next_step(f"plimsoll jobs show {found[0].job_id}")


@app.command
def history(trigger: str | None = None, *, limit: int = 20, form: Format = Format()) -> None:
    """List what fired, newest first.

    Args:
        trigger: only of this one.
        limit: at most so many.
        form: how to print.
    """
    with door() as opened:
        found = opened.do(ListFirings(trigger=trigger, limit=limit))
    show_list([_row(firing) for firing in found], form, "No trigger has fired yet.")


@app.command
def remove(name: str) -> None:
    """Remove a trigger; its history stays.

    Args:
        name: the trigger's name.
    """
    with door() as opened:
        trigger = opened.do(RemoveTrigger(name=name))
    say(f"{name} is removed." + (" The project's table declares it: init and up set it again." if trigger.declared else ""))


def _subject(rule: TriggerRule) -> str:
    if rule.on == "schedule":
        return f"{rule.cron} {rule.zone}"
    if rule.on == "alert":
        return " ".join(filter(None, (rule.model, rule.environment, *rule.findings))) or "any"
    return rule.dataset or rule.branch or ("any" if rule.on == "git" else "-")


def _row(firing: Firing) -> dict[str, object]:
    return {
        "id": firing.id,
        "trigger": firing.trigger,
        "at": when(firing.at),
        "because of": firing.key,
        "variation": firing.variation or None,
        "state": firing.state,
        "job": f"{firing.job_id[:16]} {firing.job_state}" if firing.job_id else None,
        "run": firing.run_id and Id(firing.run_id),
        "reason": firing.reason,
    }
