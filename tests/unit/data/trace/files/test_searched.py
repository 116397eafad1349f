"""Modules in folders that a step itself puts on Python's path."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll.data.trace.now import Now
from plimsoll.data.trace.recording import Recorder, Trace


@pytest.fixture(autouse=True)
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    before, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("sought_"):
            del sys.modules[name]
    sys.path[:] = path


def record(function: Callable[[], Any]) -> Trace:
    """Record a call in an empty project, and give Python the path back as another process has it."""
    path = list(sys.path)
    recording = Recorder(Path.cwd()).recording(function, set(), 1)
    with recording:
        function()
    trace = recording.trace()
    sys.path[:] = path
    return trace


def holds(trace: Trace) -> bool:
    now = Now(Path.cwd())
    return all(now.digest(part) == part.digest for part in trace.parts)


def by_statement() -> Any:
    try:
        import sought_lib  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    return sought_lib.X


def by_name() -> Any:
    return importlib.import_module("sought_lib").X


def by_spec() -> Any:
    return importlib.util.find_spec("sought_lib") is not None


def with_path(find: Callable[[], Any], *folders: str) -> Callable[[], Any]:
    def work() -> Any:
        sys.path[:0] = folders
        return find()

    return work


@pytest.mark.parametrize("find", [by_statement, by_name])
def test_a_module_on_a_path_of_the_steps_own_counts_by_its_file(find: Callable[[], Any]) -> None:
    """Whoever looks whether it is the same has not got that path."""
    Path("lib").mkdir()
    Path("lib/sought_lib.py").write_text("from sought_helper import X\n")
    Path("lib/sought_helper.py").write_text("X = 1\n")
    trace = record(with_path(find, "lib"))
    assert trace.effects == ()
    assert holds(trace)
    Path("lib/unrelated.py").write_text("")
    assert holds(trace)
    Path("lib/sought_helper.py").write_text("X = 2\n")
    assert not holds(trace)


@pytest.mark.parametrize("find", [by_statement, by_name, by_spec])
def test_a_module_that_comes_before_the_one_that_was_found_counts(find: Callable[[], Any]) -> None:
    """It would be imported instead."""
    for folder in ("first", "second"):
        Path(folder).mkdir()
    Path("second/sought_lib.py").write_text("X = 1\n")
    trace = record(with_path(find, "first", "second"))
    assert holds(trace)
    Path("first/sought_lib.py").write_text("X = 2\n")
    assert not holds(trace)


@pytest.mark.parametrize("find", [by_statement, by_spec])
@pytest.mark.parametrize("made", ["sought_lib.py", "sought_lib/__init__.py"])
def test_a_module_that_was_not_found_counts_as_missing(find: Callable[[], Any], made: str) -> None:
    """``except ImportError`` is a result as well."""
    Path("lib").mkdir()
    trace = record(with_path(find, "lib"))
    assert holds(trace)
    Path("lib", made).parent.mkdir(exist_ok=True)
    Path("lib", made).write_text("X = 1\n")
    assert not holds(trace)


def test_an_archive_counts_by_its_bytes() -> None:
    """Modules in it have no files of their own."""
    with zipfile.ZipFile("lib.zip", "w") as archive:
        archive.writestr("sought_lib.py", "X = 1\n")
    trace = record(with_path(by_statement, "lib.zip"))
    assert trace.effects == ()
    assert holds(trace)
    with zipfile.ZipFile("lib.zip", "w") as archive:
        archive.writestr("sought_lib.py", "X = 2\n")
    assert not holds(trace)
