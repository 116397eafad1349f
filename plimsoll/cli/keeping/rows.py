"""Whether the database is sound: its pages, its references, the audit log's chain, and the checksum of each chunk of points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, func, select, tuple_

from plimsoll import clock
from plimsoll.cli.keeping.finding import Finding, shortened
from plimsoll.errors import Corrupt
from plimsoll.records.access import VerifyEvents
from plimsoll.store import schema
from plimsoll.store.contracts import chunks
from plimsoll.store.points.chunks import unpack
from plimsoll.store.tables.tracking import point_chunks, series
from plimsoll.workspace import WORKER, Workspace

#: Chunks of points that a quick look reads.
_SOME = 500

_FIX = "Restore a backup: plimsoll restore BACKUP --home NEW"

_KEY = (point_chunks.c.series_id, point_chunks.c.index)


def row_findings(workspace: Workspace, quick: bool) -> Iterator[Finding]:
    """Yield what is to be said of a database.

    Args:
        workspace: an opened home.
        quick: whether only some of the points are read.
    """
    database = workspace.stores.database
    with database.read() as tx:
        faults = _faults(tx, quick) if database.dialect == "sqlite" else []
        said = f"{workspace.address}, revision {schema.HEAD}"
        yield Finding("database", not faults, "; ".join([said, *faults[:3]]), _FIX if faults else "")
    chain = workspace.do(VerifyEvents(), WORKER)
    fits = f"{chain.events} lines, all fit" if chain.broken_at is None else f"line {chain.broken_at} does not fit"
    broken = "Somebody has changed it. Find out who, and compare it with a backup." if chain.broken_at is not None else ""
    yield Finding("audit log", chain.broken_at is None, fits, broken)
    with database.read() as tx:
        wrong = [*_sums(tx), *_checksums(tx, quick)]
        count = tx.execute(select(func.count()).select_from(point_chunks)).scalar_one()
    yield from shortened(wrong, "points")
    if not wrong:
        read = f"{min(_SOME, count)} of {count} chunks read" if quick else f"{count} chunks read"
        yield Finding("points", True, f"{read}, all checksums fit")


def _faults(tx: Connection, quick: bool) -> list[str]:
    look = "quick_check" if quick else "integrity_check"
    found = [str(row[0]) for row in tx.exec_driver_sql(f"PRAGMA {look}(3)") if row[0] != "ok"]
    lost = [f"a row of {row[0]} refers to a missing one of {row[2]}" for row in tx.exec_driver_sql("PRAGMA foreign_key_check")]
    return found + list(dict.fromkeys(lost))


def _sums(tx: Connection) -> list[Finding]:
    """Return series whose row counts other points than its chunks have."""
    held = func.coalesce(func.sum(point_chunks.c["count"]), 0)
    query = select(series.c.run_id, series.c.name, series.c["count"], held).outerjoin(point_chunks, point_chunks.c.series_id == series.c.id)
    query = query.group_by(series.c.id, series.c.run_id, series.c.name, series.c["count"]).having(series.c["count"] != held)
    return [_wrong(run, name, f"holds {int(has)} points, its row says {count}") for run, name, count, has in tx.execute(query)]


def _checksums(tx: Connection, quick: bool) -> list[Finding]:
    whole = select(*_KEY, point_chunks.c["count"], point_chunks.c.data, series.c.run_id, series.c.name).join(series)
    if not quick:
        return _read(tx.execute(whole.order_by(*_KEY).execution_options(yield_per=200)))
    keys = [tuple(row) for row in tx.execute(select(*_KEY))]
    chosen = clock.generator(clock.now()).sample(keys, min(_SOME, len(keys)))
    return [finding for some in chunks(chosen, 200) for finding in _read(tx.execute(whole.where(tuple_(*_KEY).in_(some))))]


def _read(rows: Any) -> list[Finding]:
    found = []
    for row in rows:
        try:
            unpack(row.data, row._mapping["count"], f"Chunk {row.index}")
        except Corrupt as error:
            found.append(_wrong(row.run_id, row.name, error.fact))
    return found


def _wrong(run: str, name: str, fact: str) -> Finding:
    return Finding(f"points {name} of run {run[:16]}", False, fact, _FIX)
