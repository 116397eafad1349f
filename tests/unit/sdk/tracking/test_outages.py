"""Whatever a server does, training goes on, and what it logged arrives once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import plimsoll
from plimsoll import clock
from plimsoll.cli.output import Format
from plimsoll.cli.tracking.sync import sync
from plimsoll.data.snapshot import get_manifest
from plimsoll.records.run import GetRun, GetSeries, RunDetail
from tests.unit.conftest import Running
from tests.unit.sdk.tracking.weather import Mode, Weather

BAD: list[Mode] = ["refused", "hangs", "500", "login", "moved", "cut"]

#: Seconds that the end of a run waits for a server that does not answer before it has ended.
IN_VAIN = 0.2


def detail(running: Running, id: str) -> RunDetail:
    return running.folder().do(GetRun(id=id))


def content(running: Running, found: RunDetail, name: str) -> bytes:
    blobs = running.yard.workspace.stores.blobs
    (kept,) = [each for each in found.artifacts if each.name == name]
    (entry,) = get_manifest(blobs, kept.digest).files
    return blobs.get(entry.digest)


@pytest.mark.parametrize("mode", [*BAD, "slow"])
def test_an_outage_in_the_middle_loses_and_doubles_nothing(weather: Weather, running: Running, mode: Mode) -> None:
    slowest = 0.0
    with plimsoll.run(experiment=f"middle {mode}") as run:
        for step in range(30):
            if step == 10:
                weather.turn(mode)
                run.set_tags(mark="one")
                run.set_params(seen=5)
                run.log_text("notes/a.txt", "written in an outage")
            if step == 20:
                run.flush()
                weather.turn("fair")
            began = clock.monotonic()
            run.log(loss=float(step))
            slowest = max(slowest, clock.monotonic() - began)
            clock.sleep(0.005)
    # Far above what a call takes, below what is waited for an answer that never comes.
    assert slowest < 20.0
    found = detail(running, run.id)
    assert (found.run.state, found.run.tags, found.run.params) == ("finished", {"mark": "one"}, {"seen": 5})
    assert running.folder().do(GetSeries(run_id=run.id, name="loss")).values == tuple(map(float, range(30)))
    assert content(running, found, "notes/a.txt") == b"written in an outage"
    assert not list((Path(".plimsoll") / "journal").iterdir())


@pytest.mark.parametrize("mode", BAD)
def test_a_run_begins_and_ends_without_the_server_and_is_sent_later(
    weather: Weather, running: Running, mode: Mode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._PATIENCE", IN_VAIN)
    monkeypatch.setattr("plimsoll.sdk.http._TIMEOUT", 600.0)
    weather.turn(mode)
    began = clock.monotonic()
    run = plimsoll.run(experiment=f"whole {mode}", params={"depth": 3})

    def block() -> None:
        with run:
            run.log(loss=0.5)
            run.log_image("digit", np.eye(3))
            assert (len(run.id), run.record.state, run.params) == (32, "running", {"depth": 3})
            raise ValueError("Boom")

    with pytest.raises(ValueError, match="Boom"):
        block()
    # Nobody has waited for an answer until the client itself gives up.
    assert clock.monotonic() - began < 300
    ended = clock.now()
    told = capsys.readouterr().err
    assert "Send them with: plimsoll sync" in told
    if mode != "hangs":  # the command is patient
        assert sync() == 1
    weather.turn("fair")
    capsys.readouterr()
    assert sync() == 0
    assert run.id in capsys.readouterr().out
    found = detail(running, run.id)
    assert (found.run.state, found.run.params, found.run.experiment) == ("failed", {"depth": 3}, f"whole {mode}")
    assert 'raise ValueError("Boom")' in (found.run.error or "")
    assert found.run.started <= (found.run.ended or 0) <= ended
    assert content(running, found, "digit.png").startswith(b"\x89PNG")
    assert running.yard.workspace.stores.blobs.has(found.run.environment or "")
    assert not list((Path(".plimsoll") / "journal").iterdir())
    assert sync(form=Format(json=True)) == 0


def test_the_end_waits_for_an_upload_that_makes_progress(weather: Weather, running: Running, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(clock.new_id().encode() * 2_000_000)
    with plimsoll.run() as run:
        run.log_artifact("weights.bin", tmp_path / "weights.bin")
    found = detail(running, run.id)
    assert [(kept.name, kept.size) for kept in found.artifacts] == [("weights.bin", 64_000_000)]


def test_a_start_with_a_key_that_the_server_could_not_answer_joins_the_run_of_that_key(weather: Weather, running: Running) -> None:
    with plimsoll.run(key="joined") as first:
        first.log(loss=1.0, step=0)
    weather.turn("refused")
    with plimsoll.run(key="joined") as second:
        second.log(loss=2.0, step=1)
        second.set_tags(again="yes")
        second.log_text("a.txt", "a")
        assert second.id != first.id
        weather.turn("fair")
    assert second.id == first.id
    found = detail(running, first.id)
    assert (found.run.state, found.run.tags) == ("finished", {"again": "yes"})
    assert running.folder().do(GetSeries(run_id=first.id, name="loss")).values == (1.0, 2.0)
    assert [kept.name for kept in found.artifacts] == ["a.txt"]


PROGRAM = """
import sys, time, plimsoll, plimsoll.sdk.tracking.opened
# Only the platform can say that a key is known.
plimsoll.sdk.tracking.opened._WELCOME = plimsoll.sdk.tracking.opened._PATIENCE = 60.0
with plimsoll.run(experiment="processes", key=sys.argv[1] or None) as run:
    run.log({sys.argv[2]: 1.0})
    run.flush()
    print(run.id, flush=True)
    sys.stdin.readline()
"""


def process(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(child: subprocess.Popen[str]) -> None:
    child.communicate("\n", timeout=180)
    assert child.returncode == 0


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_two_processes_that_start_at_once_with_one_key_are_one_run(weather: Weather, running: Running) -> None:
    children = [process("both", name) for name in ("a", "b")]
    ids = {first_line(child) for child in children}
    for child in children:
        end(child)
    assert len(ids) == 1
    found = detail(running, ids.pop())
    assert (found.run.state, [metric.name for metric in found.metrics]) == ("finished", ["a", "b"])


def test_a_process_that_is_killed_leaves_a_lost_run_with_all_that_it_had_flushed(
    weather: Weather, running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    child = process("", "loss")
    id = first_line(child)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    child.stdout.close()
    assert sync() == 0
    found = detail(running, id)
    assert [metric.last for metric in found.metrics] == [1.0]
    assert found.run.state == "lost"


def test_that_many_journals_wait_for_the_same_reason_is_told_once(
    weather: Weather, running: Running, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._PATIENCE", IN_VAIN)
    weather.turn("500")
    told = ""
    for expected in (0, 1, 3, 5):
        run = plimsoll.run(experiment="waits").start()
        # By a thread, for which the end of a run in an outage does not wait.
        deadline = clock.monotonic() + 60
        while told.count("of an earlier run)") + told.count("wait as well") < expected:
            assert clock.monotonic() < deadline, told
            clock.sleep(0.01)
            told += capsys.readouterr().err
        run.finish()
    lines = (told + capsys.readouterr().err).splitlines()
    assert sum("of an earlier run)" in line for line in lines) == 3
    assert [line.partition(" in /")[0] for line in lines if "wait as well" in line] == [
        "plimsoll: 1 more of the journals",
        "plimsoll: 2 more of the journals",
    ]
