"""What is reused, what is computed, and what is said about it, in a real workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import InvalidInput, Overloaded, StepFailed
from plimsoll.records.pipeline import DropEntry, ListSteps
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, GetRun, GetSeries
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.pipelines.bench import Bench, states

CLEAN = """
    RATE = 2

    def fix(values):
        return [value * RATE for value in values]
"""

PIPE = """
    from plimsoll.pipelines.step import pipeline, step
    import clean
    from clean import fix

    @step
    def load(count):
        return list(range(count))

    @step
    def features(rows):
        return fix(rows)

    @step
    def score(rows, depth):
        return {"total": sum(rows) * depth, "parts": {"rows": len(rows)}}

    @pipeline
    def flow(count: int = 4, depth: int = 3):
        return score(features(load(count)), depth)
"""


def write(bench: Bench, clean: str = CLEAN, pipe: str = PIPE) -> None:
    bench.write("clean.py", clean)
    bench.write("pipe.py", pipe)


def test_a_run_gives_what_the_plain_call_gives(bench: Bench) -> None:
    write(bench)
    result = bench.run(depth=5)
    assert result.value == bench.load()(depth=5) == {"total": 60, "parts": {"rows": 4}}
    assert result["features"].load() == [0, 2, 4, 6]
    assert states(result) == {"load": "ran", "features": "ran", "score": "ran"}
    assert result["load"].why == "it has no earlier result"


def test_a_second_run_that_changes_nothing_runs_no_step(bench: Bench) -> None:
    write(bench)
    first, second = bench.run(), bench.run()
    assert set(states(second).values()) == {"hit"}
    assert [step.why for step in second.steps] == ["", "", ""]
    assert second.value == first.value
    assert second.id != first.id


def test_a_changed_parameter_reruns_only_what_takes_it_and_is_named(bench: Bench) -> None:
    write(bench)
    bench.run()
    result = bench.run(depth=6)
    assert states(result) == {"load": "hit", "features": "hit", "score": "ran"}
    assert result["score"].why == "param depth: 3 -> 6"


def test_what_json_has_no_word_for_is_recorded_as_it_was_given(bench: Bench) -> None:
    bench.write("pipe.py", "from plimsoll import pipeline, step\n@pipeline\ndef flow(limit: float, rates: list):\n    pass\n")
    result = bench.run(limit=float("inf"), rates=[1.5, float("nan"), None])
    assert result.run.params == {"limit": "inf", "rates": [1.5, "nan", None]}


def test_a_changed_helper_reruns_only_its_dependants_and_is_named(bench: Bench) -> None:
    write(bench)
    bench.run()
    write(bench, CLEAN.replace("value * RATE", "value * RATE + 1"))
    result = bench.run()
    assert states(result) == {"load": "hit", "features": "ran", "score": "ran"}
    assert result["features"].why == "helper clean.fix changed"
    assert result["score"].why == "input rows changed, since helper clean.fix changed (in features)"


def test_a_changed_constant_is_named_with_both_values(bench: Bench) -> None:
    write(bench)
    bench.run()
    write(bench, CLEAN.replace("RATE = 2", "RATE = 3"))
    assert "clean.RATE: 2 -> 3" in bench.run()["features"].why


def test_an_unchanged_output_stops_the_wave_of_changes(bench: Bench) -> None:
    write(bench)
    bench.run()
    write(bench, CLEAN.replace("value * RATE", "RATE * value"))
    result = bench.run()
    assert states(result) == {"load": "hit", "features": "ran", "score": "hit"}


def test_a_step_that_changes_back_finds_its_old_result(bench: Bench) -> None:
    write(bench)
    bench.run(depth=3)
    bench.run(depth=4)
    assert set(states(bench.run(depth=3)).values()) == {"hit"}


#: Items of a list that is too big to lie in its manifest.
BIG = 3000


def test_a_missing_blob_is_noticed_and_computed_again(bench: Bench) -> None:
    write(bench)
    output = bench.run(count=BIG)["features"].record.output
    assert output is not None
    bench.files(output)[0].unlink()
    result = bench.run(count=BIG)
    assert states(result) == {"load": "hit", "features": "ran", "score": "hit"}
    assert result["features"].why == "its stored output was damaged (bytes are missing)"
    assert set(states(bench.run(count=BIG)).values()) == {"hit"}
    assert result["features"].load() == [2 * value for value in range(BIG)]


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
def test_a_blob_of_another_size_is_noticed_and_computed_again(bench: Bench, change: object) -> None:
    write(bench)
    output = bench.run(count=BIG)["load"].record.output
    assert output is not None
    path = bench.files(output)[0]
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    result = bench.run(count=BIG)
    assert states(result) == {"load": "ran", "features": "hit", "score": "hit"}
    assert "bytes instead of" in result["load"].why
    assert result["load"].load() == list(range(BIG))


def test_a_damaged_manifest_is_noticed_and_computed_again(bench: Bench) -> None:
    write(bench)
    output = bench.run(count=BIG)["load"].record.output
    assert output is not None
    bench.blob(output.digest).write_bytes(b"{}")
    result = bench.run(count=BIG)
    assert result["load"].state == "ran"
    assert "its manifest is damaged" in result["load"].why
    assert result["load"].load() == list(range(BIG))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_damage_that_keeps_the_size_is_noticed_when_it_is_loaded_and_repaired(bench: Bench, executor: str) -> None:
    write(bench)
    output = bench.run(count=BIG)["features"].record.output
    assert output is not None
    flip(bench.files(output)[0])
    result = bench.run(depth=9, count=BIG, executor=executor)
    assert states(result) == {"load": "hit", "features": "ran", "score": "ran"}
    assert "does not hold the bytes of its name" in result["features"].why
    assert result.value["total"] == 9 * BIG * (BIG - 1)
    assert result["features"].load() == [2 * value for value in range(BIG)]


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_all_that_wait_for_a_damaged_output_get_the_repaired_one(bench: Bench, executor: str) -> None:
    pipe = PIPE.replace(
        "return score(features(load(count)), depth)", "rows = features(load(count)); return [score(rows, d) for d in (depth, 7, 8)]"
    )
    bench.write("clean.py", CLEAN)
    bench.write("pipe.py", pipe)
    output = bench.run(count=BIG)["features"].record.output
    assert output is not None
    flip(bench.files(output)[0])
    bench.write("pipe.py", pipe.replace('"parts":', '"more": 1, "parts":'))
    result = bench.run(count=BIG, executor=executor)
    assert states(result) == {"load": "hit", "features": "ran", "score": "ran", "score#2": "ran", "score#3": "ran"}
    assert [each["total"] for each in result.value] == [depth * BIG * (BIG - 1) for depth in (3, 7, 8)]


def test_a_damaged_result_of_the_whole_pipeline_is_repaired(bench: Bench) -> None:
    write(bench)
    output = bench.run()["score"].record.output
    assert output is not None
    flip(bench.blob(output.digest))
    result = bench.run()
    assert states(result) == {"load": "hit", "features": "hit", "score": "ran"}
    assert result.value["total"] == 36


def test_a_dropped_entry_is_computed_again_and_says_so(bench: Bench) -> None:
    write(bench)
    key = bench.run()["load"].record.key
    assert key is not None
    bench.do(DropEntry(key=key, reason="asked for"))
    result = bench.run()
    assert states(result) == {"load": "ran", "features": "hit", "score": "hit"}


BROKEN = """
    from plimsoll.pipelines.step import pipeline, step

    @step
    def good(count):
        return count

    @step
    def bad(count):
        raise ValueError(f"no {count} today")

    @step
    def after(value):
        return value

    @pipeline
    def flow(count: int = 1):
        return {"bad": after(after(bad(count))), "good": after(good(count))}
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_failed_step_skips_its_dependants_and_nothing_else(bench: Bench, executor: str) -> None:
    bench.write("pipe.py", BROKEN)
    with pytest.raises(StepFailed, match=r"bad .*ValueError: no 1 today") as caught:
        bench.run(executor=executor)
    # Python shows it below the error, in a notebook and in a script.
    assert "pipe.py" in caught.value.__notes__[0]
    assert "raise ValueError" in caught.value.__notes__[0]
    run_id = caught.value.details["run_id"]
    steps = bench.do(ListSteps(run_id=run_id))
    assert [step.state for step in steps] == ["failed", "skipped", "skipped", "ran", "ran"]
    assert steps[0].error is not None
    assert "pipe.py" in steps[0].error
    assert "raise ValueError" in steps[0].error
    assert "plimsoll/pipelines" not in steps[0].error
    assert steps[1].why == "step bad has no result"
    run = bench.do(GetRun(id=run_id)).run
    assert run.state == "failed"
    assert "no 1 today" in run.error


