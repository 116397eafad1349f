"""Steps, their keys, and what the cache holds."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.pipelines.part import NO_PART, ExecutorName, PartAsked
from plimsoll.records.request import Json, Request, check_digest, check_experiment, check_limit
from plimsoll.records.run import Cause, FinishRun, Run

#: ``hit``: an earlier output was used; ``ran``: it was computed; ``skipped``: a step before it failed, its branch was not
#: taken, or only a part of the pipeline was asked for.
StepState = Literal["hit", "ran", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPart:
    """One thing that a step's key depends on, so that a miss can be explained."""

    #: Known before the step runs: ``code``, ``param``, ``input``, ``item`` (of a list or dict that is an input, or of a list that is
    #: mapped), ``list`` (that is mapped), ``choice`` (what decided an argument or a branch; it is told, and counts for no key),
    #: ``project`` or ``environment``. Found while it ran: ``file``, ``variable``, ``module`` or ``environment``.
    kind: str
    #: Qualified name: a function, a parameter, a package.
    name: str
    #: Digest of the thing.
    digest: str
    #: A text of it for people (a value, a version, a function's source, the step that gave an input); empty when there is none.
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a step gave, by content."""

    #: Digest of its manifest.
    digest: str
    #: ``table``, ``tree``, ``value``, ``model``, or ``outputs`` for the several outputs of one step.
    kind: str
    #: Bytes of all files.
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """Key -> output. One call key has an entry for each state of what its step read by itself."""

    #: Digest over the call key and the trace.
    key: str
    #: Call key: digest over all that is known before the step runs.
    call: str
    #: Name of the call, as in ``StepRecord.name``.
    step: str
    #: What it gave.
    output: Output
    #: What the step read by itself, sorted by (kind, name); the entry may be used while all of it is as it was.
    trace: tuple[KeyPart, ...]
    #: The run that computed it.
    run_id: str
    #: UTC microseconds.
    created: int
    #: Digest of what it logged, which each run that uses the entry has as well; None when it logged nothing.
    logged: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindEntries(Request[tuple[CacheEntry, ...]]):
    """Return the entries of a call key, newest first."""

    #: Call key.
    call: str
    #: At most so many, up to 1,000.
    limit: int = 32

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCall:
    """A call that a run would compute."""

    #: Call key.
    call: str
    #: Name of the call, as in ``StepRecord.name``.
    step: str
    #: Keys of the call's entries that the run has seen and cannot use.
    seen: tuple[str, ...] = ()
    #: Digest of what its code adds to its key; empty when the code could not be seen.
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who computes a call."""

    #: Call key.
    call: str
    #: The run that computes it: the one that asked, or another; empty when there are new entries to look at first.
    holder: str
    #: Entries that the run has not seen, newest first.
    entries: tuple[CacheEntry, ...] = ()
    #: The entry that the step's last run has used or made, to explain the miss; only for a run that got the call.
    last: CacheEntry | None = None
    #: What the key of ``last`` was made of.
    parts: tuple[KeyPart, ...] = ()
    #: The code has added the same to the key of ``last`` as to this call's, so that ``parts`` tells only the rest.
    same_code: bool = False
    #: The step has run, and no result of it was kept.
    unkept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCalls(Request[tuple[Claim, ...]]):
    """Take calls that a run of one's own is about to compute, so that no other run computes them at the same time.

    A claim ends when the step is recorded, when it is released, when its run has ended, or when it was not renewed for some
    seconds.
    """

    #: The run's id.
    run_id: str
    #: The calls.
    calls: tuple[WantedCall, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewClaims(Request[None]):
    """Tell that a run still computes what it has claimed."""

    #: The run's id.
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseClaims(Request[None]):
    """Give back calls without a result."""

    #: The run's id.
    run_id: str
    #: Call keys; empty gives back all of the run's.
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GetEntry(Request[CacheEntry]):
    """Return the entry of a key; a miss is ``NotFound``."""

    #: Digest over the call key and the trace.
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLatestEntry(Request[CacheEntry]):
    """Return the newest entry of a step, to explain a miss; none is ``NotFound``."""

    #: Name of the call, as in ``StepRecord.name``.
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetKeyParts(Request[tuple[KeyPart, ...]]):
    """Return everything that a key was made of, sorted by (kind, name); an unknown key is ``NotFound``."""

    #: A key of an entry or of a step's record.
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropEntry(Request[None]):
    """Forget an entry, because its bytes are damaged or the user wants it computed again."""

    #: Digest over all parts.
    key: str
    #: Why, for the audit log.
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One call of a step within a run."""

    #: The run's id.
    run_id: str
    #: Position in the plan, from 0.
    index: int
    #: Qualified name of the function, with ``#2`` and so on from the second call.
    name: str
    #: How it went.
    state: StepState
    #: Its key; None when the step cannot be cached or was skipped.
    key: str | None
    #: Why it ran, or could not be reused, in one line; empty for a hit.
    why: str
    #: UTC microseconds.
    started: int
    #: UTC microseconds.
    ended: int
    #: What it gave, or None when it failed.
    output: Output | None
    #: The exception's text when it failed.
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedStep:
    """A step to be recorded, and what its key was made of."""

    #: The step.
    record: StepRecord
    #: Call key; None without a key.
    call: str | None = None
    #: What the call key was made of, apart from ``code``; empty for a hit, whose parts are known.
    parts: tuple[KeyPart, ...] = ()
    #: Digest of the parts that all calls of the step share; empty when there are none or they are in ``parts``.
    code: str = ""
    #: What the step read by itself.
    trace: tuple[KeyPart, ...] = ()
    #: Whether later runs may use its output.
    keep: bool = False
    #: Digest of what it logged, for those runs; its bytes, and those of the artifacts in it, must be stored before.
    logged: str | None = None

    def __post_init__(self) -> None:
        if self.logged is not None:
            check_digest("Log", self.logged)
        if self.record.key is not None:
            check_digest("Key", self.record.key)
        if self.keep and (self.record.key is None or self.call is None or self.record.output is None):
            raise InvalidInput("A step without key, call key and output cannot be kept.", "Send all three, or keep=False.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSteps(Request[Run | None]):
    """Record steps of a run of one's own that is under way, with the entries that later runs may use, all or none of them.

    With ``end`` the run ends with them, and is the result.

    The same index again replaces the record. The newest result of a key is what later runs find. What a run has claimed of
    these calls is given back. The bytes of outputs must be stored before.
    """

    #: The run's id.
    run_id: str
    #: The steps.
    steps: tuple[EndedStep, ...]
    #: Digest -> parts, for each digest in the steps' ``code`` that was not sent before.
    code: dict[str, tuple[KeyPart, ...]] = field(default_factory=dict)
    #: How the run ends, when these are its last steps.
    end: FinishRun | None = None

    def __post_init__(self) -> None:
        for digest in self.code:
            check_digest("Code", digest)
        if self.end is not None and self.end.id != self.run_id:
            raise InvalidInput(f"The end of run {self.end.id!r} was sent with steps of run {self.run_id!r}.", "End the run of the steps.")
        for step in self.steps:
            if step.record.run_id != self.run_id:
                raise InvalidInput(
                    f"A step of run {step.record.run_id!r} was sent for run {self.run_id!r}.", "Send each run's steps by themselves."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSteps(Request[tuple[StepRecord, ...]]):
    """Return a run's steps in the order of the plan."""

    #: The run's id.
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPipeline(Request[Run]):
    """Run a pipeline of the workspace's own project on the worker."""

    #: Path inside the project and name, such as ``examples/flights/pipeline.py:late_arrivals``.
    pipeline: str
    #: Parameters that differ from what the project declares.
    params: dict[str, Json] = field(default_factory=dict)
    #: Name of a variation that the project declares; empty for none.
    variation: str = ""
    #: Name of a profile that the project declares; empty for none.
    profile: str = ""
    #: The experiment; empty takes the pipeline's name.
    experiment: str = ""
    #: Why it runs.
    cause: Cause = Cause()
    #: The part of it that is run.
    part: PartAsked = NO_PART
    #: Where steps run; None takes what the project's settings say.
    executor: ExecutorName | None = None
    #: Makes the run idempotent.
    key: str | None = None

    def __post_init__(self) -> None:
        if self.experiment:
            check_experiment(self.experiment)
