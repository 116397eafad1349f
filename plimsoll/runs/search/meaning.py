"""What the names of a filter mean for runs: expressions with bound values, never text.

Every condition is true or false of a run, never unknown: what a run does not have fulfils no comparison.
"""

from __future__ import annotations

import math
import operator
import re
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Select, String, Text, and_, case, exists, false, func, literal, not_, or_, select, true
from sqlalchemy import cast as sql_cast

from plimsoll.errors import InvalidInput
from plimsoll.runs.described import state_now
from plimsoll.runs.search.language import Comparison, Condition, Every, Name, Not, Order, Some, Unquoted, Value
from plimsoll.store.patterns import check_pattern
from plimsoll.store.tables.tracking import HEAD, dataset_uses, datasets, experiments, run_params, run_tags, runs, series

#: MLflow's words for a run's state; one that is lost ended without a word, which is a failure to it.
_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "lost": "FAILED"}

_KINDS = {
    "attribute": "attribute", "attr": "attribute", "attributes": "attribute", "run": "attribute", "": "attribute",
    "metric": "metric", "metrics": "metric",
    "param": "parameter", "params": "parameter", "parameter": "parameter", "parameters": "parameter",
    "tag": "tag", "tags": "tag",
    "dataset": "dataset", "datasets": "dataset",
}  # fmt: skip
_SAME = {
    "created": "start_time", "Created": "start_time", "run name": "run_name", "Run name": "run_name", "Run Name": "run_name",
    # As the columns of a list are called.
    "id": "run_id", "name": "run_name", "author": "user_id", "started": "start_time", "ended": "end_time",
}  # fmt: skip
_ATTRIBUTES = ["artifact_uri", "end_time", "experiment", "run_id", "run_name", "start_time", "state", "status", "user_id"]
_DATASETS = {"name": datasets.c.name, "digest": datasets.c.digest, "context": dataset_uses.c.context}
_NUMBERS = ("start_time", "end_time")
_NUMBER_SIGNS = ("=", "!=", "<", "<=", ">", ">=")
_COMPARED = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_TEXT_SIGNS = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")
_RUN_NAME, _USER = "mlflow.runName", "mlflow.user"

_STAMPS = {"start_time": runs.c.started, "end_time": runs.c.ended}

#: No time is so many milliseconds away.
_FAR = 2**53

#: Milliseconds, in which times are compared, are so many of the microseconds in which they are stored.
_TICKS = 1000


class Known(NamedTuple):
    """A name that means something."""

    #: ``attribute``, ``metric``, ``parameter``, ``tag`` or ``dataset``.
    kind: str
    #: The attribute, or what the run calls it.
    key: str


def known(name: Name) -> Known:
    """Return what a name means.

    Args:
        name: from a filter or an order.

    Raises:
        InvalidInput: nothing; the message lists what does.
    """
    kind = _KINDS.get(name.kind)
    if kind is None:
        valid = ["metric", "parameter", "tag", "attribute", "dataset"]
        raise InvalidInput(f"Invalid entity type '{name.kind}'. Valid values are {valid}", "Write for example: metrics.auc")
    key = _SAME.get(name.key, name.key) if kind == "attribute" else name.key
    if kind == "attribute" and key not in _ATTRIBUTES:
        raise InvalidInput(f"Invalid attribute key '{key}' specified. Valid keys are '{_ATTRIBUTES}'", "Correct the name.")
    if kind == "dataset" and key not in _DATASETS:
        raise InvalidInput(f"Invalid dataset key '{key}' specified. Valid keys are '{list(_DATASETS)}'", "Correct the name.")
    if kind == "tag" and key == _RUN_NAME:
        return Known("attribute", "run_name")
    return Known(kind, key)


