from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, event, insert

from plimsoll.errors import InvalidInput
from plimsoll.records.run import PointColumns
from plimsoll.records.tracking.change import LogDatasets
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.records.tracking.find import RunPage, SearchRuns
from plimsoll.runs.described import insert_params, put_tags
from plimsoll.runs.logged import log_datasets
from plimsoll.runs.search import narrow
from plimsoll.runs.search.finding import search_runs
from plimsoll.runs.search.language import Comparison, Condition, Every, Name, Not, Some
from plimsoll.store.contracts import Context, Database
from plimsoll.store.database import open_database
from plimsoll.store.points.history import SqlPoints
from plimsoll.store.tables import tracking
from plimsoll.store.tables.tracking import HEAD

_STATES = ["running", "finished", "failed", "stopped", "lost"]
_STATUS = dict(zip(_STATES, ["RUNNING", "FINISHED", "FAILED", "KILLED", "FAILED"], strict=True))
_LONG = "x" * HEAD
_TEXTS = [
    _LONG,
    _LONG[1:],
    _LONG + "b",
    _LONG + "a",
    "",
    "a",
    "A",
    "ab",
    "a%b",
    "x_y",
    "[a]",
    "a*",
    "é",
    "É",
    "it's",
    "10",
    "9",
    "\\",
    "a\\b",
    "?",
]
_NUMBERS = [0.0, -0.0, 1.0, 0.5, -3.25, math.inf, -math.inf, 1e300]

_EXPERIMENTS = ["0" * 32, "1" * 32]


def _id(number: int) -> str:
    return f"{(number * 7919) % 10007:032x}"


