"""Frozen dataclasses whose methods are made when they are first needed.

``dataclasses`` writes six methods of each class as text and compiles them: .7 ms a class. Of the records, a process defines a hundred or
two while it starts, and makes objects of a few. So a record's class gets its fields and slots at once, and the methods, by
``dataclasses`` itself, when an object is first made, compared, hashed or shown. For type checkers it is the standard decorator.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool, kw_only: bool) -> Callable[[type], type]:
        """Return a decorator that makes a class a frozen, slotted, keyword-only dataclass: there is no other kind of record.

        Args:
            frozen: True.
            slots: True.
            kw_only: True.
        """
        if not (frozen and slots and kw_only):
            raise TypeError("A record is frozen, slotted and keyword-only; for another class take dataclasses.dataclass.")
        return _record


#: What is made when it is first needed.
_LATE = ("__init__", "__repr__", "__eq__", "__hash__")


def _record(written: type) -> type:
    # dataclasses takes defaults and fields out of a class that it is given, so the class is remembered as it was written.
    body = {name: value for name, value in vars(written).items() if name not in ("__dict__", "__weakref__")}
    late = [name for name in _LATE if name not in body]
    made: type = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)(written)
    for name in late:
        setattr(made, name, _late(name, made, body, late))
    # As dataclasses has them; these need no text of their own.
    for method in (__setattr__, __delattr__, __getstate__, __setstate__):
        setattr(made, method.__name__, method)
    return made


def _late(name: str, made: type, body: dict[str, Any], late: list[str]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **named: Any) -> Any:
        # Threads that come here at the same time make the same methods.
        whole: type = dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(type(made.__name__, made.__bases__, dict(body)))
        for each in late:
            setattr(made, each, getattr(whole, each))
        return getattr(made, name)(self, *args, **named)

    return method


def __setattr__(self: Any, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def __delattr__(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def __getstate__(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def __setstate__(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
