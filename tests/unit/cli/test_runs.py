"""``plimsoll runs list``, on a real home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plimsoll.cli.output import Format
from plimsoll.cli.tracking import experiments
from plimsoll.cli.tracking.runs import delete, list_, restore
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.run import StartRun
from plimsoll.workspace import WORKER
from tests.unit.yard import open_yard


def test_runs_are_listed_by_a_filter_in_an_order_with_the_columns_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yard = open_yard(tmp_path / "home")
    for depth in (3, 5, 4):
        yard.workspace.do(StartRun(experiment="trees", name=f"d{depth}", params={"depth": depth}, tags={"team": "x1"}), WORKER)
    yard.workspace.do(StartRun(experiment="other", params={"depth": 9}, tags={"team": "x1"}), WORKER)
    yard.workspace.close()
    monkeypatch.setenv("PLIMSOLL_URL", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {
        "where": "params.depth != '4' and tags.team like 'x%'",
        "order": "params.depth DESC",
        "columns": "name,params.depth,tags.a",
    }
    list_(experiment="trees", state="running", form=Format(json=True), **asked)
    assert [list(row.values()) for row in json.loads(capsys.readouterr().out)] == [["d5", 5, None], ["d3", 3, None]]
    with pytest.raises(InvalidInput, match="no column 'depth'"):
        list_(columns="depth")


def test_experiments_and_runs_are_deleted_and_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yard = open_yard(tmp_path / "home")
    first, second = (yard.workspace.do(StartRun(experiment=name), WORKER) for name in ("trees", "nets"))
    yard.workspace.close()
    monkeypatch.setenv("PLIMSOLL_URL", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def listed(**asked: Any) -> list[str]:
        list_(form=Format(json=True), columns="id", **asked)
        return [row["id"] for row in json.loads(capsys.readouterr().out)]

    def named(deleted: bool = False) -> list[str]:
        experiments.list_(deleted=deleted, form=Format(json=True))
        return sorted(row["name"] for row in json.loads(capsys.readouterr().out))

    delete(first.id[:30])
    assert f"plimsoll runs restore {first.id}" in capsys.readouterr().err
    assert (listed(), listed(deleted=True)) == ([second.id], [first.id])
    restore(first.id)
    experiments.rename("nets", "networks")
    experiments.delete(second.experiment_id)
    assert (listed(), named(), named(deleted=True)) == ([first.id], ["Default", "trees"], ["Default", "networks", "trees"])
    experiments.restore("networks")
    experiments.show("networks", form=Format(json=True))
    assert json.loads(capsys.readouterr().out)["id"] == second.experiment_id
    assert listed() == [second.id, first.id]
    with pytest.raises(NotFound, match="No experiment has"):
        experiments.show("nets")
