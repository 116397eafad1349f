"""Python 3.11: the watched functions of libraries tell that they begin, and are themselves again afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import dis
import gc
import getpass
import importlib
import inspect
import os
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from plimsoll.data.trace.recording import Recorder, Recording, kept, prepare
from plimsoll.data.trace.watched.begun import MODULES, begun
from plimsoll.data.trace.watched.inserted import Inserted, functions_of, with_call
from plimsoll.pipelines.keys import code_parts

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 12), reason="later Pythons tell themselves which code begins")

take = pl.read_csv


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Recording]:
    """Make recordings of an empty project."""
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("a\n1\n")
    return lambda: Recorder(tmp_path).recording(take, {"polars"}, 1)


def _read(recording: Recording) -> set[tuple[str, str]]:
    return {(part.kind, part.name) for part in recording.trace().parts}


def _functions() -> list[types.FunctionType]:
    kept = gc.get_freeze_count()
    gc.unfreeze()  # what the tests' own beginning has set aside is in memory as well
    found = [each for each in gc.get_objects() if isinstance(each, types.FunctionType)]
    if kept:
        gc.freeze()
    return found


def test_a_function_that_was_taken_before_is_seen_and_is_itself_again(recording: Callable[[], Recording]) -> None:
    """Whether the step ends well or not."""
    reader = inspect.unwrap(take)
    code, told = reader.__code__, (inspect.signature(reader), inspect.getsource(reader), inspect.getsourcelines(reader)[1])

    def work() -> None:
        assert reader.__code__ is not code
        assert (inspect.signature(reader), inspect.getsource(reader), inspect.getsourcelines(reader)[1]) == told
        take("a.csv")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), (watch := recording()):
        work()
    assert ("file", "a.csv") in _read(watch)
    assert reader.__code__ is code


def test_what_is_found_beforehand_is_itself_until_something_records(
    recording: Callable[[], Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions of modules that are loaded after that are found when a recording begins."""
    code = os.path.exists.__code__
    prepare()
    assert os.path.exists.__code__ is code
    looked = list[int]()
    monkeypatch.setattr(
        "plimsoll.data.trace.watched.inserted.functions_of", lambda modules: looked.append(len(modules)) or functions_of(modules)
    )
    with (watch := recording()):
        assert os.path.exists.__code__ is not code
        take("a.csv")
    assert ("file", "a.csv") in _read(watch)
    assert looked[0] == 0


def test_functions_are_themselves_again_when_the_last_of_several_recordings_ends(recording: Callable[[], Recording]) -> None:
    """In whatever order they end."""
    code = os.path.exists.__code__
    first, second = recording(), recording()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.path.exists.__code__ is not code
    assert take("a.csv").height == 1
    second.__exit__(None, None, None)
    assert os.path.exists.__code__ is code
    assert ("file", "a.csv") in _read(second)
    assert ("file", "a.csv") not in _read(first)


def test_many_threads_may_begin_and_end(recording: Callable[[], Recording]) -> None:
    """The functions are one a process."""
    code, meet, read = os.path.exists.__code__, threading.Barrier(4), list[bool]()

    def work() -> None:
        meet.wait(60)
        for _ in range(20):
            with (watch := recording()):
                take("a.csv")
            read.append(("file", "a.csv") in _read(watch))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [True] * 80
    assert os.path.exists.__code__ is code


def test_what_is_kept_between_recordings_sees_modules_that_come_meanwhile(recording: Callable[[], Recording]) -> None:
    """It tells nobody anything while nothing records, and goes with the block, however that ends."""
    code, first, second = os.path.exists.__code__, recording(), recording()

    def work() -> None:
        with first:
            take("a.csv")
        exchanged = os.path.exists.__code__
        assert exchanged is not code
        os.path.exists("b.csv")
        importlib.reload(importlib.import_module("getpass"))
        with second:
            assert getpass.getuser.__code__.co_consts[-1] == exchanged.co_consts[-1]
            assert os.path.exists.__code__ is exchanged
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), kept():
        work()
    assert ("file", "a.csv") in _read(first)
    assert _read(second) == set()
    assert os.path.exists.__code__ is code


