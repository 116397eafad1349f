"""Watched C functions that code holds as values, which others than its own calls may call."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from plimsoll.data.trace.reading.named import held, kept_sites
from plimsoll.data.trace.reading.way import brought_by, reached
from plimsoll.data.trace.watched.called import CALLED, is_watched_call
from tests.unit.pipelines.bench import Bench, states

_HEAD = """
import collections, dataclasses, datetime, functools, itertools, math, operator, os, random, secrets, sqlite3, time, types, uuid
import numpy as np, pandas as pd
from plimsoll import pipeline, step
"""

_SQL = """
def ask(query):
    base = sqlite3.connect(':memory:')
    found = base.execute(query).fetchall()
    base.close()
    return found
"""

#: Definitions and a body: nothing of it may be kept.
USED = [
    ("a loop whose first function is none", "", "return [f() for f in (lambda: 1, time.time)]"),
    ("called by map", "", "return list(map(datetime.datetime.now, [None]))[0].isoformat()"),
    ("called by a sort", "", "return len(sorted(['pipe.py'], key=os.stat))"),
    ("a factory of a field",
     "@dataclasses.dataclass\nclass A:\n    at: float = dataclasses.field(default_factory=time.time)", "return A().at"),
    ("a random factory of a field", "@dataclasses.dataclass\nclass A:\n    at: object = dataclasses.field(default_factory=uuid.uuid4)",
     "return str(A().at)"),
    ("a partial", "P = functools.partial(time.time)", "return P()"),
    ("a default dictionary", "", "return collections.defaultdict(time.time)[1]"),
    ("a generator made by a default dictionary", "", "return collections.defaultdict(np.random.default_rng)[1].random()"),
    ("a table", "T = {'a': int, 'b': time.time}", "return [T[name]() for name in 'ab']"),
    ("a parameter's default", "def f(now=time.time):\n    return now()", "return f(int), f()"),
    ("an attribute of a class", "class A:\n    clock = time.time\n    def go(self):\n        return self.clock()", "return A().go()"),
    ("an attribute of an object",
     "class A:\n    def __init__(self, c):\n        self.c = c\nS = [A(int), A(time.time)]", "return [s.c() for s in S]"),
    ("a cell", "def make(c):\n    def f():\n        return c()\n    return f\nA, B = make(int), make(time.time)", "return A(), B()"),
    ("a cell made in the body", "def make(c):\n    def f():\n        return c()\n    return f", "return make(int)(), make(time.time)()"),
    ("found by getattr", "", "return [getattr(time, name)() for name in ('perf_counter', 'time')]"),
    ("found by getattr in several", "F = types.SimpleNamespace(time=int)", "return [getattr(each, 'time')() for each in (F, time)]"),
    ("an attribute of several", "F = types.SimpleNamespace(time=int)", "return [each.time() for each in (F, time)]"),
    ("found in a module's dict", "", "return vars(time)['time']()"),
    ("given away under another name", "def g(f):\n    return f()", "now = time.time\nreturn g(int), g(now)"),
    ("imported in the body and given away", "def g(f):\n    return f()", "from time import time as t\nreturn g(int), g(t)"),
    ("a caller of methods", "BY = operator.methodcaller('stat')", "return [each.st_size for each in map(BY, os.scandir('.'))][:0]"),
    ("inherited by a class of the user's", "class Stamp(datetime.datetime):\n    pass", "return str(Stamp.now())"),
    ("the present as a text", "", "return str(pd.Timestamp('now'))"),
    ("drawn by way of another function", "", "return secrets.choice(range(10**9))"),
    ("a database's clock", _SQL, "return ask(\"select strftime('%f', 'now')\")"),
    ("a database's random number", _SQL, "return ask('select random()')"),
]  # fmt: skip

#: The same, of which nothing may be lost.
NOT_USED = [
    ("asked for a class", "", "return isinstance(1, datetime.datetime), isinstance(1, (np.random.RandomState, datetime.date))"),
    ("named in annotations", "def f(a: datetime.datetime, b: os.stat_result = None):\n    return a", "return f(1)"),
    ("hashed by itself", "class A:\n    def __hash__(self):\n        return hash(tuple(map(hash, 'ab')))", "return len({A()})"),
    ("a seeded generator", "make = np.random.default_rng", "return make(1).random(), np.random.RandomState(1).rand()"),
    ("a duration by a default", "def f(clock=time.perf_counter):\n    return clock() >= 0", "return f()"),
    ("a time that is given", "", "return time.strftime('%Y' if time else '%m', time.gmtime(0))"),
    ("a table of code that does not run", "T = {'now': time.time}\ndef other():\n    return T['now']()", "return 1"),
    ("an attribute with a default", "", "return getattr(os, 'O_BINARY', 0), hasattr(os, 'fork')"),
    ("a method of the user's of that name", "class A:\n    def stat(self):\n        return 1", "return [f() for f in (A().stat, int)]"),
    ("a pause", "def f(wait=time.sleep):\n    wait(0)", "return f()"),
]


def _write(bench: Bench, more: str, body: str) -> None:
    lines = body.replace("\n", "\n    ")
    bench.write("pipe.py", f"{_HEAD}\n{more}\n@step\ndef look():\n    {lines}\n\n@pipeline\ndef flow():\n    return look()\n")


@pytest.mark.parametrize(("more", "body"), [case[1:] for case in USED], ids=[case[0] for case in USED])
def test_a_watched_function_that_is_called_where_no_event_tells_is_seen(bench: Bench, monkeypatch: Any, more: str, body: str) -> None:
    """The step is not kept for later runs, whoever calls the function for it."""
    monkeypatch.chdir(bench.project)
    _write(bench, more, body)
    assert "not kept for later runs" in bench.run()["look"].why


@pytest.mark.parametrize(("more", "body"), [case[1:] for case in NOT_USED], ids=[case[0] for case in NOT_USED])
def test_a_watched_function_that_nothing_calls_is_no_reason_to_run_again(bench: Bench, more: str, body: str) -> None:
    """Nor is one whose call says nothing about the moment."""
    _write(bench, more, body)
    assert "not kept" not in bench.run()["look"].why
    assert states(bench.run()) == {"look": "hit"}


def test_an_argument_that_brings_a_watched_function_along_is_looked_at(bench: Bench) -> None:
    """Functions and objects of the user's classes are found in containers too."""
    more = "class A:\n    def __init__(self, c):\n        self.c = c\n"
    bench.write(
        "pipe.py",
        f"{_HEAD}\n{more}@step\ndef look(them):\n    return [each.c() for each in them]\n\n"
        "@pipeline\ndef flow():\n    return look([A(int), A(time.time)])\n",
    )
    assert "read the clock (time.time" in bench.run()["look"].why


