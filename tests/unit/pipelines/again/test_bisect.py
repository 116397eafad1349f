"""Which of several differences moved a metric, in a real repository, by real processes."""

from __future__ import annotations

import pytest

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.pipelines.again.bisect import Bisection, Trial, _Search, bisect
from plimsoll.records.pipeline import ListSteps
from plimsoll.records.run import ListRuns
from tests.unit.pipelines.again.repository import git
from tests.unit.pipelines.bench import Bench

FILES = {
    "pyproject.toml": "[tool.plimsoll]\n",
    ".gitignore": "__pycache__\n",
    "first.py": "def first(value):\n    return value\n",
    "second.py": "def second(value):\n    return value\n",
    "pipe.py": """
from first import first
from second import second
from plimsoll.pipelines.step import pipeline, step

@step
def load(count=4):
    return list(range(count))

@step
def score(rows, depth=3, label="a"):
    return {"auc": float(sum(second(first(row)) for row in rows)), "depth": depth, "rows": len(rows)}

@pipeline
def flow(count=4, depth=3, label="a"):
    return score(load(count), depth, label)
""",
}


@pytest.fixture
def kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A project in a repository with one commit."""
    for name, text in FILES.items():
        bench.write(name, text)
    git(bench.project, "init", "-q")
    git(bench.project, "add", "-A")
    git(bench.project, "commit", "-qm", "one")
    monkeypatch.chdir(bench.project)
    return bench


def found(bench: Bench, old: str, new: str, metric: str = "") -> Bisection:
    return bisect(
        old, new, metric, do=bench.do, blobs=bench.workspace.stores.blobs, project=bench.project, home=str(bench.workspace.home),
        say=lambda line: None,
    )  # fmt: skip


def test_the_one_of_three_differences_that_moves_the_metric_is_found(kept: Bench) -> None:
    old = kept.run()
    kept.write("second.py", FILES["second.py"].replace("return value", "return value * 2"))
    kept.write("first.py", FILES["first.py"].replace("return value", "return value + 0"))
    git(kept.project, "commit", "-qam", "two")
    new = kept.run(label="b")
    told = found(kept, old.id, new.id)
    assert [each.text for each in told.guilty] == ["file second.py changed"]
    assert (told.metric, told.old, told.new) == ("auc", 6.0, 12.0)
    assert told.summary == "auc 6 -> 12: file second.py changed moved it"
    values = {trial.taken: trial.value for trial in told.trials}
    assert values == {
        (): 6.0,
        ("label", "first.py", "second.py"): 12.0,
        ("label",): 6.0,
        ("first.py",): 6.0,
        ("second.py",): 12.0,
    }
    reruns = [detail.run for detail in kept.do(ListRuns(experiment="flow-bisect"))]
    assert len(reruns) == 5
    assert {run.tags["bisect"] for run in reruns} == {f"{old.id} {new.id}"}


def test_two_differences_that_only_move_it_together_are_found_as_a_pair(kept: Bench) -> None:
    old = kept.run()
    # Neither guard alone lets the value pass; these changes were never committed.
    kept.write("first.py", "import second\n\ndef first(value):\n    return value * 3 if second.OPEN else value\n")
    kept.write("second.py", "OPEN = True\n\ndef second(value):\n    return value\n")
    git(kept.project, "commit", "-qam", "two")
    kept.write("first.py", "import second\n\ndef first(value):\n    return value * 3 if getattr(second, 'OPEN', False) else value\n")
    new = kept.run(depth=3, label="b")
    told = found(kept, old.id, new.id)
    assert [each.name for each in told.guilty] == ["first.py", "second.py"]
    assert "2 differences together" in told.summary
    assert {trial.taken: trial.value for trial in told.trials}[("first.py",)] == 6.0


def test_a_mixture_that_fails_is_no_answer_and_is_told(kept: Bench) -> None:
    old = kept.run()
    kept.write("first.py", "from second import twice\n\ndef first(value):\n    return twice(value)\n")
    kept.write("second.py", FILES["second.py"] + "\ndef twice(value):\n    return value * 2\n")
    new = kept.run()
    told = found(kept, old.id, new.id)
    assert [each.name for each in told.guilty] == ["first.py", "second.py"]
    (failed,) = [trial for trial in told.trials if trial.value is None]
    assert (failed.taken, "twice" in failed.error) == (("first.py",), True)


def test_steps_that_a_difference_does_not_reach_are_not_computed_again(kept: Bench) -> None:
    old, new = kept.run(), kept.run(depth=5, label="b", count=5)
    told = found(kept, old.id, new.id, "rows")
    assert [each.name for each in told.guilty] == ["count"]
    states = [
        step.state
        for detail in kept.do(ListRuns(experiment="flow-bisect"))
        for step in kept.do(ListSteps(run_id=detail.run.id))
        if step.name == "pipe.load"
    ]
    assert set(states) == {"hit"}


def test_a_variable_that_a_step_read_is_a_difference_like_any_other(kept: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write("first.py", "import os\n\ndef first(value):\n    return value * int(os.environ.get('FACTOR', '1'))\n")
    monkeypatch.delenv("FACTOR", raising=False)
    old = kept.run()
    monkeypatch.setenv("FACTOR", "3")
    new = kept.run(label="b")
    monkeypatch.setenv("FACTOR", "7")
    told = found(kept, old.id, new.id)
    assert [(each.kind, each.name) for each in told.guilty] == [("variable", "FACTOR")]
    assert (told.old, told.new) == (6.0, 18.0)


def test_what_cannot_be_asked_is_refused_with_what_can(kept: Bench) -> None:
    old, new = kept.run(), kept.run(depth=5, count=5)
    with pytest.raises(InvalidInput, match="3 metrics differ: auc, depth, rows"):
        found(kept, old.id, new.id)
    with pytest.raises(InvalidInput, match="do not both have the metric 'acu'"):
        found(kept, old.id, new.id, "acu")
    same = kept.run()
    with pytest.raises(InvalidInput, match="no metric differs"):
        found(kept, old.id, same.id)
    with pytest.raises(InvalidInput, match="is 6 in both"):
        found(kept, old.id, kept.run(depth=5).id, "auc")
    with pytest.raises(NotFound, match="no run"):
        found(kept, old.id, "f" * 32)


def test_runs_outside_of_a_repository_are_refused(bench: Bench) -> None:
    for name, text in FILES.items():
        bench.write(name, text)
    old, new = bench.run(), bench.run(count=5)
    with pytest.raises(NotFound, match="git"):
        found(bench, old.id, new.id, "auc")


@pytest.mark.parametrize("guilty", [{0}, {7}, {2, 5}, {0, 1, 6}, {1, 3, 4, 7}])
def test_the_smallest_set_is_found_whatever_it_is(guilty: set[int]) -> None:
    def run(taken: frozenset[int]) -> Trial:
        return Trial(taken=(), value=1.0 if guilty <= taken else 0.0)

    search = _Search(run, 1.0)
    assert search.smallest(frozenset(range(8))) == guilty
    assert len(search.known) < 60
