"""Runs begin, are described, and end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from plimsoll import clock, codec
from plimsoll.data.refs.registered import snapshot_of
from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.run import (
    Artifact,
    BeatRun,
    FinishRun,
    GetRun,
    LogArtifact,
    LogInput,
    ResumeRun,
    Run,
    RunDetail,
    RunInput,
    StartRun,
)
from plimsoll.records.tracking.change import DeleteRun, RemoveArtifacts, RestoreRun, UpdateRun
from plimsoll.records.tracking.experiment import DEFAULT_EXPERIMENT
from plimsoll.runs.described import (
    Stored,
    add_params,
    described_runs,
    insert_params,
    insert_tags,
    missing_run,
    one_run,
    put_tags,
    selected_runs,
    stored_run,
)
from plimsoll.runs.experiments import experiment_for
from plimsoll.runs.outputs.kept import artifacts_of
from plimsoll.runs.outputs.uses import datasets_of_runs, models_of_runs
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.schema import steps
from plimsoll.store.tables.statements import Statement, Upsert
from plimsoll.store.tables.tracking import GONE, artifacts, run_inputs, runs

#: What of a run is in other tables than its own.
_ELSEWHERE = ("experiment", "params", "tags")

_NEW, _CHANGE = Statement(runs.insert()), Statement(update(runs).where(runs.c.id == bindparam("of")))
_OF_KEY, _OF_ID = (Statement(select(runs.c.id).where(column == bindparam("value"))) for column in (runs.c.key, runs.c.id))
_NEW_ARTIFACTS = Upsert(artifacts, replacing=True)


def start_run(request: StartRun, context: Context) -> Run:
    """Begin a run, or return the one that was begun with the same key or id.

    Raises:
        Conflict: the key is that of a run of another experiment than the one that is asked for.
    """
    known = _known(context.tx, request)
    if known is not None:
        _check_experiment(context.tx, known, request)
        if request.resume:
            return _go_on(context, known, request)
        if request.beats:
            _hear(context.tx, known)
        return one_run(context.tx, known)
    experiment_id, experiment = experiment_for(context.tx, request.experiment, request.experiment_id)
    run = Run(
        id=(id := request.id or clock.new_id()),
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
        machine=request.machine,
        started=clock.now() if request.started is None else request.started,
    )
    row = {name: value for name, value in codec.plain(run).items() if name not in _ELSEWHERE}
    _NEW.change(context.tx, {**row, "key": request.key, "seen": clock.now() if request.beats else None})
    insert_params(context.tx, id, request.params)
    insert_tags(context.tx, id, request.tags)
    return run


def _known(tx: Connection, request: StartRun) -> str | None:
    """Return the id of the run that was begun before with the same key or id."""
    for query, value in ((_OF_KEY, request.key), (_OF_ID, request.id)):
        known: Any = None if value is None else query.one(tx, {"value": value})
        if known is not None:
            return str(known.id)
    return None


def _check_experiment(tx: Connection, known: str, request: StartRun) -> None:
    run = one_run(tx, known)
    if request.key is not None and request.experiment not in ("", DEFAULT_EXPERIMENT, run.experiment):
        fact = f"The key {request.key!r} is that of the run {known} in the experiment {run.experiment!r}, not in {request.experiment!r}."
        raise Conflict(fact, "Give this run another key, or leave the experiment out to go on with that one.")


def resume_run(request: ResumeRun, context: Context) -> Run:
    """Go on with a run that has ended or whose process died."""
    return _go_on(context, request.id, request)


def _go_on(context: Context, id: str, request: StartRun | ResumeRun) -> Run:
    changeable(context, id)
    add_params(context.tx, id, request.params)
    put_tags(context.tx, id, request.tags)
    if not request.beats and request.started is not None:
        # What a process that died had begun may arrive when a later one has ended the run.
        ended = context.tx.execute(_ENDED, {"id": id}).scalar()
        if ended is not None and ended >= request.started:
            return one_run(context.tx, id)
    again = {"state": "running", "ended": None, "error": None} | ({"seen": clock.now()} if request.beats else {})
    context.tx.execute(update(runs).where(runs.c.id == id).values(**again))
    return one_run(context.tx, id)


def beat_run(request: BeatRun, context: Context) -> None:
    """Remember that a run's process lives; of a run that has ended nothing is remembered."""
    _hear(context.tx, request.id)


def _hear(tx: Connection, id: str) -> None:
    # Whoever speaks is not lost, whatever was said of it.
    alive = {"state": "running", "ended": None, "error": None, "seen": clock.now()}
    tx.execute(update(runs).where(runs.c.id == id, runs.c.state.in_(("running", "lost"))).values(**alive))


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
    #: UTC microseconds of its process's last sign of life, or None where it gives none.
    seen: int | None


