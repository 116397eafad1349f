"""Functions of the table tell that they begin, on a Python that does not tell it: a call stands at the beginning of their code.

A function stays the same object, with its names, arguments and lines; while something records, its code is another one. Only code
of installed packages and of the standard library is touched, which keys count by its version and never look at.
"""

from __future__ import annotations

import functools
import importlib
import opcode
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from plimsoll.data.code.names import contents
from plimsoll.data.trace.found import Found
from plimsoll.data.trace.origin import Origins
from plimsoll.data.trace.watched.begun import MODULES, begun

_NUMBERS = opcode.opmap
#: Words of two bytes that follow an operation for the interpreter's own notes.
_NOTES: list[int] = getattr(opcode, "_inline_cache_entries", [])
#: What the import system says, and to whom, when a module is there: nothing else of Python 3.11 tells of it.
_SAYS, _SAID = "_verbose_message", "import {!r} # {!r}"
#: Whose functions are in the table.
_LIBRARIES = ("third", "stdlib", "imports")
#: What nearly all values of a module are that are no functions.
_PLAIN = (str, int, float, ModuleType, type(None), dict, list, frozenset)
#: Of the table of lines: the longest entry, and the kind that has a line and no columns.
_LONGEST, _LINE_ALONE = 8, 13


class Inserted:
    """Puts the calls in and takes them out again; one a process, as its functions are. Any thread may begin and end.

    Args:
        active: tells what records now.
        begins: notes for a recording that code begins in a frame.
    """

    def __init__(self, active: Callable[[], tuple[Found, ...]], begins: Callable[[Found, CodeType, FrameType], object]) -> None:
        self._active, self._begins = active, begins
        self._origins = Origins()
        # One thread may come to it twice: what is let go of while it holds it may import something.
        self._lock = threading.RLock()
        self._depth = 0
        #: Function -> its own code, and the same with the call.
        self._codes: dict[FunctionType, tuple[CodeType, CodeType]] = {}
        #: Names of the modules that were looked at, and of those that are in the table, what was found by that name: the module,
        #: what it holds, and what it was loaded by, which is another one after a reload.
        self._names: set[str] = set()
        self._modules: dict[str, tuple[ModuleType, dict[str, Any], Any]] = {}

    def find(self) -> None:
        """Find the functions of the table in the modules that are loaded now; what begins later finds only those of newer ones."""
        with self._lock:
            self._look()

    def begin(self) -> None:
        """Have the functions of the table tell that they begin, those too whose modules are loaded from now on."""
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                says = vars(importlib.import_module("_frozen_importlib"))[_SAYS]
                if says not in self._codes:
                    self._codes[says] = says.__code__, with_call(says.__code__, self._said)
                # That one first: from then on no module is missed.
                self._put(says)
            fresh = self._look()
            for function in tuple(self._codes) if self._depth == 1 else fresh:
                self._put(function)

    def end(self) -> None:
        """Give every function its own code again, unless another recording goes on."""
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                for function, (own, other) in tuple(self._codes.items()):
                    # Whoever has given it yet another code meanwhile is left that.
                    if function.__code__ is other:
                        function.__code__ = own

    def _look(self) -> list[FunctionType]:
        """Find the functions of modules that are new, or loaded anew, and return those that were not known."""
        names = set(sys.modules)
        wanted = {name for name in names - self._names if name.startswith(MODULES)}
        wanted |= {
            name
            for name, (module, held, spec) in self._modules.items()
            if sys.modules.get(name) is not module or held.get("__spec__") is not spec
        }
        self._names = names
        return self._add(wanted)

    def _add(self, names: Iterable[str]) -> list[FunctionType]:
        modules = []
        for name in names:
            module = sys.modules.get(name)
            if isinstance(module, ModuleType):
                held = _held(module)
                self._modules[name] = module, held, held.get("__spec__")
                modules.append(module)
        fresh = [each for each in functions_of(modules) if each not in self._codes and self._is_watched(each)]
        for function in fresh:
            self._codes[function] = function.__code__, with_call(function.__code__, self._told)
        return fresh

    def _is_watched(self, function: FunctionType) -> bool:
        code, module = function.__code__, function.__globals__.get("__name__", "")
        return isinstance(module, str) and begun(module, code.co_qualname) is not None and self._origins.of(code.co_filename) in _LIBRARIES

    def _put(self, function: FunctionType) -> None:
        own, other = self._codes[function]
        if function.__code__ is not own and function.__code__ is not other:
            called = other.co_consts[-1]
            own = function.__code__
            self._codes[function] = own, with_call(own, called)
        function.__code__ = self._codes[function][1]

    def _told(self) -> None:
        frame = sys._getframe(1)
        for found in self._active():
            if found.mine():
                self._begins(found, frame.f_code, frame)

    def _said(self) -> None:
        said = sys._getframe(1).f_locals
        if said["message"] != _SAID or not str(said["args"][0]).startswith(MODULES):
            return
        try:
            self._load(str(said["args"][0]))
        except Exception as error:  # an import must not fail for it
            for found in self._active():
                found.trouble = found.trouble or f"{type(error).__name__}: {error}"

    def _load(self, name: str) -> None:
        with self._lock:
            if self._depth:
                for function in self._add([name]):
                    self._put(function)


