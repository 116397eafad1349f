"""Experiments that a filter lets through, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, select

from plimsoll.records.tracking.experiment import ExperimentPage, SearchExperiments
from plimsoll.runs.experiments import experiments_of
from plimsoll.runs.search.language import parsed_filter
from plimsoll.runs.search.pages import Key
from plimsoll.runs.search.vocabulary import Vocabulary, condition_in, keys_in, page_of
from plimsoll.store.contracts import Context
from plimsoll.store.tables.tracking import experiment_tags, experiments


def _tags(key: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    return and_(experiment_tags.c.experiment_id == experiments.c.id, experiment_tags.c.name == key), experiment_tags.c.value


_VOCABULARY = Vocabulary(
    {
        "name": experiments.c.name,
        "experiment_id": experiments.c.id,
        # Milliseconds, as MLflow's clients count.
        "creation_time": experiments.c.created.op("/")(1000),
        "last_update_time": experiments.c.updated.op("/")(1000),
    },
    frozenset({"creation_time", "last_update_time"}),
    {"tag": _tags},
)

_ORDER: Mapping[str, ColumnElement[Any]] = {
    "name": experiments.c.name,
    "experiment_id": experiments.c.id,
    "creation_time": experiments.c.created,
    "last_update_time": experiments.c.updated,
}


def search_experiments(request: SearchExperiments, context: Context) -> ExperimentPage:
    """Return a page of experiments; ties by id, the newest first."""
    keys = keys_in(request.order or ("last_update_time DESC",), _ORDER, (Key(experiments.c.id, True),))
    query = select(experiments).where(condition_in(parsed_filter(request.where), _VOCABULARY, context.tx.dialect.name))
    if request.view != "all":
        query = query.where(experiments.c.deleted.is_(None) if request.view == "active" else experiments.c.deleted.is_not(None))
    asked = ("experiments", request.where, request.order, request.view)
    rows, token = page_of(context.tx, query, keys, request.limit, request.page, asked)
    return ExperimentPage(experiments=experiments_of(context.tx, rows), next=token)
