"""How MLflow's clients ask and want to be answered: fields, error codes and the wording that they and their tests rely on.

Source: MLflow's REST API as its servers and clients 2.22 to 3.17 speak it.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll import codec
from plimsoll.errors import (
    Conflict,
    DeadlineExceeded,
    Denied,
    InvalidInput,
    Misdirected,
    NotFound,
    Overloaded,
    PlimsollError,
    Refused,
    StorageFull,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from plimsoll.records.request import check_key
from plimsoll.store.contracts import Blobs, Do

#: The release of MLflow whose protocol is spoken, as its clients ask for it.
SPOKEN_RELEASE = "3.17.2"

_LONGEST_NAME = 250

#: What MLflow's names consist of.
_NAME = re.compile(r"[/\w.\- :]*")

INVALID = "INVALID_PARAMETER_VALUE"
MISSING = "RESOURCE_DOES_NOT_EXIST"
EXISTS = "RESOURCE_ALREADY_EXISTS"
UNSPOKEN = "NOT_IMPLEMENTED"

_STATUS = {
    INVALID: 400,
    MISSING: 404,
    EXISTS: 400,
    UNSPOKEN: 501,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "RESOURCE_EXHAUSTED": 429,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL_ERROR": 500,
}

#: Ours -> MLflow's. The first that fits counts.
_CODES: tuple[tuple[type[PlimsollError], str], ...] = (
    (NotFound, MISSING),
    (InvalidInput, INVALID),
    (Misdirected, INVALID),
    (Conflict, INVALID),
    (Refused, INVALID),
    (Unauthenticated, "UNAUTHENTICATED"),
    (Denied, "PERMISSION_DENIED"),
    (Overloaded, "REQUEST_LIMIT_EXCEEDED"),
    (Unavailable, "TEMPORARILY_UNAVAILABLE"),
    (Unreachable, "TEMPORARILY_UNAVAILABLE"),
    (DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (StorageFull, "RESOURCE_EXHAUSTED"),
)

#: What MLflow says behind much that it refuses.
HELP = " See the API docs for more information about request parameters."


class Spoken(Exception):
    """An error in MLflow's words.

    Args:
        code: MLflow's error code.
        message: its text.
        status: HTTP status; None takes the code's.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        self.code, self.message = code, message
        self.status = status or _STATUS[code]
        super().__init__(message)


def spoken(error: PlimsollError) -> Spoken:
    """Return one of our errors in MLflow's words.

    Args:
        error: what was refused.
    """
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "INTERNAL_ERROR")
    if isinstance(error, Unauthenticated):
        return Spoken(code, f"{error.fact} Set MLFLOW_TRACKING_TOKEN to one of this server's tokens.")
    # Not MLflow's 429 for a full disk: its clients would send gigabytes again, at once and several times.
    return Spoken(code, str(error), error.status if isinstance(error, StorageFull) else None)


def written(value: Any) -> bytes:
    """Return an answer as JSON; numbers that JSON lacks are the words that protobuf has for them.

    Args:
        value: of dicts, lists and plain values. Half a character, which a refusal may repeat, becomes a question mark.
    """
    try:
        return codec.to_json(value)
    except UnicodeEncodeError:
        # Seldom; this takes ten times as long.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")


