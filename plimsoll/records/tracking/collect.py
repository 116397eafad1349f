"""What was deleted long ago is removed for good, and bytes that nothing names any more are freed."""

from __future__ import annotations

from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Binned:
    """Something that was deleted."""

    #: What it is.
    kind: Literal["experiment", "run", "logged model"]
    #: Its id.
    id: str
    #: Its name.
    name: str
    #: Why it stays all the same; empty when it goes.
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectReport:
    """What was removed and freed, or would be."""

    #: Experiments that were removed.
    experiments: int
    #: Runs that were removed.
    runs: int
    #: Logged models that were removed.
    models: int
    #: The first thousand of those, and of what was to be removed and stays.
    binned: tuple[Binned, ...]
    #: Blobs that were freed.
    blobs: int
    #: Bytes of those.
    freed: int
    #: Whether nothing was changed.
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect(Request[CollectReport]):
    """Remove for good what was deleted long ago, and free the bytes that nothing names any more."""

    #: Remove what was deleted so many seconds ago; None takes the setting ``keep_deleted``.
    older_than: float | None = None
    #: Only tell what would go.
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.older_than is not None and not 0 <= self.older_than < 2**40:
            raise InvalidInput(f"The age {self.older_than} makes no sense.", "Use a number of seconds that is not negative.")
