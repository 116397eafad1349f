"""The process of one call of a step: forked by ``warm``, or ``python -m plimsoll.pipelines.executors.step_process``.

It reads its task from stdin (8 bytes of length, then msgpack) and answers in frames on stdout (4 bytes of length, then
msgpack). What the step prints goes to stderr, so that it cannot garble the answer. Stdin stays open: its end says that
the process which began this one is gone, and then this one ends too.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plimsoll import codec, errors
from plimsoll.data import exact, values
from plimsoll.data.trace.recording import Recorder
from plimsoll.errors import PlimsollError, StepFailed, Unfingerprintable
from plimsoll.pipelines.executors.call import Ran, changeable, load_input, perform
from plimsoll.pipelines.keys import code_parts, digest_parts
from plimsoll.pipelines.step import step_of
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Request
from plimsoll.records.run import PointColumns
from plimsoll.runs.logger import RunLogger
from plimsoll.store.blobs import LocalBlobs

Send = Callable[[dict[str, Any]], None]


def main() -> None:
    """Do the one call that stdin describes."""
    # Both channels move away from 0 and 1 before any of the user's code is imported.
    answer = os.dup(1)
    os.dup2(2, 1)
    task = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    work(task, answer)


def work(task: int, answer: int) -> None:
    """Read a task, do it and answer.

    Args:
        task: handle to read the task from.
        answer: handle to write the frames to.
    """
    send = _sender(answer)
    spec = codec.from_msgpack(_read(task, int.from_bytes(_read(task, 8), "big")), dict[str, Any], "The step's task")
    threading.Thread(target=_end_with_parent, args=(task,), daemon=True).start()
    if spec["polars"]:
        # Before the environment is taken over, because it adds to a variable whenever it is imported.
        importlib.import_module("polars")
    _settle(spec)
    try:
        function = _function(spec)
        if isinstance(function, str):
            send({"unsuitable": function})
            return
        send({"ran": codec.plain(_call(function, spec, send))})
    except PlimsollError as error:
        send({"error": errors.to_wire(error)})
    except Exception as defect:
        # The user's code has its own net in `perform`; what arrives here is ours.
        send({"error": errors.to_wire(StepFailed(f"The step's process failed: {type(defect).__name__}: {defect}"))})
        raise


def _settle(spec: dict[str, Any]) -> None:
    """Take over what the process that began the run has by now: its folder, its environment and its share of processors."""
    sys.path[:] = spec["path"]
    sys.argv[1:] = [os.fsdecode(each) for each in spec["arguments"]]
    with contextlib.suppress(OSError):
        os.chdir(spec["folder"])
    wanted = {os.fsdecode(name): os.fsdecode(text) for name, text in spec["environment"]}
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)
    limits = sys.modules.get("threadpoolctl")
    if limits is not None and spec["threads"] is not None:
        # Libraries that were loaded before the fork read the environment then.
        limits.threadpool_limits(spec["threads"])


def _function(spec: dict[str, Any]) -> Callable[..., Any] | str:
    """Return the step's function, or why it must not run here."""
    try:
        found = _imported(spec["module"], spec["qualname"])
    except (Exception, SystemExit) as error:  # whatever importing the user's module raises
        return f"a fresh process cannot import {spec['module']}.{spec['qualname']} ({type(error).__name__}: {error})"
    step = step_of(found)
    function: Callable[..., Any] = found if step is None else step.function
    if spec["code"]:
        try:
            same = digest_parts(code_parts(function)) == spec["code"]
        except Unfingerprintable:
            same = False
        if not same:
            return "its code in a fresh process differs from the code that the run began with"
    return function


def _imported(module: str, qualname: str) -> Any:
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found


def _call(function: Callable[..., Any], spec: dict[str, Any], send: Send) -> Ran:
    blobs, project = LocalBlobs(Path(spec["blobs"])), Path(spec["project"])
    outputs = {int(index): codec.convert(output, Output, "The step's input") for index, output in spec["inputs"].items()}
    loaded = {index: load_input(index, output, blobs, index in spec["trusted"], project) for index, output in outputs.items()}

    def log(logged: PointColumns | Request[Any]) -> None:
        if isinstance(logged, PointColumns):
            send({"points": codec.plain(logged)})
        else:
            send({"do": type(logged).__name__, "request": codec.plain(logged)})

    def value(node: list[Any]) -> Any:
        kind, *rest = node
        if kind == "input":
            return loaded[rest[0]]
        if kind == "path":
            return Path(rest[0])
        if kind == "value":
            return exact.decode(rest[0], _no_files)
        if kind == "output":
            # Whoever began the run has just stored it from a value of its own.
            return values.load(codec.convert(rest[0], Output, "The step's argument"), blobs, trusted=True)
        if kind == "member":
            return _imported(*rest[0])[rest[1]]
        if kind == "object":
            made = object.__new__(_imported(*rest[0]))
            for name, part in zip(rest[1], rest[2], strict=True):
                object.__setattr__(made, name, value(part))  # a frozen one lets nobody else
            return made
        items = [value(item) for item in rest[1]]
        if kind == "named":
            return _imported(*rest[0])._make(items)
        if kind == "dict":
            return dict(zip((value(key) for key in rest[0]), items, strict=True))
        return tuple(items) if kind == "tuple" else items

    logger = RunLogger(spec["run_id"], log, lambda kept: values.save(kept, blobs, project))
    args = [value(node) for node in spec["args"]]
    kwargs = {name: value(node) for name, node in spec["kwargs"].items()}
    remembered = Path(spec["remembered"]) if spec["remembered"] else None
    recorder = Recorder(project, [blobs.folder], spec["changed"], alone=True, remembered=remembered)
    recording = recorder.recording(function, spec["known"], spec["seed"], spec["variables"], [*args, *kwargs.values()])
    shared = changeable({int(index): name for index, name in spec["shared"].items()}, outputs, loaded)
    return perform(function, args, kwargs, logger, blobs, project, recording, spec["variables"], shared)


def _no_files(node: list[Any]) -> Any:
    raise ValueError(f"an argument names a file: {node!r}")


def _sender(handle: int) -> Send:
    # Processes that the step forks send as well. Each has a lock for its threads, since another one's may be held for ever, and all of
    # them take turns by a file: its lock is a process's own and goes with the process.
    locks = {os.getpid(): threading.Lock()}
    turns = _nameless_file()

    def send(message: dict[str, Any]) -> None:
        data = codec.to_msgpack(message)
        view = memoryview(len(data).to_bytes(4, "big") + data)
        with locks.setdefault(os.getpid(), threading.Lock()):
            fcntl.lockf(turns, fcntl.LOCK_EX)
            try:
                while view:
                    view = view[os.write(handle, view) :]
            finally:
                fcntl.lockf(turns, fcntl.LOCK_UN)

    return send


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("turns")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _read(handle: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        block = os.read(handle, size - len(data))
        if not block:
            raise SystemExit(1)
        data += block
    return data


def _end_with_parent(handle: int) -> None:
    while os.read(handle, 1):
        pass
    # The whole group: what the step began must not outlive it either.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
