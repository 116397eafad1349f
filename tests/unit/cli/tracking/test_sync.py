"""``plimsoll sync``: what runs have left is sent once, to where it belongs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.cli.output import Format
from plimsoll.cli.tracking.sync import sync
from plimsoll.records.run import FinishRun, GetRun, GetSeries, PointColumns, StartRun
from plimsoll.records.tracking.change import DeleteRun, RestoreRun
from plimsoll.sdk.door import FolderDoor, open_door
from plimsoll.sdk.journal import Frame, Journal
from plimsoll.workspace import open_workspace


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a home, in which the command runs."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "notes"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("PLIMSOLL_URL", "PLIMSOLL_HOME", "PLIMSOLL_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    open_workspace(tmp_path / ".plimsoll", owner="dana").close()
    return tmp_path / ".plimsoll"


def left(folder: Path, address: str, end: FinishRun | None = None) -> str:
    """Leave the journal of a run that the platform does not know yet, and return the run's id."""
    id = clock.new_id()
    journal = Journal(folder / f"{id}.journal")
    journal.begin(id, address)
    journal.keep(StartRun(id=id, name="left", started=5, beats=True))
    journal.add(PointColumns(names=("loss",) * 2, steps=(0, 1), times=(1, 2), values=(2.0, 1.0)))
    if end is not None:
        journal.write(Frame(end=end))
    journal.close()
    return id


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_each_journal_is_sent_once_and_has_a_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = left(home / "journal", str(home), FinishRun(id="0" * 32, state="failed", error="Boom.", ended=9))
    dead = left(tmp_path / "state" / "plimsoll" / "journal", str(home))
    assert sync(form=Format(json=True)) == 0
    rows = {row["run"]: row for row in told(capsys)}
    assert [(rows[id]["state"], rows[id]["points"], rows[id]["others"], rows[id]["end"]) for id in (known, dead)] == [
        ("sent", 2, 1, "failed"),
        ("sent", 2, 1, "lost"),
    ]
    assert sync() == 0
    assert "No run has left anything" in capsys.readouterr().err
    workspace = open_workspace(home)
    door = FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    run = door.do(GetRun(id=known)).run
    assert (run.name, run.state, run.error, run.started, run.ended) == ("left", "failed", "Boom.", 5, 9)
    assert door.do(GetSeries(run_id=dead, name="loss")).values == (2.0, 1.0)
    door.close()


def test_a_journal_whose_home_is_gone_waits_and_no_home_is_made(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left(tmp_path / "state" / "plimsoll" / "journal", str(tmp_path / "elsewhere"))
    assert sync(form=Format(json=True)) == 1
    (row,) = told(capsys)
    assert row["state"] == "waiting"
    assert "There is no home" in row["note"]
    assert not (tmp_path / "elsewhere").exists()
    assert len(list((tmp_path / "state" / "plimsoll" / "journal").iterdir())) == 1


def test_journals_go_with_a_home_that_is_moved(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    id = left(home / "journal", str(home))
    home.rename(tmp_path / "moved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIMSOLL_HOME", str(tmp_path / "moved"))
        assert sync(form=Format(json=True)) == 0
    (row,) = told(capsys)
    assert (row["run"], row["state"], row["platform"]) == (id, "sent", str(tmp_path / "moved"))
    assert not home.exists()


def test_a_server_that_does_not_answer_is_asked_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLIMSOLL_TOKEN", "given")
    for _ in range(3):
        left(home / "journal", "http://127.0.0.1:9")
    assert sync(form=Format(json=True)) == 1
    rows = told(capsys)
    assert [row["state"] for row in rows] == ["waiting"] * 3
    assert all("127.0.0.1:9 does not answer" in row["note"] for row in rows)


def test_a_journal_without_a_beginning_lies_aside_and_one_in_use_is_left_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "journal").mkdir()
    (home / "journal" / "bad.journal").write_bytes(b"no frame at all")
    (home / "journal" / "empty.journal").touch()
    (home / "journal" / "gone.blobs").mkdir()
    held = Journal(home / "journal" / "held.journal")
    held.begin("1" * 32, str(home))
    assert sync(form=Format(json=True)) == 1
    assert sorted(row["state"] for row in told(capsys)) == ["busy", "refused", "sent"]
    held.close()
    names = {path.name for path in (home / "journal").iterdir()}
    assert names == {"bad.damaged", "held.journal"}


def test_a_journal_that_was_refused_is_sent_once_its_run_is_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    id = left(home / "journal", str(home))
    assert sync(form=Format(json=True)) == 0
    told(capsys)
    door = open_door(str(home))
    door.do(DeleteRun(id=id))
    journal = Journal(home / "journal" / "more.journal")
    journal.begin(id, str(home))
    journal.keep(StartRun(id=id, resume=True))
    journal.add(PointColumns(names=("late",), steps=(0,), times=(1,), values=(1.0,)))
    journal.close()
    for _ in range(2):
        assert sync(form=Format(json=True)) == 1
        assert [row["state"] for row in told(capsys)] == ["refused"]
    assert [path.suffix for path in (home / "journal").iterdir()] == [".refused"]
    door.do(RestoreRun(id=id))
    assert sync(form=Format(json=True)) == 0
    assert [row["state"] for row in told(capsys)] == ["sent"]
    assert door.do(GetSeries(run_id=id, name="late")).values == (1.0,)
    door.close()
