"""What a function's code says: its source when the file still matches the code that runs, else its bytecode; and what it names.

A file on disk may be newer than the function in memory, so source is used only if it compiles to the very code object that
runs. Source is better where it can be used: it does not change with comments, docstrings, positions, names of locals and
annotations, nor from one Python to the next.
"""

from __future__ import annotations

import ast
import dis
import enum
import hashlib
import importlib.metadata
import linecache
import re
import sys
import sysconfig
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, MemberDescriptorType
from typing import Any

from plimsoll.data.environment import bringing

#: Functions that see the names of locals; where one is used, those names count.
_SEES_LOCALS = {"locals", "vars", "dir", "eval", "exec"}

_HERE = Path(__file__).resolve().parents[1]
_STDLIB = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}

#: Names in a class's dict: derived from the rest, or made anew by Python.
_DERIVED = {
    "__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__", "__annotate__", "__annotate_func__",
    "__annotations_cache__", "__firstlineno__", "__static_attributes__", "__abstractmethods__", "_abc_impl", "__parameters__",
    "__orig_bases__", "__dataclass_params__", "__dataclass_fields__", "__attrs_attrs__", "__attrs_own_setattr__", "__attrs_props__",
    "__struct_config__", "__signature__", "__type_params__",
}  # fmt: skip
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that code looks up outside of itself."""

    #: ``global``, ``class`` (a global name in a class body), ``free`` (a closure's cell) or ``import``.
    kind: str
    name: str
    #: Attributes taken at once (``mod.helper.x``), or the names of ``from name import ...``.
    chain: tuple[str, ...] = ()
    #: The text constant that follows (``import_module("x")``), or None.
    argument: str | None = None
    #: Dots before the name of an import.
    level: int = 0


@dataclass(frozen=True, slots=True)
class Normal:
    """A function's source without what does not act."""

    #: Canonical text; what is digested.
    canonical: str
    #: The same as Python, for people.
    text: str
    #: Canonical text of all annotations, for code that looks at them.
    annotations: str
    #: The decorators, as written.
    decorators: tuple[ast.expr, ...]
    #: Free variable -> its canonical name.
    renamed: dict[str, str]


class Sources:
    """Files and installed distributions, read once for the life of this object: make one per plan, keep none for longer."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[list[str], dict[tuple[int, str], tuple[list[CodeType], list[_Function]]]]] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._origins: dict[str, str] = {}

    def normal(self, code: CodeType, names: dict[str, Any]) -> Normal | None:
        """Return the normalised source of a live code object; None if the file does not compile to this very code.

        Args:
            code: a function's code.
            names: the function's globals, through which zip files and notebooks find their source.
        """
        lines, index = self._read(code.co_filename, names)
        codes, nodes = index.get((code.co_firstlineno, code.co_name), ([], []))
        if not any(code == candidate for candidate in codes):
            return None
        node = nodes[0] if len(nodes) == 1 else _at_positions(code, nodes)
        return None if node is None else _normalise(node, code, lines)

    def _read(self, file: str, names: dict[str, Any]) -> Any:
        if file not in self._files:
            linecache.checkcache(file)
            lines = linecache.getlines(file, names)
            index: dict[tuple[int, str], tuple[list[CodeType], list[_Function]]] = {}
            try:
                tree = ast.parse("".join(lines))
                compiled = compile(tree, file, "exec", dont_inherit=True)
            except (SyntaxError, ValueError):
                tree = ast.Module([], [])
                compiled = None
            for code in _codes(compiled) if compiled else ():
                index.setdefault((code.co_firstlineno, code.co_name), ([], []))[0].append(code)
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
                    index.setdefault((first, node.name), ([], []))[1].append(node)
                elif isinstance(node, ast.Lambda):
                    index.setdefault((node.lineno, "<lambda>"), ([], []))[1].append(node)
            self._files[file] = (lines, index)
        return self._files[file]

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
            file = getattr(sys.modules.get(module), "__file__", None)
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
            return {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
        if package == "plimsoll":
            own = _installed(package)
            return {package: own.version if own is not None else "not installed"}
        if package not in self._versions:
            found: dict[str, str] = {}
            pending = [package] if _installed(package) else bringing(package)
            while pending:
                distribution = _installed(pending.pop())
                if distribution is not None and distribution.name not in found:
                    found[distribution.name] = distribution.version
                    lines = distribution.requires or []
                    pending += [match[0] for line in lines if "extra ==" not in line and (match := re.match(r"[\w.-]+", line))]
            if not found:
                found[package] = "files " + _digest_files(folder)
            self._versions[package] = found
        return self._versions[package]


def _origin_of(file: str) -> str:
    path = Path(file).resolve()
    if path.is_relative_to(_HERE):
        return "plimsoll"
    if not {"site-packages", "dist-packages"}.isdisjoint(path.parts):
        return "third"
    return "stdlib" if any(path.is_relative_to(folder) for folder in _STDLIB) else "user"


def _installed(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _digest_files(path: Path | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    files = sorted(path.rglob("*")) if path is not None and path.is_dir() else [path] if path is not None else []
    for file in files:
        if file.is_file() and file.suffix != ".pyc":
            data = file.read_bytes()
            digest.update(f"{file.name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _at_positions(code: CodeType, nodes: list[_Function]) -> _Function | None:
    """Return the lambda, of several on one line, in whose body the code's instructions lie; None if that is not certain."""
    places = [(line, column) for line, _, column, _ in code.co_positions() if line is not None and column]
    scored = []
    for node in nodes:
        if not isinstance(node, ast.Lambda):
            return None
        body = node.body
        start, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
        inside = sum(start <= place < end for place in places)
        scored.append((-inside, end[0] - start[0], end[1] - start[1], node))
    scored.sort(key=lambda entry: entry[:3])
    if not scored or not scored[0][0] or (len(scored) > 1 and scored[0][:3] == scored[1][:3]):
        return None
    return scored[0][3]


