"""What writes a value into a hash, as the encodings of single libraries see it."""

from __future__ import annotations

import datetime
import struct
import zoneinfo
from collections.abc import Callable
from typing import Any, Protocol

COUNT = struct.Struct(">Q")
REMEDY = "Pass plain data (numbers, text, containers, dataclasses, arrays, tables), or mark the step as not cached."


class Opaque(Exception):
    """Something without an encoding; each container on the way out adds its step to the path.

    Args:
        reason: what it is, as the end of a sentence.
        remedy: what to do instead.
    """

    def __init__(self, reason: str, remedy: str = REMEDY) -> None:
        self.reason = reason
        self.remedy = remedy
        self.path: list[str] = []
        super().__init__(reason)


class Writer(Protocol):
    """Takes values one after the other; each is tagged and has its length or count before it."""

    def put(self, value: Any) -> None:
        """Write any value."""
        ...

    def leaf(self, tag: bytes, content: bytes | memoryview) -> None:
        """Write bytes under a tag."""
        ...

    def text(self, value: str) -> None:
        """Write text."""
        ...

    def count(self, tag: bytes, number: int) -> None:
        """Write how many values follow under a tag."""
        ...

    def items(self, tag: bytes, values: Any) -> None:
        """Write a sequence of values under a tag."""
        ...

    def child(self, value: Any, step: Callable[[], str]) -> None:
        """Write a value inside another; ``step`` gives its place, for errors."""
        ...

    def again(self, memory: Any, owner: Any) -> int | None:
        """Return which of the memories met so far this one is; None at its first meeting. Its owner is kept, so that it stays its own."""
        ...


def class_name(thing: Any) -> str:
    """Return module and qualified name.

    Args:
        thing: a class or function.
    """
    return f"{thing.__module__}.{thing.__qualname__}"


def own_attributes(value: Any) -> list[tuple[str, Any]]:
    """Return what has been hung on a frame or an array besides its data (``frame.name = "x"``), by name.

    Args:
        value: of a library's class, whose own attributes begin with an underscore, but for ``sortorder`` of pandas' indexes.
    """
    return sorted(
        ((name, each) for name, each in getattr(value, "__dict__", {}).items() if name[0] != "_" and name != "sortorder"),
        key=lambda pair: pair[0],
    )


def put_zone(to: Writer, zone: datetime.tzinfo | None, moment: datetime.datetime | datetime.time) -> None:
    """Write a time zone: its key or its offset; other kinds of zone cannot be compared and are refused.

    Args:
        to: takes it.
        zone: the zone, or None.
        moment: whose zone it is.

    Raises:
        Opaque: the zone has no name.
    """
    key = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if zone is None:
        to.put(None)
    elif isinstance(zone, datetime.timezone):
        to.items(b"z", (zone.utcoffset(None), zone.tzname(None)))
    elif isinstance(zone, zoneinfo.ZoneInfo) and key:
        to.text(key)
    elif isinstance(key, str):
        to.items(b"z", (key, moment.utcoffset()))
    else:
        raise Opaque(f"has the time zone {zone!r:.60}, which has no name")