def _held(module: ModuleType) -> dict[str, Any]:
    # Not by the module's own attribute, by which a lazy one would be loaded.
    held: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return held


def functions_of(modules: Iterable[ModuleType]) -> Iterator[FunctionType]:
    """Yield the functions that modules and their classes have, and those within that decorators have wrapped.

    Args:
        modules: loaded ones.
    """
    known = set[int]()
    pending = [each for module in modules for each in _held(module).values()]
    while pending:
        value = pending.pop()
        if id(value) in known or isinstance(value, _PLAIN):
            continue
        known.add(id(value))
        if isinstance(value, FunctionType):
            yield value
            # What a decorator has wrapped is in a cell of what it gives.
            pending += map(contents, value.__closure__ or ())
        elif isinstance(value, (staticmethod, classmethod, MethodType)):
            pending.append(value.__func__)
        elif isinstance(value, property):
            pending += [value.fget, value.fset]
        elif isinstance(value, (functools.partial, functools.cached_property)):
            pending.append(value.func)
        elif isinstance(value, functools._lru_cache_wrapper):
            pending.append(value.__wrapped__)
        elif isinstance(value, type) and str(vars(value).get("__module__", "")).startswith(MODULES):
            pending += vars(value).values()


def with_call(code: CodeType, called: Callable[[], object]) -> CodeType:
    """Return the code of a function with a call at its beginning; Python 3.11's.

    Where it jumps to, it tells by distances, so only the tables of lines and of exceptions have to know how much longer it is.

    Args:
        code: a function's.
        called: without arguments; the function's frame is that of its caller.
    """
    data, constant = code.co_code, len(code.co_consts)
    # Before that place a frame is not whole yet, and nobody's caller.
    at = next(place for place in range(0, len(data), 2) if data[place] == _NUMBERS["RESUME"]) + 2
    added = bytes((_NUMBERS["PUSH_NULL"], 0))
    added += b"".join(bytes((_NUMBERS["EXTENDED_ARG"], constant >> shift & 255)) for shift in (24, 16, 8) if constant >> shift)
    added += bytes((_NUMBERS["LOAD_CONST"], constant & 255))
    for name in ("PRECALL", "CALL", "POP_TOP"):
        added += bytes((_NUMBERS[name], 0)) + bytes(2 * _NOTES[_NUMBERS[name]])
    return code.replace(
        co_code=data[:at] + added + data[at:],
        co_consts=(*code.co_consts, called),
        co_stacksize=max(code.co_stacksize, 2),
        co_linetable=_lines(code.co_linetable, at // 2, len(added) // 2),
        co_exceptiontable=_exceptions(code.co_exceptiontable, at // 2, len(added) // 2),
    )


def _lines(table: bytes, at: int, more: int) -> bytes:
    """Return a table of lines for code that is longer by so many words at a place; they lie on the line before it."""
    place = words = 0
    while words < at:
        words += (table[place] & 7) + 1
        place += 1
        while place < len(table) and table[place] < 128:
            place += 1
    lengths = [min(_LONGEST, more - start) for start in range(0, more, _LONGEST)]
    return table[:place] + b"".join(bytes((128 | _LINE_ALONE << 3 | length - 1, 0)) for length in lengths) + table[place:]


def _exceptions(table: bytes, at: int, more: int) -> bytes:
    """Return a table of exceptions for code that is longer by so many words at a place."""
    numbers, number = list[int](), 0
    for byte in table:
        number = number << 6 | byte & 63
        if not byte & 64:
            numbers.append(number)
            number = 0
    moved = bytearray()
    for start, length, target, depth in zip(*[iter(numbers)] * 4, strict=True):
        entry = [start + more * (start >= at), length + more * (start < at < start + length), target + more * (target >= at), depth]
        for position, each in enumerate(entry):
            groups = [each >> shift & 63 for shift in (24, 18, 12, 6) if each >> shift] + [each & 63]
            moved += bytes(group | 64 for group in groups[:-1]) + bytes(groups[-1:])
            if position == 0:
                moved[-len(groups)] |= 128
    return bytes(moved)