def shown_number(value: float) -> float | str:
    """Return a metric's value as protobuf's JSON writes it.

    Args:
        value: any double.
    """
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its fields, and the platform as its actor may use it."""

    #: From the body, or from the query.
    fields: Mapping[str, Any]
    #: Does a verb as the actor.
    do: Do
    #: Where bytes are.
    blobs: Blobs

    def text(self, name: str, required: bool = True) -> str:
        """Return a field that holds text; empty when it is missing and not required.

        Args:
            name: the field.
            required: whether it must be there.

        Raises:
            Spoken: it is missing, or no text.
        """
        value = self.fields.get(name)
        if value is None or value == "":
            if required:
                raise Spoken(INVALID, f"Missing value for required parameter '{name}'.{HELP}")
            return ""
        if not isinstance(value, str):
            raise mistyped(name, value)
        return value

    def whole(self, name: str, default: int) -> int:
        """Return a field that holds a whole number.

        Args:
            name: the field.
            default: when it is missing.

        Raises:
            Spoken: it is no whole number of 64 bits.
        """
        return whole(name, self.fields.get(name), default)

    def flag(self, name: str) -> bool:
        """Return a field that holds yes or no; no when it is missing.

        Args:
            name: the field.

        Raises:
            Spoken: it is neither.
        """
        value = self.fields.get(name)
        said = value.lower() if isinstance(value, str) else value
        if said in (True, "true"):
            return True
        if said not in (None, "", False, "false"):
            raise mistyped(name, value)
        return False

    def page_size(self, default: int, most: int) -> int:
        """Return how many a page may hold.

        Args:
            default: when nothing is said.
            most: what is allowed.

        Raises:
            Spoken: it is none, or more than that.
        """
        limit = self.whole("max_results", default)
        if not 1 <= limit <= most:
            why = ". It must be a positive integer" if limit < 1 else f":  Hint: Value was of type 'int'.{HELP}"
            raise Spoken(INVALID, f"Invalid value {limit} for parameter 'max_results' supplied{why}")
        return limit

    def items(self, name: str) -> list[Any]:
        """Return a field that holds a list; empty when it is missing.

        Args:
            name: the field.

        Raises:
            Spoken: it is no list.
        """
        value = self.fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise mistyped(name, value)
        return value

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return a field that holds a list of objects; empty when it is missing.

        Args:
            name: the field.

        Raises:
            Spoken: it holds something else.
        """
        found = self.items(name)
        if not all(isinstance(row, dict) for row in found):
            raise Spoken(INVALID, f"Invalid value for parameter '{name}' supplied: each of its items is an object.")
        return found

    def words(self, name: str) -> list[str]:
        """Return a field that holds texts; empty when it is missing. One alone comes from a query as itself.

        Args:
            name: the field.

        Raises:
            Spoken: it holds something else.
        """
        value = self.fields.get(name)
        found = [value] if isinstance(value, str) and value else self.items(name) if value else []
        for each in found:
            if not isinstance(each, str):
                raise mistyped(name, value)
        return found

    def run_id(self) -> str:
        """Return the run that is meant; old clients name it ``run_uuid``.

        Raises:
            Spoken: none is named.
        """
        return self.text("run_id" if self.fields.get("run_id") or not self.fields.get("run_uuid") else "run_uuid")


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return names and values as rows with ``key`` and ``value``.

    Args:
        values: by name.
    """
    return [{"key": name, "value": value} for name, value in values.items()]


def texts(name: str, rows: Iterable[Any]) -> dict[str, str]:
    """Return key and value of rows; the last of a key counts.

    Args:
        name: where they stand, for the message.
        rows: each with ``key`` and ``value``.

    Raises:
        Spoken: a row has no key.
    """
    found: dict[str, str] = {}
    for index, row in enumerate(rows):
        key = row.get("key") if isinstance(row, dict) else None
        if not key:
            raise Spoken(INVALID, f"Missing value for required parameter '{name}[{index}].key'.{HELP}")
        value = row.get("value")
        found[str(key)] = "" if value is None else str(value)
    return found


def checked_value(value: str, longest: int) -> str:
    """Return a tag's value, or refuse one that is too long in MLflow's words.

    Args:
        value: what was sent.
        longest: characters at most.

    Raises:
        Spoken: it has more.
    """
    checked_length("value", value, longest)
    return value


def checked_length(what: str, value: str, longest: int) -> None:
    """Refuse a text that is too long in MLflow's words.

    Args:
        what: how MLflow calls it.
        value: what was sent.
        longest: characters at most.

    Raises:
        Spoken: it has more.
    """
    if len(value) > longest:
        raise Spoken(INVALID, f"'{what}' exceeds the maximum length of {longest} characters")


def checked_name(what: str, field: str, name: str) -> None:
    """Refuse a name of a metric, a param or a tag in MLflow's words.

    Args:
        what: how MLflow calls it when it is too long.
        field: how it calls it otherwise.
        name: what was sent.

    Raises:
        Spoken: names are not like that.
    """
    try:
        check_key(what, name)
        if not ("//" in name or "/." in name or name.endswith("/")) or posixpath.normpath(name) == name:
            return
    except InvalidInput:
        pass
    begin, resolved = f"Invalid value {json.dumps(name)} for parameter '{field}' supplied: Names", posixpath.normpath(name)
    if not _NAME.fullmatch(name):
        allowed = "alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
        raise Spoken(INVALID, f"{begin} may only contain {allowed}")
    if resolved != name or resolved.startswith(("..", "/")) or resolved == ".":
        as_files = "may be treated as files in certain cases, and must not resolve to other names when treated as such."
        raise Spoken(INVALID, f"{begin} {as_files} This name would resolve to {resolved!r}")
    if len(name) > _LONGEST_NAME:
        raise Spoken(INVALID, f"'{what}' exceeds the maximum length of {_LONGEST_NAME} characters")
    raise Spoken(INVALID, f"{begin} hold more than blanks here, and do not begin with two periods.")


def whole(name: str, value: Any, default: int) -> int:
    """Return a whole number that JSON may hold as text.

    Args:
        name: where it stands, for the message.
        value: what was sent.
        default: for None.

    Raises:
        Spoken: it is no whole number of 64 bits.
    """
    if value is None or value == "":
        return default
    try:
        number = value if type(value) is int else int(value) if isinstance(value, str) or float(value).is_integer() else None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or not -(2**63) <= number < 2**63:
        raise mistyped(name, value)
    return number


def number(name: str, value: Any) -> float:
    """Return a double that JSON may hold as text.

    Args:
        name: where it stands, for the message.
        value: what was sent.

    Raises:
        Spoken: it is no number, or missing.
    """
    if value is None or value == "":
        raise Spoken(INVALID, f"Missing value for required parameter '{name}'.{HELP}")
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise mistyped(name, value) from None


def mistyped(name: str, value: Any) -> Spoken:
    """Return the refusal of a value of another kind.

    Args:
        name: the field.
        value: what was sent.
    """
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return Spoken(
        INVALID, f"Invalid value {shown} for parameter '{name}' supplied:  Hint: Value was of type '{type(value).__name__}'.{HELP}"
    )
