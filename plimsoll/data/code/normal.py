"""A function's source without what does not act: comments, docstrings, positions, names of locals, annotations."""

from __future__ import annotations

import ast
import functools
import importlib
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any, NamedTuple

from plimsoll.data.code.bytecode import codes

#: Functions that see the names of locals; where one is used, those names count.
_SEES_LOCALS = {
    "locals", "vars", "dir", "eval", "exec", "query", "sql", "SQLContext", "evaluate", "from_formula", "ols", "logit", "glm", "mixedlm",
    "_getframe", "currentframe", "stack", "f_locals", "getouterframes",
}  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
#: Of code below ``from __future__ import annotations``.
_POSTPONED = importlib.import_module("__future__").annotations.compiler_flag
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_LEAVES = (ast.Constant, ast.expr_context, ast.operator, ast.cmpop, ast.unaryop, ast.boolop)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_PATTERNS = (ast.MatchAs, ast.MatchStar, ast.MatchMapping)
#: Stands for a name that a scope leaves to the one around it.
_OUTER = "\0outer"

#: Fields that are not written: they do not act, or are written elsewhere.
_SKIP = frozenset({"ctx", "kind", "type_comment", "type_params", "annotation", "returns", "simple", "type_ignores"})
_NAMES = frozenset({(ast.ExceptHandler, "name"), (ast.MatchAs, "name"), (ast.MatchStar, "name"), (ast.MatchMapping, "rest")})

# Most nodes are of no kind that is written, or binds names, in a way of its own. What to do with a kind is looked up, and not asked
# for kind by kind, since a third of a key's time goes by here.
_NODES = frozenset(kind for kind in vars(ast).values() if isinstance(kind, type) and issubclass(kind, ast.AST))
_BINDS_BY_PARTS = _NODES - {
    *_SCOPES, *_COMPREHENSIONS, *_PATTERNS, ast.Name, ast.alias, ast.Global, ast.Nonlocal, ast.NamedExpr, ast.ExceptHandler,
}  # fmt: skip
#: Kinds of expressions that bind nothing but by ``:=``; of the others their context tells.
_ONLY_READ = frozenset(kind for kind in _NODES if issubclass(kind, ast.expr) and "ctx" not in kind._fields)
#: Kind -> how its text begins, and for each field that is written: its name, that name as it is written, and whether it is one of a local.
_WRITTEN = {
    kind: (f"{kind.__name__}(", [(each, f"{each}=", (kind, each) in _NAMES) for each in kind._fields if each not in skipped])
    for kind in _NODES
    for skipped in [_SKIP - {"annotation"} if kind is ast.AnnAssign else _SKIP]
}


class Written(NamedTuple):
    """A function's source without what does not act, and what is needed of it besides."""

    #: Canonical text; what is digested.
    canonical: str
    #: Of each decorator what is called, and the whole, as written.
    decorators: tuple[tuple[str, str], ...]
    #: Free variable -> its canonical name.
    renamed: dict[str, str]
    #: Names in it, those of annotations left out.
    names: frozenset[str]
    #: Names of locals in order of appearance, for code that looks at frames.
    locals: str
    #: Whether annotations are kept as text, for code that tells ``int`` from ``"int"``.
    postponed: str
    #: As it is written, without its docstring; for people.
    text: str


def written(node: Function, code: CodeType, lines: list[str]) -> Written:
    """Return a function's source without what does not act.

    Args:
        node: its tree.
        code: what the tree compiles to.
        lines: the file.
    """
    keep = any(not _SEES_LOCALS.isdisjoint(inner.co_names) for inner in codes(code))
    walrus = any(":=" in line for line in lines[node.lineno - 1 : node.end_lineno])
    writer = _Writer(keep, walrus, [name for name in code.co_freevars if name != "__class__"])
    writer.function(node, root=True)
    return Written(
        canonical="".join(writer.out),
        decorators=tuple((ast.unparse(getattr(each, "func", each)), ast.unparse(each)) for each in getattr(node, "decorator_list", ())),
        renamed={name: shown for name, shown in writer.scopes[0][1].items() if shown is not None},
        names=frozenset({*writer.names, *code.co_freevars}),
        locals=",".join(writer.renamed),
        postponed="annotations" if code.co_flags & _POSTPONED else "",
        text=_text(node, lines),
    )


def _text(node: Function, file: list[str]) -> str:
    first, last = node.lineno - 1, node.end_lineno
    if isinstance(node, ast.Lambda):
        return ast.unparse(node)
    lines = file[first:last]
    doc = node.body[0]
    if len(node.body) > 1 and _docstring(node) is not None and doc.lineno > node.lineno and node.body[1].lineno > (doc.end_lineno or 0):
        del lines[doc.lineno - 1 - first : (doc.end_lineno or 0) - first]
    text = "".join(lines)
    return (textwrap.dedent(text) if node.col_offset else text).rstrip("\n")


