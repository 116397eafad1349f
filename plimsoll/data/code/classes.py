"""What of a class acts."""

from __future__ import annotations

import abc
import dataclasses
import enum
from types import FunctionType, MemberDescriptorType
from typing import Any

#: Names in a class's dict: derived from the rest, or made anew by Python.
_DERIVED = {
    "__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl", "__parameters__",
    "__dataclass_params__", "__dataclass_fields__", "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__",
    "__struct_config__", "__signature__", "__type_params__", "__class_vars__",
}  # fmt: skip
_DATACLASS = ("name", "default", "default_factory", "init", "repr", "hash", "compare", "kw_only", "metadata")
_ATTRS = ("name", "default", "validator", "converter", "kw_only", "init", "alias", "repr", "eq", "order", "hash", "metadata", "on_setattr")
_MEMBER = {"_value_", "_name_", "__objclass__", "_sort_order_"}


def class_content(cls: type) -> tuple[list[tuple[str, Any]], list[Any]]:
    """Return the members of a class that act, sorted by name, and what a record or enum class says of its fields or members.

    Args:
        cls: a class; its bases are not included.
    """
    raw = dict(vars(cls))
    members = [(name, member) for name, member in sorted(raw.items()) if not isinstance(member, MemberDescriptorType)]
    members = [(name, member) for name, member in members if name not in _DERIVED and not name.startswith("__pydantic")]
    fields: list[Any] = []
    if isinstance(cls, enum.EnumMeta):
        fields = _enum_members(cls)
        acting = (FunctionType, classmethod, staticmethod, property)
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
        fields.append([*names, defaults, repr(getattr(cls, "__struct_config__", None))])
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
