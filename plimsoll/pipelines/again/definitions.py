"""Two versions of a Python file, mixed definition by definition: functions, classes and their methods, and named values.

Every statement of a body gets a label: what it defines (``load``, ``Model.fit``, ``LIMIT``, ``import json``), or ``statement 2`` for one
that defines nothing. A label that the two versions do not share, or under which they differ, is a difference. What only one version has
and the other never mentions, such as a new import or a helper that was renamed, belongs to the differences that mention it.
"""

from __future__ import annotations

import ast
import builtins
import difflib
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

#: Characters of a value up to which it is shown in one line.
_SHOWN = 60

#: Label of the order in which a body has what both versions define.
_ORDER = "(order)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition in which two versions of a file differ."""

    #: ``function``, ``method``, ``class``, ``constant``, ``import`` or ``statement``.
    kind: str
    #: Its source in the first version; None when that lacks it.
    old: str | None
    #: Its source in the second version; None when that lacks it.
    new: str | None
    #: What became of it, such as ``: 2 -> 3`` of a constant.
    told: str
    #: Labels of what only one version has and goes where this goes.
    brings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Pair:
    """A label's statement in either version."""

    old: ast.stmt | None = None
    new: ast.stmt | None = None


@dataclass(slots=True)
class _Body:
    """The labels of a body in either version, in order, and what stands under them."""

    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    pairs: dict[str, _Pair] = field(default_factory=dict)

    def moved(self) -> bool:
        """Return whether what both have stands in another order."""
        shared = set(self.before) & set(self.after)
        return [label for label in self.before if label in shared] != [label for label in self.after if label in shared]


def differing(first: str, second: str) -> dict[str, Definition]:
    """Return the definitions in which two versions of a file differ, by label.

    Args:
        first: a Python file.
        second: the same file, later.

    Returns:
        Nothing when the file can only be taken whole: it is no Python, or the versions differ in comments and layout alone.
    """
    trees = _parsed(first), _parsed(second)
    if trees[0] is None or trees[1] is None:
        return {}
    found = _differing(_body(trees[0].body, trees[1].body), "")
    owners = _owners(found, trees[0].body, trees[1].body)
    brought = {label: tuple(each for each, of in owners.items() if label in of) for label in found}
    return {
        label: Definition(
            kind=_kind(pair, label), old=_source(first, pair.old), new=_source(second, pair.new), told=_told(pair), brings=brought[label]
        )
        for label, pair in found.items()
        if label not in owners
    }


def mixed(first: str, second: str, taken: Iterable[str]) -> str:
    """Return a file with some definitions as another version has them.

    Args:
        first: the version that gives all others.
        second: the version that gives what is taken.
        taken: labels of which :func:`differing` tells; all of them give the second version as it is.
    """
    chosen, known = set(taken), differing(first, second)
    if chosen >= known.keys():
        return second
    if not chosen:
        return first
    before, after = ast.parse(first), ast.parse(second)
    body = _body(before.body, after.body)
    found = _differing(body, "")
    for label, of in _owners(found, before.body, after.body).items():
        # What is new comes with the first that needs it, what is gone goes with the last.
        if chosen & of if found[label].old is None else chosen >= of:
            chosen.add(label)
    before.body = _mixed(body, chosen, "")
    return ast.unparse(ast.fix_missing_locations(before)) + "\n"


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


# --- labels ---


