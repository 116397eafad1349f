"""The verbs of entries and steps, on each database, and the words for a changed key."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plimsoll.data.values import save
from plimsoll.errors import Conflict, Corrupt, Denied, InvalidInput, NotFound
from plimsoll.pipelines.cache import explain
from plimsoll.pipelines.settled import typed_params
from plimsoll.pipelines.step import pipeline
from plimsoll.records.access import Actor, ListEvents
from plimsoll.records.pipeline import (
    CacheEntry,
    DropEntry,
    EndedStep,
    FindEntries,
    GetEntry,
    GetKeyParts,
    GetLatestEntry,
    KeyPart,
    ListSteps,
    Output,
    RecordSteps,
    RunPipeline,
    StepRecord,
)
from plimsoll.records.run import Artifact, FinishRun, GetRun, StartRun
from plimsoll.workspace import Workspace, open_workspace
from tests.unit.pipelines.bench import OWNER, Bench, states

PART = KeyPart(kind="param", name="depth", digest="1" * 64, text="4")


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    """A workspace on each database."""
    opened = open_workspace(tmp_path / "home", database=database_url, owner="dana")
    yield opened
    opened.close()


def stored(workspace: Workspace, value: Any) -> Output:
    return save(value, workspace.stores.blobs, workspace.project)


def ended(output: Output, run_id: str, key: str | None, **more: Any) -> EndedStep:
    record = StepRecord(run_id=run_id, index=0, name="pipe.work", state="ran", key=key, why="", started=1, ended=2, output=output, **more)
    return EndedStep(record=record, call="c" * 64, parts=(PART,), keep=key is not None)


def entry(workspace: Workspace, key: str, value: Any, run_id: str = "") -> RecordSteps:
    run_id = run_id or workspace.do(StartRun(), OWNER).id
    return RecordSteps(run_id=run_id, steps=(ended(stored(workspace, value), run_id, key * 64),))


def kept(workspace: Workspace, key: str) -> CacheEntry:
    return workspace.do(GetEntry(key=key * 64), OWNER)


def test_an_entry_is_found_by_its_key_by_its_call_and_as_the_newest_of_its_step(workspace: Workspace) -> None:
    for key in "ab":
        workspace.do(entry(workspace, key, key), OWNER)
    assert kept(workspace, "a").call == "c" * 64
    assert workspace.do(FindEntries(call="c" * 64), OWNER) == (kept(workspace, "b"), kept(workspace, "a"))
    assert workspace.do(FindEntries(call="c" * 64, limit=1), OWNER) == (kept(workspace, "b"),)
    assert workspace.do(FindEntries(call="d" * 64), OWNER) == ()
    assert workspace.do(GetLatestEntry(step="pipe.work"), OWNER) == kept(workspace, "b")
    assert workspace.do(GetKeyParts(key="a" * 64), OWNER) == (PART,)


def test_the_newest_result_of_a_key_is_what_later_runs_find(workspace: Workspace) -> None:
    workspace.do(entry(workspace, "a", 1), OWNER)
    first = kept(workspace, "a")
    workspace.do(entry(workspace, "a", 2), OWNER)
    assert kept(workspace, "a").output == stored(workspace, 2)
    assert kept(workspace, "a").created > first.created


def test_of_many_runs_that_end_a_step_at_once_one_entry_stays(workspace: Workspace) -> None:
    requests = [entry(workspace, "a", value) for value in range(8)]
    with ThreadPoolExecutor(len(requests)) as pool:
        list(pool.map(lambda request: workspace.do(request, OWNER), requests))
    assert kept(workspace, "a").output in [request.steps[0].record.output for request in requests]


def test_the_parts_that_calls_of_a_step_share_are_stored_once_and_told_with_each(workspace: Workspace) -> None:
    run = workspace.do(StartRun(), OWNER)
    code = KeyPart(kind="code", name="pipe.work", digest="2" * 64)
    steps = tuple(replace(ended(stored(workspace, key), run.id, key * 64), code="e" * 64) for key in "ab")
    workspace.do(RecordSteps(run_id=run.id, steps=steps[:1], code={"e" * 64: (code,)}), OWNER)
    workspace.do(RecordSteps(run_id=run.id, steps=steps[1:]), OWNER)
    for key in "ab":
        assert workspace.do(GetKeyParts(key=key * 64), OWNER) == (code, PART)


def test_a_run_ends_with_its_last_steps_or_neither_is_recorded_and_the_audit_log_tells_of_the_end(workspace: Workspace) -> None:
    run = workspace.do(StartRun(), OWNER)
    last = RecordSteps(run_id=run.id, steps=(ended(stored(workspace, 1), run.id, "a" * 64),), end=FinishRun(id=run.id))
    lost = Artifact(name="rows", kind="table", digest="f" * 64, size=1)
    with pytest.raises(NotFound, match="f" * 12):
        workspace.do(replace(last, end=FinishRun(id=run.id, artifacts=(lost,))), OWNER)
    assert workspace.do(ListSteps(run_id=run.id), OWNER) == ()
    assert workspace.do(GetRun(id=run.id), OWNER).run.state == "running"
    ended_run = workspace.do(last, OWNER)
    assert ended_run is not None
    assert ended_run == workspace.do(GetRun(id=run.id), OWNER).run
    assert ended_run.state == "finished"
    assert [step.key for step in workspace.do(ListSteps(run_id=run.id), OWNER)] == ["a" * 64]
    (told,) = [event for event in workspace.do(ListEvents(subject=f"run:{run.id}"), OWNER) if event.verb == "FinishRun"]
    assert (told.actor, told.payload["state"]) == ("dana", "finished")
    with pytest.raises(InvalidInput, match="other"):
        replace(last, end=FinishRun(id="other"))


def test_a_step_that_may_not_be_reused_leaves_no_entry_but_can_be_explained(workspace: Workspace) -> None:
    run = workspace.do(StartRun(), OWNER)
    step = replace(ended(stored(workspace, 1), run.id, "a" * 64), keep=False)
    workspace.do(RecordSteps(run_id=run.id, steps=(step,)), OWNER)
    assert workspace.do(FindEntries(call="c" * 64), OWNER) == ()
    assert workspace.do(GetKeyParts(key="a" * 64), OWNER) == (PART,)
    with pytest.raises(NotFound, match="b" * 12):
        workspace.do(GetKeyParts(key="b" * 64), OWNER)


def test_what_was_never_computed_or_was_dropped_is_not_found(workspace: Workspace) -> None:
    workspace.do(entry(workspace, "a", 1), OWNER)
    workspace.do(DropEntry(key="a" * 64, reason="test"), OWNER)
    workspace.do(DropEntry(key="a" * 64, reason="test"), OWNER)
    for request in (GetEntry(key="a" * 64), GetLatestEntry(step="pipe.work")):
        with pytest.raises(NotFound):
            workspace.do(request, OWNER)


def test_a_batch_with_an_output_whose_bytes_are_not_stored_is_refused_whole(workspace: Workspace) -> None:
    run = workspace.do(StartRun(), OWNER)
    whole = ended(stored(workspace, 1), run.id, "a" * 64)
    lost = ended(replace(stored(workspace, 2), digest="0" * 64), run.id, "b" * 64)
    with pytest.raises(Corrupt, match="missing"):
        workspace.do(RecordSteps(run_id=run.id, steps=(whole, lost)), OWNER)
    assert workspace.do(FindEntries(call="c" * 64), OWNER) == ()
    assert workspace.do(ListSteps(run_id=run.id), OWNER) == ()


def test_a_steps_record_is_replaced_by_a_later_one_and_listed_in_order(workspace: Workspace) -> None:
    run = workspace.do(StartRun(), OWNER)
    output = stored(workspace, 1)

    def record(index: int, why: str, run_id: str = run.id) -> EndedStep:
        return EndedStep(record=replace(ended(output, run_id, None).record, index=index, why=why))

    first = (record(1, "b"), record(0, "a"))
    workspace.do(RecordSteps(run_id=run.id, steps=first), OWNER)
    assert workspace.do(ListSteps(run_id=run.id), OWNER) == (first[1].record, first[0].record)
    workspace.do(RecordSteps(run_id=run.id, steps=(record(1, "c"),)), OWNER)
    assert workspace.do(ListSteps(run_id=run.id), OWNER) == (record(0, "a").record, record(1, "c").record)
    workspace.do(FinishRun(id=run.id), OWNER)
    with pytest.raises(Conflict, match="has ended"):
        workspace.do(RecordSteps(run_id=run.id, steps=(record(2, "d"),)), OWNER)
    with pytest.raises(NotFound):
        workspace.do(ListSteps(run_id="none"), OWNER)
    with pytest.raises(NotFound):
        workspace.do(RecordSteps(run_id="none", steps=(record(2, "d", "none"),)), OWNER)
    with pytest.raises(InvalidInput, match="was sent for run"):
        RecordSteps(run_id="other", steps=(record(2, "d"),))


def test_entries_and_steps_are_recorded_only_for_a_run_of_ones_own_that_is_under_way(workspace: Workspace) -> None:
    stranger = Actor(name="mal", roles=("read", "write"))
    run = workspace.do(StartRun(), OWNER)
    made = entry(workspace, "a", 1, run.id)
    with pytest.raises(Denied, match="mal may not record steps"):
        workspace.do(made, stranger)
    with pytest.raises(NotFound):
        kept(workspace, "a")
    assert workspace.do(ListSteps(run_id=run.id), OWNER) == ()
    workspace.do(FinishRun(id=run.id), OWNER)
    with pytest.raises(Conflict, match="has ended"):
        workspace.do(made, OWNER)


def part(kind: str, name: str, content: str, text: str = "") -> KeyPart:
    return KeyPart(kind=kind, name=name, digest=content * 64, text=text)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ([part("param", "depth", "1", "4")], [part("param", "depth", "2", "6")], "param depth: 4 -> 6"),
        ([part("input", "rows", "1")], [part("input", "rows", "2")], "input rows changed"),
        ([part("input", "rows", "1", "pipe.one")], [part("input", "rows", "2", "pipe.two")], "input rows: pipe.one -> pipe.two"),
        (
            [part("input", "a", "1"), part("item", "a[0]", "1", "4")],
            [part("input", "a", "2"), part("item", "a[0]", "2", "6")],
            "input a[0]: 4 -> 6",
        ),
        ([part("environment", "polars", "1", "2.0")], [part("environment", "polars", "2", "2.1")], "polars 2.0 -> 2.1"),
        ([part("code", "clean.fix", "1", "def f():\n 1")], [part("code", "clean.fix", "2", "def f():\n 2")], "helper clean.fix changed"),
        ([part("code", "pipe.work", "1")], [part("code", "pipe.work", "2")], "its own code changed"),
        (
            [part("code", "work", "1"), part("code", "a", "1", "def a():\n 1")],
            [part("code", "work", "2")],
            "its own code changed; helper a is no longer used",
        ),
        ([part("code", "RATE", "1", "2")], [part("code", "RATE", "2", "3")], "constant RATE: 2 -> 3"),
        ([], [part("code", "clean.more", "1", "def more():\n 1")], "helper clean.more is new"),
        ([part("code", "clean.more", "1", "def more():\n 1")], [], "helper clean.more is no longer used"),
        ([part("param", "a", "1", "x")], [part("param", "a", "1", "y")], ""),
        ([], [part("param", name, "1") for name in "abcde"], "param a is new; param b is new; param c is new; and 2 more"),
    ],
)
def test_a_miss_names_the_exact_difference(old: list[KeyPart], new: list[KeyPart], why: str) -> None:
    assert explain(old, new, "pipe.work") == why


def test_a_changed_input_is_told_once_with_what_began_it_in_whichever_step_of_this_run(bench: Bench) -> None:
    source = """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def first(a, c=0):
            return a + c

        @step
        def middle(x):
            return x

        @step(cache=False)
        def fresh(x):
            return x

        @step
        def last(x, y, z, b):
            return b

        @pipeline
        def flow(a=1, b=1, c=0):
            made = first(a, c)
            return last(middle(made), made, fresh(c), b)
    """
    bench.write("pipe.py", source)
    bench.run()
    begun = "param a: 1 -> 2 and param c: 0 -> 1 (in first)"
    again = "it is declared with cache=False (in fresh)"
    result = bench.run(a=2, b=2, c=1)
    assert result["middle"].why == f"input x changed, since {begun}"
    assert result["last"].why == f"param b: 1 -> 2; input x changed, since {begun}; input y changed; and 1 more"
    result = bench.run(a=2, b=2, c=2)
    assert result["last"].why == f"input x changed, since param c: 1 -> 2 (in first); input y changed; input z changed, since {again}"
    # Of what this run has only found it does not know why it was computed.
    assert bench.run(b=2)["last"].why == f"input x changed; input y changed; input z changed, since {again}"


def test_an_item_of_a_list_that_a_step_takes_is_named_with_the_step_that_gave_it(bench: Bench) -> None:
    source = """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def one(a):
            return a

        @step
        def both(rows):
            return len(rows)

        @pipeline
        def flow(a=1, extra=2):
            return both([one(a), one(5), {"more": extra}])
    """
    bench.write("pipe.py", source)
    bench.run()
    assert bench.run(a=3)["both"].why == "input rows[0] changed, since param a: 1 -> 3 (in one)"
    assert bench.run(a=3, extra=4)["both"].why == "input rows[2]: {'more': 2} -> {'more': 4}"
    parts = {part.name: part for part in bench.do(GetKeyParts(key=str(bench.run()["both"].record.key))) if part.kind == "item"}
    assert {name: part.text for name, part in parts.items()} == {"rows[0]": "pipe.one", "rows[1]": "pipe.one#2", "rows[2]": "{'more': 2}"}


def test_parameters_that_came_as_json_take_the_annotated_types() -> None:
    @pipeline
    def flow(months: tuple[int, ...] = (1, 2), rate: float = 0.5, free=None) -> None:  # type: ignore[no-untyped-def]
        """Nothing."""

    given = typed_params(flow, {"months": [3], "rate": 1, "free": [4]})
    assert given == {"months": (3,), "rate": 1.0, "free": [4]}
    assert type(given["rate"]) is float


def test_the_worker_runs_a_pipeline_of_its_project(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def total(months):
            assert isinstance(months, tuple)
            return {"sum": sum(months)}

        @pipeline
        def flow(months: tuple[int, ...] = (1, 2)):
            return total(months)
        """,
    )
    request = RunPipeline(pipeline="pipe.py:flow", params={"months": [1, 2]}, key="job:1")
    run = bench.do(request)
    assert (run.state, run.experiment) == ("finished", "flow")
    assert bench.do(request) == run
    assert bench.run()["total"].state == "hit"


