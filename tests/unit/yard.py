"""A workspace with people, and packages that hold no model: what stands before and behind a release, without training one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from plimsoll import clock, codec
from plimsoll.records.access import Actor, AddActor, Role
from plimsoll.records.data import Column, FileEntry, Manifest
from plimsoll.records.deployment import (
    ApproveRelease,
    CreateRelease,
    Deployment,
    GetDeployment,
    GetRelease,
    MoveRollout,
    Release,
    ReleasePolicy,
    RolloutStep,
    ServingConfig,
    SetEnvironment,
    StartRollout,
)
from plimsoll.records.model import (
    CheckReport,
    Costs,
    CreateVersion,
    Outcome,
    PackageMeta,
    Purpose,
    RecordReport,
    Signature,
    Verdict,
    Version,
)
from plimsoll.records.monitor import LATENCY_EDGES, AppendPredictions, PredictionColumns, TrackName, TrafficCount
from plimsoll.records.plane import DesiredModel, GetDesiredState
from plimsoll.records.run import StartRun
from plimsoll.workspace import PLANE, WORKER, Workspace, open_workspace

PURPOSE = Purpose(goal="Say what is late.", label="late", unit="id", time="at", costs=Costs(false_alarm=1.0, missed=3.0))

#: Three stages: shadow, half, all.
STEPS = (RolloutStep(share=0.0, requests=10), RolloutStep(share=0.5, requests=10), RolloutStep(share=1.0, requests=1))


@dataclass
class Yard:
    """A workspace, its people, and how much traffic was counted."""

    workspace: Workspace
    owner: Actor
    dana: Actor = field(init=False)
    omar: Actor = field(init=False)
    nora: Actor = field(init=False)
    robot: Actor = field(init=False)
    sequence: int = 0

    def __post_init__(self) -> None:
        self.dana = self.add("dana", "read", "write")
        self.omar = self.add("omar", "read", "approve")
        self.nora = self.add("nora", "read", "operate")
        self.robot = self.add("robot", "read", "write", "approve", "operate", person=False)

    def add(self, name: str, *roles: Role, person: bool = True) -> Actor:
        """Add an actor."""
        return self.workspace.do(AddActor(name=name, roles=roles, person=person), self.owner).actor

    def package(self, mark: str, *, model: str = "late", code: str = "", features: str = "", types: tuple[str, ...] = ()) -> str:
        """Store a package that differs by ``mark`` and return its digest."""
        blobs = self.workspace.stores.blobs
        columns = (Column(name="a", dtype="Float64"),)
        signature = Signature(inputs=columns, output=Column(name="prediction", dtype="Float64"))
        meta = PackageMeta(
            model=model, flavor="sklearn", signature=signature, purpose=PURPOSE, features=features, requirements={}, data={}, types=types
        )
        contents = {"model.skops": mark.encode(), "package.json": codec.canonical(meta)} | ({"code/f.py": code.encode()} if code else {})
        files = tuple(FileEntry(path=path, digest=blobs.put(data), size=len(data)) for path, data in sorted(contents.items()))
        return blobs.put(codec.canonical(Manifest(kind="model", files=files, meta={})))

    def version(self, mark: str, actor: Actor | None = None, *, code: str = "", features: str = "") -> Version:
        """Register a package from a run of its author's own."""
        author = actor or self.dana
        run = self.workspace.do(StartRun(experiment="late"), author)
        digest = self.package(mark, code=code, features=features)
        return self.workspace.do(CreateVersion(model="late", digest=digest, run_id=run.id), author)

    def examine(self, version: Version, outcome: Outcome = "pass", champion: str | None = None, flips: float | None = None) -> CheckReport:
        """Record what an examination would have found."""
        numbers = {} if flips is None else {"flip_rate": flips}
        verdict = Verdict(check="money", outcome=outcome, reason=f"It is a {outcome}.", numbers=numbers)
        report = CheckReport(
            id=clock.new_id(), model=version.model, number=version.number, champion=champion, verdicts=(verdict,), created=clock.now()
        )
        return self.workspace.do(RecordReport(report=report), WORKER)

    def propose(self, version: Version, environment: str = "production", config: ServingConfig | None = None) -> Release:
        """Propose a version."""
        asked = CreateRelease(ref=version.digest, environment=environment, config=config or ServingConfig())
        return self.workspace.do(asked, self.dana)

    def approve(self, release: Release, actor: Actor | None = None) -> Release:
        """Say yes."""
        return self.workspace.do(ApproveRelease(id=release.id, digest=release.digest), actor or self.omar)

    def approved(self, mark: str, champion: str | None = None, flips: float | None = None) -> Release:
        """Bring a new version as far as an approved release."""
        version = self.version(mark)
        self.examine(version, champion=champion, flips=flips)
        return self.approve(self.propose(version))

    def start(self, release: Release) -> Deployment:
        """Roll an approved release out."""
        return self.workspace.do(StartRollout(release_id=release.id), self.nora)

    def live(self, mark: str) -> Release:
        """Bring a new version all the way, and return its live release."""
        found = self.deployed()
        release = self.approved(mark, None if found is None or found.stable is None else self.release(found.stable).package)
        self.start(release)
        while (state := self.release(release.id).state) == "rolling":
            self.count(release.id, 20)
            self.workspace.do(MoveRollout(model="late", to="advance", reason="Enough."), self.nora)
        assert state == "live"
        return self.release(release.id)

    def release(self, id: str) -> Release:
        """Return a release as it stands."""
        return self.workspace.do(GetRelease(id=id), self.dana)

    def deployed(self) -> Deployment | None:
        """Return the deployment, or None before the first release."""
        found = [item for item in self.desired() if item.model == "late"]
        return self.workspace.do(GetDeployment(model="late"), self.dana) if found else None

    def desired(self) -> tuple[DesiredModel, ...]:
        """Return what planes must serve."""
        return self.workspace.do(GetDesiredState(), PLANE).models

    def rules(self, **changes: object) -> None:
        """Replace production's rules."""
        policy = ReleasePolicy(**{"steps": STEPS, **changes})  # type: ignore[arg-type]
        self.workspace.do(SetEnvironment(name="production", policy=policy), self.owner)

    def count(
        self,
        release_id: str,
        requests: int,
        errors: int = 0,
        track: TrackName | None = None,
        cell: int = 3,
        paired: int = 0,
        flipped: int = 0,
    ) -> None:
        """Count traffic of a track at the present generation."""
        deployment = self.deployed()
        assert deployment is not None
        self.sequence += 1
        if track is None:
            track = "stable" if release_id == deployment.stable else "shadow" if deployment.step == 0 else "canary"
        latency = tuple(requests if at == cell else 0 for at in range(len(LATENCY_EDGES) + 1))
        counted = TrafficCount(
            release_id=release_id,
            track=track,
            generation=deployment.generation,
            requests=requests,
            errors=errors,
            latency=latency,
            paired=paired,
            flipped=flipped,
        )
        rows = PredictionColumns(
            request_id=(), row=(), at=(), unit=(), track=(), release_id=(), output=(), status=(), latency=(), trace=(), inputs={}
        )
        self.workspace.do(
            AppendPredictions(plane="p", sequence=self.sequence, model="late", environment="production", rows=rows, counts=(counted,)),
            PLANE,
        )


def open_yard(home: Path, database: str | None = None) -> Yard:
    """Open a new home with short rollouts.

    Args:
        home: its folder.
        database: its URL; None for SQLite inside the home.
    """
    workspace = open_workspace(home, home.parent, owner="olga", database=database)
    yard = Yard(workspace, Actor(name="olga", roles=("admin",)))
    yard.rules()
    return yard
