"""Why a step ran, and what makes two runs different."""

from __future__ import annotations

from typing import Literal

from plimsoll.frozen import dataclass
from plimsoll.records.pipeline import StepRecord
from plimsoll.records.request import Json, Request
from plimsoll.records.run import Run

#: What a difference is one of. ``unknown``: a step that cannot be fingerprinted gave something else.
Category = Literal["data", "parameters", "code", "environment", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that two keys do not share."""

    #: Of which of the four it is one.
    category: Category
    #: Kind of the key's part (``code``, ``param``, ``file`` …); ``result`` for a step that gave something else under the same key,
    #: ``step`` for one that only one of the runs has.
    kind: str
    #: Qualified name: a function, a parameter, a package, a path.
    name: str
    #: What it was, as text; None when it was not there.
    old: str | None
    #: What it is, as text; None when it is not there any more.
    new: str | None
    #: Digest of what it was; empty when it was not there.
    old_digest: str = ""
    #: Digest of what it is; empty when it is not there any more.
    new_digest: str = ""
    #: The difference of two texts of several lines, as lines of a unified diff.
    diff: tuple[str, ...] = ()
    #: What else is to be known; empty when nothing is.
    note: str = ""
    #: Names of the steps whose keys it changes directly.
    steps: tuple[str, ...] = ()
    #: The steps from the one that was asked about up to the first of ``steps``; empty when it is that one.
    via: tuple[str, ...] = ()
    #: In one line, such as ``param depth: 4 -> 6``.
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExplanation:
    """What makes a step's key another one than in an earlier run."""

    #: The step that was asked about.
    step: StepRecord
    #: The step that it is compared with; None when there is none.
    against: StepRecord | None
    #: The answer in one line.
    summary: str
    #: What differs in the step's own key, inputs included.
    differences: tuple[Difference, ...]
    #: Where that comes from: the differences that no other step explains.
    roots: tuple[Difference, ...]
    #: What could not be compared, and why.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainStep(Request[StepExplanation]):
    """Explain why a step of a run has another key than in an earlier run."""

    #: Id of the run, or at least its first 6 digits.
    run_id: str
    #: The step's short or qualified name, such as ``features`` or ``pipeline.features#2``.
    step: str
    #: Id of the run to compare with; empty takes the newest earlier run that has the step, of the same experiment if there is one.
    against: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A named value in two runs."""

    #: Its name.
    name: str
    #: In the old run; None when it was not there.
    old: Json
    #: In the new run; None when it is not there.
    new: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class StepChange:
    """A step in two runs."""

    #: Qualified name.
    name: str
    #: How it went in the old run; None when it had no such step.
    old: str | None
    #: How it went in the new run; None when it has no such step.
    new: str | None
    #: Whether the keys are the same; None when one of them has no key.
    same_key: bool | None
    #: Whether both gave the same; None when one of them gave nothing.
    same_output: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """What makes two runs different: data, parameters, code or environment."""

    #: The run that is compared with.
    old: Run
    #: The run that was asked about.
    new: Run
    #: Which of the four differ, in this order; empty when nothing does that a step depends on.
    causes: tuple[Category, ...]
    #: The answer in one line.
    summary: str
    #: The differences behind all others.
    differences: tuple[Difference, ...]
    #: Parameters that differ.
    params: tuple[Change, ...]
    #: Snapshots that differ, by role.
    data: tuple[Change, ...]
    #: Installed packages that differ, whether or not a step reaches them.
    packages: tuple[Change, ...]
    #: Every metric of either run, by its last value.
    metrics: tuple[Change, ...]
    #: Every step of either run.
    steps: tuple[StepChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRuns(Request[RunComparison]):
    """Say what makes two runs different."""

    #: Id of the earlier run, or at least its first 6 digits.
    old: str
    #: Id of the later run, or at least its first 6 digits.
    new: str
