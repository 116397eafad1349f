"""Processes that are killed with SIGKILL between two writes, and processes that write at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import select

from plimsoll.records.access import Verification
from plimsoll.store import schema
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Database
from plimsoll.store.database import open_database
from plimsoll.store.events import SqlEvents
from plimsoll.store.segments.rows import SqlSegments

_LIMIT = 300.0

_PRELUDE = """
import os, signal, sys
from pathlib import Path
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.database import open_database
from plimsoll.store.events import SqlEvents
from plimsoll.store.segments.rows import SqlSegments

url, folder = sys.argv[1], Path(sys.argv[2])
"""

_SEALS_AND_DIES = """
class Dying(LocalBlobs):
    def put(self, data):
        super().put(data)
        os.kill(os.getpid(), signal.SIGKILL)

SqlSegments(Dying(folder)).seal(open_database(url), "late")
"""

_DIES_WITH_AN_OPEN_TRANSACTION = """
with open_database(url).write() as tx:
    SqlEvents().append(tx, "dana", "StartRun", "run:1", {})
    SqlSegments(LocalBlobs(folder)).append(tx, "late", "w", 1, {"a": [1]}, [1])
    os.kill(os.getpid(), signal.SIGKILL)
"""

_TELLS_A_HUNDRED = """
database = open_database(url)
for number in range(100):
    with database.write() as tx:
        SqlEvents().append(tx, "dana", "StartRun", f"run:{number}", {})
    print(number, flush=True)
"""


def _start(code: str, url: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _PRELUDE + code, url, str(folder)], stdout=subprocess.PIPE, text=True)


def _killed(process: subprocess.Popen[str]) -> bool:
    process.communicate(timeout=_LIMIT)
    return process.returncode == -signal.SIGKILL


def test_a_sealing_killed_between_blob_and_row_loses_and_doubles_nothing(database: Database, database_url: str, tmp_path: Path) -> None:
    segments = SqlSegments(LocalBlobs(tmp_path / "blobs"))
    with database.write() as tx:
        segments.append(tx, "late", "w", 1, {"a": [1, 2, 3]}, [1, 2, 3])
    assert _killed(_start(_SEALS_AND_DIES, database_url, tmp_path / "blobs"))
    for waiting in ({"late": 3}, {}):
        with database.read() as tx:
            assert segments.waiting(tx) == waiting
            assert segments.scan(tx, "late", 0, 9)["a"].to_list() == [1, 2, 3]
        segments.seal(database, "late")


def test_a_transaction_of_a_killed_process_leaves_nothing_and_holds_up_nobody(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    assert _killed(_start(_DIES_WITH_AN_OPEN_TRANSACTION, database_url, tmp_path / "blobs"))
    segments = SqlSegments(LocalBlobs(tmp_path / "blobs"))
    with database.write() as tx:
        assert SqlEvents().verify(tx) == Verification(events=0, broken_at=None)
        assert segments.append(tx, "late", "w", 1, {"a": [1]}, [1]) == 1


def test_what_a_killed_process_had_acknowledged_is_there(database: Database, database_url: str, tmp_path: Path) -> None:
    process = _start(_TELLS_A_HUNDRED, database_url, tmp_path / "blobs")
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(10)]
    process.kill()
    # Through the same buffer, which has read ahead.
    acknowledged += process.stdout.read().split()
    process.wait(_LIMIT)
    process.stdout.close()
    with database.read() as tx:
        told = tx.execute(select(schema.events.c.subject).order_by(schema.events.c.sequence)).scalars().all()
        assert SqlEvents().verify(tx).broken_at is None
    assert told[: len(acknowledged)] == [f"run:{number}" for number in acknowledged]
    assert len(told) - len(acknowledged) in (0, 1)


def test_processes_that_open_an_empty_database_and_write_at_once_make_one_chain(empty_database_url: str, tmp_path: Path) -> None:
    processes = [_start(_TELLS_A_HUNDRED, empty_database_url, tmp_path / "blobs") for _ in range(3)]
    for process in processes:
        process.communicate(timeout=_LIMIT)
        assert process.returncode == os.EX_OK
    database = open_database(empty_database_url)
    with database.read() as tx:
        assert SqlEvents().verify(tx) == Verification(events=300, broken_at=None)
    database.close()
