"""Registered names: they come, are described, renamed, tagged and forgotten, and aliases move between their versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, tuple_, update

from plimsoll import clock
from plimsoll.errors import Conflict, NotFound, Refused
from plimsoll.records.model import Version
from plimsoll.records.registry.catalog import (
    CreateModel,
    DeleteModel,
    DescribeModel,
    GetModel,
    RegisteredModel,
    RemoveAlias,
    RenameModel,
    SetAlias,
    TagModel,
)
from plimsoll.registry.versions import insert_model, versions_of
from plimsoll.store.contracts import Context, chunks
from plimsoll.store.schema import aliases, environments, model_tags, models, releases, reports, version_tags, versions


def models_of(tx: Connection, rows: Sequence[Row[Any]]) -> tuple[RegisteredModel, ...]:
    """Return rows of ``models`` as records, in their order.

    Args:
        tx: an open transaction.
        rows: whole rows.
    """
    names = [row.name for row in rows]
    tags: dict[str, dict[str, str]] = {name: {} for name in names}
    pointing: dict[str, dict[str, int]] = {name: {} for name in names}
    latest: dict[str, list[Version]] = {name: [] for name in names}
    for some in chunks(names, 300):
        for tag in tx.execute(select(model_tags).where(model_tags.c.model.in_(some)).order_by(model_tags.c.name)):
            tags[tag.model][tag.name] = tag.value
        for alias in tx.execute(select(aliases).where(aliases.c.model.in_(some)).order_by(aliases.c.alias)):
            pointing[alias.model][alias.alias] = alias.number
        newest = select(versions.c.model, func.max(versions.c.number)).where(versions.c.model.in_(some))
        newest = newest.group_by(versions.c.model, versions.c.stage)
        mine = select(versions).where(tuple_(versions.c.model, versions.c.number).in_(newest)).order_by(versions.c.model, versions.c.number)
        for version in versions_of(tx, tx.execute(mine).all()):
            latest[version.model].append(version)
    return tuple(
        RegisteredModel(
            name=row.name,
            description=row.description,
            tags=tags[row.name],
            aliases=pointing[row.name],
            latest=tuple(latest[row.name]),
            created=row.created,
            updated=row.updated,
        )
        for row in rows
    )


def _one(tx: Connection, name: str) -> RegisteredModel:
    row = tx.execute(select(models).where(models.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no model {name!r}.", "List models with: plimsoll models list", model=name)
    return models_of(tx, [row])[0]


def _check_free(tx: Connection, name: str) -> None:
    if tx.execute(select(models.c.name).where(models.c.name == name)).one_or_none() is not None:
        raise Conflict(f"There is a model {name!r} already.", "Use it, or use another name.", model=name)


def _touch(tx: Connection, name: str, **values: Any) -> RegisteredModel:
    tx.execute(update(models).where(models.c.name == name).values(updated=clock.now(), **values))
    return _one(tx, name)


def create_model(request: CreateModel, context: Context) -> RegisteredModel:
    """Register a name without a version."""
    _check_free(context.tx, request.name)
    insert_model(context.tx, request.name, request.description, request.created)
    _put_tags(context.tx, request.name, request.tags)
    return _one(context.tx, request.name)


def get_model(request: GetModel, context: Context) -> RegisteredModel:
    """Return a registered model."""
    return _one(context.tx, request.name)


def describe_model(request: DescribeModel, context: Context) -> RegisteredModel:
    """Replace a model's description."""
    _one(context.tx, request.name)
    return _touch(context.tx, request.name, description=request.description)


def rename_model(request: RenameModel, context: Context) -> RegisteredModel:
    """Give a model without packages another name."""
    tx = context.tx
    known = _one(tx, request.name)
    if known.name == request.to:
        return known
    _check_free(tx, request.to)
    if _has_package(tx, request.name):
        raise Refused(
            f"{request.name!r} has packages, and their files say its name.", "Register the next version under the new name instead."
        )
    row = tx.execute(select(models).where(models.c.name == request.name)).one()
    tx.execute(insert(models).values(**{**row._mapping, "name": request.to, "updated": clock.now()}))
    # Rows go over one table at a time, so that none ever names what is not there: the tags of versions after the versions.
    moved = tx.execute(select(version_tags).where(version_tags.c.model == request.name)).all()
    tx.execute(version_tags.delete().where(version_tags.c.model == request.name))
    for table in (versions, aliases, model_tags):
        tx.execute(update(table).where(table.c.model == request.name).values(model=request.to))
    if moved:
        tx.execute(insert(version_tags), [{**tag._mapping, "model": request.to} for tag in moved])
    tx.execute(models.delete().where(models.c.name == request.name))
    return _one(tx, request.to)


