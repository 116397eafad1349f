"""A run has what its steps log, whether a step was computed or its earlier result was found."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from plimsoll.data.values import save
from plimsoll.pipelines.running import PipelineResult
from plimsoll.records.data import RegisterSnapshot
from plimsoll.records.pipeline import CacheEntry, GetEntry, ListSteps, RecordSteps
from plimsoll.records.pipelines.history import CompareRuns
from plimsoll.records.pipelines.kept import PruneCache, VerifyCache
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, GetRun, GetSeries, SetTags
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.pipelines.bench import Bench, states

PIPE = """
    import struct
    import polars as pl
    from plimsoll.pipelines.step import pipeline, step
    from plimsoll.runs.logger import current_run

    ODD = struct.unpack("<d", bytes.fromhex("010000000000f87f"))[0]

    @step
    def load() -> list[int]:
        return [1, 2, 3]

    @step
    def train(rows: list[int], data: str) -> pl.DataFrame:
        run = current_run()
        run.set_tags(kind="small")
        run.set_params(depth=len(rows))
        for value in (0.5, ODD, float("inf"), float("-inf"), -0.0, 5e-324):
            run.log(loss=value)
        run.log({"auc": 0.9, "loss": 7.0}, step=-(2**63))
        run.log_artifact("notes", {"rows": len(rows)})
        run.log_input("training", data)
        return pl.DataFrame({"row": rows})

    @step
    def judge(model: pl.DataFrame, factor: int = 1) -> int:
        return model.height * factor

    @pipeline
    def flow(data: str, factor: int = 1):
        return judge(train(load(), data), factor)
"""

#: Two calls of one step, one after the other.
TWICE = """
    from plimsoll.pipelines.step import pipeline, step
    from plimsoll.runs.logger import current_run

    @step
    def train(rate, after=None):
        for epoch in range(3):
            current_run().log(loss=rate + epoch)
        current_run().set_tags(last=str(rate))
        return rate

    @step
    def other(made):
        current_run().set_tags(last="other")
        return made

    @pipeline
    def flow(rates=(1, 1)):
        return [train(rate) for rate in rates]

    @pipeline
    def chain(rate=1, more=0):
        return train(rate + more, other(train(rate)))