def test_an_interrupted_beginning_leaves_nothing_behind(recording: Callable[[], Recording], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would end what has not begun."""
    code, kind = os.path.exists.__code__, type(os.environ)

    def interrupted(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("plimsoll.data.trace.calls.Tracing.begin", interrupted)
    with pytest.raises(KeyboardInterrupt), recording():
        pass
    assert os.path.exists.__code__ is code
    assert type(os.environ) is kind


def test_a_module_that_the_step_loads_is_watched_as_well(recording: Callable[[], Recording], monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that was loaded anew before a step."""
    monkeypatch.setenv("LOGNAME", "a")
    monkeypatch.delitem(sys.modules, "getpass")

    def ask() -> None:
        import getpass

        getpass.getuser()

    for _ in range(3):
        with (watch := recording()):
            ask()
        assert ("variable", "LOGNAME") in _read(watch)
        importlib.reload(sys.modules["getpass"])


def test_another_code_that_a_function_was_given_is_kept(recording: Callable[[], Recording], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a step as well as in it."""
    monkeypatch.setenv("LOGNAME", "a")
    own = getpass.getuser.__code__
    try:
        with recording():
            getpass.getuser.__code__ = (lambda: "one").__code__
        assert getpass.getuser() == "one"
        with recording():
            assert getpass.getuser() == "one"
        assert getpass.getuser.__code__.co_name == "<lambda>"
    finally:
        getpass.getuser.__code__ = own


def test_keys_that_are_made_while_a_step_runs_are_the_same(recording: Callable[[], Recording]) -> None:
    """Those of functions of libraries hold their names and versions."""
    functions: list[Callable[..., Any]] = [take, lambda: (take, os.path.exists, Path.stat), lambda: pl.scan_csv("a")]
    before = list(map(code_parts, functions))
    with recording():
        assert list(map(code_parts, functions)) == before


def test_all_functions_of_the_table_that_are_in_memory_are_found() -> None:
    """Those that only tell types are none."""
    overloads = {
        id(each)
        for modules in typing._overload_registry.values()  # type: ignore[attr-defined]
        for lines in modules.values()
        for each in lines.values()
    }
    modules = [module for name, module in sys.modules.items() if name.startswith(MODULES) and isinstance(module, types.ModuleType)]
    found = set(map(id, functions_of(modules)))
    in_table = [
        each
        for each in _functions()
        if begun(str(each.__globals__.get("__name__")), each.__code__.co_qualname)
        and id(each) not in overloads
        and "-packages/" in each.__code__.co_filename
    ]
    assert len(in_table) > 20
    assert [each.__qualname__ for each in in_table if id(each) not in found] == []


def test_a_call_moves_nothing_but_where_instructions_stand() -> None:
    """Neither lines nor columns, nor what is left by what exception: for all functions that are in memory."""

    def told(code: types.CodeType) -> tuple[list[Any], int]:
        steps = list(dis.get_instructions(code))
        begin = next(place for place, step in enumerate(steps) if step.opname == "RESUME")
        return [(step.opname, None if step.opcode in dis.hasjrel else step.argval, step.positions) for step in steps], begin

    for function in _functions()[::23]:
        code = function.__code__
        other = with_call(code, gc.collect)
        (steps, begin), (more, _) = told(code), told(other)
        added = len(more) - len(steps)
        assert more[: begin + 1] + more[begin + 1 + added :] == steps
        assert [name for name, _, _ in more[begin + 1 : begin + 1 + added]][-1] == "POP_TOP"
        moved, at = len(other.co_code) - len(code.co_code), 2 * (begin + 1)
        ways, others = dis._parse_exception_table(code), dis._parse_exception_table(other)  # type: ignore[attr-defined]
        assert [(each.start + moved * (each.start >= at), each.target + moved, each.depth, each.lasti) for each in ways] == [
            (each.start, each.target, each.depth, each.lasti) for each in others
        ]


@contextlib.contextmanager
def _told(function: Any) -> Iterator[list[dict[str, Any]]]:
    own, found = function.__code__, list[dict[str, Any]]()
    function.__code__ = with_call(own, lambda: found.append(dict(sys._getframe(1).f_locals)))
    try:
        yield found
    finally:
        function.__code__ = own


def test_functions_of_every_kind_do_what_they_did() -> None:
    """And tell what they were given."""
    more = 2

    def plain(a: int, /, b: int = 3, *rest: int, c: int, **others: int) -> Any:
        return [a, b, rest, c, others]

    def in_cells(a: int) -> Any:
        return lambda: a + more

    def raising(a: int) -> str:
        try:
            try:
                return str(1 / a)
            except ZeroDivisionError:
                return "none"
        finally:
            more + 1

    def generating(a: int) -> Iterator[int]:
        yield a
        yield a + more

    async def waiting(a: int) -> int:
        await asyncio.sleep(0)
        return a

    cases: list[tuple[Any, Callable[[], Any], Any]] = [
        (plain, lambda: plain(1, 2, 3, c=4, d=5), [1, 2, (3,), 4, {"d": 5}]),
        (in_cells, lambda: in_cells(1)(), 3),
        (raising, lambda: [raising(0), raising(1)], ["none", "1.0"]),
        (generating, lambda: list(generating(1)), [1, 3]),
        (waiting, lambda: asyncio.run(waiting(1)), 1),
    ]
    for function, call, expected in cases:
        with _told(function) as found:
            assert call() == expected
        assert found[-1]["a"] == 1


def test_code_with_many_constants_may_be_told_of() -> None:
    """Their number takes more than one byte."""
    names: dict[str, Any] = {}
    exec(f"def many(a):\n    return [{', '.join(f'{each}.5' for each in range(700))}, a][-1]", names)
    with _told(names["many"]) as found:
        assert names["many"](7) == 7
    assert found == [{"a": 7}]


def test_what_goes_wrong_while_a_module_is_loaded_is_the_recordings_trouble(
    recording: Callable[[], Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import succeeds, and the result is not kept."""
    monkeypatch.delitem(sys.modules, "getpass")
    with (watch := recording()), monkeypatch.context() as inner:
        inner.setattr(Inserted, "_load", lambda self, name: 1 / 0)
        assert importlib.import_module("getpass").getuser
    assert watch.trace().effects == ("could not be traced (ZeroDivisionError: division by zero)",)
