"""Every wrong body is refused by name, and every right one becomes the same columns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InvalidInput, UnsupportedMedia
from plimsoll.server.payloads import Body, Wanted, check_request_id, datatype, read_column, read_infer, read_invocation

WANT = Wanted(
    required={"a": "Float64", "n": "Int16", "ok": "Boolean", "word": "String", "when": "Datetime(time_unit='us', time_zone='UTC')"},
    optional={"extra": "Float64"},
    unit="flight",
    time="when",
    output="prediction",
    rows=5,
)
ROW: dict[str, Any] = {"a": 1.5, "n": 3, "ok": True, "word": "x", "when": "2013-05-01T06:00:00Z"}
WHEN = 1_367_388_000_000_000
TYPES = {"a": "FP64", "n": "INT16", "ok": "BOOL", "word": "BYTES", "when": "BYTES", "flight": "BYTES", "extra": "FP64"}


def invoke(body: Any, media: str = "application/json") -> Body:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_invocation(data, media, WANT, 7)


def tensors(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    inputs = [{"name": name, "shape": [1], "datatype": TYPES.get(name, "FP64"), "data": [value]} for name, value in row.items()]
    return {"inputs": inputs, **changes}


def infer(body: Any) -> Body:
    return read_infer(body if isinstance(body, bytes) else json.dumps(body).encode(), WANT, 7)


def test_all_forms_of_the_same_row_give_the_same_columns() -> None:
    cells = "a,n,ok,word,when\n1.5,3,true,x,2013-05-01T06:00:00Z\n"
    bodies = [
        invoke({"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}}),
        invoke({"dataframe_records": [ROW]}),
        invoke({"instances": [ROW]}),
        invoke({"instances": [list(ROW.values())]}),
        invoke({"inputs": {name: [value] for name, value in ROW.items()}}),
        invoke({"inputs": {name: [[value]] for name, value in ROW.items()}}),
        invoke(cells.encode(), "text/csv; charset=utf-8"),
        infer(tensors(ROW)),
    ]
    assert bodies[0].columns == {name: [value] for name, value in ROW.items()}
    assert bodies[0].at == [WHEN]
    assert all(body == bodies[0] for body in bodies)


def test_unit_and_event_time_come_from_parameters_or_columns_or_not_at_all() -> None:
    given_ = infer(tensors(ROW, id="r-1", parameters={"unit": "AA1", "event_time": "2013-05-02"}))
    assert (given_.unit, given_.at, given_.request_id) == (["AA1"], [WHEN + 18 * 3_600_000_000], "r-1")
    column = infer(tensors({**ROW, "flight": "BB2"}))
    assert (column.unit, "flight" in column.columns) == (["BB2"], False)
    without = invoke({"dataframe_records": [{**ROW, "when": None}]})
    assert (without.unit, without.at) == ([""], [7])


def test_a_null_is_allowed_and_a_whole_float_is_an_integer() -> None:
    body = invoke({"dataframe_records": [{**ROW, "a": None, "n": 3.0}, {**ROW, "n": None}]})
    assert body.columns["a"] == [None, 1.5]
    assert body.columns["n"] == [3, None]
    assert type(body.columns["n"][0]) is int


def test_a_column_that_only_a_candidate_takes_may_be_sent() -> None:
    assert infer(tensors({**ROW, "extra": 2.5})).columns["extra"] == [2.5]


WRONG: list[tuple[Any, str]] = [
    (b"", "not valid"),
    (b"{", "not valid"),
    (b"\xff", "not valid"),
    (b"[" * 100_000, "not valid"),
    (b'{"instances": [NaN]}', "not valid"),
    (b'{"instances": [1e999]}', "not valid"),
    (b'{"instances": ["\\ud800"]}', "not valid"),
    ([], "not valid"),
    ({}, "none of them"),
    ({"instances": [ROW], "inputs": [ROW]}, "instances, inputs"),
    ({"instances": [ROW], "other": 1}, "other"),
    ({"instances": [ROW], "params": 3}, "params"),
    ({"instances": []}, "no rows"),
    ({"instances": 3}, "not a list"),
    ({"instances": [[1.5, 3]]}, "Row 0"),
    ({"instances": [1.5]}, "Row 0"),
    ({"instances": [ROW, 3]}, "Row 1"),
    ({"instances": [ROW] * 6}, "6 rows"),
    ({"dataframe_split": []}, "dataframe_split"),
    ({"dataframe_split": {"columns": [1], "data": [[1]]}}, "not text"),
    ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "'a' is there twice"),
    ({"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values()), [1]]}}, "Row 1"),
    ({"dataframe_split": {"columns": list(ROW), "data": []}}, "0 rows"),
    ({"dataframe_records": [ROW, {**ROW, "b": 1}]}, "Row 0 lacks the column 'b'"),
    ({"dataframe_records": [ROW, {"a": 1}]}, "Row 1 lacks"),
    ({"dataframe_records": [{**ROW, "b": 1}]}, "'b' is not known"),
    ({"dataframe_records": [{"a": 1.5}]}, "'n' is missing"),
    ({"inputs": {"a": 1.5}}, "'a' is not a list"),
    ({"inputs": {**{name: [value] for name, value in ROW.items()}, "a": [1, 2]}}, "others have"),
    ({"dataframe_records": [ROW, {**ROW, "a": "x"}]}, "'a' holds 'x' in row 1"),
    ({"dataframe_records": [{**ROW, "a": True}]}, "'a' holds True in row 0"),
    ({"dataframe_records": [{**ROW, "a": [1]}]}, "'a' holds [1]"),
    ({"dataframe_records": [{**ROW, "a": 10**400}]}, "'a' holds 1000"),
    ({"dataframe_records": [{**ROW, "n": 2.5}]}, "'n' holds 2.5"),
    ({"dataframe_records": [{**ROW, "n": 40_000}]}, "'n' holds 40000"),
    ({"dataframe_records": [{**ROW, "ok": 1}]}, "'ok' holds 1"),
    ({"dataframe_records": [{**ROW, "word": 1}]}, "'word' holds 1"),
    ({"dataframe_records": [{**ROW, "when": "yesterday"}]}, "'when' holds 'yesterday'"),
    ({"dataframe_records": [{**ROW, "when": 5}]}, "'when' holds 5"),
    ({"dataframe_records": [ROW], "params": {"event_time": "soon"}}, "'event_time' holds 'soon'"),
]


@pytest.mark.parametrize(("body", "named"), WRONG, ids=[str(index) for index in range(len(WRONG))])
def test_a_wrong_invocation_is_refused_by_name(body: Any, named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        invoke(body)
    assert named in str(caught.value)
    assert caught.value.status == 400


def tensor(**changes: Any) -> dict[str, Any]:
    body = tensors(ROW)
    body["inputs"][0].update(changes)
    return body


WRONG_TENSORS: list[tuple[Any, str]] = [
    ({}, "inputs"),
    ({"inputs": []}, "'a' is missing"),
    ({"inputs": [{"name": "a"}]}, "shape"),
    (tensor(data=None), "no data"),
    (tensor(shape=[2]), "'a' has 1 values"),
    (tensor(shape=[1, 2]), "shape [1, 2]"),
    (tensor(shape=[-1]), "shape"),
    (tensor(shape=[]), "shape"),
    (tensor(shape=["1"]), "shape"),
    (tensor(datatype="BYTES"), "'a' is BYTES"),
    (tensor(datatype="FP1"), "'a' is FP1"),
    (tensor(data=["x"]), "'a' holds 'x' in row 0"),
    (tensor(data=[[1.5, 2.5]]), "'a' holds"),
    ({"inputs": tensors(ROW)["inputs"] * 2}, "there twice"),
    (tensors(ROW, parameters={"binary_data_output": True}), "Binary"),
    (tensors(ROW, outputs=[{"name": "prediction", "parameters": {"binary_data": True}}]), "Binary"),
    (tensors(ROW, outputs=[{"name": "other"}]), "'other' does not exist"),
    (tensors(ROW, id="two words"), "request id"),
    (tensors(ROW, id="a\nb"), "request id"),
    (tensors(ROW, id=5), "id"),
]


@pytest.mark.parametrize(("body", "named"), WRONG_TENSORS, ids=[str(index) for index in range(len(WRONG_TENSORS))])
def test_a_wrong_tensor_is_refused_by_name(body: Any, named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        infer(body)
    assert named in str(caught.value)


@pytest.mark.parametrize("media", ["application/x-parquet", "application/json; charset=latin-1", "text/html"])
def test_a_media_type_that_is_not_read_is_said_to_be_so(media: str) -> None:
    with pytest.raises(UnsupportedMedia):
        invoke({"instances": [ROW]}, media)


@pytest.mark.parametrize("cells", [b"", b"\xff\xfe", b"a,n\n1\n", b'a\n"1', b"a,a\n1,2\n", b"a,n,ok,word,when\nx,3,true,x,2013-05-01\n"])
def test_wrong_csv_is_refused(cells: bytes) -> None:
    with pytest.raises(InvalidInput):
        invoke(cells, "text/csv")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ROW, "columns", "data", "z"]), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"]), JSON)
def test_no_json_whatsoever_breaks_the_reader(form: str, value: Any) -> None:
    try:
        body = invoke({form: value})
    except InvalidInput:
        return
    assert {len(values) for values in body.columns.values()} == {body.rows}


@given(st.binary(max_size=80))
def test_no_bytes_whatsoever_break_the_csv_reader(data: bytes) -> None:
    try:
        invoke(b"a,n,ok,word,when\n" + data, "text/csv")
    except InvalidInput:
        return


@pytest.mark.parametrize(
    ("dtype", "named"), [("Float32", "FP32"), ("UInt8", "UINT8"), ("Boolean", "BOOL"), ("Date", "BYTES"), ("Categorical", "BYTES")]
)
def test_each_type_has_its_name_in_the_open_protocol(dtype: str, named: str) -> None:
    assert datatype(dtype) == named


@pytest.mark.parametrize(("dtype", "low", "high"), [("UInt8", 0, 255), ("Int64", -(2**63), 2**63 - 1), ("UInt64", 0, 2**64 - 1)])
def test_an_integer_is_taken_to_its_edge_and_not_beyond(dtype: str, low: int, high: int) -> None:
    assert read_column("n", dtype, [low, high], text=False) == [low, high]
    for value in (low - 1, high + 1):
        with pytest.raises(InvalidInput):
            read_column("n", dtype, [value], text=False)


def test_a_request_id_may_stand_in_a_header() -> None:
    assert check_request_id("r/1:x") == "r/1:x"
    for value in ("", "a b", "ü", "a\r\nb", "x" * 201):
        with pytest.raises(InvalidInput):
            check_request_id(value)
