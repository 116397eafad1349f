"""One call of a step on a node of a Ray cluster.

Ray finds :func:`work_on_node` by its name, so every node has the same Plimsoll installed. The step itself runs in a fresh
process of the node, as it does on one machine: with the same checks of its code, the same limits, and the same end.
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plimsoll import codec, errors, extras
from plimsoll.data.snapshot import get_manifest
from plimsoll.data.trace.files.contents import Contents, held
from plimsoll.errors import PlimsollError, StepFailed
from plimsoll.pipelines.executors.call import Ran, Unsuitable
from plimsoll.pipelines.executors.cluster.carried import parts_of, receive, unpack
from plimsoll.pipelines.executors.processes import Fresh, end
from plimsoll.pipelines.executors.task import encoded_environment, import_path
from plimsoll.pipelines.executors.watch import Watch
from plimsoll.pipelines.step import StepOptions
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Request
from plimsoll.records.run import LogArtifact, PointColumns
from plimsoll.store.blobs import LocalBlobs

#: Variables that tell of the machine and not of the work: on another machine its own are right.
_OF_THE_MACHINE = ("HOME", "HOSTNAME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONPATH", "TMPDIR", "USER")

#: Seconds between two looks whether the call was cancelled.
_LOOK = 0.2

#: Variable by which Ray assigns processors of graphics to a call.
_DEVICES = "CUDA_VISIBLE_DEVICES"


def machine() -> str:
    """Return what tells this machine, and the Python that is installed on it, from another."""
    with contextlib.suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {platform.node()} {sys.prefix}"
    return f"{platform.node()} {sys.prefix}"


def work_on_node(
    message: bytes, label: str, limits: bytes, origin: str, probe: str, carried: Mapping[str, Sequence[Any]] | None, sources: Sequence[Any]
) -> Iterator[bytes]:
    """Do a call and yield what it says, each as msgpack.

    ``began`` comes first. ``apart`` says that this node does not see the driver's blobs and was given no bytes, and ends
    it. Otherwise what the step logs follows, and then ``ran`` or ``error``. A node that is apart yields the ``part``\\ s of
    each file before what names it, each file's end marked by its digest as ``file``.

    Args:
        message: the task, as :func:`plimsoll.pipelines.executors.task.task_of` made it, with the digests of its ``paths``.
        label: the step's short name.
        limits: its options.
        origin: the driver's :func:`machine`.
        probe: digest of a blob that only the driver's folder has; empty when no folder is to be shared.
        carried: digest of each blob that the call needs -> its parts in Ray's object store; None when none was sent.
        sources: the project's files in Ray's object store; empty when they were not sent.
    """
    task = codec.from_msgpack(message, dict[str, Any], "The step's task")
    yield codec.to_msgpack({"began": True})
    apart = not _sees(Path(task["blobs"]), probe)
    if apart and carried is None:
        yield codec.to_msgpack({"apart": True})
        return
    # A name that the trace counts: what lies in Plimsoll's own temporary folders does not.
    with tempfile.TemporaryDirectory(prefix="node-of-plimsoll-") as made:
        options = codec.from_msgpack(limits, StepOptions, "The step's options")
        known = _fetch(task, Path(made), carried, sources) if apart and carried is not None else None
        # On the driver's own machine only the folder that relative paths begin at may be another one.
        doubted = {path: digest for path, digest in task["paths"].items() if machine() != origin or (apart and not os.path.isabs(path))}
        other = _other(doubted, task["folder"])
        if other is not None:
            error = Unsuitable(f"{other} is not the same on its node", "Put it on a disk that all nodes share, or let a step give it.")
            yield codec.to_msgpack({"error": errors.to_wire(error)})
            return
        _settle(task, origin, apart, options)
        for said in _said(codec.to_msgpack(task), label, options):
            if known is not None:
                yield from _files(said, LocalBlobs(Path(task["blobs"])), known)
            yield codec.to_msgpack(said)


def _sees(folder: Path, probe: str) -> bool:
    return bool(probe) and folder.is_dir() and LocalBlobs(folder).has(probe)


def _other(paths: Mapping[str, str], folder: str) -> str | None:
    """Return a path whose content here is not what it is on the driver's machine, or None."""
    contents = Contents()
    return next((path for path, digest in paths.items() if held(os.path.join(folder, path), contents) != digest), None)


