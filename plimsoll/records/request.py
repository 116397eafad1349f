"""What a verb is: a frozen record that names its result.

``class StartRun(Request[Run])`` says that doing a ``StartRun`` gives a ``Run``. The function that does it, and the
role it needs, are joined to it by one row in :mod:`plimsoll.verbs`; nothing else may repeat the verb.
"""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar, get_args
from urllib.parse import unquote

from plimsoll.errors import InvalidInput

Result = TypeVar("Result", covariant=True)

#: Anything that JSON can carry.
Json = Any

_NAME = re.compile(r"[\w][\w .:/@+=-]{0,249}")
_KEY = re.compile(r"(?!\.\.|\.(?:/|$)| +$)[\w .:-][\w .:/@+=-]{0,249}")
_SLUG = re.compile(r"[a-zA-Z0-9][\w.-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

#: What no path has: it begins something else in a URL, or parts folders elsewhere.
_ODD = frozenset("\\;#?\ufffd")

#: A drive or a scheme. What goes on with a digit is neither: ``epoch:10.ckpt`` is a name.
_ELSEWHERE = re.compile(r"[a-z]:|[a-z][a-z0-9+.-]*:(?!\d)", re.IGNORECASE)

#: Characters of an experiment's name at most, as MLflow has it.
LONGEST_EXPERIMENT = 500


class Request(Generic[Result]):
    """Base of every verb's request; subclasses are frozen, slotted, keyword-only dataclasses."""

    __slots__ = ()


def result_type(request: type[Request[Any]]) -> Any:
    """Return the type that doing ``request`` gives, as written between the brackets of its base class.

    Args:
        request: a subclass of :class:`Request`.
    """
    for base in getattr(request, "__orig_bases__", ()):
        if getattr(base, "__origin__", None) is Request:
            return get_args(base)[0]
    raise TypeError(f"{request.__name__} must derive from Request[...].")


def check_name(what: str, value: str) -> None:
    """Refuse a name that a URL, a shell or a table would garble.

    Args:
        what: the field, for the message.
        value: 1 to 250 characters: letters, digits, ``_ . : / @ + = -`` and inner blanks.

    Raises:
        InvalidInput: the name is empty, too long or has other characters.
    """
    if not (isinstance(value, str) and _NAME.fullmatch(value)):
        raise InvalidInput(
            f"{what} {_begin(value)!r} is not a valid name.",
            "Use 1 to 250 letters, digits, blanks or any of _ . : / @ + = - and start with a letter, a digit or _.",
        )


def check_key(what: str, value: str) -> None:
    """Refuse a name of a metric, a param or a tag that a URL, a shell or a table would garble, or a folder take for another.

    Args:
        what: the field, for the message.
        value: 1 to 250 characters: letters, digits, ``_ . : / @ + = -`` and blanks, not blanks alone.

    Raises:
        InvalidInput: the name is empty, too long or has other characters.
    """
    if not (isinstance(value, str) and _KEY.fullmatch(value)):
        raise InvalidInput(
            f"{what} {_begin(value)!r} is not a valid name.",
            "Use 1 to 250 letters, digits, blanks or any of _ . : / @ + = -: not blanks alone, none of / @ + = or two dots first.",
        )


def check_title(what: str, value: str, longest: int = 250) -> None:
    """Refuse a name that one line of text cannot show, or whose ends nobody sees.

    Args:
        what: the field, for the message.
        value: 1 to ``longest`` printable characters of any script, without blanks at its ends.
        longest: characters at most.

    Raises:
        InvalidInput: the name is empty, too long, or has other characters.
    """
    if not (isinstance(value, str) and 1 <= len(value) <= longest and value.isprintable() and value == value.strip()):
        raise InvalidInput(
            f"{what} {_begin(value)!r} is not a valid name.", f"Use 1 to {longest} printable characters, without blanks at the ends."
        )


def check_experiment(name: str) -> None:
    """Refuse a name that no experiment can have.

    Args:
        name: 1 to ``LONGEST_EXPERIMENT`` printable characters of any script, without blanks at its ends.

    Raises:
        InvalidInput: the name is empty, too long, or has other characters.
    """
    check_title("Experiment", name, LONGEST_EXPERIMENT)


def _begin(value: Any) -> Any:
    """Return what an error shows of a name, which may be none."""
    return value[:80] if isinstance(value, str) else value


def check_path(what: str, path: str) -> None:
    """Refuse what is no relative path, or is another one to somebody who decodes it once more.

    Args:
        what: the field, for the message.
        path: such as ``plots/calibration.png``, ``epoch:10.ckpt`` or ``50% off.csv``.

    Raises:
        InvalidInput: it is empty, absolute, climbs, begins like a URL, or has a character that could be taken for something else.
    """
    if not isinstance(path, str) or not _within(path):
        raise InvalidInput(
            f"The {what} {str(path)[:80]!r} is no path within a run.",
            "Use a relative one such as plots/loss.png, without '..', a leading '/' or a scheme.",
        )
    if odd := sorted(_ODD.intersection(path)):
        raise InvalidInput(f"The {what} {path[:80]!r} has the character {odd[0]!r}.", "Call it otherwise; a URL gives that a meaning.")
    if unquote(path) != path:
        raise InvalidInput(f"The {what} {path[:80]!r} is another path where it is decoded.", "Call it otherwise, without '%'.")


def _within(path: str) -> bool:
    return not _ELSEWHERE.match(path) and not any(part in ("", ".", "..") for part in path.split("/"))


def check_slug(what: str, value: str) -> None:
    """Refuse a name that cannot stand in a path or before an ``@``.

    Args:
        what: the field, for the message.
        value: 1 to 100 characters: letters, digits, ``_ . -``, starting with a letter or a digit.

    Raises:
        InvalidInput: the name is empty, too long or has other characters.
    """
    if not _SLUG.fullmatch(value):
        raise InvalidInput(
            f"{what} {value[:80]!r} is not a valid name.",
            "Use 1 to 100 letters, digits or any of _ . - and start with a letter or a digit.",
        )


def check_limit(limit: int) -> None:
    """Refuse a number of records that makes no sense.

    Args:
        limit: how many are asked for at most, from 1 to 1,000.

    Raises:
        InvalidInput: it is out of range.
    """
    if not 1 <= limit <= 1000:
        raise InvalidInput(f"The limit {limit} is out of range.", "Ask for 1 to 1000.")


def check_digest(what: str, value: str) -> None:
    """Refuse what is not a BLAKE3 digest in hex.

    Args:
        what: the field, for the message.
        value: 64 lower-case hex digits.

    Raises:
        InvalidInput: it is something else.
    """
    if not _DIGEST.fullmatch(value):
        raise InvalidInput(f"{what} {value[:80]!r} is not a digest.", "A digest is 64 lower-case hex digits.")