"""


class Killed(BaseException):
    """Stands for a process that is gone: nothing more of it happens."""


@pytest.fixture
def ready(bench: Bench) -> Bench:
    """A project whose second step logs one of everything."""
    bench.write("pipe.py", PIPE)
    return bench


def run(bench: Bench, executor: Any = "in_process", rows: int = 3, **params: Any) -> PipelineResult:
    table = save(pl.DataFrame({"row": list(range(rows))}), bench.workspace.stores.blobs, bench.project)
    bench.do(RegisterSnapshot(name="rows", digest=table.digest))
    return bench.run(executor=executor, data=table.digest, **params)


def points(bench: Bench, id: str, name: str = "loss") -> list[tuple[int, int, str]]:
    series = bench.do(GetSeries(run_id=id, name=name))
    return list(zip(series.steps, series.times, (struct.pack("<d", value).hex() for value in series.values), strict=True))


def told(bench: Bench, id: str) -> dict[str, Any]:
    """Return all that the step ``train`` has logged to a run."""
    found = bench.do(GetRun(id=id))
    return {
        "points": {name: points(bench, id, name) for name in ("loss", "auc")},
        "tags": found.run.tags,
        "params": {name: value for name, value in found.run.params.items() if name == "depth"},
        "artifacts": [artifact for artifact in found.artifacts if artifact.name == "notes"],
        "inputs": found.inputs,
    }


def entry(bench: Bench, result: PipelineResult, label: str) -> CacheEntry:
    found = bench.do(GetEntry(key=result[label].record.key or ""))
    assert isinstance(found, CacheEntry)
    return found


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_run_that_finds_a_step_has_all_that_the_step_logged_bit_for_bit(ready: Bench, executor: str) -> None:
    first = run(ready, executor)
    again = run(ready, executor, factor=2)
    assert states(again) == {"load": "hit", "train": "hit", "judge": "ran"}
    found = told(ready, again.id)
    assert found == told(ready, first.id)
    assert len({value for _, _, value in found["points"]["loss"]}) == 7
    assert [value for _, _, value in found["points"]["loss"]].count("010000000000f87f") == 1
    assert (found["tags"], found["params"]) == ({"kind": "small"}, {"depth": 3})
    assert [artifact.name for artifact in found["artifacts"]] == ["notes"]
    assert [read.name for read in found["inputs"]] == ["training"]
    assert [entry(ready, first, label).logged is None for label in ("load", "train", "judge")] == [True, False, True]


def test_two_runs_differ_by_nothing_when_the_second_finds_every_step(ready: Bench) -> None:
    first, again = run(ready), run(ready)
    compared = ready.do(CompareRuns(old=first.id, new=again.id))
    assert {change.name for change in compared.metrics} == {"auc", "judge", "loss"}
    assert all(change.old == change.new for change in compared.metrics)


def test_two_calls_alike_in_one_run_log_twice_as_plain_functions_would(bench: Bench) -> None:
    bench.write("pipe.py", TWICE)
    first, again = bench.run(), bench.run()
    assert states(first) == {"train": "ran", "train#2": "hit"}
    assert [step for step, _, _ in points(bench, first.id)] == [0, 0, 1, 1, 2, 2]
    assert points(bench, again.id) == points(bench, first.id)
    assert [step for step, _, _ in points(bench, bench.run(rates=(1,)).id)] == [0, 1, 2]


def test_tags_of_found_and_of_computed_steps_come_in_the_order_of_the_steps(bench: Bench) -> None:
    bench.write("pipe.py", TWICE)
    assert bench.run("pipe.py:chain").run.state == "finished"
    for more, last in ((0, "1"), (4, "5"), (4, "5")):
        result = bench.run("pipe.py:chain", more=more)
        assert bench.do(GetRun(id=result.id)).run.tags == {"last": last}


def test_only_what_the_try_that_went_well_logged_is_found(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from pathlib import Path
        from plimsoll.pipelines.step import pipeline, step
        from plimsoll.runs.logger import current_run

        @step(retries=1, backoff=0, cache="forever")
        def train(folder):
            current_run().log(loss=1.0)
            tried = Path(folder, "tried")
            if not tried.exists():
                tried.touch()
                raise RuntimeError("the first try")
            current_run().log(loss=0.5)

        @pipeline
        def flow(folder: str):
            return train(folder)
        """,
    )
    folder = str(bench.project.parent)
    first, again = bench.run(folder=folder), bench.run(folder=folder)
    assert states(again) == {"train": "hit"}
    assert [step for step, _, _ in points(bench, first.id)] == [0, 0, 1]
    assert [step for step, _, _ in points(bench, again.id)] == [0, 1]


def flipped(path: Path) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([data[0] ^ 1, *data[1:]]))


def log_of(bench: Bench, result: PipelineResult) -> Path:
    return bench.blob(entry(bench, result, "train").logged or "")


def artifact_of(bench: Bench, result: PipelineResult) -> Path:
    return bench.blob(told(bench, result.id)["artifacts"][0].digest)


@pytest.mark.parametrize(
    ("where", "harm", "why", "found"),
    [
        (log_of, Path.unlink, "what it logged", "its log is missing"),
        (log_of, flipped, "what it logged", "its log holds other bytes"),
        (artifact_of, Path.unlink, "an artifact that it logged: bytes are missing", "an artifact that it logged: its manifest is missing"),
        (artifact_of, flipped, "an artifact that it logged: its manifest", "an artifact that it logged: its manifest holds other bytes"),
    ],
)
def test_a_step_whose_log_is_damaged_is_computed_again_and_says_so(
    ready: Bench, where: Callable[[Bench, PipelineResult], Path], harm: Callable[[Path], None], why: str, found: str
) -> None:
    first = run(ready)
    harm(where(ready, first))
    assert [damaged.wrong for damaged in ready.do(VerifyCache()).damaged] == [found]
    again = run(ready)
    assert states(again) == {"load": "hit", "train": "ran", "judge": "hit"}
    assert again["train"].why.startswith(f"its stored output was damaged ({why}")
    assert ready.do(VerifyCache()).damaged == ()
    assert len(told(ready, again.id)["points"]["loss"]) == 7
    assert states(run(ready)) == {"load": "hit", "train": "hit", "judge": "hit"}


def test_a_found_step_that_is_computed_after_all_since_its_bytes_are_damaged_has_logged_once(ready: Bench) -> None:
    first = run(ready)
    (output,) = ready.files(entry(ready, first, "train").output)
    flipped(output)
    again = run(ready, factor=2)
    assert states(again) == {"load": "hit", "train": "ran", "judge": "ran"}
    assert told(ready, again.id)["points"] == told(ready, first.id)["points"]


