"""Optuna, by ask and tell, in memory: what proposes trials and what prunes them. Threads may share one.

Nothing of a search lives here alone. The study is built anew from the trials that the platform remembers, and the sampler
begins each trial from the search's seed and the trial's number. So a search that was interrupted proposes what an
undisturbed one would have proposed.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput
from plimsoll.extras import require
from plimsoll.pipelines.search.space import Choice, Dimension, Int, read_space
from plimsoll.records.pipelines.search import SearchDetail, SearchPlan, Trial

#: Trials with a value from which importances mean anything.
_ENOUGH = 4

#: Trials of a generation of ``nsga2``: a part of all of them, between these bounds.
_SMALLEST, _LARGEST = 8, 50

#: Attributes of a trial that this file gives to Optuna itself.
_CONSTRAINT = "constraints:"

#: Notes that are needed while a trial is under way only, or that are recorded otherwise.
_FORGOTTEN = (_CONSTRAINT, "relative_params", "fixed_params")

#: End of the note that says which generation of ``nsga2`` a trial belongs to.
_GENERATION = ":generation"


class Study:
    """Proposes trials and learns from how they ended.

    Args:
        plan: what is searched for.
        space: parameter -> what it may be.
        trials: how many are wanted in all.
        known: trials that are recorded, in any order; those under way are open again.

    Raises:
        MissingExtra: Optuna is not installed.
        InvalidInput: the sampler cannot search this space.
    """

    def __init__(self, plan: SearchPlan, space: Mapping[str, Dimension], trials: int, known: Iterable[Trial]) -> None:
        self._optuna: Any = require("optuna")
        self._plan = plan
        self._wanted = trials
        self._space = dict(space)
        self._distributions = {name: _distribution(self._optuna, one) for name, one in space.items()}
        self._lock = threading.Lock()
        # It tells of its making, which is ours to tell.
        level = self._optuna.logging.get_verbosity()
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._stored = self._optuna.storages.InMemoryStorage()
        try:
            self._study = self._optuna.create_study(
                storage=self._stored,
                study_name="search",
                directions=[objective.direction for objective in plan.objectives],
                sampler=self._sampler(0),
                pruner=_pruner(self._optuna, plan.pruner),
            )
        finally:
            self._optuna.logging.set_verbosity(level)
        self._points = _shuffled(self._space, plan.seed) if plan.sampler == "grid" else []
        #: Number -> Optuna's trial, of those under way.
        self._open: dict[int, Any] = {}
        recorded = {trial.number: trial for trial in known}
        for number in range(max(recorded, default=-1) + 1):
            if number in recorded:
                self._add(recorded[number])
            else:
                # Another trial was recorded first, and then the process was killed.
                self._propose(number)
        if plan.sampler == "nsga2":
            # From the second child of a generation on, its parents come from a note, in another order than for the first child.
            notes = (item for trial in recorded.values() for item in trial.notes.items())
            generations = [number for name, number in notes if name.endswith(_GENERATION)]
            self._study.sampler.get_parent_population(self._study, max(generations, default=0))

    def ask(self) -> int:
        """Begin a new trial and return its number."""
        with self._lock:
            return self._propose(len(self._study.get_trials(deepcopy=False)))

    def open(self) -> tuple[int, ...]:
        """Return the numbers of the trials under way, ascending."""
        with self._lock:
            return tuple(sorted(self._open))

    def point(self, number: int) -> dict[str, float]:
        """Return the point of a trial under way: parameter -> number, or position of an option.

        Args:
            number: the trial's.
        """
        with self._lock:
            params = self._seen(number).params
            return {name: float(params[name]) for name in self._space}

    def notes(self, number: int) -> dict[str, Any]:
        """Return what sampler and pruner want to remember of a trial, JSON-able.

        Args:
            number: of a trial under way.
        """
        with self._lock:
            return _remembered(self._seen(number).system_attrs)

    def report(self, number: int, step: int, value: float) -> bool:
        """Take a value of the series that the pruner looks at, and return whether the trial is to end now.

        Args:
            number: of a trial under way.
            step: position in the series; of several values at one step the first counts.
            value: any number; what is not a number is the worst that can happen.
        """
        with self._lock:
            if number not in self._open:
                return True
            if step < 0 or step in self._seen(number).intermediate_values:
                return False
            if math.isnan(value):
                return True
            self._open[number].report(value, step)
            return bool(self._open[number].should_prune())

    def reports(self, number: int) -> dict[int, float]:
        """Return what a trial under way has reported: step -> value.

        Args:
            number: the trial's.
        """
        with self._lock:
            return dict(self._seen(number).intermediate_values)

    def tell(self, trial: Trial) -> None:
        """Learn how a trial ended.

        Args:
            trial: as it is recorded.
        """
        with self._lock:
            open = self._open.pop(trial.number)
            for constraint, violation in zip(self._plan.constraints, trial.violations, strict=False):
                open.set_constraint(str(constraint), violation)
            state, values = getattr(self._optuna.trial.TrialState, _STATES[trial.state]), _told(trial)
            # Not by the study's own ``tell``, whose answer is a deep copy of all that the trial has.
            self._study.sampler.after_trial(self._study, self._seen(trial.number), state, values)
            self._stored.set_trial_state_values(open._trial_id, state, values)

    def importances(self) -> dict[str, float]:
        """Return parameter -> its share of what made trials good, largest first; empty with too few trials to say.

        By PED-ANOVA, which needs no further package. With several objectives it is the share in reaching the Pareto front.
        """
        with self._lock:
            ended = self._study.get_trials(deepcopy=False, states=(self._optuna.trial.TrialState.COMPLETE,))
            moving = [name for name, one in self._distributions.items() if not one.single()]
            if len(ended) < _ENOUGH or not moving:
                return {}
            found = self._optuna.importance.get_param_importances(self._study, params=moving)
        return {name: float(share) for name, share in found.items() if math.isfinite(share)}

    def _propose(self, number: int) -> int:
        self._seed(number)
        if self._plan.sampler == "grid":
            # Optuna's own grid ends the process's study by an exception when it is through, unless Optuna holds the loop.
            self._study.enqueue_trial({name: self._coordinate(name, point) for name, point in self._points[number].items()})
        self._open[number] = self._study.ask(self._distributions)
        return number

    def _seen(self, number: int) -> Any:
        return self._study.get_trials(deepcopy=False)[number]

    def _add(self, trial: Trial) -> None:
        state = getattr(self._optuna.trial.TrialState, _STATES[trial.state])
        notes = dict(trial.notes)
        for constraint, violation in zip(self._plan.constraints, trial.violations, strict=False):
            notes[f"{_CONSTRAINT}{constraint}"] = violation
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=state,
                values=_told(trial),
                params={name: self._coordinate(name, trial.point[name]) for name in self._space},
                distributions=self._distributions,
                intermediate_values=dict(trial.reports),
                system_attrs=notes,
            )
        )
        if trial.state == "running":
            self._open[trial.number] = self._optuna.trial.Trial(self._study, self._seen(trial.number)._trial_id)

    def _coordinate(self, name: str, point: float) -> float | int:
        return point if not isinstance(self._space[name], Int | Choice) else int(point)

    def _seed(self, number: int) -> None:
        """Let the sampler draw for a trial what one draws that is made for it; to make one takes as long as to draw."""
        if self._plan.sampler == "nsga2":
            # It remembers more than where its generators are.
            self._study.sampler = self._sampler(number)
            return
        for sampler in (self._study.sampler, getattr(self._study.sampler, "_random_sampler", None)):
            if sampler is not None:
                sampler._rng.rng.seed(seed_of(self._plan.seed, number))

    def _sampler(self, number: int) -> Any:
        samplers, seed = self._optuna.samplers, seed_of(self._plan.seed, number)
        match self._plan.sampler:
            case "random" | "grid":
                return samplers.RandomSampler(seed=seed)
            case "nsga2":
                population = min(_LARGEST, max(_SMALLEST, self._wanted // 5))
                return samplers.NSGAIISampler(population_size=population, seed=seed)
            case _:
                return samplers.TPESampler(seed=seed)


def importances(detail: SearchDetail) -> dict[str, float]:
    """Return parameter -> its share of what made trials good, 0 to 1, largest first; empty with too few trials to say.

    It is worked out when somebody asks, since what does so takes more than a second to be imported.

    Args:
        detail: a search, under way or ended.

    Raises:
        MissingExtra: Optuna is not installed.
    """
    ended = [trial for trial in detail.trials if trial.state == "finished"]
    # Numbered anew, so that nothing is proposed for the numbers between; what the sampler noted of them names the old numbers.
    known = [replace(trial, number=number, notes={}) for number, trial in enumerate(ended)]
    return Study(detail.search.plan, read_space(detail.search.plan.space), detail.search.trials, known).importances()


_STATES = {"running": "RUNNING", "finished": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


def seed_of(seed: int, number: int) -> int:
    """Return the seed of one trial's proposal, from 0 to 2**32 - 1.

    Args:
        seed: the search's.
        number: the trial's.
    """
    return int(codec.digest(f"trial {number} of {seed}".encode())[:8], 16)


def grid_size(space: Mapping[str, Dimension]) -> int:
    """Return how many points a grid over a space has.

    Args:
        space: parameter -> what it may be.

    Raises:
        InvalidInput: a parameter has no end of values.
    """
    return math.prod(len(points) for points in _grid(space).values())


def _grid(space: Mapping[str, Dimension]) -> dict[str, list[float]]:
    found = {}
    for name, one in space.items():
        points = one.grid()
        if points is None:
            raise InvalidInput(f"A grid cannot try every {name} of {one}.", "Use int(a,b), float(a,b,step) or choice(…), or --sampler tpe.")
        found[name] = points
    return found


def _shuffled(space: Mapping[str, Dimension], seed: int) -> list[dict[str, float]]:
    """Return every point of a grid in an order of the seed, so that a search that is ended early has seen all corners."""
    points = [dict(zip(space, point, strict=True)) for point in itertools.product(*_grid(space).values())]
    clock.generator(seed).shuffle(points)
    return points


def _distribution(optuna: Any, one: Dimension) -> Any:
    if isinstance(one, Choice):
        # By position: Optuna's own categories are numbers and text only.
        return optuna.distributions.CategoricalDistribution(tuple(range(len(one.options))))
    # A range that the step does not divide would be cut with a warning.
    points = one.grid() if one.step is not None and not one.log else None
    if isinstance(one, Int):
        return optuna.distributions.IntDistribution(one.low, int(points[-1]) if points else one.high, log=one.log, step=one.step)
    return optuna.distributions.FloatDistribution(one.low, points[-1] if points else one.high, log=one.log, step=one.step)


def _pruner(optuna: Any, name: str) -> Any:
    match name:
        case "median":
            return optuna.pruners.MedianPruner()
        case "hyperband":
            return optuna.pruners.HyperbandPruner()
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner()
        case _:
            return optuna.pruners.NopPruner()


def _told(trial: Trial) -> list[float] | None:
    """Return the values that the sampler learns from: of a trial that was pruned the last one that it reported, if that is a number."""
    if trial.state == "pruned" and trial.reports and not math.isnan(last := trial.reports[max(trial.reports)]):
        return [last]
    return list(trial.values) if trial.state == "finished" and trial.values else None


def _remembered(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if not any(part in name for part in _FORGOTTEN)}
