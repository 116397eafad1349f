"""``plimsoll.search_runs`` and ``plimsoll.series`` on a real home."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import plimsoll
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, FinishRun, PointColumns, StartRun
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.tracking import frames
from plimsoll.workspace import WORKER
from tests.unit.yard import open_yard


class Watched(FolderDoor):
    """A door that keeps what it was asked."""

    asked: list[SearchRuns]

    def do(self, request: Request[Any], /) -> Any:
        """Do it, and keep it when it is a search."""
        if isinstance(request, SearchRuns):
            self.asked.append(request)
        return super().do(request)


@pytest.fixture(name="door")
def _door(tmp_path: Path) -> Iterator[Watched]:
    yard = open_yard(tmp_path / "home")
    door = Watched(yard.workspace, WORKER)
    door.asked = []
    first = door.do(StartRun(experiment="a", name="one", started=1_000_000, params={"depth": 3, "lr": 1, "on": True, "kind": "x"}))
    second = door.do(
        StartRun(experiment="b", name="two", started=2_000_000, params={"depth": 4, "lr": 0.5, "kind": 7}, tags={"team": "ads"})
    )
    door.do(StartRun(experiment="a", name="three", started=3_000_000))
    for run, value in ((first, 0.5), (second, math.nan)):
        points = PointColumns(names=("loss",), steps=(0,), times=(0,), values=(value,))
        door.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points))
    door.do(FinishRun(id=first.id))
    door.asked.clear()
    yield door
    door.close()


def test_runs_are_a_table_whose_columns_have_the_types_of_what_was_logged(door: Watched) -> None:
    table = plimsoll.search_runs(order="start_time", door=door)
    assert table["name"].to_list() == ["one", "two", "three"]
    assert dict(table.schema) | {"ended": 0} == {
        **{name: pl.String for name in ("id", "experiment", "name", "state", "author", "error")},
        "started": pl.Datetime("us", "UTC"),
        "ended": 0,
        "metrics.loss": pl.Float64,
        "params.depth": pl.Int64,
        "params.kind": pl.String,
        "params.lr": pl.Float64,
        "params.on": pl.Boolean,
        "tags.team": pl.String,
    }
    assert table["started"][0] == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert table["ended"].is_null().to_list() == [False, True, True]
    assert table["params.depth"].to_list() == [3, 4, None]
    assert table["params.kind"].to_list() == ["x", "7", None]
    assert (table["metrics.loss"].is_nan()[1], table["metrics.loss"].is_null()[2]) == (True, True)


def test_only_what_was_asked_for_is_loaded_page_by_page(door: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_PAGE", 2)
    table = plimsoll.search_runs(columns=["name", "params.`depth`"], order=["params.depth DESC"], limit=3, door=door)
    assert table.to_dict(as_series=False) == {"name": ["two", "one", "three"], "params.depth": [4, 3, None]}
    assert [(asked.limit, asked.metrics, asked.params, asked.tags) for asked in door.asked] == [
        (2, (), ("depth",), ()),
        (1, (), ("depth",), ()),
    ]


def test_a_history_is_a_table_whole_in_part_and_thinned(door: Watched) -> None:
    run = door.do(StartRun(experiment="c"))
    values = [math.nan, *map(float, range(99))]
    points = PointColumns(names=("loss",) * 100, steps=tuple(range(100)), times=(1_000_000,) * 100, values=tuple(values))
    door.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points))
    table = plimsoll.series(run.id[:20], "loss", door=door)
    assert table.schema == {"step": pl.Int64, "time": pl.Datetime("us", "UTC"), "value": pl.Float64}
    assert table.row(0)[:2] == (0, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert (table["value"].is_nan().to_list()[0], table["value"].to_list()[1:]) == (True, values[1:])
    assert plimsoll.series(run.id, "loss", steps=(5, 7), door=door)["step"].to_list() == [5, 6, 7]
    assert {0, 99} < set(plimsoll.series(run.id, "loss", width=3, door=door)["step"]) < set(range(100))
    assert plimsoll.series(run.id, "loss", frame="pandas", door=door)["value"].to_list()[1:] == values[1:]
    with pytest.raises(NotFound, match="acc"):
        plimsoll.series(run.id, "acc", door=door)


def test_runs_of_some_experiments_are_found(door: Watched) -> None:
    assert plimsoll.search_runs(experiment="a", columns="name", door=door)["name"].to_list() == ["three", "one"]
    assert plimsoll.search_runs("metrics.loss > 0", experiment=["a", "b"], columns="name", door=door)["name"].to_list() == ["one"]
    empty = plimsoll.search_runs("params.depth = '9'", columns=["started", "metrics.loss"], door=door)
    assert (empty.height, dict(empty.schema)) == (0, {"started": pl.Datetime("us", "UTC"), "metrics.loss": pl.Float64})
    with pytest.raises(NotFound, match="no experiment 'c'"):
        plimsoll.search_runs(experiment="c", door=door)


def test_a_pandas_frame_keeps_what_is_missing_apart_from_nan(door: Watched) -> None:
    pytest.importorskip("pandas")
    table = plimsoll.search_runs(order="start_time", columns=["started", "metrics.loss", "params.depth"], frame="pandas", door=door)
    assert [str(kind) for kind in table.dtypes] == ["timestamp[us, tz=UTC][pyarrow]", "double[pyarrow]", "int64[pyarrow]"]
    assert table["params.depth"].isna().tolist() == [False, False, True]
    assert [value.as_py() for value in table["metrics.loss"].array.__arrow_array__()][2] is None


@pytest.mark.parametrize("asked", [{"columns": ["colour"]}, {"limit": 0}, {"frame": "duckdb"}, {"where": "metrics.loss >"}])
def test_what_means_nothing_is_refused(door: Watched, asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        plimsoll.search_runs(door=door, **asked)


def test_a_column_that_is_named_twice_comes_once(door: Watched) -> None:
    table = plimsoll.search_runs(columns=["name", "params.depth", "name", "params.depth"], door=door)
    assert table.columns == ["name", "params.depth"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"where": 5}, "where=5 is no text"),
        ({"where": None}, "where=None is no text"),
        ({"limit": "3"}, "limit='3' is no whole number"),
        ({"limit": 1.5}, "limit=1.5 is no whole number"),
        ({"order": 5}, "order=5 is no text"),
        ({"order": ["metrics.a", 5]}, "no list of texts"),
        ({"columns": [5]}, "columns=\\[5\\] is no text"),
        ({"columns": 5}, "columns=5 is no text"),
        ({"experiment": 5}, "experiment=5 is no text"),
    ],
)
def test_what_is_no_search_is_refused_by_name(door: Watched, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        plimsoll.search_runs(**asked, door=door)
    assert door.asked == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"width": 1.5}, "width=1.5 is no whole number"),
        ({"width": "3"}, "width='3' is no whole number"),
        ({"steps": 5}, "steps=5 are no two steps"),
        ({"steps": (1, 2, 3)}, "are no two steps"),
        ({"steps": ("a", "b")}, "steps='a' is no whole number"),
        ({"steps": (None, 3)}, "steps=None is no whole number"),
        ({"run": 5}, "5 is no run"),
    ],
)
def test_what_is_no_part_of_a_history_is_refused_by_name(door: Watched, asked: dict[str, Any], said: str) -> None:
    run = plimsoll.search_runs(where="name = 'one'", door=door)["id"][0]
    with pytest.raises(InvalidInput, match=said):
        plimsoll.series(**{"run": run, "metric": "loss", **asked}, door=door)
