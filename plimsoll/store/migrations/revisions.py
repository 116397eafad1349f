"""Which revision a database is at, and how it gets to this code's.

The revision is read with plain SQL: Alembic costs more to import than the rest of the server, and is needed only when the
tables are older than the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from plimsoll import extras
from plimsoll.errors import InvalidInput, NewerDatabase
from plimsoll.store import schema
from plimsoll.store.tables.columns import metadata


def is_current(tx: Connection) -> bool:
    """Return whether the tables are those of this code.

    Args:
        tx: an open transaction.
    """
    return _revision(tx) == schema.HEAD


def make_current(tx: Connection) -> None:
    """Create the tables in an empty database, or bring older ones up to this code, within the transaction.

    Args:
        tx: an open writing transaction, which keeps other processes from doing the same.

    Raises:
        NewerDatabase: this code does not know the database's revision; nothing was changed.
        InvalidInput: the database holds tables, but not Plimsoll's.
    """
    revision = _revision(tx)
    if revision == schema.HEAD:
        return
    if revision is not None:
        upgrade(tx)
        return
    found = sorted(set(inspect(tx).get_table_names()))
    if found:
        raise InvalidInput(
            f"The database holds tables that are not Plimsoll's, such as {found[0]!r}.", "Name an empty database, or a new file."
        )
    # Equal to all revisions in order, which a test proves on every dialect, without Alembic's import.
    metadata.create_all(tx, checkfirst=False)
    tx.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"))
    tx.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": schema.HEAD})


def upgrade(tx: Connection, revision: str = "head") -> None:
    """Bring the tables up to a revision, with what they hold.

    Args:
        tx: an open writing transaction; nothing stays when it is undone.
        revision: the revision to reach.

    Raises:
        NewerDatabase: this code does not know the database's revision.
    """
    config = _config(tx)
    _check_known(config, _revision(tx))
    extras.require("alembic.command").upgrade(config, revision)


def downgrade(tx: Connection, revision: str) -> None:
    """Take the tables back to an older revision, with what it can hold.

    Args:
        tx: an open writing transaction; nothing stays when it is undone.
        revision: the revision to reach, or ``base`` for no tables.

    Raises:
        NewerDatabase: this code does not know the database's revision.
    """
    config = _config(tx)
    _check_known(config, _revision(tx))
    extras.require("alembic.command").downgrade(config, revision)


def _revision(tx: Connection) -> str | None:
    """Return the revision, empty before the first one, None when the database was never Plimsoll's."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    return tx.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _config(tx: Connection) -> Any:
    config = extras.require("alembic.config").Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = tx
    return config


def _check_known(config: Any, revision: str | None) -> None:
    scripts = extras.require("alembic.script").ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    if revision and revision not in known:
        raise NewerDatabase(
            f"The database is at revision {revision!r}, which this Plimsoll does not know (it knows up to {schema.HEAD!r}).",
            "Install the newer Plimsoll that wrote it: pip install --upgrade plimsoll",
            revision=revision,
        )
