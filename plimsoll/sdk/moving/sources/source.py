"""What something to move in from must be able to tell, in our words: states, microseconds, names without MLflow's own tags.

Three kinds fulfil it: a folder of files, a database file and a server. None of them is ever written to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from plimsoll.errors import InvalidInput
from plimsoll.records.mlflow.words import LOGGED_NUMBERS, LOGGED_STATUS, NAME_TAG, STAGES, STATES, STATUS_NUMBERS, USER_TAG
from plimsoll.records.model import Stage
from plimsoll.records.run import ModelUse, RunState, check_step
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.records.tracking.logged_model import LoggedModelState, ModelMetric

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceExperiment:
    """A named group of runs."""

    #: Decimal digits.
    id: str
    #: Its name.
    name: str
    #: Tags by name.
    tags: dict[str, str]
    #: UTC microseconds, or None where nobody knows.
    created: int | None
    #: Whether it is out of sight.
    deleted: bool


class Point(NamedTuple):
    """One value of a metric."""

    #: Position on the metric's axis.
    step: int
    #: UTC microseconds.
    time: int
    #: Any double.
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRun:
    """One run without its histories and files."""

    #: 32 hex digits.
    id: str
    #: A name for people; may be empty.
    name: str
    #: Where it stands.
    state: RunState
    #: UTC microseconds; None where it is not known.
    started: int | None
    #: UTC microseconds, or None.
    ended: int | None
    #: Whether it is out of sight.
    deleted: bool
    #: Parameters by name.
    params: dict[str, str]
    #: Tags by name, the user among them.
    tags: dict[str, str]
    #: The last point of each metric: the highest by (step, time, value).
    metrics: dict[str, Point]
    #: Data that it says it read.
    datasets: tuple[DatasetUse, ...] = ()
    #: Logged models that it read or made.
    models: tuple[ModelUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLogged:
    """A logged model without its files."""

    #: ``m-`` and 32 hex digits.
    id: str
    #: A name for people.
    name: str
    #: What kind of model it is; may be empty.
    kind: str
    #: The run that made it; empty for none.
    run_id: str
    #: Where it stands.
    state: LoggedModelState
    #: UTC microseconds.
    created: int | None
    #: Parameters by name.
    params: dict[str, str]
    #: Tags by name.
    tags: dict[str, str]
    #: What was measured of it.
    metrics: tuple[ModelMetric, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVersion:
    """A version of a registered model, without its files."""

    #: From 1.
    number: int
    #: For people.
    description: str
    #: A label for people.
    stage: Stage
    #: Where its client said that the files are.
    source: str
    #: Where the source says that they are; empty where it does not say.
    stored: str
    #: The run that made it; empty for none.
    run_id: str
    #: The logged model that it was made of; empty for none.
    model_id: str
    #: UTC microseconds.
    created: int | None
    #: Tags by name.
    tags: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """A registered model."""

    #: Its name.
    name: str
    #: For people.
    description: str
    #: UTC microseconds.
    created: int | None
    #: Tags by name.
    tags: dict[str, str]
    #: Number of the version that each alias points to.
    aliases: dict[str, int]
    #: By number, the lowest first.
    versions: tuple[SourceVersion, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a run or a logged model."""

    #: Path among its owner's files, as the source says it; nothing is promised about it.
    path: str
    #: Bytes; None where the source does not say.
    size: int | None
    #: Why it cannot be read; empty when it can.
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """What keeps files: a run or a logged model."""

    #: Id of either.
    id: str
    #: Id of its experiment at the source.
    experiment_id: str

    @property
    def logged(self) -> bool:
        """Whether it is a logged model."""
        return self.id.startswith("m-")


