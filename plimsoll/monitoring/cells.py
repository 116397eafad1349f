"""The frozen cells of one column: which cell a value falls into, and how the cells are chosen from training data."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from blake3 import blake3

Counts = npt.NDArray[np.int64]

#: Cells that every column of kind ``number`` has, in this order, before its spikes and quantile cells.
NUMBER_CELLS = ("null", "not a number", "-infinity", "+infinity", "far below training", "far above training")

#: Cells that every column of kind ``category`` has, in this order, before its categories and hash buckets.
CATEGORY_CELLS = ("null", "unseen in training")

_QUANTILES = 20
_SPIKE_SHARE = 0.02
_SPIKES = 32
_CATEGORIES = 40
_CATEGORY_SHARE = 0.002
_BUCKETS = 8
_SEEN = 20_000

#: How far beyond the training values the outer cells of a number reach, as a share of their span.
MARGIN = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCells:
    """The frozen cells of one column."""

    #: Column.
    name: str
    #: Polars' name of its type at training.
    dtype: str
    #: ``number``; ``category`` (text, bool, categorical); ``hour`` (date-times, by hour of the day); ``presence`` (null or not).
    kind: Literal["number", "category", "hour", "presence"]
    #: Very frequent exact values, ascending; each has its own cell.
    spikes: tuple[float, ...] = ()
    #: Inner edges of the quantile cells of the other values; cell i holds edges[i-1] < x <= edges[i].
    edges: tuple[float, ...] = ()
    #: Smallest and largest finite value of training. The outer quantile cells reach a quarter of that span further: a record is no
    #: drift, and beyond it begins what training did not know.
    low: float = 0.0
    high: float = 0.0
    #: Frequent categories; each has its own cell.
    categories: tuple[str, ...] = ()
    #: 63-bit hashes of all values of training, ascending; None when there were too many to keep, and then none counts as unseen.
    seen: tuple[int, ...] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What each cell holds, in words; as many as there are cells."""
        if self.kind == "presence":
            return ("null", "present")
        if self.kind == "hour":
            return ("null", *(f"hour {hour}" for hour in range(24)))
        if self.kind == "category":
            return (*CATEGORY_CELLS, *self.categories, *(f"other values, bucket {bucket}" for bucket in range(_BUCKETS)))
        bounds = (self.low, *self.edges, self.high)
        bins = (f"{left:g} to {right:g}" for left, right in itertools.pairwise(bounds))
        return (*NUMBER_CELLS, *(f"exactly {spike:g}" for spike in self.spikes), *bins)

    @property
    def unusual(self) -> int:
        """How many of the first cells hold what training did not know: nulls, not a number, out of support, unseen."""
        return {"number": len(NUMBER_CELLS), "category": len(CATEGORY_CELLS)}.get(self.kind, 1)

    def assign(self, values: pl.Series) -> Counts:
        """Return the cell of each value.

        Args:
            values: the column, (n,); another type than at training is converted, and what cannot be converted is null.
        """
        if self.kind == "presence":
            return values.is_not_null().to_numpy().astype(np.int64)
        if self.kind == "hour":
            hours = (instants(values).dt.hour().cast(pl.Int64) + 1).fill_null(0)
            return hours.to_numpy().astype(np.int64)
        return self._assign_category(values) if self.kind == "category" else self._assign_number(values)

    def _assign_number(self, values: pl.Series) -> Counts:
        numbers, null = as_numbers(values)
        first = len(NUMBER_CELLS)
        cells = np.searchsorted(np.asarray(self.edges), numbers, side="left") + first + len(self.spikes)
        if self.spikes:
            spikes = np.asarray(self.spikes)
            near = np.minimum(np.searchsorted(spikes, numbers), len(spikes) - 1)
            cells = np.where(spikes[near] == numbers, near + first, cells)
        margin = MARGIN * (self.high - self.low)
        cells = np.where(numbers < self.low - margin, 4, np.where(numbers > self.high + margin, 5, cells))
        cells = np.where(np.isposinf(numbers), 3, np.where(np.isneginf(numbers), 2, cells))
        return np.where(null, 0, np.where(np.isnan(numbers), 1, cells)).astype(np.int64)

    def _assign_category(self, values: pl.Series) -> Counts:
        texts = as_texts(values)
        unique = texts.unique()
        first = len(CATEGORY_CELLS)
        own = {category: first + index for index, category in enumerate(self.categories)}
        seen = None if self.seen is None else frozenset(self.seen)
        cell_of: list[int] = []
        for value in unique.to_list():
            if value is None:
                cell_of.append(0)
            elif value in own:
                cell_of.append(own[value])
            else:
                mark = _hash(value)
                cell_of.append(1 if seen is not None and mark not in seen else first + len(own) + mark % _BUCKETS)
        places = texts.replace_strict(unique, pl.Series(cell_of, dtype=pl.Int64), return_dtype=pl.Int64) if len(texts) else texts
        return places.to_numpy().astype(np.int64)


