"""A model's input columns: what a caller sent becomes exactly these, or is refused by name.

Whatever converts without loss is converted, because JSON and pandas have fewer types than a table: a whole number for a
float, a float column of whole numbers and gaps for an integer column, ISO 8601 text for a moment. Times are UTC. NaN is a
gap like any other and becomes null: JSON cannot tell the two apart, so a model that could would answer differently when served.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from plimsoll import clock
from plimsoll.data.tables.table import as_polars, columns_of, dtype_of
from plimsoll.errors import InvalidInput
from plimsoll.records.data import Column
from plimsoll.records.model import Signature

#: Name of the one output column; no input column may have it.
PREDICTION = "prediction"

_TEXT = (pl.String, pl.Categorical, pl.Enum)


def signature_of(example: pl.DataFrame) -> Signature:
    """Return the signature of a model that takes rows like these.

    Args:
        example: raw input rows without the label, (n, columns).

    Raises:
        InvalidInput: a column is named ``prediction``, or has a type that a request cannot carry.
    """
    if PREDICTION in example.columns:
        raise InvalidInput(f"An input column is named {PREDICTION!r}, which is the name of the answer.", "Rename the column.")
    for name, dtype in example.schema.items():
        if dtype == pl.Null:
            raise InvalidInput(f"The input column {name!r} has no value in the example, so its type is unknown.", "Cast it to its type.")
        if not (_is_number(dtype) or dtype in (pl.Boolean, pl.Date) or isinstance(dtype, (*_TEXT, pl.Datetime))):
            raise InvalidInput(
                f"The input column {name!r} has the type {dtype}, which a request cannot carry.",
                "Use numbers, booleans, text, dates and date-times, one value a row.",
            )
    return Signature(inputs=columns_of(example), output=Column(name=PREDICTION, dtype="Float64"))


def schema_of(signature: Signature) -> dict[str, pl.DataType]:
    """Return the polars types of a signature's inputs, by name and in order.

    Args:
        signature: a model's signature.

    Raises:
        InvalidInput: it names a type that polars does not know.
    """
    return {column.name: dtype_of(column.dtype) for column in signature.inputs}


def read(rows: Any, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return what a caller sent as exactly the columns of ``schema``; other columns are left out. Null is allowed everywhere.

    Args:
        rows: a polars or pandas frame, or a dict of columns, (n, any columns). A list in a dict may mix 1 and 2.5, as JSON does.
        schema: what :func:`schema_of` gave.

    Raises:
        InvalidInput: it is no table, a column is missing, or a value does not convert without loss; the message names the column.
    """
    if isinstance(rows, Mapping):
        rows = {name: _numbers(name, values, schema[name]) for name, values in rows.items() if name in schema}
    return conform(as_polars(rows), schema)


def conform(frame: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return exactly the columns of ``schema``, in its order and types; other columns are left out. Null is allowed everywhere.

    Args:
        frame: rows from a caller, (n, any columns).
        schema: what :func:`schema_of` gave.

    Raises:
        InvalidInput: a column is missing, or holds values that do not convert without loss; the message names it.
    """
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise InvalidInput(
            f"The input lacks the column{'s' if len(missing) > 1 else ''} {', '.join(repr(name) for name in missing)}.",
            f"Send every column of the model: {', '.join(schema)}.",
            columns=missing,
        )
    return frame.select(convert(frame.get_column(name), dtype) for name, dtype in schema.items())


def convert(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return one column in the type that a model takes.

    Args:
        values: the column, (n,).
        dtype: what it must become.

    Raises:
        InvalidInput: a value does not convert without loss; the message names the column.
    """
    have = values.dtype
    if have == dtype:
        return values.fill_nan(None) if have.is_float() else values
    try:
        if have == pl.Null:
            return values.cast(dtype)
        if _is_number(dtype) and _is_number(have):
            return _to_number(values, dtype)
        if isinstance(dtype, _TEXT) and isinstance(have, _TEXT):
            return values.cast(pl.String).cast(dtype)
        if isinstance(dtype, pl.Datetime) and (have in (pl.String, pl.Date) or isinstance(have, pl.Datetime)):
            return _to_moment(values, dtype)
        if dtype == pl.Date and have == pl.String:
            return values.str.to_date("%Y-%m-%d")
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise InvalidInput(
            f"The column {values.name!r} holds a value that is not {dtype}: {str(error).splitlines()[0][:200]}.",
            f"Send {dtype} values.",
            column=values.name,
        ) from error
    raise InvalidInput(f"The column {values.name!r} is {have}, but the model takes {dtype}.", f"Send {dtype} values.", column=values.name)


def _numbers(name: str, values: Any, dtype: pl.DataType) -> Any:
    kinds = {type(value) for value in values} if isinstance(values, list) and _is_number(dtype) else set()
    # Anything else is left as it is, and the general conversion says what is wrong with it.
    if kinds <= {int, float, type(None)} and (float in kinds or (kinds and dtype.is_float())):
        return pl.Series(name, values, dtype=pl.Float64)
    return values


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or dtype.is_float()


def _to_number(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    values = values.fill_nan(None) if values.dtype.is_float() else values
    # pandas has no integers with gaps: such a column arrives as floats.
    if values.dtype.is_float() and dtype.is_integer() and not (values.drop_nulls() == values.drop_nulls().round()).all():
        raise ValueError("a number is not whole")
    return values.cast(dtype)


def _to_moment(values: pl.Series, dtype: pl.Datetime) -> pl.Series:
    if values.dtype == pl.String:
        micros = [None if text is None else clock.from_iso(text) for text in values.to_list()]
        values = pl.Series(values.name, micros, dtype=pl.Int64).cast(pl.Datetime("us"))
    elif values.dtype == pl.Date:
        values = values.cast(pl.Datetime("us"))
    elif getattr(values.dtype, "time_zone", None) is not None:
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    values = values.dt.cast_time_unit(dtype.time_unit)
    return values if dtype.time_zone is None else values.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)


def same_values(left: pl.DataFrame, right: pl.DataFrame) -> str | None:
    """Return the first column in which two frames differ by more than rounding, or None when they agree.

    Args:
        left: any frame.
        right: a frame to compare it with; its columns must have the same names and order.
    """
    if left.columns != right.columns or left.height != right.height:
        return ", ".join(sorted(set(left.columns) ^ set(right.columns))) or "the number of rows"
    for name in left.columns:
        one, other = left.get_column(name), right.get_column(name)
        if one.dtype.is_float() or other.dtype.is_float():
            first, second = (side.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy() for side in (one, other))
            same = np.allclose(first, second, rtol=1e-9, atol=1e-12, equal_nan=True)
        else:
            same = one.to_list() == other.to_list()
        if not same:
            return name
    return None
