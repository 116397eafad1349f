"""What does not fit is told in the words of whoever knows best; threads may read at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.records.pipelines.trigger import SetTrigger, TriggerRule

RULE = {"on": "call", "pipeline": "pipe.py:flow"}


@pytest.mark.parametrize(
    ("given", "fact", "remedy"),
    [
        ({"on": "cal"}, "Invalid enum value 'cal'", "Use one of: schedule, snapshot, git, alert, call."),
        ({"concurrency": 0}, "A trigger cannot have 0 runs at the same time.", "Use 1 to 100."),
        ({"concurrency": "two"}, "Expected `int`, got `str` - at `$.concurrency`", "Correct the named field."),
    ],
)
def test_a_refusal_has_the_records_own_fact_and_remedy_or_the_choices(given: dict[str, object], fact: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        codec.convert({**RULE, **given}, TriggerRule, "The table")
    assert fact in refused.value.fact
    assert refused.value.remedy == remedy
    assert not refused.value.fact.endswith("..")


def test_a_refusal_of_a_record_inside_another_names_the_place() -> None:
    text = json.dumps({"name": "late", "rule": {**RULE, "concurrency": 0}})
    with pytest.raises(InvalidInput) as refused:
        codec.from_json(text, SetTrigger, "The request")
    assert refused.value.fact == "The request is not valid at `$.rule`: A trigger cannot have 0 runs at the same time."


#: Each process is a fresh one, in which threads read the first documents of a type.
FIRST = """
import os, sys, threading, types
from plimsoll import codec

RECORDS = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal

@dataclass(frozen=True, slots=True)
class Inner:
    number: int = 0
    texts: tuple[str, ...] = ()
    choice: Literal["x", "y"] | None = None

@dataclass(frozen=True, slots=True)
class Outer:
    all: tuple[Inner, ...] = ()
    one: Inner | None = None
    named: dict[str, Inner] | None = None
'''

def read_first():
    made = sys.modules["made"] = types.ModuleType("made")
    exec(RECORDS, vars(made))
    value, begin = made.Outer((made.Inner(1),), made.Inner(2), {"a": made.Inner(3)}), threading.Barrier(5)
    ways = (
        lambda: codec.from_json(codec.to_json(value), made.Outer),
        lambda: codec.from_msgpack(codec.to_msgpack(value), made.Outer),
        lambda: codec.convert(codec.plain(value), made.Outer),
    )
    found = []

    def read(number):
        begin.wait()
        found.append(ways[number % 3]())

    threads = [threading.Thread(target=read, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found == [value] * 5

sys.setswitchinterval(1e-5)
for _ in range(40):
    child = os.fork()
    if child == 0:
        os._exit(0 if read_first() else 1)
    assert os.waitpid(child, 0)[1] == 0
print("ended")
"""


def test_threads_may_read_the_first_documents_of_a_type_at_once() -> None:
    """msgspec takes what another thread has found of a type so far for all of it, which ended processes."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FIRST], env=env, capture_output=True, text=True, timeout=300)
    assert done.stdout == "ended\n", done.stderr
