"""A backup is made beside a platform that goes on.

Nothing is collected meanwhile. The database comes first, as it was at one moment; then the blobs, so every digest that the
database names is there. The manifest comes last, by a rename. Killed before that, the backup before this one is still whole, and
what was copied is used again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from plimsoll import clock, codec
from plimsoll.errors import Conflict, Corrupt, InvalidInput
from plimsoll.store import schema
from plimsoll.store.backup.layout import DATABASE, LIST, MANIFEST, MARK, Backup, BackupFile, copy_file, sync_folder, told
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Database


def take(
    database: Database, blobs: LocalBlobs, files: Mapping[str, Path], target: Path, progress: Callable[[str], None], *, link: bool = True
) -> Backup:
    """Make a backup, and replace the one that was there before. What is there already is not copied again.

    Args:
        database: to be copied.
        blobs: to be copied.
        files: path in the backup -> a small file to be copied too.
        target: folder of the backup; made when it is not there.
        progress: gets one line whenever it is further.
        link: whether a blob on the same disk may be the same file, which costs no room and no time.

    Raises:
        InvalidInput: the target holds something else, or lies within the home.
        Conflict: another process makes a backup there.
        StorageFull: there is no room; the backup before is still there.
        Corrupt: the database or a blob that is copied is damaged.
    """
    target, home = target.absolute(), blobs.folder.parent
    if target.resolve().is_relative_to(home.resolve()) or home.resolve().is_relative_to(target.resolve()):
        raise InvalidInput(f"{str(target)!r} and the home {str(home)!r} lie one in the other.", "Name a folder somewhere else.")
    with told(target), _alone(target), blobs.kept():
        found = _fill(database, blobs, files, target, progress, link)
        _tidy(target, found)
    return found


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    if target.is_dir() and not (target / MARK).exists() and any(target.iterdir()):
        raise InvalidInput(f"{str(target)!r} holds something that is no backup.", "Name an empty folder, or one that is not there.")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (target / MARK).open("a") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another process makes a backup in {str(target)!r}.", "Let it end, or name another folder.") from None
        yield


def _fill(
    database: Database, blobs: LocalBlobs, files: Mapping[str, Path], target: Path, progress: Callable[[str], None], link: bool
) -> Backup:
    id, created = clock.new_id(), clock.now()
    own = target / id
    own.mkdir(mode=0o700)
    progress("the database")
    database.copy_to(own / DATABASE)
    count, size = _copy_blobs(blobs, target, own / LIST, progress, link)
    kept = [_described(own, path) for path in (DATABASE, LIST)]
    for path, source in sorted(files.items()):
        digest, length = copy_file(source, own / path)
        kept.append(BackupFile(path=path, digest=digest, size=length))
    found = Backup(
        made_by=version("plimsoll"),
        revision=schema.HEAD,
        dialect=database.dialect,
        created=created,
        folder=id,
        files=tuple(kept),
        blobs=count,
        size=size,
    )
    draft = target / f"{MANIFEST}.{id}"
    draft.write_bytes(codec.to_json(found))
    # Once for everything: a sync of each file would take longer than the copying.
    os.sync()
    draft.replace(target / MANIFEST)
    sync_folder(target)
    return found


def _described(folder: Path, path: str) -> BackupFile:
    digest, size = codec.digest_file(folder / path)
    return BackupFile(path=path, digest=digest, size=size)


def _copy_blobs(blobs: LocalBlobs, target: Path, list: Path, progress: Callable[[str], None], link: bool) -> tuple[int, int]:
    count = size = 0
    with list.open("w") as lines:
        for blob in blobs.stored():
            place = f"{blob.digest[:2]}/{blob.digest}"
            to = target / "blobs" / place
            if not (to.exists() and to.stat().st_size == blob.size):
                _bring(blobs.folder / place, to, blob.digest, link)
            lines.write(f"{blob.digest} {blob.size}\n")
            count, size = count + 1, size + blob.size
            if count % 1000 == 0:
                progress(f"{count} blobs")
    return count, size


def _bring(source: Path, to: Path, digest: str, link: bool) -> None:
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Under a name of its own first, which a killed process leaves and the next backup removes.
    part = to.parent / f".{clock.new_id()}.part"
    try:
        if not (link and _linked(source, part)):
            found, _ = copy_file(source, part)
            if found != digest:
                fact = f"The blob {digest} does not hold the bytes of its name."
                raise Corrupt(fact, "See what names it, and what to do, with: plimsoll doctor", digest=digest)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _linked(source: Path, part: Path) -> bool:
    try:
        os.link(source, part)
    except FileNotFoundError:
        raise
    except OSError:
        return False  # another disk, or one without links
    return True


def _tidy(target: Path, found: Backup) -> None:
    """Remove what no backup needs any more: the folder of the one before, blobs that are not listed, what was not finished."""
    for path in target.iterdir():
        if path.name not in (MANIFEST, MARK, "blobs", found.folder):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with (target / found.folder / LIST).open() as lines:
        listed = {line[:64] for line in lines}
    for path in (target / "blobs").glob("*/*"):
        if path.name not in listed:
            path.unlink()
