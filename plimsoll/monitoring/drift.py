"""Has the input, or have the answers, changed? One false-alarm budget a window over all columns together.

A column is compared in up to three families: *missing* cells and cells *beyond* training (far outside, unseen) as shares of all rows,
and its *values* as shares of the usual rows, for numbers also cumulated over the edges. Shares are compared with the training
windows on the scale ``asin(sqrt(share))``, where sampling noise has the variance ``1 / 4n`` whatever the share. The null holds that
noise *and* the variance between training windows, widened for seasons; without it a correct test alarms every day. A family's
score is its largest deviation in standard errors. Scoring each training window against the others gives the distribution of that
score when nothing changed: ranks, continued beyond the top tenth by an exponential tail. So a sensor that failed now and then in
training stays quiet when it fails again, and does not blunt the other columns. The budget is shared by Holm's method, which holds
however the columns depend on each other.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plimsoll.errors import InvalidInput
from plimsoll.monitoring.cells import ColumnCells
from plimsoll.monitoring.sketches import PREDICTION, Profile, Tally
from plimsoll.records.monitor import Finding, FindingKind

Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.int64]

#: Chance of any false alarm in one window: 5 % in a month of daily windows.
ALPHA = 0.05 / 30

#: Rows below which a window is judged together with the windows before it.
MINIMUM_ROWS = 100

#: Training windows from which their own scores calibrate the test; below, a normal tail is assumed.
_CALIBRATED = 30

#: Standard deviation between windows that is assumed, as a least value, where there are too few to measure it (asin scale).
_ASSUMED_SPREAD = 0.03

#: The same for cells that training hardly filled, where its windows cannot show how rows clump (one hour of weather, one broken
#: sender): missing or unseen, and far outside.
_CLUMPS, _CLUMPS_OUTSIDE = 0.03, 0.05

#: Rows that a family needs in a window to be judged there.
_LEAST_ROWS = 30

#: Where the power-law tail begins, at least, in standard errors.
_LEAST_EDGE = 2.0

#: A column that is this concentrated within windows but not over all of them follows the calendar; its values are not judged.
_WITHIN, _OVERALL = 0.95, 0.8

#: Mean excess over the edge that is taken as seen in so many windows before any is; a normal score has about 0.4.
_PRIOR_TAIL, _PRIOR_WINDOWS = 0.5, 4


@dataclass(frozen=True, slots=True)
class _Family:
    """What is compared of one column, and what training says of it."""

    #: Column.
    name: str
    #: Which cells a share sums over, 0/1 (features, cells).
    features: Table
    #: Which cells count as the whole, 0/1 (cells,).
    whole: Table
    #: In words, one a feature.
    labels: tuple[str, ...]
    #: Mean and variance between windows on the asin scale, (features,).
    center: Floats
    spread: Floats
    #: Least, overall and largest share of the training windows, (3, features).
    seen: Floats
    #: Largest score of each training window against the others, descending; empty when there are too few windows.
    scores: Floats

    def score(self, counts: Table) -> tuple[int, float]:
        """Return the feature that deviates most from training and its deviation in standard errors."""
        rows = int(counts @ self.whole)
        scores = _scores(_angles(self.features @ counts, rows), self.center, self.spread, rows)
        worst = int(np.argmax(scores))
        return worst, float(scores[worst])

    def chance(self, score: float) -> float:
        """Return the probability that a window in which nothing changed reaches ``score`` in this family."""
        if not len(self.scores):
            return min(1.0, len(self.labels) * math.erfc(score / math.sqrt(2)))
        edge = max(_LEAST_EDGE, float(self.scores[len(self.scores) // 10]))
        reached = float((1 + np.count_nonzero(self.scores >= min(score, edge))) / (len(self.scores) + 1))
        beyond = self.scores[self.scores > edge] - edge
        excess = float((beyond.sum() + _PRIOR_TAIL * _PRIOR_WINDOWS) / (len(beyond) + _PRIOR_WINDOWS))
        return reached * math.exp(-max(0.0, score - edge) / excess)


def judge_drift(profile: Profile, tally: Tally, recent: Iterable[Tally] = (), alpha: float = ALPHA) -> list[Finding]:
    """Return one finding a column, kinds ``input`` and ``prediction``; the most surprising first. None for too few rows.

    Args:
        profile: the training data of the live version.
        tally: the window, counted with this profile.
        recent: tallies of the windows before it, newest first; taken and added while the window has fewer than :data:`MINIMUM_ROWS` rows.
        alpha: chance that a window in which nothing changed gets any alarm, over all columns together.

    Raises:
        InvalidInput: a tally was counted with another profile.
    """
    if tally.cells != profile.cells:
        raise InvalidInput("The window was counted with another profile.", "Count it again with the live version's profile.")
    before = iter(recent)
    while tally.rows < MINIMUM_ROWS and (earlier := next(before, None)) is not None:
        tally = tally + earlier
    if tally.rows < MINIMUM_ROWS:
        return []
    judged: dict[str, Finding] = {}
    for family, chance in _adjusted(
        [family for family in _compared(profile) if int(tally.counts[family.name] @ family.whole) >= _LEAST_ROWS], tally
    ):
        if family.name not in judged or chance < (judged[family.name].p_value or 0.0):
            judged[family.name] = _finding(family, tally.counts[family.name], chance, alpha)
    return sorted(judged.values(), key=lambda finding: (not finding.alarming, finding.p_value or 0.0, finding.subject))


@functools.lru_cache(maxsize=8)
def _compared(profile: Profile) -> tuple[_Family, ...]:
    """Return what is compared of all columns. It hangs on the training data alone, so one process works it out once for a live version."""
    return tuple(family for cells in profile.columns for family in _families(cells, profile))


def _adjusted(families: list[_Family], tally: Tally) -> list[tuple[_Family, float]]:
    """Return each family with its probability after Holm's method, which rises from the most surprising one."""
    raw = [(family.chance(family.score(tally.counts[family.name])[1]), index) for index, family in enumerate(families)]
    adjusted: list[tuple[_Family, float]] = []
    largest = 0.0
    for place, (chance, index) in enumerate(sorted(raw)):
        largest = max(largest, min(1.0, chance * (len(families) - place)))
        adjusted.append((families[index], largest))
    return adjusted


