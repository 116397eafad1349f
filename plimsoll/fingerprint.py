"""One digest per value: equal values give equal digests in every process, and values that a function can tell apart do not.

The encoding is canonical: a tag byte, a 64-bit length or count, then the content, so no two values share one encoding
(``1``, ``True``, ``1.0`` and ``"1"`` are four values; so are ``(1,)`` and ``[1]``). What was decided:

* The order of a dict counts, because a function can see it. The order of a set does not.
* Floats count by their bits: ``-0.0`` is not ``0.0``, and each NaN is itself.
* A ``Path`` counts by its text, not by the bytes of the file it names.
* Two references to one object, and references to two equal objects, are the same; but tensors of torch that share their memory
  are not like others.
* A class counts by its name here; its code is the business of :mod:`plimsoll.data.code.closure`.
* Tables count by schema and content, never by how they are chunked in memory.

Whatever has no encoding is refused: a digest that does not see a difference would reuse a stale result.
The libraries of :mod:`plimsoll.encoding` are recognised without being imported.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import struct
import sys
import types
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from blake3 import blake3

from plimsoll.encoding.arrays import put_numpy
from plimsoll.encoding.arrow import put_arrow
from plimsoll.encoding.pandas_frames import put_pandas
from plimsoll.encoding.polars_frames import put_polars
from plimsoll.encoding.tensors import put_torch
from plimsoll.encoding.writer import COUNT, REMEDY, Opaque, Writer, class_name, put_zone
from plimsoll.errors import Unfingerprintable

#: Written into every digest: a change of the encoding below must change it.
VERSION = b"plimsoll-value-1"

#: Asked about each value that is not plain data: a tag and what stands in for the value, or None for the usual encoding.
Visit = Callable[[Any], "tuple[str, Any] | None"]

_FLOAT = struct.Struct(">d")

#: What refers to itself may do so along very many ways: each is gone once.
_AFTER_A_CIRCLE = 20_000

#: Packages whose objects that refer to themselves hold names made of places in memory.
_NAMED_BY_PLACE = frozenset({"sqlalchemy"})


def digest_value(
    value: Any,
    visit: Visit | None = None,
    rescue: Visit | None = None,
    name_class: Callable[[type], str] = class_name,
    circles: bool = False,
) -> str:
    """Return the BLAKE3 digest of ``value`` as 64 hex digits; see the module for what counts.

    Args:
        value: scalars, containers, enums, dataclasses, records (msgspec, attrs, pydantic), times, paths, numpy arrays and
            scalars, polars, pandas and Arrow tables, torch tensors, and any nesting of these.
        visit: asked first about each value but plain scalars; what it returns stands in for the value.
        rescue: asked in the same way about each value that would be refused.
        name_class: what the class of an instance is called; left out, its module and qualified name.
        circles: a value may refer to itself; there, how far up it is stands in for it.

    Raises:
        Unfingerprintable: a value inside has no encoding, or refers to itself where it may not; the message names the way to it.
    """
    encoder = _Encoder(visit, rescue, name_class, _Active(circles))
    try:
        encoder.put(value)
    except Opaque as problem:
        where = "value" + "".join(reversed(problem.path))
        raise Unfingerprintable(f"{where} {problem.reason}.", problem.remedy, path=where) from problem.__cause__
    except RecursionError as error:
        raise Unfingerprintable("The value is nested too deeply to be fingerprinted.", REMEDY) from error
    return encoder.finish().hex()


class _Active:
    """The values that are being written, each within the one before it: so one that holds itself is found."""

    def __init__(self, circles: bool) -> None:
        self.circles = circles
        #: Identity -> how deep the value lies.
        self.depths: dict[int, int] = {}
        #: How many values may follow the first one that refers to itself.
        self.left = _AFTER_A_CIRCLE

    def enter(self, value: Any) -> int | None:
        """Note a value that is not plain; return how far up it is already being written, or None.

        Raises:
            Opaque: it refers to itself where it may not, or in too many ways.
        """
        key = id(value)
        depth = self.depths.get(key)
        if depth is not None and (not self.circles or type(value).__module__.partition(".")[0] in _NAMED_BY_PLACE):
            raise Opaque("refers to itself")
        if depth is not None or self.left < _AFTER_A_CIRCLE:
            self.left -= 1
            if self.left <= 0:
                raise Opaque("refers to itself in too many ways")
        if depth is None:
            self.depths[key] = len(self.depths)
            return None
        return len(self.depths) - depth


class _Encoder:
    """Writes one value into one hash."""

    def __init__(self, visit: Visit | None, rescue: Visit | None, name_class: Callable[[type], str], active: _Active) -> None:
        self.visit = visit
        self.rescue = rescue
        self.name_class = name_class
        self.active = active
        #: Memory that values may share -> which one it was, and its first owner.
        self.memories: dict[Any, tuple[int, Any]] = {}
        self.hash = blake3(VERSION)
        self.buffer = bytearray()

    def finish(self) -> bytes:
        self.hash.update(self.buffer)
        return self.hash.digest()

    def leaf(self, tag: bytes, content: bytes | memoryview) -> None:
        self.buffer += tag
        self.buffer += COUNT.pack(len(content))
        if len(content) > 65_536 or len(self.buffer) > 65_536:
            self.hash.update(bytes(self.buffer))
            self.buffer.clear()
            self.hash.update(content)
        else:
            self.buffer += content

    def text(self, value: str) -> None:
        _put_text(self, value)

    def count(self, tag: bytes, number: int) -> None:
        self.buffer += tag
        self.buffer += COUNT.pack(number)

    def child(self, value: Any, step: Callable[[], str]) -> None:
        write = _PLAIN.get(type(value))
        if write is not None:
            # What is plain is never refused, and most of what is inside of something is plain.
            write(self, value)
            return
        try:
            self.put(value)
        except Opaque as problem:
            problem.path.append(step())
            raise

    def items(self, tag: bytes, values: Any) -> None:
        self.count(tag, len(values))
        for index, item in enumerate(values):
            # As :meth:`child` does: lists are long, and the way to an item is wanted only when it is refused.
            write = _PLAIN.get(type(item))
            if write is not None:
                write(self, item)
                continue
            try:
                self.put(item)
            except Opaque as problem:
                problem.path.append(f"[{index}]")
                raise

    def unordered(self, tag: bytes, values: Iterable[Any]) -> None:
        digests = []
        for item in values:
            inner = _Encoder(self.visit, self.rescue, self.name_class, self.active)
            inner.child(item, lambda item=item: f"{{{item!r:.40}}}")  # type: ignore[misc]
            digests.append(inner.finish())
        self.leaf(tag, b"".join(sorted(digests)))

    def pairs(self, tag: bytes, mapping: Any) -> None:
        self.count(tag, len(mapping))
        for key, item in mapping.items():
            self.child(key, lambda key=key: f".keys({key!r:.40})")  # type: ignore[misc]
            self.child(item, lambda key=key: f"[{key!r:.40}]")  # type: ignore[misc]

    def object(self, tag: bytes, value: Any, fields: Iterable[tuple[str, Any]]) -> None:
        """Write an object as its class and its named parts."""
        parts = list(fields)
        self.count(tag, len(parts))
        self.text(self.name_class(type(value)))
        for name, item in parts:
            self.text(name)
            self.child(item, lambda name=name: f".{name}")  # type: ignore[misc]

    def again(self, memory: Any, owner: Any) -> int | None:
        if memory in self.memories:
            return self.memories[memory][0]
        self.memories[memory] = len(self.memories), owner
        return None

    def subclass(self, value: Any) -> None:
        """Write what an instance of a user's subclass has beyond its base: its class and its attributes."""
        self.object(b"S", value, state_of(value))

    def put(self, value: Any) -> None:
        """Write any value."""
        write = _PLAIN.get(type(value))
        if write is not None:
            write(self, value)
            return
        above = self.active.enter(value)
        if above is not None:
            self.count(b"^", above)
            return
        try:
            stand_in = None if self.visit is None else self.visit(value)
            if stand_in is not None:
                self.stand_in(*stand_in)
            elif (container := _CONTAINERS.get(type(value))) is not None:
                container(self, value)
            else:
                self.other(value)
        finally:
            del self.active.depths[id(value)]

    def stand_in(self, tag: str, value: Any) -> None:
        self.count(b"v", 1)
        self.text(tag)
        self.put(value)

    def other(self, value: Any) -> None:
        """Write what is neither a plain scalar nor a plain container."""
        package = type(value).__module__.partition(".")[0]
        library = _LIBRARIES.get(package)
        if library is not None and library(self, value):
            return
        for known, write in _OBJECTS:
            if isinstance(value, known):
                if package not in sys.stdlib_module_names and known is not enum.Enum:
                    self.subclass(value)
                write(self, value)
                return
        fields = _record_fields(value)
        if fields is not None:
            self.object(b"o", value, fields)
            return
        if _is_library_name(value):
            self.leaf(b"N", class_name(value).encode())
            return
        for base, write in (*_CONTAINERS.items(), *_PLAIN.items()):
            if isinstance(value, base):
                self.subclass(value)
                write(self, value)
                return
        rescued = None if self.rescue is None else self.rescue(value)
        if rescued is None:
            raise Opaque(f"is a {class_name(type(value))}, which cannot be fingerprinted")
        self.stand_in(*rescued)


