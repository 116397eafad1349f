from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from plimsoll.registry.checks.quality import check_purpose, check_quality
from tests.unit.registry.checks.made import data, purpose, rows

TRAINING, HOLDOUT = rows(2000, 0), rows(500, 60)
Change = Callable[[pl.DataFrame], pl.DataFrame]


def test_sound_data_passes_and_says_what_it_is() -> None:
    verdict = check_quality(data(TRAINING, HOLDOUT))
    assert verdict.outcome == "pass", verdict.reason
    assert "2,000 training rows, then 500 held-out rows" in verdict.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.drop("late"), "lacks the label 'late'"),
        (lambda frame: frame.with_columns(late=pl.lit(2)), "neither 0 nor 1 in 2,000 of 2,000"),
        (lambda frame: frame.with_columns(late=pl.when(pl.col("a") < 2).then("late")), "neither 0 nor 1"),
        (lambda frame: frame.with_columns(late=pl.lit("yes")), "neither 0 nor 1"),
        (lambda frame: frame.with_columns(late=pl.lit(0)), "only one value"),
        (lambda frame: frame.filter((pl.col("late") == 0) | (pl.col("late").cum_sum() < 10)), "rarer class has 9 rows"),
        (lambda frame: frame.head(150), "has 150 rows; at least 200"),
        (lambda frame: pl.concat([frame, frame.head(3)]), "6 of 2,003 rows"),
        (lambda frame: frame.drop("id"), "lacks the column 'id'"),
        (lambda frame: frame.with_columns(id=pl.when(pl.col("a") < 2).then("id")), "'id' is missing"),
        (lambda frame: frame.drop("at"), "lacks the column 'at'"),
        (lambda frame: frame.with_columns(at=pl.when(pl.col("a") < 2).then("at")), "time 'at' is missing"),
        (lambda frame: frame.with_columns(pl.col("at").dt.offset_by("60d")), "holdout does not come after training"),
        (lambda frame: frame.drop("b"), "lacks the inputs 'b'"),
        (lambda frame: frame.with_columns(b=pl.lit(None, pl.Float64)), "without any value in the training data: 'b'"),
        (lambda frame: frame.with_columns(b=pl.lit(float("nan"))), "without any value in the training data: 'b'"),
        (lambda frame: frame.with_columns(pl.col("b").cast(pl.Int64)), "another type in the holdout"),
    ],
)
def test_training_data_that_cannot_carry_a_model_is_refused(change: Change, said: str) -> None:
    verdict = check_quality(data(change(TRAINING), HOLDOUT))
    assert verdict.outcome == "fail"
    assert said in verdict.reason


def test_rows_that_training_has_seen_are_refused_in_the_holdout() -> None:
    seen = HOLDOUT.with_columns(id=pl.when(pl.int_range(pl.len()) < 7).then(pl.lit("0-3")).otherwise("id"))
    verdict = check_quality(data(TRAINING, seen))
    assert verdict.outcome == "fail"
    assert "7 of 500 held-out rows have a 'id' that training has seen" in verdict.reason


def test_a_package_without_its_data_is_refused() -> None:
    verdict = check_quality(data(None, HOLDOUT))
    assert verdict.outcome == "fail"
    assert "names no training data" in verdict.reason
    assert "names no holdout data" in check_quality(data(TRAINING, None)).reason


def test_an_input_that_never_varies_is_told_to_the_approver() -> None:
    verdict = check_quality(data(*(frame.with_columns(b=pl.lit(4.0)) for frame in (TRAINING, HOLDOUT))))
    assert verdict.outcome == "warn"
    assert "'b' (always 4.0)" in verdict.reason


def test_an_input_that_is_mostly_missing_or_starts_to_be_is_told_to_the_approver() -> None:
    thinned = TRAINING.with_columns(b=pl.when(pl.col("b") < 0.3).then("b"))
    verdict = check_quality(data(thinned, HOLDOUT))
    assert verdict.outcome == "warn"
    assert "mostly missing in training: 'b' 69%" in verdict.reason
    assert "to 0%" in verdict.reason


def test_missing_values_that_stay_as_they_were_are_nothing_to_look_at() -> None:
    gaps = [frame.with_columns(b=pl.when(pl.col("b") < 0.8).then("b")) for frame in (TRAINING, HOLDOUT)]
    verdict = check_quality(data(*gaps))
    assert verdict.outcome == "pass"
    assert 0.15 < verdict.numbers["nulls"]["b"] < 0.25


def test_empty_tables_are_refused_rather_than_divided_by() -> None:
    assert check_quality(data(TRAINING.clear(), HOLDOUT.clear())).outcome == "fail"


def test_a_package_that_is_judged_by_another_purpose_than_the_project_declares_is_told_to_the_approver() -> None:
    verdict = check_purpose(purpose(margin=5.0, known_at={}), purpose(margin=1.0, known_at={"b": "later"}))
    assert verdict.outcome == "warn"
    assert "another margin, known_at now" in verdict.reason
    assert check_purpose(purpose(), purpose()).outcome == "pass"
    assert check_purpose(purpose(), None).outcome == "pass"
