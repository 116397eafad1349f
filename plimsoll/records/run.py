"""Runs and what they log."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Json, Request, check_digest, check_experiment, check_key, check_path, check_title
from plimsoll.records.tracking.dataset import DatasetUse
from plimsoll.records.tracking.experiment import DEFAULT_EXPERIMENT, check_tags
from plimsoll.records.tracking.machine import Machine

_RUN_ID = re.compile(r"[0-9a-f]{32}")

#: Characters of an artifact's name at most: what an index of each database holds.
LONGEST_ARTIFACT = 500

#: A run ends in one of the last four states. ``stopped`` was ended on purpose before it was done, by a person or a search.
#: ``lost`` says that nobody knows: its process ended without saying how, or has said nothing for a minute. One that is lost may
#: still end in another state, when what its process wrote down arrives.
RunState = Literal["running", "finished", "failed", "stopped", "lost"]
ENDS = ("finished", "failed", "stopped", "lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVersion:
    """Which code a run executed."""

    #: Git commit in hex, or None outside a repository.
    commit: str | None = None
    #: Git branch, or None when detached or outside a repository.
    branch: str | None = None
    #: Digest of the blob that holds ``git diff HEAD`` with untracked sources, or None when the tree was clean.
    dirty_diff: str | None = None
    #: What was started, such as ``examples/flights/pipeline.py:late_arrivals``.
    entry: str | None = None
    #: Address of the repository's remote, without what somebody could log in with; None where there is none.
    remote: str | None = None
    #: The program's arguments; values that look like secrets are ``***``.
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a run began by itself, or that a person began it."""

    #: ``person``, ``alert``, ``trigger`` or ``search``.
    kind: Literal["person", "alert", "trigger", "search"] = "person"
    #: Id of the alert, trigger or search; empty for a person.
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution with its parameters, code and environment."""

    #: UUIDv7 in hex.
    id: str
    #: Name of the experiment.
    experiment: str
    #: Id of the experiment.
    experiment_id: str
    #: A name for people; not unique.
    name: str
    #: Where it stands.
    state: RunState
    #: Parameters by name.
    params: dict[str, Json]
    #: Tags by name.
    tags: dict[str, str]
    #: Name of the actor who began it.
    author: str
    #: Why it began.
    cause: Cause
    #: Which code ran.
    code: CodeVersion
    #: Digest of the blob that lists Python and package versions; None when not captured.
    environment: str | None
    #: UTC microseconds.
    started: int
    #: UTC microseconds, or None while running.
    ended: int | None = None
    #: The exception's text when it failed, or why it was stopped.
    error: str | None = None
    #: UTC microseconds, or None while it is in use.
    deleted: int | None = None
    #: Where it executed; None when not captured.
    machine: Machine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun(Request[Run]):
    """Begin a run. Two starts with the same ``key``, or with the same ``id``, are one run."""

    #: The experiment is made when it does not exist.
    experiment: str = DEFAULT_EXPERIMENT
    #: Id of an existing experiment; it counts instead of the name.
    experiment_id: str | None = None
    #: A name for people; empty gives one made from the id.
    name: str = ""
    #: Parameters by name.
    params: dict[str, Json] = field(default_factory=dict)
    #: Tags by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: Why it begins.
    cause: Cause = Cause()
    #: Which code runs.
    code: CodeVersion = CodeVersion()
    #: Digest of the environment blob.
    environment: str | None = None
    #: Makes the start idempotent.
    key: str | None = None
    #: UTC microseconds; None is now.
    started: int | None = None
    #: The run's id, made by who begins it, so that it is known before the platform answers; None lets the platform make one.
    id: str | None = None
    #: Where it executes.
    machine: Machine | None = None
    #: What begins it sends ``BeatRun`` as long as it lives, so that its silence means that it died.
    beats: bool = False
    #: A run of this key that has ended goes on, with these params and tags added; without it, it is returned as it is. One that has
    #: ended after ``started`` stays ended, unless what begins it lives.
    resume: bool = False

    def __post_init__(self) -> None:
        check_experiment(self.experiment)
        if self.id is not None:
            check_run_id(self.id)
        if self.name:
            check_title("Run name", self.name)
        for name in self.params:
            check_key("Param", name)
        check_tags(self.tags)
        if self.environment is not None:
            check_digest("Environment", self.environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRun(Request[Run]):
    """Go on with a run that has ended or whose process died.

    A parameter is written once: the same value again changes nothing, another one is ``InvalidInput``.
    """

    #: The run's whole id.
    id: str
    #: Parameters by name, in addition.
    params: dict[str, Json] = field(default_factory=dict)
    #: Tags by name; they replace.
    tags: dict[str, str] = field(default_factory=dict)
    #: Whether what logs to it lives, and sends ``BeatRun``. Of a process that is dead, a run that has ended since does not go on.
    beats: bool = True
    #: UTC microseconds at which it went on; None is now.
    started: int | None = None

    def __post_init__(self) -> None:
        check_run_id(self.id)
        for name in self.params:
            check_key("Param", name)
        check_tags(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatRun(Request[None]):
    """Say that a run's process lives. One that has said so and is silent for a minute is shown as lost, until it speaks again."""

    #: The run's id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTags(Request[Run]):
    """Add or replace tags of a run."""

    #: The run's id.
    id: str
    #: Tags by name.
    tags: dict[str, str]

    def __post_init__(self) -> None:
        check_tags(self.tags)


