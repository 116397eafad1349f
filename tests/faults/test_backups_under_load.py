"""Backups of a platform that four processes write to, some of them killed with SIGKILL at every step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from plimsoll import clock
from plimsoll.records.access import VerifyEvents
from plimsoll.records.run import GetRun, GetSeries
from plimsoll.store.backup.restoring import restore
from plimsoll.workspace import WORKER, Workspace, open_workspace
from tests.faults.command_line import ROOT, process, project

LIMIT = 600.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

#: Logs points and artifacts until its input ends; a line tells what was acknowledged.
_WRITES = """
import select, sys
from pathlib import Path
from plimsoll.records.run import AppendPoints, LogArtifact, PointColumns, StartRun
from plimsoll.workspace import WORKER, open_workspace

workspace = open_workspace(Path(sys.argv[1]))
do, number = workspace.do, 0
run = do(StartRun(), WORKER)
with open(sys.argv[2], "a", buffering=1) as told:
    told.write(f"{run.id} 0\\n")
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        number += 1
        points = PointColumns(names=("loss",) * 10, steps=tuple(range(10)), times=(number,) * 10, values=(float(number),) * 10)
        do(AppendPoints(run_id=run.id, writer="w", sequence=number, points=points), WORKER)
        digest = workspace.stores.blobs.put(f"{run.id} {number}".encode())
        do(LogArtifact(run_id=run.id, name=f"a{number}", kind="file", digest=digest, size=1), WORKER)
        told.write(f"{run.id} {number}\\n")
workspace.close()
"""

#: Each child does the work and kills itself some steps later than the one before; the last one ends.
_DIES = """
import os, signal, sys
from pathlib import Path
from plimsoll.store.backup import restoring, taking
from plimsoll.store.blobs import LocalBlobs
from plimsoll.workspace import open_workspace

home, backup, left = Path(sys.argv[1]), Path(sys.argv[2]), [0]

def steps(function):
    def step(*arguments, **words):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **words)
    return step

def take():
    workspace = open_workspace(home)
    taking.take(workspace.stores.database, LocalBlobs(home / "blobs"), {}, backup, lambda line: None)

def restore():
    restoring.restore(backup, home, None, lambda line: None)

for room, name in (
    (taking, "_linked"), (taking, "_described"), (taking, "_tidy"), (taking, "sync_folder"), (Path, "unlink"), (restoring, "copy_file"),
    (Path, "rename"),
):
    setattr(room, name, steps(getattr(room, name)))
os.sync = steps(lambda: None)  # power stays on here
for number in range(1, 1000):
    child = os.fork()
    if not child:
        left[0] = number**3
        globals()[sys.argv[3]]()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(number, flush=True)
        break
"""


def _killed(home: Path, backup: Path, act: str) -> None:
    """Do it again and again, killed at ever later moments, until it ends."""
    command = [sys.executable, "-c", _DIES, str(home), str(backup), act]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3, "it was killed several times"


def _acknowledged(files: list[Path]) -> dict[str, int]:
    """Return run -> the last number that its writer was told is there."""
    told = [line.split() for file in files if file.exists() for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {id: int(number) for id, number in told}


def _holds(workspace: Workspace, promised: dict[str, int]) -> None:
    assert workspace.do(VerifyEvents(), WORKER).broken_at is None
    blobs = workspace.stores.blobs
    for id, number in promised.items():
        detail = workspace.do(GetRun(id=id), WORKER)
        listed = {artifact.name: artifact.digest for artifact in detail.artifacts}
        assert {f"a{each}" for each in range(1, number + 1)} <= listed.keys()
        for digest in listed.values():
            blobs.get(digest)
        if number:
            assert workspace.do(GetSeries(run_id=id, name="loss"), WORKER).count >= 10 * number


def test_backups_made_while_others_write_hold_all_that_was_acknowledged_before_they_began(tmp_path: Path) -> None:
    project(tmp_path)
    home, target = tmp_path / ".plimsoll", tmp_path / "backup"
    open_workspace(home, tmp_path).close()
    told = [tmp_path / f"told-{at}" for at in range(4)]
    command = [sys.executable, "-c", _WRITES, str(home)]
    writers = [subprocess.Popen([*command, str(file)], env=ENVIRONMENT, stdin=subprocess.PIPE) for file in told]
    try:
        deadline = clock.monotonic() + LIMIT
        while len(before := _acknowledged(told)) < 4 or min(before.values()) < 5:
            assert clock.monotonic() < deadline
            clock.sleep(0.02)
        _killed(home, target, "take")
        promised = _acknowledged(told)
        made = process("backup", str(target), "--json", folder=tmp_path)
        assert made.code == 0, made
    finally:
        for writer in writers:
            writer.communicate(b"end", timeout=LIMIT)
    assert [writer.returncode for writer in writers] == [0] * 4
    assert min(promised.values()) >= 5
    restore(target, tmp_path / "new", None, lambda line: None)
    workspace = open_workspace(tmp_path / "new")
    try:
        _holds(workspace, promised)
    finally:
        workspace.close()
    looked = process("doctor", "--home", str(tmp_path / "new"), folder=tmp_path)
    assert looked.code == 0, looked


def test_a_restoring_killed_at_any_moment_makes_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    home, target = tmp_path / "home", tmp_path / "backup"
    workspace = open_workspace(home)
    for number in range(20):
        workspace.stores.blobs.put(f"blob {number}".encode())
    workspace.close()
    project(tmp_path)
    assert process("backup", str(target), "--home", str(home), folder=tmp_path).code == 0
    new = tmp_path / "new"
    _killed(new, target, "restore")
    assert not list(tmp_path.glob(".new*"))
    opened = open_workspace(new)
    assert sum(1 for _ in opened.stores.blobs.stored()) == 20
    opened.close()
