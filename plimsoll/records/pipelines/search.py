"""Searches for the best parameters of a pipeline, and their trials."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.pipeline import RecordSteps
from plimsoll.records.request import Json, Request, check_key, check_limit, check_name
from plimsoll.records.run import Run, StartRun

#: What proposes the next trial.
Sampler = Literal["tpe", "random", "grid", "nsga2"]

#: What ends a trial early that does worse than others did at the same step.
Pruner = Literal["none", "median", "hyperband", "asha"]

#: A search that is ``running`` and that nobody works on was interrupted; the same command goes on with it.
SearchState = Literal["running", "finished"]

#: ``pruned``: ended early because others did better; ``failed``: it gave no value.
TrialState = Literal["running", "finished", "pruned", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a search makes as large or as small as it can."""

    #: Name of a metric.
    metric: str
    #: Which way is better.
    direction: Literal["maximize", "minimize"]

    def __post_init__(self) -> None:
        check_key("Objective", self.metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """What a trial must keep to count."""

    #: Name of a metric.
    metric: str
    #: ``<=`` or ``>=``.
    operator: Literal["<=", ">="]
    #: The bound itself is allowed.
    bound: float

    def __post_init__(self) -> None:
        check_key("Constraint", self.metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What is searched for, and how. Two searches of one plan and one code propose the same trials."""

    #: The pipeline, as ``path.py:name``.
    pipeline: str
    #: Parameter -> what it may be, such as ``int(2, 10)``.
    space: dict[str, str]
    #: One, or several for the trade-offs between them.
    objectives: tuple[Objective, ...]
    #: What a trial must keep.
    constraints: tuple[Constraint, ...] = ()
    #: Parameters that all trials share and that differ from the defaults, as their runs show them.
    params: dict[str, Json] = field(default_factory=dict)
    #: What proposes trials.
    sampler: Sampler = "tpe"
    #: What ends trials early.
    pruner: Pruner = "none"
    #: Series that the pruner looks at, in the direction of the objective; empty takes the objective's.
    report: str = ""
    #: Seed of the proposals.
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.space:
            raise InvalidInput("The search has no space.", 'Say what may vary, such as --space "depth=int(2,10)"')
        if not self.objectives:
            raise InvalidInput("The search has no objective.", "Name a metric with --maximize or --minimize.")
        named = [objective.metric for objective in self.objectives]
        if len(set(named)) < len(named):
            raise InvalidInput(f"A metric is an objective twice: {', '.join(named)}.", "Name each metric once.")
        if self.pruner != "none" and len(self.objectives) > 1:
            raise InvalidInput(f"The pruner {self.pruner} cannot weigh {len(self.objectives)} objectives.", "Leave --pruner out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Trials of one pipeline in search of its best parameters."""

    #: UUIDv7 in hex.
    id: str
    #: A name for people; not unique.
    name: str
    #: What is searched for, and how.
    plan: SearchPlan
    #: Trials wanted.
    trials: int
    #: Where it stands.
    state: SearchState
    #: Name of the actor who began it.
    author: str
    #: UTC microseconds.
    created: int
    #: UTC microseconds, or None while running.
    ended: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One try: an ordinary run with parameters that the sampler proposed."""

    #: From 0, in the order of the proposals.
    number: int
    #: Its run; None when the pipeline could not even be planned.
    run_id: str | None = None
    #: Where it stands.
    state: TrialState = "running"
    #: Proposed parameters by name.
    params: dict[str, Json] = field(default_factory=dict)
    #: The same as the sampler counts: numbers, and for a choice its position.
    point: dict[str, float] = field(default_factory=dict)
    #: One value an objective, in their order; None without a value.
    values: tuple[float, ...] | None = None
    #: One number a constraint, in their order; above 0 it is broken.
    violations: tuple[float, ...] = ()
    #: Step -> value of the series that the pruner looks at.
    reports: dict[int, float] = field(default_factory=dict)
    #: What sampler and pruner must remember of it.
    notes: dict[str, Json] = field(default_factory=dict)
    #: Why it has no value.
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchDetail:
    """A search with its trials."""

    #: The search.
    search: Search
    #: Its trials, by number.
    trials: tuple[Trial, ...]
    #: Numbers of the trials that no other one beats: the best first with one objective, the Pareto front with several.
    best: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSearch(Request[Search]):
    """Begin a search, or go on with the one of the same ``key`` that has not ended.

    From then on only ``holder`` records trials: another process that still works on the search is refused.
    """

    #: What is searched for.
    plan: SearchPlan
    #: Trials wanted; replaces the number of a search that is gone on with.
    trials: int
    #: Unique name of the process that begins.
    holder: str
    #: Says what must be the same to go on: the plan and the code.
    key: str
    #: A name for people; empty gives one made from the id.
    name: str = ""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise InvalidInput(f"A search cannot have {self.trials} trials.", "Use --trials 1 or more.")
        if self.name:
            check_name("Search", self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTrials(Request[Run | None]):
    """Record trials of a search of one's own as they are now, and begin the run of the last one when ``run`` is given.

    The last steps and the end of the run before are recorded with them when ``ends`` is given; all of it or nothing.
    """

    #: The search's id.
    search_id: str
    #: The process that has begun the search last.
    holder: str
    #: The trials; a number that is recorded already is replaced.
    trials: tuple[Trial, ...]
    #: Begins a run whose id the last trial gets; it is the verb's result.
    run: StartRun | None = None
    #: How the run of a trial before it ends.
    ends: RecordSteps | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishSearch(Request[Search]):
    """End a search. Ending it again changes nothing."""

    #: The search's id.
    id: str
    #: The process that has begun the search last.
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetSearch(Request[SearchDetail]):
    """Return a search by id, or by the beginning of its id when only one search has it."""

    #: Id, or at least its first 6 digits.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSearches(Request[tuple[Search, ...]]):
    """Return searches, newest first."""

    #: Only searches older than this id.
    before: str | None = None
    #: At most so many, up to 1,000.
    limit: int = 50

    def __post_init__(self) -> None:
        check_limit(self.limit)
