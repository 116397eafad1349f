"""Which code runs during a step, and what of it touches the world.

From Python 3.12 ``sys.monitoring`` tells when a code object begins. Nearly all are told of once and then no more, so that a
step pays for the code it has and not for the calls it makes. Only calls inside the few code objects that name a watched C
function are told of each time. Python 3.11 has no such means: there every call of a Python function is looked at, which makes
code that calls many small ones several times slower, so it is done only where the step's code names a watched function.
"""

from __future__ import annotations

import dis
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any

from plimsoll.data.code.bytecode import codes, names_used
from plimsoll.data.code.closure import _Walk
from plimsoll.data.code.names import contents
from plimsoll.data.code.source import Sources
from plimsoll.data.trace.found import Found
from plimsoll.data.trace.watched import (
    ABSENT,
    CALLED,
    CALLED_BY_OTHERS,
    MODULES,
    begun,
    called,
    full_name,
    is_watched_call,
    is_watched_name,
)

_HERE = os.path.dirname(__file__)
_TOOLS = (4, 3, 2)
_NAME = "plimsoll"
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
        names = CALLED if kind == "user" else CALLED_BY_OTHERS if kind == "third" else None
        if names is not None and not names.isdisjoint(code.co_names):
            monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
            monitoring.set_local_events(self._tool, code, monitoring.events.CALL)
            self._entered.append(code)

    def _called(self, code: CodeType, offset: int, function: Any, first: Any) -> Any:
        monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        given = ABSENT if first is monitoring.MISSING else first
        once = monitoring.DISABLE
        for found in self._active():
            if not found.mine():
                once = None
            elif is_watched_call(function, found.origins.of(code.co_filename)):
                once = None
                found.look(called, found, sys._getframe(1), function, given, _count(code, offset))
        return once


def _of_collector(frame: FrameType) -> bool:
    """Return whether code runs because memory was collected at this moment: what others hung there is no part of the step."""
    hung = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    at: FrameType | None = frame
    while at is not None:
        if at.f_code in hung:
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
    if gc.callbacks and _of_collector(frame):
        return True
    kind = found.origins.of(code.co_filename)
    if kind == "user":
        found.look(found.ran, code, frame.f_globals)
        return False
    if kind not in ("third", "stdlib"):
        return False
    if kind == "third" and code.co_name != "<module>":
        found.look(found.package, code.co_filename)
    module = frame.f_globals.get("__name__", "")
    act = begun(module, code.co_qualname) if module.startswith(MODULES) else None
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
    """

    def __init__(self, found: Found, functions: tuple[FunctionType, ...]) -> None:
        self._found = found
        self._functions = functions
        self._needed = any(is_watched_name(name) for function in functions for name in _names(function.__code__))
        self._before: tuple[Any, Any] = (None, None)

    def begin(self) -> None:
        """Watch from now on, if the step's code names a watched function; calls of C functions are read off the code."""
        for function in self._functions:
            _read_off(self._found, function)
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
        if self._found.mine():
            begins(self._found, frame.f_code, frame)


def _names(code: CodeType) -> Iterator[str]:
    yield from names_used(code)
    for inner in codes(code):
        # Names of keywords, such as ``n_jobs``, are constants.
        yield from (name for constant in inner.co_consts if isinstance(constant, tuple) for name in constant if isinstance(name, str))


def _read_off(found: Found, function: FunctionType) -> None:
    """Note what the C functions mean that a function names, whether or not it comes to call them."""
    for code in codes(function.__code__):
        steps = [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "CACHE", "PUSH_NULL", "NOP")]
        for position, step in enumerate(steps):
            value = _named(function, step)
            end = position + 1
            while value is not None and end < len(steps) and steps[end].opname in ("LOAD_ATTR", "LOAD_METHOD"):
                value = getattr(value, steps[end].argval, None)
                end += 1
            if callable(value) and is_watched_call(value, "user"):
                first, count = _given(steps, end)
                found.look(_as_written, found, value, first, count)


def _named(function: FunctionType, step: dis.Instruction) -> Any:
    if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
        return function.__globals__.get(step.argval)
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
    elif name.startswith(("posix.stat", "posix.lstat", "posix.access")):
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

    def work_function(self, label: str, function: FunctionType) -> None:
        self.functions.append(function)
        super().work_function(label, function)


def reached(function: Callable[..., Any]) -> tuple[FunctionType, ...]:
    """Return the functions of the user's that a function's closure holds; those met until something could not be seen.

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
        return tuple(way.functions)
    return tuple(way.functions)


def code_of(functions: tuple[FunctionType, ...]) -> frozenset[CodeType]:
    """Return the code objects of functions and of all that is nested in them.

    Args:
        functions: what :func:`reached` gave.
    """
    return frozenset(inner for function in functions for inner in codes(function.__code__))