def _fetch(task: dict[str, Any], folder: Path, carried: Mapping[str, Sequence[Any]], sources: Sequence[Any]) -> set[str]:
    """Write blobs and project to a folder of the node, let the task name that, and return the digests that the driver has."""
    ray = extras.require("ray")
    blobs = LocalBlobs(folder / "blobs")
    for digest, parts in carried.items():
        receive(blobs, digest, (ray.get(part) for part in parts))
    project = folder / Path(task["project"]).name
    unpack(ray.get(sources[0]), project)
    there = Path(task["folder"])
    here = project / there.relative_to(task["project"]) if there.is_relative_to(task["project"]) else project
    here.mkdir(parents=True, exist_ok=True)
    task.update(blobs=str(blobs.folder), project=str(project), folder=str(here))
    given = [codec.convert(output, Output, "The step's input").digest for output in task["inputs"].values()]
    return {*given, *(entry.digest for digest in given for entry in get_manifest(blobs, digest).files)}


def _settle(task: dict[str, Any], origin: str, apart: bool, options: StepOptions) -> None:
    """Give the step's process this machine's surroundings where the driver's are of no use."""
    driver = {os.fsdecode(name): os.fsdecode(value) for name, value in task["environment"]}
    names: tuple[str, ...] = (_DEVICES,) if options.gpu else ()
    if machine() != origin:
        names = (*names, *_OF_THE_MACHINE)
        task["path"] = import_path(Path(task["project"]))
    elif apart:
        task["path"] = [task["project"], *task["path"][1:]]
    own = {name: os.environ[name] for name in names if name in os.environ}
    task["environment"] = encoded_environment({name: value for name, value in driver.items() if name not in names} | own)


def _said(task: bytes, label: str, options: StepOptions) -> Iterator[dict[str, Any]]:
    """Yield what the step's process says while it runs, and its end."""
    told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    process = Fresh.begin(dict(os.environ))

    def heard(logged: PointColumns | Request[Any]) -> None:
        if isinstance(logged, PointColumns):
            told.put({"points": codec.plain(logged)})
        else:
            told.put({"do": type(logged).__name__, "request": codec.plain(logged)})

    def watch() -> None:
        try:
            told.put({"ran": codec.plain(Watch(process, label, options, heard).result(task))})
        except PlimsollError as error:
            told.put({"error": errors.to_wire(error)})
        except Exception as defect:
            told.put({"error": errors.to_wire(StepFailed(f"The step's node failed: {type(defect).__name__}: {defect}"))})

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        ended = False
        while not ended:
            try:
                # Ray's cancellation is raised between two instructions, and a wait without an end has none.
                said = told.get(timeout=_LOOK)
            except queue.Empty:
                continue
            ended = "ran" in said or "error" in said
            yield said
    finally:
        process.kill()
        watching.join()
        end(process)


def _files(said: dict[str, Any], blobs: LocalBlobs, known: set[str]) -> Iterator[bytes]:
    """Yield the files that a message names and that the driver may not have, a manifest after its files."""
    digest = ""
    if "ran" in said:
        digest = codec.convert(said["ran"], Ran, "What the step gave").output.digest
    elif said.get("do") == LogArtifact.__name__:
        digest = codec.convert(said["request"], LogArtifact, "An artifact").digest
    if not digest:
        return
    for needed in (*(entry.digest for entry in get_manifest(blobs, digest).files), digest):
        if needed in known:
            continue
        for part in parts_of(blobs, needed):
            yield codec.to_msgpack({"part": part})
        yield codec.to_msgpack({"file": needed})
        known.add(needed)
