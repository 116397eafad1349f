"""Steps that give several outputs, lists whose length only the run knows, and branches that a step decides."""

from __future__ import annotations

import pytest

from plimsoll.errors import InvalidInput, StepFailed
from plimsoll.pipelines.plan import Group, trace
from plimsoll.pipelines.step import map, pipeline, step, when
from plimsoll.records.pipeline import GetKeyParts, ListSteps
from plimsoll.records.run import GetRun
from tests.unit.pipelines.bench import Bench, states

SPLIT = """
    from typing import NamedTuple
    import polars as pl
    from plimsoll.pipelines.step import pipeline, step

    class Split(NamedTuple):
        train: pl.DataFrame
        test: pl.DataFrame

        def rows(self):
            return self.train.height + self.test.height

    @step
    def split(count, seed) -> Split:
        frame = pl.DataFrame({"a": range(count)})
        return Split(train=frame.head(count - 2), test=frame.tail(2 + 0 * seed))

    @step
    def fit(rows):
        return rows["a"].sum()

    @step
    def judge(model, rows):
        return model + rows["a"].sum()

    @step
    def whole(parts):
        assert type(parts).__name__ == "Split"
        return parts.rows()

    @pipeline
    def flow(count: int = 10, seed: int = 1):
        parts = split(count, seed)
        train, test = parts
        return {"score": judge(fit(parts.train), test), "first": fit(parts[0]), "rows": whole(parts)}
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_each_of_several_outputs_goes_where_it_is_taken(bench: Bench, executor: str) -> None:
    bench.write("pipe.py", SPLIT)
    result = bench.run(executor=executor)
    assert result.value == bench.load()() == {"score": 45, "first": 28, "rows": 10}
    assert result["split"].load().train["a"].to_list() == list(range(8))
    assert states(result)["fit#2"] == "hit"
    artifacts = {artifact.name: artifact.kind for artifact in bench.do(GetRun(id=result.id)).artifacts}
    assert artifacts["split.train"] == artifacts["split.test"] == "table"
    assert "split" not in artifacts
    assert set(states(bench.run(executor=executor)).values()) == {"hit"}


PARTS = """
    from typing import NamedTuple
    import pandas as pd
    from sklearn.model_selection import train_test_split
    from plimsoll.pipelines.step import pipeline, step

    class Parts(NamedTuple):
        rows: pd.DataFrame
        other: pd.DataFrame
        wanted: pd.Series
        kept: pd.Series

    @step
    def split(count, seed) -> Parts:
        frame = pd.DataFrame({"a": range(count), "b": range(count)})
        return Parts(*train_test_split(frame[["a"]], frame["b"] % 2, test_size=0.25, random_state=seed))

    @step
    def fit(rows, wanted):
        return rows["a"].groupby(wanted).agg(["mean", "size"])

    @step
    def judge(model, kept):
        return float(model.loc[kept, "mean"].sum())

    @pipeline
    def flow(count: int = 20, seed: int = 1):
        parts = split(count, seed)
        return judge(fit(parts.rows, parts.wanted), parts.kept)
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_frames_and_series_of_pandas_go_from_step_to_step_as_they_are_after_a_split(bench: Bench, executor: str) -> None:
    bench.write("pipe.py", PARTS)
    result = bench.run(executor=executor)
    assert result.value == bench.load()()
    rows = result["split"].load().rows
    assert sorted(rows.index) != list(rows.index)
    assert (rows.index == rows["a"]).all()
    assert set(states(bench.run(executor=executor)).values()) == {"hit"}


def test_a_step_reruns_only_when_the_output_that_it_takes_has_changed(bench: Bench) -> None:
    bench.write("pipe.py", SPLIT)
    bench.run()
    bench.write("pipe.py", SPLIT.replace("frame.tail(2 + 0 * seed)", "frame.tail(3)"))
    result = bench.run()
    assert states(result) == {"split": "ran", "fit": "hit", "judge": "ran", "fit#2": "hit", "whole": "ran"}
    assert result["judge"].why == "input rows changed, since its own code changed (in split)"


def test_a_step_that_takes_all_outputs_depends_on_what_their_class_does(bench: Bench) -> None:
    bench.write("pipe.py", SPLIT)
    bench.run()
    bench.write("pipe.py", SPLIT.replace("self.train.height + self.test.height", "-1"))
    result = bench.run()
    assert result["whole"].state == "ran"
    assert result["whole"].load() == -1
    assert result["fit"].state == "hit"


