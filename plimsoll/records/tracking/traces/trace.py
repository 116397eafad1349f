"""Request traces: what happened while a program answered one request, as MLflow's clients and OpenTelemetry tell it.

Not what a step read while it ran, which is a part of its key.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Request
from plimsoll.records.run import Artifact, check_artifact
from plimsoll.records.tracking.experiment import check_tags
from plimsoll.records.tracking.traces.assessment import Assessment

#: How the request ended, or that it has not yet.
TraceState = Literal["ok", "error", "running", "unknown"]

_ID = re.compile(r"[\w-]{1,64}")
_LONGEST_PREVIEW = 10_000


def check_trace_id(id: str) -> None:
    """Refuse what cannot be a trace's id.

    Args:
        id: as its client made it.

    Raises:
        InvalidInput: it is empty, too long, or has other characters.
    """
    if not _ID.fullmatch(id):
        raise InvalidInput(f"{id[:80]!r} is no id of a trace.", "Use 1 to 64 letters, digits, _ and -.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTrace:
    """One request through a program; its spans are a file of it, or come one by one."""

    #: As its client made it, such as ``tr-`` and 32 hex digits.
    id: str
    #: Id of the experiment that it belongs to.
    experiment_id: str
    #: How it ended.
    state: TraceState
    #: UTC microseconds of its beginning.
    started: int
    #: Microseconds, or None while it goes on.
    duration: int | None
    #: The beginning of what was asked.
    request: str = ""
    #: The beginning of what was answered.
    response: str = ""
    #: What its client calls the request; may be empty.
    client_id: str = ""
    #: Tags by name; they may change.
    tags: dict[str, str] = field(default_factory=dict)
    #: What the client noted, by name, such as ``mlflow.sourceRun``.
    metadata: dict[str, str] = field(default_factory=dict)
    #: What is thought of it, the oldest first.
    assessments: tuple[Assessment, ...] = ()
    #: How many of its spans came one by one; told, never taken. 0 where they are a file.
    spans: int = 0

    def __post_init__(self) -> None:
        check_trace_id(self.id)
        if max(len(self.request), len(self.response)) > _LONGEST_PREVIEW:
            raise InvalidInput("A preview is too long.", f"Send at most {_LONGEST_PREVIEW:,} characters; the spans hold the rest.")
        check_tags(self.tags)
        check_tags(self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTrace(Request[RequestTrace]):
    """Keep a trace. The same id again replaces what it was, but never in another experiment: ``Conflict``. Assessments are added."""

    #: The trace.
    trace: RequestTrace


@dataclass(frozen=True, slots=True, kw_only=True)
class GetTrace(Request[RequestTrace]):
    """Return a trace by its id."""

    #: The id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TagTrace(Request[RequestTrace]):
    """Add, replace and remove tags of a trace."""

    #: The trace's id.
    id: str
    #: To add or replace, by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: Names to remove; one that is not there is ``NotFound``.
    remove: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_tags(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTraces(Request[None]):
    """Say that traces belong to a run besides the one that made them: a search by the run finds them.

    A trace need not be there yet: its client may send it later.
    """

    #: The run's id.
    run_id: str
    #: Ids of the traces.
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        for id in self.ids:
            check_trace_id(id)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTraces(Request[int]):
    """Forget traces of an experiment for good and return how many: those that are named, or the oldest up to a time."""

    #: Id of the experiment.
    experiment_id: str
    #: Ids of the traces; empty goes by time.
    ids: tuple[str, ...] = ()
    #: UTC microseconds; later ones stay.
    until: int | None = None
    #: At most so many, the oldest first; None is all.
    limit: int | None = None

    def __post_init__(self) -> None:
        if bool(self.ids) == (self.until is not None):
            raise InvalidInput("Traces are forgotten by id or by time.", "Give exactly one of ids and until.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTraceFiles(Request[tuple[Artifact, ...]]):
    """Return the files of a trace, by name."""

    #: The trace's id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepTraceFile(Request[Artifact]):
    """Attach stored bytes to a trace; the same name replaces."""

    #: The trace's id.
    id: str
    #: Path among its files, with ``/``.
    name: str
    #: Digest of the bytes.
    digest: str
    #: Bytes.
    size: int

    def __post_init__(self) -> None:
        check_artifact(self.name, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePage:
    """Some of the traces that a search found, in its order."""

    #: The traces.
    traces: tuple[RequestTrace, ...]
    #: Token of the next page, or None when this is the last.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTraces(Request[TracePage]):
    """Return a page of the traces that a filter lets through."""

    #: Ids of experiments.
    experiments: tuple[str, ...]
    #: The filter, such as ``status = 'OK' and tags.team = 'x' and execution_time_ms > 100``; empty lets all through.
    where: str = ""
    #: What orders them, such as ``timestamp_ms ASC``; without any the newest comes first. Ties go by id.
    order: tuple[str, ...] = ()
    #: At most so many, up to 500.
    limit: int = 100
    #: Token of the page before.
    page: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 500:
            raise InvalidInput(f"The limit {self.limit} is out of range.", "Ask for 1 to 500 traces.")