_ENDED = select(runs.c.ended).where(runs.c.id == bindparam("id"))

_STANDING = Statement(
    select(runs.c.state, runs.c.deleted, runs.c.author, runs.c.experiment_id, runs.c.seen).where(runs.c.id == bindparam("id"))
)


def present(context: Context, id: str) -> Standing:
    """Return how a run stands that is not deleted.

    Args:
        context: the open transaction.
        id: the run's whole id.

    Raises:
        NotFound: there is no such run.
        Conflict: it is deleted.
    """
    row = _STANDING.one(context.tx, {"id": id})
    if row is None:
        raise missing_run(id)
    _check_present(id, row.deleted)
    return Standing(*row)


def _check_present(id: str, deleted: int | None) -> None:
    if deleted is not None:
        raise Conflict(f"The run {id} is deleted.", f"Restore it with: plimsoll runs restore {id}", run_id=id, deleted=True)


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
    _check_running(id, run.state)
    return run


def running_whole(context: Context, id: str) -> Stored:
    """Return a run that has not ended, whole, for :func:`end_run`.

    Args:
        context: the open transaction.
        id: the run's whole id.

    Raises:
        NotFound: there is no such run.
        Conflict: it is deleted, or has ended.
    """
    known = stored_run(context.tx, id)
    _check_present(id, known.run.deleted)
    _check_running(id, known.state)
    return known


def _check_running(id: str, state: str) -> None:
    if state != "running":
        raise Conflict(f"The run {id} has ended as {state}.", "Start a new run; an ended run is not changed.")


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
    """End a run; ending it again in the same state changes nothing, and one that is lost may end in another."""
    return end_run(request, context, stored_run(context.tx, request.id))


def end_run(request: FinishRun, context: Context, known: Stored) -> Run:
    """End a run as :func:`finish_run` does.

    Args:
        request: how it ends.
        context: the open transaction.
        known: the run, read in this transaction.

    Raises:
        Conflict: it is deleted, or has ended in another state.
        NotFound: the bytes of an artifact are not stored.
    """
    # As it is stored: one that is silent is still to be ended.
    run, stored, seen = known
    if stored == request.state:
        return run
    if stored not in ("running", "lost") or run.deleted is not None:
        running(context, request.id)
    if request.state == "lost" and seen is not None and request.ended is not None and seen > request.ended:
        # One of its processes died, and another has spoken since.
        return run
    if request.artifacts:
        _attach(context, request.id, request.artifacts)
    context.stores.points.settle(context.tx, request.id, request.points)
    end: dict[str, Any] = {"state": request.state, "error": request.error, "ended": clock.now() if request.ended is None else request.ended}
    _CHANGE.change(context.tx, {"of": request.id, **end})
    return replace(run, **end)


def update_run(request: UpdateRun, context: Context) -> Run:
    """Rename a run, or move it to another state."""
    present(context, request.id)
    run = one_run(context.tx, request.id)
    change: dict[str, Any] = {} if request.name is None else {"name": request.name}
    if request.state is not None and request.state != run.state:
        changeable(context, request.id)
        ended = None if request.state == "running" else clock.now() if request.ended is None else request.ended
        if ended is not None:
            context.stores.points.settle(context.tx, request.id)
        # Whoever takes it up says nothing of its process.
        change |= {"state": request.state, "ended": ended}
        context.tx.execute(update(runs).where(runs.c.id == request.id).values(seen=None))
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
    if run.deleted == GONE:
        raise Conflict(f"The run {run.id} is being removed for good.", "Its time in the bin is over; begin a new one.")
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
    _NEW_ARTIFACTS.rows(context.tx, list(rows.values()))


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
    query = selected_runs(context.tx.dialect.name).where(runs.c.id.startswith(request.id, autoescape=True))
    rows = context.tx.execute(query.limit(2)).all()
    if not rows:
        raise NotFound(f"There is no run {request.id!r}.", "List runs with: plimsoll runs list")
    if len(rows) > 1:
        raise InvalidInput(f"Several runs begin with {request.id!r}.", "Give more digits of the id.")
    (run,) = described_runs(rows)
    read = context.tx.execute(select(run_inputs).where(run_inputs.c.run_id == run.id).order_by(run_inputs.c.name)).all()
    return RunDetail(
        run=run,
        metrics=context.stores.points.summaries(context.tx, [run.id]).get(run.id, ()),
        artifacts=artifacts_of(context, run.id),
        inputs=tuple(RunInput(name=row.name, digest=row.digest) for row in read),
        datasets=datasets_of_runs(context.tx, [run.id]).get(run.id, ()),
        models=models_of_runs(context.tx, [run.id]).get(run.id, ()),
    )
