"""A process that is forked for a test is to others, and to itself, what it would be if it had been begun as always."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.begun import Begun

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes begin as always")]

PROGRAM = """
import json, os, subprocess, sys
from pathlib import Path
from plimsoll.server import plane

own = f"/proc/{os.getpid()}"
print(json.dumps({
    "parent": os.getppid(), "session": os.getsid(0) == os.getpid(), "folder": os.getcwd(), "words": sys.argv,
    "variables": [os.environ.get(name) for name in ("GIVEN", "PLIMSOLL_HOME", "HOME")], "handle": os.read(int(sys.argv[1]), 99).decode(),
    "read": sys.stdin.read(), "shown": Path(own, "cmdline").read_text().rstrip("\\0").split("\\0")[1:],
    "open": len(os.listdir(f"{own}/fd")),
}))
if "skops.io" in sys.modules:
    # What it begins in turn ends with 0 if it was forked, too.
    child = subprocess.Popen([sys.executable, "-P", "other.py"])
    sys.exit(7 if child.wait() == 0 else 8)
sys.exit(7)
"""

OTHER = """
import os, sys
sys.exit("skops.io" not in sys.modules)
"""


def told(kind: Any, folder: Path) -> dict[str, Any]:
    """Return what the program says of itself."""
    reads, writes = os.pipe()
    os.write(writes, b"through a handle")
    os.close(writes)
    command = [sys.executable, "-P", "program.py", str(reads), "a word"]
    variables = {**os.environ, "GIVEN": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    variables.pop("PLIMSOLL_HOME", None)
    process = kind(
        command, cwd=folder, env=variables, pass_fds=[reads], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    os.close(reads)
    out, _ = process.communicate(b"through a pipe", timeout=180)
    assert process.returncode == 7
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_forked_process_is_what_one_that_begins_as_always_is(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "other.py").write_text(OTHER)
    forked, begun = told(Begun, tmp_path), told(subprocess.Popen, tmp_path)
    # It holds one more: the way to the process that forks for it.
    assert forked.pop("open") == begun.pop("open") + 1
    for found in (forked, begun):
        # The number of a handle is as it was given.
        assert found["words"][1] == found["shown"][2]
        found["words"][1] = found["shown"][2] = ""
    assert forked == begun
    assert forked["parent"] == os.getpid()
    assert forked["session"]
    assert (forked["handle"], forked["read"]) == ("through a handle", "through a pipe")
