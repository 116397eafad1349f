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

import builtins
import contextlib
import inspect
import os
import re
import sys
import types
import typing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from plimsoll.data.code.bytecode import Reference, named_in_text, names_used
from plimsoll.data.code.effects import ASKS_LOGGERS, around, effects, imported
from plimsoll.data.code.names import Mention, Names, contents
from plimsoll.data.code.normal import Normal
from plimsoll.data.code.objects import (
    ALIASES,
    class_content,
    class_text,
    held_text,
    inside,
    members_text,
    reduction,
    resolve,
    value_text,
)
from plimsoll.data.code.silent import Silent, acting, hints, noted, reads_annotations, reads_nothing, shown
from plimsoll.data.code.source import Acts, Sources, uncollected
from plimsoll.data.code.surroundings import surroundings
from plimsoll.errors import PlimsollError, Unfingerprintable
from plimsoll.fingerprint import digest_value
from plimsoll.records.pipeline import KeyPart

#: Attributes that lead from a function to any other of its module.
_ANYWHERE = {"__globals__", "f_globals", "f_builtins", "__loader__", "get_source", "get_code", "exec_module", "load_module"}
_DESCRIPTORS = (
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType, types.MethodWrapperType,
    types.GetSetDescriptorType, types.MemberDescriptorType,
)  # fmt: skip
#: Functions that Cython has compiled, whichever release of it; each release has classes of its own.
_COMPILED = ("cython_function_or_method", "fused_cython_function")
_PRIVATE = re.compile(r"^_plimsoll_[0-9a-f]{12}\.")
_REMEDY = "Name the code directly, pass the value as a parameter, or mark the step as not cached."
_PLAIN = (list, dict, tuple, set, frozenset)
#: Classes of what a walk always digests alike.
_BY_NAME = frozenset({Mention, types.FunctionType, types.BuiltinFunctionType})


def closure(function: Callable[..., Any], sources: Sources | None = None, traced: bool = False) -> tuple[KeyPart, ...]:
    """Return one part for each function, class, constant and whole module that ``function`` reaches, and for each distribution.

    Args:
        function: the user's function, or anything that wraps it; it is looked at, never called.
        sources: share one among the functions of one plan to read each file once; made for this call when left out.
        traced: modules that it imports by computed names are found while it runs, so they are no reason to refuse.

    Raises:
        Unfingerprintable: something reached cannot be seen whole; the message names the function and the expression.
    """
    home = getattr(_unwrap(function), "__globals__", {}).get("__name__", "")
    walk = _Walk(sources or Sources(), home, traced)
    with uncollected(), _refusing(getattr(function, "__qualname__", "The function")):
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
    with uncollected(), _refusing("The value"):
        digest = walk.digest(value, "The value")
        return digest, walk.finish()