def _split(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    """Return statements with an import of several names as several imports."""
    found: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.Import):
            found += [ast.copy_location(ast.Import(names=[alias]), statement) for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            parts = [ast.ImportFrom(module=statement.module, names=[alias], level=statement.level) for alias in statement.names]
            found += [ast.copy_location(part, statement) for part in parts]
        else:
            found.append(statement)
    return found


def _defines(statement: ast.stmt) -> str | None:
    """Return the label of a statement that defines something; None for any other."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return statement.name
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        alias = statement.names[0]
        source = f" from {statement.module}" if alias.name == "*" and isinstance(statement, ast.ImportFrom) else ""
        return f"import {alias.asname or alias.name}{source}"
    if isinstance(statement, ast.Assign):
        target: ast.expr | None = statement.targets[0] if len(statement.targets) == 1 else None
    else:
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return ", ".join(name.id for name in names if isinstance(name, ast.Name)) if all(isinstance(name, ast.Name) for name in names) else None


def _body(first: Iterable[ast.stmt], second: Iterable[ast.stmt]) -> _Body:
    """Label the statements of both versions; those that define nothing are matched by what they say and where they stand."""
    found = _Body()
    split = _split(first), _split(second)
    others = [[statement for statement in each if _defines(statement) is None] for each in split]
    numbers = _matched(*([ast.dump(statement) for statement in each] for each in others))
    for side, statements in enumerate(split):
        seen: dict[str, int] = {}
        number = iter(numbers[side])
        for statement in statements:
            label = _defines(statement)
            if label is None:
                label = f"statement {next(number)}"
            else:
                seen[label] = seen.get(label, 0) + 1
                label = label if seen[label] == 1 else f"{label}#{seen[label]}"
            (found.before if side == 0 else found.after).append(label)
            pair = found.pairs.setdefault(label, _Pair())
            if side == 0:
                pair.old = statement
            else:
                pair.new = statement
    return found


def _matched(first: list[str], second: list[str]) -> tuple[list[int], list[int]]:
    """Return numbers for the items of two lists: those that answer to each other have the same."""
    numbers: tuple[list[int], list[int]] = ([], [])
    count = 0
    for _, start, end, begin, stop in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        numbers[0].extend(range(count + 1, count + 1 + end - start))
        numbers[1].extend(range(count + 1, count + 1 + stop - begin))
        count += max(end - start, stop - begin)
    return numbers


# --- differences ---


def _differing(body: _Body, inside: str) -> dict[str, _Pair]:
    found: dict[str, _Pair] = {}
    for label in [*body.after, *(label for label in body.before if label not in body.after)]:
        pair = body.pairs[label]
        if pair.old is not None and pair.new is not None:
            if ast.dump(pair.old) == ast.dump(pair.new):
                continue
            members = _members(pair)
            if members is not None:
                # A class of which only members differ is taken member by member.
                found |= _differing(members, f"{inside}{label}.")
                continue
        found[inside + label] = pair
    if body.moved():
        found[inside + _ORDER] = _Pair()
    return found


def _members(pair: _Pair) -> _Body | None:
    """Return the members of a class in either version; None when more than they differ, or it is no class in both."""
    old, new = pair.old, pair.new
    if not isinstance(old, ast.ClassDef) or not isinstance(new, ast.ClassDef) or _head(old) != _head(new):
        return None
    return _body(old.body, new.body)


def _head(statement: ast.ClassDef) -> list[str]:
    listed = (*statement.bases, *statement.keywords, *statement.decorator_list, *getattr(statement, "type_params", ()))
    return [ast.dump(node) for node in listed]


def _mentioned(statements: Iterable[ast.stmt | None]) -> set[str]:
    found = set()
    for statement in statements:
        for node in ast.walk(statement) if statement is not None else ():
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)  # getattr, __all__, a registry
    return found


def _owners(found: Mapping[str, _Pair], first: list[ast.stmt], second: list[ast.stmt]) -> dict[str, frozenset[str]]:
    """Return what belongs to other differences: label -> the differences that mention it, of which none belongs to others."""
    mentioned = _mentioned(first), _mentioned(second)
    direct: dict[str, set[str]] = {}
    for label, pair in found.items():
        is_new = pair.old is None
        bound = label.removeprefix("import ").partition(".")[0].partition("#")[0]
        if (pair.old is None) == (pair.new is None) or not bound.isidentifier() or "." in label.removeprefix("import "):
            continue
        if bound in mentioned[0 if is_new else 1] or hasattr(builtins, bound):
            continue
        sides = {each: other.new if is_new else other.old for each, other in found.items() if each != label}
        direct[label] = {each for each, side in sides.items() if bound in _mentioned([side])}
    owners: dict[str, frozenset[str]] = {}
    for label in direct:
        reached, pending = set(), [label]
        while pending:
            for each in direct.get(pending.pop(), ()):
                if each not in reached:
                    reached.add(each)
                    pending.append(each)
        if own := frozenset(reached - direct.keys()):
            owners[label] = own
    return owners


# --- what is told ---


def _kind(pair: _Pair, label: str) -> str:
    statement = pair.new or pair.old
    if isinstance(statement, _FUNCTIONS):
        return "method" if "." in label else "function"
    if isinstance(statement, ast.ClassDef):
        return "class"
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return "import"
    return "constant" if statement is not None and _defines(statement) else "statement"


def _source(text: str, statement: ast.stmt | None) -> str | None:
    if statement is None:
        return None
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return ast.unparse(statement)
    start = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", ()))])
    return textwrap.dedent("\n".join(text.split("\n")[start - 1 : statement.end_lineno]))


def _told(pair: _Pair) -> str:
    if pair.old is None and pair.new is None:
        return " changed"
    if pair.old is None or pair.new is None:
        value = getattr(pair.new or pair.old, "value", None)
        text = f" ({ast.unparse(value)})" if isinstance(value, ast.expr) and len(ast.unparse(value)) <= _SHOWN else ""
        return f" is {'new' if pair.old is None else 'gone'}{text}"
    texts = [ast.unparse(_shown(each)) for each in (pair.old, pair.new)]
    if all(len(text) <= _SHOWN and "\n" not in text for text in texts) and texts[0] != texts[1]:
        return ": " + " -> ".join(texts)
    return " changed"


def _shown(statement: ast.stmt) -> ast.AST:
    """Return what of a statement tells it: the value of a named value, else all of it."""
    value = getattr(statement, "value", None)
    return value if isinstance(statement, (ast.Assign, ast.AnnAssign)) and value is not None else statement


# --- mixing ---


def _mixed(body: _Body, taken: set[str], inside: str) -> list[ast.stmt]:
    leading, other = (body.after, body.before) if inside + _ORDER in taken else (body.before, body.after)
    order = list(leading)
    place = 0
    for label in other:
        if label in leading:
            place = order.index(label) + 1
        else:
            # Behind what stands before it in its own version.
            order.insert(place, label)
            place += 1
    found: list[ast.stmt] = []
    for label in order:
        pair = body.pairs[label]
        statement = pair.new if inside + label in taken else pair.old
        within = f"{inside}{label}."
        if isinstance(statement, ast.ClassDef) and any(each.startswith(within) for each in taken) and (members := _members(pair)):
            statement.body = _mixed(members, taken, within) or [ast.Pass()]
        if statement is not None:
            found.append(statement)
    return found
