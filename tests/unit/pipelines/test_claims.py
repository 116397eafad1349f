"""Two runs that need the same step at once compute it once, on each database; a run that dies gives its calls away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from sqlalchemy import select, update

from plimsoll import clock
from plimsoll.data.values import save
from plimsoll.errors import Denied
from plimsoll.pipelines.claims import LEASE
from plimsoll.records.access import Actor
from plimsoll.records.pipeline import (
    ClaimCalls,
    EndedStep,
    FindEntries,
    KeyPart,
    RecordSteps,
    ReleaseClaims,
    RenewClaims,
    StepRecord,
    WantedCall,
)
from plimsoll.records.run import FinishRun, StartRun
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.store.schema import claims
from plimsoll.workspace import Workspace, open_workspace
from tests.unit.pipelines.bench import ENVIRONMENT, OWNER
from tests.unit.pipelines.gate import STEP, Gate

CALL = "c" * 64

#: Seconds that a run may take on a busy machine.
PATIENCE = 120.0


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    """A workspace on each database."""
    opened = open_workspace(tmp_path / "home", tmp_path / "project", database=database_url, owner="dana")
    yield opened
    opened.close()


def begin(workspace: Workspace) -> str:
    return workspace.do(StartRun(), OWNER).id


def holder(workspace: Workspace, run_id: str, seen: tuple[str, ...] = ()) -> str:
    wanted = WantedCall(call=CALL, step="pipe.work", seen=seen)
    (claim,) = workspace.do(ClaimCalls(run_id=run_id, calls=(wanted,)), OWNER)
    return claim.holder


def ended(workspace: Workspace, run_id: str) -> EndedStep:
    output = save(1, workspace.stores.blobs, workspace.project)
    record = StepRecord(run_id=run_id, index=0, name="pipe.work", state="ran", key="a" * 64, why="", started=1, ended=2, output=output)
    return EndedStep(record=record, call=CALL, keep=True)


def test_a_call_is_one_runs_until_it_gives_it_back_ends_or_records_it(workspace: Workspace) -> None:
    one, other = begin(workspace), begin(workspace)
    assert holder(workspace, one) == holder(workspace, one) == one
    assert holder(workspace, other) == one
    workspace.do(ReleaseClaims(run_id=one, calls=(CALL,)), OWNER)
    assert holder(workspace, other) == other
    workspace.do(FinishRun(id=other), OWNER)
    assert holder(workspace, one) == one
    workspace.do(RecordSteps(run_id=one, steps=(ended(workspace, one),)), OWNER)
    third = begin(workspace)
    assert holder(workspace, third, seen=("a" * 64,)) == third


def test_a_run_that_comes_just_after_the_result_is_told_of_it_and_gets_no_claim(workspace: Workspace) -> None:
    one, other = begin(workspace), begin(workspace)
    assert holder(workspace, one) == one
    workspace.do(RecordSteps(run_id=one, steps=(ended(workspace, one),)), OWNER)
    (claim,) = workspace.do(ClaimCalls(run_id=other, calls=(WantedCall(call=CALL, step="pipe.work"),)), OWNER)
    assert (claim.holder, claim.entries) == ("", workspace.do(FindEntries(call=CALL), OWNER))
    assert [entry.key for entry in claim.entries] == ["a" * 64]


def test_whoever_claims_is_told_what_the_newest_key_was_made_of_save_the_code_that_it_has_itself(workspace: Workspace) -> None:
    code, param = (KeyPart(kind=kind, name="x", digest="1" * 64) for kind in ("code", "param"))
    one, other = begin(workspace), begin(workspace)
    computed = replace(ended(workspace, one), code="c" * 64, parts=(param,))
    workspace.do(RecordSteps(run_id=one, steps=(computed,), code={"c" * 64: (code,)}), OWNER)
    for has, told in (("c" * 64, ((param,), True)), ("d" * 64, ((code, param), False)), ("", ((code, param), False))):
        wanted = WantedCall(call="0" * 64, step="pipe.work", code=has)
        (claim,) = workspace.do(ClaimCalls(run_id=other, calls=(wanted,)), OWNER)
        assert (claim.parts, claim.same_code) == told


@pytest.mark.parametrize("age", [LEASE + 1_000_000, -366 * 86_400_000_000])
def test_a_claim_that_was_not_renewed_or_is_from_the_future_is_anybodys(workspace: Workspace, age: int) -> None:
    one, other = begin(workspace), begin(workspace)
    assert holder(workspace, one) == one
    with workspace.stores.database.write() as tx:
        tx.execute(update(claims).values(renewed=clock.now() - age))
    workspace.do(RenewClaims(run_id=one), OWNER)
    assert holder(workspace, other) == one
    with workspace.stores.database.write() as tx:
        tx.execute(update(claims).values(renewed=clock.now() - age))
    assert holder(workspace, other) == other


def test_nobody_claims_for_the_run_of_another(workspace: Workspace) -> None:
    run, stranger = begin(workspace), Actor(name="mal", roles=("read", "write"))
    for request in (ClaimCalls(run_id=run, calls=()), RenewClaims(run_id=run), ReleaseClaims(run_id=run)):
        with pytest.raises(Denied, match="mal may not record steps"):
            workspace.do(request, stranger)


PIPE = (
    STEP
    + """
    @step
    def quick(name):
        return name

    @pipeline
    def flow(port: int, first: str = "a", second: str = "b", own: str = "x"):
        return [slow(first, port), slow(second, port), quick(own)]
