"""Steps in processes of their own: how they end, and what they may take."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.data.snapshot import get_manifest
from plimsoll.data.values import load
from plimsoll.errors import Corrupt, StepFailed
from plimsoll.pipelines.executors.call import Call, Unsuitable, reference
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.executors.processes import Processes
from plimsoll.pipelines.plan import trace
from plimsoll.pipelines.step import pipeline, step
from plimsoll.records.pipeline import ListSteps, Output
from plimsoll.store.blobs import LocalBlobs
from tests.unit.pipelines.bench import Bench, states

HEAD = """
    import os, signal, sys, time
    from pathlib import Path
    from plimsoll.pipelines.step import pipeline, step

"""


def flow(bench: Bench, body: str, options: str = "") -> None:
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    steps = f"    @step({options})\n    def work(given):\n{lines}\n\n"
    bench.write("pipe.py", f"{HEAD}{steps}    @pipeline\n    def flow(given=None):\n        return work(given)\n")


def failure(bench: Bench) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        bench.run(executor="processes")
    return caught.value


def test_a_step_runs_in_a_process_of_its_own(bench: Bench) -> None:
    flow(bench, "return [os.getpid(), os.getsid(0)]")
    process, session = bench.run(executor="processes").value
    assert process == session != os.getpid()


def test_both_executors_find_each_others_results(bench: Bench) -> None:
    flow(bench, "return {'given': given, 'pair': (1, '1')}")
    there = bench.run(executor="processes", given=(1, 2.5, "x", None, {3}))
    here = bench.run(executor="in_process", given=(1, 2.5, "x", None, {3}))
    assert states(here) == {"work": "hit"}
    assert here.value == there.value == {"given": (1, 2.5, "x", None, {3}), "pair": (1, "1")}


def test_a_frame_given_by_the_pipeline_reaches_the_process(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        import polars as pl
        from plimsoll.pipelines.step import pipeline, step

        @step
        def height(parts):
            return sum(part.height for part in parts["all"])

        @step
        def make(rows):
            return pl.DataFrame({"a": list(range(rows))})

        @pipeline
        def flow():
            return height({"all": [make(2), pl.DataFrame({"a": [1]})]})
        """,
    )
    assert bench.run(executor="processes").value == 3


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_killed_step_fails_and_names_the_signal(bench: Bench, name: str) -> None:
    flow(bench, f"os.kill(os.getpid(), signal.{name})")
    error = failure(bench)
    assert name in error.fact
    (record,) = bench.do(ListSteps(run_id=error.details["run_id"]))
    assert record.state == "failed"
    assert ("out of memory" in record.why) == (name == "SIGKILL")


def test_a_step_that_ends_its_process_fails_with_the_exit_code(bench: Bench) -> None:
    flow(bench, "os._exit(3)")
    assert "exit code 3" in failure(bench).fact


def test_sys_exit_is_a_failure_and_not_a_result(bench: Bench) -> None:
    flow(bench, "sys.exit(0)")
    assert "SystemExit" in failure(bench).fact


def test_a_step_past_its_timeout_is_killed_with_its_children(bench: Bench) -> None:
    body = "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nPath('{}').write_text(f'{{child.pid}} .')\ntime.sleep(600)"
    mark = bench.project / "child"
    for seconds in (2, 12, 60):
        flow(bench, body.format(mark), f"timeout={seconds}")
        assert f"timeout of {seconds} s" in failure(bench).fact
        if mark.exists() and mark.read_text().endswith("."):
            break  # else it was stopped before it came to the step, as on a busy machine
    _gone(int(mark.read_text().split()[0]))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_step_past_its_memory_is_stopped(bench: Bench) -> None:
    flow(bench, "held = b'x' * 900_000_000\ntime.sleep(600)", "memory='700MB'")
    error = failure(bench)
    assert "more than the 700 MB" in error.fact


THREAD = "threading.Thread(target=threading.Event().wait).start()\nchild = None"
FORKED = "child = os.fork()\nif child == 0:\n    os.setsid()\n    signal.pause()"


