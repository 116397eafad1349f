"""What a step's process is told: which function with which arguments, and the surroundings that it takes over."""

from __future__ import annotations

import contextlib
import enum
import os
import sys
import types
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from plimsoll import codec, errors
from plimsoll.data import exact, values
from plimsoll.errors import PlimsollError, Unfingerprintable
from plimsoll.pipelines.executors.call import Call, Unsuitable, reference
from plimsoll.pipelines.plan import Argument, Choice, Group, Literal, Reference
from plimsoll.pipelines.step import is_named_tuple
from plimsoll.store.blobs import LocalBlobs


def task_of(call: Call, blobs: LocalBlobs, project: Path, remembered: Path | None = None) -> dict[str, Any]:
    """Return the task of a call, to be sent as msgpack. Arguments that are too big for a message are stored first.

    Args:
        call: what to run.
        blobs: the folder that the process opens.
        project: folder of the project, from which the step is imported.
        remembered: where digests of large files are remembered.

    Raises:
        Unsuitable: another process cannot import the step, or an argument cannot be sent.
    """
    module, qualname = reference(call.node.step.function)
    options = call.node.step.options
    threads = share(call.beside) if options.cpu is None else max(1, int(options.cpu))
    variables = environment(threads)
    if call.gpus:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(call.gpus)
    return {
        "path": import_path(project),
        "arguments": [os.fsencode(each) for each in sys.argv[1:]],
        "folder": os.getcwd(),
        "environment": encoded_environment(variables),
        "polars": "polars" in sys.modules,
        "changed": {name: os.environ.get(name) for name, value in variables.items() if os.environ.get(name) != value},
        "threads": None if "OMP_NUM_THREADS" in os.environ else threads,
        "project": str(project),
        "blobs": str(blobs.folder),
        "remembered": "" if remembered is None else str(remembered),
        "module": module,
        "qualname": qualname,
        "code": call.code,
        "known": sorted(call.known),
        "seed": call.seed,
        "variables": dict(call.variables),
        "run_id": call.run_id,
        "inputs": {str(index): codec.plain(output) for index, output in call.inputs.items()},
        "trusted": sorted(call.trusted),
        "shared": {str(index): name for index, name in call.shared.items()},
        "args": [_encoded(argument, blobs, project) for argument in call.node.args],
        "kwargs": {name: _encoded(argument, blobs, project) for name, argument in call.node.kwargs.items()},
    }


def import_path(project: Path) -> list[str]:
    """Return ``sys.path`` with the project's folder first.

    An empty entry, as notebooks have it, is the working folder: by its name a step would be found to read that.

    Args:
        project: folder of the project.
    """
    entries = [entry or os.getcwd() for entry in sys.path]
    return [str(project), *(entry for entry in entries if entry != str(project))]


def share(beside: int) -> int | None:
    """Return how many threads one of several calls should use, or None for as many as there are processors.

    Args:
        beside: calls at the same time.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(1, processors // beside)
    return None if threads == processors else threads


def environment(threads: int | None) -> dict[str, str]:
    """Return a child's environment, in which this very Plimsoll can be imported even when it is not installed.

    Threads that wait for work sleep instead of spinning, and are no more than the child's share; what the user has set stays.

    Args:
        threads: what :func:`share` gave.
    """
    limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "POLARS_MAX_THREADS": str(threads)}
    known = {"OMP_WAIT_POLICY": "passive", **limits, **os.environ}
    root = str(Path(errors.__file__).parent.parent)
    if Path(root).name not in ("site-packages", "dist-packages"):
        known["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    return known


def encoded_environment(variables: dict[str, str]) -> list[list[bytes]]:
    """Return variables as a message has them: the system knows bytes, which need not be text.

    Args:
        variables: by name.
    """
    return [[os.fsencode(name), os.fsencode(value)] for name, value in variables.items()]


def _encoded(argument: Argument, blobs: LocalBlobs, project: Path) -> list[Any]:
    if isinstance(argument, Reference):
        return ["input", argument.index]
    if isinstance(argument, Group) and argument.kind == "named":
        return ["named", list(reference(argument.keys[0])), [_encoded(item, blobs, project) for item in argument.items]]
    if isinstance(argument, Choice):
        raise TypeError("a choice is made before its call is run")
    if not isinstance(argument, Literal):
        return _group(argument.kind, argument.keys, argument.items, blobs, project)
    value = argument.value
    if isinstance(value, Path):
        return ["path", str(value)]
    # Frames and arrays are files, not messages.
    with contextlib.suppress(Unfingerprintable):
        return ["value", exact.encode(value, lambda inner: None)]
    if type(value) is dict:
        return _group("dict", tuple(value), tuple(map(Literal, value.values())), blobs, project)
    if type(value) in (list, tuple):
        return _group(type(value).__name__, (), tuple(map(Literal, value)), blobs, project)
    if is_named_tuple(type(value)):
        return ["named", list(reference(type(value))), [_encoded(Literal(item), blobs, project) for item in value]]
    if isinstance(value, enum.Enum):
        return ["member", list(reference(type(value))), value.name]
    if (attributes := _attributes(value)) is not None:
        parts = [_encoded(Literal(part), blobs, project) for part in attributes.values()]
        return ["object", list(reference(type(value))), list(attributes), parts]
    try:
        return ["output", codec.plain(values.save(value, blobs, project))]
    except PlimsollError as error:
        raise Unsuitable(f"an argument cannot be sent to another process: {error.fact}", error.remedy) from error


def _attributes(value: Any) -> dict[str, Any] | None:
    """Return what a dataclass's object, or one of attrs, consists of; None for what has more to it than attributes."""
    cls = type(value)
    if not (is_dataclass(cls) or hasattr(cls, "__attrs_attrs__")) or any(base.__module__ == "builtins" for base in cls.__mro__[:-1]):
        return None
    slots = (name for base in cls.__mro__ for name, member in vars(base).items() if isinstance(member, types.MemberDescriptorType))
    return {**{name: getattr(value, name) for name in slots if hasattr(value, name)}, **getattr(value, "__dict__", {})}


def _group(kind: str, keys: tuple[Any, ...], items: tuple[Argument, ...], blobs: LocalBlobs, project: Path) -> list[Any]:
    named = [_encoded(Literal(key), blobs, project) for key in keys]
    return [kind, named, [_encoded(item, blobs, project) for item in items]]
