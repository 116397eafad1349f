from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas
import polars as pl
import pytest

from plimsoll.errors import InvalidInput
from plimsoll.registry.signature import read, same_values, schema_of, signature_of

EXAMPLE = pl.DataFrame(
    {
        "distance": [1400.0, 200.0],
        "seats": [180, 20],
        "carrier": ["UA", "AA"],
        "weekend": [True, False],
        "day": [date(2013, 1, 1), date(2013, 1, 2)],
        "scheduled": [datetime(2013, 1, 1, 6, tzinfo=UTC), datetime(2013, 1, 2, 7, tzinfo=UTC)],
    }
)
SCHEMA = schema_of(signature_of(EXAMPLE))


def columns(**changed: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "distance": [1400.0, 200.0],
        "seats": [180, 20],
        "carrier": ["UA", "AA"],
        "weekend": [True, False],
        "day": ["2013-01-01", "2013-01-02"],
        "scheduled": ["2013-01-01T06:00:00Z", "2013-01-02T07:00:00+00:00"],
    }
    return whole | changed


def test_a_signature_says_each_columns_type_and_reads_back_to_it() -> None:
    assert [column.name for column in signature_of(EXAMPLE).inputs] == EXAMPLE.columns
    assert dict(EXAMPLE.schema) == SCHEMA


def test_what_json_carries_becomes_exactly_the_models_columns() -> None:
    assert read(columns(), SCHEMA).equals(EXAMPLE)


def test_columns_come_in_the_models_order_and_others_are_left_out() -> None:
    shuffled = {"gate": [object(), object()], **dict(reversed(columns().items()))}
    assert read(shuffled, SCHEMA).equals(EXAMPLE)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("distance", [1, 2], [1.0, 2.0]),
        ("distance", [1, 2.5], [1.0, 2.5]),
        ("distance", [None, None], [None, None]),
        ("distance", [float("nan"), 2.0], [None, 2.0]),
        ("distance", np.array([1, 2], np.int32), [1.0, 2.0]),
        ("seats", [1.0, None], [1, None]),
        ("seats", np.array([1.0, np.nan]), [1, None]),
        ("carrier", pl.Series(["UA", None], dtype=pl.Categorical), ["UA", None]),
        ("scheduled", ["2013-01-01", "2013-01-01T02:00:00+02:00"], [datetime(2013, 1, 1, tzinfo=UTC)] * 2),
        ("scheduled", [datetime(2013, 1, 1), None], [datetime(2013, 1, 1, tzinfo=UTC), None]),
        ("day", [None, "2013-02-28"], [None, date(2013, 2, 28)]),
    ],
)
def test_values_that_convert_without_loss_are_taken(column: str, values: Any, expected: list[Any]) -> None:
    made = read(columns(**{column: values}), SCHEMA)
    assert made.get_column(column).to_list() == expected
    assert dict(made.schema) == SCHEMA


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("distance", ["1400", "200"]),
        ("distance", [True, False]),
        ("distance", [1.0, "two"]),
        ("seats", [1.5, 2.0]),
        ("seats", [float("inf"), 2.0]),
        ("seats", [True, False]),
        ("carrier", [1, 2]),
        ("weekend", [1, 0]),
        ("day", ["2013-02-30", "2013-01-01"]),
        ("scheduled", ["yesterday", "2013-01-01"]),
        ("scheduled", [20130101, 20130102]),
    ],
)
def test_values_of_another_type_are_refused_and_the_column_is_named(column: str, values: Any) -> None:
    with pytest.raises(InvalidInput, match=column):
        read(columns(**{column: values}), SCHEMA)


def test_a_missing_column_is_refused_by_name() -> None:
    rest = columns()
    del rest["carrier"]
    with pytest.raises(InvalidInput, match="'carrier'"):
        read(rest, SCHEMA)


def test_a_number_that_does_not_fit_the_type_is_refused() -> None:
    narrow = {"seats": pl.Int8()}
    with pytest.raises(InvalidInput, match="seats"):
        read({"seats": [1000]}, narrow)


def test_a_pandas_frame_gives_the_same_rows() -> None:
    frame = pandas.DataFrame(columns())
    frame["scheduled"] = pandas.to_datetime(frame["scheduled"])
    frame["carrier"] = frame["carrier"].astype("category")
    assert read(frame, SCHEMA).equals(EXAMPLE)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (pl.Series("prediction", [1.0]), "name of the answer"),
        (pl.Series("gate", [None]), "type is unknown"),
        (pl.Series("stops", [[1, 2]]), "List"),
    ],
)
def test_an_example_that_no_request_could_carry_is_refused(series: pl.Series, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        signature_of(series.to_frame())


def test_frames_that_differ_only_by_rounding_have_the_same_values() -> None:
    left = pl.DataFrame({"a": [0.1 + 0.2, None], "b": ["x", None]})
    assert same_values(left, pl.DataFrame({"a": [0.3, float("nan")], "b": ["x", None]})) is None
    assert same_values(left, pl.DataFrame({"a": [0.31, None], "b": ["x", None]})) == "a"
    assert same_values(left, pl.DataFrame({"a": [0.3, None], "b": ["y", None]})) == "b"
    assert same_values(left, left.select("a")) == "b"