@pytest.mark.parametrize("left", [THREAD, FORKED])
def test_what_a_step_leaves_running_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    monkeypatch.setattr("plimsoll.pipelines.executors.watch._GRACE", 0.2)
    flow(bench, f"import threading\n{left}\nreturn [os.getpid(), child]", "timeout=60")
    process, child = bench.run(executor="processes").value
    _gone(process)
    if child is not None:
        os.kill(child, signal.SIGKILL)


def test_what_a_step_prints_does_not_garble_its_answer(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    flow(bench, "print('hello')\nos.write(1, b'raw')\nos.system('echo child')\nreturn sys.stdin.read()")
    assert bench.run(executor="processes").value == ""
    captured = capfd.readouterr()
    assert captured.out == ""
    assert all(word in captured.err for word in ("hello", "raw", "child"))


def test_a_step_process_ends_when_the_process_that_began_it_is_killed(bench: Bench) -> None:
    mark = bench.project / "child"
    flow(bench, f"Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(600)")
    script = f"""
from pathlib import Path
from plimsoll.data.project import load_object
from plimsoll.pipelines.executors.call import Call
from plimsoll.pipelines.executors.processes import Processes
from plimsoll.pipelines.plan import trace
from plimsoll.store.blobs import LocalBlobs
project = Path({str(bench.project)!r})
plan = trace(load_object(project, "pipe.py:flow"), {{}})
runner = Processes(LocalBlobs(Path({str(bench.workspace.home / "blobs")!r})), project)
runner.submit(Call(node=plan.nodes[0], inputs={{}}, code="", run_id="r", heard=print)).result()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path.cwd())
    try:
        _until(lambda: mark.exists() and mark.read_text() != "")
    finally:
        parent.kill()
        parent.wait()
    _gone(int(mark.read_text()))


def test_closing_kills_what_still_runs(bench: Bench) -> None:
    mark = bench.project / "child"
    flow(bench, f"Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(600)")
    runner = Processes(bench.workspace.stores.blobs, bench.project)
    future = runner.submit(_call(bench))
    _until(lambda: mark.exists() and mark.read_text() != "")
    closing = threading.Thread(target=runner.close)
    closing.start()
    closing.join(120)
    assert not closing.is_alive()
    assert isinstance(future.exception(), StepFailed)
    _gone(int(mark.read_text()))


def test_an_edit_between_planning_and_running_does_not_reach_the_cache(bench: Bench) -> None:
    flow(bench, "return 'old'")
    loaded = bench.load()
    flow(bench, "return 'new'")
    plan = trace(loaded, {})
    runner = Processes(bench.workspace.stores.blobs, bench.project)
    try:
        code = "0" * 64
        error = runner.submit(Call(node=plan.nodes[0], inputs={}, code=code, run_id="r", heard=print)).exception()
    finally:
        runner.close()
    assert isinstance(error, Unsuitable)
    assert "differs from the code that the run began with" in error.fact


def test_a_step_that_no_other_process_can_import_runs_here_and_says_so(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        import os
        from plimsoll.pipelines.step import pipeline, step

        def make(number):
            @step
            def inner():
                return os.getpid() + number
            return inner

        @pipeline
        def flow():
            return make(1)()
        """,
    )
    result = bench.run(executor="processes")
    assert result.value == os.getpid() + 1
    assert "run in the calling process" in result["inner"].why


def test_independent_steps_run_at_the_same_time(bench: Bench) -> None:
    body = "Path(given[0]).touch()\nwhile not Path(given[1]).exists():\n    time.sleep(0.01)\nreturn 1"
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    bench.write(
        "pipe.py",
        f"{HEAD}    @step(timeout=240)\n    def work(given):\n{lines}\n\n    @pipeline\n    def flow(a='', b=''):\n"
        "        return [work((a, b)), work((b, a))]\n",
    )
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two processors")
    assert bench.run(executor="processes", a=str(bench.project / "a"), b=str(bench.project / "b")).value == [1, 1]


