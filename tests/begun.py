"""Plimsoll's processes, forked from one that has imported what each of them would import first: up to two seconds a process.

:class:`Begun` is begun and used as ``subprocess.Popen`` is, and so are those that its process begins in turn. Whatever others see of such
a process is as it would be: its parent, session, folder, environment, handles, and its command line. What runs a project's code, or is
measured while it starts (a job, a step, a package's trial), begins as always; so does every other command.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

_ROOT = Path(__file__).parents[1]

#: Elsewhere no process can be given another parent, and each begins as always.
_POSSIBLE = sys.platform == "linux"

#: What a platform's processes import, but for polars, which begins threads: who needs it imports it in the fork.
PLATFORM = ("plimsoll.cli.app", "plimsoll.cli.commands.up", "plimsoll.server.plane", "plimsoll.worker", "skops.io")

#: What is forked, by how a command begins, with what is imported before. What runs a project's code has imported no more than it would.
FORKED = {
    ("-m", "plimsoll.cli.app", "up"): PLATFORM,
    ("-m", "plimsoll.cli.app", "demo"): PLATFORM,
    ("-m", "plimsoll.server.plane"): PLATFORM,
    ("-m", "plimsoll.serving.replica"): PLATFORM,
    ("-m", "plimsoll.worker"): PLATFORM,
    ("-P",): PLATFORM,
    ("-m", "plimsoll.cli.app", "run"): ("plimsoll.cli.app", "plimsoll.cli.commands.run", "plimsoll.pipelines.engine"),
    ("-m", "plimsoll.cli.app", "search"): ("plimsoll.cli.app", "plimsoll.cli.commands.search"),
    ("-m", "plimsoll.cli.rerun"): ("plimsoll.cli.rerun",),
}

#: Bytes that a command line may have: a process shows others what stands where it was given its own.
LONGEST = 8192

_PR_SET_CHILD_SUBREAPER = 36


class Source:
    """The way to a process that forks.

    Args:
        way: a socket to it.
    """

    def __init__(self, way: socket.socket) -> None:
        self._way = way
        self._lock = threading.Lock()
        self._owner = os.getpid()

    @property
    def own(self) -> bool:
        """Whether this process may use it: one that was forked from its owner may not."""
        return self._owner == os.getpid()

    def begin(self, told: dict[str, Any], handles: list[int]) -> int:
        """Let a process begin as a child of this one and return its id.

        Args:
            told: what ``tests/begin.py`` reads.
            handles: open ones that it gets.
        """
        with self._lock:
            # Its forked parent ends, and whoever is nearest above and says that it takes such children becomes its parent.
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._way, [json.dumps({**told, "parent": os.getpid()}).encode()], handles)
                return int(self._way.recv(64))
            finally:
                ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@cache
def _first(imported: tuple[str, ...]) -> Source:
    """Return the way to the process of this session of tests that has imported these modules."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLIMSOLL_")}
    # One thread in each pool of a numeric library, as a replica is told; and no thread when pandas is imported, see plimsoll/forking.py.
    alone = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    command = [sys.executable, str(Path(__file__).with_name("begin.py")), str(theirs.fileno()), "-" * LONGEST, *imported]
    process = subprocess.Popen(
        command, env={**kept, **alone, "PYTHONPATH": str(_ROOT)}, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], cwd="/"
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return Source(ours)


class Begun(subprocess.Popen[Any]):
    """A process that is forked if its command is one of :data:`FORKED`, and otherwise begins as always."""

    #: Where a process of a platform lets others of it begin; None takes a process of this session of tests.
    source: ClassVar[Source | None] = None

    # It stands in for the last step of Popen, which has made pipes and opened files by then; the names are Popen's.
    def _execute_child(  # type: ignore[no-untyped-def]
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, gid, gids, uid, umask, start_new_session, *more,
    ):  # fmt: skip
        words = [os.fspath(word) for word in args] if isinstance(args, list) else []
        source = self._from(words, os.environ if env is None else env)
        if source is None:
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, gid, gids, uid, umask, start_new_session, *more,
            )  # fmt: skip
            return
        theirs = (p2cread, c2pwrite, errwrite)
        handles = {number: number if given == -1 else given for number, given in enumerate(theirs)}
        handles |= {number: number for number in pass_fds}
        told = {
            "words": words,
            "folder": os.path.join(os.getcwd(), os.fspath(cwd) if cwd else ""),
            "variables": dict(os.environ if env is None else env),
            "places": list(handles),
            "session": bool(start_new_session),
        }
        self.pid = source.begin(told, list(handles.values()))
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _from(self, words: list[str], variables: Mapping[str, str]) -> Source | None:
        """Return where a command is forked, or None."""
        if not _POSSIBLE or words[:1] != [sys.executable] or "--job" in words or words[1:3] == ["-P", "-m"]:
            return None
        if _read_first(variables) != _read_first(os.environ):
            return None
        imported = next((modules for start, modules in FORKED.items() if tuple(words[1 : 1 + len(start)]) == start), None)
        elsewhere = set(variables.get("PYTHONPATH", "").split(os.pathsep)) - {str(_ROOT), ""}
        if imported is None or (imported == PLATFORM and elsewhere):
            # Other modules may lie there than were imported.
            return None
        if self.source is None:
            return _first(imported)
        return self.source if imported == PLATFORM and self.source.own else None


def _read_first(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what an interpreter reads of its environment when it begins, and a fork can no longer be told."""
    later = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    return {name: value for name, value in variables.items() if name.startswith("PYTHON") and name not in later}
