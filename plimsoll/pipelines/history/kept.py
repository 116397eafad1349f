"""What the cache holds, and whether its bytes are what their digests say."""

from __future__ import annotations

import difflib
import itertools
import operator
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sqlalchemy import Connection, func, select

from plimsoll import codec
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Corrupt, InvalidInput, NotFound
from plimsoll.pipelines.history.past import printed, short
from plimsoll.records.pipeline import CacheEntry, DropEntry, Output
from plimsoll.records.pipelines.kept import CacheContents, CacheReport, DamagedEntry, EntryUse, ListEntries, VerifyCache
from plimsoll.records.run import CodeVersion
from plimsoll.runs.step_log import read_log
from plimsoll.store.contracts import Blobs, Context, JobContext
from plimsoll.store.schema import cache_entries, steps
from plimsoll.store.tables.tracking import runs

#: Bytes above which a file is verified on disk and not in memory.
_LARGE = 64 << 20


def list_entries(request: ListEntries, context: Context) -> CacheContents:
    """Return what the cache holds, last used first.

    Raises:
        NotFound: nothing has the name; the message names what is near.
    """
    found = entries(context.tx)
    if request.of:
        wanted = _wanted(request.of, found, context.tx)
        found = [use for use in found if wanted(use.entry)]
    return CacheContents(entries=tuple(found[: request.limit]), count=len(found), size=size_of(use.entry.output for use in found))


def entries(tx: Connection) -> list[EntryUse]:
    """Return every entry with its use, last used first.

    Args:
        tx: an open transaction.
    """
    reused = select(steps.c.key, func.count(), func.max(steps.c.ended)).where(steps.c.state == "hit").group_by(steps.c.key)
    hits = {key: (count, last) for key, count, last in tx.execute(reused)}
    found = []
    for row in tx.execute(select(cache_entries)):
        entry = codec.convert(dict(row._mapping), CacheEntry, "The stored cache entry")
        count, last = hits.get(entry.key, (0, 0))
        found.append(EntryUse(entry=entry, hits=count, used=max(entry.created, last)))
    return sorted(found, key=lambda use: (-use.used, use.entry.key))


def size_of(outputs: Iterable[Output]) -> int:
    """Return the bytes of outputs, each counted once.

    Args:
        outputs: what entries hold.
    """
    return sum({output.digest: output.size for output in outputs}.values())


def _wanted(of: str, found: Sequence[EntryUse], tx: Connection) -> Callable[[CacheEntry], bool]:
    """Return which entries a name means: those of a step, of a pipeline's runs, or of a run."""
    keys: set[str | None] = _printed(of, tx) if "#" in of else set()
    if any(use.entry.key in keys for use in found):
        return lambda entry: entry.key in keys
    names = {use.entry.step for use in found}
    # A name without the number of an item, or of the call, stands for all of them.
    for end in ("", "[", "#"):
        bare = {name: name.partition(end)[0] if end else name for name in names}
        steps_meant = {name for name in names if of in (bare[name], short(bare[name]))}
        if steps_meant:
            return lambda entry: entry.step in steps_meant
    made = {
        row.id: codec.convert(row.code, CodeVersion, "The stored run").entry or "" for row in tx.execute(select(runs.c.id, runs.c.code))
    }
    meant = [id for id, entry in made.items() if of in (entry, entry.rpartition(":")[2])]
    meant = meant or ([id for id in made if id.startswith(of)] if len(of) >= 6 else [])
    if not meant:
        known = {short(name) for name in names} | {entry for entry in made.values() if entry}
        near = difflib.get_close_matches(of, known, n=3)
        remedy = f"Did you mean: {', '.join(near)}?" if near else "See all of it with: plimsoll cache show"
        raise NotFound(f"The cache knows no step, pipeline or run {of!r}.", remedy)
    made_by: set[str | None] = set()
    for id in meant:
        made_by.update(tx.execute(select(steps.c.key).where(steps.c.run_id == id)).scalars())
    return lambda entry: entry.key in made_by


