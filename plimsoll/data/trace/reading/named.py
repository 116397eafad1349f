"""What a code object names, read off its instructions: the functions that it calls at once, and those that it holds as values."""

from __future__ import annotations

import builtins
import contextlib
import dis
import functools
import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

from plimsoll.data.code.bytecode import FAST, codes, names_used
from plimsoll.data.code.names import contents
from plimsoll.data.trace.watched.called import ABSENT, OPENERS

#: Where the watched C functions are.
_HOMES = frozenset({"time", "datetime", "os", "resource", "ssl", "threading", "numpy", "pandas", *OPENERS})
#: Those of which nearly every function is watched.
_WATCHED_WHOLE = frozenset({"time", "os", "posix", "nt"})
#: Functions that find an attribute by its name.
FINDERS = frozenset({"getattr", "attrgetter", "methodcaller"})

#: Where an expression begins and ends in its source, as (line, column) each.
_Span = tuple[tuple[int, int], tuple[int, int]]


def own_name(value: Any) -> str:
    """Return what something is called where it was defined; empty where that cannot be told.

    Args:
        value: anything.
    """
    # An object may make something of its own of any attribute.
    name = getattr(value, "__name__", "")
    return name.rpartition(".")[2] if isinstance(name, str) else ""


def names_in(function: FunctionType) -> Iterator[str]:
    """Yield the names in a function's code, and what is called otherwise where it was defined.

    Args:
        function: any function written in Python.
    """
    for name in names_used(function.__code__):
        yield from (name, own_name(function.__globals__.get(name)))
    for inner in codes(function.__code__):
        # Names of keywords, such as ``n_jobs``, are constants.
        yield from (name for constant in inner.co_consts if isinstance(constant, tuple) for name in constant if isinstance(name, str))


def steps_of(code: CodeType) -> list[dis.Instruction]:
    """Return the instructions of a code object that act.

    Args:
        code: any code object; those nested in it are not included.
    """
    found: list[dis.Instruction] = []
    for step in dis.get_instructions(code):
        if isinstance(step.argval, tuple) and len(parts := FAST.findall(step.opname)) == 2:  # LOAD_FAST_LOAD_FAST
            found += [step._replace(opname=name, argval=argument) for name, argument in zip(parts, step.argval, strict=True)]
        elif step.opname not in ("EXTENDED_ARG", "CACHE", "PUSH_NULL", "NOP"):
            found.append(step)
    return found


def imported_in(steps: list[dis.Instruction]) -> dict[str, Any]:
    """Return what imports inside of a body bind, by name.

    Args:
        steps: what :func:`steps_of` gave.
    """
    bound: dict[str, Any] = {}
    module: Any = None
    taken: Any = None
    for position, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            whole = _module(step.argval)
            # Without names to take, ``import a.b`` gives a; ``import a.b as c`` then takes b out of it.
            module = taken = whole if steps[position - 1].argval else _module(step.argval.partition(".")[0])
        elif step.opname == "IMPORT_FROM":
            taken = getattr(module, step.argval, None)
            module = module if steps[position + 1].opname.startswith("STORE_") else taken
        elif step.opname.startswith("STORE_") and taken is not None:
            bound[step.argval] = taken
            taken = None
    return bound


def _module(name: str) -> Any:
    """Return a module that is imported, or one of the few that matter here; None for any other."""
    if name not in sys.modules and name.partition(".")[0] in _HOMES:
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return sys.modules.get(name)


def cells_of(function: FunctionType) -> dict[str, Any]:
    """Return what the cells of a function hold, by name.

    Args:
        function: any function written in Python.
    """
    return {name: contents(cell) for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)}


def named_at(names: Mapping[str, Any], local: Mapping[str, Any], step: dis.Instruction) -> Any:
    """Return what an instruction loads by a name; None where that is known only while the code runs.

    Args:
        names: the code's globals.
        local: what else is known of its names.
        step: one of its instructions.
    """
    if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
        return names.get(step.argval, getattr(builtins, step.argval, None))
    if step.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT")) and isinstance(step.argval, str):
        return local.get(step.argval)
    return None


