"""What a call draws from the global generators is the same for the same seed, also from a package that it imports itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plimsoll.data.trace.recording import Recorder
from plimsoll.data.trace.watched.chance import Arrays, Chance

ROOT = Path(__file__).parents[4]


def test_generators_repeat_what_they_draw_for_a_seed() -> None:
    """And go on as before when their states are wanted back."""
    generator = __import__("random")
    state = generator.getstate()
    chance = Chance(7, Arrays())
    chance.begin()
    first, shuffled = generator.random(), pl.Series(range(100)).shuffle().to_list()
    chance.end()
    assert generator.getstate() == state
    assert pl.Series(range(100)).shuffle().to_list() != shuffled
    chance.begin()
    assert (generator.random(), pl.Series(range(100)).shuffle().to_list()) == (first, shuffled)
    chance.end()


def draws(arrays: Arrays, count: int) -> list[float]:
    """Draw as a step does between saving and putting back."""
    put_back = arrays.save()
    np.random.seed(7)
    found = [float(np.random.standard_normal()) for _ in range(count)]
    put_back()
    return found


def told() -> list[object]:
    name, words, *rest = np.random.get_state()
    return [name, words.tolist(), *rest]


@pytest.fixture
def generator() -> Iterator[None]:
    """NumPy's global generator is as it was when the test is through."""
    kept = np.random.get_bit_generator()
    yield
    np.random.set_bit_generator(kept)
    np.random.seed()


@pytest.mark.usefixtures("generator")
@pytest.mark.parametrize("inside", [0, 1, 2, 700])
def test_numpys_generator_goes_on_as_if_nothing_had_been_drawn_in_between(inside: int) -> None:
    """Whatever was drawn before: an odd count of normal numbers leaves one that was drawn in advance, which is in no word of it."""
    arrays = Arrays()
    np.random.seed(11)
    for before in (0, 0, 1, 0, 1, 2, 0, 623, 0, 0, 1, 1):
        for _ in range(before):
            np.random.standard_normal()
        state = told()
        assert draws(arrays, inside) == draws(Arrays(), inside)
        assert told() == state


@pytest.mark.usefixtures("generator")
def test_numpys_generator_is_asked_once_while_nobody_draws_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, get_state = [], np.random.get_state
    monkeypatch.setattr(np.random, "get_state", lambda: (asked.append(1), get_state())[1])
    np.random.seed(11)
    arrays = Arrays()
    for _ in range(3):
        draws(arrays, 3)
    assert len(asked) == 1
    np.random.random()
    draws(arrays, 3)
    assert len(asked) == 2


@pytest.mark.usefixtures("generator")
def test_a_generator_that_a_step_puts_in_its_place_is_let_go_of() -> None:
    arrays = Arrays()
    np.random.seed(11)
    state = told()
    put_back = arrays.save()
    np.random.set_bit_generator(np.random.MT19937(3))
    put_back()
    assert told() == state


DRAWS = """
import importlib, json, sys
from pathlib import Path
from plimsoll.data.trace.recording import Recorder

def stated():
    import polars
    return polars.Series(range(100)).shuffle().to_list()

def selected():
    from polars.dataframe import DataFrame
    return DataFrame({"a": range(100)}).to_series().shuffle().to_list()

def computed():
    return importlib.import_module("po" + "lars").Series(range(100)).shuffle().to_list()

assert "polars" not in sys.modules
way, *before = sys.argv[1:]
for name in before:
    importlib.import_module(name)
recording = Recorder(Path.cwd(), alone=True).recording(globals()[way], (), 7)
with recording:
    drawn = globals()[way]()
print(json.dumps([drawn, recording.trace().effects]))
"""


@pytest.mark.parametrize("way", ["stated", "selected", "computed"])
def test_what_a_call_draws_from_polars_is_repeated_although_it_is_the_first_to_import_it(tmp_path: Path, way: str) -> None:
    (tmp_path / "draws.py").write_text(DRAWS)

    def drawn(*before: str) -> tuple[list[int], list[str]]:
        command = [sys.executable, "draws.py", way, *before]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        values, effects = json.loads(done.stdout)
        return values, effects

    expected, effects = drawn("polars")
    assert (expected == list(range(100)), effects) == (False, [])
    assert drawn() == (expected, [])


def test_a_generator_that_could_not_be_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pl, "set_random_seed")
    recording = Recorder(tmp_path).recording(print, (), 7)
    with recording:
        print()
    assert recording.trace().effects == ("imported polars, whose random generator could not be set",)
