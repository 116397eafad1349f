"""The way of a step: what is reused, what runs again and why, and what damage and kills leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from plimsoll.errors import StepFailed
from plimsoll.records.access import GetJob
from plimsoll.records.pipeline import ListSteps, RunPipeline, StepRecord
from plimsoll.records.run import GetRun, GetSeries
from plimsoll.records.tracking.find import SearchRuns
from tests.flows.real_platform import PATIENCE, Platform, alive, until

pytestmark = pytest.mark.slow

STEPS = ["begin", "double", "square", "join", "hold"]


def steps(platform: Platform, run: str) -> dict[str, StepRecord]:
    """Return a run's steps by short name."""
    return {step.name.rpartition(".")[2]: step for step in platform.author.do(ListSteps(run_id=run))}


def run(platform: Platform, *words: str, door: bool = True) -> tuple[dict[str, StepRecord], str]:
    """Run the chain by the command line and return its steps and what it said."""
    done = platform.command("run", "chain.py:chain", *words, door=door)
    assert done.returncode == 0, done.stderr
    found = steps(platform, done.stdout.strip())
    assert sorted(found) == sorted(STEPS)
    return found, done.stderr


def states(found: dict[str, StepRecord]) -> dict[str, list[str]]:
    """Return state -> short names, in the order of the plan."""
    order = sorted(found, key=lambda name: found[name].index)
    return {state: [name for name in order if found[name].state == state] for state in {step.state for step in found.values()}}


def blob(platform: Platform, digest: str) -> Path:
    """Return the file in which a blob lies."""
    (found,) = (path for path in (platform.home / "blobs").rglob("*") if path.is_file() and path.name in (digest, digest[2:], digest[4:]))
    return found


def process_of(job: str) -> int:
    """Return the id of the process that does a job."""
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and f"--job\0{job}".encode() in (folder / "cmdline").read_bytes():
                return int(folder.name)
    raise AssertionError(f"no process does the job {job}")


def held(platform: Platform, holds: Path) -> int:
    """Return the process id of the last step, once it is under way and those before it are recorded, some hundredths of a second later.

    Args:
        platform: where.
        holds: the file that the last step writes.
    """
    pid = int(until(lambda: holds.exists() and holds.read_text(), "the last step is under way"))
    (newest, *_) = platform.author.do(SearchRuns(where="experiment = 'chain'")).runs
    until(lambda: "join" in (found := steps(platform, newest.run.id)) and found["join"].state == "ran", "the step before it is recorded")
    return pid


def test_a_pipeline_that_is_run_twice_runs_nothing_the_second_time(platform: Platform) -> None:
    first, said = run(platform)
    assert states(first) == {"ran": STEPS}
    assert "5 of 5 steps ran" in said
    assert {step.why for step in first.values()} == {"it has no earlier result"}
    assert platform.author.do(GetSeries(run_id=first["join"].run_id, name="seen")).values == (4.0,)
    second, said = run(platform)
    assert states(second) == {"hit": STEPS}
    assert "Nothing changed: no step ran." in said
    assert {name: step.output for name, step in second.items()} == {name: step.output for name, step in first.items()}
    # The folder and the server are two doors to the same results.
    assert states(run(platform, door=False)[0]) == {"hit": STEPS}


def test_an_edited_helper_reruns_exactly_the_steps_that_reach_it_and_what_their_results_change(platform: Platform) -> None:
    scale = platform.project / "scale.py"
    before = scale.read_text()
    scale.write_text(before.replace("number * 2", "number + number"))
    same, _ = run(platform)
    # The results are the same as before, so join is not run again.
    assert states(same) == {"ran": ["double", "hold"], "hit": ["begin", "square", "join"]}
    assert "scaled" in same["double"].why
    assert "scaled" in same["hold"].why

    scale.write_text(before.replace("number * 2", "number * 3"))
    other, _ = run(platform)
    assert states(other) == {"ran": ["double", "join", "hold"], "hit": ["begin", "square"]}
    assert "scaled" in other["double"].why
    assert "doubled" in other["join"].why

    scale.write_text(before)
    assert states(run(platform)[0]) == {"hit": STEPS}


def test_a_changed_parameter_is_named_with_both_values(platform: Platform) -> None:
    found, _ = run(platform, "--set", "count=5")
    assert states(found) == {"ran": STEPS}
    assert "count: 4 -> 5" in found["begin"].why


