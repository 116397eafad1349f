"""Where the calls of steps run: each in a process of its own (the default), or in this process.

An executor takes a :class:`Call` and gives a future of its output. It never looks at the cache and never calls back into
the engine, except to hand over what the step logs. Every executor does the same: load the inputs (verified), call the
function, store what it returns.
"""

from __future__ import annotations

import contextlib
import copy
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from plimsoll import clock, codec, errors
from plimsoll.data import exact, values
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Corrupt, NotFound, PlimsollError, Refused, StepFailed, Unfingerprintable
from plimsoll.pipelines.plan import Argument, Literal, Node, Reference, resolve
from plimsoll.pipelines.warm import Forked, Warm
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Request
from plimsoll.records.run import LogArtifact, LogInput, PointColumns, SetTags
from plimsoll.runs.logger import StepLogger, current
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Blobs

#: What a step's process may ask to be done for its run.
LOGGED: Mapping[str, type[Request[Any]]] = {cls.__name__: cls for cls in (SetTags, LogArtifact, LogInput)}

#: Seconds that a step's process may take to end after it has given its result.
_GRACE = 10.0

#: Seconds between two looks at a process whose memory is limited.
_LOOK = 0.1


class Unsuitable(Refused):
    """This executor cannot run the call; another one may. The fact says why."""

    code = "unsuitable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One try of one call of a step."""

    #: The call.
    node: Node
    #: Outputs of the nodes that it takes, by their position.
    inputs: dict[int, Output]
    #: Digest of the code that the key was made of; empty when the code could not be seen.
    code: str
    #: The run.
    run_id: str
    #: Takes what the step logs; called from any thread.
    heard: Callable[[PointColumns | Request[Any]], None]
    #: Positions of the inputs whose packed code may run, although it is not the project's own any more.
    trusted: frozenset[int] = frozenset()
    #: Calls of the plan that may run at the same time, this one included; they share the processors.
    beside: int = 1


class Executor(Protocol):
    """Runs calls of steps."""

    def submit(self, call: Call) -> Future[Output]:
        """Begin a call and return the future of its stored output.

        The future raises ``StepFailed`` when the step fails (``details["traceback"]``), ``Corrupt`` with ``details["input"]``
        when the output of that position cannot be read, and ``Unsuitable`` when the call cannot run here.
        """
        ...

    def close(self) -> None:
        """Kill whatever still runs, and give back what was held."""
        ...


