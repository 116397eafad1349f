"""What a whole run came to, remembered so that the next one like it need not even import the project.

A memory is a file in the home and only ever a short cut: it holds no output, everything that it stands on is looked at again
before it is used, and where anything differs, or the file is gone or garbled, the run goes its usual way.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from plimsoll import clock, codec
from plimsoll.data.trace.now import Now
from plimsoll.errors import PlimsollError
from plimsoll.pipelines.loop.late import remembered_in
from plimsoll.records.pipeline import KeyPart
from plimsoll.records.run import StartRun

#: Changes whenever memories of an earlier release must not be used.
_FORMAT = "plimsoll memory 1"

#: Ends of the names that tell which distributions a folder of packages has, and which version.
_INSTALLED = (".dist-info", ".egg-info", ".egg-link", ".pth")


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedStep:
    """A step that had a result."""

    #: Position in the plan, from 0.
    index: int
    #: Qualified name, as in ``StepRecord.name``.
    name: str
    #: What a person calls it.
    label: str
    #: Its key.
    key: str
    #: Digest of its output.
    output: str
    #: The step's ``cache`` option.
    cache: bool | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a run came to, and what that stands on."""

    #: The project's files, the folders that they are imported from, the variables read meanwhile.
    parts: tuple[KeyPart, ...]
    #: What is installed.
    packages: str
    #: How the run began; where its code comes from is asked anew.
    start: StartRun
    #: The steps, in the order of the plan.
    steps: tuple[RememberedStep, ...]
    #: What the run said at its end: name of the verb and its request, in order.
    said: tuple[tuple[str, dict[str, Any]], ...]


def memory_file(home: Path, asked: Iterable[Any]) -> Path:
    """Return where the memory of a run lies.

    Args:
        home: the home's folder.
        asked: what was asked for, JSON-able: the pipeline, its parameters and whatever else the caller was given.
    """
    machine = [platform.node(), os.cpu_count(), sys.version, sys.prefix, sys.path, sys.argv, version("plimsoll")]
    return home / "recall" / codec.digest(codec.canonical([_FORMAT, list(asked), machine]))


def installed(project: Path) -> str:
    """Return a digest of the names in the folders that packages are installed in; a version is part of such a name.

    Args:
        project: folder of the project, resolved. It counts as the first, which it is as soon as the project is imported.
    """
    found = []
    for folder in (str(project), *(entry for entry in sys.path if entry != str(project))):
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        found.append([folder, sorted(name for name in names if name.endswith(_INSTALLED))])
    return codec.digest(codec.canonical(found))


def write(path: Path, memory: Memory) -> None:
    """Keep a memory; one that cannot be written is done without.

    Args:
        path: what :func:`memory_file` gave.
        memory: what to keep.
    """
    unfinished = path.with_name(f"{path.name}.{clock.new_id()}")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        unfinished.write_bytes(codec.to_msgpack(memory))
        unfinished.replace(path)
    except OSError:
        # It saves time and nothing else, so a full disk is not worth failing a run that has ended well.
        unfinished.unlink(missing_ok=True)


def read(path: Path, project: Path) -> Memory | None:
    """Return a memory if all that it stands on is as it was, else None.

    Args:
        path: what :func:`memory_file` gave.
        project: folder of the project.
    """
    try:
        memory = codec.from_msgpack(path.read_bytes(), Memory, "A remembered run")
    except (OSError, PlimsollError):
        return None
    now = Now(project, remembered_in(path.parent.parent))
    if memory.packages != installed(project.resolve()) or any(now.digest(part) != part.digest for part in memory.parts):
        return None
    return memory
