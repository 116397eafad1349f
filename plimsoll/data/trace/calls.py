"""Which code runs during a step, and what of it touches the world.

From Python 3.12 ``sys.monitoring`` tells when a code object begins. Nearly all are told of once and then no more, so that a
step pays for the code it has and not for the calls it makes. Only calls inside the few code objects that name a watched C
function are told of each time. Python 3.11 has no such means: there every call of a Python function is looked at, which makes
code that calls many small ones several times slower, so it is done only where the step's code names a watched function.
"""

from __future__ import annotations

import builtins
import contextlib
import dis
import gc
import importlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType
from typing import Any

from plimsoll.data.code.bytecode import codes, names_used
from plimsoll.data.code.closure import _Walk
from plimsoll.data.code.names import contents
from plimsoll.data.code.source import Sources
from plimsoll.data.trace.found import Found
from plimsoll.data.trace.watched import (
    ABSENT,
    BY_PYTHON,
    CALLED_BY_OTHERS,
    MODULES,
    OPENERS,
    begun,
    called,
    full_name,
    hashes,
    is_watched_call,
    is_watched_name,
    states,
)

_HERE = os.path.dirname(__file__)
_TOOLS = (4, 3, 2)
_NAME = "plimsoll"
_FINALIZER = weakref.finalize.__call__.__code__
#: Where the watched C functions are.
_HOMES = frozenset({"time", "datetime", "os", "resource", "ssl", "threading", "numpy", "pandas", *OPENERS})
_CALLS = {number for name, number in dis.opmap.items() if name.startswith("CALL")}


class Monitor:
    """Watches by ``sys.monitoring``; one a process, since its events are.

    Args:
        active: tells what records now.
    """

    def __init__(self, active: Callable[[], tuple[Found, ...]]) -> None:
        self._active = active
        self._tool: int | None = None
        self._depth = 0
        self._entered: list[CodeType] = []

    def begin(self) -> bool:
        """Watch from now on, and return whether that is possible here."""
        monitoring = getattr(sys, "monitoring", None)
        if monitoring is None:
            return False
        if self._depth == 0:
            self._tool = next((tool for tool in _TOOLS if monitoring.get_tool(tool) is None), None)
            if self._tool is None:
                return False
            monitoring.use_tool_id(self._tool, _NAME)
            monitoring.register_callback(self._tool, monitoring.events.PY_START, self._started)
            monitoring.register_callback(self._tool, monitoring.events.CALL, self._called)
            monitoring.set_events(self._tool, monitoring.events.PY_START)
        # What an earlier recording has seen once is told of again.
        monitoring.restart_events()
        self._depth += 1
        return True

    def end(self) -> None:
        """Watch no more, unless another recording goes on."""
        self._depth -= 1
        if self._depth == 0 and self._tool is not None:
            monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
            monitoring.set_events(self._tool, 0)
            for code in self._entered:
                monitoring.set_local_events(self._tool, code, 0)
            self._entered.clear()
            for event in (monitoring.events.PY_START, monitoring.events.CALL):
                monitoring.register_callback(self._tool, event, None)
            monitoring.free_tool_id(self._tool)
            self._tool = None

    def _started(self, code: CodeType, offset: int) -> Any:
        once = sys.monitoring.DISABLE  # type: ignore[attr-defined,unused-ignore]
        if code.co_filename.startswith(_HERE):
            return once
        frame = sys._getframe(1)
        for found in self._active():
            if not found.mine():
                # Another thread's: the same code may still begin in the step's own.
                once = None
            elif begins(found, code, frame):
                once = None
            else:
                self._enter(found, code)
        return once

    def _enter(self, found: Found, code: CodeType) -> None:
        kind = found.origins.of(code.co_filename)
        # The user's code may give any package the path of a file.
        if kind == "user" or (kind == "third" and not CALLED_BY_OTHERS.isdisjoint(code.co_names)):
            monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
            monitoring.set_local_events(self._tool, code, monitoring.events.CALL)
            self._entered.append(code)

    def _called(self, code: CodeType, offset: int, function: Any, first: Any) -> Any:
        monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        given = ABSENT if first is monitoring.MISSING else first
        once = monitoring.DISABLE
        for found in self._active():
            kind = found.origins.of(code.co_filename)
            if not found.mine():
                once = None
            elif is_watched_call(function, kind):
                once = None
                found.look(called, found, sys._getframe(1), function, given, _count(code, offset))
            elif kind == "user" and isinstance(given, (str, bytes, os.PathLike)) and found.origins.is_foreign(function):
                found.look(found.hand, given, (id(code), offset))
                once = once if found.gives_no_files((id(code), offset)) else None
        return once