_run = st.fixed_dictionaries(
    {
        "name": st.sampled_from(_TEXTS),
        "state": st.sampled_from(_STATES),
        "started": st.integers(0, 5),
        "experiment": st.sampled_from(_EXPERIMENTS),
        "ended": st.none() | st.integers(0, 5),
        "metrics": st.dictionaries(st.sampled_from(["m", "a b"]), st.sampled_from([*_NUMBERS, math.nan])),
        "params": st.dictionaries(st.sampled_from(["p", "q.r"]), st.sampled_from(_TEXTS)),
        "tags": st.dictionaries(st.sampled_from(["t", "u"]), st.sampled_from(_TEXTS)),
    }
)
_text = st.sampled_from([*_TEXTS, "a%", "%b", "_", "%", "A_%", "x%a", _LONG + "%"])
_comparison = st.one_of(
    st.builds(Comparison, st.sampled_from([Name("metrics", "m"), Name("metric", "a b")]),
              st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.sampled_from(_NUMBERS)),
    st.builds(Comparison, st.sampled_from([Name("attr", "start_time"), Name("run", "end_time"), Name("", "created")]),
              st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.integers(0, 5) | st.sampled_from([2.5, -1, math.inf, -math.inf])),
    st.builds(Comparison, st.just(Name("", "run_id")), st.just("IN"), st.lists(st.integers(0, 4).map(_id), min_size=1).map(tuple)),
    st.builds(Comparison, st.sampled_from([Name("params", "p"), Name("param", "q.r"), Name("tags", "t"), Name("attributes", "run_name")]),
              st.sampled_from(["=", "!=", "LIKE", "ILIKE"]), _text),
    st.builds(Comparison, st.sampled_from([Name("params", "p"), Name("tag", "u"), Name("", "run_name")]),
              st.sampled_from(["IN", "NOT IN"]), st.lists(_text, min_size=1, max_size=3).map(tuple)),
    st.builds(Comparison, st.just(Name("", "status")), st.sampled_from(["=", "!="]), st.sampled_from(["FINISHED", "FAILED", "x"])),
    st.builds(Comparison, st.sampled_from([Name("params", "p"), Name("tags", "t"), Name("metrics", "m"), Name("", "end_time")]),
              st.sampled_from(["IS NULL", "IS NOT NULL"]), st.none()),
)  # fmt: skip
_condition: st.SearchStrategy[Condition] = st.recursive(
    _comparison,
    lambda inner: st.one_of(
        st.builds(Every, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Some, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=5,
)
_ORDERS = ["metrics.m", "metrics.`a b` DESC", "params.p", "tags.t DESC", "start_time", "end_time DESC", "run_name ASC", "status"]
_order = st.lists(st.sampled_from(_ORDERS), max_size=3, unique=True).map(tuple)


def _written(condition: Condition) -> str:
    match condition:
        case Every(parts):
            return "(" + " and ".join(_written(part) for part in parts) + ")"
        case Some(parts):
            return "(" + " OR ".join(_written(part) for part in parts) + ")"
        case Not(part):
            return f"not {_written(part)}"
    value = condition.value
    name = f"{condition.name.kind}.`{condition.name.key}`" if condition.name.kind else condition.name.key
    shown = "" if value is None else "(" + ", ".join(map(_quoted, value)) + ")" if isinstance(value, tuple) else _quoted(value)
    return f"{name} {condition.operator} {shown}"


def _quoted(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


_COLUMNS = {"run_name": "name", "run_id": "id", "start_time": "started", "created": "started", "end_time": "ended", "status": "state"}


def _value(run: dict[str, Any], name: Name) -> Any:
    if name.kind.startswith(("metric", "param", "tag")):
        return run[name.kind.rstrip("s") + "s"].get(name.key)
    key = _COLUMNS[name.key]
    return _STATUS[run[key]] if name.key == "status" else run[key]


def _holds(run: dict[str, Any], condition: Condition) -> bool:
    match condition:
        case Every(parts):
            return all(_holds(run, part) for part in parts)
        case Some(parts):
            return any(_holds(run, part) for part in parts)
        case Not(part):
            return not _holds(run, part)
    left, right = _value(run, condition.name), cast(Any, condition.value)
    if left is None or right is None:
        return (condition.operator == "IS NULL") == (left is None) if right is None else False
    tests: dict[str, Callable[[], bool]] = {
        "=": lambda: left == right, "!=": lambda: left != right, "<": lambda: left < right, "<=": lambda: left <= right,
        ">": lambda: left > right, ">=": lambda: left >= right, "IN": lambda: left in right, "NOT IN": lambda: left not in right,
        "LIKE": lambda: _like(left, right), "ILIKE": lambda: _like(_small(left), _small(right)),
    }  # fmt: skip
    return tests[condition.operator]()


def _small(text: str) -> str:
    return "".join(char.lower() if char.isascii() else char for char in text)


def _like(text: str, pattern: str) -> bool:
    return re.fullmatch("".join({"%": ".*", "_": "."}.get(char, re.escape(char)) for char in pattern), text, re.DOTALL) is not None


def _sorted(found: list[dict[str, Any]], order: tuple[str, ...]) -> list[str]:
    by_start = any(item.startswith("start_time") for item in order)
    found = sorted(found, key=lambda run: (0 if by_start else -run["started"], run["id"]))
    for item in reversed(order):
        word, _, direction = item.replace("`a b`", "a_b").partition(" ")
        kind, _, key = word.rpartition(".")
        name = Name(kind, key.replace("_", " ") if kind else key)
        descending = direction == "DESC"
        having = [run for run in found if _value(run, name) is not None and _value(run, name) == _value(run, name)]
        nans = [run for run in found if _value(run, name) != _value(run, name)]
        none = [run for run in found if _value(run, name) is None]
        # Also turned round, sort keeps equal ones in their order.
        having.sort(key=lambda run: _value(run, name)[:HEAD] if kind in ("params", "tags") else _value(run, name), reverse=descending)
        found = [*having, *nans, *none]
    return [run["id"] for run in found]


def _fill(tx: Connection, rows: list[dict[str, Any]], first: int = 0) -> None:
    for number, row in enumerate(rows, first):
        row["id"] = _id(number)
        blank = {"author": "a", "cause": {"kind": "person", "id": ""}, "code": {}, "experiment_id": row["experiment"]}
        own = {key: row[key] for key in ("id", "name", "state")}
        times = {"started": row["started"] * 1000, "ended": None if row["ended"] is None else row["ended"] * 1000}
        tx.execute(insert(tracking.runs).values(**own, **times, **blank))
        insert_params(tx, row["id"], row["params"])
        put_tags(tx, row["id"], row["tags"])
        if row["metrics"]:
            names, values = tuple(row["metrics"]), tuple(row["metrics"].values())
            zeros = (0,) * len(names)
            SqlPoints().append(tx, row["id"], "w", 1, PointColumns(names=names, steps=zeros, times=zeros, values=values))


def _empty(tx: Connection) -> None:
    for table in reversed(tracking.metadata.sorted_tables):
        tx.execute(delete(table))
    for id in _EXPERIMENTS:
        tx.execute(insert(tracking.experiments).values(id=id, name=id, created=1, updated=1))


def _search(tx: Connection, **asked: Any) -> RunPage:
    return search_runs(SearchRuns(**asked), cast(Context, SimpleNamespace(tx=tx, stores=SimpleNamespace(points=SqlPoints()))))


def _ids(page: RunPage) -> list[str]:
    return [detail.run.id for detail in page.runs]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(_run, max_size=12),
    condition=_condition,
    order=_order,
    limit=st.integers(1, 5),
    experiments=st.none() | st.lists(st.sampled_from(_EXPERIMENTS), unique=True).map(tuple),
    price=st.sampled_from([0.0, narrow._ASK, math.inf]),
    fresh=st.sampled_from([0.0, narrow._FRESH]),
)
def test_a_search_finds_what_a_plain_reading_of_the_filter_finds_in_the_same_order_by_every_route(
    dialects: Database,
    rows: list[dict[str, Any]],
    condition: Condition,
    order: tuple[str, ...],
    limit: int,
    experiments: tuple[str, ...] | None,
    price: float,
    fresh: float,
) -> None:
    with dialects.write() as tx:
        _empty(tx)
        _fill(tx, rows)
        found, page = [], None
        while True:
            with pytest.MonkeyPatch.context() as patch:
                # What asking along the order costs decides the route: never, as it is, and always another one.
                patch.setattr(narrow, "_ASK", price)
                patch.setattr(narrow, "_FRESH", fresh)
                some = _search(tx, where=_written(condition), order=order, limit=limit, page=page, experiments=experiments)
            found.extend(_ids(some))
            page = some.next
            if page is None:
                break
    seen = [row for row in rows if experiments is None or row["experiment"] in experiments]
    assert found == _sorted([row for row in seen if _holds(row, condition)], order)


def test_a_page_begins_where_the_one_before_ended_also_by_another_route(database: Database) -> None:
    asked: dict[str, Any] = {"where": "metrics.m > 0", "order": ("metrics.m DESC", "params.p"), "limit": 3}
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(number, metrics={"m": float(number % 4)}, params={"p": "a"} if number % 3 else {}) for number in range(20)])
        whole = _ids(_search(tx, **asked | {"limit": 100}))
        found, page = [], None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(narrow, "_FRESH", 0.0)
            for price in (0.0, math.inf) * 3:
                patch.setattr(narrow, "_ASK", price)
                some = _search(tx, **asked, page=page)
                found.extend(_ids(some))
                page = some.next
                if page is None:
                    break
    assert len(whole) == 15
    assert found == whole


