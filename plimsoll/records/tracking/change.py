"""What changes a run besides its beginning and end."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from plimsoll.frozen import dataclass
from plimsoll.records.request import Json, Request, check_key, check_title
from plimsoll.records.run import PointColumns, Run
from plimsoll.records.tracking.dataset import DatasetUse
from plimsoll.records.tracking.experiment import check_tags


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRun(Request[Run]):
    """Rename a run, or move it to another state: an ended run that goes on is ``running`` again."""

    #: The run's id.
    id: str
    #: The new name; None leaves it.
    name: str | None = None
    #: The new state; None leaves it.
    state: Literal["running", "finished", "failed", "stopped", "lost"] | None = None
    #: UTC microseconds of its end, for a state that ends it; None is now.
    ended: int | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_title("Run name", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRun(Request[Run]):
    """Put a run out of sight. It can be restored until it is collected."""

    #: The run's id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRun(Request[Run]):
    """Take a deletion back."""

    #: The run's id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBatch(Request[None]):
    """Add points, parameters and tags to a run, all or none.

    A parameter is written once: the same value again changes nothing, another one is ``InvalidInput``.
    """

    #: The run's id.
    run_id: str
    #: The points. Sent twice, they are there once: a point that is there, with the same step, time and value, is left out.
    points: PointColumns | None = None
    #: Parameters by name.
    params: dict[str, Json] = field(default_factory=dict)
    #: Tags by name; they replace.
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.params:
            check_key("Param", name)
        check_tags(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveTags(Request[Run]):
    """Remove tags of a run; one that is not there is ``NotFound``."""

    #: The run's id.
    id: str
    #: Their names.
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveArtifacts(Request[None]):
    """Take artifacts from a run; names that are not there are left out. Their bytes stay until they are collected."""

    #: The run's id.
    run_id: str
    #: Their names.
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDatasets(Request[None]):
    """Record that a run read datasets; the same dataset again changes nothing but the tags of its use."""

    #: The run's id.
    run_id: str
    #: What it read.
    uses: tuple[DatasetUse, ...]
