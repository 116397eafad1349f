"""Runs begin, are described, and end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Row, select, update

from plimsoll import clock, codec
from plimsoll.data.snapshot import snapshot_of
from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.run import (
    Artifact,
    FinishRun,
    GetRun,
    ListRuns,
    LogArtifact,
    LogInput,
    Run,
    RunDetail,
    RunInput,
    SetTags,
    StartRun,
)
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.schema import artifacts, experiments, run_inputs, runs

#: Writer of the points that come with a run's end.
_END = "(end)"


def _run(row: Row[Any]) -> Run:
    fields = {name: value for name, value in row._mapping.items() if name != "key"}
    return codec.convert(fields, Run, "The stored run")


def start_run(request: StartRun, context: Context) -> Run:
    """Begin a run, or return the one that was begun with the same key."""
    if request.key is not None:
        row = context.tx.execute(select(runs).where(runs.c.key == request.key)).one_or_none()
        if row is not None:
            return _run(row)
    if context.tx.execute(select(experiments.c.name).where(experiments.c.name == request.experiment)).one_or_none() is None:
        context.tx.execute(experiments.insert().values(name=request.experiment, created=clock.now()))
    run = Run(
        id=(id := clock.new_id()),
        experiment=request.experiment,
        name=request.name or f"run-{id[-6:]}",
        state="running",
        params=request.params,
        tags=request.tags,
        author=context.actor.name,
        cause=request.cause,
        code=request.code,
        environment=request.environment,
        started=clock.now(),
    )
    context.tx.execute(runs.insert().values(**codec.plain(run), key=request.key))
    return run


def _one(context: Context, id: str) -> Run:
    row = context.tx.execute(select(runs).where(runs.c.id == id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no run {id!r}.", "List runs with: plimsoll runs list")
    return _run(row)


def running(context: Context, id: str) -> Run:
    """Return a run that may still be changed.

    Args:
        context: the open transaction.
        id: the run's whole id.

    Raises:
        NotFound: there is no such run.
        Conflict: it has ended.
    """
    run = _one(context, id)
    _check_running(run)
    return run


def _check_running(run: Run) -> None:
    if run.state != "running":
        raise Conflict(f"The run {run.id} has ended as {run.state}.", "Start a new run; an ended run is not changed.")


def finish_run(request: FinishRun, context: Context) -> Run:
    """End a run; ending it again in the same state changes nothing."""
    run = _one(context, request.id)
    if run.state == request.state:
        return run
    _check_running(run)
    if request.artifacts:
        _attach(context, request.id, request.artifacts)
    if request.points is not None:
        context.stores.points.append(context.tx, request.id, _END, 1, request.points)
    end: dict[str, Any] = {"state": request.state, "error": request.error, "ended": clock.now()}
    context.tx.execute(update(runs).where(runs.c.id == request.id).values(**end))
    return replace(run, **end)


def set_tags(request: SetTags, context: Context) -> Run:
    """Add or replace tags; a run that has ended may still be tagged."""
    run = _one(context, request.id)
    context.tx.execute(update(runs).where(runs.c.id == request.id).values(tags={**run.tags, **request.tags}))
    return _one(context, request.id)


def log_artifact(request: LogArtifact, context: Context) -> Artifact:
    """Attach stored bytes to a running run."""
    running(context, request.run_id)
    artifact = Artifact(name=request.name, kind=request.kind, digest=request.digest, size=request.size)
    _attach(context, request.run_id, (artifact,))
    return artifact


def _attach(context: Context, run_id: str, kept: tuple[Artifact, ...]) -> None:
    for artifact in kept:
        if not context.stores.blobs.has(artifact.digest):
            raise NotFound(f"The bytes {artifact.digest[:12]} of {artifact.name!r} are not stored.", "Upload them before naming them.")
    rows = {artifact.name: {"run_id": run_id, **codec.plain(artifact)} for artifact in kept}
    for names in chunks(list(rows), 500):
        context.tx.execute(artifacts.delete().where(artifacts.c.run_id == run_id, artifacts.c.name.in_(names)))
    context.tx.execute(artifacts.insert(), list(rows.values()))


def log_input(request: LogInput, context: Context) -> RunInput:
    """Record that a running run read a registered snapshot."""
    running(context, request.run_id)
    if snapshot_of(context, request.digest) is None:
        raise NotFound(f"There is no snapshot {request.digest[:12]}.", "Register it with RegisterSnapshot first.")
    table = run_inputs
    context.tx.execute(table.delete().where(table.c.run_id == request.run_id, table.c.name == request.name))
    context.tx.execute(table.insert().values(run_id=request.run_id, name=request.name, digest=request.digest))
    return RunInput(name=request.name, digest=request.digest)


def get_run(request: GetRun, context: Context) -> RunDetail:
    """Return a run by id or by the unique beginning of its id."""
    if len(request.id) < 6:
        raise InvalidInput(f"{request.id!r} is too short for a run's id.", "Give at least 6 digits.")
    rows = context.tx.execute(select(runs).where(runs.c.id.startswith(request.id, autoescape=True)).limit(2)).all()
    if not rows:
        raise NotFound(f"There is no run {request.id!r}.", "List runs with: plimsoll runs list")
    if len(rows) > 1:
        raise InvalidInput(f"Several runs begin with {request.id!r}.", "Give more digits of the id.")
    run = _run(rows[0])
    kept = context.tx.execute(select(artifacts).where(artifacts.c.run_id == run.id).order_by(artifacts.c.name)).all()
    read = context.tx.execute(select(run_inputs).where(run_inputs.c.run_id == run.id).order_by(run_inputs.c.name)).all()
    return RunDetail(
        run=run,
        metrics=context.stores.points.summaries(context.tx, [run.id]).get(run.id, ()),
        artifacts=tuple(Artifact(name=row.name, kind=row.kind, digest=row.digest, size=row.size) for row in kept),
        inputs=tuple(RunInput(name=row.name, digest=row.digest) for row in read),
    )


def list_runs(request: ListRuns, context: Context) -> tuple[RunDetail, ...]:
    """Return a page of runs, newest first, with their metrics."""
    query = select(runs).order_by(runs.c.id.desc()).limit(request.limit)
    if request.experiment is not None:
        query = query.where(runs.c.experiment == request.experiment)
    if request.state is not None:
        query = query.where(runs.c.state == request.state)
    if request.before is not None:
        query = query.where(runs.c.id < request.before)
    page = [_run(row) for row in context.tx.execute(query)]
    metrics = context.stores.points.summaries(context.tx, [run.id for run in page])
    return tuple(RunDetail(run=run, metrics=metrics.get(run.id, ()), artifacts=(), inputs=()) for run in page)
