"""Is it good for everyone: money and AUC on each value of the declared slice columns.

Many slices are looked at, so one looks bad by chance: p-values are corrected for their number (Holm), and a slice is called
worse only when that is shown. A small slice is listed as not judged, never as fine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from plimsoll.records.model import Outcome, Verdict
from plimsoll.records.request import Json
from plimsoll.registry.checks.evidence import Answers, Bools, money
from plimsoll.registry.checks.money import ALPHA, LEAST_DAYS, Estimate, auc_by_day, auc_parts, mean_by_day

#: Rows below which a slice is never judged, whatever the purpose says: intervals of so few rows do not hold what they promise.
FLOOR = 100

#: Rows on which model and rule decide differently below which their difference is not judged, for the same reason.
LEAST_DIFFERING = 20

#: Rows of the rarer class that an AUC needs, and by how much it must fall behind the rest to matter.
LEAST_CLASS, GAP = 30, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """What was measured on one value."""

    name: str
    rows: int
    saving: Estimate | None
    cost: Estimate
    rule_cost: float | None
    auc: Estimate | None
    rest: float
    behind: Estimate | None


def check_slices(answers: Answers, rule: Bools | None, groups: dict[str, npt.NDArray[np.str_]], lacking: tuple[str, ...] = ()) -> Verdict:
    """Fail a model that is shown to cost more than the manual rule on a slice; warn where it orders rows clearly worse than elsewhere.

    Args:
        answers: the candidate's answers to the holdout.
        rule: the manual rule's decision on each row, (n,), or None without a rule; then only the AUC is judged.
        groups: slice column -> its value on each row as text, (n,).
        lacking: slice columns that the holdout does not have.
    """
    least = max(answers.purpose.slice_rows, FLOOR)
    judged, small = [], {}
    for column, values in groups.items():
        names, place = np.unique(values, return_inverse=True)
        for index, value in enumerate(names.tolist()):
            inside = place == index
            rows, days = int(inside.sum()), len(np.unique(answers.days[inside]))
            if rows < least or days < LEAST_DAYS:
                small[f"{column}={value}"] = rows
            else:
                judged.append(_measure(f"{column}={value}", inside, answers, rule))
    dear = _holm([part.saving.chance_not_below(0.0) if part.saving else 1.0 for part in judged])
    blind = _holm([part.behind.chance_not_below(0.0) if part.behind else 1.0 for part in judged])
    worse = [part for part, p in zip(judged, dear, strict=True) if p < ALPHA]
    weak = [part for part, p in zip(judged, blind, strict=True) if p < ALPHA and part.behind and part.behind.value < -GAP]
    numbers: dict[str, Json] = {
        "judged": {part.name: _numbers(part) | {"p_worse": p, "p_weak": q} for part, p, q in zip(judged, dear, blind, strict=True)},
        "not_judged": small,
        "least_rows": least,
    }
    said = [f"The holdout lacks the slice column {name!r}, so it cannot be judged." for name in lacking]
    said += [_dear(part, answers) for part in worse] + [_weak(part) for part in weak]
    outcome: Outcome = "fail" if worse or lacking else "warn" if weak else "pass"
    if not said:
        said.append(_summary(judged, rule is not None))
    if small:
        said.append(_unjudged(small, least))
    return Verdict(check="slices", outcome=outcome, reason=" ".join(said), numbers=numbers)


def _measure(name: str, inside: Bools, answers: Answers, rule: Bools | None) -> _Slice:
    labels, days = answers.labels[inside], answers.days[inside]
    acts = answers.acts(answers.candidate)
    own = answers.costs(acts)
    saving, rule_cost = None, None
    if rule is not None:
        theirs = answers.costs(rule)
        rule_cost = float(theirs[inside].mean())
        if int(np.sum(acts[inside] != rule[inside])) >= LEAST_DIFFERING:
            saving = mean_by_day((theirs - own)[inside], days)
    rarer = min(labels.sum(), len(labels) - labels.sum())
    others = answers.labels[~inside]
    auc = behind = None
    rest = float("nan")
    if rarer >= LEAST_CLASS:
        auc = auc_by_day(labels, answers.candidate[inside], days)
        if min(others.sum(), len(others) - others.sum()) >= LEAST_CLASS:
            rest, behind = _behind(inside, answers, auc.value)
    return _Slice(
        name=name,
        rows=len(labels),
        saving=saving,
        cost=mean_by_day(own[inside], days),
        rule_cost=rule_cost,
        auc=auc,
        rest=rest,
        behind=behind,
    )


def _behind(inside: Bools, answers: Answers, area: float) -> tuple[float, Estimate]:
    """Return the AUC of all other rows, and the slice's minus that one with its error; a day's luck is common to both."""
    rest, others = auc_parts(answers.labels[~inside], answers.candidate[~inside])
    _, shares = auc_parts(answers.labels[inside], answers.candidate[inside])
    both = np.empty(len(inside), dtype=np.float64)
    # Each side's shares add up to its own error after division by its own rows.
    both[inside] = shares * (len(inside) / len(shares))
    both[~inside] = -others * (len(inside) / len(others))
    around = mean_by_day(both, answers.days)
    return rest, Estimate(value=area - rest, error=around.error, days=around.days)


def _holm(chances: list[float]) -> list[float]:
    """Return p-values so corrected that one below alpha among all of them is a mistake with a chance of at most alpha."""
    corrected = [1.0] * len(chances)
    worst = 0.0
    for rank, index in enumerate(np.argsort(chances).tolist()):
        worst = max(worst, min(1.0, (len(chances) - rank) * chances[index]))
        corrected[index] = worst
    return corrected


def _numbers(part: _Slice) -> dict[str, Json]:
    found: dict[str, Json] = {"rows": part.rows, "days": part.cost.days} | part.cost.numbers("cost")
    if part.rule_cost is not None:
        found["rule_cost"] = part.rule_cost
    for name, estimate in (("saving", part.saving), ("auc", part.auc), ("auc_behind_rest", part.behind)):
        if estimate is not None:
            found |= estimate.numbers(name)
    return found


def _dear(part: _Slice, answers: Answers) -> str:
    assert part.saving is not None
    assert part.rule_cost is not None
    return (
        f"On {part.name} ({part.rows:,} rows) it costs {money(part.cost.value, answers.purpose)} a row, more than the manual rule's "
        f"{money(part.rule_cost, answers.purpose)}; that is shown also when the number of slices is counted in."
    )


def _weak(part: _Slice) -> str:
    assert part.auc is not None
    return f"On {part.name} ({part.rows:,} rows) its AUC is {part.auc.value:.3f}, clearly below the {part.rest:.3f} of the other rows."


def _summary(judged: list[_Slice], with_rule: bool) -> str:
    if not judged:
        return "No slice is declared, or none is large enough to be judged."
    areas = [(part.auc.value, part.name) for part in judged if part.auc is not None]
    lowest = f" The lowest AUC is {min(areas)[0]:.3f} ({min(areas)[1]})." if areas else ""
    against = "shown to cost more than the manual rule, or to be ordered clearly worse than the rest"
    return f"None of {len(judged)} slices is {against if with_rule else 'shown to be ordered clearly worse than the rest'}.{lowest}"


def _unjudged(small: dict[str, int], least: int) -> str:
    listed = ", ".join(f"{name} ({rows})" for name, rows in sorted(small.items(), key=lambda item: -item[1])[:10])
    more = f" and {len(small) - 10} more" if len(small) > 10 else ""
    return f"Not judged, for fewer than {least} rows or {LEAST_DAYS} days: {listed}{more}."