def _of_collector(frame: FrameType) -> bool:
    """Return whether code runs because something was let go of at this moment.

    What others hung on the collector is no part of the step, nor are the last acts of objects, which may be anybody's.
    """
    # By identity: to compare code objects takes longer than most calls.
    hung = {id(_FINALIZER), *(id(getattr(callback, "__code__", None)) for callback in gc.callbacks)}
    at: FrameType | None = frame
    while at is not None:
        if at.f_code.co_name == "__del__" or id(at.f_code) in hung:
            return True
        at = at.f_back
    return False


def begins(found: Found, code: CodeType, frame: FrameType) -> bool:
    """Note that a code object begins, and return whether it must be told of each time.

    Args:
        found: takes it.
        code: the code.
        frame: its frame, with its arguments.
    """
    kind, act = found.origins.of(code.co_filename), None
    if kind in ("third", "stdlib"):
        module = frame.f_globals.get("__name__", "")
        act = begun(module, code.co_qualname) if module.startswith(MODULES) else None
    news = found.is_news(code, kind)
    if act is None and not news:
        return False
    if _of_collector(frame):
        return True
    if news:
        found.look(found.ran, code, frame.f_globals, kind)
    if act is None:
        return False
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    values = frame.f_locals
    found.look(act, found, frame, {name: values[name] for name in names if name in values}, f"{module.partition('.')[0]}.{code.co_name}")
    return True


def _count(code: CodeType, offset: int) -> int:
    """Return how many arguments a call has."""
    data = code.co_code
    return data[offset + 1] if data[offset] in _CALLS else 1


class Tracing:
    """Watches by ``sys.settrace``, where nothing better is there.

    Args:
        found: takes what happens.
        functions: the step's own code, as far as static reading has seen it.
        named: names of the functions that it has met.
    """

    def __init__(self, found: Found, functions: tuple[FunctionType, ...], named: frozenset[str]) -> None:
        self._found = found
        self._functions = functions
        names = {name for function in functions for name in _names(function)}
        others = named & BY_PYTHON - names  # in a table, where it is not told whose they are
        self._needed = any(map(is_watched_name, (names | named) - BY_PYTHON | others)) or any(map(_reads_natively, functions))
        self._states = {"scandir", "stat"} <= names
        self._streams = bool(names & {"open_input_file", "open_input_stream"})
        self._before: tuple[Any, Any] = (None, None)
        #: File and line of what has begun before and need not be looked at again.
        self._once: set[tuple[str, int]] = set()

    def begin(self) -> None:
        """Watch from now on, if the step's code names a watched function; calls of C functions are read off the code."""
        for function in self._functions:
            _read_off(self._found, function)
        if self._states:
            self._found.effect("may have asked for a file's state by os.DirEntry.stat, which this Python cannot see")
        if self._streams:
            self._found.effect("read files by a file system's streams, which this Python cannot see")
        if self._needed:
            self._before = sys.gettrace(), threading.gettrace()
            if self._before[0] is None:
                sys.settrace(self._started)
                threading.settrace(self._started)
            else:
                self._found.effect("ran under a debugger or a coverage tool, so what it read could not be seen")

    def end(self) -> None:
        """Watch no more."""
        if self._needed and self._before[0] is None:
            sys.settrace(None)
            threading.settrace(self._before[1])

    def _started(self, frame: FrameType, event: str, argument: Any) -> None:
        # By its place: to compare code objects, or to ask for an identity, which audit hooks are told of, takes longer than a call.
        code = frame.f_code
        place = code.co_filename, frame.f_lineno
        if place not in self._once and self._found.mine() and not begins(self._found, code, frame):
            self._once.add(place)


def _names(function: FunctionType) -> Iterator[str]:
    """Yield the names in a function's code, and what is called otherwise where it was defined."""
    for name in names_used(function.__code__):
        yield from (name, _own_name(function.__globals__.get(name)))
    for inner in codes(function.__code__):
        # Names of keywords, such as ``n_jobs``, are constants.
        yield from (name for constant in inner.co_consts if isinstance(constant, tuple) for name in constant if isinstance(name, str))


def _own_name(value: Any) -> str:
    # An object may make something of its own of any attribute.
    name = getattr(value, "__name__", "")
    return name.rpartition(".")[2] if isinstance(name, str) else ""


def _steps(code: CodeType) -> list[dis.Instruction]:
    return [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "CACHE", "PUSH_NULL", "NOP")]


def _read_off(found: Found, function: FunctionType) -> None:
    """Note what the C functions mean that a function names, whether or not it comes to call them."""
    local: dict[str, Any] = {}
    for code in codes(function.__code__):
        steps = _steps(code)
        local |= _imported(steps)
        for position, step in enumerate(steps):
            value = _named(function, local, step)
            end = position + 1
            while value is not None and end < len(steps) and steps[end].opname in ("LOAD_ATTR", "LOAD_METHOD"):
                value = getattr(value, steps[end].argval, None)
                end += 1
            # A class hashes itself by what it has; that stays inside of the process.
            if callable(value) and is_watched_call(value, "user") and (value is not hash or code.co_name != "__hash__"):
                first, count = _given(steps, end)
                found.look(_as_written, found, value, first, count)


