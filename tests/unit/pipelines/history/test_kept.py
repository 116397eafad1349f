"""What the cache holds is listed, read and pruned, and nothing that something else names is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.pipelines.running import PipelineResult
from plimsoll.records.data import RegisterSnapshot
from plimsoll.records.pipeline import EndedStep, Output, RecordSteps, StepRecord
from plimsoll.records.pipelines.kept import CacheContents, CacheReport, ListEntries, PruneCache, PruneReport, VerifyCache
from plimsoll.records.run import FinishRun, GetRun, LogArtifact, StartRun
from plimsoll.store.blobs import LocalBlobs
from tests.unit.pipelines.bench import Bench, states

PIPE = """
import polars as pl
from plimsoll.pipelines.step import pipeline, step

@step
def load(count=4):
    return pl.DataFrame({"value": list(range(count))})

@step
def total(rows, rate=1):
    return {"total": int(rows["value"].sum()) * rate}

@pipeline
def flow(count=4, rate=1):
    return total(load(count), rate)
"""


@pytest.fixture
def filled(bench: Bench) -> Bench:
    """A cache with a table of four rows and its total."""
    bench.write("pipe.py", PIPE)
    bench.run()
    return bench


def contents(bench: Bench, of: str = "") -> CacheContents:
    found = bench.do(ListEntries(of=of))
    assert isinstance(found, CacheContents)
    return found


def pruned(bench: Bench, request: PruneCache) -> PruneReport:
    found = bench.do(request)
    assert isinstance(found, PruneReport)
    return found


def output(result: PipelineResult, step: str) -> Output:
    found = result[step].record.output
    assert found is not None
    return found


def stored(bench: Bench, output: Output) -> list[bool]:
    blobs = bench.workspace.stores.blobs
    return [blobs.has(output.digest), *(path.exists() for path in bench.files(output))] if blobs.has(output.digest) else [False]


def test_entries_are_listed_with_their_hits_last_used_first(filled: Bench) -> None:
    filled.run(rate=2)
    found = contents(filled)
    assert [(use.entry.step, use.hits) for use in found.entries] == [("pipe.total", 0), ("pipe.load", 1), ("pipe.total", 0)]
    assert found.count == 3
    assert found.size == sum(use.entry.output.size for use in found.entries)


def test_entries_are_those_of_a_step_a_pipeline_or_a_run(filled: Bench) -> None:
    second = filled.run(rate=2)
    assert contents(filled, "total").count == contents(filled, "pipe.total").count == 2
    assert contents(filled, "flow").count == contents(filled, "pipe.py:flow").count == 3
    assert {use.entry.key for use in contents(filled, second.id[:20]).entries} == {step.record.key for step in second.steps}
    with pytest.raises(NotFound, match="Did you mean: total"):
        contents(filled, "totl")
    with pytest.raises(NotFound, match="ffffffff"):
        contents(filled, "ffffffff")


def test_an_entry_is_found_by_the_number_that_a_run_printed_for_its_step(bench: Bench) -> None:
    steps = "from plimsoll.pipelines.step import map, pipeline, step\n\n@step\ndef clean(x):\n    return {}\n"
    bench.write("other.py", steps.format("-x"))
    body = "\n@step\ndef both():\n    return [1, 2]\n\n@pipeline\ndef flow(a=1):\n"
    body += "    return [clean(a), other.clean(a), map(other.clean, both()), clean(a + 1)]\n"
    bench.write("pipe.py", f"import other\n{steps.format('x')}{body}")
    alone = "import other\nfrom plimsoll.pipelines.step import pipeline\n\n@pipeline\ndef flow(a=1):\n    return other.clean(a)\n"
    bench.write("alone.py", alone)
    # Where it stands alone it is printed without a number, and then it is found.
    assert [step.label for step in bench.run("alone.py:flow").steps] == ["clean"]
    result = bench.run()
    assert [step.label for step in result.steps] == ["clean", "clean#2", "both", "clean#3", "clean#4", "clean#3[0]", "clean#3[1]"]
    names = {label: {use.entry.step for use in contents(bench, label).entries} for label in ("clean#2", "clean#3", "clean#3[1]", "clean#4")}
    # An item that is computed elsewhere is that entry.
    assert names == {
        "clean#2": {"other.clean"},
        "clean#3": {"other.clean", "other.clean#2[1]"},
        "clean#3[1]": {"other.clean#2[1]"},
        "clean#4": {"pipe.clean#2"},
    }
    assert contents(bench, "clean").count == 2
    with pytest.raises(NotFound, match="clean#5"):
        contents(bench, "clean#5")


def test_a_flipped_byte_is_named_and_repaired_by_computing_again(filled: Bench) -> None:
    result = filled.run()
    (path, *_) = filled.files(output(result, "load"))
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([data[0] ^ 1, *data[1:]]))
    found = filled.do(VerifyCache())
    assert isinstance(found, CacheReport)
    assert (found.entries, [(each.step, each.run_id) for each in found.damaged], found.repaired) == (
        2, [("pipe.load", contents(filled, "load").entries[0].entry.run_id)], False,
    )  # fmt: skip
    assert "holds other bytes" in found.damaged[0].wrong
    assert contents(filled).count == 2
    assert len(filled.do(VerifyCache(repair=True)).damaged) == 1
    assert contents(filled).count == 1
    again = filled.run()
    assert states(again) == {"load": "ran", "total": "hit"}
    assert output(again, "load") == output(result, "load")
    assert filled.do(VerifyCache()).damaged == ()


def test_missing_and_short_bytes_are_named(filled: Bench) -> None:
    result = filled.run()
    (table, *_) = filled.files(output(result, "load"))
    table.unlink()
    manifest = filled.blob(output(result, "total").digest)
    manifest.chmod(0o644)
    manifest.write_bytes(b"{")
    wrong = {each.step: each.wrong for each in filled.do(VerifyCache()).damaged}
    assert wrong["pipe.load"].endswith("is missing")
    assert wrong["pipe.total"] == "its manifest holds other bytes"


def test_what_was_not_used_for_long_goes_with_its_bytes(filled: Bench) -> None:
    old = filled.run()
    new = filled.run(count=5)
    filled.age()
    report = pruned(filled, PruneCache(keep_last=1, dry_run=True))
    assert (report.dropped, report.kept, report.dry_run) == (2, 2, True)
    assert contents(filled).count == 4
    done = pruned(filled, PruneCache(keep_last=1))
    assert (done.dropped, done.kept, done.freed) == (2, 2, report.freed)
    assert done.freed > 0
    assert stored(filled, output(old, "load")) == [False]
    assert all(stored(filled, output(new, "load")))
    assert states(filled.run(count=5)) == {"load": "hit", "total": "hit"}
    assert states(filled.run()) == {"load": "ran", "total": "ran"}


def test_an_age_counts_from_the_last_use(filled: Bench) -> None:
    assert pruned(filled, PruneCache(older_than=3600.0)).dropped == 0
    assert pruned(filled, PruneCache(older_than=0.0, keep_last=1)).dropped == 0
    assert pruned(filled, PruneCache(older_than=0.0)).dropped == 2


def test_a_size_drops_what_was_not_used_for_longest(filled: Bench) -> None:
    filled.run(count=5)
    filled.run()
    whole = contents(filled)
    assert pruned(filled, PruneCache(max_size=whole.size)).dropped == 0
    pruned(filled, PruneCache(max_size=whole.size - 1))
    assert states(filled.run()) == {"load": "hit", "total": "hit"}
    assert pruned(filled, PruneCache(max_size=0)).kept == 0


def test_bytes_of_the_last_hour_stay(filled: Bench) -> None:
    result = filled.run()
    report = pruned(filled, PruneCache(older_than=0.0))
    assert (report.dropped, report.freed) == (2, 0)
    assert all(stored(filled, output(result, "load")))


def test_data_models_and_artifacts_of_their_own_names_stay(filled: Bench) -> None:
    result = filled.run()
    table, total = output(result, "load"), output(result, "total")
    filled.do(RegisterSnapshot(name="values", digest=table.digest))
    filled.age()
    pruned(filled, PruneCache(older_than=0.0))
    assert all(stored(filled, table))
    assert stored(filled, total) == [False]


def test_an_artifact_that_was_logged_by_hand_stays(filled: Bench) -> None:
    result = filled.run()
    table = output(result, "load")
    run = filled.do(StartRun())
    filled.do(LogArtifact(run_id=run.id, name="mine", kind="table", digest=table.digest, size=table.size))
    filled.age()
    pruned(filled, PruneCache(older_than=0.0))
    assert all(stored(filled, table))


def test_what_a_run_under_way_stands_on_stays_until_it_has_ended(filled: Bench) -> None:
    table = output(filled.run(), "load")
    run = filled.do(StartRun())
    hit = StepRecord(run_id=run.id, index=0, name="pipe.load", state="hit", key=None, why="", started=0, ended=1, output=table)
    filled.do(RecordSteps(run_id=run.id, steps=(EndedStep(record=hit),)))
    filled.age()
    pruned(filled, PruneCache(older_than=0.0))
    assert all(stored(filled, table))
    filled.do(FinishRun(id=run.id))
    filled.run()
    filled.age()
    pruned(filled, PruneCache(older_than=0.0))
    assert stored(filled, table) == [False]


def test_a_file_that_another_output_has_as_well_stays(filled: Bench) -> None:
    first = filled.run(count=1, rate=0)
    second = filled.run(count=2, rate=0)
    assert output(first, "total") == output(second, "total")
    filled.age()
    pruned(filled, PruneCache(keep_last=1))
    assert all(stored(filled, output(second, "total")))
    assert states(filled.run(count=2, rate=0))["total"] == "hit"


SEVERAL = """
from typing import NamedTuple
import polars as pl
from plimsoll.pipelines.step import pipeline, step

