"""Profiles: integer tables whose cells are frozen at training, so that tallies of traffic add up exactly.

A profile knows, for every column, a fixed list of cells (null, spikes, quantile cells, frequent categories, hash buckets …)
and how many training rows fell into each of them in every window (one UTC day) of the training data. Those windows carry the
variance between days, without which a correct test alarms every day. Counting traffic into the same cells gives a
:class:`Tally`; tallies add like integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.monitoring.cells import MARGIN, ColumnCells, Counts, as_numbers, as_texts, freeze, instants

#: Name of the table that holds the model's answers; no input column may have it.
PREDICTION = "prediction"

_DAY = 86_400_000_000
_WINDOWS = 400


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
class Promise:
    """How good the answers were on one day of rows that the model was not fitted to."""

    #: UTC day since 1970.
    day: int
    #: Rows, and positive ones among them.
    rows: int
    positives: int
    #: Area under the ROC curve; None when the day has only one class.
    auc: float | None
    #: Mean squared difference of answer and truth.
    brier: float
    #: Negative rows answered at or above the cost threshold, and positive rows answered below it.
    false_alarms: int
    missed: int


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
    promises: tuple[Promise, ...]


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
    #: What a release of this model promises, by day; empty when it was never asked with :meth:`promising`.
    promises: tuple[Promise, ...] = ()

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
            cells = freeze(values, where)
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

    def promising(self, *, time: pl.Series, answers: npt.NDArray[np.float64], labels: npt.NDArray[Any], threshold: float) -> Profile:
        """Return this profile with what the model did, day by day, on rows it was not fitted to: its performance is held to that.

        Args:
            time: the moment that each row is about, UTC, (n,).
            answers: the model's answers to the holdout, float64 (n,).
            labels: the truth, 0 or 1, (n,).
            threshold: answer from which acting is cheaper than not acting, 0 to 1 (``purpose.costs.threshold``).

        Raises:
            InvalidInput: the lengths differ, or the time has nulls.
        """
        if len(labels) != len(time):
            raise InvalidInput(f"There are {len(labels)} labels for {len(time)} rows.", "Give one label a row.")
        days = _window_days(pl.DataFrame({"row": np.arange(len(time))}), time, answers)
        assert days is not None
        promises = []
        for day in np.unique(days)[-_WINDOWS:].tolist():
            truth, given = np.asarray(labels)[days == day].astype(np.float64), np.asarray(answers, np.float64)[days == day]
            area = area_under_curve(truth, given)
            promises.append(
                Promise(
                    day=day,
                    rows=len(truth),
                    positives=int(truth.sum()),
                    auc=None if np.isnan(area) else area,
                    brier=float(np.mean((given - truth) ** 2)),
                    false_alarms=int(np.sum((truth == 0) & (given >= threshold))),
                    missed=int(np.sum((truth == 1) & (given < threshold))),
                )
            )
        return replace(self, promises=tuple(promises))

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
            format=1,
            rows=self.rows,
            columns=self.columns,
            reference=reference,
            days=list(self.days),
            windows=windows,
            promises=self.promises,
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
        days = tuple(file.days)
        return cls(rows=file.rows, columns=file.columns, reference=reference, days=days, windows=windows, promises=file.promises)


def area_under_curve(labels: npt.NDArray[Any], answers: npt.NDArray[np.float64]) -> float:
    """Return the chance that a positive row is answered higher than a negative one; a tie counts half. NaN with one class.

    Args:
        labels: the truth, 0 or 1, (n,).
        answers: the model's answers, (n,).
    """
    positives = int(np.sum(labels == 1))
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(answers, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


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
    return np.asarray(instants(time).to_physical().to_numpy() // _DAY, np.int64)


def _count_windows(cells: ColumnCells, values: pl.Series, window: Counts | None, windows: int) -> Counts:
    """Count the rows of each training window; what only one window knows counts there as the others would have seen it."""
    width = len(cells.labels)
    places = cells.assign(values)
    if window is None or windows < 2:
        return np.bincount(places, minlength=width).astype(np.int64).reshape(1, width)
    if cells.kind == "category" and cells.seen is not None:
        days = pl.DataFrame({"value": as_texts(values), "day": window}).select(pl.col("day").n_unique().over("value")).to_series()
        places = np.where((days.to_numpy() == 1) & (places != 0), 1, places)
    if cells.kind == "number":
        numbers, null = as_numbers(values)
        usable = ~null & np.isfinite(numbers)
        margin = MARGIN * (cells.high - cells.low)
        places = np.where(_beyond_others(numbers, usable, window, windows, margin), 4, places)
        places = np.where(_beyond_others(-numbers, usable, window, windows, margin), 5, places)
    return np.bincount(window * width + places, minlength=windows * width).astype(np.int64).reshape(windows, width)


def _beyond_others(
    numbers: npt.NDArray[np.float64], usable: npt.NDArray[np.bool_], window: Counts, windows: int, margin: float
) -> npt.NDArray[np.bool_]:
    """Return which rows lie further than ``margin`` below everything that the other windows hold."""
    lowest = np.full(windows, np.inf)
    np.minimum.at(lowest, window[usable], numbers[usable])
    first = int(np.argmin(lowest))
    others = np.partition(lowest, 1)[1]
    return np.asarray(usable & (window == first) & (numbers + margin < others), np.bool_)