class Normal:
    """A function's source, normalised; what is seldom asked for is read off its tree then.

    Args:
        said: what :func:`written` gave, now or in an earlier process.
        find: gives its tree.
        lines: the file.
    """

    def __init__(self, said: Written, find: Callable[[], Function], lines: list[str]) -> None:
        self._find, self._lines = find, lines
        self.canonical, self.decorators, self.renamed, self.names, self.locals, self.postponed, self.text = said

    @functools.cached_property
    def _node(self) -> Function:
        return self._find()

    @property
    def annotations(self) -> str:
        """Canonical text of all annotations, for code that looks at them."""
        return "\n".join(ast.dump(each) for inner in ast.walk(self._node) for each in _annotations(inner))

    @property
    def docs(self) -> str:
        """Docstrings of the function and of all that is nested in it, for code that looks at docstrings."""
        return repr([doc for inner in ast.walk(self._node) if (doc := _docstring(inner)) is not None])

    @property
    def source(self) -> str:
        """The lines as they are written, with the number of the first, for code that looks at source."""
        return f"{self._node.lineno}\n" + "".join(self._lines[self._node.lineno - 1 : self._node.end_lineno])


def at_positions(code: CodeType, nodes: list[Function]) -> Function | None:
    """Return the lambda, of several on one line, in whose body the code's instructions lie; None if that is not certain.

    Args:
        code: a lambda's code.
        nodes: the lambdas that may be its source.
    """
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


def _docstring(node: ast.AST) -> str | None:
    return ast.get_docstring(node, clean=False) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) else None


def _annotations(node: ast.AST) -> list[ast.expr]:
    found = [getattr(node, field, None) for field in ("annotation", "returns")]
    return [each for each in found if each is not None]


def _body(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements without docstrings, ``pass`` and other constants that stand alone."""
    kept = [each for each in statements if not _is_idle(each)]
    return kept or [ast.copy_location(ast.Pass(), statements[0])]


def _is_idle(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes right below one that can bind a name or hold one that does."""
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, list):
            for item in value:
                if isinstance(item, ast.AST):
                    yield item
        elif isinstance(value, ast.AST) and not isinstance(value, _LEAVES):
            yield value