def test_outputs_that_change_places_are_computed_anew(bench: Bench) -> None:
    bench.write("pipe.py", SPLIT)
    bench.run()
    swapped = SPLIT.replace("train: pl.DataFrame\n        test: pl.DataFrame", "test: pl.DataFrame\n        train: pl.DataFrame")
    bench.write("pipe.py", swapped)
    assert bench.run()["split"].state == "ran"


def test_what_is_not_of_the_annotated_class_fails_and_names_both(bench: Bench) -> None:
    bench.write("pipe.py", SPLIT.replace("return Split(train=frame.head(count - 2), test=frame.tail(2 + 0 * seed))", "return (1, 2)"))
    with pytest.raises(StepFailed, match=r"split is annotated to return Split, but returned a tuple"):
        bench.run()


def test_a_damaged_output_among_several_is_computed_again(bench: Bench) -> None:
    bench.write("pipe.py", SPLIT)
    output = bench.run()["split"].record.output
    assert output is not None
    for path in bench.files(output):
        if path.read_bytes()[:4] == b"PAR1":
            data = bytearray(path.read_bytes())
            data[-9] ^= 1
            path.write_bytes(bytes(data))
    bench.write("pipe.py", SPLIT.replace('rows["a"].sum()', 'int(rows["a"].sum())'))
    result = bench.run()
    assert result["split"].state == "ran"
    assert "does not hold the bytes" in result["split"].why
    assert result.value["score"] == 45


MAP = """
    import plimsoll.pipelines.step as plimsoll
    from plimsoll.pipelines.step import pipeline, step

    @step
    def names(count):
        return [f"file {number}" for number in range(count)]

    @step
    def clean(name, rate=2):
        if name == "file 13":
            raise ValueError("unlucky")
        return len(name) * rate

    @step
    def double(value):
        return 2 * value

    @step
    def total(values):
        assert type(values) is list
        return sum(values)

    @pipeline
    def flow(count: int = 3, rate: int = 2):
        lengths = plimsoll.map(clean, names(count), rate=rate)
        return {"total": total(plimsoll.map(double, lengths)), "lengths": lengths}
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_each_item_of_a_list_that_a_step_gives_is_a_call_of_its_own(bench: Bench, executor: str) -> None:
    bench.write("pipe.py", MAP)
    result = bench.run(executor=executor)
    assert result.value == bench.load()() == {"total": 72, "lengths": [12, 12, 12]}
    assert result["clean"].load() == [12, 12, 12]
    assert result["clean[1]"].load() == 12
    assert result["clean"].why == "3 of 3 items ran: it has no earlier result"
    assert states(result)["double[1]"] == "hit", "the same content is the same call"
    again = bench.run(executor=executor)
    assert set(states(again).values()) == {"hit"}
    assert again.value == result.value


def test_a_list_that_grows_by_one_item_computes_one(bench: Bench) -> None:
    bench.write("pipe.py", MAP)
    bench.run(count=3)
    result = bench.run(count=12)
    ran = [label for label, state in states(result).items() if state == "ran"]
    assert ran == ["names", "clean", "double", "total", *(f"clean[{number}]" for number in range(3, 12)), "double[10]"]
    assert result["clean"].why == "9 of 12 items ran: it has no earlier result"
    assert result["clean[3]"].why == "it has no earlier result"
    key = result["clean"].record.key
    assert key is not None
    assert [part.name for part in bench.do(GetKeyParts(key=key))][:2] == ["pipe.clean[0]", "pipe.clean[10]"]


def test_an_empty_list_gives_an_empty_list(bench: Bench) -> None:
    bench.write("pipe.py", MAP)
    result = bench.run(count=0)
    assert result.value == {"total": 0, "lengths": []}
    assert result["clean"].state == "hit"


def test_one_item_that_fails_fails_the_list_and_is_named_and_the_others_are_kept(bench: Bench) -> None:
    bench.write("pipe.py", MAP)
    with pytest.raises(StepFailed, match=r"clean\[13\] failed: ValueError: unlucky") as caught:
        bench.run(count=15)
    assert "raise ValueError" in caught.value.details["traceback"]
    steps = {record.name: record.state for record in bench.do(ListSteps(run_id=caught.value.details["run_id"]))}
    assert steps["pipe.clean"] == "failed"
    assert steps["pipe.clean[14]"] == "ran"
    assert steps["pipe.double"] == steps["pipe.total"] == "skipped"
    bench.write("pipe.py", MAP.replace('"file 13"', '"file 99"'))
    again = bench.run(count=15)
    assert again["total"].state == "ran"


def test_mapping_over_what_is_no_list_fails_and_says_what_it_is(bench: Bench) -> None:
    bench.write("pipe.py", MAP.replace('[f"file {number}" for number in range(count)]', '{"a": 1}'))
    with pytest.raises(StepFailed, match="clean is mapped over a dict, not over a list"):
        bench.run()


def test_mapping_over_known_items_and_plain_calls_are_plain_loops() -> None:
    @step
    def double(value: int, more: int = 0) -> int:
        return 2 * value + more

    assert map(double, [1, 2], more=1) == [3, 5]
    assert [node.label for node in trace(pipeline(lambda: map(double, [1, 2])), {}).nodes] == ["double", "double#2"]
    with pytest.raises(InvalidInput, match="is not a step"):
        map(lambda value: value, [1])


WHEN = """
    import plimsoll.pipelines.step as plimsoll
    from plimsoll.pipelines.step import pipeline, step

    @step
    def drifted(level):
        return level > 3

    @step
    def train(level):
        return {"auc": level}

    @step
    def load():
        return {"auc": 0}

    @step
    def report(model):
        return model["auc"]

    @pipeline
    def flow(level: int = 1):
        model = plimsoll.when(drifted(level), then=lambda: train(level), otherwise=lambda: load())
        return {"auc": report(model), "model": model}