def chain_at(value: Any, steps: list[dis.Instruction], position: int) -> tuple[Any, int]:
    """Return what the attributes lead to that are taken of a value at once, and the position after the last of them.

    Args:
        value: was loaded.
        steps: what :func:`steps_of` gave.
        position: after the load.
    """
    while value is not None and position < len(steps) and steps[position].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        name = steps[position].argval
        is_computed = isinstance(inspect.getattr_static(type(value), name, None), (property, functools.cached_property))
        value = None if is_computed else getattr(value, name, None)
        position += 1
    return value, position


def _span(step: dis.Instruction) -> _Span | None:
    at = step.positions
    if at is None or at.lineno is None or at.col_offset is None or at.end_lineno is None or at.end_col_offset is None:
        return None
    return (at.lineno, at.col_offset), (at.end_lineno, at.end_col_offset)


class Written:
    """The instructions of one code object, and where its calls stand in the source.

    Args:
        code: any code object; those nested in it are not included.
    """

    def __init__(self, code: CodeType) -> None:
        self.steps = steps_of(code)
        #: Where calls begin -> where they end and the offset of the instruction, innermost first.
        self._calls: dict[tuple[int, int], list[tuple[tuple[int, int], int]]] = {}
        for step in self.steps:
            span = _span(step) if step.opname.startswith("CALL") and "INTRINSIC" not in step.opname else None
            if span is not None:
                self._calls.setdefault(span[0], []).append((span[1], step.offset))
        for calls in self._calls.values():
            calls.sort()

        questions = [place for place, step in enumerate(self.steps) if step.argval in ("isinstance", "issubclass")]
        asked = {offset for place in questions if (offset := self.call_of(place)) is not None}
        #: Spans of the calls that only ask for a class.
        self._asked = [span for step in self.steps if step.offset in asked and (span := _span(step)) is not None]

    def only_asks(self, position: int) -> bool:
        """Return whether what the instruction at a position loads is an argument of ``isinstance`` or its like.

        Args:
            position: among the steps.
        """
        span = _span(self.steps[position])
        return span is not None and any(start < span[0] and span[1] < end for start, end in self._asked)

    def call_of(self, position: int) -> int | None:
        """Return the offset of the call of what the instruction at a position loads, or calls; None where it is not called at once.

        The source tells: such a call begins where its function begins, and ends later.

        Args:
            position: among the steps.
        """
        span = _span(self.steps[position])
        calls = self._calls.get(span[0], []) if span else []
        return next((offset for end, offset in calls if span is not None and end > span[1]), None)

    def given(self, position: int) -> tuple[Any, int]:
        """Return the first argument of the call of what the instruction at a position loads, and how many there are.

        What is computed stands as ``...``. A function that is not called at once is taken to be called without arguments.

        Args:
            position: among the steps.
        """
        call = self.call_of(position)
        at = next((place for place, step in enumerate(self.steps) if step.offset == call), None)
        count = 0 if at is None or self.steps[at].opname == "CALL_FUNCTION_EX" else self.steps[at].arg or 0
        alone = self.steps[position + 1] if at is not None and count == 1 and at - position <= 3 else None
        constant = alone is not None and alone.opname == "LOAD_CONST"
        return (ABSENT if not count else alone.argval if constant and alone is not None else ...), count


def kept_sites(code: CodeType, watched: Collection[str]) -> frozenset[int]:
    """Return the offsets of the calls by whose name alone another function may be watched the next time: ``each.stat()``.

    Args:
        code: any code object.
        watched: last names of watched functions.
    """
    names = {*watched, *FINDERS}
    if names.isdisjoint(code.co_names):
        return frozenset()
    written, found = Written(code), set[int]()
    for position, step in enumerate(written.steps):
        if step.opname.startswith("LOAD_") and isinstance(step.argval, str) and step.argval in names:
            call = written.call_of(position)
            if step.argval in FINDERS and call is not None:  # what is found is called: getattr(each, name)()
                at = next(place for place, each in enumerate(written.steps) if each.offset == call)
                call = written.call_of(at)
            found.update([] if call is None else [call])
    return frozenset(found)


