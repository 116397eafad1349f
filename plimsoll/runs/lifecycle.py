"""Runs begin, are described, and end."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

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
    StartRun,
)
from plimsoll.records.tracking.change import DeleteRun, RemoveArtifacts, RestoreRun, UpdateRun
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.runs.described import described_runs, insert_params, missing_run, one_run, put_tags, selected_runs
from plimsoll.runs.experiments import experiment_for
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.schema import steps
from plimsoll.store.tables.tracking import artifacts, dataset_uses, datasets, experiments, run_inputs, runs

#: Writer of the points that come with a run's end.
_END = "(end)"

#: What of a run is in other tables than its own.
_ELSEWHERE = ("experiment", "params", "tags")


def start_run(request: StartRun, context: Context) -> Run:
    """Begin a run, or return the one that was begun with the same key."""
    if request.key is not None:
        known = context.tx.execute(select(runs.c.id).where(runs.c.key == request.key)).scalar()
        if known is not None:
            return one_run(context.tx, known)
    experiment_id, experiment = experiment_for(context.tx, request.experiment, request.experiment_id)
    run = Run(
        id=(id := clock.new_id()),
        experiment=experiment,
        experiment_id=experiment_id,
        name=request.name or f"run-{id[-6:]}",
        state="running",
        params=request.params,
        tags=request.tags,
        author=context.actor.name,
        cause=request.cause,
        code=request.code,
        environment=request.environment,
        started=clock.now() if request.started is None else request.started,
    )
    row = {name: value for name, value in codec.plain(run).items() if name not in _ELSEWHERE}
    context.tx.execute(runs.insert().values(**row, key=request.key))
    insert_params(context.tx, id, request.params)
    put_tags(context.tx, id, request.tags)
    return run


class Standing(NamedTuple):
    """What decides whether a run may be changed."""

    #: Where it stands.
    state: str
    #: UTC microseconds, or None while it is in use.
    deleted: int | None
    #: Who began it.
    author: str
    #: Id of its experiment.
    experiment_id: str


_STANDING = select(runs.c.state, runs.c.deleted, runs.c.author, runs.c.experiment_id).where(runs.c.id == bindparam("id"))


def present(context: Context, id: str) -> Standing:
    """Return how a run stands that is not deleted.

    Args:
        context: the open transaction.
        id: the run's whole id.

    Raises:
        NotFound: there is no such run.
        Conflict: it is deleted.
    """
    row = context.tx.execute(_STANDING, {"id": id}).one_or_none()
    if row is None:
        raise missing_run(id)
    if row.deleted is not None:
        remedy = f"Restore it with an MLflow client's restore_run({id!r}), or with the verb RestoreRun."
        raise Conflict(f"The run {id} is deleted.", remedy, run_id=id, deleted=True)
    return Standing(*row)


def running(context: Context, id: str) -> Standing:
    """Return how a run stands that has not ended.

    Args:
        context: the open transaction.
        id: the run's whole id.

    Raises:
        NotFound: there is no such run.
        Conflict: it is deleted, or has ended.
    """
    run = present(context, id)
    if run.state != "running":
        raise Conflict(f"The run {id} has ended as {run.state}.", "Start a new run; an ended run is not changed.")
    return run


def changeable(context: Context, id: str) -> Standing:
    """Return how a run stands that may still get more: one that is running, or has ended and is no pipeline's.

    What a pipeline's run has recorded is evidence, for models and for later runs, and stays as it was when it ended.

    Args:
        context: the open transaction.
        id: the run's whole id.

    Raises:
        NotFound: there is no such run.
        Conflict: it is deleted, or has ended and has steps.
    """
    run = present(context, id)
    if run.state != "running" and context.tx.execute(select(steps.c.run_id).where(steps.c.run_id == id).limit(1)).scalar():
        raise Conflict(f"The run {id} has ended as {run.state}.", "Start a new run; a pipeline's run is not changed after its end.")
    return run


def finish_run(request: FinishRun, context: Context) -> Run:
    """End a run; ending it again in the same state changes nothing."""
    run = one_run(context.tx, request.id)
    if run.state == request.state:
        return run
    if run.state != "running" or run.deleted is not None:
        running(context, request.id)
    if request.artifacts:
        _attach(context, request.id, request.artifacts)
    if request.points is not None:
        context.stores.points.append(context.tx, request.id, _END, 1, request.points)
    end: dict[str, Any] = {"state": request.state, "error": request.error, "ended": clock.now()}
    context.tx.execute(update(runs).where(runs.c.id == request.id).values(**end))
    return replace(run, **end)


def update_run(request: UpdateRun, context: Context) -> Run:
    """Rename a run, or move it to another state."""
    present(context, request.id)
    run = one_run(context.tx, request.id)
    change: dict[str, Any] = {} if request.name is None else {"name": request.name}
    if request.state is not None and request.state != run.state:
        changeable(context, request.id)
        ended = None if request.state == "running" else clock.now() if request.ended is None else request.ended
        change |= {"state": request.state, "ended": ended}
    elif request.state is not None and request.state != "running" and request.ended is not None:
        change["ended"] = request.ended
    if change:
        context.tx.execute(update(runs).where(runs.c.id == request.id).values(**change))
    return replace(run, **change)


def delete_run(request: DeleteRun, context: Context) -> Run:
    """Put a run out of sight; deleting it again changes nothing."""
    run = one_run(context.tx, request.id)
    if run.deleted is not None:
        return run
    deleted = clock.now()
    context.tx.execute(update(runs).where(runs.c.id == request.id).values(deleted=deleted))
    return replace(run, deleted=deleted)


def restore_run(request: RestoreRun, context: Context) -> Run:
    """Take a deletion back, in an experiment that is not deleted."""
    run = one_run(context.tx, request.id)
    experiment_for(context.tx, run.experiment, run.experiment_id)
    context.tx.execute(update(runs).where(runs.c.id == request.id).values(deleted=None))
    return replace(run, deleted=None)


def log_artifact(request: LogArtifact, context: Context) -> Artifact:
    """Attach stored bytes to a run."""
    changeable(context, request.run_id)
    artifact = Artifact(name=request.name, kind=request.kind, digest=request.digest, size=request.size)
    _attach(context, request.run_id, (artifact,))
    return artifact


def _attach(context: Context, run_id: str, kept: tuple[Artifact, ...]) -> None:
    for artifact in kept:
        if not context.stores.blobs.has(artifact.digest):
            raise NotFound(f"The bytes {artifact.digest[:12]} of {artifact.name!r} are not stored.", "Upload them before naming them.")
    rows = {artifact.name: {"owner": run_id, **codec.plain(artifact)} for artifact in kept}
    for names in chunks(list(rows), 500):
        context.tx.execute(artifacts.delete().where(artifacts.c.owner == run_id, artifacts.c.name.in_(names)))
    context.tx.execute(artifacts.insert(), list(rows.values()))


def remove_artifacts(request: RemoveArtifacts, context: Context) -> None:
    """Take artifacts from a run."""
    changeable(context, request.run_id)
    for names in chunks(list(request.names), 500):
        context.tx.execute(artifacts.delete().where(artifacts.c.owner == request.run_id, artifacts.c.name.in_(names)))


def log_input(request: LogInput, context: Context) -> RunInput:
    """Record that a run read a registered snapshot."""
    changeable(context, request.run_id)
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
    rows = context.tx.execute(selected_runs().where(runs.c.id.startswith(request.id, autoescape=True)).limit(2)).all()
    if not rows:
        raise NotFound(f"There is no run {request.id!r}.", "List runs with: plimsoll runs list")
    if len(rows) > 1:
        raise InvalidInput(f"Several runs begin with {request.id!r}.", "Give more digits of the id.")
    (run,) = described_runs(context.tx, rows)
    kept = context.tx.execute(select(artifacts).where(artifacts.c.owner == run.id).order_by(artifacts.c.name)).all()
    read = context.tx.execute(select(run_inputs).where(run_inputs.c.run_id == run.id).order_by(run_inputs.c.name)).all()
    return RunDetail(
        run=run,
        metrics=context.stores.points.summaries(context.tx, [run.id]).get(run.id, ()),
        artifacts=tuple(Artifact(name=row.name, kind=row.kind, digest=row.digest, size=row.size) for row in kept),
        inputs=tuple(RunInput(name=row.name, digest=row.digest) for row in read),
        datasets=_datasets(context.tx, run.id),
    )


def _datasets(tx: Connection, run_id: str) -> tuple[DatasetUse, ...]:
    query = select(datasets, dataset_uses.c.tags).join(dataset_uses, dataset_uses.c.dataset_id == datasets.c.id)
    names = [each.name for each in fields(Dataset)]
    return tuple(
        DatasetUse(dataset=Dataset(**{name: row._mapping[name] for name in names}), tags=row.tags)
        for row in tx.execute(query.where(dataset_uses.c.run_id == run_id).order_by(datasets.c.id))
    )


def list_runs(request: ListRuns, context: Context) -> tuple[RunDetail, ...]:
    """Return a page of runs, newest first, with their metrics."""
    query = selected_runs().where(runs.c.deleted.is_(None)).order_by(runs.c.id.desc()).limit(request.limit)
    if request.experiment is not None:
        query = query.where(experiments.c.name == request.experiment)
    if request.state is not None:
        query = query.where(runs.c.state == request.state)
    if request.before is not None:
        query = query.where(runs.c.id < request.before)
    page = described_runs(context.tx, context.tx.execute(query).all())
    metrics = context.stores.points.summaries(context.tx, [run.id for run in page])
    return tuple(RunDetail(run=run, metrics=metrics.get(run.id, ()), artifacts=(), inputs=()) for run in page)
