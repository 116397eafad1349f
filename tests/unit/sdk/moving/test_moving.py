"""Moving in: everything comes once, whatever happens in the middle, and nothing leads out of the source."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.errors import Denied, InvalidInput, NotFound, Unreachable
from plimsoll.records.access import Actor, ListEvents
from plimsoll.records.model import GetVersion
from plimsoll.records.registry.catalog import GetModel
from plimsoll.records.run import AppendPoints, GetRun, GetSeries, PointColumns, StartRun
from plimsoll.records.tracking.experiment import GetExperiment, ListExperiments
from plimsoll.records.tracking.logged_model import GetLoggedModel, ListModelFiles
from plimsoll.sdk.door import Door, FolderDoor
from plimsoll.sdk.moving.copying import GO_ON, fitting, move_in
from plimsoll.sdk.moving.ledger import Ledger
from plimsoll.sdk.moving.sources.opened import open_source
from plimsoll.sdk.moving.sources.ordered import Tally, in_order
from plimsoll.sdk.moving.sources.source import Point, Source
from tests.unit.sdk.moving.store import LOGGED, RUNS, meta, run, store, texts
from tests.unit.yard import Yard


def door_of(yard: Yard, *roles: Any) -> Door:
    """A door to the yard's home."""
    return FolderDoor(yard.workspace, Actor(name="-".join(roles), roles=roles) if roles else yard.owner)


def moved(
    yard: Yard, source: Source | Path | str, ledger: Ledger | None = None, recheck: bool = False, artifacts: Path | None = None
) -> Ledger:
    """Move in, and return what happened."""
    ledger = ledger or Ledger()
    opened = open_source(str(source), ledger.notes, artifacts) if isinstance(source, Path | str) else source
    with contextlib.closing(opened):
        move_in(door_of(yard), opened, ledger, recheck, lambda line: None)
    return ledger


def counts(ledger: Ledger) -> dict[str, tuple[int, int]]:
    """What was copied and what was here, by kind."""
    return {kind: (count.copied, count.here) for kind, count in ledger.counts.items() if count.copied or count.here}


def state(yard: Yard) -> Any:
    """Everything that was moved in, but when it was changed last."""
    door = door_of(yard)
    found: list[Any] = []
    for id in RUNS:
        detail = door.do(GetRun(id=id))
        found.append((detail.run.params, detail.run.tags, detail.run.name, detail.run.state, detail.run.started, detail.run.ended))
        found.append((detail.run.deleted is None, repr(detail.metrics), detail.artifacts, detail.datasets, detail.models))
        for series in detail.metrics:
            history = door.do(GetSeries(run_id=id, name=series.name))
            found.append((history.steps, history.times, [struct.pack("<d", value) for value in history.values]))
    logged = door.do(GetLoggedModel(id=LOGGED))
    found.append((logged.name, logged.state, logged.params, logged.metrics, logged.run_id, door.do(ListModelFiles(id=LOGGED))))
    model = door.do(GetModel(name="late"))
    found.append((model.description, model.tags, model.aliases, model.created))
    for number in (1, 3):
        version = door.do(GetVersion(ref=f"late/{number}"))
        found.append((version.digest, version.stage, version.description, version.tags, version.created, version.run_id, version.model_id))
    found.append([(each.id, each.name, each.tags, each.deleted is None) for each in door.do(ListExperiments(deleted=True))])
    return sorted(map(repr, found))