class InProcess:
    """Runs each call at once in the thread that submits it. It cannot stop a step, so timeout and memory are not enforced.

    Args:
        blobs: where outputs are.
        project: folder of the project.
    """

    def __init__(self, blobs: Blobs, project: Path) -> None:
        self._blobs = blobs
        self.project = project

    def submit(self, call: Call) -> Future[Output]:
        """Run a call to its end and return its future.

        Args:
            call: what to run.
        """
        future: Future[Output] = Future()
        try:
            loaded = {
                index: load_input(index, output, self._blobs, index in call.trusted, self.project) for index, output in call.inputs.items()
            }
            args, kwargs = _plain_arguments(call.node, loaded)
            logger = StepLogger(call.run_id, call.heard, lambda value: values.save(value, self._blobs, self.project))
            future.set_result(perform(call.node.step.function, args, kwargs, logger, self._blobs, self.project))
        except PlimsollError as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Nothing is held."""


class Processes:
    """Runs each call in a process of its own, at most so many at once.

    Where it can, the process is forked from one that has imported the installed packages (:mod:`plimsoll.pipelines.warm`);
    elsewhere it is a fresh ``python -m plimsoll.pipelines.step_process``. The project's code is read anew either way.
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
        self._stage = None if isinstance(blobs, LocalBlobs) else tempfile.TemporaryDirectory(prefix="plimsoll-stage-")
        self._local = blobs if isinstance(blobs, LocalBlobs) else LocalBlobs(Path(self._stage.name if self._stage else ""))
        self._threads = ThreadPoolExecutor(at_once or os.cpu_count() or 1, thread_name_prefix="plimsoll-step")
        self._lock = threading.Lock()
        self._running: set[_Process] = set()
        self._closed = False
        self._warm = Warm(functions, self._path())

    def submit(self, call: Call) -> Future[Output]:
        """Begin a call and return the future of its stored output.

        Args:
            call: what to run.
        """
        try:
            module, qualname = reference(call.node.step.function)
            threads = share(call.beside)
            spec = {
                "path": self._path(),
                "folder": os.getcwd(),
                "environment": [[os.fsencode(text) for text in item] for item in environment(threads).items()],
                "threads": None if "OMP_NUM_THREADS" in os.environ else threads,
                "project": str(self._project),
                "blobs": str(self._local.folder),
                "module": module,
                "qualname": qualname,
                "code": call.code,
                "run_id": call.run_id,
                "inputs": {str(index): codec.plain(output) for index, output in call.inputs.items()},
                "trusted": sorted(call.trusted),
                "args": [self._encoded(argument) for argument in call.node.args],
                "kwargs": {name: self._encoded(argument) for name, argument in call.node.kwargs.items()},
            }
            task = codec.to_msgpack(spec)
        except PlimsollError as error:
            refused: Future[Output] = Future()
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

    def _path(self) -> list[str]:
        return [str(self._project), *(entry for entry in sys.path if entry != str(self._project))]

    def _encoded(self, argument: Argument) -> list[Any]:
        if isinstance(argument, Reference):
            return ["input", argument.index]
        if not isinstance(argument, Literal):
            keys = [self._encoded(Literal(key)) for key in argument.keys]
            return [argument.kind, keys, [self._encoded(item) for item in argument.items]]
        value = argument.value
        if isinstance(value, Path):
            return ["path", str(value)]
        # Frames and arrays are files, not messages.
        with contextlib.suppress(Unfingerprintable):
            return ["value", exact.encode(value, lambda inner: None)]
        try:
            return ["output", codec.plain(values.save(value, self._local, self._project))]
        except PlimsollError as error:
            raise Unsuitable(f"an argument cannot be sent to another process: {error.fact}", error.remedy) from error

    def _supervise_staged(self, call: Call, spec: bytes) -> Output:
        for index, output in call.inputs.items():
            try:
                _copy(output.digest, self._blobs, self._local)
            except (Corrupt, NotFound) as error:
                raise Corrupt(error.fact, error.remedy, input=index) from error

        def heard(logged: PointColumns | Request[Any]) -> None:
            if isinstance(logged, LogArtifact):
                _copy(logged.digest, self._local, self._blobs)
            call.heard(logged)

        output = self._supervise(replace(call, heard=heard), spec)
        _copy(output.digest, self._local, self._blobs)
        return output

    def _supervise(self, call: Call, spec: bytes) -> Output:
        process = self._begin(call)
        try:
            return _Watch(process, call).result(spec)
        finally:
            process.kill()
            process.wait()
            with self._lock:
                self._running.discard(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _begin(self, call: Call) -> _Process:
        process: _Process | None = None if self._closed else self._warm.fork(environment(None))
        with self._lock:
            if not self._closed:
                process = process or _Fresh(
                    [sys.executable, "-P", "-m", "plimsoll.pipelines.step_process"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                    env=environment(share(call.beside)),
                )
                self._running.add(process)
                return process
        if process is not None:
            process.kill()
        raise StepFailed(f"{call.node.label} was not begun, because the run is ending.")


class _Fresh(subprocess.Popen[bytes]):
    """A fresh interpreter."""

    def kill(self) -> None:
        """Kill it with everything it began."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


_Process = _Fresh | Forked


class _Watch:
    """Reads what a step's process says until it ends, and ends it when it takes too much."""

    def __init__(self, process: _Process, call: Call) -> None:
        self._process = process
        self._call = call
        self._options = call.node.step.options
        self._buffer = bytearray()
        self._answer: dict[str, Any] | None = None
        self._stopped = ""

    def result(self, spec: bytes) -> Output:
        assert self._process.stdin is not None
        # A process that died before it read its task breaks the pipe; its exit status says how.
        with contextlib.suppress(BrokenPipeError):
            # Past the buffer, since the pipe stays open: its end tells the step that this process is gone.
            _write_all(self._process.stdin.fileno(), len(spec).to_bytes(8, "big") + spec)
        self._read()
        try:
            status = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            status = 0  # it has answered and only lingers; whoever called us kills it
        return self._judge(status)

    def _read(self) -> None:
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        deadline = None if self._options.timeout is None else clock.monotonic() + self._options.timeout
        with selectors.DefaultSelector() as selector:
            selector.register(handle, selectors.EVENT_READ)
            while True:
                if selector.select(self._pause(deadline)):
                    data = os.read(handle, 1 << 16)
                    if not data:
                        return
                    self._take(data)
                if not self._stopped and self._answer is None:
                    self._stopped = self._excess(deadline)
                    if self._stopped:
                        self._process.kill()

    def _pause(self, deadline: float | None) -> float | None:
        left = None if deadline is None or self._stopped else max(0.0, deadline - clock.monotonic())
        if self._options.memory is None:
            return left
        return _LOOK if left is None else min(left, _LOOK)

    def _excess(self, deadline: float | None) -> str:
        if deadline is not None and clock.monotonic() >= deadline:
            return f"took longer than its timeout of {self._options.timeout:g} s"
        limit = self._options.memory
        used = 0 if limit is None else _resident(self._process.pid)
        if limit is not None and used > limit:
            return f"used {used / 1e6:,.0f} MB of memory, more than the {limit / 1e6:,.0f} MB it may"
        return ""

    def _take(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if len(self._buffer) < 4 + size:
                return
            message = codec.from_msgpack(bytes(self._buffer[4 : 4 + size]), dict[str, Any], "The step's message")
            del self._buffer[: 4 + size]
            if "points" in message:
                self._call.heard(codec.convert(message["points"], PointColumns, "The step's points"))
            elif "do" in message:
                self._call.heard(codec.convert(message["request"], LOGGED[message["do"]], "The step's request"))
            else:
                self._answer = message

    def _judge(self, status: int) -> Output:
        label = self._call.node.label
        if self._answer is not None:
            if "output" in self._answer:
                return codec.convert(self._answer["output"], Output, "The step's output")
            if "unsuitable" in self._answer:
                raise Unsuitable(self._answer["unsuitable"])
            raise errors.from_wire(self._answer["error"])
        if self._stopped:
            raise StepFailed(f"{label} {self._stopped} and was stopped.", "Raise the limit in @step(...), or let the step do less.")
        if status < 0:
            name = signal.Signals(-status).name if -status in {item.value for item in signal.Signals} else "a signal"
            remedy = "The machine may have run out of memory: look at the kernel's log." if -status == signal.SIGKILL else ""
            raise StepFailed(f"{label} was killed by {name} (signal {-status}).", remedy, signal=-status)
        raise StepFailed(f"{label} ended its process with exit code {status} and gave no result.", "Let the step return or raise instead.")


def perform(
    function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], logger: StepLogger, blobs: Blobs, project: Path
) -> Output:
    """Call a step's function with its run as the current one, and store what it returns.

    Args:
        function: the user's own function.
        args: positional arguments.
        kwargs: keyword arguments.
        logger: the current run for the time of the call.
        blobs: where to.
        project: folder of the project.

    Raises:
        StepFailed: it raised, or returned what cannot be stored; ``details["traceback"]`` is the user's traceback.
    """
    token = current.set(logger)
    try:
        value = function(*args, **kwargs)
    except (Exception, SystemExit) as error:
        # The first frame is this function, which tells the user nothing.
        inner = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, inner))
        raise StepFailed(f"{type(error).__name__}: {error}", traceback=text) from error
    finally:
        current.reset(token)
    try:
        return values.save(value, blobs, project)
    except (Unfingerprintable, errors.InvalidInput) as error:
        fact = f"What {function.__qualname__} returned cannot be stored: {error.fact}"
        raise StepFailed(fact, error.remedy, traceback=f"{fact}\n{error.remedy}\n") from error


