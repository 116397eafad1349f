"""What the names in a function's code hold now: globals, cells, attributes of modules, and imports inside of the body."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from plimsoll.data.code.bytecode import Reference, names_used
from plimsoll.data.code.source import Sources
from plimsoll.errors import Unfingerprintable

#: Ways to run code that no name leads to.
_DYNAMIC = {
    "builtins.eval", "builtins.exec", "builtins.__import__", "importlib.__import__", "importlib._bootstrap.__import__", "sys.modules",
    "importlib.reload", "runpy.run_path", "runpy.run_module", "inspect.getmodule", "posix.environ", "nt.environ",
    "importlib.util.spec_from_file_location", "importlib.metadata.entry_points", "pkgutil.iter_modules", "pkgutil.walk_packages",
    "pkgutil.resolve_name", "pydoc.locate", "importlib.machinery.SourceFileLoader", "importlib.machinery.SourcelessFileLoader",
    "importlib.machinery.ExtensionFileLoader", "zipimport.zipimporter", "gc.get_objects", "gc.get_referrers", "code.InteractiveInterpreter",
    "code.InteractiveConsole", "code.interact", "timeit.timeit", "timeit.repeat", "timeit.Timer", "unittest.defaultTestLoader",
    "unittest.TestLoader", "unittest.main", "doctest.testmod", "doctest.testfile", "doctest.DocTestFinder",
}  # fmt: skip
_IMPORTERS = {"importlib.import_module", "plimsoll.extras.require"}
_SCALARS = (bool, int, float, complex, str, bytes, type(None))
#: What a list can be told to do without being read: what is found through the path of modules is seen itself.
_GROWS = ("append", "extend", "insert", "remove")
MISSING = object()


class Mention:
    """Stands for a part in the content of another.

    Args:
        label: the part's name.
    """

    def __init__(self, label: str) -> None:
        self.label = label


class Walk(Protocol):
    """What the looking up of names needs of the walk that it serves."""

    sources: Sources
    traced: bool
    packages: dict[str, Path | None]
    used: set[str]

    def touch(self, module: str, origin: str) -> str:
        """Note that a package counts, and return its name."""
        ...

    def reach(self, name: str) -> None:
        """Note a module whose import has taken place."""
        ...

    def visit(self, value: Any) -> tuple[str, Any] | None:
        """Return what stands for code inside a value."""
        ...

    def constant(self, module: str, name: str, value: Any) -> Mention:
        """Return the mention of a constant, which becomes a part of its own."""
        ...

    def refusal(self, what: str, why: str) -> Unfingerprintable:
        """Return the error for what cannot be seen."""
        ...


class Names:
    """Looks up names for one walk.

    Args:
        walk: is told of what was found.
        unwrap: gives the user's function inside of a wrapper of Plimsoll's own.
    """

    def __init__(self, walk: Walk, unwrap: Callable[[Any], Any]) -> None:
        self._walk = walk
        self._sources = walk.sources
        self._unwrap = unwrap

    def look_up(self, label: str, function: types.FunctionType, found: Reference, lax: bool = False) -> Any:
        """Return what a reference holds now, as something that can be digested inside the function's content.

        Args:
            label: the function's, for errors.
            function: whose code has the reference.
            found: the reference.
            lax: a name without a value is no error.

        Raises:
            Unfingerprintable: it has no value, or leads to code that cannot be seen.
        """
        if found.kind == "import":
            return self._imported(label, function, found)
        names = function.__globals__
        if found.kind == "free":
            value = contents(function.__closure__[function.__code__.co_freevars.index(found.name)]) if function.__closure__ else MISSING
        else:
            value = names.get(found.name, getattr(builtins, found.name, MISSING))
            if found.name == "print" and found.name not in names and not self._is_users(value):
                # Tools that gather what is printed, such as Ray, put their own in its place.
                return Mention("builtins.print")
        if value is MISSING:
            if found.kind == "class" or lax:
                return Mention("absent")
            raise self._walk.refusal(label, f"the name {found.name!r} has no value now")
        return self._follow(label, function, found, value, (names.get("__name__", ""), found.name), found.chain)

    def _follow(
        self, label: str, function: types.FunctionType, found: Reference, value: Any, place: tuple[str, str], chain: tuple[str, ...]
    ) -> Any:
        """Return what a chain of attributes leads to from ``value`` on, as far as it leads through the user's modules."""
        rest = list(chain)
        while isinstance(value, types.ModuleType) and rest:
            if self._sources.origin(value.__name__, getattr(value, "__file__", None)) != "user":
                return self._in_library(label, found, value, rest)
            if rest[0] in ("__dict__", "__class__"):
                break
            place, value = (value.__name__, rest[0]), self._attribute(label, value, rest.pop(0))
        return self._held(label, function, found, value, place)

    def _in_library(self, label: str, found: Reference, module: types.ModuleType, chain: list[str]) -> Any:
        """Return what is seen of an attribute of a library: its package, and what the user has put there in its place."""
        full = f"{module.__name__}.{'.'.join(chain)}"
        self._walk.used.add(full)
        if any(full == each or full.startswith(f"{each}.") for each in _DYNAMIC):
            does = "reads variables where nothing tells" if full.endswith(".environ") else "runs or finds code that no name leads to"
            raise self._walk.refusal(label, f"{full} {does}")
        if full in _IMPORTERS:
            return self._by_name(label, found)
        value: Any = module
        for position, name in enumerate(chain):
            if not isinstance(value, types.ModuleType) or name not in vars(value):
                break
            value = vars(value)[name]
            if isinstance(value, (list, tuple)) and module.__name__ == "sys" and "argv" not in name:
                # sys.path, sys.flags
                return module if chain[position + 1 :][:1] in ([each] for each in _GROWS) else (module, list(value))
            if isinstance(value, _SCALARS) and position == len(chain) - 1 and not name.startswith("__"):
                return (module, value)
            if isinstance(value, types.FunctionType) and self._sources.origin(value.__module__, value.__code__.co_filename) == "user":
                return (module, value)
            if isinstance(value, type) and self._sources.origin(value.__module__, None) == "user":
                return (module, value)
        return module

    def _held(self, label: str, function: types.FunctionType, found: Reference, value: Any, place: tuple[str, str]) -> Any:
        """Return a looked-up value as it goes into the content: code and cells as they are, constants as parts of their own."""
        value = self._unwrap(value)
        is_code = isinstance(value, (types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType))
        full = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}" if is_code else ""
        if full in _IMPORTERS:
            return self._by_name(label, found)
        if full in _DYNAMIC or value is sys.modules:
            raise self._walk.refusal(label, f"{found.name!r} runs or finds code that no name leads to")
        if value is globals:
            own = sys.modules.get(function.__globals__.get("__name__", ""))
            if own is None or vars(own) is not function.__globals__:
                raise self._walk.refusal(label, "'globals' is used outside of a module")
            return own
        if value is os.environ:
            return os
        if is_code or found.kind == "free":
            return value
        return self._walk.constant(*place, value)

    def _is_users(self, function: Any) -> bool:
        code = getattr(function, "__code__", None)
        return code is not None and self._sources.origin(getattr(function, "__module__", None) or "", code.co_filename) == "user"

    def _attribute(self, label: str, module: types.ModuleType, name: str) -> Any:
        """Return what a user's module holds under a name, a submodule included."""
        self._walk.reach(module.__name__)
        value = vars(module).get(name, sys.modules.get(f"{module.__name__}.{name}", MISSING))
        if value is MISSING and hasattr(module, "__getattr__"):
            self._walk.visit(module.__getattr__)
            value = getattr(module, name, MISSING)
        if value is MISSING:
            raise self._walk.refusal(label, f"the module {module.__name__!r} has no {name!r} now")
        return value

    def _by_name(self, label: str, found: Reference) -> Any:
        """Return the module of ``import_module("name")``; a computed name is refused, unless it is found while the code runs."""
        if found.argument is None or found.argument.startswith("."):
            if self._walk.traced:
                return Mention("whatever it imports")
            raise self._walk.refusal(label, "it imports a module by a computed name")
        return self._load(label, found.argument)

    def _load(self, label: str, name: str) -> Any:
        """Return a module by name: the user's is imported, of another only its package is noted."""
        package = name.partition(".")[0]
        if name in sys.modules:
            module = sys.modules[name]
            origin = self._sources.origin(name, getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None))
            # The same answer as below: a key must not depend on what happens to be imported already.
            if origin != "user":
                return ("module", self._walk.touch(name, origin))
            self._walk.reach(name)
            return module
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:
            spec = None
        if spec is None:
            return ("absent", name)
        places = list(spec.submodule_search_locations or ())
        file = spec.origin if spec.origin and Path(spec.origin).exists() else places[0] if places else None
        origin = self._sources.origin(package, file)
        if origin == "user":
            try:
                module = importlib.import_module(name)
            except ImportError as error:
                if isinstance(error, ModuleNotFoundError) and error.name == name:
                    return ("absent", name)
                raise self._walk.refusal(label, f"importing {name!r} fails ({error})") from error
            self._walk.reach(name)
            return module
        self._walk.touch(package, origin)
        if origin == "third" and self._walk.packages[package] is None and file is not None:
            self._walk.packages[package] = Path(places[0]) if places else Path(file)
        return ("module", package)

    def _imported(self, label: str, function: types.FunctionType, found: Reference) -> Any:
        """Return what an import inside the function's body brings."""
        name = found.name
        if found.level:
            package = function.__globals__.get("__package__") or ""
            name = importlib.util.resolve_name("." * found.level + name, package)
        module = self._load(label, name)
        if not isinstance(module, types.ModuleType):
            self._refuse_dynamic(label, function, found, name)
            chains = found.taken if found.taken is not None else [(each,) for each in found.chain]
            return [module, *(self._in_library(label, found, sys, list(each)) for each in chains)] if name == "sys" else module
        if found.taken is not None:
            root = self._load(label, name.partition(".")[0])
            if not isinstance(root, types.ModuleType):
                return module
            return [self._follow(label, function, Reference("global", each[0]), root, (name, ""), each) for each in found.taken]
        if not found.chain:
            return module
        values = []
        for each in found.chain:
            if each not in vars(module) and hasattr(module, "__path__"):
                values.append(self._load(label, f"{module.__name__}.{each}"))
            else:
                reference = Reference("global", each)
                values.append(self._held(label, function, reference, self._attribute(label, module, each), (module.__name__, each)))
        return values

    def _refuse_dynamic(self, label: str, function: types.FunctionType, found: Reference, name: str) -> None:
        """Refuse an import inside the body that brings a way to run code that no name leads to."""
        if found.taken is not None:
            root = name.partition(".")[0]
            brought = {".".join((root, *each)) for each in found.taken}
        else:
            # What is done with the name that the import binds is not followed, so any attribute may be one of what it brings.
            brought = {f"{name}.{each}" for each in found.chain} or {name, name.partition(".")[0]}
            used = names_used(function.__code__)
            brought |= {way for way in _DYNAMIC for each in brought if way.startswith(f"{each}.") and way.rpartition(".")[2] in used}
        for way in sorted(_DYNAMIC):
            if any(each == way or each.startswith(f"{way}.") for each in brought):
                raise self._walk.refusal(label, f"{way} runs or finds code that no name leads to")


def contents(cell: types.CellType) -> Any:
    """Return what a closure's cell holds, ``MISSING`` when it is empty.

    Args:
        cell: of a function's ``__closure__``.
    """
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING
