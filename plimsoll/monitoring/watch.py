"""Judge a window of a deployment's traffic: what came in, what was answered, and what turned out to be true.

Reading and computing need no transaction; everything that is found is kept by one verb, ``RecordWindow``, so a worker that dies in
between leaves nothing half done and the same window is simply watched again.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import Connection, Text, select, type_coerce

from plimsoll import codec
from plimsoll.errors import NotFound
from plimsoll.monitoring.drift import judge_drift
from plimsoll.monitoring.log import INPUT, labels_stream, predictions_stream
from plimsoll.monitoring.performance import Outcome, judge_performance, measure, promised, slices
from plimsoll.monitoring.quality import judge_quality
from plimsoll.monitoring.sketches import Profile, Tally
from plimsoll.records.data import Manifest
from plimsoll.records.model import PackageMeta, Purpose
from plimsoll.records.monitor import Finding, RecordWindow, SealPredictions, WatchWindow, WindowReport
from plimsoll.store.contracts import Blobs, JobContext
from plimsoll.store.schema import deployments, releases, versions, windows

#: Rows from which a slice's numbers are shown.
SLICE_ROWS = 30

#: Earlier windows that are read.
_HISTORY = 400

#: How long before its row's event time a truth may become known: a cancelled flight is known before its departure.
_BEFORE = 7 * 86_400_000_000

_END_OF_TIME = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTable:
    """What the next windows are compared with: the column ``table`` of a window, as msgpack."""

    #: Format of this document.
    format: Literal[1] = 1
    #: :meth:`Tally.to_bytes`, or None when the live version has no profile.
    tally: bytes | None
    #: Release id -> what it did in this window.
    outcomes: dict[str, Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    """The release that answers now."""

    release: str
    purpose: Purpose
    profile: Profile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelled:
    """What is read of an earlier window's report, of which there are hundreds."""

    labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """A window before this one."""

    start: int
    end: int
    labels: int
    table: WindowTable


def watch_window(request: WatchWindow, context: JobContext) -> WindowReport:
    """Judge one window and keep what was found.

    Raises:
        NotFound: nothing of the model is live in the environment.
    """
    context.progress("reading the window")
    with context.stores.database.read() as tx:
        live = _live(tx, context.stores.blobs, request)
        earlier = _earlier(tx, request)
        rows = _rows(tx, context, request)
    context.progress(f"judging {rows.height:,} rows")
    answered = rows.filter(pl.col("output").is_finite()) if rows.height else rows
    labelled = answered.drop_nulls("value") if answered.height else answered
    outcomes = _outcomes(answered, request.start, live.purpose)
    findings, tally = _inputs(live, rows, earlier)
    history = [window.table.outcomes[live.release] for window in earlier if live.release in window.table.outcomes]
    history += [outcomes[live.release]] if live.release in outcomes else []
    promise = promised(live.profile.promises, live.purpose.costs) if live.profile is not None else []
    findings += judge_performance(history, promise)
    truth, answers = _truth(labelled)
    metrics = measure(truth, answers, live.purpose.costs)
    if answered.height:
        metrics["mean_prediction"] = float(answered["output"].to_numpy().mean())
    report = WindowReport(
        model=request.model,
        environment=request.environment,
        start=request.start,
        end=request.end,
        rows=answered.height,
        labels=labelled.height,
        metrics=metrics,
        slices=_slices(labelled, live.purpose, truth, answers),
        findings=tuple(_signed(finding, live.release) for finding in findings),
    )
    table = WindowTable(tally=None if tally is None else tally.to_bytes(), outcomes=outcomes)
    since = 0 if live.profile is None or not live.profile.days else (live.profile.days[-1] + 1) * 86_400_000_000
    known = labelled.height + sum(window.labels for window in earlier if window.start >= since)
    return context.do(RecordWindow(report=report, table=codec.to_msgpack(table), labelled=known, pipeline=live.purpose.pipeline))


def seal_predictions(request: SealPredictions, context: JobContext) -> int:
    """Move waiting rows into Parquet blobs, stream by stream."""
    moved = 0
    with context.stores.database.read() as tx:
        waiting = context.stores.segments.waiting(tx)
    for stream, rows in sorted(waiting.items()):
        if rows >= request.minimum_rows:
            context.progress(f"sealing {stream}")
            moved += context.stores.segments.seal(context.stores.database, stream)
    return moved


def _live(tx: Connection, blobs: Blobs, request: WatchWindow) -> _Live:
    query = (
        select(releases.c.id, releases.c.package)
        .join(deployments, deployments.c.stable == releases.c.id)
        .where(deployments.c.model == request.model, deployments.c.environment == request.environment)
    )
    row = tx.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"Nothing of {request.model} is live in {request.environment}.", "List deployments with: plimsoll deployments list")
    meta = tx.execute(select(versions.c.meta).where(versions.c.digest == row.package, versions.c.meta.is_not(None))).scalar_one()
    purpose = codec.convert(meta, PackageMeta, "The stored package").purpose
    manifest = codec.from_json(blobs.get(row.package), Manifest, f"The manifest {row.package[:12]}")
    digest = next((entry.digest for entry in manifest.files if entry.path == "profile.msgpack"), None)
    return _Live(release=row.id, purpose=purpose, profile=None if digest is None else _profile(blobs.get(digest)))