class Dying:
    """A door that does nothing any more once a request came that a test chooses, as when the process is killed there.

    Args:
        bench: whose door.
        last: whether a request is the one.
        done: whether that request is still done.
    """

    def __init__(self, bench: Bench, last: Callable[[Request[Any]], bool], done: bool) -> None:
        self._do, self._last, self._done, self._dead = bench.do, last, done, False
        #: Whether the last request that was done has ended the run.
        self.ended = False

    def __call__(self, request: Request[Any], /) -> Any:
        if self._dead:
            raise Killed
        if self._last(request):
            self._dead = True
            if self._done:
                self._do(request)
                self.ended = isinstance(request, RecordSteps) and request.end is not None
            raise Killed
        return self._do(request)


@pytest.mark.parametrize("cached", [False, True], ids=["computed", "found"])
@pytest.mark.parametrize(
    ("last", "done"),
    [(kind, done) for kind in (AppendPoints, RecordSteps, SetTags) for done in (False, True)],
    ids=lambda value: value.__name__ if isinstance(value, type) else "after" if value else "before",
)
def test_a_run_that_is_killed_and_gone_on_with_has_every_log_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, last: type[Request[Any]], done: bool, cached: bool
) -> None:
    bench.write("pipe.py", TWICE)
    if cached:
        bench.run()
    do, dying = bench.do, Dying(bench, lambda request: isinstance(request, last), done)
    monkeypatch.setattr(bench, "do", dying)
    with pytest.raises(Killed):
        bench.run(key="k")
    monkeypatch.setattr(bench, "do", do)
    begun = bench.do(SearchRuns()).runs[0].run
    # The last steps are recorded with the run's end, unless the machine was so slow that some were recorded before.
    assert begun.state == ("finished" if dying.ended else "running")
    recorded = cached or len(bench.do(ListSteps(run_id=begun.id))) == 2
    result = bench.run(key="k")
    assert (result.id, result.run.state) == (begun.id, "finished")
    found = [step for step, _, _ in points(bench, result.id)]
    # A step that was not recorded is computed once more, and logs once more, as at a retry.
    assert found == [0, 0, 1, 1, 2, 2] if recorded else set(found) == {0, 1, 2}


def test_a_run_that_goes_on_after_its_steps_were_recorded_has_the_points_that_had_arrived_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plimsoll.pipelines.engine._DEAR", -1.0)
    bench.write("pipe.py", TWICE)
    do = bench.do
    monkeypatch.setattr(bench, "do", Dying(bench, lambda request: isinstance(request, AppendPoints), True))
    with pytest.raises(Killed):
        bench.run(key="k")
    monkeypatch.setattr(bench, "do", do)
    begun = bench.do(SearchRuns()).runs[0].run
    assert (begun.state, len(bench.do(ListSteps(run_id=begun.id))) > 0) == ("running", True)
    result = bench.run(key="k")
    assert (result.id, result.run.state) == (begun.id, "finished")
    assert [step for step, _, _ in points(bench, result.id)] == [0, 0, 1, 1, 2, 2]


def forget_artifacts(bench: Bench) -> None:
    """Take its artifacts from every run, which nothing but a deletion in the far future will do."""
    with bench.workspace.stores.database.write() as tx:
        tx.exec_driver_sql("DELETE FROM artifacts")


def test_a_pruned_entry_takes_its_log_along_and_the_artifacts_that_no_run_has(ready: Bench) -> None:
    first = run(ready)
    log, artifact = log_of(ready, first), artifact_of(ready, first)
    ready.age()
    ready.do(PruneCache(older_than=3600.0))
    assert log.exists()
    freed = ready.do(PruneCache(older_than=0.0, dry_run=True)).freed
    forget_artifacts(ready)
    assert ready.do(PruneCache(older_than=0.0, dry_run=True)).freed > freed
    ready.do(PruneCache(older_than=0.0))
    assert not log.exists()
    assert not artifact.exists()


def test_an_entry_that_stays_keeps_the_artifacts_that_its_step_logged(ready: Bench) -> None:
    first = run(ready)
    artifact = artifact_of(ready, first)
    second = run(ready, rows=4)
    assert states(second) == {"load": "hit", "train": "ran", "judge": "hit"}
    assert artifact_of(ready, second) == artifact
    forget_artifacts(ready)
    ready.age()
    assert ready.do(PruneCache(keep_last=1)).dropped == 1
    assert artifact.exists()
    assert states(run(ready, rows=4)) == {"load": "hit", "train": "hit", "judge": "hit"}
