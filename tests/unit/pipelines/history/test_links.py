"""The true cause of a difference is found through lists that are mapped and branches that a step decides."""

from __future__ import annotations

import pytest

from plimsoll.errors import StepFailed
from plimsoll.pipelines.running import PipelineResult
from plimsoll.records.pipelines.history import CompareRuns, ExplainStep, RunComparison, StepExplanation
from plimsoll.records.pipelines.part import PartAsked
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.pipelines.bench import Bench, states

TOOLS = """
import os
from pathlib import Path
FIRST = 1

def numbers(count):
    extra = len(os.environ.get("MORE", ""))
    file = Path(__file__).with_name("more.txt")
    extra += int(file.read_text()) if file.exists() else 0
    return [FIRST + each for each in range(count + extra)]

def fix(value):
    return value * 2
"""

PIPE = """
import tools
from plimsoll.pipelines.step import map as each_of, pipeline, step, when

@step
def source(count=3):
    return tools.numbers(count)

@step
def clean(x, rate=1):
    return tools.fix(x) * rate

@step
def again(x):
    return x + 1

@step
def total(xs):
    return {"total": sum(xs)}

@step
def large(xs):
    return sum(xs) > 12

@step
def small_report(xs):
    return "small"

@step
def large_report(xs):
    return "large"

@step
def publish(report, mode="plain"):
    return report + mode

@pipeline
def flow(count: int = 3, rate: int = 1):
    cleaned = each_of(clean, source(count), rate)
    twice = each_of(again, cleaned)
    flag = large(cleaned)
    report = when(flag, lambda: large_report(twice), lambda: small_report(twice))
    return {"total": total(twice), "report": publish(report, when(flag, lambda: "bold", lambda: "plain"))}
"""

SKIPPING = {"small_report", "large_report"}


