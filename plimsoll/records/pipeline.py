"""Steps, their keys, and what the cache holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from plimsoll.records.request import Json, Request, check_digest, check_name
from plimsoll.records.run import Cause, Run

#: ``hit``: an earlier output was used; ``ran``: it was computed; ``skipped``: a step before it failed.
StepState = Literal["hit", "ran", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPart:
    """One thing that a step's key depends on, so that a miss can be explained."""

    #: ``code``, ``param``, ``input``, ``project`` or ``environment``.
    kind: str
    #: Qualified name: a function, a parameter, a package.
    name: str
    #: Digest of the thing.
    digest: str
    #: A short text of it (a value, a version), for people; empty when there is none.
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a step gave, by content."""

    #: Digest of its manifest.
    digest: str
    #: ``table``, ``tree``, ``value`` or ``model``.
    kind: str
    #: Bytes of all files.
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """Key -> output, with what the key was made of."""

    #: Digest over all parts.
    key: str
    #: Name of the call, as in ``StepRecord.name``.
    step: str
    #: What it gave.
    output: Output
    #: What the key was made of, sorted by (kind, name).
    parts: tuple[KeyPart, ...]
    #: The run that computed it.
    run_id: str
    #: UTC microseconds.
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEntry(Request[CacheEntry]):
    """Remember a step's output, for a run of one's own that is under way. The first entry of a key stays; its bytes must be stored."""

    #: Digest over all parts.
    key: str
    #: Name of the call, as in ``StepRecord.name``.
    step: str
    #: What it gave.
    output: Output
    #: What the key was made of.
    parts: tuple[KeyPart, ...]
    #: The run that computed it.
    run_id: str

    def __post_init__(self) -> None:
        check_digest("Key", self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetEntry(Request[CacheEntry]):
    """Return the entry of a key; a miss is ``NotFound``."""

    #: Digest over all parts.
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLatestEntry(Request[CacheEntry]):
    """Return the newest entry of a step, to explain a miss; none is ``NotFound``."""

    #: Name of the call, as in ``StepRecord.name``.
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropEntry(Request[None]):
    """Forget an entry, because its bytes are damaged or the user wants it computed again."""

    #: Digest over all parts.
    key: str
    #: Why, for the audit log.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One call of a step within a run."""

    #: The run's id.
    run_id: str
    #: Position in the plan, from 0.
    index: int
    #: Qualified name of the function, with ``#2`` and so on from the second call.
    name: str
    #: How it went.
    state: StepState
    #: Its key; None when the step cannot be cached or was skipped.
    key: str | None
    #: Why it ran, or could not be reused, in one line; empty for a hit.
    why: str
    #: UTC microseconds.
    started: int
    #: UTC microseconds.
    ended: int
    #: What it gave, or None when it failed.
    output: Output | None
    #: The exception's text when it failed.
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordStep(Request[StepRecord]):
    """Record a step of a run of one's own that is under way; recording the same index again replaces it."""

    #: The step.
    step: StepRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSteps(Request[tuple[StepRecord, ...]]):
    """Return a run's steps in the order of the plan."""

    #: The run's id.
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPipeline(Request[Run]):
    """Run a pipeline of the workspace's own project on the worker."""

    #: Path inside the project and name, such as ``examples/flights/pipeline.py:late_arrivals``.
    pipeline: str
    #: Parameters that differ from the defaults.
    params: dict[str, Json] = field(default_factory=dict)
    #: The experiment; empty takes the pipeline's name.
    experiment: str = ""
    #: Why it runs.
    cause: Cause = Cause()
    #: Makes the run idempotent.
    key: str | None = None

    def __post_init__(self) -> None:
        if self.experiment:
            check_name("Experiment", self.experiment)
