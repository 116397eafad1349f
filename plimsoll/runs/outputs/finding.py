"""Logged models that a filter lets through, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select

from plimsoll import codec
from plimsoll.errors import InvalidInput
from plimsoll.records.tracking.logged_model import LoggedModelPage, ModelOrder, OnDataset, SearchLoggedModels
from plimsoll.runs.outputs.logged_models import logged_models_of
from plimsoll.runs.search.language import Comparison, Condition, Every, Not, Some, parsed_filter
from plimsoll.runs.search.pages import Key
from plimsoll.runs.search.vocabulary import KINDS, Vocabulary, condition_in, page_of
from plimsoll.store.contracts import Context
from plimsoll.store.tables.tracking import logged_model_metrics, logged_model_params, logged_model_tags, logged_models

#: What a filter or an order may name; times in milliseconds, as MLflow's clients count.
_ATTRIBUTES: dict[str, ColumnElement[Any]] = {
    "name": logged_models.c.name,
    "model_id": logged_models.c.id,
    "model_type": logged_models.c.kind,
    "status": case({"pending": "PENDING", "ready": "READY", "failed": "FAILED"}, value=logged_models.c.state),
    "source_run_id": logged_models.c.run_id,
    "experiment_id": logged_models.c.experiment_id,
    **{name: logged_models.c.created.op("/")(1000) for name in ("creation_timestamp", "creation_time")},
    **{name: logged_models.c.updated.op("/")(1000) for name in ("last_updated_timestamp", "last_updated_time")},
}

#: What a state is called in a filter. A search for any other word would find nothing, which looks like an answer.
_STATES = frozenset({"PENDING", "READY", "FAILED", "UNSPECIFIED"})

_NUMBERS = frozenset(name for name in _ATTRIBUTES if name.startswith(("creation", "last_updated")))


def _params(key: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    table = logged_model_params
    return and_(table.c.model_id == logged_models.c.id, table.c.name == key), table.c.value


def _tags(key: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    table = logged_model_tags
    return and_(table.c.model_id == logged_models.c.id, table.c.name == key), table.c.value


def _on(datasets: Sequence[OnDataset]) -> list[ColumnElement[bool]]:
    """Return the condition that a metric is of one of the datasets, or none for all."""
    table = logged_model_metrics
    ways = [and_(table.c.dataset == each.name, *([table.c.digest == each.digest] if each.digest else [])) for each in datasets]
    return [or_(*ways)] if ways else []


def search_logged_models(request: SearchLoggedModels, context: Context) -> LoggedModelPage:
    """Return a page of logged models, in order; ties by beginning, newest first, then by id."""
    if any(not each.name for each in request.datasets):
        raise InvalidInput("`dataset_name` in the `datasets` clause must be specified.", "Name the dataset.")

    def measured(key: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
        table = logged_model_metrics
        return and_(table.c.model_id == logged_models.c.id, table.c.name == key, *_on(request.datasets)), table.c.number

    vocabulary = Vocabulary(_ATTRIBUTES, _NUMBERS, {"tag": _tags, "param": _params, "metric": measured})
    wanted = parsed_filter(request.where)
    _check_states(wanted)
    query = select(logged_models).where(
        logged_models.c.deleted.is_(None),
        logged_models.c.experiment_id.in_(request.experiments),
        condition_in(wanted, vocabulary, context.tx.dialect.name),
    )
    if request.datasets and not _asks_metrics(wanted):
        query = query.where(exists().where(logged_model_metrics.c.model_id == logged_models.c.id, *_on(request.datasets)))
    query, keys = _ordered(query, request.order)
    asked = codec.plain((request.experiments, request.where, request.datasets, request.order))
    rows, token = page_of(context.tx, query, keys, request.limit, request.page, asked)
    return LoggedModelPage(models=logged_models_of(context.tx, rows), next=token)


def _asks_metrics(condition: Condition) -> bool:
    match condition:
        case Every(parts) | Some(parts):
            return any(map(_asks_metrics, parts))
        case Comparison(name):
            return name.kind.lower() in ("metric", "metrics")
    return _asks_metrics(condition.part)


def _check_states(condition: Condition) -> None:
    match condition:
        case Every(parts) | Some(parts):
            for part in parts:
                _check_states(part)
        case Not(part):
            _check_states(part)
        case Comparison(name, sign, value) if name.key == "status" and KINDS.get(name.kind.lower()) == "attribute" and "LIKE" not in sign:
            for state in value if isinstance(value, tuple) else (value,):
                if isinstance(state, str) and state not in _STATES:
                    raise InvalidInput(f"Unknown model status in filter: '{state}'", "Use PENDING, READY or FAILED.")


def _ordered(query: Select[Any], order: Sequence[ModelOrder]) -> tuple[Select[Any], list[Key]]:
    keys: list[Key] = []
    for number, item in enumerate(order):
        kind, dot, name = item.by.partition(".")
        if dot and kind != "metrics":
            raise InvalidInput(f"Invalid order by field name: {item.by}. Only metrics are supported.", "Write for example: metrics.auc")
        if not dot and item.by not in _ATTRIBUTES:
            raise InvalidInput(f"Invalid order by field name: {item.by}", f"Use one of: {', '.join(_ATTRIBUTES)}, or metrics.NAME.")
        if dot:
            datasets = [OnDataset(name=item.dataset, digest=item.digest)] if item.dataset else []
            table = logged_model_metrics
            place = func.row_number().over(
                partition_by=table.c.model_id, order_by=[table.c.time.desc(), table.c.step.desc(), table.c.run_id]
            )
            numbered = select(table.c.model_id, table.c.number, place.label("place")).where(table.c.name == name, *_on(datasets)).subquery()
            last = select(numbered.c.model_id, numbered.c.number).where(numbered.c.place == 1).subquery(f"measured_{number}")
            query = query.outerjoin(last, last.c.model_id == logged_models.c.id)
            value: ColumnElement[Any] = last.c.number
        else:
            value = _ATTRIBUTES[item.by]
        keys += [Key(case((value.is_(None), 1), else_=0), False), Key(value, item.descending)]
    return query, [*keys, Key(logged_models.c.created, True), Key(logged_models.c.id, False)]
