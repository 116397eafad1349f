from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.data.snapshot import get_manifest, put_manifest
from plimsoll.data.tables.table import as_polars, columns_of, dtype_of, get_table, put_table, to_parquet
from plimsoll.errors import Corrupt, InvalidInput
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.store.blobs import LocalBlobs

LEAVES = st.sampled_from(
    [
        *(pl.Boolean(), pl.Int8(), pl.Int64(), pl.UInt32(), pl.UInt64(), pl.Float32(), pl.Float64(), pl.String(), pl.Binary()),
        *(pl.Date(), pl.Time(), pl.Categorical(), pl.Enum(["b", "it's", 'a"']), pl.Datetime("ms"), pl.Datetime("ns", "Europe/Berlin")),
        *(pl.Duration("us"), pl.Decimal(12, 3), pl.Null()),
    ]
)
DTYPES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(pl.List),
        st.tuples(inner, st.integers(1, 3)).map(lambda pair: pl.Array(*pair)),
        st.dictionaries(st.text(min_size=1, max_size=4), inner, min_size=1, max_size=3).map(pl.Struct),
    ),
    max_leaves=4,
)


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def every_type() -> pl.DataFrame:
    moment = datetime.datetime(2013, 5, 1, 6, 30, tzinfo=datetime.UTC)
    return pl.DataFrame(
        {
            "integer": [1, 2, None],
            "float": [float("nan"), -0.0, None],
            "text": ["x", None, ""],
            "moment": [moment, None, moment],
            "category": pl.Series(["b", "a", None], dtype=pl.Categorical),
            "enum": pl.Series(["b", "a", None], dtype=pl.Enum(["b", "a"])),
            "lists": pl.Series([["q", None], None, []], dtype=pl.List(pl.Categorical)),
            "structs": pl.Series([{"x": "a", "y": [1, 2]}] * 3, dtype=pl.Struct({"x": pl.Categorical, "y": pl.Array(pl.Int8, 2)})),
            "bytes": [b"\0", b"", None],
            "nothing": [None, None, None],
        }
    )


def test_a_table_comes_back_with_its_types_and_nulls(blobs: LocalBlobs) -> None:
    digest, size = put_table(blobs, every_type(), source="test")
    back = get_table(blobs, digest)
    assert back.schema == every_type().schema
    assert back.equals(every_type())
    assert np.signbit(back["float"][1])
    manifest = get_manifest(blobs, digest)
    assert (manifest.kind, manifest.meta["rows"], manifest.meta["source"]) == ("table", 3, "test")
    assert manifest.meta["columns"][0] == {"name": "integer", "dtype": "Int64"}
    assert size == blobs.size(manifest.files[0].digest)


@pytest.mark.parametrize("name", ["", "^a$", "^.*$", "*"])
@pytest.mark.parametrize("dtype", [pl.Categorical, pl.List(pl.Categorical)])
def test_a_categorical_column_may_be_called_anything(blobs: LocalBlobs, name: str, dtype: pl.DataType) -> None:
    """An unnamed series is called nothing; what looks like a pattern is a name here."""
    frame = pl.DataFrame(
        {name: pl.Series([["x"], None]).list.join("") if dtype == pl.Categorical else pl.Series([["x"], None]), "a": [1, 2]}
    )
    frame = pl.DataFrame({name: frame[name].cast(dtype), "a": frame["a"]})
    back = get_table(blobs, put_table(blobs, frame)[0])
    assert back.schema == frame.schema
    assert back.equals(frame)


@pytest.mark.parametrize("frame", [pl.DataFrame(), pl.DataFrame(height=4), pl.DataFrame({"a": []}), pl.DataFrame({"": [1]})])
def test_empty_tables_keep_their_shape(blobs: LocalBlobs, frame: pl.DataFrame) -> None:
    back = get_table(blobs, put_table(blobs, frame)[0])
    assert back.shape == frame.shape
    assert back.schema == frame.schema


def test_another_process_with_other_threads_and_categories_writes_the_same_bytes(tmp_path: Path) -> None:
    program = """
import sys; sys.path.insert(0, sys.argv[1])
import polars as pl
seen = pl.Series(sys.argv[2].split(), dtype=pl.Categorical)
from plimsoll.data.tables.table import to_parquet
from plimsoll.codec import digest
rows = pl.DataFrame({"n": range(300_000)}).with_columns(
    text=(pl.col("n") % 700).cast(pl.String), category=(pl.col("n") % 3).cast(pl.String).cast(pl.Categorical))
print(digest(to_parquet(rows)))
"""
    root = str(Path(__file__).parents[3])
    found = {
        subprocess.run(
            [sys.executable, "-c", program, root, seen],
            env={"POLARS_MAX_THREADS": threads, "PYTHONHASHSEED": threads},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for threads, seen in (("1", "a b"), ("3", "2 1 0"))
    }
    assert len(found) == 1


def test_the_layout_in_memory_does_not_change_the_bytes() -> None:
    whole = pl.DataFrame({"n": range(1000), "s": [str(n % 7) for n in range(1000)]})
    pieces = pl.concat([whole[:300], whole[300:]], rechunk=False)
    assert pieces.n_chunks() == 2
    assert to_parquet(pieces) == to_parquet(whole)
    assert to_parquet(pl.concat([whole, whole])[1000:]) == to_parquet(whole)


def test_categories_of_rows_that_were_filtered_away_leave_no_trace() -> None:
    dtype = pl.List(pl.Categorical)
    whole = pl.DataFrame({"c": pl.Series([["a", "b"], None, ["c"]], dtype=dtype)})
    assert to_parquet(whole.filter(pl.int_range(pl.len()) > 0)) == to_parquet(pl.DataFrame({"c": pl.Series([None, ["c"]], dtype=dtype)}))


@settings(max_examples=200, deadline=None)
@given(DTYPES)
def test_a_types_name_reads_back_as_the_type(dtype: pl.DataType) -> None:
    assert dtype_of(columns_of(pl.DataFrame({"c": pl.Series([], dtype=dtype)}))[0].dtype) == dtype


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Object",
            "pl.Int8",
            "__import__('os')",
            "Datetime(time_unit='zz')",
            "List()",
            "Enum(categories=open('x'))",
            "",
            "Float64()",
            "(" * 500,
        ),
    ],
)
def test_a_text_that_names_no_type_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be stored"):
        dtype_of(text)


