"""How what has changed is told: by the name that has another value now, and by both values, however a step comes to it."""

from __future__ import annotations

import os

import pytest

from plimsoll.records.pipelines.history import ExplainStep, StepExplanation
from tests.unit.pipelines.bench import Bench

LIB = """
import dataclasses
import enum
import functools
from typing import NamedTuple

import other

@dataclasses.dataclass
class Setting:
    rate: float = VALUE
    repeat: int = 1
    kept: bool = dataclasses.field(default=True, compare=COMPARED)

class Level(enum.Enum):
    LOW = 0
    HIGH = VALUE

class Point(NamedTuple):
    x: int = VALUE

class Base:
    share = VALUE

class Kid(Base):
    pass

class Held:
    def __init__(self, number):
        self.number = number
        self.api_key = "of nobody's business"

class Account:
    limit = 1
    password = "open VALUE"

def outer(number):
    def inner():
        return number
    return inner

def times(number):
    def decorate(function):
        @functools.wraps(function)
        def timed():
            return function() * number
        return timed
    return decorate

@times(VALUE)
def decorated():
    return 1

def computed(number=other.PLACES):
    return number

held, inner, login = Held(VALUE), outer(VALUE), {"user": "ada", "password": "open VALUE", "tries": VALUE}
part = functools.partial(max, VALUE)
text = "a" * 300 + "VALUE" + "b" * 300
many = {number: number for number in range(40)} | {40: VALUE}
"""

PIPE = """
import lib
import other
from plimsoll.pipelines.step import pipeline, step

STEPS
@pipeline
def flow():
    return [CALLS]
"""

#: What a step asks for -> how it is told that it has changed.
TOLD = {
    "lib.Setting().rate": "helper lib.Setting changed",
    "lib.Level.HIGH.value": "constant lib.Level.HIGH: 2 -> 3",
    "lib.Kid().share": "constant lib.Base.share: 2 -> 3",
    "lib.held.number": "constant lib.held: Held(number=2, api_key=(not shown)) -> Held(number=3, api_key=(not shown))",
    "len(lib.Account.password)": "helper lib.Account changed",
    "lib.inner()": "helper lib.outer.<locals>.inner: number = 2 -> number = 3",
    "lib.decorated()": "helper lib.times.<locals>.decorate.<locals>.timed: number = 2 -> number = 3",
    "lib.computed()": "helper lib.computed: number = 2 -> number = 3",
    "lib.part(1)": "constant lib.part: functools.partial(<built-in function max>, 2) -> functools.partial(<built-in function max>, 3)",
    "len(lib.text)": f"constant lib.text: …{'a' * 15}2{'b' * 44}… -> …{'a' * 15}3{'b' * 44}…",
    "lib.many[40]": "constant lib.many: …8, 39: 39, 40: 2} -> …8, 39: 39, 40: 3}",
    "lib.login['tries']": (
        "constant lib.login: {'user': 'ada', 'password': (not shown), 'tries': 2} -> {'user': 'ada', 'password': (not shown), 'tries': 3}"
    ),
    "sum(getattr(module, 'PLACES') for module in [other])": "constant other.PLACES: 2 -> 3",
}


def write(bench: Bench, value: int) -> None:
    bench.write("lib.py", LIB.replace("VALUE", str(value)).replace("COMPARED", str(value == 2)))
    bench.write("other.py", f"PLACES = {value}\n\ndef shown():\n    return 1\n")
    steps = "".join(f"@step\ndef step_{number}():\n    return {asked}\n\n" for number, asked in enumerate(TOLD))
    calls = ", ".join(f"step_{number}()" for number in range(len(TOLD)))
    bench.write("pipe.py", PIPE.replace("STEPS", steps).replace("CALLS", calls))


def test_the_name_that_has_another_value_is_told_with_both_values(bench: Bench) -> None:
    write(bench, 2)
    bench.run()
    write(bench, 3)
    second = bench.run()
    told, lines = {}, {}
    for number, asked in enumerate(TOLD):
        found = bench.do(ExplainStep(run_id=second.id, step=f"step_{number}"))
        assert isinstance(found, StepExplanation)
        told[asked] = [each.text for each in found.differences]
        lines[asked] = [line for each in found.differences for line in each.diff if line[0] in "+-" and line[1] == " "]
    assert {asked: told[asked] for asked, text in TOLD.items() if text not in told[asked]} == {}
    assert lines["lib.Setting().rate"] == [
        "-    rate = 2", "+    rate = 3", "-    kept = True", "+    kept = True, compare=False",
    ]  # fmt: skip
    # Nobody reads a password here: that it differs is known by its digest alone.
    assert lines["len(lib.Account.password)"] == []
    assert "open" not in str(told) + str(lines)


AROUND = """
import os
from plimsoll.pipelines.step import pipeline, step

@step
def listed():
    return len(os.listdir("parts"))

@step
def counted():
    return len([name for name in os.environ if name.startswith("PART_")])

@pipeline
def flow():
    return [listed(), counted()]
"""


def test_the_name_that_came_is_told_of_a_folder_and_of_all_variables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.project)
    for name in list(os.environ):
        if name not in ("PATH", "HOME"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH_TO_PARTS", "parts")
    monkeypatch.setenv("PART_TOKEN", "open")
    (bench.project / "parts").mkdir()
    bench.write("parts/one.csv", "1")
    bench.write("pipe.py", AROUND)
    bench.run()
    bench.write("parts/two.csv", "2")
    monkeypatch.setenv("PATH_TO_PARTS", "others")
    second = bench.run()
    (folder,) = bench.do(ExplainStep(run_id=second.id, step="listed")).differences
    assert folder.text == "file parts/: one.csv (1) -> one.csv, two.csv (2)"
    (variables,) = bench.do(ExplainStep(run_id=second.id, step="counted")).differences
    told = [dict(each.partition(" ")[::2] for each in str(text).split(", ")) for text in (variables.old, variables.new)]
    assert [name for name in told[0] if told[0][name] != told[1][name]] == ["PATH_TO_PARTS"]
    assert told[0]["PART_TOKEN"] == ""
