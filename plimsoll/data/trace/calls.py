"""Which code runs during a step, and what of it touches the world.

From Python 3.12 ``sys.monitoring`` tells when a code object begins. Nearly all are told of once and then no more, so that a
step pays for the code it has and not for the calls it makes. Only calls inside the few code objects that name a watched C
function are told of each time. Python 3.11 has no such means: there every call of a Python function is looked at, which makes
code that calls many small ones several times slower, so it is done only where the step's code names a watched function.
"""

from __future__ import annotations

import dis
import gc
import inspect
import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from plimsoll.data.code.bytecode import codes, reads_unknown_names
from plimsoll.data.trace.found import Found
from plimsoll.data.trace.handed import opens_by_python
from plimsoll.data.trace.reading.named import (
    FINDERS,
    Written,
    cells_of,
    chain_at,
    held,
    imported_in,
    kept_sites,
    named_at,
    names_in,
    own_name,
    steps_of,
)
from plimsoll.data.trace.reading.way import Reached
from plimsoll.data.trace.watched.begun import BY_PYTHON, MODULES, begun, is_watched_name
from plimsoll.data.trace.watched.called import ABSENT, CALLED, CALLED_BY_OTHERS, as_written, called, full_name, is_watched_call

_HERE = os.path.dirname(__file__)
_TOOLS = (4, 3, 2)
_NAME = "plimsoll"
#: Why something is not followed, as the end of a sentence.
_NOT_HERE = "which only Python 3.12 and later let Plimsoll follow"
_FINALIZER = weakref.finalize.__call__.__code__
_UNPACKS = dis.opmap["CALL_FUNCTION_EX"]
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
        #: Code -> offsets of its calls that are told of each time, whatever was called there first.
        self._kept: dict[CodeType, frozenset[int]] = {}

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
            self._kept.clear()
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
                self._enter(found, code, frame)
        return once

    def _enter(self, found: Found, code: CodeType, frame: FrameType) -> None:
        kind = found.origins.of(code.co_filename)
        if kind == "user" or code in found.held:
            found.look(self._reads, found, code, frame.f_globals)
        # The user's code may give any package the path of a file.
        if kind == "user" or (kind == "third" and not CALLED_BY_OTHERS.isdisjoint(code.co_names)):
            monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
            monitoring.set_local_events(self._tool, code, monitoring.events.CALL)
            self._entered.append(code)

    def _reads(self, found: Found, code: CodeType, names: dict[str, Any]) -> None:
        """Note which watched functions code holds as values, since whoever is given one may call it where no event tells."""
        if code not in self._kept:
            self._kept[code] = kept_sites(code, CALLED)
        # What the body of a module or class holds is reached through the names that it binds.
        own = held(code, names, _is_watched, CALLED, sees_calls=True) if code.co_flags & inspect.CO_OPTIMIZED else ()
        for value in (*own, *found.held.get(code, ())):
            # Those draw a seed by the system's generator, which is seen.
            if not full_name(value).startswith("numpy.random"):
                as_written(found, value)

    def _called(self, code: CodeType, offset: int, function: Any, first: Any) -> Any:
        monitoring = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
        given = ABSENT if first is monitoring.MISSING else first
        once = None if offset in self._kept.get(code, ()) else monitoring.DISABLE
        for found in self._active():
            kind = found.origins.of(code.co_filename)
            if not found.mine():
                once = None
            elif is_watched_call(function, kind):
                once = None
                found.look(called, found, sys._getframe(1), function, given, _count(code, offset))
            elif kind == "user" and found.origins.is_foreign(function):
                place = id(code), offset
                if isinstance(given, (str, bytes, os.PathLike, list, tuple)):
                    found.look(found.handed.give, given, place)
                elif given is not ABSENT:
                    found.look(found.handed.give_some, function, sys._getframe(1), place)
                once = once if given is ABSENT or found.handed.gives_no_files(place) else None
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
    if kind in ("third", "stdlib", "imports"):
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
    return 0 if data[offset] == _UNPACKS else data[offset + 1] if data[offset] in _CALLS else 1


