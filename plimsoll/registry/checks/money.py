"""Is it worth it: money and AUC against the manual rule, and against the version in production.

Rows of one day share weather, promotions or an outage, so they are not independent and an interval that takes them for it is
too narrow. The day is the unit here: sums per day give the error of a mean (a ratio estimator, since days have different
numbers of rows), and with a few weeks of holdout Student's t stands in for the normal distribution. A day is also like the one
before it (bad weather stays; on real flights the correlation was .15 to .42), so the error is widened by what is seen of that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plimsoll.extras import require
from plimsoll.records.model import Outcome, Verdict
from plimsoll.records.request import Json
from plimsoll.registry.checks.evidence import Answers, Bools, Champion, Floats, money

#: Chance of calling something shown that is not so.
ALPHA = 0.05

#: Correlation of a day with the next that is assumed at most; more cannot be told from a trend in a few weeks.
_MOST_CORRELATED = 0.6

#: Days below which no interval is given: the spread between them is not known well enough.
LEAST_DAYS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with what is known about its error."""

    #: The mean.
    value: float
    #: Its standard error, from the spread between days.
    error: float
    #: Days behind it.
    days: int

    def lower(self, alpha: float = ALPHA) -> float:
        """Return the bound that the true mean is above with confidence ``1 - alpha``; minus infinity with too few days.

        Args:
            alpha: chance of being wrong.
        """
        return self.value - self._reach(alpha)

    def upper(self, alpha: float = ALPHA) -> float:
        """Return the bound that the true mean is below with confidence ``1 - alpha``; infinity with too few days.

        Args:
            alpha: chance of being wrong.
        """
        return self.value + self._reach(alpha)

    def chance_not_below(self, bound: float) -> float:
        """Return the p-value of "the true mean is at least ``bound``": small when it is shown to be below; 1 with too few days.

        Args:
            bound: what the mean is compared with.
        """
        if self.days < LEAST_DAYS:
            return 1.0
        if self.error == 0:
            return 0.0 if self.value < bound else 1.0
        return float(require("scipy.special").stdtr(self.days - 1, (self.value - bound) / self.error))

    def numbers(self, name: str) -> dict[str, Json]:
        """Return the value and its two-sided 95 % interval under names that begin with ``name``.

        Args:
            name: of the measure.
        """
        return {name: self.value, f"{name}_low": self.lower(ALPHA / 2), f"{name}_high": self.upper(ALPHA / 2)}

    def _reach(self, alpha: float) -> float:
        if self.days < LEAST_DAYS:
            return math.inf
        return float(require("scipy.special").stdtrit(self.days - 1, 1 - alpha)) * self.error


def mean_by_day(values: Floats, days: npt.NDArray[np.int64]) -> Estimate:
    """Return the mean of one value a row, with the error that follows from the spread between days.

    Args:
        values: one a row, (n,), n > 0.
        days: day of each row, (n,).
    """
    _, place = np.unique(days, return_inverse=True)
    sums, counts = np.bincount(place, weights=values), np.bincount(place)
    value, groups = float(values.mean()), len(counts)
    if groups < 2:
        return Estimate(value=value, error=math.inf, days=groups)
    residuals = sums - value * counts
    power = float(np.sum(residuals**2))
    # The correlation seen around the days' own mean is too small by about 1 / groups.
    seen = float(np.sum(residuals[1:] * residuals[:-1])) / power + 1 / groups if power > 0 else 0.0
    correlation = min(max(seen, 0.0), _MOST_CORRELATED)
    factor = (1 + correlation) / (1 - correlation)
    error = math.sqrt(factor * power * groups / (groups - 1)) / len(values)
    return Estimate(value=value, error=error, days=groups)


