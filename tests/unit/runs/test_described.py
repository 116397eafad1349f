from __future__ import annotations

from typing import Any, TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from plimsoll import clock
from plimsoll.runs.described import insert_params, insert_tags, one_run, runs_of
from plimsoll.store.contracts import Database
from plimsoll.store.tables import tracking

_CHARS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_NAMES = st.text("aBé9_.:-/ ", min_size=1, max_size=5)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(_CHARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(_CHARS), inner, max_size=3),
    max_leaves=5,
)

_Given: TypeAlias = tuple[dict[str, Any], dict[str, str]]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.dictionaries(_NAMES, _JSON), st.dictionaries(_NAMES, st.text(_CHARS))), min_size=1, max_size=3))
def test_params_and_tags_come_back_as_they_were_given_by_name(
    database: Database, given: list[tuple[dict[str, Any], dict[str, str]]]
) -> None:
    ids = [clock.new_id() for _ in given]
    with database.write() as tx:
        experiment = clock.new_id()
        tx.execute(insert(tracking.experiments).values(id=experiment, name=experiment, created=1, updated=1))
        blank = {"name": "r", "state": "finished", "author": "a", "cause": {}, "code": {}, "started": 1, "experiment_id": experiment}
        for id, (params, tags) in zip(ids, given, strict=True):
            tx.execute(insert(tracking.runs).values(id=id, **blank))
            insert_params(tx, id, params)
            insert_tags(tx, id, tags)
    with database.read() as tx:
        found = runs_of(tx, ids[::-1])[::-1]
        one = one_run(tx, ids[0])
        some = runs_of(tx, ids, params=tuple(given[0][0]), tags=())
        none = runs_of(tx, ids, params=(), tags=tuple(given[0][1]))
    assert [run.id for run in found] == ids
    assert [(list(run.params.items()), list(run.tags.items())) for run in found] == [
        (sorted(params.items(), key=_name), sorted(tags.items(), key=_name)) for params, tags in given
    ]
    assert one == found[0]
    assert [(some[0].params, some[0].tags), (none[0].params, none[0].tags)] == [(given[0][0], {}), ({}, given[0][1])]


def _name(item: tuple[str, Any]) -> str:
    return item[0]
