"""A run made anew from its commit, its changes, its parameters and its files, in a process and a home of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import update

from plimsoll import codec
from plimsoll.data.environment import capture
from plimsoll.errors import Corrupt, InvalidInput, NotFound, StepFailed, Unavailable
from plimsoll.pipelines.again.checkout import write_code
from plimsoll.pipelines.again.reproduce import Reproduction, reproduce
from plimsoll.pipelines.again.surroundings import install
from plimsoll.records.pipelines.part import PartAsked
from plimsoll.records.run import CodeVersion, StartRun
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.store.tables.tracking import runs
from tests.unit.pipelines.again.repository import git
from tests.unit.pipelines.bench import Bench

PIPE = """
from pathlib import Path
import clean
from plimsoll.pipelines.step import pipeline, step

@step
def load():
    return Path("data.txt").read_text()

@step
def score(text, depth=3):
    return {"length": clean.size(text) * depth}

@pipeline
def flow(depth=3):
    return score(load(), depth)
"""

LISTS = """
import plimsoll
from plimsoll import pipeline, step

@step
def load():
    return [1, 2]

@step
def twice(item):
    return item * 2

@step
def many(items):
    return len(items) > 2

@step
def high():
    return 1

@step
def low():
    return 0

@pipeline
def flow():
    rows = plimsoll.map(twice, load())
    return plimsoll.when(many(rows), then=lambda: high(), otherwise=lambda: low())
"""

CLEAN = "def size(text):\n    return len(text)\n"


@pytest.fixture
def kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A project in a repository with one commit, and a file of data that git does not have."""
    monkeypatch.chdir(bench.project)
    for name, text in {
        "pyproject.toml": "[tool.plimsoll]\n",
        ".gitignore": "__pycache__\n*.txt\n",
        "pipe.py": PIPE,
        "clean.py": CLEAN,
    }.items():
        bench.write(name, text)
    bench.write("data.txt", "four")
    git(bench.project, "init", "-q")
    git(bench.project, "add", "-A")
    git(bench.project, "commit", "-qm", "one")
    return bench


