"""A pipeline's run from its start to its end: the one way that a notebook, the command line and the worker share."""

from __future__ import annotations

import inspect
import numbers
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from plimsoll import codec
from plimsoll.data import values
from plimsoll.data.environment import code_version, put_environment
from plimsoll.data.project import load_object
from plimsoll.data.snapshot import get_manifest
from plimsoll.data.surroundings import machine
from plimsoll.errors import Corrupt, InvalidInput, NotFound, PlimsollError, StepFailed
from plimsoll.pipelines.engine import Means, StepEvent, run_plan
from plimsoll.pipelines.executors.call import Executor, load_input
from plimsoll.pipelines.executors.choice import Chosen, chosen_executor, open_executor
from plimsoll.pipelines.executors.hosted import Hosted, hosting
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.loop.late import LateBlobs, late_of
from plimsoll.pipelines.loop.lookup import Lately, LookUp
from plimsoll.pipelines.loop.outcome import Outcome, granted
from plimsoll.pipelines.loop.partial import Part, check_cached, part_of
from plimsoll.pipelines.loop.shown import table
from plimsoll.pipelines.plan import Plan, references, resolve, trace
from plimsoll.pipelines.settled import settle, typed_params
from plimsoll.pipelines.step import is_pipeline
from plimsoll.records.data import RegisterSnapshot
from plimsoll.records.model import CreateVersion, PackageMeta
from plimsoll.records.pipeline import ListSteps, Output, RecordSteps, RunPipeline, StepRecord, StepState
from plimsoll.records.pipelines.part import NO_PART, ExecutorName, PartAsked
from plimsoll.records.run import Artifact, Cause, CodeVersion, FinishRun, GetRun, LogInput, PointColumns, Run, StartRun
from plimsoll.records.tracking.machine import Machine
from plimsoll.runs.logger import plain_param, points
from plimsoll.runs.pulse import pulse
from plimsoll.store.contracts import Blobs, Do, JobContext

#: Bytes above which a pipeline's result is not read for metrics.
_SMALL = 1 << 20

#: How often a run looks again after a result that its metrics come from was found damaged.
_LOOKS = 3

_PACKAGE_FILE = "package.json"

#: Tags of a run that has none.
NO_TAGS: Mapping[str, str] = MappingProxyType({})


