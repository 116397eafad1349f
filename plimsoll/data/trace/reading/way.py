"""The way of a closure once more: the user's functions on it, and who of them holds watched functions as values."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType, MethodType, ModuleType
from typing import Any

from plimsoll.data.code.bytecode import Reference, codes
from plimsoll.data.code.closure import _Walk
from plimsoll.data.code.names import Mention
from plimsoll.data.code.source import Sources
from plimsoll.data.trace.reading.named import means_now, own_name
from plimsoll.data.trace.watched.called import CALLED, is_watched_call
from plimsoll.fingerprint import state_of

#: Items of an argument that may be code.
_LOOKED_AT = 10_000
_SCALARS = frozenset({bool, int, float, complex, str, bytes})
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType, MethodDescriptorType)


@dataclass(frozen=True, slots=True)
class Reached:
    """What static reading sees of a function before it runs."""

    #: The user's functions that its closure holds.
    functions: tuple[FunctionType, ...]
    #: Names of the libraries' functions among its values, some of which no code names: they stand in tables.
    libraries: frozenset[str]
    #: Code of these functions, with all that is nested in it.
    seen: frozenset[CodeType]
    #: Code -> watched C functions that it can reach without naming them: in defaults, tables, attributes of classes and objects.
    held: dict[CodeType, tuple[Any, ...]]
    #: Whether some of it may have a library read the present out of a list of texts.
    now: bool


class _Unread(Sources):
    """Knows where code comes from, and reads no source: only the way matters here."""

    def normal(self, code: CodeType, names: dict[str, Any]) -> None:
        return None

    def unread(self, code: CodeType) -> None:
        return None


class _Way(_Walk):
    """Follows the same references as the closure and remembers the functions on the way."""

    def __init__(self) -> None:
        super().__init__(_Unread(), "", traced=True)
        self.functions: dict[str, FunctionType] = {}
        self.libraries: set[str] = set()
        #: Label of the part that is being looked at; of which others it leads to, and what watched functions are in it.
        self.at = ""
        self.leads: defaultdict[str, set[str]] = defaultdict(set)
        self.holds: defaultdict[str, list[Any]] = defaultdict(list)
        #: Code that a decorator has written -> what it calls.
        self.made: defaultdict[CodeType, list[Any]] = defaultdict(list)

    def go(self, value: Any) -> None:
        """Follow all that is reached from a value.

        Args:
            value: a function, or anything.
        """
        self.at = ""
        self.digest(value, "")
        while self.queue:
            self.at, work = self.queue.popleft()
            work(self.at)

    def work_function(self, label: str, function: FunctionType) -> None:
        self.functions[label] = function
        super().work_function(label, function)

    def function(self, value: FunctionType) -> tuple[str, Any]:
        self.libraries.add(own_name(value))
        return super().function(value)

    def meet(self, thing: Any, module: str, name: str, work: Callable[[str], None]) -> str:
        label = super().meet(thing, module, name, work)
        self.leads[self.at].add(label)
        return label

    def constant(self, module: str, name: str, value: Any) -> Mention:
        if _is_watched(value):  # compiled by Cython, whose functions are values to the closure
            return Mention("watched")
        found = super().constant(module, name, value)
        self.leads[self.at].add(found.label)
        return found

    def mentions(
        self, label: str, function: FunctionType, found: Iterable[Reference], renamed: dict[str, str], lax: bool = False
    ) -> list[tuple[str, str, int, str]]:
        for each in found:
            value = self.names.look_up(label, function, each, lax)
            # What is done with a name is read off the code that has it; what a cell holds differs from one closure to the next.
            if each.kind == "free" or not _is_watched(value):
                self.digest(value, label)
        return []

    def visit(self, value: Any) -> tuple[str, Any] | None:
        if type(value) is operator.methodcaller and (name := value.__reduce__()[1][0]) in CALLED:
            self.holds[self.at].append(operator.methodcaller(name))
        if isinstance(value, type) and _is_watched(value):
            self.holds[self.at].append(value)
        return super().visit(value)

    def rescue(self, value: Any) -> tuple[str, Any] | None:
        # What its pickle would rebuild a generator by is called by nobody.
        return ("numpy", None) if type(value).__module__.startswith("numpy.random") else super().rescue(value)

    def builtin(self, value: Any) -> tuple[str, Any]:
        if _is_watched(value):
            self.holds[self.at].append(value)
        return super().builtin(value)

    def work_class(self, label: str, cls: type) -> None:
        super().work_class(label, cls)
        init = vars(cls).get("__init__")
        if "__dataclass_fields__" in vars(cls) and isinstance(init, FunctionType) and init.__code__.co_filename == "<string>":
            # What makes the fields' defaults is called by the init that the decorator has written, and by nothing else.
            for field in vars(cls)["__dataclass_fields__"].values():
                if field.default_factory in self.holds[label]:
                    self.holds[label].remove(field.default_factory)
                    self.made[init.__code__].append(field.default_factory)

    def held(self) -> Iterator[tuple[CodeType, tuple[Any, ...]]]:
        yield from ((code, tuple(found)) for code, found in self.made.items())
        for number, (label, function) in enumerate(self.functions.items()):
            # What arguments bring along is the first function's, which is given them.
            pending, known, found = ([label] if number else ["", label]), {label}, []
            while pending:
                at = pending.pop()
                found += self.holds.get(at, [])
                more = {each for each in self.leads.get(at, ()) if each not in self.functions} - known
                known |= more
                pending += more
            if found:
                yield function.__code__, tuple(found)


def _is_watched(value: Any) -> bool:
    return callable(value) and not isinstance(value, FunctionType) and is_watched_call(value, "user")


def reached(function: Any, *brought: Any) -> Reached:
    """Return what is reached from a function; what is met until something cannot be seen.

    Args:
        function: the user's function.
        brought: what :func:`brought_by` gave for its arguments.
    """
    way = _Way()
    for each in (function, *brought):
        # Mostly Unfingerprintable: such a step has no key. Code that was not reached counts with its module when it runs.
        with contextlib.suppress(Exception):
            way.go(each)
    functions = tuple(way.functions.values())
    seen = frozenset(inner for each in functions for inner in codes(each.__code__))
    return Reached(functions, frozenset(way.libraries), seen, dict(way.held()), any(map(means_now, seen)))


def brought_by(values: Iterable[Any]) -> list[Any]:
    """Return the functions and classes that arguments bring along, in containers and in objects of the user's and of other classes.

    Of a container no more is looked at than its first items, and no more of objects of other classes than so many.

    Args:
        values: arguments.
    """
    sources, pending, known, found = Sources(), list(values), set[int](), list[Any]()
    while pending:
        value = pending.pop()
        if value is None or type(value) in _SCALARS or id(value) in known:
            continue
        known.add(id(value))
        if isinstance(value, (list, tuple, set, frozenset)):
            pending += [each for each in itertools.islice(value, _LOOKED_AT) if type(each) not in _SCALARS]
        elif isinstance(value, dict):
            pending += [each for each in itertools.islice(value.values(), _LOOKED_AT) if type(each) not in _SCALARS]
            pending.append(getattr(value, "default_factory", None))
        elif callable(value) and (isinstance(value, (type, *_FUNCTIONS)) or type(value).__module__ in ("functools", "operator")):
            found.append(value)
        if sources.origin(type(value).__module__, None) == "user":
            found.append(type(value))
            pending += dict(state_of(value)).values()
        elif len(known) < _LOOKED_AT and type(value).__dictoffset__ and not isinstance(value, (type, ModuleType, *_FUNCTIONS)):
            # As a pipeline of scikit-learn holds a function. Not by a hook of the object's own; what else it calls is its own.
            inner = object.__getattribute__(value, "__dict__").values()
            pending += [each for each in inner if not callable(each) or _is_users(each, sources)]
    return found


def _is_users(value: Any, sources: Sources) -> bool:
    return isinstance(value, FunctionType) and sources.origin(value.__module__, value.__code__.co_filename) == "user"