def _reads_natively(function: FunctionType) -> bool:
    """Return whether a function may name a reader like those of pandas that open their files by Python, which tells of it."""
    if BY_PYTHON.isdisjoint(_names(function)):
        return False
    local: dict[str, Any] = {}
    for code in codes(function.__code__):
        steps = _steps(code)
        local |= _imported(steps)
        before: Any = None
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            value = _named(function, local, step)
            if (step.argval in BY_PYTHON or _own_name(value) in BY_PYTHON) and not step.opname.startswith("STORE"):
                stored = local.get(after.argval) if after is not None and step.opname == "IMPORT_FROM" else value
                reader = getattr(before, step.argval, None) if stored is None else stored
                if str(getattr(reader, "__module__", "")).partition(".")[0] != "pandas":
                    return True
            before = value
    return False


def _imported(steps: list[dis.Instruction]) -> dict[str, Any]:
    """Return what imports inside of a body bind, by name."""
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


def _named(function: FunctionType, local: Mapping[str, Any], step: dis.Instruction) -> Any:
    if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
        return function.__globals__.get(step.argval, getattr(builtins, step.argval, None))
    if step.opname in ("LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF") and step.argval in local:
        return local[step.argval]
    if step.opname == "LOAD_DEREF" and function.__closure__ and step.argval in function.__code__.co_freevars:
        return contents(function.__closure__[function.__code__.co_freevars.index(step.argval)])
    return None


def _given(steps: list[dis.Instruction], position: int) -> tuple[Any, int]:
    """Return the first argument of a call whose function was loaded before ``position``, and how many there are.

    What is computed stands as ``...``. A function that is not called at once is taken to be called without arguments.
    """
    depth = 0
    for index in range(position, len(steps)):
        step = steps[index]
        if step.opname == "PRECALL" and depth == step.arg:
            before = steps[index - 1]
            constant = step.arg == 1 and index == position + 1 and before.opname == "LOAD_CONST"
            return (ABSENT if step.arg == 0 else before.argval if constant else ...), step.arg
        if depth < 0 or "JUMP" in step.opname or step.opname.startswith(("RETURN", "STORE")):
            break
        depth += dis.stack_effect(step.opcode, step.arg if step.opcode >= dis.HAVE_ARGUMENT else None, jump=False)
    return ABSENT, 0


def _as_written(found: Found, value: Any, first: Any, count: int) -> None:
    name = full_name(value)
    if name.startswith("pyarrow"):
        found.effect(f"read files by {name}, which this Python cannot see")
    elif name == "builtins.hash":
        hashes(found)
    elif name in states():
        found.effect(f"asked for a file's state by {name.replace('posix', 'os')}, which this Python cannot see")
    else:
        called(found, None, value, first, count)


class _Unread(Sources):
    """Knows where code comes from, and reads no source: only the way matters here."""

    def normal(self, code: CodeType, names: dict[str, Any]) -> None:
        return None


class _Way(_Walk):
    """Follows the same references as the closure and remembers the functions on the way."""

    def __init__(self) -> None:
        super().__init__(_Unread(), "", traced=True)
        self.functions: list[FunctionType] = []
        #: Names of the libraries' functions on the way, some of which no code names: they stand in tables.
        self.libraries: set[str] = set()

    def work_function(self, label: str, function: FunctionType) -> None:
        self.functions.append(function)
        super().work_function(label, function)

    def function(self, value: FunctionType) -> tuple[str, Any]:
        self.libraries.add(_own_name(value))
        return super().function(value)


def reached(function: Callable[..., Any]) -> tuple[tuple[FunctionType, ...], frozenset[str]]:
    """Return the functions of the user's that a function's closure holds, and the names of the libraries' among its values.

    Those met until something could not be seen.

    Args:
        function: the user's function.
    """
    way = _Way()
    try:
        way.digest(function, "")
        while way.queue:
            label, work = way.queue.popleft()
            work(label)
    except Exception:
        # Mostly Unfingerprintable: such a step has no key. Code that was not reached counts with its module when it runs.
        pass
    return tuple(way.functions), frozenset(way.libraries)


def code_of(functions: tuple[FunctionType, ...]) -> frozenset[CodeType]:
    """Return the code objects of functions and of all that is nested in them.

    Args:
        functions: what :func:`reached` gave.
    """
    return frozenset(inner for function in functions for inner in codes(function.__code__))
