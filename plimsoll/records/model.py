"""Model versions, what they are for, and what was found out about them."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput, Refused
from plimsoll.frozen import dataclass
from plimsoll.records.data import Column, Snapshot
from plimsoll.records.request import Json, Request, check_digest, check_limit, check_slug
from plimsoll.records.run import Run

#: MLflow's stages: labels that open nothing.
Stage = Literal["none", "staging", "production", "archived"]

#: ``fail`` blocks a release; ``warn`` is shown to the approver.
Outcome = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a wrong decision costs, in money per row."""

    #: Acting on a row that was negative.
    false_alarm: float
    #: Not acting on a row that was positive.
    missed: float
    #: Currency code, for display.
    currency: str = "USD"

    def __post_init__(self) -> None:
        if not (self.false_alarm > 0 and self.missed > 0):
            raise InvalidInput(
                f"Costs must be positive, not false_alarm={self.false_alarm} and missed={self.missed}.",
                "Set both in [tool.plimsoll.models.NAME.costs].",
            )

    @property
    def threshold(self) -> float:
        """Probability from which acting is cheaper than not acting: false_alarm / (false_alarm + missed)."""
        return self.false_alarm / (self.false_alarm + self.missed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a model may take from its host."""

    #: Seconds from the start of a fresh process to its first answer.
    load_seconds: float = 20.0
    #: Resident memory of that process at its peak, MiB.
    memory_mib: float = 800.0
    #: 99th percentile of one-row requests over HTTP, milliseconds.
    latency_ms: float = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a model is for and which line it must not cross: ``[tool.plimsoll.models.NAME]``."""

    #: One sentence.
    goal: str
    #: Column that holds the truth, 0 or 1.
    label: str
    #: Column that identifies a row and keeps its track in a canary.
    unit: str
    #: Column with the moment that a row is about (UTC); it orders splits and windows.
    time: str
    #: What a wrong decision costs.
    costs: Costs
    #: Pipeline that makes the model, as ``path.py:name``.
    pipeline: str = ""
    #: The manual rule that the model replaces, as ``path.py:name``: frame -> 0/1 per row.
    baseline: str = ""
    #: Money per row that a model must save over the manual rule to be worth deploying.
    minimum_saving: float = 0.0
    #: Money per row by which a candidate may be worse than production without being refused.
    margin: float = 0.0
    #: Columns whose values are judged one by one.
    slices: tuple[str, ...] = ()
    #: Rows below which a slice is not judged.
    slice_rows: int = 200
    #: Column -> stage at which it becomes known, for columns not known at ``decision_stage``.
    known_at: dict[str, str] = field(default_factory=dict)
    #: The stage at which predictions are made, in words.
    decision_stage: str = "decision"
    #: Load time, memory, latency.
    budget: Budget = Budget()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes and gives."""

    #: Columns a request must have, in this order, with polars types.
    inputs: tuple[Column, ...]
    #: The one output column: Float64, one value a row.
    output: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageMeta:
    """``package.json`` of a model package."""

    #: Format of the package.
    format: Literal[1] = 1
    #: Registered name.
    model: str
    #: ``sklearn``: file ``model.skops``. ``lightgbm``: file ``model.txt``. ``python_function``: folder ``mlflow``, for MLflow to load.
    flavor: str
    #: What it takes and gives.
    signature: Signature
    #: What it is for.
    purpose: Purpose
    #: Feature function inside ``code/``, as ``package.module:name``; empty when the model takes the input as it is.
    features: str
    #: Exact versions of the distributions it needs, by name, and ``python``.
    requirements: dict[str, str]
    #: Role -> snapshot digest, such as ``training`` and ``holdout``.
    data: dict[str, str]
    #: Estimator's class and parameters, for people.
    estimator: dict[str, Json] = field(default_factory=dict)
    #: Classes and functions in the model file that are not known to be harmless; only a grant for this very package lets them be built.
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Immutable files under a registered name: a package of ours, or files in another layout, such as MLflow's."""

    #: Registered name.
    model: str
    #: From 1.
    number: int
    #: Digest of the manifest of its files.
    digest: str
    #: The run that made it; empty when none did.
    run_id: str
    #: Name of the actor who began that run, or who registered it without one.
    author: str
    #: UTC microseconds.
    created: int
    #: Contents of ``package.json``; None for files in another layout, which are kept and given out, but not checked or served.
    meta: PackageMeta | None
    #: Aliases that point to it now.
    aliases: tuple[str, ...] = ()
    #: UTC microseconds of the last change of description, stage or tags.
    updated: int = 0
    #: For people.
    description: str = ""
    #: Tags by name.
    tags: dict[str, str] = field(default_factory=dict)
    #: A label for people; what is served is decided by releases.
    stage: Stage = "none"
    #: Where its client said that the files are; empty for a package.
    source: str = ""
    #: The logged model that it was made of; empty when none was.
    model_id: str = ""

    @property
    def package(self) -> PackageMeta:
        """Contents of ``package.json``.

        Raises:
            Refused: the version is no package of ours.
        """
        if self.meta is None:
            raise Refused(
                f"{self.model}/{self.number} is not a package of Plimsoll; its files are {self.source or 'in another layout'}.",
                f"Make a package of a model that MLflow wrote with: plimsoll models pack {self.model}/{self.number}",
            )
        return self.meta


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateVersion(Request[Version]):
    """Number a stored package. The same package again gives the version it already is."""

    #: Registered name; must equal the package's.
    model: str
    #: Digest of the package's manifest; it and all its files must be stored.
    digest: str
    #: The run that made it.
    run_id: str

    def __post_init__(self) -> None:
        check_slug("Model", self.model)
        check_digest("Package", self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetVersion(Request[Version]):
    """Return a version by ``name/3``, ``name@alias``, ``name`` (the newest) or a package digest."""

    #: The reference.
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListVersions(Request[tuple[Version, ...]]):
    """Return versions, newest first."""

    #: Only versions of this model.
    model: str | None = None
    #: At most so many.
    limit: int = 50

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one check found."""

    #: Name of the check, such as ``availability``.
    check: str
    #: pass, warn or fail.
    outcome: Outcome
    #: One or two sentences a reader without the code understands, with the decisive numbers.
    reason: str
    #: All numbers behind it, JSON-able.
    numbers: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """All verdicts of one examination of one version."""

    #: UUIDv7 in hex.
    id: str
    #: Registered name.
    model: str
    #: Version number.
    number: int
    #: Digest of the version that production served then, or None.
    champion: str | None
    #: One for each check that ran.
    verdicts: tuple[Verdict, ...]
    #: UTC microseconds.
    created: int

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of all verdicts."""
        found = {verdict.outcome for verdict in self.verdicts}
        return "fail" if "fail" in found or not found else "warn" if "warn" in found else "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckVersion(Request[CheckReport]):
    """Examine a version on the worker, against the version that the environment serves now."""

    #: Reference as in :class:`GetVersion`.
    ref: str
    #: The environment whose live version is the one to beat.
    environment: str = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReport(Request[CheckReport]):
    """Keep the verdicts of an examination; only the worker may."""

    #: The report.
    report: CheckReport


@dataclass(frozen=True, slots=True, kw_only=True)
class GetReport(Request[CheckReport]):
    """Return the newest report of a version; none is ``NotFound``."""

    #: Reference as in :class:`GetVersion`.
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A person's word that the code inside a package may run."""

    #: Digest of the package.
    digest: str
    #: Name of the actor.
    actor: str
    #: Why.
    reason: str
    #: UTC microseconds.
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPackage(Request[Grant]):
    """Allow the code inside a package to run."""

    #: Digest of the package.
    digest: str
    #: Why.
    reason: str = ""

    def __post_init__(self) -> None:
        check_digest("Package", self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListGrants(Request[tuple[Grant, ...]]):
    """Return who allowed a package's code to run; empty when nobody did."""

    #: Digest of the package.
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version comes from."""

    #: The version.
    version: Version
    #: The run that made it, or None when none did.
    run: Run | None
    #: Role -> snapshot.
    data: dict[str, Snapshot]
    #: Newest report, or None.
    report: CheckReport | None
    #: Who allowed its code to run.
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLineage(Request[Lineage]):
    """Return version, run, data, checks and grants in one answer."""

    #: Reference as in :class:`GetVersion`.
    ref: str