class Tracing:
    """Watches by ``sys.settrace``, where nothing better is there.

    Args:
        found: takes what happens.
        way: what static reading has seen of the step's code.
    """

    def __init__(self, found: Found, way: Reached) -> None:
        self._found = found
        functions, named = way.functions, way.libraries
        self._functions = functions
        self._held = [value for values in way.held.values() for value in values]
        names = {name for function in functions for name in names_in(function)}
        others = named & BY_PYTHON - names  # in a table, where it is not told whose they are
        self._needed = any(map(is_watched_name, (names | named) - BY_PYTHON | others)) or found.stamps
        unknown = any(reads_unknown_names(each.__code__, each.__globals__) for each in functions)
        self._needed = self._needed or unknown or any(map(_reads_natively, functions))
        self._states = {"scandir", "stat"} <= names
        self._streams = bool(names & {"open_input_file", "open_input_stream", "get_file_info"})
        self._before: tuple[Any, Any] = (None, None)
        #: File and line of what has begun before and need not be looked at again.
        self._once: set[tuple[str, int]] = set()

    def begin(self) -> None:
        """Watch from now on, if the step's code names a watched function; calls of C functions are read off the code."""
        owners, asked, gives = list[Any](), set[str](), False
        for function in self._functions:
            gives = _read_off(self._found, function, owners, asked) or gives
        if gives:
            # Which of them a package is given cannot be told, so any file that the step's code names may be one.
            for function in self._functions:
                values = [each for code in codes(function.__code__) for each in code.co_consts]
                values += [function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__]
                self._found.look(self._found.handed.give_any, values, function.__code__.co_filename, (0, 0))
        taken = [getattr(owner, name, None) for owner in owners for name in sorted(asked)]
        for value in (*self._held, *(each for each in taken if callable(each) and is_watched_call(each, "user"))):
            self._found.look(as_written, self._found, value)
        if self._states:
            self._found.effect(f"may have asked for a file's state by os.DirEntry.stat, {_NOT_HERE}")
        if self._streams:
            self._found.effect(f"read files by a file system's streams, {_NOT_HERE}")
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


def _read_off(found: Found, function: FunctionType, owners: list[Any], asked: set[str]) -> bool:
    """Note what the C functions mean that a function names, whether or not it comes to call them.

    Modules and classes that it holds as values are added to ``owners``, and the watched names that it takes of anything to ``asked``.
    Returns whether it names a package that may read files by itself.
    """
    local, gives = cells_of(function), False
    for code in codes(function.__code__):
        written = Written(code)
        steps, known, by_name = written.steps, set[int](), not FINDERS.isdisjoint(code.co_names)
        local |= imported_in(steps)
        for position, step in enumerate(steps):
            value, end = chain_at(named_at(function.__globals__, local, step), steps, position + 1)
            known.update(() if value is None else range(position + 1, end))
            gives = gives or (value is not None and found.origins.is_foreign(value) and not opens_by_python(value))
            takes = position not in known if step.opname in ("LOAD_ATTR", "LOAD_METHOD") else step.opname == "LOAD_CONST" and by_name
            if takes and isinstance(step.argval, str) and step.argval in CALLED:
                asked.add(step.argval)
            if written.only_asks(position):
                continue
            if isinstance(value, (ModuleType, type)) and written.call_of(end - 1) is None:
                owners.append(value)
            # A class hashes itself by what it has; that stays inside of the process.
            if callable(value) and is_watched_call(value, "user") and (value is not hash or code.co_name != "__hash__"):
                found.look(as_written, found, value, *written.given(end - 1))
    for value in held(function.__code__, function.__globals__, _is_watched, CALLED, sees_calls=False):
        found.look(as_written, found, value)
    return gives


def _is_watched(value: Any) -> bool:
    return is_watched_call(value, "user")


def _reads_natively(function: FunctionType) -> bool:
    """Return whether a function may name a reader like those of pandas that open their files by Python, which tells of it."""
    if BY_PYTHON.isdisjoint(names_in(function)):
        return False
    local = cells_of(function)
    for code in codes(function.__code__):
        steps = steps_of(code)
        local |= imported_in(steps)
        before: Any = None
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            value = named_at(function.__globals__, local, step)
            if (step.argval in BY_PYTHON or own_name(value) in BY_PYTHON) and not step.opname.startswith("STORE"):
                stored = local.get(after.argval) if after is not None and step.opname == "IMPORT_FROM" else value
                reader = getattr(before, step.argval, None) if stored is None else stored
                if str(getattr(reader, "__module__", "")).partition(".")[0] != "pandas":
                    return True
            before = value
    return False
