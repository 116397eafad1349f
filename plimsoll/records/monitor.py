"""Predictions, labels, and what watching them found."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.deployment import TrackName
from plimsoll.records.request import Json, Request, check_limit

#: ``input``: a column's distribution; ``prediction``: the answers'; ``quality``: nulls, types, ranges;
#: ``performance``: AUC, calibration or money once labels came.
FindingKind = Literal["input", "prediction", "quality", "performance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionColumns:
    """Logged rows as columns of equal length: one row of one request each."""

    #: Request id.
    request_id: tuple[str, ...]
    #: Index of the row in its request.
    row: tuple[int, ...]
    #: Event time, UTC microseconds: what the caller said the row is about, else the time of arrival.
    at: tuple[int, ...]
    #: Value of the purpose's unit column as text; empty when the request had none.
    unit: tuple[str, ...]
    #: stable, canary, shadow or fallback.
    track: tuple[TrackName, ...]
    #: The release's id; empty for a fallback.
    release_id: tuple[str, ...]
    #: The answer; NaN when there was none.
    output: tuple[float, ...]
    #: HTTP status of the request (of a shadow: what it would have been).
    status: tuple[int, ...]
    #: Microseconds from the request's arrival to its answer.
    latency: tuple[int, ...]
    #: ``traceparent`` of the request; empty when it had none.
    trace: tuple[str, ...]
    #: Input columns by name, each of the same length; None where a row lacks it.
    inputs: dict[str, tuple[Json, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficCount:
    """What one track did since the last report. Counted for every request, also for those that the log dropped."""

    #: The release's id.
    release_id: str
    #: The track.
    track: TrackName
    #: Generation of the deployment under which the requests came.
    generation: int
    #: Answered requests.
    requests: int
    #: Of these, answers with a status of 500 and above.
    errors: int
    #: Counts of latency in the cells of :data:`LATENCY_EDGES`, one more cell than edges.
    latency: tuple[int, ...]
    #: Rows answered by both this track and the stable one.
    paired: int = 0
    #: Of these, rows on which the decision (answer at or above the cost threshold) differs from the stable one's.
    flipped: int = 0


#: Upper edges of the latency cells, in microseconds; a factor of sqrt(2) from 0.5 ms to 11.6 s.
LATENCY_EDGES: tuple[int, ...] = tuple(round(500 * 2 ** (i / 2)) for i in range(30))


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReceipt:
    """What the store now holds of one plane."""

    #: Last sequence applied.
    sequence: int
    #: Rows that this request added; 0 when it had been applied before.
    added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendPredictions(Request[PredictionReceipt]):
    """Append logged rows and counts. A batch seen before (same plane, sequence not larger) changes nothing."""

    #: Unique name of the plane.
    plane: str
    #: Rises by one with each batch of the plane, from 1.
    sequence: int
    #: Registered name.
    model: str
    #: The environment.
    environment: str
    #: The rows.
    rows: PredictionColumns
    #: What the tracks did.
    counts: tuple[TrafficCount, ...]
    #: Rows that were dropped from the log because its buffer was full.
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendLabels(Request[PredictionReceipt]):
    """Append truths, joined to predictions by request id and row. The label that arrived last replaces earlier ones."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"
    #: Unique name of the writing process.
    writer: str
    #: Rises by one with each batch of the writer, from 1.
    sequence: int
    #: Request id, for each label.
    request_id: tuple[str, ...]
    #: Index of the row in its request, for each label.
    row: tuple[int, ...]
    #: When the truth became known, UTC microseconds, for each label.
    at: tuple[int, ...]
    #: 0 or 1, for each label.
    value: tuple[int, ...]

    def __post_init__(self) -> None:
        if len({len(self.request_id), len(self.row), len(self.at), len(self.value)}) != 1:
            raise InvalidInput("The columns of labels have different lengths.", "Send request_id, row, at and value of one length.")
        if not set(self.value) <= {0, 1}:
            raise InvalidInput("A label is neither 0 nor 1.", "Send 1 for a positive row and 0 for a negative one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One judged difference."""

    #: What was judged.
    kind: FindingKind
    #: Column, ``prediction``, or the metric's name.
    subject: str
    #: True when it is worth a person within the false-alarm budget.
    alarming: bool
    #: Probability of so large a difference when nothing changed, adjusted for all comparisons; None when not a test.
    p_value: float | None
    #: One sentence with the decisive numbers.
    reason: str
    #: All numbers behind it.
    numbers: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReport:
    """What was found in one window of a deployment's traffic."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str
    #: Event time of the first row that may be in it, UTC microseconds.
    start: int
    #: Event time of the first row after it.
    end: int
    #: Rows that the stable or canary track answered.
    rows: int
    #: Rows whose label was known by ``as_of``.
    labels: int
    #: Numbers by name: ``auc``, ``brier``, ``money_per_row``, ``positive_share``, ``mean_prediction``; absent when not known.
    metrics: dict[str, float]
    #: The same by slice: ``carrier=AA`` -> numbers.
    slices: dict[str, dict[str, float]]
    #: Everything that was judged.
    findings: tuple[Finding, ...]
    #: Ids of alerts that this window raised.
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchWindow(Request[WindowReport]):
    """Judge one window on the worker. Watching the same window again replaces its report and repeats no alert."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"
    #: Event time, UTC microseconds, inclusive.
    start: int
    #: Event time, UTC microseconds, exclusive.
    end: int
    #: Labels known later than this are not used; None uses all that are there.
    as_of: int | None = None

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise InvalidInput("The window ends before it starts.", "Give an end after the start.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordWindow(Request[WindowReport]):
    """Keep what was found in a window, raise its alerts and ask the retraining policy; only the worker may."""

    #: The report; its alerts are filled in.
    report: WindowReport
    #: What later windows are compared with, as msgpack.
    table: bytes = field(repr=False)
    #: Labelled rows since the live model's training.
    labelled: int
    #: Pipeline that makes the model, as ``path.py:name``; empty when the purpose names none.
    pipeline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWindows(Request[tuple[WindowReport, ...]]):
    """Return window reports, newest first."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"
    #: At most so many.
    limit: int = 50

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A finding worth a person."""

    #: UUIDv7 in hex.
    id: str
    #: Registered name.
    model: str
    #: The environment.
    environment: str
    #: Event time of the window's start, UTC microseconds.
    start: int
    #: Event time of the window's end.
    end: int
    #: What was found.
    finding: Finding
    #: UTC microseconds of its making.
    created: int
    #: What the retraining policy decided and why, in one sentence; empty before it was asked.
    decision: str = ""
    #: Id of the retraining job, or None.
    job_id: str | None = None
    #: Name of the actor who said they saw it, or None.
    acknowledged: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAlerts(Request[tuple[Alert, ...]]):
    """Return alerts, newest first."""

    #: Only of this model.
    model: str | None = None
    #: Only those that nobody acknowledged.
    open_only: bool = False
    #: At most so many.
    limit: int = 50

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgeAlert(Request[Alert]):
    """Say that a person saw an alert."""

    #: The alert's id, or at least its first 6 digits.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainPolicy:
    """When a finding may start a retraining."""

    #: False never retrains by itself.
    enabled: bool = True
    #: Kinds of findings that count. Input drift alone is not a reason (see docs/decisions).
    kinds: tuple[FindingKind, ...] = ("performance",)
    #: Days of event time between two retrainings.
    cooldown_days: float = 30.0
    #: Labelled rows since the live model's training that must be there.
    minimum_labels: int = 5_000
    #: Retrainings in 365 days of event time at most.
    budget: int = 12
    #: Parameters that the pipeline gets; ``{end}`` in text becomes the alert window's end as an ISO date.
    params: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.cooldown_days < 0 or self.minimum_labels < 0 or self.budget < 0:
            raise InvalidInput("A limit of the retraining policy is negative.", "Use 0 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRetrainPolicy(Request[RetrainPolicy]):
    """Set when a deployment's findings may start a retraining."""

    #: Registered name.
    model: str
    #: The environment.
    environment: str = "production"
    #: The policy.
    policy: RetrainPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain(Request[str]):
    """Retrain on the worker because of an alert: run the pipeline, check the version, propose it. Gives the release's id or ''."""

    #: The alert's id.
    alert_id: str
    #: The pipeline, as ``path.py:name``.
    pipeline: str
    #: Its parameters.
    params: dict[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraining:
    """One retraining that a policy started."""

    #: The alert that caused it.
    alert_id: str
    #: Registered name.
    model: str
    #: The environment.
    environment: str
    #: Event time of the end of the alert's window, UTC microseconds: what cooldown and budget count.
    at: int
    #: The release that it proposed; None before, or when it proposed none.
    release_id: str | None
    #: How it ended, in one sentence; None while it is under way.
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRetraining(Request[Retraining]):
    """Note how a retraining ended; only the worker may. The first outcome stays."""

    #: The alert that caused it.
    alert_id: str
    #: The release that it proposed, or None.
    release_id: str | None
    #: How it ended, in one sentence.
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPredictions(Request[int]):
    """Move logged rows from the database into Parquet blobs, on the worker. Gives the rows moved."""

    #: Rows that must wait before they are moved.
    minimum_rows: int = 20_000
