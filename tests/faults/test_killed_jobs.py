"""Jobs whose process, or whose worker, is killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.errors import StepFailed, from_wire
from plimsoll.records.access import Actor, GetJob, Job
from plimsoll.records.model import CheckVersion
from plimsoll.records.monitor import SealPredictions
from plimsoll.records.pipeline import RunPipeline
from plimsoll.records.registry.packing import PackVersion
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.store.schema import jobs
from plimsoll.workspace import Workspace, open_workspace
from tests.flows.real_platform import PATIENCE, alive, until
from tests.unit.yard import Yard, open_yard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OWNER = Actor(name="dana", roles=("admin",))

#: What the pipeline's file does when it is imported, by the word in the file ``fate``; a second import goes through.
PIPELINE = """
import os
import signal
import time
from pathlib import Path

from plimsoll import pipeline, step

HERE = Path(__file__).parent
if not (HERE / "began").exists():
    (HERE / "began").write_text(str(os.getpid()))
    fate = (HERE / "fate").read_text()
    if fate == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "gone":
        os._exit(0)
    while fate == "held":
        time.sleep(0.02)


@step
def one() -> int:
    return 1


@pipeline
def tiny():
    return one()
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A home whose project has one pipeline."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "tiny"\n')
    (tmp_path / "tiny.py").write_text(PIPELINE)
    opened = open_workspace(tmp_path / ".plimsoll", owner="dana")
    yield opened
    opened.close()


