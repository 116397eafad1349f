"""``plimsoll runs``, on a real home."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plimsoll
from plimsoll.cli.output import Format
from plimsoll.cli.tracking import experiments
from plimsoll.cli.tracking.runs import delete, download, list_, restore, series, show
from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.run import AppendPoints, CodeVersion, PointColumns, StartRun
from plimsoll.workspace import WORKER, Workspace
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
    show(first.id)
    assert "\ndeleted  " in capsys.readouterr().out
    list_(experiment="trees")
    assert capsys.readouterr().err == "There are no such runs.\n"
    restore(first.id)
    show(first.id)
    assert "deleted" not in capsys.readouterr().out
    experiments.rename("nets", "networks")
    experiments.delete(second.experiment_id)
    assert (listed(), named(), named(deleted=True)) == ([first.id], ["Default", "trees"], ["Default", "networks", "trees"])
    experiments.restore("networks")
    experiments.show("networks", form=Format(json=True))
    assert json.loads(capsys.readouterr().out)["id"] == second.experiment_id
    assert listed() == [second.id, first.id]
    with pytest.raises(NotFound, match="No experiment has"):
        experiments.show("nets")


@pytest.mark.parametrize("name", ["-trees", "--where", ".trees"])
def test_what_has_a_name_like_an_option_is_named_behind_two_dashes_or_by_its_id(
    workspace: Workspace, call: Callable[..., int], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    owner = workspace.identify(workspace.token("owner"))
    run = workspace.do(StartRun(experiment=name, tags={name: "t"}), owner)
    points = PointColumns(names=(name,), steps=(3,), times=(0,), values=(0.5,))
    workspace.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points), owner)
    for words in (
        ("experiments", "show", "--csv", "--", name),
        ("experiments", "show", run.experiment_id, "--csv"),
        ("runs", "list", f"--experiment={name}", "--csv", f"--columns=experiment,metrics.{name},tags.{name}"),
    ):
        assert call(*words) == 0
        assert name in capsys.readouterr().out
    assert call("runs", "series", "--csv", "--", run.id, name) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("3,")


def test_what_was_changed_since_the_commit_is_printed_as_a_patch(
    workspace: Workspace, call: Callable[..., int], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    owner = workspace.identify(workspace.token("owner"))
    patch = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-\xe9\x1b[31m\n+b\r\n"
    codes = {
        CodeVersion(commit="c" * 40, dirty_diff=workspace.stores.blobs.put(patch)): (patch, b""),
        CodeVersion(commit="c" * 40): (b"", b"began with the commit cccc"),
        CodeVersion(): (b"", b"recorded no commit"),
    }
    for code, (printed, said) in codes.items():
        run = workspace.do(StartRun(code=code), owner)
        assert call("runs", "show", run.id[:24], "--dirty-diff") == 0
        told = capfdbinary.readouterr()
        assert told.out == printed
        assert said in told.err


def test_a_history_is_printed_whole_in_part_and_thinned_with_every_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yard = open_yard(tmp_path / "home")
    run = yard.workspace.do(StartRun(), WORKER)
    values = [math.nan, -math.inf, 0.1 + 0.2, *map(float, range(97))]
    points = PointColumns(names=("loss",) * 100, steps=tuple(range(100)), times=(0,) * 100, values=tuple(values))
    yard.workspace.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points), WORKER)
    yard.workspace.close()
    monkeypatch.setenv("PLIMSOLL_URL", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    series(run.id[:20], "loss", form=Format(csv=True))
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "step,time,value"
    assert [line.split(",")[0] for line in lines] == [str(step) for step in range(100)]
    assert [line.split(",")[2] for line in lines[:4]] == ["nan", "-inf", "0.30000000000000004", "0.0"]
    series(run.id, "loss", first=98, form=Format(csv=True))
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()] == ["step", "98", "99"]
    series(run.id, "loss", width=2)
    told = capsys.readouterr()
    assert len(told.out.splitlines()) <= 9
    assert "of 100 points" in told.err
    with pytest.raises(NotFound, match="acc"):
        series(run.id, "acc")


def test_what_a_run_keeps_is_written_to_files_and_nothing_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_yard(tmp_path / "home").workspace.close()
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "a.bin").write_bytes(b"a")
    monkeypatch.setenv("PLIMSOLL_URL", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with plimsoll.run() as run:
        run.log_text("notes/today 1.md", "It converges.")
        run.log_artifact("out", Path("out"))
    download(run.id[:20], to="here")
    paths = ["here/notes/today 1.md", "here/out/deep/a.bin"]
    assert capsys.readouterr().out.splitlines() == paths
    assert [(tmp_path / path).read_bytes() for path in paths] == [b"It converges.", b"a"]
    with pytest.raises(Conflict, match="is there already"):
        download(run.id, to="here")
    download(run.id, "out/deep/", to="part")
    assert capsys.readouterr().out == "part/out/deep/a.bin\n"
    with pytest.raises(NotFound, match="no artifact 'outside'"):
        download(run.id, "outside", to="part")


def test_plain_values_are_downloaded_as_json_and_others_as_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLIMSOLL_URL", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with plimsoll.run() as run:
        run.log_artifact("best/config", {"depth": 6, "names": ("ä", "b")})
        run.log_artifact("odd", {"both": {1, 2}, "row": np.arange(3)})
    download(run.id, to="here")
    assert json.loads((tmp_path / "here/best/config.json").read_text()) == {"depth": 6, "names": ["ä", "b"]}
    assert capsys.readouterr().out.splitlines() == ["here/odd/parts/000000.npy", "here/best/config.json"]
    download(run.id, "best/config", to="part")
    assert capsys.readouterr().out == "part/best/config.json\n"


def test_a_person_sees_some_metrics_of_each_run_and_a_program_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    yard = open_yard(tmp_path / "home")
    names = ("system/cpu_percent", *(f"m{number}" for number in range(7)))
    run = yard.workspace.do(StartRun(), WORKER)
    points = PointColumns(names=names, steps=(0,) * 8, times=(0,) * 8, values=(1.0,) * 8)
    yard.workspace.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points), WORKER)
    yard.workspace.close()
    monkeypatch.setenv("PLIMSOLL_URL", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    list_()
    assert capsys.readouterr().out.splitlines()[1].endswith("m0=1, m1=1, m2=1, m3=1, m4=1, and 2 more")
    list_(form=Format(json=True))
    assert sorted(json.loads(capsys.readouterr().out)[0]["metrics"]) == sorted(names)
