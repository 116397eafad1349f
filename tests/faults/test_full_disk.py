"""A disk that is really full: a tmpfs of a few MiB in a mount namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

_LIMIT = 60.0

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
end = time.monotonic() + 10
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


@cache
def _namespaces() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    return subprocess.run([unshare, "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


def _on_a_small_disk(code: str, folder: Path) -> str:
    if not _namespaces():
        pytest.skip("A small disk needs 'unshare -Urm' and 'mount', which do not work here.")
    disk = folder / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=4m none "$1" && head -c 1500000 /dev/zero > "$1/ballast" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "-Urm", "sh", "-c", script, "sh", str(disk), sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code", [_FILLS_THE_DATABASE, _FILLS_THE_BLOBS, _FILLS_A_FRESH_DATABASE], ids=["database", "blobs", "fresh database"]
)
def test_a_full_disk_refuses_cleanly_and_recovers_when_there_is_room(code: str, tmp_path: Path) -> None:
    assert _on_a_small_disk(code, tmp_path) == "recovered"
