"""Forks processes of Plimsoll, see ``tests/begun.py``: imports what they import, and then becomes each of them in a fork.

Its arguments are the number of a socket, room for the command line that others see of each process, and what is imported. A message
on the socket says what a process would have been given (``words``, ``folder``, ``variables``, ``session``), who is to be its ``parent``,
and at which ``places`` it finds the handles that come with the message. The answer is its id. When the socket ends, so does this process.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from plimsoll import forking
from tests.begun import LONGEST, Begun, Source

#: What a fork of this process says of itself while it only forks.
_TITLE = ["tests/begin.py"]


def show(words: list[str]) -> None:
    """Let others see a command line: what stands where this process was given its own."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    text = "\0".join(words).encode()
    assert len(text) < LONGEST, "the command line is too long"
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, text, len(text))


def forks(way: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Fork for every message; return in each fork, with the message and its handles. Ends with the socket."""
    while True:
        message, handles, _, _ = socket.recv_fds(way, 1 << 20, 64)
        if not message:
            os._exit(0)
        child = os.fork()
        if child == 0:
            told, middle = json.loads(message), os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == middle:
                time.sleep(0.0005)
            if os.getppid() != told["parent"]:
                # Killed meanwhile, before it could know of this process.
                os._exit(1)
            way.send(str(os.getpid()).encode())
            way.close()
            return told, handles
        for handle in handles:
            os.close(handle)
        os.waitpid(child, 0)


def become(told: dict[str, Any], handles: list[int]) -> None:
    """Be the process that the command would have been given."""
    if told["session"]:
        os.setsid()
    # None may lie where another one belongs.
    above = 3 + max(*told["places"], *handles)
    for number, handle in enumerate(handles):
        os.dup2(handle, above + number)
        os.close(handle)
    for number, place in enumerate(told["places"]):
        os.dup2(above + number, place, inheritable=True)
        os.close(above + number)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["variables"])
    forking.differ()
    show(told["words"])
    sys.argv = told["words"][2:]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    # ``python -m`` looks where it is first, ``python -P`` does not.
    first = [os.getcwd()] if told["words"][1] == "-m" else []
    given = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder and folder not in sys.path]
    sys.path[:1] = [*first, *given]


def begins_others(words: list[str]) -> bool:
    """Return whether a process begins others that are forked: the server, its worker, a plane."""
    return not {"plimsoll.serving.replica", "plimsoll.cli.rerun", "run", "search", "--jobs", "--forks"} & set(words)


def keep() -> socket.socket | None:
    """Leave a fork of this process behind that forks for it, and return None; return in that fork with its socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        Begun.source = Source(ours)
        subprocess.Popen = Begun  # type: ignore[misc]
        return None
    ours.close()
    # Nothing of the other's is held: neither its session, nor its folder, nor its handles.
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    os.closerange(3, theirs.fileno())
    os.closerange(theirs.fileno() + 1, 4096)
    show(_TITLE)
    return theirs


def main() -> None:
    """Fork until the socket ends; in each fork, be what was asked for."""
    for name in sys.argv[3:]:
        importlib.import_module(name)
    if "plimsoll.worker" in sys.argv:
        importlib.import_module("plimsoll.verbs").load_all()
    assert forking.alone(), "something that was imported has begun a thread"
    # What is there now is not looked at again by any collector, so that the processes go on sharing its memory.
    gc.collect()
    gc.freeze()
    show(_TITLE)
    way: socket.socket | None = socket.socket(fileno=int(sys.argv[1]))
    while way is not None:
        told, handles = forks(way)
        become(told, handles)
        way = keep() if begins_others(told["words"]) else None
    if told["words"][1] == "-m":
        sys.exit(importlib.import_module(sys.argv[0]).main())
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
