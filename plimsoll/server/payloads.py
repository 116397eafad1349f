"""Bodies of prediction requests to columns, and answers to bodies: Open Inference Protocol v2 and MLflow's ``/invocations``.

Whatever is wrong with a body is an :class:`InvalidInput` that names the column and the row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import msgspec

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput, UnsupportedMedia
from plimsoll.records.model import PackageMeta

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_ROW = re.compile(r"\$\[(\d+)\]")
_ID = re.compile(r"[\x21-\x7e]{1,200}")
_BLANKS = ("", "null", "NULL", "None")


#: Type -> smallest and largest value.
_BOUNDS = {
    f"{sign}Int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
_TYPES: dict[str, Any] = {"Float32": list[float | None], "Float64": list[float | None], "Boolean": list[bool | None]}
_TYPES |= dict.fromkeys(_BOUNDS, list[int | None])
_TEXT = ("String", "Categorical", "Enum")


class Tensor(msgspec.Struct):
    """One input of an Open Inference request."""

    #: Column.
    name: str
    #: ``[n]`` or ``[n, 1]``.
    shape: list[int]
    #: Such as ``FP64``.
    datatype: str
    #: Values, flat or one list a row.
    data: list[Any] | None = None
    #: Unused but for refusing binary data.
    parameters: dict[str, Any] = {}


class Wish(msgspec.Struct):
    """One output that an Open Inference request asks for."""

    #: Output column.
    name: str
    #: Unused but for refusing binary data.
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """Body of an Open Inference request."""

    #: One tensor a column.
    inputs: list[Tensor]
    #: The caller's name of the request.
    id: str = ""
    #: May carry ``event_time`` and ``unit``.
    parameters: dict[str, Any] = {}
    #: Outputs asked for; empty asks for all.
    outputs: list[Wish] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a body is read against."""

    #: Column -> polars type, in order; each must be there.
    required: dict[str, str]
    #: Column -> polars type; each may be there.
    optional: dict[str, str]
    #: Column that identifies a row.
    unit: str
    #: Column with the moment that a row is about.
    time: str
    #: Name of the output.
    output: str
    #: Rows at most.
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A body that was understood."""

    #: Column -> values, all of one length.
    columns: dict[str, list[Any]]
    #: Number of rows.
    rows: int
    #: Unit of each row; empty text where it has none.
    unit: list[str]
    #: Event time of each row, UTC microseconds.
    at: list[int]
    #: The caller's name of the request, or empty text.
    request_id: str


@dataclass(slots=True, kw_only=True)
class _Raw:
    """Columns as the caller sent them."""

    columns: dict[str, list[Any]]
    parameters: dict[str, Any] = field(default_factory=dict)
    request_id: str = ""
    #: Values are text that stands for other types, as in CSV.
    text: bool = False


def wanted(meta: PackageMeta, optional: Mapping[str, str], rows: int) -> Wanted:
    """Return what bodies for a model are read against.

    Args:
        meta: the stable version's package.
        optional: further columns that a candidate takes.
        rows: rows of one request at most.
    """
    return Wanted(
        required={column.name: column.dtype for column in meta.signature.inputs},
        optional=dict(optional),
        unit=meta.purpose.unit,
        time=meta.purpose.time,
        output=meta.signature.output.name,
        rows=rows,
    )


def read_infer(data: bytes, want: Wanted, arrived: int) -> Body:
    """Return the body of an Open Inference request.

    Args:
        data: JSON.
        want: what it is read against.
        arrived: event time of rows that have none, UTC microseconds.

    Raises:
        InvalidInput: anything is wrong with it.
    """
    request = codec.from_json(data, InferRequest, "The request")
    binary = [request.parameters.get("binary_data_output")] + [wish.parameters.get("binary_data") for wish in request.outputs]
    if any(binary):
        raise InvalidInput("Binary tensors were asked for.", "Leave out binary_data and binary_data_output: answers are JSON.")
    for wish in request.outputs:
        if wish.name != want.output:
            raise InvalidInput(f"The output {wish.name!r} does not exist.", f"The only output is {want.output!r}.")
    columns: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in columns:
            raise InvalidInput(f"The column {tensor.name!r} is there twice.", "Send each column once.")
        columns[tensor.name] = _tensor(tensor, want)
    return _finish(_Raw(columns=columns, parameters=request.parameters, request_id=request.id), want, arrived)


def read_invocation(data: bytes, media: str, want: Wanted, arrived: int) -> Body:
    """Return the body of an ``/invocations`` request.

    Args:
        data: JSON with exactly one of the four forms, or CSV with a header line.
        media: ``Content-Type``; empty counts as JSON.
        want: what it is read against.
        arrived: event time of rows that have none, UTC microseconds.

    Raises:
        InvalidInput: anything is wrong with it.
        UnsupportedMedia: it is neither JSON nor CSV, or has parameters that are not known.
    """
    kind, _, parameter = (part.strip().lower() for part in media.partition(";"))
    if parameter and parameter.replace('"', "") not in ("charset=utf-8", "charset=utf8"):
        raise UnsupportedMedia(f"The content type {media!r} has a parameter that is not known.", "Send UTF-8 and no other parameter.")
    if kind == "text/csv":
        return _finish(_Raw(columns=_csv(data), text=True), want, arrived)
    if kind not in ("", "application/json"):
        raise UnsupportedMedia(f"The content type {media!r} is not read here.", "Send application/json or text/csv.")
    request = codec.from_json(data, dict[str, Any], "The request")
    forms = [form for form in _FORMS if form in request]
    unknown = sorted(request.keys() - {*_FORMS, "params"})
    if len(forms) != 1 or unknown:
        found = ", ".join([*forms, *unknown]) or "none of them"
        raise InvalidInput(f"The request has {found}.", f"Send exactly one of {', '.join(_FORMS)}, and params if you like.")
    parameters = request.get("params") or {}
    if not isinstance(parameters, dict):
        raise InvalidInput("params is not an object.", 'Send such as {"unit": "AA100"}.')
    return _finish(_Raw(columns=_form(forms[0], request[forms[0]], want), parameters=parameters), want, arrived)


def write_infer(model: str, version: str, request_id: str, output: str, values: list[float], parameters: dict[str, Any]) -> bytes:
    """Return the body of an Open Inference answer.

    Args:
        model: registered name.
        version: version number, or empty text for a declared default.
        request_id: the request's id.
        output: name of the output.
        values: one number a row.
        parameters: marks such as ``fallback``.
    """
    tensor = {"name": output, "shape": [len(values)], "datatype": "FP64", "data": values}
    return codec.to_json({"model_name": model, "model_version": version, "id": request_id, "parameters": parameters, "outputs": [tensor]})


def describe(meta: PackageMeta, versions: list[str]) -> dict[str, Any]:
    """Return a model's metadata as the Open Inference Protocol has it.

    Args:
        meta: the package.
        versions: version numbers that are loaded.
    """
    inputs = [{"name": column.name, "datatype": datatype(column.dtype), "shape": [-1]} for column in meta.signature.inputs]
    outputs = [{"name": meta.signature.output.name, "datatype": "FP64", "shape": [-1]}]
    return {"name": meta.model, "versions": versions, "platform": f"plimsoll_{meta.flavor}", "inputs": inputs, "outputs": outputs}


def datatype(dtype: str) -> str:
    """Return the Open Inference name of a polars type.

    Args:
        dtype: such as ``Float64``.
    """
    if dtype in _BOUNDS:
        return dtype.upper()
    return {"Float32": "FP32", "Float64": "FP64", "Boolean": "BOOL"}.get(dtype, "BYTES")


def check_request_id(value: str) -> str:
    """Return a request id that may stand in a header.

    Args:
        value: what the caller sent.

    Raises:
        InvalidInput: it is too long or has other than printable ASCII characters.
    """
    if not _ID.fullmatch(value):
        raise InvalidInput(f"The request id {value[:80]!r} is not usable.", "Use 1 to 200 printable ASCII characters without blanks.")
    return value


def _tensor(tensor: Tensor, want: Wanted) -> list[Any]:
    name = tensor.name
    if tensor.data is None:
        raise InvalidInput(f"The column {name!r} has no data.", "Send its values as JSON under `data`; binary tensors are not read here.")
    if not (len(tensor.shape) in (1, 2) and tensor.shape[0] >= 0 and (len(tensor.shape) == 1 or tensor.shape[1] == 1)):
        raise InvalidInput(f"The column {name!r} has the shape {tensor.shape}.", "Send one tensor a column, of shape [n] or [n, 1].")
    values = tensor.data
    if len(tensor.shape) == 2 and values and all(isinstance(value, list) and len(value) == 1 for value in values):
        values = [value[0] for value in values]
    if len(values) != tensor.shape[0]:
        raise InvalidInput(
            f"The column {name!r} has {len(values)} values and the shape {tensor.shape}.", "Let the shape say how many values there are."
        )
    dtype = want.required.get(name) or want.optional.get(name)
    if dtype is not None and not _fits(tensor.datatype, dtype):
        raise InvalidInput(
            f"The column {name!r} is {tensor.datatype}, but the model takes {dtype}.", f"Send {datatype(dtype)}.", column=name
        )
    return values


def _fits(sent: str, dtype: str) -> bool:
    if dtype in _BOUNDS:
        return sent in {name.upper() for name in _BOUNDS}
    if dtype in ("Float32", "Float64"):
        return sent in ("FP16", "FP32", "FP64", "BF16") or sent in {name.upper() for name in _BOUNDS}
    return sent == datatype(dtype)


def _csv(data: bytes) -> dict[str, list[Any]]:
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"The CSV is not valid: {error}.", "Send UTF-8 with one header line.") from error
    if not lines:
        raise InvalidInput("The CSV is empty.", "Send a header line and one line a row.")
    header, rows = lines[0], [line for line in lines[1:] if line]
    cells = [[None if cell in _BLANKS else cell for cell in row] for row in rows]
    return _split(header, cells)


def _split(names: list[Any], rows: list[Any]) -> dict[str, list[Any]]:
    if not all(isinstance(name, str) for name in names):
        raise InvalidInput("A column's name is not text.", "Name each column.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"The column {twice!r} is there twice.", "Send each column once.")
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            have = f"{len(row)} values" if isinstance(row, list) else "no list of values"
            raise InvalidInput(f"Row {index} has {have} for {len(names)} columns.", "Send one value for each column.", row=index)
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


def _form(form: str, value: Any, want: Wanted) -> dict[str, list[Any]]:
    if form == "dataframe_split":
        if not isinstance(value, dict) or not isinstance(value.get("columns"), list) or not isinstance(value.get("data"), list):
            raise InvalidInput("dataframe_split lacks `columns` or `data`.", 'Send {"columns": [...], "data": [[...], ...]}.')
        return _split(value["columns"], value["data"])
    if form == "inputs" and isinstance(value, dict):
        for name, column in value.items():
            if not isinstance(column, list):
                raise InvalidInput(f"The column {name!r} is not a list.", "Send a list with one value a row.", column=name)
        return {name: _flat(column) for name, column in value.items()}
    if not isinstance(value, list):
        raise InvalidInput(f"{form} is not a list.", "Send one entry a row.")
    if not value:
        raise InvalidInput("The request has no rows.", "Send at least one row.")
    if form == "dataframe_records" or isinstance(value[0], dict):
        return _records(value)
    rows = [row if isinstance(row, list) else [row] for row in value]
    return _split(list(want.required), rows)


def _flat(values: list[Any]) -> list[Any]:
    return [value[0] for value in values] if values and all(isinstance(value, list) and len(value) == 1 for value in values) else values


def _records(records: list[Any]) -> dict[str, list[Any]]:
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise InvalidInput(f"Row {index} is not an object.", "Send one object a row, with the columns as keys.", row=index)
        for name in records[0].keys() ^ record.keys():
            lacking = index if name not in record else 0
            raise InvalidInput(f"Row {lacking} lacks the column {name!r}.", "Send the same columns in each row.", column=name, row=lacking)
    return {name: [record[name] for record in records] for name in records[0]}


def _finish(raw: _Raw, want: Wanted, arrived: int) -> Body:
    known = {**want.optional, **want.required}
    for name in raw.columns:
        if name not in known and name not in (want.unit, want.time):
            raise InvalidInput(f"The column {name!r} is not known.", f"The model takes {', '.join(want.required)}.", column=name)
    for name in want.required:
        if name not in raw.columns:
            raise InvalidInput(f"The column {name!r} is missing.", f"The model takes {', '.join(want.required)}.", column=name)
    lengths = {name: len(values) for name, values in raw.columns.items()}
    rows = next(iter(lengths.values()), 0)
    for name, length in lengths.items():
        if length != rows:
            raise InvalidInput(f"The column {name!r} has {length} rows, others have {rows}.", "Send columns of one length.", column=name)
    if not 1 <= rows <= want.rows:
        raise InvalidInput(f"The request has {rows} rows.", f"Send 1 to {want.rows} rows in one request.")
    columns = {name: read_column(name, known[name], values, raw.text) for name, values in raw.columns.items() if name in known}
    return Body(
        columns=columns,
        rows=rows,
        unit=_units(raw, want.unit, rows),
        at=_times(raw, want.time, rows, arrived),
        request_id=check_request_id(raw.request_id) if raw.request_id else "",
    )


def read_column(name: str, dtype: str, values: list[Any], text: bool) -> list[Any]:
    """Return a column's values in the Python type that goes with ``dtype``.

    Args:
        name: the column, for messages.
        dtype: polars' name of the type.
        values: what the caller sent; None is a gap.
        text: values are text that stands for other types.

    Raises:
        InvalidInput: a value does not fit; the message names the column and the row.
    """
    family = dtype.partition("(")[0]
    if family in _TYPES:
        if family in _BOUNDS and not text:
            values = [int(value) if type(value) is float and value.is_integer() else value for value in values]
        if family == "Boolean" and text:
            values = [value.lower() if isinstance(value, str) else value for value in values]
        try:
            read: list[Any] = msgspec.convert(values, _TYPES[family], strict=not text)
        except msgspec.ValidationError as error:
            found = _ROW.search(str(error))
            raise _misfit(name, dtype, values, int(found[1]) if found else 0) from error
        low, high = _BOUNDS.get(family, (None, None))
        if low is not None and high is not None:
            for row, value in enumerate(read):
                if value is not None and not low <= value <= high:
                    raise _misfit(name, dtype, values, row)
        return read
    for row, value in enumerate(values):
        if value is not None and not (isinstance(value, str) and (family in _TEXT or _is_moment(value, family))):
            raise _misfit(name, dtype, values, row)
    return values


def _is_moment(text: str, family: str) -> bool:
    try:
        return bool(date.fromisoformat(text)) if family == "Date" else clock.from_iso(text) is not None
    except (ValueError, OverflowError):
        return False


def _misfit(name: str, dtype: str, values: list[Any], row: int) -> InvalidInput:
    value = repr(values[row])[:80] if row < len(values) else "something else"
    return InvalidInput(f"The column {name!r} holds {value} in row {row}.", f"Send {dtype} values.", column=name, row=row)


def _units(raw: _Raw, column: str, rows: int) -> list[str]:
    given = raw.parameters.get("unit")
    if given is not None:
        return [str(given)[:200]] * rows
    return ["" if value is None else str(value)[:200] for value in raw.columns.get(column, [None] * rows)]


def _times(raw: _Raw, column: str, rows: int, arrived: int) -> list[int]:
    given = raw.parameters.get("event_time")
    values = [given] * rows if given is not None else raw.columns.get(column, [None] * rows)
    found = []
    for row, value in enumerate(values):
        if value is None:
            found.append(arrived)
        elif isinstance(value, str) and _is_moment(value, "Datetime"):
            found.append(clock.from_iso(value))
        else:
            raise _misfit("event_time" if given is not None else column, "ISO 8601 date-time", values, row)
    return found
