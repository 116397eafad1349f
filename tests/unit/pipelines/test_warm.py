"""Steps forked from one process that has imported the installed packages: as separate as fresh interpreters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.data.values import load
from plimsoll.errors import StepFailed
from plimsoll.pipelines.executors import warm
from plimsoll.pipelines.executors.call import Call
from plimsoll.pipelines.executors.processes import Processes
from plimsoll.pipelines.executors.task import environment, share
from plimsoll.pipelines.executors.warm import Warm, reached
from plimsoll.pipelines.plan import beside, trace
from plimsoll.records.pipeline import Output
from tests.unit.pipelines.bench import Bench, states

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")

HEAD = """
    import os, subprocess, sys, time
    from pathlib import Path
    import numpy as np
    from plimsoll.pipelines.step import pipeline, step

    LOADED_BY = os.getpid()

    @step
    def first(given=None):
        return {body}

    @step
    def second(before, given=None):
        return [before, {body}]

    @pipeline
    def flow(given=None):
        return second(first(given), given)
"""


class Runner:
    """One executor and the calls of one plan."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.plan = trace(bench.load(), {})
        self.processes = Processes(bench.workspace.stores.blobs, bench.project, functions=[node.step.function for node in self.plan.nodes])

    def submit(self, index: int = 0, inputs: dict[int, Output] | None = None) -> Any:
        """Begin a call of the plan."""
        call = Call(node=self.plan.nodes[index], inputs=inputs or {}, code="", run_id="r", heard=lambda logged: None)
        return self.processes.submit(call)

    def value(self, index: int = 0) -> Any:
        """Return what a call gives."""
        return load(self.submit(index).result().output, self.bench.workspace.stores.blobs)


@pytest.fixture
def runner(bench: Bench) -> Iterator[Any]:
    """Return a function that makes a runner of a plan whose steps evaluate an expression."""
    made: list[Runner] = []

    def make(body: str) -> Runner:
        bench.write("pipe.py", HEAD.replace("{body}", body))
        made.append(Runner(bench))
        return made[-1]

    yield make
    for each in made:
        each.processes.close()


def test_all_steps_of_a_run_come_from_one_process_with_one_thread(bench: Bench) -> None:
    bench.write("pipe.py", HEAD.replace("{body}", "(os.getppid(), len(os.listdir(f'/proc/{os.getppid()}/task')))"))
    one, two = bench.run(executor="processes").value
    assert one == two == (one[0], 1)
    assert one[0] != os.getpid()
    assert not Path(f"/proc/{one[0]}").exists()


