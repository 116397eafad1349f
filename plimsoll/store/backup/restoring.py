"""A home is made of a backup: all of it, verified, or nothing.

It is put together beside its place and gets its name last. Killed before that, nothing is in its place, and the next restoring
removes what was begun.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from plimsoll import clock
from plimsoll.errors import Conflict, Corrupt, InvalidInput
from plimsoll.store.backup.layout import DATABASE, LIST, Backup, copy_file, listed, read_backup, sync_folder, told
from plimsoll.store.database import backend_of

#: Folder of a backup's small files that belong into the home.
SECRETS = "secrets"


def restore(source: Path, home: Path, url: str | None, progress: Callable[[str], None]) -> Backup:
    """Make a home of a backup.

    Args:
        source: folder of the backup.
        home: where to; nothing is there, or an empty folder.
        url: an empty PostgreSQL database for the backup of one; None for SQLite, whose file lies in the home.
        progress: gets one line whenever it is further.

    Raises:
        NotFound: there is no backup.
        Conflict: the home, or the database, holds something already.
        InvalidInput: the backup is of the other kind of database.
        Corrupt: something in the backup is not what the manifest says; nothing was made.
        StorageFull: there is no room; nothing was made.
    """
    source, home = source.absolute(), home.absolute()
    found = read_backup(source)
    if (found.dialect == "sqlite") != (url is None):
        remedy = "Unset PLIMSOLL_DATABASE." if url else "Make an empty one with createdb and name it with PLIMSOLL_DATABASE."
        raise InvalidInput(f"The backup {str(source)!r} holds a database of {found.dialect}.", remedy)
    with told(home):
        if home.exists() and (not home.is_dir() or any(home.iterdir())):
            raise Conflict(f"There is something at {str(home)!r} already.", "Move it away, or restore elsewhere with --home.")
        with _beside(home) as part:
            _copy(found, source, part, progress)
            if url is not None:
                progress("the database")
                backend_of(url).fill_from(part / DATABASE)
                (part / DATABASE).unlink()
            else:
                (part / DATABASE).rename(part / "plimsoll.db")
            os.sync()
            part.rename(home)
            sync_folder(home.parent)
    return found


@contextmanager
def _beside(home: Path) -> Iterator[Path]:
    """Make a folder beside a home; what killed processes left there is removed."""
    home.parent.mkdir(parents=True, exist_ok=True)
    for left in home.parent.glob(f".{home.name}.*.restoring"):
        with _locked(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    part = home.parent / f".{home.name}.{clock.new_id()}.restoring"
    part.mkdir(mode=0o700)
    try:
        with _locked(part):
            yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _copy(found: Backup, source: Path, part: Path, progress: Callable[[str], None]) -> None:
    own = source / found.folder
    for file in found.files:
        # The project's file is there to look at; a home has none.
        if file.path in (DATABASE, LIST) or file.path.startswith(f"{SECRETS}/"):
            _verified(own / file.path, part / file.path, file.digest)
    for count, (digest, _) in enumerate(listed(part / LIST)):
        place = f"{digest[:2]}/{digest}"
        _verified(source / "blobs" / place, part / "blobs" / place, digest)
        if count % 1000 == 999:
            progress(f"{count + 1} of {found.blobs} blobs")
    (part / LIST).unlink()


def _verified(source: Path, target: Path, digest: str) -> None:
    try:
        seen, _ = copy_file(source, target)
    except FileNotFoundError:
        raise Corrupt(f"The backup lacks {str(source)!r}.", "Use another backup.") from None
    if seen != digest:
        raise Corrupt(f"{str(source)!r} does not hold the bytes that the backup lists.", "Use another backup.", digest=digest)
