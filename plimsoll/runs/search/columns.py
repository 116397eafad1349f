"""What is shown of runs that were found: columns such as ``name``, ``metrics.auc`` and ``params.depth``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from plimsoll.errors import InvalidInput
from plimsoll.records.run import RunDetail
from plimsoll.runs.search.language import Name, parsed_order

#: Columns of the run itself -> its field.
WHOLE = {
    "id": "id", "experiment": "experiment", "name": "name", "state": "state", "author": "author", "started": "started", "ended": "ended",
    "error": "error",
}  # fmt: skip

#: Those that are times, in UTC microseconds.
TIMES = ("started", "ended")

#: What a run has any number of, by name.
KINDS = ("metrics", "params", "tags")


def columns_of(texts: Iterable[str]) -> list[Name]:
    """Return columns that are asked for.

    Args:
        texts: such as ``name``, ``metrics.auc`` and ``params.`learning rate` ``.

    Raises:
        InvalidInput: runs have no such column; the message lists what they have.
    """
    return [_column(text.strip()) for text in texts]


def _column(text: str) -> Name:
    name = parsed_order(text).name
    if name.kind not in KINDS and (name.kind or name.key not in WHOLE):
        raise InvalidInput(f"Runs have no column {text!r}.", f"Name some of: {', '.join(WHOLE)}, metrics.NAME, params.NAME, tags.NAME")
    return name


def wanted(columns: Sequence[Name] | None) -> dict[str, Any]:
    """Return what a search is to give back of metrics, params and tags: fields of its request.

    Args:
        columns: what is shown; None is everything.
    """
    return {kind: None if columns is None else tuple(name.key for name in columns if name.kind == kind) for kind in KINDS}


def heading(column: Name) -> str:
    """Return a column's name.

    Args:
        column: one of :func:`columns_of`.
    """
    return f"{column.kind}.{column.key}" if column.kind else column.key


def cell(detail: RunDetail, column: Name) -> Any:
    """Return a run's value in a column, None where it has none; of a metric the last, of a time its microseconds.

    Args:
        detail: a run that was found.
        column: one of :func:`columns_of`.
    """
    if column.kind == "metrics":
        return next((metric.last for metric in detail.metrics if metric.name == column.key), None)
    if column.kind:
        return (detail.run.params if column.kind == "params" else detail.run.tags).get(column.key)
    return getattr(detail.run, WHOLE[column.key])