def instants(values: pl.Series) -> pl.Series:
    """Return moments as UTC date-times without a zone, in microseconds; null where a value is none.

    Args:
        values: date-times, dates, ISO 8601 text or UTC microseconds, (n,).
    """
    dtype = values.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    elif dtype == pl.String:
        # Logged inputs come as JSON text; an offset is cut off because training columns are UTC.
        values = values.str.slice(0, 19).str.replace(" ", "T").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    elif not (dtype.is_temporal() or dtype.is_numeric()):
        values = pl.Series(values.name, [None] * len(values), dtype=pl.Datetime("us"))
    return values.cast(pl.Datetime("us"), strict=False)


def as_numbers(values: pl.Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return a column as float64 (n,) with 0 for nulls, and which values are null, bool (n,).

    Args:
        values: any column, (n,); what is no number is null, a duration is in seconds.
    """
    if isinstance(values.dtype, pl.Duration):
        values = values.dt.total_microseconds() / 1e6
    elif values.dtype.is_nested() or isinstance(values.dtype, pl.Datetime | pl.Date | pl.Time | pl.Binary):
        values = pl.Series(values.name, [None] * len(values), dtype=pl.Float64)
    numbers = values.cast(pl.Float64, strict=False)
    null = numbers.is_null().to_numpy().astype(bool)
    return numbers.fill_null(0.0).to_numpy().astype(np.float64), null


def as_texts(values: pl.Series) -> pl.Series:
    """Return a column as text; what has no text (lists, bytes) is null.

    Args:
        values: any column, (n,).
    """
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    return values.cast(pl.String, strict=False)


def _hash(value: str) -> int:
    return int.from_bytes(blake3(value.encode("utf-8", "surrogatepass")).digest(length=8), "big") >> 1


def freeze(values: pl.Series, window: Counts | None) -> ColumnCells:
    """Return the cells of a training column.

    Args:
        values: the column, (n,).
        window: index of each row's window, int64 (n,); a category of its own must be seen in two of them. None: no windows.
    """
    dtype, name = values.dtype, values.name
    if values.null_count() == len(values) or dtype.is_nested() or isinstance(dtype, pl.Date | pl.Binary | pl.Null):
        return ColumnCells(name=name, dtype=str(dtype), kind="presence")
    if isinstance(dtype, pl.Datetime):
        return ColumnCells(name=name, dtype=str(dtype), kind="hour")
    if dtype == pl.Boolean or isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return _freeze_category(values, window)
    if dtype.is_numeric() or isinstance(dtype, pl.Duration):
        return _freeze_number(values)
    return ColumnCells(name=name, dtype=str(dtype), kind="presence")


def _freeze_number(values: pl.Series) -> ColumnCells:
    numbers, null = as_numbers(values)
    finite = numbers[~null & np.isfinite(numbers)]
    if len(finite) == 0:
        return ColumnCells(name=values.name, dtype=str(values.dtype), kind="presence")
    distinct, counts = np.unique(finite, return_counts=True)
    least = max(2.0, _SPIKE_SHARE * len(finite))
    frequent = sorted(np.flatnonzero(counts >= least).tolist(), key=lambda index: (-int(counts[index]), index))[:_SPIKES]
    spikes = distinct[sorted(frequent)]
    rest = np.sort(finite[~np.isin(finite, spikes)])
    edges: list[float] = []
    if len(rest):
        places = (np.arange(1, _QUANTILES) * len(rest)) // _QUANTILES
        edges = [edge for edge in np.unique(rest[places]).tolist() if edge < rest[-1]]
    return ColumnCells(
        name=values.name,
        dtype=str(values.dtype),
        kind="number",
        spikes=tuple(spikes.tolist()),
        edges=tuple(edges),
        low=float(distinct[0]),
        high=float(distinct[-1]),
    )


def _freeze_category(values: pl.Series, window: Counts | None) -> ColumnCells:
    days = np.zeros(len(values), np.int64) if window is None else window
    table = (
        pl.DataFrame({"value": as_texts(values), "day": days})
        .drop_nulls("value")
        .group_by("value")
        .agg(pl.len().alias("rows"), pl.col("day").n_unique().alias("days"))
        .sort(["rows", "value"], descending=[True, False])
    )
    several = window is not None and len(np.unique(window)) > 1
    frequent = table.filter((pl.col("rows") >= max(2.0, _CATEGORY_SHARE * len(values))) & (pl.col("days") >= (2 if several else 1)))
    seen = tuple(sorted(_hash(value) for value in table["value"].to_list())) if table.height <= _SEEN else None
    categories = tuple(frequent["value"].head(_CATEGORIES).to_list())
    return ColumnCells(name=values.name, dtype=str(values.dtype), kind="category", categories=categories, seen=seen)