def again(bench: Bench, id: str, **options: object) -> Reproduction:
    options = {"environment": False, **options}
    return reproduce(
        id, do=bench.do, blobs=bench.workspace.stores.blobs, project=bench.project, say=lambda line: None, **options  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_run_of_a_commit_is_reproduced_after_the_code_has_moved_on(kept: Bench) -> None:
    run = kept.run(depth=5)
    kept.write("clean.py", CLEAN.replace("len(text)", "0"))
    git(kept.project, "commit", "-qam", "two")
    found = again(kept, run.id)
    assert found.reproduced
    assert found.summary == "reproduced: 2 steps gave the same, bit by bit"
    assert [(step.name, step.same) for step in found.steps] == [("pipe.load", True), ("pipe.score", True)]
    # Nothing is written into the home: the repetition has one of its own.
    assert len(kept.do(SearchRuns()).runs) == 1


def test_branches_that_were_not_taken_and_lists_are_reproduced_too(kept: Bench) -> None:
    kept.write("lists.py", LISTS)
    git(kept.project, "add", "-A")
    git(kept.project, "commit", "-qm", "lists")
    found = again(kept, kept.run("lists.py:flow").id)
    assert found.reproduced
    gave = {step.name: step.old for step in found.steps if len(step.old or "") < 64}
    assert gave == {"lists.twice": "items", "lists.high": "skipped"}


def test_changes_that_were_never_committed_are_part_of_it(kept: Bench) -> None:
    kept.write("clean.py", CLEAN.replace("len(text)", "len(text) + more.MORE").replace("def", "import more\n\ndef"))
    kept.write("more.py", "MORE = 10\n")
    run = kept.run()
    assert run.metrics == {"length": 42.0}
    git(kept.project, "checkout", "-q", "--", "clean.py")
    (kept.project / "more.py").unlink()
    assert again(kept, run.id).reproduced


def test_a_file_that_has_changed_since_is_named_with_the_first_step_that_differs(kept: Bench) -> None:
    run = kept.run()
    kept.write("data.txt", "more than four")
    found = again(kept, run.id)
    assert not found.reproduced
    assert found.summary == "not reproduced: step load is the first that gives something else, and 1 after it"
    assert [(change.name, change.old, change.new) for change in found.metrics] == [("length", 12.0, 42.0)]
    assert found.surroundings == ("file data.txt",)


def test_a_step_that_fails_now_says_so(kept: Bench) -> None:
    run = kept.run()
    (kept.project / "data.txt").unlink()
    with pytest.raises(StepFailed, match=r"cannot be made again.*file data.txt"):
        again(kept, run.id)


def test_the_cache_may_be_used(kept: Bench) -> None:
    run = kept.run()
    assert again(kept, run.id, home=str(kept.workspace.home)).reproduced
    assert [detail.run.tags for detail in kept.do(SearchRuns(where="experiment = 'flow-again'")).runs] == [{"reproduces": run.id}]


def test_what_was_not_recorded_cannot_be_made_again(kept: Bench, bench: Bench) -> None:
    with pytest.raises(NotFound, match="no run"):
        again(kept, "f" * 32)
    plain = kept.do(StartRun())
    with pytest.raises(InvalidInput, match="no run of a pipeline"):
        again(kept, plain.id)
    kept.write("data.txt", "four")
    kept.write("clean.py", CLEAN.replace("len(text)", "1 // 0"))
    with pytest.raises(StepFailed):
        kept.run()
    with pytest.raises(InvalidInput, match="is failed"):
        again(kept, kept.do(SearchRuns(where="state = 'failed'")).runs[0].run.id)


def test_a_commit_that_the_repository_does_not_have_is_named(kept: Bench) -> None:
    run = kept.run()
    git(kept.project, "commit", "-q", "--amend", "-m", "other")
    git(kept.project, "reflog", "expire", "--expire=now", "--all")
    git(kept.project, "gc", "-q", "--prune=now")
    with pytest.raises(NotFound, match="does not have the commit"):
        again(kept, run.id)


def test_changes_that_do_not_fit_are_told(kept: Bench, tmp_path: Path) -> None:
    blobs = kept.workspace.stores.blobs
    patch = b"--- a/clean.py\n+++ b/clean.py\n@@ -1,1 +1,1 @@\n-nothing of this\n+else\n"
    code = kept.run().run.code
    with pytest.raises(Corrupt, match="do not fit"):
        write_code(CodeVersion(commit=code.commit, dirty_diff=blobs.put(patch)), kept.project, tmp_path / "one", blobs)
    left = b"# plimsoll: cut here: the changes have 9 bytes\n"
    with pytest.raises(InvalidInput, match="not whole: cut here"):
        write_code(CodeVersion(commit=code.commit, dirty_diff=blobs.put(left)), kept.project, tmp_path / "two", blobs)
    with pytest.raises(NotFound, match="recorded no commit"):
        write_code(CodeVersion(), kept.project, tmp_path / "three", blobs)


def test_packages_that_differ_are_named_when_they_are_not_installed(kept: Bench) -> None:
    run = kept.run()
    blobs = kept.workspace.stores.blobs
    other = blobs.put(codec.canonical({**capture(), "polars": "0.1.0"}))
    environment(kept, run.id, other)
    found = again(kept, run.id)
    assert [(change.name, change.old) for change in found.packages] == [("polars", "0.1.0")]
    assert found.reproduced


def environment(bench: Bench, run: str, digest: str) -> None:
    """Let a run have been made with other packages."""
    with bench.workspace.stores.database.write() as tx:
        tx.execute(update(runs).where(runs.c.id == run).values(environment=digest))


def test_a_package_that_cannot_be_had_is_told_with_what_to_do_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "UV_OFFLINE", "1")
    monkeypatch.setitem(os.environ, "PIP_NO_INDEX", "1")
    with pytest.raises(Unavailable, match=r"a package cannot be installed.*--no-environment"):
        install({"python": capture()["python"], "plimsoll-of-nowhere": "1.0"}, tmp_path / "made")


@pytest.mark.parametrize(
    ("part", "compared"),
    [
        (PartAsked(until="twice"), {"load", "twice", "twice[0]", "twice[1]"}),
        (PartAsked(only="many"), {"load", "twice", "twice[0]", "twice[1]", "many"}),
        (PartAsked(from_="low"), {"load", "twice", "twice[0]", "twice[1]", "many", "low"}),
    ],
)
def test_a_part_of_a_pipeline_is_reproduced_and_what_was_left_out_is_not_compared(kept: Bench, part: PartAsked, compared: set[str]) -> None:
    kept.write("lists.py", LISTS)
    kept.run("lists.py:flow")
    found = again(kept, kept.run("lists.py:flow", part=part).id)
    assert found.reproduced
    assert {step.name.removeprefix("lists.") for step in found.steps} == compared
