"""A disk that is really full: a tmpfs of a few MiB in a mount namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

_LIMIT = 600.0

_FILLS_THE_DATABASE = """
import sys
from pathlib import Path
from plimsoll.errors import StorageFull
from plimsoll.store.database import open_database
from plimsoll.store.events import SqlEvents

disk, events = Path(sys.argv[1]), SqlEvents()
database = open_database(f"sqlite:///{disk}/plimsoll.db")
acknowledged = 0
try:
    while True:
        with database.write() as tx:
            events.append(tx, "dana", "StartRun", "run:1", {"text": "x" * 50_000})
        acknowledged += 1
except StorageFull as error:
    assert "full" in error.fact and str(disk) in error.fact, error
assert acknowledged > 10
(disk / "ballast").unlink()
with database.read() as tx:
    found = events.verify(tx)
assert (found.events, found.broken_at) == (acknowledged, None), found
with database.write() as tx:
    events.append(tx, "dana", "StartRun", "run:1", {"text": "x" * 50_000})
database.close()
database = open_database(f"sqlite:///{disk}/plimsoll.db")
with database.read() as tx:
    assert events.verify(tx).events == acknowledged + 1
print("recovered")
"""

_FILLS_THE_BLOBS = """
import os, sys, time
from pathlib import Path
from plimsoll.errors import StorageFull
from plimsoll.store.blobs import LocalBlobs

disk = Path(sys.argv[1])
blobs = LocalBlobs(disk / "blobs")
small = blobs.put(b"small")
def files():
    return sorted(str(path) for path in (disk / "blobs").rglob("*") if path.is_file())
before = files()
source, large = disk / "source", disk.parent / "large"
large.write_bytes(os.urandom(3 << 20))
source.write_bytes(os.urandom(1 << 20))
for store in (lambda: blobs.put(os.urandom(3 << 20)), lambda: blobs.put_file(large)):
    try:
        store()
    except StorageFull as error:
        assert str(disk) in error.fact, error
    else:
        raise AssertionError("it fitted")
    assert files() == before, files()
assert blobs.get(small) == b"small"
(disk / "ballast").unlink()
# What was given up is unlinked at once; its room is free when the thread that still wrote it lets go.
end = time.monotonic() + 60
while os.statvfs(disk).f_bavail * 4096 < 2 << 20 and time.monotonic() < end:
    time.sleep(0.01)
digest, _ = blobs.put_file(source)
(disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096 - 8192))
try:
    blobs.get_file(digest, disk / "target")
except StorageFull:
    assert not (disk / "target").exists() and not list(disk.glob(".*"))
else:
    raise AssertionError("the copy fitted")
(disk / "ballast").unlink()
assert blobs.get(digest) == source.read_bytes()
print("recovered")
"""

_FILLS_A_FRESH_DATABASE = """
import sys
from pathlib import Path
from plimsoll.errors import StorageFull
from plimsoll.store.database import open_database

disk = Path(sys.argv[1])
with (disk / "more").open("wb", buffering=0) as file:
    try:
        while file.write(b"x" * 4096): pass
    except OSError: pass
try:
    open_database(f"sqlite:///{disk}/plimsoll.db")
except StorageFull as error:
    assert str(disk) in error.fact
else:
    raise AssertionError("it fitted")
(disk / "ballast").unlink()
open_database(f"sqlite:///{disk}/plimsoll.db").close()
print("recovered")
"""

_FILLS_AND_FREES = """
import sys
from pathlib import Path
from plimsoll.errors import StorageFull

disk = Path(sys.argv[1])
ballast = disk / "more"
def fill():
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 4096):
            try:
                while file.write(bytes(size)) == size: pass
            except OSError: pass
def sound(database):
    import sqlite3
    connection = sqlite3.connect(database)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
"""

_FILLS_A_SERVERS_DISK_TWENTY_TIMES = (
    _FILLS_AND_FREES
    + """
from plimsoll.records.run import AppendPoints, FinishRun, GetSeries, PointColumns, StartRun
from plimsoll.workspace import open_workspace

