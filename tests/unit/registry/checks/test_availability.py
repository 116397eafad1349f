from __future__ import annotations

import numpy as np
import polars as pl

from plimsoll.registry.checks.availability import check_availability
from tests.unit.registry.checks.made import data, rows

TRAINING, HOLDOUT = rows(2000, 0), rows(500, 60)
STAGES = {"decision_stage": "two hours before departure", "known_at": {"b": "after departure"}}


def test_inputs_that_are_known_in_time_pass_and_the_strongest_is_named() -> None:
    verdict = check_availability(data(TRAINING, HOLDOUT))
    assert verdict.outcome == "pass"
    assert "'a'" in verdict.reason
    assert 0.7 < verdict.numbers["auc_alone"]["a"] < 0.97


def test_a_model_that_takes_a_column_known_only_later_is_refused_by_column_and_stage() -> None:
    verdict = check_availability(data(TRAINING, HOLDOUT, **STAGES))
    assert verdict.outcome == "fail"
    assert "'b'" in verdict.reason
    assert "after departure" in verdict.reason
    assert "two hours before departure" in verdict.reason


def test_a_column_known_later_that_the_model_does_not_take_is_no_leak() -> None:
    assert check_availability(data(TRAINING, HOLDOUT, inputs=("a", "carrier"), **STAGES)).outcome == "pass"


def test_a_column_declared_to_be_known_at_the_decision_is_no_leak() -> None:
    assert check_availability(data(TRAINING, HOLDOUT, decision_stage="at noon", known_at={"b": "at noon"})).outcome == "pass"


def test_a_declared_leak_is_refused_also_without_any_data() -> None:
    verdict = check_availability(data(None, None, **STAGES))
    assert verdict.outcome == "fail"
    assert "'b'" in verdict.reason


def test_an_undeclared_number_that_tells_the_label_is_refused_by_name() -> None:
    random = np.random.default_rng(5)
    leaking = [
        frame.with_columns(b=pl.col("late") * -2.0 + pl.Series(random.normal(0, 0.6, frame.height))) for frame in (TRAINING, HOLDOUT)
    ]
    verdict = check_availability(data(*leaking))
    assert verdict.outcome == "fail"
    assert "'b' alone" in verdict.reason
    assert verdict.numbers["auc_alone"]["b"] > 0.97


def test_an_undeclared_text_that_tells_the_label_is_refused_by_name() -> None:
    leaking = [
        frame.with_columns(carrier=pl.when(pl.col("late") == 1).then(pl.lit("delayed")).otherwise(pl.lit("landed")))
        for frame in (TRAINING, HOLDOUT)
    ]
    verdict = check_availability(data(*leaking))
    assert verdict.outcome == "fail"
    assert "'carrier' alone" in verdict.reason


def test_a_column_that_is_missing_exactly_where_the_label_is_one_is_refused() -> None:
    leaking = [frame.with_columns(b=pl.when(pl.col("late") == 0).then("b")) for frame in (TRAINING, HOLDOUT)]
    assert "'b' alone" in check_availability(data(*leaking)).reason


def test_an_echo_is_seen_without_training_data_whichever_way_it_points() -> None:
    turned = HOLDOUT.with_columns(b=pl.col("late") * -1.0 + pl.col("b") / 2)
    assert "'b' alone" in check_availability(data(None, turned)).reason
    gone = HOLDOUT.with_columns(b=pl.when(pl.col("late") == 0).then("b"))
    assert "'b' alone" in check_availability(data(None, gone)).reason


def test_a_number_that_tells_the_label_without_order_is_refused() -> None:
    leaking = [
        frame.with_columns(b=pl.when(pl.col("late") == 1).then(0.4 + pl.col("b") / 10).otherwise((pl.col("b") * 10).floor() * 3 - 9.5))
        for frame in (TRAINING, HOLDOUT)
    ]
    verdict = check_availability(data(*leaking))
    assert verdict.outcome == "fail"
    assert "'b' alone" in verdict.reason


def test_a_person_may_declare_that_a_strong_column_is_known_in_time() -> None:
    leaking = [frame.with_columns(b=pl.col("late") + 0.0) for frame in (TRAINING, HOLDOUT)]
    verdict = check_availability(data(*leaking, decision_stage="at noon", known_at={"b": "at noon"}))
    assert verdict.outcome == "warn"
    assert "'b'" in verdict.reason


def test_the_label_itself_as_an_input_is_refused() -> None:
    verdict = check_availability(data(TRAINING, HOLDOUT, inputs=("a", "late")))
    assert verdict.outcome == "fail"
    assert "'late', which is the label itself" in verdict.reason


def test_too_few_positive_rows_are_said_rather_than_taken_for_fine() -> None:
    few = HOLDOUT.filter((pl.col("late") == 0) | (pl.col("late").cum_sum() < 10))
    verdict = check_availability(data(TRAINING, few))
    assert verdict.outcome == "warn"
    assert "fewer than 30" in verdict.reason


def test_columns_that_know_nothing_are_not_taken_for_an_echo_by_chance() -> None:
    random = np.random.default_rng(11)
    frame = HOLDOUT.head(200).with_columns(pl.Series(f"c{index}", random.normal(size=200)) for index in range(300))
    verdict = check_availability(data(None, frame, inputs=tuple(f"c{index}" for index in range(300))))
    assert verdict.outcome == "pass", verdict.reason
