"""A step's key: a digest over everything that its result depends on, part by part so that a miss can be explained."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from plimsoll import codec
from plimsoll.data.code.closure import closure, value_closure
from plimsoll.data.code.source import Sources, python_version
from plimsoll.data.project import PROJECT_FILE, read_project
from plimsoll.fingerprint import digest_value
from plimsoll.pipelines.plan import Argument, Choice, Group, Literal, Node, Reference
from plimsoll.pipelines.step import is_named_tuple, outputs_of
from plimsoll.records.pipeline import KeyPart, Output

#: Changes whenever the same parts must no longer find entries that an earlier release wrote.
_FORMAT = "plimsoll key 1"

#: Packages whose objects one step hands to another.
_FRAMES = ("numpy", "polars", "pandas")

_SHOWN = 40

#: Kinds of parts that only explain: what they are about is in another part.
_TOLD = ("item", "choice")

#: Stands between an argument and what decided it in the name of a part of kind ``choice``.
CHOSEN_BY = " by "


def code_parts(function: Callable[..., Any], sources: Sources | None = None) -> tuple[KeyPart, ...]:
    """Return what a key says of a step's code and of the environment that its code reaches.

    Args:
        function: the user's own function.
        sources: shared among the functions of one plan, so that each file is read once.

    Raises:
        Unfingerprintable: a part of the code cannot be seen.
    """
    sources = sources or Sources()
    versions = {"python": python_version()}
    if sys.version_info < (3, 12) and inspect.signature(function).parameters:
        # Later Pythons tell which packages ran, also where a step only calls the methods of a frame that it is given.
        for package in _FRAMES:
            versions.update(sources.versions(package, None) if sources.has(package) else {})
    parts = {(part.kind, part.name): part for part in closure(function, sources, traced=True)}
    sources.keep()
    for name, version in versions.items():
        parts["environment", name] = sources.part(name, version)
    return tuple(parts.values())


def may_give_model(function: Callable[..., Any]) -> bool:
    """Return whether a step may return a model, so that its key names the models' purposes.

    Args:
        function: the user's own function; without a return annotation it may return anything.
    """
    plain = inspect.unwrap(function)
    written = getattr(plain, "__annotations__", {})
    if all(isinstance(hint, type) for hint in written.values()):
        # They mean themselves, and to look for what others mean takes longer than most of a key.
        return _may_be_model(written.get("return", Any))
    try:
        hint = get_type_hints(plain).get("return", Any)
    except (NameError, TypeError, AttributeError):
        hint = Any  # names that only a type checker sees
    return _may_be_model(hint)


def purpose_parts(project: Path) -> tuple[KeyPart, ...]:
    """Return what a key says of the models' purposes: they are packed with a model, so a step that may return one depends on them.

    Args:
        project: folder with the project's ``pyproject.toml``; without one there is nothing to say.

    Raises:
        InvalidInput: the project's table is not valid.
    """
    if not (project / PROJECT_FILE).is_file():
        return ()
    models = read_project(project).models
    return tuple(
        KeyPart(kind="project", name=f"tool.plimsoll.models.{name}", digest=codec.digest(codec.canonical(purpose)))
        for name, purpose in models.items()
    )


def _may_be_model(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_may_be_model(choice) for choice in get_args(hint))
    if is_named_tuple(hint):
        return any(_may_be_model(field) for field in get_type_hints(hint).values())
    return hint in (Any, object) or hasattr(hint, "__plimsoll_save__")


def output_parts(function: Callable[..., Any]) -> tuple[KeyPart, ...]:
    """Return what a key says of the outputs of a step that gives several: annotations are no code, but these names act.

    Args:
        function: the user's own function.
    """
    outputs = outputs_of(function)
    if outputs is None:
        return ()
    names = list(outputs._fields)  # type: ignore[attr-defined]
    return (KeyPart(kind="code", name="outputs", digest=codec.digest(codec.canonical(names)), text=", ".join(names)),)


def argument_parts(node: Node, outputs: Mapping[int, Output], names: Mapping[int, str] = MappingProxyType({})) -> tuple[KeyPart, ...]:
    """Return what a call's key says of its arguments, sorted by kind and name.

    Args:
        node: the call.
        outputs: position of a node -> its output, at least for the node's inputs.
        names: position of a node -> its name, at least for the node's inputs; they are for people.

    Raises:
        Unfingerprintable: an argument cannot be seen whole.
    """
    parts = [part for name, argument in node.bound.items() for part in _argument_parts(name, argument, outputs, names)]
    # Of ``**options`` a function sees the order in which they were given.
    given = [name for name in node.kwargs if any(each.endswith(f"[{name}]") for each in node.bound)]
    if given != sorted(given):
        parts.append(KeyPart(kind="code", name="order of keywords", digest=codec.digest(codec.canonical(given)), text=", ".join(given)))
    return tuple(sorted({(part.kind, part.name): part for part in parts}.values(), key=lambda part: (part.kind, part.name)))


def call_key(code: str, parts: tuple[KeyPart, ...]) -> str:
    """Return the digest over all that is known before a step runs.

    Args:
        code: what :func:`digest_parts` gave for the step's code.
        parts: what :func:`argument_parts` gave. An item of a list is already in the part of its parameter, and so is a choice.
    """
    return codec.digest(codec.canonical([_FORMAT, code, [[part.kind, part.name, part.digest] for part in parts if part.kind not in _TOLD]]))


def digest_parts(parts: tuple[KeyPart, ...]) -> str:
    """Return the digest over parts; their texts, which are for people, do not count.

    Args:
        parts: what :func:`code_parts` and its like gave.
    """
    return codec.digest(codec.canonical([_FORMAT, sorted([part.kind, part.name, part.digest] for part in parts)]))


def entry_key(call: str, trace: tuple[KeyPart, ...]) -> str:
    """Return the key under which a result is kept: the call key with what the step read by itself.

    Args:
        call: what :func:`digest_parts` gave for the call.
        trace: what the run of the step found; their texts do not count.
    """
    return codec.digest(codec.canonical([_FORMAT, call, sorted([part.kind, part.name, part.digest] for part in trace)]))


def seed_of(node: Node, parts: tuple[KeyPart, ...]) -> int:
    """Return the seed of the global random generators for a call, from 0 to 2**32 - 1.

    It follows from the step's name and its arguments, so that steps which draw without a seed of their own repeat what they
    drew, and an edit of their code does not draw anew.

    Args:
        node: the call.
        parts: what :func:`argument_parts` gave; empty when the call cannot be fingerprinted.
    """
    own = sorted([part.kind, part.name, part.digest] for part in parts if part.kind in ("param", "input"))
    return int(codec.digest(codec.canonical([node.step.name, own]))[:8], 16)


def _argument_parts(name: str, argument: Argument, outputs: Mapping[int, Output], names: Mapping[int, str]) -> list[KeyPart]:
    if isinstance(argument, Literal):
        digest, parts = _literal(argument.value)
        return [KeyPart(kind="param", name=name, digest=digest, text=_text(argument.value)), *parts]
    if isinstance(argument, Reference):
        return [KeyPart(kind="input", name=name, digest=outputs[argument.index].digest, text=names.get(argument.index, ""))]
    if isinstance(argument, Choice):
        raise TypeError("a choice is made before its call has a key")
    found: list[KeyPart] = []
    document = _canonical(argument, outputs, found)
    whole = KeyPart(kind="input", name=name, digest=codec.digest(codec.canonical(document)), text=f"{len(argument.items)} items")
    # The whole counts; its items are there so that a miss can be explained by the item that differs.
    return [*found, *_item_parts(name, argument, outputs, names), whole]


def _item_parts(name: str, group: Group, outputs: Mapping[int, Output], names: Mapping[int, str]) -> Iterator[KeyPart]:
    """Yield a part for each item of a group, of a kind of their own: they must not take the place of a part that counts."""
    for index, item in enumerate(group.items):
        place = f"{name}[{_place(group, index)}]"
        if isinstance(item, Group):
            yield from _item_parts(place, item, outputs, names)
        else:
            part = next(part for part in _argument_parts(place, item, outputs, names) if part.kind in ("param", "input"))
            yield replace(part, kind="item")


def _place(group: Group, index: int) -> str:
    if group.kind == "named":
        return str(group.keys[0]._fields[index])
    key = group.keys[index] if group.keys else index
    return repr(key) if type(key) in (str, int) else f"#{index}"


def _canonical(argument: Argument, outputs: Mapping[int, Output], found: list[KeyPart]) -> list[Any]:
    """Return an argument with digests for its values; the code that values bring along is added to ``found``."""
    if isinstance(argument, Literal):
        digest, parts = _literal(argument.value)
        found.extend(parts)
        return ["literal", digest]
    if isinstance(argument, Reference):
        return ["output", outputs[argument.index].digest]
    if isinstance(argument, Choice):
        raise TypeError("a choice is made before its call has a key")
    items = [_canonical(item, outputs, found) for item in argument.items]
    return [argument.kind, [_canonical(Literal(key), outputs, found) for key in argument.keys], items]


def _literal(value: Any) -> tuple[str, tuple[KeyPart, ...]]:
    if _is_plain(value):
        return digest_value(value), ()
    # Functions, classes and objects act by the code that they reach. It is in the digest, because two arguments may
    # each bring a part of the same name.
    digest, parts = value_closure(value)
    return digest_value([digest, [(part.kind, part.name, part.digest) for part in parts]]), parts


def _is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if type(value) in (list, tuple, set, frozenset):
        return all(_is_plain(item) for item in value)
    return type(value) in (bool, int, float, complex, str, bytes, type(None))


def _text(value: Any) -> str:
    if not isinstance(value, bool | int | float | str | bytes | tuple | list | dict | None):
        return ""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python likes to print
        return ""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
