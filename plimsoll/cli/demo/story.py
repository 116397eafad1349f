"""The demo's story: one model goes all the way round on the flights of 2013, and nothing of it is written beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from plimsoll import clock
from plimsoll.cli.demo.stage import APPROVER, AUTHOR, Person, Stage, refused
from plimsoll.errors import Conflict, NotFound, StepFailed
from plimsoll.records.access import GetJob, Job
from plimsoll.records.deployment import (
    ApproveRelease,
    CreateRelease,
    GetDeployment,
    GetRelease,
    JudgeRollout,
    ListReleases,
    Release,
)
from plimsoll.records.model import CheckReport, CheckVersion, GetReport, GetVersion, ListVersions, Version
from plimsoll.records.pipeline import ListSteps, RunPipeline
from plimsoll.records.plane import ListPlanes
from plimsoll.records.run import GetRun, Run

PIPELINE = "late/pipeline.py:late_arrivals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What may be changed about the story."""

    #: First day of training, as ``YYYY-MM-DD``.
    first: str
    #: The day on which live traffic begins.
    start: str
    #: The day on which it ends.
    end: str
    #: Seed of the estimator and of the choice of requests.
    seed: int
    #: Share of the requests that are made.
    share: float


class Narrator:
    """Prints the story, with the seconds since it began.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.begun = clock.monotonic()

    def chapter(self, title: str) -> None:
        """Begin a chapter.

        Args:
            title: in one line.
        """
        self.console.print()
        self.console.rule(f"[bold]{title}[/bold]", align="left", style="dim")

    def say(self, line: str, style: str = "") -> None:
        """Say one thing.

        Args:
            line: the text.
            style: of rich, such as ``green``.
        """
        seconds = clock.monotonic() - self.begun
        self.console.print(f"[dim]{seconds:6.1f}s[/dim]  ", end="")
        self.console.print(line, style=style or None, highlight=False, markup=False, soft_wrap=False)

    def verdicts(self, report: CheckReport) -> None:
        """Tell what the checks found.

        Args:
            report: of one version.
        """
        styles = {"pass": "green", "warn": "yellow", "fail": "red"}
        for verdict in report.verdicts:
            self.say(f"{verdict.outcome:<5} {verdict.check:<14} {verdict.reason}", styles[verdict.outcome])


class Making:
    """What dana and omar do with models: run, examine, propose, approve.

    Args:
        stage: server and people.
        narrator: tells it.
    """

    def __init__(self, stage: Stage, narrator: Narrator) -> None:
        self.stage = stage
        self.tell = narrator
        self.dana: Person = stage.people[AUTHOR]
        self.omar: Person = stage.people[APPROVER]

    def train(self, params: dict[str, Any]) -> Version:
        """Run the pipeline on the worker and return the version it made.

        Args:
            params: that differ from the defaults.
        """
        run: Run = self.dana.do(RunPipeline(pipeline=PIPELINE, params=params))
        for step in self.dana.do(ListSteps(run_id=run.id)):
            took = f"{(step.ended - step.started) / 1e6:5.1f} s" if step.state == "ran" else "       "
            self.tell.say(f"{step.state:<4} {step.name.rpartition('.')[2]:<12} {took}  {step.why}", "dim")
        if all(step.state == "hit" for step in self.dana.do(ListSteps(run_id=run.id))):
            self.tell.say("Nothing changed, so no step ran.", "green")
        return self.made(run)

    def made(self, run: Run) -> Version:
        """Return the version whose package a run gave, whichever run made it first.

        Args:
            run: a finished run.
        """
        outputs = [step.output for step in self.dana.do(ListSteps(run_id=run.id)) if step.output is not None]
        digests = [output.digest for output in outputs if output.kind == "model"]
        if not digests:
            raise StepFailed(f"The run {run.id} made no model.", f"Look at: plimsoll runs show {run.id}")
        return self.dana.do(GetVersion(ref=digests[0]))

    def examine(self, version: Version) -> CheckReport:
        """Have the worker check a version, and tell what it found.

        Args:
            version: which one.
        """
        report = self.dana.do(CheckVersion(ref=f"{version.model}/{version.number}"))
        self.tell.verdicts(report)
        return report

    def examined(self, version: Version) -> CheckReport:
        """Return the report of a version, examining it unless an earlier demo did.

        Args:
            version: which one.
        """
        try:
            report = self.dana.do(GetReport(ref=version.digest))
        except NotFound:
            return self.examine(version)
        self.tell.verdicts(report)
        return report

    def propose(self, version: Version) -> Release:
        """Propose a version for production, unless an earlier demo did, whatever became of it.

        Args:
            version: which one.
        """
        earlier = self.released(version)
        if earlier is not None:
            self.tell.say(f"dana has proposed {version.model}/{version.number} already: release {earlier.id[:16]}", "dim")
            return earlier
        release = self.dana.do(CreateRelease(ref=version.digest, config=self.stage.config()))
        self.tell.say(f"dana proposes {version.model}/{version.number}: release {release.id[:16]}, digest {release.digest[:12]}")
        return release

    def released(self, version: Version) -> Release | None:
        """Return the newest release of a version, or None.

        Args:
            version: which one.
        """
        found = self.dana.do(ListReleases(model=version.model, limit=1000))
        return next((release for release in found if release.package == version.digest), None)

    def approve(self, release: Release, note: str) -> None:
        """Let omar say yes through the verb that a person uses.

        Args:
            release: which one.
            note: what he writes.
        """
        if release.state != "proposed":
            self.tell.say(f"Release {release.id[:16]} is {release.state} already.", "dim")
            return
        self.omar.do(ApproveRelease(id=release.id, digest=release.digest, note=note))
        self.tell.say(f'omar approves release {release.id[:16]}: "{note}"', "green")

    def waiting(self) -> list[Release]:
        """Return the releases that wait for omar."""
        return [found for found in self.omar.do(ListReleases(state="proposed")) if found.author != APPROVER]

    def approved(self) -> list[Release]:
        """Return the releases that omar has let pass and that are not over."""
        return [found for found in self.omar.do(ListReleases()) if found.state in ("approved", "rolling", "live")]

    def moving(self, known: set[str]) -> list[Release]:
        """Return the releases that are or were on their way, oldest first.

        Args:
            known: ids that are told in any state; others are told once they have left ``proposed``.
        """
        found = [release for release in self.omar.do(ListReleases()) if release.id in known or release.state != "proposed"]
        return found[::-1]

    def unsettled(self) -> bool:
        """Return whether something decided is not yet served: an approved release, a plane behind, a move that the evidence allows."""
        if self.omar.do(ListReleases(state="approved")):
            return True
        deployment = self.omar.do(GetDeployment(model="flights"))
        if deployment.candidate is None:
            return False
        planes = self.omar.do(ListPlanes())
        if not any(plane.report.generations.get("flights") == deployment.generation for plane in planes):
            return True
        try:
            return self.omar.do(JudgeRollout(model="flights")).advice != "wait"
        except Conflict:
            return True  # it has just been moved

    def job(self, id: str) -> Job:
        """Return a job.

        Args:
            id: the job's id.
        """
        return self.dana.do(GetJob(id=id))

    def cause(self, version: Version) -> str:
        """Return the id of the alert that a version was made for, or empty text.

        Args:
            version: which one.
        """
        return self.dana.do(GetRun(id=version.run_id)).run.cause.id

    def wait(self, job: Job) -> Job:
        """Return a job once it has ended.

        Args:
            job: as it was submitted.
        """
        while job.state in ("waiting", "working"):
            clock.sleep(0.05)
            job = self.dana.do(GetJob(id=job.id))
        return job

    def wait_live(self, release: Release) -> None:
        """Wait until the first release answers, unless it has had its time in an earlier demo.

        Args:
            release: which one.
        """
        if self.dana.do(GetRelease(id=release.id)).state in ("retired", "rolled_back", "rejected"):
            return
        deadline = clock.monotonic() + 90
        while clock.monotonic() < deadline:
            reports = [plane.report for plane in self.dana.do(ListPlanes())]
            tracks = [track for report in reports for track in report.tracks if track.release_id == release.id]
            if any(track.state == "ready" for track in tracks):
                return
            if any(track.state == "failed" for track in tracks):
                raise StepFailed(f"The model does not load: {tracks[0].reason}", "Read logs/plane.log in the demo's home.")
            clock.sleep(0.1)
        state = self.dana.do(GetRelease(id=release.id))
        raise StepFailed(f"No plane serves the release after 90 s; it is {state.state}: {state.reason}", "Read the logs in the home.")


def first_model(making: Making, plot: Plot) -> Version:
    """Train, check, refuse, approve and release the first version; return it.

    Args:
        making: what can be done.
        plot: the story's days and seed.
    """
    tell = making.tell
    params = {"first": plot.first, "last": plot.start, "seed": plot.seed}
    tell.chapter(f"A model from the flights of {plot.first} to {plot.start}")
    version = making.train(params)
    tell.say(f"dana's run made {version.model}/{version.number}, package {version.digest[:12]}.")
    tell.say("The same again:")
    making.train(params)
    tell.chapter("A colleague's idea: dep_delay is such a good feature")
    leaked = making.train({**params, "extra": ["dep_delay"]})
    report = making.examined(leaked)
    why = refused(lambda: making.dana.do(CreateRelease(ref=leaked.digest, config=making.stage.config())))
    tell.say(f"Refused: {why[:200]}", "red")
    assert report.outcome == "fail"
    tell.chapter(f"{version.model}/{version.number} is checked, approved and released")
    making.examined(version)
    release = making.propose(version)
    if release.state == "proposed":
        why = refused(lambda: making.dana.do(ApproveRelease(id=release.id, digest=release.digest)))
        tell.say(f"dana approves it herself: refused. {why}", "red")
    making.approve(release, "Numbers and reasons read; go.")
    making.wait_live(release)
    host, port = making.stage.serving
    tell.say(f"{version.model}/{version.number} was released; models answer at http://{host}:{port}", "green")
    return version


def released_before(making: Making) -> Version | None:
    """Return the first version once it answers again, or None unless an earlier demo released it: how it was made is not told twice.

    Args:
        making: what can be done.
    """
    version = versions_of(making).get(1)
    release = making.released(version) if version is not None else None
    if version is None or release is None or release.state == "proposed":
        return None
    making.wait_live(release)
    making.tell.say(f"{version.model}/{version.number} was released by an earlier demo.", "dim")
    return version


def broken_candidate(making: Making, plot: Plot) -> Release | None:
    """Let dana propose a version that forgets a unit; its checks cannot see it. Return its release, or None if they did.

    Args:
        making: what can be done.
        plot: the story's days and seed.
    """
    making.tell.chapter("A tidy-up: who needs temp_unit? Every row says F")
    params = {"first": plot.first, "last": plot.start, "seed": plot.seed, "features": "prepare_without_unit"}
    version = making.train(params)
    report = making.examined(version)
    if report.outcome == "fail":
        making.tell.say("Its checks refuse it already.", "red")
        return None
    release = making.propose(version)
    making.approve(release, "All checks are green.")
    return release


def utc(day: str) -> datetime:
    """Return the beginning of a day in UTC.

    Args:
        day: as ``YYYY-MM-DD``.
    """
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Return UTC microseconds.

    Args:
        moment: with a time zone.
    """
    return round(moment.timestamp() * 1e6)


def versions_of(making: Making) -> dict[int, Version]:
    """Return every version by its number.

    Args:
        making: what can be done.
    """
    return {version.number: version for version in making.dana.do(ListVersions(model="flights", limit=100))}
