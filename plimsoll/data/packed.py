"""User code that travels inside a package: which files it needs, and how two versions of one module live in one process.

Packed modules are imported under a private top package named after the package's digest, so ``flights.features`` of two
model versions are two modules. Absolute imports among the packed files are rewritten to that private name while they are
compiled; relative ones need nothing; line numbers stay, and tracebacks show the real files.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from plimsoll.data.environment import packages_folder
from plimsoll.errors import Conflict, Corrupt, InvalidInput
from plimsoll.records.request import check_digest

#: Guards the check-then-add on ``sys.meta_path``; two loads of one digest must find one finder.
_installing = threading.Lock()


def module_files(function: Callable[..., Any], project: Path) -> dict[str, bytes]:
    """Return the project's source files that a function's module needs, by the path under which they are imported.

    These are the module itself, the ``__init__.py`` of its packages, and so on for every module of the project that one of
    them imports, at its top or inside a function. A path is relative to the folder that stands on ``sys.path`` (the project,
    or ``src`` in it), with forward slashes. Modules imported by a computed name are not found, nor are data files.

    Args:
        function: the user's function, or anything that wraps it.
        project: folder of the project; nothing outside of it is taken.

    Raises:
        InvalidInput: the function's module is not a file of the project, so it cannot travel.
        Conflict: a file was edited after it was imported: what would be packed is not what ran.
    """
    name, file = _home(function, project)
    roots = _roots(file, name, project)
    if _find(name, roots) != file:
        raise InvalidInput(f"The module {name!r} is not importable as {file}.", "Import it by its path inside the project.")
    found: dict[str, bytes] = {}
    pending = [name]
    seen: set[str] = set()
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        path = _find(module, roots)
        if path is None:
            continue
        pending += _parents(module)
        source = path.read_bytes()
        root = next(root for root in roots if path.is_relative_to(root))
        found[path.relative_to(root).as_posix()] = source
        tree = _parse(source, path)
        _check_unedited(module if path != file else inspect.unwrap(function).__module__, path, source)
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        pending += [each for each in _imports(tree, package) if each.partition(".")[0] != "plimsoll"]
    return dict(sorted(found.items()))


def entry_of(function: Callable[..., Any], project: Path) -> str:
    """Return the ``package.module:name`` under which :func:`load_function` finds a function that :func:`module_files` packed.

    Args:
        function: the user's function; it must be reachable by name from its module.
        project: folder of the project.

    Raises:
        InvalidInput: it is a lambda, a nested function or not in a file of the project.
    """
    name, _ = _home(function, project)
    qualified = inspect.unwrap(function).__qualname__
    if "<" in qualified:
        raise InvalidInput(f"The function {qualified!r} has no name in its module.", "Define it with def at the top of a module.")
    return f"{name}:{qualified}"


def is_own(folder: Path, entry: str, project: Path) -> bool:
    """Return whether packed code is what the project itself has now, so that running it runs nothing new.

    Every packed file must be, byte for byte, the project's file of that import path, and what is called a function that the
    entry's module defines at its top. Nothing is imported.

    Args:
        folder: holds the files of :func:`module_files`; without any, nothing differs.
        entry: ``package.module:name``, or empty when nothing is called.
        project: folder of the project.
    """
    project = project.resolve()
    places = dict.fromkeys([project, *(Path(entry).resolve() for entry in sys.path if entry)])
    roots = [place for place in places if place.is_relative_to(project) and not _is_installed(place)]
    for path in (path for path in folder.rglob("*") if path.is_file()):
        own = (root / path.relative_to(folder) for root in roots)
        if not any(place.is_file() and place.read_bytes() == path.read_bytes() for place in own):
            return False
    module, _, name = entry.partition(":")
    file = _find(module, [folder]) if module else None
    if file is None:
        return not entry
    defined = _parse(file.read_bytes(), file).body
    return any(isinstance(each, ast.FunctionDef) and each.name == name for each in defined)


def load_function(folder: Path, entry: str, digest: str) -> Callable[..., Any]:
    """Return a packed function; this runs the packed modules' code, so whoever calls it has been granted that.

    The modules live in ``sys.modules`` under ``_plimsoll_<first 12 digits>``, and one finder for that name in
    ``sys.meta_path``: Python has no other way to let modules import each other. Both stay for the life of the process. A second
    load of the same digest gives the same module objects. ``folder`` must stay as long as the function may import.

    Args:
        folder: holds the files of :func:`module_files`; nothing is written into it.
        entry: ``package.module:name``, where name may have dots.
        digest: digest of the package, 64 hex digits.

    Raises:
        InvalidInput: ``entry`` is not of that form, or names nothing that can be called.
        Corrupt: the folder lacks the entry's module.
    """
    check_digest("Package digest", digest)
    module, colon, name = entry.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise InvalidInput(f"The entry {entry!r} is not of the form 'package.module:name'.", "Pack the model again.")
    folder = folder.resolve()
    if _find(module, [folder]) is None:
        raise Corrupt(f"The package in {folder} has no module {module!r}, which its entry {entry!r} needs.", "Pack the model again.")
    top = f"_plimsoll_{digest[:12]}"
    with _installing:
        if not any(isinstance(finder, _Finder) and finder.top == top for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder(top, folder))
    value: Any = importlib.import_module(f"{top}.{module}")
    for part in name.split("."):
        value = getattr(value, part, None)
    if not callable(value):
        raise InvalidInput(f"The packed module {module!r} has no function {name!r}.", "Pack the model again with a function that it has.")
    return value  # type: ignore[no-any-return]


# --- which files ----------------------------------------------------------------------------------------------------


def _home(function: Callable[..., Any], project: Path) -> tuple[str, Path]:
    """Return the importable name and the file of a function's module."""
    inner = inspect.unwrap(function)
    module = sys.modules.get(getattr(inner, "__module__", None) or "")
    place = getattr(module, "__file__", None)
    project = project.resolve()
    file = Path(place).resolve() if place else None
    if module is None or file is None or file.suffix != ".py" or not file.is_relative_to(project) or _is_installed(file):
        raise InvalidInput(
            f"The function {getattr(inner, '__qualname__', inner)!r} is not defined in a file of the project {project}.",
            "Move it into a module of the project; code typed into a notebook or a shell cannot be packed.",
        )
    name = module.__name__
    if name == "__main__":
        spec = getattr(module, "__spec__", None)
        name = spec.name if spec else ".".join(file.relative_to(project).with_suffix("").parts)
    return name, file


