from __future__ import annotations

import collections
import datetime
import decimal
import enum
import math
import os
import struct
import subprocess
import sys
import uuid
import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from plimsoll import codec
from plimsoll.data import exact
from plimsoll.data.snapshot import get_manifest, put_manifest
from plimsoll.data.values import load, save
from plimsoll.errors import Conflict, Corrupt, InvalidInput, Unfingerprintable, Untrusted
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.model import Verdict
from plimsoll.records.pipeline import Output
from plimsoll.store.blobs import LocalBlobs

ZONES = st.sampled_from(
    [
        *(None, datetime.UTC, zoneinfo.ZoneInfo("Europe/Berlin"), datetime.timezone(datetime.timedelta(hours=-3, microseconds=7))),
        datetime.timezone(datetime.timedelta(hours=1), "home"),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Lu"])),
    st.binary(),
    st.complex_numbers(),
    # A signalling NaN cannot be hashed, so it has a test of its own.
    st.decimals().filter(lambda number: not number.is_snan()),
    st.uuids(),
    st.fractions(),
    st.builds(range, st.integers(), st.integers(), st.integers(1)),
    st.dates(),
    st.timedeltas(),
    st.builds(lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), ZONES, st.integers(0, 1)),
    st.builds(lambda moment, zone: moment.replace(tzinfo=zone), st.times(), ZONES),
)


@st.composite
def scalars(draw: st.DrawFn) -> Any:
    # Hypothesis spells out a strategy within a recursive one at length; a composite has a short name.
    return draw(SCALARS)


HASHABLE = st.recursive(scalars(), lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)))


@st.composite
def members(draw: st.DrawFn) -> Any:
    return draw(HASHABLE)


VALUES = st.recursive(
    scalars(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(members(), inner, max_size=4),
        st.sets(members(), max_size=4),
        st.frozensets(members(), max_size=4),
        st.dictionaries(members(), inner, max_size=4).map(collections.OrderedDict),
        st.dictionaries(members(), inner, max_size=4).map(lambda items: collections.defaultdict(list, items)),
        st.dictionaries(members(), st.integers(), max_size=4).map(collections.Counter),
        st.builds(collections.deque, st.lists(inner, max_size=4), st.none() | st.integers(0, 5)),
    ),
    max_leaves=12,
)


def seen(value: Any) -> Any:
    """Everything that a program could notice about a value, as something that ``==`` compares without mercy."""
    kind = type(value)
    if kind is float:
        return ("float", struct.pack("<d", value))
    if kind is complex:
        return ("complex", struct.pack("<dd", value.real, value.imag))
    if kind in (list, tuple):
        return (kind, [seen(item) for item in value])
    if kind is collections.deque:
        return (kind, value.maxlen, [seen(item) for item in value])
    if isinstance(value, dict):
        return (kind, getattr(value, "default_factory", None), [(seen(key), seen(item)) for key, item in value.items()])
    if kind in (set, frozenset):
        return (kind, sorted(repr(seen(item)) for item in value))
    if kind in (datetime.datetime, datetime.time):
        return (kind, value.isoformat(), value.fold, repr(value.tzinfo))
    return (kind, repr(value))


def nothing(value: Any) -> None:
    return None


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def again(value: Any, blobs: LocalBlobs) -> Any:
    return load(save(value, blobs, Path()), blobs)


@settings(max_examples=500, deadline=None)
@given(VALUES)
def test_plain_values_come_back_as_exactly_what_they_were(value: Any) -> None:
    assert seen(exact.decode(exact.encode(value, nothing), nothing)) == seen(value)


@settings(max_examples=300, deadline=None)
@given(VALUES, VALUES)
def test_values_that_differ_have_different_bytes(one: Any, other: Any) -> None:
    assert (exact.encode(one, nothing) == exact.encode(other, nothing)) == (seen(one) == seen(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ((), []),
        ({}, set()),
        (set(), frozenset()),
        (b"a", "a"),
        (None, "None"),
        (["int", "0x1"], 1),
    ],
)
def test_look_alikes_are_kept_apart(blobs: LocalBlobs, one: Any, other: Any) -> None:
    assert save(one, blobs, Path()).digest != save(other, blobs, Path()).digest
    assert seen(again(one, blobs)) == seen(one)
    assert seen(again(other, blobs)) == seen(other)


def test_equal_sets_have_one_digest_in_every_process(blobs: LocalBlobs) -> None:
    program = """
import sys; sys.path.insert(0, sys.argv[1])
from plimsoll.data.exact import encode
print(encode({"a", "b", "c", 1, (2, "x")}, lambda value: None).hex())
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", program, str(Path(__file__).parents[3])],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_frames_and_arrays_inside_containers_come_back(blobs: LocalBlobs) -> None:
    train = pl.DataFrame({"a": [1, None], "c": pl.Series(["x", None], dtype=pl.Categorical)})
    old = pd.DataFrame({"s": ["a", None], "t": pd.to_datetime(["2013-05-01", None]).tz_localize("Europe/Berlin")})
    array = np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3))
    made = again({"split": (train, old), "weights": [array, np.float32(0.1)], "column": pl.Series("s", [1.5])}, blobs)
    assert isinstance(made["split"], tuple)
    assert made["split"][0].equals(train)
    assert made["split"][0].schema == train.schema
    pd.testing.assert_frame_equal(made["split"][1], old)
    assert made["weights"][0].dtype == array.dtype
    assert made["weights"][0].flags.f_contiguous
    assert np.array_equal(made["weights"][0], array)
    assert type(made["weights"][1]) is np.float32
    assert made["column"].name == "s"


def test_a_polars_frame_is_a_table_and_a_pandas_frame_comes_back_as_pandas(blobs: LocalBlobs) -> None:
    frame = pl.DataFrame({"a": [1]})
    output = save(frame, blobs, Path())
    assert (output.kind, output.size) == ("table", blobs.size(get_manifest(blobs, output.digest).files[0].digest))
    assert load(output, blobs).equals(frame)
    old = pd.DataFrame(
        {
            "i": np.array([1, 2, 3], dtype="uint8"),
            "f": np.array([1.5, np.nan, -0.0], dtype="float32"),
            "b": [True, False, True],
            "s": ["a", None, ""],
            "q": pd.array(["a", None, ""], dtype="string"),
            "n": pd.array([1, None, 2**62], dtype="Int64"),
            "x": pd.array([1.5, None, 2.0], dtype="Float64"),
            "m": pd.array([True, None, False], dtype="boolean"),
            "c": pd.Categorical(["x", None, "y"]),
            "k": pd.Categorical([1, None, 2]),
            "t": pd.to_datetime(["2013-05-01", None, "2013-05-02"]).as_unit("s"),
            "z": pd.to_datetime(["2013-05-01", None, "2013-05-02"]).tz_localize("America/New_York").as_unit("ns"),
            "d": pd.to_timedelta([1, None, 2], unit="s"),
            "o": pd.Series([datetime.date(2013, 1, 1), None, datetime.date(2013, 1, 2)], dtype=object),
        }
    )
    output = save(old, blobs, Path())
    assert output.kind == "table"
    pd.testing.assert_frame_equal(load(output, blobs), old, check_freq=False)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [1, 1], "k": ["x", "y"], "v": [1.5, 2.5]}).pivot(index="a", columns="k", values="v").reset_index(),
        pd.DataFrame({"a": [1]}).rename_axis(columns="only"),
        pd.DataFrame(index=range(3)),
    ],
)
def test_a_pandas_frame_keeps_the_name_of_its_columns_and_the_number_of_its_rows(blobs: LocalBlobs, frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(load(save(frame, blobs, Path()), blobs), frame, check_column_type=False)
    (inner,) = load(save([frame], blobs, Path()), blobs)
    pd.testing.assert_frame_equal(inner, frame, check_column_type=False)


@pytest.mark.parametrize("gap", [None, float("nan")])
@pytest.mark.parametrize("values", [["x", ""], [1.5, -0.0], [True], []])
def test_what_is_missing_among_objects_comes_back_as_the_value_that_stood_for_it(
    blobs: LocalBlobs, values: list[Any], gap: float | None
) -> None:
    frame = pd.DataFrame({"o": pd.Series([gap, *values, gap], dtype=object), "p": pd.Series([None] * (len(values) + 2), dtype=object)})
    made = load(save(frame, blobs, Path()), blobs)
    assert [*map(repr, made["o"]), *map(repr, made["p"])] == [*map(repr, frame["o"]), *map(repr, frame["p"])]
    pd.testing.assert_frame_equal(load(save((frame,), blobs, Path()), blobs)[0], frame)


@dataclass
class Mine:
    x: int


class Whole(int):
    pass


class Framed(pl.DataFrame):
    pass


@pytest.mark.parametrize(
    "value",
    [
        *(object(), Mine(1), Whole(1), lambda: 1, print, iter([]), memoryview(b"x"), pl.LazyFrame(), pl.col("a")),
        *(np.array([object()]), np.ma.masked_array([1], [True]), Mine, pl.DataFrame({"o": [object()]})),
    ],
)
def test_what_cannot_be_stored_exactly_is_refused_at_its_place(blobs: LocalBlobs, value: Any) -> None:
    with pytest.raises((Unfingerprintable, InvalidInput)):
        save(value, blobs, Path())
    with pytest.raises((Unfingerprintable, InvalidInput)) as caught:
        save({"deep": [1, (value,)]}, blobs, Path())
    assert "the value['deep'][1][0]" in str(caught.value) or "column" in str(caught.value)


class Pair(NamedTuple):
    one: int
    two: int


class Drawing:
    def savefig(self, to: Any) -> None: ...


class Hue(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        (Mine(1), r"dataclasses\.asdict\(value\)"),
        (Pair(1, 2), "-> Pair"),
        (Hue.RED, r"value\.name"),
        (StandardScaler(), r"plimsoll\.Model"),
        (iter([]), r"list\(value\)"),
        (pa.table({"a": [1]}), r"polars\.from_arrow"),
        (Drawing(), "log_artifact"),
    ],
)
def test_what_cannot_be_stored_is_told_with_what_to_return_in_its_place(blobs: LocalBlobs, value: Any, instead: str) -> None:
    with pytest.raises(Unfingerprintable, match=instead):
        save({"a": value}, blobs, Path())


OBJECTS = [
    np.array(["a", None, 1.5, float("nan"), (1, "b")], dtype=object),
    pd.Series(["x", None]).to_numpy(),
    np.array([["a", "b", "c"], ["d", "e", "f"]], dtype=object),
    np.asfortranarray(np.array([["a", "b", "c"], ["d", "e", "f"]], dtype=object)),
    np.array([["a", "b", "c"], ["d", "e", "f"]], dtype=object)[:, ::2],
    np.array("alone", dtype=object),
    np.empty((0, 3), dtype=object),
]


@pytest.mark.parametrize("value", OBJECTS)
def test_arrays_of_objects_come_back_with_their_shape_and_order(blobs: LocalBlobs, value: Any) -> None:
    found = again({"it": value}, blobs)["it"]
    assert type(found) is type(value)
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert found.flags.f_contiguous >= (value.flags.f_contiguous and not value.flags.c_contiguous)
    assert repr(found.tolist()) == repr(value.tolist())
    assert [type(item) for item in found.ravel()] == [type(item) for item in value.ravel()]


def test_an_array_of_lists_stays_one_of_lists(blobs: LocalBlobs) -> None:
    value = np.empty(2, dtype=object)
    value[:] = [[1, 2], [3, 4]]
    found = again(value, blobs)
    assert found.shape == (2,)
    assert found.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("kind", ["matrix", "array"])
@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "dia"])
@pytest.mark.parametrize("dtype", ["float32", "int8", "bool"])
def test_sparse_matrices_come_back_to_the_last_index(blobs: LocalBlobs, form: str, kind: str, dtype: str) -> None:
    dense = np.random.default_rng(1).random((6, 4)) < 0.4
    made = getattr(sparse, f"{form}_{kind}")(dense.astype(dtype) * 3)
    if form != "dia":  # with the wider numbers that very large ones have
        for name in ("indices", "indptr"):
            if hasattr(made, name):
                setattr(made, name, getattr(made, name).astype("int64"))
    for value in (made, type(made)((5, 3), dtype=dtype)):
        found = again(value, blobs)
        assert type(found) is type(value)
        assert found.shape == value.shape
        for name in ("data", "indices", "indptr", "offsets", "coords"):
            for one, other in zip(np.atleast_1d(getattr(value, name, ())), np.atleast_1d(getattr(found, name, ())), strict=True):
                assert np.asarray(one).dtype == np.asarray(other).dtype
                assert np.array_equal(one, other)
        assert (found != value).nnz == 0 if form not in ("dia",) else np.array_equal(found.toarray(), value.toarray())


def test_a_damaged_sparse_matrix_is_corrupt(blobs: LocalBlobs) -> None:
    nodes: list[Any] = [["sparse", "csr_matrix", [2, 2], False, [1, 2]], ["sparse", "Popen", [], False, []], ["objects", [3], "C", [1]]]
    for node in nodes:
        with pytest.raises(Corrupt):
            exact.decode(codec.to_msgpack(node), {}.__getitem__)


def test_a_frame_of_a_class_that_extends_polars_is_refused(blobs: LocalBlobs) -> None:
    with pytest.raises(Unfingerprintable, match="not a plain polars frame"):
        save(Framed(), blobs, Path())


def test_a_value_that_contains_itself_is_refused(blobs: LocalBlobs) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Unfingerprintable, match="contains itself"):
        save(loop, blobs, Path())


def test_a_record_of_ours_comes_back_as_the_record(blobs: LocalBlobs) -> None:
    verdict = Verdict(check="parity", outcome="pass", reason="Equal.", numbers={"rows": 1000, "gap": math.inf})
    assert again([verdict], blobs) == [verdict]


@pytest.mark.parametrize(
    "node",
    [
        ["record", "os", "system", []],
        ["record", "plimsoll.clock", "now", []],
        ["record", "plimsoll.records.model", "Verdict", []],
        ["record", "plimsoll.records.model", "check_slug", []],
        ["date", 1],
        ["datetime", [2013], 0, ["zone", "Nowhere/At_All"]],
        ["list"],
        ["unheard of"],
        ["numpy", b"\x80\x04."],
        ["dict", [[["list", []], 1]]],
        [],
    ],
)
def test_a_damaged_document_is_corrupt_and_imports_nothing_foreign(blobs: LocalBlobs, node: Any) -> None:
    data = codec.to_msgpack(node)
    entry = FileEntry(path="value.msgpack", digest=blobs.put(data), size=len(data))
    digest = put_manifest(blobs, Manifest(kind="value", files=(entry,), meta={}))
    with pytest.raises(Corrupt):
        load(Output(digest=digest, kind="value", size=len(data)), blobs)


def test_reading_a_value_imports_no_module_that_it_names(blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named_by_a_value.py").write_text("from dataclasses import dataclass\n\n@dataclass\nclass Made:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    data = codec.to_msgpack(["record", "named_by_a_value", "Made", []])
    entry = FileEntry(path="value.msgpack", digest=blobs.put(data), size=len(data))
    digest = put_manifest(blobs, Manifest(kind="value", files=(entry,), meta={}))
    with pytest.raises(Corrupt):
        load(Output(digest=digest, kind="value", size=len(data)), blobs)
    assert "named_by_a_value" not in sys.modules


def test_a_folder_and_a_file_come_back_by_content(blobs: LocalBlobs, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("a")
    output = save(folder, blobs, Path())
    back = load(output, blobs)
    assert (output.kind, (back / "deep" / "a.txt").read_text()) == ("tree", "a")
    assert load(save(folder / "deep" / "a.txt", blobs, Path()), blobs).read_text() == "a"
    assert load(output, blobs, tmp_path / "here") == tmp_path / "here"
    (tmp_path / "here" / "more").write_text("x")
    with pytest.raises(Conflict):
        load(output, blobs, tmp_path / "here")


def test_a_foreign_class_with_our_hooks_is_refused_on_both_ways(blobs: LocalBlobs) -> None:
    class Foreign:
        def __plimsoll_save__(self, folder: Path, project: Path) -> dict[str, Any]:
            return {}

    with pytest.raises(Unfingerprintable, match="not a class of Plimsoll"):
        save(Foreign(), blobs, Path())
    for loader, error in (
        ("os:system", Untrusted),
        ("plimsollx:Y", Untrusted),
        ("plimsoll.nowhere:X", Corrupt),
        ("plimsoll.clock:now", Corrupt),
    ):
        digest = put_manifest(blobs, Manifest(kind="model", files=(), meta={"loader": loader}))
        with pytest.raises(error):
            load(Output(digest=digest, kind="model", size=0), blobs)


def test_a_class_of_ours_writes_and_reads_its_own_files(blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Parcel:
        def __init__(self, text: str) -> None:
            self.text = text

        def __plimsoll_save__(self, folder: Path, project: Path) -> dict[str, Any]:
            (folder / "text").write_text(self.text)
            return {"project": str(project)}

        @classmethod
        def __plimsoll_load__(cls, folder: Path, meta: dict[str, Any], trusted: bool, project: Path | None) -> Parcel:
            assert (trusted, project) == (True, tmp_path)
            assert meta["project"] == str(tmp_path)
            return cls((folder / "text").read_text())

    Parcel.__module__, Parcel.__qualname__ = "plimsoll.clock", "Parcel"
    monkeypatch.setattr("plimsoll.clock.Parcel", Parcel, raising=False)
    output = save(Parcel("hello"), blobs, tmp_path)
    assert output.kind == "model"
    assert load(output, blobs, trusted=True, project=tmp_path).text == "hello"


def test_an_output_whose_kind_is_another_one_is_corrupt(blobs: LocalBlobs) -> None:
    output = save(1, blobs, Path())
    with pytest.raises(Corrupt, match="is a value"):
        load(Output(digest=output.digest, kind="table", size=1), blobs)


def test_extreme_decimals_and_ids_survive(blobs: LocalBlobs) -> None:
    value = [decimal.Decimal("sNaN123"), decimal.Decimal("-0E+7"), uuid.UUID(int=0), 2**64, -(2**63) - 1]
    assert seen(again(value, blobs)) == seen(value)


def test_a_path_that_cannot_be_kept_is_told_for_what_it_is(blobs: LocalBlobs, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name, what in (("link", "is a link"), ("pipe", "is no file and no folder"), ("gone", "is not there")):
        with pytest.raises(InvalidInput, match=f"{name}' {what}"):
            save(tmp_path / name, blobs, Path())
