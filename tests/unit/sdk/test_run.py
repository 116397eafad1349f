from __future__ import annotations

import errno
import math
import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import plimsoll
from plimsoll import clock
from plimsoll.data.snapshot import get_manifest
from plimsoll.data.tables.table import get_table
from plimsoll.errors import Conflict, InvalidInput, NotFound, StorageFull, Unfingerprintable, Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, CodeVersion, FinishRun, GetRun, GetSeries, RunDetail, StartRun
from plimsoll.records.tracking.change import DeleteRun
from plimsoll.records.tracking.experiment import CreateExperiment, DeleteExperiment
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.journal import Journal
from plimsoll.sdk.run import run
from plimsoll.sdk.tracking.left import all_journals, send
from plimsoll.sdk.tracking.opened import OpenRun
from plimsoll.store.blobs import LocalBlobs
from plimsoll.workspace import open_workspace


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderDoor]:
    """A door to a new home, and a project around it."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "notes"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLIMSOLL_URL", raising=False)
    monkeypatch.setenv("PLIMSOLL_CAPTURE", "once")
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._WELCOME", 60.0)
    workspace = open_workspace(tmp_path / ".plimsoll", owner="dana")
    opened = FolderDoor(workspace, workspace.identify(workspace.token("owner")))
    yield opened
    opened.close()


def detail(door: FolderDoor, opened: OpenRun) -> RunDetail:
    return door.do(GetRun(id=opened.id))


def test_a_block_is_a_run_that_ends_finished_with_what_it_logged(door: FolderDoor, tmp_path: Path) -> None:
    with run(door=door, experiment="notebook", name="first", params={"depth": 3}) as opened:
        opened.log(loss=0.5)
        opened.log({"loss": 0.25, "acc/top 1": 0.75}, step=7)
        opened.log(loss=math.nan)
        opened.set_tags(stage="try")
        opened.log_artifact("table", {"a": [1, 2]})
        (tmp_path / "note.txt").write_text("hello")
        opened.log_artifact("note", tmp_path / "note.txt")
        assert detail(door, opened).run.state == "running"
    found = detail(door, opened)
    assert (found.run.state, found.run.experiment, found.run.name, found.run.params, found.run.tags, found.run.author) == (
        "finished",
        "notebook",
        "first",
        {"depth": 3},
        {"stage": "try"},
        "dana",
    )
    assert opened.record == found.run
    assert found.run.environment is not None
    assert [artifact.name for artifact in found.artifacts] == ["note", "table"]
    series = door.do(GetSeries(run_id=opened.id, name="loss"))
    assert series.steps == (0, 7, 8)
    assert (series.values[:2], math.isnan(series.values[2])) == ((0.5, 0.25), True)


def test_a_block_that_raises_fails_with_the_traceback_and_the_exception_goes_on(door: FolderDoor) -> None:
    opened = run(door=door)

    def block() -> None:
        with opened:
            opened.log(loss=1.0)
            math.floor(1 / 0)

    with pytest.raises(ZeroDivisionError):
        block()
    found = detail(door, opened)
    assert found.run.state == "failed"
    assert found.run.error is not None
    assert found.run.error.startswith("Traceback")
    assert "math.floor(1 / 0)" in found.run.error
    assert "ZeroDivisionError: division by zero" in found.run.error
    assert [metric.name for metric in found.metrics] == ["loss"]


@pytest.mark.parametrize(
    ("raised", "state"),
    [(KeyboardInterrupt(), "stopped"), (SystemExit(0), "finished"), (SystemExit(3), "failed"), (MemoryError("big"), "failed")],
)
def test_an_interrupt_stops_the_run_and_an_exit_ends_it_as_it_says(door: FolderDoor, raised: BaseException, state: str) -> None:
    opened = run(door=door)
    with pytest.raises(type(raised)), opened:
        raise raised
    found = detail(door, opened).run
    assert found.state == state
    assert (found.error is None) == (state == "finished")


def test_a_traceback_of_any_length_is_kept_with_its_beginning_and_its_end(door: FolderDoor) -> None:
    opened = run(door=door)
    with pytest.raises(ValueError, match="xxx"), opened:
        raise ValueError("x" * 200_000 + " the end")
    error = detail(door, opened).run.error or ""
    assert error.startswith("Traceback")
    assert error.endswith("the end\n")
    assert len(error) < 70_000


def test_code_called_within_the_block_finds_the_run_and_none_outside(door: FolderDoor) -> None:
    assert plimsoll.current_run().id == ""
    with run(door=door) as outer:
        assert plimsoll.current_run().id == outer.id
        with run(door=door) as inner:
            plimsoll.current_run().log(depth=2.0)
        assert plimsoll.current_run().id == outer.id
    assert plimsoll.current_run().id == ""
    assert [metric.name for metric in detail(door, inner).metrics] == ["depth"]
    assert detail(door, outer).metrics == ()


def test_the_same_object_used_twice_is_two_runs(door: FolderDoor) -> None:
    opened = run(door=door)
    ids = []
    for _ in range(2):
        with opened:
            opened.log(loss=1.0)
            opened.log(loss=2.0)
        ids.append(opened.id)
        assert detail(door, opened).metrics[0].count == 2
    assert len(set(ids)) == 2


def test_a_run_that_has_not_begun_says_how_to_begin_it(door: FolderDoor) -> None:
    opened = run(door=door)
    for use in (lambda: opened.log(a=1.0), lambda: opened.id, lambda: opened.record, lambda: opened.set_tags(a="b")):
        with pytest.raises(InvalidInput, match=r"with plimsoll\.run"):
            use()
    assert door.do(SearchRuns()).runs == ()


def test_a_run_that_somebody_else_ended_says_so_and_training_goes_on(door: FolderDoor, capsys: pytest.CaptureFixture[str]) -> None:
    with run(door=door) as opened:
        door.do(FinishRun(id=opened.id, state="stopped"))
        opened.log(a=1.0)
    assert "has ended as stopped" in capsys.readouterr().err
    assert list((door.workspace.home / "journal").iterdir()) == []
    found = detail(door, opened)
    assert (found.run.state, [metric.name for metric in found.metrics]) == ("stopped", ["a"])


def test_a_run_that_somebody_deleted_keeps_what_it_logged_in_a_file(door: FolderDoor, capsys: pytest.CaptureFixture[str]) -> None:
    with run(door=door) as opened:
        door.do(DeleteRun(id=opened.id))
        opened.log(a=1.0)
    assert ".refused" in capsys.readouterr().err
    kept = list((door.workspace.home / "journal").glob("*.refused"))
    assert [path.stem for path in kept] == [opened.id]


class Flaky:
    """A door that answers only while it is open; blobs too."""

    def __init__(self, door: FolderDoor) -> None:
        self._door, self.address, self.workspace, self.open = door, door.address, door.workspace, True

    def do(self, request: Request[Any], /) -> Any:
        self._check()
        return self._door.do(request)

    @property
    def blobs(self) -> Any:
        self._check()
        return self._door.blobs

    def _check(self) -> None:
        if not self.open:
            raise Unreachable("The server does not answer.")


def flaky(door: FolderDoor, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._PATIENCE", 0.3)
    monkeypatch.setattr("plimsoll.sdk.tracking.left.journals", lambda opened: opened.workspace.home / "journal")
    return Flaky(door)


def test_tags_and_artifacts_of_an_outage_arrive_in_their_order_and_nothing_is_raised(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closing = flaky(door, monkeypatch)
    with run(door=closing) as opened:
        closing.open = False
        opened.set_tags(stage="one", kind="small")
        opened.log_artifact("three", 3)
        opened.set_tags(stage="two")
        opened.log(loss=1.0)
        # By a thread; once the run has ended, only what is left is told.
        told, deadline = "", clock.monotonic() + 60
        while "the run goes on" not in told and clock.monotonic() < deadline:
            clock.sleep(0.01)
            told += capsys.readouterr().err
    told += capsys.readouterr().err
    assert told.count("the run goes on") == 1
    assert "1 points, 3 params, tags or artifacts, and its end are still in" in told
    assert "plimsoll sync" in told
    assert detail(door, opened).run.state == "running"
    monkeypatch.undo()
    with run(door=door):
        pass
    found = detail(door, opened)
    assert (found.run.state, found.run.tags) == ("finished", {"stage": "two", "kind": "small"})
    assert [artifact.name for artifact in found.artifacts] == ["three"]
    assert [metric.last for metric in found.metrics] == [1.0]


def test_an_artifact_for_which_there_is_no_room_is_one_warning_and_counted(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: LocalBlobs, parts: object) -> None:
        raise StorageFull("The disk is full.")

    with run(door=door) as opened:
        with monkeypatch.context() as patch:
            patch.setattr(LocalBlobs, "put_all", full)
            for name in "abc":
                opened.log_artifact(name, 1)
        opened.log_artifact("d", 1)
    told = capsys.readouterr().err
    assert told.count("The disk is full.") == 1
    assert "without what could not be kept: 3 artifacts" in told
    assert [artifact.name for artifact in detail(door, opened).artifacts] == ["d"]


def test_what_is_wrong_with_a_value_is_raised_and_what_the_platform_refuses_is_told(
    door: FolderDoor, capsys: pytest.CaptureFixture[str]
) -> None:
    with run(door=door, params={"depth": 3}) as opened:
        with pytest.raises(Unfingerprintable):
            opened.log_artifact("a", object())
        for wrong in ("../a", "/a", "https://a", ""):
            with pytest.raises(InvalidInput, match="no path within a run"):
                opened.log_artifact(wrong, 1)
        with pytest.raises(InvalidInput, match="is not there"):
            opened.log_artifact("a", Path("nowhere"))
        with pytest.raises(InvalidInput, match="log_text"):
            opened.log_artifact("a", "nowhere")
        with pytest.raises(InvalidInput, match="is '3' already"):
            opened.set_params(depth=4)
        with pytest.raises(InvalidInput, match="not a valid name"):
            opened.log({"a\n": 1.0})
        with pytest.raises(InvalidInput, match="not a digest"):
            opened.log_input("rows", "abc")
        plimsoll.current_run().log_input("rows", "0" * 64)
    assert "without this LogInput" in capsys.readouterr().err
    assert detail(door, opened).run.state == "finished"


def test_a_disk_that_is_full_for_a_while_costs_no_points(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with run(door=door) as opened:
        write = os.write
        assert opened._sender is not None
        journal = opened._sender.journal._file

        def full(handle: int, data: bytes) -> int:
            if handle == journal:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(handle, data)

        opened.log(loss=1.0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            for _ in range(3):
                opened.log(loss=2.0, acc=1.0)
        opened.log(loss=3.0)
    told = capsys.readouterr().err
    assert told.count("cannot grow") <= 1
    assert "could not be kept" not in told
    found = detail(door, opened)
    assert found.run.state == "finished"
    assert door.do(GetSeries(run_id=opened.id, name="loss")).values == (1.0, 2.0, 2.0, 2.0, 3.0)


def test_a_disk_that_stays_full_does_not_keep_the_run_from_ending(door: FolderDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    with run(door=door) as opened:
        opened.log(loss=1.0)

        def full(self: Journal, data: bytes) -> None:
            raise StorageFull("The journal cannot grow.")

        monkeypatch.setattr(Journal, "_write", full)
        opened.log(loss=2.0)
        opened.set_tags(kind="small")
    found = detail(door, opened)
    assert (found.run.state, found.run.tags) == ("finished", {"kind": "small"})
    assert door.do(GetSeries(run_id=opened.id, name="loss")).values == (1.0, 2.0)


def test_params_tags_and_notes_are_there_from_the_start_and_more_is_added_later(door: FolderDoor) -> None:
    with run(door=door, params={"rate": np.float64(0.1), "big": 2**70, "where": Path("/x")}, tags={"try": "1"}, notes="First.") as opened:
        begun = detail(door, opened).run
        opened.set_params({"seen": 5}, depth=3)
        opened.set_params(depth=3)
        opened.set_tags({"a.b": "c"}, mark=2)  # type: ignore[arg-type]
        opened.set_notes("Second.")
    assert begun.tags == {"try": "1", "mlflow.note.content": "First."}
    found = detail(door, opened).run
    assert opened.params == found.params == {"rate": 0.1, "big": str(2**70), "where": "/x", "seen": 5, "depth": 3}
    assert found.tags == {"try": "1", "mlflow.note.content": "Second.", "a.b": "c", "mark": "2"}


def test_files_folders_texts_tables_figures_and_images_are_kept(door: FolderDoor, tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "a.txt").write_text("a")
    figure = SimpleNamespace(savefig=lambda buffer, format: buffer.write(f"a {format}".encode()))
    page = SimpleNamespace(to_html=lambda include_plotlyjs: "<p>", to_plotly_json=dict)
    with run(door=door) as opened:
        opened.log_artifact("folder", tmp_path / "out")
        opened.log_artifact("raw/bytes.bin", b"12")
        opened.log_text("notes.md", "# Ü")
        opened.log_table("rows", {"a": [1, 2]})
        opened.log_table("more", [{"a": 1.5}])
        opened.log_figure("plots/loss", figure)
        opened.log_figure("plots/page", page)
        opened.log_image("samples/digit", np.eye(4), step=10)
        opened.log_image("samples/digit", np.zeros((2, 3, 3), np.uint8), step=20)
        for wrong in (np.zeros(3), np.full((2, 2), 1.5), np.zeros((2, 2), np.int64), np.zeros((2, 2, 5), np.uint8)):
            with pytest.raises(InvalidInput, match=r"image"):
                opened.log_image("x", wrong)
        with pytest.raises(InvalidInput, match="no figure"):
            opened.log_figure("x", 3)
        with pytest.raises(InvalidInput, match="no table"):
            opened.log_table("x", 3)
        with pytest.raises(InvalidInput, match="below 0"):
            opened.log_text("x", "", step=-1)
    found = {kept.name: kept for kept in detail(door, opened).artifacts}
    assert sorted(found) == [
        "folder", "more", "notes.md", "plots/loss.png", "plots/page.html", "raw/bytes.bin", "rows",
        "samples/digit/step-000000010.png", "samples/digit/step-000000020.png",
    ]  # fmt: skip

    def content(name: str) -> bytes:
        (entry,) = get_manifest(door.blobs, found[name].digest).files
        return door.blobs.get(entry.digest)

    assert (content("notes.md"), content("raw/bytes.bin"), content("plots/loss.png")) == ("# Ü".encode(), b"12", b"a png")
    assert get_table(door.blobs, found["rows"].digest).to_dict(as_series=False) == {"a": [1, 2]}
    image = content("samples/digit/step-000000010.png")
    (length,) = struct.unpack(">I", image[33:37])
    rows = np.frombuffer(zlib.decompress(image[41 : 41 + length]), np.uint8).reshape(4, 5)
    assert struct.unpack(">II", image[16:24]) == (4, 4)
    assert (rows[:, 1:] == np.eye(4) * 255).all()
    assert rows[:, 0].any() == 0


def test_code_arguments_packages_and_machine_are_captured_unless_they_are_not_to_be(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "--depth", "3", "--token", "abc"])
    with run(door=door) as opened:
        pass
    found = detail(door, opened).run
    assert (found.code.entry, found.code.arguments) == ("train.py", ("--depth", "3", "--token", "***"))
    assert found.machine is not None
    assert found.machine.host
    assert b"plimsoll" in door.blobs.get(found.environment or "")
    monkeypatch.setenv("PLIMSOLL_CAPTURE", "none")
    with run(door=door) as opened:
        pass
    found = detail(door, opened).run
    assert (found.code, found.environment, found.machine) == (CodeVersion(), None, None)
    monkeypatch.setenv("PLIMSOLL_CAPTURE", "some")
    with pytest.raises(InvalidInput, match="all, once, none"):
        run(door=door).start()


@pytest.mark.parametrize("capture", ["all", "once"])
def test_the_machine_is_watched_while_a_run_goes_on(door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capture: str) -> None:
    monkeypatch.setattr("plimsoll.sdk.tracking.machine.EVERY", 0.02)
    monkeypatch.setenv("PLIMSOLL_CAPTURE", capture)
    with run(door=door) as opened:
        deadline = clock.monotonic() + (60 if capture == "all" else 0.3)
        while clock.monotonic() < deadline and not detail(door, opened).metrics:
            clock.sleep(0.02)
    names = {metric.name for metric in detail(door, opened).metrics}
    assert names >= {"system/cpu_percent", "system/process_memory_mb"} if capture == "all" else not names


def test_a_nested_run_names_its_parent(door: FolderDoor) -> None:
    with run(door=door) as outer, run(door=door, nested=True) as inner:
        pass
    other = run(door=door, parent=outer).start()
    other.finish()
    for child in (inner, other):
        assert detail(door, child).run.tags == {"mlflow.parentRunId": outer.id}
    with pytest.raises(InvalidInput, match="no parent"):
        run(door=door, nested=True).start()
    with pytest.raises(InvalidInput, match="one parent"):
        run(door=door, nested=True, parent=outer)


def test_a_repeated_start_with_a_key_is_the_same_run_and_counts_on(door: FolderDoor) -> None:
    with run(door=door, key="night", params={"depth": 3}) as first:
        first.log(loss=3.0)
        first.log(loss=2.0)
    with run(door=door, key="night", params={"depth": 3, "rate": 0.1}) as second:
        assert second.id == first.id
        assert second.params == {"depth": 3, "rate": 0.1}
        second.log(loss=1.0)
    assert door.do(GetSeries(run_id=first.id, name="loss")).steps == (0, 1, 2)
    with pytest.raises(InvalidInput, match="is '3' already"):
        run(door=door, key="night", params={"depth": 4}).start()
    assert [found.run.id for found in door.do(SearchRuns()).runs] == [first.id]
    assert list((door.workspace.home / "journal").iterdir()) == []


def test_a_repeated_start_counts_on_from_what_its_earlier_process_has_left(door: FolderDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._PATIENCE", 0.3)
    defective = Broken(door.workspace, door.actor)
    defective.broken = AppendPoints
    with run(door=defective, key="night") as first:
        for loss in (3.0, 2.0, 1.0):
            first.log(loss=loss)
    with run(door=door, key="night") as second:
        second.log(loss=0.5)
    assert door.do(GetSeries(run_id=first.id, name="loss")).steps == (0, 1, 2, 3)


def test_a_nested_run_is_of_its_parents_experiment(door: FolderDoor) -> None:
    with run(door=door, experiment="trees") as outer, run(door=door, nested=True) as inner:
        pass
    with run(door=door, experiment="others", parent=outer) as other:
        pass
    assert [detail(door, each).run.experiment for each in (outer, inner, other)] == ["trees", "trees", "others"]


def test_a_run_goes_on_by_its_id_after_a_failure(door: FolderDoor) -> None:
    opened = run(door=door, experiment="notebook").start()
    opened.log(loss=1.0)
    opened.finish("failed", "Boom")
    with run(door=door, run_id=opened.id, tags={"try": "2"}) as again:
        assert (again.id, again.record.state, again.record.error) == (opened.id, "running", None)
        again.log(loss=0.5)
    found = detail(door, again)
    assert (found.run.state, found.run.experiment, found.run.tags) == ("finished", "notebook", {"try": "2"})
    assert door.do(GetSeries(run_id=opened.id, name="loss")).steps == (0, 1)
    with pytest.raises(NotFound):
        run(door=door, run_id="0" * 32).start()
    with pytest.raises(InvalidInput, match="Give only run_id"):
        run(door=door, run_id=opened.id, name="other")
    with pytest.raises(InvalidInput, match="32 hex digits"):
        run(door=door, run_id="abc")


def test_a_run_is_begun_and_ended_without_a_block_and_ends_once(door: FolderDoor) -> None:
    opened = run(door=door).start()
    with pytest.raises(InvalidInput, match="is under way"):
        opened.start()
    opened.log(loss=1.0)
    opened.finish("failed", "It did not converge.")
    opened.finish()
    found = detail(door, opened).run
    assert (found.state, found.error) == ("failed", "It did not converge.")
    with pytest.raises(InvalidInput, match="has ended"):
        opened.log(loss=1.0)
    with run(door=door) as early:
        early.finish("stopped")
    assert detail(door, early).run.state == "stopped"


def test_a_start_that_the_platform_refuses_is_raised_and_leaves_nothing(door: FolderDoor) -> None:
    experiment = door.do(CreateExperiment(name="old"))
    door.do(DeleteExperiment(id=experiment.id))
    with pytest.raises(Conflict, match="is deleted"):
        run(door=door, experiment="old").start()
    assert list((door.workspace.home / "journal").iterdir()) == []


def test_what_a_run_does_not_take_is_refused_with_the_way_to_say_it(door: FolderDoor) -> None:
    with pytest.raises(InvalidInput, match=r"params={'depth'"):
        run(door=door, depth=3)  # type: ignore[call-overload]
    with pytest.raises(InvalidInput, match="takes no 'until'"):
        run(door=door, until="train")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "wrong",
    [
        {"experiment": 5}, {"experiment": None}, {"name": 5}, {"notes": 5}, {"params": [1]}, {"params": None}, {"tags": "a"}, {"key": 5},
        {"key": ""}, {"run_id": 5}, {"parent": 5}, {"params": {1: 2}}, {"tags": {"": "x"}},
    ],
)  # fmt: skip
def test_a_beginning_that_means_nothing_is_refused_and_leaves_nothing(door: FolderDoor, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        run(door=door, **wrong).start()
    assert door.do(SearchRuns()).runs == ()
    assert not list(door.workspace.home.glob("journal/*"))


def test_an_end_that_is_none_is_refused_and_the_run_goes_on(door: FolderDoor) -> None:
    opened = run(door=door)
    assert repr(opened) == "<a run that has not begun>"
    with opened:
        with pytest.raises(InvalidInput, match="No run ends as 'done'"):
            opened.finish("done")  # type: ignore[arg-type]
        assert repr(opened) == f"<run {opened.id}, running>"
        opened.log(loss=0.5)
    assert (detail(door, opened).run.state, repr(opened)) == ("finished", f"<run {opened.id}, finished>")
    assert [each.count for each in detail(door, opened).metrics] == [1]


class Broken(FolderDoor):
    """A platform with a defect."""

    broken: type[Request[Any]] | None = None

    def do(self, request: Request[Any], /) -> Any:
        """Do what the defect lets through."""
        if self.broken is not None and isinstance(request, self.broken):
            raise TypeError("can only concatenate str")
        return super().do(request)


@pytest.mark.parametrize("broken", [StartRun, AppendPoints, FinishRun])
def test_training_does_not_die_of_a_defect_of_the_platform_and_loses_nothing(
    door: FolderDoor, broken: type[Request[Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._PATIENCE", 0.5)
    defective = Broken(door.workspace, door.actor)
    defective.broken = broken
    with run(door=defective, experiment="hurt") as opened:
        opened.log(loss=0.5)
    told = capsys.readouterr().err
    assert f"The platform failed at {broken.__name__}: TypeError: can only concatenate str." in told
    assert "Send them with: plimsoll sync" in told
    (left,) = send(list(door.workspace.home.glob("journal/*.journal")), lambda address: door)
    assert (left.state, left.end) == ("sent", "finished")
    assert [(each.name, each.count) for each in detail(door, opened).metrics] == [("loss", 1)]


def test_what_is_no_pipeline_is_refused(door: FolderDoor) -> None:
    with pytest.raises(InvalidInput, match=r"@plimsoll\.pipeline"):
        run(lambda: 1, door=door)


def test_without_a_door_the_projects_own_home_is_used(door: FolderDoor) -> None:
    with run() as opened:
        opened.log(a=1.0)
    assert detail(door, opened).run.state == "finished"


def test_without_a_project_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.delenv("PLIMSOLL_URL", raising=False)
    with pytest.raises(NotFound) as refused, run():
        pass
    assert refused.value.remedy
    assert not (tmp_path / "empty" / ".plimsoll").exists()


def test_what_is_captured_need_not_be_unicode(door: FolderDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "caf\udce9.csv"])
    with pytest.raises(ValueError, match="bad name"), run(door=door) as opened:
        raise ValueError("bad name caf\udce9.csv")
    found = detail(door, opened).run
    assert (found.state, found.code.arguments) == ("failed", ("caf?.csv",))
    assert "bad name caf?.csv" in (found.error or "")


def test_a_journal_lies_elsewhere_where_its_folder_takes_none(
    door: FolderDoor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (door.workspace.home / "journal").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with run(door=door) as opened:
        opened.log(loss=0.5)
        (journal,) = (tmp_path / "state" / "plimsoll" / "journal").glob("*.journal")
    told = capsys.readouterr().err
    assert f"It lies in {journal.parent} for this run" in told
    assert detail(door, opened).run.state == "finished"
    assert [(each.name, each.count) for each in detail(door, opened).metrics] == [("loss", 1)]
    # Neither there, so where nothing outlasts the machine's next start.
    (tmp_path / "other").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with run(door=door) as opened:
        opened.log(loss=0.5)
        assert list(tmp_path.glob("plimsoll-*/journal/*.journal"))
    assert [(each.name, each.count) for each in detail(door, opened).metrics] == [("loss", 1)]
    assert tmp_path / f"plimsoll-{os.getuid()}" / "journal" in all_journals()


def test_a_run_begins_without_its_code_where_the_home_has_no_room(
    door: FolderDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: LocalBlobs, data: bytes) -> str:
        raise StorageFull("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(LocalBlobs, "put", full)
        opened = run(door=door).start()
    opened.log(loss=0.5)
    opened.finish()
    assert "The run begins without its code and environment." in capsys.readouterr().err
    assert [(each.name, each.count) for each in detail(door, opened).metrics] == [("loss", 1)]
