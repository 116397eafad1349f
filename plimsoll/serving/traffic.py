"""Which track answers a request, and what the tracks did.

A unit keeps its track: its place between 0 and 1 is a BLAKE3 digest of the candidate's release and the unit's name, and the
canary takes the places below its share. So growing the share only adds units, and the next candidate meets other units.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from blake3 import blake3

from plimsoll.records.deployment import Kill, TrackName
from plimsoll.records.model import PackageMeta
from plimsoll.records.monitor import LATENCY_EDGES, TrafficCount
from plimsoll.records.plane import DesiredModel, Track
from plimsoll.serving.batching import Replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A track together with the process that answers for it."""

    #: The track.
    track: Track
    #: The process, perhaps shared with another track of the same package.
    replica: Replica


@dataclass(slots=True, kw_only=True, eq=False)
class Route:
    """How one model's requests are answered; replaced as a whole, never changed but for ``users``."""

    #: Registered name.
    model: str
    #: Generation of the deployment.
    generation: int
    #: The kill switch, or None.
    kill: Kill | None
    #: The stable release, or the one that the kill switch names; None when only a fallback is left. See :attr:`good`.
    stable: Lane | None
    #: The candidate that answers a share, or None.
    canary: Lane | None
    #: The candidate that answers copies, or None.
    shadow: Lane | None
    #: The release to return to, kept loaded, or None; it answers nobody.
    previous: Lane | None
    #: Answer for every row when nothing can answer, or None.
    fallback: float | None
    #: Requests that are on this route now; its processes are stopped only after the last.
    users: int = 0

    @property
    def good(self) -> Lane | None:
        """What answers when no candidate does: the stable lane, and with the kill switch on only of the release it names."""
        if self.kill is None or self.stable is None:
            return self.stable
        named = self.kill.mode == "stable" and self.stable.track.release_id == self.kill.release_id
        return self.stable if named else None

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Everything loaded, stable first."""
        return tuple(lane for lane in (self.stable, self.canary, self.shadow, self.previous) if lane is not None)

    @property
    def meta(self) -> PackageMeta | None:
        """What the model takes and gives: the stable track's, else the first loaded one's; None when none is loaded."""
        return next((lane.replica.meta for lane in self.lanes if lane.replica.meta is not None), None)

    @property
    def optional(self) -> dict[str, str]:
        """Columns that only a candidate takes, by name, with their types."""
        others = (lane.replica.meta for lane in (self.canary, self.shadow) if lane is not None)
        return {column.name: column.dtype for meta in others if meta is not None for column in meta.signature.inputs}

    def numbered(self, version: int) -> Lane | None:
        """Return the lane of a version that answers callers now.

        Args:
            version: version number.
        """
        lanes = (self.stable, self.canary)
        return next((lane for lane in lanes if lane is not None and lane.track.number == version), None)


def place(salt: str, unit: str) -> float:
    """Return a unit's place, uniform in [0, 1).

    Args:
        salt: the candidate's release id.
        unit: name of the unit.
    """
    # The length keeps ("ab", "c") and ("a", "bc") apart; 53 bits are what a float holds exactly.
    tagged = f"{len(salt)}:{salt}{unit}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(blake3(tagged).digest(length=8), "big") >> 11) / 2**53


def takes_canary(route: Route, unit: str) -> bool:
    """Return whether the canary answers this unit.

    Args:
        route: the model's route.
        unit: name of the unit, or the request's id when it has none.
    """
    if route.canary is None or route.kill is not None:
        return False
    return place(route.canary.track.release_id, unit) < route.canary.track.share


def arrange(desired: DesiredModel, loaded: dict[Track, Replica], before: Route | None) -> Route:
    """Return the route that comes nearest to what is desired with what can answer now.

    A candidate that is not loaded yet gets no traffic: its share stays with stable. A new stable that is not loaded yet
    leaves the old stable in its place. So a smaller share or a return never wait for a load. A kill switch waits for none
    either: until the release that it names is loaded, nothing stands in for it but the declared default.

    Args:
        desired: what the server wants.
        loaded: each desired track with its process, ready or not.
        before: the route until now, or None.
    """
    stables = sorted((track for track in desired.tracks if track.name == "stable"), key=lambda track: -track.share)
    lanes = {track: Lane(track=track, replica=replica) for track, replica in loaded.items()}
    known = {lane.replica for lane in before.lanes} if before is not None else set()

    def usable(lane: Lane) -> bool:
        # A process that was routed to and is being restarted keeps its place: that its requests fail is what must be seen.
        return lane.replica.state == "ready" or (lane.replica in known and lane.replica.meta is not None)

    def first(name: str) -> Lane | None:
        return next((lanes[track] for track in desired.tracks if track.name == name and usable(lanes[track])), None)

    stable = lanes[stables[0]] if stables else None
    old = before.stable if before is not None else None
    if stable is not None and not usable(stable) and old is not None:
        # Never what the kill switch was pulled for.
        stable = old if desired.kill is None or old.track.release_id == desired.kill.release_id else stable
    previous = next((lanes[track] for track in stables[1:]), None)
    fallback = next((track.config.fallback for track in (*stables, *desired.tracks) if track.config.fallback is not None), None)
    return Route(
        model=desired.model,
        generation=desired.generation,
        kill=desired.kill,
        stable=stable,
        canary=first("canary"),
        shadow=first("shadow"),
        previous=previous,
        fallback=fallback,
    )


def cell(micros: int) -> int:
    """Return the index of a latency's cell.

    Args:
        micros: microseconds.
    """
    return bisect_left(LATENCY_EDGES, micros)


def flips(stable: Sequence[float], other: Sequence[float], threshold: float) -> int:
    """Return on how many rows two tracks decide differently.

    Args:
        stable: answers of the stable track.
        other: answers of the other track, as many.
        threshold: an answer at or above it is a yes.
    """
    return sum((a >= threshold) != (b >= threshold) for a, b in zip(stable, other, strict=True))


class Tally(msgspec.Struct, array_like=True, kw_only=True):
    """Counters of one track in one generation; tallies of the same track add up."""

    #: The release's id; empty for a fallback.
    release_id: str
    #: Name of the track.
    track: TrackName
    #: Generation of the deployment.
    generation: int
    #: Answered requests.
    requests: int = 0
    #: Of these, failed ones.
    errors: int = 0
    #: Requests by latency cell; cells without a request are left out.
    latency: dict[int, int] = {}
    #: Rows that the stable track answered too.
    paired: int = 0
    #: Of these, rows decided differently.
    flipped: int = 0

    def add(self, other: Tally) -> None:
        """Add another tally of the same track and generation.

        Args:
            other: what to add.
        """
        self.requests += other.requests
        self.errors += other.errors
        self.paired += other.paired
        self.flipped += other.flipped
        for index, count in other.latency.items():
            self.latency[index] = self.latency.get(index, 0) + count

    def record(self) -> TrafficCount:
        """Return the counters as they are reported."""
        return TrafficCount(
            release_id=self.release_id,
            track=self.track,
            generation=self.generation,
            requests=self.requests,
            errors=self.errors,
            latency=tuple(self.latency.get(index, 0) for index in range(len(LATENCY_EDGES) + 1)),
            paired=self.paired,
            flipped=self.flipped,
        )


def merge(tallies: Sequence[Tally]) -> list[Tally]:
    """Return one tally for each release, track and generation, in order of first appearance.

    Args:
        tallies: any tallies; they are left as they are.
    """
    found: dict[tuple[str, str, int], Tally] = {}
    for tally in tallies:
        key = (tally.release_id, tally.track, tally.generation)
        if key not in found:
            found[key] = Tally(release_id=tally.release_id, track=tally.track, generation=tally.generation)
        found[key].add(tally)
    return list(found.values())
