"""What ended is recorded in batches, in order, and before anything else begins when it was dear."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from plimsoll import clock, codec
from plimsoll.errors import NotFound, StorageFull
from plimsoll.pipelines.loop.late import LateBlobs
from plimsoll.pipelines.loop.writer import Writer
from plimsoll.records.pipeline import EndedStep, KeyPart, ListSteps, RecordSteps, ReleaseClaims, RenewClaims, StepRecord
from plimsoll.records.request import Request
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.store.blobs import LocalBlobs
from tests.unit.pipelines.bench import ENVIRONMENT, Bench, states

PART = KeyPart(kind="code", name="pipe.work", digest="1" * 64)
RECORD = StepRecord(run_id="r", index=0, name="pipe.work", state="ran", key="a" * 64, why="", started=1, ended=2, output=None)


class Door:
    """Remembers what was asked; holds what is asked up while it is shut."""

    def __init__(self) -> None:
        self.asked: list[Request[Any]] = []
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None

    def do(self, request: Request[Any]) -> Any:
        """Take a request."""
        self.open.wait()
        if self.error is not None:
            raise self.error
        self.asked.append(request)

    def recorded(self) -> list[list[int]]:
        """Return the positions of the steps, one list a transaction."""
        return [[ended.record.index for ended in request.steps] for request in self.asked if isinstance(request, RecordSteps)]


def ended(index: int, **more: Any) -> EndedStep:
    return EndedStep(record=replace(RECORD, index=index), **more)


def test_steps_that_end_while_others_are_recorded_go_together_and_in_order() -> None:
    door = Door()
    writer = Writer("r", door.do, lambda: None, clock.Alarms())
    door.open.clear()
    for index in range(20):
        writer.put(ended(index))
    door.open.set()
    writer.close()
    batches = door.recorded()
    assert [*itertools.chain(*batches)] == list(range(20))
    assert len(batches) <= 2


def test_one_that_is_waited_for_is_recorded_when_the_wait_ends_with_all_before_it() -> None:
    door = Door()
    writer = Writer("r", door.do, lambda: None, clock.Alarms())
    writer.put(ended(0))
    writer.put(ended(1), wait=True)
    assert [*itertools.chain(*door.recorded())] == [0, 1]
    writer.close()


def test_hits_alone_are_left_for_whoever_ends_the_run() -> None:
    door = Door()
    writer = Writer("r", door.do, lambda: None, clock.Alarms())
    hits = tuple(EndedStep(record=replace(RECORD, index=index, state="hit")) for index in range(3))
    before = threading.active_count()
    for hit in hits:
        writer.put(hit)
    assert threading.active_count() == before
    assert writer.finish() == RecordSteps(run_id="r", steps=hits)
    assert door.asked == []


def test_hits_are_recorded_in_time_when_something_begins_that_may_take_long() -> None:
    door = Door()
    writer = Writer("r", door.do, lambda: None, clock.Alarms())
    writer.put(EndedStep(record=replace(RECORD, state="hit")))
    writer.start()
    deadline = clock.monotonic() + 60
    while not door.recorded():
        assert clock.monotonic() < deadline
        clock.sleep(0.005)
    assert writer.finish() is None


def test_bytes_are_stored_before_the_steps_that_name_them() -> None:
    order: list[str] = []
    writer = Writer("r", lambda request: order.append(type(request).__name__), lambda: order.append("bytes"), clock.Alarms())
    writer.put(ended(0), wait=True)
    writer.close()
    assert order == ["bytes", "RecordSteps"]


def test_what_calls_share_is_sent_once() -> None:
    door = Door()
    writer = Writer("r", door.do, lambda: None, clock.Alarms())
    for index in range(3):
        writer.put(ended(index, code="c" * 64, parts=(PART,)), (PART,), wait=True)
    writer.close()
    assert [request.code for request in door.asked if isinstance(request, RecordSteps)] == [{"c" * 64: (PART,)}, {}, {}]


def test_what_goes_wrong_is_raised_where_the_run_is_and_nothing_is_recorded_after_it() -> None:
    door = Door()
    door.error = StorageFull("The disk is full.")
    writer = Writer("r", door.do, lambda: None, clock.Alarms())
    with pytest.raises(StorageFull):
        writer.put(ended(0), wait=True)
    door.error = None
    for use in (lambda: writer.put(ended(1)), writer.check, writer.close):
        with pytest.raises(StorageFull):
            use()
    assert door.asked == []


def test_claims_are_renewed_until_their_step_ends_and_given_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.pipelines.loop.writer._BEAT", 0.01)
    door = Door()
    writer = Writer("r", door.do, lambda: None, clock.Alarms())
    writer.hold("c" * 64)
    writer.hold("d" * 64)
    deadline = clock.monotonic() + 60
    while sum(isinstance(request, RenewClaims) for request in list(door.asked)) < 2:
        assert clock.monotonic() < deadline
        clock.sleep(0.005)
    writer.put(ended(0, call="c" * 64))
    writer.close()
    assert door.asked[-1] == ReleaseClaims(run_id="r")


def test_late_blobs_are_read_at_once_and_are_where_they_belong_after_a_flush(tmp_path: Path) -> None:
    under = LocalBlobs(tmp_path / "blobs")
    late = LateBlobs(under)
    digests = [late.put(b"one"), *late.put_all([b"two", b"one"])]
    assert digests[0] == digests[2] == codec.digest(b"one")
    assert [late.get(digest) for digest in digests] == [b"one", b"two", b"one"]
    assert late.has(digests[1])
    assert late.size(digests[1]) == 3
    assert not under.has(digests[0])
    big = late.put(b"x" * 100_000)
    assert under.has(big)
    late.flush()
    assert under.get(digests[0]) == late.get(digests[0]) == b"one"
    late.delete(digests[0])
    with pytest.raises(NotFound):
        late.get(digests[0])
    late.get_file(late.put(b"filed"), tmp_path / "filed")
    assert (tmp_path / "filed").read_bytes() == b"filed"


STOPPED = """
    import os, signal
    from pathlib import Path
    from plimsoll.pipelines.step import pipeline, step

    @step
    def cheap(value):
        return value

    @step
    def stop(value):
        {how}
        return value

    @pipeline
    def flow():
        return stop(cheap(cheap(1)))
