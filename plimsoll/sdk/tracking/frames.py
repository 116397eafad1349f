"""``plimsoll.search_runs`` and ``plimsoll.series``: runs, and the history of a metric, as tables."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import polars as pl

from plimsoll import extras
from plimsoll.errors import InvalidInput
from plimsoll.records.run import GetRun, GetSeries, RunDetail
from plimsoll.records.tracking.experiment import GetExperiment
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.runs.described import param_text
from plimsoll.runs.logger import RunLogger
from plimsoll.runs.search.columns import KINDS, TIMES, WHOLE, cell, columns_of, heading, wanted
from plimsoll.runs.search.language import Name
from plimsoll.sdk.door import Door
from plimsoll.sdk.run import opened_door

#: Runs that are asked for at once.
_PAGE = 1000

#: Whole numbers that a column of them holds.
_WHOLE_NUMBERS = range(-(2**63), 2**63)

_TWO_STEPS = "Give the lowest and the highest step: steps=(0, 99)"


def search_runs(
    where: str = "",
    *,
    experiment: str | Iterable[str] | None = None,
    order: str | Iterable[str] = (),
    columns: Iterable[str] | None = None,
    limit: int | None = None,
    frame: Literal["polars", "pandas"] = "polars",
    door: Door | None = None,
    profile: str | None = None,
) -> Any:
    """Return the runs that a filter lets through, one a row.

    Times are datetimes in UTC, metrics floats, tags texts; a column of params is of booleans, whole numbers or floats where all
    of its values are, else of texts. What a run does not have is null; a metric that is NaN stays NaN.

    Args:
        where: such as ``metrics.auc > 0.8 and params.depth = '5'``; empty lets all through.
        experiment: name of the experiment, or several; None is all of them.
        order: such as ``metrics.auc DESC``, or several, most important first; unless given the newest come first.
        columns: such as ``name``, ``metrics.auc`` and ``params.depth``, and nothing else is loaded; None is everything.
        limit: at most so many runs; None is all of them.
        frame: ``polars``, or ``pandas`` with columns of Arrow's types, for which pandas and pyarrow must be installed.
        door: the platform; None takes the one that the settings name.
        profile: name of a profile of ``[tool.plimsoll]``; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        InvalidInput: the filter, the order, a column or the limit means nothing.
        NotFound: there is no such experiment.
        MissingExtra: pandas or pyarrow is not installed.
    """
    _check_frame(frame)
    if not isinstance(where, str):
        raise InvalidInput(f"where={where!r} is no text.", 'Write for example: where="metrics.auc > 0.8"')
    limit = None if limit is None else _whole("limit", limit, "Ask for at least one run, or for all without a limit.")
    if limit is not None and limit < 1:
        raise InvalidInput(f"The limit {limit} is below 1.", "Ask for at least one run, or for all without a limit.")
    # A column that is named twice comes once: tables have no two of a name.
    shown = None if columns is None else list(dict.fromkeys(columns_of(_texts("columns", columns, "name"))))
    names = None if experiment is None else _texts("experiment", experiment, "trees")
    orders = tuple(_texts("order", order, "metrics.auc DESC")) if order else ()
    with opened_door(door, profile) as opened:
        ids = None if names is None else tuple(opened.do(GetExperiment(name=name)).id for name in names)
        found = _found(opened, where, ids, orders, shown, limit)
    table = pl.DataFrame([_series(found, column) for column in (shown if shown is not None else _all(found))])
    return _framed(table, frame)


def series(
    run: RunLogger | str,
    metric: str,
    *,
    width: int | None = None,
    steps: tuple[int, int] | None = None,
    frame: Literal["polars", "pandas"] = "polars",
    door: Door | None = None,
    profile: str | None = None,
) -> Any:
    """Return a metric's history in a run: a point a row with its step, its time in UTC and its value, by step, then by arrival.

    Args:
        run: the run, its id, or the beginning of its id.
        metric: its name.
        width: columns of a chart, up to 100,000; the first, smallest, largest and last point of each are returned. None is all points.
        steps: lowest and highest step; None is all of them.
        frame: ``polars``, or ``pandas`` with columns of Arrow's types, for which pandas and pyarrow must be installed.
        door: the platform; None takes the one that the settings name.
        profile: name of a profile of ``[tool.plimsoll]``; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        InvalidInput: the width or a step is out of range.
        NotFound: there is no such run, or it has no such metric.
        MissingExtra: pandas or pyarrow is not installed.
    """
    _check_frame(frame)
    if not isinstance(run, RunLogger | str):
        raise InvalidInput(f"{run!r} is no run.", "Give the run, its id, or the beginning of its id.")
    width = None if width is None else _whole("width", width, "Give the chart's width in pixels, or none for every point.")
    if steps is not None:
        if not isinstance(steps, tuple | list) or len(steps) != 2:
            raise InvalidInput(f"steps={steps!r} are no two steps.", _TWO_STEPS)
        steps = (_whole("steps", steps[0], _TWO_STEPS), _whole("steps", steps[1], _TWO_STEPS))
    with opened_door(door, profile) as opened:
        id = opened.do(GetRun(id=run)).run.id if isinstance(run, str) else run.id
        found = opened.do(GetSeries(run_id=id, name=metric, width=width, steps=steps))
    times = pl.Series("time", found.times, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    columns = [pl.Series("step", found.steps, dtype=pl.Int64), times, pl.Series("value", found.values, dtype=pl.Float64)]
    return _framed(pl.DataFrame(columns), frame)


def _texts(what: str, given: str | Iterable[str], example: str) -> list[str]:
    """Return what may be given as one text or as several."""
    texts = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else None
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise InvalidInput(f"{what}={given!r} is no text and no list of texts.", f'Write for example: {what}=["{example}"]')
    return texts


def _whole(what: str, given: Any, remedy: str) -> int:
    try:
        return operator.index(given)
    except TypeError as error:
        raise InvalidInput(f"{what}={given!r} is no whole number.", remedy) from error


def _check_frame(frame: str) -> None:
    if frame not in ("polars", "pandas"):
        raise InvalidInput(f"There is no frame {frame!r}.", "Ask for polars or pandas.")


def _framed(table: pl.DataFrame, frame: str) -> Any:
    if frame == "polars":
        return table
    for package in ("pandas", "pyarrow"):
        extras.require(package)
    # Columns of Arrow's types: pandas' own have no whole number that is missing, and take NaN for missing.
    return table.to_pandas(use_pyarrow_extension_array=True)


def _found(
    opened: Door, where: str, ids: tuple[str, ...] | None, order: tuple[str, ...], shown: Sequence[Name] | None, limit: int | None
) -> list[RunDetail]:
    found: list[RunDetail] = []
    token: str | None = None
    while True:
        size = _PAGE if limit is None else min(_PAGE, limit - len(found))
        asked = SearchRuns(experiments=ids, where=where, order=order, limit=size, page=token, **wanted(shown))
        page = opened.do(asked)
        found.extend(page.runs)
        token = page.next
        if token is None or len(found) == limit:
            return found


def _all(found: Sequence[RunDetail]) -> list[Name]:
    """Return the run's own columns, then every metric, param and tag that one of the runs has."""
    named: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for detail in found:
        named["metrics"].update(metric.name for metric in detail.metrics)
        named["params"].update(detail.run.params)
        named["tags"].update(detail.run.tags)
    return [Name("", key) for key in WHOLE] + [Name(kind, key) for kind in KINDS for key in sorted(named[kind])]


def _series(found: Sequence[RunDetail], column: Name) -> pl.Series:
    values = [cell(detail, column) for detail in found]
    if not column.kind and column.key in TIMES:
        return pl.Series(heading(column), values, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    if column.kind == "metrics":
        return pl.Series(heading(column), values, dtype=pl.Float64)
    if column.kind != "params":
        return pl.Series(heading(column), values, dtype=pl.String)
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Series(heading(column), values, dtype=pl.Boolean)
    if kinds == {int} and all(value is None or value in _WHOLE_NUMBERS for value in values):
        return pl.Series(heading(column), values, dtype=pl.Int64)
    if kinds and kinds <= {int, float}:
        return pl.Series(heading(column), [None if value is None else float(value) for value in values], dtype=pl.Float64)
    return pl.Series(heading(column), [None if value is None else param_text(value) for value in values], dtype=pl.String)
