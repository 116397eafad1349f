"""An export holds everything, the same bytes each time, and is there whole or not at all."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import polars as pl
import pytest

from plimsoll import codec
from plimsoll.errors import Conflict, NotFound
from plimsoll.records.run import GetRun, GetSeries
from plimsoll.sdk.leaving.exporting import export
from plimsoll.sdk.leaving.tables import TABLES
from tests.unit.sdk.moving.store import LOGGED, RUNS, store
from tests.unit.sdk.moving.test_moving import door_of, moved
from tests.unit.yard import Yard


@pytest.fixture
def filled(yard: Yard, tmp_path: Path) -> Yard:
    """A home with some of everything."""
    moved(yard, store(tmp_path))
    return yard


def written(yard: Yard, folder: Path, experiment: str | None = None) -> dict[str, pl.DataFrame]:
    """Export, and return every table."""
    export(door_of(yard), folder, experiment, lambda line: None)
    return {name: pl.read_parquet(folder / name / "*.parquet") for name in TABLES}


def test_everything_is_in_the_tables_and_every_named_blob_is_there(filled: Yard, tmp_path: Path) -> None:
    tables = written(filled, tmp_path / "out")
    door = door_of(filled)
    for id in RUNS:
        for series in door.do(GetRun(id=id)).metrics:
            mine = tables["points"].filter((pl.col("run_id") == id) & (pl.col("name") == series.name))
            wanted = door.do(GetSeries(run_id=id, name=series.name))
            assert tuple(mine["step"]) == wanted.steps
            assert tuple(mine["time"].to_physical()) == wanted.times
            assert [struct.pack("<d", each) for each in mine["value"]] == [struct.pack("<d", each) for each in wanted.values]
    first = {row["name"]: row["value"] for row in tables["params"].filter(pl.col("run_id") == RUNS[0]).to_dicts()}
    assert first == {"depth": "5", "text": "a\r\nb = 'ü'", "empty": ""}
    assert set(tables["runs"]["id"]) == set(RUNS)
    assert tables["runs"].filter(pl.col("id") == RUNS[1])["deleted"][0] is not None
    assert tables["logged_models"]["id"].to_list() == [LOGGED]
    assert tables["aliases"].rows() == [("late", "champion", 3)]
    assert tables["versions"]["number"].to_list() == [1, 3]
    odd = tables["metrics"].filter(pl.col("name") == "odd")
    assert odd["max"][0] == float("inf")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["rows"] == {name: len(frame) for name, frame in tables.items()}
    assert manifest["files"] == {path: codec.digest_file(tmp_path / "out" / path)[0] for path in manifest["files"]}
    blobs = {path.name: path for path in (tmp_path / "out" / "blobs").rglob("*") if path.is_file()}
    assert len(blobs) == manifest["blobs"]
    assert all(codec.digest_file(path)[0] == digest for digest, path in blobs.items())
    named = set(tables["artifacts"]["digest"]) | set(tables["files"]["digest"]) | set(tables["versions"]["digest"])
    assert named == set(blobs)


def test_the_same_store_gives_the_same_bytes(filled: Yard, tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(filled, tmp_path / name)
    found = [{str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()} for root in
             (tmp_path / "one", tmp_path / "two")]  # fmt: skip
    assert found[0] == found[1]


def test_one_experiment_can_be_asked_for(filled: Yard, tmp_path: Path) -> None:
    tables = written(filled, tmp_path / "out", "old one")
    assert tables["runs"]["id"].to_list() == [RUNS[3]]
    assert len(tables["models"]) == 1
    with pytest.raises(NotFound):
        written(filled, tmp_path / "none", "no such")
    assert not list(tmp_path.glob("none*"))


def test_a_folder_that_is_there_is_left_as_it_is(filled: Yard, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(Conflict):
        written(filled, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    (tmp_path / "new.unfinished").mkdir()
    with pytest.raises(Conflict) as caught:
        written(filled, tmp_path / "new")
    assert "rm -r" in caught.value.remedy


def test_one_that_fails_in_the_middle_leaves_nothing(filled: Yard, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("model"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(door_of(filled), tmp_path / "out", None, stop)
    assert not list(tmp_path.glob("out*"))


def test_bytes_that_are_gone_are_named(filled: Yard, tmp_path: Path) -> None:
    door = door_of(filled)
    gone = next(kept.digest for kept in door.do(GetRun(id=RUNS[0])).artifacts if kept.name == "notes/hello.txt")
    door.blobs.delete(gone)
    assert export(door, tmp_path / "out", None, lambda line: None).missing == (gone,)


def test_an_empty_home_has_empty_tables_of_the_same_columns(yard: Yard, tmp_path: Path) -> None:
    tables = written(yard, tmp_path / "out")
    assert {name: dict(frame.schema) for name, frame in tables.items()} == {name: dict(columns) for name, columns in TABLES.items()}
    assert len(tables["runs"]) == 0


def test_every_column_is_described() -> None:
    page = (Path(__file__).parents[4] / "docs" / "how-to" / "exporting.md").read_text()
    described = dict(re.findall(r"^\| `(\w+)` \| `([\w ]+)`", page, re.MULTILINE))
    assert {name: set(columns.split()) for name, columns in described.items()} == {name: set(columns) for name, columns in TABLES.items()}