def _finding(family: _Family, counts: Table, chance: float, alpha: float) -> Finding:
    rows = int(counts @ family.whole)
    worst, score = family.score(counts)
    share = float(family.features[worst] @ counts / rows)
    low, middle, high = (float(value) for value in family.seen[:, worst])
    label = family.labels[worst]
    reason = (
        f"{family.name}: {label} in {share:.1%} of {rows:,} rows; in training {middle:.1%}, "
        f"between {low:.1%} and {high:.1%} in its windows (p = {chance:.2g} over all columns)."
    )
    numbers = {"cell": label, "share": share, "rows": rows, "training": middle, "training_low": low, "training_high": high}
    numbers |= {"score": score, "alpha": alpha}
    kind: FindingKind = "prediction" if family.name == PREDICTION else "input"
    return Finding(kind=kind, subject=family.name, alarming=chance <= alpha, p_value=chance, reason=reason, numbers=numbers)


def _families(cells: ColumnCells, profile: Profile) -> list[_Family]:
    windows = profile.windows[cells.name]
    table = windows if len(windows) >= 2 else profile.reference[cells.name].reshape(1, -1)
    width, unusual = len(cells.labels), cells.unusual
    single = np.eye(width, dtype=np.int64)
    everything = np.ones(width, np.int64)
    if _follows_calendar(windows):
        # A month or a date is in a new cell by nature; only nulls and what is not a number remain to be judged.
        kept = min(unusual, 4) if cells.kind == "number" else 1
        wanted = [(single[:kept], everything, cells.labels[:kept], _CLUMPS)]
    else:
        values, labels = single[unusual:], list(cells.labels[unusual:])
        if cells.kind == "number" and cells.edges:
            values = np.concatenate([values, _cumulated(cells)])
            labels += [f"at most {edge:g}" for edge in cells.edges]
        usual = everything.copy()
        usual[:unusual] = 0
        missing = 4 if cells.kind == "number" else 1
        wanted = [(single[:missing], everything, cells.labels[:missing], _CLUMPS), (values, usual, tuple(labels), 0.0)]
        if unusual > missing:
            clumps = _CLUMPS_OUTSIDE if cells.kind == "number" else _CLUMPS
            wanted.append((single[missing:unusual], everything, cells.labels[missing:unusual], clumps))
    families = (_family(cells.name, table, *parts) for parts in wanted if parts[2])
    return [family for family in families if family is not None]


