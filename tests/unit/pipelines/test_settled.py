"""Parameters from Python are checked against the pipeline's annotations as those of the command line are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plimsoll
from plimsoll.errors import InvalidInput
from plimsoll.pipelines.settled import settle, typed_params
from plimsoll.records.pipeline import ListSteps
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.pipelines.bench import Bench


def flow(w: float = 1.0, n: int = 1, months: tuple[int, ...] = (), names: list[str] | None = None, none: int = None, any=None) -> None:  # type: ignore[no-untyped-def, assignment]  # noqa: RUF013
    """Stands for a pipeline."""


@pytest.mark.parametrize(
    "given", [{"w": "a"}, {"w": True}, {"n": True}, {"n": 1.0}, {"n": "1"}, {"months": ["a"]}, {"names": "ab"}, {"names": [1]}, {"w": None}]
)
def test_what_the_command_line_refuses_python_refuses_in_the_same_words(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as typed:
        typed_params(flow, given)
    with pytest.raises(InvalidInput) as plain:
        settle(flow, given, tmp_path)
    assert plain.value.fact == typed.value.fact
    assert next(iter(given)) in plain.value.fact


@pytest.mark.parametrize(
    "given",
    [
        {"w": 1},
        {"n": np.int64(3)},
        {"w": np.float32(1)},
        {"months": [1, 2]},
        {"months": (1,)},
        {"names": None},
        {"none": None},
        {"any": object()},
    ],
)
def test_what_fits_goes_on_as_it_is(given: dict[str, Any], tmp_path: Path) -> None:
    ((name, value),) = settle(flow, given, tmp_path).params.items()
    assert value is given[name]


DECLARED = """
[tool.plimsoll.params."pipe.py:flow"]
{params}

[tool.plimsoll.profiles.small.params."pipe.py:flow"]
nn = 2

[tool.plimsoll.variations."pipe.py:flow"]
fr = {{ loud = "yes" }}
"""


def test_a_declared_parameter_that_does_not_fit_is_told_with_its_table(tmp_path: Path) -> None:
    def flow(n: int = 1, loud: bool = False) -> None:
        """Stands for a pipeline."""

    def refusal(params: str = "", **asked: str) -> InvalidInput:
        (tmp_path / "pyproject.toml").write_text(DECLARED.format(params=params))
        with pytest.raises(InvalidInput) as caught:
            settle(flow, {}, tmp_path, "pipe.py:flow", **asked)
        return caught.value

    wrong = refusal('n = "six"')
    assert "The parameter 'n' of [tool.plimsoll.params.\"pipe.py:flow\"] in pyproject.toml" in wrong.fact
    unknown = refusal("lod = true")
    assert unknown.fact == "[tool.plimsoll.params.\"pipe.py:flow\"] in pyproject.toml has 'lod', which is no parameter of the pipeline."
    assert unknown.remedy == "Did you mean loud?"
    assert "[tool.plimsoll.profiles.small.params.\"pipe.py:flow\"] in pyproject.toml has 'nn'" in refusal(profile="small").fact
    no = refusal(variation="fr")
    assert no.fact.startswith("The parameter 'loud' of [tool.plimsoll.variations.\"pipe.py:flow\".fr]")
    assert no.fact.endswith("is 'yes', which is neither true nor false.")
    assert no.remedy == "Write true or false."


PIPE = """
from plimsoll.pipelines.step import pipeline, step

@step
def show(value):
    return repr(value)

@pipeline
def flow(w: float = 0.5, free=None):
    return [show(w), show(free)]
"""


def test_a_run_from_python_is_refused_before_it_begins_and_true_is_not_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("pyproject.toml", "[tool.plimsoll]\n")
    bench.write("pipe.py", PIPE)
    monkeypatch.chdir(bench.project)
    monkeypatch.setenv("PLIMSOLL_HOME", str(bench.workspace.home))
    monkeypatch.delenv("PLIMSOLL_URL", raising=False)
    loaded = bench.load()
    with pytest.raises(InvalidInput, match="The parameter 'w' is not valid: Expected `float`, got `str`"):
        plimsoll.run(loaded, w="a", executor="in_process")
    assert bench.do(SearchRuns()).runs == ()
    gave = [plimsoll.run(loaded, free=value, executor="in_process").value[1] for value in (1, True, 1.0, "1")]
    assert gave == ["1", "True", "1.0", "'1'"]
    keys = {step.key for detail in bench.do(SearchRuns()).runs for step in bench.do(ListSteps(run_id=detail.run.id)) if step.index == 1}
    assert len(keys) == 4


NAMED = """
from plimsoll import pipeline, step

@step
def show(*values):
    return list(values)

@pipeline()
def flow(name: str = "nobody", seed: int = 1, profile: str = "none", x: float = 0.0):
    return {"all": show(name, seed, profile), "score": score(seed, x)}

@step
def score(seed, x):
    return seed + x
"""


def test_a_parameter_that_is_called_as_an_option_is_given_apart_from_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("pyproject.toml", "[tool.plimsoll.profiles.quick]\nexecutor = 'in_process'\n")
    bench.write("pipe.py", NAMED)
    monkeypatch.chdir(bench.project)
    monkeypatch.setenv("PLIMSOLL_HOME", str(bench.workspace.home))
    monkeypatch.delenv("PLIMSOLL_URL", raising=False)
    loaded = bench.load()

    def all_of(**given: Any) -> Any:
        return plimsoll.run(loaded, executor="in_process", **given).value["all"]

    # A pipeline's run has no name of its own, so there is only one that can be meant.
    assert all_of(name="bob", seed=3) == ["bob", 3, "none"]
    with pytest.raises(InvalidInput, match=r"'profile' is an option of plimsoll\.run and a parameter of the pipeline") as caught:
        all_of(profile="quick")
    assert "params={'profile': …}" in caught.value.remedy
    assert all_of(params={"profile": "mine", "seed": 2}, name="bob") == ["bob", 2, "mine"]
    assert all_of(params={"profile": "mine"}, profile="quick") == ["nobody", 1, "mine"]
    with pytest.raises(InvalidInput, match="nmae"):
        all_of(nmae="bob")

    def search(**given: Any) -> Any:
        return plimsoll.search(loaded, trials=2, space={"x": "float(0,1)"}, maximize="score", executor="in_process", **given)

    with pytest.raises(InvalidInput, match=r"'seed' is an option of plimsoll\.search"):
        search(seed=7)
    scores = [trial.values[0] for trial in search(params={"seed": 100}, sampler="random").trials]
    assert min(scores) >= 100