workspace = open_workspace(disk / "home", owner="dana")
actor = workspace.identify(workspace.token("owner"))
run = workspace.do(StartRun(), actor).id
sequence = refused = 0
def append():
    steps = tuple(range(100 * sequence, 100 * sequence + 100))
    columns = PointColumns(names=("loss",) * 100, steps=steps, times=(1,) * 100, values=tuple(map(float, steps)))
    receipt = workspace.do(AppendPoints(run_id=run, writer="w", sequence=sequence + 1, points=columns), actor)
    assert receipt.added == 100, receipt
for _ in range(20):
    fill()
    try:
        for _ in range(2000):
            append()
            sequence += 1
    except StorageFull as error:
        refused += 1
    ballast.unlink()
    for _ in range(3):
        append()
        sequence += 1
assert refused == 20, refused
workspace.do(FinishRun(id=run), actor)
workspace.close()
workspace = open_workspace(disk / "home")
series = workspace.do(GetSeries(run_id=run, name="loss"), actor)
assert series.steps == tuple(range(100 * sequence)), (len(series.steps), sequence)
assert series.values == tuple(map(float, series.steps))
workspace.close()
sound(disk / "home" / "plimsoll.db")
print("recovered")
"""
)

_FILLS_A_LOOPS_DISK_TWENTY_TIMES = (
    _FILLS_AND_FREES
    + """
from plimsoll.records.run import FinishRun, GetSeries, PointColumns, StartRun
from plimsoll.sdk.journal import Journal
from plimsoll.sdk.sender import Sender
from plimsoll.workspace import open_workspace

workspace = open_workspace(disk.parent / "home", owner="dana")
actor = workspace.identify(workspace.token("owner"))
run = workspace.do(StartRun(), actor).id
journal = Journal(disk / "x.journal")
journal.begin(run, "here")
def lose(count, error):
    raise AssertionError(f"{count} points are lost")
sender = Sender(journal, lambda request: workspace.do(request, actor), lambda line: None, lose)
step = refused = 0
for _ in range(20):
    fill()
    for _ in range(100):
        # Some of it still fits into the journal's last page, or takes the room that the platform's answers make.
        names = tuple(f"m{at}" for at in range(20))
        sender.append(PointColumns(names=names, steps=(step,) * 20, times=(1,) * 20, values=(float(step),) * 20))
        step += 1
        try:
            sender.flush()
        except StorageFull:
            refused += 1
    ballast.unlink()
    sender.flush()
assert refused > 20, refused
assert sender.finish(FinishRun(id=run), 60.0).state == "finished"
for name in names:
    series = workspace.do(GetSeries(run_id=run, name=name), actor)
    assert series.steps == tuple(range(step)) and series.values == tuple(map(float, range(step)))
assert sorted(path.name for path in disk.iterdir()) == ["ballast"]
print("recovered")
"""
)


# The whole way: a training, its journal, ``plimsoll up``, the home; the disk is the home's, or the journal's, or neither fills.
_TRAINS = (
    _FILLS_AND_FREES
    + """
import os, select, subprocess, time
import plimsoll, plimsoll.sdk.sender, plimsoll.sdk.tracking.opened
from plimsoll.records.run import GetRun, GetSeries, SetTags
from plimsoll.sdk.door import connect
from plimsoll.workspace import open_workspace