def test_two_hundred_conditions_that_hardly_a_run_fulfils_are_answered(database: Database) -> None:
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(number, params={"p": str(number)}) for number in range(60)])
        assert _ids(_search(tx, where=" and ".join(["params.p = '7'"] * 200))) == [_id(7)]
        assert _ids(_search(tx, where=" and ".join(f"params.p = '{number}'" for number in range(200)))) == []


def test_runs_of_several_values_are_found_where_their_indexes_cross(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/plimsoll.db")
    statements: list[tuple[str, Any]] = []
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(n, metrics={"m": n / 60}, params={"p": str(n % 2)}, tags={"t": str(n % 3), "u": str(n % 5)}) for n in range(60)])
        event.listen(tx, "before_cursor_execute", lambda *told: statements.append((told[2], told[3])))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(narrow, "_ASK", math.inf)
            where = "tags.t = '1' and metrics.m > 0.5 and params.p = '0' and tags.u = '0'"
            found = _ids(_search(tx, where=where, order=("metrics.m",)))
        (asked, values), *_ = [told for told in list(statements) if " AS key_0" in told[0]]
        plan = " ".join(row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", values))
    database.close()
    assert found == [_id(40)]
    assert plan.count("MERGE (INTERSECT)") == 2, plan


@pytest.mark.parametrize(("above", "counts"), [(-1.0, 2), (0.8, 2), (0.95, 1)])
def test_a_metric_leads_to_the_runs_where_it_is_rarer_than_values_that_cross(tmp_path: Path, above: float, counts: int) -> None:
    database = open_database(f"sqlite:///{tmp_path}/plimsoll.db")
    statements: list[tuple[str, Any]] = []
    with database.write() as tx, pytest.MonkeyPatch.context() as patch:
        for name, value in {"_MANY": 40, "_CROSSED": 5, "_ASK": 100.0}.items():
            patch.setattr(narrow, name, value)
        _empty(tx)
        _fill(tx, [_row(n, metrics={"m": n / 60}, params={"p": "a"}, tags={"t": "b"}) for n in range(60)])
        event.listen(tx, "before_cursor_execute", lambda *told: statements.append((told[2], told[3])))
        found = _ids(_search(tx, where=f"params.p = 'a' and tags.t = 'b' and metrics.m > {above}"))
        (asked, values), *_ = [told for told in list(statements) if " AS key_0" in told[0]]
        plan = " ".join(row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", values))
    database.close()
    assert found == [_id(n) for n in range(59, -1, -1) if n / 60 > above]
    assert sum("count(*)" in told for told, _ in statements) == counts
    assert ("ix_series_name_last_number" in plan) == (above > 0), plan


@pytest.mark.parametrize("price", [0.0, narrow._ASK, math.inf])
def test_runs_that_came_after_the_counting_are_found(database: Database, price: float) -> None:
    rows = [_row(number, metrics={"m": 0.5}, params={"p": "a"}, tags={"t": "b"}) for number in range(40)]
    with database.write() as tx, pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow, "_ASK", price)
        _empty(tx)
        where = "params.p = 'a' and tags.t = 'b' and metrics.m > 0.1"
        assert _search(tx, where=where).runs == ()
        for begin, end in ((0, 2), (2, 40)):
            _fill(tx, rows[begin:end], begin)
            assert len(_search(tx, where=where).runs) == end


def test_a_way_is_found_once_while_the_pages_of_a_question_are_turned(database: Database) -> None:
    counts: list[str] = []
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(number, params={"p": str(number % 2)}) for number in range(20)])
        event.listen(tx, "before_cursor_execute", lambda *told: counts.append(told[2]) if "count(*)" in told[2] else None)
        asked: dict[str, Any] = {"where": "params.p = '1'", "limit": 4}
        page = _search(tx, **asked).next
        while page is not None:
            page = _search(tx, **asked, page=page).next
        assert len(counts) == 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(narrow, "_FRESH", 0.0)
            _search(tx, **asked)
        assert len(counts) == 2


