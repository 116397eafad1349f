"""Whether every byte is what its digest says, whether what is named is there, and what is there that nothing names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from blake3 import blake3
from sqlalchemy import Connection, select

from plimsoll import clock, codec
from plimsoll.cli.keeping.finding import FROM_BACKUP, Finding, shortened
from plimsoll.cli.nouns.cache import size_text
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Corrupt, InvalidInput, NotFound
from plimsoll.pipelines.history.past import short
from plimsoll.records.run import CodeVersion
from plimsoll.runs.collection.named import Named
from plimsoll.runs.outputs.files import FILE
from plimsoll.runs.step_log import read_log
from plimsoll.store.contracts import HomeBlobs, StoredBlob
from plimsoll.store.schema import cache_entries, releases, segments, steps, versions
from plimsoll.store.tables.tracking import artifacts, runs, snapshots
from plimsoll.workspace import Workspace

#: Blobs, and bytes, that a quick look reads.
_SOME, _BYTES = 500, 256 << 20


class Holder(NamedTuple):
    """A row that must find its bytes."""

    #: What it is, in the plural.
    kind: str
    #: Its own name.
    name: str
    #: What it names.
    digest: str
    #: How that is stored: ``blob``, ``tree`` or ``log``.
    form: str


def kept_findings(workspace: Workspace, quick: bool) -> Iterator[Finding]:
    """Yield what is to be said of the bytes of a home.

    Args:
        workspace: an opened home.
        quick: whether only some of them are read.
    """
    with workspace.stores.blobs.kept():
        # What is collected meanwhile would look like a loss.
        yield from _looked(workspace, quick)


def _looked(workspace: Workspace, quick: bool) -> Iterator[Finding]:
    blobs = workspace.stores.blobs
    stored = {blob.digest: blob for blob in blobs.stored()}
    chosen = _chosen(list(stored.values())) if quick else list(stored.values())
    damaged = {blob.digest for blob in chosen if not _sound(blobs, blob.digest)}
    yield _bytes(list(stored.values()), chosen, damaged)
    look = _Look(blobs, stored, damaged, deep=not quick)
    with workspace.stores.database.read() as tx:
        yield from _held(tx, look)
        if not quick:
            named = Named(blobs, workspace.home / "journal").all(tx)
            loose = [blob.size for digest, blob in stored.items() if digest not in named]
            found = f"{len(loose)} blobs, {size_text(sum(loose))}"
            yield Finding("unnamed bytes", True, found, "Those older than a day go with: plimsoll collect" if loose else "")


def _chosen(stored: list[StoredBlob]) -> list[StoredBlob]:
    found, size = [], 0
    for blob in clock.generator(clock.now()).sample(stored, min(_SOME, len(stored))):
        if size + blob.size <= _BYTES:
            found.append(blob)
            size += blob.size
    return found


def _sound(blobs: HomeBlobs, digest: str) -> bool:
    seen = blake3()
    try:
        for block in blobs.blocks(digest):
            seen.update(block)
    except NotFound:
        return True  # dropped this moment, as damaged
    return seen.hexdigest() == digest


def _bytes(stored: list[StoredBlob], chosen: list[StoredBlob], damaged: set[str]) -> Finding:
    size = size_text(sum(blob.size for blob in stored))
    part = f"{len(chosen)} of {len(stored)} blobs read, {size} in all" if len(chosen) < len(stored) else f"{len(stored)} blobs, {size}"
    if not damaged:
        return Finding("blobs", True, f"{part}, all digests fit")
    told = ", ".join(sorted(damaged)[:3]) + (" …" if len(damaged) > 3 else "")
    return Finding("blobs", False, f"{part}; {len(damaged)} do not hold the bytes of their names: {told}", FROM_BACKUP)


class _Look:
    """Says what is wrong with the bytes that a row names.

    Args:
        blobs: where they are.
        stored: what is there.
        damaged: what is known to hold other bytes.
        deep: whether the files of every tree are looked for.
    """

    def __init__(self, blobs: HomeBlobs, stored: dict[str, StoredBlob], damaged: set[str], *, deep: bool) -> None:
        self._blobs, self._stored, self._damaged, self._deep = blobs, stored, damaged, deep
        self._trees: dict[str, str] = {}

    def wrong(self, holder: Holder) -> str:
        """Return what is wrong in a few words; empty when nothing is."""
        if fault := self._fault(holder.digest):
            return f"{holder.digest} {fault}"
        if holder.form == "blob" or not (self._deep or holder.kind in ("models", "datasets")):
            return ""
        if holder.form == "tree":
            return self._tree(holder.digest)
        try:
            kept = read_log(self._blobs.get(holder.digest)).kept
        except (Corrupt, NotFound):
            return f"the log {holder.digest} cannot be read"
        return next((fault for digest in kept if (fault := self._tree(digest))), "")

    def _fault(self, digest: str) -> str:
        if digest in self._damaged:
            return "holds other bytes"
        if digest not in self._stored:
            try:
                self._blobs.size(digest)  # it may have come since the look around
            except NotFound:
                return "is missing"
        return ""

    def _tree(self, digest: str) -> str:
        if digest not in self._trees:
            self._trees[digest] = self._files(digest)
        return self._trees[digest]

    def _files(self, digest: str) -> str:
        if fault := self._fault(digest):
            return f"{digest} {fault}"
        try:
            files = get_manifest(self._blobs, digest).files
        except (Corrupt, InvalidInput, NotFound):
            return f"the manifest {digest} cannot be read"
        for entry in files:
            if fault := self._fault(entry.digest):
                return f"{entry.path}: {entry.digest} {fault}"
            if entry.digest in self._stored and self._stored[entry.digest].size != entry.size:
                return f"{entry.path}: {entry.digest} has {self._stored[entry.digest].size} bytes instead of {entry.size}"
        return ""


def _held(tx: Connection, look: _Look) -> Iterator[Finding]:
    count: Counter[str] = Counter()
    wrong: dict[str, list[Finding]] = defaultdict(list)
    for holder in _holders(tx):
        count[holder.kind] += 1
        if fault := look.wrong(holder):
            fix = "plimsoll cache verify --repair" if holder.kind == "cache" else FROM_BACKUP
            wrong[holder.kind].append(Finding(holder.name, False, fault, fix))
    for kind, total in count.items():
        yield from shortened(wrong[kind], kind)
        if not wrong[kind]:
            yield Finding(kind, True, f"{total} looked at, their bytes are there")


def _holders(tx: Connection) -> Iterator[Holder]:
    """Yield the rows that must find their bytes. A run's list of what its steps gave need not: the cache was pruned."""
    for model, number, digest in tx.execute(select(versions.c.model, versions.c.number, versions.c.digest)):
        yield Holder("models", f"{model}/{number}", digest, "tree")
    for id, package in tx.execute(select(releases.c.id, releases.c.package)):
        yield Holder("releases", f"release {id}", package, "tree")
    for digest, name in tx.execute(select(snapshots.c.digest, snapshots.c.name)):
        yield Holder("datasets", f"dataset {name} {digest[:12]}", digest, "tree")
    for stream, digest in tx.execute(select(segments.c.stream, segments.c.digest).where(segments.c.digest.is_not(None))):
        yield Holder("logged rows", f"rows of {stream}", digest, "blob")
    for id, environment, code in tx.execute(select(runs.c.id, runs.c.environment, runs.c.code)):
        changes = codec.convert(code, CodeVersion, "The stored run").dirty_diff
        for what, digest in (("environment", environment), ("uncommitted changes", changes)):
            if digest:
                yield Holder("runs", f"{what} of run {id}", digest, "blob")
    yield from _artifacts(tx)
    for step, key, output, logged in tx.execute(
        select(cache_entries.c.step, cache_entries.c.key, cache_entries.c.output, cache_entries.c.logged)
    ):
        yield Holder("cache", f"result of {step} {key[:12]}", output["digest"], "tree")
        if logged is not None:
            yield Holder("cache", f"log of {step} {key[:12]}", logged, "log")


def _artifacts(tx: Connection) -> Iterator[Holder]:
    given = {}
    for run, step, output in tx.execute(select(steps.c.run_id, steps.c.name, steps.c.output)):
        if output:
            given[run, short(step).replace("#", ".")] = output["digest"]
    for owner, name, kind, digest in tx.execute(select(artifacts.c.owner, artifacts.c.name, artifacts.c.kind, artifacts.c.digest)):
        # One of several outputs is listed as ``step.output``.
        if given.get((owner, name)) != digest and (owner, name.rpartition(".")[0]) not in given:
            yield Holder("artifacts", f"artifact {name} of {owner}", digest, "blob" if kind == FILE else "tree")
