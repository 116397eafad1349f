"""Logged columns as polars frames and Parquet bytes.

polars is loaded on the first call: the server appends rows all day and reads them almost never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

from plimsoll import codec, extras


def from_columns(columns: Mapping[str, Sequence[Any]], times: Sequence[int]) -> Any:
    """Return a chunk as a polars frame with the column ``at`` first.

    Each column gets the narrowest of these types that holds all its values: Boolean, Int64, Float64, Binary, String. Lists, dicts and
    mixtures become JSON text, so that no row is ever refused for the company it is in.

    Args:
        columns: one value a row; None where a row has none.
        times: UTC microseconds, one a row.
    """
    pl = extras.require("polars")
    series = [pl.Series("at", times, dtype=pl.Int64)]
    series.extend(_series(pl, name, list(values)) for name, values in columns.items())
    return pl.DataFrame(series)


def from_parquet(data: bytes) -> Any:
    """Return the polars frame that :func:`to_parquet` wrote.

    Args:
        data: Parquet bytes.
    """
    return extras.require("polars").read_parquet(BytesIO(data))


def to_parquet(frame: Any) -> bytes:
    """Return a polars frame as Parquet bytes.

    Args:
        frame: the rows, with the column ``at``.
    """
    file = BytesIO()
    frame.write_parquet(file, compression="zstd")
    return file.getvalue()


def together(parts: Iterable[Any], start: int | None = None, end: int | None = None) -> Any:
    """Return the rows of several frames in order of time; columns a row never had are null, types meet in their common one.

    Args:
        parts: polars frames with the column ``at``, in order of arrival.
        start: only rows from this time on, UTC microseconds.
        end: only rows before this time, UTC microseconds.
    """
    pl = extras.require("polars")
    kept = []
    for part in parts:
        if start is not None:
            part = part.filter(pl.col("at") >= start)
        if end is not None:
            part = part.filter(pl.col("at") < end)
        kept.append(part)
    if not kept:
        return pl.DataFrame(schema={"at": pl.Int64})
    return pl.concat(kept, how="diagonal_relaxed").sort("at", maintain_order=True)


def _series(pl: Any, name: str, values: list[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds <= {int, float}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    if kinds == {bytes}:
        return pl.Series(name, values, dtype=pl.Binary)
    texts = [value if value is None or isinstance(value, str) else codec.to_json(value).decode() for value in values]
    return pl.Series(name, texts, dtype=pl.String)