def test_everything_comes_as_it_was(yard: Yard, tmp_path: Path) -> None:
    ledger = moved(yard, store(tmp_path))
    assert ledger.whole, (ledger.notes.left, ledger.differences)
    assert counts(ledger)["run"] == (4, 0)
    assert counts(ledger)["point"] == (4 * 60, 0)
    door = door_of(yard)
    first = door.do(GetRun(id=RUNS[0]))
    assert (first.run.name, first.run.state, first.run.started, first.run.ended) == (
        "try 1",
        "finished",
        1700000000000000,
        1700000009000000,
    )
    assert first.run.params == {"depth": "5", "text": "a\r\nb = 'ü'", "empty": ""}
    assert first.run.tags == {"mlflow.note.content": "# note\n", "kind": "x", "mlflow.user": "ann"}
    assert [(use.dataset.name, use.tags) for use in first.datasets] == [("frame", {"mlflow.data.context": "training"})]
    assert [(use.model_id, use.role, use.step) for use in first.models] == [(LOGGED, "output", 4)]
    odd = door.do(GetSeries(run_id=RUNS[0], name="odd"))
    assert odd.steps == (-7, 0, 1, 1, 1, 2, 2, 2, 2)
    assert math.isnan(odd.values[1])
    assert odd.values[2:] == (math.inf, 4.0, 5.0, -math.inf, 1e-310, -0.0, -0.0)
    assert [door.do(GetRun(id=id)).run.state for id in RUNS] == ["finished", "stopped", "running", "finished"]
    assert [door.do(GetRun(id=id)).run.deleted is None for id in RUNS] == [True, False, True, False]
    assert door.do(GetExperiment(name="late arrivals")).id == "7"
    model, version = door.do(GetModel(name="late")), door.do(GetVersion(ref="late@champion"))
    assert (model.description, version.number, version.model_id) == ("a: text\n- of 'two' lines", 3, LOGGED)
    assert door.blobs.get(next(kept.digest for kept in first.artifacts if kept.name == "notes/hello.txt")) == b"hello"


@pytest.mark.parametrize("recheck", [False, True])
def test_twice_is_the_same_as_once(yard: Yard, tmp_path: Path, recheck: bool) -> None:
    folder = store(tmp_path)
    first, before = counts(moved(yard, folder)), state(yard)
    again = moved(yard, folder, recheck=recheck)
    assert again.whole
    assert counts(again) == {kind: (0, copied + here) for kind, (copied, here) in first.items()}
    assert state(yard) == before


