"""``plimsoll.run``: a pipeline's run, or a run around any code."""

from __future__ import annotations

import contextlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, overload

from plimsoll import clock
from plimsoll.data import values
from plimsoll.data.environment import code_version, put_environment
from plimsoll.data.project import find_project
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.pipelines.step import is_pipeline
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, FinishRun, PointColumns, Run, StartRun
from plimsoll.runs.logger import StepLogger, current
from plimsoll.sdk.door import FolderDoor, HttpDoor, connect


@overload
def run(
    function: Callable[..., Any],
    /,
    *,
    door: FolderDoor | HttpDoor | None = None,
    experiment: str = "",
    executor: Literal["processes", "in_process"] = "processes",
    **params: Any,
) -> PipelineResult: ...


@overload
def run(*, door: FolderDoor | HttpDoor | None = None, experiment: str = "default", name: str = "", **params: Any) -> OpenRun: ...


def run(
    function: Callable[..., Any] | None = None,
    /,
    *,
    door: FolderDoor | HttpDoor | None = None,
    experiment: str = "",
    name: str = "",
    executor: Literal["processes", "in_process"] = "processes",
    **params: Any,
) -> PipelineResult | OpenRun:
    """Run a pipeline and return its result; without one, return a run to be used as ``with plimsoll.run(…) as run:``.

    Args:
        function: a function decorated with ``@pipeline``, or None.
        door: the platform; None takes the one that the settings name.
        experiment: groups runs; empty takes the pipeline's name, or ``default``.
        name: a name for people, for a run without a pipeline.
        executor: ``processes`` gives each step a process of its own; ``in_process`` helps a debugger.
        params: parameters of the pipeline, or of the run.

    Raises:
        InvalidInput: the function is no pipeline, or does not take these parameters.
        StepFailed: a step failed; its traceback is in ``details``.
    """
    if function is None:
        return OpenRun(door, experiment or "default", name, params)
    if not is_pipeline(function):
        raise InvalidInput(f"{function!r} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    with _opened(door) as opened:
        return execute(
            function,
            params,
            do=opened.do,
            blobs=opened.blobs,
            project=_project_of(function),
            experiment=experiment,
            executor=executor,
        )


@contextlib.contextmanager
def _opened(door: FolderDoor | HttpDoor | None) -> Iterator[FolderDoor | HttpDoor]:
    if door is not None:
        yield door
        return
    opened = connect()
    try:
        yield opened
    finally:
        opened.close()


def _project_of(function: Callable[..., Any]) -> Path:
    source = inspect.getsourcefile(inspect.unwrap(function))
    try:
        return find_project(Path(source).parent if source and Path(source).exists() else Path.cwd())
    except NotFound:
        return Path.cwd()


class OpenRun:
    """A run around any code; its points are sent when the block logs them, and it ends with the block.

    Args:
        door: the platform; None takes the one that the settings name.
        experiment: groups runs.
        name: a name for people.
        params: parameters by name.
    """

    def __init__(self, door: FolderDoor | HttpDoor | None, experiment: str, name: str, params: Mapping[str, Any]) -> None:
        self._given = door
        self._door = door
        self._asked = (experiment, name, dict(params))
        self._writer = ""
        self._sequence = 0
        self._logger: StepLogger | None = None
        self._run: Run | None = None
        self._reset: Any = None

    def __enter__(self) -> OpenRun:
        project = _here()
        self._door = door = self._given or connect()
        self._writer, self._sequence = clock.new_id(), 0
        try:
            self._run = self._begin(door, project)
        except BaseException:
            if self._given is None:
                door.close()
            raise
        self._logger = StepLogger(self._run.id, self._send, lambda value: self._keep(value, project))
        self._reset = current.set(self._logger)
        return self

    def _begin(self, door: FolderDoor | HttpDoor, project: Path) -> Run:
        experiment, name, params = self._asked
        return door.do(
            StartRun(
                experiment=experiment,
                name=name,
                params=params,
                code=code_version(project, door.blobs, Path(sys.argv[0]).name or "interactive"),
                environment=put_environment(door.blobs),
            )
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        current.reset(self._reset)
        door = self._opened()
        try:
            if error is None:
                self._run = door.do(FinishRun(id=self.id))
            else:
                text = "".join(traceback.format_exception(kind, error, trace))
                self._run = door.do(FinishRun(id=self.id, state="failed", error=text))
        finally:
            if self._given is None:
                door.close()

    @property
    def id(self) -> str:
        """The run's id."""
        if self._run is None:
            raise InvalidInput("The run has not begun.", "Use it as: with plimsoll.run(...) as run:")
        return self._run.id

    @property
    def record(self) -> Run:
        """The run as the platform knows it; once the block has ended, with its end."""
        if self._run is None:
            raise InvalidInput("The run has not begun.", "Use it as: with plimsoll.run(...) as run:")
        return self._run

    def log(self, values: Mapping[str, float] | None = None, /, *, step: int | None = None, **more: float) -> None:
        """Log metric points. Without ``step`` each metric counts on from its last one, beginning at 0.

        Args:
            values: metric -> value.
            step: position on the metric's axis.
            more: the same as ``values``, as keywords.
        """
        self._active().log(values, step=step, **more)

    def tag(self, **tags: str) -> None:
        """Add or replace tags.

        Args:
            tags: tags by name.
        """
        self._active().tag(**tags)

    def log_artifact(self, name: str, value: Any) -> None:
        """Keep a value, or the file or folder of a path, under a name.

        Args:
            name: name within the run.
            value: what a step could return, or a path.
        """
        self._active().log_artifact(name, value)

    def _active(self) -> StepLogger:
        if self._logger is None:
            raise InvalidInput("The run has not begun.", "Use it as: with plimsoll.run(...) as run:")
        return self._logger

    def _opened(self) -> FolderDoor | HttpDoor:
        if self._door is None:
            raise InvalidInput("The run has not begun.", "Use it as: with plimsoll.run(...) as run:")
        return self._door

    def _send(self, what: PointColumns | Request[Any]) -> None:
        if isinstance(what, PointColumns):
            self._sequence += 1
            self._opened().do(AppendPoints(run_id=self.id, writer=self._writer, sequence=self._sequence, points=what))
        else:
            self._opened().do(what)

    def _keep(self, value: Any, project: Path) -> Output:
        return values.save(value, self._opened().blobs, project)


def _here() -> Path:
    try:
        return find_project(Path.cwd())
    except NotFound:
        return Path.cwd()
