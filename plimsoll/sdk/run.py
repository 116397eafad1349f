"""``plimsoll.run``: a pipeline's run, or a run around any code."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, overload

from plimsoll.data import values
from plimsoll.data.environment import code_version, put_environment
from plimsoll.data.project import PROJECT_FILE, chosen_profile, find_project, setting
from plimsoll.errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    Overloaded,
    PlimsollError,
    StorageFull,
    Unavailable,
    Unreachable,
)
from plimsoll.pipelines.executors.choice import chosen_executor
from plimsoll.pipelines.running import PipelineResult, execute
from plimsoll.pipelines.settled import ALL, Settled, declared, settle
from plimsoll.pipelines.step import is_pipeline
from plimsoll.pipelines.variations import execute_all
from plimsoll.records.pipeline import Output
from plimsoll.records.pipelines.part import ExecutorName, PartAsked
from plimsoll.records.request import Request
from plimsoll.records.run import FinishRun, LogArtifact, LogInput, PointColumns, Run, SetTags, StartRun
from plimsoll.records.tracking.experiment import DEFAULT_EXPERIMENT
from plimsoll.runs.logger import StepLogger, current
from plimsoll.sdk.door import Door, FolderDoor, connect
from plimsoll.sdk.journal import Journal
from plimsoll.sdk.live import live_view
from plimsoll.sdk.sender import Sender, replay

#: Seconds for which the end of a run is tried before it is left in the journal.
_PATIENCE = 10.0

#: Errors that are no fault of what is stored, and end with the outage or when the disk has room again.
_OUTAGES = (Unreachable, Overloaded, Unavailable, DeadlineExceeded, StorageFull, Internal)


@overload
def run(
    function: Callable[..., Any],
    /,
    *,
    door: Door | None = None,
    experiment: str = "",
    profile: str | None = None,
    executor: ExecutorName | None = None,
    until: str = "",
    from_: str = "",
    only: str = "",
    **params: Any,
) -> PipelineResult: ...


@overload
def run(*, door: Door | None = None, experiment: str = DEFAULT_EXPERIMENT, name: str = "", **params: Any) -> OpenRun: ...


def run(
    function: Callable[..., Any] | None = None,
    /,
    *,
    door: Door | None = None,
    experiment: str = "",
    name: str = "",
    profile: str | None = None,
    executor: ExecutorName | None = None,
    until: str = "",
    from_: str = "",
    only: str = "",
    **params: Any,
) -> PipelineResult | OpenRun:
    """Run a pipeline and return its result; without one, return a run to be used as ``with plimsoll.run(…) as run:``.

    A notebook shows the pipeline's graph while it runs.

    Args:
        function: a function decorated with ``@pipeline``, or None.
        door: the platform; None takes the one that the settings name.
        experiment: groups runs; empty takes the pipeline's name, or ``Default``.
        name: a name for people, for a run without a pipeline.
        profile: name of a profile of ``[tool.plimsoll]``, for a pipeline; None takes the one that ``PLIMSOLL_PROFILE`` names.
        executor: ``processes`` gives each step a process of its own; ``in_process`` helps a debugger, ``ray`` uses a cluster;
            None takes the setting ``executor``.
        until: a step of the pipeline; it and what it needs are run, and nothing after it.
        from_: a step; it and all that depends on it are computed anew, with what they need of the others.
        only: a step; it alone is computed anew, from results that are in the cache.
        params: parameters of the pipeline, or of the run.

    Raises:
        InvalidInput: the function is no pipeline, or does not take these parameters.
        NotFound: there is no such profile.
        StepFailed: a step failed; its traceback is in ``details``.
    """
    if function is None:
        return OpenRun(door, experiment or DEFAULT_EXPERIMENT, name, params)
    project, chosen = prepared(function, profile)
    settled = settle(function, params, project, profile=chosen)
    with opened_door(door, chosen) as opened, live_view(function, settled.params) as on_step:
        return execute(
            function,
            settled.params,
            do=opened.do,
            blobs=opened.blobs,
            project=project,
            experiment=experiment,
            tags=settled.tags,
            executor=chosen_executor(executor, project, chosen),
            part=PartAsked(until=until, from_=from_, only=only),
            on_step=on_step,
        )


def run_variations(
    function: Callable[..., Any],
    /,
    sets: Mapping[str, Mapping[str, Any]] | Sequence[str] | Literal["all"] = ALL,
    *,
    door: Door | None = None,
    experiment: str = "",
    profile: str | None = None,
    executor: ExecutorName | None = None,
    jobs: int | None = None,
    **params: Any,
) -> dict[str, PipelineResult]:
    """Run a pipeline once for each of several sets of parameters, at the same time, and return the results by the sets' names.

    Each is a run of its own with the tag ``variation``. What they share is computed once.

    Args:
        function: a function decorated with ``@pipeline``.
        sets: names of variations that ``[tool.plimsoll.variations]`` declares, ``"all"`` of them, or name -> parameters.
        door: the platform; None takes the one that the settings name.
        experiment: groups runs; empty takes the pipeline's name.
        profile: name of a profile of ``[tool.plimsoll]``; None takes the one that ``PLIMSOLL_PROFILE`` names.
        executor: as for ``run``; ``in_process`` runs one after another.
        jobs: runs at the same time; None takes the number of processors.
        params: parameters that all of them get.

    Raises:
        InvalidInput: the function is no pipeline, or does not take these parameters.
        NotFound: there is no such variation or profile.
        StepFailed: some failed; the others have ended well, and the next call does not compute them again.
    """
    project, chosen = prepared(function, profile)
    settled: dict[str, Settled]
    if isinstance(sets, Mapping):
        settled = {name: settle(function, {**params, **own}, project, profile=chosen) for name, own in sets.items()}
        settled = {name: Settled(params=one.params, tags={"variation": name, **one.tags}) for name, one in settled.items()}
    else:
        asked = [sets] if isinstance(sets, str) else list(sets)
        settled = {name: settle(function, params, project, variation=name, profile=chosen) for name in declared(function, project, asked)}
    with opened_door(door, chosen) as opened:
        return execute_all(
            function,
            settled,
            do=opened.do,
            blobs=opened.blobs,
            project=project,
            experiment=experiment,
            executor=chosen_executor(executor, project, chosen),
            jobs=jobs,
        )


def prepared(function: Callable[..., Any], profile: str | None) -> tuple[Path, str]:
    """Return a pipeline's project and the name of the chosen profile.

    Args:
        function: must be a pipeline.
        profile: what was asked for; None takes the one that ``PLIMSOLL_PROFILE`` names.

    Raises:
        InvalidInput: it is no pipeline.
    """
    if not is_pipeline(function):
        raise InvalidInput(f"{function!r} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    project = _project_of(function)
    return project, chosen_profile(profile, project if (project / PROJECT_FILE).is_file() else None)[0]


@contextlib.contextmanager
def opened_door(door: Door | None, profile: str | None = None) -> Iterator[Door]:
    """Give an open door, or open the one that the settings name and close it again.

    Args:
        door: an open one, or None.
        profile: whose settings count.
    """
    if door is not None:
        yield door
        return
    opened = connect(profile=profile)
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
    """A run around any code. A moment later its points are in a journal beside it, and about a second later on the platform.

    Logging waits for neither. ``kill -9`` loses at most what was logged in its last 50 ms; what :meth:`flush` returned for, nothing
    loses. The block's end sends the rest.

    It begins only while the platform answers. From then on an outage is a warning: points, tags and artifacts stay in the
    journal, and what is there at the end is sent by the next run of the same project. What cannot be kept (an artifact's bytes
    in an outage, anything on a full disk) is counted, and the block's end says how much that was.

    Args:
        door: the platform; None takes the one that the settings name.
        experiment: groups runs.
        name: a name for people.
        params: parameters by name.
    """

    def __init__(self, door: Door | None, experiment: str, name: str, params: Mapping[str, Any]) -> None:
        self._given = door
        self._door = door
        self._asked = (experiment, name, dict(params))
        self._sender: Sender | None = None
        self._logger: StepLogger | None = None
        self._run: Run | None = None
        self._reset: Any = None
        #: What could not be kept -> how many.
        self._lost: Counter[str] = Counter()

    def __enter__(self) -> OpenRun:
        project = _here()
        self._lost.clear()
        self._door = door = self._given or connect()
        try:
            folder = _journals(door)
            replay(folder, door.address, door.do, _warn)
            self._run = self._begin(door, project)
            journal = Journal(folder / f"{self._run.id}.journal")
            journal.begin(self._run.id, door.address)
            self._sender = Sender(journal, door.do, _warn, lambda count, error: self._lose("points", count, error))
        except BaseException:
            if self._given is None:
                door.close()
            raise
        self._logger = StepLogger(self._run.id, self._send, lambda value: self._keep(value, project))
        self._reset = current.set(self._logger)
        return self

    def _begin(self, door: Door, project: Path) -> Run:
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
        end = FinishRun(id=self.id)
        if error is not None:
            end = FinishRun(id=self.id, state="failed", error="".join(traceback.format_exception(kind, error, trace)))
        try:
            if self._sender is not None:
                self._run = self._sender.finish(end, _PATIENCE)
        except PlimsollError as refused:
            # Training is done and must not fail for this; the next run of the project sends it.
            _warn(f"{refused} What the run logged last is kept in {_journals(door)}.")
        finally:
            if self._lost:
                lost = ", ".join(f"{count} {what}" for what, count in sorted(self._lost.items()))
                _warn(f"The run {self.id} is recorded without what could not be kept: {lost}.")
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

    def flush(self) -> None:
        """Return once everything logged before is on this machine's disk; it reaches the platform whatever happens to this process.

        Raises:
            StorageFull: the disk has no room; what it did not take waits in memory.
        """
        self._active()
        if self._sender is not None:
            self._sender.flush()

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

    def _opened(self) -> Door:
        if self._door is None:
            raise InvalidInput("The run has not begun.", "Use it as: with plimsoll.run(...) as run:")
        return self._door

    def _send(self, what: PointColumns | Request[Any]) -> None:
        sender = self._sender
        if sender is None:
            raise InvalidInput("The run has not begun.", "Use it as: with plimsoll.run(...) as run:")
        try:
            if isinstance(what, PointColumns):
                sender.append(what)
            elif isinstance(what, SetTags | LogArtifact | LogInput):
                sender.do(what)
            else:
                raise InvalidInput(f"A run does not take {type(what).__name__}.")
        except StorageFull as full:
            self._lose({SetTags: "tags", LogArtifact: "artifacts"}.get(type(what), "inputs"), 1, full)

    def _keep(self, value: Any, project: Path) -> Output | None:
        try:
            return values.save(value, self._opened().blobs, project)
        except _OUTAGES as error:
            self._lose("artifacts", 1, error)
            return None

    def _lose(self, kind: str, count: int, error: PlimsollError) -> None:
        if kind not in self._lost:
            _warn(f"{error} The run goes on; {kind} that cannot be kept are counted.")
        self._lost[kind] += count


def _journals(door: Door) -> Path:
    """Return where journals lie: in the home, or for a server elsewhere beside the project, or in the user's state folder."""
    if isinstance(door, FolderDoor):
        return door.workspace.home / "journal"
    try:
        return Path(str(setting("home", None, find_project(Path.cwd()))[0])) / "journal"
    except NotFound:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "plimsoll" / "journal"


def _warn(line: str) -> None:
    print(f"plimsoll: {line}", file=sys.stderr, flush=True)


def _here() -> Path:
    try:
        return find_project(Path.cwd())
    except NotFound:
        return Path.cwd()
