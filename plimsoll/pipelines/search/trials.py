"""A search from its beginning to its end: trials are proposed, run as ordinary runs, recorded, and learnt from.

What the platform has recorded is the truth. A process that is killed at any moment leaves trials that have ended and trials
that were cut off; the next one goes on with the first and runs the second again, whose steps that had ended are not repeated.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plimsoll import clock, codec
from plimsoll.data.code.source import Sources
from plimsoll.errors import InvalidInput, PlimsollError, StepFailed, Unfingerprintable
from plimsoll.fingerprint import digest_value
from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.executors.call import Executor
from plimsoll.pipelines.executors.choice import Chosen, open_executor
from plimsoll.pipelines.executors.hosted import hosting
from plimsoll.pipelines.executors.in_process import InProcess
from plimsoll.pipelines.keys import code_parts, digest_parts
from plimsoll.pipelines.loop.late import LateBlobs, remembered_by
from plimsoll.pipelines.loop.lookup import Lately
from plimsoll.pipelines.plan import trace
from plimsoll.pipelines.running import Origin, PipelineResult, RunStopped, execute, origin_of, shown
from plimsoll.pipelines.search.goals import missing, values_of
from plimsoll.pipelines.search.space import Dimension, read_space
from plimsoll.pipelines.search.study import Study, grid_size
from plimsoll.pipelines.settled import typed_params
from plimsoll.records.pipeline import RecordSteps
from plimsoll.records.pipelines.part import ExecutorName
from plimsoll.records.pipelines.search import FinishSearch, GetSearch, RecordTrials, Search, SearchDetail, SearchPlan, StartSearch, Trial
from plimsoll.records.request import Request
from plimsoll.records.run import Cause, FinishRun, GetRun, PointColumns, Run, StartRun
from plimsoll.store.contracts import Blobs, Do

#: Trials that may fail from the beginning before the search is given up: what always fails is a mistake and no bad luck.
_GIVE_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the trials of a search run."""

    #: The door; several threads use it.
    do: Do
    #: Where outputs go.
    blobs: Blobs
    #: Folder of the project.
    project: Path
    #: Of all runs; empty takes the pipeline's name.
    experiment: str = ""
    #: Tags of all runs.
    tags: Mapping[str, str]
    #: ``processes`` gives each step a process of its own; an open executor is not closed.
    executor: ExecutorName | Chosen | Executor = "processes"
    #: Trials at the same time.
    jobs: int = 1


def search(
    function: Callable[..., Any],
    plan: SearchPlan,
    params: Mapping[str, Any],
    place: Place,
    *,
    trials: int,
    name: str = "",
    on_trial: Callable[[Trial], None] | None = None,
    on_step: Callable[[int, StepEvent], None] | None = None,
) -> SearchDetail:
    """Search for a pipeline's best parameters, or go on with the search of the same plan and code that was interrupted.

    Everything that can be refused is refused before the search begins. A trial that fails is told to the sampler and the search
    goes on, unless none has gone well yet.

    Args:
        function: a function decorated with ``@pipeline``.
        plan: what is searched for.
        params: parameters that all trials share, with their types; what the space names varies nevertheless.
        place: where trials run.
        trials: how many are wanted in all; a grid has no more than its points.
        name: for people.
        on_trial: is told of every trial that has ended and is recorded, by one thread at a time.
        on_step: is told the trial's number and every start and end of a step, by one thread at a time.

    Raises:
        InvalidInput: the space names no parameter, a pipeline cannot be planned with it, or runs do not give the metrics.
        MissingExtra: Optuna is not installed.
        Conflict: another process has gone on with this very search.
        StepFailed: the first trials, or all, have failed.
    """
    space, steps = check(function, plan, params, trials=trials, jobs=place.jobs)
    params = {name: value for name, value in params.items() if name not in space}
    if plan.sampler == "grid":
        trials = min(trials, grid_size(space))
    holder = clock.new_id()
    plan = replace(plan, params={name: shown(value) for name, value in params.items()})
    lately = Lately(sources=Sources(remembered_by(place.blobs, "functions")))
    origin = replace(origin_of(function, place.blobs, place.project.resolve()), lately=lately, signatures={})
    key = codec.digest(codec.canonical([codec.plain(plan), _same(function, params, holder, lately.sources)]))
    begun = place.do(StartSearch(plan=plan, trials=trials, holder=holder, key=key, name=name))
    known = place.do(GetSearch(id=begun.id)).trials
    for trial in known:
        _lose(trial, place.do)
    work = _Work(function, begun, space, params, place, holder, Study(plan, space, trials, known), known, on_trial, on_step)
    try:
        work.through(steps, origin)
    except _Mistaken as mistake:
        place.do(FinishSearch(id=begun.id, holder=holder))
        raise mistake.error from mistake.error.__cause__
    place.do(FinishSearch(id=begun.id, holder=holder))
    return place.do(GetSearch(id=begun.id))