full = "FULL"
home = (disk if full == "server" else disk.parent) / "home"
spool = (disk if full == "loop" else disk.parent) / "own"
project = disk.parent / "project"
project.mkdir()
(project / "pyproject.toml").write_text('[project]\\nname = "late"\\n')
workspace = open_workspace(home, project, owner="dana")
token = workspace.token("owner")
workspace.close()
command = [sys.executable, "-m", "plimsoll.cli.app", "up", "--port", "0", "--serving-port", "0"]
command += ["--home", str(home), "--parent", str(os.getpid())]
log = (disk.parent / "up.log").open("wb")
server = subprocess.Popen(command, cwd=project, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
assert select.select([server.stdout], [], [], 120)[0], (disk.parent / "up.log").read_text()
url = server.stdout.readline().decode().strip()
os.chdir(project)
os.environ |= {"PLIMSOLL_URL": url, "PLIMSOLL_TOKEN": token, "PLIMSOLL_HOME": str(spool), "PLIMSOLL_CAPTURE": "none"}
plimsoll.sdk.sender._PAUSE = 0.05
door, steps = connect(), [0]
def train(run, count):
    for _ in range(count):
        began = time.monotonic()
        run.log({f"m{at}": float(steps[0]) for at in range(20)}, step=steps[0])
        assert time.monotonic() - began < 5.0
        steps[0] += 1
def taken(run):
    try:
        if full == "server": door.do(SetTags(id=run.id, tags={"at": str(steps[0])}))
        else: run.flush()
        return True
    except StorageFull:
        return False
def until(wanted, run):
    end = time.monotonic() + 120
    while taken(run) is not wanted:
        train(run, 10)
        assert time.monotonic() < end
try:
    with plimsoll.run(experiment="full", key="one") as run:
        train(run, 10)
        for _ in range(20):
            fill()
            until(False, run)
            train(run, 100)
            ballast.unlink()
            until(True, run)
        fill()
        until(False, run)
        plimsoll.sdk.tracking.opened._PATIENCE = 1.0
    ballast.unlink()
    sent = subprocess.run([sys.executable, "-m", "plimsoll.cli.app", "sync"], capture_output=True, text=True)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    for at in range(20):
        series = door.do(GetSeries(run_id=run.id, name=f"m{at}"))
        assert series.steps == tuple(range(steps[0])), (len(series.steps), steps)
        assert series.values == tuple(map(float, range(steps[0])))
    assert door.do(GetRun(id=run.id)).run.state == "finished"
    assert not list((spool / "journal").iterdir()), list((spool / "journal").iterdir())
finally:
    door.close()
    server.terminate()
    server.wait(120)
sound(home / "plimsoll.db")
print("recovered")
"""
)


@cache
def _namespaces() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    return subprocess.run([unshare, "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


def _on_a_small_disk(code: str, folder: Path, mebibytes: int = 4) -> subprocess.CompletedProcess[str]:
    if not _namespaces():
        pytest.skip("A small disk needs 'unshare -Urm' and 'mount', which do not work here.")
    disk = folder / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size={mebibytes}m none "$1" && head -c 1500000 /dev/zero > "$1/ballast" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-Urm", "sh", "-c", script, "sh", str(disk), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT)
    assert (done.returncode, done.stdout.strip()) == (0, "recovered"), done.stderr
    return done


@pytest.mark.parametrize(
    "code", [_FILLS_THE_DATABASE, _FILLS_THE_BLOBS, _FILLS_A_FRESH_DATABASE], ids=["database", "blobs", "fresh database"]
)
def test_a_full_disk_refuses_cleanly_and_recovers_when_there_is_room(code: str, tmp_path: Path) -> None:
    _on_a_small_disk(code, tmp_path)


@pytest.mark.parametrize("code", [_FILLS_A_SERVERS_DISK_TWENTY_TIMES, _FILLS_A_LOOPS_DISK_TWENTY_TIMES], ids=["server", "loop"])
def test_a_disk_that_is_filled_and_freed_twenty_times_costs_no_point(code: str, tmp_path: Path) -> None:
    _on_a_small_disk(code, tmp_path, 16)


@pytest.mark.slow
@pytest.mark.parametrize("full", ["server", "loop"])
def test_a_training_goes_on_while_a_disk_is_filled_and_freed_twenty_times_and_all_of_it_arrives(full: str, tmp_path: Path) -> None:
    told = _on_a_small_disk(_TRAINS.replace("FULL", full), tmp_path, 16).stderr
    assert "could not be kept" not in told
    if full == "server":
        assert "its end are still in" in told.splitlines()[-1]
        assert told.splitlines()[-1].endswith("Send them with: plimsoll sync")
    else:
        assert "cannot grow: No space left on device. Free some space; training may go on." in told
