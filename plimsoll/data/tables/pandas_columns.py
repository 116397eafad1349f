"""pandas frames to polars, and columns of pandas to polars and back.

pandas goes column by column through NumPy, so that Arrow's Python package is not needed.
"""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import polars as pl

from plimsoll import extras
from plimsoll.errors import InvalidInput

#: What an object column may hold: one of these types, and missing values.
_OBJECTS = (str, bytes, bool, int, float, datetime.date, datetime.datetime, datetime.time, datetime.timedelta, decimal.Decimal)

#: pandas dtypes with a mask of their own -> how NumPy calls their values.
_MASKED = {
    **{f"{sign}Int{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    "Float32": "float32",
    "Float64": "float64",
    "boolean": "bool",
}


def is_pandas(value: Any) -> bool:
    """Return whether ``value`` is a pandas DataFrame, without importing pandas.

    Args:
        value: anything.
    """
    cls = type(value)
    return cls.__name__ == "DataFrame" and cls.__module__.partition(".")[0] == "pandas"


def from_pandas(frame: Any) -> pl.DataFrame:
    """Return a pandas frame as polars. Missing values of every kind become null; an unnamed integer index is dropped.

    Args:
        frame: a ``pandas.DataFrame`` whose columns have distinct text names and types that polars has too.

    Raises:
        InvalidInput: the index carries data, a column's name is not text or occurs twice, or a column's type has no
            counterpart; the message names it.
    """
    index = frame.index
    if getattr(index, "nlevels", 1) > 1 or index.name is not None or getattr(index.dtype, "kind", "O") not in "iu":
        raise InvalidInput("The pandas frame keeps data in its index, which a table does not have.", "Call frame.reset_index() first.")
    names = list(frame.columns)
    for position, name in enumerate(names):
        if not isinstance(name, str) or name in names[:position]:
            raise InvalidInput(f"The column name {name!r} is not text or occurs twice.", "Give every column its own text name.")
    return pl.DataFrame([from_column(name, frame[name]) for name in names] or None, height=len(frame))


def is_plain(column: Any) -> bool:
    """Return whether a column of objects holds values of one type that a table has, and one kind of what is missing.

    Args:
        column: a ``pandas.Series`` of objects.
    """
    values = {type(each) for each in column[column.notna()]}
    gaps = {type(each) for each in column[column.isna()]}
    return len(values) <= 1 and values <= set(_OBJECTS) and gaps in (set(), {type(None)}, {float})


def from_column(name: str, column: Any) -> pl.Series:
    """Return a column of pandas as one of polars; what is missing becomes null.

    Args:
        name: what it is called there.
        column: a ``pandas.Series``.

    Raises:
        InvalidInput: its type has no counterpart; the message names the column.
    """
    dtype, text = column.dtype, str(column.dtype)
    missing = column.isna().to_numpy(dtype=bool)
    if text in _MASKED:
        numpy_type = np.dtype(_MASKED[text])
        return _with_nulls(pl.Series(name, column.to_numpy(dtype=numpy_type, na_value=numpy_type.type(0))), missing)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return _with_nulls(pl.Series(name, np.ascontiguousarray(column.to_numpy())), missing)
    if (isinstance(dtype, np.dtype) and dtype.kind in "mM") or text.startswith("datetime64["):
        return _moments(name, column, text)
    if text in ("str", "string", "category", "object"):
        values = [None if gone else value for value, gone in zip(column.astype(object).tolist(), missing.tolist(), strict=True)]
        return _objects(name, values)
    raise InvalidInput(
        f"The column {name!r} has the pandas type {text!r}, which a table cannot hold.", "Convert it with astype to a plain type."
    )


def _moments(name: str, column: Any, text: str) -> pl.Series:
    kind, _, inside = text.partition("[")
    unit, _, zone = inside.rstrip("]").partition(", ")
    # polars has no whole seconds; microseconds hold each of them exactly.
    unit = "us" if unit == "s" else unit
    series = pl.Series(name, column.to_numpy(dtype=f"{kind}[{unit}]"))
    if not zone:
        return series
    try:
        return series.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            f"The column {name!r} has the time zone {zone!r}, which a table cannot hold.", "Convert it with dt.tz_convert('UTC')."
        ) from error


def _objects(name: str, values: list[Any]) -> pl.Series:
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.Series(name, values, dtype=pl.String)
    kind = kinds.pop()
    if kinds or kind not in _OBJECTS:
        found = ", ".join(sorted({kind.__name__, *(other.__name__ for other in kinds)}))
        raise InvalidInput(
            f"The column {name!r} holds Python objects of the type {found}, which a table cannot hold.",
            "Convert the column to one plain type, such as text or numbers.",
        )
    try:
        return pl.Series(name, values, strict=True)
    except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError) as error:
        raise InvalidInput(f"The column {name!r} cannot become a table's column: {error}", "Convert it to a plain type.") from error


def _with_nulls(series: pl.Series, missing: Any) -> pl.Series:
    if not missing.any():
        return series
    return pl.select(pl.when(pl.Series("missing", missing)).then(None).otherwise(series).alias(series.name)).to_series()


def to_column(series: pl.Series, text: str) -> Any:
    """Return what :func:`from_column` was given, as an array of pandas or NumPy of shape (rows,), or a ``pandas.Series``.

    Args:
        series: what it gave.
        text: the text of the pandas dtype.

    Raises:
        MissingExtra: pandas is not installed.
    """
    pandas = extras.require("pandas")
    missing = series.is_null().to_numpy()
    if text in _MASKED:
        filled = series.fill_null(False if text == "boolean" else 0).to_numpy()
        masked = pandas.array(np.array(filled, dtype=_MASKED[text]), dtype=text)
        masked[missing] = pandas.NA
        return masked
    if text.startswith(("datetime64[", "timedelta64[")):
        kind, _, inside = text.partition("[")
        plain = series.dt.replace_time_zone(None) if series.dtype == pl.Datetime and ", " not in inside else series
        if isinstance(plain.dtype, pl.Datetime) and plain.dtype.time_zone:
            plain = plain.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            unit = inside.partition(",")[0]
            moments = pandas.Series(plain.to_numpy().astype(f"datetime64[{unit}]")).dt.tz_localize("UTC")
            return moments.dt.tz_convert(inside.rstrip("]").partition(", ")[2]).array
        return pandas.array(plain.to_numpy().astype(f"{kind}[{inside}"), dtype=text)
    if text in ("str", "string", "category", "object"):
        # Of an array of objects, a frame would guess that it is of texts.
        return pandas.Series(series.to_list(), dtype=text)
    return np.array(series.fill_null(float("nan")).to_numpy() if series.null_count() else series.to_numpy(), dtype=text)