def check(
    function: Callable[..., Any], plan: SearchPlan, params: Mapping[str, Any], *, trials: int, jobs: int
) -> tuple[dict[str, Dimension], tuple[Callable[..., Any], ...]]:
    """Refuse what no trial could run with; return what each parameter may be, and the functions of the steps.

    Args:
        function: the pipeline.
        plan: what is searched for.
        params: parameters that all trials share, with their types.
        trials: how many are wanted.
        jobs: how many at the same time.

    Raises:
        InvalidInput: there is nothing to do, the space is not written as it should be or names no parameter, or the pipeline
            cannot be planned with it.
        MissingExtra: Optuna is not installed.
    """
    if trials < 1 or jobs < 1:
        raise InvalidInput(f"A search cannot have {trials} trials, {jobs} at the same time.", "Use 1 or more of both.")
    space = read_space(plan.space)
    taken = inspect.signature(function).parameters
    anything = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken.values())
    for name in space:
        if name not in taken and not anything:
            known = ", ".join(taken) or "none"
            raise InvalidInput(f"The pipeline {function.__qualname__} has no parameter {name!r}.", f"Its parameters are: {known}.")
    first = {name: one.value(one.first) for name, one in space.items()}
    Study(plan, space, 1, ())
    nodes = trace(function, {**params, **typed_params(function, first)}).nodes
    return space, tuple(node.step.function for node in nodes)


def _same(function: Callable[..., Any], params: Mapping[str, Any], otherwise: str, sources: Sources) -> str:
    """Return a digest of the code and the parameters that trials run with.

    A search with what cannot be seen is never gone on with: it may have begun with something else.
    """
    try:
        return codec.digest(codec.canonical([digest_parts(code_parts(inspect.unwrap(function), sources)), digest_value(dict(params))]))
    except Unfingerprintable:
        return otherwise


def _lose(trial: Trial, do: Do) -> None:
    """End the run of a trial that was cut off."""
    if trial.state == "running" and trial.run_id is not None and do(GetRun(id=trial.run_id)).run.state == "running":
        do(FinishRun(id=trial.run_id, state="lost", error="Its process ended without saying how; the trial has another run."))


class _Mistaken(Exception):
    """The search makes no sense as it was asked for.

    Args:
        error: what the user is told.
    """

    def __init__(self, error: PlimsollError) -> None:
        super().__init__(str(error))
        self.error = error


class _LateEnd:
    """The door of the trials of one thread, which follow each other: the end of a run waits, to be recorded with what follows it.

    Args:
        do: the door of all.
    """

    def __init__(self, do: Do) -> None:
        self._do = do
        #: The run under way.
        self.run: Run | None = None
        self._end: RecordSteps | None = None

    @property
    def waits(self) -> bool:
        """Whether an end is still to be recorded."""
        return self._end is not None

    def __call__(self, request: Request[Any]) -> Any:
        if self.run is not None and isinstance(request, RecordSteps) and request.end is not None:
            end = replace(request.end, ended=clock.now())
            self._end = replace(request, end=end)
            return replace(self.run, state=end.state, error=end.error, ended=end.ended)
        if self._end is not None:
            # Whoever asks anything is to find the run ended.
            waiting, self._end = self._end, None
            self._do(waiting)
        return self._do(request)

    def record(self, request: RecordTrials) -> Run | None:
        """Record trials together with the end that waits.

        Args:
            request: what to record.

        Raises:
            PlimsollError: it is refused. The run's end is not, unless something is wrong with it, nor are its steps.
        """
        waiting, self._end = self._end, None
        try:
            return self._do(replace(request, ends=waiting))
        except PlimsollError:
            for rest in () if waiting is None else (waiting, replace(waiting, end=None)):
                with contextlib.suppress(PlimsollError):
                    self._do(rest)
                    break
            raise


