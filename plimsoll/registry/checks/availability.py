"""Does the model look into the future: inputs that are not known yet when it has to answer.

A declared stage is proof. What nobody declared shows itself: a single column that tells the truth almost by itself is more often
the truth's echo than a discovery.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from plimsoll.monitoring.sketches import area_under_curve
from plimsoll.records.model import Outcome, Verdict
from plimsoll.records.request import Json
from plimsoll.registry.checks.evidence import Data, Floats

#: AUC of a single column from which it is taken for an echo of the label.
LIMIT = 0.97

#: Rows of the rarer class below which a single column's AUC says nothing.
LEAST_CLASS = 30

#: Groups of equally many rows by which a number's rate of positives is looked up.
_GROUPS = 20


def check_availability(data: Data) -> Verdict:
    """Fail a model that takes a column known only after the decision, or one that is an echo of the label.

    Args:
        data: the candidate's inputs and tables.
    """
    purpose = data.purpose
    late = {
        name: purpose.known_at[name] for name in data.inputs if purpose.known_at.get(name, purpose.decision_stage) != purpose.decision_stage
    }
    alone, unjudged = _single(data)
    numbers: dict[str, Json] = {"declared_later": late, "auc_alone": alone, "limit": LIMIT}
    problems = [f"It takes {name!r}, which is known only {stage}; it must answer {purpose.decision_stage}." for name, stage in late.items()]
    if purpose.label in data.inputs:
        problems.append(f"It takes {purpose.label!r}, which is the label itself.")
    echoes = {name: auc for name, auc in alone.items() if auc >= LIMIT and name not in late and name != purpose.label}
    undeclared = {name: auc for name, auc in echoes.items() if name not in purpose.known_at}
    problems += [
        f"The column {name!r} alone tells the label with an AUC of {auc:.3f} (from {LIMIT} on it is taken for an echo of the label); "
        f"say in known_at when it becomes known."
        for name, auc in undeclared.items()
    ]
    if problems:
        return Verdict(check="availability", outcome="fail", reason=" ".join(problems), numbers=numbers)
    outcome: Outcome = "pass"
    best = max(alone, key=lambda name: alone[name]) if alone else ""
    reason = f"All {len(data.inputs)} inputs are declared or taken to be known {purpose.decision_stage}."
    if best:
        reason += f" The column that tells most by itself is {best!r} with an AUC of {alone[best]:.3f}."
    if echoes:
        outcome = "warn"
        reason += " " + " ".join(
            f"{name!r} alone reaches an AUC of {auc:.3f}; known_at says that it is known in time." for name, auc in echoes.items()
        )
    if unjudged:
        outcome = "warn"
        reason += f" Whether a column is an echo of the label could not be measured: {unjudged}."
    return Verdict(check="availability", outcome=outcome, reason=reason, numbers=numbers)


def _single(data: Data) -> tuple[dict[str, float], str]:
    """Return the AUC of each input alone, and why there is none."""
    holdout, label = data.holdout, data.purpose.label
    if holdout is None or label not in holdout.columns:
        return {}, "the package has no labelled holdout"
    truth = holdout.get_column(label).cast(pl.Float64, strict=False)
    kept = truth.is_in([0.0, 1.0]).fill_null(False)
    rows, labels = holdout.filter(kept), truth.filter(kept).to_numpy()
    rarer = int(min(labels.sum(), len(labels) - labels.sum()))
    if rarer < LEAST_CLASS:
        return {}, f"the rarer class has {rarer} rows in the holdout, fewer than {LEAST_CLASS}"
    training = data.training if data.training is not None and label in data.training.columns else None
    return {name: _alone(name, label, rows, labels, training) for name in data.inputs if name in rows.columns}, ""


def _alone(name: str, label: str, rows: pl.DataFrame, labels: Floats, training: pl.DataFrame | None) -> float:
    column = rows.get_column(name)
    missing = column.is_null().to_numpy().astype(np.float64)
    scores = [missing]
    if column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.Boolean:
        numbers = _numbers(column)
        # A gap takes the middle, so that it neither helps nor hurts the order of the rest.
        middle = float(np.nanmedian(numbers)) if np.isfinite(numbers).any() else 0.0
        scores.append(np.where(np.isfinite(numbers), numbers, middle))
    if training is not None and name in training.columns:
        scores.append(_rates(training.get_column(name), training.get_column(label), column))
    # A score that orders the rows the wrong way round tells just as much.
    areas = [area_under_curve(labels, score) for score in scores]
    return float(max(max(area, 1 - area) for area in areas))


def _rates(known: pl.Series, truth: pl.Series, asked: pl.Series) -> Floats:
    """Return for each asked value the rate of positives that training saw with it."""
    if known.dtype.is_numeric() or known.dtype.is_temporal():
        numbers = _numbers(known)
        finite = numbers[np.isfinite(numbers)]
        if not len(finite):
            return np.zeros(len(asked))
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, _GROUPS + 1)[1:-1]))
        keys, wanted = (_group(values, edges) for values in (numbers, _numbers(asked)))
    else:
        keys, wanted = known.cast(pl.String), asked.cast(pl.String)
    labels = truth.cast(pl.Float64, strict=False)
    rates = pl.DataFrame({"key": keys, "label": labels}).group_by("key").agg(pl.col("label").mean())
    found = pl.DataFrame({"key": wanted}).join(rates, on="key", how="left", maintain_order="left").get_column("label")
    return found.fill_null(labels.mean() or 0.0).to_numpy()


def _numbers(column: pl.Series) -> Floats:
    physical = column.to_physical() if column.dtype.is_temporal() else column
    return physical.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _group(values: Floats, edges: Floats) -> pl.Series:
    return pl.Series(np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), -1), dtype=pl.Int64)
