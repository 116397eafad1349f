"""Evidence made up for tests: days of rows with a common luck, labels, answers of a known quality."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plimsoll.records.model import Costs, Purpose
from plimsoll.registry.checks.evidence import Answers, Data

START = datetime(2013, 1, 1, tzinfo=UTC)


def purpose(**changes: Any) -> Purpose:
    """A purpose whose threshold is 0.25."""
    given: dict[str, Any] = {"goal": "Say who is late.", "label": "late", "unit": "id", "time": "at"}
    return Purpose(**given | {"costs": Costs(false_alarm=1.0, missed=3.0)} | changes)


def answers(count: int = 4000, days: int = 20, skill: float = 2.0, seed: int = 1, **changes: Any) -> Answers:
    """Answers whose log-odds know ``skill`` times what can be known; a fifth to a half of the rows of a day is positive."""
    random = np.random.default_rng(seed)
    day = np.sort(random.integers(0, days, count))
    signal = random.normal(size=count)
    odds = -1.2 + 2.0 * signal + random.normal(0, 0.5, days)[day]
    labels = (random.random(count) < 1 / (1 + np.exp(-odds))).astype(np.float64)
    given = 1 / (1 + np.exp(1.2 - skill * signal))
    return Answers(purpose=purpose(**changes), labels=labels, days=day.astype(np.int64), candidate=given)


def rule(found: Answers, flipped: float = 0.15, seed: int = 2) -> npt.NDArray[np.bool_]:
    """A manual rule that decides as the best model does, but for a share of rows at which it is turned around."""
    random = np.random.default_rng(seed)
    best = answers(len(found.labels), len(np.unique(found.days))).candidate
    turned: npt.NDArray[np.bool_] = (best >= 0.25) ^ (random.random(len(best)) < flipped)
    return turned


def rows(count: int, first_day: int, seed: int = 3) -> pl.DataFrame:
    """Rows as of a training or holdout table: two numbers, a text, a label that depends on them; 50 rows a day."""
    random = np.random.default_rng(seed + first_day)
    a, b = random.normal(size=count), random.random(count)
    return pl.DataFrame(
        {
            "id": [f"{first_day}-{row}" for row in range(count)],
            "at": [START + timedelta(days=first_day, minutes=28 * row) for row in range(count)],
            "a": a,
            "b": b,
            "carrier": random.choice(["AA", "UA"], count),
            "late": (a + random.normal(size=count) > 1.0).astype(np.int8),
        }
    )


def data(
    training: pl.DataFrame | None, holdout: pl.DataFrame | None, inputs: tuple[str, ...] = ("a", "b", "carrier"), **changes: Any
) -> Data:
    """Tables under a purpose."""
    return Data(purpose=purpose(**changes), inputs=inputs, training=training, holdout=holdout)
