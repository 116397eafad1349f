"""The files that code was read from, and where code comes from.

A file on disk may be newer than the function in memory, so source is used only if it compiles to the very code object that
runs. Source is better where it can be used: it does not change with comments, docstrings, positions, names of locals and
annotations, nor from one Python to the next.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import hashlib
import importlib.metadata
import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from email.parser import HeaderParser
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from plimsoll.data.code.bytecode import Reference, bytecode, codes, names_used, references
from plimsoll.data.code.normal import Function, Normal, at_positions, written
from plimsoll.data.code.remembered.functions import Functions, Said, mark
from plimsoll.data.environment import bringing, packages_folder
from plimsoll.fingerprint import digest_value
from plimsoll.records.pipeline import KeyPart

S = TypeVar("S")
T = TypeVar("T")

#: Statements whose bodies do not run where they stand.
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

#: Nodes that may act beyond the names of their module, or import something.
_ACTING = (ast.With, ast.Expr, ast.Await, ast.Call, ast.Import, ast.ImportFrom)

#: Fields of statements that hold statements.
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
#: Kind of node -> those that it has.
_BLOCKS_OF = {
    kind: found
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST) and (found := [field for field in _BLOCKS if field in kind._fields])
}
_HERE = f"{Path(__file__).resolve().parents[2]}/"
_STDLIB = tuple({os.path.realpath(sysconfig.get_path(name)) + "/" for name in ("stdlib", "platstdlib")})


class _File:
    """One source file, parsed and compiled once, as soon as somebody asks for it.

    Args:
        file: its path.
        lines: what it holds.
    """

    def __init__(self, file: str, lines: list[str]) -> None:
        self._file, self.lines = file, lines

    @functools.cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree, empty when it is no Python that can be read."""
        try:
            return ast.parse("".join(self.lines))
        except (SyntaxError, ValueError):
            return ast.Module([], [])

    @functools.cached_property
    def index(self) -> dict[tuple[int, str], tuple[list[CodeType], list[Function]]]:
        """First line and name -> the code objects and the functions that begin there."""
        index: dict[tuple[int, str], tuple[list[CodeType], list[Function]]] = {}
        try:
            compiled = compile(self.tree, self._file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return index
        for code in codes(compiled):
            index.setdefault((code.co_firstlineno, code.co_name), ([], []))[0].append(code)
        for node in _functions(self.tree, "lambda" in "".join(self.lines)):
            if isinstance(node, ast.Lambda):
                index.setdefault((node.lineno, "<lambda>"), ([], []))[1].append(node)
            else:
                first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
                index.setdefault((first, node.name), ([], []))[1].append(node)
        return index

    @functools.cached_property
    def alone(self) -> dict[tuple[int, str], list[CodeType]]:
        """First line and name -> the code objects that begin there when each statement is compiled by itself, as notebooks do.

        The compiler does not know then that a name is a module's that another statement imports, and calls its functions otherwise.
        """
        index: dict[tuple[int, str], list[CodeType]] = {}
        for statement in self.tree.body:
            with contextlib.suppress(SyntaxError, ValueError):
                for code in codes(compile(ast.Module([statement], []), self._file, "exec", dont_inherit=True)):
                    index.setdefault((code.co_firstlineno, code.co_name), []).append(code)
        return index


class Acts:
    """Statements of a module that act as it is imported; what they say by themselves is worked out once.

    Args:
        statements: some of a file's.
    """

    def __init__(self, statements: list[ast.stmt]) -> None:
        self.statements, self._tree = statements, ast.Module(statements, [])

    @functools.cached_property
    def code(self) -> CodeType:
        """What they compile to."""
        return compile(self._tree, "<import>", "exec", dont_inherit=True)

    @functools.cached_property
    def references(self) -> list[Reference]:
        """What they look up, but for imports, which are followed by themselves."""
        return [each for each in references(self.code) if each.kind != "import" and each.name != "__file__"]

    @functools.cached_property
    def canonical(self) -> str:
        """What they say, whatever their positions and comments."""
        return ast.dump(self._tree)

    @functools.cached_property
    def text(self) -> str:
        """What they say, for people."""
        return ast.unparse(self._tree)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Let no garbage be looked for: syntax trees are many objects and none is garbage, but each search passes over all of them."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Sources:
    """Files and installed distributions, read once for the life of this object.

    Make one for a run, or for runs that one process begins together and whose code is as it was when the first began, as the
    trials of a search. Keep none for longer. What runs is compared with what was read each time it is asked for.

    Args:
        remembered: folder in which processes remember what functions say; None remembers nothing for later ones.
    """

    def __init__(self, remembered: Path | None = None) -> None:
        self._functions = None if remembered is None else Functions(remembered)
        self._files: dict[str, _File] = {}
        self._normal: dict[int, tuple[CodeType, Normal | None]] = {}
        #: Texts that make up a function, its normalised source first -> their digest.
        self.digests: dict[tuple[Any, ...], str] = {}
        self._named: dict[int, tuple[CodeType, frozenset[str], list[Reference]]] = {}
        self._worked_out: dict[tuple[Any, int], tuple[Any, Any]] = {}
        #: Module -> modules that its import leads to by calling functions, which does not change while it is loaded.
        self.late: dict[str, list[str]] = {}
        #: Module, and whether loggers' settings are quiet -> the module, held, and what its import did beyond names, which is past as well.
        self.effects: dict[tuple[int, bool], tuple[ModuleType, Acts]] = {}
        self._parts: dict[tuple[str, str], KeyPart] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._installed: dict[str, importlib.metadata.Distribution | None] = {}
        self._required: dict[str, tuple[str, str, list[str]]] = {}
        self._origins: dict[str, str] = {}
        self._natives: dict[str, str] = {}

    def normal(self, code: CodeType, names: dict[str, Any]) -> Normal | None:
        """Return the normalised source of a live code object; None if the file does not compile to this very code.

        Args:
            code: a function's code.
            names: the function's globals, through which zip files and notebooks find their source.
        """
        # By identity, with the object held: code of equal text in two files is not the same.
        known = self._normal.get(id(code))
        if known is None:
            known = self._normal[id(code)] = code, self._normalised(code, names)
        return known[1]

    def _normalised(self, code: CodeType, names: dict[str, Any]) -> Normal | None:
        file, lines = code.co_filename, self._read(code.co_filename, names).lines
        functions = self._functions if os.path.isabs(file) else None

        def find() -> Function:
            node = self.node(code, names)
            assert node is not None
            return node

        by = None if functions is None else mark(code)
        said = None if functions is None or by is None else functions.find(file, lines, by)
        if said is not None:
            self._named.setdefault(id(code), (code, said.used, said.references))
            return Normal(said.written, find, lines)
        node = self.node(code, names)
        if node is None:
            return None
        text = written(node, code, lines)
        if functions is not None and by is not None:
            functions.add(file, lines, by, Said(text, *self.named(code)))
        return Normal(text, find, lines)

    def keep(self) -> None:
        """Let later processes have what was read of functions."""
        if self._functions is not None:
            self._functions.keep()

    def named(self, code: CodeType) -> tuple[frozenset[str], list[Reference]]:
        """Return every name in a code object, and what it looks up outside of itself; see :mod:`plimsoll.data.code.bytecode`.

        Args:
            code: a function's code.
        """
        known = self._named.get(id(code))
        if known is None:
            known = self._named[id(code)] = code, names_used(code), references(code)
        return known[1], known[2]

    def once(self, work: Callable[[S], T], thing: S) -> T:
        """Return ``work(thing)``, which is done once.

        Args:
            work: gives the same whenever it is done; it has a name, by which it is known.
            thing: a code object or a syntax tree of :meth:`tree`.
        """
        # By identity, with the object held: code of equal text at two places is not the same.
        known = self._worked_out.get((work, id(thing)))
        if known is None:
            known = self._worked_out[work, id(thing)] = thing, work(thing)
        found: T = known[1]
        return found

    def node(self, code: CodeType, names: dict[str, Any]) -> Function | None:
        """Return the syntax tree of a live code object; None if the file does not compile to this very code.

        Args:
            code: a function's code.
            names: the function's globals.
        """
        file, place = self._read(code.co_filename, names), (code.co_firstlineno, code.co_name)
        together, nodes = file.index.get(place, ([], []))
        if not nodes or (code not in together and code not in file.alone.get(place, ())):
            return None
        return nodes[0] if len(nodes) == 1 else at_positions(code, nodes)

    def tree(self, file: str, names: dict[str, Any]) -> ast.Module:
        """Return the syntax tree of a file, empty when it is no Python that can be read.

        Args:
            file: its path.
            names: globals of its module, through which zip files find their source.
        """
        return self._read(file, names).tree

    def acting(self, statements: Sequence[ast.AST]) -> Iterator[ast.AST]:
        """Yield what may act, or imports, in some nodes of :meth:`tree`, but for what is in functions and classes; the last one first.

        Args:
            statements: they are looked through once.
        """
        for statement in reversed(statements):
            yield from self.once(_acting, statement)

    def native(self, file: str) -> str:
        """Return the digest of a compiled file.

        Args:
            file: its path.
        """
        if file not in self._natives:
            self._natives[file] = _digest_files(Path(file))
        return self._natives[file]

    def _read(self, file: str, names: dict[str, Any]) -> _File:
        if file not in self._files:
            linecache.checkcache(file)
            self._files[file] = _File(file, linecache.getlines(file, names))
        return self._files[file]

    def unread(self, code: CodeType) -> Any:
        """Return what counts of code whose source cannot be read.

        Args:
            code: of a function.
        """
        return bytecode(code)

    def origin(self, module: str, file: str | None) -> str:
        """Return where code comes from: ``user``, ``builtin``, ``stdlib``, ``plimsoll`` or ``third``.

        Args:
            module: dotted name of its module.
            file: its file; None, or a name in angle brackets, when it was not read from one.
        """
        if module == "builtins":
            return "builtin"
        if file is None or file.startswith("<"):
            if module == "__main__":
                return "user"  # typed into a shell or a notebook, whichever program opened it
            is_frozen = file is not None and file.startswith("<frozen")
            # A compiled library's inner modules may be known to nobody: they come from where their package comes from.
            around = (module.rsplit(".", cut)[0] for cut in range(module.count(".") + 1))
            file = next((found for name in around if (found := getattr(sys.modules.get(name), "__file__", None))), None)
            if file is None:
                return "stdlib" if is_frozen or module.partition(".")[0] in sys.stdlib_module_names else "user"
        if file not in self._origins:
            self._origins[file] = _origin_of(file)
        return self._origins[file]

    def versions(self, package: str, folder: Path | None) -> dict[str, str]:
        """Return the versions of the distributions that bring a package, with those that they require.

        Args:
            package: top-level importable name; ``python`` gives the minor version of the interpreter.
            folder: where it lies, for a package that no installed distribution claims: then its files count.
        """
        if package == "python":
            return {"python": python_version()}
        if package == "plimsoll":
            own = self._distribution(package)
            return {package: _described(own)[1] if own is not None else "not installed"}
        if package not in self._versions:
            found: dict[str, str] = {}
            pending = [package] if self._distribution(package) else bringing(package)
            while pending:
                name = pending.pop()
                if self._distribution(name) is None:
                    continue
                spelt, version, required = self._requirements(name)
                if spelt not in found:
                    found[spelt] = version
                    pending += required
            if not found:
                found[package] = "files " + _digest_files(folder)
            self._versions[package] = found
        return self._versions[package]

    def part(self, name: str, text: str) -> KeyPart:
        """Return what a key says of something that the code reaches and that has a version.

        Args:
            name: a distribution or a setting.
            text: its version or its value.
        """
        known = self._parts.get((name, text))
        if known is None:
            known = self._parts[name, text] = KeyPart(kind="environment", name=name, digest=digest_value(text), text=text)
        return known

    def has(self, name: str) -> bool:
        """Return whether a distribution is installed.

        Args:
            name: its name.
        """
        return self._distribution(name) is not None

    def _distribution(self, name: str) -> importlib.metadata.Distribution | None:
        if name not in self._installed:
            try:
                self._installed[name] = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                self._installed[name] = None
        return self._installed[name]

    def _requirements(self, name: str) -> tuple[str, str, list[str]]:
        """Return name and version of an installed distribution, and the names of those that it requires."""
        if name not in self._required:
            distribution = self._distribution(name)
            assert distribution is not None
            spelt, version, lines = _described(distribution)
            if distribution.read_text("direct_url.json") is not None:
                # Built from a folder or a repository: its version need not change with its files, but the list of them does.
                version += " files " + hashlib.blake2b((distribution.read_text("RECORD") or "").encode(), digest_size=16).hexdigest()
            required = [match[0] for line in lines if "extra ==" not in line and (match := re.match(r"[\w.-]+", line))]
            self._required[name] = spelt, version, required
        return self._required[name]


def _described(distribution: importlib.metadata.Distribution) -> tuple[str, str, list[str]]:
    """Return a distribution's name, its version and what it requires, as its own properties do, each of which reads the whole text."""
    text = distribution.read_text("METADATA")
    if text is None:
        return distribution.name, distribution.version, distribution.requires or []
    # Behind the first empty line stands the description, which may be long.
    head = HeaderParser().parsestr(text.partition("\n\n")[0])
    return head["Name"], head["Version"], head.get_all("Requires-Dist", [])


def _functions(tree: ast.Module, lambdas: bool) -> Iterator[Function]:
    """Yield every function of a file; without lambdas, expressions need not be looked into."""
    if lambdas:
        yield from (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))
        return
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
        for field in _BLOCKS_OF.get(type(node), ()):
            pending += getattr(node, field)


