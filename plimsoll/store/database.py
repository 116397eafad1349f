"""One database class for both dialects, and the door that opens it: checked, created or upgraded before anyone reads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from plimsoll.errors import InvalidInput, Overloaded, PlimsollError
from plimsoll.store.contracts import Database
from plimsoll.store.migrations import revisions
from plimsoll.store.postgres import Postgres, public
from plimsoll.store.sqlite import PATIENCE, Sqlite, forked

_URLS = "Use sqlite:///folder/plimsoll.db or postgresql://user@host/database."


class Backend(Protocol):
    """What the dialects differ in."""

    #: ``sqlite`` or ``postgresql``.
    name: str

    def engines(self) -> tuple[Engine, Engine]:
        """Return a new engine for transactions that read and one for those that write; it may be the same."""
        ...

    def begin(self, connection: Connection, writes: bool, durable: bool) -> None:
        """Begin a transaction that writes, or one that cannot."""
        ...

    def version(self) -> int | None:
        """Return a number that is another one after each commit, or None."""
        ...

    def close(self) -> None:
        """Note that every connection was given back."""
        ...

    def explain(self, context: ExceptionContext) -> PlimsollError | None:
        """Return what an exception of the driver means, or None when only the caller can know."""
        ...

    def copy_to(self, path: Path) -> None:
        """Write one state of the whole database to a new file, while others write on."""
        ...

    def fill_from(self, path: Path) -> None:
        """Make an empty database what :meth:`copy_to` wrote, all or nothing."""
        ...


class SqlDatabase:
    """Transactions on one database; safe to share between threads. Across a fork it is refused.

    Args:
        backend: the dialect and where the database is.
    """

    def __init__(self, backend: Backend) -> None:
        self.dialect = backend.name
        self._backend = backend
        self._reading, self._writing = backend.engines()
        self._writers = threading.Lock()
        self._process = os.getpid()
        for engine in {self._reading, self._writing}:
            event.listen(engine, "handle_error", self._explain)

    def read(self) -> AbstractContextManager[Connection]:
        """Return a transaction that sees one state of the database and writes nothing.

        Raises:
            Overloaded: no connection became free.
            Conflict: the process was forked from the one that has opened the database.
        """
        self._check_process()
        return self._begin(self._reading, writes=False, durable=False)

    @contextmanager
    def write(self, durable: bool = True) -> Iterator[Connection]:
        """Return a writing transaction: committed at the end of the block, undone when it raises.

        Writers go one at a time, so what the block read is still so when it writes.

        Args:
            durable: whether the commit waits for the disk; without, a power cut may lose it, a killed process does not.

        Raises:
            StorageFull: the disk has no room; nothing was written.
            Overloaded: the writers before it took too long.
            Conflict: the process was forked from the one that has opened the database.
        """
        self._check_process()
        # Threads of one process queue here: SQLite's own way to wait is to sleep and to try again.
        if not self._writers.acquire(timeout=PATIENCE):
            raise Overloaded(f"Another writer held the database for {PATIENCE:.0f} seconds.", "Try again.", retry_after=1)
        try:
            with self._begin(self._writing, writes=True, durable=durable) as tx:
                yield tx
        finally:
            self._writers.release()

    def version(self) -> int | None:
        """Return a number that is another one after each commit, whoever makes it; None where the database does not tell.

        It is for one thread that would look again only after a change.

        Raises:
            Conflict: the process was forked from the one that has opened the database.
        """
        self._check_process()
        return self._backend.version()

    def copy_to(self, path: Path) -> None:
        """Write one state of the whole database to a new file, while others write on.

        Args:
            path: where no file is.

        Raises:
            Unavailable: it cannot be done here; the fact says why.
            StorageFull: there is no room for the file.
        """
        self._backend.copy_to(path)

    def close(self) -> None:
        """Give back all connections."""
        self._reading.dispose()
        self._writing.dispose()
        self._backend.close()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            # Neither its connections nor its lock are this process's own.
            raise forked(self._reading.url.render_as_string(hide_password=True))

    @contextmanager
    def _begin(self, engine: Engine, writes: bool, durable: bool) -> Iterator[Connection]:
        try:
            connection = engine.connect()
        except PoolTimeout as error:
            raise Overloaded("All connections to the database are in use.", "Try again.", retry_after=1) from error
        with connection, connection.begin():
            self._backend.begin(connection, writes, durable)
            yield connection

    def _explain(self, context: ExceptionContext) -> None:
        meaning = self._backend.explain(context)
        if meaning is not None:
            raise meaning from context.original_exception


def open_database(url: str) -> Database:
    """Open a database, creating or upgrading its tables first; two processes may do so at the same moment.

    A process killed in between leaves the database as it was.

    Args:
        url: ``sqlite:///folder/plimsoll.db`` or ``postgresql://user@host/database``.

    Raises:
        InvalidInput: the URL is of neither kind, or the database holds tables of something else.
        NewerDatabase: a newer Plimsoll wrote it; it is not touched.
        Corrupt: the file is not a sound database.
        Denied: it cannot be written.
        Unreachable: the server does not answer.
        StorageFull: there is no room for the tables.
    """
    database = SqlDatabase(backend_of(url))
    try:
        with database.read() as tx:
            current = revisions.is_current(tx)
        if not current:
            # The writers' lock: of two processes that open at once the second finds the first one's tables.
            with database.write() as tx:
                revisions.make_current(tx)
    except BaseException:
        database.close()
        raise
    return database


def shown(url: str) -> str:
    """Return a database's URL as anybody may see it: without a password, and of its query only where the server is.

    Args:
        url: one that :func:`open_database` opens.

    Raises:
        InvalidInput: it is no URL.
    """
    parsed = _parsed(url)
    return f"sqlite:///{parsed.database}" if parsed.drivername == "sqlite" else public(parsed)


def backend_of(url: str) -> Backend:
    """Return the dialect that a URL names, and where its database is; nothing is opened yet.

    Args:
        url: ``sqlite:///folder/plimsoll.db`` or ``postgresql://user@host/database``.

    Raises:
        InvalidInput: the URL is of neither kind.
        MissingExtra: psycopg is not installed.
    """
    parsed = _parsed(url)
    kind = parsed.drivername.partition("+")[0]
    if kind == "sqlite":
        return Sqlite(parsed)
    if kind in ("postgresql", "postgres"):
        return Postgres(parsed)
    raise InvalidInput(f"Plimsoll does not run on {kind!r}.", _URLS)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        # Without the text, which may hold a password.
        raise InvalidInput("The database URL is not a URL.", _URLS) from error
