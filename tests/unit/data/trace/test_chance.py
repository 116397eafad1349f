"""What a call draws from the global generators is the same for the same seed, also from a package that it imports itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from plimsoll.data.trace.recording import Recorder
from plimsoll.data.trace.watched.chance import Chance

ROOT = Path(__file__).parents[4]


def test_generators_repeat_what_they_draw_for_a_seed() -> None:
    """And go on as before when their states are wanted back."""
    generator = __import__("random")
    state = generator.getstate()
    chance = Chance(7, keep=True)
    chance.begin()
    first, shuffled = generator.random(), pl.Series(range(100)).shuffle().to_list()
    chance.end()
    assert generator.getstate() == state
    assert pl.Series(range(100)).shuffle().to_list() != shuffled
    chance.begin()
    assert (generator.random(), pl.Series(range(100)).shuffle().to_list()) == (first, shuffled)
    chance.end()


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
