"""A pipeline run again in a fresh process, in a folder that holds its code.

The process gets one JSON document and leaves one; it is :mod:`plimsoll.cli.rerun`, since only what stands above the doors may
open one.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from plimsoll import codec
from plimsoll.data.trace.files.contents import ABSENT
from plimsoll.data.trace.now import WORKING_FOLDER, Now, is_around
from plimsoll.errors import Corrupt, Internal, InvalidInput, NotFound
from plimsoll.fingerprint import digest_value
from plimsoll.records.pipeline import GetKeyParts, KeyPart, StepRecord
from plimsoll.records.request import Json
from plimsoll.records.run import Run
from plimsoll.store.contracts import Blobs, Do

#: The program that runs a pipeline again.
_PROGRAM = "plimsoll.cli.rerun"

#: The stream that is for people, also where Python's own name for it is a notebook's.
_STDERR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be run again."""

    #: Home folder or server that the run goes to.
    url: str
    #: Folder of the project, written for this.
    project: str
    #: ``path.py:name``, relative to the project.
    entry: str
    #: All parameters of the pipeline.
    params: dict[str, Json]
    #: The run's experiment.
    experiment: str
    #: The run's tags.
    tags: dict[str, str] = field(default_factory=dict)
    #: Where the answer is written.
    answer: str
    #: Folder that it runs in, when it is not the project's.
    folder: str = ""
    #: The last step that is run; empty for all of them.
    until: str = ""
    #: Environment variables that are set, or taken away when None, for this run.
    variables: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reran:
    """How it went."""

    #: The run; None when it could not even begin.
    run_id: str | None
    #: Metric -> value.
    metrics: dict[str, float]
    #: Steps in the order of the plan; empty when the run failed.
    steps: tuple[StepRecord, ...]
    #: What went wrong, empty when nothing did.
    error: str = ""


def run_again(asked: Asked, *, python: str = sys.executable, paths: Iterable[Path] = ()) -> Reran:
    """Run a pipeline again in a fresh process and return how it went.

    Args:
        asked: what to run; its ``answer`` is a path where nothing is yet.
        python: the interpreter.
        paths: folders that are searched for modules before all others.

    Raises:
        Internal: the process ended without an answer.
    """
    # Byte code is trusted by whole seconds and size, which two versions of a file may share.
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join([*map(str, paths), *_inherited()])}
    for name, value in asked.variables.items():
        variables.pop(name, None)
        variables |= {} if value is None else {name: value}
    given = codec.to_json(asked)
    # Its progress is the command's own.
    where = asked.folder or asked.project
    done = subprocess.run([python, "-m", _PROGRAM], input=given, env=variables, cwd=where, stdout=_STDERR, check=False)
    answer = Path(asked.answer)
    if not answer.exists():
        raise Internal(
            f"The process that ran {asked.entry} again ended with status {done.returncode} and no answer.", "See what it printed."
        )
    return codec.from_json(answer.read_bytes(), Reran, "The answer of the run")


def _inherited() -> list[str]:
    found = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    own = Path(__file__).parents[3]
    # Sources that are not installed, as in a checkout; a folder of installed packages would hide those of another interpreter.
    return found if own.name in ("site-packages", "dist-packages") else [*found, str(own)]


def module_paths(root: Path, tree: Path) -> list[Path]:
    """Return the folders of a written tree that answer to those in which this process looks for modules of the repository.

    A project that is installed as editable would else be imported from where it lies.

    Args:
        root: top of the repository.
        tree: top of the written tree.
    """
    found = []
    for entry in sys.path:
        path = Path(entry or ".").resolve()
        if path.is_relative_to(root.resolve()) and (inside := tree / path.relative_to(root.resolve())).is_dir():
            found.append(inside)
    return found


def parts_of(steps: Iterable[StepRecord], do: Do) -> list[KeyPart]:
    """Return all that the keys of a run's steps are made of, each once.

    Args:
        steps: the run's steps.
        do: the door.
    """
    found: dict[tuple[str, str], KeyPart] = {}
    for step in steps:
        if step.key is not None and step.state in ("hit", "ran"):
            found |= {(part.kind, part.name): part for part in do(GetKeyParts(key=step.key))}
    return list(found.values())


def read_by(parts: Iterable[KeyPart]) -> list[KeyPart]:
    """Return the files and variables that steps read by themselves.

    Args:
        parts: what :func:`parts_of` gave.
    """
    return [part for part in parts if part.kind in ("file", "variable")]


def bring_files(parts: Iterable[KeyPart], project: Path, tree: Path, blobs: Blobs) -> None:
    """Copy the files of the project that steps read and git does not have, where the written tree lacks them.

    What is stored under the very digest that a step read is taken before what the file holds now.

    Args:
        parts: what :func:`read_by` gave.
        project: folder of the project.
        tree: the project's folder in the written tree.
        blobs: where contents may be stored.
    """
    for part in parts:
        name = Path(part.name)
        if part.kind != "file" or name.is_absolute() or ".." in name.parts or (tree / name).exists():
            continue
        source = project / name
        if source.is_dir():
            shutil.copytree(source, tree / name)
        elif part.digest != ABSENT and not _fetched(part.digest, tree / name, blobs) and source.is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tree / name)


def _fetched(digest: str, target: Path, blobs: Blobs) -> bool:
    try:
        blobs.get_file(digest, target)
    except (NotFound, Corrupt):
        return False
    return True


def changed(parts: Iterable[KeyPart], tree: Path) -> list[KeyPart]:
    """Return the files and variables that are no longer what a run's steps read.

    Args:
        parts: what :func:`read_by` gave.
        tree: folder of the project whose files count.
    """
    now = Now(tree)
    return [part for part in parts if not is_around(part) and now.digest(part) != part.digest]


def working_folder(parts: Iterable[KeyPart], tree: Path) -> Path:
    """Return the folder in a written tree that answers to the one from which a run's steps read relative paths.

    Args:
        parts: what :func:`read_by` gave.
        tree: the project's folder in the written tree.
    """
    named = next((part.text for part in parts if part.name == WORKING_FOLDER), "")
    return tree / named if not Path(named).is_absolute() and (tree / named).is_dir() else tree


def value_of(text: str | None, digest: str) -> tuple[bool, str | None]:
    """Return whether the value of a variable is known from what was kept of it, and the value; None when it was not set.

    Args:
        text: the part's text; values that may be secret are left out of it, and long ones are cut.
        digest: the part's digest.
    """
    if digest == ABSENT:
        return True, None
    try:
        value = ast.literal_eval(text or "")
    except (SyntaxError, ValueError):
        return False, None
    return (True, value) if isinstance(value, str) and digest_value(value) == digest else (False, None)


def entry_of(run: Run) -> str:
    """Return which pipeline a run executed, as ``path.py:name``.

    Args:
        run: the run.

    Raises:
        InvalidInput: it is no run of a pipeline that is in a file.
    """
    entry = run.code.entry or ""
    if ".py:" not in entry or Path(entry.partition(":")[0]).is_absolute():
        raise InvalidInput(f"The run {run.id[:16]} is no run of a pipeline in a project's file.", "Name a run that plimsoll run has made.")
    return entry
