"""Forking a process that has imported what takes long, for each piece of work one.

Importing scikit-learn takes seconds; forking a process that has imported it takes milliseconds. A fork copies one thread only, and
locks that other threads held stay locked for ever. So whoever forks has a single thread: it computes nothing, counts its threads each
time, and where it finds more there is no fork.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from pathlib import Path

from plimsoll import clock

#: What keeps a package from starting a thread when it is imported, by the variable that it reads: pyarrow, which pandas imports,
#: brings an allocator that would tidy up in the background. Only a process that forks is begun with it; it holds on in the children.
THREADLESS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}

#: Exit status of a forked process whose work has ended, well or not: one that ends without having said how seldom has this.
FINISHED = 87

#: Seconds between two looks at whether a child has ended.
_PAUSE = 0.02

_THREADS = Path("/proc/self/task")


def alone() -> bool:
    """Return whether a fork is safe here. Libraries that know of forks (OpenBLAS) end their threads at the first one."""
    if not _THREADS.is_dir():
        return False
    with warnings.catch_warnings():
        # Python warns of what is just being found out; this child does nothing.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    deadline = clock.monotonic() + 1.0
    while len(os.listdir(_THREADS)) != 1 and clock.monotonic() < deadline:
        clock.sleep(0.005)  # a thread that was joined may still be listed
    return len(os.listdir(_THREADS)) == 1


def differ() -> None:
    """Give a child what a fresh interpreter would have drawn for itself; ``random`` sees to itself."""
    drawn = sys.modules.get("numpy.random")
    if drawn is not None:
        drawn.seed()


def fork_each(lines: int, done: int, parent: int) -> tuple[str, int]:
    """Fork a child for each line, one after another; return in it with the line and its parent, and here with "" when no more are to come.

    Where a fork is not safe, this process returns with the line instead of a child, and is not to come back. When a child ends with
    another status than :data:`FINISHED`, this process ends in the same way, for whoever began it to see.

    Args:
        lines: handle to read lines from.
        done: handle that gets a byte when a child has ended with :data:`FINISHED`.
        parent: id of the process that began this one; without it a child is killed.
    """
    for name, text in THREADLESS.items():
        # It has been read by now, and is not for what children begin.
        if os.environ.get(name) == text:
            del os.environ[name]
    gc.collect()
    # What is not looked at again is not written to either, and so is shared with the children.
    gc.freeze()
    here = os.getpid()
    with os.fdopen(lines, "rb", closefd=False) as given:
        while line := given.readline().decode().strip():
            if not alone():
                return line, parent
            pid = os.fork()
            if pid == 0:
                differ()
                return line, here
            code = _awaited(pid, parent)
            if code < 0:
                os.kill(here, -code)
            if code != FINISHED:
                os._exit(max(code, 0))
            os.write(done, b".")
    return "", parent


def _awaited(pid: int, parent: int) -> int:
    """Return how a child has ended."""
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if os.getppid() != parent:
            os.kill(pid, signal.SIGKILL)
        clock.sleep(_PAUSE)
