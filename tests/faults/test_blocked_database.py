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

import httpx
import pytest

from plimsoll import codec, extras
from tests.faults.served import Served
from tests.flows.real_platform import until

#: Seconds after which the server gives up here, where a test is about that; else it, and the store, are more patient than any test.
LIMIT, PATIENT = 5.0, 600.0

#: More requests of each kind than there are threads for them.
MANY = 50

#: Seconds within which somebody must have been told that the database does not answer: two limits, at the gate and behind it, and
#: all that a slow machine adds for so many at once.
TOLD = 60.0

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
    for place in ("server.answers.LIMIT", "store.database.PATIENCE", "store.postgres.PATIENCE", "store.sqlite.PATIENCE"):
        monkeypatch.setattr(f"plimsoll.{place}", PATIENT)
    monkeypatch.setattr("plimsoll.store.postgres.WELCOME", round(PATIENT))
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
        try:
            for pid in stopped:
                _signal(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in stopped:
                _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    # PostgreSQL's own that look after a database come and go.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _held(served: Served, what: str) -> contextlib.AbstractContextManager[None]:
    return (_sqlite_held if served.database.startswith("sqlite") else _postgres_held)(served, what)


def _answers_meanwhile(served: Served, path: str, what: str, waiting: Sequence[Future[Any]]) -> None:
    """Ask for something again and again while all of these wait for the database: it waits for none of them."""
    until(lambda: served.in_the_database(what == "writers") == len(waiting), "all of them wait")
    for _ in range(10):
        assert served.client.get(path).status_code == 200
    assert not any(each.done() for each in waiting)


def _statuses(answers: Sequence[Future[tuple[httpx.Response, float]]]) -> set[int]:
    return {each.result()[0].status_code for each in answers}


@pytest.mark.parametrize("what", ["writers", "everybody"])
def test_a_database_that_is_held_stops_neither_health_nor_those_who_need_nothing_of_it(served: Served, what: str) -> None:
    with ThreadPoolExecutor(2 * MANY) as crowd:
        with _held(served, what):
            writes = [crowd.submit(served.ask, "StartRun", key=f"held-{number}") for number in range(MANY)]
            reads = [crowd.submit(served.ask, "ListActors") for _ in range(MANY)]
            if what == "writers":
                assert _statuses(reads) == {200}
            _answers_meanwhile(served, "/health", what, writes + (reads if what == "everybody" else []))
        assert _statuses(writes + reads) == {200}
    assert len(served.ask("SearchRuns", limit=1000)[0].json()["runs"]) == MANY + 1


@pytest.mark.parametrize("what", ["writers", "everybody"])
def test_whoever_needs_a_database_that_is_held_is_told_in_time(served: Served, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(2 * MANY) as crowd:
        with _held(served, what), monkeypatch.context() as patched:
            patched.setattr("plimsoll.server.answers.LIMIT", LIMIT)
            asked = [crowd.submit(served.ask, "StartRun", key=f"held-{number}") for number in range(MANY)]
            asked += [crowd.submit(served.ask, "ListActors") for _ in range(MANY if what == "everybody" else 0)]
            for answer, took in [each.result() for each in asked]:
                assert answer.status_code == 503, answer.text
                assert f"has not answered for {LIMIT:.0f} seconds" in answer.json()["error"]["fact"]
                assert int(answer.headers["retry-after"]) >= 1
                assert took < TOLD
        again = [crowd.submit(served.ask, "StartRun", key=f"held-{number}") for number in range(MANY)]
        assert _statuses(again) == {200}
    # What was refused and done all the same is done once.
    ids = {each.result()[0].json()["id"] for each in again}
    found = served.ask("SearchRuns", limit=1000)[0].json()
    assert len(ids) == MANY
    assert len(found["runs"]) == MANY + 1, found


def test_files_are_fetched_while_many_that_were_sent_wait_to_be_named_in_a_held_database(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, digest = served.ask("StartRun", key="before")[0].json(), codec.digest(b"there before")
    assert served.client.put(f"/blobs/{digest}", content=b"there before").status_code == 200
    folder = f"/api/2.0/mlflow-artifacts/artifacts/{run['experiment_id']}/{run['id']}/artifacts"
    with ThreadPoolExecutor(MANY) as crowd:

        def send() -> list[Future[httpx.Response]]:
            return [crowd.submit(served.client.put, f"{folder}/{number}", content=bytes(number)) for number in range(MANY)]

        with _held(served, "writers"):
            sent = send()
            _answers_meanwhile(served, f"/blobs/{digest}", "writers", sent)
        assert {each.result().status_code for each in sent} == {200}
        with _held(served, "writers"), monkeypatch.context() as patched:
            patched.setattr("plimsoll.server.answers.LIMIT", LIMIT)
            assert {each.result().status_code for each in send()} == {503}
        assert {each.result().status_code for each in send()} == {200}
    assert served.client.get(f"{folder}/7").content == bytes(7)
