from __future__ import annotations

import numpy as np
import polars as pl

from plimsoll.registry.checks.evidence import Floats
from plimsoll.registry.checks.stability import check_stability, disturb
from tests.unit.registry.checks.made import rows

ROWS = rows(1500, 0).select("a", "b", "carrier")


def smooth(frame: pl.DataFrame) -> Floats:
    """Answer as a logistic curve of a."""
    return frame.select(1 / (1 + (-pl.col("a")).exp())).to_series().to_numpy()


def nervous(frame: pl.DataFrame) -> Floats:
    """Answer by a digit that nobody measures."""
    return frame.select((pl.col("a") * 100).floor().cast(pl.Int64) % 2 == 0).to_series().cast(pl.Float64).to_numpy()


def test_a_smooth_model_keeps_its_decisions_under_small_noise() -> None:
    verdict = check_stability(disturb(ROWS, smooth, 0.5))
    assert verdict.outcome == "pass"
    assert 0 < max(verdict.numbers["flips"]) < 0.02


def test_a_model_that_turns_around_on_a_whisper_is_refused() -> None:
    verdict = check_stability(disturb(ROWS, nervous, 0.5))
    assert verdict.outcome == "fail"
    assert "5% are allowed" in verdict.reason


def test_the_same_seed_gives_the_same_noise_and_another_one_another() -> None:
    first, again, other = (disturb(ROWS, nervous, 0.5, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.flips, again.flips)
    assert not np.array_equal(first.flips, other.flips)


def test_only_measured_numbers_get_noise() -> None:
    mixed = ROWS.with_columns(
        count=pl.int_range(pl.len()), rain=pl.when(pl.col("b") > 0.9).then("b").otherwise(0.0), gone=pl.lit(None, pl.Float64)
    )
    assert disturb(mixed, smooth, 0.5).columns == ("a", "b")


def test_gaps_stay_gaps() -> None:
    holes = ROWS.with_columns(a=pl.when(pl.col("a") > 0).then("a"))
    seen: list[int] = []

    def counting(frame: pl.DataFrame) -> Floats:
        seen.append(frame["a"].null_count())
        return np.zeros(frame.height)

    disturb(holes, counting, 0.5)
    assert set(seen) == {holes["a"].null_count()}


def test_a_model_without_measured_inputs_passes_and_says_that_nothing_was_tried() -> None:
    verdict = check_stability(disturb(ROWS.select("carrier"), lambda frame: np.zeros(frame.height), 0.5))
    assert verdict.outcome == "pass"
    assert "no noise was tried" in verdict.reason
