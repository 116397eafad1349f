"""Profiles: integer tables whose cells are frozen at training, so that tallies of traffic add up exactly.

A profile knows, for every column, a fixed list of cells (null, spikes, quantile cells, frequent categories, hash buckets …)
and how many training rows fell into each of them in every window (one UTC day) of the training data. Those windows carry the
variance between days, without which a correct test alarms every day. Counting traffic into the same cells gives a
:class:`Tally`; tallies add like integers.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from blake3 import blake3

from plimsoll import codec
from plimsoll.errors import InvalidInput

Counts = npt.NDArray[np.int64]

#: Name of the table that holds the model's answers; no input column may have it.
PREDICTION = "prediction"

#: Cells that every column of kind ``number`` has, in this order, before its spikes and quantile cells.
NUMBER_CELLS = ("null", "not a number", "-infinity", "+infinity", "below all training values", "above all training values")

#: Cells that every column of kind ``category`` has, in this order, before its categories and hash buckets.
CATEGORY_CELLS = ("null", "unseen in training")

_DAY = 86_400_000_000
_QUANTILES = 20
_SPIKE_SHARE = 0.02
_SPIKES = 32
_CATEGORIES = 40
_CATEGORY_SHARE = 0.002
_BUCKETS = 8
_SEEN = 20_000
_WINDOWS = 400


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
    #: Smallest and largest finite value of training.
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
            hours = (_instants(values).dt.hour().cast(pl.Int64) + 1).fill_null(0)
            return hours.to_numpy().astype(np.int64)
        return self._assign_category(values) if self.kind == "category" else self._assign_number(values)

    def _assign_number(self, values: pl.Series) -> Counts:
        numbers, null = _numbers(values)
        first = len(NUMBER_CELLS)
        cells = np.searchsorted(np.asarray(self.edges), numbers, side="left") + first + len(self.spikes)
        if self.spikes:
            spikes = np.asarray(self.spikes)
            near = np.minimum(np.searchsorted(spikes, numbers), len(spikes) - 1)
            cells = np.where(spikes[near] == numbers, near + first, cells)
        cells = np.where(numbers < self.low, 4, np.where(numbers > self.high, 5, cells))
        cells = np.where(np.isposinf(numbers), 3, np.where(np.isneginf(numbers), 2, cells))
        return np.where(null, 0, np.where(np.isnan(numbers), 1, cells)).astype(np.int64)

    def _assign_category(self, values: pl.Series) -> Counts:
        texts = _texts(values)
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


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Rows counted into a profile's cells. Tallies of one profile add: in any order and grouping they give the same."""

    #: Digest of the cells that were counted into.
    cells: str
    #: Rows that were counted.
    rows: int
    #: Column -> counts, int64 (cells of the column,).
    counts: Mapping[str, Counts]

    def __add__(self, other: Tally) -> Tally:
        if self.cells != other.cells:
            raise InvalidInput("Two tallies of different profiles cannot be added.", "Count both with the same profile.")
        counts = {name: counts + other.counts[name] for name, counts in self.counts.items()}
        return Tally(self.cells, self.rows + other.rows, counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and self._plain() == other._plain()

    def __hash__(self) -> int:
        return hash((self.cells, self.rows))

    def _plain(self) -> dict[str, Any]:
        counts = {name: counts.tolist() for name, counts in self.counts.items()}
        return {"format": 1, "cells": self.cells, "rows": self.rows, "counts": counts}

    def to_bytes(self) -> bytes:
        """Return the tally as msgpack, format 1; the same tally gives the same bytes."""
        return codec.to_msgpack(self._plain())

    @classmethod
    def from_bytes(cls, data: bytes) -> Tally:
        """Return the tally that :meth:`to_bytes` wrote.

        Args:
            data: msgpack of format 1.

        Raises:
            InvalidInput: the bytes are something else.
        """
        plain = codec.from_msgpack(data, _TallyFile, "The tally")
        return cls(plain.cells, plain.rows, {name: np.asarray(counts, np.int64) for name, counts in plain.counts.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _TallyFile:
    format: Literal[1]
    cells: str
    rows: int
    counts: dict[str, list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProfileFile:
    format: Literal[1]
    rows: int
    columns: tuple[ColumnCells, ...]
    reference: dict[str, list[int]]
    days: list[int]
    windows: dict[str, list[list[int]]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """A data set in integer tables: frozen cells, counts of all rows, and counts of each training window."""

    #: Rows of the training data.
    rows: int
    #: The cells; the answers' column, if any, is named :data:`PREDICTION` and comes last.
    columns: tuple[ColumnCells, ...]
    #: Column -> counts of all rows, int64 (cells,). A value that only one window has counts as unseen or out of support there,
    #: because that is how the other windows would have met it.
    reference: Mapping[str, Counts]
    #: First moment of each window, UTC days since 1970, ascending; empty when the time was not given.
    days: tuple[int, ...]
    #: Column -> counts of each window, int64 (windows, cells).
    windows: Mapping[str, Counts]

    @classmethod
    def build(cls, frame: pl.DataFrame, *, time: pl.Series | None = None, answers: npt.NDArray[np.float64] | None = None) -> Profile:
        """Return the profile of a training set. The same rows give the same bytes.

        Args:
            frame: the model's input columns, (n, columns), at least one row.
            time: the moment that each row is about, date-time or date, UTC, (n,); it cuts the windows. None: no windows, and
                drift is judged with an assumed variance between windows, which is blunter.
            answers: the model's answers to these rows, float64 (n,), best on rows it was not fitted to; NaN where none is known.

        Raises:
            InvalidInput: no rows, other lengths, a column named ``prediction``, or a null in the time.
        """
        days = _window_days(frame, time, answers)
        tables = frame.get_columns()
        if answers is not None:
            tables.append(pl.Series(PREDICTION, answers, dtype=pl.Float64))
        starts, window = np.unique(days, return_inverse=True) if days is not None else (np.zeros(0, np.int64), None)
        kept = slice(max(0, len(starts) - _WINDOWS), len(starts))
        columns: list[ColumnCells] = []
        reference: dict[str, Counts] = {}
        windows: dict[str, Counts] = {}
        for series in tables:
            known = series.is_not_nan().to_numpy() if series.name == PREDICTION else np.ones(len(series), bool)
            values, where = series.filter(pl.Series(known)), None if window is None else window[known]
            cells = _freeze(values, where)
            counts = _count_windows(cells, values, where, len(starts))
            columns.append(cells)
            reference[series.name] = counts.sum(axis=0)
            windows[series.name] = counts[kept] if window is not None else counts[:0]
        return cls(rows=frame.height, columns=tuple(columns), reference=reference, days=tuple(starts[kept].tolist()), windows=windows)

    @property
    def cells(self) -> str:
        """Digest of the frozen cells; only tallies that carry it belong to this profile."""
        return codec.digest(codec.canonical(self.columns))

    def tally(self, frame: pl.DataFrame, answers: npt.NDArray[np.float64] | None = None) -> Tally:
        """Return how many rows of ``frame`` fall into each cell.

        Args:
            frame: rows to count, (n, any columns); a column that is missing counts as null in every row, others are ignored.
            answers: the model's answers, float64 (n,); NaN where there was none. None counts no answers.
        """
        counts: dict[str, Counts] = {}
        for cells in self.columns:
            if cells.name == PREDICTION:
                given = np.zeros(0) if answers is None else np.asarray(answers, np.float64)
                values = pl.Series(PREDICTION, given[~np.isnan(given)], dtype=pl.Float64)
            elif cells.name in frame.columns:
                values = frame.get_column(cells.name)
            else:
                values = pl.Series(cells.name, [None] * frame.height, dtype=pl.Null)
            counts[cells.name] = np.bincount(cells.assign(values), minlength=len(cells.labels)).astype(np.int64)
        return Tally(self.cells, frame.height, counts)

    def summary(self) -> list[dict[str, Any]]:
        """Return one dict a column for display: name, dtype, kind, share of nulls, and the fullest cells with their shares."""
        rows: list[dict[str, Any]] = []
        for cells in self.columns:
            counts = self.reference[cells.name]
            shares = counts / max(1, int(counts.sum()))
            fullest = sorted(range(len(shares)), key=lambda index: (-shares[index], index))[:5]
            top = {cells.labels[index]: float(shares[index]) for index in fullest if counts[index]}
            row: dict[str, Any] = {"name": cells.name, "dtype": cells.dtype, "kind": cells.kind, "nulls": float(shares[0]), "top": top}
            if cells.kind == "number":
                row |= {"low": cells.low, "high": cells.high}
            rows.append(row)
        return rows

    def to_bytes(self) -> bytes:
        """Return the profile as msgpack, format 1 (``profile.msgpack`` of a package); the same profile gives the same bytes."""
        reference = {name: counts.tolist() for name, counts in self.reference.items()}
        windows = {name: counts.tolist() for name, counts in self.windows.items()}
        file = _ProfileFile(
            format=1, rows=self.rows, columns=self.columns, reference=reference, days=list(self.days), windows=windows
        )
        return codec.to_msgpack(file)

    @classmethod
    def from_bytes(cls, data: bytes) -> Profile:
        """Return the profile that :meth:`to_bytes` wrote.

        Args:
            data: msgpack of format 1.

        Raises:
            InvalidInput: the bytes are something else, or the tables do not fit the cells.
        """
        file = codec.from_msgpack(data, _ProfileFile, "The profile")
        reference = {name: np.asarray(counts, np.int64) for name, counts in file.reference.items()}
        windows: dict[str, Counts] = {}
        for cells in file.columns:
            width = len(cells.labels)
            table = np.asarray(file.windows.get(cells.name, []), np.int64).reshape(len(file.days), -1 if file.days else width)
            if reference.get(cells.name, np.zeros(0)).shape != (width,) or table.shape != (len(file.days), width):
                raise InvalidInput(f"The profile's table of {cells.name!r} does not fit its cells.", "Build the profile again.")
            windows[cells.name] = table
        return cls(rows=file.rows, columns=file.columns, reference=reference, days=tuple(file.days), windows=windows)


def _window_days(frame: pl.DataFrame, time: pl.Series | None, answers: npt.NDArray[np.float64] | None) -> Counts | None:
    if frame.height == 0:
        raise InvalidInput("A profile of no rows says nothing.", "Build it from the training data.")
    if PREDICTION in frame.columns:
        raise InvalidInput(f"A column is named {PREDICTION!r}, which is the name of the answers.", "Rename the column.")
    if answers is not None and len(answers) != frame.height:
        raise InvalidInput(f"There are {len(answers)} answers to {frame.height} rows.", "Give one answer a row.")
    if time is None:
        return None
    if len(time) != frame.height or time.null_count():
        raise InvalidInput(f"The time has {len(time) - time.null_count()} values for {frame.height} rows.", "Give one moment a row.")
    return np.asarray(_instants(time).to_physical().to_numpy() // _DAY, np.int64)


def _instants(values: pl.Series) -> pl.Series:
    dtype = values.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    elif dtype == pl.String:
        # Logged inputs come as JSON text; an offset is cut off because training columns are UTC.
        values = values.str.slice(0, 19).str.replace(" ", "T").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    elif not (dtype.is_temporal() or dtype.is_numeric()):
        values = pl.Series(values.name, [None] * len(values), dtype=pl.Datetime("us"))
    return values.cast(pl.Datetime("us"), strict=False)


def _numbers(values: pl.Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    if isinstance(values.dtype, pl.Duration):
        values = values.dt.total_microseconds() / 1e6
    elif values.dtype.is_nested() or isinstance(values.dtype, pl.Datetime | pl.Date | pl.Time | pl.Binary):
        values = pl.Series(values.name, [None] * len(values), dtype=pl.Float64)
    numbers = values.cast(pl.Float64, strict=False)
    null = numbers.is_null().to_numpy().astype(bool)
    return numbers.fill_null(0.0).to_numpy().astype(np.float64), null


def _texts(values: pl.Series) -> pl.Series:
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    return values.cast(pl.String, strict=False)


def _hash(value: str) -> int:
    return int.from_bytes(blake3(value.encode("utf-8", "surrogatepass")).digest(length=8), "big") >> 1


def _freeze(values: pl.Series, window: Counts | None) -> ColumnCells:
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
    numbers, null = _numbers(values)
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
        pl.DataFrame({"value": _texts(values), "day": days})
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


def _count_windows(cells: ColumnCells, values: pl.Series, window: Counts | None, windows: int) -> Counts:
    """Count the rows of each training window; what only one window knows counts there as the others would have seen it."""
    width = len(cells.labels)
    places = cells.assign(values)
    if window is None or windows < 2:
        return np.bincount(places, minlength=width).astype(np.int64).reshape(1, width)
    if cells.kind == "category" and cells.seen is not None:
        days = pl.DataFrame({"value": _texts(values), "day": window}).select(pl.col("day").n_unique().over("value")).to_series()
        places = np.where((days.to_numpy() == 1) & (places != 0), 1, places)
    if cells.kind == "number":
        numbers, null = _numbers(values)
        usable = ~null & np.isfinite(numbers)
        places = _beyond_others(places, numbers, usable, window, windows, 4)
        places = _beyond_others(places, -numbers, usable, window, windows, 5)
    return np.bincount(window * width + places, minlength=windows * width).astype(np.int64).reshape(windows, width)


def _beyond_others(
    places: Counts, numbers: npt.NDArray[np.float64], usable: npt.NDArray[np.bool_], window: Counts, windows: int, cell: int
) -> Counts:
    lowest = np.full(windows, np.inf)
    np.minimum.at(lowest, window[usable], numbers[usable])
    first = int(np.argmin(lowest))
    second = np.partition(lowest, 1)[1]
    return np.where(usable & (window == first) & (numbers < second), cell, places).astype(np.int64)
