"""Runs that a filter lets through, a page at a time.

What orders by a metric, a parameter or a tag is answered in parts, each along an index: the runs that have a number or a
text, then those whose metric is NaN, then those that have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, and_, case, exists, not_

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.records.run import RunDetail
from plimsoll.records.tracking.find import RunPage, SearchRuns
from plimsoll.runs.described import described_runs, selected_runs
from plimsoll.runs.outputs.uses import datasets_of_runs, models_of_runs
from plimsoll.runs.search.language import parsed_filter, parsed_order
from plimsoll.runs.search.meaning import Known, attribute, condition_of, ordered, value_of
from plimsoll.runs.search.pages import Key, Place, behind, place_of, token_of
from plimsoll.store.contracts import Context
from plimsoll.store.tables.tracking import runs


class _Part(NamedTuple):
    query: Select[Any]
    keys: list[Key]


def search_runs(request: SearchRuns, context: Context) -> RunPage:
    """Return a page of the runs that a filter lets through, in order; ties by start, newest first, then by id."""
    parts = _parts(request, context.tx.dialect.name)
    asked = (request.experiments, request.where, request.order, request.view)
    question = codec.digest(codec.to_msgpack(asked))[:16]
    place = None if request.page is None else place_of(request.page, question)
    rows: list[tuple[int, Row[Any]]] = []
    for number, part in enumerate(parts):
        if place is not None and number < place.part:
            continue
        query = part.query.add_columns(*(key.expression.label(f"key_{index}") for index, key in enumerate(part.keys)))
        if place is not None and number == place.part:
            if len(place.keys) != len(part.keys) or place.keys[-1] is None:
                raise InvalidInput("Invalid page token: it does not fit the order.", "Ask for the first page, without a token.")
            query = query.where(behind(part.keys, place.keys))
        query = query.order_by(*(key.expression.desc() if key.descending else key.expression for key in part.keys))
        found = context.tx.execute(query.limit(request.limit + 1 - len(rows))).all()
        rows.extend((number, row) for row in found)
        if len(rows) > request.limit:
            break
    shown = rows[: request.limit]
    token = None
    if len(rows) > request.limit:
        number, row = shown[-1]
        keys = tuple(row._mapping[f"key_{index}"] for index in range(len(parts[number].keys)))
        token = token_of(Place(question, number, keys))
    return RunPage(runs=_details(request, context, [row for _, row in shown]), next=token)


def _details(request: SearchRuns, context: Context, rows: Sequence[Row[Any]]) -> tuple[RunDetail, ...]:
    page = described_runs(context.tx, rows, request.params, request.tags)
    wanted = None if request.metrics is None else set(request.metrics)
    metrics = {} if wanted is not None and not wanted else context.stores.points.summaries(context.tx, [run.id for run in page])
    ids = [run.id for run in page]
    read, models = datasets_of_runs(context.tx, ids), models_of_runs(context.tx, ids)
    return tuple(
        RunDetail(
            run=run,
            metrics=tuple(each for each in metrics.get(run.id, ()) if wanted is None or each.name in wanted),
            artifacts=(),
            inputs=(),
            datasets=read.get(run.id, ()),
            models=models.get(run.id, ()),
        )
        for run in page
    )


def _parts(request: SearchRuns, dialect: str) -> list[_Part]:
    order = ordered(tuple(parsed_order(text) for text in request.order))
    query = selected_runs().where(condition_of(parsed_filter(request.where), dialect))
    if request.experiments is not None:
        query = query.where(runs.c.experiment_id.in_(request.experiments))
    if request.view != "all":
        query = query.where(runs.c.deleted.is_(None) if request.view == "active" else runs.c.deleted.is_not(None))
    if not order or order[0][0].kind == "attribute":
        return [_rest(query, [], order)]
    (name, descending), rest = order[0], order[1:]
    table, column = value_of(name)
    mine = table.alias("first")
    value = mine.c[column.name]
    joined = query.join(mine, and_(mine.c.run_id == runs.c.id, mine.c.name == name.key))
    without = not_(exists().where(table.c.run_id == runs.c.id, table.c.name == name.key))
    first = [Key(value, descending)]
    parts = [_rest(joined.where(value.is_not(None)), first, rest)]
    if name.kind == "metric":
        parts.append(_rest(joined.where(value.is_(None)), [], rest))
    return [*parts, _rest(query.where(without), [], rest)]


def _rest(query: Select[Any], keys: list[Key], order: list[tuple[Known, bool]]) -> _Part:
    """Return a query with what orders it: ``keys``, then ``order``, then start and id."""
    keys = list(keys)
    by_start = False
    for number, (name, descending) in enumerate(order):
        if name.kind == "attribute":
            by_start = by_start or name.key == "start_time"
            expression = runs.c.started if name.key == "start_time" else runs.c.ended if name.key == "end_time" else attribute(name.key)
            if name.key == "end_time":
                keys.append(Key(case((expression.is_(None), 1), else_=0), False))
            keys.append(Key(expression, descending))
            continue
        table, column = value_of(name)
        mine = table.alias(f"also_{number}")
        value = mine.c[column.name]
        query = query.outerjoin(mine, and_(mine.c.run_id == runs.c.id, mine.c.name == name.key))
        keys.append(Key(case((mine.c.run_id.is_(None), 2), (value.is_(None), 1), else_=0), False))
        keys.append(Key(value, descending))
    if not by_start:
        keys.append(Key(runs.c.started, True))
    return _Part(query, [*keys, Key(runs.c.id, False)])
