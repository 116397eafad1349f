"""Does a whisper change its mind: how many decisions flip when the inputs are off by a little."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from plimsoll.records.model import Outcome, Verdict
from plimsoll.registry.checks.evidence import Floats, Noise

#: Share of flipped decisions that is too many, and from which the approver is told.
LIMIT, NEAR = 0.05, 0.03

#: Noise on a column, as a share of its interquartile range.
SIZE = 0.01

_ROWS, _REPETITIONS = 2_000, 5


def check_stability(noise: Noise) -> Verdict:
    """Fail a model of which too many decisions flip under noise that no one would notice.

    Args:
        noise: what noise did.
    """
    numbers = {
        "flips": noise.flips.tolist(),
        "largest_change": noise.largest,
        "rows": noise.rows,
        "columns": list(noise.columns),
        "limit": LIMIT,
    }
    if not noise.columns:
        reason = "None of its inputs is a measured number (a float that varies), so no noise was tried."
        return Verdict(check="stability", outcome="pass", reason=reason, numbers=numbers)
    share = float(noise.flips.mean())
    outcome: Outcome = "fail" if share > LIMIT else "warn" if share > NEAR else "pass"
    reason = (
        f"With noise of ±{SIZE:.0%} of the interquartile range on {len(noise.columns)} columns, {share:.1%} of the decisions on "
        f"{noise.rows:,} rows flip; {LIMIT:.0%} are allowed. The largest change of an answer is {noise.largest:.3f}."
    )
    return Verdict(check="stability", outcome=outcome, reason=reason, numbers=numbers)


def disturb(rows: pl.DataFrame, predict: Callable[[pl.DataFrame], Floats], threshold: float, seed: int = 0) -> Noise:
    """Return what small noise on every float column does to a model's decisions.

    A column whose interquartile range is zero stays as it is: its typical value is a value of its own, such as "no rain".

    Args:
        rows: raw input rows in the model's columns, (n, columns); at most 2,000 of them are used.
        predict: frame -> probability of 1, (n,).
        threshold: probability from which one acts.
        seed: of the noise.
    """
    if rows.height > _ROWS:
        rows = rows[np.linspace(0, rows.height - 1, _ROWS).astype(np.int64)]
    reach = {}
    for name in (name for name, dtype in rows.schema.items() if dtype.is_float()):
        low, high = (rows.get_column(name).fill_nan(None).quantile(share) for share in (0.25, 0.75))
        if low is not None and high is not None and np.isfinite(high - low) and high > low:
            reach[name] = SIZE * (high - low)
    before = predict(rows)
    random = np.random.default_rng(seed)
    flips, largest = [], 0.0
    for _ in range(_REPETITIONS if reach else 0):
        moved = rows.with_columns(
            (pl.col(name) + pl.Series(random.uniform(-size, size, rows.height))).cast(rows.schema[name]) for name, size in reach.items()
        )
        after = predict(moved)
        flips.append(float(np.mean((after >= threshold) != (before >= threshold))))
        largest = max(largest, float(np.max(np.abs(after - before))))
    return Noise(flips=np.array(flips), largest=largest, rows=rows.height, columns=tuple(reach))
