"""Which of several differences moved a metric, in a real repository, by real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.pipelines.again.bisect import Bisection, bisect
from plimsoll.pipelines.again.smallest import Search, Trial
from plimsoll.records.pipeline import ListSteps
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.pipelines.again.repository import git
from tests.unit.pipelines.again.wheels import distribution
from tests.unit.pipelines.bench import ENVIRONMENT, Bench

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


MAPPED = """
from first import first
from second import second
from plimsoll.pipelines.step import map as each_of, pipeline, step, when

@step
def load(count=4):
    return [first(each) for each in range(count)]

@step
def double(row):
    return second(row) * 2

@step
def many(rows):
    return sum(rows) > 20

@step
def low(rows):
    return 0.0

@step
def high(rows):
    return float(sum(rows))

@pipeline
def flow(count=4):
    rows = each_of(double, load(count))
    return {"auc": when(many(rows), lambda: high(rows), lambda: low(rows))}
"""


def test_a_cause_behind_a_mapped_step_and_a_branch_is_named(kept: Bench) -> None:
    """The list has other items, and the branch is another one; what else was edited moved nothing."""
    kept.write("pipe.py", MAPPED)
    git(kept.project, "commit", "-qam", "mapped")
    old = kept.run()
    kept.write("first.py", FILES["first.py"].replace("return value", "return value + 3"))
    kept.write("second.py", FILES["second.py"].replace("return value", "return value + 0"))
    new = kept.run()
    assert (old.value["auc"], new.value["auc"]) == (0.0, 36.0)
    answer = found(kept, old.id, new.id)
    assert (answer.metric, answer.old, answer.new, answer.complete) == ("auc", 0.0, 36.0, True)
    assert [each.name for each in answer.guilty] == ["first.py:first"]


def test_the_one_constant_among_two_functions_a_constant_and_a_parameter_is_named_with_both_values(kept: Bench) -> None:
    old = kept.run()
    kept.write("second.py", "import math\n\nLIMIT = 2\n\n\ndef second(value):\n    return value * LIMIT\n")
    git(kept.project, "commit", "-qam", "two")
    middle = kept.run()
    kept.write("second.py", "import math\n\nLIMIT = 3\n\n\ndef second(value):\n    # other words\n    return LIMIT * value\n")
    kept.write("first.py", FILES["first.py"].replace("return value", "return value + 0"))
    kept.write("notes.py", "TEXT = 'nobody imports this'\n")
    new = kept.run(label="b")
    told = found(kept, middle.id, new.id)
    assert [(each.kind, each.name, each.text) for each in told.guilty] == [
        ("constant", "second.py:LIMIT", "constant second.py:LIMIT: 2 -> 3")
    ]
    assert (told.metric, told.old, told.new, told.complete) == ("auc", 12.0, 18.0, True)
    assert told.summary == "auc 12 -> 18: constant second.py:LIMIT: 2 -> 3 moved it"
    values = {trial.taken: trial.value for trial in told.trials}
    assert values == {
        (): 12.0,
        ("label", "first.py:first", "notes.py", "second.py:LIMIT", "second.py:second"): 18.0,
        ("label",): 12.0,
        ("first.py:first",): 12.0,
        ("second.py:LIMIT",): 18.0,
        ("second.py:second",): 12.0,
        # What no step's key names is tried last, and together.
        ("notes.py",): 12.0,
    }
    reruns = [detail.run for detail in kept.do(SearchRuns(where="experiment = 'flow-bisect'")).runs]
    assert len(reruns) == 7
    assert {run.tags["bisect"] for run in reruns} == {f"{middle.id} {new.id}"}
    assert (told.computed + told.reused, told.reused >= 7) == (14, True)
    assert old.metrics != middle.metrics


def test_a_metric_that_a_step_logged_is_asked_about_like_one_that_was_returned(kept: Bench) -> None:
    logged = FILES["pipe.py"].replace("    return {", "    plimsoll.current_run().log(cost=float(depth))\n    return {")
    kept.write("pipe.py", f"import plimsoll\n{logged}")
    git(kept.project, "commit", "-qam", "logs")
    old, new = kept.run(), kept.run(depth=5)
    told = found(kept, old.id, new.id, "cost")
    assert ([each.name for each in told.guilty], told.old, told.new) == (["depth"], 3.0, 5.0)


def test_two_differences_that_only_move_it_together_are_found_as_a_pair(kept: Bench) -> None:
    old = kept.run()
    # Neither guard alone lets the value pass; these changes were never committed.
    kept.write("first.py", "import second\n\ndef first(value):\n    return value * 3 if second.OPEN else value\n")
    kept.write("second.py", "OPEN = True\n\ndef second(value):\n    return value\n")
    git(kept.project, "commit", "-qam", "two")
    kept.write("first.py", "import second\n\ndef first(value):\n    return value * 3 if getattr(second, 'OPEN', False) else value\n")
    new = kept.run(depth=3, label="b")
    told = found(kept, old.id, new.id)
    assert [each.name for each in told.guilty] == ["first.py:first", "second.py:OPEN"]
    assert "2 differences together moved it, none of them alone" in told.summary
    assert "constant second.py:OPEN is new (True)" in told.summary
    assert {trial.taken: trial.value for trial in told.trials}[("first.py:first",)] == 6.0


def test_differences_that_each_move_it_a_part_of_the_way_are_told_as_such(kept: Bench) -> None:
    old = kept.run()
    kept.write("first.py", FILES["first.py"].replace("return value", "return value * 2"))
    kept.write("second.py", FILES["second.py"].replace("return value", "return value + 1"))
    new = kept.run()
    told = found(kept, old.id, new.id)
    assert told.summary == (
        "auc 6 -> 16: 2 differences together moved it: function first.py:first changed (alone: 12); "
        "function second.py:second changed (alone: 10)"
    )
    assert told.guilty[0].diff[-2:] == ("-    return value", "+    return value * 2")


def test_a_renamed_helper_goes_with_what_calls_it(kept: Bench) -> None:
    kept.write("first.py", "def scale(value):\n    return value\n\ndef first(value):\n    return scale(value)\n")
    git(kept.project, "commit", "-qam", "one and a half")
    old = kept.run()
    kept.write("first.py", "def double(value):\n    return value * 2\n\ndef first(value):\n    return double(value)\n")
    told = found(kept, old.id, kept.run().id)
    assert [each.text for each in told.guilty] == ["function first.py:first changed (with double, scale)"]
    assert not [trial for trial in told.trials if trial.error]


def test_a_mixture_that_fails_is_no_answer_and_is_told(kept: Bench) -> None:
    old = kept.run()
    kept.write("first.py", "from second import twice\n\ndef first(value):\n    return twice(value)\n")
    kept.write("second.py", FILES["second.py"] + "\ndef twice(value):\n    return value * 2\n")
    new = kept.run()
    told = found(kept, old.id, new.id)
    assert [each.name for each in told.guilty] == ["first.py:first", "second.py:twice"]
    (failed,) = [trial for trial in told.trials if trial.value is None]
    assert (failed.taken, "twice" in failed.error) == (("first.py:first",), True)
    assert any(note.startswith("Without second.py:twice the others do not run") for note in told.notes)


def test_a_mixture_that_is_no_python_is_unresolved(kept: Bench) -> None:
    read = "".join(f"Path('{name}.txt').read_text()" + " + " * (name == "a") for name in "ab")
    kept.write("first.py", f"from pathlib import Path\n\ndef first(value):\n    return eval({read}) * value\n")
    kept.write("a.txt", "(1")
    kept.write("b.txt", ")")
    git(kept.project, "add", "-A")
    git(kept.project, "commit", "-qm", "texts")
    old = kept.run()
    kept.write("a.txt", "[2")
    kept.write("b.txt", "][0]")
    told = found(kept, old.id, kept.run().id)
    assert [each.name for each in told.guilty] == ["a.txt", "b.txt"]
    errors = {trial.taken: trial.error for trial in told.trials if trial.value is None}
    assert {taken: "SyntaxError" in error for taken, error in errors.items()} == {("a.txt",): True, ("b.txt",): True}


def test_a_process_that_dies_in_a_mixture_is_unresolved(kept: Bench) -> None:
    old = kept.run()
    kept.write(
        "first.py",
        "import os\nimport second\nif not hasattr(second, 'SAFE'):\n    os._exit(7)\n\ndef first(value):\n    return value * 2\n",
    )
    kept.write("second.py", "SAFE = True\n" + FILES["second.py"])
    told = found(kept, old.id, kept.run().id)
    assert [each.name for each in told.guilty] == ["first.py:first"]
    assert [trial.taken for trial in told.trials if "ended with status 7" in trial.error] == [("first.py:statement 1",)]


def test_data_that_git_does_not_have_is_a_difference_where_its_contents_are_stored(kept: Bench) -> None:
    kept.write(".gitignore", "__pycache__\nrows.csv\n")
    kept.write("first.py", "from pathlib import Path\n\ndef first(value):\n    return value * int(Path('rows.csv').read_text())\n")
    git(kept.project, "commit", "-qam", "data")
    kept.write("rows.csv", "1")
    old = kept.run()
    kept.workspace.stores.blobs.put(b"1")  # as a dataset that was registered
    kept.write("rows.csv", "5")
    new = kept.run()
    told = found(kept, old.id, new.id)
    assert [(each.kind, each.name) for each in told.guilty] == [("file", "rows.csv")]
    kept.write("rows.csv", "7")
    # What the reruns left in the cache knows which file it read.
    third = kept.run()
    assert third.metrics["auc"] == 42.0
    with pytest.raises(InvalidInput, match=r"cannot be taken over: file rows.csv changed \(untested: what it held is not kept"):
        found(kept, kept.run(label="c").id, new.id, "auc")


def test_a_package_that_cannot_be_installed_is_named_as_untested_and_never_blamed(
    kept: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UV_NO_INDEX", "UV_OFFLINE", "PIP_NO_INDEX"):
        monkeypatch.setenv(name, "1")
    kept.write("first.py", "import lucky\n\ndef first(value):\n    return lucky.times(value)\n")
    git(kept.project, "commit", "-qam", "lucky")
    runs = []
    for version in ("1.0", "2.0"):
        folder = distribution(tmp_path / version, version)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        sys.modules.pop("lucky", None)
        runs.append(kept.run(label=version))
    with pytest.raises(InvalidInput) as refused:
        found(kept, runs[0].id, runs[1].id, "auc")
    assert "untested: The run's environment cannot be made" in str(refused.value)
    assert "install lucky==1.0" in str(refused.value)


def test_a_search_that_is_killed_leaves_the_project_as_it_was(kept: Bench) -> None:
    old = kept.run()
    kept.write("second.py", FILES["second.py"].replace("return value", "return value * 2"))
    kept.write("first.py", FILES["first.py"].replace("return value", "return value + 0"))
    new = kept.run()
    before = {path: path.read_bytes() for path in sorted(kept.project.rglob("*")) if path.is_file()}
    command = [sys.executable, "-m", "plimsoll.cli.app", "run", "--bisect", old.id, new.id]
    environment = {**ENVIRONMENT, "PLIMSOLL_HOME": str(kept.workspace.home), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, cwd=kept.project, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as search:
        assert search.stderr is not None
        for line in search.stderr:
            if "first.py:first, second.py:second" in line:
                break  # the next rerun is under way
        search.kill()
        search.communicate(timeout=60)
    assert {path: path.read_bytes() for path in sorted(kept.project.rglob("*")) if path.is_file()} == before
    assert found(kept, old.id, new.id).summary == "auc 6 -> 12: function second.py:second changed moved it"


def test_steps_that_a_difference_does_not_reach_are_not_computed_again(kept: Bench) -> None:
    old, new = kept.run(), kept.run(depth=5, count=5)
    told = found(kept, old.id, new.id, "rows")
    assert [each.name for each in told.guilty] == ["count"]
    states = [
        step.state
        for detail in kept.do(SearchRuns(where="experiment = 'flow-bisect'")).runs
        for step in kept.do(ListSteps(run_id=detail.run.id))
        if step.name == "pipe.load"
    ]
    assert set(states) == {"hit"}


def test_a_variable_that_a_step_read_is_a_difference_like_any_other(kept: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.write("first.py", "import os\n\ndef first(value):\n    return value * int(os.environ.get('FACTOR', '1'))\n")
    monkeypatch.delenv("FACTOR", raising=False)
    old = kept.run()
    monkeypatch.setenv("FACTOR", "3")
    new = kept.run()
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

    search = Search(run, 1.0)
    assert search.smallest(frozenset(range(8)), frozenset()) == guilty
    assert search.complete
    assert len(search.known) < 60
