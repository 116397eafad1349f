"""What a step returns of pandas comes back to the last label: as frames are after a split, a filter, a grouping or a pivot."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.data.tables.table import put_table
from plimsoll.data.values import load, save
from plimsoll.errors import Corrupt, InvalidInput, Unfingerprintable
from plimsoll.fingerprint import digest_value
from plimsoll.records.pipeline import Output
from plimsoll.store.blobs import LocalBlobs

ROWS = pd.DataFrame({"a": [3, 1, 2], "s": ["x", "y", None], "f": [1.5, np.nan, -0.0]})
GROUPS = pd.DataFrame({"k": ["p", "q", "p", "q"], "j": [1, 1, 2, 2], "v": [1.0, 2.0, 3.0, 4.0]})
DAYS = pd.date_range("2024-01-01", periods=4, freq="D")

KEPT: dict[str, Any] = {
    "shuffled rows": ROWS.sample(frac=1, random_state=1),
    "some rows": ROWS[ROWS.a > 1],
    "rows turned round": ROWS.iloc[::-1],
    "no rows": ROWS.iloc[:0],
    "no columns": pd.DataFrame(index=["x"]),
    "nothing": pd.DataFrame(),
    "rows by text": ROWS.set_index("s"),
    "rows by number": pd.Series([1, 2], index=[0.5, np.nan]),
    "rows by truth": pd.Series([1, 2], index=[True, False]),
    "rows with a name": ROWS.rename_axis("row"),
    "columns by number": pd.DataFrame(np.arange(6.0).reshape(3, 2)),
    "columns by some numbers": pd.DataFrame(np.ones((2, 2)), columns=[5, 7]),
    "columns by date": GROUPS.assign(t=DAYS).pivot(index="k", columns="t", values="v"),
    "columns twice": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "a column called as the rows' labels": pd.DataFrame({"index 0": [1]}, index=["q"]),
    "a grouping": GROUPS.groupby("k").v.sum(),
    "a grouping by two": GROUPS.groupby(["k", "j"]).v.mean(),
    "a part of a grouping": GROUPS.set_index(["k", "j"]).iloc[:2],
    "several figures": GROUPS.groupby("k").agg({"v": ["mean", "std"]}),
    "a pivot": GROUPS.pivot(index="k", columns="j", values="v"),
    "a stack": ROWS[["a", "f"]].stack(),
    "turned over": ROWS[["a", "f"]].T,
    "figures of a frame": GROUPS.describe(),
    "counts": GROUPS.k.value_counts(),
    "a grouping by categories": GROUPS.assign(k=GROUPS.k.astype("category")).groupby("k", observed=False).v.sum(),
    "days": pd.DataFrame({"v": range(4)}, index=DAYS),
    "days elsewhere": pd.Series(range(4), index=DAYS.tz_localize("Europe/Berlin")),
    "every second day": pd.Series(range(4), index=DAYS).resample("2D").sum(),
    "durations": pd.Series([1, 2], index=pd.to_timedelta([1, 2], unit="h")),
    "a series": ROWS["a"],
    "texts": ROWS["s"],
    "without a name": pd.Series([1, 2]),
    "called by two": pd.Series([1], name=("a", 1)),
    "an empty series": pd.Series([], dtype=float),
    "gaps": pd.Series([1, None], dtype="Int64"),
    "large numbers": pd.Series([2**63], dtype="uint64"),
    "dates": pd.Series([datetime.date(2024, 1, 1), None]),
    "ordered categories": pd.Series(pd.Categorical(["x", None], categories=["y", "x"], ordered=True)),
    "categories that no row has": ROWS.assign(c=pd.Categorical(["u", "v", "w"]))[ROWS.a > 1],
    "categories of numbers": pd.Series(pd.Categorical([1, 2, 1], categories=[3, 2, 1])),
    "lists": pd.Series([[1, 2], [], None]),
    "arrays": pd.Series([np.arange(3), np.eye(2)]),
    "several types": pd.Series([1, "x", 1.0, None, np.nan, decimal.Decimal("1.50"), {"a": (1,)}, pd.NaT]),
    "complex numbers": pd.Series([1j, 0.0]),
    "an index": pd.Index(["b", "a"], name="n"),
    "a range": pd.RangeIndex(2, 10, 3),
    "an index of days": DAYS,
    "an index of two": pd.MultiIndex.from_product([[1, 2], ["a"]], names=["i", None]),
    "the columns": ROWS.columns,
    "a moment": pd.Timestamp("2024-03-31 03:30", tz="Europe/Berlin"),
    "a fold": pd.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Berlin"),
    "the year 3000": pd.Timestamp("3000-01-01").as_unit("s"),
    "a duration": pd.Timedelta(days=1, nanoseconds=1),
    "no moment": pd.NaT,
    "not available": pd.NA,
}


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def check(value: Any, back: Any) -> None:
    assert type(back) is type(value)
    assert digest_value(back) == digest_value(value)
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(back, value)
    elif isinstance(value, pd.Series):
        pd.testing.assert_series_equal(back, value)
    elif isinstance(value, pd.Index):
        pd.testing.assert_index_equal(back, value, exact=True)


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT)
def test_what_pandas_makes_comes_back_alone_and_within_others(blobs: LocalBlobs, value: Any) -> None:
    output = save(value, blobs, Path())
    assert output.kind == ("table" if isinstance(value, pd.DataFrame | pd.Series) else "value")
    check(value, load(output, blobs))
    check(value, load(save({"deep": [value]}, blobs, Path()), blobs)["deep"][0])


def test_equal_frames_have_one_digest_and_other_labels_another(blobs: LocalBlobs) -> None:
    def digest(value: Any) -> str:
        return save(value, blobs, Path()).digest

    assert digest(ROWS[ROWS.a > 1]) == digest(ROWS[ROWS.a > 1].copy())
    changed = [ROWS, ROWS.iloc[::-1], ROWS.rename_axis("row"), ROWS.rename(columns={"a": "b"}), ROWS.set_index("a"), ROWS["a"], ROWS[["a"]]]
    assert len({digest(each) for each in changed}) == len(changed)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(-9, 9), st.sampled_from(["", "x", "é"]), st.just(np.nan) | st.floats(width=32, allow_nan=False)), max_size=8
    ),
    by=st.sampled_from([[], ["i"], ["t"], ["i", "t"], ["f"]]),
    picked=st.lists(st.booleans(), min_size=8, max_size=8),
    category=st.booleans(),
)
def test_any_part_of_a_frame_comes_back_whatever_labels_its_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], by: list[str], picked: list[bool], category: bool
) -> None:
    blobs = LocalBlobs(tmp_path_factory.mktemp("blobs"))
    frame = pd.DataFrame(rows, columns=["i", "t", "f"]).astype({"i": "int64", "t": "category" if category else "str", "f": "float64"})
    frame = frame.loc[np.array(picked[: len(frame)], dtype=bool)]
    frame = frame.set_index(by) if by else frame
    check(frame, load(save(frame, blobs, Path()), blobs))


def with_attribute() -> pd.Series:
    made = pd.Series([1])
    made.attrs["source"] = "here"
    return made


class Mine(pd.DataFrame):
    """A frame of somebody's own class, which storage does not know."""


