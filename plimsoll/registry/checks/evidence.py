"""What the checks look at: plain arrays and frames, gathered once, so that every check is a function of values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from plimsoll.records.model import Purpose

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Data:
    """The tables that a candidate was trained and is judged on."""

    #: What the model is for.
    purpose: Purpose
    #: Names of the columns that the model takes.
    inputs: tuple[str, ...]
    #: Rows it was fitted to, or None when the package names none.
    training: pl.DataFrame | None
    #: Rows it never saw, or None when the package names none.
    holdout: pl.DataFrame | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What candidate, rule and champion say to the same holdout rows; every array has one entry a row, (n,)."""

    #: What the model is for.
    purpose: Purpose
    #: The truth, 0.0 or 1.0.
    labels: Floats
    #: Day of each row, days since 1970 (UTC); rows of one day are not independent.
    days: npt.NDArray[np.int64]
    #: The candidate's probabilities of 1.
    candidate: Floats

    def acts(self, answers: Floats) -> Bools:
        """Return the decision on each row, (n,): acting is cheaper from the cost threshold on.

        Args:
            answers: probabilities of 1, (n,).
        """
        acts: Bools = answers >= self.purpose.costs.threshold
        return acts

    def costs(self, acts: Bools) -> Floats:
        """Return what each row's decision cost, in money, (n,).

        Args:
            acts: whether one acts on the row, (n,).
        """
        positive = self.labels == 1
        lost: Floats = self.purpose.costs.false_alarm * (acts & ~positive) + self.purpose.costs.missed * (~acts & positive)
        return lost


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Champion:
    """The version that production serves, on the candidate's holdout."""

    #: As ``name/3``.
    name: str
    #: Its probabilities of 1, (n,), or None when it could not answer.
    answers: Floats | None
    #: Why it could not answer; empty when it did.
    reason: str = ""
    #: It is the very package that is examined.
    same: bool = False
    #: Share of the holdout's units that it was trained on; None where that is not known.
    seen: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noise:
    """Decisions before and after small noise on the inputs."""

    #: Share of decisions that changed, one for each repetition, (r,).
    flips: Floats
    #: Largest change of an answer over all repetitions.
    largest: float
    #: Rows in one repetition.
    rows: int
    #: Columns that got noise.
    columns: tuple[str, ...]


def money(amount: float, purpose: Purpose) -> str:
    """Return an amount as people write it, such as ``USD 12.30``.

    Args:
        amount: in the purpose's currency.
        purpose: names the currency.
    """
    return f"{'-' if amount < 0 else ''}{purpose.costs.currency} {abs(amount):,.2f}"