"""


def test_only_the_branch_runs_that_a_steps_result_decides(bench: Bench) -> None:
    bench.write("pipe.py", WHEN)
    low, high = bench.run(level=1), bench.run(level=5)
    assert states(low) == {"drifted": "ran", "train": "skipped", "load": "ran", "report": "ran"}
    assert low["train"].why == "its branch was not taken: drifted was false"
    assert states(high) == {"drifted": "ran", "train": "ran", "load": "skipped", "report": "ran"}
    assert low.value == bench.load()(level=1) == {"auc": 0, "model": {"auc": 0}}
    assert high.value == bench.load()(level=5) == {"auc": 5, "model": {"auc": 5}}
    assert {metric.name: metric.last for metric in bench.do(GetRun(id=high.id)).metrics} == {"auc": 5.0, "model/auc": 5.0}


def test_the_result_of_a_branch_gives_the_same_key_as_the_plain_step(bench: Bench) -> None:
    bench.write("pipe.py", WHEN)
    bench.run(level=5)
    bench.write(
        "pipe.py", WHEN.replace("plimsoll.when(drifted(level), then=lambda: train(level), otherwise=lambda: load())", "train(level)")
    )
    assert set(states(bench.run(level=5)).values()) == {"hit"}


def test_branches_inside_branches_and_values_in_them_work(bench: Bench) -> None:
    nested = """
        import plimsoll.pipelines.step as plimsoll
        from plimsoll.pipelines.step import pipeline, step

        @step
        def over(level, bound):
            return level > bound

        @step
        def name(text):
            return text

        @pipeline
        def flow(level: int = 1):
            return plimsoll.when(
                over(level, 5), lambda: plimsoll.when(over(level, 8), lambda: name("top"), lambda: name("high")), lambda: "low"
            )
    """
    bench.write("pipe.py", nested)
    assert [bench.run(level=level).value for level in (1, 6, 9)] == ["low", "high", "top"]
    assert bench.run(level=1)["name"].why == "its branch was not taken: over was false"


def test_what_cannot_be_true_or_false_fails_and_names_the_step(bench: Bench) -> None:
    bench.write("pipe.py", WHEN.replace("return level > 3", "import polars; return polars.DataFrame({'a': [1]})"))
    with pytest.raises(StepFailed, match="drifted decides a branch, but is neither true nor false"):
        bench.run()


def test_a_condition_on_a_result_is_refused_with_the_way_out() -> None:
    @step
    def flag() -> bool:
        return True

    with pytest.raises(InvalidInput) as caught:
        trace(pipeline(lambda: 1 if flag() else 2), {})
    assert "plimsoll.when(" in caught.value.remedy
    with pytest.raises(InvalidInput) as caught:
        trace(pipeline(lambda: [item for item in flag()]), {})  # type: ignore[attr-defined]
    assert "plimsoll.map(" in caught.value.remedy


def test_conditions_that_are_known_are_decided_at_once() -> None:
    @step
    def one() -> int:
        return 1

    assert when(True, one) == 1
    assert when(0, one) is None
    plan = trace(pipeline(lambda deep=True: [when(deep, one, lambda: 2)]), {})
    assert isinstance(plan.result, Group)
    assert len(plan.nodes) == 1
