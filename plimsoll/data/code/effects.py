"""What importing the user's modules does to the rest of the process: settings, patched libraries, registrations.

The names that a module binds need no care, because their values are seen where a function uses them. A statement such as
``decimal.getcontext().prec = 5`` or ``json.dumps = mine`` is seen nowhere else, and it acts on every function that runs afterwards.
"""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import hashlib
import inspect
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from plimsoll.data.code.bytecode import codes
from plimsoll.data.code.names import contents
from plimsoll.data.code.objects import SECRET
from plimsoll.data.code.source import DEFINITIONS, Acts, Sources
from plimsoll.fingerprint import digest_value

#: Names by which a result may hang on the settings of loggers.
ASKS_LOGGERS = {
    "isEnabledFor", "getEffectiveLevel", "getLevelName", "hasHandlers", "level", "disabled", "handlers", "addHandler", "assertLogs",
    "Handler",
}  # fmt: skip
#: Functions that are called for what they do, also where their result is kept (``old = numpy.seterr(...)``).
_SETS = re.compile(
    r"_?(set|seed|use|enable|disable|register|patch|configure|config|init|install|manual_seed|filterwarnings|simplefilter|import_module|Config$)"
)
#: Packages whose calls at import change no result: what they keep is for people.
_FOR_PEOPLE = {"argparse", "typer", "click", "rich", "tqdm", "atexit", "faulthandler"}
#: Installed packages whose decorators make what they decorate, and note it nowhere else.
_MAKERS = {
    "numba", "attr", "attrs", "pydantic", "msgspec", "torch", "jax", "beartype", "typeguard", "joblib", "tenacity", "typing_extensions",
    "cachetools", "wrapt", "decorator", "click", "typer", "pytest", "hypothesis", "deprecated", "numpy", "plimsoll",
}  # fmt: skip
#: Their decorators that note it in a table, or patch what they name.
_NOTES = re.compile(r"register|impl|custom_op|triton_op|overload|patch_|when_imported|(un)?box$|infer|lower_|type_callable")
#: Variables that a step's process is given without the user's asking.
_OURS = {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "POLARS_MAX_THREADS", "PYTHONPATH", "CUDA_VISIBLE_DEVICES"}
#: Characters of a text that may name a file, and items of a list that may name some.
_LONGEST, _ITEMS = 1024, 100
#: What marks a class of records -> what each of them runs when it is made.
_RECORDS = {"__dataclass_fields__": "__post_init__", "__attrs_attrs__": "__attrs_post_init__", "__struct_fields__": "__post_init__"}
#: Methods that a class may run where it is only called, besides the one that makes it.
_ENTERS = ("__enter__", "__exit__")
#: Functions that import a module by a text.
_IMPORTERS = {"import_module", "__import__"}
_IMPORT = dis.opmap["IMPORT_NAME"]
#: Modules whose functions call those that they are given, and do nothing else.
_PASSES_ON = ("builtins", "itertools", "functools")
#: Installed packages that keep no list of the classes that are derived from theirs.
_KEEP_NONE = {"sklearn", "pandas", "polars", "pyarrow", "scipy", "xgboost", "lightgbm", "catboost"}
_MISSING = object()


def effects(module: types.ModuleType, sources: Sources, quiet_logging: bool) -> list[ast.stmt]:
    """Return the statements of a module that act beyond the names that they bind.

    Args:
        module: one of the user's, imported.
        sources: reads its file.
        quiet_logging: nothing that is reached asks for the settings of loggers.
    """
    file = getattr(module, "__file__", None)
    if not file:
        return []
    finder = _Finder(sources, quiet_logging)
    found: list[ast.stmt] = []
    for statement in sources.tree(file, vars(module)).body:
        if isinstance(statement, DEFINITIONS):
            found += finder.of_definition(statement, vars(module))
        elif not _is_guarded(statement, module.__name__) and finder.any_acts([statement], vars(module), frozenset()):
            found.append(statement)
    if finder.fills:
        # What a cache has kept follows from what the module held at that moment, which may be another thing by now.
        found = [each for each in sources.tree(file, vars(module)).body if not isinstance(each, (*DEFINITIONS, ast.Import, ast.ImportFrom))]
    return found