def test_packages_that_would_start_a_thread_by_themselves_are_kept_warm_without_it(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    """pandas imports pyarrow, whose allocator begins one. The steps are not told how it was stopped."""
    asked = "(os.getppid(), len(os.listdir(f'/proc/{os.getppid()}/task')), os.environ.get('JE_ARROW_MALLOC_CONF'))"
    bench.write("pipe.py", "    import pandas as pd\n" + HEAD.replace("{body}", f"(pd.DataFrame(dict(a=[1])).shape[0], *{asked})"))
    one, two = bench.run(executor="processes").value
    assert one == two == (1, one[1], 1, None)
    assert "fork" not in capfd.readouterr().err


def test_every_step_imports_the_projects_code_anew(bench: Bench) -> None:
    bench.write("pipe.py", HEAD.replace("{body}", "LOADED_BY == os.getpid()"))
    assert bench.run(executor="processes").value == [True, True]


def test_two_steps_do_not_draw_the_same_numbers(bench: Bench) -> None:
    bench.write("pipe.py", HEAD.replace("{body}", "float(np.random.random())"))
    one, two = bench.run(executor="processes").value
    assert one != two


def test_what_plimsoll_keeps_warm_starts_no_thread() -> None:
    script = f"""
import importlib, os, sys
importlib.import_module({warm._OURS!r})
from plimsoll.forking import alone
assert alone()
assert "polars" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path.cwd())


def test_a_step_without_frames_is_run_without_polars(bench: Bench) -> None:
    """Importing it takes longer than the step."""
    bench.write("pipe.py", HEAD.replace("{body}", "1 // ('polars' not in sys.modules)"))
    bench.write("pyproject.toml", '[project]\nname = "plain"\n')
    command = [sys.executable, "-m", "plimsoll.cli.app", "run", "pipe.py:flow"]
    done = subprocess.run(command, cwd=bench.project, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_steps_process_loads_no_library_of_databases() -> None:
    """It works on bytes alone, and to import SQLAlchemy took it longer than all else but numpy and polars."""
    script = "import sys, plimsoll.pipelines.executors.step_process; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path.cwd())


def test_the_packages_of_the_steps_are_imported_and_polars_is_not(bench: Bench) -> None:
    bench.write("helper.py", "import scipy.stats\nimport polars\n")
    bench.write("pipe.py", "    import helper\n" + HEAD.replace("{body}", "1"))
    bench.load()
    found = reached([sys.modules["pipe"].first])
    assert {"scipy.stats", "numpy"} <= set(found)
    assert not [name for name in found if name.partition(".")[0] in ("polars", "helper", "pipe", "plimsoll")]


def test_a_package_that_starts_threads_gets_fresh_interpreters(runner: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("busy.py", "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n")
    monkeypatch.setattr(warm, "reached", lambda functions: ("busy",))
    assert runner("os.getppid()").value() == os.getpid()


def test_without_fork_every_step_gets_a_fresh_interpreter(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert runner("os.getppid()").value() == os.getpid()


def test_what_changed_after_the_first_step_reaches_the_next(runner: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = runner("[os.environ.get('FLOW_NEW'), os.environ.get('FLOW_OLD'), os.getcwd()]")
    monkeypatch.setenv("FLOW_OLD", "there")
    assert made.value() == [None, "there", os.getcwd()]
    monkeypatch.setenv("FLOW_NEW", "there")
    monkeypatch.delenv("FLOW_OLD")
    monkeypatch.chdir(tmp_path)
    assert made.value() == ["there", None, str(tmp_path)]


def test_what_a_step_left_behind_is_killed_when_it_ends(runner: Any) -> None:
    child = runner("subprocess.Popen(['sleep', '600']).pid").value()
    _until(lambda: not _runs(child))


def test_a_step_whose_warm_process_is_killed_fails_and_the_next_one_runs(runner: Any, bench: Bench) -> None:
    mark = bench.project / "mark"
    made = runner(f"Path({str(mark)!r}).exists() or (Path({str(mark)!r}).write_text(f'{{os.getpid()}} {{os.getppid()}}'), time.sleep(600))")
    future = made.submit()
    _until(lambda: mark.exists() and " " in mark.read_text())
    child, parent = map(int, mark.read_text().split())
    os.kill(parent, signal.SIGKILL)
    # Nobody is left who would say that the child ended, but its answers end with it.
    os.kill(child, signal.SIGTERM)
    assert isinstance(future.exception(120), StepFailed)
    assert made.value() is True


def test_closing_while_packages_are_imported_does_not_wait_for_them(runner: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = bench.project / "importing"
    bench.write("slow.py", f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\ntime.sleep(600)\n")
    monkeypatch.setattr(warm, "reached", lambda functions: ("slow",))
    made = runner("1")
    future = made.submit()
    _until(mark.exists)
    made.processes.close()
    assert isinstance(future.exception(), StepFailed)


def test_a_fork_of_a_process_that_is_gone_is_no_failure() -> None:
    parent = Warm([], sys.path)
    try:
        child = parent.fork(environment(None))
        assert child is not None
        child.kill()
        assert child.wait() == -signal.SIGKILL
        assert parent._process is not None
        parent._process.kill()
        parent._process.wait()
        assert parent.fork(environment(None)) is None
        child.stdin.close()
        child.stdout.close()
    finally:
        parent.kill()


def test_steps_side_by_side_share_the_processors(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    bench.write("pipe.py", HEAD.replace("{body}", "1"))
    assert beside(trace(bench.load(), {})) == (1, 1)
    assert [share(number) for number in (1, 2, 3, 99)] == [None, 4, 2, 1]
    assert environment(4)["OMP_NUM_THREADS"] == environment(4)["POLARS_MAX_THREADS"] == "4"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert environment(4)["OMP_NUM_THREADS"] == "7"
    assert environment(None)["OMP_WAIT_POLICY"] == "passive"


def test_calls_at_the_same_depth_count_as_side_by_side(bench: Bench) -> None:
    bench.write(
        "pipe.py",
        """
        from plimsoll.pipelines.step import pipeline, step

        @step
        def part(number):
            return number

        @step
        def join(*parts):
            return sum(parts)

        @pipeline
        def flow():
            return join(*[part(number) for number in range(3)])
        """,
    )
    assert beside(trace(bench.load(), {})) == (3, 3, 3, 1)
    assert states(bench.run(executor="processes")) == {"part": "ran", "part#2": "ran", "part#3": "ran", "join": "ran"}


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _until(condition: Any, seconds: float = 120.0) -> None:
    deadline = clock.monotonic() + seconds
    while not condition():
        assert clock.monotonic() < deadline, "the condition did not come true in time"
        clock.sleep(0.01)
