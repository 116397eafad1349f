"""What the processes that answer predictions are told, and what they say of themselves."""

from __future__ import annotations

from typing import Literal

from plimsoll.frozen import dataclass
from plimsoll.records.deployment import Kill, ServingConfig, TrackName
from plimsoll.records.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One version that a plane must have loaded."""

    #: stable, canary or shadow.
    name: TrackName
    #: The release's id.
    release_id: str
    #: Version number.
    number: int
    #: Digest of the package.
    package: str
    #: Share of the traffic, 0 to 1; the shares of a deployment add up to 1, a shadow has 0.
    share: float
    #: How it is served.
    config: ServingConfig
    #: A person granted that the package's code may run.
    trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredModel:
    """What a plane must serve for one model."""

    #: Registered name.
    model: str
    #: Generation of the deployment.
    generation: int
    #: What must be loaded.
    tracks: tuple[Track, ...]
    #: The kill switch.
    kill: Kill | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """What a plane must serve; it keeps the last one it saw and serves on when the server is down."""

    #: The environment.
    environment: str
    #: One for each deployment.
    models: tuple[DesiredModel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GetDesiredState(Request[DesiredState]):
    """Return what a plane of an environment must serve."""

    #: The environment.
    environment: str = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackReport:
    """What a plane says of one track."""

    #: Registered name.
    model: str
    #: The release's id.
    release_id: str
    #: ``loading``, ``ready`` or ``failed``.
    state: Literal["loading", "ready", "failed"]
    #: Why it failed, or is still loading where that is known; empty otherwise.
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPlane(Request[None]):
    """Tell the server what a plane has loaded."""

    #: Unique name of the plane.
    plane: str
    #: The environment.
    environment: str
    #: Address at which it answers, such as ``http://127.0.0.1:5152``.
    address: str
    #: Model -> generation it serves.
    generations: dict[str, int]
    #: One for each track.
    tracks: tuple[TrackReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """The last report of a plane."""

    #: The report.
    report: ReportPlane
    #: UTC microseconds at which it came.
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPlanes(Request[tuple[Plane, ...]]):
    """Return the last report of every plane of an environment."""

    #: The environment.
    environment: str = "production"
