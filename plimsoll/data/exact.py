"""Plain Python values as bytes that come back as exactly what they were: ``1`` is not ``"1"``, a tuple is not a list.

Numbers, text and bytes are themselves in msgpack; everything else is a list that begins with a tag. Dicts keep their
order. Sets are sorted by their members' bytes, so that equal sets give equal bytes.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import importlib
import io
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec
import numpy as np

from plimsoll import codec, extras
from plimsoll.errors import Corrupt, Unfingerprintable

#: Containers within containers; deeper ones would exhaust the stack of whoever reads them.
MAX_DEPTH = 100

_RECORDS = "plimsoll.records."

#: What a damaged document makes those raise that read it.
UNREADABLE = (
    *(msgspec.DecodeError, ValueError, TypeError, LookupError, AttributeError),
    *(ImportError, OverflowError, RecursionError, decimal.DecimalException),
)

#: Stores a value that is not plain as a file beside the document and returns how to find it, or None when it cannot.
Keep = Callable[[Any], list[Any] | None]

#: Returns what :data:`Keep` stored.
Fetch = Callable[[list[Any]], Any]


#: Dicts of the standard library, and what a ``defaultdict`` may begin with.
_KEYED: dict[str, Callable[..., Any]] = {
    cls.__name__: cls for cls in (collections.OrderedDict, collections.Counter, collections.defaultdict)
}
#: Sparse matrices and arrays of SciPy -> what they consist of.
_SPARSE: dict[str, tuple[str, ...]] = {
    f"{form}_{kind}": ("data", *parts)
    for form, parts in {
        **dict.fromkeys(("csr", "csc", "bsr"), ("indices", "indptr")),
        **{"coo": ("coords",), "dia": ("offsets",)},
    }.items()
    for kind in ("matrix", "array")
}
_DEFAULTS: dict[str, type] = {cls.__name__: cls for cls in (list, dict, set, int, float, str)}


def encode(value: Any, keep: Keep) -> bytes:
    """Return ``value`` as typed msgpack.

    Args:
        value: None, bool, int, float, complex, text, bytes, dates and times, Decimal, Fraction, UUID, ranges, NumPy scalars,
            moments of pandas, records of Plimsoll, sparse matrices of SciPy, and NumPy arrays of objects, lists,
            tuples, sets, dicts and those of ``collections`` of these.
        keep: is asked about every other value.

    Raises:
        Unfingerprintable: a value inside is of no type that is known here; the message names where it is.
    """
    return codec.to_msgpack(_node(value, keep, "the value", 0))


def decode(data: bytes, fetch: Fetch) -> Any:
    """Return the value that :func:`encode` was given.

    Args:
        data: its bytes.
        fetch: returns a value that ``keep`` stored.

    Raises:
        Corrupt: the bytes are not such a document.
    """
    try:
        return _value(msgspec.msgpack.decode(data), fetch)
    except UNREADABLE as error:
        raise Corrupt(f"A stored value cannot be read: {error}", "Drop the cache entry and run the step again.") from error


def is_own(module: str) -> bool:
    """Return whether a module belongs to Plimsoll; only these are imported to read something back.

    Args:
        module: dotted name.
    """
    return module == "plimsoll" or module.startswith("plimsoll.")


def _node(value: Any, keep: Keep, where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise Unfingerprintable(f"The value is nested more than {MAX_DEPTH} deep, or contains itself.", "Return a flatter value.")
    cls = type(value)
    if value is None or cls in (bool, float, bytes):
        return value
    if cls is int:
        return value if -(2**63) <= value < 2**64 else ["int", hex(value)]
    if cls is str:
        return _text(value)
    if cls in (list, tuple):
        return [cls.__name__, [_node(item, keep, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]]
    if cls is dict:
        return ["dict", [[_node(key, keep, f"a key of {where}", depth + 1), _node(item, keep, f"{where}[{key!r:.40}]", depth + 1)]
                         for key, item in value.items()]]  # fmt: skip
    if cls in _KEYED.values():
        default = getattr(value, "default_factory", None)
        if default is None or default in _DEFAULTS.values():
            inside = _node(dict(value), keep, where, depth)
            return ["keyed", cls.__name__, inside[1], *([default.__name__] if default else [])]
    if cls is collections.deque:
        return ["deque", [_node(item, keep, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)], value.maxlen]
    if cls in (set, frozenset):
        members = [_node(item, keep, f"a member of {where}", depth + 1) for item in value]
        return [cls.__name__, sorted(members, key=codec.to_msgpack)]
    if is_dataclass(cls) and cls.__module__.startswith(_RECORDS):
        inside = [[field.name, _node(getattr(value, field.name), keep, f"{where}.{field.name}", depth + 1)] for field in fields(cls)]
        return ["record", cls.__module__, cls.__qualname__, inside]
    node = _scalar(value, cls)
    if node is None and cls is np.ndarray and value.dtype == object:
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        items = value.ravel(order).tolist()
        return ["objects", list(value.shape), order, [_node(item, keep, f"an item of {where}", depth + 1) for item in items]]
    if node is None and cls.__module__.startswith("scipy.sparse.") and cls.__name__ in _SPARSE:
        parts = [_node(getattr(value, name), keep, f"{where}.{name}", depth + 1) for name in _SPARSE[cls.__name__]]
        summed = cls.__name__.startswith("coo_") and bool(value.has_canonical_format)
        return ["sparse", cls.__name__, [int(length) for length in value.shape], summed, parts]
    if node is None:
        node = keep(value)
    if node is None:
        raise Unfingerprintable(
            f"A {cls.__module__}.{cls.__qualname__} in {where} cannot be stored.",
            _instead(value, cls),
        )
    return node


def _instead(value: Any, cls: type) -> str:
    """Return what to return in place of a value that cannot be stored."""
    if is_dataclass(cls):
        return "Return dataclasses.asdict(value), and make the object of it where it is used."
    if isinstance(value, tuple):
        return f"Annotate the step with -> {cls.__name__}, so that its fields are outputs, or return tuple(value)."
    if hasattr(cls, "model_dump"):
        return "Return value.model_dump(), and make the object of it where it is used."
    if isinstance(value, enum.Enum):
        return "Return value.name, and look the member up where it is used."
    if hasattr(cls, "fit"):
        return "Return plimsoll.Model(value, name=…, example=…), or fit it where it is used."
    if cls.__module__.partition(".")[0] == "pyarrow":
        return "Return polars.from_arrow(value)."
    if hasattr(cls, "collect") and cls.__name__ == "LazyFrame":
        return "Return value.collect()."
    if hasattr(cls, "__next__"):
        return "Return list(value)."
    if hasattr(value, "savefig"):
        return "Log it with plimsoll.current_run().log_artifact(name, figure), or write it to a file and return its Path."
    return "Return numbers, text, dates, lists, dicts, arrays, frames, series, a file's or folder's Path, or a plimsoll.Model."


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return ["str", value.encode("utf-8", "surrogatepass")]
    return value


def _scalar(value: Any, cls: type) -> list[Any] | None:
    if cls is complex:
        return ["complex", value.real, value.imag]
    if cls is decimal.Decimal:
        return ["decimal", str(value)]
    if cls is uuid.UUID:
        return ["uuid", value.bytes]
    if cls is datetime.date:
        return ["date", value.year, value.month, value.day]
    if cls is datetime.timedelta:
        return ["timedelta", value.days, value.seconds, value.microseconds]
    if cls is datetime.time and (zone := _zone(value.tzinfo)) is not None:
        return ["time", [value.hour, value.minute, value.second, value.microsecond], value.fold, zone]
    if cls is datetime.datetime and (zone := _zone(value.tzinfo)) is not None:
        parts = [value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond]
        return ["datetime", parts, value.fold, zone]
    if cls is fractions.Fraction:
        return ["fraction", str(value)]
    if cls is range:
        return ["range", *(hex(number) for number in (value.start, value.stop, value.step))]
    if cls is bytearray:
        return ["bytearray", bytes(value)]
    if cls.__module__.partition(".")[0] == "pandas":
        return _moment(value, cls.__name__)
    if isinstance(value, np.generic) and cls.__module__ == "numpy" and value.dtype.kind in "biufcmM":
        return ["numpy", to_npy(np.asarray(value))]
    return None


def _moment(value: Any, name: str) -> list[Any] | None:
    """Return a time, a duration or what is missing of pandas, which has its own."""
    if name == "Timestamp" and (zone := _pandas_zone(value.tzinfo)) is not None:
        return ["pandas", name, int(value.asm8.view("i8")), value.unit, value.fold, zone]
    if name == "Timedelta":
        return ["pandas", name, int(value.asm8.view("i8")), value.unit]
    return ["pandas", name[:-4]] if name in ("NaTType", "NAType") else None


def _pandas_zone(zone: Any) -> list[Any] | None:
    # Before its third release pandas makes one of another library of a name.
    return ["named", zone.zone] if isinstance(getattr(zone, "zone", None), str) else _zone(zone)


def _read_moment(name: str, parts: list[Any]) -> Any:
    pandas = extras.require("pandas")
    match name, parts:
        case "Timestamp", [number, unit, fold, zone]:
            moment = pandas.Timestamp(np.datetime64(number, unit))
            if zone:
                return moment.tz_localize("UTC").tz_convert(zone[1] if zone[0] == "named" else _tzinfo(zone))
            return moment.replace(fold=fold)
        case "Timedelta", [number, unit]:
            return pandas.Timedelta(np.timedelta64(number, unit))
        case "NaT" | "NA", []:
            return getattr(pandas, name)
        case _:
            raise ValueError(f"unknown moment {name!r}")


def _zone(zone: datetime.tzinfo | None) -> list[Any] | None:
    if zone is None:
        return []
    if type(zone) is zoneinfo.ZoneInfo and zone.key:
        return ["zone", zone.key]
    if type(zone) is datetime.timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        return ["offset", offset // datetime.timedelta(microseconds=1), None if datetime.timezone(offset).tzname(None) == name else name]
    return None


def to_npy(array: Any) -> bytes:
    """Return a NumPy array in NumPy's own file format, which keeps type, shape and order; no pickle is ever written.

    Args:
        array: an array without Python objects.

    Raises:
        ValueError: it holds Python objects.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def from_npy(data: bytes) -> Any:
    """Return the NumPy array that :func:`to_npy` wrote.

    Args:
        data: its bytes.

    Raises:
        ValueError: the bytes are something else.
    """
    return np.load(io.BytesIO(data), allow_pickle=False)


