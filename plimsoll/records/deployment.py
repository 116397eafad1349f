"""Environments, releases and what serves a model's traffic."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.model import Lineage
from plimsoll.records.request import Json, Request, check_digest, check_limit, check_slug

#: ``proposed`` -> ``approved`` -> ``rolling`` -> ``live`` -> ``retired``; or ``rejected`` / ``rolled_back``.
ReleaseState = Literal["proposed", "approved", "rolling", "live", "retired", "rejected", "rolled_back"]

#: Which part of a deployment answered.
TrackName = Literal["stable", "canary", "shadow", "fallback"]

#: What a judgement advises.
Advice = Literal["wait", "advance", "revert"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStep:
    """One stage on the way to all traffic."""

    #: Share of the traffic that the candidate answers, 0 to 1; 0 means shadow only.
    share: float
    #: Requests that the candidate must have answered (or shadowed) in this stage before it may go on.
    requests: int

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and self.requests >= 1):
            raise InvalidInput(
                f"A rollout step with share {self.share} and {self.requests} requests makes no sense.",
                "Use a share from 0 to 1 and at least one request.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """What an environment asks of a release."""

    #: A version with a failed or missing check report is refused.
    checks: bool = True
    #: Approvals by different people, none of them the author.
    approvals: int = 1
    #: The stages; the last must have share 1.
    steps: tuple[RolloutStep, ...] = (
        RolloutStep(share=0.0, requests=300),
        RolloutStep(share=0.05, requests=50),
        RolloutStep(share=0.25, requests=200),
        RolloutStep(share=0.5, requests=300),
        RolloutStep(share=1.0, requests=1),
    )
    #: Chance of reverting a candidate that is no worse, over a whole rollout.
    alpha: float = 0.01
    #: The candidate's 95th percentile of latency may be this many times the stable one's.
    latency_factor: float = 3.0
    #: Share of changed decisions between candidate and stable that is always allowed.
    flip_floor: float = 0.02
    #: Live share of changed decisions may be this many times the share seen by the checks.
    flip_factor: float = 2.0

    def __post_init__(self) -> None:
        if not self.steps or self.steps[-1].share != 1.0:
            raise InvalidInput("A rollout must end with all of the traffic.", "Let the last step have share = 1.0.")
        if self.approvals < 0:
            raise InvalidInput(f"{self.approvals} approvals make no sense.", "Use 0 or more.")
        if not (0 < self.alpha < 1 and 0 < self.flip_floor < 1 <= min(self.latency_factor, self.flip_factor)):
            limits = {name: getattr(self, name) for name in ("alpha", "flip_floor", "latency_factor", "flip_factor")}
            raise InvalidInput(f"Nothing can be judged with {limits}.", "alpha and flip_floor lie between 0 and 1; factors are at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A place where releases live, with its rules."""

    #: Unique name.
    name: str
    #: Its rules.
    policy: ReleasePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEnvironment(Request[Environment]):
    """Create an environment or replace its rules; rollouts under way keep the rules they began with."""

    #: Unique name.
    name: str
    #: Its rules.
    policy: ReleasePolicy

    def __post_init__(self) -> None:
        check_slug("Environment", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEnvironments(Request[tuple[Environment, ...]]):
    """Return all environments, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """How a version is served; part of what an approval is bound to."""

    #: Rows in one batch at most.
    batch_rows: int = 256
    #: Requests that may wait for a replica; more are answered with 429.
    queue: int = 256
    #: Milliseconds after which a request that has not been answered is given up with 504.
    deadline_ms: int = 10_000
    #: Threads of the model's process.
    threads: int = 1
    #: Answer for every row when the kill switch is on and no good version can answer; None gives 503.
    fallback: float | None = None

    def __post_init__(self) -> None:
        if min(self.batch_rows, self.queue, self.deadline_ms, self.threads) < 1:
            raise InvalidInput("A serving limit is below 1.", "Use whole numbers of at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version and its configuration, bound by digest for one environment."""

    #: UUIDv7 in hex.
    id: str
    #: The environment.
    environment: str
    #: Registered name.
    model: str
    #: Version number.
    number: int
    #: Digest of the package.
    package: str
    #: How it is served.
    config: ServingConfig
    #: BLAKE3 over environment, model, package and config: what an approval says yes to.
    digest: str
    #: Name of the actor who made the version.
    author: str
    #: Name of the actor who proposed the release.
    proposer: str
    #: Where it stands.
    state: ReleaseState
    #: Why it stands there, in one sentence.
    reason: str
    #: UTC microseconds.
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRelease(Request[Release]):
    """Propose a version for an environment. The same proposal while one is open gives that one."""

    #: Reference of the version as in ``GetVersion``.
    ref: str
    #: The environment.
    environment: str = "production"
    #: How it is served.
    config: ServingConfig = ServingConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRelease(Request[Release]):
    """Return a release by id, or by the beginning of its id when only one release has it."""

    #: Id or at least its first 6 digits.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListReleases(Request[tuple[Release, ...]]):
    """Return releases, newest first."""

    #: Only of this environment.
    environment: str | None = None
    #: Only of this model.
    model: str | None = None
    #: Only in this state.
    state: ReleaseState | None = None
    #: At most so many.
    limit: int = 50

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's yes to a release's digest."""

    #: The release's id.
    release_id: str
    #: The digest that was approved.
    digest: str
    #: Name of the actor.
    actor: str
    #: What they wrote.
    note: str
    #: UTC microseconds.
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveRelease(Request[Release]):
    """Say yes to a release. Refused to its author, to programs, and when the digest is another one."""

    #: The release's id.
    id: str
    #: The digest that the approver looked at.
    digest: str
    #: Why, for the audit log.
    note: str = ""

    def __post_init__(self) -> None:
        check_digest("Release digest", self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRelease(Request[Release]):
    """Say no to a proposed or approved release."""

    #: The release's id.
    id: str
    #: Why.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListApprovals(Request[tuple[Approval, ...]]):
    """Return who said yes to a release."""

    #: The release's id.
    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """The switch that stops a model from answering by itself."""

    #: ``stable`` sends all traffic to the last good version; ``fallback`` answers the declared default.
    mode: Literal["stable", "fallback"]
    #: Why.
    reason: str
    #: Name of the actor.
    actor: str
    #: UTC microseconds.
    at: int
    #: Release that answers meanwhile; None answers the declared default.
    release_id: str | None = None
    #: The last good release when the switch was first pulled, whether or not it answers; None when there is none.
    good: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What serves one model's traffic in one environment."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str
    #: Release that answers, or None before the first.
    stable: str | None
    #: The release that was stable before; it stays loaded and is what a roll back returns to.
    previous: str | None
    #: Release under way, or None.
    candidate: str | None
    #: Index of its rollout step.
    step: int
    #: The kill switch, or None when off.
    kill: Kill | None
    #: Rises with every change; planes report which one they have.
    generation: int
    #: UTC microseconds of the last change.
    updated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDeployments(Request[tuple[Deployment, ...]]):
    """Return all deployments."""

    #: Only of this environment.
    environment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetDeployment(Request[Deployment]):
    """Return one deployment."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRollout(Request[Deployment]):
    """Put an approved release on its first rollout step; with nothing live yet it takes all traffic at once."""

    #: The release's id.
    release_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRollout(Request[Deployment]):
    """Move the candidate one step on, or roll it back. A person and the worker use the same verb."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"
    #: ``advance`` or ``revert``.
    to: Literal["advance", "revert"]
    #: Why.
    reason: str
    #: Refused when the deployment has moved on from this generation; None moves it as it stands.
    generation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBack(Request[Deployment]):
    """Return to the release that was stable before."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"
    #: Why.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KillDeployment(Request[Deployment]):
    """Pull the kill switch: callers go on getting answers in the same schema, marked as a fallback."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"
    #: ``stable``: from the last good version; ``fallback``: the declared default.
    mode: Literal["stable", "fallback"] = "stable"
    #: Why.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviveDeployment(Request[Deployment]):
    """Turn the kill switch off."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"
    #: Why.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the evidence says about a rollout."""

    #: What to do.
    advice: Advice
    #: One sentence with the decisive numbers.
    reason: str
    #: All numbers behind it.
    numbers: dict[str, Json] = field(default_factory=dict)
    #: Generation of the deployment that was judged.
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRollout(Request[Judgement]):
    """Weigh the evidence of the rollout under way, without moving it."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where one answer came from: which model, which data, which code, who approved it."""

    #: The logged prediction, one dict a row: inputs, answer, track, latency.
    rows: tuple[dict[str, Json], ...]
    #: The release that answered, or None for a fallback without one.
    release: Release | None
    #: Who said yes to it.
    approvals: tuple[Approval, ...]
    #: Version, run, data, checks and grants; None without a release.
    lineage: Lineage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainPrediction(Request[Explanation]):
    """Return the lineage of one answer."""

    #: The request's id, as returned to the caller.
    request_id: str
