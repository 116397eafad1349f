"""Four processes that log while they and their server are killed with SIGKILL: each acknowledged point is there once, and no other.

A point is acknowledged once ``run.flush()`` has returned.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.records.access import VerifyEvents
from plimsoll.records.run import GetRun, GetSeries, StartRun
from tests.flows.real_platform import Platform, alive, until
from tests.repeats import repeats

#: So many kills, and no more after so many seconds.
KILLS, SECONDS = repeats(16, 200), repeats(8, 4000)

#: Kills without which the test says nothing.
FEWEST = 8

WRITERS = ("ada", "ben", "cyd", "dan")

#: Share of the kills that are the server's.
SERVER = 0.3

#: Points that are logged between two flushes, at most.
BURST = 20

#: Between the first steps of two lives of a writer.
LIFE = 1_000_000

SEED = 20130501

# It has imported all, so a writer that was killed is forked from it and writes again at once.
_NURSERY = """
import os, random, signal, sys, time
from pathlib import Path
import plimsoll, plimsoll.sdk.http, plimsoll.sdk.run

folder, life_size, burst = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def write(name, life):
    dice = random.Random(f"{name} {life}")
    told = os.open(folder / f"{name}-{life}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with plimsoll.run(experiment="kills", key=name) as run:
        run.set_tags({f"life-{life}": "began"})
        step = life * life_size
        while not (folder / "stop").exists():
            for _ in range(dice.randint(1, burst)):
                run.log({"loss": step / 8}, step=step)
                step += 1
            run.flush()
            os.write(told, b"%d\\n" % step)
            time.sleep(dice.random() / 50)
    os.write(told, b"ended\\n")

# Whoever ends is forgotten at once.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        name, life = line.split()
        write(name, int(life))
        os._exit(0)
    print(child, flush=True)
"""


class Nursery:
    """Writers, each with a run of its own that each of its lives goes on with.

    Args:
        platform: what they log to.
        folder: where they write down what was acknowledged.
    """

    def __init__(self, platform: Platform, folder: Path) -> None:
        self._folder = folder
        asked = {"PLIMSOLL_URL": platform.url, "PLIMSOLL_TOKEN": platform.token, "PLIMSOLL_CAPTURE": "none"}
        self._log = (folder / "said").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _NURSERY, str(folder), str(LIFE), str(BURST)],
            cwd=platform.project,
            env={**platform.environment, **asked},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            bufsize=1,
        )
        self.lives = dict.fromkeys(WRITERS, 0)
        self._pids = {name: self._born(name) for name in WRITERS}

    def _born(self, name: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.lives[name] += 1
        self._process.stdin.write(f"{name} {self.lives[name]}\n")
        return int(self._process.stdout.readline())

    def kill(self, name: str) -> None:
        """Kill a writer and let it live again."""
        os.kill(self._pids[name], signal.SIGKILL)
        until(lambda: not alive(self._pids[name]), "the writer has ended")
        self._pids[name] = self._born(name)

    def acknowledged(self, name: str, life: int) -> int:
        """Return the step before which everything is acknowledged that one life of a writer has logged."""
        path = self._folder / f"{name}-{life}"
        steps = [line for line in path.read_text().split() if line != "ended"] if path.exists() else []
        return int(steps[-1]) if steps else life * LIFE

    def stop(self) -> None:
        """Let the writers end their runs."""
        (self._folder / "stop").touch()
        for name in WRITERS:
            last = self._folder / f"{name}-{self.lives[name]}"
            until(lambda last=last: last.exists() and last.read_text().endswith("ended\n"), f"{name} has ended its run")

    def close(self) -> None:
        """End all."""
        for pid in self._pids.values():
            # Those that were told to stop end by themselves, maybe this moment.
            with contextlib.suppress(ProcessLookupError):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()
        self._log.close()


@pytest.fixture
def platform(database_url: str, tmp_path: Path) -> Iterator[Platform]:
    """A platform on each dialect."""
    made = Platform(tmp_path, database_url)
    made.start()
    yield made
    made.close()


@pytest.mark.slow
def test_each_acknowledged_point_is_there_once_whoever_was_killed(platform: Platform, tmp_path: Path) -> None:
    (folder := tmp_path / "told").mkdir()
    nursery = Nursery(platform, folder)
    dice, killed = clock.generator(SEED), {"server": 0, "writer": 0}
    deadline = clock.monotonic() + SECONDS
    try:
        while sum(killed.values()) < KILLS and (clock.monotonic() < deadline or sum(killed.values()) < FEWEST):
            clock.sleep(dice.uniform(0.0, 0.6))
            down = dice.random() < SERVER
            if down:
                platform.kill()
                killed["server"] += 1
            # A writer may die while its server is down, too.
            if not down or dice.random() < 0.5:
                nursery.kill(dice.choice(WRITERS))
                killed["writer"] += 1
            if down:
                platform.start()
        nursery.stop()
    finally:
        nursery.close()
    sent = platform.command("sync")
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert not list(platform.home.glob("journal/*"))
    points = sum(_check(platform, nursery, name) for name in WRITERS)
    assert platform.author.do(VerifyEvents()).broken_at is None
    if platform.database.startswith("sqlite"):
        with sqlite3.connect(platform.database.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    print(f"{killed} kills, {points:,} points, none lost, none twice")


def _check(platform: Platform, nursery: Nursery, name: str) -> int:
    """Compare a writer's run with what it was told; return how many points there are."""
    run = platform.author.do(StartRun(experiment="kills", key=name))
    assert run.state == "finished"
    detail = platform.author.do(GetRun(id=run.id))
    series = platform.author.do(GetSeries(run_id=run.id, name="loss"))
    assert series.values == tuple(step / 8 for step in series.steps)
    expected: list[int] = []
    for life in range(1, nursery.lives[name] + 1):
        told = nursery.acknowledged(name, life)
        there = sum(1 for step in series.steps if step // LIFE == life)
        # What came after the last flush may have arrived, from the first on and without holes.
        assert told <= life * LIFE + there <= told + BURST, f"{name} in life {life}: {told - life * LIFE} told, {there} there"
        expected += range(life * LIFE, life * LIFE + there)
        assert told == life * LIFE or f"life-{life}" in detail.run.tags
    assert list(series.steps) == expected
    return len(expected)
