"""What a search is after: objectives and constraints, read from text and from a run's metrics; and which trials are best."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from plimsoll.errors import InvalidInput
from plimsoll.records.pipelines.search import Constraint, Objective, SearchPlan, Trial

_CONSTRAINT = re.compile(r"\s*(.+?)\s*(<=|>=)\s*(\S+)\s*")


def read_objectives(maximize: str | Iterable[str] | None, minimize: str | Iterable[str] | None) -> tuple[Objective, ...]:
    """Return the objectives, those to be maximised first.

    Args:
        maximize: one metric's name, or several.
        minimize: one metric's name, or several.
    """
    up, down = ([given] if isinstance(given, str) else list(given or ()) for given in (maximize, minimize))
    return (
        *(Objective(metric=metric, direction="maximize") for metric in up),
        *(Objective(metric=metric, direction="minimize") for metric in down),
    )


def read_constraint(text: str) -> Constraint:
    """Return a constraint that was written as ``memory_mb <= 500``.

    Args:
        text: metric, ``<=`` or ``>=``, number.

    Raises:
        InvalidInput: it is written otherwise.
    """
    found = _CONSTRAINT.fullmatch(text)
    try:
        bound = float(found[3]) if found else math.nan
    except ValueError:
        bound = math.nan
    if found is None or not math.isfinite(bound):
        raise InvalidInput(f"The constraint {text!r} cannot be read.", 'Write a metric, <= or >=, and a number: "memory_mb <= 500"')
    return Constraint(metric=found[1], operator="<=" if found[2] == "<=" else ">=", bound=bound)


def values_of(plan: SearchPlan, metrics: Mapping[str, float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return one value an objective and one violation a constraint; a violation above 0 means that it is broken.

    Args:
        plan: what is searched for.
        metrics: the run's, by name.

    Raises:
        InvalidInput: a value is not a number, or the run has no such metric or several.
    """
    values = tuple(_value(metrics, objective.metric) for objective in plan.objectives)
    over = []
    for constraint in plan.constraints:
        value = _value(metrics, constraint.metric)
        over.append(value - constraint.bound if constraint.operator == "<=" else constraint.bound - value)
    return values, tuple(over)


def missing(plan: SearchPlan, metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Return the metrics that a search needs and a run lacks.

    Args:
        plan: what is searched for.
        metrics: the run's, by name.
    """
    needed = [objective.metric for objective in plan.objectives] + [constraint.metric for constraint in plan.constraints]
    return tuple(name for name in dict.fromkeys(needed) if not _meant(metrics, name))


def best_trials(plan: SearchPlan, trials: Sequence[Trial]) -> tuple[int, ...]:
    """Return the numbers of the trials that no other one beats.

    A trial that breaks a constraint or has no value is none of them. With one objective the best one comes first, and those
    of the same value after it; with several objectives it is the Pareto front, by number.

    Args:
        plan: what was searched for.
        trials: in the order of their numbers.
    """
    sign = [1.0 if objective.direction == "minimize" else -1.0 for objective in plan.objectives]
    losses = {
        trial.number: [factor * value for factor, value in zip(sign, trial.values, strict=True)]
        for trial in trials
        if trial.state == "finished" and trial.values is not None and all(over <= 0 for over in trial.violations)
    }
    return tuple(number for number, own in losses.items() if not any(_beats(other, own) for other in losses.values()))


def _beats(other: list[float], own: list[float]) -> bool:
    return other != own and all(theirs <= ours for theirs, ours in zip(other, own, strict=True))


def _meant(metrics: Mapping[str, float], name: str) -> list[str]:
    """Return the metric of a name, else those whose name ends with it: ``metrics/auc`` is meant by ``auc``."""
    return [name] if name in metrics else sorted(known for known in metrics if known.endswith(f"/{name}"))


def _value(metrics: Mapping[str, float], name: str) -> float:
    found = _meant(metrics, name)
    if not found:
        known = ", ".join(sorted(metrics)) or "none"
        raise InvalidInput(f"The run has no metric {name!r}.", f"Its metrics are: {known}. Return it from the pipeline, or log it.")
    if len(found) > 1:
        raise InvalidInput(f"The run has several metrics {name!r}.", f"Name one in full: {', '.join(found)}.")
    value = metrics[found[0]]
    if math.isnan(value):
        raise InvalidInput(f"The metric {name!r} is not a number.")
    return value
