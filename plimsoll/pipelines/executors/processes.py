"""Calls of steps in processes of their own: the default."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from plimsoll import codec
from plimsoll.data.snapshot import get_manifest
from plimsoll.data.trace.files.places import OWN
from plimsoll.errors import Corrupt, NotFound, PlimsollError, StepFailed
from plimsoll.pipelines.executors.call import Call, Ran
from plimsoll.pipelines.executors.task import environment, import_path, share, task_of
from plimsoll.pipelines.executors.warm import Forked, Warm
from plimsoll.pipelines.executors.watch import Watch
from plimsoll.pipelines.loop.late import remembered_by
from plimsoll.pipelines.loop.room import this_machine
from plimsoll.records.request import Request
from plimsoll.records.run import LogArtifact, PointColumns
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Blobs


class Processes:
    """Runs each call in a process of its own, at most so many at once.

    Where it can, the process is forked from one that has imported the installed packages (:mod:`plimsoll.pipelines.executors.warm`);
    elsewhere it is a fresh ``python -m plimsoll.pipelines.executors.step_process``. The project's code is read anew either way.
    A process dies with whoever began it: with :meth:`close`, and when this process is killed. Its blobs are a folder of this
    machine. Blobs that are elsewhere are copied to a temporary folder and back, for the calls that really run.

    Args:
        blobs: where outputs are.
        project: folder of the project, from which steps are imported.
        at_once: processes at the same time; None takes the number of processors.
        functions: steps that may run, as far as known; what their modules use is imported once for all of them.
    """

    def __init__(self, blobs: Blobs, project: Path, at_once: int | None = None, functions: Iterable[Callable[..., Any]] = ()) -> None:
        self._blobs = blobs
        self._project = project
        self.room = this_machine(at_once)
        self._stage = None if isinstance(blobs, LocalBlobs) else tempfile.TemporaryDirectory(prefix=f"{OWN}stage-")
        self._local = blobs if isinstance(blobs, LocalBlobs) else LocalBlobs(Path(self._stage.name if self._stage else ""))
        self._threads = ThreadPoolExecutor(at_once or os.cpu_count() or 1, thread_name_prefix="plimsoll-step")
        self._lock = threading.Lock()
        self._running: set[_Process] = set()
        self._closed = False
        self._warm = Warm(functions, import_path(project))

    def submit(self, call: Call) -> Future[Ran]:
        """Begin a call and return the future of what it gives.

        Args:
            call: what to run.
        """
        try:
            task = codec.to_msgpack(task_of(call, self._local, self._project, remembered_by(self._blobs)))
        except PlimsollError as error:
            refused: Future[Ran] = Future()
            refused.set_exception(error)
            return refused
        supervise = self._supervise if self._stage is None else self._supervise_staged
        return self._threads.submit(supervise, call, task)

    def close(self) -> None:
        """Kill every process that still runs, with its children, and wait for the threads that watch them."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()
        self._warm.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        # Again: a thread that had passed the check above may just have begun it.
        self._warm.kill()
        if self._stage is not None:
            self._stage.cleanup()

    def _supervise_staged(self, call: Call, spec: bytes) -> Ran:
        for index, output in call.inputs.items():
            try:
                _copy(output.digest, self._blobs, self._local)
            except (Corrupt, NotFound) as error:
                raise Corrupt(error.fact, error.remedy, input=index) from error

        def heard(logged: PointColumns | Request[Any]) -> None:
            if isinstance(logged, LogArtifact):
                _copy(logged.digest, self._local, self._blobs)
            call.heard(logged)

        ran = self._supervise(replace(call, heard=heard), spec)
        _copy(ran.output.digest, self._local, self._blobs)
        return ran

    def _supervise(self, call: Call, spec: bytes) -> Ran:
        process = self._begin(call)
        try:
            return Watch(process, call.node.label, call.node.step.options, call.heard).result(spec)
        finally:
            end(process)
            with self._lock:
                self._running.discard(process)

    def _begin(self, call: Call) -> _Process:
        process: _Process | None = None if self._closed else self._warm.fork(environment(None))
        with self._lock:
            if not self._closed:
                process = process or Fresh.begin(environment(share(call.beside)))
                self._running.add(process)
                return process
        if process is not None:
            process.kill()
        raise StepFailed(f"{call.node.label} was not begun, because the run is ending.")


class Fresh(subprocess.Popen[bytes]):
    """A fresh interpreter."""

    @classmethod
    def begin(cls, variables: dict[str, str]) -> Fresh:
        """Start one that waits for its task.

        Args:
            variables: its environment.
        """
        return cls(
            [sys.executable, "-P", "-m", "plimsoll.pipelines.executors.step_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=variables,
        )

    def kill(self) -> None:
        """Kill it with everything it began."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


_Process = Fresh | Forked


def end(process: _Process) -> None:
    """Kill a step's process with everything it began, and give back its pipes.

    Args:
        process: one that runs or has ended.
    """
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _copy(digest: str, source: Blobs, target: Blobs) -> None:
    """Copy an output from one place to another, its manifest last."""
    with tempfile.TemporaryDirectory(prefix=f"{OWN}copy-") as folder:
        for entry in get_manifest(source, digest).files:
            if not target.has(entry.digest):
                source.get_file(entry.digest, Path(folder, entry.digest))
                target.put_file(Path(folder, entry.digest))
    target.put(source.get(digest))
