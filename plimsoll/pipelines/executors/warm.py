"""A process that has imported what a run's steps need and forks one child for each call: ``python -m plimsoll.pipelines.executors.warm``.

Importing scikit-learn takes a second; forking a process that has imported it takes milliseconds. What is kept warm is
only what stays the same during a run: the standard library and installed packages. The project's own code is never
imported here, so every step reads it anew.

A fork copies one thread only, and locks that other threads held stay locked for ever. So this process must have a single
thread when it forks; it counts them each time, and where it finds more the call gets a fresh interpreter instead. For the
same reason polars, which starts a thread when it is imported, is left to the children, and nothing is computed here.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import os
import select
import signal
import site
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from plimsoll import codec
from plimsoll.forking import THREADLESS, alone, differ

#: What a step's process begins with; it imports neither polars nor anything that starts threads.
_OURS = "plimsoll.pipelines.executors.step_process"

#: Packages that start a thread when they are imported.
_LEFT_OUT = {"polars", "_polars_runtime_32", "_polars_runtime_64", "_polars_runtime_compat"}

#: Seconds for which the imports may take; after that calls get fresh interpreters.
_PATIENCE = 120.0


class Forked:
    """One forked child, with as much of ``subprocess.Popen`` as its watcher needs.

    Args:
        pid: its process id, which is its group's as well.
        task: write end of its task.
        answer: read end of its answers.
        status: read end of the pipe on which its exit status comes.
    """

    def __init__(self, pid: int, task: int, answer: int, status: int) -> None:
        self.pid = pid
        self.stdin = os.fdopen(task, "wb", 0)
        self.stdout = os.fdopen(answer, "rb", 0)
        self._status = status
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, negative for a signal, once the child and its group are gone.

        Args:
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        if self._code is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("step", timeout or 0.0)
            data = _exactly(self._status, 4)
            if data is None:
                # Its parent was killed, so nobody will say how it ends.
                self._end()
            self._code = -signal.SIGKILL if data is None else int.from_bytes(data, "big", signed=True)
            os.close(self._status)
        return self._code

    def kill(self) -> None:
        """Kill the child with everything it began; nothing happens when it has ended."""
        try:
            self.wait(0)
        except subprocess.TimeoutExpired:
            self._end()

    def _end(self) -> None:
        # A child that was forked this moment has no group of its own yet, and nothing that it began.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)
                return


class Warm:
    """The other end: starts the warm process when it is first needed and asks it for children. Threads may share it.

    Args:
        functions: steps that will run, whose modules say what to import.
        path: ``sys.path`` of the steps.
    """

    def __init__(self, functions: Iterable[Callable[..., Any]], path: list[str]) -> None:
        self._functions = tuple(functions)
        self._path = path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._fit = sys.platform == "linux" and hasattr(os, "pidfd_open") and Path("/proc/self/task").is_dir()

    def fork(self, environment: dict[str, str]) -> Forked | None:
        """Return a child that waits for its task, or None where a fresh interpreter must be taken.

        Args:
            environment: what the warm process is begun with.
        """
        with self._lock:
            if self._fit and self._process is None:
                self._fit = self._begin(environment)
            if not self._fit or self._socket is None:
                return None
            task_read, task = os.pipe()
            answer, answer_write = os.pipe()
            status, status_write = os.pipe()
            given = [task_read, answer_write, status_write]
            try:
                socket.send_fds(self._socket, [b"c"], given)
            except OSError:
                self._fit = False
            finally:
                for handle in given:
                    os.close(handle)
            pid = int.from_bytes(_exactly(status, 4) or b"", "big") if self._fit else 0
            if pid:
                return Forked(pid, task, answer, status)
            self._fit = False
            for handle in (task, answer, status):
                os.close(handle)
            return None

    def kill(self) -> None:
        """End the warm process at once, also while it imports."""
        self._fit = False
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._socket is not None:
            self._socket.close()

    def _begin(self, environment: dict[str, str]) -> bool:
        """Start the warm process and return whether it can fork; None of its failures is the step's."""
        self._socket, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "plimsoll.pipelines.executors.warm", str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,
                start_new_session=True,
                pass_fds=(other.fileno(),),
                env={**THREADLESS, **environment},
            )
        task = codec.to_msgpack({"path": self._path, "modules": [_OURS, *reached(self._functions)]})
        self._socket.settimeout(_PATIENCE)
        try:
            self._socket.sendall(len(task).to_bytes(8, "big") + task)
            fit = self._socket.recv(1) == b"1"
            self._socket.settimeout(None)
        except OSError:
            return False
        return fit


