from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from plimsoll import codec
from plimsoll.data.refs import registered
from plimsoll.data.refs.registered import get_snapshot, list_snapshots, register_snapshot
from plimsoll.data.snapshot import get_manifest, get_tree, put_manifest, put_tree
from plimsoll.data.tables.table import put_table
from plimsoll.errors import Conflict, Corrupt, InvalidInput, NotFound
from plimsoll.records.access import Actor
from plimsoll.records.data import Column, FileEntry, GetSnapshot, ListSnapshots, Manifest, RegisterSnapshot
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Context, Database, Stores
from plimsoll.store.database import open_database


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "b").mkdir(parents=True)
    (made / "b" / "two.txt").write_text("two")
    (made / "b.txt").write_text("one")
    (made / "a").write_bytes(b"")
    return made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'plimsoll.db'}")
    yield opened
    opened.close()


@pytest.fixture
def do(database: Database, blobs: LocalBlobs) -> Callable[..., Any]:
    nothing: Any = None
    stores = Stores(database=database, blobs=blobs, points=nothing, queue=nothing, events=nothing, segments=nothing, secrets=nothing)

    def run(function: Callable[[Any, Context], Any], request: Any, actor: str = "dana") -> Any:
        with database.write() as tx:
            return function(request, Context(actor=Actor(name=actor, roles=("write",)), tx=tx, stores=stores))

    return run