def _cumulated(cells: ColumnCells) -> Table:
    """Return for each edge which usual cells lie at or below it, 0/1 (edges, cells)."""
    first = cells.unusual + len(cells.spikes)
    below = np.zeros((len(cells.edges), len(cells.labels)), np.int64)
    for index, edge in enumerate(cells.edges):
        below[index, cells.unusual : first] = np.asarray(cells.spikes) <= edge
        below[index, first : first + index + 1] = 1
    return below


def _family(name: str, table: Table, features: Table, whole: Table, labels: tuple[str, ...], clumps: float) -> _Family | None:
    rows = table @ whole
    table, rows = table[rows >= min(_LEAST_ROWS, int(rows.max()))], rows[rows >= min(_LEAST_ROWS, int(rows.max()))]
    if not int(rows.sum()):
        return None
    sums = table @ features.T
    angles = _angles(sums, rows[:, None])
    calibrated = len(angles) >= _CALIBRATED
    least = clumps if calibrated else max(clumps, _ASSUMED_SPREAD)
    center, spread = _moments(angles, rows, least**2)
    scores = np.sort(_left_out(angles, rows, least**2).max(axis=1))[::-1] if calibrated else np.zeros(0)
    shares = sums / rows[:, None]
    seen = np.stack([shares.min(axis=0), sums.sum(axis=0) / rows.sum(), shares.max(axis=0)])
    return _Family(name, features, whole, labels, center, spread, seen, scores)


def _follows_calendar(windows: Table) -> bool:
    # A window may lack the column altogether (answers are profiled on the holdout's days alone).
    windows = windows[windows.sum(axis=1) > 0]
    if len(windows) < 5:
        return False
    within = np.median(windows.max(axis=1) / windows.sum(axis=1))
    total = windows.sum(axis=0)
    return bool(within >= _WITHIN and total.max() / total.sum() < _OVERALL)


def _angles(counts: Table, rows: int | Table) -> Floats:
    return np.asarray(np.arcsin(np.sqrt((counts + 0.375) / (np.asarray(rows) + 0.75))), np.float64)


def _scores(angles: Floats, center: Floats, spread: Floats, rows: int | Floats) -> Floats:
    return np.asarray(np.abs(angles - center) / np.sqrt(spread + 0.25 / np.asarray(rows, np.float64)), np.float64)


def _moments(angles: Floats, rows: Table, least: float) -> tuple[Floats, Floats]:
    center = angles.mean(axis=0)
    if len(angles) < 2:
        return center, np.full_like(center, least)
    variance = angles.var(axis=0, ddof=1)
    spread = np.maximum(least, _season(angles, variance) * variance - float(np.mean(0.25 / rows)))
    return center, spread + variance / len(angles)


def _season(angles: Floats, variance: Floats) -> Floats:
    """Return by how much windows far apart differ more than windows at large, at least 1: what a trend will add later."""
    factor = np.ones_like(variance)
    safe = np.maximum(variance, 1e-12)
    for part in (2, 3):
        lag = len(angles) * (part - 1) // part
        if lag and len(angles) - lag >= 5:
            apart = ((angles[lag:] - angles[:-lag]) ** 2).mean(axis=0) / 2
            factor = np.maximum(factor, apart / safe)
    return factor


def _left_out(angles: Floats, rows: Table, least: float) -> Floats:
    """Score every window against the others, (windows, features)."""
    count = len(angles)
    total, squares = angles.sum(axis=0), (angles**2).sum(axis=0)
    center = (total - angles) / (count - 1)
    variance = np.maximum(0.0, (squares - angles**2 - (count - 1) * center**2) / (count - 2))
    noise = float(np.mean(0.25 / rows))
    factor = _season(angles, angles.var(axis=0, ddof=1))
    spread = np.maximum(least, factor * variance - noise) + variance / (count - 1)
    return _scores(angles, center, spread, (rows[:, None]).astype(np.float64))
