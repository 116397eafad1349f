"""Experiments: named groups of runs."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Request, check_experiment, check_key

#: The experiment that every home has, with its id: what MLflow's clients log to when nothing else is said.
DEFAULT_EXPERIMENT = "Default"
DEFAULT_EXPERIMENT_ID = "0"

_ID = re.compile(r"\d{1,64}", re.ASCII)

#: A tag's value has at most so many characters, and so many when it is an experiment's, as MLflow has it.
LONGEST_TAG = 8000
LONGEST_EXPERIMENT_TAG = 20_000


def check_tags(tags: dict[str, str], longest: int = LONGEST_TAG) -> None:
    """Refuse tags that could not be found again.

    Args:
        tags: values by name.
        longest: characters of a value at most.

    Raises:
        InvalidInput: a name is not valid, or a value is too long.
    """
    for name, value in tags.items():
        check_key("Tag", name)
        if len(value) > longest:
            raise InvalidInput(
                f"The value of the tag {name!r} has {len(value):,} characters; {longest:,} are allowed.",
                "Keep long text as an artifact of the run.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A named group of runs."""

    #: Decimal digits.
    id: str
    #: Unique, also among deleted ones.
    name: str
    #: Tags by name.
    tags: dict[str, str]
    #: UTC microseconds.
    created: int
    #: UTC microseconds of the last change of name, tags or deletion.
    updated: int
    #: UTC microseconds, or None while it is in use.
    deleted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateExperiment(Request[Experiment]):
    """Make an experiment; a name that is taken, also by a deleted one, is ``Conflict``."""

    #: 1 to 500 characters.
    name: str
    #: Tags by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: The id that it had elsewhere, up to 64 decimal digits; one that is taken is ``Conflict``. Empty gives a new one.
    id: str = ""
    #: When it was begun elsewhere, in UTC microseconds; None is now.
    created: int | None = None

    def __post_init__(self) -> None:
        check_experiment(self.name)
        check_tags(self.tags, LONGEST_EXPERIMENT_TAG)
        if self.id and not _ID.fullmatch(self.id):
            raise InvalidInput(f"{self.id[:80]!r} is no id of an experiment.", "Use up to 64 decimal digits, or none for a new one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GetExperiment(Request[Experiment]):
    """Return an experiment by its id or, without one, by its name, deleted or not."""

    #: The id; empty asks by name.
    id: str = ""
    #: The name.
    name: str = DEFAULT_EXPERIMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class ListExperiments(Request[tuple[Experiment, ...]]):
    """Return experiments, the one changed last first."""

    #: Also deleted ones.
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentPage:
    """Some of the experiments that a search found, in its order."""

    #: The experiments.
    experiments: tuple[Experiment, ...]
    #: Token of the next page, or None when this is the last.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchExperiments(Request[ExperimentPage]):
    """Return a page of the experiments that a filter lets through."""

    #: The filter, such as ``name LIKE 'late%' and tags.team = 'x'``; empty lets all through.
    where: str = ""
    #: What orders them, such as ``name ASC``; without any the one changed last comes first. Ties go by id, the newest first.
    order: tuple[str, ...] = ()
    #: Which are seen.
    view: Literal["active", "deleted", "all"] = "active"
    #: At most so many, up to 50,000.
    limit: int = 100
    #: Token of the page before.
    page: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 50_000:
            raise InvalidInput(f"The limit {self.limit} is out of range.", "Ask for 1 to 50,000 experiments.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenameExperiment(Request[Experiment]):
    """Give an experiment another name; a name that is taken is ``Conflict``."""

    #: The experiment's id.
    id: str
    #: 1 to 500 characters.
    name: str

    def __post_init__(self) -> None:
        check_experiment(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteExperiment(Request[Experiment]):
    """Put an experiment with all its runs out of sight. They can be restored until they are collected."""

    #: The experiment's id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreExperiment(Request[Experiment]):
    """Take a deletion back, with the runs that went with it."""

    #: The experiment's id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagExperiment(Request[Experiment]):
    """Add, replace and remove tags of an experiment."""

    #: The experiment's id.
    id: str
    #: To add or replace, by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: Names to remove; one that is not there is ``NotFound``.
    remove: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_tags(self.tags, LONGEST_EXPERIMENT_TAG)
