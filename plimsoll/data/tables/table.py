"""Tables: one deterministic Parquet file in a manifest."""

from __future__ import annotations

import ast
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from plimsoll import codec
from plimsoll.data.snapshot import get_manifest, put_manifest
from plimsoll.data.tables.pandas_columns import from_pandas, is_pandas
from plimsoll.data.tables.pandas_kept import as_table, from_table, is_kept, series_of
from plimsoll.errors import Corrupt, InvalidInput, Unfingerprintable
from plimsoll.records.data import Column, FileEntry, Manifest
from plimsoll.records.request import Json
from plimsoll.store.contracts import Blobs

#: The one file of a table.
TABLE_FILE = "table.parquet"

_PLAIN = {
    dtype.__name__: dtype
    for dtype in (
        *(pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.Float32, pl.Float64, pl.String, pl.Binary, pl.Date, pl.Time, pl.Null),
    )
}


def put_table(blobs: Blobs, frame: pl.DataFrame, **meta: Json) -> tuple[str, int]:
    """Store a table and return its manifest's digest and the bytes of its file. An equal frame gives the same digest.

    The digest holds for one release of polars: another one may write other bytes for the same rows.

    Args:
        blobs: where to.
        frame: any polars frame without Python objects.
        meta: JSON-able values to keep beside ``rows`` and ``columns``.

    Raises:
        InvalidInput: a column's type cannot be stored; the message names it.
    """
    data = to_parquet(frame)
    entry = FileEntry(path=TABLE_FILE, digest=blobs.put(data), size=len(data))
    described = {**meta, "rows": frame.height, "columns": codec.plain(columns_of(frame))}
    return put_manifest(blobs, Manifest(kind="table", files=(entry,), meta=described)), len(data)


def get_table(blobs: Blobs, digest: str) -> pl.DataFrame:
    """Return a stored table, (rows, columns), with the types it had.

    Args:
        blobs: where from.
        digest: what :func:`put_table` gave.

    Raises:
        NotFound: it is not stored.
        Corrupt: stored bytes do not match their digest, or are no table.
        InvalidInput: the digest names something other than a table.
    """
    manifest = get_manifest(blobs, digest)
    if manifest.kind != "table" or [entry.path for entry in manifest.files] != [TABLE_FILE]:
        raise InvalidInput(f"{digest[:12]} is a {manifest.kind}, not a table.", "Give the digest of a table.")
    columns = codec.convert(manifest.meta.get("columns"), tuple[Column, ...], "The table's columns")
    return from_parquet(blobs.get(manifest.files[0].digest), columns)


def put_frame(blobs: Blobs, value: Any) -> tuple[str, int] | None:
    """Store a frame of polars, or a frame or series of pandas that comes back unchanged, as :func:`put_table` does; None for no frame.

    Args:
        blobs: where to.
        value: anything.

    Raises:
        Unfingerprintable: the frame would not come back as it is.
        InvalidInput: a column's type cannot be stored; the message names it.
    """
    if isinstance(value, pl.DataFrame):
        return put_table(blobs, _storable(value))
    if is_kept(value) and hasattr(value, "iloc"):
        frame, described = as_table(value)
        return put_table(blobs, frame, pandas=described)
    return None


def part_of(value: Any) -> tuple[list[Any], bytes, str] | None:
    """Return a frame, series, index or array within another value as what names it, its bytes and their suffix; None for none of these.

    Args:
        value: anything.

    Raises:
        Unfingerprintable: it would not come back as it is.
        InvalidInput: a column's type cannot be stored; the message names it.
    """
    if isinstance(value, pl.DataFrame):
        return ["frame", codec.plain(columns_of(value))], to_parquet(_storable(value)), "parquet"
    if isinstance(value, pl.Series):
        frame = _storable(value.to_frame())
        return ["series", codec.plain(columns_of(frame))], to_parquet(frame), "parquet"
    if is_kept(value):
        frame, described = as_table(value)
        return ["pandas", codec.plain(columns_of(frame)), described], to_parquet(frame), "parquet"
    if (series := series_of(value)) is not None and (stored := part_of(series)) is not None:
        return [*stored[0], "array"], *stored[1:]
    return None


