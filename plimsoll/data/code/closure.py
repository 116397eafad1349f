"""What a function's result depends on besides its arguments: every piece of code and every constant it can reach.

The closure is resolved on the live objects when it is asked for, because that is what will run: names are looked up in
the function's globals and cells, and what they hold is followed through functions, classes, instances and containers. Each thing
reached becomes one :class:`KeyPart`, digested by its own content with the others mentioned by name, so that cycles need no care
and a miss can be explained part by part.

* The user's own code counts by content (also an editable install). Code of site-packages counts by the versions of its
  distribution and of those it requires; the standard library by Python's minor version; ``plimsoll`` by its version.
* A user's module that is used as a value (``getattr(module, name)``) counts whole.
* What cannot be seen (``eval``, an import by a computed name, an object without an encoding) is refused, naming the function and
  the expression. The caller then runs the step and does not cache it.
* Environment variables and files that the code reads are not seen here.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import importlib.util
import logging
import re
import reprlib
import sys
import threading
import types
import typing
from collections import deque
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

from plimsoll.data.code.bytecode import Reference, bytecode, names_used, references
from plimsoll.data.code.classes import class_content
from plimsoll.data.code.source import Sources
from plimsoll.errors import Unfingerprintable
from plimsoll.fingerprint import digest_value, state_of
from plimsoll.records.pipeline import KeyPart

#: Names whose use makes annotations, or docstrings, act.
_READS_ANNOTATIONS = {"__annotations__", "get_type_hints", "get_annotations", "signature", "getfullargspec"}
_READS_DOCS = {"__doc__", "getdoc"}
#: Ways to run code that no name leads to.
_DYNAMIC = {
    "builtins.eval", "builtins.exec", "builtins.__import__", "sys.modules", "importlib.reload", "runpy.run_path", "runpy.run_module",
    "importlib.util.spec_from_file_location", "importlib.metadata.entry_points", "pkgutil.iter_modules", "pkgutil.walk_packages",
}  # fmt: skip
_IMPORTERS = {"importlib.import_module", "plimsoll.extras.require"}
_DESCRIPTORS = (
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType, types.MethodWrapperType,
    types.GetSetDescriptorType, types.MemberDescriptorType,
)  # fmt: skip
_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Event, threading.Condition, threading.Semaphore)
_ALIASES = (types.GenericAlias, types.UnionType, type(list[int] | None), type(typing.Union[int, None]), type(typing.List[int]))  # noqa: UP006, UP007
#: Kinds of wrapper, and where each keeps what acts.
_WRAPPERS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (functools.partial, ("func", "args", "keywords")),
    (functools.partialmethod, ("func", "args", "keywords")),
    (staticmethod, ("__func__",)),
    (classmethod, ("__func__",)),
    (property, ("fget", "fset", "fdel")),
    (functools.cached_property, ("func",)),
    (functools.singledispatchmethod, ("dispatcher", "func")),
    (functools._lru_cache_wrapper, ("__wrapped__",)),
)
_TYPING = (typing.TypeVar, typing.ParamSpec, typing.NewType, typing.ForwardRef)
_PRIVATE = re.compile(r"^_plimsoll_[0-9a-f]{12}\.")
_SECRET = re.compile(r"key|secret|token|passw|credential", re.IGNORECASE)
_REMEDY = "Name the code directly, pass the value as a parameter, or mark the step as not cached."
_PLAIN = (list, dict, tuple, set, frozenset)
_MISSING = object()


def closure(function: Callable[..., Any], sources: Sources | None = None) -> tuple[KeyPart, ...]:
    """Return one part for each function, class, constant and whole module that ``function`` reaches, and for each distribution.

    Args:
        function: the user's function, or anything that wraps it; it is looked at, never called.
        sources: share one among the functions of one plan to read each file once; made for this call when left out.

    Raises:
        Unfingerprintable: something reached cannot be seen whole; the message names the function and the expression.
    """
    home = getattr(_unwrap(function), "__globals__", {}).get("__name__", "")
    walk = _Walk(sources or Sources(), home)
    walk.digest(function, getattr(function, "__qualname__", repr(type(function))))
    return walk.finish()


def value_closure(value: Any, sources: Sources | None = None) -> tuple[str, tuple[KeyPart, ...]]:
    """Return the digest of an argument that may hold functions, classes or instances of the user's classes, and their parts.

    Args:
        value: a step's argument.
        sources: as for :func:`closure`.

    Raises:
        Unfingerprintable: something inside cannot be seen whole.
    """
    walk = _Walk(sources or Sources(), "__main__")
    digest = walk.digest(value, "The value")
    return digest, walk.finish()


def _unwrap(value: Any) -> Any:
    """Return the user's function inside a wrapper of Plimsoll's own (a step, a pipeline), whose options must not count."""
    while hasattr(value, "__wrapped__"):
        module = value.__globals__.get("__name__", "") if isinstance(value, types.FunctionType) else type(value).__module__
        if module.partition(".")[0] != "plimsoll":
            break
        value = value.__wrapped__
    return value


class _Mention:
    """Stands for a part in the content of another."""

    def __init__(self, label: str) -> None:
        self.label = label


class _Walk:
    """One walk: things are named when first met, then digested one by one."""

    def __init__(self, sources: Sources, home: str) -> None:
        self.sources = sources
        self.home = home
        self.labels: dict[int, str] = {}
        #: Kept alive, so that no identity is used twice.
        self.alive: list[Any] = []
        self.taken: set[str] = set()
        self.queue: deque[tuple[str, Callable[[str], None]]] = deque()
        self.parts: list[KeyPart] = []
        #: Label -> annotations and docstring, which count only where some code looks at them.
        self.silent: dict[str, tuple[str, str | None]] = {}
        self.used: set[str] = set()
        self.classes: list[type] = []
        self.constants: dict[tuple[str, str, int], str] = {}
        self.packages: dict[str, Path | None] = {}

    def label(self, module: str, name: str) -> str:
        module = _PRIVATE.sub("", module + ".").rstrip(".")
        full = name if module in ("__main__", _PRIVATE.sub("", self.home + ".").rstrip(".")) else f"{module}.{name}"
        label, number = full, 1
        while label in self.taken:
            number += 1
            label = f"{full}#{number}"
        self.taken.add(label)
        return label

    def meet(self, thing: Any, module: str, name: str, work: Callable[[str], None]) -> str:
        """Return the label of ``thing``; at the first meeting it is named and queued."""
        if id(thing) not in self.labels:
            self.alive.append(thing)
            label = self.labels[id(thing)] = self.label(module, name)
            self.queue.append((label, work))
        return self.labels[id(thing)]

    def digest(self, value: Any, what: str) -> str:
        try:
            return digest_value(value, self.visit, self.rescue)
        except Unfingerprintable as error:
            if "function" in error.details:
                raise
            raise self.refusal(what, error.fact.removesuffix(".")) from error

    def refusal(self, what: str, why: str) -> Unfingerprintable:
        return Unfingerprintable(f"{what} cannot be fingerprinted: {why}.", _REMEDY, function=what)

    def finish(self) -> tuple[KeyPart, ...]:
        while self.queue:
            label, work = self.queue.popleft()
            work(label)
            if not self.queue and "__subclasses__" in self.used:
                for cls in list(self.classes):
                    children: list[type] = cls.__subclasses__()
                    for child in sorted(children, key=lambda each: (each.__module__, each.__qualname__)):
                        self.visit(child)
        reads_annotations, reads_docs = not _READS_ANNOTATIONS.isdisjoint(self.used), not _READS_DOCS.isdisjoint(self.used)
        parts = []
        for part in self.parts:
            annotations, doc = self.silent.get(part.name, ("", None))
            extra = (annotations if reads_annotations else "", doc if reads_docs else None)
            digest = part.digest if extra == ("", None) else digest_value((part.digest, extra))
            parts.append(KeyPart(kind="code", name=part.name, digest=digest, text=part.text))
        versions: dict[str, str] = {}
        for package, folder in self.packages.items():
            versions.update(self.sources.versions(package, folder))
        parts += [KeyPart(kind="environment", name=name, digest=digest_value(text), text=text) for name, text in versions.items()]
        return tuple(sorted(parts, key=lambda part: (part.kind, part.name)))

    # --- where a thing comes from ---

    def touch(self, module: str, origin: str) -> str:
        """Note that a package of ``origin`` counts, and return its name."""
        package = module.partition(".")[0]
        if origin == "stdlib":
            self.packages["python"] = None
        elif origin == "plimsoll":
            self.packages["plimsoll"] = None
        elif origin == "third" and package not in self.packages:
            file = getattr(sys.modules.get(package), "__file__", None)
            path = Path(file) if file else None
            self.packages[package] = path.parent if path is not None and path.stem == "__init__" else path
        return package

    # --- values ---

    def visit(self, value: Any) -> tuple[str, Any] | None:
        """Return what stands for code inside a value; None for data."""
        if type(value) in _PLAIN:
            return None
        if isinstance(value, _Mention):
            return "part", value.label
        if (inner := _unwrap(value)) is not value:
            return "step", inner
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if isinstance(value, _ALIASES):
            return "alias", (typing.get_origin(value), list(typing.get_args(value)))
        if isinstance(value, type):
            return self.klass(value)
        if isinstance(value, types.ModuleType):
            return "module", self.module(value)
        if isinstance(value, (types.BuiltinFunctionType, *_DESCRIPTORS)):
            return self.builtin(value)
        if isinstance(value, types.MethodType):
            return "method", (value.__func__, value.__self__)
        for kind, attributes in _WRAPPERS:
            if isinstance(value, kind):
                return kind.__name__, [getattr(value, name) for name in attributes]
        if isinstance(value, (logging.Logger, *_LOCKS)):
            self.touch("logging", "stdlib")
            return type(value).__name__, getattr(value, "name", "")
        if isinstance(value, _TYPING):
            return "typing", repr(value)
        self.klass(type(value))
        return None

    def rescue(self, value: Any) -> tuple[str, Any] | None:
        """Return the state of an instance as its own reduction tells it; None when it has none."""
        cls = type(value)
        if isinstance(value, (types.GeneratorType, types.CoroutineType, types.FrameType, types.CodeType)):
            return None
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:
            # Each class raises its own kind of error when it has no portable state; the caller turns None into a refusal.
            return None
        if isinstance(reduced, str):
            return "named", (cls.__module__, reduced)
        state, *items = [*reduced[2:5], None, None, None][:3]
        if all(getattr(cls, name) is getattr(object, name) for name in ("__reduce_ex__", "__reduce__", "__getstate__")):
            state = dict(state_of(value))
        elif self.sources.origin(cls.__module__, None) == "user":
            # What an object leaves out of its pickle can act all the same.
            state = (state, dict(state_of(value)))
        return "instance", (reduced[0], list(reduced[1]), state, [None if each is None else list(each) for each in items])

    def builtin(self, value: Any) -> tuple[str, Any]:
        owner = getattr(value, "__objclass__", None)
        bound = getattr(value, "__self__", None)
        if owner is None and bound is not None and not isinstance(bound, (types.ModuleType, type)):
            return "bound", (value.__name__, bound)
        module = getattr(owner or (bound if isinstance(bound, type) else value), "__module__", None) or "builtins"
        if not isinstance(owner, type) or self.sources.origin(module, None) != "user":
            self.touch(module, self.sources.origin(module, None))
        return "builtin", f"{module}.{value.__qualname__}"

    def function(self, value: types.FunctionType) -> tuple[str, Any]:
        code, module = value.__code__, value.__globals__.get("__name__", "")
        origin = self.sources.origin(module, code.co_filename)
        if origin == "user":
            return "code", self.meet(value, module, code.co_qualname, lambda label: self.work_function(label, value))
        self.touch(module, origin)
        registry = getattr(value, "registry", None)
        if isinstance(registry, types.MappingProxyType) and hasattr(value, "dispatch"):
            found = [(f"{key.__module__}.{key.__qualname__}", key, each) for key, each in registry.items()]
            return "dispatch", sorted(found, key=itemgetter(0))
        claimed = getattr(value, "__module__", None) or ""
        if value.__closure__ is None and not hasattr(value, "__wrapped__"):
            return "library", f"{module}.{code.co_qualname}"
        if self.sources.origin(claimed, None) != "user" and _resolve(claimed, value.__qualname__) is value:
            return "library", f"{module}.{code.co_qualname}"
        cells = [_contents(cell) for cell in value.__closure__ or ()]
        return "wrapper", (f"{module}.{code.co_qualname}", getattr(value, "__wrapped__", None), cells, value.__defaults__)

    def klass(self, cls: type) -> tuple[str, Any]:
        origin = self.sources.origin(cls.__module__, None)
        if origin != "user":
            self.touch(cls.__module__, origin)
            return "library", f"{cls.__module__}.{cls.__qualname__}"
        return "code", self.meet(cls, cls.__module__, cls.__qualname__, lambda label: self.work_class(label, cls))

    def module(self, module: types.ModuleType) -> str:
        origin = self.sources.origin(module.__name__, getattr(module, "__file__", None))
        if origin == "user" and not getattr(module, "__file__", None) and hasattr(module, "__path__"):
            origin = self.sources.origin(module.__name__, next(iter(module.__path__), None))
        if origin != "user":
            self.touch(module.__name__, origin)
            return module.__name__
        return self.meet(module, module.__name__, "*", lambda label: self.work_module(label, module))

    # --- the content of a part ---

    def work_function(self, label: str, function: types.FunctionType) -> None:
        code = function.__code__
        self.used |= names_used(code)
        normal = self.sources.normal(code, function.__globals__)
        renamed = normal.renamed if normal else {}
        if normal is None:
            self.touch("sys", "stdlib")  # Bytecode means something only to its own Python.
        mentions = []
        for found in references(code):
            shown = ".".join((renamed.get(found.name, found.name), *found.chain))
            mentions.append((found.kind, shown, found.level, self.digest(self.look_up(label, function, found), f"{shown!r} in {label}")))
        content: list[Any] = [normal.canonical if normal else bytecode(code), sorted(set(mentions))]
        decorators = [self.decorator(function, each) for each in normal.decorators] if normal else []
        content += [[text for text, _ in decorators if text], getattr(function, "__wrapped__", None)]
        if normal and any(acts for _, acts in decorators):
            content.append(normal.annotations)
        content += [function.__defaults__, sorted((function.__kwdefaults__ or {}).items())]
        content.append(sorted((k, v) for k, v in vars(function).items() if k != "__wrapped__" and not k.startswith("__plimsoll")))
        annotations = normal.annotations if normal else repr(sorted(function.__annotations__.items(), key=itemgetter(0)))
        self.silent[label] = (annotations, function.__doc__)
        text = normal.text if normal else f"bytecode of {code.co_qualname}: names {code.co_names}"
        self.add(label, self.digest(content, label), text)

    def decorator(self, function: types.FunctionType, expression: ast.expr) -> tuple[str, bool]:
        """Return a decorator's text, empty when what it made is seen anyway, and whether it may look at annotations."""
        target = expression.func if isinstance(expression, ast.Call) else expression
        names = ast.unparse(target).split(".")
        found: Any = function.__globals__.get(names[0], getattr(builtins, names[0], None))
        for name in names[1:]:
            found = getattr(found, name, None)
        file = found.__code__.co_filename if isinstance(found, types.FunctionType) else None
        origin = self.sources.origin(getattr(found, "__module__", None) or type(found).__module__, file)
        if origin in ("builtin", "stdlib", "plimsoll"):
            return "", False
        if origin == "third":
            self.touch(getattr(found, "__module__", None) or type(found).__module__, origin)
        reads = isinstance(found, types.FunctionType) and not _READS_ANNOTATIONS.isdisjoint(names_used(found.__code__))
        return ast.unparse(expression), origin == "third" or reads

    def look_up(self, label: str, function: types.FunctionType, found: Reference) -> Any:
        """Return what a reference holds now, as something that can be digested inside the function's content."""
        if found.kind == "import":
            return self.imported(label, function, found)
        names = function.__globals__
        if found.kind == "free":
            value = _contents(function.__closure__[function.__code__.co_freevars.index(found.name)]) if function.__closure__ else _MISSING
        else:
            value = names.get(found.name, getattr(builtins, found.name, _MISSING))
        if value is _MISSING:
            if found.kind == "class":
                return _Mention("absent")
            raise self.refusal(label, f"the name {found.name!r} has no value now")
        module, rest = names.get("__name__", ""), list(found.chain)
        name = found.name
        while isinstance(value, types.ModuleType) and rest:
            if self.sources.origin(value.__name__, getattr(value, "__file__", None)) != "user":
                full = f"{value.__name__}.{'.'.join(rest)}"
                if any(full == each or full.startswith(f"{each}.") for each in _DYNAMIC):
                    raise self.refusal(label, f"{full} runs or finds code that no name leads to")
                if full in _IMPORTERS:
                    return self.by_name(label, found)
                break
            module, name, value = value.__name__, rest[0], self.attribute(label, value, rest.pop(0))
        return self.held(label, function, found, value, module, name)

    def held(self, label: str, function: types.FunctionType, found: Reference, value: Any, module: str, name: str) -> Any:
        """Return a looked-up value as it goes into the content: code and cells as they are, constants as parts of their own."""
        value = _unwrap(value)
        is_code = isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType))
        full = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}" if is_code else ""
        if full in _IMPORTERS:
            return self.by_name(label, found)
        if full in _DYNAMIC or value is sys.modules:
            raise self.refusal(label, f"{found.name!r} runs or finds code that no name leads to")
        if value is globals:
            own = sys.modules.get(function.__globals__.get("__name__", ""))
            if own is None or vars(own) is not function.__globals__:
                raise self.refusal(label, "'globals' is used outside of a module")
            return own
        if is_code or found.kind == "free":
            return value
        key = (module, name, id(value))
        if key not in self.constants:
            self.alive.append(value)
            constant = self.constants[key] = self.label(module, name)
            self.queue.append((constant, lambda constant: self.work_constant(constant, value)))
        return _Mention(self.constants[key])

    def attribute(self, label: str, module: types.ModuleType, name: str) -> Any:
        """Return what a user's module holds under a name, a submodule included."""
        value = vars(module).get(name, sys.modules.get(f"{module.__name__}.{name}", _MISSING))
        if value is _MISSING and hasattr(module, "__getattr__"):
            self.visit(module.__getattr__)
            value = getattr(module, name, _MISSING)
        if value is _MISSING:
            raise self.refusal(label, f"the module {module.__name__!r} has no {name!r} now")
        return value

    def by_name(self, label: str, found: Reference) -> Any:
        """Return the module of ``import_module("name")``; a computed name is refused."""
        if found.argument is None or found.argument.startswith("."):
            raise self.refusal(label, "it imports a module by a computed name")
        return self.load(label, found.argument)

    def load(self, label: str, name: str) -> Any:
        """Return a module by name: the user's is imported, of another only its package is noted."""
        package = name.partition(".")[0]
        if name in sys.modules:
            module = sys.modules[name]
            origin = self.sources.origin(name, getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None))
            # The same answer as below: a key must not depend on what happens to be imported already.
            return module if origin == "user" else ("module", self.touch(name, origin))
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:
            spec = None
        if spec is None:
            return ("absent", name)
        places = list(spec.submodule_search_locations or ())
        file = spec.origin if spec.origin and Path(spec.origin).exists() else places[0] if places else None
        origin = self.sources.origin(package, file)
        if origin == "user":
            try:
                return importlib.import_module(name)
            except ImportError as error:
                raise self.refusal(label, f"importing {name!r} fails ({error})") from error
        self.touch(package, origin)
        if origin == "third" and self.packages[package] is None and file is not None:
            self.packages[package] = Path(places[0]) if places else Path(file)
        return ("module", package)

    def imported(self, label: str, function: types.FunctionType, found: Reference) -> Any:
        """Return what an import inside the function's body brings."""
        name = found.name
        if found.level:
            package = function.__globals__.get("__package__") or ""
            name = importlib.util.resolve_name("." * found.level + name, package)
        module = self.load(label, name)
        if not isinstance(module, types.ModuleType) or not found.chain:
            return module
        values = []
        for each in found.chain:
            if each not in vars(module) and hasattr(module, "__path__"):
                values.append(self.load(label, f"{module.__name__}.{each}"))
            else:
                reference = Reference("global", each)
                values.append(self.held(label, function, reference, self.attribute(label, module, each), module.__name__, each))
        return values

    def work_constant(self, label: str, value: Any) -> None:
        text = "" if _SECRET.search(label) else reprlib.repr(value)
        self.add(label, self.digest(value, label), re.sub(r" at 0x[0-9a-f]+", "", text))

    def work_class(self, label: str, cls: type) -> None:
        self.classes.append(cls)
        members, fields = class_content(cls)
        # Only a foreign base or metaclass gives the annotations of a class a meaning that its fields do not show.
        foreign = any(self.sources.origin(each.__module__, None) == "third" for each in (type(cls), *cls.__mro__))
        annotations = list(getattr(cls, "__annotations__", {}).items())
        content: list[Any] = [type(cls), list(cls.__bases__), fields, annotations if foreign else None]
        content += [(name, self.digest(member, f"{label}.{name}")) for name, member in members]
        self.silent[label] = (repr(annotations), cls.__doc__)
        bases = ", ".join(base.__name__ for base in cls.__bases__)
        self.add(label, self.digest(content, label), f"class {cls.__name__}({bases}): {', '.join(name for name, _ in members)}")

    def work_module(self, label: str, module: types.ModuleType) -> None:
        """Digest a module that is used as a value: its source file, and all that it holds now."""
        file = getattr(module, "__file__", None)
        source = Path(file).read_bytes() if file and Path(file).is_file() else None
        content: list[Any] = [source]
        for name, value in sorted(vars(module).items()):
            if not name.startswith("__") or name in ("__all__", "__getattr__"):
                what = f"{label.removesuffix('*')}{name}, reached because its module is used as a value,"
                content.append((name, self.digest(value, what)))
        self.add(label, self.digest(content, label), f"all of {module.__name__}")

    def add(self, label: str, digest: str, text: str) -> None:
        self.parts.append(KeyPart(kind="code", name=label, digest=digest, text=text))


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _resolve(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found
