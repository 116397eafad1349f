"""Pages by key: where the page before ended, and the rows behind it, so that page 1,000 costs what page 1 costs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, and_, or_

from plimsoll import codec
from plimsoll.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended."""

    #: Digest of the question; the token of one question is no answer to another.
    question: str
    #: The last row's values of what orders the answer.
    keys: tuple[str | int | float | None, ...]


def token_of(place: Place) -> str:
    """Return a place as a token.

    Args:
        place: where the page ended.
    """
    return base64.urlsafe_b64encode(codec.to_msgpack(place)).decode()


def place_of(token: str, question: str) -> Place:
    """Return the place that a token names.

    Args:
        token: what :func:`token_of` gave.
        question: digest of the question that is asked now.

    Raises:
        InvalidInput: it is no token, or one of another question.
    """
    remedy = "Ask for the first page, without a token, and follow its tokens with the same filter and order."
    try:
        place = codec.from_msgpack(base64.b64decode(token, altchars=b"-_", validate=True), Place, "The page token")
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("Invalid page token, could not base64-decode.", remedy) from error
    if place.question != question or not place.keys:
        raise InvalidInput("Invalid page token: it belongs to another search.", remedy)
    return place


@dataclass(frozen=True, slots=True)
class Key:
    """One thing by which rows are ordered."""

    expression: ColumnElement[Any]
    descending: bool

    def takes(self, value: object) -> bool:
        """Return whether a value could be one of this key's.

        Args:
            value: one out of a token.
        """
        return value is None or isinstance(value, str) == isinstance(self.expression.type, String)


def behind(keys: Sequence[Key], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition of the rows that come after one.

    Args:
        keys: what orders the rows, most important first; the last tells any two rows apart.
        values: that row's; None stands for NULL, which the key before it has told apart already.

    Raises:
        InvalidInput: the values are no row's.
    """
    fits = len(keys) == len(values) and values[0] is not None and values[-1] is not None
    if not fits or not all(key.takes(value) for key, value in zip(keys, values, strict=True)):
        raise InvalidInput("Invalid page token: it does not fit the order.", "Ask for the first page, without a token.")
    ways: list[ColumnElement[bool]] = []
    same: list[ColumnElement[bool]] = []
    for key, value in zip(keys, values, strict=True):
        if value is None:
            continue
        ways.append(and_(*same, key.expression < value if key.descending else key.expression > value))
        same.append(key.expression == value)
    first, value = keys[0], values[0]
    # Said once more by itself: an index is entered at this value.
    return and_(first.expression <= value if first.descending else first.expression >= value, or_(*ways))