def test_only_what_failed_is_computed_by_the_next_run(bench: Bench) -> None:
    bench.write("pipe.py", BROKEN)
    with pytest.raises(StepFailed):
        bench.run()
    bench.write("pipe.py", BROKEN.replace('raise ValueError(f"no {count} today")', "return -count"))
    result = bench.run()
    assert {step.record.index: step.state for step in result.steps} == {0: "ran", 1: "ran", 2: "hit", 3: "hit", 4: "hit"}
    assert result.value == {"bad": -1, "good": 1}
    assert [repr(step) for step in (result["bad"], result["good"])] == ["<step bad: ran, it has no earlier result>", "<step good: hit>"]


def test_a_failed_step_is_tried_again_as_often_as_it_may(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from pathlib import Path
        from plimsoll.pipelines.step import pipeline, step

        @step(retries=1)
        def flaky(folder, given):
            given.append(1)
            mark = Path(folder) / "mark"
            if not mark.exists():
                mark.touch()
                raise OSError("not yet")
            return given

        @pipeline
        def flow(folder: str):
            return flaky(folder, [0])
        """,
    )
    result = bench.run(folder=str(bench.project))
    assert states(result) == {"flaky": "ran"}
    assert result.value == [0, 1], "the second try got what the first one had changed"
    assert [event.state for event in bench.events] == ["started", "retrying", "ran"]


def test_a_step_that_cannot_be_cached_runs_each_time_and_says_why(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def strange(thing):
            return 1

        @step(cache=False)
        def always():
            return 2

        @step
        def after(first, second):
            return first + second

        @pipeline
        def flow():
            return after(strange((n for n in [1, 2])), always())
        """,
    )
    first, second = bench.run(), bench.run()
    for result in (first, second):
        assert result["strange"].state == result["always"].state == "ran"
        assert result["strange"].why.startswith("it cannot be cached: ")
        assert result["always"].why == "it is declared with cache=False"
        assert result["strange"].record.key is None
    assert second["after"].state == "hit"


