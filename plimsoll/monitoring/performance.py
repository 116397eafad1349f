"""How good the answers were once the truth is known, and whether that is worse than the release promised.

The question is asked after every window for as long as a release lives, so the evidence must bear being looked at all the time. For
each measure an e-process is kept: a bet against "no worse than promised" whose value has an expectation of at most 1 whenever one
looks, if the promise holds. It exceeds ``1 / alpha`` at any time with a chance of at most ``alpha`` (Ville's inequality). Bets
on a decay that begins at window s are mixed over all s and over sizes, so that old good windows do not delay the alarm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from plimsoll.monitoring.sketches import Promise, area_under_curve
from plimsoll.records.model import Costs
from plimsoll.records.monitor import Finding

Floats = npt.NDArray[np.float64]

#: Chance of ever raising a false performance alarm in a release's life, over all measures together.
ALPHA = 0.05

#: Windows that a promise needs; without a packed promise the release's first so many labelled windows are the promise.
LEAST_WINDOWS = 14

#: A window counts when at least so many of its rows are labelled …
LEAST_LABELS = 50

#: … and at least this share of them: labels that come early are not like those that come late.
LEAST_COVERAGE = 0.5

#: Measures that are held to the promise, and whether more is worse.
MEASURES = {"auc": False, "brier": True, "money_per_row": True}

#: Sizes of the decay that are betted on, in standard deviations of a window.
_SIZES = np.array([0.25, 0.5, 1.0, 1.5, 2.0])

#: A single window counts for at most so many standard deviations, so that one freak day is no proof.
_CLIP = 3.0

#: Windows in which a decay is equally likely to begin; half of all stakes are there, the others thin out as 1 / s².
_LIFE = 400

#: Day-to-day correlation of a promise beyond which more windows are needed rather than a correction.
_MOST_CORRELATED = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one release did in one window."""

    #: Event time of the window's start, UTC microseconds.
    start: int
    #: Rows it answered, and those with a known truth.
    rows: int
    labels: int
    #: Measure -> value; a measure that is not known is absent.
    metrics: dict[str, float]


