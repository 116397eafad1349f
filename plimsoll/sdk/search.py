"""``plimsoll.search``: the best parameters of a pipeline, from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from plimsoll.pipelines.executors.call import Executor
from plimsoll.pipelines.executors.choice import chosen_executor
from plimsoll.pipelines.running import entry_of
from plimsoll.pipelines.search.goals import read_constraint, read_objectives
from plimsoll.pipelines.search.space import Dimension, read_space
from plimsoll.pipelines.search.study import importances
from plimsoll.pipelines.search.trials import Place
from plimsoll.pipelines.search.trials import search as through
from plimsoll.pipelines.search.winner import register, winner
from plimsoll.pipelines.settled import settle
from plimsoll.records.model import Version
from plimsoll.records.pipelines.part import ExecutorName
from plimsoll.records.pipelines.search import Objective, Pruner, Sampler, SearchDetail, SearchPlan, Trial
from plimsoll.sdk.door import Door
from plimsoll.sdk.run import opened_door, own_params, prepared


class SearchResult:
    """A search that has ended.

    Args:
        detail: what the platform has recorded.
        door: where it was searched; None takes the one that the settings name.
        profile: whose settings count.
    """

    def __init__(self, detail: SearchDetail, door: Door | None, profile: str) -> None:
        self.detail = detail
        self._door, self._profile = door, profile

    @property
    def id(self) -> str:
        """The search's id."""
        return self.detail.search.id

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials, by number."""
        return self.detail.trials

    @property
    def best(self) -> tuple[Trial, ...]:
        """The trials that no other one beats: the best first with one objective, the Pareto front with several."""
        return tuple(trial for trial in self.trials if trial.number in self.detail.best)

    @property
    def importances(self) -> dict[str, float]:
        """Parameter -> its share of what made trials good, 0 to 1, largest first; empty with too few trials.

        It is worked out when it is asked for, the first time in a process in more than a second.
        """
        return importances(self.detail)

    def register(self, trial: int | None = None) -> tuple[Version, ...]:
        """Make the models of the winner's run versions; one that is a version already stays it.

        Args:
            trial: number of another trial that is meant; with several objectives it says which of the best ones.

        Raises:
            NotFound: there is no winner, or its run made no model.
            InvalidInput: several are best and none was named.
        """
        with opened_door(self._door, self._profile) as opened:
            return register(winner(self.detail, trial), opened.do, opened.blobs)

    def __repr__(self) -> str:
        states = [trial.state for trial in self.trials]
        counts = ", ".join(f"{states.count(state)} {state}" for state in ("finished", "pruned", "failed") if state in states)
        best = "; ".join(f"{trial.values} with {trial.params}" for trial in self.best[:3]) or "none"
        return f"<search {self.id} of {self.detail.search.plan.pipeline}: {counts}; best: {best}>"


def search(
    function: Callable[..., Any],
    /,
    *,
    trials: int,
    space: Mapping[str, Dimension | str],
    maximize: str | Iterable[str] = (),
    minimize: str | Iterable[str] = (),
    constraints: Iterable[str] = (),
    sampler: Sampler = "tpe",
    pruner: Pruner = "none",
    report: str = "",
    seed: int | None = None,
    jobs: int = 1,
    executor: ExecutorName | Executor | None = None,
    experiment: str = "",
    name: str = "",
    profile: str | None = None,
    door: Door | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    **params: Any,
) -> SearchResult:
    """Search for a pipeline's best parameters; the same call goes on with a search that was interrupted.

    Each trial is an ordinary run: what several share is computed once, and the winner is what ``plimsoll.run`` would give.

    Args:
        function: a function decorated with ``@pipeline``.
        trials: how many.
        space: parameter -> ``"int(2,10)"``, ``"log(1e-4,1e-1)"``, ``"choice(a,b)"``, or an object of ``pipelines.search.space``.
        maximize: metric to make as large as possible, or several; with several objectives the trade-offs are searched for.
        minimize: metric to make as small as possible, or several.
        constraints: what a trial must keep to count, as ``"memory_mb <= 500"``.
        sampler: what proposes trials: ``tpe``, ``random``, ``grid`` or ``nsga2``.
        pruner: what ends a trial early that does worse than others at the same step: ``none``, ``median``, ``hyperband``, ``asha``.
        report: the logged series that the pruner looks at; the objective's unless given.
        seed: the same seed proposes the same trials; None is 0.
        jobs: trials at the same time.
        executor: as for ``plimsoll.run``, or an open one.
        experiment: groups runs; empty takes the pipeline's name.
        name: a name of the search for people.
        profile: name of a profile of ``[tool.plimsoll]``; None takes the one that ``PLIMSOLL_PROFILE`` names.
        door: the platform; None takes the one that the settings name.
        on_trial: is told of every trial that has ended and is recorded, by one thread at a time.
        params: parameters that all trials share, by name; those that are called as an option here stand in ``params={name: value}``.

    Raises:
        InvalidInput: it is no pipeline, the space names no parameter of it, or its runs do not give the metrics.
        MissingExtra: Optuna is not installed.
        StepFailed: the first trials, or all, have failed.
    """
    project, chosen = prepared(function, profile)
    settled = settle(function, params := own_params(function, params, search, locals()), project, profile=chosen)
    how: dict[str, Any] = {"sampler": sampler, "pruner": pruner, "report": report, "seed": seed or 0}
    plan = _plan(function, project, read_space(space, params), read_objectives(maximize, minimize), constraints, how)
    with opened_door(door, chosen) as opened:
        runner = chosen_executor(executor, project, chosen) if executor is None or isinstance(executor, str) else executor
        where: dict[str, Any] = {"project": project, "experiment": experiment, "tags": settled.tags, "executor": runner, "jobs": jobs}
        place = Place(do=opened.do, blobs=opened.blobs, **where)
        return SearchResult(through(function, plan, settled.params, place, trials=trials, name=name, on_trial=on_trial), door, chosen)


def _plan(
    function: Callable[..., Any],
    project: Path,
    space: Mapping[str, Dimension],
    objectives: tuple[Objective, ...],
    constraints: Iterable[str],
    how: dict[str, Any],
) -> SearchPlan:
    return SearchPlan(
        pipeline=entry_of(function, project.resolve()),
        space={parameter: str(one) for parameter, one in space.items()},
        objectives=objectives,
        constraints=tuple(map(read_constraint, constraints)),
        **how,
    )