def reached(functions: Iterable[Callable[..., Any]]) -> tuple[str, ...]:
    """Return the installed modules that the modules of functions name, themselves or through the project's other modules.

    What Plimsoll's own name is left out: the process that begins the run has many that no step needs, such as SQLAlchemy.

    Args:
        functions: steps.
    """
    roots = [function.__module__ for function in functions if function.__module__]
    seen, found, waiting = set(roots), dict[str, None](), list(roots)
    while waiting:
        module = sys.modules.get(waiting.pop())
        for name in _named(module) if module is not None else ():
            other = sys.modules.get(name)
            if name in seen or other is None or name.partition(".")[0] == "plimsoll":
                continue
            seen.add(name)
            if not _installed(other):
                waiting.append(name)
            elif name.partition(".")[0] not in _LEFT_OUT:
                found[name] = None
    return tuple(found)


def _named(module: ModuleType) -> Iterator[str]:
    yield from _written(module)
    for value in list(vars(module).values()):
        try:
            name = value.__name__ if isinstance(value, ModuleType) else value.__module__
        except Exception:  # whatever an object of the user's makes of an attribute it lacks
            continue
        if isinstance(name, str):
            yield name


def _written(module: ModuleType) -> Iterator[str]:
    """Yield the absolute names in a module's import statements; ``import scipy.stats`` leaves only ``scipy`` among its names."""
    try:
        tree = ast.parse(Path(getattr(module, "__file__", None) or "").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # a notebook, or edited since; what it holds is found among its names
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _installed(module: ModuleType) -> bool:
    """Return whether a module cannot change during a run: the standard library, or a package in a folder for packages."""
    top = module.__name__.partition(".")[0]
    # A part of a compiled package has no file; its package has.
    file = getattr(module, "__file__", None) or getattr(sys.modules.get(top), "__file__", None)
    if file is None:
        return top in sys.stdlib_module_names
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {site.getusersitepackages()}
    return any(Path(file).is_relative_to(folder) for folder in folders)


def _serve(control: socket.socket) -> tuple[int, int] | None:
    """Fork children until the other end is gone; return in each child, with its task and answer, and here with None."""
    #: Handle that becomes readable when a child ends -> its process id and where its status is awaited.
    children: dict[int, tuple[int, int]] = {}
    while True:
        watched: list[Any] = [control, *children]
        for handle in select.select(watched, [], [])[0]:
            if handle is not control:
                _collect(*children.pop(handle))
                os.close(handle)
                continue
            data, (*given,), _, _ = socket.recv_fds(control, 1, 3)
            if not data:
                return None
            task, answer, status = given
            if len(os.listdir("/proc/self/task")) != 1:
                for unused in given:
                    os.close(unused)
                continue
            pid = os.fork()
            if pid == 0:
                os.setsid()
                control.close()
                for other in (status, *children, *(awaited for _, awaited in children.values())):
                    os.close(other)
                for kept in (task, answer):
                    os.set_inheritable(kept, False)
                return task, answer
            os.close(task)
            os.close(answer)
            children[os.pidfd_open(pid)] = pid, status
            os.write(status, pid.to_bytes(4, "big"))


def _collect(pid: int, status: int) -> None:
    # What the child left behind goes before its process id may belong to another.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(status, code.to_bytes(4, "big", signed=True))
    os.close(status)


def _exactly(handle: int, size: int) -> bytes | None:
    """Return so many bytes, or None when the other end closes before."""
    data = b""
    while len(data) < size:
        block = os.read(handle, size - len(data))
        if not block:
            return None
        data += block
    return data


def main() -> None:
    """Import what the other end names, then fork a child whenever it asks."""
    control = socket.socket(fileno=int(sys.argv[1]))
    size = _exactly(control.fileno(), 8)
    data = _exactly(control.fileno(), int.from_bytes(size, "big")) if size else None
    if data is None:
        return
    task = codec.from_msgpack(data, dict[str, Any], "What to import")
    sys.path[:] = task["path"]
    for name in task["modules"]:
        # A step that needs it will fail in its own process and say so.
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(name)
    # Named, not imported above: whoever starts this process has no need of it.
    importlib.import_module("plimsoll.data.trace.recording").prepare()
    gc.collect()
    gc.freeze()
    try:
        control.sendall(b"1" if alone() else b"0")
    except OSError:
        return  # whoever asked was killed
    given = _serve(control)
    if given is not None:
        differ()
        importlib.import_module(_OURS).work(*given)


if __name__ == "__main__":
    main()
