"""Runs through a server share what they need at once as runs on a folder do."""

from __future__ import annotations

import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from plimsoll.data.project import load_object
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.records.pipeline import ClaimCalls, WantedCall
from plimsoll.records.run import StartRun
from tests.unit.conftest import Running
from tests.unit.pipelines.gate import STEP, Gate

PIPE = (
    STEP
    + """
    @pipeline
    def flow(port: int):
        return slow("a", port)
"""
)


def test_two_runs_through_a_server_compute_a_step_once(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipe.py").write_text(dedent(PIPE))
    monkeypatch.setattr(sys, "path", list(sys.path))
    # However long a busy machine lets a run rest, its claim is its own.
    monkeypatch.setattr("plimsoll.pipelines.claims.LEASE", 600_000_000)
    flow = load_object(tmp_path, "pipe.py:flow")
    gate, waiting = Gate(), threading.Event()

    def told(event: StepEvent) -> None:
        if event.state == "waiting":
            waiting.set()

    def run() -> PipelineResult:
        door = running.http()
        return execute(flow, {"port": gate.port}, do=door.do, blobs=door.blobs, project=tmp_path, executor="in_process", on_step=told)

    # The gate lets go before the threads are waited for, also when something fails.
    with ThreadPoolExecutor(2) as pool, contextlib.closing(gate):
        first = pool.submit(run)
        assert gate.reached.wait(120)
        second = pool.submit(run)
        assert waiting.wait(120)
        gate.open()
        results = [first.result(120), second.result(120)]
    assert [result.value for result in results] == ["a", "a"]
    assert [result.steps[0].state for result in results] == ["ran", "hit"]
    assert gate.calls == ["a"]


def test_a_claim_comes_back_whole_over_the_wire(running: Running) -> None:
    door = running.http()
    run = door.do(StartRun())
    (claim,) = door.do(ClaimCalls(run_id=run.id, calls=(WantedCall(call="f" * 64, step="nowhere"),)))
    assert (claim.holder, claim.last, claim.parts, claim.entries) == (run.id, None, (), ())