class Elsewhere:
    """Blobs that no other process can open: those behind a server look like this."""

    def __init__(self, blobs: LocalBlobs) -> None:
        self._blobs = blobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)


def test_blobs_that_are_elsewhere_are_copied_to_the_process_and_back(bench: Bench, tmp_path: Path) -> None:
    bench.write(
        "pipe.py",
        """
        import polars as pl
        from plimsoll.pipelines.step import pipeline, step
        from plimsoll.runs.logger import current_run

        @step
        def make():
            return pl.DataFrame({"a": [1, 2]})

        @step
        def height(rows):
            current_run().log_artifact("seen", {"rows": rows.height})
            return rows.height

        @pipeline
        def flow():
            return height(make())
        """,
    )
    remote = LocalBlobs(tmp_path / "remote")
    plan = trace(bench.load(), {})
    heard: list[Any] = []
    runner = Processes(Elsewhere(remote), bench.project)  # type: ignore[arg-type]
    try:
        made = runner.submit(Call(node=plan.nodes[0], inputs={}, code="", run_id="r", heard=heard.append)).result().output
        counted = runner.submit(Call(node=plan.nodes[1], inputs={0: made}, code="", run_id="r", heard=heard.append)).result().output
        assert load(made, remote).height == load(counted, remote) == 2
        assert [(item.name, remote.has(item.digest)) for item in heard] == [("seen", True)]
        remote.delete(get_manifest(remote, made.digest).files[0].digest)
        fresh = Processes(Elsewhere(remote), bench.project)  # type: ignore[arg-type]
        error = fresh.submit(Call(node=plan.nodes[1], inputs={0: made}, code="", run_id="r", heard=heard.append)).exception()
        fresh.close()
    finally:
        runner.close()
    assert isinstance(error, Corrupt)
    assert error.details["input"] == 0


def test_an_executor_gives_the_same_output_here_and_there(bench: Bench) -> None:
    flow(bench, "return {'a': [1.5, None]}")
    call = _call(bench)
    here: Future[Output] = InProcess(bench.workspace.stores.blobs, bench.project).submit(call)
    runner = Processes(bench.workspace.stores.blobs, bench.project)
    try:
        assert here.result() == runner.submit(call).result()
    finally:
        runner.close()


def test_calls_in_this_process_take_turns(bench: Bench) -> None:
    flow(bench, "import threading\ntry:\n    given.wait(0.3)\nexcept threading.BrokenBarrierError:\n    return 'alone'\nreturn 'together'")
    plan = trace(bench.load(), {"given": threading.Barrier(2)})
    runner = InProcess(bench.workspace.stores.blobs, bench.project)
    call = Call(node=plan.nodes[0], inputs={}, code="", run_id="r", heard=lambda logged: None)
    with ThreadPoolExecutor(2) as threads:
        found = [future.result().output for future in threads.map(runner.submit, [call, call])]
    assert [load(output, bench.workspace.stores.blobs) for output in found] == ["alone", "alone"]


def test_a_step_whose_name_leads_to_another_function_runs_here(bench: Bench) -> None:
    again = "    @step\n    def work(given):\n        return 'second'\n\n"
    bench.write(
        "pipe.py",
        f"{HEAD}{again.replace('second', 'first')}    first = work\n\n{again}    @pipeline\n    def flow():\n        return first(1)\n",
    )
    result = bench.run(executor="processes")
    assert result.value == "first"
    assert "would not find it as pipe.work" in result["work"].why
    # The process itself has functions of its own in this module.
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("def work(): ...", space)
    with pytest.raises(Unsuitable, match="notebook or script"):
        reference(space["work"])


