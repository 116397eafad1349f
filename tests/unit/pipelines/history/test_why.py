"""Why a step has another key than before, told for every kind of thing that it can depend on."""

from __future__ import annotations

import pytest

from plimsoll import codec
from plimsoll.errors import InvalidInput, NotFound, StepFailed
from plimsoll.pipelines.running import PipelineResult
from plimsoll.records.pipelines.history import CompareRuns, Difference, ExplainStep, RunComparison, StepExplanation
from plimsoll.records.run import CodeVersion, FinishRun, StartRun
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.pipelines.bench import Bench

CLEAN = """
RATE = 2

def fix(value):
    doubled = value * RATE
    return doubled
"""

PIPE = """
import os
import clean
from plimsoll.pipelines.step import pipeline, step

@step
def load(count=4):
    return list(range(count))

@step
def features(rows):
    return [clean.fix(row) for row in rows]

@step
def score(rows, depth=3, weights=()):
    return {"auc": sum(rows) * depth}

@pipeline
def flow(count=4, depth=3):
    return score(features(load(count)), depth)
"""


def write(bench: Bench, pipe: str = PIPE, clean: str = CLEAN) -> None:
    bench.write("clean.py", clean)
    bench.write("pipe.py", pipe)


def why(bench: Bench, result: PipelineResult, step: str, against: str = "") -> StepExplanation:
    found = bench.do(ExplainStep(run_id=result.id, step=step, against=against))
    assert isinstance(found, StepExplanation)
    return found


def diff(bench: Bench, old: PipelineResult, new: PipelineResult) -> RunComparison:
    found = bench.do(CompareRuns(old=old.id, new=new.id))
    assert isinstance(found, RunComparison)
    return found


def texts(differences: tuple[Difference, ...]) -> list[str]:
    return [each.text for each in differences]


def test_a_changed_helper_is_shown_as_a_diff_of_its_source(bench: Bench) -> None:
    write(bench)
    first = bench.run()
    write(bench, clean=CLEAN.replace("value * RATE", "value * RATE + 1"))
    second = bench.run()
    found = why(bench, second, "features")
    assert found.summary == f"features ran; since run {first.id[:16]}: helper clean.fix changed"
    assert found.against is not None
    assert found.against.run_id == first.id
    (only,) = found.differences
    assert (only.category, only.kind, only.name) == ("code", "code", "clean.fix")
    assert next(line for line in only.diff if line[0] in "+-").startswith("-")
    assert any("+ 1" in line and line.startswith("+") for line in only.diff)
    assert found.roots == (only,)


def test_a_changed_constant_is_shown_with_its_old_and_new_value(bench: Bench) -> None:
    write(bench)
    bench.run()
    write(bench, clean=CLEAN.replace("RATE = 2", "RATE = 3"))
    (only,) = why(bench, bench.run(), "features").roots
    assert (only.name, only.old, only.new, only.category) == ("clean.RATE", "2", "3", "code")
    assert only.text == "constant clean.RATE: 2 -> 3"