def condition_of(condition: Condition, dialect: str, run_id: ColumnElement[str] = runs.c.id) -> ColumnElement[bool]:
    """Return a filter as an expression over ``runs``.

    Args:
        condition: what :func:`parsed_filter` gave.
        dialect: ``sqlite`` or ``postgresql``.
        run_id: the run's id, of a table whose rows are read before those of ``runs``.

    Raises:
        InvalidInput: a name means nothing here, or is compared with what it cannot be.
    """
    match condition:
        case Every(parts):
            return and_(true(), *(condition_of(part, dialect, run_id) for part in parts))
        case Some(parts):
            return or_(false(), *(condition_of(part, dialect, run_id) for part in parts))
        case Not(part):
            return not_(condition_of(part, dialect, run_id))
    return _compared(condition, dialect, run_id)


def attribute(key: str) -> ColumnElement[Any]:
    """Return a run's attribute as an expression over ``runs``; times are microseconds.

    Args:
        key: a key that :func:`known` gave.
    """
    if key == "status":
        return case(_STATUS, value=state_now())
    if key == "experiment":
        named: ColumnElement[str] = (
            select(experiments.c.name).where(experiments.c.id == runs.c.experiment_id).correlate(runs).scalar_subquery()
        )
        return named
    if key == "user_id":
        # Who MLflow's client says that he is, else who asked.
        told = select(run_tags.c.value).where(run_tags.c.run_id == runs.c.id, run_tags.c.name == _USER).correlate(runs)
        return func.coalesce(told.scalar_subquery(), runs.c.author)
    if key == "artifact_uri":
        return literal("mlflow-artifacts:/", Text).concat(runs.c.experiment_id).concat("/").concat(runs.c.id).concat("/artifacts")
    return {"run_id": runs.c.id, "run_name": runs.c.name, "state": state_now(), **_STAMPS}[key]


def ordered(order: tuple[Order, ...]) -> list[tuple[Known, bool]]:
    """Return what runs are ordered by, and whether the largest comes first.

    Args:
        order: what :func:`parsed_order` gave, most important first.

    Raises:
        InvalidInput: a name means nothing, cannot be ordered by, or comes twice.
    """
    found: list[tuple[Known, bool]] = []
    for item in order:
        name = known(item.name)
        if name.kind == "dataset":
            raise InvalidInput(f"Invalid identifier type '{name.kind}'", "Order by a metric, a param, a tag or an attribute.")
        if name in [other for other, _ in found]:
            raise InvalidInput(f"`order_by` contains duplicate fields: {name.kind}.{name.key}", "Name each once.")
        found.append((name, item.descending))
    return found


def _compared(condition: Comparison, dialect: str, run_id: ColumnElement[str]) -> ColumnElement[bool]:
    name, sign, value = _checked(condition)
    if name.kind == "attribute":
        return _attribute_holds(name.key, sign, value, dialect)
    mine, column = _rows(name)
    has = and_(_run_of(name) == run_id, *mine)
    if sign == "IS NULL":
        return not_(exists().where(has, value_holds(name, column, "IS NOT NULL", None, dialect)))
    return exists().where(has, value_holds(name, column, sign, value, dialect))


def _attribute_holds(key: str, sign: str, value: Value, dialect: str) -> ColumnElement[bool]:
    column = _STAMPS[key] if key in _NUMBERS else attribute(key)
    if sign in ("IS NULL", "IS NOT NULL"):
        return column.is_(None) if sign == "IS NULL" else column.is_not(None)
    if key not in _NUMBERS:
        return and_(column.is_not(None), signed(column, sign, value, dialect))
    within = _within(column, sign, float(cast(float, value)))
    return and_(column.is_not(None), not_(within) if sign == "!=" else within)


def _within(column: ColumnElement[int], sign: str, value: float) -> ColumnElement[bool]:
    """Return which stored times are within a comparison of whole milliseconds, as bounds at which an index is entered."""
    near = min(max(value, -_FAR), _FAR)
    first, last = math.ceil(near) * _TICKS, math.floor(near) * _TICKS + _TICKS
    if sign in ("<", "<="):
        return column < (first if sign == "<" else last)
    if sign in (">", ">="):
        return column >= (last if sign == ">" else first)
    return and_(column >= first, column < last)