def check_run_id(id: str) -> None:
    """Refuse what is no run's whole id.

    Args:
        id: 32 lower-case hex digits.

    Raises:
        InvalidInput: it is something else.
    """
    if not _RUN_ID.fullmatch(id):
        raise InvalidInput(f"{id[:80]!r} is not a run's id.", "A run's id has 32 hex digits; plimsoll runs show prints it whole.")


def check_artifact(name: str, digest: str) -> None:
    """Refuse an artifact that could not be found again, or whose name somebody could take for a place outside of the run.

    Args:
        name: name within the run.
        digest: content address.

    Raises:
        InvalidInput: the name or the digest is not valid.
    """
    check_artifact_name(name)
    check_digest("Artifact", digest)


def check_artifact_name(name: str) -> None:
    """Refuse a name that is no relative path within a run.

    Args:
        name: such as ``plots/calibration.png``.

    Raises:
        InvalidInput: it is empty, absolute, climbs, begins like a URL, or has a character that could be taken for something else.
    """
    check_path("artifact name", name)
    check_title("Artifact", name, LONGEST_ARTIFACT)


def check_step(step: int) -> None:
    """Refuse a step that no column holds.

    Args:
        step: position on a metric's axis.

    Raises:
        InvalidInput: it does not fit 64 bits.
    """
    if not -(2**63) <= step < 2**63:
        raise InvalidInput(f"The step {step} does not fit 64 bits.", "Use steps between -2**63 and 2**63 - 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PointColumns:
    """Metric points as columns of equal length."""

    #: Name of the series, for each point.
    names: tuple[str, ...]
    #: Step, for each point (64-bit signed).
    steps: tuple[int, ...]
    #: UTC microseconds, for each point.
    times: tuple[int, ...]
    #: Value, for each point; NaN, infinities and -0.0 are kept bit for bit.
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.steps) == len(self.times) == len(self.values):
            raise InvalidInput("The columns of points have different lengths.", "Send names, steps, times and values of one length.")
        for name in set(self.names):
            check_key("Metric", name)
        if self.steps:
            check_step(min(self.steps))
            check_step(max(self.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsReceipt:
    """What the store now holds of one writer."""

    #: Last sequence applied.
    sequence: int
    #: Points that this request added; 0 when it had been applied before.
    added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendPoints(Request[PointsReceipt]):
    """Append points to a run. A batch seen before (same writer, sequence not larger than the last) changes nothing."""

    #: The run's id.
    run_id: str
    #: Unique name of the writing process.
    writer: str
    #: Rises by one with each batch of the writer, from 1.
    sequence: int
    #: The points.
    points: PointColumns


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSummary:
    """One row that search and tables read instead of a history."""

    #: The metric's name.
    name: str
    #: Number of points.
    count: int
    #: Value at the highest (step, arrival).
    last: float
    #: Smallest value that is not NaN; NaN when there is none.
    min: float
    #: Largest value that is not NaN; NaN when there is none.
    max: float
    #: Highest step.
    last_step: int
    #: UTC microseconds of the last point.
    last_time: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The history of one metric in one run, in order of (step, arrival)."""

    #: The metric's name.
    name: str
    #: Steps.
    steps: tuple[int, ...]
    #: UTC microseconds.
    times: tuple[int, ...]
    #: Values.
    values: tuple[float, ...]
    #: Number of points in the asked range of steps; those of other pages and those left out for the width count.
    count: int
    #: True when points were left out to fit the asked width; each column's first, min, max and last stay.
    sampled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GetSeries(Request[Series]):
    """Return a metric's history: whole, the exact points of a range, a page of them, or thinned to a chart's width."""

    #: The run's id.
    run_id: str
    #: The metric's name.
    name: str
    #: Pixel columns of the chart, up to 100,000; None returns every point.
    width: int | None = None
    #: First and last step of the range; None is all of them.
    steps: tuple[int, int] | None = None
    #: Points of the range to pass over; not beside a width.
    first: int = 0
    #: Points to return at most; None for all that there are. Not beside a width.
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.width is not None and not 1 <= self.width <= 100_000:
            raise InvalidInput(
                f"The width {self.width} is out of range.", "Give the chart's width in pixels, 1 to 100000, or none for every point."
            )
        if self.first < 0 or (self.limit is not None and self.limit < 0):
            raise InvalidInput(f"The page from {self.first} of {self.limit} points does not exist.", "Use numbers from 0.")
        if self.width is not None and (self.first or self.limit is not None):
            raise InvalidInput("A chart has no pages.", "Ask for a width, or for a page of points.")
        for step in self.steps or ():
            check_step(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A named file, tree or value that a run kept."""

    #: Name within the run, such as ``plots/calibration.png``.
    name: str
    #: ``file``, ``tree``, ``table``, ``value`` or ``model``.
    kind: str
    #: Content address.
    digest: str
    #: Bytes.
    size: int

    def __post_init__(self) -> None:
        check_artifact(self.name, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRun(Request[Run]):
    """End a run, with what it gave last, all of it or none. Ending it again in the same state changes nothing.

    One that is lost can still be ended in the state that is true. One that was heard of after ``ended`` is not lost: another
    process goes on with it.
    """

    #: The run's id.
    id: str
    #: How it ended.
    state: Literal["finished", "failed", "stopped", "lost"] = "finished"
    #: The exception's text when it failed, or why it was stopped.
    error: str | None = None
    #: What it kept, as by ``LogArtifact``.
    artifacts: tuple[Artifact, ...] = ()
    #: Its last points.
    points: PointColumns | None = None
    #: UTC microseconds; None is now.
    ended: int | None = None

    def __post_init__(self) -> None:
        if self.state not in ENDS:
            raise InvalidInput(f"No run ends as {self.state!r}.", f"It ends as {', '.join(ENDS[:-1])} or {ENDS[-1]}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogArtifact(Request[Artifact]):
    """Attach stored bytes to a run under a name; the same name again replaces it."""

    #: The run's id.
    run_id: str
    #: Name within the run.
    name: str
    #: What it is.
    kind: str
    #: Content address; the blob must be there already.
    digest: str
    #: Bytes.
    size: int

    def __post_init__(self) -> None:
        check_artifact(self.name, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInput:
    """A snapshot that a run read."""

    #: Role of the data, such as ``training``.
    name: str
    #: The snapshot's digest.
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogInput(Request[RunInput]):
    """Record that a run read a snapshot."""

    #: The run's id.
    run_id: str
    #: Role of the data.
    name: str
    #: The snapshot's digest; it must be registered.
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """A logged model that a run read or made."""

    #: The logged model's id.
    model_id: str
    #: ``input`` was read, ``output`` was made.
    role: Literal["input", "output"]
    #: The step at which it was made, as the run counts; 0 for one that was read.
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """A run with everything it logged but its histories."""

    #: The run.
    run: Run
    #: One row a metric.
    metrics: tuple[SeriesSummary, ...]
    #: What it kept.
    artifacts: tuple[Artifact, ...]
    #: What it read.
    inputs: tuple[RunInput, ...]
    #: Which data it says it read.
    datasets: tuple[DatasetUse, ...] = ()
    #: Which logged models it read or made.
    models: tuple[ModelUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRun(Request[RunDetail]):
    """Return a run by id, or by the beginning of its id when only one run has it."""

    #: Id, or at least its first 6 digits.
    id: str