def test_what_differs_at_the_import_of_a_module_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement, the variable and the file, and not only the module."""
    setting = "import os, pathlib, statistics\nWHERE = 'digits.txt'\n"
    setting += "statistics.places = int(os.environ['DIGITS']) + int(pathlib.Path(WHERE).read_text())\n"
    monkeypatch.chdir(bench.project)
    monkeypatch.setenv("DIGITS", "5")
    bench.write("digits.txt", "1")
    write(bench, clean=setting + CLEAN)
    bench.run()
    said = "what the import of clean does: "
    monkeypatch.setenv("DIGITS", "6")
    found = why(bench, bench.run(), "features")
    assert texts(found.roots) == [said + "variable DIGITS: '5' -> '6'"]
    assert "+# variable DIGITS: '6'" in found.roots[0].diff
    bench.write("digits.txt", "2")
    assert texts(why(bench, bench.run(), "features").roots) == [said + "file digits.txt changed"]
    write(bench, clean=setting.replace("places =", "places = 1 +") + CLEAN)
    (text,) = texts(why(bench, bench.run(), "features").roots)
    assert text.startswith(said + "statistics.places = int(os.environ['DIGITS']) + int")
    assert " -> statistics.places = 1 +" in text


def test_an_input_is_followed_to_the_helper_of_an_earlier_step(bench: Bench) -> None:
    write(bench)
    first = bench.run()
    write(bench, clean=CLEAN.replace("value * RATE", "value * RATE + 1"))
    found = why(bench, bench.run(), "score")
    assert texts(found.differences) == ["input rows changed"]
    (root,) = found.roots
    assert (root.name, root.steps, root.via) == ("clean.fix", ("pipe.features",), ("score", "features"))
    assert found.summary == f"score ran; since run {first.id[:16]}: helper clean.fix changed (in features)"


def test_a_reused_step_is_explained_against_any_other_run(bench: Bench) -> None:
    write(bench)
    first, second = bench.run(), bench.run(depth=6)
    again = bench.run()
    assert again["score"].state == "hit"
    found = why(bench, again, "score")
    assert found.summary == f"score was reused; since run {second.id[:16]}: param depth: 6 -> 3"
    assert why(bench, again, "score", first.id[:20]).summary == (
        f"score was reused; nothing that it depends on differs from run {first.id[:16]}"
    )


def test_a_step_without_an_earlier_run_says_so(bench: Bench) -> None:
    write(bench)
    found = why(bench, bench.run(), "load")
    assert (found.against, found.roots) == (None, ())
    assert "no earlier run has this step" in found.summary


def test_a_failed_step_and_one_that_was_skipped_for_it_are_explained(bench: Bench) -> None:
    write(bench)
    first = bench.run()
    write(bench, PIPE.replace("return [clean.fix(row)", "raise ValueError('no')\n    return [clean.fix(row)"))
    with pytest.raises(StepFailed, match="no"):
        bench.run()
    failed = bench.do(SearchRuns(where="state = 'failed'")).runs[0].run
    found = bench.do(ExplainStep(run_id=failed.id, step="features"))
    assert found.summary == f"features failed; since run {first.id[:16]}: its own code changed; and 2 more"
    assert any("raise ValueError" in line for line in found.roots[0].diff)
    skipped = bench.do(ExplainStep(run_id=failed.id, step="score"))
    assert "score was skipped: step features has no result" in skipped.summary
    assert skipped.notes


def test_a_step_that_is_never_kept_is_explained_too(bench: Bench) -> None:
    write(bench, PIPE.replace("@step\ndef features", "@step(cache=False)\ndef features"))
    first = bench.run()
    write(bench, PIPE.replace("@step\ndef features", "@step(cache=False)\ndef features"), CLEAN.replace("RATE = 2", "RATE = 5"))
    found = why(bench, bench.run(), "features")
    assert texts(found.roots) == ["constant clean.RATE: 2 -> 5"]
    assert found.against is not None
    assert found.against.run_id == first.id


def test_a_step_that_cannot_be_fingerprinted_says_why_instead_of_a_guess(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    source = PIPE.replace("return list(range(count))", "return eval('list(range(count + ' + str(len(os.environ['MORE'])) + '))')")
    write(bench, source)
    monkeypatch.setenv("MORE", "a")
    bench.run()
    monkeypatch.setenv("MORE", "ab")
    second = bench.run()
    found = why(bench, second, "features")
    (root,) = found.roots
    assert (root.category, root.kind, root.name) == ("unknown", "result", "load")
    assert any("cannot be cached" in note for note in found.notes)


def test_a_step_that_gave_something_else_for_the_same_key_is_the_root(bench: Bench) -> None:
    source = PIPE.replace("@step\ndef load", "@step(cache=False)\ndef load").replace("return list(range(count))", "return [time.time_ns()]")
    write(bench, source.replace("import os", "import time"))
    first, second = bench.run(), bench.run()
    found = diff(bench, first, second)
    assert (found.causes, texts(found.differences)) == (("data",), ["step load gave something else for the same key"])
    (root,) = why(bench, second, "score").roots
    assert (root.kind, root.name, root.via) == ("result", "load", ("score", "features", "load"))
    assert "cache=False" in root.note


def test_a_wrong_run_or_step_is_told_with_what_is_near(bench: Bench) -> None:
    write(bench)
    result = bench.run()
    with pytest.raises(NotFound, match="Did you mean: features"):
        why(bench, result, "feature")
    with pytest.raises(NotFound, match="no run"):
        bench.do(ExplainStep(run_id="f" * 32, step="load"))
    with pytest.raises(NotFound, match="no run"):
        why(bench, result, "load", "f" * 32)
    with pytest.raises(InvalidInput, match="too short"):
        bench.do(ExplainStep(run_id="0", step="load"))


def test_two_runs_that_differ_in_parameters_and_code_say_so_first(bench: Bench) -> None:
    write(bench)
    first = bench.run()
    write(bench, clean=CLEAN.replace("value * RATE", "value * RATE + 1"))
    second = bench.run(depth=6)
    found = diff(bench, first, second)
    assert found.causes == ("parameters", "code")
    assert found.summary == "parameters and code: helper clean.fix changed; param depth: 3 -> 6"
    assert [(change.name, change.old, change.new) for change in found.params] == [("depth", 3, 6)]
    assert [(change.name, change.old, change.new) for change in found.metrics] == [("auc", 36.0, 96.0)]
    assert {step.name: (step.same_key, step.same_output) for step in found.steps} == {
        "pipe.load": (True, True),
        "pipe.features": (False, False),
        "pipe.score": (False, False),
    }


def test_two_equal_runs_differ_in_nothing(bench: Bench) -> None:
    write(bench)
    found = diff(bench, bench.run(), bench.run())
    assert (found.causes, found.differences, found.params, found.packages) == ((), (), (), ())
    assert found.summary.startswith("nothing")


def test_a_comment_makes_no_difference_between_two_runs(bench: Bench) -> None:
    write(bench)
    first = bench.run()
    write(bench, clean=CLEAN + "\n# looks better\n")
    assert diff(bench, first, bench.run()).causes == ()


def test_a_step_that_only_one_run_has_is_the_pipelines_code_or_parameter(bench: Bench) -> None:
    source = PIPE.replace(
        "return score(features(load(count)), depth)", "rows = load(count)\n    return score(features(rows) if depth < 5 else rows, depth)"
    )
    write(bench, source)
    first, second = bench.run(), bench.run(depth=6)
    found = diff(bench, first, second)
    assert found.causes == ("parameters",)
    assert set(texts(found.differences)) == {
        "param depth: 3 -> 6",
        "step features is not there any more",
        "input rows comes from step load instead of step features",
    }
    write(bench, PIPE.replace("features(load(count))", "load(count)"))
    third = bench.run()
    assert diff(bench, first, third).causes == ("code",)


def test_a_value_that_the_pipeline_itself_passes_is_code_and_no_parameter(bench: Bench) -> None:
    write(bench)
    first = bench.run()
    write(bench, PIPE.replace("depth)\n", "depth, (1, 2))\n"))
    (only,) = diff(bench, first, bench.run()).differences
    assert (only.category, only.text) == ("code", "param weights: () -> (1, 2)")
    assert "the pipeline's own code" in only.note


def test_runs_without_steps_are_compared_by_what_they_recorded(bench: Bench) -> None:
    one = bench.do(StartRun(params={"lr": 0.1}, code=CodeVersion(commit="a" * 40)))
    two = bench.do(StartRun(params={"lr": 0.2}, code=CodeVersion(commit="b" * 40)))
    bench.do(FinishRun(id=one.id))
    found = bench.do(CompareRuns(old=one.id, new=two.id))
    assert found.causes == ("parameters", "code")
    assert texts(found.differences) == ["param lr: 0.1 -> 0.2", f"commit {'a' * 10} -> commit {'b' * 10}"]


def test_an_explanation_survives_the_wire(bench: Bench) -> None:
    write(bench)
    first, second = bench.run(), bench.run(depth=6)
    found = diff(bench, first, second)
    assert codec.from_json(codec.to_json(found), RunComparison) == found
    told = why(bench, second, "score")
    assert codec.from_msgpack(codec.to_msgpack(told), StepExplanation) == told


MAPPED = """
from typing import NamedTuple
import clean
from plimsoll.pipelines.step import map as each_of, pipeline, step

