"""Request traces that a filter lets through, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, false, func, not_, or_, select, true

from plimsoll.errors import InvalidInput
from plimsoll.records.mlflow.words import SESSION_KEY
from plimsoll.records.tracking.traces.assessment import AssessmentKind
from plimsoll.records.tracking.traces.trace import SearchTraces, TracePage
from plimsoll.runs.search.language import Comparison, Condition, Every, Not, Some, parsed_filter, parsed_order
from plimsoll.runs.search.pages import Key
from plimsoll.runs.search.vocabulary import KINDS, Having, Mixed, Rows, Vocabulary, condition_in, keys_in, page_of
from plimsoll.runs.traces.inside import holds_inside, is_inside
from plimsoll.runs.traces.recorded import traces_of
from plimsoll.store.contracts import Context
from plimsoll.store.tables.tracking import assessments, trace_links, trace_metadata, trace_tags, traces


def _tags(key: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    return and_(trace_tags.c.trace_id == traces.c.id, trace_tags.c.name == key), trace_tags.c.value


def _metadata(key: str) -> tuple[ColumnElement[bool], ColumnElement[Any]]:
    return and_(trace_metadata.c.trace_id == traces.c.id, trace_metadata.c.name == key), trace_metadata.c.value


def _value(row: tuple[ColumnElement[bool], ColumnElement[Any]]) -> ColumnElement[Any]:
    has, value = row
    return select(value).where(has).scalar_subquery()


#: Milliseconds, as MLflow's clients count.
_STARTED = traces.c.started.op("/")(1000)
_TOOK = traces.c.duration.op("/")(1000)
_ENDED = (traces.c.started + traces.c.duration).op("/")(1000)

#: What not every trace has.
_MAY_LACK: Mapping[str, ColumnElement[Any]] = {
    "name": _value(_tags("mlflow.traceName")),
    "run_id": _value(_metadata("mlflow.sourceRun")),
}

_ATTRIBUTES: Mapping[str, ColumnElement[Any]] = {
    "status": case({"ok": "OK", "error": "ERROR", "running": "IN_PROGRESS"}, value=traces.c.state, else_="STATE_UNSPECIFIED"),
    "request_id": traces.c.id,
    "trace_id": traces.c.id,
    # Without one a trace differs from none that is asked for, as one without a tag.
    "client_request_id": func.nullif(traces.c.client_id, ""),
    **_MAY_LACK,
    **{name: _STARTED for name in ("timestamp", "timestamp_ms")},
    **{name: _TOOK for name in ("execution_time", "execution_time_ms")},
    **{name: _ENDED for name in ("end_time", "end_time_ms")},
}

_NUMBERS = frozenset(name for name in _ATTRIBUTES if name.startswith(("timestamp", "execution", "end_time")))


#: The trace that something was said of.
_SAID_OF = traces.alias("said_of")

_ROWS: Mapping[str, Rows] = {"tag": _tags, "metadata": _metadata}


def _vocabulary(experiments: Sequence[str]) -> Vocabulary:
    """Return what names mean where the traces of some experiments are searched."""
    mixed = {"feedback": _assessed("feedback", experiments), "expectation": _assessed("expectation", experiments)}
    return Vocabulary(_ATTRIBUTES, _NUMBERS, _ROWS, mixed, patterns=True, quoted=_NUMBERS)


def _assessed(kind: AssessmentKind, experiments: Sequence[str]) -> Mixed:
    """Return how traces are found by what is said of them, or, of one of the experiments' traces, of the session that is theirs too."""

    def rows(key: str) -> tuple[Having, ColumnElement[Any], ColumnElement[Any]]:
        of_name = and_(assessments.c.kind == kind, assessments.c.name == key, assessments.c.valid)

        def having(holds: ColumnElement[bool]) -> ColumnElement[bool]:
            own = exists().where(assessments.c.trace_id == traces.c.id, of_name, holds)
            theirs = trace_metadata.alias("theirs")
            # Asked once for all traces: it names none of them.
            sessions = (
                select(theirs.c.value)
                .join(assessments, assessments.c.trace_id == theirs.c.trace_id)
                .join(_SAID_OF, _SAID_OF.c.id == theirs.c.trace_id)
                .where(theirs.c.name == SESSION_KEY, _SAID_OF.c.experiment_id.in_(experiments), assessments.c.session, of_name, holds)
                .correlate(None)
            )
            mine, session = _metadata(SESSION_KEY)
            return or_(own, exists().where(mine, session.in_(sessions)))

        return having, assessments.c.text, assessments.c.number

    return rows


