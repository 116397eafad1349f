"""Records to bytes and back: JSON for people and HTTP, msgpack where NaN and infinities must survive."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import os
import re
import threading
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from blake3 import blake3

from plimsoll.errors import InvalidInput, PlimsollError

T = TypeVar("T")

#: JSON text, which :func:`to_json` writes as it is.
Raw = msgspec.Raw

#: What msgspec says of a field that a record does not have.
_STRANGER = re.compile(r"^Object contains unknown field `(.*?)`(?: - at `(.*)`)?$", re.DOTALL)

#: What msgspec says of a text that is none of a field's choices.
_CHOICE = re.compile(r"^Invalid enum value .* - at `\$\.(\w+)`$")

_json = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")
_msgpack = msgspec.msgpack.Encoder()

#: Held while msgspec looks at a type for the first time: what it finds it notes in the type bit by bit, and a second thread that takes
#: half of it for the whole ends the process (msgspec 0.22: 115 of 300 processes, in which five threads read their first document).
_LOOKING = threading.RLock()
# A process that is forked meanwhile would find the half, and nobody to go on.
os.register_at_fork(before=_LOOKING.acquire, after_in_parent=_LOOKING.release, after_in_child=_LOOKING.release)


@functools.cache
def _decoder(protocol: type[Any], type: Any) -> Any:
    """Return what reads a type; from the first one on, threads may share the type."""
    with _LOOKING:
        return protocol(type)


def _json_of(type: Any) -> Any:
    return _decoder(msgspec.json.Decoder, type)


def _msgpack_of(type: Any) -> Any:
    return _decoder(msgspec.msgpack.Decoder, type)


def to_json(value: Any) -> bytes:
    """Return ``value`` (records, dicts, lists, numbers, text) as JSON. NaN and infinities become ``null``.

    Args:
        value: what to encode.
    """
    return _json.encode(value)


def to_exact_json(value: Any) -> bytes:
    """Return ``value`` as JSON in which NaN and infinities are the texts ``nan``, ``inf`` and ``-inf``: ``null`` is only what is not there.

    Args:
        value: what to encode, as for :func:`to_json`.
    """
    found = to_json(value)
    # They are null in it; where there is no null there is none of them.
    return to_json(_finite(msgspec.to_builtins(value, str_keys=True))) if b"null" in found else found


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def from_json(data: bytes | str, type: type[T], what: str = "The JSON document") -> T:
    """Return the value of ``type`` that ``data`` holds.

    Args:
        data: JSON text.
        type: a record class or any type that msgspec knows.
        what: how the error names the document.

    Raises:
        InvalidInput: the text is not JSON, or does not fit the type; the message names the field.
    """
    try:
        return cast(T, _json_of(type).decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(what, error, type, "Correct the named field and send it again.") from error


def to_msgpack(value: Any) -> bytes:
    """Return ``value`` as msgpack; floats keep every bit, NaN and infinities included.

    Args:
        value: what to encode.

    Raises:
        InvalidInput: a text holds half a character, as an argument that is no UTF-8 does.
    """
    try:
        return _msgpack.encode(value)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{error.object[:80]!r} holds half a character.", "Send valid Unicode text.") from error


def from_msgpack(data: bytes, type: type[T], what: str = "The message") -> T:
    """Return the value of ``type`` that ``data`` holds.

    Args:
        data: msgpack bytes.
        type: a record class or any type that msgspec knows.
        what: how the error names the message.

    Raises:
        InvalidInput: the bytes are not msgpack, or do not fit the type.
    """
    try:
        return cast(T, _msgpack_of(type).decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(what, error, type, "Correct the named field and send it again.") from error


class Fields:
    """The fields of a request: whoever sends another one is told, since what it asks for would not be done.

    Args:
        kind: the request's class.
    """

    def __init__(self, kind: type[Any]) -> None:
        self._outline = _outline(kind, strict=True)

    def check(self, data: bytes, packed: bool, what: str) -> None:
        """Refuse a document with a field that the request, or a record within it, does not have. What else is wrong with it may pass.

        Args:
            data: JSON text or msgpack bytes.
            packed: whether it is msgpack.
            what: how the error names the document.

        Raises:
            InvalidInput: it has such a field; the message names it.
        """
        try:
            (_msgpack_of if packed else _json_of)(self._outline).decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if found := _STRANGER.search(str(error)):
                place = f" at `{found[2]}`" if found[2] else ""
                raise InvalidInput(
                    f"{what} has the field {found[1][:80]!r}{place}, which is not known here.",
                    "Correct its name; if the client is newer than the server, update the server.",
                    field=found[1][:80],
                ) from error


class Brief:
    """A request as bytes without the fields that have their defaults, so that a server knows all of them that is a little older.

    Args:
        kind: the request's class.
    """

    def __init__(self, kind: type[Any]) -> None:
        self._outline = _outline(kind, strict=False)
        _msgpack_of(self._outline)

    def pack(self, request: Any) -> bytes:
        """Return the request as msgpack.

        Args:
            request: of this class.
        """
        return to_msgpack(msgspec.convert(request, self._outline, from_attributes=True))


def _outline(kind: Any, strict: bool) -> Any:
    """Return a type with the fields of a record and of the records within it; of everything else it knows nothing."""
    if dataclasses.is_dataclass(kind):
        hints, fields = get_type_hints(kind), []
        for field in dataclasses.fields(kind):
            default = (
                field.default if field.default_factory is dataclasses.MISSING else msgspec.field(default_factory=field.default_factory)
            )
            default = msgspec.UNSET if default is dataclasses.MISSING else default
            fields.append((field.name, _outline(hints[field.name], strict), default))
        name = getattr(kind, "__name__", "")
        return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=strict, omit_defaults=not strict)
    if not _holds_records(kind):
        return msgspec.Raw if strict else Any
    inner = [each if each in (type(None), str, Ellipsis) else _outline(each, strict) for each in get_args(kind)]
    return functools.reduce(operator.or_, inner) if get_origin(kind) in (Union, UnionType) else get_origin(kind)[tuple(inner)]


def _holds_records(kind: Any) -> bool:
    return dataclasses.is_dataclass(kind) or any(_holds_records(inner) for inner in get_args(kind))


def plain(value: Any) -> Any:
    """Return records as dicts and lists that ``json`` and templates understand.

    Args:
        value: a record, or containers of records.
    """
    return msgspec.to_builtins(value)


def convert(value: Any, type: type[T], what: str = "The value") -> T:
    """Return dicts and lists as the record ``type``.

    Args:
        value: what :func:`plain`, TOML or JSON gave.
        type: the record class.
        what: how the error names the value.

    Raises:
        InvalidInput: the value does not fit; the message names the field.
    """
    if isinstance(value, dict):
        # The keys of SQLAlchemy's rows are a subclass of str (quoted_name), which msgspec refuses.
        value = {str(key) if isinstance(key, str) else key: item for key, item in value.items()}
    try:
        _msgpack_of(type)
        return msgspec.convert(value, type)
    except (msgspec.ValidationError, TypeError) as error:
        raise _refused(what, error, type, "Correct the named field.") from error


def _refused(what: str, error: Exception, type: Any, remedy: str) -> InvalidInput:
    """Return why a value does not fit, in a record's own words where the record has said it."""
    said, cause = str(error), error.__cause__
    if isinstance(cause, PlimsollError):
        place = said.rpartition(" - at `")[2] if said.endswith("`") else ""
        return InvalidInput(f"{what} is not valid{f' at `{place}' if place else ''}: {cause.fact}", cause.remedy)
    if (named := _CHOICE.search(said)) and dataclasses.is_dataclass(type):
        choices = [choice for choice in get_args(get_type_hints(type)[named[1]]) if isinstance(choice, str)]
        remedy = f"Use one of: {', '.join(choices)}." if choices else remedy
    return InvalidInput(f"{what} is not valid: {said}.", remedy)


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys: the same value gives the same bytes, so it may be digested.

    Args:
        value: records, dicts, lists, text, ints and finite floats.
    """
    return _canonical.encode(value)


def digest(data: bytes) -> str:
    """Return the BLAKE3 digest of ``data`` as 64 hex digits; every content address in Plimsoll is one of these.

    Args:
        data: any bytes.
    """
    return blake3(data).hexdigest()


def digest_file(path: Path) -> tuple[str, int]:
    """Return the BLAKE3 digest and the bytes of a file, reading it in bounded memory.

    Args:
        path: the file.
    """
    hasher, size = blake3(), 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            hasher.update(part)
            size += len(part)
    return hasher.hexdigest(), size
