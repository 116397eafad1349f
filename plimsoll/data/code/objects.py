"""What of a class acts, and of an object whose attributes do not tell: wrappers, handles, and what reduces itself.

And how classes, functions and values are told to whoever asks why a step ran; nothing of that counts.
"""

from __future__ import annotations

import abc
import contextvars
import ctypes
import dataclasses
import enum
import functools
import logging
import os
import re
import reprlib
import struct
import sys
import threading
import types
import typing
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from plimsoll.data.code.names import Mention, contents
from plimsoll.data.code.silent import shown
from plimsoll.data.code.source import Sources
from plimsoll.fingerprint import state_of

_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Event, threading.Condition, threading.Semaphore)
ALIASES = (types.GenericAlias, types.UnionType, type(list[int] | None), type(typing.Union[int, None]), type(typing.List[int]))  # noqa: UP006, UP007
#: Kinds of wrapper, and where each keeps what acts.
_WRAPPERS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (functools.partial, ("func", "args", "keywords", "__dict__")),
    (functools.partialmethod, ("func", "args", "keywords")),
    (staticmethod, ("__func__",)),
    (classmethod, ("__func__",)),
    (property, ("fget", "fset", "fdel")),
    (functools.cached_property, ("func",)),
    (functools.singledispatchmethod, ("dispatcher", "func")),
)
_TYPING = (typing.TypeVar, typing.ParamSpec, typing.NewType, typing.ForwardRef, *filter(None, [getattr(typing, "TypeAliasType", None)]))

#: Names in a class's dict: derived from the rest, or made anew by Python.
_DERIVED = {
    "__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl", "__parameters__",
    "__slotnames__",  # of its slots, once an object was copied
    "__dataclass_params__", "__dataclass_fields__", "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__",
    "__struct_config__", "__signature__", "__type_params__", "__class_vars__",
}  # fmt: skip
_DATACLASS = ("name", "default", "default_factory", "init", "repr", "hash", "compare", "kw_only", "metadata")
_ATTRS = ("name", "default", "validator", "converter", "kw_only", "init", "alias", "repr", "eq", "order", "hash", "metadata", "on_setattr")
_MEMBER = {"_value_", "_name_", "__objclass__", "_sort_order_"}

#: Names of what is not shown.
SECRET = re.compile(r"key|secret|token|passw|credential", re.IGNORECASE)

#: Where a text gives such a name a value.
_GIVEN = re.compile(rf"(?:{SECRET.pattern})\w*['\"]?\s*[=:]", re.IGNORECASE)

_NOT_SHOWN = "(not shown)"

#: Values that one text tells at most, members of a class or module, and characters of a text within it.
_VALUES, _MEMBERS, _TEXT = 100, 300, 1000

#: What a field says that is like most.
_USUAL = {"init": True, "repr": True, "compare": True, "eq": True, "order": True, "default_factory": dataclasses.MISSING}

#: What is told by its name alone: it is a part of its own, or holds one.
_CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type, staticmethod, classmethod, property)


def inside(value: Any, homes: tuple[str, ...], sources: Sources) -> tuple[str, Any] | None:
    """Return what acts of an object of the standard library, or of one that compiles functions; None for any other.

    Args:
        value: any object.
        homes: names of the module at hand; a logger called like one is called so for every module.
        sources: tells where classes come from.
    """
    if isinstance(value, functools._lru_cache_wrapper):
        return "cache", (value.__wrapped__, value.cache_parameters())
    for kind, attributes in _WRAPPERS:
        if isinstance(value, kind):
            return kind.__name__, [getattr(value, name) for name in attributes]
    if isinstance(value, (logging.Logger, *_LOCKS)):
        name = getattr(value, "name", "")
        return type(value).__name__, "" if name in homes else name
    if isinstance(value, contextvars.ContextVar):
        return "contextvar", (value.name, _current(value))
    if isinstance(value, ctypes.CDLL):
        return "library", (value._name, sources.native(value._name))
    if isinstance(value, struct.Struct):
        return "struct", value.format
    if isinstance(value, _TYPING):
        parts = ("__supertype__", "__bound__", "__constraints__", "__value__")
        return "typing", (str(getattr(value, "__name__", value)), [getattr(value, name, None) for name in parts])
    if sources.origin(type(value).__module__, None) == "third":
        if type(value).__name__ == "ufunc" and (home := _library_with(value, value.__name__, sources)):
            return "ufunc", (home, value.__name__)
        compiled = getattr(value, "py_func", None)
        if isinstance(compiled, types.FunctionType):
            # numba's own reduction holds an id that is another one in every process.
            return "compiled", (type(value), compiled, getattr(value, "targetoptions", None))
        if type(value).__module__ == "msgspec" and type(value).__name__ == "Meta":
            return "msgspec.Meta", list(value.__rich_repr__())
    return None