def value_holds(name: Known, column: ColumnElement[Any], sign: str, value: Value, dialect: str) -> ColumnElement[bool]:
    """Return whether one value of a run fulfils a comparison.

    Args:
        name: of a metric, a parameter, a tag or a dataset.
        column: the column of the value.
        sign: any but ``IS NULL``.
        value: what it is compared with.
        dialect: ``sqlite`` or ``postgresql``.
    """
    if sign == "IS NOT NULL":
        return column.is_not(None) if name.kind == "dataset" else true()
    head = column if name.kind in ("metric", "dataset") else ordering(name)
    holds = signed(head if _in_head(sign, value) else column, sign, value, dialect)
    if name.kind == "metric":
        # NaN is stored as NULL: it differs from every number and is nothing else.
        return or_(holds, column.is_(None)) if sign == "!=" else and_(column.is_not(None), holds)
    if name.kind == "dataset" or _in_head(sign, value):
        return holds
    return and_(_begins(head, sign, value, dialect), holds)


def _in_head(sign: str, value: Value) -> bool:
    """Return whether a text's head, which is in the index, tells what the whole text would."""
    if sign == "LIKE":
        begin, wild, rest = str(value).partition("%")
        return wild == "%" and not rest and "_" not in begin and len(begin) <= HEAD
    return sign != "ILIKE" and all(len(text) < HEAD for text in _texts(value))