@pytest.mark.parametrize("door", [True, False], ids=["server", "folder"])
def test_a_damaged_result_is_computed_again_and_the_run_says_so(platform: Platform, door: bool) -> None:
    found, _ = run(platform)
    output = found["square"].output
    assert output is not None
    path = blob(platform, output.digest)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    again, said = run(platform, door=door)
    assert states(again) == {"ran": ["square"], "hit": ["begin", "double", "join", "hold"]}
    assert "damaged" in again["square"].why
    assert "damaged" in said
    assert again["square"].output == output
    assert platform.author.blobs.get(output.digest)


def test_a_step_that_is_killed_is_an_error_that_says_how(platform: Platform) -> None:
    done = platform.command("run", "chain.py:chain", "--set", "die=true")
    assert done.returncode == 1
    assert "The step join" in done.stderr
    assert "signal 9" in done.stderr
    (detail, *_) = platform.author.do(SearchRuns(where="experiment = 'chain'")).runs
    assert detail.run.state == "failed"
    assert "signal 9" in (detail.run.error or "")
    found = steps(platform, detail.run.id)
    assert (found["join"].state, found["hold"].state) == ("failed", "skipped")
    assert "join has no result" in found["hold"].why


def test_a_run_that_is_killed_goes_on_where_it_was_when_it_is_started_again(platform: Platform, tmp_path: Path) -> None:
    words = ("run", "chain.py:chain", "--set", "count=6", "--set", f"folder={tmp_path}")
    process = platform.begin(*words)
    pid = held(platform, tmp_path / "holds")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    until(lambda: not alive(pid), "the step has ended with the run that began it")

    (tmp_path / "go").touch()
    done = platform.command(*words)
    assert done.returncode == 0, done.stderr
    again = steps(platform, done.stdout.strip())
    assert states(again) == {"ran": ["hold"], "hit": ["begin", "double", "square", "join"]}
    assert platform.author.do(GetRun(id=done.stdout.strip())).run.state == "finished"


def test_a_run_whose_server_is_killed_ends_as_an_error_and_is_resumed(platform: Platform, tmp_path: Path) -> None:
    words = ("run", "chain.py:chain", "--set", "count=7", "--set", f"folder={tmp_path}")
    process = platform.begin(*words)
    pid = held(platform, tmp_path / "holds")
    platform.kill()
    (tmp_path / "go").touch()
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 5, said
    assert "plimsoll up" in said
    until(lambda: not alive(pid), "the step has ended with the run that began it")
    platform.start()
    done = platform.command(*words)
    assert done.returncode == 0, done.stderr
    found = steps(platform, done.stdout.strip())
    assert states(found)["hit"] == ["begin", "double", "square", "join"]


def test_a_job_whose_process_is_killed_fails_and_the_worker_goes_on(platform: Platform) -> None:
    folder = platform.project / "signals"
    folder.mkdir()
    job = platform.author.submit(RunPipeline(pipeline="chain.py:chain", params={"count": 8, "folder": str(folder)}))
    step = held(platform, folder / "holds")
    os.kill(process_of(job.id), signal.SIGKILL)
    ended = platform.author.wait(job)
    assert ended.state == "failed"
    assert "signal 9" in str(ended.error)
    until(lambda: not alive(step), "the step has ended with its job")
    (folder / "go").touch()
    result = platform.author.do(RunPipeline(pipeline="chain.py:chain", params={"count": 8, "folder": str(folder)}))
    assert states(steps(platform, result.id)) == {"ran": ["hold"], "hit": ["begin", "double", "square", "join"]}
    assert platform.author.do(GetJob(id=job.id)).state == "failed"
    with pytest.raises(StepFailed, match="signal 9"):
        platform.author.do(RunPipeline(pipeline="chain.py:chain", params={"die": True}))


def test_a_job_that_was_accepted_is_done_although_server_and_worker_are_killed(platform: Platform, tmp_path: Path) -> None:
    job = platform.author.submit(RunPipeline(pipeline="chain.py:chain", params={"count": 9, "folder": str(tmp_path)}))
    step = held(platform, tmp_path / "holds")
    platform.kill()
    until(lambda: not alive(step), "the step has ended with the server")
    (tmp_path / "go").touch()
    platform.start()
    ended = platform.author.wait(job)
    assert (ended.state, ended.attempts) == ("done", 2)
    assert states(steps(platform, ended.result["id"])) == {"ran": ["hold"], "hit": ["begin", "double", "square", "join"]}