"""
)

SCRIPT = """
    import json, sys
    from pathlib import Path
    from plimsoll.data.project import load_object
    from plimsoll.pipelines import claims
    from plimsoll.pipelines.running import execute
    from plimsoll.records.access import Actor
    from plimsoll.workspace import open_workspace

    # However long a busy machine lets a run rest, its claims are its own until the test says otherwise.
    claims.LEASE = 600_000_000

    home, project, database, params = sys.argv[1:]
    workspace = open_workspace(Path(home), Path(project), database=database)
    actor = Actor(name="dana", roles=("admin",))
    result = execute(
        load_object(Path(project), "pipe.py:flow"),
        json.loads(params),
        do=lambda request: workspace.do(request, actor),
        blobs=workspace.stores.blobs,
        project=Path(project),
        on_step=lambda event: print(json.dumps([event.label, event.state]), flush=True),
    )
    print(json.dumps({"value": result.value, "states": [step.state for step in result.steps]}), flush=True)
"""


class Runs:
    """Runs of one pipeline in processes of their own.

    Args:
        workspace: their home.
        database_url: its database.
    """

    def __init__(self, workspace: Workspace, database_url: str) -> None:
        self._workspace, self._url = workspace, database_url
        self.project = workspace.project
        self.project.mkdir()
        (self.project / "pipe.py").write_text(dedent(PIPE))
        self._script = workspace.home / "script.py"
        self._script.write_text(dedent(SCRIPT))
        self.begun: list[subprocess.Popen[str]] = []
        self.gate = Gate()

    def begin(self, **params: str) -> subprocess.Popen[str]:
        """Begin a run."""
        given = json.dumps({"port": self.gate.port, **params})
        command = [sys.executable, str(self._script), str(self._workspace.home), str(self.project), self._url, given]
        self.begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=ENVIRONMENT))
        return self.begun[-1]

    def until(self, process: subprocess.Popen[str], event: list[str]) -> None:
        """Wait until a run tells of an event."""
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line) == event:
                return
        raise AssertionError(f"the run ended before {event}")

    def close(self) -> None:
        """End what still runs."""
        for process in self.begun:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        self.gate.close()

    def end(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for a run's end and return what it said."""
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
        said: dict[str, Any] = json.loads(out.splitlines()[-1])
        return said


@pytest.fixture
def processes(workspace: Workspace, database_url: str) -> Iterator[Runs]:
    """Runs in processes of their own."""
    made = Runs(workspace, database_url)
    yield made
    made.gate.open()
    made.close()


def test_two_runs_that_need_the_same_steps_compute_each_once_and_wait_for_no_other(workspace: Workspace, processes: Runs) -> None:
    first = processes.begin(first="a", second="b", own="x")
    processes.until(first, ["slow", "started"])
    second = processes.begin(first="b", second="a", own="y")
    processes.until(second, ["quick", "ran"])
    processes.gate.open()
    one, other = processes.end(first), processes.end(second)
    assert (one["value"], other["value"]) == (["a", "b", "x"], ["b", "a", "y"])
    assert sorted(processes.gate.calls) == ["a", "b"]
    assert sorted(one["states"][:2] + other["states"][:2]) == ["hit", "hit", "ran", "ran"]
    # Each has what both steps logged, also the one that it has waited for.
    assert [metric.count for run in workspace.do(SearchRuns(), OWNER).runs for metric in run.metrics if metric.name == "held"] == [2, 2]


def test_the_second_run_takes_over_what_a_killed_one_has_claimed(workspace: Workspace, processes: Runs) -> None:
    first = processes.begin(first="a", second="a")
    processes.until(first, ["slow", "started"])
    second = processes.begin(first="a", second="a")
    processes.until(second, ["slow", "waiting"])
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    # As time leaves its claims.
    with workspace.stores.database.write() as tx:
        tx.execute(update(claims).values(renewed=claims.c.renewed - 2 * 600_000_000))
    processes.gate.open()
    assert processes.end(second)["value"] == ["a", "a", "x"]
    assert len(processes.gate.calls) <= 2


def test_claims_leave_nothing_behind(workspace: Workspace, processes: Runs) -> None:
    processes.gate.open()
    processes.end(processes.begin())
    with workspace.stores.database.read() as tx:
        assert tx.execute(select(claims)).all() == []
