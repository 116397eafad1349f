"""What can be taken from one run into another: parameters, variables, packages, definitions of code, and files."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plimsoll.pipelines.again.checkout import files_of
from plimsoll.pipelines.again.definitions import Definition, differing
from plimsoll.pipelines.again.rerun import entry_of, value_of
from plimsoll.records.pipeline import KeyPart
from plimsoll.records.pipelines.history import Difference, RunComparison

#: Lines of a diff that are kept.
_LINES = 60

#: Bytes of a file up to which its difference is shown.
_READ = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A difference that can be taken from one run into the other."""

    #: ``param``, ``variable``, ``package``, ``file``, or of a definition ``function``, ``method``, ``class``, ``constant``, ``import``,
    #: ``statement``.
    kind: str
    #: Name of the parameter, variable or package, path of the file in the repository, or ``path.py:name``.
    name: str
    #: What it is about, such as ``param depth: 4 -> 6``.
    text: str
    #: The difference of two texts of several lines, as lines of a unified diff.
    diff: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """Path and label of a definition; the label is empty for all else."""
        path, _, label = self.name.partition(".py:")
        return (f"{path}.py", label) if label and self.kind not in ("param", "variable", "package", "file") else (self.name, "")


def candidates(compared: RunComparison, old: Path, new: Path, packages: Collection[str]) -> list[Candidate]:
    """Return what can be taken from one run into the other.

    Args:
        compared: the two runs.
        old: top of the tree with the first run's code.
        new: top of the tree with the second run's code.
        packages: the packages that can be installed in either version.
    """
    found = [
        Candidate(kind="param", name=change.name, text=f"param {change.name}: {change.old} -> {change.new}") for change in compared.params
    ]
    found += [
        Candidate(kind="variable", name=each.name, text=f"variable {each.name}: {each.old} -> {each.new}") for each in variables(compared)
    ]
    found += [
        Candidate(kind="package", name=each.name, text=f"package {each.name}: {each.old} -> {each.new}")
        for each in packages_between(compared)
        if each.name in packages
    ]
    first, second = files_of(old), files_of(new)
    for name in sorted({*first, *second}):
        if name not in first or name not in second:
            found.append(Candidate(kind="file", name=name, text=f"file {name} is {'new' if name not in first else 'gone'}"))
        elif first[name].read_bytes() != second[name].read_bytes():
            found += _of_file(name, _text(first[name]), _text(second[name]))
    return found


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return None


def _of_file(name: str, first: str | None, second: str | None) -> list[Candidate]:
    whole = Candidate(kind="file", name=name, text=f"file {name} changed", diff=_diff(first, second))
    if not name.endswith(".py") or first is None or second is None:
        return [whole]
    return [_of_definition(name, label, definition) for label, definition in differing(first, second).items()] or [whole]


def _of_definition(path: str, label: str, definition: Definition) -> Candidate:
    brings = f" (with {', '.join(definition.brings)})" if definition.brings else ""
    # The label of an import begins with the word.
    named = f"{path}:{label}" if definition.kind != "import" else f"{path}: {label}"
    text = f"{definition.kind if definition.kind != 'import' else 'file'} {named}{definition.told}{brings}"
    one_line = definition.told.startswith(":") or None in (definition.old, definition.new)
    return Candidate(
        kind=definition.kind, name=f"{path}:{label}", text=text, diff=() if one_line else _diff(definition.old, definition.new)
    )


def _diff(old: str | None, new: str | None) -> tuple[str, ...]:
    if old is None or new is None or max(len(old), len(new)) > _READ:
        return ()
    # The first two lines would name files that there are not.
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=3))[2:]
    more = [f"… and {len(lines) - _LINES} more lines"] if len(lines) > _LINES else []
    return tuple(lines[:_LINES] + more)


def variables(compared: RunComparison) -> list[Difference]:
    """Return the variables that differ and whose values are known on both sides.

    Args:
        compared: the two runs.
    """
    listed = [each for each in compared.differences if each.kind == "variable"]
    return [each for each in listed if value_of(each.old, each.old_digest)[0] and value_of(each.new, each.new_digest)[0]]


def packages_between(compared: RunComparison) -> list[Difference]:
    """Return the packages that steps reach and whose versions differ.

    Args:
        compared: the two runs.
    """
    return [each for each in compared.differences if each.kind == "environment"]


def normal(package: str) -> str:
    """Return the normal name of a package.

    Args:
        package: as its distribution writes it.
    """
    return re.sub(r"[-_.]+", "-", package).lower()


def reached(found: Iterable[Candidate], compared: RunComparison, parts: Iterable[KeyPart], project: str) -> frozenset[int]:
    """Return the positions of the candidates that a step's key may name; the others are tried together first.

    Args:
        found: what :func:`candidates` gave.
        compared: the two runs.
        parts: of the keys of either run.
        project: the project's folder as a path within the repository.
    """
    parts = list(parts)
    read = {part.name.removesuffix("/") for part in parts if part.kind == "file"}
    dotted = {part.name for part in parts if part.kind in ("code", "module")}
    entries = {entry_of(run).partition(":")[0] for run in (compared.old, compared.new)}

    def counts(candidate: Candidate) -> bool:
        if candidate.kind in ("param", "variable", "package"):
            return True
        path = PurePosixPath(candidate.place[0])
        inside = path.relative_to(project).as_posix() if path.is_relative_to(project) else path.as_posix()
        return inside in read | entries or inside == "pyproject.toml" or any(_holds(path, name) for name in dotted)

    return frozenset(index for index, candidate in enumerate(found) if counts(candidate))


def _holds(path: PurePosixPath, dotted: str) -> bool:
    """Return whether a name of code may be of the module that a file is, wherever its search path begins."""
    if path.suffix != ".py":
        return False
    parts = path.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    names = dotted.split(".")
    return any(names[: len(parts) - start] == list(parts[start:]) for start in range(len(parts)))


def left_out(compared: RunComparison, found: Iterable[Candidate], refused: Mapping[str, str]) -> tuple[str, ...]:
    """Return the differences of which only one side can be had here, each with what to do.

    Args:
        compared: the two runs.
        found: what :func:`candidates` gave.
        refused: package -> why it cannot be installed in both versions.
    """
    taken = {(each.kind, each.name) for each in found} | {("file", each.place[0]) for each in found}
    entry = entry_of(compared.new)
    told = []
    for each in compared.differences:
        why = ""
        if each.kind == "environment" and ("package", each.name) not in taken:
            reason = refused.get(each.name, "It cannot be installed.")
            why = f"untested: {reason} To test it by hand, install {each.name}=={each.old} and repeat: plimsoll run {entry}"
        elif each.kind == "variable" and ("variable", each.name) not in taken:
            why = "untested: its value is not kept; set it to either value and run again"
        elif each.kind == "file" and not any(("file", name) in taken for name in _inside(each.name, found)):
            outside = Path(each.name).is_absolute()
            why = (
                f"untested: {'it lies outside of the project, and ' if outside else ''}what it held is not kept; put it back and run again"
            )
        elif each.kind == "result":
            why = "the step gives something else each time"
        if why:
            told.append(f"{each.text} ({why})")
    return tuple(told)


def _inside(name: str, found: Iterable[Candidate]) -> list[str]:
    """Return the paths of candidates that a key's name of a file may stand for: the repository's top may lie above the project."""
    return [path for each in found if (path := each.place[0]) == name or path.endswith(f"/{name}")]
