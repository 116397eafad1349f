"""Registered models and versions that a filter lets through, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, select

from plimsoll.records.mlflow.words import PROMPT_TAG
from plimsoll.records.registry.catalog import ModelPage, SearchModels, SearchVersions, VersionPage
from plimsoll.registry.catalog.names import models_of
from plimsoll.registry.versions import versions_of
from plimsoll.runs.search.language import Condition, Every, Not, Some, parsed_filter
from plimsoll.runs.search.pages import Key
from plimsoll.runs.search.vocabulary import Rows, Vocabulary, condition_in, keys_in, page_of
from plimsoll.store.contracts import Context
from plimsoll.store.schema import model_tags, models, version_tags, versions


def _model_tags(key: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    return and_(model_tags.c.model == models.c.name, model_tags.c.name == key), model_tags.c.value


def _version_tags(key: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    mine = and_(version_tags.c.model == versions.c.model, version_tags.c.number == versions.c.number)
    return and_(mine, version_tags.c.name == key), version_tags.c.value


def _milliseconds(column: Column[int]) -> ColumnElement[Any]:
    # As MLflow's clients count.
    return column.op("/")(1000)


_MODEL_TAGS: Mapping[str, Rows] = {"tag": _model_tags}
_VERSION_TAGS: Mapping[str, Rows] = {"tag": _version_tags}

_MODELS = Vocabulary({"name": models.c.name}, frozenset(), _MODEL_TAGS)

_VERSIONS = Vocabulary(
    {
        "name": versions.c.model,
        "run_id": versions.c.run_id,
        "source_path": versions.c.source,
        "version_number": versions.c.number,
        "creation_timestamp": _milliseconds(versions.c.created),
        "last_updated_timestamp": _milliseconds(versions.c.updated),
    },
    frozenset({"version_number", "creation_timestamp", "last_updated_timestamp"}),
    _VERSION_TAGS,
    # MLflow's clients tell a version's number as text, so filters hold what they told.
    quoted=frozenset({"version_number"}),
)

_MODEL_ORDER: Mapping[str, ColumnElement[Any]] = {
    "name": models.c.name, "timestamp": models.c.updated, "last_updated_timestamp": models.c.updated,
}  # fmt: skip

_VERSION_ORDER: Mapping[str, ColumnElement[Any]] = {
    "name": versions.c.model,
    "version_number": versions.c.number,
    "creation_timestamp": versions.c.created,
    "last_updated_timestamp": versions.c.updated,
}


def _asked(where: str) -> Condition:
    return _without_prompts(parsed_filter(where))


def _without_prompts(condition: Condition) -> Condition:
    match condition:
        case Every(parts):
            return Every(tuple(map(_without_prompts, parts)))
        case Some(parts):
            return Some(tuple(map(_without_prompts, parts)))
        case Not(part):
            return Not(_without_prompts(part))
    if condition.name.key != PROMPT_TAG:
        return condition
    prompts = (condition.operator == "=") == (str(condition.value).lower() == "true")
    return Some(()) if prompts else Every(())


def search_models(request: SearchModels, context: Context) -> ModelPage:
    """Return a page of registered models; ties by name."""
    keys = keys_in(request.order, _MODEL_ORDER, (Key(models.c.name, False),), "order by key")
    query = select(models).where(condition_in(_asked(request.where), _MODELS, context.tx.dialect.name))
    rows, token = page_of(context.tx, query, keys, request.limit, request.page, ("models", request.where, request.order))
    return ModelPage(models=models_of(context.tx, rows), next=token)


def search_versions(request: SearchVersions, context: Context) -> VersionPage:
    """Return a page of versions; the one changed last first, ties by name and number, the highest first."""
    order = request.order or ("last_updated_timestamp DESC",)
    keys = keys_in(order, _VERSION_ORDER, (Key(versions.c.model, False), Key(versions.c.number, True)))
    query = select(versions).where(condition_in(_asked(request.where), _VERSIONS, context.tx.dialect.name))
    rows, token = page_of(context.tx, query, keys, request.limit, request.page, ("versions", request.where, request.order))
    return VersionPage(versions=versions_of(context.tx, rows), next=token)