def _is_installed(file: Path) -> bool:
    return packages_folder(f"{file}/") is not None


def _roots(file: Path, name: str, project: Path) -> list[Path]:
    """Return the folders of the project that modules are imported from; the function's own comes first."""
    depth = len(name.split(".")) + (file.name == "__init__.py")
    project = project.resolve()
    places = [file.parents[depth - 1], *(Path(entry).resolve() for entry in sys.path if entry), project]
    return [place for place in dict.fromkeys(places) if place.is_relative_to(project) and not _is_installed(place)]


def _find(module: str, roots: Sequence[Path]) -> Path | None:
    for root in roots:
        place = root.joinpath(*module.split("."))
        for path in (place / "__init__.py", place.with_name(place.name + ".py")):
            if path.is_file():
                return path
    return None


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _parse(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        raise InvalidInput(f"The file {path} is not valid Python: {error}.", "Correct it and run again.") from error


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield every module name that a file's import statements may mean, anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from (*_parents(alias.name), alias.name)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = package.split(".") if package else []
                origin = ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])
            if origin:
                yield from (*_parents(origin), origin)
            yield from (f"{origin}.{alias.name}".lstrip(".") for alias in node.names if alias.name != "*")


def _check_unedited(name: str, path: Path, source: bytes) -> None:
    """Refuse a file whose functions in memory are not those on disk."""
    module = sys.modules.get(name)
    if module is None or getattr(module, "__file__", None) is None or Path(str(module.__file__)).resolve() != path:
        return
    compiled = compile(source, str(path), "exec", dont_inherit=True)
    codes = {each for each in compiled.co_consts if isinstance(each, types.CodeType)}
    for value in map(inspect.unwrap, filter(inspect.isfunction, vars(module).values())):
        code = getattr(value, "__code__", None)
        if not isinstance(code, types.CodeType) or code.co_filename != module.__file__ or not code.co_qualname.isidentifier():
            continue
        if code not in codes:
            raise Conflict(f"{path} was edited after it was imported: {code.co_name} differs.", "Start again, so that what runs is packed.")


# --- importing ------------------------------------------------------------------------------------------------------


class _Finder:
    """Finds the modules of one package, and nothing else."""

    def __init__(self, top: str, folder: Path) -> None:
        self.top = top
        self.folder = folder
        self.names = frozenset(path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir())

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Return where a module of this package is; None for any other name.

        Args:
            name: dotted name that Python is importing.
            path: not needed: the name says where to look.
            target: not needed.
        """
        if name != self.top and not name.startswith(f"{self.top}."):
            return None
        inner = name[len(self.top) + 1 :]
        place = self.folder.joinpath(*inner.split(".")) if inner else self.folder
        file = _find(inner, [self.folder]) if inner else None
        if file is not None:
            places = [str(place)] if file.name == "__init__.py" else None
            loader = _Loader(name, str(file), self)
            return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=places)
        if not place.is_dir():
            return None
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(place)]
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a packed file with its absolute imports turned to the private package."""

    def __init__(self, name: str, path: str, finder: _Finder) -> None:
        super().__init__(name, path)
        self.finder = finder

    def get_code(self, fullname: str) -> types.CodeType:
        """Return the module's code, always from its source: a ``.pyc`` could be stale, and the folder is not ours to write to.

        Args:
            fullname: the module's private name.
        """
        path = self.get_filename(fullname)
        tree = _Rewrite(self.finder).visit(ast.parse(self.get_data(path), path))
        code: types.CodeType = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
        return code


class _Rewrite(ast.NodeTransformer):
    """Turns ``import a.b`` into imports of the private package that bind the same names."""

    def __init__(self, finder: _Finder) -> None:
        self.finder = finder

    def is_packed(self, module: str) -> bool:
        return module.partition(".")[0] in self.finder.names

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if not node.level and node.module and self.is_packed(node.module):
            node.module = f"{self.finder.top}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        if not any(self.is_packed(alias.name) for alias in node.names):
            return node
        statements: list[ast.stmt] = []
        for alias in node.names:
            private, first = f"{self.finder.top}.{alias.name}", alias.name.partition(".")[0]
            if not self.is_packed(alias.name):
                statements.append(ast.Import([alias]))
            elif alias.asname or first == alias.name:
                statements.append(ast.Import([ast.alias(private, alias.asname or alias.name)]))
            else:
                # `import a.b` binds `a`: import the inner module for its effect, then bind the outer one.
                call = ast.Call(ast.Name("__import__", ast.Load()), [ast.Constant(private)], [])
                statements += [ast.Expr(call), ast.Import([ast.alias(f"{self.finder.top}.{first}", first)])]
        return [ast.copy_location(statement, node) for statement in statements]