def auc_parts(labels: Floats, answers: Floats) -> tuple[float, Floats]:
    """Return the area under the ROC curve and each row's share in its error, (n,); NaN without both classes.

    The error of the AUC is the error of the mean of the shares (DeLong's variance, written per row so that it can be summed
    by day).

    Args:
        labels: the truth, 0 or 1, (n,).
        answers: scores, (n,).
    """
    positive = labels == 1
    high, low = answers[positive], answers[~positive]
    if not len(high) or not len(low):
        return float("nan"), np.full(len(labels), np.nan)
    place = np.empty(len(labels))
    place[positive] = _below(np.sort(low), high)
    place[~positive] = 1 - _below(np.sort(high), low)
    area = float(place[positive].mean())
    weight = np.where(positive, len(labels) / len(high), len(labels) / len(low))
    return area, weight * (place - area)


def auc_by_day(labels: Floats, answers: Floats, days: npt.NDArray[np.int64]) -> Estimate:
    """Return the area under the ROC curve with its error; NaN without both classes.

    Args:
        labels: the truth, 0 or 1, (n,).
        answers: scores, (n,).
        days: day of each row, (n,).
    """
    area, shares = auc_parts(labels, answers)
    around = mean_by_day(shares, days)
    return Estimate(value=area, error=around.error, days=around.days)


def auc_difference(labels: Floats, first: Floats, second: Floats, days: npt.NDArray[np.int64]) -> Estimate:
    """Return the AUC of ``first`` minus that of ``second`` on the same rows, with its error.

    Args:
        labels: the truth, 0 or 1, (n,).
        first: scores, (n,).
        second: scores, (n,).
        days: day of each row, (n,).
    """
    area, shares = auc_parts(labels, first)
    other, others = auc_parts(labels, second)
    around = mean_by_day(shares - others, days)
    return Estimate(value=area - other, error=around.error, days=around.days)


def check_baseline(answers: Answers, rule: Bools | None) -> Verdict:
    """Pass a model that is shown to save the declared minimum over the manual rule.

    Args:
        answers: the candidate's answers to the holdout.
        rule: the manual rule's decision on each row, (n,), or None when the purpose names none.
    """
    purpose, days = answers.purpose, answers.days
    own = answers.costs(answers.acts(answers.candidate))
    auc = auc_by_day(answers.labels, answers.candidate, days)
    never, always = (answers.costs(np.full(len(own), act)) for act in (False, True))
    numbers = _sizes(answers) | auc.numbers("auc") | mean_by_day(own, days).numbers("cost")
    if rule is None:
        other, against = min((never, always), key=lambda costs: float(costs.mean())), "the better of always and never acting"
    else:
        other, against = answers.costs(rule), "the manual rule"
    saving = mean_by_day(other - own, days)
    numbers |= saving.numbers("saving") | {"saving_at_least": saving.lower(), "minimum_saving": purpose.minimum_saving}
    numbers |= {"rule_cost": float(other.mean()), "never_acting_cost": float(never.mean()), "always_acting_cost": float(always.mean())}
    outcome: Outcome = "pass" if saving.lower() >= purpose.minimum_saving else "fail"
    reason = (
        f"{_where(answers)} it costs {money(float(own.mean()), purpose)} a row and {against} {money(float(other.mean()), purpose)}: "
        f"it saves {money(saving.value, purpose)}, {_shown(saving, answers)}; required are {money(purpose.minimum_saving, purpose)}. "
        f"Its AUC is {auc.value:.3f}{_between(auc)}."
    )
    if rule is None:
        note = "No manual rule is declared (baseline in the model's table), so nobody knows what it replaces. "
        return Verdict(check="baseline", outcome="warn" if outcome == "pass" else "fail", reason=note + reason, numbers=numbers)
    gain = auc_difference(answers.labels, answers.candidate, rule.astype(np.float64), days)
    numbers |= gain.numbers("auc_gain")
    if outcome == "pass" and not gain.lower() > 0:
        outcome, reason = "warn", f"{reason} It is not shown to order the rows better than the rule does."
    return Verdict(check="baseline", outcome=outcome, reason=reason, numbers=numbers)


def check_champion(answers: Answers, champion: Champion | None) -> Verdict:
    """Pass a model that is shown to be at least as good as the version in production, within the declared margin.

    Args:
        answers: the candidate's answers to the holdout.
        champion: the version in production on the same rows, or None when nothing is served yet.
    """
    purpose, days = answers.purpose, answers.days
    if champion is None:
        return Verdict(check="champion", outcome="pass", reason="Nothing is in production yet, so there is nothing to compare with.")
    if champion.answers is None:
        reason = f"Not shown to be at least as good as {champion.name} in production, which could not answer these rows: {champion.reason}"
        return Verdict(check="champion", outcome="fail", reason=reason, numbers=_sizes(answers))
    acts, others = answers.acts(answers.candidate), answers.acts(champion.answers)
    flips = float(np.mean(acts != others))
    saving = mean_by_day(answers.costs(others) - answers.costs(acts), days)
    gain = auc_difference(answers.labels, answers.candidate, champion.answers, days)
    numbers = _sizes(answers) | saving.numbers("saving") | gain.numbers("auc_gain")
    numbers |= {"flip_rate": flips, "saving_at_least": saving.lower(), "margin": purpose.margin, "champion": champion.name}
    numbers |= {"cost": float(answers.costs(acts).mean()), "champion_cost": float(answers.costs(others).mean()), "seen": champion.seen}
    if champion.same:
        return Verdict(check="champion", outcome="pass", reason=f"It is {champion.name}, which is in production.", numbers=numbers)
    if flips == 0:
        reason = f"It decides like {champion.name} in production on all {len(acts):,} rows."
        return Verdict(check="champion", outcome="pass", reason=reason, numbers=numbers)
    compared = (
        f"{_where(answers)} it costs {money(numbers['cost'], purpose)} a row and {champion.name} in production "
        f"{money(numbers['champion_cost'], purpose)}. {_worst(saving, answers)}; {money(purpose.margin, purpose)} more are allowed. "
        f"They decide differently on {flips:.1%} of the rows; the AUC changes by {gain.value:+.3f}{_between(gain)}."
    )
    if champion.seen:
        compared += f" {champion.name} was trained on {champion.seen:.0%} of these rows, which favours it."
    if not saving.lower() > -purpose.margin:
        return Verdict(check="champion", outcome="fail", reason=f"Not shown to be at least as good. {compared}", numbers=numbers)
    worse = gain.upper() < 0
    note = " It is shown to order the rows worse." if worse else ""
    return Verdict(check="champion", outcome="warn" if worse else "pass", reason=compared + note, numbers=numbers)


def _sizes(answers: Answers) -> dict[str, Json]:
    return {
        "rows": len(answers.labels),
        "days": len(np.unique(answers.days)),
        "positive_share": float(answers.labels.mean()),
        "threshold": answers.purpose.costs.threshold,
    }


def _where(answers: Answers) -> str:
    days = len(np.unique(answers.days))
    return f"On {len(answers.labels):,} held-out rows of {days} day{'s' * (days != 1)}"


def _between(estimate: Estimate) -> str:
    if not math.isfinite(estimate.lower()):
        return ""
    low, high = estimate.lower(ALPHA / 2), estimate.upper(ALPHA / 2)
    return f" (95 % interval {low:.3f} to {high:.3f})"


def _shown(saving: Estimate, answers: Answers) -> str:
    if saving.days < LEAST_DAYS:
        return f"but {saving.days} days do not show how sure that is (at least {LEAST_DAYS} are needed)"
    return f"with 95 % confidence at least {money(saving.lower(), answers.purpose)}"


def _worst(saving: Estimate, answers: Answers) -> str:
    if saving.days < LEAST_DAYS:
        return f"{saving.days} days do not show how sure that is (at least {LEAST_DAYS} are needed)"
    if saving.lower() >= 0:
        return f"With 95 % confidence it saves at least {money(saving.lower(), answers.purpose)} a row"
    return f"With 95 % confidence it costs at most {money(-saving.lower(), answers.purpose)} a row more"


def _below(ordered: Floats, values: Floats) -> Floats:
    """Return the share of ``ordered`` that is below each value; a tie counts half."""
    found: Floats = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2.0 * len(ordered))
    return found
