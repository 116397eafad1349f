"""What is different on PostgreSQL: a server, many connections, and writers that would not wait for each other by themselves.

A writing transaction takes one advisory lock first. So every verb runs as on SQLite, one writer at a time, and what it
read is still so when it writes; the audit chain has one end. Readers take no lock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, inspect
from sqlalchemy.engine import ExceptionContext

from plimsoll import extras
from plimsoll.errors import (
    Conflict,
    Corrupt,
    Denied,
    InvalidInput,
    NotFound,
    Overloaded,
    PlimsollError,
    StorageFull,
    Unavailable,
    Unreachable,
)

#: Seconds that a writer waits for the writers before it.
PATIENCE = 30.0

#: Whole seconds within which the server must have let a new connection in.
WELCOME = 10

#: The writers' lock: one number for every Plimsoll, within one database.
_WRITERS = 0x706C696D736F6C6C


#: What of a URL's query says where the server is; everything else may be a secret, such as ``password``.
_OPEN = ("host", "port", "dbname")


def public(url: URL) -> str:
    """Return a URL without its passwords.

    Args:
        url: ``postgresql://…``.
    """
    query = {name: value for name, value in url.query.items() if name in _OPEN}
    bare = URL.create(url.drivername, username=url.username, host=url.host, port=url.port, database=url.database, query=query)
    return bare.render_as_string()


class Postgres:
    """A PostgreSQL database, seen from the shared part in :mod:`plimsoll.store.database`.

    Args:
        url: ``postgresql://user@host/database``.

    Raises:
        MissingExtra: psycopg is not installed.
        InvalidInput: the URL asks for another driver.
    """

    name = "postgresql"

    def __init__(self, url: URL) -> None:
        if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
            raise InvalidInput(f"The database URL asks for the driver {url.drivername!r}.", "Use postgresql://user@host/database.")
        extras.require("psycopg")
        self.url = url.set(drivername="postgresql+psycopg")

    def engines(self) -> tuple[Engine, Engine]:
        """Return one new engine for all transactions: its connections are tried before use, its commits wait for the server's disk."""
        engine = create_engine(
            self.url,
            connect_args={
                "options": f"-c lock_timeout={PATIENCE * 1000:.0f} -c synchronous_commit=on -c timezone=UTC",
                "connect_timeout": WELCOME,
                # A server that vanished with its network is noticed within half a minute, not after hours.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 25_000,
            },
            pool_pre_ping=True,
            pool_size=8,
            max_overflow=32,
            pool_timeout=PATIENCE,
        )
        return engine, engine

    def version(self) -> int | None:
        """Return None: no question tells it that costs less than to look."""
        return None

    def close(self) -> None:
        """Note nothing: a connection is a process's own."""

    def begin(self, connection: Connection, writes: bool, durable: bool) -> None:
        """Make the transaction that has begun a writing one, or one that reads a single state.

        Args:
            connection: on which a transaction has begun and done nothing.
            writes: whether it takes the writers' lock.
            durable: whether its commit waits for the server's disk.
        """
        if writes:
            if not durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
        else:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def explain(self, context: ExceptionContext) -> PlimsollError | None:
        """Return what an exception of the driver means, or None when only the caller can know.

        Args:
            context: SQLAlchemy's account of the exception.
        """
        if context.is_pre_ping:
            # The pool tries a connection before use, and replaces one that the server has dropped.
            return None
        error = context.original_exception
        state = getattr(error, "sqlstate", None)
        where = public(self.url)
        if state == "2201B":
            why = str(error).partition("\n")[0]  # what follows may show the statement
            return InvalidInput(f"PostgreSQL knows no such regular expression: {why}.", "Write it in PostgreSQL's syntax as well.")
        if isinstance(error, UnicodeEncodeError) or (context.sqlalchemy_exception and _is_data_error(error)):
            return InvalidInput(f"The database cannot hold a value: {error}.", "Send 64-bit integers and Unicode text without NUL.")
        if state == "53100":
            return StorageFull(f"The disk of {where} is full; nothing was written.", "Free some room on the server and do it again.")
        if state in ("XX001", "XX002"):
            return Corrupt(f"The database {where} is damaged: {error}.", "Restore it from a backup.")
        if state in ("55P03", "53300"):
            return Overloaded(f"The database {where} is busy: {error}.", "Try again.", retry_after=1)
        if context.is_disconnect or context.connection is None:
            return _unreachable(error, state, where)
        return None

    def copy_to(self, path: Path) -> None:
        """Write one state of the whole database to a new file with ``pg_dump``, while others write on.

        Args:
            path: where no file is.

        Raises:
            Unavailable: there is no pg_dump, or it fails.
        """
        self._run("pg_dump", "--format=custom", f"--file={path}", "--no-owner", "--no-privileges")

    def fill_from(self, path: Path) -> None:
        """Make an empty database what :meth:`copy_to` wrote, with ``pg_restore`` and in one transaction.

        Args:
            path: the copy.

        Raises:
            Conflict: the database has tables.
            Unavailable: there is no pg_restore, or it fails; nothing was changed.
        """
        engine, _ = self.engines()
        try:
            tables = inspect(engine).get_table_names()
        finally:
            engine.dispose()
        if tables:
            raise Conflict(
                f"The database {public(self.url)} has tables, such as {sorted(tables)[0]!r}.", "Make an empty one: createdb NAME"
            )
        self._run("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", str(path))

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own programs; the password stays out of the list of processes."""
        found = shutil.which(program)
        if found is None:
            raise Unavailable(f"{program} is not on the PATH.", "Install PostgreSQL's client programs, of the server's version or later.")
        password = self.url.password or self.url.query.get("password")
        address = self.url.set(drivername="postgresql", password=None).difference_update_query(["password"])
        secret = {} if password is None else {"PGPASSWORD": str(password)}
        command = [found, f"--dbname={address.render_as_string(hide_password=False)}", *arguments]
        done = subprocess.run(command, env={**os.environ, **secret}, capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(f"{program} fails for {public(self.url)}: {done.stderr.strip()[-500:]}", "Do what it says, then try again.")


def _is_data_error(error: BaseException) -> bool:
    return any(cls.__name__ == "DataError" for cls in type(error).__mro__)


def _unreachable(error: BaseException, state: str | None, where: str) -> PlimsollError:
    text = str(error).strip()
    if state == "3D000" or ("database" in text and "does not exist" in text):
        return NotFound(f"There is no database at {where}.", "Make it first: createdb NAME")
    if (state or "").startswith("28") or "authentication failed" in text:
        return Denied(f"PostgreSQL at {where} refuses this user: {text}", "Correct the user and the password in the URL.")
    return Unreachable(f"PostgreSQL at {where} does not answer: {text}", "Start it, or correct the URL.")