@pytest.fixture(autouse=True)
def written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project of these tests."""
    monkeypatch.delenv("MORE", raising=False)
    bench.write("tools.py", TOOLS)
    bench.write("pipe.py", PIPE)


def why(bench: Bench, result: PipelineResult, step: str, against: str = "") -> StepExplanation:
    found: StepExplanation = bench.do(ExplainStep(run_id=result.id, step=step, against=against))
    return found


def diff(bench: Bench, old: PipelineResult, new: PipelineResult) -> RunComparison:
    found: RunComparison = bench.do(CompareRuns(old=old.id, new=new.id))
    return found


def roots(explained: StepExplanation) -> list[str]:
    return [root.text for root in explained.roots]


def check_every_step(bench: Bench, old: PipelineResult, new: PipelineResult, cause: str, category: str) -> None:
    """The cause is the only one, of the comparison and of each step whose key it changes."""
    compared = diff(bench, old, new)
    assert ([each.text for each in compared.differences], compared.causes) == ([cause], (category,))
    before = {step.record.name: step.record for step in old.steps}
    keys = {step.record.key for step in old.steps}
    for step in new.steps:
        was = before.get(step.record.name)
        if step.state == "hit" and step.record.key in keys:
            continue  # an item of a list that only has another place there
        explained = why(bench, new, step.label, old.id)
        if was is None or was.key != step.record.key or (was.state == "skipped") != (step.state == "skipped"):
            assert roots(explained) == [cause], step.label
            assert explained.roots[0].category == category
        else:
            assert roots(explained) == [], step.label


def test_a_constant_of_the_step_that_gives_the_list_is_found_behind_it(bench: Bench) -> None:
    first = bench.run()
    bench.write("tools.py", TOOLS.replace("FIRST = 1", "FIRST = 2"))
    second = bench.run()
    assert second["clean[2]"].why == "param x: 3 -> 4"
    check_every_step(bench, first, second, "constant tools.FIRST: 1 -> 2", "code")
    assert why(bench, second, "total").roots[0].via == ("total", "again", "clean", "source")


def test_a_helper_that_makes_the_list_longer_is_no_new_parameter(bench: Bench) -> None:
    """And the decision that it turns is explained by it as well."""
    first = bench.run()
    bench.write("tools.py", TOOLS.replace("range(count + extra)", "range(count + extra + 1)"))
    second = bench.run()
    assert {label: states(second)[label] for label in SKIPPING} == {"small_report": "skipped", "large_report": "ran"}
    check_every_step(bench, first, second, "helper tools.numbers changed", "code")
    explained = why(bench, second, "clean[3]")
    assert explained.summary.startswith("clean[3] ran")
    assert "helper tools.numbers changed (in source)" in explained.summary
    assert any(line.startswith("+") and "extra + 1" in line for line in explained.roots[0].diff)
    # Back again: items and a branch have gone.
    bench.write("tools.py", TOOLS)
    check_every_step(bench, second, bench.run(), "helper tools.numbers changed", "code")


def test_a_file_a_variable_and_a_parameter_are_told_apart_behind_a_list(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.run()
    (bench.project / "more.txt").write_text("1")
    second = bench.run()
    monkeypatch.setenv("MORE", "a")
    third = bench.run()
    fourth = bench.run(count=4)
    assert diff(bench, first, second).causes == ("data",)
    assert [each.name for each in diff(bench, first, second).differences] == ["more.txt", "more.txt (is there)"]
    check_every_step(bench, second, third, "variable MORE: not set -> 'a'", "environment")
    check_every_step(bench, third, fourth, "param count: 3 -> 4", "parameters")


def test_a_helper_of_the_mapped_step_itself_is_the_cause(bench: Bench) -> None:
    first = bench.run()
    bench.write("tools.py", TOOLS.replace("value * 2", "value * 3"))
    check_every_step(bench, first, bench.run(), "helper tools.fix changed", "code")


def test_a_step_in_a_branch_that_was_not_taken_before_is_explained_by_what_decided(bench: Bench) -> None:
    first, second = bench.run(), bench.run(rate=3)
    check_every_step(bench, first, second, "param rate: 1 -> 3", "parameters")
    explained = why(bench, second, "small_report", first.id)
    assert explained.summary.startswith("small_report was skipped: its branch was not taken")
    assert roots(explained) == ["param rate: 1 -> 3"]
    assert "large" in explained.roots[0].via
    other = why(bench, second, "large_report", first.id)
    assert roots(other) == ["param rate: 1 -> 3"]
    # A run later again, from the cache alone.
    third = bench.run()
    assert states(third)["publish"] == "hit"
    check_every_step(bench, second, third, "param rate: 3 -> 1", "parameters")


def test_what_failed_in_a_list_is_explained_by_the_list(bench: Bench) -> None:
    first = bench.run()
    bench.write(
        "tools.py", TOOLS.replace("return value * 2", "return value * 2 if value < 4 else 1 // 0").replace("FIRST = 1", "FIRST = 2")
    )
    with pytest.raises(StepFailed):
        bench.run()
    failed = bench.do(SearchRuns(where="state = 'failed'")).runs[0].run
    for step in ("clean", "clean[2]", "total"):
        explained = bench.do(ExplainStep(run_id=failed.id, step=step, against=first.id))
        assert set(roots(explained)) == {"constant tools.FIRST: 1 -> 2", "helper tools.fix changed"}, step


def test_a_list_that_the_pipeline_writes_itself_is_a_parameter(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        PIPE.replace("each_of(clean, source(count), rate)", "each_of(clean, when(large([count]), lambda: [], lambda: [1] * count))"),
    )
    first, second = bench.run(), bench.run(count=4)
    assert diff(bench, first, second).causes == ("parameters",)
    assert "param x: [1, 1, 1] -> [1, 1, 1, 1]" in roots(why(bench, second, "total"))


def test_a_mapped_step_and_its_items_have_one_name_everywhere(bench: Bench) -> None:
    """What a run prints is what parts of a run and explanations take."""
    whole = bench.run()
    printed = [event.label for event in bench.events if event.state == "ran"]
    assert {"clean", "clean[0]", "clean[2]", "again[1]"} <= set(printed)
    for label in printed:
        assert why(bench, whole, label).step.name == f"pipe.{label}"
        bench.run(part=PartAsked(until=label))
        bench.run(part=PartAsked(from_=label))
        bench.run(part=PartAsked(only=label))


def test_one_item_can_be_run_alone_or_up_to_or_from(bench: Bench) -> None:
    bench.run()
    only = bench.run(part=PartAsked(only="clean[1]"))
    assert {label: state for label, state in states(only).items() if "clean" in label} == {
        "clean": "ran", "clean[0]": "skipped", "clean[1]": "ran", "clean[2]": "skipped",
    }  # fmt: skip
    assert only["clean[0]"].why == "only 'only clean[1]' was asked for"
    until = bench.run(part=PartAsked(until="again[1]"))
    assert [states(until)[label] for label in ("clean[0]", "again[0]", "again[1]", "total")] == ["hit", "skipped", "hit", "skipped"]
    begun = bench.run(part=PartAsked(from_="clean[1]", until="total"))
    assert [states(begun)[label] for label in ("clean[0]", "clean[1]", "again[0]", "total")] == ["hit", "ran", "ran", "ran"]
    assert set(states(bench.run()).values()) <= {"hit", "skipped"}
    with pytest.raises(StepFailed, match=r"There is no clean\[7\]: the list has 3 items"):
        bench.run(part=PartAsked(only="clean[7]"))
    with pytest.raises(Exception, match="total is not called for each item of a list"):
        bench.run(part=PartAsked(only="total[1]"))


def test_steps_of_one_name_in_two_modules_are_told_apart_as_the_run_prints_them(bench: Bench) -> None:
    bench.write("other.py", "from plimsoll.pipelines.step import step\n\n@step\ndef clean(x):\n    return x\n")
    bench.write(
        "pipe.py",
        """
        import other
        from plimsoll.pipelines.step import pipeline, step

        @step
        def clean(x):
            return x

        @pipeline
        def flow(x: int = 1):
            return [clean(x), other.clean(x)]
        """,
    )
    result = bench.run()
    assert [step.label for step in result.steps] == ["clean", "clean#2"]
    assert why(bench, result, "clean#2").step.name == why(bench, result, "other.clean").step.name == "other.clean"
    assert why(bench, result, "clean").step.name == why(bench, result, "clean#1").step.name == "pipe.clean"


FOLDER = """
from pathlib import Path
from plimsoll.pipelines.step import map as each_of, pipeline, step

