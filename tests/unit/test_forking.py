"""A process that forks one child for each line, and what it tells of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plimsoll.forking import FINISHED, THREADLESS

ROOT = Path(__file__).parents[2]

#: Does what its lines say, each in a process of its own.
SCRIPT = """
import os, sys
from plimsoll.forking import FINISHED, fork_each
{before}
line, parent = fork_each(0, 1, os.getppid())
if not line:
    sys.exit()
exec(line)
sys.exit(FINISHED)
"""

THREAD = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()"


@contextmanager
def forking(folder: Path, before: str = "", **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", SCRIPT.format(before=before)]
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe) as process:
        yield process


def told(process: subprocess.Popen[bytes], line: str) -> bytes:
    """Give a line and return what is said of it, or nothing when the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n".encode())
    process.stdin.flush()
    return process.stdout.read(1)


def writes(value: str) -> str:
    return f"print({value}, file=open('written', 'a'))"


def test_each_line_has_a_child_and_the_end_of_the_lines_is_the_end(tmp_path: Path) -> None:
    with forking(tmp_path) as process:
        assert [told(process, writes("os.getpid(), parent == os.getppid()")) for _ in range(2)] == [b".", b"."]
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(300) == 0
    (one, known), (two, _) = (line.split() for line in (tmp_path / "written").read_text().splitlines())
    assert known == "True"
    assert len({one, two, str(process.pid)}) == 3


@pytest.mark.parametrize(
    ("line", "code"), [("os.kill(os.getpid(), 9)", -9), ("os.kill(os.getpid(), 15)", -15), ("os._exit(0)", 0), ("1 / 0", 1)]
)
def test_a_child_that_ends_without_a_word_takes_its_parent_along_in_the_same_way(tmp_path: Path, line: str, code: int) -> None:
    with forking(tmp_path) as process:
        assert told(process, "pass") == b"."
        assert told(process, line) == b""
        assert process.wait(300) == code


def test_a_process_with_threads_does_the_line_itself(tmp_path: Path) -> None:
    with forking(tmp_path, THREAD) as process:
        assert told(process, writes("os.getpid(), parent == os.getppid()")) == b""
        assert process.wait(300) == FINISHED
    assert (tmp_path / "written").read_text().split() == [str(process.pid), "True"]


def test_children_draw_their_own_numbers(tmp_path: Path) -> None:
    with forking(tmp_path, "import random, numpy\nrandom.seed(1)\nnumpy.random.seed(1)") as process:
        for _ in range(2):
            told(process, writes("random.random(), numpy.random.random()"))
    one, two = ((tmp_path / "written").read_text()).splitlines()
    assert set(one.split()).isdisjoint(two.split())


def test_what_is_set_for_imports_alone_is_not_passed_on_and_what_somebody_set_is(tmp_path: Path) -> None:
    ((name, text),) = THREADLESS.items()
    for given, kept in ((text, "None"), ("prof:true", "prof:true")):
        with forking(tmp_path, **{name: given}) as process:
            told(process, writes(f"os.environ.get({name!r})"))
        assert (tmp_path / "written").read_text().splitlines()[-1] == kept
