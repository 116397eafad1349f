"""Hard defects of a window: each kind is found, named, and absent from a good window."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from plimsoll.monitoring.quality import judge_quality
from plimsoll.monitoring.sketches import Profile
from plimsoll.records.monitor import Finding


def rows(seed: int, count: int = 600) -> pl.DataFrame:
    """Return good rows."""
    rng = np.random.default_rng(seed)
    weight = pl.Series("weight", rng.gamma(2.0, 1.5, count))
    note = pl.Series("note", [None if missing else "text" for missing in rng.random(count) < 0.1], dtype=pl.String)
    return pl.DataFrame([weight, pl.Series("depot", rng.choice(["north", "south"], count)), note]).with_columns(month=pl.lit(1 + seed % 2))


PROFILE = Profile.build(
    pl.concat([rows(seed) for seed in range(10)]), time=pl.Series([datetime(2013, 1, 1 + index // 600) for index in range(6_000)])
)


def found(frame: pl.DataFrame, units: pl.Series | None = None) -> dict[str, Finding]:
    """Return the findings by subject."""
    return {finding.subject: finding for finding in judge_quality(PROFILE, frame, units)}


def test_a_good_window_has_no_finding() -> None:
    units = pl.Series([str(index) for index in range(600)])
    assert found(rows(20), units) == {}


HOLES = pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise(pl.col("weight")).alias("weight")


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("weight", pl.lit("heavy").alias("weight"), "600 values of type String cannot be read as Float64"),
        ("weight", HOLES, "25.0% nulls, at most 0.0%"),
        ("weight", pl.lit(1.5).alias("weight"), "every row has the value '1.5'"),
        ("weight", (pl.col("weight") * 1_000).alias("weight"), "far above training"),
        ("weight", pl.lit(float("nan")).alias("weight"), "100.0% not a number"),
        ("depot", pl.lit("east").alias("depot"), "100.0% unseen in training ('east')"),
    ],
)
def test_a_defect_is_found_and_told_with_its_numbers(column: str, change: pl.Expr, words: str) -> None:
    finding = found(rows(21).with_columns(change))[column]
    assert finding.alarming
    assert words in finding.reason
    assert finding.p_value is None


def test_a_missing_column_and_repeated_units_are_found() -> None:
    findings = found(rows(22).drop("depot"), pl.Series([str(index // 2) for index in range(600)]))
    assert findings["depot"].alarming
    assert findings["depot"].reason == "depot: the column is missing (of 600 rows)."
    assert findings["unit"].alarming
    assert findings["unit"].reason.startswith("unit: 300 rows repeat")


def test_a_few_defects_are_told_without_an_alarm_and_empty_units_repeat_nothing() -> None:
    few = pl.when(pl.int_range(pl.len()) < 6).then(None).otherwise(pl.col("weight")).alias("weight")
    findings = found(rows(23).with_columns(few), pl.Series([""] * 600))
    assert set(findings) == {"weight"}
    assert not findings["weight"].alarming


def test_a_window_of_few_rows_is_not_judged() -> None:
    assert found(rows(24, 20).drop("depot")) == {}