def test_a_column_of_python_objects_is_refused_by_name(blobs: LocalBlobs) -> None:
    with pytest.raises(InvalidInput, match="Object"):
        put_table(blobs, pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))


def test_a_file_that_disagrees_with_its_manifest_is_corrupt(blobs: LocalBlobs) -> None:
    data = to_parquet(pl.DataFrame({"a": [1]}))
    for bytes_, dtype in ((data, "String"), (b"PAR1 no PAR1", "Int64")):
        entry = FileEntry(path="table.parquet", digest=blobs.put(bytes_), size=len(bytes_))
        meta = {"rows": 1, "columns": [{"name": "a", "dtype": dtype}]}
        digest = put_manifest(blobs, Manifest(kind="table", files=(entry,), meta=meta))
        with pytest.raises(Corrupt):
            get_table(blobs, digest)


def test_a_manifest_of_another_kind_is_no_table(blobs: LocalBlobs) -> None:
    digest = put_manifest(blobs, Manifest(kind="tree", files=(), meta={}))
    with pytest.raises(InvalidInput, match="is a tree"):
        get_table(blobs, digest)


def test_pandas_columns_become_their_polars_counterparts() -> None:
    frame = pd.DataFrame(
        {
            "i": np.array([1, 2, 3], dtype="int16"),
            "f": [1.5, None, 3.0],
            "b": [True, False, True],
            "s": ["a", None, "c"],
            "n": pd.array([1, None, 2**62], dtype="Int64"),
            "m": pd.array([True, None, False], dtype="boolean"),
            "c": pd.Categorical(["x", None, "y"]),
            "t": pd.to_datetime(["2013-05-01", None, "2013-05-02"]),
            "z": pd.to_datetime(["2013-05-01", None, "2013-05-02"]).tz_localize("America/New_York"),
            "d": pd.to_timedelta([1, None, 2], unit="s"),
            "o": pd.Series([datetime.date(2013, 1, 1), None, datetime.date(2013, 1, 2)], dtype=object),
        }
    )
    made = as_polars(frame)
    assert [str(dtype) for dtype in made.dtypes] == [
        *("Int16", "Float64", "Boolean", "String", "Int64", "Boolean", "String"),
        *("Datetime(time_unit='us', time_zone=None)", "Datetime(time_unit='us', time_zone='America/New_York')"),
        *("Duration(time_unit='us')", "Date"),
    ]
    assert made.null_count().row(0) == (0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1)
    assert made["n"].to_list() == [1, None, 2**62]
    assert made["z"][0].isoformat() == "2013-05-01T00:00:00-04:00"


def test_rows_picked_from_a_pandas_frame_are_taken_without_their_numbers() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    assert as_polars(frame[frame["a"] > 1])["a"].to_list() == [2, 3]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1]}, index=["x"]), "index"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([1], name="id")), "index"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "twice"),
        (pd.DataFrame({1: [1]}), "not text"),
        (pd.DataFrame({"a": pd.Series([1, "x"], dtype=object)}), "'a'.*int, str"),
        (pd.DataFrame({"a": [object()]}), "'a'.*object"),
        (pd.DataFrame({"a": pd.period_range("2013", periods=1, freq="D")}), "'a'.*period"),
        (pd.DataFrame({"a": [1 + 2j]}), "'a'.*complex"),
        ({"a": [1, "x"]}, "'a'"),
        ({"a": [1], "b": [1, 2]}, "'b' has 2"),
        ({"a": 1}, "'a' is a int"),
        ({1: [1]}, "not text"),
        ({"a": [object()]}, "'a' holds Python objects"),
        (pl.LazyFrame({"a": [1]}), "collect"),
        ([1, 2], "builtins.list"),
    ],
)
def test_what_is_no_table_is_refused_with_the_column(frame: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        as_polars(frame)


def test_a_dict_of_columns_is_a_table() -> None:
    made = as_polars({"a": [1, None], "b": np.array([0.5, 1.5]), "c": pl.Series("x", ["u", "v"]), "d": ("p", "q")})
    assert made.columns == ["a", "b", "c", "d"]
    assert made.row(0) == (1, 0.5, "u", "p")