def test_what_arguments_bring_along_is_found_without_reading_data() -> None:
    """Numbers, texts and tables bring nothing."""
    assert brought_by([1, "a", [2.0, {"a": b"b"}], np_like()]) == []
    assert brought_by([{"a": [sys.exit]}]) == [sys.exit]


def test_a_function_of_the_user_that_an_object_of_a_library_holds_is_known_before_it_runs(bench: Bench) -> None:
    """So its module need not count whole; what the library's object has of its own, such as a clock, is no reason to run again."""
    bench.write("h.py", "def double(x):\n    return x * 2\n")
    bench.write(
        "pipe.py",
        f"{_HEAD}\nimport h\nfrom starlette.background import BackgroundTask\n@step\ndef look(them):\n"
        "    return them[0].func(3)\n@pipeline\ndef flow():\n"
        "    found = BackgroundTask(h.double)\n    found.clock = time.time\n    return look([found])\n",
    )
    assert "not kept" not in bench.run()["look"].why
    bench.write("h.py", "def double(x):\n    return x * 2\ndef unused(x):\n    return 1\n")
    assert states(bench.run()) == {"look": "hit"}
    bench.write("h.py", "def double(x):\n    return x * 3\ndef unused(x):\n    return 1\n")
    assert bench.run().value == 9


def np_like() -> Any:
    return __import__("numpy").arange(3)


def _watched(value: Any) -> bool:
    return is_watched_call(value, "user")


def _held(function: Callable[..., Any], sees_calls: bool = True) -> list[Any]:
    return list(held(function.__code__, function.__globals__, _watched, CALLED, sees_calls))


def test_what_is_called_at_once_is_told_from_what_is_held() -> None:
    """Also in conditions, in several lines, by a name that is bound once, and by an import in the body."""

    def called_at_once(flag: bool) -> Any:
        import time

        clock = time.time
        from os import stat

        return clock(), stat("a" if flag else "b"), time.strftime("%Y" if flag else "%m"), (time.time() if flag else 1)

    def given(flag: bool) -> Any:
        import os
        import time

        clock = time.time
        return sorted([], key=os.stat), [clock][0]()

    import os
    import time

    assert _held(called_at_once) == []
    assert _held(given) == [os.stat, time.time]


def test_calls_by_a_watched_name_are_told_of_each_time() -> None:
    """Whatever object they were made on first."""

    def by_name(each: Any) -> Any:
        return each.stat(), each.other(), getattr(each, "now")()  # noqa: B009

    offsets = kept_sites(by_name.__code__, CALLED)
    assert len(offsets) == 2


def test_the_way_of_a_closure_tells_who_holds_what() -> None:
    """A default is its function's own; a table is held by whoever names it."""
    import time

    def default(now: Any = time.time) -> Any:
        return now()

    def run() -> Any:
        return default()

    assert reached(run).held == {default.__code__: (time.time,)}
