"""The way of one request: which track, its answer, what stands in when it fails, the copy for the shadow, the log."""

from __future__ import annotations

import asyncio
from array import array
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from plimsoll import clock
from plimsoll.errors import DeadlineExceeded, InvalidInput, NotFound, Overloaded, PlimsollError, Unavailable
from plimsoll.records.deployment import TrackName
from plimsoll.serving.prediction_log import Entry
from plimsoll.serving.traffic import Lane, Route, Tally, cell, flips, takes_canary

#: Part of the time until its deadline that a request gives the canary; the rest is for stable to stand in.
CANARY_PATIENCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A decoded request."""

    #: Version that the caller insists on, or None.
    version: int | None
    #: What the caller called it, or a new id.
    request_id: str
    #: ``traceparent``; empty when there was none.
    trace: str
    #: Columns of the signature by name, each of ``rows`` values.
    columns: dict[str, list[Any]]
    #: Number of rows, at least 1.
    rows: int
    #: Unit of each row as text; empty text where it has none.
    unit: list[str]
    #: Event time of each row, UTC microseconds.
    at: list[int]
    #: Arrival, seconds on the monotonic clock.
    arrived: float
    #: Seconds on the monotonic clock after which nobody wants the answer.
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request got."""

    #: One number a row.
    values: list[float]
    #: Which track answered.
    track: TrackName
    #: Version that answered; None for a declared default.
    number: int | None
    #: True when a kill switch is on or the declared default was given.
    fallback: bool
    #: The kill switch's mode, or None when it is off.
    kill: Literal["stable", "fallback"] | None


class Log(Protocol):
    """Where predictions are written."""

    def append(self, entry: Entry) -> None:
        """Keep an entry so that it outlives this process; never waits for a network."""
        ...