@functools.lru_cache(maxsize=8)
def _profile(data: bytes) -> Profile:
    """Return what a version's profile holds; one process takes it apart once, since every window of the version is compared with it."""
    return Profile.from_bytes(data)


def _earlier(tx: Connection, request: WatchWindow) -> list[_Earlier]:
    """Return windows of the same length before this one that do not overlap, newest first."""
    query = (
        select(windows.c.start, windows.c.end, windows.c.table, type_coerce(windows.c.report, Text).label("report"))
        .where(
            windows.c.model == request.model,
            windows.c.environment == request.environment,
            windows.c.end <= request.start,
            windows.c.end - windows.c.start == request.end - request.start,
        )
        .order_by(windows.c.start.desc())
        .limit(_HISTORY)
    )
    found: list[_Earlier] = []
    border = request.start
    for row in tx.execute(query):
        if row.end > border or row.table is None:
            continue
        border = row.start
        table = codec.from_msgpack(row.table, WindowTable, "The stored window")
        labels = codec.from_json(row.report, _Labelled, "The stored report").labels
        found.append(_Earlier(start=row.start, end=row.end, labels=labels, table=table))
    return found


def _rows(tx: Connection, context: JobContext, request: WatchWindow) -> pl.DataFrame:
    """Return the window's rows of the stable and canary tracks, each once, with ``value``: the truth known by ``as_of``, or null.

    Of a row that was asked for several times the first answer counts, and a failure only when there is none. Of several truths the
    one that arrived last counts.
    """
    segments = context.stores.segments
    scanned: pl.DataFrame = segments.scan(tx, predictions_stream(request.model, request.environment), request.start, request.end)
    if not scanned.height:
        return pl.DataFrame()
    rows = scanned.filter(pl.col("track").is_in(["stable", "canary"])).with_columns(
        pl.col("output").cast(pl.Float64, strict=False), pl.col("row").cast(pl.Int64)
    )
    answered = ((pl.col("status") == 200) & pl.col("output").is_finite()).fill_null(False)
    rows = rows.sort(~answered, maintain_order=True).unique(["request_id", "row"], keep="first", maintain_order=True)
    rows = rows.sort("at", maintain_order=True)
    until = _END_OF_TIME if request.as_of is None else request.as_of + 1
    labels: pl.DataFrame = segments.scan(tx, labels_stream(request.model, request.environment), request.start - _BEFORE, until)
    if not labels.height:
        return rows.with_columns(value=pl.lit(None, pl.Int64))
    labels = labels.sort("arrived", "place", maintain_order=True)
    last = labels.unique(["request_id", "row"], keep="last", maintain_order=True).select("request_id", "row", "value")
    return rows.join(last, on=["request_id", "row"], how="left", maintain_order="left")


def _truth(labelled: pl.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    if not labelled.height:
        return np.zeros(0, np.int64), np.zeros(0)
    return labelled["value"].to_numpy().astype(np.int64), labelled["output"].to_numpy().astype(np.float64)


def _outcomes(answered: pl.DataFrame, start: int, purpose: Purpose) -> dict[str, Outcome]:
    """Return what each release did by itself: a release is held to its own promise, also while it was the canary."""
    if not answered.height:
        return {}
    outcomes = {}
    for (release,), rows in answered.partition_by("release_id", as_dict=True, maintain_order=True).items():
        truth, answers = _truth(rows.drop_nulls("value"))
        metrics = measure(truth, answers, purpose.costs)
        outcomes[str(release)] = Outcome(start=start, rows=rows.height, labels=len(truth), metrics=metrics)
    return outcomes


def _inputs(live: _Live, rows: pl.DataFrame, earlier: list[_Earlier]) -> tuple[list[Finding], Tally | None]:
    if live.profile is None or not rows.height:
        return [], None
    frame = rows.select(pl.col(name).alias(name.removeprefix(INPUT)) for name in rows.columns if name.startswith(INPUT))
    tally = live.profile.tally(frame, rows["output"].fill_null(math.nan).to_numpy())
    tallies = (Tally.from_bytes(window.table.tally) for window in earlier[:30] if window.table.tally is not None)
    recent = (before for before in tallies if before.cells == tally.cells)
    return judge_quality(live.profile, frame, rows["unit"]) + judge_drift(live.profile, tally, recent), tally


def _slices(
    labelled: pl.DataFrame, purpose: Purpose, truth: npt.NDArray[np.int64], answers: npt.NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    columns = [name for name in purpose.slices if INPUT + name in labelled.columns]
    groups = {name: labelled[INPUT + name].cast(pl.String).to_list() for name in columns}
    return slices(groups, truth, answers, purpose.costs, SLICE_ROWS) if labelled.height else {}


def _signed(finding: Finding, release: str) -> Finding:
    return replace(finding, numbers=finding.numbers | {"release": release})
