"""What processes remember of functions saves time, and changes nothing of any key."""

from __future__ import annotations

import importlib
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plimsoll.data.code.remembered import functions
from plimsoll.data.code.source import Sources
from plimsoll.pipelines.keys import code_parts
from plimsoll.pipelines.loop.late import LateBlobs, remembered_by
from plimsoll.records.pipeline import KeyPart
from plimsoll.store.blobs import LocalBlobs

TEXT = '''
import functools
import os

RATE = 2.5
LIMITS = {"low": [1, 2]}

def traced(function):
    @functools.wraps(function)
    def inner(*given, **named):
        return function(*given, **named)
    return inner

class Scaler:
    """Scales."""
    def __init__(self, by: float = RATE) -> None:
        self.by = by
    def scale(self, rows):
        return [row * self.by for row in rows]

def pick(rows): return [row for row in rows if row in {1, 2, "three", b"4", 0.5, -0.0, 1j}]

keys = lambda row: row[0]; values = lambda row: row[1]

@traced
def read(rows: list[int], depth: int = 4) -> float:
    """Return the docstring's own."""
    import json
    if (found := len(rows)) > depth:
        return json.loads(str(found))
    def nested(each):
        nonlocal found
        found += each
        return found
    return sum(map(nested, sorted(pick(Scaler().scale(rows)), key=keys))) + max(LIMITS["low"], key=values, default=1) + _last(rows)

def _last(rows, *, end=None):
    match rows:
        case [*_, last]:
            return last
    return end

def told(rows):
    return read.__doc__, read.__annotations__, os.sep, _last.__code__.co_firstlineno
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    name = f"remembered_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(TEXT)
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recall" / "functions"


def parts_with(folder: Path, function: Callable[..., Any]) -> tuple[KeyPart, ...]:
    """Return a function's parts as a later process finds them, having looked that they are what they are without a memory."""
    found = code_parts(function, Sources(folder))
    assert found == code_parts(function)
    return found


def memories(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def unread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the name of each function that is normalised from now on."""
    seen: list[str] = []
    real = importlib.import_module("plimsoll.data.code.source").written

    def noted(node: Any, code: types.CodeType, lines: list[str]) -> Any:
        seen.append(code.co_name)
        return real(node, code, lines)

    monkeypatch.setattr("plimsoll.data.code.source.written", noted)
    return seen


@pytest.mark.parametrize("name", ["read", "told", "pick", "keys", "values", "_last", "Scaler"])
def test_a_key_is_the_same_with_a_memory_and_without(module: types.ModuleType, folder: Path, name: str) -> None:
    first = parts_with(folder, getattr(module, name))
    assert len(memories(folder)) == 1
    assert parts_with(folder, getattr(module, name)) == first


def test_what_is_remembered_is_not_read_again(module: types.ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = unread(monkeypatch)
    code_parts(module.read, Sources(folder))
    assert {"read", "pick", "_last"} <= set(seen)
    seen.clear()
    code_parts(module.read, Sources(folder))
    assert seen == []


def test_a_function_that_was_exchanged_is_not_answered_for(module: types.ModuleType, folder: Path) -> None:
    first = parts_with(folder, module._last)
    # As a debugger or a test does it: of the same name, file and line, and of other code.
    line = module._last.__code__.co_firstlineno
    other: dict[str, Any] = {}
    exec(compile("\n" * (line - 1) + "def _last(rows, *, end=None):\n    return 7\n", module.__file__ or "", "exec"), other)
    module._last.__code__ = other["_last"].__code__
    assert parts_with(folder, module._last) != first
    module._last.__code__ = module._last.__code__.replace(co_consts=(None, 8))
    assert len({parts_with(folder, module._last), first}) == 2


def test_code_is_told_apart_by_each_of_its_constants(module: types.ModuleType) -> None:
    code = module._last.__code__
    told = (
        1,
        1.0,
        True,
        1j,
        "1",
        b"1",
        (1,),
        (1.0,),
        frozenset({1}),
        frozenset({1.0}),
        ("1",),
        0.0,
        -0.0,
        ...,
        None,
        "...",
        ("tuple", 1),
        code,
    )
    assert len({functions.mark(code.replace(co_consts=(each,))) for each in told} - {None}) == len(told)
    # What no source says, or cannot be shown, is looked at each time.
    assert {functions.mark(code.replace(co_consts=(each,))) for each in (object(), [1], 10**5000, code_of_a_set())} == {None}


def test_code_is_told_apart_by_what_it_does() -> None:
    written = ("x + 1", "x - 1", "x + y", "x.a", "x.b", "1 + x", "not x", "(x)", " x + 1")
    each = [f"def run(x, y): return {text}" for text in written]
    each += [
        "def run(x, z): return x + 1",
        "def run(x, /, y): return x + 1",
        "def run(x, *, y): return x + 1",
        "\ndef run(x, y): return x + 1",
    ]
    each += ["def run(x, y):\n try: return x + 1\n finally: y()", "def run(x, y):\n try: return x + 1\n except y: y()"]
    found = [next(code for code in compile(text, "<text>", "exec").co_consts if isinstance(code, types.CodeType)) for text in each]
    assert len({functions.mark(code) for code in found}) == len(each)


def code_of_a_set() -> types.CodeType:
    return code_of_a_set.__code__.replace(co_consts=({1},))


def test_an_edited_file_finds_nothing_of_before(module: types.ModuleType, folder: Path) -> None:
    path, first = Path(module.__file__ or ""), parts_with(folder, module._last)
    path.write_text(TEXT.replace("return last", "return last + 222"))
    stale = parts_with(folder, module._last)
    assert "bytecode" in next(part.text for part in stale if part.kind == "code")
    edited = importlib.reload(module)
    after = parts_with(folder, edited._last)
    assert "222" in next(part.text for part in after if part.kind == "code")
    assert after != first
    path.write_text(TEXT)
    assert parts_with(folder, importlib.reload(module)._last) == first


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:10], lambda data: b"", lambda data: data[:40] + b"x" + data[41:]]
)
def test_a_damaged_memory_is_not_believed(
    module: types.ModuleType, folder: Path, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = parts_with(folder, module.read)
    (memory,) = memories(folder)
    whole = memory.read_bytes()
    memory.write_bytes(damage(whole))
    seen = unread(monkeypatch)
    assert code_parts(module.read, Sources(folder)) == first
    assert "_last" in seen
    seen.clear()
    assert code_parts(module.read, Sources(folder)) == first
    assert seen == []


def test_another_reader_believes_nothing_of_before(module: types.ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts_with(folder, module.read)
    monkeypatch.setattr(functions, "_reader", lambda: "another")
    seen = unread(monkeypatch)
    code_parts(module.read, Sources(folder))
    assert "_last" in seen
    assert len(memories(folder)) == 2


def test_a_memory_that_cannot_be_written_is_done_without(module: types.ModuleType, folder: Path) -> None:
    folder.parent.write_text("no folder")
    assert parts_with(folder, module.read)


def test_of_many_memories_those_stay_that_were_used_last(module: types.ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_MOST", 4)
    parts_with(folder, module.read)
    (used,) = memories(folder)
    for age in range(1, 5):
        (folder / f"old{age}").write_bytes(b"")
        os.utime(folder / f"old{age}", (1e9 - age, 1e9 - age))
    os.utime(used, (1e9 - 9, 1e9 - 9))
    code_parts(module.read, Sources(folder))  # which looks at it, and so it was used
    (folder.parents[1] / f"{module.__name__}_beside.py").write_text("def run(x):\n    return x\n")
    code_parts(importlib.import_module(f"{module.__name__}_beside").run, Sources(folder))
    left = memories(folder)
    assert len(left) == 2
    assert used in left


def test_large_memories_go_before_they_are_many(module: types.ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(parents=True)
    for age in (1, 2):
        (folder / f"old{age}").write_bytes(b"x" * 20_000)
        os.utime(folder / f"old{age}", (1e9 - age, 1e9 - age))
    code_parts(module._last, Sources(folder))
    assert len(memories(folder)) == 3
    monkeypatch.setattr(functions, "_BYTES", 60_000)
    code_parts(module.read, Sources(folder))
    assert len(memories(folder)) == 3
    monkeypatch.setattr(functions, "_BYTES", 40_000)
    code_parts(module.told, Sources(folder))
    left = memories(folder)
    assert len(left) == 1
    assert not left[0].name.startswith("old")


def test_a_cell_of_a_notebook_is_not_remembered(folder: Path) -> None:
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("def run(x):\n    return x\n", "<ipython-input-1>", "exec"), cell)
    code_parts(cell["run"], Sources(folder))
    assert not folder.exists()


def test_functions_are_remembered_beside_the_blobs(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "home" / "blobs")
    assert remembered_by(blobs, "functions") == remembered_by(LateBlobs(blobs), "functions") == tmp_path / "home" / "recall" / "functions"
    assert remembered_by(blobs) == tmp_path / "home" / "recall" / "files"
