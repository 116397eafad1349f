"""The integer tables: frozen cells, exact addition, stable bytes."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.monitoring.sketches import PREDICTION, Profile, Tally, area_under_curve


def training(rows: int = 4_000, days: int = 10) -> tuple[pl.DataFrame, pl.Series]:
    """Return a small training set without randomness from the machine, and its times."""
    rng = np.random.default_rng(5)
    frame = pl.DataFrame(
        {
            "distance": rng.gamma(3.0, 300.0, rows).round(1),
            "delay": np.where(rng.random(rows) < 0.6, 0.0, rng.normal(0, 10, rows)),
            "carrier": rng.choice(["AA", "B6", "DL", "UA"], rows, p=[0.1, 0.2, 0.3, 0.4]),
            "late": rng.random(rows) < 0.2,
            "gate": [None if x < 0.25 else f"g{int(x * 40)}" for x in rng.random(rows)],
        }
    ).with_columns(at=pl.Series([datetime(2013, 1, 1 + i % days, i % 24) for i in range(rows)]))
    return frame, frame["at"]


FRAME, TIME = training()
PROFILE = Profile.build(FRAME, time=TIME, answers=np.linspace(0, 1, FRAME.height))
ROWS = st.lists(st.integers(0, 3_999), max_size=60)


def count(profile: Profile, column: str, label: str, frame: pl.DataFrame) -> int:
    """Return how many rows of ``frame`` fall into the cell with that label."""
    cells = next(cells for cells in profile.columns if cells.name == column)
    return int(profile.tally(frame).counts[column][cells.labels.index(label)])


def test_every_row_falls_into_exactly_one_cell_of_every_column() -> None:
    tally = PROFILE.tally(FRAME, np.linspace(0, 1, FRAME.height))
    assert {name: int(counts.sum()) for name, counts in tally.counts.items()} == dict.fromkeys([*FRAME.columns, PREDICTION], 4_000)
    assert {name: int(counts.sum()) for name, counts in PROFILE.reference.items()} == dict.fromkeys([*FRAME.columns, PREDICTION], 4_000)


def test_numbers_go_to_spikes_quantile_cells_and_cells_for_what_training_did_not_know() -> None:
    values = [None, float("nan"), float("-inf"), float("inf"), -1e9, 1e9, 0.0]
    tally = PROFILE.tally(pl.DataFrame({"delay": values}, strict=False))
    assert tally.counts["delay"][:7].tolist() == [1, 1, 1, 1, 1, 1, 1]
    cells = next(cells for cells in PROFILE.columns if cells.name == "delay")
    assert cells.spikes == (0.0,)
    shares = PROFILE.reference["delay"][7:] / 4_000
    assert len(shares) == 20
    assert shares.max() < 0.03


def test_categories_have_cells_for_null_unseen_frequent_and_other_values() -> None:
    frame = pl.DataFrame({"carrier": ["AA", None, "ZZ", "AA"]})
    assert count(PROFILE, "carrier", "AA", frame) == 2
    assert count(PROFILE, "carrier", "null", frame) == 1
    assert count(PROFILE, "carrier", "unseen in training", frame) == 1


def test_a_missing_column_counts_as_null_and_a_wrong_type_as_null_where_it_cannot_be_converted() -> None:
    tally = PROFILE.tally(pl.DataFrame({"distance": ["300.5", "far"]}))
    assert int(tally.counts["carrier"][0]) == 2
    assert int(tally.counts["distance"][0]) == 1


def test_date_times_that_were_logged_as_text_fall_into_the_same_hour() -> None:
    assert count(PROFILE, "at", "hour 7", pl.DataFrame({"at": [datetime(2013, 1, 1, 7)]})) == 1
    assert count(PROFILE, "at", "hour 7", pl.DataFrame({"at": ["2013-01-01T07:30:00Z", "2013-01-01 07:30:00"]})) == 2


def test_what_only_one_training_day_has_counts_there_as_the_other_days_would_have_met_it() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 1.5, 2.5, 99.0], "c": ["a", "b", "a", "b", "a", "new"]})
    time = pl.Series([datetime(2013, 1, 1 + i // 2) for i in range(6)])
    profile = Profile.build(frame, time=time)
    assert profile.windows["c"][:, 1].tolist() == [0, 0, 1]
    assert profile.windows["x"][:, 5].tolist() == [0, 0, 1]
    assert profile.windows["x"][:, 4].tolist() == [0, 0, 0]


def test_an_empty_frame_gives_a_tally_of_zeros() -> None:
    tally = PROFILE.tally(FRAME.head(0))
    assert tally.rows == 0
    assert all(int(counts.sum()) == 0 for counts in tally.counts.values())


@settings(max_examples=30, deadline=None)
@given(ROWS, ROWS, ROWS)
def test_tallies_add_in_any_order_and_grouping_to_the_tally_of_all_rows(first: list[int], second: list[int], third: list[int]) -> None:
    a, b, c = (PROFILE.tally(FRAME[rows]) for rows in (first, second, third))
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + b + c == PROFILE.tally(FRAME[[*first, *second, *third]])


def test_tallies_of_different_profiles_do_not_add() -> None:
    other = Profile.build(FRAME.head(100))
    with pytest.raises(InvalidInput, match="different profiles"):
        PROFILE.tally(FRAME) + other.tally(FRAME)


def test_profiles_and_tallies_come_back_from_bytes_as_they_were() -> None:
    again = Profile.from_bytes(PROFILE.to_bytes())
    assert again.to_bytes() == PROFILE.to_bytes()
    assert again.tally(FRAME) == PROFILE.tally(FRAME)
    tally = PROFILE.tally(FRAME)
    assert Tally.from_bytes(tally.to_bytes()) == tally
    without_time = Profile.build(FRAME)
    assert Profile.from_bytes(without_time.to_bytes()).to_bytes() == without_time.to_bytes()


def test_the_written_format_has_not_moved() -> None:
    frame = pl.DataFrame({"x": [0.0, 0.0, 1.0, 2.5, None, 4.0], "c": ["a", "a", "b", "b", "a", None]})
    profile = Profile.build(frame, time=pl.Series([datetime(2013, 1, 1 + i // 3) for i in range(6)]), answers=np.linspace(0.0, 0.5, 6))
    assert codec.digest(profile.to_bytes()) == "bc246c49d957a2e682ba6e06be372b4de0d27e5065e1435af872ee2e5bc9b45c"
    assert codec.digest(profile.tally(frame).to_bytes()) == "4c31c695dd7db4c5f985f27da0cf4971fda369daf8253c0cb5dbe451fcd70313"


@pytest.mark.parametrize("data", [b"", b"\x80", b"not msgpack"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        Profile.from_bytes(data)
    with pytest.raises(InvalidInput):
        Tally.from_bytes(data)


def test_a_profile_refuses_no_rows_a_column_named_like_the_answers_and_columns_of_other_lengths() -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        Profile.build(FRAME.head(0))
    with pytest.raises(InvalidInput, match="prediction"):
        Profile.build(pl.DataFrame({PREDICTION: [1.0]}))
    with pytest.raises(InvalidInput, match="answers"):
        Profile.build(FRAME, answers=np.zeros(3))
    with pytest.raises(InvalidInput, match="time"):
        Profile.build(FRAME, time=TIME.head(3))


def test_the_summary_names_type_nulls_and_fullest_cells_of_every_column() -> None:
    rows = {row["name"]: row for row in PROFILE.summary()}
    assert list(rows) == [*FRAME.columns, PREDICTION]
    assert next(iter(rows["carrier"]["top"])) == "UA"
    assert 0.2 < rows["gate"]["nulls"] < 0.3
    assert rows["distance"]["low"] > 0


def test_a_promise_keeps_each_day_of_the_holdout_and_travels_with_the_profile() -> None:
    time = pl.Series([datetime(2013, 2, 1), datetime(2013, 2, 1), datetime(2013, 2, 1), datetime(2013, 2, 2)])
    answers, labels = np.array([0.9, 0.2, 0.4, 0.1]), np.array([1, 0, 1, 0])
    profile = PROFILE.promising(time=time, answers=answers, labels=labels, threshold=0.5)
    first, second = Profile.from_bytes(profile.to_bytes()).promises
    assert (first.rows, first.positives, first.auc, first.false_alarms, first.missed) == (3, 2, 1.0, 0, 1)
    assert first.brier == pytest.approx((0.01 + 0.04 + 0.36) / 3)
    assert second.auc is None
    with pytest.raises(InvalidInput, match="labels"):
        PROFILE.promising(time=time, answers=answers, labels=labels[:2], threshold=0.5)


@given(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from([0.0, 0.1, 0.5, 0.9])), min_size=2, max_size=30))
def test_the_area_under_the_curve_is_the_share_of_well_ordered_pairs_with_ties_as_half(rows: list[tuple[int, float]]) -> None:
    labels, answers = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    pairs = [(p > n) + 0.5 * (p == n) for p in answers[labels == 1] for n in answers[labels == 0]]
    area = area_under_curve(labels, answers)
    assert (np.isnan(area) and not pairs) or area == pytest.approx(np.mean(pairs))