def read_part(kind: str, described: list[Any], data: bytes) -> Any:
    """Return the frame or series that :func:`part_of` gave.

    Args:
        kind: the first word of its name.
        described: the rest of its name.
        data: its bytes.

    Raises:
        ValueError: there is no such kind.
        Corrupt: the bytes are not Parquet, or hold other columns.
        MissingExtra: it was of pandas, which is not installed.
    """
    if kind not in ("frame", "series", "pandas"):
        raise ValueError(f"unknown tag {kind!r}")
    frame = from_parquet(data, codec.convert(described[0], tuple[Column, ...], "The columns"))
    if kind == "pandas":
        found = from_table(frame, described[1])
        return found.array if described[2:] == ["array"] else found
    return frame.to_series() if kind == "series" else frame


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Return a frame as Parquet; an equal frame gives equal bytes in any process, however its memory is laid out.

    Args:
        frame: any polars frame without Python objects.

    Raises:
        InvalidInput: a column's type cannot be stored; the message names it.
    """
    for column in columns_of(frame):
        dtype_of(column.dtype)
    # A Categorical inside a list drags categories of rows that were filtered away into the file; its text does not.
    texts = {name: _stored(dtype) for name, dtype in frame.schema.items() if _stored(dtype) != dtype}
    buffer = io.BytesIO()
    # Every choice that decides about bytes is spelled out; the defaults of polars may change.
    _cast(frame, texts).rechunk().write_parquet(
        buffer, compression="zstd", compression_level=3, statistics=True, row_group_size=2**18, data_page_size=2**20
    )
    return buffer.getvalue()


def from_parquet(data: bytes, columns: tuple[Column, ...]) -> pl.DataFrame:
    """Return the frame that :func:`to_parquet` wrote.

    Args:
        data: its bytes.
        columns: the frame's columns, as :func:`columns_of` gave them.

    Raises:
        Corrupt: the bytes are not Parquet, or hold other columns.
    """
    try:
        frame = pl.read_parquet(io.BytesIO(data), hive_partitioning=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Corrupt(f"A stored table is not valid Parquet: {error}", "Make it again from its source.") from error
    schema = {column.name: dtype_of(column.dtype) for column in columns}
    if frame.schema.names() != list(schema) or any(_stored(dtype) != frame.schema[name] for name, dtype in schema.items()):
        raise Corrupt("A stored table has other columns than its manifest says.", "Make it again from its source.")
    return _cast(frame, {name: dtype for name, dtype in schema.items() if dtype != frame.schema[name]})


def columns_of(frame: pl.DataFrame) -> tuple[Column, ...]:
    """Return a frame's columns with polars' names of their types, which :func:`dtype_of` reads back.

    Args:
        frame: any polars frame.
    """
    return tuple(Column(name=name, dtype=str(dtype)) for name, dtype in frame.schema.items())


def dtype_of(text: str) -> pl.DataType:
    """Return the polars type that a :class:`Column` names.

    Args:
        text: such as ``Float64``, ``List(String)`` or ``Datetime(time_unit='us', time_zone='UTC')``.

    Raises:
        InvalidInput: it names no type that a table can hold.
    """
    try:
        return _read_dtype(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise InvalidInput(
            f"The column type {text[:200]!r} cannot be stored in a table.",
            "Cast the column to a number, text, date, time, or a list or struct of these.",
        ) from error


def as_polars(frame: Any) -> pl.DataFrame:
    """Return what users hold as a frame: polars as it is, pandas and dicts of columns converted.

    Args:
        frame: a polars or pandas DataFrame, or a dict of text to equally long lists, NumPy arrays or polars series.

    Raises:
        InvalidInput: it is something else, or cannot be converted without loss; the message names the column.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if is_pandas(frame):
        return from_pandas(frame)
    if isinstance(frame, Mapping):
        return _from_dict(frame)
    remedy = "Call .collect() first." if isinstance(frame, pl.LazyFrame) else "Give a polars or pandas DataFrame or a dict of columns."
    raise InvalidInput(f"A {type(frame).__module__}.{type(frame).__qualname__} is not a table.", remedy)


def _from_dict(columns: Mapping[Any, Any]) -> pl.DataFrame:
    made = []
    for name, values in columns.items():
        if not isinstance(name, str):
            raise InvalidInput(f"The column name {name!r} is not text.", "Give every column a text name.")
        if not isinstance(values, list | tuple | np.ndarray | pl.Series):
            raise InvalidInput(f"The column {name!r} is a {type(values).__qualname__}.", "Give each column as a list or an array.")
        try:
            series = values.alias(name) if isinstance(values, pl.Series) else pl.Series(name, values, strict=True)
        except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(f"The column {name!r} cannot be read: {error}", "Give values of one type, or None.") from error
        if series.dtype == pl.Object:
            raise InvalidInput(f"The column {name!r} holds Python objects.", "Give values of one plain type, or None.")
        made.append(series)
    if len({len(series) for series in made}) > 1:
        lengths = ", ".join(f"{series.name!r} has {len(series)}" for series in made[:20])
        raise InvalidInput(f"The columns have different lengths: {lengths}.", "Give columns of one length.")
    return pl.DataFrame(made)


def _storable(frame: pl.DataFrame) -> pl.DataFrame:
    if type(frame) is not pl.DataFrame:
        raise Unfingerprintable(f"A {type(frame).__qualname__} is not a plain polars frame.", "Return polars.DataFrame(frame).")
    return frame


def _stored(dtype: pl.DataType) -> pl.DataType:
    match dtype:
        case pl.Categorical():
            return pl.String()
        case pl.List():
            return pl.List(_stored(_whole(dtype.inner)))
        case pl.Array():
            return pl.Array(_stored(_whole(dtype.inner)), dtype.size)
        case pl.Struct():
            return pl.Struct({field.name: _stored(_whole(field.dtype)) for field in dtype.fields})
        case _:
            return dtype


def _cast(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    # By column: a frame takes an empty name for none, and one like ``^a$`` for a pattern.
    return pl.DataFrame({column.name: column.cast(types.get(column.name, column.dtype)) for column in frame}) if types else frame


def _whole(dtype: Any) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[no-any-return]


def _read_dtype(node: ast.expr) -> pl.DataType:
    match node:
        case ast.Name(id="Categorical"):
            return pl.Categorical()
        case ast.Name(id=name) if name in _PLAIN:
            return _whole(_PLAIN[name])
        case ast.Call(func=ast.Name(id="Datetime" | "Duration" | "Decimal" | "Enum" as name), args=[], keywords=keywords):
            return getattr(pl, name)(**{word.arg: ast.literal_eval(word.value) for word in keywords if word.arg})  # type: ignore[no-any-return]
        case ast.Call(func=ast.Name(id="List"), args=[inner], keywords=[]):
            return pl.List(_read_dtype(inner))
        case ast.Call(func=ast.Name(id="Array"), args=[inner], keywords=[ast.keyword(arg="shape", value=shape)]):
            return pl.Array(_read_dtype(inner), ast.literal_eval(shape))
        case ast.Call(func=ast.Name(id="Struct"), args=[ast.Dict(keys=keys, values=values)], keywords=[]):
            return pl.Struct({ast.literal_eval(key): _read_dtype(value) for key, value in zip(keys, values, strict=True) if key})
        case _:
            raise ValueError(ast.dump(node)[:100])