class Halves(NamedTuple):
    low: list
    high: list

@step
def load(count=4):
    return list(range(count))

@step
def split(rows) -> Halves:
    return Halves([row for row in rows if row < 2], [clean.fix(row) for row in rows if row >= 2])

@step
def each(row, rate=1):
    return row * rate

@step
def total(rows):
    return {"total": sum(rows)}

@pipeline
def flow(count=4, rate=1):
    halves = split(load(count))
    return {"low": total(each_of(each, halves.low, rate)), "high": total(halves.high)}
"""


def test_an_input_that_is_one_of_several_outputs_is_followed_too(bench: Bench) -> None:
    write(bench, MAPPED)
    bench.run()
    write(bench, MAPPED, CLEAN.replace("RATE = 2", "RATE = 5"))
    second = bench.run()
    (root,) = why(bench, second, "total#2").roots
    assert (root.text, root.via) == ("constant clean.RATE: 2 -> 5", ("total#2", "split"))
    assert [step.state for step in second.steps if step.label == "total"] == ["hit"]


def test_the_calls_for_the_items_of_a_list_are_followed_too(bench: Bench) -> None:
    write(bench, MAPPED)
    first, second = bench.run(), bench.run(rate=3)
    found = diff(bench, first, second)
    assert (found.causes, texts(found.differences)) == (("parameters",), ["param rate: 1 -> 3"])
    (root,) = why(bench, second, "total").roots
    assert root.text == "param rate: 1 -> 3"
    assert "each" in root.via[1]