# --- normalised source ----------------------------------------------------------------------------------------------


def _normalise(node: _Function, code: CodeType, lines: list[str]) -> Normal:
    keep = any(not _SEES_LOCALS.isdisjoint(inner.co_names) for inner in _codes(code))
    writer = _Writer(keep, [name for name in code.co_freevars if name != "__class__"])
    writer.function(node, root=True)
    annotations = [ast.dump(each) for inner in ast.walk(node) for each in _annotations(inner)]
    decorators = () if isinstance(node, ast.Lambda) else tuple(node.decorator_list)
    renamed = {name: shown for name, shown in writer.scopes[0][1].items() if shown is not None}
    return Normal("".join(writer.out), _readable(node, lines), "\n".join(annotations), decorators, renamed)


def _annotations(node: ast.AST) -> list[ast.expr]:
    found = [getattr(node, field, None) for field in ("annotation", "returns")]
    return [each for each in found if each is not None]


class _Strip(ast.NodeTransformer):
    """Takes docstrings and annotations out of a tree of its own."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        node.body = _body(node.body)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def _readable(node: _Function, lines: list[str]) -> str:
    if isinstance(node, ast.Lambda):
        return ast.unparse(node)
    source = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))
    try:
        return ast.unparse(_Strip().visit(ast.parse(source)))
    except SyntaxError:
        return source


def _body(statements: list[ast.stmt]) -> list[ast.stmt]:
    first = statements[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return statements[1:] or [ast.copy_location(ast.Pass(), first)]
    return statements


def _bound(node: ast.AST, names: dict[str, str | None], inside: bool = False) -> None:
    """Collect the names that a scope binds: None marks one that may be renamed, others keep their name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[child.name] = child.name
            for outer in [*child.decorator_list, *getattr(child, "bases", []), *getattr(getattr(child, "args", None), "defaults", [])]:
                _bound(ast.Expr(outer), names, inside)
        elif isinstance(child, ast.Lambda):
            for default in child.args.defaults:
                _bound(ast.Expr(default), names, inside)
        elif isinstance(child, _COMPREHENSIONS):
            _bound(child, names, inside=True)
        elif isinstance(child, ast.alias):
            name = child.asname or child.name.partition(".")[0]
            names[name] = name
        elif isinstance(child, (ast.Global, ast.Nonlocal)):
            for name in child.names:
                names[name] = "\0outer"
        elif isinstance(child, ast.NamedExpr):
            names.setdefault(child.target.id, None)
            _bound(child.value if isinstance(child.value, _COMPREHENSIONS) else ast.Expr(child.value), names, inside)
        else:
            name = None
            if isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load) and not inside:
                name = child.id
            elif isinstance(child, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
                name = child.name
            elif isinstance(child, ast.MatchMapping):
                name = child.rest
            if name is not None:
                names.setdefault(name, None)
            _bound(child, names, inside)


class _Writer:
    """Writes a function's tree as canonical text, each renamable name as ``$1``, ``$2`` … in order of appearance."""

    _SKIP = frozenset({"ctx", "kind", "type_comment", "type_params", "annotation", "returns", "simple", "type_ignores"})
    _NAMES = frozenset(
        {(ast.Name, "id"), (ast.ExceptHandler, "name"), (ast.MatchAs, "name"), (ast.MatchStar, "name"), (ast.MatchMapping, "rest")}
    )

    def __init__(self, keep: bool, free: list[str]) -> None:
        self.keep = keep
        self.out: list[str] = []
        self.counter = 0
        #: (is a class's, name -> canonical name or None); the first holds the root's free variables.
        self.scopes: list[tuple[bool, dict[str, str | None]]] = [(False, dict.fromkeys(free))]

    def name(self, name: str) -> str:
        for depth in range(len(self.scopes) - 1, -1, -1):
            is_class, names = self.scopes[depth]
            if (is_class and depth != len(self.scopes) - 1) or name not in names or names[name] == "\0outer":
                continue
            if self.keep:
                return name
            shown = names[name]
            if shown is None:
                self.counter += 1
                shown = names[name] = f"${self.counter}"
            return shown
        return name

    def write(self, value: Any) -> None:
        """Write a node, a list or a plain field."""
        if isinstance(value, list):
            self.out.append("[")
            for item in value:
                self.write(item)
                self.out.append(",")
            self.out.append("]")
        elif isinstance(value, ast.Constant):
            self.out.append(f"{type(value.value).__name__}:{value.value!a}")
        elif isinstance(value, _SCOPES):
            self.klass(value) if isinstance(value, ast.ClassDef) else self.function(value)
        elif isinstance(value, _COMPREHENSIONS):
            self.comprehension(value)
        elif isinstance(value, ast.AnnAssign) and not self.scopes[-1][0]:
            if value.value is not None:
                self.node(ast.Assign([value.target], value.value))
        elif isinstance(value, ast.AST):
            self.node(value)
        else:
            self.out.append(ascii(value))

    def node(self, node: ast.AST) -> None:
        self.out.append(type(node).__name__ + "(")
        skip = self._SKIP - {"annotation"} if isinstance(node, ast.AnnAssign) else self._SKIP
        for field in node._fields:
            value = getattr(node, field, None)
            if value is None or value == [] or field in skip:
                continue
            self.out.append(field + "=")
            if (type(node), field) in self._NAMES:
                value = self.name(value)
            elif isinstance(node, ast.Nonlocal):
                value = [self.name(each) for each in value]
            self.write(value)
            self.out.append(";")
        self.out.append(")")

    def function(self, node: _Function, root: bool = False) -> None:
        """Write a function; the root's defaults and decorators are left to its live object."""
        arguments = node.args
        if not root:
            self.write(getattr(node, "decorator_list", []))
            self.write([*arguments.defaults, *(each if each is not None else ast.Pass() for each in arguments.kw_defaults)])
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        names: dict[str, str | None] = {}
        body: Any = node.body
        _bound(ast.Expr(body) if isinstance(node, ast.Lambda) else ast.Module(body, []), names)
        names.update({each.arg: each.arg for each in every})
        self.out.append(f"{type(node).__name__}({'' if root else getattr(node, 'name', '')}|")
        for group in (arguments.posonlyargs, arguments.args, [arguments.vararg], arguments.kwonlyargs, [arguments.kwarg]):
            self.out.append(",".join(each.arg for each in group if each is not None) + "|")
        self.scopes.append((False, names))
        self.write(body if isinstance(node, ast.Lambda) else _body(body))
        self.scopes.pop()
        self.out.append(")")

    def klass(self, node: ast.ClassDef) -> None:
        self.write([*node.decorator_list, *node.bases, *node.keywords])
        names: dict[str, str | None] = {}
        _bound(ast.Module(node.body, []), names)
        self.scopes.append((True, {name: shown or name for name, shown in names.items()}))
        self.out.append(f"ClassDef({node.name}|")
        self.write(_body(node.body))
        self.scopes.pop()
        self.out.append(")")

    def comprehension(self, node: Any) -> None:
        """Write a comprehension: its first iterable belongs to the scope around it."""
        self.out.append(type(node).__name__ + "(")
        self.write(node.generators[0].iter)
        names: dict[str, str | None] = {}
        for generator in node.generators:
            _bound(ast.Expr(generator.target), names)
        self.scopes.append((False, names))
        for index, generator in enumerate(node.generators):
            self.write([generator.target, *([generator.iter] if index else []), generator.is_async, *generator.ifs])
        self.write([node.key, node.value] if isinstance(node, ast.DictComp) else node.elt)
        self.scopes.pop()
        self.out.append(")")


# --- bytecode -------------------------------------------------------------------------------------------------------


def bytecode(code: CodeType) -> tuple[Any, ...]:
    """Return all of a code object that acts, as plain values.

    Args:
        code: any code object; those nested in it are included.
    """
    constants = [bytecode(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, constants, names, counts, code.co_exceptiontable)


def names_used(code: CodeType) -> frozenset[str]:
    """Return every global and attribute name in a code object and those nested in it.

    Args:
        code: any code object.
    """
    return frozenset(name for inner in _codes(code) for name in inner.co_names)


def references(code: CodeType) -> set[Reference]:
    """Return what a code object, and those nested in it, look up outside of themselves.

    Args:
        code: a function's code.
    """
    return {found for inner in _codes(code) for found in _references(inner, frozenset(code.co_freevars))}


def _references(code: CodeType, free: frozenset[str]) -> Iterator[Reference]:
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("EXTENDED_ARG", "CACHE", "PUSH_NULL", "NOP")]
    stored = {step.argval for step in steps if step.opname == "STORE_NAME"}
    for position, step in enumerate(steps):
        operation, name = step.opname, step.argval
        if operation == "LOAD_GLOBAL":
            kind = "global"
        elif operation in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            kind = "class"
        elif operation in ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"):
            kind = "free"
        elif operation == "IMPORT_NAME":
            level, wanted = steps[position - 2].argval, steps[position - 1].argval
            yield Reference("import", name, tuple(wanted or ()), None, level)
            continue
        else:
            continue
        if (kind == "free" and name not in free) or (kind == "class" and (name in stored or name in ("__name__", "__qualname__"))):
            continue
        end = position + 1
        while end < len(steps) and steps[end].opname in ("LOAD_ATTR", "LOAD_METHOD"):
            end += 1
        follower = steps[end].argval if end < len(steps) and steps[end].opname == "LOAD_CONST" else None
        chain = tuple(each.argval for each in steps[position + 1 : end])
        yield Reference(kind, name, chain, follower if isinstance(follower, str) else None)


# --- classes --------------------------------------------------------------------------------------------------------


def class_content(cls: type) -> tuple[list[tuple[str, Any]], list[Any]]:
    """Return the members of a class that act, sorted by name, and what a record or enum class says of its fields or members.

    Args:
        cls: a class; its bases are not included.
    """
    raw = dict(vars(cls))
    members = [(name, member) for name, member in sorted(raw.items()) if not isinstance(member, MemberDescriptorType)]
    members = [(name, member) for name, member in members if name not in _DERIVED and not name.startswith("__pydantic")]
    fields: list[Any] = []
    if isinstance(cls, enum.EnumMeta):
        fields = [[name, member.value] for name, member in cls.__members__.items()]  # type: ignore[var-annotated]
        acting = (FunctionType, classmethod, staticmethod, property)
        members = [(name, member) for name, member in members if not name.startswith("_") or isinstance(member, acting)]
        members = [(name, member) for name, member in members if name not in cls.__members__]
    names = ("name", "default", "default_factory", "init", "repr", "hash", "compare", "kw_only", "metadata")
    for field in raw.get("__dataclass_fields__", {}).values():
        fields.append([*(getattr(field, name, None) for name in names), field._field_type.name])
    for attribute in raw.get("__attrs_attrs__", ()):
        fields.append([getattr(attribute, name) for name in ("name", "default", "validator", "converter", "kw_only", "init", "alias")])
    for name, field in raw.get("__pydantic_fields__", {}).items():
        fields.append([name, repr(field), field.default_factory])
    return members, fields
