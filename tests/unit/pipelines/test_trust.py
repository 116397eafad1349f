"""Whose code a stored model may run: the project's own, this run's, and what somebody has granted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.data import values
from plimsoll.errors import Untrusted
from plimsoll.records.access import Actor
from plimsoll.records.model import ListGrants, TrustPackage
from plimsoll.records.pipeline import EndedStep, GetEntry, Output, RecordSteps, StepRecord
from plimsoll.records.run import StartRun
from tests.unit.pipelines.bench import OWNER, Bench, states

PYPROJECT = """
[tool.plimsoll.models.late]
goal = "Say who is late."
label = "late"
unit = "id"
time = "at"
costs = { false_alarm = 1.0, missed = 2.0 }
"""

SHAPES = """
def features(rows):
    return rows.select("a", "b")

def unrelated():
    return 1
"""

PIPE = """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from plimsoll import Model
    from plimsoll.pipelines.step import pipeline, step
    from shapes import features

    @step
    def train():
        rows = {"a": [0.0, 1.0, 2.0, 3.0] * 5, "b": [1.0, 0.0] * 10}
        estimator = LogisticRegression().fit(np.column_stack([rows["a"], rows["b"]]), [0, 0, 1, 1] * 5)
        return Model(estimator, name="late", example=rows, features=features)

    @step
    def judge(model, cut):
        return {"first": float(model.predict({"a": [0.0], "b": [1.0]})[0] > cut)}

    @pipeline
    def flow(cut: float = 0.5):
        return judge(train(), cut)
"""

MAL = Actor(name="mal", roles=("read", "write"))


def write(bench: Bench) -> None:
    bench.write("pyproject.toml", PYPROJECT)
    bench.write("shapes.py", SHAPES)
    bench.write("pipe.py", PIPE)


def as_robot(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program, whose registering grants nothing, do the runs from here on."""
    robot = Actor(name="robot", roles=("read", "write"), person=False)
    monkeypatch.setattr(bench, "do", lambda request: bench.workspace.do(request, robot))


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_step_takes_the_model_that_the_projects_own_code_has_made(bench: Bench, executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(bench)
    as_robot(bench, monkeypatch)
    first, second = bench.run(executor=executor), bench.run(executor=executor, cut=0.1)
    assert states(first) == {"train": "ran", "judge": "ran"}
    assert states(second) == {"train": "hit", "judge": "ran"}
    assert bench.do(ListGrants(digest=str(first["train"].record.output and first["train"].record.output.digest))) == ()
    assert second["train"].load().name == "late"


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_model_of_other_code_than_the_projects_needs_a_grant(bench: Bench, executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(bench)
    owner = bench.do
    as_robot(bench, monkeypatch)
    old = bench.run()
    bench.write("shapes.py", SHAPES.replace("return 1", "return 2"))
    assert old["train"].load().name == "late", "this very run has made it"
    with pytest.raises(Untrusted, match="plimsoll models trust"):
        bench.run(executor=executor, cut=0.1)
    output = old["train"].record.output
    assert output is not None
    owner(TrustPackage(digest=output.digest, reason="read it"))
    later = bench.run(executor=executor, cut=0.1)
    assert states(later) == {"train": "hit", "judge": "ran"}
    assert later["train"].load().name == "late"


def test_a_model_that_a_person_registered_from_their_run_loads_after_the_code_was_edited(bench: Bench) -> None:
    write(bench)
    bench.run()
    bench.write("shapes.py", SHAPES.replace("return 1", "return 2"))
    later = bench.run(cut=0.1)
    assert states(later) == {"train": "hit", "judge": "ran"}
    assert later["train"].load().name == "late"


def poisoned(bench: Bench, folder: Path) -> tuple[str, Output]:
    """Return a key of the project's train step with a package whose code leaves a mark, recorded by another writer."""
    write(bench)
    key = bench.run()["train"].record.key
    assert key is not None
    made = bench.do(GetEntry(key=key))
    mark = folder / "mark"
    other = folder / "other"
    other.mkdir()
    model = values.load(made.output, bench.workspace.stores.blobs, trusted=True)
    model._files["code/shapes.py"] = f"open({str(mark)!r}, 'w').close()\n{SHAPES}".encode()
    return key, values.save(model, bench.workspace.stores.blobs, bench.project)


def test_a_package_that_another_writer_put_under_a_steps_key_does_not_run_and_gets_no_grant(bench: Bench, tmp_path: Path) -> None:
    key, output = poisoned(bench, tmp_path)
    do: Any = bench.workspace.do
    entry = do(GetEntry(key=key), OWNER)
    with bench.workspace.stores.database.write() as tx:
        tx.exec_driver_sql("DELETE FROM cache_entries")
    run = do(StartRun(), MAL)
    record = StepRecord(run_id=run.id, index=0, name=entry.step, state="ran", key=key, why="", started=1, ended=2, output=output)
    do(RecordSteps(run_id=run.id, steps=(EndedStep(record=record, call=entry.call, trace=entry.trace, keep=True),)), MAL)
    with pytest.raises(Untrusted):
        bench.run(cut=0.1)
    bench.write("pipe.py", PIPE.replace("return judge(train(), cut)", "return train()"))
    alone = bench.run()
    assert states(alone) == {"train": "hit"}
    assert do(ListGrants(digest=output.digest), OWNER) == ()
    with pytest.raises(Untrusted):
        alone["train"].load()
    assert not (tmp_path / "mark").exists()
