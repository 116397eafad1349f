from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll import clock, codec
from plimsoll.errors import InvalidInput, NotFound, PlimsollError
from plimsoll.store.blobs import LocalBlobs


def test_a_blob_lies_under_the_first_two_digits_of_its_digest(tmp_path: Path) -> None:
    digest = LocalBlobs(tmp_path).put(b"data")
    assert (tmp_path / digest[:2] / digest).read_bytes() == b"data"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_same_bytes_again_write_nothing(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    stored = tmp_path / "blobs" / digest[:2] / digest
    before = stored.stat()
    (tmp_path / "file").write_bytes(b"data")
    blobs.put(b"data")
    blobs.put_file(tmp_path / "file")
    assert stored.stat().st_ino == before.st_ino


def test_small_bytes_that_were_damaged_are_written_again(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    (tmp_path / "blobs" / digest[:2] / digest).write_bytes(b"dada")
    blobs.put(b"data")
    assert blobs.get(digest) == b"data"


def test_what_is_stored_again_is_young_again_and_is_not_collected(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    stored = tmp_path / "blobs" / digest[:2] / digest
    os.utime(stored, (0, 0))
    blobs.put(b"data")
    assert blobs.collect(digest, 60.0) == 0
    os.utime(stored, (0, 0))
    assert blobs.collect(digest, 60.0) == 4
    assert list((tmp_path / "blobs" / "tmp").iterdir()) == []


def test_what_is_stored_again_while_it_is_collected_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    stored = tmp_path / "blobs" / digest[:2] / digest
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        if self == stored:
            blobs.put(b"data")  # as another process does between the first look and the removal
        return rename(self, target)

    os.utime(stored, (0, 0))
    monkeypatch.setattr(Path, "rename", late)
    assert blobs.collect(digest, 60.0) == 0
    assert blobs.get(digest) == b"data"


def test_a_blob_that_cannot_take_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    digest = codec.digest(b"data")
    (tmp_path / digest[:2] / digest / "in the way").mkdir(parents=True)
    with pytest.raises(PlimsollError, match=str(tmp_path)):
        blobs.put(b"data")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_only_unfinished_files_of_yesterday_are_swept(tmp_path: Path) -> None:
    digest = LocalBlobs(tmp_path).put(b"data")
    names = ["old", "old#1", "young"]
    yesterday = clock.now() / 1e6 - 25 * 3600
    for name in names:
        (tmp_path / "tmp" / name).write_bytes(b"half")
    for path in (*(tmp_path / "tmp" / name for name in names[:2]), tmp_path / digest[:2] / digest):
        os.utime(path, (yesterday, yesterday))
    blobs = LocalBlobs(tmp_path)
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["young"]
    assert blobs.has(digest)


_THROUGH = """
import resource, sys
from pathlib import Path
from plimsoll.store.blobs import LocalBlobs

folder = Path(sys.argv[1])
blobs = LocalBlobs(folder / "blobs")
blobs.put_file(folder / "small")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest, _ = blobs.put_file(folder / "large")
blobs.get_file(digest, folder / "target")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_large_file_goes_through_a_small_memory(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(128 << 20)
    done = subprocess.run([sys.executable, "-c", _THROUGH, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32, "MiB more than before"
    assert (tmp_path / "target").stat().st_size == 128 << 20


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_bytes(b"")
    with pytest.raises(InvalidInput, match="blobs"):
        LocalBlobs(tmp_path / "blobs")


_CLOSED = """
import sys
from pathlib import Path
from plimsoll.errors import Denied, PlimsollError
from plimsoll.store.blobs import LocalBlobs
folder = Path(sys.argv[1])
blobs = LocalBlobs(folder)
(folder / "tmp").chmod(0o500)
for work, expected in ((lambda: blobs.put(b"data"), Denied), (lambda: LocalBlobs(folder / "tmp" / "deeper"), PlimsollError)):
    try:
        work()
    except expected as error:
        print(error)
"""


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    # Root writes everywhere, unless it gives up the right to.
    limited = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if limited and not shutil.which("setpriv"):
        pytest.skip("Root may write everywhere, and 'setpriv' is not here.")
    command = [*limited, sys.executable, "-c", _CLOSED, str(tmp_path / "blobs")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [str(tmp_path / "blobs") in line for line in done.stdout.splitlines()] == [True, True]


def test_what_a_collector_moved_aside_when_it_was_killed_is_put_back_by_the_next_to_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    stored = tmp_path / "blobs" / digest[:2] / digest
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        blobs.put(b"data")  # so the blob is young again, and must not be lost with the collector
        rename(self, target)
        raise KeyboardInterrupt

    os.utime(stored, (0, 0))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            blobs.collect(digest, 60.0)
    assert not blobs.has(digest)
    assert LocalBlobs(tmp_path / "blobs").get(digest) == b"data"
    assert list((tmp_path / "blobs" / "tmp").iterdir()) == []


def test_what_a_collector_that_lives_has_moved_aside_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    stored = tmp_path / "blobs" / digest[:2] / digest
    rename, opened = Path.rename, []

    def moved(self: Path, target: Path) -> Path:
        to = rename(self, target)
        LocalBlobs(tmp_path / "blobs")
        opened.append(stored.exists())
        return to

    os.utime(stored, (0, 0))
    monkeypatch.setattr(Path, "rename", moved)
    assert blobs.collect(digest, 60.0) == 4
    assert (opened, stored.exists()) == ([False], False)


def test_a_blob_that_was_stored_again_is_not_replaced_by_what_lies_aside(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    (tmp_path / "blobs" / "tmp" / f"{digest}.aside").write_bytes(b"spoiled")
    assert LocalBlobs(tmp_path / "blobs").get(digest) == b"data"
    assert list((tmp_path / "blobs" / "tmp").iterdir()) == []


def test_nothing_is_collected_while_somebody_keeps_all_blobs(tmp_path: Path) -> None:
    blobs, other = LocalBlobs(tmp_path / "blobs"), LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    os.utime(tmp_path / "blobs" / digest[:2] / digest, (0, 0))
    with other.kept(), blobs.kept():
        assert blobs.collect(digest, 60.0) == 0
    assert blobs.collect(digest, 60.0) == 4


def test_what_is_asked_for_is_as_young_as_what_is_stored(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"data")
    os.utime(tmp_path / "blobs" / digest[:2] / digest, (0, 0))
    assert blobs.has(digest)
    assert blobs.collect(digest, 60.0) == 0


def test_all_blobs_are_listed_with_size_and_time_and_nothing_else_is(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digests = {blobs.put(data): len(data) for data in (b"", b"one", b"three")}
    first = min(digests)
    os.utime(tmp_path / "blobs" / first[:2] / first, (7, 7))
    (tmp_path / "blobs" / first[:2] / "stray").write_text("x")
    (tmp_path / "blobs" / "tmp" / "unfinished").write_text("x")
    found = list(blobs.stored())
    assert {blob.digest: blob.size for blob in found} == digests
    assert [blob.used for blob in found if blob.digest == first] == [7_000_000]


def test_blocks_are_the_bytes_as_they_lie_there(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    data = bytes(range(256)) * 5000
    digest = blobs.put(data)
    assert b"".join(blobs.blocks(digest)) == data
    (tmp_path / "blobs" / digest[:2] / digest).write_bytes(b"spoiled")
    assert b"".join(blobs.blocks(digest)) == b"spoiled"
    with pytest.raises(NotFound):
        list(blobs.blocks("0" * 64))