def _value(node: Any, fetch: Fetch) -> Any:
    if not isinstance(node, list):
        return node
    match node:
        case ["int", text]:
            return int(text, 16)
        case ["str", data]:
            return data.decode("utf-8", "surrogatepass")
        case ["list", items]:
            return _values(items, fetch)
        case ["tuple", items]:
            return tuple(_values(items, fetch))
        case ["dict", items]:
            return {_value(key, fetch): _value(item, fetch) for key, item in items}
        case ["keyed", name, items, *default]:
            pairs = {_value(key, fetch): _value(item, fetch) for key, item in items}
            return _keyed(name, pairs, default)
        case ["deque", items, most]:
            return collections.deque(_values(items, fetch), most)
        case ["set", items]:
            return {_value(item, fetch) for item in items}
        case ["frozenset", items]:
            return frozenset([_value(item, fetch) for item in items])
        case ["record", module, name, items]:
            return _record(module, name, {key: _value(item, fetch) for key, item in items})
        case ["complex", real, imaginary]:
            return complex(real, imaginary)
        case ["decimal", text]:
            return decimal.Decimal(text)
        case ["fraction", text]:
            return fractions.Fraction(text)
        case ["range", *parts]:
            return range(*(int(part, 16) for part in parts))
        case ["bytearray", data]:
            return bytearray(data)
        case ["pandas", name, *parts] if name in ("Timestamp", "Timedelta", "NaT", "NA"):
            return _read_moment(name, parts)
        case ["uuid", data]:
            return uuid.UUID(bytes=data)
        case ["numpy", data]:
            return from_npy(data)[()]
        case ["objects", shape, "C" | "F" as order, items]:
            flat = np.empty(len(items), dtype=object)
            for index, item in enumerate(_values(items, fetch)):
                flat[index] = item
            return flat.reshape(shape, order=order)
        case ["sparse", name, shape, summed, items] if name in _SPARSE:
            return _read_sparse(name, tuple(shape), summed, _values(items, fetch))
        case ["date" | "timedelta" as kind, *parts]:
            return getattr(datetime, kind)(*parts)
        case ["datetime" | "time" as kind, parts, fold, zone]:
            return getattr(datetime, kind)(*parts, tzinfo=_tzinfo(zone), fold=fold)
        case _:
            return fetch(node)


