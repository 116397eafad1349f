"""Filters and pages of other records than runs: the language is the same, and a vocabulary says what its names mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, false, not_, or_, true

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.runs.search.language import Comparison, Condition, Every, Not, Some, Unquoted, Value, parsed_order
from plimsoll.runs.search.meaning import refuse_unquoted, signed
from plimsoll.runs.search.pages import Key, Place, behind, place_of, token_of

#: A whole number of those that every database's column holds.
_WHOLE = re.compile(r"[0-9]{1,18}")

_NUMBER_SIGNS = ("<", "<=", ">", ">=", "=", "!=")
_TEXT_SIGNS = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN")

#: What may stand before the dot -> kind.
KINDS = {
    "": "attribute", "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "tag": "tag", "tags": "tag",
    "param": "param", "params": "param", "parameter": "param", "parameters": "param", "metric": "metric", "metrics": "metric",
    "trace": "attribute", "metadata": "metadata", "request_metadata": "metadata",
    "feedback": "feedback", "expectation": "expectation",
}  # fmt: skip

#: Key -> the condition of the rows that hold it, and the column that is compared.
Rows: TypeAlias = Callable[[str], tuple[ColumnElement[bool], ColumnElement[Any]]]

#: What is asked of a row -> whether there is one.
Having: TypeAlias = Callable[[ColumnElement[bool]], ColumnElement[bool]]

#: Key -> what finds its rows, and, where a value is a text or a number, two columns, of which a comparison takes the one of its own kind.
Mixed: TypeAlias = Callable[[str], tuple[Having, ColumnElement[Any], ColumnElement[Any]]]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the names in a filter mean."""

    #: Name -> what it stands for.
    attributes: Mapping[str, ColumnElement[Any]]
    #: Those attributes that are whole numbers.
    numbers: frozenset[str]
    #: ``tag``, ``param``, ``metadata`` or ``metric`` -> where its rows are; metrics are numbers, NULL for NaN.
    rows: Mapping[str, Rows]
    #: ``feedback`` or ``expectation`` -> where its rows are.
    mixed: Mapping[str, Mixed] = field(default_factory=dict)
    #: Whether texts, but those of ``mixed``, may be compared with regular expressions by ``RLIKE``.
    patterns: bool = False
    #: Those numbers that may stand in quotes.
    quoted: frozenset[str] = frozenset()


def condition_in(condition: Condition, vocabulary: Vocabulary, dialect: str) -> ColumnElement[bool]:
    """Return a filter as an expression.

    Args:
        condition: what ``parsed_filter`` gave.
        vocabulary: what its names mean.
        dialect: ``sqlite`` or ``postgresql``.

    Raises:
        InvalidInput: a name means nothing here, or is compared with what it cannot be.
    """
    match condition:
        case Every(parts):
            return and_(true(), *(condition_in(part, vocabulary, dialect) for part in parts))
        case Some(parts):
            return or_(false(), *(condition_in(part, vocabulary, dialect) for part in parts))
        case Not(part):
            return not_(condition_in(part, vocabulary, dialect))
    return _compared(condition, vocabulary, dialect)