@pytest.mark.parametrize(
    "value",
    [
        with_attribute(),
        pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
        pd.cut(pd.Series([1, 5, 9]), 3),
        pd.Series(range(2), index=pd.period_range("2024", periods=2, freq="M")),
        pd.Series(pd.arrays.SparseArray([0, 1])),
        pd.Series([object()]),
        pd.DataFrame([[1]], columns=[object()]),
        Mine({"a": [1]}),
    ],
    ids=["attributes", "flags", "intervals", "periods", "sparse", "objects", "labels", "own class"],
)
def test_what_would_come_back_changed_is_refused_with_a_remedy(blobs: LocalBlobs, value: Any) -> None:
    for made in (value, {"deep": [value]}):
        with pytest.raises((Unfingerprintable, InvalidInput)) as caught:
            save(made, blobs, Path())
        assert caught.value.remedy


@pytest.mark.parametrize(
    "described", [{}, None, {"kind": "frame", "labels": None, "types": [{}], "rows": {}}, {"kind": "series", "types": 7}]
)
def test_a_description_that_is_damaged_is_corrupt(blobs: LocalBlobs, described: Any) -> None:
    digest, size = put_table(blobs, pl.DataFrame({"a": [1]}), pandas=described)
    with pytest.raises(Corrupt, match="pandas"):
        load(Output(digest=digest, kind="table", size=size), blobs)


@pytest.mark.parametrize(
    "value",
    [
        pd.Series(["x", "y", "x", None]).unique(),
        pd.Series(["b", "a"]).astype("category").array,
        pd.array([1, None], dtype="Int64"),
        pd.array([True, None], dtype="boolean"),
        pd.to_datetime(pd.Series(["2024-01-02", None])).dt.tz_localize("Europe/Paris").array,
    ],
    ids=["text", "categories", "whole numbers", "flags", "moments"],
)
def test_an_array_of_pandas_comes_back_as_one(blobs: LocalBlobs, value: Any) -> None:
    for found in (load(save(value, blobs, Path()), blobs), load(save([value], blobs, Path()), blobs)[0]):
        assert type(found) is type(value)
        assert found.dtype == value.dtype
        assert pd.Series(found).equals(pd.Series(value))
