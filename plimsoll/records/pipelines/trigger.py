"""Why a pipeline starts by itself: triggers, and each time that one fired."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.access import JobState
from plimsoll.records.monitor import FindingKind
from plimsoll.records.pipelines.part import NO_PART, ExecutorName, PartAsked
from plimsoll.records.request import Json, Request, check_experiment, check_limit, check_name, check_slug

#: What fires a trigger. Every trigger can be fired by hand and over HTTP as well; a ``call`` is fired in no other way.
TriggerKind = Literal["schedule", "snapshot", "git", "alert", "call"]

#: What became of a firing: ``held`` waits for a free place, ``started`` has a job, ``taken`` is run by whoever asked, ``skipped``
#: runs nothing.
FiringState = Literal["held", "started", "taken", "skipped"]

#: What a schedule does about the times that passed while no worker looked.
CatchUp = Literal["latest", "all", "none"]

#: Words that texts in ``params`` may hold in braces, by the kind of trigger; ``date`` and ``time`` are those of the cause.
WORDS: dict[TriggerKind, tuple[str, ...]] = {
    "schedule": ("date", "time"),
    "snapshot": ("date", "time", "snapshot", "dataset"),
    "git": ("date", "time", "commit", "branch"),
    "alert": ("date", "time", "alert", "model", "environment", "finding", "subject"),
    "call": ("date", "time", "key"),
}

#: Fields that only one kind of trigger has.
_OWN: dict[str, TriggerKind] = {
    "cron": "schedule",
    "dataset": "snapshot",
    "branch": "git",
    "model": "alert",
    "environment": "alert",
    "findings": "alert",
}

_WORD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRule:
    """When a pipeline starts by itself, and with what."""

    #: What fires it.
    on: TriggerKind
    #: The pipeline, as ``path.py:name``.
    pipeline: str
    #: Its parameters. A word in braces becomes what the cause has: ``{date}``, ``{time}``; ``{snapshot}`` and ``{dataset}``;
    #: ``{commit}`` and ``{branch}``; ``{alert}``, ``{model}``, ``{environment}``, ``{finding}`` and ``{subject}``; ``{key}`` of a call.
    params: dict[str, Json] = field(default_factory=dict)
    #: Names of declared variations, each a run of its own; none for one run without.
    variations: tuple[str, ...] = ()
    #: Name of a declared profile; empty for none.
    profile: str = ""
    #: The runs' experiment; empty takes the pipeline's name.
    experiment: str = ""
    #: The part of the pipeline that is run, such as ``{ until = "features" }``; unless given, all of it.
    part: PartAsked = NO_PART
    #: Where steps run; unless given, what the settings say.
    executor: ExecutorName | None = None
    #: False fires never by itself.
    enabled: bool = True
    #: Of a schedule: minute, hour, day of the month, month, day of the week, as Debian's cron reads them.
    cron: str = ""
    #: Of a schedule: the time zone of ``cron``, such as ``Europe/Berlin``. A time that the clocks skip is made up for at once; one
    #: that comes twice counts once, unless minute or hour begins with a star.
    zone: str = "UTC"
    #: Of a schedule: of the times that passed while no worker looked, ``latest`` runs the last, ``all`` each, ``none`` none.
    catch_up: CatchUp = "latest"
    #: Of a schedule: with ``all``, at most so many of the latest times.
    catch_up_limit: int = 10
    #: Of a snapshot trigger: name of the dataset of which a new version is registered.
    dataset: str = ""
    #: Of a git trigger: only commits of this branch; empty for any.
    branch: str = ""
    #: Of an alert trigger: only alerts of this model; empty for any.
    model: str = ""
    #: Of an alert trigger: only alerts of this environment; empty for any.
    environment: str = ""
    #: Of an alert trigger: only findings of these kinds; none for any.
    findings: tuple[FindingKind, ...] = ()
    #: Its runs at the same time.
    concurrency: int = 1
    #: What happens above that: ``queue`` holds the firing until a place is free, ``skip`` runs nothing.
    when_busy: Literal["queue", "skip"] = "queue"

    def __post_init__(self) -> None:
        for name, kind in _OWN.items():
            if getattr(self, name) and self.on != kind:
                raise InvalidInput(f"A {self.on} trigger has no {name!r}.", f"Take it out, or write on = {kind!r}.")
        if self.on == "schedule":
            check_cron(self.cron, self.zone)
        if self.on == "snapshot":
            check_name("Dataset", self.dataset)
        if self.experiment:
            check_experiment(self.experiment)
        if not 1 <= self.concurrency <= 100:
            raise InvalidInput(f"A trigger cannot have {self.concurrency} runs at the same time.", "Use 1 to 100.")
        if not 1 <= self.catch_up_limit <= 1000:
            raise InvalidInput(f"A schedule cannot make up for {self.catch_up_limit} times.", "Use 1 to 1000.")
        for word in words(self.params):
            if word not in WORDS[self.on]:
                known = ", ".join(f"{{{name}}}" for name in WORDS[self.on])
                raise InvalidInput(f"The params of a {self.on} trigger have {{{word}}}, which it does not know.", f"Use {known}.")


def check_cron(cron: str, zone: str) -> None:
    """Refuse a schedule that cannot be read or never comes.

    Args:
        cron: five fields.
        zone: name of a time zone.

    Raises:
        InvalidInput: one of them is wrong; the message says which.
    """
    try:
        known = ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidInput(f"There is no time zone {zone!r}.", "Use a name such as UTC or Europe/Berlin.") from error
    example = "Use five fields, such as 30 6 * * MON-FRI for half past six on working days."
    if len(cron.split()) != 5:
        raise InvalidInput(f"The schedule {cron!r} has {len(cron.split())} fields.", example)
    try:
        next(CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC).astimezone(known)))
    except CronSimError as error:
        raise InvalidInput(f"The schedule {cron!r} cannot be read: {error}.", example) from error
    except StopIteration as error:
        raise InvalidInput(f"The schedule {cron!r} never comes.", example) from error


def words(params: Any) -> Iterator[str]:
    """Yield each word in braces of every text, also inside lists and tables.

    Args:
        params: JSON-able.
    """
    if isinstance(params, str):
        yield from _WORD.findall(params)
    elif isinstance(params, dict):
        for value in params.values():
            yield from words(value)
    elif isinstance(params, list | tuple):
        for value in params:
            yield from words(value)


def filled(params: Any, values: dict[str, str]) -> Any:
    """Return parameters with each word in braces replaced by its value, also inside lists and tables.

    Args:
        params: JSON-able.
        values: word -> text.

    Raises:
        InvalidInput: a word has no value.
    """
    if isinstance(params, str):
        for word in _WORD.findall(params):
            if word not in values:
                raise InvalidInput(f"Nothing says what {{{word}}} is.", f"Give it: --value {word}=…")
        return _WORD.sub(lambda match: values[match[1]], params)
    if isinstance(params, dict):
        return {name: filled(value, values) for name, value in params.items()}
    if isinstance(params, list | tuple):
        return [filled(value, values) for value in params]
    return params


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger as the home has it."""

    #: Its name.
    name: str
    #: What it says.
    rule: TriggerRule
    #: Whether the project's table declares it; then the table also takes it away.
    declared: bool
    #: Name of the actor who set it last.
    author: str
    #: UTC microseconds of its first setting.
    created: int
    #: Of a schedule: its next time, UTC microseconds; None when it is switched off or no schedule.
    next: int | None
    #: Firings whose job waits or is worked on.
    active: int
    #: Firings that wait for a free place.
    held: int
    #: Whether there is something for the worker to do now, as far as the database tells; of a commit it knows nothing.
    due: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One time that a trigger fired."""

    #: UUIDv7 in hex; its run has it as the id of its cause.
    id: str
    #: The trigger's name.
    trigger: str
    #: What it is because of: the same key never fires the same trigger twice.
    key: str
    #: Name of the variation; empty for none.
    variation: str
    #: What the cause had for the words of the parameters.
    values: dict[str, str]
    #: The run's parameters.
    params: dict[str, Json]
    #: UTC microseconds of the firing.
    at: int
    #: What became of it.
    state: FiringState
    #: Why it was held or skipped, or why its job failed, in one sentence; empty otherwise.
    reason: str
    #: Its job, once it has one.
    job_id: str | None
    #: Where the job stands.
    job_state: JobState | None
    #: Its run, once it has begun.
    run_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTrigger(Request[Trigger]):
    """Set a trigger. What it has fired for stays fired for; a new one begins with what happens from now on."""

    #: Its name.
    name: str
    #: What it says.
    rule: TriggerRule
    #: Whether the project's table declares it.
    declared: bool = False

    def __post_init__(self) -> None:
        check_slug("Trigger", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTriggers(Request[tuple[Trigger, ...]]):
    """Return every trigger, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveTrigger(Request[Trigger]):
    """Remove a trigger and return what it was; its history stays, and what it held is skipped."""

    #: Its name.
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FireTrigger(Request[tuple[Firing, ...]]):
    """Fire a trigger now, whatever its kind: one firing for each variation. The same key again gives the firings that are there."""

    #: The trigger's name.
    name: str
    #: What makes two calls the same; empty when every one counts.
    key: str = ""
    #: Parameters that go before the trigger's own.
    params: dict[str, Json] = field(default_factory=dict)
    #: What the words in braces stand for, where the trigger does not know: it knows ``date``, ``time`` and ``key``, and the newest
    #: snapshot of its dataset.
    values: dict[str, str] = field(default_factory=dict)
    #: True when the caller runs the pipeline itself; then no job is left.
    take: bool = False

    def __post_init__(self) -> None:
        if len(self.key) > 200:
            raise InvalidInput("The key of a firing has more than 200 characters.", "Use a digest of it.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFirings(Request[tuple[Firing, ...]]):
    """Return firings, newest first."""

    #: Only of this trigger.
    trigger: str | None = None
    #: At most so many.
    limit: int = 50

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class FireDue(Request[tuple[Firing, ...]]):
    """Fire whatever is due and start what was held, each with its job in one transaction; only the worker may."""

    #: The commit that the project is at; empty without a repository or when nobody has looked.
    commit: str = ""
    #: Its branch; empty when detached.
    branch: str = ""
