"""Pipelines found in the project's files without importing them: what a name can mean, and whether it is there at all."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from plimsoll.data.project import PROJECT_FILE, find_project, nearest, pipeline_ref
from plimsoll.errors import InvalidInput, NotFound

#: Folders that hold no code of the project.
_ASIDE = ("__pycache__", "node_modules", "site-packages")

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def check_pipeline(project: Path, ref: str, params: Iterable[str] = ()) -> None:
    """Refuse a pipeline, or a parameter of it, that the project surely has not. What only an import could tell is not refused.

    Args:
        project: folder of the project.
        ref: ``path.py:name``.
        params: names of parameters that it is to be called with.

    Raises:
        InvalidInput: it is no reference, leaves the project, is no Python, names what is no pipeline, or one without such a parameter.
        NotFound: there is no such file, or no such name in it.
    """
    text, _, name = pipeline_ref(ref).partition(":")
    root = project.resolve()
    path = (root / text).resolve()
    if not path.is_relative_to(root):
        raise InvalidInput(f"The path {text!r} leaves the project {root}.", "Give a path inside the project, relative to it.")
    if not path.is_file():
        near = [found.relative_to(root).as_posix() for found in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise NotFound(f"There is no file {text!r} in the project {root}.", nearest(text, near))
    try:
        module = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise InvalidInput(f"{text} is no Python that can be read: {error}.", "Correct the file.") from error
    bound = list(_bound(module.body))
    meant = [statement for one, statement in bound if one == name]
    if not meant and not any(one in ("*", "__getattr__") for one, _ in bound) and not _writes_names(module):
        raise NotFound(f"{text} has no {name!r}.", nearest(name, _pipelines(module)))
    if meant and all(isinstance(each, _DEFINITIONS) and {_last_name(by) for by in each.decorator_list} <= {"step"} for each in meant):
        raise InvalidInput(f"{text}:{name} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    if len(meant) == 1 and isinstance(meant[0], ast.FunctionDef) and {_last_name(by) for by in meant[0].decorator_list} == {"pipeline"}:
        _check_params(f"{text}:{name}", meant[0].args, params)


def _check_params(pipeline: str, taken: ast.arguments, params: Iterable[str]) -> None:
    names = [each.arg for each in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)]
    unknown = [] if taken.kwarg is not None else [name for name in params if name not in names]
    if unknown:
        raise InvalidInput(f"The pipeline {pipeline} has no parameter {unknown[0]!r}.", nearest(unknown[0], names, "It takes none."))


def pipeline_in(project: Path, written: str, here: Path) -> tuple[Path, str]:
    """Return the project and the reference ``path.py:name`` of a pipeline, which may be written shorter.

    ``name`` is the one of that name in the project, ``folder:name`` the one in that folder, and ``module:name`` names the file as an
    import would. A folder that is a project of its own, or lies in one, is looked at as that project.

    Args:
        project: folder of the project.
        written: what somebody wrote.
        here: folder within the project from which a folder's path may count as well.

    Raises:
        NotFound: no file of the project or of the folder has such a pipeline.
        InvalidInput: several have it, or it is no reference.
    """
    text, _, name = (f":{written}" if written.isidentifier() else written).partition(":")
    folder = next((each for each in (here / text, project / text) if each.is_dir()), None) if text else project
    if text.endswith(".py") or not name.isidentifier() or folder is None:
        beside = (here / text).resolve()
        if not (project / text).is_file() and beside.is_file() and beside.is_relative_to(project.resolve()):
            return project, f"{beside.relative_to(project.resolve()).as_posix()}:{name}"
        return project, pipeline_ref(written)
    place = f"The folder {text}" if text else "The project"
    inside = find_project(folder)
    root = inside if inside.is_relative_to(project) else project
    known = {path: list(_pipelines(module)) for path, module in _modules(folder)}
    found = sorted(path.resolve().relative_to(root.resolve()).as_posix() for path, names in known.items() if name in names)
    if len(found) == 1:
        return root, f"{found[0]}:{name}"
    if found:
        raise InvalidInput(f"{place} has {len(found)} pipelines {name!r}.", f"Name one: {', '.join(f'{each}:{name}' for each in found)}")
    others = [f"{text}:{other}" if text else other for names in known.values() for other in names]
    raise NotFound(f"{place} has no pipeline {name!r}.", nearest(written, others, "Write path.py:name."))


def _modules(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the Python files of a folder and of those in it, but not of other projects in it."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and path.name not in _ASIDE and not (path / PROJECT_FILE).is_file():
            yield from _modules(path)
        elif path.suffix == ".py" and path.is_file():
            try:
                yield path, ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                continue


def _pipelines(module: ast.Module) -> Iterator[str]:
    """Yield the names that a module decorates as pipelines."""
    for statement in module.body:
        if isinstance(statement, _DEFINITIONS) and "pipeline" in map(_last_name, statement.decorator_list):
            yield statement.name


def _last_name(decorator: ast.expr) -> str:
    plain = decorator.func if isinstance(decorator, ast.Call) else decorator
    return plain.attr if isinstance(plain, ast.Attribute) else plain.id if isinstance(plain, ast.Name) else ""


def _bound(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Yield the names that statements bind, with what binds them."""
    for statement in body:
        if isinstance(statement, _DEFINITIONS):
            yield statement.name, statement
            continue
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for alias in statement.names:
                yield (alias.asname or alias.name.partition(".")[0]), statement
            continue
        for inner in ast.walk(statement):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner.id, statement
            elif inner is not statement and isinstance(inner, (*_DEFINITIONS, ast.Import, ast.ImportFrom)):
                yield from _bound([inner])


def _writes_names(module: ast.Module) -> bool:
    """Return whether a module may bind names in a way that only running it shows."""
    return any(isinstance(each, ast.Name) and each.id in ("globals", "vars", "exec", "setattr", "locals") for each in ast.walk(module))