def _texts(value: Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (str(value),)


def _begins(head: ColumnElement[Any], sign: str, value: Value, dialect: str) -> ColumnElement[bool]:
    """Return what heads must be for texts to fulfil a comparison, as bounds at which an index is entered."""
    if sign in ("=", "IN"):
        return head.in_([text[:HEAD] for text in _texts(value)])
    begin = re.split("[%_]", str(value))[0][:HEAD]
    return signed(head, sign, begin + "%", dialect) if sign == "LIKE" and begin else true()


class Selected(NamedTuple):
    """Runs that an index leads to."""

    #: Gives their ids.
    query: Select[Any]
    #: Whether all of them fulfil the comparison; else it is still to be asked.
    exactly: bool
    #: Whether it looks at many others on its way.
    wide: bool = False
    #: Whether it gives them in the order of their ids.
    in_order: bool = False


def selected(condition: Comparison, dialect: str) -> Selected | None:
    """Return what leads to all runs that fulfil a comparison, and to few others; None when no index does.

    Args:
        condition: what :func:`condition_of` takes.
        dialect: ``sqlite`` or ``postgresql``.
    """
    name, sign, value = _checked(condition)
    if sign == "IS NULL":
        return None
    if name.kind == "attribute":
        led = (name.key == "run_id" and sign in ("=", "IN")) or (name.key == "start_time" and sign not in ("!=", "IS NOT NULL"))
        return Selected(select(runs.c.id).where(_attribute_holds(name.key, sign, value, dialect)), True) if led else None
    mine, column = _rows(name)
    query = select(_run_of(name)).where(*mine)
    wide = sign in ("!=", "NOT IN", "ILIKE") or (sign == "LIKE" and str(value)[:1] in ("", "%", "_"))
    if name.kind in ("metric", "dataset") or _in_head(sign, value):
        in_order = sign == "=" and name.kind in ("parameter", "tag")
        return Selected(query.where(value_holds(name, column, sign, value, dialect)), True, wide, in_order)
    # A head that is not full is the whole text. The others are few, and are asked.
    head = ordering(name)
    near = true() if sign in ("=", "IN") else or_(signed(head, sign, value, dialect), func.length(head) == HEAD)
    return Selected(query.where(_begins(head, sign, value, dialect), near), False, wide)


def _checked(condition: Comparison) -> tuple[Known, str, Value]:
    name, sign, value = known(condition.name), condition.operator, condition.value
    if sign not in ("IS NULL", "IS NOT NULL"):
        numeric = name.kind == "metric" or (name.kind == "attribute" and name.key in _NUMBERS)
        _check(name, sign, value, numeric)
    return name, sign, value


def _run_of(name: Known) -> ColumnElement[str]:
    column: ColumnElement[str] = dataset_uses.c.run_id if name.kind == "dataset" else value_of(name)[0].c.run_id
    return column


def _rows(name: Known) -> tuple[list[ColumnElement[bool]], ColumnElement[Any]]:
    """Return what tells the rows of a name from others, and the column of the value."""
    if name.kind == "dataset":
        return [dataset_uses.c.dataset_id == datasets.c.id], _DATASETS[name.key]
    table, column = value_of(name)
    return [table.c.name == name.key], column


def value_of(name: Known) -> tuple[Any, ColumnElement[Any]]:
    """Return the table that holds a metric, a parameter or a tag, and the column that is compared.

    Args:
        name: of one of these kinds.
    """
    if name.kind == "metric":
        return series, series.c.last_number
    return (run_params, run_params.c.text) if name.kind == "parameter" else (run_tags, run_tags.c.value)


def ordering(name: Known) -> ColumnElement[Any]:
    """Return the column by which a metric, a parameter or a tag is ordered: of a text, its first ``HEAD`` characters.

    Args:
        name: of one of these kinds.
    """
    table, column = value_of(name)
    ordered_by: ColumnElement[Any] = column if name.kind == "metric" else table.c.head
    return ordered_by


def _check(name: Known, sign: str, value: Value, numeric: bool) -> None:
    signs = _NUMBER_SIGNS if numeric else _TEXT_SIGNS
    if sign not in signs:
        raise InvalidInput(
            f"Invalid comparator '{sign}' not one of '{list(signs)}'", f"Compare {name.kind} {name.key!r} with one of these."
        )
    if numeric and not isinstance(value, int | float):
        what = "metric" if name.kind == "metric" else f"numeric attribute: {name.key}"
        found = value.word if isinstance(value, Unquoted) else repr(value)
        raise InvalidInput(f"Expected numeric value type for {what}. Found {found}", "Write a number without quotes.")
    if not numeric and not isinstance(value, str | tuple):
        refuse_unquoted(value)
        whats = {"attribute": "attributes", "dataset": "dataset attributes"}
        what = whats.get(name.kind) or f"{name.kind} (e.g. 'my-value')"
        raise InvalidInput(f"Expected a quoted string value for {what}. Got value {value}", "Put it in single quotes.")


def refuse_unquoted(value: Value) -> None:
    """Refuse a word where a text belongs.

    Args:
        value: what a text is compared with.

    Raises:
        InvalidInput: it lacks its quotes, or has others.
    """
    if isinstance(value, Unquoted):
        raise InvalidInput(
            f"Parameter value is either not quoted or unidentified quote types used for string value {value.word}.",
            "Use either single or double quotes.",
        )


def signed(column: ColumnElement[Any], sign: str, value: Any, dialect: str) -> ColumnElement[bool]:
    """Return a comparison of a column with a value; both are known to fit.

    Args:
        column: a number or a text.
        sign: an operator of the language, but not one of those for NULL.
        value: what it is compared with.
        dialect: ``sqlite`` or ``postgresql``.

    Raises:
        InvalidInput: a pattern is none.
    """
    if sign == "RLIKE":
        check_pattern(value)
        return column.regexp_match(value)
    if sign == "LIKE":
        if dialect == "sqlite":
            # SQLite's own LIKE takes a for A.
            return column.op("GLOB", is_comparison=True)(_glob(value))
        return column.like(value.replace("\\", "\\\\"))
    if sign == "ILIKE":
        pattern = func.lower(literal(value, Text))
        return func.lower(column).like(pattern) if dialect == "sqlite" else func.lower(column).like(func.replace(pattern, "\\", "\\\\"))
    if sign == "IN":
        return column.in_(value)
    if sign == "NOT IN":
        return column.not_in(value)
    if isinstance(value, str) and not isinstance(column.type, String):
        column = sql_cast(column, Text)
    compared: ColumnElement[bool] = _COMPARED[sign](column, value)
    return compared


def _glob(pattern: str) -> str:
    return "".join({"%": "*", "_": "?"}.get(char) or (f"[{char}]" if char in "*?[" else char) for char in pattern)
