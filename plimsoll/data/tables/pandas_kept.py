"""Frames, series and indexes of pandas as tables, with what a table has no place for beside them: labels, types, categories.

What comes back is what was stored, to the last label; anything else is refused when it is stored and not when it is missed.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from plimsoll import extras
from plimsoll.data import exact
from plimsoll.data.tables.pandas_columns import from_column, is_plain, to_column
from plimsoll.errors import InvalidInput, Unfingerprintable
from plimsoll.fingerprint import digest_value
from plimsoll.records.request import Json

_REMEDY = "Use reset_index(), columns of one plain type each and labels that are texts or numbers; or return polars.from_pandas(frame)."


def is_kept(value: Any) -> bool:
    """Return whether a value is a frame, a series or an index of pandas itself, without importing pandas.

    Args:
        value: anything.
    """
    if type(value).__module__.partition(".")[0] != "pandas":
        return False
    pandas = sys.modules["pandas"]
    return type(value) in (pandas.DataFrame, pandas.Series) or isinstance(value, pandas.Index)


def series_of(value: Any) -> Any:
    """Return a series that holds an array of pandas' own as it is; None for anything else.

    Args:
        value: anything, such as what ``unique()`` gives for text.
    """
    pandas = sys.modules.get("pandas")
    if (
        pandas is None
        or type(value).__module__.partition(".")[0] != "pandas"
        or not isinstance(value, pandas.api.extensions.ExtensionArray)
    ):
        return None
    series = pandas.Series(value)
    return series if type(series.array) is type(value) and series.dtype == value.dtype else None


def as_table(value: Any) -> tuple[pl.DataFrame, dict[str, Json]]:
    """Return the columns of a frame, a series or an index, those of its rows' labels last, and what :func:`from_table` needs beside them.

    Args:
        value: one of which :func:`is_kept` is true.

    Raises:
        Unfingerprintable: it would not come back as it is.
    """
    what = f"The pandas {type(value).__name__}"
    try:
        frame, described = _taken_apart(value)
        back = from_table(frame, described)
    except InvalidInput as error:
        raise Unfingerprintable(f"{what} cannot be stored: {error.fact}", error.remedy) from error
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise Unfingerprintable(f"{what} would not come back as it is: {error}", _REMEDY) from error
    # What no type's text says (mixed missing values, attributes, levels that no row has) shows here.
    if not _is_same(value, back):
        raise Unfingerprintable(f"{what} would not come back from storage as it is.", _REMEDY)
    return frame, described


def from_table(frame: pl.DataFrame, described: Mapping[str, Any]) -> Any:
    """Return what :func:`as_table` was given.

    Args:
        frame: its columns.
        described: what it gave beside them.

    Raises:
        MissingExtra: pandas is not installed.
    """
    pandas = extras.require("pandas")
    made = [_column(pandas, frame.to_series(at), told) for at, told in enumerate(described["types"])]
    index = _rows(pandas, frame, described["rows"], len(made))
    if described["kind"] == "index":
        return index
    if described["kind"] == "series":
        (series,) = made
        series.index, series.name = index, _read(described["labels"])
        return series
    whole = pandas.DataFrame(dict(enumerate(made)), index=pandas.RangeIndex(frame.height))
    whole.index, whole.columns = index, _axis(pandas, described["labels"], frame.columns[: len(made)])
    return whole


def _taken_apart(value: Any) -> tuple[pl.DataFrame, dict[str, Json]]:
    pandas = sys.modules["pandas"]
    labels: Json = None
    columns, names, index = [], [], value
    if type(value) is pandas.Series:
        columns, index, labels = [value], value.index, _label(value.name)
        names = [value.name if type(value.name) is str else "values"]
    elif type(value) is pandas.DataFrame:
        columns, index = [value.iloc[:, at] for at in range(value.shape[1])], value.index
        own = list(value.columns)
        if all(type(name) is str for name in own) and len(set(own)) == len(own) and type(value.columns) is pandas.Index:
            names, labels = own, {"dtype": str(value.columns.dtype), "name": _label(value.columns.name)}
        else:
            names, labels = [str(at) for at in range(len(own))], _told_axis(value.columns)
    rows, levels = _told_rows(index)
    free = (name for name in map("index {}".format, itertools.count()) if name not in names)
    named = [*zip(names, columns, strict=True), *zip(free, levels, strict=False)]
    described: dict[str, Json] = {
        "kind": "frame" if type(value) is pandas.DataFrame else "series" if type(value) is pandas.Series else "index",
        "labels": labels,
        "types": [_told_type(column) for column in columns],
        "rows": rows,
    }
    types: list[Any] = [*described["types"], *rows.get("types", [])]
    made = [
        _cells(name, column) if "cells" in told else from_column(name, column) for (name, column), told in zip(named, types, strict=True)
    ]
    return pl.DataFrame(made or None, height=len(index)), described


def _told_type(column: Any) -> dict[str, Json]:
    """Return what is to be known of a column beside its values."""
    told: dict[str, Json] = {"dtype": str(column.dtype)}
    if told["dtype"] == "category":
        categories = column.array.categories
        told |= {"categories": [_label(each) for each in categories.tolist()], "of": str(categories.dtype), "ordered": column.array.ordered}
    elif getattr(column.dtype, "kind", "") == "c" or (told["dtype"] == "object" and not is_plain(column)):
        told["cells"] = True
    elif float in _gaps(column):
        # NaN stands for what is missing, and not None.
        told["nan"] = True
    return told


def _cells(name: str, column: Any) -> pl.Series:
    """Return a column of lists, arrays or values of several types as one of documents."""
    return pl.Series(name, [exact.encode(each, _inside) for each in column.tolist()], dtype=pl.Binary)


def _inside(value: Any) -> list[Any] | None:
    return ["array", exact.to_npy(value)] if type(value) is np.ndarray and not value.dtype.hasobject else None


def _outside(node: list[Any]) -> Any:
    kind, data = node
    if kind != "array":
        raise ValueError(f"unknown tag {kind!r}")
    return exact.from_npy(data)


def _column(pandas: Any, series: pl.Series, told: Mapping[str, Any]) -> Any:
    if "categories" in told:
        categories = pandas.Index([_read(each) for each in told["categories"]], dtype=told["of"])
        return pandas.Series(pandas.Categorical(series.to_list(), categories=categories, ordered=told["ordered"]))
    if "cells" in told:
        cells = np.empty(len(series), dtype=object)
        cells[:] = [exact.decode(each, _outside) for each in series.to_list()]
        return pandas.Series(cells, dtype=told["dtype"])
    made = to_column(series, told["dtype"])
    if told.get("nan"):
        return pandas.Series([math.nan if each is None else each for each in made], dtype=object)
    return made if isinstance(made, pandas.Series) else pandas.Series(made)


def _told_rows(index: Any) -> tuple[dict[str, Json], list[Any]]:
    """Return what is to be known of rows' labels, and those that are columns."""
    pandas = sys.modules["pandas"]
    if type(index) is pandas.RangeIndex:
        return _told_axis(index), []
    plain = pandas.RangeIndex(len(index))
    levels = [index.get_level_values(at).to_series(index=plain) for at in range(index.nlevels)]
    told: dict[str, Json] = {"names": [_label(name) for name in index.names], "types": [_told_type(level) for level in levels]}
    if isinstance(index, pandas.MultiIndex):
        usual = pandas.MultiIndex.from_arrays(levels)
        if not all(type(one) is type(other) and one.equals(other) for one, other in zip(index.levels, usual.levels, strict=True)):
            # A part of a frame keeps the levels of the whole.
            return told | {"levels": [_told_axis(level) for level in index.levels]}, levels
        return told | {"levels": None}, levels
    return told | {"freq": getattr(index, "freqstr", None)}, levels