class _Work:
    """A search under way in this process."""

    def __init__(
        self,
        function: Callable[..., Any],
        search: Search,
        space: Mapping[str, Dimension],
        params: Mapping[str, Any],
        place: Place,
        holder: str,
        study: Study,
        known: tuple[Trial, ...],
        on_trial: Callable[[Trial], None] | None,
        on_step: Callable[[int, StepEvent], None] | None,
    ) -> None:
        self.study = study
        self._function, self._search, self._space, self._params = function, search, space, dict(params)
        self._place, self._do, self._holder = place, place.do, holder
        self._project = place.project.resolve()
        # What trials give is small for the most part, and is stored together with what else is recorded of each.
        self._blobs = LateBlobs(place.blobs)
        self._in_process = InProcess(self._blobs, self._project, many=True)
        self._on_trial, self._on_step = on_trial, on_step
        self._turn = threading.Lock()
        self._stopping = False
        self._mistake: PlimsollError | None = None
        self._waiting = list(study.open())
        self._left = search.trials - len({trial.number for trial in known} | set(self._waiting))
        self._first = next((trial.error or "" for trial in known if trial.state == "failed"), "")
        self._went_well = sum(trial.state in ("finished", "pruned") for trial in known)
        self._failed = sum(trial.state == "failed" for trial in known)
        self._details: dict[str, Any] = {}
        self._series = search.plan.report or search.plan.objectives[0].metric

    def through(self, steps: tuple[Callable[..., Any], ...], origin: Origin) -> None:
        """Run every trial that is missing."""
        if self._waiting or self._left > 0:
            opened = open_executor(self._place.executor, self._in_process, self._place.blobs, steps)
            with (
                contextlib.closing(self._in_process),
                opened as executor,
                hosting(self._do, self._blobs, executor, self._project) as hosted,
            ):
                origin = replace(origin, hosted=contextlib.nullcontext(hosted))
                if self._place.jobs == 1:
                    self._work(origin, executor)
                else:
                    self._at_once(origin, executor)
        if self._failed and not self._went_well:
            raise _Mistaken(self._all_failed(f"All {self._failed} trials"))

    def _at_once(self, origin: Origin, executor: Executor) -> None:
        with ThreadPoolExecutor(self._place.jobs, thread_name_prefix="plimsoll-trial") as threads:
            working = [threads.submit(self._work, origin, executor) for _ in range(self._place.jobs)]
            try:
                wait(working, return_when=FIRST_EXCEPTION)
                for future in working:
                    if future.done():
                        future.result()
            except BaseException:
                # The trials under way are cut off, as by a kill: the next process runs them again.
                self._stopping = True
                if executor is not self._place.executor:
                    executor.close()
                raise

    def _work(self, origin: Origin, executor: Executor) -> None:
        ended: list[Trial] = []
        late = _LateEnd(self._do)
        try:
            while (number := self._next()) is not None:
                self._trial(number, ended, late, origin, executor)
        finally:
            # Together with the next one's beginning in most cases, here for the last.
            if ended or late.waits:
                self._record(late, ended)

    def _next(self) -> int | None:
        with self._turn:
            if self._stopping:
                return None
            if self._waiting:
                return self._waiting.pop(0)
            if self._left <= 0:
                return None
            self._left -= 1
            return self.study.ask()

    def _trial(self, number: int, ended: list[Trial], late: _LateEnd, origin: Origin, executor: Executor) -> None:
        """Run one trial to its end; it joins those that have ended and are not recorded yet."""
        point = self.study.point(number)
        chosen = typed_params(self._function, {name: one.value(point[name]) for name, one in self._space.items()})
        trial = Trial(
            number=number, params={name: shown(value) for name, value in chosen.items()}, point=point, notes=self.study.notes(number)
        )
        run: list[Run | None] = []

        def begin(start: StartRun) -> Run:
            run.append(None)
            begun = self._record(late, [*ended, trial], start)
            assert begun is not None
            ended.clear()
            run[0] = late.run = begun
            return begun

        try:
            trial = self._judge(trial, self._execute(number, chosen, begin, late, origin, executor), late)
        except RunStopped as stop:
            trial = replace(trial, state="pruned", error=stop.reason)
        except StepFailed as error:
            if self._stopping:
                return
            trial = self._fail(trial, error)
        except Exception as error:  # whatever a pipeline's body raises; once the run has begun it is no longer the body
            if run:
                raise
            trial = self._fail(trial, error)
        id, reports, notes = run[0].id if run and run[0] else None, self.study.reports(number), self.study.notes(number)
        trial = replace(trial, run_id=id, reports=reports, notes=notes)
        self.study.tell(trial)
        ended.append(trial)
        with self._turn:
            self._went_well += trial.state in ("finished", "pruned")
        if self._on_trial is not None:
            # Nobody is told of what is not recorded.
            self._record(late, ended)
            ended.clear()
            with self._turn:
                self._on_trial(trial)
        if self._mistake is not None:
            raise _Mistaken(self._mistake)

    def _execute(
        self, number: int, chosen: Mapping[str, Any], begin: Callable[[StartRun], Run], do: Do, origin: Origin, executor: Executor
    ) -> PipelineResult:
        return execute(
            self._function,
            {**self._params, **chosen},
            do=do,
            blobs=self._blobs,
            project=self._project,
            experiment=self._place.experiment,
            tags={**self._place.tags, "trial": str(number)},
            cause=Cause(kind="search", id=self._search.id),
            key=f"trial {number} of {self._search.id} by {self._holder}",
            executor=executor,
            in_process=self._in_process,
            origin=origin,
            begin=begin,
            # Fifty trials are not fifty versions: only the winner becomes one, when somebody registers it.
            versions=False,
            on_step=None if self._on_step is None else lambda event: self._tell_step(number, event),
            heard=None if self._search.plan.pruner == "none" else lambda points: self._hear(number, points),
        )

    def _record(self, late: _LateEnd, trials: list[Trial], run: StartRun | None = None) -> Run | None:
        return late.record(RecordTrials(search_id=self._search.id, holder=self._holder, trials=tuple(trials), run=run))

    def _hear(self, number: int, points: PointColumns) -> None:
        for name, step, value in zip(points.names, points.steps, points.values, strict=True):
            if name == self._series and self.study.report(number, step, value):
                raise RunStopped(f"pruned at step {step}: {name} is {value:.6g}, and other trials did better")

    def _judge(self, trial: Trial, result: PipelineResult, do: Do) -> Trial:
        """Return a trial with the values that its run gave."""
        plan, metrics = self._search.plan, dict(result.metrics)
        if missing(plan, metrics):
            metrics = {metric.name: metric.last for metric in do(GetRun(id=result.id)).metrics} | metrics
        try:
            values, violations = values_of(plan, metrics)
        except InvalidInput as error:
            if missing(plan, metrics) and not self._went_well:
                self._mistake = error
            return self._fail(trial, error)
        return replace(trial, state="finished", values=values, violations=violations)

    def _fail(self, trial: Trial, error: Exception) -> Trial:
        with self._turn:
            self._failed += 1
            self._first = self._first or _fact(error)
            self._details = self._details or (error.details if isinstance(error, PlimsollError) else {})
            if self._failed >= _GIVE_UP and not self._went_well and self._mistake is None:
                self._mistake = self._all_failed(f"The first {self._failed} trials")
        return replace(trial, state="failed", error=_fact(error))

    def _all_failed(self, which: str) -> StepFailed:
        fact = f"{which} of the search {self._search.id} failed, the first one so: {self._first}"
        return StepFailed(fact, "Correct the pipeline or the space and search again.", **self._details)

    def _tell_step(self, number: int, event: StepEvent) -> None:
        with self._turn:
            if self._on_step is not None:
                self._on_step(number, event)


def _fact(error: Exception) -> str:
    return error.fact if isinstance(error, PlimsollError) else str(error) or type(error).__name__
