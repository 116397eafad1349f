"""pandas frames, series and indexes: columns, index, dtypes, attributes and content."""

from __future__ import annotations

import sys
from typing import Any

from plimsoll.encoding.arrays import put_cells
from plimsoll.encoding.writer import Writer, own_attributes, put_zone


def put_pandas(to: Writer, value: Any) -> bool:
    """Write a value of pandas; return False, having written nothing, for what is none of its data.

    Args:
        to: takes it.
        value: of a class of pandas.
    """
    pandas = sys.modules["pandas"]
    if isinstance(value, (pandas.DataFrame, pandas.Series)) and not value.flags.allows_duplicate_labels:
        to.leaf(b"!", b"unique labels")
    if isinstance(value, (pandas.DataFrame, pandas.Series, pandas.Index)) and (own := own_attributes(value)):
        to.items(b"=", own)
    if isinstance(value, pandas.CategoricalDtype) and value.categories is not None:
        to.items(b"G", ("categories", value.categories, value.ordered))  # its text leaves out most of many
    elif value is pandas.NA or value is pandas.NaT or isinstance(value, pandas.api.extensions.ExtensionDtype):
        to.items(b"G", ("pandas", repr(value)))
    elif isinstance(value, pandas.DataFrame):
        to.items(b"X", (value.columns, value.index, value.attrs))
        for index in range(value.shape[1]):
            to.child(value.iloc[:, index].array, lambda index=index: f".iloc[:, {index}]")  # type: ignore[misc]
    elif isinstance(value, pandas.Series):
        to.items(b"X", (value.name, value.index, value.attrs, value.array))
    elif isinstance(value, pandas.MultiIndex):
        # Levels hold values that no row has, and a function can see them.
        to.items(b"J", (tuple(value.names), list(value.levels), [codes.tolist() for codes in value.codes]))
    elif isinstance(value, pandas.Index):
        to.items(b"J", (type(value).__name__, value.name, getattr(value, "freqstr", None), value.array))
    elif isinstance(value, pandas.Timestamp):
        to.count(b"K", 3)
        # In its own unit: the year 3000 has no number of nanoseconds.
        to.put((int(value.asm8.view("i8")), value.unit, value.fold))
        put_zone(to, value.tzinfo, value)
    elif isinstance(value, pandas.Timedelta):
        to.items(b"W", ["Timedelta", int(value.asm8.view("i8")), value.unit])
    elif isinstance(value, (pandas.Interval, pandas.Period)):
        names = ("left", "right", "closed", "ordinal", "freqstr")
        to.items(b"W", [type(value).__name__, *(getattr(value, name, None) for name in names)])
    elif isinstance(value, pandas.api.extensions.ExtensionArray):
        _put_extension(to, value)
    else:
        return False
    return True


def _put_extension(to: Writer, values: Any) -> None:
    pandas = sys.modules["pandas"]
    to.text(repr(values.dtype))
    if isinstance(values, pandas.arrays.NumpyExtensionArray):
        to.put(values.to_numpy())
    elif isinstance(values, pandas.Categorical):
        to.items(b"Z", (values.categories.array, values.ordered, values.codes))
    elif isinstance(values.dtype, pandas.DatetimeTZDtype) or getattr(values.dtype, "kind", "") in "mM":
        to.put(values.view("i8") if hasattr(values, "view") else values.asi8)
    else:
        put_cells(to, values.to_numpy(dtype=object).tolist())
