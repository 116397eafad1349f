"""The way of a point: from a client through a server to the disk, and back to a chart. ``python -m bench tracking-points``.

The points look like a training's: steps that count on, times about a second apart, a loss with noise in every bit.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

import plimsoll
from bench.tracking.lines import least, most, tell, times
from bench.tracking.live import cpu_of, server
from plimsoll.records.access import Actor
from plimsoll.records.run import AppendPoints, FinishRun, GetRun, GetSeries, PointColumns, StartRun
from plimsoll.runs.lifecycle import finish_run, start_run
from plimsoll.runs.points import append_points
from plimsoll.sdk.http import HttpDoor
from plimsoll.store.contracts import Context
from plimsoll.workspace import Workspace, open_workspace

#: Runs of the large database, and points of each.
RUNS, NORMAL = 20_000, 400

#: Points of the long series, and columns of its chart.
LONG, WIDTH = 1_000_000, 1_000

_WANTED = {
    "points_per_s": least(200_000),
    "disk_bytes_ended": most(12),
    "chart_p95_ms": most(30),
    "history_p95_ms": most(3),
}

_BEGUN = 1_700_000_000_000_000


def main(peers: bool) -> None:
    """Measure and print one JSON line each.

    Args:
        peers: no peer has this path; what MLflow's clients pay is measured beside MLflow's server elsewhere.
    """
    for measure in (_sent, _logged, _written, _charted, _many):
        for line in measure():
            tell(line, _WANTED)


def _columns(count: int, series: int = 1, first: int = 0, seed: int = 0) -> PointColumns:
    """Return ``count`` points of ``series`` series in turn, whose steps begin at ``first``."""
    dice = random.Random(f"{first} {seed}")
    steps = [first + at // series for at in range(count)]
    return PointColumns(
        names=tuple(f"train/m{at % series}" for at in range(count)),
        steps=tuple(steps),
        times=tuple(_BEGUN + 1_000_000 * step + int(dice.gauss(0, 5_000)) for step in steps),
        values=tuple(2 / (1 + step / 1_000) + dice.gauss(0, 0.1) for step in steps),
    )


@contextmanager
def _home() -> Iterator[tuple[Workspace, Actor]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        workspace = open_workspace(Path(folder) / "home", None, owner="bench")
        try:
            yield workspace, workspace.identify(workspace.token("owner"))
        finally:
            workspace.close()


@contextmanager
def _door() -> Iterator[tuple[HttpDoor, int]]:
    """Yield a door to a server of its own, and the server's process id."""
    with server() as ready:
        door = HttpDoor(ready.url, ready.token)
        yield door, ready.pid
        door.close()