def test_runs_are_found_by_their_datasets(database: Database) -> None:
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(number) for number in range(4)])
        context = cast(Context, SimpleNamespace(tx=tx, actor=None))
        for number, context_name in enumerate(["training", "test", None]):
            told = {} if context_name is None else {"mlflow.data.context": context_name}
            dataset = Dataset(name=f"d{number % 2}", digest=f"{number}", source_type="local", source="x")
            log_datasets(LogDatasets(run_id=_id(number), uses=(DatasetUse(dataset=dataset, tags=told),)), context)
        found = {
            where: _ids(_search(tx, where=where, order=("run_name",)))
            for where in ("datasets.name = 'd0'", "dataset.digest LIKE '1'", "datasets.context = 'test'", "datasets.context IS NULL")
        }
        (detail,) = _search(tx, where="datasets.name = 'd1'", uses=True).runs
        (without,) = _search(tx, where="datasets.name = 'd1'").runs
    assert list(found.values()) == [[_id(0), _id(2)], [_id(1)], [_id(1)], [_id(2), _id(3)]]
    assert [(use.dataset.name, use.tags) for use in detail.datasets] == [("d1", {"mlflow.data.context": "test"})]
    assert without.datasets == ()


def test_the_user_is_who_the_client_says_he_is_else_who_asked(database: Database) -> None:
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(0, tags={"mlflow.user": "ada"}), _row(1)])
        assert _ids(_search(tx, where="user_id = 'ada'")) == [_id(0)]
        assert _ids(_search(tx, where="attributes.user_id = 'a'")) == [_id(1)]
        assert _ids(_search(tx, order=("user_id DESC",))) == [_id(0), _id(1)]