def reduction(value: Any, sources: Sources) -> tuple[str, Any] | None:
    """Return the state of an instance as its own reduction tells it; None when it has none.

    Args:
        value: any object.
        sources: tells where classes come from.
    """
    cls = type(value)
    if isinstance(value, (types.GeneratorType, types.CoroutineType, types.FrameType, types.CodeType)):
        return None
    if cls.__module__ == "pyarrow._dataset" and cls.__name__.endswith(("Dataset", "Fragment")):
        return None  # its files are read when it is asked for rows
    if (
        cls.__name__ == "Expr"
        and sys.version_info < (3, 12)
        and b"PLPYFN" in (value.__getstate__() if cls.__module__ == "polars.expr.expr" else b"")
    ):
        return None  # a function of Python in it is named, and on this Python not seen when it runs
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:
        # Each class raises its own kind of error when it has no portable state; the caller turns None into a refusal.
        return None
    is_users = sources.origin(cls.__module__, None) == "user"
    if isinstance(reduced, str):
        # A name says what an object is only where the name belongs to a library.
        home = None if is_users else _library_with(value, reduced, sources)
        return ("named", (home, reduced)) if home else ("instance", (cls, dict(state_of(value)))) if is_users else None
    state, *items = [*reduced[2:5], None, None, None][:3]
    if all(getattr(cls, name) is getattr(object, name) for name in ("__reduce_ex__", "__reduce__", "__getstate__")):
        state = dict(state_of(value))
    elif is_users or "__wrapped__" in getattr(value, "__dict__", {}):
        # What an object leaves out of its pickle can act all the same.
        state = (state, dict(state_of(value)))
    if isinstance(value, BaseException):
        # Some keep in members of their own what may have been set since they were made: ``SystemExit.code``.
        state = (state, state_of(value), value.__cause__, value.__context__, value.__suppress_context__)
    return "instance", (reduced[0], list(reduced[1]), state, [None if each is None else list(each) for each in items])


def resolve(module: str, name: str) -> Any:
    """Return what a module that is imported holds under a dotted name, or None.

    Args:
        module: its name.
        name: attributes, one after the other.
    """
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _library_with(value: Any, name: str, sources: Sources) -> str | None:
    """Return the module of a library in which ``value`` has a name."""
    claimed = getattr(value, "__module__", None) or type(value).__module__
    # In an order that does not hang on what was imported first.
    for module in (claimed, *sorted(sys.modules, key=lambda module: (module.count("."), module))):
        if resolve(module, name) is value and sources.origin(module, None) != "user":
            return str(module)
    return None


def _current(variable: contextvars.ContextVar[Any]) -> Any:
    try:
        return variable.get()
    except LookupError:
        return Mention("absent")


