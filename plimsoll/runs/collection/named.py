"""Which bytes are named: by a row of the database, or by bytes that one names.

Digests are looked for as text, in every table but a few and in every blob that may be a manifest or a log. So a table or a document
of the future holds what it names without a word here; what looks like a digest and is none holds nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from sqlalchemy import Connection, Table, Text, func, or_, select, type_coerce

from plimsoll.errors import NotFound
from plimsoll.store.contracts import HomeBlobs
from plimsoll.store.schema import cache_entries, jobs
from plimsoll.store.tables.columns import Json, metadata

#: Tables whose digests hold nothing: what is told of the past, keys, and numbers.
SILENT = frozenset({"key_parts", "events", "jobs", "series", "point_chunks", "writers", "prediction_index", "traffic"})

#: Columns by which a row belongs to something that may be removed.
_OWNERS = ("id", "run_id", "owner", "model_id", "trace_id", "experiment_id")

#: Tables whose rows outlive what they mention: an entry lives until the cache is pruned, a version keeps its run.
_LASTING = frozenset({"cache_entries", "versions", "trials"})

_DIGEST = re.compile(r"[0-9a-f]{64}")
_BYTES = re.compile(rb"[0-9a-f]{64}")

_SIZE = 64


class Named:
    """Knows which bytes are named. It reads each manifest once, however often it is asked.

    Args:
        blobs: where manifests are.
        journals: folder of what runs have still to tell, such as those whose process was killed; what they name is stored already.
    """

    def __init__(self, blobs: HomeBlobs, journals: Path | None = None) -> None:
        self._blobs, self._journals = blobs, journals
        #: Digest -> the digests in it.
        self._inside: dict[str, tuple[str, ...]] = {}

    def all(self, tx: Connection, without: Collection[str] = ()) -> set[str]:
        """Return the digest of everything that is named, directly or by what is named.

        Args:
            tx: an open transaction.
            without: ids of runs, experiments, logged models and traces whose rows are taken for removed.
        """
        logs = set(tx.execute(select(cache_entries.c.logged).where(cache_entries.c.logged.is_not(None))).scalars())
        found = {*digests(tx, SILENT, without), *logs, *self._left()}
        waiting = list(found)
        while waiting:
            for digest in self.inside(waiting.pop(), log=logs):
                if digest not in found:
                    found.add(digest)
                    waiting.append(digest)
        return found

    def _left(self) -> Iterator[str]:
        for path in self._journals.glob("*.journal") if self._journals is not None else ():
            # One that is gone meanwhile was sent, and rows name what it named.
            with contextlib.suppress(FileNotFoundError):
                yield from (found.decode() for found in _BYTES.findall(path.read_bytes()))

    def inside(self, digest: str, log: Collection[str] = ()) -> tuple[str, ...]:
        """Return the digests that a blob names: of a manifest its files, also when it is damaged; of bytes that are gone none.

        Args:
            digest: 64 hex digits.
            log: digests of logs, which do not look like documents.
        """
        if digest not in self._inside:
            try:
                self._inside[digest] = tuple(dict.fromkeys(self._look(digest, digest in log)))
            except NotFound:
                return ()
        return self._inside[digest]

    def _look(self, digest: str, log: bool) -> Iterator[str]:
        before = b""
        for block in self._blobs.blocks(digest):
            if not before and not log and block.lstrip()[:1] != b"{":
                return
            text = before + block
            yield from (found.decode() for found in _BYTES.findall(text))
            before = text[1 - _SIZE :]


def digests(tx: Connection, silent: Collection[str], without: Collection[str] = ()) -> Iterator[str]:
    """Yield every digest that a row names, and what jobs that are still to be done name.

    Args:
        tx: an open transaction.
        silent: names of the tables to leave out.
        without: ids of what is taken for removed.
    """
    for table in metadata.sorted_tables:
        if table.name not in silent:
            yield from _of_table(tx, table, frozenset() if table.name in _LASTING else frozenset(without))
    waiting = select(type_coerce(jobs.c.payload, Text)).where(jobs.c.state.in_(("waiting", "working")))
    yield from _found(tx.execute(waiting).scalars())


def _of_table(tx: Connection, table: Table, without: frozenset[str]) -> Iterator[str]:
    texts = [type_coerce(column, Text) for column in table.columns if isinstance(column.type, Text | Json)]
    if not texts:
        return
    owners = [table.c[name] for name in _OWNERS if name in table.c] if without else []
    # The database leaves out what is too short, which is nearly all.
    rows = tx.execute(select(*owners, *texts).where(or_(*(func.length(text) >= _SIZE for text in texts))))
    for row in rows:
        if without.isdisjoint(row[: len(owners)]):
            yield from _found(row[len(owners) :])


def _found(values: Iterable[str | None]) -> Iterator[str]:
    for value in values:
        if value is not None and len(value) >= _SIZE:
            yield from _DIGEST.findall(value)