def _acting(statement: ast.AST) -> list[ast.AST]:
    return [node for node in _outside_functions(statement) if isinstance(node, _ACTING) or _is_written(node)]


def _is_written(node: ast.AST) -> bool:
    """Say whether a part of something is set or deleted, by whichever statement: ``json.loads, json.dumps = mine``."""
    return isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    pending = [node]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, (*DEFINITIONS, ast.Lambda)):
            pending += ast.iter_child_nodes(node)


def python_version() -> str:
    """Return what of the interpreter counts: its minor version, and whether it leaves assertions out."""
    return f"{sys.version_info.major}.{sys.version_info.minor}" + (" -O" * sys.flags.optimize)


def _origin_of(file: str) -> str:
    # As text, which takes a tenth of the time that paths take; a folder itself ends as what is in it begins.
    path = os.path.realpath(file) + "/"
    if path.startswith(_HERE):
        return "plimsoll"
    if packages_folder(path) is not None:
        return "third"
    return "stdlib" if path.startswith(_STDLIB) else "user"


def _digest_files(path: Path | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    files = sorted(path.rglob("*")) if path is not None and path.is_dir() else [path] if path is not None else []
    for file in files:
        if file.is_file() and file.suffix != ".pyc":
            data = file.read_bytes()
            digest.update(f"{file.name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()