class Cut:
    """A source that fails when it is asked for the Nth time, as one does whose network or disk goes away."""

    def __init__(self, source: Source, limit: int) -> None:
        self._source, self._left = source, limit
        self.address = source.address

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __getattr__(self, name: str) -> Any:
        answer = getattr(self._source, name)

        def asked(*args: Any) -> Any:
            found = answer(*args)
            return self._each(found) if isinstance(found, Iterator) else self._count(found)

        return asked

    def _count(self, found: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise OSError(5, "Input/output error")
        return found

    def _each(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            yield self._count(item)


def test_one_that_is_cut_off_anywhere_goes_on_where_it_stopped(yard: Yard, tmp_path: Path) -> None:
    folder = store(tmp_path)
    limit, ended = 1, False
    told: set[str] = set()
    while not ended:
        ledger = Ledger()
        source = Cut(open_source(str(folder), ledger.notes), limit)
        try:
            moved(yard, source, ledger)
            ended = True
        except Unreachable as error:
            told.add(error.remedy)
            limit += 61
    assert limit > 200
    assert told == {GO_ON}
    assert moved(yard, folder).whole
    written = state(yard)
    # Every point is there exactly once, as after one copy in one go.
    assert counts(moved(yard, folder, recheck=True))["point"] == (0, 4 * 60)
    assert state(yard) == written


def test_what_is_new_at_the_source_comes_with_the_next_copy(yard: Yard, tmp_path: Path) -> None:
    folder = store(tmp_path)
    moved(yard, folder)
    going = folder / "7" / RUNS[2]
    with (going / "metrics" / "loss").open("a") as file:
        file.write("1700000001000 9.5 60\n")
    texts(going, {"params/more": "1", "tags/kind": "y", "artifacts/late.txt": "late"})
    ledger = moved(yard, folder)
    assert ledger.whole
    assert counts(ledger)["point"][0] == 1
    detail = door_of(yard).do(GetRun(id=RUNS[2]))
    assert (detail.run.params["more"], detail.run.tags["kind"]) == ("1", "y")
    assert next(series for series in detail.metrics if series.name == "loss").last == 9.5
    assert "late.txt" in {kept.name for kept in detail.artifacts}


def test_a_file_that_is_a_way_out_of_the_source_is_refused_by_name_and_the_rest_comes(yard: Yard, tmp_path: Path) -> None:
    folder = store(tmp_path)
    (tmp_path / "secret").write_text("secret")
    files = folder / "7" / RUNS[0] / "artifacts"
    (files / "link").symlink_to(tmp_path / "secret")
    (files / "up").symlink_to(tmp_path)
    (files / "inside").symlink_to(files / "empty.bin")
    texts(files, {"http:x": "x", "a;b": "x"})
    meta(folder / "7" / RUNS[2], run_name="r", status=3, artifact_uri=f"file://{tmp_path}/../../etc")
    ledger = moved(yard, folder)
    left = {each.name.partition(" of ")[0] for each in ledger.notes.left}
    assert left == {"link", "up", "http:x", "a;b"}
    kept = {kept.name for kept in door_of(yard).do(GetRun(id=RUNS[0])).artifacts}
    assert kept == {"notes/hello.txt", "empty.bin", "model/MLmodel", "inside"}


@pytest.mark.parametrize(
    "text", ["", "- a list", "a: [", "!!python/object/apply:os.system ['touch harm']", "status: {x: 1}\nstart_time: soon"]
)
def test_a_description_that_cannot_be_read_is_named_and_never_run(
    yard: Yard, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = store(tmp_path)
    (folder / "7" / RUNS[0] / "meta.yaml").write_text(text)
    ledger = moved(yard, folder)
    assert "run" in {each.kind for each in ledger.notes.left}
    assert not (tmp_path / "harm").exists()
    assert door_of(yard).do(GetRun(id=RUNS[2])).run.name == "try 3"
    with pytest.raises(NotFound):
        door_of(yard).do(GetRun(id=RUNS[0]))


def test_a_line_that_is_no_point_is_named(yard: Yard, tmp_path: Path) -> None:
    folder = store(tmp_path)
    texts(folder / "7" / RUNS[0] / "metrics", {"bad": f"1 2 3\nnothing\n\xff\n1 2 {2**63}\n4 5 6\n"})
    ledger = moved(yard, folder)
    assert [each.name for each in ledger.notes.left] == [f"{RUNS[0]} bad line {number}" for number in (2, 3, 4)]
    assert door_of(yard).do(GetSeries(run_id=RUNS[0], name="bad")).values == (2.0, 5.0)


def test_a_name_that_cannot_be_kept_is_changed_and_told(yard: Yard, tmp_path: Path) -> None:
    folder = store(tmp_path)
    meta(folder / "9", experiment_id="9", name="/Users/ann\t(old)")
    run(folder / "9", f"{9:032x}", run_name="lr=0.1, größe [3]")
    ledger = moved(yard, folder)
    assert any("/Users/ann" in fact for fact in ledger.differences)
    kept = door_of(yard).do(GetRun(id=f"{9:032x}")).run
    assert (kept.experiment, kept.name) == ("/Users/ann_(old)", "lr=0.1, größe [3]")
    assert fitting("Run name", "\n", "run 1") == "_"
    assert fitting("Run name", " ", "run 1") == "run 1"


def test_two_experiments_whose_names_are_changed_alike_stay_two(yard: Yard, tmp_path: Path) -> None:
    folder = store(tmp_path)
    for number, name in ((11, "a\tb"), (12, "a_b"), (13, "a\nb"), (14, "x" * 500), (15, "x" * 501)):
        meta(folder / str(number), experiment_id=str(number), name=name)
        run(folder / str(number), f"{number:032x}")
    for _ in range(2):
        ledger = moved(yard, folder)
        assert not ledger.notes.left
        names = [door_of(yard).do(GetRun(id=f"{number:032x}")).run.experiment for number in range(11, 16)]
        assert names == ["a_b (11)", "a_b", "a_b (13)", "x" * 500, f"{'x' * 495} (15)"]


def test_a_run_here_that_is_another_one_is_told_and_never_taken_for_the_same(yard: Yard, tmp_path: Path) -> None:
    door, mine = door_of(yard), PointColumns(names=("loss",), steps=(0,), times=(1,), values=(9.0,))
    door.do(StartRun(id=RUNS[0], experiment="late arrivals", params={"depth": "6"}))
    door.do(AppendPoints(run_id=RUNS[0], writer="mine", sequence=1, points=mine))
    door.do(StartRun(id=RUNS[2], experiment="mine"))
    ledger = moved(yard, store(tmp_path))
    assert not ledger.whole
    wrong = " ".join(ledger.differences)
    assert f"The history of 'loss' of the run {RUNS[0]} is not as at the source." in wrong
    assert f"The run {RUNS[0]} is not as at the source: depth" in wrong
    left = [each.reason for each in ledger.notes.left if (each.kind, each.name) == ("run", RUNS[2])]
    assert left == [f"The run {RUNS[2]} is in the experiment 'mine' here. Nothing of it was changed."]
    untouched = door.do(GetRun(id=RUNS[2]))
    assert (untouched.run.params, untouched.metrics, untouched.artifacts) == ({}, (), ())


def test_a_file_that_changed_and_kept_its_size_comes_when_all_is_read_again(yard: Yard, tmp_path: Path) -> None:
    folder, door = store(tmp_path), door_of(yard)
    moved(yard, folder)
    (folder / "7" / RUNS[0] / "artifacts" / "notes" / "hello.txt").write_bytes(b"jello")
    found = []
    for recheck in (False, True):
        assert moved(yard, folder, recheck=recheck).whole
        found += [door.blobs.get(kept.digest) for kept in door.do(GetRun(id=RUNS[0])).artifacts if kept.name == "notes/hello.txt"]
    assert found == [b"hello", b"jello"]


def test_a_version_that_was_made_here_is_not_touched(yard: Yard, tmp_path: Path) -> None:
    moved(yard, store(tmp_path / "a"))
    other = store(tmp_path / "b")
    version = other / "models" / "late" / "version-1" / "meta.yaml"
    version.write_text(yaml.safe_dump({**yaml.safe_load(version.read_text()), "creation_timestamp": 5, "description": "another"}))
    ledger = moved(yard, other)
    assert [each.name for each in ledger.notes.left] == ["late/1"]
    assert door_of(yard).do(GetVersion(ref="late/1")).description == "the first"


def test_who_may_not_write_moves_nothing_in(yard: Yard, tmp_path: Path) -> None:
    ledger = Ledger()
    with pytest.raises(Denied):
        move_in(door_of(yard, "read"), open_source(str(store(tmp_path)), ledger.notes), ledger, False, lambda line: None)
    with pytest.raises(NotFound):
        door_of(yard).do(GetRun(id=RUNS[0]))


def test_what_is_moved_in_is_in_the_audit_log(yard: Yard, tmp_path: Path) -> None:
    moved(yard, store(tmp_path))
    verbs = {event.verb for event in door_of(yard).do(ListEvents(limit=500))}
    assert {"CreateExperiment", "StartRun", "AdoptFiles", "SetAlias"} <= verbs


def test_a_folder_without_experiments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        open_source(str(tmp_path), Ledger().notes)
    with pytest.raises(NotFound):
        open_source(str(tmp_path / "nothing"), Ledger().notes)


def test_a_history_out_of_order_is_put_in_order_with_every_bit() -> None:
    points = [Point(2, 1, math.nan), Point(1, 9, 2.0), Point(1, 9, -0.0), Point(1, 3, math.inf), Point(1, 9, 2.0)]
    found = list(in_order(lambda: iter(points)))
    assert [(point.step, point.time) for point in found] == [(1, 3), (1, 9), (1, 9), (1, 9), (2, 1)]
    left, right = Tally(), Tally()
    left.add(points)
    right.add(found)
    assert left == right
    right.add(points[:1])
    assert left != right