def _sent() -> Iterator[dict[str, Any]]:
    """One client posts ready batches, one after the other; each is on the disk before the next is sent."""
    with _door() as (door, pid):
        for batch, series in ((1_000, 1), (1_000, 10), (10_000, 10)):
            run = door.do(StartRun(experiment="bench")).id
            total = 400_000
            batches = [_columns(batch, series, at // series) for at in range(0, total, batch)]
            spent, client, begun = cpu_of(pid), time.process_time(), time.perf_counter()
            for sequence, points in enumerate(batches, 1):
                door.do(AppendPoints(run_id=run, writer="w", sequence=sequence, points=points))
            wall = time.perf_counter() - begun
            assert sum(metric.count for metric in door.do(GetRun(id=run)).metrics) == total
            yield {
                "subject": "ready batches to a server",
                "batch": batch,
                "series": series,
                "points_per_s": round(total / wall),
                "client_cpu_us": round(1e6 * (time.process_time() - client) / total, 2),
                "server_cpu_us": round(1e6 * (cpu_of(pid) - spent) / total, 2),
            }


def _logged() -> Iterator[dict[str, Any]]:
    """A loop logs ten metrics a step through the journal; the clock stops when the run has ended with every point in the database."""
    with _door() as (door, pid):
        names, steps = [f"train/m{at}" for at in range(10)], 50_000
        dice = random.Random(0)
        rows = [{name: dice.gauss(0, 0.1) for name in names} for _ in range(steps)]
        with plimsoll.run(door=door, experiment="bench") as run:
            spent, client, begun = cpu_of(pid), time.process_time(), time.perf_counter()
            for step, row in enumerate(rows):
                run.log(row, step=step)
        wall, total = time.perf_counter() - begun, steps * len(names)
        # The run has metrics of the machine too.
        found = sum(metric.count for metric in door.do(GetRun(id=run.id)).metrics if metric.name in names)
        assert found == total, f"{found} of {total} points are there"
        yield {
            "subject": "run.log of ten metrics",
            "points_per_s": round(total / wall),
            "client_cpu_us": round(1e6 * (time.process_time() - client) / total, 2),
            "server_cpu_us": round(1e6 * (cpu_of(pid) - spent) / total, 2),
        }


def _written() -> Iterator[dict[str, Any]]:
    """What the store itself pays for batches of 1,000 points, and how much it writes."""
    for series, each, number in ((1, 200_000, 1), (10, 20_000, 1), (1_000, 100, 3)):
        with _home() as (workspace, actor):
            total = series * each * number
            runs = [workspace.do(StartRun(experiment="bench"), actor).id for _ in range(number)]
            batches = [_columns(1_000, series, at // series) for at in range(0, series * each, 1_000)]
            cpu, io = time.process_time(), _bytes_written()
            for run in runs:
                for sequence, points in enumerate(batches, 1):
                    workspace.do(AppendPoints(run_id=run, writer="w", sequence=sequence, points=points), actor)
            cpu, io = time.process_time() - cpu, _bytes_written() - io
            line = {"subject": "batches of 1,000 in process", "runs": number, "series": series, "points": each}
            line |= {"cpu_us": round(1e6 * cpu / total, 2), "written_bytes": round(io / total, 1)}
            line |= {"disk_bytes": round(_disk(workspace) / total, 2)}
            for run in runs:
                workspace.do(FinishRun(id=run), actor)
            yield line | {"disk_bytes_ended": round(_disk(workspace) / total, 2)}


def _bytes_written() -> int:
    return int(Path("/proc/self/io").read_text().split("wchar:")[1].split()[0])


def _disk(workspace: Workspace) -> int:
    """Return the bytes that series and chunks take in the database file, indexes and empty room in their pages included."""
    ours = "('series', 'point_chunks') AND type IN ('table', 'index')"
    query = f"SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name IN {ours})"
    with workspace.stores.database.read() as tx:
        return int(tx.execute(text(query)).scalar_one())


def _file(workspace: Workspace) -> int:
    """Return the size of the whole database file: of runs, indexes and free pages too."""
    with workspace.stores.database.read() as tx:
        pages = tx.execute(text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))
        return int(pages.scalar_one())


def _charted() -> Iterator[dict[str, Any]]:
    """A long series: drawn, one range of it, and a page from its middle."""
    with _home() as (workspace, actor):
        run = workspace.do(StartRun(experiment="bench"), actor).id
        for sequence, first in enumerate(range(0, LONG, 10_000), 1):
            workspace.do(AppendPoints(run_id=run, writer="w", sequence=sequence, points=_columns(10_000, 1, first)), actor)
        asked: dict[str, Any] = {"run_id": run, "name": "train/m0"}
        yield {
            "subject": "one series of 1,000,000 points",
            "disk_bytes": round(_disk(workspace) / LONG, 2),
            **times(lambda: workspace.do(GetSeries(**asked, width=WIDTH), actor), 40, name="chart_"),
            **times(lambda: workspace.do(GetSeries(**asked, width=WIDTH, steps=(400_000, 499_999)), actor), 40, name="zoom_"),
            **times(lambda: workspace.do(GetSeries(**asked, steps=(500_000, 502_499)), actor), 40, name="range_"),
            **times(lambda: workspace.do(GetSeries(**asked, first=500_000, limit=2_500), actor), 40, name="page_"),
        }


def _many() -> Iterator[dict[str, Any]]:
    """Histories out of a database with many runs."""
    with _home() as (workspace, actor):
        shapes = [_columns(NORMAL, 1, 0, seed) for seed in range(50)]
        ids = []
        before = _file(workspace)
        for _ in range(0, RUNS, 500):
            # The verbs themselves, many in one transaction: one commit each would wait for the disk for most of an hour.
            with workspace.stores.database.write() as tx:
                context = Context(actor=actor, tx=tx, stores=workspace.stores)
                for _ in range(500):
                    ids.append(start_run(StartRun(experiment="bench"), context).id)
                    append_points(AppendPoints(run_id=ids[-1], writer="w", sequence=1, points=shapes[len(ids) % len(shapes)]), context)
                    finish_run(FinishRun(id=ids[-1]), context)
        dice = random.Random(0)
        total = RUNS * NORMAL
        yield {
            "subject": f"{RUNS:,} runs with {NORMAL} points",
            "disk_bytes": round(_disk(workspace) / total, 2),
            "file_bytes": round((_file(workspace) - before) / total, 2),
            **times(lambda: workspace.do(GetSeries(run_id=dice.choice(ids), name="train/m0"), actor), 1_000, name="history_"),
        }
