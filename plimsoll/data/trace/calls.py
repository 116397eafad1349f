"""Which code runs during a step, and what of it touches the world.

From Python 3.12 ``sys.monitoring`` tells when a code object begins. Nearly all are told of once and then no more, so that a
step pays for the code it has and not for the calls it makes. Only calls inside the few code objects that name a watched C
function are told of each time. Python 3.11 has no such means: there the watched functions of libraries tell of themselves
(``watched/inserted.py``), and which C functions the step's code names is read off it. Every call of a Python function is looked at
only where the step's code may come to run code that nothing in it leads to: that makes many small calls several times slower.
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

from plimsoll.data.code.bytecode import codes
from plimsoll.data.trace.files.handed import may_name_file, opens_by_python
from plimsoll.data.trace.found import Found
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
)
from plimsoll.data.trace.reading.way import Reached
from plimsoll.data.trace.watched.begun import LEADS_ANYWHERE, begun
from plimsoll.data.trace.watched.called import ABSENT, CALLED, CALLED_BY_OTHERS, as_written, called, full_name, is_watched_call

_HERE = os.path.dirname(__file__)
_TOOLS = (4, 3, 2)
_NAME = "plimsoll"
#: Why something is not followed, as the end of a sentence.
_NOT_HERE = "which only Python 3.12 and later let Plimsoll follow"
_FINALIZER = weakref.finalize.__call__.__code__
_UNPACKS = dis.opmap["CALL_FUNCTION_EX"]
_CONSTANT = dis.opmap["LOAD_CONST"]
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
        # What a decorator has written is held by it; to look for any other code takes longer the longer it is.
        if kind == "user" or (kind == "made" and code in found.held):
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
            elif kind == "user" and found.origins.is_foreign(function) and not _gives_only(code, offset, given):
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
    # By identity: to compare code objects takes longer than most calls, and audit hooks are told of ``id``.
    hung = (_FINALIZER, *(getattr(callback, "__code__", None) for callback in gc.callbacks))
    at: FrameType | None = frame
    while at is not None:
        code = at.f_code
        if code.co_name == "__del__" or any(code is each for each in hung):
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
        module = str(frame.f_globals.get("__name__", ""))
        act = begun(module, code.co_qualname)
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


def _gives_only(code: CodeType, offset: int, given: Any) -> bool:
    """Return whether a call is given the same text each time, which names no file, and nothing else."""
    if not isinstance(given, str) or may_name_file(given):
        return False
    data = code.co_code
    constant = offset > 1 and data[offset - 2] == _CONSTANT and code.co_consts[data[offset - 1]] is given
    return constant and data[offset] in _CALLS and data[offset + 1] == 1 and offset not in dis.findlabels(data)  # type: ignore[arg-type]


class Tracing:
    """Reads off a step's code what it may call, and watches by ``sys.settrace`` where it may come to run any other.

    Args:
        found: takes what happens.
        way: what static reading has seen of the step's code.
    """

    def __init__(self, found: Found, way: Reached) -> None:
        self._found = found
        functions = way.functions
        self._functions = functions
        self._held = [value for values in way.held.values() for value in values]
        names = {name for function in functions for name in names_in(function)}
        self._needed = not LEADS_ANYWHERE.isdisjoint(names | way.libraries)
        self._states = {"scandir", "stat"} <= names
        self._streams = bool(names & {"open_input_file", "open_input_stream", "get_file_info"})
        self._on = False
        self._before: Any = None
        #: File and line of what has begun before and need not be looked at again.
        self._once: set[tuple[str, int]] = set()

    def begin(self) -> None:
        """Watch from now on, if the step's code may lead to any other; calls of C functions are read off the code."""
        # Reading asks where code lies, by functions that are watched already: it is not the step that asks.
        self._found.look(self._read)
        if self._needed:
            self._before = threading.gettrace()
            self._on = sys.gettrace() is None
            if self._on:
                sys.settrace(self._started)
                threading.settrace(self._started)
            else:
                self._found.effect("ran under a debugger or a coverage tool, so what it read could not be seen")

    def _read(self) -> None:
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

    def end(self) -> None:
        """Watch no more."""
        if self._on:
            sys.settrace(None)
            threading.settrace(self._before)

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
        written = found.origins.sources.once(Written, code)
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
            if callable(value) and is_watched_call(value, "user") and full_name(value).startswith("numpy.random"):
                found.making.add((id(code), written.call_of(end - 1)))
            # A class hashes itself by what it has; that stays inside of the process.
            if callable(value) and is_watched_call(value, "user") and (value is not hash or code.co_name != "__hash__"):
                found.look(as_written, found, value, *written.given(end - 1))
    for value in held(function.__code__, function.__globals__, _is_watched, CALLED, sees_calls=False):
        found.look(as_written, found, value)
    return gives


def _is_watched(value: Any) -> bool:
    return is_watched_call(value, "user")