def test_what_cannot_be_stored_fails_the_step_with_a_remedy(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def strange():
            return object()

        @pipeline
        def flow():
            return strange()
        """,
    )
    with pytest.raises(StepFailed, match="cannot be stored"):
        bench.run()


def test_a_step_that_has_changed_its_arguments_is_tried_again_with_what_it_was_given(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from pathlib import Path
        from plimsoll.pipelines.step import pipeline, step

        @step(retries=1, backoff=0.0)
        def spoil(rows, mark):
            rows.append(1)
            if not Path(mark).exists():
                Path(mark).touch()
                raise OSError("once")
            return rows

        @pipeline
        def flow(mark):
            return spoil([0], mark)
        """,
    )
    assert bench.run(mark=str(bench.project / "mark")).value == [0, 1]


def test_a_step_that_changes_its_arguments_spoils_neither_plan_nor_inputs(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def make():
            return [1]

        @step
        def spoil(rows, given):
            rows.append(2)
            given.append(3)
            return rows + given

        @pipeline
        def flow():
            rows, given = make(), [0]
            return [spoil(rows, given), spoil(rows, given)]
        """,
    )
    result = bench.run()
    assert result.value == [[1, 2, 0, 3], [1, 2, 0, 3]]
    assert states(result)["spoil#2"] == "hit"


def test_numbers_of_the_result_become_metrics_and_outputs_artifacts(bench: Bench) -> None:
    write(bench)
    result = bench.run()
    detail = bench.do(GetRun(id=result.id))
    assert detail.run.state == "finished"
    assert detail.run.params == {"count": 4, "depth": 3}
    assert detail.run.code.entry == "pipe.py:flow"
    assert detail.run.experiment == "flow"
    assert {metric.name: metric.last for metric in detail.metrics} == {"total": 36.0, "parts/rows": 4.0}
    assert {artifact.name: artifact.kind for artifact in detail.artifacts} == {"features": "value", "load": "value", "score": "value"}


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_step_logs_to_the_run_it_is_part_of(bench: Bench, executor: str) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step
        from plimsoll.runs.logger import current_run

        @step
        def train():
            run = current_run()
            for loss in (0.5, float("nan"), 0.25):
                run.log(loss=loss)
            run.log({"auc": 0.9}, step=7)
            run.set_tags(kind="small")
            run.log_artifact("notes", {"seen": 3})
            return run.id

        @pipeline
        def flow():
            return train()
        """,
    )
    assert bench.load().__wrapped__() == ""
    result = bench.run(executor=executor)
    detail = bench.do(GetRun(id=result.id))
    assert result.value == result.id
    loss = bench.do(GetSeries(run_id=result.id, name="loss"))
    assert loss.steps == (0, 1, 2)
    assert loss.values[0] == 0.5
    assert loss.values[1] != loss.values[1]
    assert bench.do(GetSeries(run_id=result.id, name="auc")).steps == (7,)
    assert detail.run.tags == {"kind": "small"}
    assert {artifact.name for artifact in detail.artifacts} == {"notes", "train"}


