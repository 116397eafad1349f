"""A workspace with one live release of a made-up model, and traffic for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from plimsoll import clock, codec
from plimsoll.monitoring.sketches import Profile
from plimsoll.records.data import Column, FileEntry, Manifest
from plimsoll.records.model import Costs, PackageMeta, Purpose, Signature
from plimsoll.records.monitor import AppendLabels, AppendPredictions, PredictionColumns, TrafficCount, WatchWindow, WindowReport
from plimsoll.records.run import Run, StartRun
from plimsoll.store import schema
from plimsoll.workspace import PLANE, WORKER, Workspace, open_workspace

DAY = 86_400_000_000
PURPOSE = Purpose(
    goal="Say which parcels come late.",
    label="late",
    unit="parcel",
    time="sent",
    costs=Costs(false_alarm=1.0, missed=3.0),
    pipeline="pipeline.py:parcels",
    slices=("depot",),
)


def rows(rng: np.random.Generator, count: int, skill: float = 1.35) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Return inputs, answers and truths; ``skill`` 1.35 gives an AUC near .83."""
    late = (rng.random(count) < np.clip(rng.normal(0.25, 0.03), 0.1, 0.5)).astype(np.int64)
    score = rng.normal(0, 1, count) + skill * late
    frame = pl.DataFrame({"weight": rng.gamma(2.0, 1.5, count).round(2), "depot": rng.choice(["north", "south", "west"], count)})
    return frame, 1 / (1 + np.exp(-(1.35 * (score - 0.675) - np.log(3)))), late


@dataclass
class Deployed:
    """The workspace, and how far its writers are."""

    workspace: Workspace
    run: Run
    release: str = ""
    sequence: int = 0

    def live(self, number: int = 1) -> str:
        """Make a package with a profile of 40 days and put it live; return the release's id."""
        rng = np.random.default_rng(number)
        days = [rows(rng, 300) for _ in range(40)]
        frame = pl.concat([day[0] for day in days])
        time = pl.Series(np.repeat(np.arange(40) * DAY, 300)).cast(pl.Datetime("us"))
        answers, late = np.concatenate([day[1] for day in days]), np.concatenate([day[2] for day in days])
        profile = Profile.build(frame, time=time, answers=answers)
        profile = profile.promising(time=time, answers=answers, labels=late, threshold=PURPOSE.costs.threshold)
        columns = (Column(name="weight", dtype="Float64"), Column(name="depot", dtype="String"))
        signature = Signature(inputs=columns, output=Column(name="prediction", dtype="Float64"))
        meta = PackageMeta(model="parcels", flavor="sklearn", signature=signature, purpose=PURPOSE, features="", requirements={}, data={})
        blobs = self.workspace.stores.blobs
        data = profile.to_bytes()
        files = (FileEntry(path="profile.msgpack", digest=blobs.put(data), size=len(data)),)
        package = blobs.put(codec.canonical(Manifest(kind="model", files=files, meta={"number": number})))
        self.release = clock.new_id()
        with self.workspace.stores.database.write() as tx:
            noted = {"created": 0, "updated": 0, "source": "", "description": "", "stage": "none"}
            version = {"model": "parcels", "number": number, "digest": package, "run_id": self.run.id, "author": "dana"}
            tx.execute(schema.versions.insert().values(**version, **noted, meta=codec.plain(meta)))
            release = {"id": self.release, "environment": "production", "model": "parcels", "number": number, "package": package}
            names = {"digest": f"{number:064x}", "author": "dana", "proposer": "dana", "state": "live", "reason": "", "created": 0}
            tx.execute(schema.releases.insert().values(**release, **names, config={}))
            where = schema.deployments.c.model == "parcels"
            if not tx.execute(schema.deployments.update().where(where).values(stable=self.release)).rowcount:
                deployment = {"model": "parcels", "environment": "production", "stable": self.release}
                tx.execute(schema.deployments.insert().values(**deployment, step=0, generation=1, updated=0))
        return self.release

    def serve(self, day: int, count: int = 300, skill: float = 1.35, label: bool = True, change: pl.Expr | None = None) -> None:
        """Log a day's answers and, an hour after each, its truth."""
        frame, answers, late = rows(np.random.default_rng(1_000 + day), count, skill)
        if change is not None:
            frame = frame.with_columns(change)
        self.sequence += 1
        ids = tuple(f"d{day}-{index}" for index in range(count))
        at = tuple(day * DAY + index * 60_000_000 for index in range(count))
        columns = PredictionColumns(
            request_id=ids,
            row=(0,) * count,
            at=at,
            unit=ids,
            track=("stable",) * count,
            release_id=(self.release,) * count,
            output=tuple(answers.tolist()),
            status=(200,) * count,
            latency=(900,) * count,
            trace=("",) * count,
            inputs={name: tuple(frame[name].to_list()) for name in frame.columns},
        )
        counts = (
            TrafficCount(release_id=self.release, track="stable", generation=1, requests=count, errors=0, latency=(0, count) + (0,) * 29),
        )
        append = AppendPredictions(
            plane="plane-1", sequence=self.sequence, model="parcels", environment="production", rows=columns, counts=counts
        )
        self.workspace.do(append, PLANE)
        if label:
            known = tuple(moment + 3_600_000_000 for moment in at)
            truth = tuple(late.tolist())
            row = (0,) * count
            labels = AppendLabels(model="parcels", writer="truth", sequence=self.sequence, request_id=ids, row=row, at=known, value=truth)
            self.workspace.do(labels, WORKER)

    def watch(self, day: int, as_of: int | None = None) -> WindowReport:
        """Judge a day."""
        return self.workspace.do(WatchWindow(model="parcels", start=day * DAY, end=(day + 1) * DAY, as_of=as_of), WORKER)


def deploy(home: Path) -> Deployed:
    """Open a workspace and put the first release live.

    Args:
        home: its folder.
    """
    workspace = open_workspace(home, home, owner="dana")
    run = workspace.do(StartRun(experiment="parcels"), WORKER)
    with workspace.stores.database.write() as tx:
        tx.execute(schema.models.insert().values(name="parcels", created=0, updated=0, description="", last=1))
    deployed = Deployed(workspace, run)
    deployed.live()
    return deployed
