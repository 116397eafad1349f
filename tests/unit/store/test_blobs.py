from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll import clock, codec
from plimsoll.errors import Denied, InvalidInput, PlimsollError
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
    assert (stored.stat().st_ino, stored.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    (tmp_path / "blobs" / "tmp").chmod(0o500)
    with pytest.raises(Denied, match="blobs"):
        blobs.put(b"data")
    with pytest.raises(PlimsollError):
        LocalBlobs(tmp_path / "blobs" / "tmp" / "deeper")
