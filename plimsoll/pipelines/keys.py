"""A step's key: a digest over everything that its result depends on, part by part so that a miss can be explained."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import Any

from plimsoll import codec
from plimsoll.data.code import closure
from plimsoll.fingerprint import digest_value
from plimsoll.pipelines.plan import Argument, Literal, Node, Reference
from plimsoll.records.pipeline import KeyPart, Output

#: Changes whenever the same parts must no longer find entries that an earlier release wrote.
_FORMAT = "plimsoll key 1"

_SHOWN = 40


def code_parts(function: Callable[..., Any]) -> tuple[KeyPart, ...]:
    """Return what a key says of a step's code and of the environment that its code reaches.

    Args:
        function: the user's own function.

    Raises:
        Unfingerprintable: a part of the code cannot be seen.
    """
    version = ".".join(platform.python_version_tuple()[:2])
    python = KeyPart(kind="environment", name="python", digest=codec.digest(version.encode()), text=version)
    return (*(part for part in closure(function) if (part.kind, part.name) != ("environment", "python")), python)


def key_parts(node: Node, code: tuple[KeyPart, ...], outputs: Mapping[int, Output]) -> tuple[KeyPart, ...]:
    """Return everything that a call's key is made of, sorted by kind and name.

    Args:
        node: the call.
        code: what :func:`code_parts` gave for its function.
        outputs: position of a node -> its output, at least for the node's inputs.

    Raises:
        Unfingerprintable: an argument cannot be seen whole.
    """
    parts = [*code, *(_argument_part(name, argument, outputs) for name, argument in node.bound.items())]
    return tuple(sorted(parts, key=lambda part: (part.kind, part.name)))


def digest_parts(parts: tuple[KeyPart, ...]) -> str:
    """Return the digest over parts; their texts, which are for people, do not count.

    Args:
        parts: what :func:`key_parts` or :func:`code_parts` gave.
    """
    return codec.digest(codec.canonical([_FORMAT, sorted([part.kind, part.name, part.digest] for part in parts)]))


def _argument_part(name: str, argument: Argument, outputs: Mapping[int, Output]) -> KeyPart:
    if isinstance(argument, Literal):
        return KeyPart(kind="param", name=name, digest=digest_value(argument.value), text=_text(argument.value))
    if isinstance(argument, Reference):
        return KeyPart(kind="input", name=name, digest=outputs[argument.index].digest)
    return KeyPart(kind="input", name=name, digest=codec.digest(codec.canonical(_canonical(argument, outputs))))


def _canonical(argument: Argument, outputs: Mapping[int, Output]) -> list[Any]:
    if isinstance(argument, Literal):
        return ["literal", digest_value(argument.value)]
    if isinstance(argument, Reference):
        return ["output", outputs[argument.index].digest]
    items = [_canonical(item, outputs) for item in argument.items]
    return [argument.kind, [digest_value(key) for key in argument.keys], items]


def _text(value: Any) -> str:
    if not isinstance(value, bool | int | float | str | bytes | tuple | list | dict | None):
        return ""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python likes to print
        return ""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
