"""What the names of a filter mean for runs: expressions with bound values, never text.

Every condition is true or false of a run, never unknown: what a run does not have fulfils no comparison.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, Text, and_, case, exists, false, func, literal, not_, or_, true
from sqlalchemy import cast as sql_cast

from plimsoll.errors import InvalidInput
from plimsoll.runs.described import state_now
from plimsoll.runs.search.language import Comparison, Condition, Every, Name, Not, Order, Some, Value
from plimsoll.store.tables.tracking import dataset_uses, datasets, run_params, run_tags, runs, series

#: MLflow's words for a run's state; one that is lost ended without a word, which is a failure to it.
_STATUS = {"running": "RUNNING", "finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "lost": "FAILED"}

_KINDS = {
    "attribute": "attribute", "attr": "attribute", "attributes": "attribute", "run": "attribute", "": "attribute",
    "metric": "metric", "metrics": "metric",
    "param": "parameter", "params": "parameter", "parameter": "parameter", "parameters": "parameter",
    "tag": "tag", "tags": "tag",
    "dataset": "dataset", "datasets": "dataset",
}  # fmt: skip
_SAME = {"created": "start_time", "Created": "start_time", "run name": "run_name", "Run name": "run_name", "Run Name": "run_name"}
_ATTRIBUTES = ["artifact_uri", "end_time", "run_id", "run_name", "start_time", "state", "status", "user_id"]
_NUMBERS = ("start_time", "end_time")
_NUMBER_SIGNS = ("=", "!=", "<", "<=", ">", ">=")
_TEXT_SIGNS = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")
_RUN_NAME, _USER = "mlflow.runName", "mlflow.user"


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
    if kind == "dataset" and key not in ("name", "digest"):
        raise InvalidInput(f"Invalid dataset key '{key}' specified. Valid keys are '{['name', 'digest']}'", "Correct the name.")
    if kind == "tag" and key == _RUN_NAME:
        return Known("attribute", "run_name")
    return Known(kind, key)


def condition_of(condition: Condition, dialect: str) -> ColumnElement[bool]:
    """Return a filter as an expression over ``runs``.

    Args:
        condition: what :func:`parsed_filter` gave.
        dialect: ``sqlite`` or ``postgresql``.

    Raises:
        InvalidInput: a name means nothing here, or is compared with what it cannot be.
    """
    match condition:
        case Every(parts):
            return and_(true(), *(condition_of(part, dialect) for part in parts))
        case Some(parts):
            return or_(false(), *(condition_of(part, dialect) for part in parts))
        case Not(part):
            return not_(condition_of(part, dialect))
    return _compared(condition, dialect)


def attribute(key: str) -> ColumnElement[Any]:
    """Return a run's attribute as an expression over ``runs``.

    Args:
        key: a key that :func:`known` gave.
    """
    if key == "status":
        return case(_STATUS, value=state_now())
    if key == "artifact_uri":
        return literal("mlflow-artifacts:/", Text).concat(runs.c.experiment_id).concat("/").concat(runs.c.id).concat("/artifacts")
    if key in _NUMBERS:
        # Milliseconds, as MLflow's clients count.
        return (runs.c.started if key == "start_time" else runs.c.ended).op("/")(1000)
    return {"run_id": runs.c.id, "run_name": runs.c.name, "state": state_now(), "user_id": runs.c.author}[key]


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


def _compared(condition: Comparison, dialect: str) -> ColumnElement[bool]:
    name, sign, value = known(condition.name), condition.operator, condition.value
    numeric = name.kind == "metric" or (name.kind == "attribute" and name.key in _NUMBERS)
    if sign not in ("IS NULL", "IS NOT NULL"):
        _check(name, sign, value, numeric)
    if name.kind == "attribute":
        column = attribute(name.key)
        if sign in ("IS NULL", "IS NOT NULL"):
            return column.is_(None) if sign == "IS NULL" else column.is_not(None)
        return and_(column.is_not(None), signed(column, sign, value, dialect))
    has, column = _rows(name)
    if sign in ("IS NULL", "IS NOT NULL"):
        return not_(exists().where(has)) if sign == "IS NULL" else exists().where(has)
    holds = signed(column, sign, value, dialect)
    if name.kind == "metric":
        # NaN is stored as NULL: it differs from every number and is nothing else.
        holds = or_(holds, column.is_(None)) if sign == "!=" else and_(column.is_not(None), holds)
    return exists().where(has, holds)


def _rows(name: Known) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    if name.kind == "dataset":
        used = and_(dataset_uses.c.run_id == runs.c.id, dataset_uses.c.dataset_id == datasets.c.id)
        return used, datasets.c.name if name.key == "name" else datasets.c.digest
    table, column = value_of(name)
    return and_(table.c.run_id == runs.c.id, table.c.name == name.key), column


def value_of(name: Known) -> tuple[Any, ColumnElement[Any]]:
    """Return the table that holds a metric, a parameter or a tag, and the column that is compared.

    Args:
        name: of one of these kinds.
    """
    if name.kind == "metric":
        return series, series.c.last_number
    return (run_params, run_params.c.text) if name.kind == "parameter" else (run_tags, run_tags.c.value)


def _check(name: Known, sign: str, value: Value, numeric: bool) -> None:
    signs = _NUMBER_SIGNS if numeric else _TEXT_SIGNS
    if sign not in signs:
        raise InvalidInput(
            f"Invalid comparator '{sign}' not one of '{list(signs)}'", f"Compare {name.kind} {name.key!r} with one of these."
        )
    if numeric and not isinstance(value, int | float):
        what = "metric" if name.kind == "metric" else f"numeric attribute: {name.key}"
        raise InvalidInput(f"Expected numeric value type for {what}. Found {value!r}", "Write a number without quotes.")
    if not numeric and not isinstance(value, str | tuple):
        what = "attributes" if name.kind == "attribute" else "dataset attributes" if name.kind == "dataset" else name.kind
        raise InvalidInput(f"Expected a quoted string value for {what} (e.g. 'my-value'). Got value {value}", "Put it in single quotes.")


def signed(column: ColumnElement[Any], sign: str, value: Any, dialect: str) -> ColumnElement[bool]:
    """Return a comparison of a column with a value; both are known to fit.

    Args:
        column: a number or a text.
        sign: an operator of the language, but not one of those for NULL.
        value: what it is compared with.
        dialect: ``sqlite`` or ``postgresql``.
    """
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
    compared: dict[str, ColumnElement[bool]] = {
        "=": column == value, "!=": column != value, "<": column < value, "<=": column <= value, ">": column > value, ">=": column >= value,
    }  # fmt: skip
    return compared[sign]


def _glob(pattern: str) -> str:
    return "".join({"%": "*", "_": "?"}.get(char) or (f"[{char}]" if char in "*?[" else char) for char in pattern)
