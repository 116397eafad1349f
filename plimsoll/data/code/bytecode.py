"""What a code object says and what it names."""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any, NamedTuple

#: Parts of an operation that stands for two: ``LOAD_FAST_LOAD_FAST``.
FAST = re.compile(r"(?:LOAD|STORE)_FAST(?:_BORROW|_CHECK)?")


#: Ways to find an attribute by its name.
FINDERS = frozenset({"getattr", "attrgetter", "methodcaller"})
#: What looks up in the caller's globals the names in a text that it is given: ``frame.query("a > @LIMIT")``.
_READS_NAMES = frozenset({"query", "eval", "sql", "SQLContext", "evaluate", "from_formula", "ols", "logit", "glm", "mixedlm"})
_WORD = re.compile(r"[^\W\d]\w*")

_SKIPPED = ""


def _kind(operation: str, code: int) -> str:
    """Return what an operation's argument is: for one of the code's names, by how many bits its index is shifted."""
    if operation in ("CACHE", "PUSH_NULL", "NOP", "RESUME"):
        return _SKIPPED
    if operation == "EXTENDED_ARG":
        return "more"
    if len(FAST.findall(operation)) == 2:
        return "two"
    if code in dis.haslocal or code in dis.hasfree:
        return "variable"
    if code in dis.hasconst:
        return "constant"
    if code in dis.hasname:
        if operation == "LOAD_SUPER_ATTR":
            return "2"
        return "1" if operation == "LOAD_GLOBAL" or (operation == "LOAD_ATTR" and sys.version_info >= (3, 12)) else "0"
    return "number"


#: Name, kind, and the parts of one that stands for two.
_OPERATIONS = tuple((name, _kind(name, code), FAST.findall(name)) for code, name in enumerate(dis.opname[:256]))
#: Operations that look something up outside of the code -> what.
_LOOKS_UP = {
    "LOAD_GLOBAL": "global",
    **dict.fromkeys(("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"), "class"),
    **dict.fromkeys(("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"), "free"),
    "IMPORT_NAME": "import",
}


class Reference(NamedTuple):
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
    #: Of an import of a module: the attributes that are taken of it, each at once; None when the module itself goes on from there.
    taken: tuple[tuple[str, ...], ...] | None = None


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
    """Return every global and attribute name in a code object and those nested in it, and text such as ``"__doc__"``.

    Args:
        code: any code object.
    """
    named = [name for inner in codes(code) for name in inner.co_names]
    # getattr(function, "__doc__") reads it as well.
    finds, texts = not FINDERS.isdisjoint(named), list(_texts(code))
    named += [text for text in texts if text.startswith("__") or (finds and text.isidentifier())]
    named += ["lineno" for text in texts if "%(lineno)" in text or "{lineno" in text]  # of a log's record
    return frozenset(named)


def named_in_text(code: CodeType, names: Mapping[str, Any]) -> frozenset[Reference]:
    """Return references to the globals that a text may name for a library that looks them up: ``frame.query("a > @LIMIT")``.

    Args:
        code: a function's code; its texts, and the constants that it names, are looked through.
        names: its globals.
    """
    used = {name for inner in codes(code) for name in inner.co_names}
    if used.isdisjoint(_READS_NAMES):
        return frozenset()
    texts = [*_texts(code), *(text for name in used if isinstance(text := names.get(name), str))]
    return frozenset(Reference("global", word) for text in texts for word in _WORD.findall(text) if word in names)


def _texts(code: CodeType) -> Iterator[str]:
    return (text for inner in codes(code) for text in inner.co_consts if isinstance(text, str))


def references(code: CodeType) -> list[Reference]:
    """Return what a code object, and those nested in it, look up outside of themselves, in an order that never varies.

    Args:
        code: a function's code.
    """
    found = {reference for inner in codes(code) for reference in _references(inner, frozenset(code.co_freevars))}
    return sorted(found, key=lambda each: (each.kind, each.name, each.chain, each.argument or "", each.level, each.taken or ()))


