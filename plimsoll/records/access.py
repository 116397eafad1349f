"""Who may do what, what was done, and what waits to be done."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from plimsoll.frozen import dataclass
from plimsoll.records.request import Json, Request, check_limit, check_slug

#: What an actor may do. ``admin`` includes every role but ``work``, which only the worker has, and ``serve``, which only the
#: serving plane has: verdicts and counters are not typed in.
Role = Literal["read", "write", "approve", "operate", "serve", "work", "admin"]

#: Where a job stands.
JobState = Literal["waiting", "working", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A person or a program with a name of its own."""

    #: Unique name, such as ``dana``.
    name: str
    #: What the actor may do.
    roles: tuple[Role, ...]
    #: False for the worker, the serving plane and other programs, which can never approve.
    person: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A new actor with the token that is shown once and never stored."""

    #: The actor that was added.
    actor: Actor
    #: Bearer token; keep it in a file that only the actor can read.
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddActor(Request[Invitation]):
    """Add a person or a program and return its token, or give a known one a new token and roles."""

    #: Unique name.
    name: str
    #: What the actor may do.
    roles: tuple[Role, ...] = ("read",)
    #: False for a program.
    person: bool = True

    def __post_init__(self) -> None:
        check_slug("Actor", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAmI(Request[Actor]):
    """Return the actor that the caller's token names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListActors(Request[tuple[Actor, ...]]):
    """Return every actor, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the audit log. ``digest`` covers every other field and the line before, so none can be changed alone."""

    #: Position in the chain, from 1.
    sequence: int
    #: UTC microseconds.
    at: int
    #: Name of the actor.
    actor: str
    #: Name of the verb, such as ``ApproveRelease``.
    verb: str
    #: What it was done to, such as ``release:0199…``.
    subject: str
    #: The request as JSON, without secrets.
    payload: Json
    #: Digest of the line before; 64 zeros for the first.
    previous: str
    #: BLAKE3 over the canonical JSON of the fields above.
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEvents(Request[tuple[Event, ...]]):
    """Return audit lines, newest first."""

    #: Only events on this subject (exact text).
    subject: str | None = None
    #: Only events with a smaller sequence than this; the last of a page gives the next page.
    before: int | None = None
    #: At most so many.
    limit: int = 100

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a walk over the audit chain found."""

    #: Lines that were read.
    events: int
    #: Sequence of the first line that does not fit, or None when all fit.
    broken_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyEvents(Request[Verification]):
    """Recompute the audit chain from its first line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request that waits in the queue, is being worked on, or has ended."""

    #: UUIDv7 in hex.
    id: str
    #: Name of the verb.
    verb: str
    #: The request as JSON.
    payload: Json
    #: Name of the actor for whom the worker acts.
    actor: str
    #: Where it stands.
    state: JobState
    #: Not before this time, UTC microseconds.
    due: int
    #: How often a worker has begun it.
    attempts: int
    #: UTC microseconds of its making.
    created: int
    #: What makes two requests the same; None when every one counts.
    key: str | None = None
    #: One line on how far it is.
    progress: str = ""
    #: The verb's result as JSON, once done.
    result: Json = None
    #: The error as :func:`plimsoll.errors.to_wire` gives it, once failed.
    error: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetJob(Request[Job]):
    """Return one job."""

    #: The job's id, or at least its first 6 digits.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListJobs(Request[tuple[Job, ...]]):
    """Return jobs, newest first."""

    #: Only jobs in this state.
    state: JobState | None = None
    #: At most so many.
    limit: int = 50

    def __post_init__(self) -> None:
        check_limit(self.limit)
