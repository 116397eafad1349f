"""Runs of a page whose params and tags are text: the database writes them as JSON, and nothing on the way reads them.

To make records of a page and JSON of the records again took longer than to find its runs.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, exists, func, or_, select

from plimsoll import clock
from plimsoll.records.mlflow.words import NAME_TAG
from plimsoll.records.tracking.find import RunText, SearchRunTexts, TextPage
from plimsoll.runs.described import SILENCE, is_silent
from plimsoll.runs.outputs.uses import datasets_of_runs, models_of_runs
from plimsoll.runs.search.finding import page_ids
from plimsoll.runs.search.meaning import attribute
from plimsoll.store.contracts import Context
from plimsoll.store.tables.statements import Statement, among
from plimsoll.store.tables.tracking import dataset_uses, model_uses, run_params, run_tags, runs


def search_run_texts(request: SearchRunTexts, context: Context) -> TextPage:
    """Return a page of the runs that a filter lets through, in the order of ``SearchRuns``."""
    ids, token = page_ids(request.search, context.tx)
    rows = {row[0]: row for row in _SEVERAL.plain(context.tx, {"ids": ids})}
    using = [id for id in ids if rows[id][-1]]
    read, models = datasets_of_runs(context.tx, using), models_of_runs(context.tx, using)
    metrics, since = context.stores.points.last_points(context.tx, ids), clock.now() - SILENCE
    found = []
    for id in ids:
        _, experiment_id, name, state, user, started, ended, seen, deleted, params, tags, _ = rows[id]
        if is_silent(state, seen, since):
            state, ended = "lost", seen
        found.append(
            RunText(
                id=id,
                experiment_id=experiment_id,
                name=name,
                state=state,
                user=user,
                started=started,
                ended=ended,
                deleted=deleted,
                params=params or "[]",
                tags=tags or "[]",
                metrics=tuple(metrics.get(id, ())),
                datasets=read.get(id, ()),
                models=models.get(id, ()),
            )
        )
    return TextPage(runs=tuple(found), next=token)


def _several(dialect: str) -> Select[Any]:
    own = (runs.c.id, runs.c.experiment_id, runs.c.name, runs.c.state, attribute("user_id"), runs.c.started, runs.c.ended)
    params = _pairs(dialect, run_params.c.text, run_params.c.run_id == runs.c.id)
    tags = _pairs(dialect, run_tags.c.value, run_tags.c.run_id == runs.c.id, run_tags.c.name != NAME_TAG)
    uses = or_(exists().where(dataset_uses.c.run_id == runs.c.id), exists().where(model_uses.c.run_id == runs.c.id))
    query = select(*own, runs.c.seen, runs.c.deleted, params, tags, uses.label("uses"))
    return query.where(among(runs.c.id, "ids", dialect))


_SEVERAL = Statement(_several)


def _pairs(dialect: str, value: ColumnElement[str], *mine: ColumnElement[bool]) -> ColumnElement[str | None]:
    """Return names and values of a run's rows as JSON."""
    name: ColumnElement[str] = value.table.c.name
    if dialect == "sqlite":
        told: ColumnElement[Any] = func.json_group_array(func.json_object("key", name, "value", value))
    else:
        told = cast(func.json_agg(func.json_build_object("key", name, "value", value)), Text)
    return select(told).where(*mine).correlate(runs).scalar_subquery()
