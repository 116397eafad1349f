"""polars frames and series: schema, nulls and content; how they are chunked and what lies under a null do not count."""

from __future__ import annotations

import sys
from typing import Any

from plimsoll.encoding.arrays import put_array
from plimsoll.encoding.writer import Opaque, Writer, own_attributes


def put_polars(to: Writer, value: Any) -> bool:
    """Write a value of polars; return False, having written nothing, for what is no frame, series or type.

    Args:
        to: takes it.
        value: of a class of polars.
    """
    polars = sys.modules["polars"]
    if isinstance(value, (polars.DataFrame, polars.Series)) and (own := own_attributes(value)):
        to.items(b"=", own)
    if isinstance(value, polars.DataFrame):
        to.count(b"B", value.width)
        to.put(value.height)
        for column in value.get_columns():
            to.child(column, lambda column=column: f"[{column.name!r}]")  # type: ignore[misc]
    elif isinstance(value, polars.Series):
        to.count(b"H", len(value))
        to.text(value.name)
        to.text(repr(value.dtype))
        _put_series(to, value)
    elif isinstance(value, polars.DataType) or (isinstance(value, type) and issubclass(value, polars.DataType)):
        to.items(b"G", ("polars", repr(value)))
    elif isinstance(value, polars.LazyFrame):
        raise Opaque("is a LazyFrame, a plan rather than data", "Call .collect() first.")
    else:
        return False
    return True


def _put_series(to: Writer, series: Any) -> None:
    """Write the nulls, then the content of the others, so that what lies under a null does not count."""
    polars = sys.modules["polars"]
    to.put(series.is_null().to_numpy() if series.null_count() else None)
    series = series.drop_nulls()
    dtype = series.dtype
    if dtype == polars.Null or not len(series):
        return
    if isinstance(dtype, polars.Struct):
        for field in dtype.fields:
            _put_series(to, series.struct.field(field.name))
    elif isinstance(dtype, (polars.List, polars.Array)):
        lists = series.arr.to_list() if isinstance(dtype, polars.Array) else series
        lengths = lists.list.len()
        to.put(lengths.to_numpy())
        _put_series(to, lists.filter(lengths > 0).explode())
    elif isinstance(dtype, polars.Object):
        to.items(b"l", series.to_list())
    elif isinstance(dtype, polars.Binary):
        cells = series.to_list()
        to.put([len(cell) for cell in cells])
        to.put(b"".join(cells))
    elif dtype.is_temporal() or dtype.is_float() or dtype == polars.Boolean or (dtype.is_integer() and "128" not in repr(dtype)):
        put_array(to, series.to_physical().to_numpy())
    else:
        # Text, categories (whose physical codes depend on the process), decimals and 128-bit integers.
        words = series.cast(polars.String)
        to.put(words.str.len_bytes().to_numpy())
        for start in range(0, len(words), 1_000_000):
            to.text(words.slice(start, 1_000_000).str.join("").item())