def _rows(pandas: Any, frame: pl.DataFrame, told: Mapping[str, Any], first: int) -> Any:
    if "range" in told:
        return _axis(pandas, told, [])
    names = [_read(name) for name in told["names"]]
    levels = [pandas.Index(_column(pandas, frame.to_series(first + at), each)) for at, each in enumerate(told["types"])]
    if "levels" in told:
        if told["levels"] is None:
            return pandas.MultiIndex.from_arrays(levels, names=names)
        whole = [_axis(pandas, each, []) for each in told["levels"]]
        codes = [known.get_indexer(level) for known, level in zip(whole, levels, strict=True)]
        return pandas.MultiIndex(whole, codes, names=names)
    (index,) = levels
    if told["freq"] is not None:
        index = type(index)(index, freq=told["freq"])
    return index.rename(names[0])


def _told_axis(index: Any) -> dict[str, Json]:
    """Return few labels, such as those of columns."""
    pandas = sys.modules["pandas"]
    if type(index) is pandas.RangeIndex:
        return {"range": [index.start, index.stop, index.step], "name": _label(index.name)}
    if type(index) is pandas.MultiIndex:
        return {"levels": [_told_axis(level) for level in index.levels], "codes": [codes.tolist() for codes in index.codes]}
    told: dict[str, Json] = {"dtype": str(index.dtype), "name": _label(index.name)}
    if type(index) in (pandas.DatetimeIndex, pandas.TimedeltaIndex):
        return told | {"moments": index.asi8.tolist(), "freq": index.freqstr}
    return told | {"labels": [_label(each) for each in index.tolist()]}