def around(module: types.ModuleType, acts: Acts, sources: Sources) -> tuple[list[Any], str]:
    """Return what some statements of a module may hang on besides code, variables and files with their content, and lines that tell it.

    Args:
        module: one of the user's, imported.
        acts: some of its statements.
        sources: reads its file.
    """
    nodes: list[tuple[ast.AST, dict[str, Any]]] = [(sources.tree(getattr(module, "__file__", None) or "", vars(module)), vars(module))]
    texts = dict[str, set[str]]()
    for inner, names in _followed(acts.code, vars(module), sources):
        if inner is not acts.code and (node := sources.node(inner, names)) is not None:
            nodes.append((node, names))
        folders = {os.getcwd(), os.path.dirname(names.get("__file__") or "")}
        for text in _texts(inner, names):
            texts.setdefault(text, set()).update(folders)
    named = sorted({name for node, names in nodes for name in _variables(sources.once(_asked, node), names)} - _OURS)
    values, files = [(name, os.environ.get(name)) for name in named], sorted(_files(texts).items())
    told = [f"# variable {name}: {_value(name, value)}" for name, value in values]
    return [values, files], "\n".join(told + [f"# file {name}: {digest[:16]}" for name, digest in files])


def _value(name: str, value: str | None) -> str:
    return "not set" if value is None else f"digest {digest_value(value)[:16]}" if SECRET.search(name) else repr(value)


def _followed(code: types.CodeType, names: dict[str, Any], sources: Sources) -> Iterator[tuple[types.CodeType, dict[str, Any]]]:
    """Yield code and the code of the user's that it may call, each with its globals."""
    pending, known = [(code, names)], {id(code)}
    while pending:
        code, names = pending.pop()
        yield code, names
        used = [name for inner in codes(code) for name in inner.co_names]
        held = [names[name] for name in used if name in names]
        # Methods of the user's, and functions that are taken of the user's modules.
        held += [vars(each)[name] for each in held if isinstance(each, types.ModuleType) for name in used if name in vars(each)]
        classes = [each if isinstance(each, type) else type(each) for each in held]
        held += [member for each in classes if sources.origin(each.__module__, None) == "user" for member in vars(each).values()]
        for each in held:
            function = inspect.unwrap(getattr(each, "__func__", each)) if callable(each) or hasattr(each, "__func__") else None
            if isinstance(function, types.FunctionType) and id(function.__code__) not in known:
                known.add(id(function.__code__))
                if sources.origin(function.__module__, function.__code__.co_filename) == "user":
                    pending.append((function.__code__, function.__globals__))


def _texts(code: types.CodeType, names: dict[str, Any]) -> Iterator[str]:
    """Yield the texts and paths that code holds or names."""
    for inner in codes(code):
        # A module names its own file to find others beside it.
        for value in (*inner.co_consts, *(names[name] for name in inner.co_names if name in names and name != "__file__")):
            for each in value if isinstance(value, (tuple, list)) and len(value) <= _ITEMS else (value,):
                if isinstance(each, (str, os.PathLike)):
                    yield str(each)


def _asked(tree: ast.AST) -> list[ast.expr]:
    """Return what stands for the name where an environment variable is read; not what functions of a module read once they are called."""
    asked: list[ast.expr] = []
    for node in _run(tree) if isinstance(tree, ast.Module) else ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and "environ" in _words(node.value):
            asked.append(node.slice)
        elif isinstance(node, ast.Call) and _words(node.func) & {"environ", "getenv"}:
            asked += node.args[:1]
        elif isinstance(node, ast.Compare) and any("environ" in _words(each) for each in node.comparators):
            asked.append(node.left)
    return asked


