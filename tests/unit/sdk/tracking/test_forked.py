"""Processes that are forked from the one that began a run log to it as well; what they inherited of it they leave alone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from plimsoll.cli.tracking.sync import sync
from plimsoll.records.run import GetRun, GetSeries, RunDetail
from plimsoll.sdk.door import connect
from plimsoll.sdk.journal import Journal
from tests.unit.conftest import Running
from tests.unit.sdk.tracking.weather import Weather

#: Workers as a data loader has them: each logs, and one is killed at once after its last call.
WORKERS = """
import multiprocessing, os, signal, sys, time
import plimsoll, plimsoll.sdk.tracking.forked, plimsoll.sdk.tracking.opened
plimsoll.sdk.tracking.forked.TURN = plimsoll.sdk.tracking.opened.TURN = 0.05
plimsoll.sdk.tracking.opened._WELCOME = 60.0
plimsoll.sdk.tracking.opened._PATIENCE = float(sys.argv[1])

def work(number):
    run = plimsoll.current_run()
    for step in range(100):
        run.log({f"worker-{number}": float(step), "shared": 1.0}, step=1000 * number + step)
    run.flush()
    # What comes next is in a journal without points before it.
    time.sleep(0.1)
    run.set_tags({f"worker-{number}": "was here"})
    run.log_text("note.txt", "It has no place.")
    run.log({f"worker-{number}": -1.0}, step=1000 * number + 100)
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)

context = multiprocessing.get_context("fork")
with plimsoll.run(experiment="forks") as run:
    for step in range(50):
        run.log(loss=float(step))
    workers = [context.Process(target=work, args=(number,)) for number in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    run.log(loss=50.0)
    print(run.id, flush=True)
"""


#: Seconds for which the end of a run waits for a platform that answers, and for one that does not.
PATIENCE, IN_VAIN = 60.0, 1.0


def told(program: str, patience: float = PATIENCE) -> tuple[str, str]:
    """Run a program; return what it printed, and its warnings."""
    command = [sys.executable, "-W", "ignore", "-c", program, str(patience)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def check(id: str) -> RunDetail:
    """Find everything once that the parent and its workers have logged."""
    door = connect()
    try:
        assert door.do(GetSeries(run_id=id, name="loss")).values == tuple(map(float, range(51)))
        for number in (1, 2, 3):
            assert door.do(GetSeries(run_id=id, name=f"worker-{number}")).values == (*map(float, range(100)), -1.0)
        assert door.do(GetSeries(run_id=id, name="shared")).count == 300
        found = door.do(GetRun(id=id))
    finally:
        door.close()
    assert found.run.state == "finished"
    assert {f"worker-{number}" for number in (1, 2, 3)} <= set(found.run.tags)
    assert found.artifacts == ()
    assert not list((Path(".plimsoll") / "journal").iterdir())
    return found


@pytest.mark.parametrize("place", ["server", "folder"])
def test_workers_that_were_forked_log_to_the_run_and_lose_nothing_when_they_are_killed(
    weather: Weather, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "folder":
        monkeypatch.delenv("PLIMSOLL_URL")
        monkeypatch.delenv("PLIMSOLL_TOKEN")
    id, warned = told(WORKERS)
    check(id)
    assert warned.count("A forked process cannot keep files in its parent's run") == 3
    assert warned.count("plimsoll:") == 3


def test_what_forked_workers_log_in_an_outage_is_sent_with_the_rest(weather: Weather, capsys: pytest.CaptureFixture[str]) -> None:
    weather.turn("refused")
    id, _ = told(WORKERS, IN_VAIN)
    assert len(list((Path(".plimsoll") / "journal").glob("*.journal"))) >= 4
    weather.turn("fair")
    assert sync() == 0, capsys.readouterr()
    check(id)


def test_a_forked_process_that_outlives_the_run_is_told_and_its_rest_is_sent_later(
    weather: Weather, running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    id, warned = told("""
import os, sys, plimsoll
goes_on, ended = os.pipe()
with plimsoll.run() as run:
    child = os.fork()
    if child == 0:
        os.close(ended)
        run.log(late=1.0)
        os.write(1, b"")
    else:
        os.close(goes_on)
        run.log(loss=1.0)
    if child == 0:
        os.read(goes_on, 1)
        run.log(late=2.0)
        os._exit(0)
    path = run._sender.journal.path
    while not list(path.parent.glob(path.stem + ".*.journal")):
        pass
print(run.id, flush=True)
os.close(ended)
os.waitpid(child, 0)
""")
    assert "A forked process still logs to the run" in warned
    assert sync() == 0, capsys.readouterr()
    assert running.folder().do(GetSeries(run_id=id, name="late")).values == (1.0, 2.0)
    found = running.folder().do(GetRun(id=id))
    assert (found.run.state, len(found.metrics)) == ("finished", 2)


def test_what_a_forked_process_leaves_waits_for_the_beginning_of_its_run(weather: Weather, capsys: pytest.CaptureFixture[str]) -> None:
    weather.turn("refused")
    id, _ = told(WORKERS, IN_VAIN)
    journals = Path(".plimsoll") / "journal"
    (parent,) = [path for path in journals.glob("*.journal") if path.name.count(".") == 1]
    weather.turn("fair")
    with contextlib.closing(Journal(parent)):
        assert sync() == 1
    assert "Its beginning is not sent yet." in capsys.readouterr().out
    assert sync() == 0, capsys.readouterr()
    check(id)


#: Tells two objects of forks, lets go of one, and ends well if a forked process tells the other, and nobody tells them here.
TOLD = """
import os, sys, weakref
from plimsoll.sdk.tracking.forked import tell_forks

class Run:
    told = 0
    def forked(self):
        Run.told += 1

run, gone = Run(), Run()
known = weakref.ref(gone)
tell_forks(run.forked)
tell_forks(gone.forked)
del gone
child = os.fork()
if not child:
    os._exit(Run.told)
sys.exit(not (known() is None and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1 and Run.told == 0))
"""


def test_what_is_told_of_forks_is_not_held_for_them() -> None:
    """A notebook begins thousands of runs, and may fork after each."""
    assert subprocess.run([sys.executable, "-c", TOLD]).returncode == 0
