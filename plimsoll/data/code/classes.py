"""What of a class acts."""

from __future__ import annotations

import enum
from types import FunctionType, MemberDescriptorType
from typing import Any

#: Names in a class's dict: derived from the rest, or made anew by Python.
_DERIVED = {
    "__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl", "__parameters__",
    "__orig_bases__", "__dataclass_params__", "__dataclass_fields__", "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__",
    "__struct_config__", "__signature__", "__type_params__",
}  # fmt: skip


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
        fields = [[name, member.value] for name, member in cls.__members__.items()]  # type: ignore[var-annotated]
        acting = (FunctionType, classmethod, staticmethod, property)
        members = [(name, member) for name, member in members if not name.startswith("_") or isinstance(member, acting)]
        members = [(name, member) for name, member in members if name not in cls.__members__]
    names = ("name", "default", "default_factory", "init", "repr", "hash", "compare", "kw_only", "metadata")
    for field in raw.get("__dataclass_fields__", {}).values():
        fields.append([*(getattr(field, name, None) for name in names), field._field_type.name])
    for attribute in raw.get("__attrs_attrs__", ()):
        fields.append([getattr(attribute, name) for name in ("name", "default", "validator", "converter", "kw_only", "init", "alias")])
    for name, field in raw.get("__pydantic_fields__", {}).items():
        fields.append([name, repr(field), field.default_factory])
    return members, fields
