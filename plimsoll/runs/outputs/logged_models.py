"""Logged models begin, get their files, params and metrics, and are joined to the runs that made or read them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from plimsoll import clock
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.run import Artifact
from plimsoll.records.tracking.logged_model import (
    CreateLoggedModel,
    DeleteLoggedModel,
    DropModelFiles,
    FinishLoggedModel,
    GetLoggedModel,
    KeepModelFile,
    LinkModels,
    ListModelFiles,
    LoggedModel,
    LogModelMetrics,
    LogModelParams,
    ModelMetric,
    TagLoggedModel,
)
from plimsoll.runs.experiments import experiment_for
from plimsoll.runs.lifecycle import changeable, present
from plimsoll.runs.outputs.files import FILE
from plimsoll.runs.outputs.kept import artifacts_of
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.tables.tracking import (
    artifacts,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    model_uses,
)


def logged_models_of(tx: Connection, rows: Sequence[Row[Any]]) -> tuple[LoggedModel, ...]:
    """Return rows of ``logged_models`` as records, in their order.

    Args:
        tx: an open transaction.
        rows: whole rows.
    """
    params: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    tags: dict[str, dict[str, str]] = {row.id: {} for row in rows}
    metrics: dict[str, list[ModelMetric]] = {row.id: [] for row in rows}
    for some in chunks(list(params), 500):
        for table, found in ((logged_model_params, params), (logged_model_tags, tags)):
            for row in tx.execute(select(table).where(table.c.model_id.in_(some)).order_by(table.c.name)):
                found[row.model_id][row.name] = row.value
        order = (logged_model_metrics.c.name, logged_model_metrics.c.time, logged_model_metrics.c.run_id)
        for row in tx.execute(select(logged_model_metrics).where(logged_model_metrics.c.model_id.in_(some)).order_by(*order)):
            metrics[row.model_id].append(_metric(row))
    return tuple(
        LoggedModel(
            id=row.id,
            experiment_id=row.experiment_id,
            name=row.name,
            kind=row.kind,
            run_id=row.run_id or "",
            state=row.state,
            author=row.author,
            params=params[row.id],
            tags=tags[row.id],
            metrics=tuple(metrics[row.id]),
            created=row.created,
            updated=row.updated,
            deleted=row.deleted,
        )
        for row in rows
    )


def _metric(row: Row[Any]) -> ModelMetric:
    return ModelMetric(
        model_id=row.model_id,
        run_id=row.run_id,
        name=row.name,
        value=struct.unpack("<d", row.value)[0],
        step=row.step,
        time=row.time,
        dataset=row.dataset,
        digest=row.digest,
    )


def _one(tx: Connection, id: str, deleted: bool = False) -> LoggedModel:
    query = select(logged_models).where(logged_models.c.id == id)
    row = tx.execute(query if deleted else query.where(logged_models.c.deleted.is_(None))).one_or_none()
    if row is None:
        raise NotFound(f"There is no logged model {id!r}.", "Use an id that a run or a search of logged models named.", model_id=id)
    return logged_models_of(tx, [row])[0]


def _touch(tx: Connection, id: str, **values: Any) -> LoggedModel:
    tx.execute(update(logged_models).where(logged_models.c.id == id).values(updated=clock.now(), **values))
    return _one(tx, id, deleted=True)


def create_logged_model(request: CreateLoggedModel, context: Context) -> LoggedModel:
    """Begin a logged model in an experiment that is in use."""
    known = select(logged_models.c.id).where(logged_models.c.id == request.id)
    if request.id and context.tx.execute(known).one_or_none() is not None:
        return _one(context.tx, request.id, deleted=True)
    experiment_id, _ = experiment_for(context.tx, "", request.experiment_id)
    if request.run_id:
        present(context, request.run_id)
    id, now = request.id or f"m-{clock.new_id()}", clock.now()
    context.tx.execute(
        insert(logged_models).values(
            id=id,
            experiment_id=experiment_id,
            name=request.name or f"model-{id[-6:]}",
            kind=request.kind,
            run_id=request.run_id or None,
            state="pending",
            author=context.actor.name,
            created=now if request.created is None else request.created,
            updated=now,
        )
    )
    for table, values in ((logged_model_params, request.params), (logged_model_tags, request.tags)):
        if values:
            context.tx.execute(insert(table), [{"model_id": id, "name": name, "value": value} for name, value in values.items()])
    return _one(context.tx, id)


def get_logged_model(request: GetLoggedModel, context: Context) -> LoggedModel:
    """Return a logged model."""
    return _one(context.tx, request.id, request.deleted)


def finish_logged_model(request: FinishLoggedModel, context: Context) -> LoggedModel:
    """Say whether the files are all there."""
    _one(context.tx, request.id)
    return _touch(context.tx, request.id, state=request.state)


def delete_logged_model(request: DeleteLoggedModel, context: Context) -> LoggedModel:
    """Put a logged model out of sight; deleting it again changes nothing."""
    known = _one(context.tx, request.id, deleted=True)
    return known if known.deleted is not None else _touch(context.tx, request.id, deleted=clock.now())


def tag_logged_model(request: TagLoggedModel, context: Context) -> LoggedModel:
    """Add, replace and remove tags."""
    known = _one(context.tx, request.id)
    missing = [name for name in request.remove if name not in known.tags]
    if missing:
        raise NotFound(f"The logged model {request.id} has no tag {missing[0]!r}.", "Correct the tag's name.", tag=missing[0])
    table = logged_model_tags
    for some in chunks([*request.tags, *request.remove], 500):
        context.tx.execute(table.delete().where(table.c.model_id == request.id, table.c.name.in_(some)))
    if request.tags:
        rows = [{"model_id": request.id, "name": name, "value": value} for name, value in request.tags.items()]
        context.tx.execute(insert(table), rows)
    return _touch(context.tx, request.id)


def log_model_params(request: LogModelParams, context: Context) -> LoggedModel:
    """Add parameters; a known one keeps its value."""
    known = _one(context.tx, request.id)
    for name, value in request.params.items():
        if known.params.get(name, value) != value:
            raise InvalidInput(
                f"The param {name!r} of the logged model {request.id} is {known.params[name][:80]!r} already.", "Log it under another name."
            )
    rows = [{"model_id": request.id, "name": name, "value": value} for name, value in request.params.items() if name not in known.params]
    if rows:
        context.tx.execute(insert(logged_model_params), rows)
    return _touch(context.tx, request.id)


def log_model_metrics(request: LogModelMetrics, context: Context) -> None:
    """Note what was measured; the last step counts, and of one step the last time."""
    table = logged_model_metrics
    for each in request.metrics:
        _one(context.tx, each.model_id)
        changeable(context, each.run_id)
        key = {"model_id": each.model_id, "run_id": each.run_id, "name": each.name, "dataset": each.dataset, "digest": each.digest}
        mine = [table.c[name] == value for name, value in key.items()]
        last = context.tx.execute(select(table.c.step, table.c.time).where(*mine)).one_or_none()
        if last is not None and (last.step, last.time) > (each.step, each.time):
            continue
        context.tx.execute(table.delete().where(*mine))
        number = None if each.value != each.value else each.value
        bits = struct.pack("<d", each.value)
        context.tx.execute(insert(table).values(**key, step=each.step, time=each.time, value=bits, number=number))


def link_models(request: LinkModels, context: Context) -> None:
    """Record which logged models a run read or made."""
    changeable(context, request.run_id)
    for use in request.uses:
        _one(context.tx, use.model_id)
        key = {"run_id": request.run_id, "model_id": use.model_id, "role": use.role}
        context.tx.execute(model_uses.delete().where(*(model_uses.c[name] == value for name, value in key.items())))
        context.tx.execute(insert(model_uses).values(**key, step=use.step))


def list_model_files(request: ListModelFiles, context: Context) -> tuple[Artifact, ...]:
    """Return a logged model's files."""
    _one(context.tx, request.id)
    return artifacts_of(context, request.id)


def keep_model_file(request: KeepModelFile, context: Context) -> Artifact:
    """Attach stored bytes to a logged model."""
    _one(context.tx, request.id)
    if not context.stores.blobs.has(request.digest):
        raise NotFound(f"The bytes {request.digest[:12]} of {request.name!r} are not stored.", "Upload them before naming them.")
    context.tx.execute(artifacts.delete().where(artifacts.c.owner == request.id, artifacts.c.name == request.name))
    row = {"owner": request.id, "name": request.name, "kind": FILE, "digest": request.digest, "size": request.size}
    context.tx.execute(insert(artifacts).values(**row))
    return Artifact(name=request.name, kind=FILE, digest=request.digest, size=request.size)


def drop_model_files(request: DropModelFiles, context: Context) -> None:
    """Take files from a logged model."""
    _one(context.tx, request.id)
    for names in chunks(list(request.names), 500):
        context.tx.execute(artifacts.delete().where(artifacts.c.owner == request.id, artifacts.c.name.in_(names)))