def class_content(cls: type) -> tuple[list[tuple[str, Any]], list[Any]]:
    """Return the members of a class that act, sorted by name, and what a record or enum class says of its fields or members.

    Args:
        cls: a class; its bases are not included.
    """
    raw = dict(vars(cls))
    members = [(name, member) for name, member in sorted(raw.items()) if not isinstance(member, types.MemberDescriptorType)]
    members = [(name, member) for name, member in members if name not in _DERIVED and not name.startswith("__pydantic")]
    fields: list[Any] = []
    if isinstance(cls, enum.EnumMeta):
        fields = _enum_members(cls)
        acting = (types.FunctionType, classmethod, staticmethod, property)
        members = [(name, member) for name, member in members if not name.startswith("_") or isinstance(member, acting)]
        members = [(name, member) for name, member in members if name not in cls.__members__]
    for field in raw.get("__dataclass_fields__", {}).values():
        fields.append([*(getattr(field, name, None) for name in _DATACLASS), field._field_type.name])
    for attribute in raw.get("__attrs_attrs__", ()):
        fields.append([getattr(attribute, name, None) for name in _ATTRS])
    if hasattr(cls, "__struct_config__"):
        # A default that is made anew for each instance is held in an object of the library's own.
        defaults = [getattr(each, "factory", each) for each in getattr(cls, "__struct_defaults__", ())]
        names = [getattr(cls, name, None) for name in ("__struct_fields__", "__struct_encode_fields__")]
        config = cls.__struct_config__
        fields.append([*names, defaults, [(name, getattr(config, name)) for name in dir(config) if not name.startswith("_")]])
    for name, field in raw.get("__pydantic_fields__", {}).items():
        # Its repr shows functions by their address, and not what they do.
        fields.append([name, [(slot, getattr(field, slot, None)) for slot in type(field).__slots__ if not slot.startswith("_")]])
    if "__pydantic_decorators__" in raw:
        fields += _pydantic_decorators(raw["__pydantic_decorators__"])
    if "_abc_impl" in raw:
        fields.append(_registered(cls))
    return members, fields


def _enum_members(cls: enum.EnumMeta) -> list[Any]:
    found: list[Any] = []
    members: dict[str, Any] = dict(cls.__members__)
    for name, member in members.items():
        extra = sorted((key, value) for key, value in getattr(member, "__dict__", {}).items() if key not in _MEMBER)
        found.append([name, member.value, extra])
    boundary = getattr(cls, "_boundary_", None)
    return [*found, None if boundary is None else boundary.name]


def _pydantic_decorators(infos: Any) -> list[Any]:
    """Return which function of a model does what, without the identities that the library keeps beside it."""
    found: list[Any] = []
    for kind in dataclasses.fields(infos):
        for name, decorator in getattr(infos, kind.name).items():
            found.append([kind.name, name, decorator.cls_var_name, decorator.info])
    return found


def _registered(cls: type) -> list[str]:
    """Return the names of the classes that were registered with an abstract base class."""
    dump = getattr(abc, "_get_dump", None)
    if dump is None:  # another Python than CPython
        return []
    found = [reference() for reference in dump(cls)[0]]
    return sorted(f"{each.__module__}.{each.__qualname__}" for each in found if each is not None)