def state_of(value: Any) -> list[tuple[str, Any]]:
    """Return the attributes of an instance by name, from its ``__dict__`` and its slots, and their order where it is another one.

    The value of a cached property is among them once it is there: what it was computed from may be another thing by now.

    Args:
        value: any instance.
    """
    cls = type(value)
    found = dict(getattr(value, "__dict__", {}))
    for base in cls.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, types.MemberDescriptorType) and name not in found and name != "__weakref__" and hasattr(value, name):
                found[name] = getattr(value, name)
    return sorted(found.items()) + _order(value, sorted(found))


def _order(value: Any, names: list[str]) -> list[tuple[str, Any]]:
    """Return the order of an instance's attributes, which ``vars`` shows, where it is not that of some names; else nothing."""
    kept = list(getattr(value, "__dict__", ()))
    return [] if kept == [name for name in names if name in kept] else [("__dict__", kept)]


def _is_library_name(value: Any) -> bool:
    """Say whether ``value`` is a class or function of the standard library, or a class of numpy, under the name it claims."""
    module = getattr(value, "__module__", None)
    if not isinstance(value, (type, types.BuiltinFunctionType, types.FunctionType)) or not isinstance(module, str):
        return False
    package = module.partition(".")[0]
    if package not in sys.stdlib_module_names and not (package == "numpy" and isinstance(value, type)):
        return False
    found: Any = sys.modules.get(module)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def _number(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _put_text(to: _Encoder, value: str) -> None:
    to.leaf(b"s", value.encode("utf-8", "surrogatepass"))


_PLAIN: dict[type, Callable[[_Encoder, Any], None]] = {
    type(None): lambda to, value: to.leaf(b"0", b""),
    bool: lambda to, value: to.leaf(b"b", b"1" if value else b"0"),
    int: lambda to, value: to.leaf(b"i", _number(value)),
    float: lambda to, value: to.leaf(b"f", _FLOAT.pack(value)),
    complex: lambda to, value: to.leaf(b"c", _FLOAT.pack(value.real) + _FLOAT.pack(value.imag)),
    str: _put_text,
    bytes: lambda to, value: to.leaf(b"y", value),
    type(...): lambda to, value: to.leaf(b"1", b""),
    type(NotImplemented): lambda to, value: to.leaf(b"2", b""),
}


def _noted_pairs(to: _Encoder, tag: bytes, value: Any) -> None:
    """Write a dict of a class that takes attributes: networks of torch keep the versions of their state there."""
    if vars(value):
        to.leaf(b"!", b"attributes")
        to.child(vars(value), lambda: ".__dict__")
    to.pairs(tag, value)


def _default_dict(to: _Encoder, value: Any) -> None:
    to.child(value.default_factory, lambda: ".default_factory")
    to.pairs(b"F", value)


_CONTAINERS: dict[type, Callable[[_Encoder, Any], None]] = {
    tuple: lambda to, value: to.items(b"t", value),
    list: lambda to, value: to.items(b"l", value),
    collections.OrderedDict: lambda to, value: _noted_pairs(to, b"O", value),
    collections.Counter: lambda to, value: _noted_pairs(to, b"C", value),
    collections.defaultdict: _default_dict,
    dict: lambda to, value: to.pairs(b"d", value),
    types.MappingProxyType: lambda to, value: to.pairs(b"M", value),
    set: lambda to, value: to.unordered(b"e", value),
    frozenset: lambda to, value: to.unordered(b"E", value),
    collections.deque: lambda to, value: to.items(b"q", (value.maxlen, list(value))),
    bytearray: lambda to, value: to.leaf(b"Y", bytes(value)),
    memoryview: lambda to, value: to.items(b"w", (value.format, value.shape, value.strides, value.readonly, value.tobytes())),
    array.array: lambda to, value: to.items(b"a", (value.typecode, value.tobytes())),
}


def _put_datetime(to: _Encoder, value: Any) -> None:
    to.count(b"T", 2)
    to.text(f"{value.replace(tzinfo=None).isoformat()}/{value.fold}")
    put_zone(to, value.tzinfo, value)


#: Standard-library objects, tried in this order; subclasses come before their bases.
_OBJECTS: tuple[tuple[Any, Callable[[_Encoder, Any], None]], ...] = (
    (enum.Enum, lambda to, value: to.object(b"n", value, [("name", value.name), ("value", value.value)])),
    (datetime.datetime, _put_datetime),
    (datetime.date, lambda to, value: to.leaf(b"D", value.isoformat().encode())),
    (datetime.time, _put_datetime),
    (datetime.timedelta, lambda to, value: to.items(b"L", (value.days, value.seconds, value.microseconds))),
    (datetime.tzinfo, lambda to, value: put_zone(to, value, datetime.datetime(2000, 1, 1))),
    (decimal.Decimal, lambda to, value: to.leaf(b"m", str(value).encode())),
    (fractions.Fraction, lambda to, value: to.items(b"r", (value.numerator, value.denominator))),
    (pathlib.PurePath, lambda to, value: to.items(b"p", (type(value).__name__, str(value)))),
    (uuid.UUID, lambda to, value: to.leaf(b"u", value.bytes + (value.is_safe.name.encode() if value.is_safe.value is not None else b""))),
    (range, lambda to, value: to.items(b"R", (value.start, value.stop, value.step))),
    (slice, lambda to, value: to.items(b"x", (value.start, value.stop, value.step))),
    (re.Pattern, lambda to, value: to.items(b"P", (value.pattern, value.flags))),
    (types.SimpleNamespace, lambda to, value: to.object(b"o", value, state_of(value))),
    (
        (ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network),
        lambda to, value: to.items(b"I", (type(value).__name__, str(value))),
    ),
)


def _record_fields(value: Any) -> list[tuple[str, Any]] | None:
    """Return the named parts of a dataclass, msgspec, attrs or pydantic instance; None for anything else."""
    cls = type(value)
    if isinstance(value, type):
        return None
    if hasattr(cls, "__dataclass_fields__"):
        names = [field.name for field in dataclasses.fields(value)]
    elif hasattr(cls, "__struct_fields__"):
        names = list(cls.__struct_fields__)
    elif hasattr(cls, "__attrs_attrs__"):
        names = [attribute.name for attribute in cls.__attrs_attrs__]
    elif hasattr(cls, "__pydantic_fields__"):
        names = ["__pydantic_extra__", "__pydantic_private__"]
    else:
        return None
    unset = object()
    fields = [(name, item) for name in names if (item := getattr(value, name, unset)) is not unset]
    # What __post_init__ or a caller put on the instance can act too.
    fields += [(name, item) for name, item in state_of(value) if name not in names and name != "__dict__"]
    return fields + _order(value, [name for name, _ in fields])


_LIBRARIES: dict[str, Callable[[Writer, Any], bool]] = {
    "numpy": put_numpy,
    "polars": put_polars,
    "pandas": put_pandas,
    "pyarrow": put_arrow,
    "torch": put_torch,
}
