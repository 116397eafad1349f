"""What every :class:`~plimsoll.pipelines.executors.call.Executor` must do."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import polars as pl
import pytest

from plimsoll import clock
from plimsoll.data.project import load_object
from plimsoll.data.snapshot import get_manifest, outputs_in
from plimsoll.data.values import load
from plimsoll.errors import Corrupt, StepFailed
from plimsoll.pipelines.executors.call import Call, Executor, Ran, Unsuitable
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.keys import code_parts, digest_parts
from plimsoll.pipelines.plan import Node, trace
from plimsoll.pipelines.step import pipeline, step
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Request
from plimsoll.records.run import LogArtifact, PointColumns, SetTags
from plimsoll.store.blobs import LocalBlobs

#: Seconds that one call may take on a busy machine.
_PATIENCE = 120.0

_HEAD = """
    import os, signal, subprocess, sys, time
    from pathlib import Path
    from typing import Any, NamedTuple
    import numpy as np
    import polars as pl
    from plimsoll.pipelines.step import step
    from plimsoll.runs.logger import current_run

    class Pair(NamedTuple):
        one: Any
        two: Any

"""


class Caller:
    """Makes calls of the steps of a project that is written for one test.

    Args:
        project: its folder.
        blobs: where outputs are.
    """

    def __init__(self, project: Path, blobs: LocalBlobs) -> None:
        self.project = project
        self.blobs = blobs
        #: What the calls have logged, in the order in which it was heard.
        self.heard: list[PointColumns | Request[Any]] = []

    def write(self, body: str, options: str = "", returns: str = "Any") -> None:
        """Write the project's module, whose step ``work`` has this body and the parameters ``given`` and ``more``.

        Args:
            body: lines of Python.
            options: of the decorator.
            returns: its annotation; ``Pair`` has the outputs ``one`` and ``two``.
        """
        lines = "\n".join(f"        {line}" for line in body.splitlines())
        source = f"{_HEAD}    @step({options})\n    def work(given=None, more=None) -> {returns}:\n{lines}\n"
        (self.project / "steps_of_a_test.py").write_text(dedent(source))

    def nodes(self, calls: Callable[[Any], Any] = lambda work: work()) -> tuple[Node, ...]:
        """Return the nodes of a pipeline's body.

        Args:
            calls: the body; it is given the step ``work``.
        """
        sys.modules.pop("steps_of_a_test", None)
        work = load_object(self.project, "steps_of_a_test.py:work")

        def body() -> Any:
            return calls(work)

        return trace(pipeline(body), {}).nodes

    def call(self, node: Node, inputs: dict[int, Output] | None = None) -> Call:
        """Return a call of a node, with the digest of its code as it is now.

        Args:
            node: what to call.
            inputs: position -> output of the nodes that it takes.
        """
        code = digest_parts(code_parts(node.step.function))
        return Call(node=node, inputs=inputs or {}, code=code, seed=7, run_id="r", heard=self.heard.append)

    def inputs(self, nodes: tuple[Node, ...]) -> dict[int, Output]:
        """Return what the first two nodes give, computed here, as inputs of the third.

        Args:
            nodes: of a pipeline whose third call takes what the first two give.
        """
        here = InProcess(self.blobs, self.project)
        return {index: here.submit(self.call(nodes[index])).result().output for index in (0, 1)}

    def value(self, ran: Ran) -> Any:
        """Return the value that a call gave.

        Args:
            ran: what it gave.
        """
        return load(ran.output, self.blobs, trusted=True)


class ExecutorSuite:
    """Derive from it and override :meth:`executor`; set ``separate`` when calls run in the calling process."""

    #: Whether each call has a process of its own: then limits are kept, and a process that dies is a failed step.
    separate = True

    @pytest.fixture
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Return the folder of an empty project that steps are imported from.

        Args:
            tmp_path: of the test.
            monkeypatch: of the test.
        """
        folder = tmp_path / "project"
        folder.mkdir()
        (folder / "pyproject.toml").write_text('[project]\nname = "suite"\n')
        # Byte code is trusted by whole seconds and size, which a test's quick edits do not change.
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        monkeypatch.setattr(sys, "path", list(sys.path))
        yield folder
        sys.modules.pop("steps_of_a_test", None)

    @pytest.fixture
    def blobs(self, tmp_path: Path) -> LocalBlobs:
        """Return an empty store.

        Args:
            tmp_path: of the test.
        """
        return LocalBlobs(tmp_path / "blobs")

    @pytest.fixture
    def executor(self, blobs: LocalBlobs, project: Path) -> Iterator[Executor]:
        """Return the executor, and close it afterwards.

        Args:
            blobs: what it stores outputs in.
            project: what it imports steps from.
        """
        raise NotImplementedError("Override the fixture 'executor'.")

    @pytest.fixture
    def caller(self, project: Path, blobs: LocalBlobs) -> Caller:
        """Return what makes calls.

        Args:
            project: what steps are imported from.
            blobs: where outputs are.
        """
        return Caller(project, blobs)

    @pytest.mark.parametrize(
        "value",
        [
            {"a": [1, 2.5, "x", None, (True, b"raw")], 3: {4, 5}, None: float("inf")},
            np.arange(6, dtype=np.int16).reshape(2, 3),
            pl.DataFrame({"a": [1, None], "b": ["x", "y"]}),
        ],
        ids=["plain values", "array", "frame"],
    )
    def test_a_value_goes_to_a_step_and_comes_back_the_same(self, executor: Executor, caller: Caller, value: Any) -> None:
        caller.write("return given")
        (node,) = caller.nodes(lambda work: work(value))
        ran = executor.submit(caller.call(node)).result(_PATIENCE)
        assert _same(caller.value(ran), value)

    def test_arguments_of_every_kind_reach_the_step(self, executor: Executor, caller: Caller, tmp_path: Path) -> None:
        (tmp_path / "file.txt").write_text("content")
        caller.write(
            "if more is None:\n"
            "    return given\n"
            "one, (two, frame), rest = given\n"
            "return [one, two, frame.height, rest['array'].sum().item(), rest['path'].read_text(), more]"
        )
        frame, array = pl.DataFrame({"a": [1, 2, 3]}), np.array([4, 5])
        nodes = caller.nodes(
            lambda work: work([work(1), (work(two := {2}), frame), {"array": array, "path": tmp_path / "file.txt"}], more=two)
        )
        ran = executor.submit(caller.call(nodes[2], caller.inputs(nodes))).result(_PATIENCE)
        assert caller.value(ran) == [1, {2}, 3, 9, "content", {2}]

    def test_several_outputs_are_stored_by_themselves(self, executor: Executor, caller: Caller) -> None:
        caller.write("return Pair(np.arange(given), pl.DataFrame({'a': [given]}))", returns="Pair")
        (node,) = caller.nodes(lambda work: work(3))
        ran = executor.submit(caller.call(node)).result(_PATIENCE)
        parts = outputs_in(get_manifest(caller.blobs, ran.output.digest))
        assert load(parts["one"], caller.blobs).tolist() == [0, 1, 2]
        assert load(parts["two"], caller.blobs).to_dicts() == [{"a": 3}]

    def test_a_file_that_a_step_returns_comes_back_as_a_file(self, executor: Executor, caller: Caller) -> None:
        caller.write("import tempfile\nmade = Path(tempfile.mkdtemp(), 'made.txt')\nmade.write_text('new')\nreturn made")
        (node,) = caller.nodes()
        assert caller.value(executor.submit(caller.call(node)).result(_PATIENCE)).read_text() == "new"

    def test_the_output_is_that_of_a_call_in_the_calling_process_with_all_that_it_draws(self, executor: Executor, caller: Caller) -> None:
        caller.write(
            "import random\n"
            "drawn = [random.random(), float(np.random.random()), float(np.random.default_rng(given).normal(size=99).sum())]\n"
            "return {'frame': pl.DataFrame({'a': [0.1, 0.2]}), 'drawn': drawn}"
        )
        (node,) = caller.nodes(lambda work: work(3))
        here = InProcess(caller.blobs, caller.project).submit(caller.call(node)).result()
        assert [executor.submit(caller.call(node)).result(_PATIENCE) for _ in range(2)] == [here, here]

    def test_a_step_that_changes_its_argument_does_not_change_it_for_others(self, executor: Executor, caller: Caller) -> None:
        caller.write("given.append(4)\nreturn given")
        first, second = caller.nodes(lambda work: [work(given := [1]), work(given)])
        for node in (first, first, second):
            assert caller.value(executor.submit(caller.call(node)).result(_PATIENCE)) == [1, 4]

    def test_what_a_step_logs_is_heard_in_order_and_its_artifacts_are_stored(self, executor: Executor, caller: Caller) -> None:
        caller.write(
            "for number in range(50):\n"
            "    current_run().log(loss=number)\n"
            "current_run().set_tags(kind='x')\n"
            "current_run().log_artifact('seen', {'a': 1})\n"
            "return given"
        )
        (node,) = caller.nodes()
        assert caller.value(executor.submit(caller.call(node)).result(_PATIENCE)) is None
        points = [item for item in caller.heard if isinstance(item, PointColumns)]
        assert [value for item in points for value in item.values] == [float(number) for number in range(50)]
        tags, artifact = caller.heard[-2:]
        assert isinstance(tags, SetTags)
        assert isinstance(artifact, LogArtifact)
        assert caller.blobs.has(artifact.digest)

    def test_a_failure_carries_the_users_traceback_and_nothing_of_ours_and_the_next_call_runs(
        self, executor: Executor, caller: Caller
    ) -> None:
        caller.write("def inner():\n    raise KeyError('what was missing')\nif given:\n    inner()\nreturn 1")
        bad, good = caller.nodes(lambda work: [work(1), work(0)])
        error = executor.submit(caller.call(bad)).exception(_PATIENCE)
        assert isinstance(error, StepFailed)
        assert "KeyError" in error.fact
        text = error.details["traceback"]
        assert "what was missing" in text
        assert "steps_of_a_test.py" in text
        assert "executors" not in text
        assert caller.value(executor.submit(caller.call(good)).result(_PATIENCE)) == 1

    def test_leaving_the_interpreter_is_a_failure_and_not_a_result(self, executor: Executor, caller: Caller) -> None:
        caller.write("sys.exit(0)")
        (node,) = caller.nodes()
        error = executor.submit(caller.call(node)).exception(_PATIENCE)
        assert isinstance(error, StepFailed)
        assert "SystemExit" in error.fact

    def test_what_cannot_be_stored_is_a_failure_that_names_the_step(self, executor: Executor, caller: Caller) -> None:
        caller.write("return object()")
        (node,) = caller.nodes()
        error = executor.submit(caller.call(node)).exception(_PATIENCE)
        assert isinstance(error, StepFailed)
        assert "What work returned cannot be stored" in error.fact

    @pytest.mark.parametrize("how", ["damaged", "gone"])
    def test_an_input_that_cannot_be_read_is_named_by_its_position(self, executor: Executor, caller: Caller, how: str) -> None:
        caller.write("return given * 2")
        nodes = caller.nodes(lambda work: work([work(1), work(np.arange(9))]))
        inputs = caller.inputs(nodes)
        digest = get_manifest(caller.blobs, inputs[1].digest).files[0].digest
        path = caller.blobs.folder / digest[:2] / digest
        path.unlink()
        if how == "damaged":
            path.write_bytes(b"other bytes")
        error = executor.submit(caller.call(nodes[2], inputs)).exception(_PATIENCE)
        assert isinstance(error, Corrupt)
        assert error.details["input"] == 1

    def test_what_a_step_reads_by_itself_is_found(self, executor: Executor, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORD_OF_A_TEST", "there")
        monkeypatch.chdir(caller.project)
        (caller.project / "data.txt").write_text("content")
        caller.write("return Path('data.txt').read_text() + os.environ['WORD_OF_A_TEST']")
        (node,) = caller.nodes()
        ran = executor.submit(caller.call(node)).result(_PATIENCE)
        assert caller.value(ran) == "contentthere"
        assert {("file", "data.txt"), ("variable", "WORD_OF_A_TEST")} <= {(part.kind, part.name) for part in ran.trace}
        assert ran.effects == ()

    def test_what_need_not_repeat_alike_is_told(self, executor: Executor, caller: Caller) -> None:
        caller.write("return subprocess.run(['true']).returncode")
        (node,) = caller.nodes()
        assert len(executor.submit(caller.call(node)).result(_PATIENCE).effects) == 1

    def test_many_calls_at_once_all_end_with_their_own_result(self, executor: Executor, caller: Caller) -> None:
        caller.write("print('garbles nothing')\nos.write(1, b'raw')\nreturn given * 2")
        nodes = caller.nodes(lambda work: [work(number) for number in range(4)])
        futures = [executor.submit(caller.call(node)) for node in nodes]
        assert [caller.value(future.result(_PATIENCE)) for future in futures] == [0, 2, 4, 6]

    @pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)"])
    def test_a_process_that_dies_is_a_failed_step_that_says_how(self, executor: Executor, caller: Caller, how: str) -> None:
        self._needs_a_process()
        caller.write(how)
        (node,) = caller.nodes()
        error = executor.submit(caller.call(node)).exception(_PATIENCE)
        assert isinstance(error, StepFailed)
        assert "SIGKILL" in error.fact if "SIGKILL" in how else "exit code 3" in error.fact

    def test_a_step_past_its_timeout_is_killed_with_its_children(self, executor: Executor, caller: Caller, tmp_path: Path) -> None:
        self._needs_a_process()
        mark = tmp_path / "child"
        body = "child = subprocess.Popen(['sleep', '600'])\nPath(given).write_text(f'{os.getpid()} {child.pid} .')\ntime.sleep(600)"
        for seconds in (3, 12, 60):
            caller.write(body, f"timeout={seconds}")
            (node,) = caller.nodes(lambda work: work(str(mark)))
            error = executor.submit(caller.call(node)).exception(_PATIENCE)
            assert isinstance(error, StepFailed)
            assert f"timeout of {seconds} s" in error.fact
            if mark.exists() and mark.read_text().endswith("."):
                break  # else the process was stopped before it came to the step, as on a busy machine
        for process in mark.read_text().split()[:2]:
            _gone(int(process))

    @pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
    def test_a_step_past_its_memory_is_stopped(self, executor: Executor, caller: Caller) -> None:
        self._needs_a_process()
        caller.write("held = b'x' * 900_000_000\ntime.sleep(600)", "memory='700MB'")
        (node,) = caller.nodes()
        error = executor.submit(caller.call(node)).exception(_PATIENCE)
        assert isinstance(error, StepFailed)
        assert "more than the 700 MB" in error.fact

    def test_a_function_that_no_other_process_can_import_is_unsuitable(self, executor: Executor, caller: Caller) -> None:
        self._needs_a_process()

        @step
        def inner() -> int:
            return 1

        (node,) = trace(pipeline(_calling(inner)), {}).nodes
        assert isinstance(executor.submit(caller.call(node)).exception(_PATIENCE), Unsuitable)

    def test_an_argument_that_cannot_be_sent_is_unsuitable(self, executor: Executor, caller: Caller) -> None:
        self._needs_a_process()
        caller.write("return given")
        (node,) = caller.nodes(lambda work: work(threading.Event))
        error = executor.submit(caller.call(node)).exception(_PATIENCE)
        assert isinstance(error, Unsuitable)
        assert "argument" in error.fact

    def test_code_that_changed_on_disk_since_the_key_was_made_is_not_run(self, executor: Executor, caller: Caller) -> None:
        self._needs_a_process()
        caller.write("return 'old'")
        (node,) = caller.nodes()
        call = caller.call(node)
        caller.write("return 'new'")
        error = executor.submit(call).exception(_PATIENCE)
        assert isinstance(error, Unsuitable)
        assert "differs from the code that the run began with" in error.fact

    def test_closing_kills_what_still_runs_and_its_children(self, executor: Executor, caller: Caller, tmp_path: Path) -> None:
        self._needs_a_process()
        mark = tmp_path / "child"
        caller.write("child = subprocess.Popen(['sleep', '600'])\nPath(given).write_text(f'{os.getpid()} {child.pid} .')\ntime.sleep(600)")
        (node,) = caller.nodes(lambda work: work(str(mark)))
        future = executor.submit(caller.call(node))
        _until(lambda: mark.exists() and mark.read_text().endswith("."))
        closing = threading.Thread(target=executor.close)
        closing.start()
        closing.join(_PATIENCE)
        assert not closing.is_alive()
        assert isinstance(future.exception(_PATIENCE), StepFailed)
        for process in mark.read_text().split()[:2]:
            _gone(int(process))

    def _needs_a_process(self) -> None:
        if not self.separate:
            pytest.skip("calls run in the calling process")


def _calling(function: Callable[[], Any]) -> Callable[[], Any]:
    def body() -> Any:
        return function()

    return body


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, pl.DataFrame):
        return isinstance(one, pl.DataFrame) and one.equals(other) and one.schema == other.schema
    if isinstance(other, np.ndarray):
        return isinstance(one, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other) and type(one) is type(other)


def _until(condition: Callable[[], bool]) -> None:
    deadline = clock.monotonic() + _PATIENCE
    while not condition():
        assert clock.monotonic() < deadline, "the condition did not come true in time"
        clock.sleep(0.02)


def _gone(process: int) -> None:
    def ended() -> bool:
        try:
            os.kill(process, 0)
            # Nobody may be left to collect it: a zombie has ended too.
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (ProcessLookupError, FileNotFoundError):
            return True

    _until(ended)