def _compared(condition: Comparison, vocabulary: Vocabulary, dialect: str) -> ColumnElement[bool]:
    key, sign, value = condition.name.key, condition.operator, condition.value
    kind = KINDS.get(condition.name.kind.lower(), "")
    if kind == "attribute":
        if key not in vocabulary.attributes:
            valid = sorted(vocabulary.attributes)
            raise InvalidInput(f"Invalid attribute key '{key}' specified. Valid keys are '{valid}'", "Correct the name.")
        column = vocabulary.attributes[key]
        if sign in ("IS NULL", "IS NOT NULL"):
            return column.is_(None) if sign == "IS NULL" else column.is_not(None)
        if key in vocabulary.quoted and isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        what = f"numeric attribute: {key}" if key in vocabulary.numbers else "attributes"
        _check(what, sign, value, key in vocabulary.numbers, vocabulary.patterns)
        return and_(column.is_not(None), signed(column, sign, value, dialect))
    numeric = kind == "metric"
    if kind in vocabulary.mixed:
        numeric = isinstance(value, int | float)
        having, *columns = vocabulary.mixed[kind](key)
        column = columns[numeric]
    elif kind in vocabulary.rows:
        mine, column = vocabulary.rows[kind](key)
        having = partial(_exists, mine)
    else:
        entities = ["attribute", *vocabulary.rows, *vocabulary.mixed]
        raise InvalidInput(f"Invalid entity type '{condition.name.kind}'. Valid values are {entities}", "Write for example: tags.team")
    if sign in ("IS NULL", "IS NOT NULL"):
        return not_(having(true())) if sign == "IS NULL" else having(true())
    _check(kind, sign, value, numeric, vocabulary.patterns and kind in vocabulary.rows)
    holds = signed(column, sign, value, dialect)
    if numeric:
        # What is NaN, or no number, differs from every number.
        holds = or_(holds, column.is_(None)) if sign == "!=" else and_(column.is_not(None), holds)
    return having(holds)


def _exists(mine: ColumnElement[bool], holds: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(mine, holds)


def _check(what: str, sign: str, value: Value, numeric: bool, patterns: bool) -> None:
    signs = _NUMBER_SIGNS if numeric else (*_TEXT_SIGNS, "RLIKE") if patterns else _TEXT_SIGNS
    if sign not in signs:
        raise InvalidInput(f"Invalid comparator '{sign}' not one of '{list(signs)}'", "Compare it with one of these.")
    if numeric and not isinstance(value, int | float):
        found = value.word if isinstance(value, Unquoted) else repr(value)
        raise InvalidInput(f"Expected numeric value type for {what}. Found {found}", "Write a number without quotes.")
    if not numeric and not isinstance(value, str | tuple):
        refuse_unquoted(value)
        raise InvalidInput(f"Expected a quoted string value for {what}. Got value {value}", "Put it in single quotes.")


def keys_in(order: Sequence[str], known: Mapping[str, ColumnElement[Any]], rest: Sequence[Key], called: str = "attribute key") -> list[Key]:
    """Return what orders records.

    Args:
        order: such as ``name DESC``, most important first.
        known: name -> column; none of them is ever NULL.
        rest: what settles ties; the last tells any two records apart.
        called: what a refusal calls a name.

    Raises:
        InvalidInput: a name means nothing here, or comes twice.
    """
    keys: list[Key] = []
    for item in map(parsed_order, order):
        name = item.name.key
        if KINDS.get(item.name.kind.lower()) != "attribute" or name not in known:
            raise InvalidInput(f"Invalid {called} '{name}' specified. Valid keys are '{list(known)}'", "Correct the name.")
        if any(key.expression is known[name] for key in keys):
            raise InvalidInput(f"`order_by` contains duplicate fields: {list(order)}", "Name each once.")
        keys.append(Key(known[name], item.descending))
    return keys + [key for key in rest if not any(key.expression is other.expression for other in keys)]


def page_of(
    tx: Connection, query: Select[Any], keys: list[Key], limit: int, token: str | None, asked: object
) -> tuple[list[Row[Any]], str | None]:
    """Return the rows of a page, and the token of the next one or None.

    Args:
        tx: an open transaction.
        query: all rows, in no order.
        keys: what orders them, most important first; the last tells any two rows apart.
        limit: at most so many rows.
        token: of the page before, or None.
        asked: what was asked, without limit and token; a token of another question is refused.

    Raises:
        InvalidInput: the token is of another question, or none.
    """
    question = codec.digest(codec.to_msgpack(asked))[:16]
    query = query.add_columns(*(key.expression.label(f"key_{index}") for index, key in enumerate(keys)))
    if token is not None:
        place = place_of(token, question)
        query = query.where(behind(keys, place.keys))
    query = query.order_by(*(key.expression.desc() if key.descending else key.expression for key in keys))
    rows = list(tx.execute(query.limit(limit + 1)).all())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], token_of(Place(question, tuple(last._mapping[f"key_{index}"] for index in range(len(keys)))))