def measure(labels: npt.NDArray[Any], answers: Floats, costs: Costs) -> dict[str, float]:
    """Return auc, brier, ece, calibration_slope, money_per_row, positive_share and mean_prediction; what is not known is absent.

    ``money_per_row`` is what wrong decisions cost, so less is better.

    Args:
        labels: the truth, 0 or 1, (n,).
        answers: probabilities of 1, (n,).
        costs: what a wrong decision costs, in money per row.
    """
    if not len(labels):
        return {}
    error, slope = calibration(labels, answers)
    numbers = {
        "auc": area_under_curve(labels, answers),
        "brier": float(np.mean((answers - labels) ** 2)),
        "ece": error,
        "calibration_slope": slope,
        "money_per_row": money_per_row(labels, answers, costs),
        "positive_share": float(np.mean(labels)),
        "mean_prediction": float(np.mean(answers)),
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def money_per_row(labels: npt.NDArray[Any], answers: Floats, costs: Costs) -> float:
    """Return what wrong decisions cost per row when one acts from the cost threshold on.

    Args:
        labels: the truth, 0 or 1, (n,), n > 0.
        answers: probabilities of 1, (n,).
        costs: what a wrong decision costs, in money per row.
    """
    act = answers >= costs.threshold
    lost = costs.false_alarm * np.sum(act & (labels == 0)) + costs.missed * np.sum(~act & (labels == 1))
    return float(lost / len(labels))


def calibration(labels: npt.NDArray[Any], answers: Floats, bins: int = 10) -> tuple[float, float]:
    """Return the expected calibration error and the slope of the truth on the answers' log-odds (1 is calibrated; NaN if none fits).

    Args:
        labels: the truth, 0 or 1, (n,), n > 0.
        answers: probabilities of 1, (n,).
        bins: groups of equally many rows for the error.
    """
    order = np.argsort(answers, kind="stable")
    groups = np.array_split(order, min(bins, len(order)))
    error = sum(len(group) * abs(float(np.mean(answers[group]) - np.mean(labels[group]))) for group in groups) / len(order)
    clipped = np.clip(answers, 1e-6, 1 - 1e-6)
    odds = np.log(clipped / (1 - clipped))
    if len(np.unique(labels)) < 2 or float(np.ptp(odds)) < 1e-9:
        return float(error), float("nan")
    design = np.stack([np.ones_like(odds), odds], axis=1)
    weights = np.array([0.0, 1.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (labels - chance))
        weights = weights + np.clip(step, -2, 2)
        if float(np.abs(step).max()) < 1e-8:
            return float(error), float(weights[1])
    return float(error), float("nan")


def wilson(positives: int, rows: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share; (0, 1) without rows. It holds its level also on few rows, where Wald's does not.

    Args:
        positives: rows that count.
        rows: all rows.
        z: normal quantile; 1.96 gives 95 %.
    """
    if rows == 0:
        return 0.0, 1.0
    share, weight = positives / rows, z * z / rows
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / rows + weight / (4 * rows)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def slices(
    groups: Mapping[str, Sequence[str | None]], labels: npt.NDArray[Any], answers: Floats, costs: Costs, least_rows: int
) -> dict[str, dict[str, float]]:
    """Return the measures of every value of every slice column, as ``carrier=AA`` -> numbers.

    Beside :func:`measure` each has ``rows`` and the 95 % interval of its share of wrong decisions, ``wrong_low`` to ``wrong_high``.

    Args:
        groups: column -> value of each row, (n,).
        labels: the truth, 0 or 1, (n,).
        answers: probabilities of 1, (n,).
        costs: what a wrong decision costs, in money per row.
        least_rows: smaller slices are left out.
    """
    found: dict[str, dict[str, float]] = {}
    wrong = (answers >= costs.threshold) != (labels == 1)
    for column, values in groups.items():
        texts = np.asarray(["null" if value is None else str(value) for value in values], dtype=object)
        for value in sorted(set(texts.tolist())):
            inside = texts == value
            rows = int(inside.sum())
            if rows < least_rows:
                continue
            low, high = wilson(int(wrong[inside].sum()), rows)
            numbers = measure(labels[inside], answers[inside], costs)
            found[f"{column}={value}"] = numbers | {"rows": float(rows), "wrong_low": low, "wrong_high": high}
    return found


def promised(promises: Sequence[Promise], costs: Costs) -> list[Outcome]:
    """Return a profile's promise as outcomes with the measures that are held to it.

    Args:
        promises: days of the holdout.
        costs: what a wrong decision costs, in money per row.
    """
    outcomes = []
    for day in promises:
        money = (costs.false_alarm * day.false_alarms + costs.missed * day.missed) / day.rows
        metrics = {"brier": day.brier, "money_per_row": money} | ({} if day.auc is None else {"auc": day.auc})
        outcomes.append(Outcome(start=day.day * 86_400_000_000, rows=day.rows, labels=day.rows, metrics=metrics))
    return outcomes


def judge_performance(outcomes: Sequence[Outcome], promise: Sequence[Outcome], alpha: float = ALPHA) -> list[Finding]:
    """Return one finding of kind ``performance`` for each measure; empty while there is nothing to compare.

    Args:
        outcomes: windows of the live release, the newest included, in any order.
        promise: windows on which the release was promised; fewer than :data:`LEAST_WINDOWS` usable ones: the first windows of
            ``outcomes`` take their place and are not judged themselves.
        alpha: chance of ever raising an alarm over all measures while the promise holds.
    """
    lived = sorted((outcome for outcome in outcomes if _usable(outcome)), key=lambda outcome: outcome.start)
    reference = [outcome for outcome in promise if _usable(outcome)]
    source = "the holdout"
    if len(reference) < LEAST_WINDOWS:
        reference, lived = lived[:LEAST_WINDOWS], lived[LEAST_WINDOWS:]
        source = f"its first {LEAST_WINDOWS} labelled windows"
    findings = []
    for name, more_is_worse in MEASURES.items():
        known = [outcome for outcome in lived if name in outcome.metrics]
        before = [outcome for outcome in reference if name in outcome.metrics]
        if known and len(before) >= LEAST_WINDOWS:
            findings.append(_judge(name, 1.0 if more_is_worse else -1.0, known, before, source, alpha))
    return sorted(findings, key=lambda finding: (finding.p_value or 0.0, finding.subject))


def _usable(outcome: Outcome) -> bool:
    return outcome.labels >= LEAST_LABELS and outcome.labels >= LEAST_COVERAGE * outcome.rows


def _judge(name: str, sign: float, lived: list[Outcome], reference: list[Outcome], source: str, alpha: float) -> Finding:
    values = np.array([outcome.metrics[name] for outcome in reference])
    labels = np.array([outcome.labels for outcome in reference], np.float64)
    center, deviation = float(values.mean()), _deviation(values)
    # The promise itself is known only from so many windows; a release is not blamed for what lies within that.
    tolerance = 1.5 * deviation / math.sqrt(max(1, len(values) - 5))
    usual = float(np.median(labels))
    # Fewer labels than usual only add noise; how much is not known per measure, so all of it is taken to be sampling.
    spread = deviation * np.sqrt(np.maximum(1.0, usual / np.array([outcome.labels for outcome in lived], np.float64)))
    seen = np.array([outcome.metrics[name] for outcome in lived])
    evidence, since = e_process((sign * (seen - center) - tolerance) / spread)
    chance = min(1.0, len(MEASURES) / evidence)
    line = len(MEASURES) / alpha
    recent = float(np.average(seen[since:], weights=[outcome.labels for outcome in lived[since:]]))
    alarming = chance <= alpha
    reason = (
        f"{name} is {recent:.3f} over the last {len(seen) - since} windows ({sum(o.labels for o in lived[since:]):,} labels); "
        f"{source} promised {center:.3f} ± {deviation:.3f} a window. "
        f"The evidence that it is worse is {evidence:.3g} to 1, {'above' if alarming else 'not above'} the line of {line:.0f}."
    )
    numbers: dict[str, Any] = {
        "recent": recent,
        "latest": float(seen[-1]),
        "promised": center,
        "deviation": deviation,
        "tolerance": tolerance,
        "evidence": evidence,
        "line": line,
        "windows": len(seen),
        "since": lived[since].start,
    }
    return Finding(kind="performance", subject=name, alarming=alarming, p_value=chance, reason=reason, numbers=numbers)


def _deviation(values: Floats) -> float:
    """Return the standard deviation of a window, raised for few windows and for those that clearly resemble the ones before."""
    deviation = float(values.std(ddof=1))
    centered = values - values.mean()
    power = float(np.sum(centered**2))
    correlation = float(np.sum(centered[1:] * centered[:-1])) / power if power > 0 else 0.0
    correlation = min(max(correlation - 0.5 / math.sqrt(len(values)), 0.0), _MOST_CORRELATED)
    few = math.sqrt((len(values) - 1) / max(1, len(values) - 3))
    return max(deviation * few * math.sqrt((1 + correlation) / (1 - correlation)), 1e-9)


def e_process(scores: Floats) -> tuple[float, int]:
    """Return the largest evidence so far against "the mean is at most 0", and the most likely window of the change.

    Args:
        scores: one a window in order of time, in standard deviations, worse is larger, (windows,), at least one.
    """
    bets = np.outer(np.minimum(scores, _CLIP), _SIZES) - _SIZES**2 / 2
    wealth = np.full(len(_SIZES), -np.inf)
    largest = 0.0
    for index, bet in enumerate(bets):
        # A fresh stake on "it begins here".
        stake = -math.log(2 * _LIFE) if index < _LIFE else math.log(_LIFE / 2) - 2 * math.log(index + 1)
        wealth = np.logaddexp(wealth, stake) + bet
        largest = max(largest, float(np.exp(np.minimum(wealth, 700.0)).mean()))
    sums = np.concatenate([np.zeros((1, len(_SIZES))), np.cumsum(bets, axis=0)])
    gains = (sums[-1] - sums[:-1]).max(axis=1)
    return max(largest, 1e-300), int(np.argmax(gains))
