"""What a file holds is read once, and once more after every change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from plimsoll import clock
from plimsoll.data.trace.files.contents import Contents
from tests.unit.pipelines.bench import Bench, states

SIZE = 3 << 20


def bytes_read() -> int:
    """What this process has read by system calls."""
    return int(Path("/proc/self/io").read_text().split()[1])


def digest_of(path: Path) -> str:
    return blake3(path.read_bytes()).hexdigest()


def look(folder: Path | None, path: Path) -> tuple[str, bool]:
    """The digest that another process would find, and whether it had to read the file for it."""
    before = bytes_read()
    digest, _ = Contents(folder).of(str(path))
    return digest, bytes_read() - before >= SIZE


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is two minutes later than files say."""
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + 120_000_000)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "rows.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.mark.usefixtures("later")
def test_a_large_file_is_read_once_for_all_processes(tmp_path: Path, large: Path) -> None:
    known = tmp_path / "recall" / "known"
    assert look(known, large) == (digest_of(large), True)
    assert look(known, large) == (digest_of(large), False)
    assert look(None, large) == (digest_of(large), True)
    # What is read in a project is nobody else's business.
    assert [folder.stat().st_mode & 0o777 for folder in (known.parent, known)] == [0o700, 0o700]


@pytest.mark.usefixtures("later")
def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, large: Path) -> None:
    look(tmp_path / "known", large)
    before = large.stat()
    with large.open("r+b") as file:
        file.write(bytes(16))
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(tmp_path / "known", large) == (digest_of(large), True)


@pytest.mark.usefixtures("later")
def test_another_file_of_the_name_is_read(tmp_path: Path, large: Path) -> None:
    look(tmp_path / "known", large)
    other = tmp_path / "other.bin"
    other.write_bytes(os.urandom(SIZE))
    os.utime(other, ns=(large.stat().st_atime_ns, large.stat().st_mtime_ns))
    other.replace(large)
    assert look(tmp_path / "known", large) == (digest_of(large), True)
    large.unlink()
    assert Contents(tmp_path / "known").of(str(large))[1] == "absent"


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, large: Path) -> None:
    for _ in range(2):
        assert look(tmp_path / "known", large) == (digest_of(large), True)
    assert not (tmp_path / "known").exists()


def test_a_file_from_the_future_is_not_remembered(tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() - 366 * 86_400_000_000)
    contents = Contents(tmp_path / "known")
    for _ in range(2):
        before = bytes_read()
        assert contents.of(str(large))[0] == digest_of(large)
        assert bytes_read() - before >= 2 * SIZE
    assert not (tmp_path / "known").exists()


@pytest.mark.usefixtures("later")
def test_a_memory_that_is_cut_or_changed_anywhere_is_not_believed(tmp_path: Path, large: Path) -> None:
    known, right = tmp_path / "known", digest_of(large)
    look(known, large)
    (file,) = known.iterdir()
    whole = file.read_bytes()
    for place in range(len(whole)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
            file.write_bytes(damaged)
            assert Contents(known).of(str(large))[0] == right, (place, damaged)


@pytest.mark.usefixtures("later")
def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, large: Path) -> None:
    (tmp_path / "known").write_text("a file where the folder should be")
    for _ in range(2):
        assert look(tmp_path / "known", large) == (digest_of(large), True)


@pytest.mark.usefixtures("later")
def test_a_run_does_not_read_a_large_input_again_to_know_that_it_is_as_it_was(bench: Bench) -> None:
    rows = bench.project / "rows.bin"
    rows.write_bytes(os.urandom(8 * SIZE))
    bench.write(
        "pipe.py",
        """
        from pathlib import Path
        from plimsoll import pipeline, step

        @step
        def first():
            return Path(__file__).with_name("rows.bin").read_bytes()[:4]

        @pipeline
        def flow():
            return first()
        """,
    )
    assert states(bench.run()) == {"first": "ran"}
    before = bytes_read()
    assert states(bench.run()) == {"first": "hit"}
    assert bytes_read() - before < 8 * SIZE
    with rows.open("r+b") as file:
        file.write(bytes(16))
    assert states(bench.run()) == {"first": "ran"}
