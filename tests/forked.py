"""Plimsoll's command line in processes of its own that need not import it anew: where a test begins many, that is most of the work."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]

#: Seconds for which a command is waited for: what must end, ends on a slow machine, too.
_LIMIT = 400.0


class Forking:
    """A process that has imported the command line, and forks one for each command.

    Args:
        flags: of the interpreter.
    """

    def __init__(self, flags: Sequence[str]) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PLIMSOLL_")}
        command = [sys.executable, *flags, str(Path(__file__).with_name("forking.py"))]
        self._process = subprocess.Popen(
            command,
            env={**kept, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._lock = threading.Lock()
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _LIMIT)
        assert ready, f"no answer for {_LIMIT} seconds"
        return self._process.stdout.readline().decode().strip()

    def run(self, words: Sequence[str], folder: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command to its end.

        Args:
            words: the command line, without the program's name.
            folder: where it runs.
            variables: its whole environment.
        """
        assert self._process.stdin is not None
        with self._lock, tempfile.TemporaryDirectory() as said:
            out, err = (Path(said, name) for name in ("out", "err"))
            told = {"words": list(words), "folder": str(folder), "variables": dict(variables), "out": str(out), "err": str(err)}
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            return subprocess.CompletedProcess(words, int(self._answer()), out.read_text(), err.read_text())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


@cache
def forking(*flags: str) -> Forking:
    """Return the process of this session that has these flags of the interpreter.

    Args:
        flags: such as ``-X``, ``importtime``.
    """
    made = Forking(flags)
    atexit.register(made.end)
    return made


def plimsoll(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], flags: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run ``plimsoll WORDS`` to its end, in a process of its own, as ``python -m plimsoll.cli.app`` from this checkout would.

    Args:
        words: the command line.
        folder: where it runs.
        variables: its whole environment; what the interpreter itself reads of it is as in this process.
        flags: of the interpreter.
    """
    return forking(*flags).run(words, folder, variables)
