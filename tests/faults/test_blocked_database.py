"""A database that something else holds, or that does not answer: the server says so in time, and is well again when it is let go."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from plimsoll import clock, codec, extras
from tests.faults.served import Served

#: Seconds after which the server gives up here.
LIMIT = 5.0

#: More requests of each kind than there are threads for them.
MANY = 50

#: Far above what an answer takes that waits for nothing, far below what one takes that waits for the database.
AT_ONCE = 3.0

#: Holds a SQLite database from another process until its input ends: as a writer does, or also against everybody who reads.
_HOLDER = """
import fcntl, sqlite3, sys
path, what = sys.argv[1:]
if what == "writers":
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
else:
    # The bytes that SQLite locks in the index of its log.
    index = open(path + "-shm", "r+b")
    fcntl.lockf(index, fcntl.LOCK_EX, 8, 120)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def served(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server that has answered, so that it is connected to its database."""
    monkeypatch.setattr("plimsoll.server.answers.LIMIT", LIMIT)
    made = Served(tmp_path / "home", database_url, 4 * MANY)
    assert made.ask("StartRun", key="before")[0].status_code == 200
    assert made.ask("ListActors")[0].status_code == 200
    yield made
    made.close()


@contextlib.contextmanager
def _sqlite_held(served: Served, what: str) -> Iterator[None]:
    command = [sys.executable, "-c", _HOLDER, served.database.removeprefix("sqlite:///"), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield


@contextlib.contextmanager
def _postgres_held(served: Served, what: str) -> Iterator[None]:
    with contextlib.closing(extras.require("psycopg").connect(served.database, autocommit=True)) as connection:
        if what == "writers":
            connection.execute("BEGIN")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (0x706C696D736F6C6C,))
            yield
            return
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        own = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
        # The first process too: without it nobody is let in.
        stopped = [pid for (pid,) in rows] + [int(Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[1])]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


def _held(served: Served, what: str) -> contextlib.AbstractContextManager[None]:
    return (_sqlite_held if served.database.startswith("sqlite") else _postgres_held)(served, what)


def _slowest(served: Served, path: str, until: Sequence[Future[Any]]) -> float:
    """Ask for something until all of these are answered; return the longest time that an answer took."""
    slowest = 0.0
    while not all(each.done() for each in until):
        began = clock.monotonic()
        assert served.client.get(path).status_code == 200
        slowest = max(slowest, clock.monotonic() - began)
        clock.sleep(0.01)
    return slowest


@pytest.mark.parametrize("what", ["writers", "everybody"])
def test_a_database_that_is_held_stops_neither_health_nor_those_who_need_nothing_of_it(served: Served, what: str) -> None:
    with ThreadPoolExecutor(2 * MANY) as crowd:
        with _held(served, what):
            writes = [crowd.submit(served.ask, "StartRun", key=f"held-{number}") for number in range(MANY)]
            reads = [crowd.submit(served.ask, "ListActors") for _ in range(MANY)]
            assert _slowest(served, "/health", writes + reads) < AT_ONCE
        for answer, took in [each.result() for each in writes + (reads if what == "everybody" else [])]:
            assert answer.status_code == 503, answer.text
            assert f"has not answered for {LIMIT:.0f} seconds" in answer.json()["error"]["fact"]
            assert int(answer.headers["retry-after"]) >= 1
            # At the gate and behind it; and so many at once, that some wait for those before them.
            assert took < 2 * LIMIT + 3
        if what == "writers":
            assert {answer.status_code for answer, _ in [each.result() for each in reads]} == {200}
            assert max(took for _, took in [each.result() for each in reads]) < AT_ONCE
        again = [crowd.submit(served.ask, "StartRun", key=f"held-{number}") for number in range(MANY)]
        assert {each.result()[0].status_code for each in again} == {200}
    # What was refused and done all the same is done once.
    ids = {each.result()[0].json()["id"] for each in again}
    found = served.ask("SearchRuns", limit=1000)[0].json()
    assert len(ids) == MANY
    assert len(found["runs"]) == MANY + 1, found


def test_files_are_fetched_while_many_that_were_sent_wait_to_be_named_in_a_held_database(served: Served) -> None:
    run, digest = served.ask("StartRun", key="before")[0].json(), codec.digest(b"there before")
    assert served.client.put(f"/blobs/{digest}", content=b"there before").status_code == 200
    folder = f"/api/2.0/mlflow-artifacts/artifacts/{run['experiment_id']}/{run['id']}/artifacts"
    with ThreadPoolExecutor(MANY) as crowd:
        with _held(served, "writers"):
            sent = [crowd.submit(served.client.put, f"{folder}/{number}", content=bytes(number)) for number in range(MANY)]
            assert _slowest(served, f"/blobs/{digest}", sent) < AT_ONCE
            assert {each.result().status_code for each in sent} == {503}
        again = [crowd.submit(served.client.put, f"{folder}/{number}", content=bytes(number)) for number in range(MANY)]
        assert {each.result().status_code for each in again} == {200}
    assert served.client.get(f"{folder}/7").content == bytes(7)
