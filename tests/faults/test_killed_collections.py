"""Collections that are killed with SIGKILL at every step, beside writers who store the very bytes that are being collected."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

from sqlalchemy import func, select

from plimsoll import clock
from plimsoll.errors import NotFound
from plimsoll.records.access import VerifyEvents
from plimsoll.records.run import AppendPoints, GetRun, GetSeries, LogArtifact, PointColumns, Run, StartRun
from plimsoll.records.tracking.change import DeleteRun
from plimsoll.records.tracking.collect import Collect
from plimsoll.store.tables.tracking import point_chunks, runs, series
from plimsoll.workspace import WORKER, Workspace, open_workspace
from tests.faults.command_line import ROOT

LIMIT = 600.0

#: Contents that deleted runs have kept, and that writers store again meanwhile.
CONTENTS = [f"content {number}".encode() for number in range(60)]

#: Each child goes one step further than the last, then kills itself; the last one ends.
_DIES = """
import os, signal, sys
from pathlib import Path
from plimsoll.records.tracking.collect import Collect
from plimsoll.runs.collection import collect, removal, turns
from plimsoll.store import blobs
from plimsoll.store.database import SqlDatabase
from plimsoll.workspace import WORKER, open_workspace

removal._TOGETHER, removal._CHUNKS, collect._HOLD, turns.AIR = 3, 2, 0.002, 0.0
begin, look, left = SqlDatabase.write, blobs._young, [0]

def step():
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

def write(self, durable=True):
    step()
    return begin(self, durable)

def young(path, age):
    step()  # also between the two looks, while the blob lies aside
    return look(path, age)

SqlDatabase.write, blobs._young = write, young
for number in range(1, 1000):
    child = os.fork()
    if not child:
        left[0] = number * 4
        workspace = open_workspace(Path(sys.argv[1]))
        workspace.do(Collect(older_than=0.0), WORKER)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(number, flush=True)
        break
"""


def _logs(workspace: Workspace, run: Run, content: bytes, name: str) -> str:
    digest = workspace.stores.blobs.put(content)
    workspace.do(LogArtifact(run_id=run.id, name=name, kind="file", digest=digest, size=len(content)), WORKER)
    return digest


def _points(run: Run, sequence: int) -> AppendPoints:
    columns = PointColumns(names=("loss",), steps=(sequence,), times=(sequence,), values=(float(sequence),))
    return AppendPoints(run_id=run.id, writer="w", sequence=sequence, points=columns)


def test_a_collection_killed_anywhere_loses_nothing_that_is_named_and_the_next_one_ends_it(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "home")
    gone = [workspace.do(StartRun(), WORKER) for _ in range(12)]
    for number, content in enumerate(CONTENTS):
        run = gone[number % len(gone)]
        _logs(workspace, run, content, f"a{number}")
        workspace.do(_points(run, number // len(gone) + 1), WORKER)
    for run in gone:
        workspace.do(DeleteRun(id=run.id), WORKER)
    live = [workspace.do(StartRun(), WORKER) for _ in range(4)]
    # Of each some bytes that are as old as the others and are only named.
    kept = [{f"c{at}": _logs(workspace, run, f"{run.id} {at}".encode(), f"c{at}") for at in range(5)} for run in live]
    for path in (tmp_path / "home" / "blobs").rglob("*"):
        os.utime(path, (0, 0))
    ended, defects = threading.Event(), []

    def writes(at: int) -> None:
        chosen, number = random.Random(at), 0
        try:
            while not ended.wait(0.02):
                number += 1
                # A third of the contents, so that the others do go.
                kept[at][f"b{number}"] = _logs(workspace, live[at], chosen.choice(CONTENTS[::3]), f"b{number}")
                workspace.do(_points(live[at], number), WORKER)
        except BaseException as error:
            defects.append(error)

    writers = [threading.Thread(target=writes, args=(at,)) for at in range(4)]
    for writer in writers:
        writer.start()
    try:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", _DIES, str(tmp_path / "home")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    finally:
        ended.set()
        for writer in writers:
            writer.join(LIMIT)
    assert not defects, defects
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5, "it was killed several times"
    _is_whole(workspace, live, kept, gone)
    workspace.close()


def _is_whole(workspace: Workspace, live: list[Run], kept: list[dict[str, str]], gone: list[Run]) -> None:
    blobs = workspace.stores.blobs
    for run, mine in zip(live, kept, strict=True):
        assert mine
        listed = {artifact.name: artifact.digest for artifact in workspace.do(GetRun(id=run.id), WORKER).artifacts}
        assert listed.items() >= mine.items()
        for digest in listed.values():
            blobs.get(digest)
        assert workspace.do(GetSeries(run_id=run.id, name="loss"), WORKER).count >= len(mine) - 6
    # What lay aside when a collector was killed was put back, and goes now.
    workspace.do(Collect(older_than=0.0), WORKER)
    open_workspace(workspace.home).close()
    named = {digest for mine in kept for digest in mine.values()}
    for blob in blobs.stored():
        assert blob.digest in named or blob.used > clock.now() - 86_400_000_000
    with workspace.stores.database.read() as tx:
        assert tx.execute(select(func.count()).where(runs.c.id.in_([run.id for run in gone]))).scalar_one() == 0
        orphans = select(func.count()).select_from(point_chunks).where(point_chunks.c.series_id.not_in(select(series.c.id)))
        assert tx.execute(orphans).scalar_one() == 0
    for run in gone:
        try:
            workspace.do(GetRun(id=run.id), WORKER)
        except NotFound:
            continue
        raise AssertionError(f"{run.id} is still there")
    assert workspace.do(VerifyEvents(), WORKER).broken_at is None