@pytest.mark.parametrize(
    ("asked", "indexes"),
    [
        ({}, ["ix_runs_started_id"]),
        ({"experiments": ("0" * 32,)}, ["ix_runs_experiment_id_started"]),
        ({"order": ("metrics.m",)}, ["ix_series_name_last_number"]),
        ({"order": ("params.p DESC",)}, ["ix_run_params_name_head"]),
        ({"order": ("tags.u DESC", "metrics.m")}, ["ix_series_name_last_number"]),
        ({"order": ("tags.u", "start_time")}, ["ix_runs_started_id"]),
        ({"order": ("tags.t",), "experiments": tuple(_EXPERIMENTS)}, ["ix_run_tags_name_head"]),
        ({"where": "params.p = '7'", "order": ("metrics.m",)}, ["sqlite_autoindex_runs_1", "ix_run_params_name_head"]),
        ({"where": "metrics.m > 0.99"}, ["sqlite_autoindex_runs_1", "ix_series_name_last_number"]),
        ({"where": "tags.t LIKE 't10%'"}, ["sqlite_autoindex_runs_1", "ix_run_tags_name_head"]),
        ({"where": "metrics.m > 0.1 and tags.u = 'x'"}, ["ix_runs_started_id"]),
    ],
)
def test_a_page_is_read_along_an_index(six_hundred: Database, asked: dict[str, Any], indexes: list[str]) -> None:
    statements: list[tuple[str, Any]] = []
    with six_hundred.write() as tx:
        event.listen(tx, "before_cursor_execute", lambda *told: statements.append((told[2], told[3])))
        _search(tx, limit=5, **asked)
        (found, values), *_ = [told for told in list(statements) if " AS key_0" in told[0]]
        plan = " ".join(row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {found}", values))
    assert all(index in plan for index in indexes), plan
    assert "SCAN runs " not in plan.replace("SCAN runs USING", "")


@pytest.fixture(scope="module")
def six_hundred(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database of as many runs, for reading."""
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('along')}/plimsoll.db")
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(n, metrics={"m": n / 600}, params={"p": str(n)}, tags={"t": f"t{n}", "u": "x"}) for n in range(600)])
    yield database
    database.close()


@pytest.fixture(scope="module", name="dialects", params=["sqlite", "postgresql"])
def _dialects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('search')}/plimsoll.db"
    else:
        url = request.getfixturevalue("postgres").fresh()
    database = open_database(url)
    yield database
    database.close()


def _row(number: int, **own: Any) -> dict[str, Any]:
    return {
        "name": f"r{number}",
        "state": "finished",
        "started": number,
        "ended": None,
        "experiment": "0" * 32,
        "metrics": {},
        "params": {},
        "tags": {},
        **own,
    }


def test_pages_give_each_run_once_while_runs_are_added(database: Database) -> None:
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(number, metrics={"m": [0.5, math.nan][number % 2]} if number % 3 else {}) for number in range(30)])
        before = {id for id in _ids(_search(tx, order=("metrics.m DESC",), limit=100))}
        found: list[str] = []
        page = None
        for turn in range(100):
            some = _search(tx, order=("metrics.m DESC",), limit=4, page=page)
            found.extend(_ids(some))
            page = some.next
            if page is None:
                break
            _fill(tx, [_row(turn, metrics={"m": 0.5})], first=100 + turn)
    assert len(found) == len(set(found))
    assert before <= set(found)


def test_an_unquoted_part_of_a_like_pattern_means_itself(database: Database) -> None:
    names = ["a*c", "abc", "a\\c", "[a]", "A*c"]
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(number, name=name) for number, name in enumerate(names)])
        assert [run.run.name for run in _search(tx, where="run_name like 'a*%'").runs] == ["a*c"]
        assert [run.run.name for run in _search(tx, where="run_name like 'a\\%'").runs] == ["a\\c"]
        assert [run.run.name for run in _search(tx, where="run_name ilike 'A\\_'").runs] == ["a\\c"]


def test_the_caller_chooses_what_comes_back(database: Database) -> None:
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(1, metrics={"m": 1.0, "n": 2.0}, params={"p": "1", "q": "2"}, tags={"t": "1", "u": "2"})])
        (found,) = _search(tx, metrics=("n",), params=("q",), tags=()).runs
    assert ([each.name for each in found.metrics], found.run.params, found.run.tags) == (["n"], {"q": "2"}, {})


@pytest.mark.parametrize("page", ["", "x", "e30=", "é", "gA=="])
def test_a_token_that_is_none_is_refused(database: Database, page: str) -> None:
    with database.write() as tx, pytest.raises(InvalidInput, match="Invalid page token"):
        _search(tx, page=page)


def test_a_token_of_another_search_is_refused(database: Database) -> None:
    with database.write() as tx:
        _empty(tx)
        _fill(tx, [_row(1), _row(2)])
        token = _search(tx, limit=1).next
        with pytest.raises(InvalidInput, match="another search"):
            _search(tx, limit=1, page=token, where="status = 'FINISHED'")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("metrics.m LIKE 'x'", "Invalid comparator 'LIKE'"),
        ("params.p > '1'", "Invalid comparator '>'"),
        ("tags.t RLIKE 'x'", "Invalid comparator 'RLIKE' not one of"),
        ("metrics.m = 'x'", "Expected numeric value type for metric. Found 'x'"),
        ("params.p = 5", "Expected a quoted string value for parameter"),
        ("params.p = LR", "Parameter value is either not quoted or unidentified quote types used for string value LR."),
        ("metrics.m > nan", "Expected numeric value type for metric. Found nan"),
        ("status = 1", "Expected a quoted string value for attributes. Got value 1"),
        ("attributes.nothing = 'x'", "Invalid attribute key 'nothing' specified. Valid keys are"),
        ("thing.x = 'x'", "Invalid entity type 'thing'. Valid values are"),
        ("start_time = 'x'", "Expected numeric value type for numeric attribute: start_time"),
    ],
)
def test_what_means_nothing_is_refused_in_the_words_that_clients_know(database: Database, where: str, says: str) -> None:
    with database.read() as tx, pytest.raises(InvalidInput, match=re.escape(says)):
        _search(tx, where=where)