class Both(NamedTuple):
    rows: pl.DataFrame
    count: int

@step
def load(count=4) -> Both:
    return Both(pl.DataFrame({"value": list(range(count))}), count)

@step
def total(rows):
    return {"total": int(rows["value"].sum())}

@pipeline
def flow(count=4):
    return total(load(count).rows)
"""


def test_several_outputs_of_a_step_go_and_stay_together(bench: Bench) -> None:
    bench.write("pipe.py", SEVERAL)
    old, new = bench.run(), bench.run(count=5)
    bench.age()
    assert pruned(bench, PruneCache(keep_last=1)).dropped == 2
    assert stored(bench, output(old, "load")) == [False]
    assert all(stored(bench, output(new, "load")))
    assert states(bench.run(count=5)) == {"load": "hit", "total": "hit"}
    assert bench.run(count=5)["load"].load().count == 5


def test_environment_and_changes_of_every_run_stay(filled: Bench) -> None:
    run = filled.do(GetRun(id=filled.run().id)).run
    filled.age()
    pruned(filled, PruneCache(older_than=0.0))
    assert filled.workspace.stores.blobs.has(str(run.environment))


def test_a_pruning_that_was_killed_is_ended_by_the_next(filled: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    result = filled.run()
    filled.age()
    blobs = filled.workspace.stores.blobs
    collect = type(blobs).collect
    seen: list[str] = []

    def dying(self: LocalBlobs, digest: str, age: float) -> int:
        if seen:
            raise KeyboardInterrupt
        seen.append(digest)
        return collect(self, digest, age)

    monkeypatch.setattr(type(blobs), "collect", dying)
    with pytest.raises(KeyboardInterrupt):
        pruned(filled, PruneCache(older_than=0.0))
    monkeypatch.undo()
    assert contents(filled).count == 2
    done = pruned(filled, PruneCache(older_than=0.0))
    assert done.dropped == 2
    assert stored(filled, output(result, "load")) == stored(filled, output(result, "total")) == [False]
    assert list((Path(filled.workspace.home) / "blobs" / "tmp").iterdir()) == []
    assert states(filled.run()) == {"load": "ran", "total": "ran"}


@pytest.mark.parametrize("options", [{}, {"keep_last": -1}, {"older_than": -1.0}, {"max_size": -5}, {"dry_run": True}])
def test_a_pruning_that_says_nothing_or_nonsense_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        PruneCache(**options)  # type: ignore[arg-type]


def test_the_digests_are_read_from_every_kind_of_row(filled: Bench) -> None:
    result = filled.run()
    manifest = get_manifest(filled.workspace.stores.blobs, output(result, "load").digest)
    # A tag is free text; whoever writes a digest there has written down that it matters.
    filled.do(StartRun(tags={"kept": manifest.files[0].digest}))
    filled.age()
    pruned(filled, PruneCache(older_than=0.0))
    assert filled.workspace.stores.blobs.has(manifest.files[0].digest)
