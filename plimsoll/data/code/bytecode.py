"""What a code object says and what it names."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that code looks up outside of itself."""

    #: ``global``, ``class`` (a global name in a class body), ``free`` (a closure's cell) or ``import``.
    kind: str
    name: str
    #: Attributes taken at once (``mod.helper.x``), or the names of ``from name import ...``.
    chain: tuple[str, ...] = ()
    #: The text constant that follows (``import_module("x")``), or None.
    argument: str | None = None
    #: Dots before the name of an import.
    level: int = 0


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all that are nested in it.

    Args:
        code: any code object.
    """
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def bytecode(code: CodeType) -> tuple[Any, ...]:
    """Return all of a code object that acts, as plain values.

    Args:
        code: any code object; those nested in it are included.
    """
    constants = [bytecode(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, constants, names, counts, code.co_exceptiontable)


def names_used(code: CodeType) -> frozenset[str]:
    """Return every global and attribute name in a code object and those nested in it.

    Args:
        code: any code object.
    """
    return frozenset(name for inner in codes(code) for name in inner.co_names)


def references(code: CodeType) -> set[Reference]:
    """Return what a code object, and those nested in it, look up outside of themselves.

    Args:
        code: a function's code.
    """
    return {found for inner in codes(code) for found in _references(inner, frozenset(code.co_freevars))}


def _references(code: CodeType, free: frozenset[str]) -> Iterator[Reference]:
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "CACHE", "PUSH_NULL", "NOP")]
    stored = {step.argval for step in steps if step.opname == "STORE_NAME"}
    for position, step in enumerate(steps):
        operation, name = step.opname, step.argval
        if operation == "LOAD_GLOBAL":
            kind = "global"
        elif operation in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            kind = "class"
        elif operation in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"):
            kind = "free"
        elif operation == "IMPORT_NAME":
            level, wanted = steps[position - 2].argval, steps[position - 1].argval
            yield Reference("import", name, tuple(wanted or ()), None, level)
            continue
        else:
            continue
        if (kind == "free" and name not in free) or (kind == "class" and (name in stored or name in ("__name__", "__qualname__"))):
            continue
        end = position + 1
        while end < len(steps) and steps[end].opname in ("LOAD_ATTR", "LOAD_METHOD"):
            end += 1
        follower = steps[end].argval if end < len(steps) and steps[end].opname == "LOAD_CONST" else None
        chain = tuple(each.argval for each in steps[position + 1 : end])
        yield Reference(kind, name, chain, follower if isinstance(follower, str) else None)