class RunStopped(BaseException):
    """Ends a run on purpose before it is done, which is no failure. A step's own ``except Exception`` does not catch it.

    Args:
        reason: one line, for the run's record.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a run comes from; the same for all runs that one process begins at once."""

    #: Which code runs.
    code: CodeVersion
    #: Digest of the environment's blob.
    environment: str
    #: The machine that begins it.
    machine: Machine
    #: What the first of them have seen; None when each looks for itself.
    lately: Lately | None = None
    #: What the pipeline and its steps take, as far as the first of them have found out; None when each finds out anew.
    signatures: dict[Callable[..., Any], inspect.Signature] | None = None
    #: Gives what lets MLflow's clients in; None opens it for each of them.
    hosted: AbstractContextManager[Hosted | None] | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step of a run."""

    #: Short name, with ``#2`` and so on from the second call.
    label: str
    #: What the run recorded.
    record: StepRecord
    #: Where its output is.
    blobs: Blobs
    #: Folder of the project, whose own code may run.
    project: Path
    #: Code that its output packs may run: this run has made it, or it was granted when the run ended.
    trusted: bool
    #: Of a step that was called for each item of a list: the calls, in the order of the items.
    items: tuple[StepResult, ...] | None = None

    @property
    def state(self) -> StepState:
        """``hit``, ``ran``, ``failed`` or ``skipped``."""
        return self.record.state

    def __repr__(self) -> str:
        return f"<step {self.label}: {self.state}{self.why and f', {self.why}'}>"

    @property
    def why(self) -> str:
        """Why it ran or has no result, in one line; empty for a hit."""
        return self.record.why

    def load(self) -> Any:
        """Return what the step gave; several outputs come as a named tuple, those of each item of a list as a list.

        Raises:
            NotFound: it has no result.
            Corrupt: its bytes are damaged; the next run computes them again.
            Untrusted: it is a model whose code is not the project's own any more, and nobody has granted that it may run.
        """
        if self.items is not None and self.record.state in ("hit", "ran"):
            return [item.load() for item in self.items]
        if self.record.output is None:
            raise NotFound(f"The step {self.label} has no result: it {self.state}.", "Read its 'why', correct the cause and run again.")
        return values.load(self.record.output, self.blobs, trusted=self.trusted, project=self.project)


class PipelineResult:
    """A run that has ended, and what its steps gave.

    Args:
        run: the run.
        plan: what was run.
        records: one a step, in the order of the plan, and behind them those of the calls for the items of lists.
        blobs: where outputs are.
        project: folder of the project.
        trusted: positions of the steps whose packed code may run.
        metrics: the numbers in what the pipeline returned, by name.
    """

    def __init__(
        self,
        run: Run,
        plan: Plan,
        records: tuple[StepRecord, ...],
        blobs: Blobs,
        project: Path,
        trusted: Container[int],
        metrics: Mapping[str, float],
    ) -> None:
        self.run, self.metrics = run, dict(metrics)
        self._plan = plan
        items: dict[str, list[StepResult]] = {node.name: [] for node in plan.nodes if node.each}
        labels = {node.name: node.label for node in plan.nodes}
        found: dict[int, StepResult] = {}
        for record in sorted(records, key=lambda record: -record.index):
            name, bracket, number = record.name.rpartition("[")
            item = bool(bracket) and record.index >= len(plan.nodes)
            label = f"{labels[name]}[{number}" if item else labels[record.name]
            inner = tuple(reversed(items[record.name])) if record.name in items else None
            found[record.index] = StepResult(label, record, blobs, project, record.index in trusted, inner)
            if item:
                items[name].append(found[record.index])
        self.steps = tuple(found[record.index] for record in records)

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def value(self) -> Any:
        """What the pipeline returned, with every handle replaced by its step's result.

        Raises:
            NotFound: a step of it has no result.
            Corrupt: stored bytes are damaged.
        """
        return resolve(self._plan.result, lambda index: self.steps[index].load())

    def __getitem__(self, name: str) -> StepResult:
        """Return a step by its short name (``features``, ``features#2``, ``features[3]`` for an item of a list)."""
        for step in self.steps:
            if name in (step.label, step.record.name):
                return step
        raise NotFound(f"The run {self.id} has no step {name!r}.", f"It has: {', '.join(step.label for step in self.steps) or 'none'}.")

    def __repr__(self) -> str:
        states = [step.state for step in self.steps]
        counts = ", ".join(f"{states.count(state)} {state}" for state in ("hit", "ran", "failed", "skipped") if state in states)
        return f"<run {self.id} of {self._plan.name}: {self.run.state}, {counts or 'no steps'}>"

    def _repr_html_(self) -> str:
        steps = ((step.label, step.state, (step.record.ended - step.record.started) / 1e6, step.why) for step in self.steps)
        return table(f"{self._plan.name} {self.id}", self.run.state, steps, self.metrics)


def execute(
    function: Callable[..., Any],
    params: Mapping[str, Any],
    *,
    do: Do,
    blobs: Blobs,
    project: Path,
    experiment: str = "",
    tags: Mapping[str, str] = NO_TAGS,
    cause: Cause = Cause(),
    key: str | None = None,
    executor: ExecutorName | Chosen | Executor = "processes",
    in_process: InProcess | None = None,
    origin: Origin | None = None,
    begin: Callable[[StartRun], Run] | None = None,
    versions: bool = True,
    part: PartAsked = NO_PART,
    on_step: Callable[[StepEvent], None] | None = None,
    heard: Callable[[PointColumns], None] | None = None,
) -> PipelineResult:
    """Run a pipeline and return what its steps gave.

    What can be refused is refused before a run exists. Numbers in the result become metrics, outputs artifacts, models versions; declared
    snapshots are registered. A run that fails ends as failed, an interrupted one as stopped. A ``key`` of an ended run gives that run.

    Args:
        function: decorated with ``@pipeline``.
        params: parameters by name; the others take their defaults.
        do: the door.
        blobs: where outputs go.
        project: folder of the project, from which steps are imported.
        experiment: the run's experiment; empty takes the pipeline's name.
        tags: of the run, by name.
        cause: why it runs.
        key: makes the run idempotent.
        executor: ``processes`` gives each step a process of its own, ``ray`` uses a cluster; an open one stays open.
        in_process: runs the calls that the executor cannot; runs at the same time share one, for those calls take turns.
        origin: where the run comes from; None looks now.
        begin: begins the run; None asks the door.
        versions: whether models become versions at once.
        part: which steps are run.
        on_step: is told of every start and end of a step.
        heard: is told of every point that a step logs, as soon as it is here, in any thread; a ``RunStopped`` from it ends the run.

    Raises:
        InvalidInput: the function is no pipeline or does not take these parameters, or a step asks for more than there is.
        Refused: a result that the part needs is not in the cache.
        StepFailed: a step failed; ``details`` has ``run_id``, ``step`` and the user's ``traceback``.
    """
    project, late, plan = project.resolve(), late_of(blobs), trace(function, params, origin.signatures if origin else None)
    chosen, steps, own = part_of(plan, part), [node.step for node in plan.nodes], in_process or InProcess(late, project)
    with nullcontext() if in_process else closing(own), open_executor(executor, own, blobs, [s.function for s in steps]) as runner:
        runner.room.check(steps)
        origin = origin or origin_of(function, blobs, project)
        check_cached(plan, chosen, LookUp(do, late, project, origin.lately))
        start = _start(function, plan, origin, experiment, chosen.tags | dict(tags), cause, key)
        with origin.hosted or hosting(do, late, runner, project) as guests:
            means = Means(do=do, blobs=late, executor=runner, in_process=own, lately=origin.lately, hosted=guests, heard=heard)
            means = means if on_step is None else replace(means, on_step=on_step)
            return _Execution(plan, chosen, (begin or do)(start), do, late, project, versions).through(means)


def _trusted(records: Iterable[StepRecord], do: Do) -> frozenset[int]:
    return frozenset(record.index for record in records if record.output is not None and granted(do, record.output))


def run_pipeline(request: RunPipeline, context: JobContext) -> Run:
    """Run a pipeline of the workspace's own project.

    Raises:
        InvalidInput: the name is no pipeline, or does not take these parameters.
        NotFound: there is no such file or name, or the project declares no such variation or profile.
        StepFailed: a step failed.
    """
    function = load_object(context.project, request.pipeline)
    if not is_pipeline(function):
        raise InvalidInput(f"{request.pipeline} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    given = typed_params(function, request.params)
    settled = settle(function, given, context.project, request.pipeline, variation=request.variation, profile=request.profile)
    result = execute(
        function,
        settled.params,
        do=context.do,
        blobs=context.stores.blobs,
        project=context.project,
        experiment=request.experiment,
        tags=settled.tags,
        cause=request.cause,
        key=request.key,
        executor=chosen_executor(request.executor, context.project, request.profile),
        part=request.part,
        on_step=lambda event: context.progress(f"{event.label}: {event.state}"),
    )
    return result.run


def origin_of(function: Callable[..., Any], blobs: Blobs, project: Path) -> Origin:
    """Return where a run of a pipeline that begins now comes from. Asking git and every package takes some 50 ms.

    Args:
        function: the pipeline.
        blobs: where changes since the commit, and the list of packages, go.
        project: folder of the project, resolved.
    """
    code = code_version(project, blobs, entry_of(function, project))
    return Origin(code=code, environment=put_environment(blobs), machine=machine())


def entry_of(function: Callable[..., Any], project: Path) -> str:
    """Return what is started, such as ``examples/flights/pipeline.py:late_arrivals``.

    Args:
        function: the pipeline.
        project: folder of the project, resolved.
    """
    source = Path(inspect.getsourcefile(inspect.unwrap(function)) or function.__module__)
    path = source.resolve().relative_to(project) if source.resolve().is_relative_to(project) else source
    return f"{path.as_posix()}:{function.__qualname__}"


def _start(
    function: Callable[..., Any], plan: Plan, origin: Origin, experiment: str, tags: Mapping[str, str], cause: Cause, key: str | None
) -> StartRun:
    return StartRun(
        experiment=experiment or function.__name__,
        params={name: shown(value) for name, value in plan.params.items()},
        tags=dict(tags),
        cause=cause,
        key=key,
        code=origin.code,
        environment=origin.environment,
        machine=origin.machine,
        beats=True,
    )


class _Execution:
    """A run that is under way, and what it has given so far."""

    def __init__(self, plan: Plan, part: Part, run: Run, do: Do, blobs: LateBlobs, project: Path, versions: bool) -> None:
        self._part = part
        self._plan, self._run, self._do, self._blobs, self._project, self._versions = plan, run, do, blobs, project, versions
        self._artifacts: dict[str, Artifact] = {}
        self._metrics: dict[str, float] = {}
        #: The last steps, which are recorded together with the run's end unless something before it needs them.
        self._rest: RecordSteps | None = None

    def _past(self) -> PipelineResult:
        """Return what the run gave, which has ended before."""
        records = self._do(ListSteps(run_id=self._run.id))
        metrics = {metric.name: metric.last for metric in self._do(GetRun(id=self._run.id)).metrics}
        return PipelineResult(self._run, self._plan, records, self._blobs, self._project, _trusted(records, self._do), metrics)

    def through(self, means: Means) -> PipelineResult:
        """Run the plan to its end and end the run, however it goes; a run that has ended before stays as it is."""
        if self._run.state != "running":
            return self._past()
        given = True
        try:
            with pulse(self._run.id, self._do, means.in_process.alarms):
                outcome = self._outcome(means)
            given = False  # what the door refuses now it would refuse again with the failure
            run = self._finish(self._end("finished", None))
        except BaseException as error:
            # Ctrl-C and the like as well: a run that nobody works on must not look as if it were under way.
            state: Literal["stopped", "failed"] = "stopped" if isinstance(error, RunStopped | KeyboardInterrupt) else "failed"
            self._finish(self._end(state, str(error) or type(error).__name__, given))
            raise
        trusted = outcome.made | _trusted(outcome.records, self._do)
        return PipelineResult(run, self._plan, outcome.records, self._blobs, self._project, trusted, self._metrics)

    def _end(self, state: Literal["finished", "stopped", "failed"], error: str | None, given: bool = True) -> FinishRun:
        last = points(self._metrics, [0] * len(self._metrics)) if given and self._metrics else None
        kept = tuple(self._artifacts.values()) if given else ()
        return FinishRun(id=self._run.id, state=state, error=error, artifacts=kept, points=last)

    def _finish(self, end: FinishRun) -> Run:
        rest, self._rest = self._rest, None
        if rest is None:
            return self._do(end)
        self._blobs.flush()
        try:
            run = self._do(replace(rest, end=end))
        except PlimsollError:
            # Whatever is wrong with the end, the steps need not be computed again.
            with suppress(PlimsollError):
                self._do(rest)
            raise
        assert run is not None
        return run

    def _record(self) -> None:
        rest, self._rest = self._rest, None
        self._blobs.flush()
        if rest is not None:
            self._do(rest)

    def _outcome(self, means: Means) -> Outcome:
        plan, run, damaged = self._plan, self._run, dict[str, str]()
        for look in range(_LOOKS):
            outcome = run_plan(plan, means, run, self._part, damaged)
            self._rest = outcome.rest
            self._keep(outcome)
            failed = outcome.failed
            if failed is not None:
                # The node of a list stands before its items and fails with them.
                told = {"run_id": run.id, "step": plan.nodes[failed.index].label, "traceback": failed.error or ""}
                fact = f"The step {told['step']} of run {run.id} failed: {failed.why}"
                (error := StepFailed(fact, f"Look at: plimsoll runs show {run.id[:12]}", **told)).add_note(told["traceback"])
                raise error
            try:
                self._metrics = dict(_metrics(outcome, self._blobs))
                break
            except Corrupt as error:
                if look == _LOOKS - 1:
                    raise
                damaged = {outcome.names[error.details["input"]]: error.fact}
                self._record()
        for place, output in outcome.outputs.items():
            if output.kind == "model" and place not in outcome.aside:
                self._record()
                self._take_model(outcome.labels[place], output)
        return outcome

    def _keep(self, outcome: Outcome) -> None:
        """Take every output as an artifact and register the declared snapshots; also those of a run that failed later."""
        for place, output in sorted(outcome.outputs.items()):
            # Several outputs are told one by one, those of items with their steps.
            if output.kind == "outputs" or place in outcome.aside:
                continue
            name = outcome.labels[place].replace("#", ".")
            self._artifacts[name] = Artifact(name=name, kind=output.kind, digest=output.digest, size=output.size)
            dataset = self._plan.nodes[place].step.options.snapshot if place >= 0 else None
            if dataset is not None:
                self._record()
                self._do(RegisterSnapshot(name=dataset, digest=output.digest))
                self._do(LogInput(run_id=self._run.id, name=dataset, digest=output.digest))

    def _take_model(self, label: str, output: Output) -> None:
        """Make a stored package's data the run's inputs, and the package a version."""
        meta = package_meta(label, output.digest, self._blobs)
        for role, snapshot in meta.data.items():
            # The package carries its tables, so they are stored under these digests already.
            self._do(RegisterSnapshot(name=f"{meta.model}-{role}", digest=snapshot))
            self._do(LogInput(run_id=self._run.id, name=role, digest=snapshot))
        if self._versions:
            self._do(CreateVersion(model=meta.model, digest=output.digest, run_id=self._run.id))


def package_meta(label: str, digest: str, blobs: Blobs) -> PackageMeta:
    """Return what a stored model package says of itself.

    Args:
        label: the step that gave it, for messages.
        digest: of its manifest.
        blobs: where it is.

    Raises:
        InvalidInput: it is no package.
    """
    document = next((entry.digest for entry in get_manifest(blobs, digest).files if entry.path == _PACKAGE_FILE), None)
    if document is None:
        raise InvalidInput(f"The model of step {label} has no {_PACKAGE_FILE}.", "Return a plimsoll.Model.")
    return codec.from_json(blobs.get(document), PackageMeta, f"{_PACKAGE_FILE} of step {label}")


def _metrics(outcome: Outcome, blobs: Blobs) -> Iterator[tuple[str, float]]:
    def value_of(place: int) -> Any:
        output = outcome.outputs.get(place)
        if output is None or place in outcome.aside:
            return None
        return load_input(place, output, blobs) if output.kind == "value" and output.size <= _SMALL else None

    value = resolve(outcome.result, value_of)
    if isinstance(value, dict):
        yield from _numbers("", value)
    else:
        for reference in references(outcome.result):
            yield from _numbers(outcome.labels.get(reference.index, ""), value_of(reference.index))


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}/{key}" if name else str(key), inner)
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        yield re.sub(r"[^\w .:/@+=-]", "_", name)[:250].lstrip(" .:/@+=-") or "value", float(value)


def shown(value: Any) -> Any:
    """Return a parameter as a run's record has it: as JSON where it can be, else the beginning of its text.

    Args:
        value: what the pipeline got.
    """
    try:
        return plain_param(codec.plain(value))
    except (PlimsollError, TypeError, ValueError, OverflowError):
        return repr(value)[:200]
