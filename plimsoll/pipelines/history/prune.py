"""Drops entries of the cache, and the bytes that only they named.

What a step gave and logged lives as long as an entry names it, unless something else does: a snapshot, a version, a grant, an artifact that
was logged under a name of its own, a step of a run that is under way, or any other row. A run's list of its steps does not hold
their outputs; it still tells their digests. Bytes that somebody has stored within the last hour stay in any case.

An entry and its bytes go in one transaction, for which writers wait. Killed in the middle, the entries are still there, some
of them without their bytes; such an entry is no hit, and the next pruning ends what was begun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, select

from plimsoll import clock, codec
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Corrupt, InvalidInput, NotFound
from plimsoll.pipelines.history.kept import entries
from plimsoll.pipelines.history.past import short
from plimsoll.records.pipeline import CacheEntry
from plimsoll.records.pipelines.kept import EntryUse, PruneCache, PruneReport
from plimsoll.runs.collection.named import SILENT, Named, digests
from plimsoll.runs.collection.turns import turn
from plimsoll.runs.step_log import read_log
from plimsoll.store.contracts import HomeBlobs, JobContext, chunks
from plimsoll.store.schema import cache_entries, steps
from plimsoll.store.tables.tracking import artifacts, runs

#: Seconds for which stored bytes stay, whoever stored them: what names them may not be recorded yet.
GRACE = 3600.0

#: Entries that are dropped in one transaction.
_BATCH = 200

#: Tables whose digests hold nothing here: the cache's own and what is told of the past.
_SILENT = SILENT | {"cache_entries", "steps", "artifacts"}


def prune_cache(request: PruneCache, context: JobContext) -> PruneReport:
    """Drop entries that are too old, too many or too large, and the bytes that only they named."""
    stores = context.stores
    with stores.database.read() as tx:
        found = entries(tx)
    goes = _chosen(request, found, clock.now())
    stays = len(found) - len(goes)
    held = _Held(stores.blobs)
    if request.dry_run:
        with stores.database.read() as tx:
            held.read(tx, {use.entry.key for use in goes})
        return PruneReport(dropped=len(goes), kept=stays, freed=sum(held.sizes(goes)), dry_run=True)
    freed = 0
    gone: set[str] = set()
    for batch in chunks(goes, _BATCH):
        context.progress(f"{len(gone)} of {len(goes)} entries dropped")
        keys = {use.entry.key for use in batch}
        with turn(stores.database) as tx:
            tx.execute(delete(cache_entries).where(cache_entries.c.key.in_(keys)))
            held.read(tx, keys)
            for use in batch:
                # What names others last: without it nobody would know of them.
                freed += sum(stores.blobs.collect(digest, GRACE) for digest in held.free(use.entry))
            stores.events.append(tx, context.actor.name, "PruneCache", f"cache:{len(keys)} entries", codec.plain(request))
        gone |= keys
    return PruneReport(dropped=len(goes), kept=stays, freed=freed, dry_run=False)


def _chosen(request: PruneCache, found: Sequence[EntryUse], now: int) -> list[EntryUse]:
    """Return the entries that go; ``found`` has the last used first."""
    seen: Counter[str] = Counter()
    goes: list[EntryUse] = []
    stays: list[EntryUse] = []
    for use in found:
        seen[use.entry.step] += 1
        old = request.older_than is None or now - use.used > request.older_than * 1e6
        # A size alone drops nothing that fits.
        asked = request.older_than is not None or request.keep_last > 0
        (goes if asked and old and seen[use.entry.step] > request.keep_last else stays).append(use)
    if request.max_size is not None:
        total, counted = 0, set()
        for count, use in enumerate(stays):
            output = use.entry.output
            total += 0 if output.digest in counted else output.size
            counted.add(output.digest)
            if total > request.max_size:
                return goes + stays[count:]
    return goes


class _Held:
    """Knows which bytes something else than a dropped entry names.

    Args:
        blobs: where manifests are.
    """

    def __init__(self, blobs: HomeBlobs) -> None:
        self._blobs = blobs
        self._inside = Named(blobs)
        #: Manifest -> its files, each read once.
        self._files: dict[str, tuple[str, ...]] = {}
        #: Log -> the artifacts in it.
        self._kept: dict[str, tuple[str, ...]] = {}
        self._digests: set[str] = set()

    def read(self, tx: Connection, dropped: set[str]) -> None:
        """Look at what every row names now, the entries ``dropped`` left out."""
        named = {*_named(tx), *self._entries(tx, dropped), *self._logged(tx)}
        self._digests = set(named)
        for digest in named:
            self._digests.update(self._inside.inside(digest))

    def files(self, digest: str) -> tuple[str, ...]:
        """Return the files of a manifest; what is none, or is gone, has none."""
        if digest not in self._files:
            try:
                self._files[digest] = tuple(entry.digest for entry in get_manifest(self._blobs, digest).files)
            except (NotFound, Corrupt, InvalidInput):
                self._files[digest] = ()
        return self._files[digest]

    def _entries(self, tx: Connection, dropped: set[str]) -> Iterable[str]:
        for row in tx.execute(select(cache_entries.c.key, cache_entries.c.output, cache_entries.c.logged)):
            if row.key not in dropped:
                yield from self._roots(row.output["digest"], row.logged)

    def _roots(self, output: str, logged: str | None) -> Iterable[str]:
        """Yield what an entry names: the artifacts that its step logged, its log and its output."""
        if logged is not None:
            if logged not in self._kept:
                try:
                    self._kept[logged] = read_log(self._blobs.get(logged)).kept
                except (NotFound, Corrupt):
                    self._kept[logged] = ()
            yield from (*self._kept[logged], logged)
        yield output

    def _logged(self, tx: Connection) -> Iterable[str]:
        """Yield the artifacts that a run has logged under names of their own; a run also lists what each step gave under its name."""
        given: dict[tuple[str, str], str] = {}
        for row in tx.execute(select(steps.c.run_id, steps.c.name, steps.c.output)):
            if row.output:
                given[row.run_id, short(row.name).replace("#", ".")] = row.output["digest"]
        for row in tx.execute(select(artifacts.c.owner, artifacts.c.name, artifacts.c.digest)):
            # One of several outputs is listed as ``step.output``, and is a file of what stands for all of them.
            several = given.get((row.owner, row.name.rpartition(".")[0]), "")
            if given.get((row.owner, row.name)) != row.digest and not (several and row.digest in self.files(several)):
                yield row.digest

    def free(self, entry: CacheEntry) -> list[str]:
        """Return the bytes of an entry that nothing names, each manifest behind its files, and the log behind its artifacts."""
        roots = [root for root in self._roots(entry.output.digest, entry.logged) if root not in self._digests]
        found = dict.fromkeys(digest for root in roots for digest in (*self.files(root), root))
        return [digest for digest in found if digest not in self._digests]

    def sizes(self, goes: Iterable[EntryUse]) -> Iterable[int]:
        """Yield the bytes of each blob that nothing but these entries names."""
        for digest in {digest for use in goes for digest in self.free(use.entry)}:
            try:
                yield self._blobs.size(digest)
            except NotFound:
                continue


def _named(tx: Connection) -> Iterable[str]:
    """Yield every digest that a row names, but for those of entries and of runs' lists of steps that have ended."""
    under_way = select(steps.c.output).join(runs, runs.c.id == steps.c.run_id).where(runs.c.state == "running")
    yield from (output["digest"] for output in tx.execute(under_way).scalars() if output)
    yield from digests(tx, _SILENT)