def test_a_tree_comes_back_file_by_file(blobs: LocalBlobs, folder: Path, tmp_path: Path) -> None:
    digest, size = put_tree(blobs, folder, "tree", {"note": "x"})
    manifest = get_tree(blobs, digest, tmp_path / "new" / "copy")
    assert size == 6
    assert manifest == get_manifest(blobs, digest)
    assert [entry.path for entry in manifest.files] == ["a", "b.txt", "b/two.txt"]
    assert manifest.meta == {"note": "x"}
    found = {str(path.relative_to(tmp_path / "new")): path.read_text() for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert found == {"copy/a": "", "copy/b.txt": "one", "copy/b/two.txt": "two"}


def test_only_paths_and_contents_name_a_tree(blobs: LocalBlobs, folder: Path) -> None:
    digest, _ = put_tree(blobs, folder, "tree", {})
    os.utime(folder / "a", (1, 1))
    (folder / "empty").mkdir()
    assert put_tree(blobs, folder, "tree", {})[0] == digest
    (folder / "a").write_text("changed")
    assert put_tree(blobs, folder, "tree", {})[0] != digest


def test_links_and_special_files_are_refused_by_name(blobs: LocalBlobs, folder: Path) -> None:
    (folder / "link").symlink_to(folder / "a")
    with pytest.raises(InvalidInput, match="made/link"):
        put_tree(blobs, folder, "tree", {})
    (folder / "link").unlink()
    os.mkfifo(folder / "b" / "pipe")
    with pytest.raises(InvalidInput, match="made/b/pipe"):
        put_tree(blobs, folder, "tree", {})
    with pytest.raises(InvalidInput, match="not a folder"):
        put_tree(blobs, folder / "a", "tree", {})


@pytest.mark.parametrize(
    "paths",
    [["../x"], ["/x"], ["a/../b"], ["a//b"], [""], ["./a"], ["a\\b"], ["a\0"], ["b", "a"], ["a", "a"], ["a", "a/b"], ["a", "a b", "a/b"]],
)
def test_a_manifest_with_paths_that_leave_the_tree_or_clash_is_refused(blobs: LocalBlobs, tmp_path: Path, paths: list[str]) -> None:
    files = tuple(FileEntry(path=path, digest=blobs.put(b"x"), size=1) for path in paths)
    manifest = Manifest(kind="tree", files=files, meta={})
    with pytest.raises(InvalidInput):
        put_manifest(blobs, manifest)
    digest = blobs.put(codec.canonical(manifest))
    with pytest.raises(InvalidInput):
        get_tree(blobs, digest, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_blob_that_is_no_manifest_is_refused(blobs: LocalBlobs) -> None:
    for data in (b"", b"\xff", b"{}", b'{"version":2,"kind":"tree","files":[],"meta":{}}'):
        with pytest.raises(InvalidInput, match="manifest"):
            get_manifest(blobs, blobs.put(data))
    with pytest.raises(NotFound):
        get_manifest(blobs, "0" * 64)


def test_a_damaged_or_missing_file_leaves_nothing_visible(blobs: LocalBlobs, folder: Path, tmp_path: Path) -> None:
    digest, _ = put_tree(blobs, folder, "tree", {})
    two = codec.digest(b"two")
    (tmp_path / "blobs" / two[:2] / two).write_bytes(b"tow")
    with pytest.raises(Corrupt):
        get_tree(blobs, digest, tmp_path / "new" / "copy")
    blobs.delete(two)
    with pytest.raises(NotFound):
        get_tree(blobs, digest, tmp_path / "new" / "copy")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_process_killed_between_two_files_leaves_nothing_visible(blobs: LocalBlobs, folder: Path, tmp_path: Path) -> None:
    digest, _ = put_tree(blobs, folder, "tree", {})
    program = """
import os, signal, sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from plimsoll.data.snapshot import get_tree
from plimsoll.store.blobs import LocalBlobs

class Dying(LocalBlobs):
    def get_file(self, digest, path):
        super().get_file(digest, path)
        os.kill(os.getpid(), signal.SIGKILL)

get_tree(Dying(Path(sys.argv[2])), sys.argv[3], Path(sys.argv[4]))
"""
    arguments = [str(Path(__file__).parents[3]), str(tmp_path / "blobs"), digest, str(tmp_path / "copy")]
    assert subprocess.run([sys.executable, "-c", program, *arguments], check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "copy").exists()
    get_tree(blobs, digest, tmp_path / "copy")
    assert (tmp_path / "copy" / "b" / "two.txt").read_text() == "two"


def test_getting_a_tree_again_verifies_what_is_there(blobs: LocalBlobs, folder: Path, tmp_path: Path) -> None:
    digest, _ = put_tree(blobs, folder, "tree", {})
    (tmp_path / "copy").mkdir()
    get_tree(blobs, digest, tmp_path / "copy")
    (tmp_path / "copy" / "b" / "__pycache__").mkdir()
    (tmp_path / "copy" / "b" / "__pycache__" / "x.pyc").write_bytes(b"")
    assert get_tree(blobs, digest, tmp_path / "copy") == get_manifest(blobs, digest)
    (tmp_path / "copy" / "b.txt").write_text("eno")
    with pytest.raises(Conflict, match="is not the tree"):
        get_tree(blobs, digest, tmp_path / "copy")
    with pytest.raises(Conflict, match="is not the tree"):
        get_tree(blobs, digest, folder / "b.txt")


def test_a_faster_process_with_the_same_tree_is_no_error(blobs: LocalBlobs, folder: Path, tmp_path: Path) -> None:
    digest, _ = put_tree(blobs, folder, "tree", {})

    class Slow(LocalBlobs):
        def get_file(self, digest: str, path: Path) -> None:
            super().get_file(digest, path)
            if not (tmp_path / "copy").exists():
                get_tree(blobs, whole, tmp_path / "copy")

    whole = digest
    get_tree(Slow(tmp_path / "blobs"), digest, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy"]


def test_a_faster_process_with_something_else_is_a_conflict(blobs: LocalBlobs, folder: Path, tmp_path: Path) -> None:
    digest, _ = put_tree(blobs, folder, "tree", {})

    class Slow(LocalBlobs):
        def get_file(self, digest: str, path: Path) -> None:
            super().get_file(digest, path)
            (tmp_path / "copy").mkdir(exist_ok=True)
            (tmp_path / "copy" / "other.txt").write_text("other")

    with pytest.raises(Conflict, match="is not the tree"):
        get_tree(Slow(tmp_path / "blobs"), digest, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy"]


def test_a_registered_table_tells_its_rows_and_columns(blobs: LocalBlobs, do: Callable[..., Any]) -> None:
    digest, size = put_table(blobs, pl.DataFrame({"a": [1, 2], "t": ["x", None]}))
    made = do(register_snapshot, RegisterSnapshot(name="flights", digest=digest))
    assert (made.name, made.kind, made.rows, made.size, made.author) == ("flights", "table", 2, size, "dana")
    assert made.columns == (Column(name="a", dtype="Int64"), Column(name="t", dtype="String"))
    assert do(get_snapshot, GetSnapshot(digest=digest[:6])) == made


def test_registering_again_changes_nothing(blobs: LocalBlobs, folder: Path, do: Callable[..., Any]) -> None:
    digest, _ = put_tree(blobs, folder, "tree", {})
    made = do(register_snapshot, RegisterSnapshot(name="first", digest=digest))
    assert do(register_snapshot, RegisterSnapshot(name="second", digest=digest), actor="eve") == made
    assert (made.rows, made.columns) == (None, ())
    assert do(list_snapshots, ListSnapshots()) == (made,)


def test_what_is_not_stored_whole_or_is_no_dataset_is_not_registered(blobs: LocalBlobs, folder: Path, do: Callable[..., Any]) -> None:
    entry = FileEntry(path="a", digest=blobs.put(b"x"), size=1)
    refused: list[tuple[Manifest, type[Exception]]] = [
        (Manifest(kind="model", files=(entry,), meta={}), InvalidInput),
        (Manifest(kind="tree", files=(FileEntry(path="a", digest="0" * 64, size=1),), meta={}), NotFound),
        (Manifest(kind="tree", files=(FileEntry(path="a", digest=entry.digest, size=2),), meta={}), Conflict),
        (Manifest(kind="table", files=(entry,), meta={"rows": "many"}), InvalidInput),
        (Manifest(kind="table", files=(entry,), meta={"columns": [1]}), InvalidInput),
    ]
    for manifest, error in refused:
        with pytest.raises(error):
            do(register_snapshot, RegisterSnapshot(name="flights", digest=put_manifest(blobs, manifest)))
    assert do(list_snapshots, ListSnapshots()) == ()


def test_a_beginning_that_several_or_no_snapshots_have_is_refused(
    blobs: LocalBlobs, do: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound):
        do(get_snapshot, GetSnapshot(digest="abcdef"))
    for text in ("%", "______", "ABCDEF", "abc", "x" * 64, "a" * 65):
        with pytest.raises(InvalidInput, match="beginning of a digest"):
            do(get_snapshot, GetSnapshot(digest=text))
    monkeypatch.setattr(registered, "get_manifest", lambda blobs, digest: Manifest(kind="tree", files=(), meta={}))
    for end in "01":
        do(register_snapshot, RegisterSnapshot(name="twin", digest="abcdef" + "0" * 57 + end))
    with pytest.raises(InvalidInput, match="Several"):
        do(get_snapshot, GetSnapshot(digest="abcdef"))


def test_snapshots_are_listed_newest_first_and_by_name(blobs: LocalBlobs, do: Callable[..., Any]) -> None:
    made = [
        do(register_snapshot, RegisterSnapshot(name=name, digest=put_table(blobs, pl.DataFrame({"a": [n]}))[0]))
        for n, name in enumerate(("flights", "weather", "flights"))
    ]
    assert do(list_snapshots, ListSnapshots()) == tuple(reversed(made))
    assert do(list_snapshots, ListSnapshots(name="flights")) == (made[2], made[0])
    assert do(list_snapshots, ListSnapshots(limit=1)) == (made[2],)


def test_the_verbs_need_no_table_library() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import plimsoll.data.refs.registered, plimsoll.data.project, plimsoll.data.environment;"
        "print(sorted({'numpy', 'polars', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(Path(__file__).parents[3])], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