OBJECTS = """
import enum, os
from dataclasses import dataclass, field
from typing import NamedTuple
import numpy as np
from plimsoll import pipeline, step

class Kind(enum.Enum):
    FAST = "fast"

class Window(NamedTuple):
    first: int
    kind: Kind

@dataclass(frozen=True)
class Inner:
    weights: np.ndarray

@dataclass(slots=True)
class Slotted:
    depth: int = 3

@dataclass
class Config:
    window: Window
    inner: Inner
    slotted: Slotted
    extra: dict = field(default_factory=dict)
    made: list = field(init=False)

    def __post_init__(self):
        self.made = ["once"]

@step
def work(config: Config, begun: int):
    assert isinstance(config, Config) and isinstance(config.inner, Inner) and config.window.kind is Kind.FAST
    told = [config.window.first, config.inner.weights.tolist(), config.slotted.depth, config.extra, config.made, vars(config)["more"]]
    return {"told": told, "own": os.getpid() != begun}

@pipeline
def flow(begun: int = 0):
    config = Config(Window(7, Kind.FAST), Inner(np.arange(3)), Slotted(5), {"a": [Slotted(6).depth]})
    config.made.append("twice")
    config.more = 1
    return work(config, begun)
"""


def test_objects_of_the_projects_classes_are_sent_to_a_steps_process(bench: Bench) -> None:
    """So the step has its limits and runs beside others."""
    bench.write("pipe.py", OBJECTS)
    result = bench.run(executor="processes", begun=os.getpid())
    assert result.value == {"told": [7, [0, 1, 2], 5, {"a": [6]}, ["once", "twice"], 1], "own": True}
    assert "calling process" not in result["work"].why


def test_a_function_of_a_notebook_is_not_sent_to_another_process(bench: Bench) -> None:
    @step
    def inner() -> int:
        return 1

    @pipeline
    def here() -> int:
        return inner()

    runner = Processes(bench.workspace.stores.blobs, bench.project)
    try:
        node = trace(here, {}).nodes[0]
        error = runner.submit(Call(node=node, inputs={}, code="", run_id="r", heard=print)).exception()
    finally:
        runner.close()
    assert isinstance(error, Unsuitable)


def _call(bench: Bench) -> Call:
    plan = trace(bench.load(), {})
    return Call(node=plan.nodes[0], inputs={}, code="", run_id="r", heard=lambda logged: None)


def _until(condition: object, seconds: float = 120.0) -> None:
    deadline = clock.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert clock.monotonic() < deadline, "the condition did not come true in time"
        clock.sleep(0.01)


def _gone(process: int) -> None:
    def ended() -> bool:
        try:
            os.kill(process, 0)
            # Nobody may be left to collect it: a zombie has ended too.
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (ProcessLookupError, FileNotFoundError):
            return True

    _until(ended)


def test_finished_steps_are_not_repeated_after_the_whole_run_was_killed(bench: Bench) -> None:
    mark = bench.project / "slow"
    source = """
        import time
        from pathlib import Path
        from plimsoll.pipelines.step import pipeline, step

        @step
        def fast():
            return 1

        @step
        def slow(value, mark):
            if not Path(mark).exists():
                Path(mark).touch()
                time.sleep(600)
            return value + 1

        @pipeline
        def flow(mark: str = ""):
            return slow(fast(), mark)
        """
    bench.write("pipe.py", source)
    script = f"""
from pathlib import Path
from plimsoll.data.project import load_object
from plimsoll.pipelines.running import execute
from plimsoll.workspace import open_workspace
from tests.unit.pipelines.bench import OWNER
project = Path({str(bench.project)!r})
opened = open_workspace(Path({str(bench.workspace.home)!r}), project)
function = load_object(project, "pipe.py:flow")
execute(function, {{"mark": {str(mark)!r}}}, do=lambda request: opened.do(request, OWNER), blobs=opened.stores.blobs, project=project)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=Path.cwd())
    try:
        _until(mark.exists)
    finally:
        parent.kill()
        parent.wait()
    result = bench.run(executor="processes", mark=str(mark))
    assert states(result) == {"fast": "hit", "slow": "ran"}
    assert result.value == 2
