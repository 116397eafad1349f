from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update

from plimsoll import clock
from plimsoll.errors import InvalidInput
from plimsoll.records.run import ModelUse, PointColumns, RunDetail, StartRun
from plimsoll.records.tracking.change import LogDatasets
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.records.tracking.find import RunText, SearchRuns, SearchRunTexts
from plimsoll.records.tracking.logged_model import CreateLoggedModel, LinkModels
from plimsoll.runs.described import insert_params, insert_tags, param_text
from plimsoll.store.tables import tracking
from tests.unit.yard import Yard, open_yard

_CHARS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_NAMES = st.text("aBé9_.:-/ ", min_size=1, max_size=5) | st.just("mlflow.user")
_JSON: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(_CHARS),
    st.just([1, {"a": "b"}]),
)
_METRICS = st.dictionaries(st.sampled_from(["a", "B", "é.1", "a b"]), st.floats(), max_size=3)


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


def _same(text: RunText, detail: RunDetail) -> None:
    run = detail.run
    params, tags = (json.loads(told) for told in (text.params, text.tags))
    assert [sorted(each) for each in (*params, *tags)] == [["key", "value"]] * (len(params) + len(tags))
    assert {each["key"]: each["value"] for each in params} == {name: param_text(value) for name, value in run.params.items()}
    assert {each["key"]: each["value"] for each in tags} == {name: value for name, value in run.tags.items() if name != "mlflow.runName"}
    assert (len(params), text.user) == (len(run.params), run.tags.get("mlflow.user", run.author))
    own = ("id", "experiment_id", "name", "state", "started", "ended", "deleted")
    assert [getattr(text, name) for name in own] == [getattr(run, name) for name in own]
    assert repr(list(text.metrics)) == repr([(each.name, each.last, each.last_step, each.last_time) for each in detail.metrics])
    assert (text.datasets, text.models) == (detail.datasets, detail.models)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.dictionaries(_NAMES, _JSON), st.dictionaries(_NAMES, st.text(_CHARS)), _METRICS), max_size=4))
def test_a_page_of_texts_tells_of_the_same_runs_as_its_records(
    yard: Yard, given: list[tuple[dict[str, Any], dict[str, str], dict[str, float]]]
) -> None:
    experiment = clock.new_id()
    blank = {"name": 'r"é', "state": "finished", "author": "a", "cause": {}, "code": {}, "experiment_id": experiment}
    with yard.workspace.stores.database.write() as tx:
        tx.execute(insert(tracking.experiments).values(id=experiment, name=experiment, created=1, updated=1))
        for number, (params, tags, metrics) in enumerate(given):
            id = clock.new_id()
            tx.execute(insert(tracking.runs).values(id=id, started=number, ended=number or None, **blank))
            insert_params(tx, id, params)
            insert_tags(tx, id, tags)
            count = len(metrics)
            columns = PointColumns(names=tuple(metrics), steps=(3,) * count, times=(5,) * count, values=tuple(metrics.values()))
            yard.workspace.stores.points.append(tx, id, "w", 1, columns)
    page, seen = None, 0
    while True:
        search = SearchRuns(experiments=(experiment,), limit=3, page=page, uses=True)
        told = yard.workspace.do(SearchRunTexts(search=search), yard.dana)
        found = yard.workspace.do(search, yard.dana)
        assert (told.next, len(told.runs)) == (found.next, len(found.runs))
        for text, detail in zip(told.runs, found.runs, strict=True):
            _same(text, detail)
        page, seen = told.next, seen + len(told.runs)
        if page is None:
            break
    assert seen == len(given)


def test_a_text_has_the_runs_data_models_and_silence_and_not_the_name_that_a_tag_gives(yard: Yard) -> None:
    silent, other = (yard.workspace.do(StartRun(tags={"t": "1"}), yard.dana) for _ in range(2))
    model = yard.workspace.do(CreateLoggedModel(experiment_id=silent.experiment_id, name="m"), yard.dana)
    dataset = Dataset(name="d", digest="1", source_type="local", source="x")
    yard.workspace.do(LogDatasets(run_id=silent.id, uses=(DatasetUse(dataset=dataset, tags={"a": "b"}),)), yard.dana)
    yard.workspace.do(LinkModels(run_id=other.id, uses=(ModelUse(model_id=model.id, role="output", step=2),)), yard.dana)
    with yard.workspace.stores.database.write() as tx:
        tx.execute(update(tracking.runs).where(tracking.runs.c.id == silent.id).values(seen=7))
        insert_tags(tx, silent.id, {"mlflow.runName": "x"})
    search = SearchRuns(uses=True)
    texts = {text.id: text for text in yard.workspace.do(SearchRunTexts(search=search), yard.dana).runs}
    for detail in yard.workspace.do(search, yard.dana).runs:
        _same(texts[detail.run.id], detail)
    told = texts[silent.id]
    assert (told.state, told.ended, json.loads(told.tags)) == ("lost", 7, [{"key": "t", "value": "1"}])
    assert (len(told.datasets), told.models) == (1, ())
    assert texts[other.id].models == (ModelUse(model_id=model.id, role="output", step=2),)


def test_a_search_for_texts_refuses_what_a_search_refuses(yard: Yard) -> None:
    with pytest.raises(InvalidInput, match="Invalid attribute key"):
        yard.workspace.do(SearchRunTexts(search=SearchRuns(where="nothing = 'x'")), yard.dana)