"""


def test_what_had_ended_before_an_interrupt_is_not_repeated(bench: Bench) -> None:
    bench.write("pipe.py", STOPPED.format(how="raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    (stopped,) = bench.do(SearchRuns()).runs
    assert stopped.run.state == "stopped"
    assert [record.state for record in bench.do(ListSteps(run_id=stopped.run.id))] == ["ran", "ran"]
    bench.write("pipe.py", STOPPED.format(how="pass"))
    assert states(bench.run()) == {"cheap": "hit", "cheap#2": "hit", "stop": "ran"}


SCRIPT = """
    import sys
    from pathlib import Path
    from plimsoll.data.project import load_object
    from plimsoll.pipelines.running import execute
    from plimsoll.records.access import Actor
    from plimsoll.workspace import open_workspace

    home, project = map(Path, sys.argv[1:])
    workspace = open_workspace(home, project)
    actor = Actor(name="dana", roles=("admin",))
    execute(
        load_object(project, "pipe.py:flow"),
        {},
        do=lambda request: workspace.do(request, actor),
        blobs=workspace.stores.blobs,
        project=project,
        executor="in_process",
    )
"""


def test_a_dear_step_that_had_ended_is_not_repeated_after_a_kill_of_the_very_next_one(bench: Bench) -> None:
    dear = STOPPED.replace("def cheap(value):", "def cheap(value):\n        import time; time.sleep(0.06)")
    bench.write("pipe.py", dear.format(how="os.kill(os.getpid(), signal.SIGKILL)"))
    script = bench.project.parent / "script.py"
    script.write_text(dedent(SCRIPT))
    killed = subprocess.run([sys.executable, str(script), str(bench.workspace.home), str(bench.project)], env=ENVIRONMENT, check=False)
    assert killed.returncode == -signal.SIGKILL
    bench.write("pipe.py", dear.format(how="pass"))
    assert states(bench.run()) == {"cheap": "hit", "cheap#2": "hit", "stop": "ran"}
