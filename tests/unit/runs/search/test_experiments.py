from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.errors import InvalidInput
from plimsoll.records.run import StartRun
from plimsoll.records.tracking.change import LogDatasets
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.records.tracking.experiment import CreateExperiment, DeleteExperiment, SearchExperiments, TagExperiment
from plimsoll.records.tracking.find import SearchRuns
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


def found(yard: Yard, where: str = "", *order: str, **more: str) -> list[str]:
    asked = SearchExperiments(where=where, order=order, **more)  # type: ignore[arg-type]
    return [experiment.name for experiment in yard.workspace.do(asked, yard.dana).experiments]


def test_experiments_are_found_by_filter_in_order_and_page_by_page(yard: Yard) -> None:
    ids = {name: yard.workspace.do(CreateExperiment(name=name), yard.dana).id for name in ("late", "later", "early")}
    yard.workspace.do(TagExperiment(id=ids["late"], tags={"team": "x"}), yard.dana)
    yard.workspace.do(DeleteExperiment(id=ids["later"]), yard.dana)
    assert found(yard) == ["late", "early", "Default"]
    assert found(yard, "name LIKE 'late%'") == ["late"]
    assert found(yard, "name ILIKE 'LATE%'", "name DESC", view="all") == ["later", "late"]
    assert found(yard, "", view="deleted") == ["later"]
    assert found(yard, "tags.team = 'x'") == ["late"]
    assert found(yard, "tags.team IS NULL and creation_time > 5", "creation_time ASC") == ["Default", "early"]
    assert found(yard, f"attribute.experiment_id = '{ids['early']}'") == ["early"]
    seen, token = [], None
    for _ in range(3):
        page = yard.workspace.do(SearchExperiments(order=("name",), limit=1, page=token), yard.dana)
        seen += [each.name for each in page.experiments]
        token = page.next
    assert (seen, token) == (["Default", "early", "late"], None)
    for where, order in (("colour = 'x'", "name"), ("params.a = 'b'", "name"), ("", "tags.team")):
        with pytest.raises(InvalidInput):
            found(yard, where, order)


def test_runs_that_are_found_say_which_data_they_read(yard: Yard) -> None:
    first, second = (yard.workspace.do(StartRun(), yard.dana).id for _ in range(2))
    uses = tuple(
        DatasetUse(dataset=Dataset(name=name, digest="1", source_type="local", source="{}"), tags={"context": name})
        for name in ("train", "held")
    )
    yard.workspace.do(LogDatasets(run_id=first, uses=uses), yard.dana)
    runs = {detail.run.id: detail.datasets for detail in yard.workspace.do(SearchRuns(uses=True), yard.dana).runs}
    assert runs == {first: uses, second: ()}
