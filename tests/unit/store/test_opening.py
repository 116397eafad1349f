from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll import extras
from plimsoll.errors import Corrupt, Denied, InvalidInput, NotFound, Unreachable
from plimsoll.store import schema
from plimsoll.store.database import open_database, shown


@pytest.mark.parametrize("url", ["", "plimsoll.db", "mysql://host/db", "sqlite://", "sqlite:///:memory:", "postgresql+asyncpg://host/db"])
def test_a_url_of_another_kind_is_refused_with_the_right_ones(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_database(url)
    assert "://" in caught.value.remedy


def test_the_folder_of_a_new_database_is_made(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/new/folder/plimsoll.db").close()
    assert (tmp_path / "new" / "folder" / "plimsoll.db").exists()


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to have a header " * 40, b"short"])
def test_a_file_that_is_no_database_is_corrupt_and_not_touched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "plimsoll.db"
    path.write_bytes(content)
    with pytest.raises(Corrupt, match=r"plimsoll\.db") as caught:
        open_database(f"sqlite:///{path}")
    assert "recover" in caught.value.remedy
    assert path.read_bytes() == content


def test_a_damaged_page_is_reported_as_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "plimsoll.db"
    open_database(f"sqlite:///{path}").close()
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = b"\xff" * 3996
    path.write_bytes(damaged)
    with pytest.raises(Corrupt):
        open_database(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Denied, match="file"):
        open_database(f"sqlite:///{tmp_path}/file/plimsoll.db")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Denied, match=str(tmp_path)) as caught:
        open_database(f"sqlite:///{tmp_path}")
    assert "write access" in caught.value.remedy


def test_a_file_of_something_else_keeps_its_journal_mode(tmp_path: Path) -> None:
    path = tmp_path / "recipes.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="recipes"):
        open_database(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_every_connection_syncs_each_commit_and_checks_foreign_keys(sqlite_url: str) -> None:
    database = open_database(sqlite_url)
    with database.write() as one, database.read() as two:
        for tx in (one, two):
            names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            assert [tx.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names] == ["wal", 2, 1, 30_000]
    database.close()


def test_an_open_of_a_current_database_imports_neither_alembic_nor_polars(sqlite_url: str) -> None:
    for _ in ("fresh", "current"):
        code = (
            "import sys; from plimsoll.store.database import open_database; from plimsoll.store.segments.rows import SqlSegments;"
            "from plimsoll.store.points.history import SqlPoints; open_database(sys.argv[1]).close();"
            "print(sorted({'alembic', 'polars', 'numpy', 'psycopg'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code, sqlite_url], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        open_database(f"postgresql://dana:secret@/plimsoll?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_a_database_that_is_not_there_is_not_found(postgres_url: str) -> None:
    with pytest.raises(NotFound) as caught:
        open_database(postgres_url.replace("/plimsoll_", "/absent_"))
    assert "createdb" in caught.value.remedy


def test_a_connection_that_the_server_dropped_is_replaced_before_its_next_use(postgres_url: str) -> None:
    database, other = open_database(postgres_url), open_database(postgres_url)
    with other.write() as tx:
        others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        tx.exec_driver_sql(f"SELECT pg_terminate_backend(pid, 10000) {others}")
    with database.write() as tx:
        assert tx.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()
    other.close()


def test_a_server_that_goes_away_in_the_middle_is_unreachable(postgres_url: str) -> None:
    database, other = open_database(postgres_url), open_database(postgres_url)

    def cut_off() -> None:
        with database.write() as tx:
            pid = tx.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            with other.read() as killer:
                killer.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 10000)")
            tx.exec_driver_sql("SELECT 1")

    with pytest.raises(Unreachable):
        cut_off()
    with database.read() as tx:
        assert tx.exec_driver_sql("SELECT 1").scalar() == 1
    database.close()
    other.close()


def test_a_commit_on_postgresql_waits_for_the_disk(postgres_url: str) -> None:
    database = open_database(postgres_url)
    with database.write() as tx:
        assert tx.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert tx.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"
        assert tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == schema.HEAD
    database.close()


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("postgresql://olga:hidden@db:5433/plimsoll?password=hidden&sslpassword=hidden", "postgresql://olga@db:5433/plimsoll"),
        ("postgresql://db/plimsoll?password=hidden&user=olga", "postgresql://db/plimsoll"),
        ("postgresql://olga@/plimsoll?host=sockets&port=5", "postgresql://olga@/plimsoll?host=sockets&port=5"),
        ("sqlite:////srv/a@b/plimsoll.db", "sqlite:////srv/a@b/plimsoll.db"),
    ],
)
def test_a_database_is_shown_without_what_opens_it(url: str, seen: str) -> None:
    assert shown(url) == seen


def test_a_server_that_does_not_answer_is_told_without_a_password(tmp_path: Path) -> None:
    extras.require("psycopg")
    url = f"postgresql://olga:hidden@/plimsoll?host={tmp_path}&password=hidden"
    with pytest.raises(Unreachable) as told:
        open_database(url)
    assert "hidden" not in str(told.value)