def _read_sparse(name: str, shape: tuple[int, ...], summed: bool, parts: list[Any]) -> Any:
    made = getattr(extras.require("scipy.sparse"), name)(tuple(parts), shape=shape)
    for part, value in zip(_SPARSE[name], parts, strict=True):
        setattr(made, part, value)  # in making it, the type of its numbers may have changed
    if summed:
        made.has_canonical_format = True
    return made


def _keyed(name: str, pairs: dict[Any, Any], default: list[str]) -> Any:
    if name == "defaultdict":
        return collections.defaultdict(_DEFAULTS[default[0]] if default else None, pairs)
    return _KEYED[name](pairs)


def _values(items: list[Any], fetch: Fetch) -> list[Any]:
    # Most are themselves, and there may be many.
    return [_value(item, fetch) if isinstance(item, list) else item for item in items]


def _tzinfo(zone: list[Any]) -> datetime.tzinfo | None:
    match zone:
        case []:
            return None
        case ["zone", key]:
            return zoneinfo.ZoneInfo(key)
        case ["offset", micros, name]:
            offset = datetime.timedelta(microseconds=micros)
            return datetime.timezone(offset) if name is None else datetime.timezone(offset, name)
        case _:
            raise ValueError(f"unknown time zone {zone!r}")


def _record(module: str, name: str, values: dict[str, Any]) -> Any:
    # Stored text must not choose what is imported; the records do nothing on import.
    if not module.startswith(_RECORDS):
        raise ValueError(f"{module} holds no records")
    cls = getattr(importlib.import_module(module), name)
    if not is_dataclass(cls):
        raise ValueError(f"{module}:{name} is no record")
    return cls(**values)  # type: ignore[operator]