class _Told(reprlib.Repr):
    """Values in one text of bounded length; an object that has no text of its own is told by its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 4, _TEXT, _TEXT, _TEXT
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = self.maxdict = 50
        self._left = _VALUES

    def repr1(self, x: Any, level: int) -> str:
        self._left -= 1
        return super().repr1(x, level) if self._left >= 0 else "..."

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        # In its own order, which can matter.
        return "{" + self._pairs(x, ": ", level, self.repr1) + "}"

    def repr_instance(self, x: Any, level: int) -> str:
        held = getattr(x, "__dict__", None)
        if getattr(type(x), "__repr__", None) is object.__repr__ and isinstance(held, dict):
            return f"{type(x).__name__}({self._pairs(held, '=', level, lambda name, _: str(name))})"
        text = "" if isinstance(x, os._Environ) else super().repr_instance(x, level)
        return text if text and not _GIVEN.search(text) else f"{type(x).__name__}{_NOT_SHOWN}"

    def _pairs(self, held: Mapping[Any, Any], between: str, level: int, name: Any) -> str:
        if level <= 0 and held:
            return "..."
        told = [f"{name(key, level - 1)}{between}{self._valued(key, held[key], level - 1)}" for key in islice(held, self.maxdict)]
        return ", ".join(told + ["..."] * (len(held) > self.maxdict))

    def _valued(self, key: Any, value: Any, level: int) -> str:
        return _NOT_SHOWN if isinstance(key, str) and SECRET.search(key) else self.repr1(value, level)


def value_text(value: Any, name: str = "") -> str:
    """Return a value as text, of bounded length and the same in every process; empty for one whose name sounds secret.

    Args:
        value: any object.
        name: what it is called.
    """
    if SECRET.search(name):
        return ""
    try:
        return shown(value, _Told().repr)
    except Exception:  # of the user's own: nothing hangs on this text
        return f"<{type(value).__name__}>"


def members_text(head: str, members: Iterable[tuple[str, Any]], lines: Iterable[str] = ()) -> str:
    """Return a class or module as text, a line for each member.

    Args:
        head: the first line.
        members: names and what they hold.
        lines: what is told before them.
    """
    told = [f"    {name}" if isinstance(value, _CODE) else _set_to(name, value) for name, value in islice(members, _MEMBERS)]
    return "\n".join([head, *lines, *told])


def class_text(cls: type, members: Iterable[tuple[str, Any]]) -> str:
    """Return a class as text: its bases, its fields, and its members with their values.

    Args:
        cls: the class.
        members: those of :func:`class_content`.
    """
    own = vars(cls)
    fields: dict[str, str] = {}
    if isinstance(cls, enum.EnumMeta):
        named: dict[str, Any] = dict(cls.__members__)
        fields = {name: _set_to(name, member.value) for name, member in named.items()}
    for field in own.get("__dataclass_fields__", {}).values():
        fields[field.name] = _field(field.name, field, _DATACLASS)
    for attribute in own.get("__attrs_attrs__", ()):
        fields[attribute.name] = _field(attribute.name, attribute, _ATTRS)
    for name, described in own.get("__pydantic_fields__", {}).items():
        fields[name] = f"    {name}: {value_text(described, name) or _NOT_SHOWN}"
    names, defaults = own.get("__struct_fields__", ()), own.get("__struct_defaults__", ())
    for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
        fields[name] = _set_to(name, default)
    bases = ", ".join(base.__name__ for base in cls.__bases__)
    others = [(name, value) for name, value in members if name not in fields]
    return members_text(f"class {cls.__name__}({bases}):", others, fields.values())


def _field(name: str, field: Any, attributes: Iterable[str]) -> str:
    given = {each: getattr(field, each, None) for each in attributes if each not in ("name", "alias")}
    value = given.pop("default")
    told = [f"{each}={value_text(value, name) or _NOT_SHOWN}" for each, value in given.items() if value and _USUAL.get(each) is not value]
    told += [f"{each}=False" for each, value in given.items() if value is False and _USUAL.get(each, False)]
    return ", ".join([_set_to(name, value) if value is not dataclasses.MISSING else f"    {name}", *told])


def _set_to(name: str, value: Any, mark: str = "    ") -> str:
    return f"{mark}{name} = {value_text(value, name) or _NOT_SHOWN}"


def held_text(function: types.FunctionType, text: str) -> str:
    """Return the text of a function with what it holds beside it: values of enclosing functions, defaults, attributes.

    Args:
        function: the function.
        text: its source; a default that it shows is not told again.
    """
    if not (function.__closure__ or function.__defaults__ or function.__kwdefaults__ or function.__dict__):
        return text
    code, defaults = function.__code__, function.__defaults__ or ()
    taken = code.co_varnames[: code.co_argcount]
    given = [*zip(taken[len(taken) - len(defaults) :], defaults, strict=True), *(function.__kwdefaults__ or {}).items()]
    held = [(name, contents(cell)) for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)]
    held += [(name, value) for name, value in given if value_text(value) not in text]
    held += [(f".{name}", value) for name, value in vars(function).items() if name != "__wrapped__" and not name.startswith("__plimsoll")]
    return "\n".join([text, *(_set_to(name, value, "# ") for name, value in held if not isinstance(value, _CODE))])