@contextlib.contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Refuse what cannot be looked at, since any object may raise anything: a key is never worth a failed run."""
    try:
        yield
    except PlimsollError:
        raise
    except Exception as error:
        raise Unfingerprintable(f"{what} cannot be fingerprinted: {type(error).__name__}: {error}.", _REMEDY) from error


def _unwrap(value: Any) -> Any:
    """Return the user's function inside a wrapper of Plimsoll's own (a step, a pipeline), whose options must not count."""
    while hasattr(value, "__wrapped__"):
        module = value.__globals__.get("__name__", "") if isinstance(value, types.FunctionType) else type(value).__module__
        if module.partition(".")[0] != "plimsoll":
            break
        value = value.__wrapped__
    return value


class _Walk:
    """One walk: things are named when first met, then digested one by one."""

    def __init__(self, sources: Sources, home: str, traced: bool = False) -> None:
        self.sources, self.home, self.traced = sources, home, traced
        self.labels: dict[int, str] = {}
        #: Kept alive, so that no identity is used twice.
        self.alive: list[Any] = []
        self.taken: set[str] = set()
        self.queue: deque[tuple[str, Callable[[str], None]]] = deque()
        self.parts: list[KeyPart] = []
        #: Label -> annotations, docstring and the like, which count only where some code looks at them.
        self.silent: dict[str, Silent | Normal] = {}
        self.used: set[str] = set()
        self.classes: list[type] = []
        self.constants: dict[tuple[str, str, int], str] = {}
        self.packages: dict[str, Path | None] = {}
        #: The user's modules whose import has taken place before the code runs.
        self.modules: dict[str, types.ModuleType] = {}
        #: Packages that are used as values, with the submodules that are reached through them.
        self.wholes: dict[str, types.ModuleType] = {}
        #: Label -> function or class, and label -> digest of what its annotations mean, where something looks at them.
        self.annotated: dict[str, Any] = {}
        self.hints: dict[str, str] = {}
        #: Label of a part, or identity of a function, which is held -> digest of what mentions it.
        self.digests: dict[str | int, tuple[Any, str]] = {}
        self.names = Names(self, _unwrap)

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
            return digest_value(value, self.visit, self.rescue, self.class_name, circles=True)
        except Unfingerprintable as error:
            if "function" in error.details:
                raise
            raise self.refusal(what, error.fact.removesuffix(".")) from error

    def refusal(self, what: str, why: str) -> Unfingerprintable:
        return Unfingerprintable(f"{what} cannot be fingerprinted: {why}.", _REMEDY, function=what)

    def finish(self) -> tuple[KeyPart, ...]:
        looked_at: set[str] = set()
        for name in ("sitecustomize", "usercustomize"):  # Python has imported them before all others
            self.reach(name)
        while self.queue:
            label, work = self.queue.popleft()
            work(label)
            if not self.queue:
                self.follow_subclasses()
            while not self.queue and (waiting := [name for name in self.modules if name not in looked_at]):
                looked_at.update(waiting)
                for name in sorted(waiting):
                    self.follow_import(self.modules[name])
            if not self.queue:
                self.follow_submodules()
            if not self.queue and "annotations" in self.acting():
                self.follow_annotations()
        acts, parts = self.acting(), []
        for part in self.parts:
            silent = self.silent.get(part.name, Silent())
            extra: list[Any] = [(field, text) for field in sorted(acts) if (text := getattr(silent, field))]
            extra += [hint for hint in (self.hints.get(part.name),) if hint]
            digest = digest_value((part.digest, extra)) if extra else part.digest
            parts.append(KeyPart(kind="code", name=part.name, digest=digest, text=part.text))
        versions = surroundings(self.used)
        for package, folder in self.packages.items():
            versions.update(self.sources.versions(package, folder))
        parts += [self.sources.part(name, text) for name, text in versions.items()]
        return tuple(sorted(parts, key=lambda part: (part.kind, part.name)))

    def acting(self) -> frozenset[str]:
        return acting(self.used, [package for package in self.packages if package not in ("python", "plimsoll")])

    def follow_submodules(self) -> None:
        """Note the submodules of the packages that are used as values; what else has imported such a one must not matter."""
        for name in sorted(self.modules):
            package, _, last = name.rpartition(".")
            if package in self.wholes and vars(self.wholes[package]).get(last) is self.modules[name]:
                self.visit(self.modules[name])

    def follow_annotations(self) -> None:
        for label, thing in list(self.annotated.items()):
            if label not in self.hints:
                self.hints[label] = ""
                try:
                    self.hints[label] = self.digest(hints(thing), label)
                except Unfingerprintable:
                    continue  # their text counts in any case

    def follow_subclasses(self) -> None:
        for cls in list(self.classes) if "__subclasses__" in self.used else ():
            children: list[type] = cls.__subclasses__()
            for child in sorted(children, key=lambda each: (each.__module__, each.__qualname__)):
                self.visit(child)

    def follow_import(self, module: types.ModuleType) -> None:
        """Note what a module's import did beyond its own names, and go on to the modules that it imported."""
        for other in imported(module, self.sources):
            self.reach(other.__name__)
        known, quiet = self.sources.effects, ASKS_LOGGERS.isdisjoint(self.used)
        if (id(module), quiet) not in known:
            known[id(module), quiet] = module, Acts(effects(module, self.sources, quiet))
        acts = known[id(module), quiet][1]
        if acts.statements:
            label = self.label(module.__name__, "<import>")
            self.queue.append((label, lambda label: self.work_import(label, module, acts)))

    def reach(self, name: str) -> None:
        """Note a module whose import has taken place, if it is one of the user's."""
        module = sys.modules.get(name)
        if module is not None and name not in self.modules:
            file = getattr(module, "__file__", None)
            if file and self.sources.origin(name, file) == "user":
                self.modules[name] = module

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
        if isinstance(value, Mention):
            return "part", value.label
        if (inner := _unwrap(value)) is not value:
            return "step", inner
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if isinstance(value, ALIASES):
            return "alias", (typing.get_origin(value), list(typing.get_args(value)))
        if isinstance(value, type):
            return self.klass(value)
        if isinstance(value, types.ModuleType):
            return "module", self.module(value)
        if isinstance(value, (types.BuiltinFunctionType, *_DESCRIPTORS)) or type(value).__name__ in _COMPILED:
            return self.builtin(value)
        if isinstance(value, types.MethodType):
            return "method", (value.__func__, value.__self__)
        held = inside(value, (self.home, "__main__"), self.sources)
        if held is not None:
            self.touch(type(value).__module__, self.sources.origin(type(value).__module__, None))
            return held
        self.klass(type(value))
        return None

    def class_name(self, cls: type) -> str:
        """Return how an instance names its class: as its part is named, which is the same in a notebook and in a module."""
        return self.labels.get(id(cls)) or f"{cls.__module__}.{cls.__qualname__}"

    def rescue(self, value: Any) -> tuple[str, Any] | None:
        """Return the state of an instance as its own reduction tells it; None when it has none."""
        found = reduction(value, self.sources)
        if found is not None and found[0] == "named":
            self.touch(found[1][0], self.sources.origin(found[1][0], None))
        return found

    def native(self, module: str) -> str:
        """Return the digest of a module of the user's that is compiled; empty for one that has source."""
        file = str(getattr(sys.modules.get(module), "__file__", None) or "")
        compiled = file.endswith((".so", ".pyd")) and self.sources.origin(module, file) == "user"
        return self.sources.native(file) if compiled else ""

    def builtin(self, value: Any) -> tuple[str, Any]:
        self.used.add(value.__name__)
        owner = getattr(value, "__objclass__", None)
        bound = getattr(value, "__self__", None)
        if owner is None and bound is not None and not isinstance(bound, (types.ModuleType, type)):
            return "bound", (value.__name__, bound)
        module = getattr(owner or (bound if isinstance(bound, type) else value), "__module__", None) or "builtins"
        if not isinstance(owner, type) or self.sources.origin(module, None) != "user":
            self.touch(module, self.sources.origin(module, None))
        name = f"{module}.{value.__qualname__}"
        found = self.native(module)
        return ("native", (name, found)) if found else ("builtin", name)

    def function(self, value: types.FunctionType) -> tuple[str, Any]:
        code, module = value.__code__, value.__globals__.get("__name__", "")
        origin = self.sources.origin(module, code.co_filename)
        if origin == "user":
            self.reach(module)
            return "code", self.meet(value, module, code.co_qualname, lambda label: self.work_function(label, value))
        self.touch(module, origin)
        self.used.update((value.__name__, f"{module}.{value.__name__}"))
        registry = getattr(value, "registry", None)
        if isinstance(registry, types.MappingProxyType) and hasattr(value, "dispatch"):
            found = [(f"{key.__module__}.{key.__qualname__}", key, each) for key, each in registry.items()]
            return "dispatch", sorted(found, key=itemgetter(0))
        claimed = getattr(value, "__module__", None) or ""
        if value.__closure__ is None and not hasattr(value, "__wrapped__"):
            return "library", f"{module}.{code.co_qualname}"
        if self.sources.origin(claimed, None) != "user" and resolve(claimed, value.__qualname__) is value:
            # A decorator of the library's own has made it: its code is the same for all that it decorates.
            self.touch(claimed, self.sources.origin(claimed, None))
            return "library", f"{claimed}.{value.__qualname__}"
        cells = [contents(cell) for cell in value.__closure__ or ()]
        return "wrapper", (f"{module}.{code.co_qualname}", getattr(value, "__wrapped__", None), cells, value.__defaults__)

    def klass(self, cls: type) -> tuple[str, Any]:
        origin = self.sources.origin(cls.__module__, None)
        # Python 3.11 names a class for the module that makes it: dataclasses.make_dataclass.
        if origin != "user" and (cls.__module__ != "types" or resolve("types", cls.__qualname__) is cls):
            self.touch(cls.__module__, origin)
            self.used.add(cls.__name__)
            return "library", f"{cls.__module__}.{cls.__qualname__}"
        self.reach(cls.__module__)
        return "code", self.meet(cls, cls.__module__, cls.__qualname__, lambda label: self.work_class(label, cls))

    def module(self, module: types.ModuleType) -> str:
        origin = self.sources.origin(module.__name__, getattr(module, "__file__", None))
        if origin == "user" and not getattr(module, "__file__", None) and hasattr(module, "__path__"):
            origin = self.sources.origin(module.__name__, next(iter(module.__path__), None))
        if origin != "user":
            self.touch(module.__name__, origin)
            return module.__name__
        self.reach(module.__name__)
        return self.meet(module, module.__name__, "*", lambda label: self.work_module(label, module))

    # --- the content of a part ---

    def work_function(self, label: str, function: types.FunctionType) -> None:
        code = function.__code__
        normal = self.sources.normal(code, function.__globals__)
        used, named = self.sources.named(code)
        self.used |= used
        if leads := sorted(_ANYWHERE & used):
            raise self.refusal(label, f"{leads[0]} leads to any name of a module")
        if normal is None:
            self.touch("sys", "stdlib")  # Bytecode means something only to its own Python.
        found = [each for each in named if normal is None or each.kind == "import" or each.name in normal.names or "__" in each.name]
        if in_text := named_in_text(code, function.__globals__):
            found += in_text - set(found)
        mentions = self.mentions(label, function, found, normal.renamed if normal else {})
        decorators = [self.decorator(function, *each) for each in normal.decorators] if normal else []
        written, wrapped = tuple(text for text, _ in decorators if text), getattr(function, "__wrapped__", None)
        read = [normal.annotations] if normal and any(acts for _, acts in decorators) else []
        keywords = sorted((function.__kwdefaults__ or {}).items())
        own = sorted((k, v) for k, v in vars(function).items() if k != "__wrapped__" and not k.startswith("__plimsoll"))
        if normal:
            self.silent[label] = normal
        else:
            self.silent[label] = Silent(shown(sorted(function.__annotations__.items(), key=itemgetter(0))), repr(function.__doc__ or ""))
        if function.__annotations__:
            self.annotated[label] = function
        text = held_text(function, normal.text if normal else f"bytecode of {code.co_qualname}: names {code.co_names}")
        content = [normal.canonical if normal else self.sources.unread(code), mentions, list(written), wrapped, *read]
        content += [function.__defaults__, keywords, own]
        if normal is None or read or keywords or own or wrapped is not None or function.__defaults__ is not None:
            self.add(label, self.digest(content, label), text)
            return
        # Nothing but texts, as of most functions. Where they are what they were when it was last met, so is their digest.
        known, key = self.sources.digests, (normal, written, tuple(mentions))
        if key not in known:
            known[key] = self.digest(content, label)
        self.add(label, known[key], text)

    def mentions(
        self, label: str, function: types.FunctionType, found: Iterable[Reference], renamed: dict[str, str], lax: bool = False
    ) -> list[tuple[str, str, int, str]]:
        """Return what a function's references hold, each as kind, name, level and digest."""
        mentions = set()
        for each in found:
            written = ".".join((renamed.get(each.name, each.name), *each.chain))
            try:
                digest = self.mentioned(self.names.look_up(label, function, each, lax), f"{written!r} in {label}")
            except Unfingerprintable:
                if not lax:
                    raise
                digest = ""
            mentions.add((each.kind, written, each.level, digest))
        return sorted(mentions)

    def mentioned(self, value: Any, what: str) -> str:
        """Return the digest of what a name holds: of what stands for itself by its name once, since many functions name it."""
        if type(value) not in _BY_NAME:
            return self.digest(value, what)
        key = value.label if type(value) is Mention else id(value)
        if key not in self.digests:
            self.digests[key] = value, self.digest(value, what)
        return self.digests[key][1]

    def work_import(self, label: str, module: types.ModuleType, acts: Acts) -> None:
        """Digest the statements of a module that act beyond the names that they bind."""
        function = types.FunctionType(acts.code, vars(module))
        # A helper may be gone by now: what is left counts by its text.
        mentions = self.mentions(label, function, acts.references, {}, lax=True)
        read, told = around(module, acts, self.sources)
        self.add(label, self.digest([acts.canonical, mentions, read], label), f"{acts.text}\n{told}".rstrip())

    def decorator(self, function: types.FunctionType, name: str, text: str) -> tuple[str, bool]:
        """Return a decorator's text, empty when what it made is seen anyway, and whether it may look at annotations."""
        names = name.split(".")
        found: Any = function.__globals__.get(names[0], getattr(builtins, names[0], None))
        for name in names[1:]:
            found = getattr(found, name, None)
        file = found.__code__.co_filename if isinstance(found, types.FunctionType) else None
        origin = self.sources.origin(getattr(found, "__module__", None) or type(found).__module__, file)
        if origin in ("builtin", "stdlib", "plimsoll"):
            return "", False
        if origin == "third":
            self.touch(getattr(found, "__module__", None) or type(found).__module__, origin)
            return text, not reads_nothing((getattr(found, "__module__", None) or "").partition(".")[0])
        reads = isinstance(found, types.FunctionType) and reads_annotations(names_used(found.__code__))
        return text, reads

    def work_class(self, label: str, cls: type) -> None:
        self.classes.append(cls)
        members, fields = class_content(cls)
        # Only a foreign base or metaclass gives the annotations of a class a meaning that its fields do not show.
        foreign = any(self.sources.origin(each.__module__, None) == "third" for each in (type(cls), *cls.__mro__))
        content: list[Any] = [type(cls), list(cls.__bases__), fields, hints(cls) if foreign else None, self.native(cls.__module__)]
        content += [(name, self.digest(member, f"{label}.{name}")) for name, member in members]
        self.silent[label] = Silent(shown(list(inspect.get_annotations(cls).items())), repr(cls.__doc__ or ""))
        self.annotated[label] = cls
        self.add(label, self.digest(content, label), class_text(cls, members))

    def work_module(self, label: str, module: types.ModuleType) -> None:
        """Digest a module that is used as a value: all that it holds now."""
        content: list[Any] = [self.native(module.__name__)]
        members = []
        self.wholes[module.__name__] = module
        for name, value in sorted(vars(module).items()):
            if isinstance(value, types.ModuleType) and value.__name__ == f"{module.__name__}.{name}":
                continue  # anybody's import may have put it there; see follow_submodules
            if not name.startswith("__") or name in ("__all__", "__getattr__", "__dir__"):
                what = f"{label.removesuffix('*')}{name}, reached because its module is used as a value,"
                content.append((name, self.digest(os if value is os.environ else value, what)))
                members.append((name, value))
        file = Path(getattr(module, "__file__", None) or "")
        source = file.read_text(errors="replace") if file.suffix == ".py" and file.is_file() else ""
        self.silent[label] = Silent(noted(module), repr(module.__doc__ or ""), source=source)
        self.add(label, self.digest(content, label), members_text(f"all of {module.__name__}:", members))

    def constant(self, module: str, name: str, value: Any) -> Mention:
        """Return the mention of a constant, which becomes a part of its own."""
        key = (module, name, id(value))
        if key not in self.constants:
            self.alive.append(value)
            constant = self.constants[key] = self.label(module, name)
            self.queue.append((constant, lambda constant: self.work_constant(constant, value)))
        return Mention(self.constants[key])

    def work_constant(self, label: str, value: Any) -> None:
        self.add(label, self.digest(value, label), value_text(value, label))

    def add(self, label: str, digest: str, text: str) -> None:
        self.parts.append(KeyPart(kind="code", name=label, digest=digest, text=text))