def _axis(pandas: Any, told: Mapping[str, Any], names: Sequence[str]) -> Any:
    if "levels" in told:
        return pandas.MultiIndex([_axis(pandas, level, []) for level in told["levels"]], told["codes"])
    name = _read(told["name"])
    if "range" in told:
        return pandas.RangeIndex(*told["range"], name=name)
    if "moments" in told:
        kind, _, zone = told["dtype"].rstrip("]").partition(", ")
        moments = pandas.Index(np.array(told["moments"], "i8").view(f"{kind.rstrip(']')}]"))
        moments = moments.tz_localize("UTC").tz_convert(zone) if zone else moments
        return type(moments)(moments, freq=told["freq"], name=name)
    labels = [_read(each) for each in told["labels"]] if "labels" in told else names
    return pandas.Index(labels, dtype=told["dtype"], name=name, tupleize_cols=False)


def _label(label: Any) -> Json:
    """Return a label of rows, columns or categories as JSON holds it."""
    if type(label) is tuple:
        return {"tuple": [_label(each) for each in label]}
    if label is None or type(label) in (str, bool, int) or (type(label) is float and math.isfinite(label)):
        plain: Json = label
        return plain
    raise InvalidInput(f"It has the label {label!r:.60} of the type {type(label).__name__}.", _REMEDY)


def _read(label: Any) -> Any:
    return tuple(map(_read, label["tuple"])) if isinstance(label, dict) else label


def _is_same(value: Any, back: Any) -> bool:
    pandas = sys.modules["pandas"]
    if type(value) is not type(back):
        return False
    if isinstance(value, pandas.Index):
        return digest_value(value) == digest_value(back)
    # Types, labels and attributes by what keys see of them; the many values by a comparison, which is quicker.
    if digest_value(value.iloc[:0]) != digest_value(back.iloc[:0]) or digest_value(value.index) != digest_value(back.index):
        return False
    pairs = [(value, back)] if value.ndim == 1 else [(value.iloc[:, at], back.iloc[:, at]) for at in range(value.shape[1])]
    return all(_are_same(*pair) for pair in pairs)


def _are_same(one: Any, other: Any) -> bool:
    if one.dtype == object and not is_plain(one):
        return digest_value(one.tolist()) == digest_value(other.tolist())
    return bool(one.equals(other)) and _gaps(one) == _gaps(other)


def _gaps(column: Any) -> list[type]:
    """Return the types of what is missing in a column of objects; to pandas every missing value is equal."""
    return [type(each) for each in column[column.isna()]] if column.dtype == object else []
