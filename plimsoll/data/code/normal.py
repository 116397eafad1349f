"""A function's source without what does not act: comments, docstrings, positions, names of locals, annotations."""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass
from types import CodeType
from typing import Any

from plimsoll.data.code.bytecode import codes

#: Functions that see the names of locals; where one is used, those names count.
_SEES_LOCALS = {
    "locals", "vars", "dir", "eval", "exec", "query", "sql", "SQLContext", "evaluate", "from_formula", "ols", "logit", "glm", "mixedlm",
    "_getframe", "currentframe", "stack", "f_locals", "getouterframes",
}  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


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
    #: Names in it, those of annotations left out.
    names: frozenset[str]
    #: Docstrings of the function and of all that is nested in it, for code that looks at docstrings.
    docs: str
    #: Names of locals in order of appearance, for code that looks at frames.
    locals: str
    #: The lines as they are written, with the number of the first, for code that looks at source.
    source: str


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


def normalise(node: Function, code: CodeType, lines: list[str]) -> Normal:
    """Return the normalised source of a function.

    Args:
        node: its tree.
        code: what the tree compiles to.
        lines: the file.
    """
    keep = any(not _SEES_LOCALS.isdisjoint(inner.co_names) for inner in codes(code))
    writer = _Writer(keep, [name for name in code.co_freevars if name != "__class__"])
    writer.function(node, root=True)
    annotations = [ast.dump(each) for inner in ast.walk(node) for each in _annotations(inner)]
    decorators = () if isinstance(node, ast.Lambda) else tuple(node.decorator_list)
    renamed = {name: shown for name, shown in writer.scopes[0][1].items() if shown is not None}
    return Normal(
        canonical="".join(writer.out),
        text=_readable(node, lines),
        annotations="\n".join(annotations),
        decorators=decorators,
        renamed=renamed,
        names=frozenset({*writer.names, *code.co_freevars}),
        docs=repr([doc for inner in ast.walk(node) if (doc := _docstring(inner)) is not None]),
        locals=",".join(writer.renamed),
        source=f"{node.lineno}\n" + "".join(lines[node.lineno - 1 : node.end_lineno]),
    )


def _docstring(node: ast.AST) -> str | None:
    return ast.get_docstring(node, clean=False) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) else None


def _annotations(node: ast.AST) -> list[ast.expr]:
    found = [getattr(node, field, None) for field in ("annotation", "returns")]
    return [each for each in found if each is not None]


class _Strip(ast.NodeTransformer):
    """Takes docstrings and annotations out of a tree of its own."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        node.body = _body(node.body)
        return self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def _readable(node: Function, lines: list[str]) -> str:
    if isinstance(node, ast.Lambda):
        return ast.unparse(node)
    source = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))
    try:
        return ast.unparse(_Strip().visit(ast.parse(source)))
    except SyntaxError:
        return source


def _body(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements without docstrings, ``pass`` and other constants that stand alone."""
    kept = [each for each in statements if not _is_idle(each)]
    return kept or [ast.copy_location(ast.Pass(), statements[0])]


def _is_idle(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))


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
        self.names: set[str] = set()
        #: Names of locals, in the order in which their canonical names were given.
        self.renamed: list[str] = []
        #: (is a class's, name -> canonical name or None); the first holds the root's free variables.
        self.scopes: list[tuple[bool, dict[str, str | None]]] = [(False, dict.fromkeys(free))]

    def name(self, name: str) -> str:
        self.names.add(name)
        for depth in range(len(self.scopes) - 1, -1, -1):
            is_class, names = self.scopes[depth]
            if (is_class and depth != len(self.scopes) - 1) or name not in names or names[name] == "\0outer":
                continue
            if self.keep:
                return name
            shown = names[name]
            if shown is None:
                self.renamed.append(name)
                shown = names[name] = f"${len(self.renamed)}"
            return shown
        return name

    def write(self, value: Any) -> None:
        """Write a node, a list or a plain field."""
        if isinstance(value, list):
            if value and isinstance(value[0], ast.stmt):
                value = _body(value)
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
        _bound(ast.Expr(body) if isinstance(node, ast.Lambda) else ast.Module(body, []), names)
        names.update({each.arg: each.arg for each in every})
        self.out.append(f"{type(node).__name__}({'' if root else getattr(node, 'name', '')}|")
        for group in (arguments.posonlyargs, arguments.args, [arguments.vararg], arguments.kwonlyargs, [arguments.kwarg]):
            self.out.append(",".join(each.arg for each in group if each is not None) + "|")
        self.scopes.append((False, names))
        self.write(body)
        self.scopes.pop()
        self.out.append(")")

    def klass(self, node: ast.ClassDef) -> None:
        self.write([*node.decorator_list, *node.bases, *node.keywords])
        names: dict[str, str | None] = {}
        _bound(ast.Module(node.body, []), names)
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
            _bound(ast.Expr(generator.target), names)
        self.scopes.append((False, names))
        for index, generator in enumerate(node.generators):
            self.write([generator.target, *([generator.iter] if index else []), generator.is_async, *generator.ifs])
        self.write([node.key, node.value] if isinstance(node, ast.DictComp) else node.elt)
        self.scopes.pop()
        self.out.append(")")