@step
def found():
    return sorted(each.name for each in Path(__file__).with_name("days").iterdir())

@step
def read(name):
    return int(Path(__file__).with_name("days").joinpath(name).read_text())

@step
def total(rows):
    return sum(rows)

@pipeline
def flow():
    return total(each_of(read, found()))
"""


def test_a_file_that_goes_in_front_of_others_is_one_difference_and_not_one_of_each_item(bench: Bench) -> None:
    """The others have another place, and nothing else."""
    (bench.project / "days").mkdir()
    for day in range(1, 6):
        bench.write(f"days/{day}.txt", str(day))
    bench.write("pipe.py", FOLDER)
    first = bench.run()
    (bench.project / "days/1.txt").unlink()
    second = bench.run()
    assert second.value == 14
    assert second["total"].why == "input rows: 5 items -> 4 items"
    explained = bench.do(ExplainStep(run_id=second.run.id, step="total"))
    assert [(root.kind, root.name) for root in explained.roots] == [("file", "days/")], explained.summary
    compared = bench.do(CompareRuns(old=first.run.id, new=second.run.id))
    assert {(each.kind, each.name) for each in compared.differences} == {("file", "days/")}
    # What has changed beside is named by its place.
    bench.write("days/1.txt", "1")
    bench.write("days/3.txt", "30")
    third = bench.do(CompareRuns(old=second.run.id, new=bench.run().run.id))
    assert {(each.kind, each.name) for each in third.differences} == {("file", "days/"), ("file", "days/3.txt")}


def test_an_argument_in_front_of_others_is_told_as_a_longer_list(bench: Bench) -> None:
    """The pipeline puts the list together."""
    source = """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def one(a):
            return a

        @step
        def both(rows):
            return sum(rows)

        @pipeline
        def flow(more=False):
            return both([*([one(7)] if more else []), one(1), one(2)])
    """
    bench.write("pipe.py", source)
    first = bench.run()
    second = bench.run(more=True)
    assert second["both"].why == "input rows: 2 items -> 3 items"
    explained = bench.do(ExplainStep(run_id=second.run.id, step="both", against=first.run.id))
    assert [(root.category, root.text) for root in explained.roots] == [("parameters", "input rows: 2 items -> 3 items")]
