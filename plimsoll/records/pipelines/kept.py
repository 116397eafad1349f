"""What the cache holds, whether it is whole, and what of it may go."""

from __future__ import annotations

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.pipeline import CacheEntry
from plimsoll.records.request import Request, check_limit


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryUse:
    """An entry, and how often it saved computing."""

    #: The entry.
    entry: CacheEntry
    #: Steps of runs that reused it.
    hits: int
    #: When it was computed or last reused, UTC microseconds.
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheContents:
    """What the cache holds of a step, a pipeline or a run."""

    #: The entries that were asked for, last used first.
    entries: tuple[EntryUse, ...]
    #: How many there are in all.
    count: int
    #: Bytes of all of their outputs, each counted once.
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEntries(Request[CacheContents]):
    """Return what the cache holds, last used first."""

    #: A step's short or qualified name, a pipeline as ``path.py:name`` or its name, or a run's id; empty for all.
    of: str = ""
    #: At most so many entries, up to 1,000.
    limit: int = 100

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedEntry:
    """An entry whose bytes are not what its digest says."""

    #: The entry's key.
    key: str
    #: Name of the step.
    step: str
    #: The run that computed it.
    run_id: str
    #: What is wrong, in a few words.
    wrong: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheReport:
    """What reading all of the cache found."""

    #: Entries that were read.
    entries: int
    #: Bytes that were read.
    size: int
    #: Entries whose bytes are damaged.
    damaged: tuple[DamagedEntry, ...]
    #: Whether the damaged ones were dropped, so that they are computed again.
    repaired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyCache(Request[CacheReport]):
    """Read the bytes of every entry and compare them with their digests."""

    #: Drop what is damaged: it is computed again when it is needed.
    repair: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What was dropped from the cache, or would be."""

    #: Entries that were dropped.
    dropped: int
    #: Entries that stay.
    kept: int
    #: Bytes that were freed; of a dry run, those of the outputs that nothing else would name.
    freed: int
    #: Whether nothing was changed.
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneCache(Request[PruneReport]):
    """Drop entries, and the bytes that only they named."""

    #: Drop what was not used for so many seconds; None for any age.
    older_than: float | None = None
    #: Keep the so many last used entries of each step, however old.
    keep_last: int = 0
    #: Drop what was not used for longest until the outputs have at most so many bytes, also of those that ``keep_last`` keeps.
    max_size: int | None = None
    #: Only tell what would be dropped.
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.older_than is None and not self.keep_last and self.max_size is None:
            raise InvalidInput(
                "Nothing says what the cache may lose.",
                "Give an age, a number to keep, or a size: --older-than 30d, --keep-last 3, --max-size 10GB.",
            )
        for what, value in (("age", self.older_than), ("number to keep", self.keep_last), ("size", self.max_size)):
            if value is not None and not 0 <= value < 2**62:
                raise InvalidInput(f"The {what} {value} makes no sense.", "Use a number that is not negative.")