@contextmanager
def worker(workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of its own process, installed without what reads a model's file: no job here comes so far, and processes begin sooner."""
    bare = workspace.home / "bare"
    bare.mkdir(exist_ok=True)
    (bare / "skops.py").write_text("raise ImportError('not installed')")
    path = os.pathsep.join([str(bare), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "plimsoll.worker", str(workspace.home), "--project", str(workspace.project)]
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def submitted(workspace: Workspace, fate: str) -> str:
    (workspace.project / "fate").write_text(fate)
    return workspace.submit(RunPipeline(pipeline="tiny.py:tiny"), OWNER).id


def job(workspace: Workspace, id: str) -> Job:
    return workspace.do(GetJob(id=id), OWNER)


def ended(workspace: Workspace, id: str) -> Job:
    return until(lambda: (found := job(workspace, id)).state in ("done", "failed") and found, "the job has ended")  # type: ignore[no-any-return]


def begun(workspace: Workspace) -> int:
    """Return the id of the process that has begun to import the pipeline."""
    path = workspace.project / "began"
    return int(until(lambda: path.exists() and path.read_text(), "the job's process has begun"))


def test_a_job_whose_process_ends_without_a_word_is_failed_with_how_and_the_next_one_is_done(workspace: Workspace) -> None:
    with worker(workspace):
        for fate, how in (("killed", "was ended by signal 9"), ("gone", "ended with status 0")):
            (workspace.project / "began").unlink(missing_ok=True)
            first, second = submitted(workspace, fate), submitted(workspace, fate)
            lost = ended(workspace, first)
            assert (lost.state, lost.attempts) == ("failed", 1)
            error = from_wire(lost.error)
            assert isinstance(error, StepFailed)
            assert how in error.fact
            assert ended(workspace, second).state == "done"


def test_a_job_whose_worker_is_killed_is_done_once_more_by_the_next_and_ends_once(workspace: Workspace) -> None:
    id = submitted(workspace, "held")
    with worker(workspace) as first:
        orphan = begun(workspace)
        # It would end by itself a moment after its worker. Held, it is one that another worker's job may still meet.
        os.kill(orphan, signal.SIGSTOP)
        first.kill()
        first.wait(PATIENCE)
    try:
        with worker(workspace):
            # Not before its lease has passed; then another worker has it, whatever its orphan still does.
            assert job(workspace, id).attempts == 1
            with workspace.stores.database.write() as tx:
                tx.execute(jobs.update().where(jobs.c.id == id).values(lease_until=clock.now()))
            done = ended(workspace, id)
            assert (done.state, done.attempts) == ("done", 2)
    finally:
        os.kill(orphan, signal.SIGCONT)
    until(lambda: not alive(orphan), "the job's process has ended")
    assert job(workspace, id) == done
    states = [found.run.state for found in workspace.do(SearchRuns(), OWNER).runs]
    assert states.count("finished") == len(states)


def test_a_job_that_is_under_way_ends_with_its_worker(workspace: Workspace) -> None:
    submitted(workspace, "held")
    with worker(workspace) as first:
        orphan = begun(workspace)
        first.kill()
        first.wait(PATIENCE)
    until(lambda: not alive(orphan), "the job's process has ended")


def test_a_worker_asked_to_end_gives_its_job_back(workspace: Workspace) -> None:
    id = submitted(workspace, "held")
    with worker(workspace) as first:
        child = begun(workspace)
        first.send_signal(signal.SIGTERM)
        assert first.wait(PATIENCE) == 0
    assert not alive(child)
    assert (job(workspace, id).state, job(workspace, id).error) == ("working", None)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_process_that_does_short_jobs_is_replaced_when_it_is_killed(workspace: Workspace) -> None:
    with worker(workspace) as process:
        done = [ended(workspace, workspace.submit(SealPredictions(), OWNER).id) for _ in range(2)]
        assert [found.state for found in done] == ["done", "done"]
        (child,) = children(process.pid)
        os.kill(child, signal.SIGKILL)
        # A job that it is given while it still dies would be one that has failed.
        until(lambda: not alive(child), "it has ended")
        assert ended(workspace, workspace.submit(SealPredictions(), OWNER).id).state == "done"
        assert children(process.pid) != [child]
    assert not alive(child)


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """A home with one version, whose package cannot be read to its end: whoever opens it waits."""
    opened = open_yard(tmp_path / ".plimsoll")
    opened.version("one")
    (file,) = (path for path in (tmp_path / ".plimsoll" / "blobs").rglob("*") if path.is_file() and path.read_bytes() == b"one")
    file.unlink()
    os.mkfifo(file)
    yield opened
    opened.workspace.close()


def refused(workspace: Workspace) -> str:
    """Have a job done that needs no package to be refused, and return with what."""
    return from_wire(ended(workspace, workspace.submit(PackVersion(ref="late/9"), OWNER).id).error).code


def held(workspace: Workspace, process: subprocess.Popen[bytes]) -> tuple[str, int, int]:
    """Submit a job that waits for its package; return its id, its process and the one that this was forked from."""
    id = workspace.submit(CheckVersion(ref="late/1"), OWNER).id
    until(lambda: job(workspace, id).state == "working", "the job has begun")
    # The job is claimed first, and then its process is begun.
    (kept,) = until(lambda: children(process.pid), "the process that is forked from has begun")
    # A child that only looks whether a fork is safe has one thread.
    found = until(lambda: [child for child in children(kept) if len(os.listdir(f"/proc/{child}/task")) > 1], "its process is there")
    return id, found[0], kept


def test_jobs_that_open_packages_are_forked_from_one_process_and_one_that_is_killed_is_failed_with_how(yard: Yard) -> None:
    with worker(yard.workspace) as process:
        assert refused(yard.workspace) == "not_found"
        before = children(process.pid)
        assert refused(yard.workspace) == "not_found"
        id, child, kept = held(yard.workspace, process)
        assert [kept] == before
        os.kill(child, signal.SIGKILL)
        lost = ended(yard.workspace, id)
        assert (lost.state, lost.attempts) == ("failed", 1)
        assert "was ended by signal 9" in from_wire(lost.error).fact
        until(lambda: not alive(kept), "the process that it was forked from has ended")
        assert refused(yard.workspace) == "not_found"
        assert children(process.pid) != [kept]


def test_a_forked_job_ends_with_its_worker(yard: Yard) -> None:
    with worker(yard.workspace) as process:
        id, child, kept = held(yard.workspace, process)
        process.kill()
        process.wait(PATIENCE)
        until(lambda: not alive(child) and not alive(kept), "the job's process has ended, and the one that it was forked from")
    assert (job(yard.workspace, id).state, job(yard.workspace, id).error) == ("working", None)


def test_a_forked_job_ends_with_the_process_that_it_was_forked_from(yard: Yard) -> None:
    with worker(yard.workspace) as process:
        id, child, kept = held(yard.workspace, process)
        os.kill(kept, signal.SIGKILL)
        assert ended(yard.workspace, id).state == "failed"
        until(lambda: not alive(child), "the job's process has ended")


def test_a_worker_asked_to_end_gives_a_forked_job_back(yard: Yard) -> None:
    with worker(yard.workspace) as process:
        id, child, kept = held(yard.workspace, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert not alive(kept)
    until(lambda: not alive(child), "the job's process has ended")
    assert (job(yard.workspace, id).state, job(yard.workspace, id).error) == ("working", None)