class Source(Protocol):
    """Something to move in from. Nothing of it is kept in memory but one run, one page, one model at a time."""

    #: Where it is, for people; without anything somebody could log in with.
    address: str

    def experiments(self) -> Iterator[SourceExperiment]:
        """Yield every experiment, also those that are deleted."""
        ...

    def runs(self, experiment_id: str) -> Iterator[SourceRun]:
        """Yield the runs of an experiment, also those that are deleted, in an order that stays."""
        ...

    def points(self, run_id: str, name: str) -> Iterator[Point]:
        """Yield a metric's history: points of one step in order of (time, value), and the same order every time."""
        ...

    def files(self, owner: Owner) -> Iterator[SourceFile]:
        """Yield every file that a run or a logged model keeps."""
        ...

    def fetch(self, owner: Owner, path: str, folder: Path) -> Path:
        """Return a file's content as a file: the source's own, or one made in ``folder``."""
        ...

    def logged_models(self, experiment_id: str) -> Iterator[SourceLogged]:
        """Yield the logged models of an experiment that are not deleted."""
        ...

    def models(self) -> Iterator[SourceModel]:
        """Yield every registered model with its versions."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...


@dataclass(slots=True)
class Left:
    """What was not moved in."""

    #: Such as ``artifact`` or ``version``.
    kind: str
    #: What it is called, with what it belongs to.
    name: str
    #: Why.
    reason: str


@dataclass(slots=True)
class Notes:
    """What a source could not tell, beside what it tells."""

    #: In the order in which it was found.
    left: list[Left] = field(default_factory=list)

    def leave(self, kind: str, name: str, reason: str) -> None:
        """Note what is not moved in.

        Args:
            kind: such as ``artifact``.
            name: what it is called.
            reason: why.
        """
        self.left.append(Left(kind, name, reason))

    def leave_once(self, kind: str, name: str, reason: str) -> None:
        """Note what is not moved in, unless the same was noted before.

        Args:
            kind: such as ``artifacts``.
            name: what it is called.
            reason: why.
        """
        if Left(kind, name, reason) not in self.left:
            self.leave(kind, name, reason)

    def read(self, kind: str, name: str, make: Callable[[], T]) -> T | None:
        """Return what ``make`` gives; None, noted, when what it reads has another form than it should have.

        Args:
            kind: what it is, such as ``run``.
            name: what it is called.
            make: reads one thing; raises what Python raises for values of the wrong form.
        """
        try:
            return make()
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            self.leave(kind, name, f"It cannot be read: {' '.join(str(error).split())[:300]}")
            return None


def kept(point: Point) -> Point:
    """Return a point that fits what keeps it.

    Args:
        point: any point.

    Raises:
        InvalidInput: its step, or its time in microseconds, does not fit 64 bits.
    """
    check_step(point.step)
    if not -(2**63) <= point.time < 2**63:
        raise InvalidInput(f"The time {point.time // 1000} ms does not fit 64 bits of microseconds.", "Give times in milliseconds.")
    return point


def micros(milliseconds: Any) -> int | None:
    """Return UTC microseconds, or None for a time that is not known.

    Args:
        milliseconds: UTC milliseconds as a number or as digits, or None.
    """
    return None if milliseconds is None or milliseconds == "" else int(milliseconds) * 1000


def dataset_of(told: Mapping[str, Any], prefix: str) -> Dataset:
    """Return a dataset.

    Args:
        told: its fields, ``name`` and ``digest`` among them.
        prefix: what stands before the names of the others.
    """
    texts = {name: str(told.get(f"{prefix}{name}") or "") for name in ("source_type", "source")}
    kept = {name: None if told.get(f"{prefix}{name}") is None else str(told[f"{prefix}{name}"]) for name in ("schema", "profile")}
    return Dataset(name=str(told.get("name") or ""), digest=str(told.get("digest") or ""), **texts, **kept)  # type: ignore[arg-type]


def run_state(status: Any) -> RunState:
    """Return our state for MLflow's status; what nobody knows is running.

    Args:
        status: its name, its number, or None.
    """
    name = STATUS_NUMBERS.get(status, "RUNNING") if isinstance(status, int) else str(status or "RUNNING")
    return STATES.get(name, "running")


def stage_named(stage: Any) -> Stage:
    """Return our stage for MLflow's; what nobody knows is none.

    Args:
        stage: such as ``Production``, or None.
    """
    found: Stage | None = next((ours for ours, theirs in STAGES.items() if theirs.lower() == str(stage).lower()), None)
    return found or "none"


def logged_state(status: Any) -> LoggedModelState:
    """Return our state for MLflow's status of a logged model; what nobody knows is pending.

    Args:
        status: its name with or without ``LOGGED_MODEL_``, or its number.
    """
    for state, name in LOGGED_STATUS.items():
        if status in (name, name.removeprefix("LOGGED_MODEL_"), LOGGED_NUMBERS[state], str(LOGGED_NUMBERS[state])):
            return state
    return "pending"


def named_run(name: Any, user: Any, tags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return a run's name, and its tags as the door of MLflow's clients would have kept them.

    Args:
        name: as its row says, or None.
        user: as its row says, or None.
        tags: all of its tags.
    """
    kept = dict(tags)
    tagged = kept.pop(NAME_TAG, "")
    if user:
        kept.setdefault(USER_TAG, str(user))
    return str(name or tagged or ""), kept
