"""A part of a pipeline has the keys of the whole, and takes and gives what the whole would."""

from __future__ import annotations

import pytest

import plimsoll
from plimsoll.cli.asked import Told
from plimsoll.cli.commands.run import run as run_command
from plimsoll.errors import InvalidInput, NotFound, Refused
from plimsoll.records.pipelines.part import PartAsked
from plimsoll.records.run import GetRun
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.pipelines.bench import Bench, states

PIPE = """
    from pathlib import Path
    from plimsoll.pipelines.step import pipeline, step

    @step
    def load(count):
        return list(range(count))

    @step
    def features(rows):
        return [2 * row for row in rows]

    @step
    def train(rows, depth):
        return {"total": sum(rows) * depth}

    @step
    def describe(rows):
        return {"rows": len(rows)}

    @pipeline
    def flow(count: int = 4, depth: int = 3):
        rows = load(count)
        return {"train": train(features(rows), depth), "described": describe(rows)}
"""


@pytest.fixture(autouse=True)
def written(bench: Bench) -> None:
    """The pipeline of these tests."""
    bench.write("pipe.py", PIPE)


def test_until_runs_a_step_and_what_it_needs_and_the_whole_goes_on_from_there(bench: Bench) -> None:
    part = bench.run(part=PartAsked(until="features"))
    assert states(part) == {"load": "ran", "features": "ran", "train": "skipped", "describe": "skipped"}
    assert part["train"].why == "only 'until features' was asked for"
    assert part["features"].load() == [0, 2, 4, 6]
    with pytest.raises(NotFound, match="train has no result"):
        part.value  # noqa: B018
    assert part.run.tags == {"partial": "until features"}
    whole = bench.run()
    assert states(whole) == {"load": "hit", "features": "hit", "train": "ran", "describe": "ran"}
    assert whole.run.tags == {}


def test_from_computes_a_step_and_all_after_it_anew_and_takes_the_rest_from_the_cache(bench: Bench) -> None:
    whole = bench.run()
    part = bench.run(part=PartAsked(from_="features"))
    assert states(part) == {"load": "hit", "features": "ran", "train": "ran", "describe": "skipped"}
    assert part["features"].why == "it was asked to run anew"
    assert [step.record.key for step in part.steps[:3]] == [step.record.key for step in whole.steps[:3]]
    detail = bench.do(GetRun(id=part.id))
    assert {metric.name: metric.last for metric in detail.metrics} == {"train/total": 36.0}
    assert {artifact.name for artifact in detail.artifacts} == {"features", "train"}
    assert set(states(bench.run()).values()) == {"hit"}


def test_from_and_until_give_a_range(bench: Bench) -> None:
    bench.run()
    part = bench.run(part=PartAsked(from_="features", until="features"))
    assert states(part) == {"load": "hit", "features": "ran", "train": "skipped", "describe": "skipped"}
    with pytest.raises(InvalidInput, match="describe does not depend on features"):
        bench.run(part=PartAsked(from_="features", until="describe"))


def test_only_runs_a_step_alone_from_what_is_in_the_cache(bench: Bench) -> None:
    with pytest.raises(Refused, match=r"needs the result of load, which is not in the cache") as caught:
        bench.run(part=PartAsked(only="train"))
    assert "--until load" in caught.value.remedy
    assert bench.do(SearchRuns()).runs == ()
    bench.run(part=PartAsked(until="features"))
    part = bench.run(part=PartAsked(only="train"), depth=5)
    assert states(part) == {"load": "hit", "features": "hit", "train": "ran", "describe": "skipped"}
    assert part["train"].load() == {"total": 60}


def test_a_fresh_result_of_a_part_is_what_the_whole_finds(bench: Bench) -> None:
    changing = PIPE.replace("@step\n    def load", '@step(cache="forever")\n    def load').replace(
        "list(range(count))", 'list(range(count + int((Path(__file__).parent.parent / "more").read_text())))'
    )
    bench.write("pipe.py", changing)
    (bench.project.parent / "more").write_text("0")
    bench.run()
    (bench.project.parent / "more").write_text("1")
    assert bench.run(part=PartAsked(only="load"))["load"].load() == [0, 1, 2, 3, 4]
    assert bench.run()["load"].load() == [0, 1, 2, 3, 4]


def test_an_unknown_step_is_refused_with_those_that_there_are_and_leaves_no_run(bench: Bench) -> None:
    for asked in (PartAsked(until="feature"), PartAsked(from_="feature"), PartAsked(only="feature")):
        with pytest.raises(NotFound, match="has no step 'feature'") as caught:
            bench.run(part=asked)
        assert "Did you mean features?" in caught.value.remedy
        assert "load, features, train, describe" in caught.value.remedy
    with pytest.raises(InvalidInput, match="together"):
        bench.run(part=PartAsked(only="load", until="train"))
    assert bench.do(SearchRuns()).runs == ()
    assert states(bench.run(part=PartAsked(until="pipe.features")))["train"] == "skipped"


def test_the_command_line_and_python_take_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bench.write("pyproject.toml", '[project]\nname = "parts"\nversion = "0"\n[tool.plimsoll.variations."pipe.py:flow".a]\ndepth = 1\n')
    monkeypatch.chdir(bench.project)
    monkeypatch.setenv("PLIMSOLL_HOME", str(bench.workspace.home))
    run_command("pipe.py:flow", told=Told(until="features"))
    assert "train" in capsys.readouterr().err
    run_command("pipe.py:flow", told=Told(from_="features"))
    parts = [detail.run.tags["partial"] for detail in bench.do(SearchRuns()).runs]
    assert parts == ["from features", "until features"]
    result = plimsoll.run(bench.load(), only="train", depth=7, executor="in_process")
    assert result["train"].load() == {"total": 84}
    run_command("pipe.py:flow", told=Told(variation=["a"], only="train"))
    assert bench.do(SearchRuns()).runs[0].run.tags == {"variation": "a", "partial": "only train"}
