"""Reads what a step's process says until it ends."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

from plimsoll import clock, codec, errors
from plimsoll.errors import StepFailed
from plimsoll.pipelines.executors.call import Ran, Unsuitable
from plimsoll.pipelines.step import StepOptions
from plimsoll.records.request import Request
from plimsoll.records.run import PointColumns
from plimsoll.runs.step_log import LOGGED

#: Seconds that a step's process may take to end after it has given its result, or was killed.
_GRACE = 10.0

#: Seconds between two looks at a process whose memory is limited.
_LOOK = 0.1


class StepProcess(Protocol):
    """As much of ``subprocess.Popen`` as is needed here."""

    pid: int

    @property
    def stdin(self) -> IO[bytes] | None:
        """Takes the task."""
        ...

    @property
    def stdout(self) -> IO[bytes] | None:
        """Gives the frames."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status, negative for a signal; after ``timeout`` seconds raise ``subprocess.TimeoutExpired``."""
        ...

    def kill(self) -> None:
        """Kill it with everything it began."""
        ...


class Watch:
    """Reads what a step's process says until it ends, and ends it when it takes too much.

    Args:
        process: the process.
        label: the step's short name.
        options: how much it may take.
        heard: takes what the step logs.
    """

    def __init__(
        self, process: StepProcess, label: str, options: StepOptions, heard: Callable[[PointColumns | Request[Any]], None]
    ) -> None:
        self._process = process
        self._label = label
        self._options = options
        self._heard = heard
        self._buffer = bytearray()
        self._answer: dict[str, Any] | None = None
        self._stopped = ""
        #: Monotonic seconds at which nobody waits for its end any more; None before it has answered or was killed.
        self._until: float | None = None

    def result(self, spec: bytes) -> Ran:
        """Give the process its task and return what the step gave.

        Args:
            spec: the task.

        Raises:
            StepFailed: the step failed, took too much, or its process died.
            Unsuitable: the step must not run there.
        """
        assert self._process.stdin is not None
        # A process that died before it read its task breaks the pipe; its exit status says how.
        with contextlib.suppress(BrokenPipeError):
            # Past the buffer, since the pipe stays open: its end tells the step that this process is gone.
            _write_all(self._process.stdin.fileno(), len(spec).to_bytes(8, "big") + spec)
        self._read()
        try:
            status = self._process.wait(_GRACE if self._until is None else max(0.0, self._until - clock.monotonic()))
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
                if self._until is None and self._answer is None:
                    self._stopped = self._excess(deadline)
                    if self._stopped:
                        self._process.kill()
                if self._until is None and (self._stopped or self._answer is not None):
                    self._until = clock.monotonic() + _GRACE
                # A thread that still runs, or a process that the step has forked, keeps the pipe open.
                if self._until is not None and clock.monotonic() >= self._until:
                    return

    def _pause(self, deadline: float | None) -> float | None:
        if self._until is not None:
            return max(0.0, self._until - clock.monotonic())
        left = None if deadline is None else max(0.0, deadline - clock.monotonic())
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
                self._heard(codec.convert(message["points"], PointColumns, "The step's points"))
            elif "do" in message:
                self._heard(codec.convert(message["request"], LOGGED[message["do"]], "The step's request"))
            else:
                self._answer = message

    def _judge(self, status: int) -> Ran:
        label = self._label
        if self._answer is not None:
            if "ran" in self._answer:
                return codec.convert(self._answer["ran"], Ran, "What the step gave")
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
