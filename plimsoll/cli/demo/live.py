"""The year's flights as live traffic, day by day: answers, labels when planes have landed, windows, alerts, retraining."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from plimsoll import clock
from plimsoll.cli.demo.ledger import Ledger
from plimsoll.cli.demo.story import Making, Narrator, Plot, broken_candidate, micros, utc, versions_of
from plimsoll.cli.demo.traffic import Answer, Callers, by_day, request_id
from plimsoll.data.project import load_object
from plimsoll.errors import NotFound
from plimsoll.records.access import Job
from plimsoll.records.deployment import GetDeployment, GetRelease, Release
from plimsoll.records.model import GetReport
from plimsoll.records.monitor import Alert, AppendLabels, ListAlerts, WatchWindow

DAY = timedelta(days=1)

#: Days after the start on which a colleague proposes the model that forgets the unit.
TIDY_UP = 3

#: Days after the start on which the weather feed turns to Celsius, and back.
FEED = (10, 40)

#: Seconds for which the flights' clock waits for a plane.
_PATIENCE = 60.0

#: Callers at the same time.
CALLERS = 8


@dataclass(slots=True)
class Labels:
    """Truths that wait until their plane has landed."""

    #: (known at, request id, row, value), in any order.
    waiting: list[tuple[int, str, int, int]] = field(default_factory=list)

    def learn(self, id: str, asked: Any) -> None:
        """Note what will become known about a request.

        Args:
            id: the request's id.
            asked: the request, with ``late`` and ``landed`` for each row.
        """
        for row, (late, landed) in enumerate(zip(asked.late, asked.landed, strict=True)):
            if late is not None and landed is not None:
                self.waiting.append((micros(landed), id, row, late))

    def due(self, now: int) -> list[tuple[int, str, int, int]]:
        """Return what became known before ``now``, and forget it.

        Args:
            now: UTC microseconds.
        """
        known = [label for label in self.waiting if label[0] < now]
        self.waiting = [label for label in self.waiting if label[0] >= now]
        return known


class Year:
    """The replay.

    Args:
        making: what dana and omar can do.
        plot: the story's days and seed.
        ledger: keeps every day.
        progress: the bar.
    """

    def __init__(self, making: Making, plot: Plot, ledger: Ledger, progress: Progress) -> None:
        self.making = making
        self.plot = plot
        self.ledger = ledger
        self.tell: Narrator = making.tell
        self.progress = progress
        self.callers = Callers(*making.stage.serving, "flights", CALLERS)
        self.labels = Labels()
        self.watching: list[Job] = []
        self.told: set[str] = set()
        self.states: dict[str, str] = {}
        self.broken: Release | None = None
        self.last_id = ""

    def run(self) -> None:
        """Replay every day from the first that is not in the ledger, and tell what happens."""
        start, end = utc(self.plot.start), utc(self.plot.end)
        project = self.making.stage.project
        data, replay = (load_object(project, f"late/{ref}") for ref in ("data.py:load_flights", "replay.py:replay"))
        flights = data((start - 3 * DAY).date().isoformat(), (end + 2 * DAY).date().isoformat())
        weather = load_object(project, "late/data.py:load_weather")()
        feed = load_object(project, "late/replay.py:MetricFeed")(
            origins=("EWR", "JFK", "LGA"), start=start + FEED[0] * DAY, end=start + FEED[1] * DAY
        )
        last = self.ledger.last_day()
        begin = start if last is None else datetime.fromtimestamp(last / 1e6, UTC) + DAY
        if last is not None:
            self.tell.say(f"An earlier demo got to the evening of {begin - DAY:%Y-%m-%d}; this one goes on from there.", "yellow")
            self._recall(replay(flights, weather, begin - 2 * DAY, begin, self.plot.seed, self.plot.share))
            self._pick_up(begin - DAY)
        bar = self.progress.add_task("replaying", total=(end - start).days, completed=(begin - start).days)
        requests = replay(flights, weather, begin, end, self.plot.seed, self.plot.share, feed=feed)
        try:
            for day, asked in by_day(requests, 86_400_000_000):
                now = datetime.fromtimestamp(day / 1e6, UTC)
                self.progress.update(bar, completed=(now - start).days, description=f"{now:%Y-%m-%d}")
                self._day(now, asked)
            self._catch_up(0)
        finally:
            self.callers.close()
            self.progress.update(bar, completed=(end - start).days)

    def _recall(self, asked: Any) -> None:
        """Learn again what was still in the air when an earlier demo ended; a label sent twice is one label."""
        for request in asked:
            self.labels.learn(request_id(request.rows, self.plot.seed), request)

    def _pick_up(self, last: datetime) -> None:
        """Finish what an earlier demo began: the window after its last day, and retrainings that nobody has answered."""
        if last > utc(self.plot.start):
            self._watch(last)
        for alert in reversed(self.making.dana.do(ListAlerts(model="flights", limit=1000))):
            self.told.add(alert.id)
            if alert.job_id is None:
                continue
            versions = versions_of(self.making)
            open_still = any(self.making.cause(versions[release.number]) == alert.id for release in self.making.waiting())
            if open_still or self.making.job(alert.job_id).state in ("waiting", "working"):
                self._alert(alert)
            self.told.add(alert.job_id)

    def _watch(self, now: datetime) -> None:
        """Have the day before judged: by tonight nearly all of its planes have landed."""
        window = WatchWindow(model="flights", start=micros(now - DAY), end=micros(now), as_of=micros(now + DAY))
        self.watching.append(self.making.dana.submit(window, f"watch/{window.start}"))

    def _day(self, now: datetime, asked: list[Any]) -> None:
        number = (now - utc(self.plot.start)).days
        if number == FEED[0]:
            self.tell.say(f"{now:%b %d}: injected: the weather feed now reports Celsius, with temp_unit = C, for {FEED[1] - FEED[0]} days.")
        if number == FEED[1]:
            self.tell.say(f"{now:%b %d}: the weather feed is back to Fahrenheit.")
        if number >= TIDY_UP and self.broken is None and not self._was_proposed():
            self.broken = broken_candidate(self.making, self.plot)
        self._keep_pace()
        answers = self.callers.ask([(request_id(request.rows, self.plot.seed), request.rows) for request in asked])
        self.last_id = answers[-1].request_id
        for request, answer in zip(asked, answers, strict=True):
            self.labels.learn(answer.request_id, request)
        self._send_labels(now + DAY)
        self.ledger.keep(micros(now), _rows(asked, answers))
        self._catch_up(1)
        if number > 0:
            self._watch(now)
        self._releases(now)

    def _keep_pace(self) -> None:
        """Wait until the planes serve what is decided. A load takes seconds: nothing in life, but weeks of the flights' clock."""
        deadline = clock.monotonic() + _PATIENCE
        while clock.monotonic() < deadline and self.making.unsettled():
            clock.sleep(0.05)

    def _was_proposed(self) -> bool:
        """Return whether the tidy-up has had its answer; one that an earlier demo left half way is gone on with."""
        for version in versions_of(self.making).values():
            if version.package.features.endswith("prepare_without_unit"):
                release = self.making.released(version)
                if release is not None:
                    return release.state != "proposed"
                try:
                    return self.making.dana.do(GetReport(ref=version.digest)).outcome == "fail"
                except NotFound:
                    return False
        return False

    def _send_labels(self, now: datetime) -> None:
        known = self.labels.due(micros(now))
        if known:
            times, ids, rows, values = zip(*known, strict=True)
            day = micros(now) // 86_400_000_000
            self.making.dana.do(
                AppendLabels(model="flights", writer="landings", sequence=day, request_id=ids, row=rows, at=times, value=values)
            )

    def _catch_up(self, behind: int) -> None:
        """Wait until at most so many windows are not judged yet, and tell the alerts of those that are."""
        while len(self.watching) > behind:
            job = self.making.wait(self.watching.pop(0))
            if job.error is not None:
                self.tell.say(f"A window could not be judged: {job.error['fact']}", "red")
            elif job.result["alerts"]:
                for alert in self.making.dana.do(ListAlerts(model="flights", limit=20)):
                    if alert.id in job.result["alerts"]:
                        self._alert(alert)

    def _alert(self, alert: Alert) -> None:
        day = datetime.fromtimestamp(alert.start / 1e6, UTC)
        if alert.id not in self.told:
            self.tell.say(f"{day:%b %d}: ALERT [{alert.finding.kind}] {alert.finding.reason}", "bold yellow")
        self.told.add(alert.id)
        if alert.job_id is None or alert.job_id in self.told:
            return
        self.told.add(alert.job_id)
        self.tell.chapter(f"{day:%B %d}: the policy retrains")
        self.tell.say(alert.decision)
        self.tell.say("The flights' clock waits while the worker trains and examines; in life this takes minutes of a day.", "dim")
        job = self.making.wait(self.making.job(alert.job_id))
        if job.error is not None:
            self.tell.say(f"The retraining failed: {job.error['fact']}", "red")
        self._retrained(alert)

    def _retrained(self, alert: Alert) -> None:
        made = [version for version in versions_of(self.making).values() if self.making.cause(version) == alert.id]
        for version in made:
            self.tell.say(f"The run because of alert {alert.id[:16]} made {version.model}/{version.number}.")
            try:
                self.tell.verdicts(self.making.dana.do(GetReport(ref=version.digest)))
            except NotFound as error:
                self.tell.say(str(error), "red")
        for release in self.making.waiting():
            self.making.approve(release, "The checks are green; let the canary decide.")
        if made and not any(release.number == made[-1].number for release in self.making.approved()):
            self.tell.say(f"flights/{made[-1].number} is not proposed: its checks say no. The live version stays.", "red")

    def _releases(self, now: datetime) -> None:
        """Tell every change of a rollout since yesterday."""
        for release in self.making.moving(set(self.states)):
            stands = f"{release.state}: {release.reason}"
            if self.states.get(release.id) != stands:
                self.states[release.id] = stands
                style = {"live": "bold green", "rolled_back": "bold red", "retired": "dim"}.get(release.state, "cyan")
                self.tell.say(f"{now:%b %d}: flights/{release.number} {release.state}. {release.reason}", style)

    def settle(self) -> None:
        """Tell how the deployment stands at the end."""
        deployment = self.making.dana.do(GetDeployment(model="flights"))
        if deployment.stable is not None:
            live = self.making.dana.do(GetRelease(id=deployment.stable))
            self.tell.say(f"At the end flights/{live.number} answers in production.", "green")


def _rows(asked: list[Any], answers: list[Answer]) -> pl.DataFrame:
    parts = []
    for request, answer in zip(asked, answers, strict=True):
        parts.append(
            request.rows.with_columns(
                late=pl.Series(request.late, dtype=pl.Int64),
                loop=pl.Series(answer.values, dtype=pl.Float64),
                version=pl.lit(answer.version),
                track=pl.lit(answer.track),
                request_id=pl.lit(answer.request_id),
            )
        )
    frame: pl.DataFrame = pl.concat(parts)
    return frame


def bar(narrator: Narrator) -> Progress:
    """Return the progress bar, under the story's lines.

    Args:
        narrator: whose console is used.
    """
    columns = (TextColumn("[dim]{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("days"), TimeElapsedColumn())
    return Progress(*columns, console=narrator.console, transient=True, disable=not narrator.console.is_terminal)