def _run(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a module that its import runs."""
    pending: list[ast.AST] = [tree]
    while pending:
        yield (node := pending.pop())
        inside = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else ()
        pending += (each for each in ast.iter_child_nodes(node) if each not in inside)


def _variables(asked: Sequence[ast.expr], names: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the environment variables that are written somewhere, as a text or as the name of a constant."""
    for each in asked:
        value = each.value if isinstance(each, ast.Constant) else names.get(each.id) if isinstance(each, ast.Name) else None
        if isinstance(value, str):
            yield value


def _files(texts: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return those of some texts that name files, in one of their folders, with digests: what an import sets may be written there."""
    found = {}
    for text, folders in texts.items():
        if 0 < len(text) < _LONGEST and "\0" not in text:
            # The end of `folder + "/name"` begins like a path of its own.
            paths = (path for folder in sorted(folders) for path in (os.path.join(folder, text), folder + text))
            path = next((path for path in paths if os.path.isfile(path) and os.access(path, os.R_OK)), None)
            if path is not None:
                with open(path, "rb") as file:
                    found[text] = hashlib.file_digest(file, "blake2b").hexdigest()
    return found


def imported(module: types.ModuleType, sources: Sources) -> Iterator[types.ModuleType]:
    """Yield the modules that a module imports as it is imported itself, and the packages that it lies in.

    Args:
        module: one of the user's, imported.
        sources: reads its file.
    """
    file = getattr(module, "__file__", None)
    names = [module.__name__.rpartition(".")[0]]
    for node in sources.acting(sources.tree(file, vars(module)).body) if file else ():
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names if (each.asname or each.name.partition(".")[0]) in vars(module)]
        elif isinstance(node, ast.ImportFrom):
            package = (getattr(module, "__package__", None) or "").split(".")
            outer = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*outer, *filter(None, [node.module])])
            names += [base, *(f"{base}.{each.name}" for each in node.names)]
    if file and module.__name__ not in sources.late:
        sources.late[module.__name__] = _within_calls(module, sources)
    names += sources.late.get(module.__name__, [])
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            found = sys.modules.get(".".join(parts[:end]))
            if found is not None:
                yield found


def _within_calls(module: types.ModuleType, sources: Sources) -> list[str]:
    """Return the names of the modules that functions import which a module's import calls, and of those that it imports by a text."""
    body = sources.tree(module.__file__ or "", vars(module)).body
    calls = [each for each in body if not isinstance(each, DEFINITIONS) and any(isinstance(at, ast.Call) for at in sources.acting([each]))]
    code, found = compile(ast.Module(calls, []), "<import>", "exec", dont_inherit=True), []
    for inner, names in _followed(code, vars(module), sources):
        for each in codes(inner):
            if _IMPORT in each.co_code[::2]:
                found += [str(step.argval) for step in dis.get_instructions(each) if step.opcode == _IMPORT]
        if not _IMPORTERS.isdisjoint(name for each in codes(inner) for name in each.co_names):
            found += [text for text in _texts(inner, names) if text in sys.modules]
    return found


def _is_guarded(statement: ast.stmt, module: str) -> bool:
    """Say whether a statement does not run in a module: it is for a type checker, or for another module that is a script."""
    guards = {"TYPE_CHECKING"} if module == "__main__" else {"TYPE_CHECKING", "__name__"}
    return isinstance(statement, ast.If) and not statement.orelse and bool(guards & _words(statement.test))


def _words(expression: ast.expr) -> set[str]:
    return {getattr(each, "id", getattr(each, "attr", "")) for each in ast.walk(expression)}


def _root(expression: ast.expr) -> tuple[str, list[str]]:
    """Return the name that an expression begins with, and the attributes that follow it up to its first call."""
    chain: list[str] = []
    while not isinstance(expression, ast.Name):
        if isinstance(expression, ast.Attribute):
            chain.insert(0, expression.attr)
            expression = expression.value
        elif isinstance(expression, ast.Subscript):
            expression = expression.value
        elif isinstance(expression, ast.Call):
            expression = expression.func
            chain = []
        else:
            return "", []
    return expression.id, chain


class _Finder:
    def __init__(self, sources: Sources, quiet_logging: bool) -> None:
        self.sources = sources
        self.quiet = _FOR_PEOPLE | ({"logging"} if quiet_logging else set())
        #: Function -> whether it acts beyond its module; False while that is being found out.
        self.known: dict[tuple[int, bool], bool] = {}
        #: Names of a module, which are kept so that no identity is used twice, and the methods of the classes among them.
        self.tables: dict[int, tuple[dict[str, Any], dict[str, list[types.FunctionType]]]] = {}
        #: Whether a function that keeps its results is called.
        self.fills = False

    def any_acts(self, statements: Sequence[ast.AST], names: dict[str, Any], local: frozenset[str]) -> bool:
        """Say whether one of some statements acts beyond the names of its module."""
        return any(self.acts(node, names, local) for node in self.sources.acting(statements))

    def acts(self, node: ast.AST, names: dict[str, Any], local: frozenset[str]) -> bool:
        if isinstance(node, (ast.Attribute, ast.Subscript)):
            return self.target_acts(node, names, local)
        if isinstance(node, ast.With):
            entered = [names.get(_root(each.context_expr)[0]) for each in node.items if not isinstance(each.context_expr, ast.Call)]
            if any(self.member_acts(type(each), name) for each in entered for name in _ENTERS):
                return True
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.BinOp):
            return True  # an operator whose result nobody wants
        call = node.value if isinstance(node, ast.Expr) else node
        call = call.value if isinstance(call, ast.Await) else call
        if not isinstance(call, ast.Call):
            return False
        last = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""
        return self.call_acts(call, names, local, kept=not isinstance(node, ast.Expr) and not _SETS.match(last))

    def target_acts(self, target: ast.Attribute | ast.Subscript, names: dict[str, Any], local: frozenset[str]) -> bool:
        name, _ = _root(target)
        if name in local:
            # A part of some library may have been taken out before: ctx = decimal.getcontext(); ctx.prec = 5.
            return name not in ("self", "cls") and isinstance(target, ast.Attribute)
        value = names.get(name, _MISSING)
        hooks = ("__setattr__", "__delattr__", target.attr) if isinstance(target, ast.Attribute) else ("__setitem__", "__delitem__")
        return self.is_beyond(value) or any(self.member_acts(type(value), hook) for hook in hooks)

    def call_acts(self, call: ast.Call, names: dict[str, Any], local: frozenset[str], kept: bool) -> bool:
        """Say whether a call acts; of a library's function whose result is ``kept``, it is believed that the result is all."""
        name, chain = _root(call.func)
        method = call.func.attr if isinstance(call.func, ast.Attribute) else "__call__"
        if name in local:
            # Of a local only the name of its method is known.
            return any(self.function_acts(each) for each in self.methods(names).get(method, ()))
        if isinstance(call.func, ast.Lambda):
            return self.any_acts([call.func.body], names, local)
        if not name:
            return False
        if name in ("setattr", "delattr") and call.args:
            return self.is_beyond(names.get(_root(call.args[0])[0], _MISSING))
        if name == "sys" and chain[:1] == ["path"]:
            return False  # What is found through it is seen itself.
        if name == "getattr" and isinstance(call.func, ast.Call) and call.func.args:
            return not kept and self.is_beyond(names.get(_root(call.func.args[0])[0]))
        found = self.follow(names.get(name, getattr(builtins, name, _MISSING)), chain)
        found = inspect.unwrap(found) if isinstance(found, types.FunctionType) else found
        passes_on = isinstance(found, (type, types.BuiltinFunctionType)) and found.__module__ in _PASSES_ON
        passes_on = passes_on or type(found).__module__.startswith("concurrent.futures")
        if passes_on and any(self.given_acts(each, names, local) for each in call.args):
            return True
        if isinstance(found, types.BuiltinFunctionType) and found.__module__ == "builtins":
            return name in ("exec", "eval", "__import__")
        if isinstance(found, functools._lru_cache_wrapper):
            self.fills = True
        if isinstance(found, type) and self.is_users(found):
            # A record's own __init__ is made by its decorator and only keeps its arguments.
            made = next((each for each in _RECORDS if hasattr(found, each)), None)
            begins = _RECORDS[made] if made else "__init__"
            if any(self.member_acts(found, each) for each in (begins, "__new__", *_ENTERS)):
                return True
            found = inspect.getattr_static(found, begins, None)
        if isinstance(found, types.FunctionType) and self.is_users(found):
            return self.function_acts(found) or (self.calls_given(found) and any(self.given_acts(each, names, local) for each in call.args))
        if isinstance(found, (dict, list, tuple)):
            held = found.values() if isinstance(found, dict) else found
            return any(
                self.function_acts(each)
                if isinstance(each, types.FunctionType) and self.is_users(each)
                else not kept and self.is_beyond(each)
                for each in filter(callable, held)
            )
        if not isinstance(found, (type, types.ModuleType)) and self.is_users(found):
            return self.member_acts(type(found), method)
        return not kept and (self.is_beyond(found) or self.hands_over(found, call, names))

    def of_definition(self, statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, names: dict[str, Any]) -> list[ast.stmt]:
        """Return what of a function's or class's definition acts: decorators, defaults, a body, the hooks of bases and metaclasses."""
        noted, found = [each for each in statement.decorator_list if self.registers(each, names)], list[ast.stmt]()
        if isinstance(statement, ast.ClassDef):
            made = names.get(statement.name)
            inner = {**names, **(vars(made) if isinstance(made, type) else {})}
            body = [each for each in statement.body if not isinstance(each, DEFINITIONS)]
            deep = [each for each in statement.body if isinstance(each, DEFINITIONS) and self.of_definition(each, inner)]
            if deep or (isinstance(made, type) and self.is_noted(made)):
                noted += [each.value for each in statement.keywords] or [ast.Constant(None)]
            found += body if any(self.any_acts([each], inner, frozenset()) for each in body) else []
        else:
            defaults = [*statement.args.defaults, *filter(None, statement.args.kw_defaults)]
            noted += [each for each in defaults if self.any_acts([each], names, frozenset())]
            made = inspect.unwrap(names[statement.name]) if callable(names.get(statement.name)) else None
            if statement.decorator_list and isinstance(made, types.FunctionType) and self.is_users(made) and self.function_acts(made):
                wraps = [(each, self.follow(names.get(_root(each)[0], _MISSING), _root(each)[1])) for each in statement.decorator_list]
                noted += [each for each, by in wraps if isinstance(by, types.FunctionType) and self.is_users(by) and self.calls_given(by)]
        if noted:
            load = ast.Name(statement.name, ast.Load())
            found.append(ast.fix_missing_locations(ast.Expr(ast.Tuple([*noted, load], ast.Load()))))
        return found

    def is_noted(self, cls: type) -> bool:
        """Say whether the making of a class may be noted elsewhere, by a metaclass, a base or one of its members."""
        hooks = [(type(cls), name) for name in ("__new__", "__init__") if type(cls) is not type]
        hooks += [(base, "__init_subclass__") for base in cls.__mro__[1:2] if base is not object]
        hooks += [(kind, "__set_name__") for kind in {type(each) for each in vars(cls).values()} if kind.__module__ != "builtins"]
        return any(self.member_acts(owner, name) or self.is_foreign_hook(owner, name) for owner, name in hooks)

    def is_foreign_hook(self, owner: type, name: str) -> bool:
        """Say whether a library that may keep the user's classes has defined a method."""
        home = next((each for each in owner.__mro__ if name in vars(each)), object).__module__
        return self.sources.origin(home, None) == "third" and home.partition(".")[0] not in _MAKERS | _KEEP_NONE

    def member_acts(self, owner: type, name: str) -> bool:
        """Say whether a method of a class is the user's and acts; of a property, its setter."""
        member = inspect.getattr_static(owner, name, None)
        member = getattr(member, "__func__", member)
        member = member.fset if isinstance(member, property) else member
        if isinstance(member, types.FunctionType):
            return self.is_users(member) and self.function_acts(member)
        return member is not None and self.is_users(member) and not isinstance(member, type) and self.member_acts(type(member), "__set__")

    def methods(self, names: dict[str, Any]) -> dict[str, list[types.FunctionType]]:
        """Return the methods, by name, of the user's classes among some names, and of those in the user's modules among them."""
        known = self.tables.get(id(names))
        if known is None:
            values, found = list(names.values()), dict[str, list[types.FunctionType]]()
            for each in list(values):
                if isinstance(each, types.ModuleType) and self.sources.origin(each.__name__, getattr(each, "__file__", None)) == "user":
                    values += vars(each).values()
            for cls in {each for each in values if isinstance(each, type) and self.is_users(each)}:
                for name, member in vars(cls).items():
                    member = getattr(member, "__func__", member)
                    if isinstance(member, types.FunctionType) and name != "__call__":
                        found.setdefault(name, []).append(member)
            known = self.tables[id(names)] = names, found
        return known[1]

    def given_acts(self, given: ast.expr, names: dict[str, Any], local: frozenset[str]) -> bool:
        """Say whether a function that is given to another one, which may call it, acts."""
        if isinstance(given, ast.Lambda):
            return self.any_acts([given.body], names, local)
        name, chain = _root(given)
        if not name or name in local or isinstance(given, ast.Call):
            return False
        found = self.follow(names.get(name), chain)
        if isinstance(found, types.FunctionType) and self.is_users(found):
            return self.function_acts(found)
        return bool(chain) and bool(_SETS.match(chain[-1])) and self.is_beyond(found)

    def hands_over(self, found: Any, call: ast.Call, names: dict[str, Any]) -> bool:
        """Say whether a call gives code of the user's to a logger, which runs it for every message."""
        module = found.__name__ if isinstance(found, types.ModuleType) else type(found).__module__
        given = [*call.args, *(each.value for each in call.keywords)]
        return module.partition(".")[0] == "logging" and any(self.is_users(names.get(_root(each)[0])) for each in given)

    def follow(self, found: Any, chain: list[str]) -> Any:
        """Return what a chain of attributes leads to, as far as it leads through modules, classes and objects of the user's."""
        for name in chain:
            if isinstance(found, types.ModuleType):
                if self.sources.origin(found.__name__, getattr(found, "__file__", None)) != "user":
                    break
                found = vars(found).get(name, _MISSING)
                continue
            member = inspect.getattr_static(found, name, None) if self.is_users(found) else None
            member = getattr(member, "__func__", member)
            if not isinstance(member, types.FunctionType):
                break
            found = member
        return found

    def is_users(self, value: Any) -> bool:
        """Say whether a function, class or object is of the user's making."""
        if isinstance(value, types.FunctionType):
            return self.sources.origin(value.__module__, value.__code__.co_filename) == "user"
        return self.sources.origin((value if isinstance(value, type) else type(value)).__module__, None) == "user"

    def function_acts(self, function: types.FunctionType, inside: bool = False) -> bool:
        """Say whether a function of the user's acts beyond its module; ``inside`` looks into the functions in it as well."""
        key = id(function), inside
        if key not in self.known:
            self.known[key] = False
            node = self.sources.node(function.__code__, function.__globals__)
            if node is None or isinstance(node, ast.Lambda):
                self.known[key] = True
            else:
                code, names = function.__code__, function.__globals__
                local = frozenset((*code.co_varnames, *code.co_cellvars))
                nested = [each.body for each in ast.walk(node) if inside and isinstance(each, DEFINITIONS)]
                # A decorator's wrapper calls what its cells hold.
                wrapped = [contents(cell) for cell in function.__closure__ or ()]
                self.known[key] = any(self.any_acts(body, names, local) for body in (node.body, *nested)) or any(
                    isinstance(each, types.FunctionType) and self.is_users(each) and self.function_acts(each) for each in wrapped
                )
        return self.known[key]

    def calls_given(self, function: types.FunctionType) -> bool:
        """Say whether a function of the user's, or one inside it, calls what it is given, at once and not in a function that it makes."""
        node = self.sources.node(function.__code__, function.__globals__)
        for each in ast.walk(node) if node else ():
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                given = {arg.arg for arg in (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)}
                calls = [part.func for part in self.sources.acting(each.body) if isinstance(part, ast.Call)]
                if any(isinstance(called, ast.Name) and called.id in given for called in calls):
                    return True
        return False

    def is_beyond(self, value: Any) -> bool:
        """Say whether a change of ``value`` would not be seen where a function uses it."""
        if value is _MISSING:
            return True
        if isinstance(value, types.ModuleType):
            module = value.__name__
        elif isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            module = getattr(value, "__module__", None) or ""
        else:
            module = type(value).__module__.removeprefix("collections")  # what a deque or a Counter holds is seen
        package = module.partition(".")[0]
        if not package or package in self.quiet | {"builtins", "plimsoll"}:
            return False
        return self.sources.origin(module, getattr(value, "__file__", None) if isinstance(value, types.ModuleType) else None) != "user"

    def registers(self, decorator: ast.expr, names: dict[str, Any]) -> bool:
        """Say whether a decorator may note in a library what it decorates."""
        name, chain = _root(decorator)
        found = self.follow(names.get(name, _MISSING), chain)
        if isinstance(found, types.FunctionType) and self.is_users(found):
            return self.function_acts(found, inside=True)
        module = found.__name__ if isinstance(found, types.ModuleType) else getattr(found, "__module__", None) or type(found).__module__
        origin = self.sources.origin(module, None)
        if origin == "stdlib":  # @Sequence.register
            return chain[-1:] == ["register"] and module not in ("atexit", "functools")
        last = str([getattr(found, "__name__", name), *chain][-1])
        return origin == "third" and (module.partition(".")[0] not in _MAKERS or bool(_NOTES.match(last)))