def load_input(index: int, output: Output, blobs: Blobs, trusted: bool = False, project: Path | None = None) -> Any:
    """Return the value of an earlier step's output, verified.

    Args:
        index: position of the step that gave it.
        output: what it gave.
        blobs: where from.
        trusted: code that a model packs may run.
        project: folder of the project, whose own code may run in any case.

    Raises:
        Untrusted: a model packs other code.
        Corrupt: it is damaged or gone; ``details["input"]`` is ``index``.
    """
    try:
        return values.load(output, blobs, trusted=trusted, project=project)
    except (Corrupt, NotFound) as error:
        raise Corrupt(error.fact, error.remedy, input=index) from error


def reference(function: Callable[..., Any]) -> tuple[str, str]:
    """Return module and qualified name under which a fresh process finds a step's function.

    Args:
        function: the user's own function.

    Raises:
        Unsuitable: there is no such name.
    """
    module, qualname = function.__module__, function.__qualname__
    if module == "__main__":
        raise Unsuitable("it is defined in a notebook or script, which another process cannot import", "Move it to a module.")
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if getattr(getattr(found, "__plimsoll_step__", None), "function", found) is not function:
        raise Unsuitable(f"another process would not find it as {module}.{qualname}", "Define it at the top level of a module.")
    return module, qualname


def _plain_arguments(node: Node, loaded: dict[int, Any]) -> tuple[list[Any], dict[str, Any]]:
    # A step that changes its arguments must change neither the plan's copy nor what another parameter of it gets.
    def own(argument: Argument) -> Any:
        value = resolve(argument, loaded.__getitem__)
        try:
            return copy.deepcopy(value) if isinstance(argument, Literal) else value
        except Exception:  # what cannot be copied has no digest either, so nothing is cached that this could spoil
            return value

    return [own(argument) for argument in node.args], {name: own(argument) for name, argument in node.kwargs.items()}


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


def _copy(digest: str, source: Blobs, target: Blobs) -> None:
    """Copy an output from one place to another, its manifest last."""
    with tempfile.TemporaryDirectory(prefix="plimsoll-copy-") as folder:
        for entry in get_manifest(source, digest).files:
            if not target.has(entry.digest):
                source.get_file(entry.digest, Path(folder, entry.digest))
                target.put_file(Path(folder, entry.digest))
    target.put(source.get(digest))


def _resident(pid: int) -> int:
    """Return a process's resident bytes; 0 where the system does not say (no ``/proc``) or the process has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