def _bound(node: ast.AST, names: dict[str, str | None], walrus: bool, inside: bool = False) -> None:
    """Collect the names that a scope binds: None marks one that may be renamed, others keep their name.

    Without ``walrus`` there is no ``:=`` in it, and what is only read binds nothing: that is most of a function.
    """
    for child in _children(node):
        kind = type(child)
        if not walrus and (kind in _ONLY_READ or type(getattr(child, "ctx", None)) is ast.Load):
            continue
        if kind in _BINDS_BY_PARTS:
            _bound(child, names, walrus, inside)
        elif kind is ast.Name:
            if not inside and type(child.ctx) is not ast.Load:  # type: ignore[attr-defined]
                names.setdefault(child.id, None)  # type: ignore[attr-defined]
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[child.name] = child.name
            for outer in [*child.decorator_list, *getattr(child, "bases", []), *getattr(getattr(child, "args", None), "defaults", [])]:
                _bound(ast.Expr(outer), names, walrus, inside)
        elif isinstance(child, ast.Lambda):
            for default in child.args.defaults:
                _bound(ast.Expr(default), names, walrus, inside)
        elif isinstance(child, _COMPREHENSIONS):
            _bound(child, names, walrus, inside=True)
        elif isinstance(child, ast.alias):
            name = child.asname or child.name.partition(".")[0]
            names[name] = name
        elif isinstance(child, (ast.Global, ast.Nonlocal)):
            for name in child.names:
                names[name] = _OUTER
        elif isinstance(child, ast.NamedExpr):
            names.setdefault(child.target.id, None)
            _bound(child.value if isinstance(child.value, _COMPREHENSIONS) else ast.Expr(child.value), names, walrus, inside)
        else:
            if isinstance(child, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and child.name is not None:
                names.setdefault(child.name, None)
            elif isinstance(child, ast.MatchMapping) and child.rest is not None:
                names.setdefault(child.rest, None)
            _bound(child, names, walrus, inside)


class _Writer:
    """Writes a function's tree as canonical text, each renamable name as ``$1``, ``$2`` … in order of appearance."""

    def __init__(self, keep: bool, walrus: bool, free: list[str]) -> None:
        self.keep, self.walrus = keep, walrus
        self.out: list[str] = []
        self.names: set[str] = set()
        #: Names of locals, in the order in which their canonical names were given.
        self.renamed: list[str] = []
        #: (is a class's, name -> canonical name or None); the first holds the root's free variables.
        self.scopes: list[tuple[bool, dict[str, str | None]]] = [(False, dict.fromkeys(free))]

    def name(self, name: str) -> str:
        self.names.add(name)
        if self.keep:
            return name
        names = self.scopes[-1][1]
        for depth in range(len(self.scopes) - 1, -1, -1):
            is_class, names = self.scopes[depth]
            if name in names and names[name] != _OUTER and (not is_class or depth == len(self.scopes) - 1):
                break
        else:
            return name
        shown = names[name]
        if shown is None:
            self.renamed.append(name)
            shown = names[name] = f"${len(self.renamed)}"
        return shown

    def write(self, value: Any) -> None:
        """Write a node, a list or a plain field."""
        _WRITERS.get(type(value), _Writer.field)(self, value)

    def node(self, node: ast.AST) -> None:
        """Write a node of no kind that is written in a way of its own."""
        out = self.out
        opening, fields = _WRITTEN[type(node)]
        out.append(opening)
        for field, shown, is_name in fields:
            value = getattr(node, field, None)
            kind = type(value)
            if kind is ast.Name:  # most fields, so this saves many calls
                out.append(f"{shown}Name({self.name(value.id)!a});")  # type: ignore[union-attr]
            elif value is not None and (kind is not list or value):
                out.append(shown)
                _WRITERS.get(kind, _Writer.field)(self, self.name(value) if is_name else value)
                out.append(";")
        out.append(")")

    def items(self, value: list[Any]) -> None:
        if value and isinstance(value[0], ast.stmt):
            value = _body(value)
        out = self.out
        out.append("[")
        for item in value:
            _WRITERS.get(type(item), _Writer.field)(self, item)
            out.append(",")
        out.append("]")

    def field(self, value: Any) -> None:
        self.out.append(ascii(value))

    def variable(self, node: ast.Name) -> None:
        self.out.append(f"Name({self.name(node.id)!a})")

    def constant(self, node: ast.Constant) -> None:
        self.out.append(f"{type(node.value).__name__}:{node.value!a}")

    def outer(self, node: ast.Nonlocal) -> None:
        self.out.append("Nonlocal(names=")
        self.items([self.name(each) for each in node.names])
        self.out.append(";)")

    def annotated(self, node: ast.AnnAssign) -> None:
        """Write an assignment that is annotated: the annotation acts only in a class."""
        if self.scopes[-1][0]:
            self.node(node)
        elif node.value is not None:
            self.node(ast.Assign([node.target], node.value))

    def function(self, node: Function, root: bool = False) -> None:
        """Write a function; the root's defaults and decorators are left to its live object."""
        arguments = node.args
        if not root:
            self.write(getattr(node, "decorator_list", []))
            self.write([*arguments.defaults, *(each if each is not None else ast.Pass() for each in arguments.kw_defaults)])
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        names: dict[str, str | None] = {}
        body: Any = node.body
        _bound(ast.Expr(body) if isinstance(node, ast.Lambda) else ast.Module(body, []), names, self.walrus)
        names.update({each.arg: each.arg for each in every})
        self.out.append(f"{type(node).__name__}({'' if root else getattr(node, 'name', '')}|")
        for group in (arguments.posonlyargs, arguments.args, [arguments.vararg], arguments.kwonlyargs, [arguments.kwarg]):
            self.out.append(",".join([each.arg for each in group if each is not None]) + "|")
        self.scopes.append((False, names))
        self.write(body)
        self.scopes.pop()
        self.out.append(")")

    def klass(self, node: ast.ClassDef) -> None:
        self.write([*node.decorator_list, *node.bases, *node.keywords])
        names: dict[str, str | None] = {}
        _bound(ast.Module(node.body, []), names, self.walrus)
        self.scopes.append((True, {name: shown or name for name, shown in names.items()}))
        self.out.append(f"ClassDef({node.name}|")
        self.write(node.body)
        self.scopes.pop()
        self.out.append(")")

    def comprehension(self, node: Any) -> None:
        """Write a comprehension: its first iterable belongs to the scope around it."""
        self.out.append(type(node).__name__ + "(")
        self.write(node.generators[0].iter)
        names: dict[str, str | None] = {}
        for generator in node.generators:
            _bound(ast.Expr(generator.target), names, self.walrus)
        self.scopes.append((False, names))
        for index, generator in enumerate(node.generators):
            self.write([generator.target, *([generator.iter] if index else []), generator.is_async, *generator.ifs])
        self.write([node.key, node.value] if isinstance(node, ast.DictComp) else node.elt)
        self.scopes.pop()
        self.out.append(")")


#: Kind of node or field -> what writes it; any other is written by :meth:`_Writer.field`.
_WRITERS: dict[type, Callable[[_Writer, Any], None]] = {
    **dict.fromkeys(_NODES, _Writer.node),
    **dict.fromkeys(_SCOPES, _Writer.function),
    **dict.fromkeys(_COMPREHENSIONS, _Writer.comprehension),
    ast.ClassDef: _Writer.klass,
    ast.AnnAssign: _Writer.annotated,
    ast.Nonlocal: _Writer.outer,
    ast.Constant: _Writer.constant,
    ast.Name: _Writer.variable,
    list: _Writer.items,
}
