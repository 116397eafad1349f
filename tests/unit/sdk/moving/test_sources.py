"""A database file and a live server are read like a folder, and nothing is ever written to them."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from plimsoll.errors import InvalidInput, Refused, Unauthenticated, Unreachable
from plimsoll.records.model import GetVersion
from plimsoll.records.run import GetRun, GetSeries
from plimsoll.sdk.moving.ledger import Ledger
from plimsoll.sdk.moving.sources.asked import AskedServer
from plimsoll.sdk.moving.sources.opened import open_source
from tests.unit.conftest import Running
from tests.unit.sdk.moving.database import database
from tests.unit.sdk.moving.store import RUNS, store
from tests.unit.sdk.moving.test_moving import counts, door_of, moved, state
from tests.unit.yard import Yard


def test_a_database_comes_like_a_folder_and_stays_as_it_is(yard: Yard, tmp_path: Path) -> None:
    path = database(tmp_path)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    ledger = moved(yard, f"sqlite:///{path}")
    assert ledger.whole, (ledger.notes.left, ledger.differences)
    found = counts(ledger)
    assert (found["run"], found["point"], found["artifact"]) == ((4, 0), (4 * 53, 0), (9, 0))
    door = door_of(yard)
    assert [door.do(GetRun(id=id)).run.state for id in RUNS] == ["finished", "stopped", "running", "finished"]
    odd = door.do(GetSeries(run_id=RUNS[0], name="odd"))
    assert odd.steps == (-7, 0, 3)
    assert odd.values[1] != odd.values[1]
    assert door.do(GetVersion(ref="late@champion")).number == 3
    assert door.do(GetVersion(ref="late/1")).stage == "staging"
    written = state(yard)
    again = moved(yard, path, recheck=True)
    assert again.whole
    assert all(copied == 0 for copied, _ in counts(again).values())
    assert state(yard) == written
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_a_point_of_a_time_that_does_not_fit_is_named_and_the_rest_comes(yard: Yard, tmp_path: Path) -> None:
    path = database(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        # Nanoseconds where milliseconds are meant.
        made.execute("INSERT INTO metrics VALUES ('loss', 5.0, 1700000000000000000, ?, 99, 0)", (RUNS[0],))
        made.execute("UPDATE latest_metrics SET value = 5.0, timestamp = 1700000000000000000, step = 99 WHERE key = 'loss'")
    ledger = moved(yard, path)
    assert [each.name for each in ledger.notes.left] == [f"loss of {RUNS[0]}"]
    assert "does not fit 64 bits" in ledger.notes.left[0].reason
    assert counts(ledger)["point"] == (4 * 53, 0)
    assert door_of(yard).do(GetVersion(ref="late@champion")).number == 3
    assert counts(moved(yard, path))["point"][0] == 0


def test_the_files_of_a_database_are_looked_for_where_one_says(yard: Yard, tmp_path: Path) -> None:
    path = database(tmp_path)
    (tmp_path / "mlruns").rename(tmp_path / "elsewhere")
    ledger = moved(yard, path)
    assert "--artifacts" in ledger.notes.left[0].reason
    again = moved(yard, path, artifacts=tmp_path / "elsewhere")
    # What is deleted here does not change, and is told.
    assert counts(again)["artifact"][0] == 5
    assert {each.name.partition(" of ")[2] for each in again.notes.left} == {RUNS[1], RUNS[3]}
    assert all("plimsoll runs restore" in each.reason for each in again.notes.left)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + bytes(200)])
def test_what_is_no_database_of_mlflow_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(content)
    with pytest.raises(InvalidInput):
        open_source(str(path), Ledger().notes)


def test_another_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    sqlite3.connect(path).execute("CREATE TABLE runs (id)").connection.close()
    before = path.read_bytes()
    with pytest.raises(InvalidInput):
        open_source(str(path), Ledger().notes)
    assert path.read_bytes() == before


def test_a_server_comes_like_a_folder(running: Running, yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved(running.yard, store(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", running.yard.workspace.token("owner"))
    ledger = moved(yard, running.address.url)
    assert ledger.whole, (ledger.notes.left, ledger.differences)
    assert state(yard) == state(running.yard)
    again = moved(yard, running.address.url, recheck=True)
    assert again.whole
    assert all(copied == 0 for copied, _ in counts(again).values())


def test_a_server_that_wants_a_token_says_how_it_is_given(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    with contextlib.closing(open_source(running.address.url, Ledger().notes)) as source, pytest.raises(Unauthenticated) as caught:
        list(source.experiments())
    assert "MLFLOW_TRACKING_TOKEN" in caught.value.remedy


@pytest.mark.parametrize("url", ["http://ann:hidden@127.0.0.1:1", "http://hidden@127.0.0.1:1", "http://127.0.0.1:1/?token=hidden"])
def test_a_password_in_the_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_source(url, Ledger().notes)
    assert "hidden" not in str(caught.value)
    assert "MLFLOW_TRACKING_PASSWORD" in caught.value.remedy


class Hostile(BaseHTTPRequestHandler):
    """A server whose answers are whatever a test says."""

    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        status, body = self.answers.get(path, (404, b"{}"))
        self.send_response(status)
        if status == 302:
            self.send_header("location", "/led-elsewhere")
        self.send_header("content-length", str(len(body) + (9 if status == 299 else 0)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of such a server; nobody waits between two questions."""
    monkeypatch.setattr("plimsoll.clock.sleep", lambda seconds: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


_API = "/api/2.0/mlflow"


def test_names_that_lead_elsewhere_are_refused_and_the_rest_comes(yard: Yard, hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        b'{"path": "%s", "is_dir": false, "file_size": 2}' % name for name in (b"../up", b"/etc/passwd", b"s3:x", b"ok.txt", b"a/../../b")
    ]
    listed.append(b'{"path": "short.txt", "is_dir": false, "file_size": 5}')
    run = b'{"info": {"run_id": "%s", "status": "FINISHED", "start_time": 1, "end_time": 2}, "data": {}}' % RUNS[0].encode()
    answers = {
        f"{_API}/experiments/search": (200, b'{"experiments": [{"experiment_id": "1", "name": "e"}, {"name": 5}]}'),
        f"{_API}/runs/search": (200, b'{"runs": [{"info": 3}, {"info": {"run_id": "../x"}}, %s]}' % run),
        f"{_API}/artifacts/list": (200, b'{"files": [%s]}' % b",".join(listed)),
        "/get-artifact": (200, b"ok"),
        f"{_API}/registered-models/search": (200, b"{}"),
    }
    monkeypatch.setattr(Hostile, "answers", answers)
    ledger = moved(yard, hostile)
    assert [kept.name for kept in door_of(yard).do(GetRun(id=RUNS[0])).artifacts] == ["ok.txt"]
    assert ledger.differences == [f"short.txt of {RUNS[0]} has 2 bytes, but 5 were announced."]
    left = {each.name.partition(" of ")[0] for each in ledger.notes.left if each.kind == "artifact"}
    assert left == {"../up", "/etc/passwd", "s3:x", "a/../../b"}
    assert {each.kind for each in ledger.notes.left} == {"artifact", "experiment", "run"}


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [(503, b"{}", Unreachable), (302, b"{}", Refused), (200, b"<html>", Unreachable), (200, b"[]", Unreachable), (500, b"{}", Refused)],
)
def test_a_server_that_does_not_answer_as_it_should_ends_the_copy_with_one_error(
    yard: Yard, hostile: str, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, error: type[Exception]
) -> None:
    elsewhere = (200, b'{"experiments": []}')
    monkeypatch.setattr(Hostile, "answers", {f"{_API}/experiments/search": (status, body), "/led-elsewhere": elsewhere})
    with pytest.raises(error):
        moved(yard, hostile)


def test_a_server_whose_pages_lead_in_a_circle_is_read_once(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hostile, "answers", {"/rows": (200, b'{"rows": [{"a": 1}], "next_page_token": "same"}')})
    server = AskedServer(hostile)
    assert list(itertools.islice(server.pages("GET", "/rows", "rows"), 5)) == [{"a": 1}] * 2
    server.close()


def test_a_folder_that_cannot_be_written_holds_a_database_that_can_be_read(yard: Yard, tmp_path: Path) -> None:
    path = database(tmp_path)
    sqlite3.connect(path).execute("PRAGMA journal_mode = WAL").connection.close()
    os.chmod(path, 0o444)
    os.chmod(tmp_path, 0o555)
    try:
        assert moved(yard, path).whole
    finally:
        os.chmod(tmp_path, 0o755)