TWO_CONSTANTS = """
from plimsoll import pipeline, step
A = 1
B = 1

@step
def whole(x):
    return A, B, x

@pipeline
def flow(x: int = 0):
    return whole(x)
"""


def test_a_run_is_told_apart_from_the_run_before_and_not_from_what_was_computed_last(bench: Bench) -> None:
    """A constant is tried and put back, and so is a parameter; then something else changes."""
    bench.write("pipe.py", TWO_CONSTANTS)
    bench.run()
    bench.write("pipe.py", TWO_CONSTANTS.replace("A = 1", "A = 2"))
    assert bench.run()["whole"].why == "constant A: 1 -> 2"
    bench.write("pipe.py", TWO_CONSTANTS)
    assert bench.run(x=9)["whole"].why == "param x: 0 -> 9; constant A: 2 -> 1"
    assert states(bench.run()) == {"whole": "hit"}
    bench.write("pipe.py", TWO_CONSTANTS.replace("B = 1", "B = 5"))
    assert bench.run()["whole"].why == "constant B: 1 -> 5"


def test_a_step_whose_results_are_never_kept_says_so_and_not_that_it_never_ran(bench: Bench) -> None:
    bench.write("pipe.py", TWO_CONSTANTS.replace("return A", "import time\n    time.time()\n    return A"))
    assert bench.run()["whole"].why.startswith("it has no earlier result; not kept for later runs, because it read the clock")
    assert bench.run()["whole"].why.startswith("its earlier results were not kept; not kept for later runs, because it read the clock")