def instructions(code: CodeType) -> list[tuple[str, Any]]:
    """Return name and argument of each instruction that acts; one that stands for two (``STORE_FAST_LOAD_FAST``) as two.

    :mod:`dis` tells the same and much more, in ten times the time; a test compares the two.

    Args:
        code: any code object; those nested in it are not included.
    """
    found: list[tuple[str, Any]] = []
    data, names, constants, variable = code.co_code, code.co_names, code.co_consts, code._varname_from_oparg  # type: ignore[attr-defined]
    number = 0
    for opcode, low in zip(data[::2], data[1::2], strict=True):
        if not opcode:
            continue  # room that the interpreter has for itself, which is half of all
        operation, kind, parts = _OPERATIONS[opcode]
        if kind == "variable":
            found.append((operation, variable(number | low)))
        elif kind == "two":
            found += [(parts[0], variable((number | low) >> 4)), (parts[1], variable(low & 15))]
        elif kind == "constant":
            found.append((operation, constants[number | low]))
        elif kind == "number":
            found.append((operation, number | low))
        elif kind == "more":
            number = (number | low) << 8
            continue
        elif kind is not _SKIPPED:
            found.append((operation, names[(number | low) >> int(kind)]))
        number = 0
    return found


def _references(code: CodeType, free: frozenset[str]) -> Iterator[Reference]:
    steps = instructions(code)
    stored: set[str] | None = None
    for position, (operation, name) in enumerate(steps):
        kind = _LOOKS_UP.get(operation)
        if kind is None:
            continue
        if kind == "import":
            yield _import(steps, position)
            continue
        if kind == "free" and name not in free:
            continue
        if kind == "class":
            stored = {each for step, each in steps if step == "STORE_NAME"} if stored is None else stored
            if name in stored or name in ("__name__", "__qualname__"):
                continue
        chain = _chain(steps, position + 1)
        yield Reference(kind, name, chain, _argument(steps, position + 1 + len(chain)))


def _chain(steps: list[tuple[str, Any]], start: int) -> tuple[str, ...]:
    """Return the attributes that are taken one after the other from ``start`` on."""
    end = start
    while end < len(steps) and steps[end][0] in ("LOAD_ATTR", "LOAD_METHOD"):
        end += 1
    return tuple([name for _, name in steps[start:end]]) if end > start else ()


def _argument(steps: list[tuple[str, Any]], start: int) -> str | None:
    """Return the text constant that is the whole of a call's only argument, if it is one."""
    # It is never the last: a function returns something.
    if start + 1 >= len(steps) or steps[start][0] != "LOAD_CONST":
        return None
    text, after = steps[start][1], steps[start + 1][0]
    return text if isinstance(text, str) and after in ("PRECALL", "CALL", "CALL_FUNCTION", "KW_NAMES") else None


def _import(steps: list[tuple[str, Any]], position: int) -> Reference:
    name, level, wanted = steps[position][1], steps[position - 2][1], tuple(steps[position - 1][1] or ())
    end = position + 1
    while steps[end][0] in ("IMPORT_FROM", "SWAP", "ROT_TWO", "POP_TOP"):  # import a.b.c as x
        end += 1
    if wanted or steps[end][0] != "STORE_FAST":
        return Reference("import", name, wanted, None, level)
    is_whole_name, local, taken = end > position + 1, steps[end][1], set()
    for place, (operation, argument) in enumerate(steps):
        if place == end or argument != local or "FAST" not in operation:
            continue
        chain = _chain(steps, place + 1) if operation.startswith("LOAD_FAST") else ()
        if not chain:
            return Reference("import", name, (), None, level)
        taken.add((*(name.split(".")[1:] if is_whole_name else ()), *chain))
    return Reference("import", name, (), None, level, tuple(sorted(taken)))