_LONG = func.coalesce(traces.c.duration, -1)
_UNTIL = traces.c.started + func.coalesce(traces.c.duration, 0)

_ORDER: Mapping[str, ColumnElement[Any]] = {
    "request_id": traces.c.id,
    "trace_id": traces.c.id,
    "experiment_id": traces.c.experiment_id,
    "status": _ATTRIBUTES["status"],
    **{name: traces.c.started for name in ("timestamp", "timestamp_ms")},
    **{name: _LONG for name in ("execution_time", "execution_time_ms")},
    **{name: _UNTIL for name in ("end_time", "end_time_ms")},
}


def _condition(condition: Condition, vocabulary: Vocabulary, dialect: str) -> ColumnElement[bool]:
    match condition:
        case Every(parts):
            inside = [part for part in parts if isinstance(part, Comparison) and is_inside(part)]
            others = [_condition(part, vocabulary, dialect) for part in parts if part not in inside]
            return and_(true(), *others, *([holds_inside(inside, dialect)] if inside else []))
        case Some(parts):
            return or_(false(), *(_condition(part, vocabulary, dialect) for part in parts))
        case Not(part):
            return not_(_condition(part, vocabulary, dialect))
    if is_inside(condition):
        return holds_inside([condition], dialect)
    if condition.name.kind.lower() == "issue":
        return _issue(condition)
    if _is_of_run(condition):
        linked = and_(trace_links.c.trace_id == traces.c.id, trace_links.c.run_id == condition.value)
        return or_(exists().where(linked), condition_in(condition, vocabulary, dialect))
    return condition_in(condition, vocabulary, dialect)


def _is_of_run(condition: Comparison) -> bool:
    """Say whether a condition asks for the traces of one run: those that it made, and those that were linked to it."""
    kind = KINDS.get(condition.name.kind.lower())
    names = {"attribute": "run_id", "metadata": "mlflow.sourceRun"}
    return condition.operator == "=" and isinstance(condition.value, str) and names.get(kind or "") == condition.name.key


def _issue(condition: Comparison) -> ColumnElement[bool]:
    if (condition.name.key, condition.operator) != ("id", "=") or not isinstance(condition.value, str):
        raise InvalidInput("Of an issue only the id can be compared, and only with =.", "Write for example: issue.id = 'late answers'")
    of_trace = and_(assessments.c.trace_id == traces.c.id, assessments.c.kind == "issue")
    return exists().where(of_trace, assessments.c.name == condition.value)


def _keys(order: Sequence[str]) -> list[Key]:
    """Return what orders traces; those that lack what is asked for come last."""
    keys: list[Key] = []
    seen: set[tuple[str, str]] = set()
    for text in order:
        item = parsed_order(text)
        kind, key = KINDS.get(item.name.kind.lower(), ""), item.name.key
        if (kind, key) in seen:
            raise InvalidInput(f"`order_by` contains duplicate fields: {list(order)}", "Name each once.")
        seen.add((kind, key))
        column = _MAY_LACK.get(key) if kind == "attribute" else _value(_ROWS[kind](key)) if kind in _ROWS else None
        if column is None:
            keys += keys_in((text,), _ORDER, ())
        else:
            keys += [Key(case((column.is_(None), 1), else_=0), False), Key(func.coalesce(column, ""), item.descending)]
    return [*keys, Key(traces.c.started, True), Key(traces.c.id, False)]


def search_traces(request: SearchTraces, context: Context) -> TracePage:
    """Return a page of traces; ties by id. One that goes on counts as the shortest."""
    keys = _keys(request.order)
    holds = _condition(parsed_filter(request.where), _vocabulary(request.experiments), context.tx.dialect.name)
    query = select(traces).where(traces.c.experiment_id.in_(request.experiments), holds)
    asked = ("traces", request.experiments, request.where, request.order)
    rows, token = page_of(context.tx, query, keys, request.limit, request.page, asked)
    return TracePage(traces=traces_of(context.tx, rows), next=token)