def held(
    code: CodeType, names: Mapping[str, Any], is_watched: Callable[[Any], bool], watched: Collection[str], sees_calls: bool
) -> Iterator[Any]:
    """Yield the watched functions that code names without calling them at once, and whole modules of them that it searches.

    What it does with them, or gives them to, may call them where no code of Python's does.

    Args:
        code: a function's code, with what is nested in it.
        names: its globals.
        is_watched: tells of a callable whether it is watched.
        watched: last names of watched functions.
        sees_calls: calls of C functions are seen; else what is found by ``getattr`` counts even where it is called at once.
    """
    local: dict[str, Any] = {}
    for inner in codes(code):
        suspects = {name for name in inner.co_names if name in watched or name in FINDERS or name in ("vars", "__dict__")}
        if not suspects and not any(own_name(names.get(name)) in watched for name in inner.co_names) and not local:
            continue
        written = Written(inner)
        local |= imported_in(written.steps)
        again, aliases = Counter(step.argval for step in written.steps if step.opname == "STORE_FAST"), dict[str, Any]()
        for position, step in enumerate(written.steps):
            value, end = chain_at(named_at(names, local, step), written.steps, position + 1)
            if value is getattr and (found := _by_getattr(written, position, names, local, sees_calls)) is not None:
                yield from [found] if inspect.ismodule(found) or is_watched(found) else []
            elif value is vars or step.argval == "__dict__":
                before, _ = chain_at(named_at(names, local, written.steps[position + 1 if value is vars else position - 1]), [], 0)
                yield from [before] if inspect.ismodule(before) and before.__name__ in _WATCHED_WHOLE else []
            elif step.argval in watched and step.opname == "LOAD_CONST" and not {"attrgetter", "methodcaller"}.isdisjoint(inner.co_names):
                yield from _of_any_home(step.argval)
            elif callable(value) and is_watched(value) and written.call_of(end - 1) is None and not written.only_asks(position):
                if value is hash and inner.co_name == "__hash__":
                    continue  # a class hashes itself by what it has; that stays inside of the process
                after = written.steps[end] if end < len(written.steps) else None
                if after is not None and after.opname == "STORE_FAST" and again[after.argval] == 1 and after.argval not in _given(inner):
                    aliases[after.argval] = value
                else:
                    yield value
        for position, step in enumerate(written.steps):
            if step.opname.startswith("LOAD_FAST") and step.argval in aliases and written.call_of(position) is None:
                yield aliases[step.argval]


def means_now(code: CodeType) -> bool:
    """Return whether code may have numpy or pandas read the present out of a list of texts: ``np.array(["now"], "datetime64[s]")``.

    Args:
        code: any code object; those nested in it are not included.
    """
    texts = [each for value in code.co_consts for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str)]
    if {"now", "today"}.isdisjoint(texts):
        return False
    # A list that is given to to_datetime is seen itself, where calls are.
    names = {"DatetimeIndex", "datetime64", *(("to_datetime",) if sys.version_info < (3, 12) else ())}
    return not names.isdisjoint(code.co_names) or any("datetime64" in text or text.startswith("M8") for text in texts)


def _given(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)]


def _by_getattr(written: Written, position: int, names: Mapping[str, Any], local: Mapping[str, Any], sees_calls: bool) -> Any:
    """Return what a ``getattr`` finds that is not called at once: a function, or the module that it searches by a computed name."""
    call = written.call_of(position)
    at = next((place for place, step in enumerate(written.steps) if step.offset == call), None)
    if at is None or (sees_calls and written.call_of(at) is not None):
        return None
    owner, end = chain_at(named_at(names, local, written.steps[position + 1]), written.steps, position + 2)
    if end < len(written.steps) and written.steps[end].opname == "LOAD_CONST" and isinstance(written.steps[end].argval, str):
        return getattr(owner, written.steps[end].argval, None) if inspect.ismodule(owner) or isinstance(owner, type) else None
    return owner if inspect.ismodule(owner) and owner.__name__ in _WATCHED_WHOLE else None


def _of_any_home(name: str) -> Iterator[Any]:
    """Yield the functions of the standard library that a name may lead to, whatever it is looked up in."""
    for home in ("time", "os"):
        if callable(found := getattr(sys.modules.get(home), name, None)):
            yield found
            return
