"""What is different on SQLite: one file in WAL mode, writers one after the other, readers that never wait.

``synchronous=FULL`` syncs the log before a commit returns, so what was acknowledged survives a power cut.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from plimsoll import clock
from plimsoll.errors import Conflict, Corrupt, Denied, Internal, InvalidInput, Overloaded, PlimsollError, StorageFull, Unavailable
from plimsoll.store.patterns import matches

#: Seconds that a writer waits for the writers before it.
PATIENCE = 30.0

#: Who has imported this file; in a process that was forked since, it is another one.
_IMPORTED_BY = os.getpid()

#: Bytes of a page. Of the small chunks that many short series leave, four would fit a page of 4,096 and leave a fifth of it empty.
_PAGE = 8192

#: KiB of pages that a connection keeps at most. SQLite's own 2,000 are a part of what one search among 20,000 runs looks at, and
#: whatever is not kept is read from the system again.
_KEPT = 16_000

#: With less room than this on its disk, an I/O error of SQLite's means that the disk is full.
_FULL_BELOW = 1 << 20


class Sqlite:
    """A SQLite file, seen from the shared part in :mod:`plimsoll.store.database`.

    Args:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``; the folder is made when it does not exist.

    Raises:
        InvalidInput: the URL names no file.
        Denied: the folder cannot be made.
    """

    name = "sqlite"

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:" or url.query:
            raise InvalidInput(f"The database URL {str(url)!r} names no file.", "Use sqlite:///folder/plimsoll.db.")
        self.path = Path(url.database).absolute()
        #: The process that has it open, 0 for none.
        self._opened_by = 0
        #: Asks whether others have written: SQLite tells a connection of the commits of all but itself.
        self._asking: sqlite3.Connection | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Denied(
                f"The folder {str(self.path.parent)!r} cannot be made: {error.strerror}.",
                "Choose a folder that you can write to, with PLIMSOLL_HOME or --home.",
            ) from error

    def engines(self) -> tuple[Engine, Engine]:
        """Return a new engine for transactions that read, whose connections cannot write, and one for those that write.

        Their connections wait for locks, check foreign keys and sync each commit.

        Raises:
            Conflict: the process was forked from one that had the file open.
        """
        if os.getpid() != _IMPORTED_BY and self._is_open() and self._was_inherited():
            # SQLite keeps account of a process's locks in memory. A fork copies the account and not the locks, so what is written
            # here would lie in a log that others, who see no lock, may delete.
            raise forked(str(self.path))
        self._opened_by = os.getpid()
        reading, writing = self._engine(), self._engine()
        event.listen(reading, "connect", self._connected_to_read)
        return reading, writing

    def _is_open(self) -> bool:
        """Return whether this process has the file open; one that it inherited counts."""
        for number in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(int(number)), self.path.stat()):
                    return True
        return False

    def _was_inherited(self) -> bool:
        # Only the garbage collector knows what was made before the fork: nothing here keeps a list.
        made = (each for each in gc.get_objects() if type(each) is Sqlite and each.path == self.path)
        return any(each._opened_by not in (0, os.getpid()) for each in made)

    def version(self) -> int | None:
        """Return a number that is another one after each commit, or None while the file cannot be asked."""
        try:
            if self._asking is None:
                self._asking = sqlite3.connect(self.path, timeout=0.0, isolation_level=None, check_same_thread=False)
            (found,) = self._asking.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        return int(found)

    def close(self) -> None:
        """Note that every connection was given back."""
        if self._asking is not None:
            self._asking.close()
        self._asking, self._opened_by = None, 0

    def _engine(self) -> Engine:
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            # Without an isolation level the module begins nothing by itself: begin() below does.
            connect_args={"timeout": PATIENCE, "isolation_level": None, "check_same_thread": False},
            pool_size=8,
            max_overflow=32,
            pool_timeout=PATIENCE,
            # The one used last, which has kept most pages.
            pool_use_lifo=True,
        )
        event.listen(engine, "connect", self._connected)
        return engine

    def begin(self, connection: Connection, writes: bool, durable: bool) -> None:
        """Begin a transaction that writes, or one that cannot.

        Args:
            connection: on which no transaction runs.
            writes: whether it takes the write lock.
            durable: whether its commit waits for the disk. The next one that does makes this one durable too.
        """
        wanted = "FULL" if durable else "NORMAL"
        # Not through SQLAlchemy, which would take ten times as long for what every transaction begins with.
        driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        try:
            if writes and connection.info.get("synchronous") != wanted:
                driver.execute(f"PRAGMA synchronous = {wanted}")
                connection.info["synchronous"] = wanted
            driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")
        except sqlite3.Error as error:
            raise self.meaning_of(error) or error from error

    def explain(self, context: ExceptionContext) -> PlimsollError | None:
        """Return what an exception of the driver means, or None when only the caller can know.

        Args:
            context: SQLAlchemy's account of the exception.
        """
        return self.meaning_of(context.original_exception)

    def copy_to(self, path: Path) -> None:
        """Write one state of the whole database to a new file, while others write on.

        Args:
            path: where no file is.

        Raises:
            StorageFull: there is no room for the file.
            Corrupt: the database, and so the copy, is damaged.
        """
        with closing(sqlite3.connect(self.path, timeout=PATIENCE)) as source, closing(sqlite3.connect(path)) as target:
            try:
                # In one step, within one reading transaction: writers go on, and what they write is not seen.
                source.backup(target)
                found = target.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.Error as error:
                meaning = Sqlite(URL.create("sqlite", database=str(path))).meaning_of(error)
                raise meaning or Unavailable(f"The database {str(self.path)!r} cannot be copied: {error}.", "Look at the disk.") from error
        if found != "ok":
            raise Corrupt(f"The database {str(self.path)!r} is damaged: {found}.", "Restore it from an earlier backup.")

    def fill_from(self, path: Path) -> None:
        """Make an empty database what :meth:`copy_to` wrote.

        Args:
            path: the copy.

        Raises:
            Conflict: there is a database already.
        """
        if self.path.exists():
            raise Conflict(f"There is a database at {str(self.path)!r} already.", "Name a place where none is.")
        shutil.copyfile(path, self.path)

    def meaning_of(self, error: BaseException) -> PlimsollError | None:
        """Return what an error of the driver means, or None when only the caller can know.

        Args:
            error: as sqlite3 raised it.
        """
        if isinstance(error, OverflowError | UnicodeEncodeError):
            return InvalidInput(f"The database cannot hold a value: {error}.", "Send 64-bit integers and valid Unicode text.")
        code = getattr(error, "sqlite_errorcode", None)
        return None if code is None else self._meaning(code & 0xFF, str(error))

    def _meaning(self, code: int, text: str) -> PlimsollError | None:
        if code == sqlite3.SQLITE_FULL or (code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and self._disk_is_full()):
            return StorageFull(
                f"The disk of {str(self.path)!r} is full; nothing was written.", "Free some room and do it again.", path=str(self.path)
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return Corrupt(
                f"The file {str(self.path)!r} is not a sound SQLite database: {text}.",
                f"Restore it from a backup, or rescue what it holds: sqlite3 '{self.path}' .recover",
            )
        if code == sqlite3.SQLITE_READONLY and os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK):
            return Internal(f"A reading transaction tried to write: {text}.", "Report this: it is a defect of Plimsoll.")
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return Denied(
                f"The database {str(self.path)!r} cannot be written: {text}.",
                f"Give yourself write access to the file and to its folder {str(self.path.parent)!r}, or choose another with --home.",
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Overloaded(
                f"Another process held the database {str(self.path)!r} for {PATIENCE:.0f} seconds.", "Try again.", retry_after=1
            )
        if code == sqlite3.SQLITE_IOERR:
            return Unavailable(f"The disk of {str(self.path)!r} fails: {text}.", "Look at the machine's disk, then do it again.")
        return None

    def _disk_is_full(self) -> bool:
        return shutil.disk_usage(self.path.parent).free < _FULL_BELOW

    def _connected(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        # For statements that are run past SQLAlchemy.
        record.info["meaning"] = self.meaning_of
        connection.create_function("regexp", 2, matches, deterministic=True)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
            # Only an empty file is switched: a database that is not ours stays as it is.
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            self._log_ahead(connection)

    def _connected_to_read(self, connection: sqlite3.Connection, record: ConnectionPoolEntry) -> None:
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{_KEPT}")

    def _log_ahead(self, connection: sqlite3.Connection) -> None:
        deadline = clock.monotonic() + PATIENCE
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # SQLite does not wait by itself when two processes switch the same new file.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or clock.monotonic() > deadline:
                    raise
                clock.sleep(0.01)


def forked(where: str) -> Conflict:
    """Return why a process that was forked must not ask a database that is open already.

    Args:
        where: the database.
    """
    return Conflict(
        f"This process was forked from one that has the database {where} open, and cannot use it.",
        "Log to the run of that process with plimsoll.current_run(), ask a server (plimsoll up), or start processes with 'spawn'.",
    )