class Predictor:
    """Answers requests along a route.

    Args:
        log: gets every request before its answer goes out, or None to log nothing.
    """

    def __init__(self, log: Log | None) -> None:
        self._log = log
        self._shadows: set[asyncio.Task[None]] = set()

    async def answer(self, route: Route, call: Call) -> Answer:
        """Return the answer; it is in the log before this returns, and so is a failure.

        Args:
            route: the model's route; its ``users`` are counted here.
            call: the request.

        Raises:
            NotFound: the caller insists on a version that answers nobody now.
            Overloaded: too many requests wait.
            Unavailable: nothing can answer and no default is declared.
            DeadlineExceeded: the answer would come too late.
            PredictionFailed: the model failed.
        """
        route.users += 1
        tallies: list[Tally] = []
        try:
            answer, release = await self._answer(route, call, tallies)
            self._write(route, call, tallies, answer.track, release, answer.values, 200)
        except Overloaded:
            # A refused request costs next to nothing and stays out of the log, or the log would fall to the same load.
            raise
        except PlimsollError as error:
            if tallies:
                self._write(route, call, tallies, tallies[-1].track, tallies[-1].release_id, [float("nan")] * call.rows, error.status)
            raise
        finally:
            route.users -= 1
        if route.shadow is not None and route.kill is None and answer.track == "stable":
            self._copy(route, route.shadow, call, answer.values)
        return answer

    async def drain(self) -> None:
        """Wait for the shadow calls under way."""
        while self._shadows:
            await asyncio.gather(*self._shadows, return_exceptions=True)

    async def _answer(self, route: Route, call: Call, tallies: list[Tally]) -> tuple[Answer, str]:
        if route.kill is not None and route.kill.mode == "fallback":
            return self._default(route, call, tallies, Unavailable("The kill switch is on.", "Ask the people who operate this model."))
        if call.version is not None:
            return await self._insisted(route, call, call.version, tallies)
        if route.canary is not None and takes_canary(route, call.unit[0] or call.request_id):
            patience = call.deadline
            if route.stable is not None:
                patience = call.arrived + CANARY_PATIENCE * (call.deadline - call.arrived)
            try:
                return await self._ask(route, route.canary, call, patience, tallies)
            except PlimsollError:
                # It is counted as the canary's error. The caller never pays for a candidate while stable lives.
                if route.stable is None:
                    raise
        stable = route.good
        if stable is None:
            return self._default(route, call, tallies, _nothing(route))
        try:
            return await self._ask(route, stable, call, call.deadline, tallies)
        except InvalidInput:
            for tally in tallies:
                tally.errors = 0
            raise
        except Unavailable as error:
            if route.fallback is None:
                raise
            return self._default(route, call, tallies, error)

    async def _insisted(self, route: Route, call: Call, version: int, tallies: list[Tally]) -> tuple[Answer, str]:
        lane = route.numbered(version)
        if lane is None or (route.kill is not None and lane is not route.good):
            raise NotFound(f"Version {version} of {route.model!r} answers nobody now.", "Ask without a version, or for one that is live.")
        return await self._ask(route, lane, call, call.deadline, tallies)

    async def _ask(self, route: Route, lane: Lane, call: Call, deadline: float, tallies: list[Tally]) -> tuple[Answer, str]:
        track = lane.track
        began = clock.monotonic()
        tally = Tally(release_id=track.release_id, track=track.name, generation=route.generation, requests=1)
        try:
            values = await lane.replica.predict(call.columns, call.rows, deadline)
        except Overloaded:
            raise
        except PlimsollError as error:
            # Rows that fit the stable model's signature and not this one's are this one's failure.
            tally.errors = int(error.status >= 500 or track.name == "canary")
            tallies.append(_timed(tally, began))
            raise
        tallies.append(_timed(tally, began))
        kill = route.kill.mode if route.kill is not None else None
        found = Answer(values=values.tolist(), track=track.name, number=track.number, fallback=kill is not None, kill=kill)
        return found, track.release_id

    def _default(self, route: Route, call: Call, tallies: list[Tally], error: PlimsollError) -> tuple[Answer, str]:
        if route.fallback is None:
            raise error
        tally = Tally(release_id="", track="fallback", generation=route.generation, requests=1)
        tallies.append(_timed(tally, call.arrived))
        kill = route.kill.mode if route.kill is not None else None
        return Answer(values=[route.fallback] * call.rows, track="fallback", number=None, fallback=True, kill=kill), ""

    def _copy(self, route: Route, shadow: Lane, call: Call, values: list[float]) -> None:
        route.users += 1
        task = asyncio.get_running_loop().create_task(self._shadow(route, shadow, call, values))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(self, route: Route, shadow: Lane, call: Call, stable: list[float]) -> None:
        began = clock.monotonic()
        track = shadow.track
        tally = Tally(release_id=track.release_id, track="shadow", generation=route.generation, requests=1)
        status, values = 200, array("d", [float("nan")] * call.rows)
        try:
            values = await shadow.replica.predict(call.columns, call.rows, began + track.config.deadline_ms / 1000)
            tally.paired = call.rows
            meta = route.meta
            if meta is not None:
                tally.flipped = flips(stable, values, meta.purpose.costs.threshold)
        except Overloaded:
            # A copy is only made when there is room for it.
            return
        except PlimsollError as error:
            status, tally.errors = error.status, 1
        finally:
            route.users -= 1
        self._write(route, call, [_timed(tally, began)], "shadow", track.release_id, values.tolist(), status, began)

    def _write(
        self,
        route: Route,
        call: Call,
        tallies: list[Tally],
        track: TrackName,
        release: str,
        values: list[float],
        status: int,
        began: float | None = None,
    ) -> None:
        if self._log is None:
            return
        self._log.append(
            Entry(
                model=route.model,
                request_id=call.request_id,
                at=call.at,
                unit=call.unit,
                track=track,
                release_id=release,
                output=values,
                status=status,
                latency=_micros(call.arrived if began is None else began),
                trace=call.trace,
                inputs=call.columns,
                tallies=tallies,
            )
        )


def too_late(call: Call) -> None:
    """Refuse a request whose deadline passed before it was understood.

    Args:
        call: the request.

    Raises:
        DeadlineExceeded: it has passed.
    """
    if clock.monotonic() >= call.deadline:
        raise DeadlineExceeded("The request's deadline passed while it was read.", "Allow it more time, or send fewer rows.")


def _nothing(route: Route) -> Unavailable:
    return Unavailable(f"Nothing is loaded for {route.model!r} yet.", "Send it again after the time in Retry-After.", retry_after=1)


def _micros(began: float) -> int:
    return round((clock.monotonic() - began) * 1e6)


def _timed(tally: Tally, began: float) -> Tally:
    tally.latency = {cell(_micros(began)): 1}
    return tally
