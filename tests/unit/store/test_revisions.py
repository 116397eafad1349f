from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, insert, inspect, select, text

from plimsoll.errors import InvalidInput, NewerDatabase
from plimsoll.store import schema
from plimsoll.store.contracts import Database
from plimsoll.store.database import SqlDatabase, backend_of, open_database
from plimsoll.store.migrations import revisions
from plimsoll.store.tables.columns import metadata


@pytest.fixture
def migrated(empty_database_url: str) -> Any:
    """An empty database that went through every revision."""
    database = SqlDatabase(backend_of(empty_database_url))
    with database.write() as tx:
        revisions.upgrade(tx)
    yield database
    database.close()


def _described(tx: Connection) -> dict[str, Any]:
    found = inspect(tx)
    return {
        table: {
            "columns": [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in found.get_columns(table)],
            "primary key": found.get_pk_constraint(table),
            "foreign keys": sorted(map(str, found.get_foreign_keys(table))),
            "unique": sorted(map(str, found.get_unique_constraints(table))),
            "indexes": sorted(map(str, found.get_indexes(table))),
        }
        for table in found.get_table_names()
    }


def test_the_revisions_lead_to_the_tables_of_the_schema(migrated: SqlDatabase) -> None:
    with migrated.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx), metadata) == []
        assert revisions.is_current(tx)


def test_a_fresh_database_equals_a_migrated_one(migrated: SqlDatabase, empty_database_url: str, tmp_path: Any, request: Any) -> None:
    other = f"sqlite:///{tmp_path / 'other.db'}" if migrated.dialect == "sqlite" else request.getfixturevalue("postgres").fresh()
    fresh = open_database(other)
    with migrated.read() as one, fresh.read() as two:
        assert _described(one) == _described(two)
        assert set(_described(two)) == {*metadata.tables, "alembic_version"}
    fresh.close()


def test_an_older_database_is_brought_up_when_it_is_opened(database: Database, database_url: str) -> None:
    with database.write() as tx:
        tx.execute(insert(schema.models).values(name="flights", created=1, updated=1, description="", last=0))
        revisions.downgrade(tx, "base")
        assert inspect(tx).get_table_names() == ["alembic_version"]
    again = open_database(database_url)
    with again.read() as tx:
        assert revisions.is_current(tx)
        assert tx.execute(select(schema.models)).first() is None
    again.close()


def test_an_upgrade_that_is_undone_leaves_the_old_tables(database: Database) -> None:
    def fail() -> None:
        with database.write() as tx:
            revisions.downgrade(tx, "base")
            raise ZeroDivisionError

    with database.write() as tx:
        tx.execute(insert(schema.models).values(name="flights", created=1, updated=1, description="", last=0))
    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as tx:
        assert revisions.is_current(tx)
        assert tx.execute(select(schema.models.c.name)).scalars().all() == ["flights"]


def test_a_newer_database_is_refused_and_not_touched(database: Database, database_url: str, tmp_path: Any) -> None:
    with database.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        before = _described(tx)
    database.close()
    stored = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(NewerDatabase, match="9999") as caught:
        open_database(database_url)
    assert "pip install" in caught.value.remedy
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == stored
    with database.read() as tx:
        assert _described(tx) == before


def test_a_database_of_something_else_is_refused_and_not_touched(empty_database_url: str) -> None:
    other = SqlDatabase(backend_of(empty_database_url))
    with other.write() as tx:
        tx.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(InvalidInput, match="recipes"):
        open_database(empty_database_url)
    with other.read() as tx:
        assert inspect(tx).get_table_names() == ["recipes"]
    other.close()