def _printed(of: str, tx: Connection) -> set[str | None]:
    """Return the keys of the steps for which some run has printed a name; of a list's, those of all its items.

    Which call the number means only the run's other calls tell: steps of two modules may have one name.
    """
    alike = steps.c.name.contains(of.partition("#")[0], autoescape=True)
    rows = tx.execute(select(steps.c.run_id, steps.c.name, steps.c.key).where(alike).order_by(steps.c.run_id, steps.c.index))
    keys: set[str | None] = set()
    for _, of_run in itertools.groupby(rows, operator.attrgetter("run_id")):
        calls = list(of_run)
        labels = printed(call.name for call in calls)
        keys.update(call.key for call in calls if of in (labels[call.name], labels[call.name].partition("[")[0]))
    return keys


def verify_cache(request: VerifyCache, context: JobContext) -> CacheReport:
    """Read the bytes of every entry and compare them with their digests; with ``repair``, drop what is damaged.

    Raises:
        StorageFull: there is no room to read a large file.
    """
    with context.stores.database.read() as tx:
        found = entries(tx)
    blobs, looked = context.stores.blobs, _Looked(context.stores.blobs)
    damaged = []
    for number, use in enumerate(found):
        context.progress(f"{number} of {len(found)} entries read")
        bad = looked.bad(use.entry)
        if not bad:
            continue
        entry = use.entry
        damaged.append(DamagedEntry(key=entry.key, step=entry.step, run_id=entry.run_id, wrong="; ".join(bad.values())))
        if request.repair:
            # The bytes first: a blob that is there would not be written again.
            for digest in bad:
                blobs.delete(digest)
            context.do(DropEntry(key=entry.key, reason=f"Its bytes are damaged: {damaged[-1].wrong}."))
    return CacheReport(entries=len(found), size=looked.size, damaged=tuple(damaged), repaired=request.repair)


class _Looked:
    """Reads blobs, each once."""

    def __init__(self, blobs: Blobs) -> None:
        self.size = 0
        self._blobs = blobs
        #: Digest -> what is wrong, empty when nothing is.
        self._known: dict[str, str] = {}

    def bad(self, entry: CacheEntry) -> dict[str, str]:
        """Return digest -> what is wrong, for each blob of an entry that is damaged: of its output, and of what it logged."""
        return self._output(entry.output.digest) | ({} if entry.logged is None else self._log(entry.logged))

    def _log(self, digest: str) -> dict[str, str]:
        wrong = self._look(digest, "its log", None)
        if wrong:
            return {digest: wrong}
        try:
            kept = read_log(self._blobs.get(digest)).kept
        except (NotFound, Corrupt):
            return {digest: "its log is damaged"}
        return {bad: f"an artifact that it logged: {wrong}" for each in kept for bad, wrong in self._output(each).items()}

    def _output(self, digest: str) -> dict[str, str]:
        wrong = self._look(digest, "its manifest", None)
        if wrong:
            return {digest: wrong}
        try:
            manifest = get_manifest(self._blobs, digest)
        except InvalidInput:
            return {digest: "its manifest is none"}
        except (NotFound, Corrupt):
            return {digest: "its manifest is damaged"}
        found = {entry.digest: self._look(entry.digest, entry.path, entry.size) for entry in manifest.files}
        return {digest: wrong for digest, wrong in found.items() if wrong}

    def _look(self, digest: str, what: str, size: int | None) -> str:
        if digest not in self._known:
            self._known[digest] = self._read(digest, size)
        return f"{what} {self._known[digest]}" if self._known[digest] else ""

    def _read(self, digest: str, size: int | None) -> str:
        try:
            has = self._blobs.size(digest)
            if size is not None and has != size:
                return f"has {has} bytes instead of {size}"
            if has > _LARGE:
                with tempfile.TemporaryDirectory(prefix="plimsoll-verify-") as folder:
                    self._blobs.get_file(digest, Path(folder) / "blob")
            else:
                self._blobs.get(digest)
        except NotFound:
            return "is missing"
        except Corrupt:
            return "holds other bytes"
        self.size += has
        return ""