def _has_package(tx: Connection, name: str) -> bool:
    packages = select(versions.c.number).where(versions.c.model == name, versions.c.meta.is_not(None)).limit(1)
    return tx.execute(packages).one_or_none() is not None


def check_unreleased(tx: Connection, model: str, number: int | None = None) -> None:
    """Refuse to forget what was released: predictions and approvals point to it.

    Args:
        tx: an open transaction.
        model: registered name.
        number: version number; None is any of the model's.

    Raises:
        Refused: there is a release.
    """
    query = select(releases.c.number, releases.c.environment).where(releases.c.model == model).limit(1)
    row = tx.execute(query if number is None else query.where(releases.c.number == number)).one_or_none()
    if row is not None:
        raise Refused(
            f"{model}/{row.number} has a release for {row.environment}.", "What was proposed or released is evidence and is not forgotten."
        )


def forget_versions(tx: Connection, model: str, number: int | None = None) -> None:
    """Remove versions with all that is noted about them; the bytes stay until they are collected.

    Args:
        tx: an open writing transaction.
        model: registered name.
        number: version number; None is all of the model's.
    """
    for table in (version_tags, aliases, reports, versions):
        rows = table.delete().where(table.c.model == model)
        tx.execute(rows if number is None else rows.where(table.c.number == number))


def delete_model(request: DeleteModel, context: Context) -> RegisteredModel:
    """Forget a name and its versions, none of which was ever released."""
    known = _one(context.tx, request.name)
    check_unreleased(context.tx, request.name)
    forget_versions(context.tx, request.name)
    context.tx.execute(model_tags.delete().where(model_tags.c.model == request.name))
    context.tx.execute(models.delete().where(models.c.name == request.name))
    return known


def _put_tags(tx: Connection, name: str, tags: dict[str, str], remove: Sequence[str] = ()) -> None:
    for some in chunks([*tags, *remove], 500):
        tx.execute(model_tags.delete().where(model_tags.c.model == name, model_tags.c.name.in_(some)))
    if tags:
        tx.execute(insert(model_tags), [{"model": name, "name": key, "value": value} for key, value in tags.items()])


def tag_model(request: TagModel, context: Context) -> RegisteredModel:
    """Add, replace and remove tags."""
    _one(context.tx, request.name)
    _put_tags(context.tx, request.name, request.tags, request.remove)
    return _one(context.tx, request.name)


def set_alias(request: SetAlias, context: Context) -> RegisteredModel:
    """Let an alias name a version."""
    _check_alias(context.tx, request.model, request.alias)
    mine = (versions.c.model == request.model, versions.c.number == request.number)
    if context.tx.execute(select(versions.c.number).where(*mine)).one_or_none() is None:
        raise NotFound(
            f"There is no version {request.model}/{request.number}.", f"List versions with: plimsoll models list {request.model}"
        )
    _drop_alias(context.tx, request.model, request.alias)
    context.tx.execute(insert(aliases).values(model=request.model, alias=request.alias, number=request.number))
    return _one(context.tx, request.model)


def remove_alias(request: RemoveAlias, context: Context) -> RegisteredModel:
    """Forget an alias."""
    _check_alias(context.tx, request.model, request.alias)
    _drop_alias(context.tx, request.model, request.alias)
    return _one(context.tx, request.model)


def _check_alias(tx: Connection, model: str, alias: str) -> None:
    """Refuse to move by hand what says which version an environment serves."""
    _one(tx, model)
    declared = tx.execute(select(environments.c.name).where(environments.c.name == alias)).one_or_none()
    if declared is not None and _has_package(tx, model):
        raise Refused(
            f"{model}@{alias} is the version that {alias} serves; it moves with releases.",
            f"Propose a version with: plimsoll releases create {model}/N --environment {alias}; or use another alias.",
        )


def _drop_alias(tx: Connection, model: str, alias: str) -> None:
    tx.execute(aliases.delete().where(aliases.c.model == model, aliases.c.alias == alias))