def test_a_declared_table_becomes_a_snapshot_and_an_input_of_the_run(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        import polars as pl
        from plimsoll.pipelines.step import pipeline, step

        @step(snapshot="flights")
        def load():
            return pl.DataFrame({"a": [1, 2]})

        @step
        def height(rows):
            return rows.height

        @pipeline
        def flow():
            return {"rows": height(load())}
        """,
    )
    for result in (bench.run(executor="processes"), bench.run()):
        output = result["load"].record.output
        assert output is not None
        detail = bench.do(GetRun(id=result.id))
        assert [(item.name, item.digest) for item in detail.inputs] == [("flights", output.digest)]
    assert set(states(result).values()) == {"hit"}


def test_a_run_with_the_key_of_an_ended_run_is_that_run(bench: Bench) -> None:
    write(bench)
    first = bench.run(key="alert:1")
    again = bench.run(key="alert:1")
    assert again.id == first.id
    assert again.value == first.value
    assert bench.events == []
    assert len(bench.do(SearchRuns()).runs) == 1


def test_a_pipeline_that_is_refused_leaves_no_run(bench: Bench) -> None:
    write(bench)
    with pytest.raises(InvalidInput):
        bench.run(detph=3)
    assert bench.do(SearchRuns()).runs == ()


def test_an_interrupt_ends_the_run_as_stopped(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def stop():
            raise KeyboardInterrupt

        @pipeline
        def flow():
            return stop()
        """,
    )
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    (detail,) = bench.do(SearchRuns()).runs
    assert (detail.run.state, detail.run.error) == ("stopped", "KeyboardInterrupt")


PURPOSE = """
    [project]
    name = "pipes"

    [tool.plimsoll.models.flow]
    goal = "Tell."
    label = "late"
    unit = "id"
    time = "at"
    minimum_saving = {saving}
    costs = {{ false_alarm = 1.0, missed = 2.0 }}
"""

MODELS = """
    from plimsoll import Model
    from plimsoll.pipelines.step import pipeline, step

    @step
    def rows() -> list[int]:
        return [1, 2]

    @step
    def train(rows: list[int]) -> Model | None:
        return None

    @step
    def silent(rows):
        return 1

    @pipeline
    def flow():
        made = rows()
        return [train(made), silent(made)]
"""


def test_a_changed_purpose_reruns_the_steps_that_may_pack_it_into_a_model(bench: Bench) -> None:
    bench.write("pipe.py", MODELS)
    bench.write("pyproject.toml", PURPOSE.format(saving=1.0))
    bench.run()
    assert set(states(bench.run()).values()) == {"hit"}
    bench.write("pyproject.toml", PURPOSE.format(saving=2.0))
    result = bench.run()
    assert states(result) == {"rows": "hit", "train": "ran", "silent": "ran"}
    assert result["train"].why == "tool.plimsoll.models.flow changed"


def test_points_that_the_platform_never_takes_are_a_warning_and_the_run_finishes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step
        from plimsoll.runs.logger import current_run

        @step
        def train():
            for loss in range(5):
                current_run().log(loss=float(loss))
            return 1

        @pipeline
        def flow():
            return train()
        """,
    )
    monkeypatch.setattr("plimsoll.pipelines.engine.PATIENCE", 0.0)
    do = bench.do

    def full(request: Request[Any]) -> Any:
        if isinstance(request, AppendPoints) and not request.writer.startswith("result"):
            raise Overloaded("The server is full.")
        return do(request)

    monkeypatch.setattr(bench, "do", full)
    result = bench.run()
    assert result.run.state == "finished"
    assert f"Run {result.id} lost 5 points" in capsys.readouterr().err
