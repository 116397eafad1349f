"""What one log call costs the training loop around it: ``python -m bench tracking-log [--peers]``.

A loop works for a millisecond of the processor a step. Blocks of 2,000 steps with a log call and without one are measured in pairs, in one
process, while the server is well, slow (it answers after five seconds), dead (it takes connections and never answers) and refusing
connections.

``clock_percent`` is how much longer a block takes by the clock. ``cpu_percent`` is how much of the processor a millisecond's work costs
more: ``calls_cpu_percent`` in the calls themselves, ``threads_cpu_percent`` in the client's threads, until what was logged is on its
way. Each is the median of the pairs, and beside it stands its error, from how far the pairs lie apart: where that is large, other
processes of the machine were measured. They spoil CPU time less than the clock, yet not little: a call after which
something else ran on the processor finds none of its memory there and takes five times as long. ``noise_…_us`` is what the same clock
shows for no call at all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.tracking.lines import most, tell
from bench.tracking.live import Server, mlflow, server

ROOT = Path(__file__).parents[2]

#: Steps of a block, and pairs of blocks with and without log calls.
STEPS, PAIRS = 2_000, 8

_WANTED = {"median_us": most(10), "p99_us": most(1_000), "clock_percent": most(2), "cpu_percent": most(2)}

_LOOP = """
import array, gc, json, sys, time
SETUP
def work(count):
    value = 0
    for index in range(count):
        value += index
spent = []
for _ in range(5):
    began = time.thread_time()
    work(400_000)
    spent.append(time.thread_time() - began)
millisecond = int(400 / min(spent))
def block(log, step, took):
    others, own, began = time.process_time() - time.thread_time(), 0, time.perf_counter_ns()
    for step in range(step, step + STEPS):
        work(millisecond)
        cpu, clock = time.thread_time_ns(), time.perf_counter_ns()
        if log is not None:
            log(1.0 / step, step)
        took.append(time.perf_counter_ns() - clock)
        own += time.thread_time_ns() - cpu
    wall = (time.perf_counter_ns() - began) / 1e9
    time.sleep(1.2)  # what other threads do with the points is part of it
    return wall, own / 1e9, time.process_time() - time.thread_time() - others
def percent(parts):
    parts = sorted(100 * part for part in parts)
    return parts[len(parts) // 2], (parts[len(parts) * 3 // 4] - parts[len(parts) // 4]) / len(parts) ** 0.5
def measured(log):
    block(log, 1, array.array("q"))
    gc.collect()  # what the imports have left is not a call's
    print("begun", flush=True)
    sys.stdin.readline()
    calls, nothing = array.array("q"), array.array("q")
    walls, owns, others = [], [], []
    idle = [block(None, 1, array.array("q")) for _ in range(2)]
    idle = sum(other for _, _, other in idle) / sum(wall + 1.2 for wall, _, _ in idle)
    for pair in range(PAIRS):
        found = {}
        for logs in (True, False) if pair % 2 else (False, True):
            found[logs] = block(log if logs else None, (2 * pair + logs + 1) * STEPS, calls if logs else nothing)
        walls.append(found[True][0] / found[False][0] - 1)
        owns.append(1e3 * (found[True][1] - found[False][1]) / STEPS)
        # A batch may go out after its block, so both blocks count.
        others.append(1e3 * sum(other - idle * (wall + 1.2) for wall, _, other in found.values()) / STEPS)
    told = {"idle_cpu_percent": 100 * idle}
    for name, took in (("", calls), ("noise_", nothing)):
        took = sorted(one / 1e3 for one in took)
        told[name + "median_us"], told[name + "p99_us"] = took[len(took) // 2], took[len(took) * 99 // 100]
        told[name + "mean_us"] = sum(took) / len(took)
    both = [own + other for own, other in zip(owns, others)]
    for name, parts in (("clock", walls), ("calls_cpu", owns), ("threads_cpu", others), ("cpu", both)):
        told[name + "_percent"], told[name + "_error"] = percent(parts)
    print(json.dumps(told), flush=True)
RUN
"""

_PLIMSOLL = """
import plimsoll
from plimsoll.sdk.http import HttpDoor
door = HttpDoor(sys.argv[1], sys.argv[2])
"""

_RUN_PLIMSOLL = """
with plimsoll.run(door=door, experiment="bench") as run:
    measured(lambda value, step: run.log(loss=value, step=step))
"""

_MLFLOW = """
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
"""

_RUN_MLFLOW = """
with mlflow.start_run():
    measured(lambda value, step: mlflow.log_metric("loss", value, step=step, synchronous=SYNCHRONOUS))
"""


def main(peers: bool) -> None:
    """Measure and print one JSON line a state of the server.

    Args:
        peers: also measure MLflow's client and server, in an environment of their own, installed for the run.
    """
    script = _LOOP.replace("SETUP", _PLIMSOLL).replace("RUN", _RUN_PLIMSOLL).replace("STEPS", str(STEPS)).replace("PAIRS", str(PAIRS))
    ours = {}
    for state, disturb in (("well", _leave), ("slow", _slow), ("dead", _stop), ("refusing", _kill)):
        with server() as ready:
            ours[state] = _measure(script, sys.executable, ready, disturb)
        tell({"subject": "plimsoll", "server": state} | ours[state], _WANTED)
    if not peers:
        return
    with mlflow() as (ready, python):
        for name, synchronous, steps in (("mlflow", "True", 50), ("mlflow, asynchronous", "False", STEPS)):
            theirs = _LOOP.replace("SETUP", _MLFLOW).replace("RUN", _RUN_MLFLOW.replace("SYNCHRONOUS", synchronous))
            theirs = theirs.replace("STEPS", str(steps)).replace("PAIRS", str(PAIRS))
            line = _measure(theirs, python, ready, _leave)
            ratio = round(line["median_us"] / ours["well"]["median_us"], 1)
            tell({"subject": name, "server": "well"} | line | {"median_ratio": ratio})


def _measure(script: str, python: str, ready: Server, disturb: Callable[[Server, threading.Event], None]) -> dict[str, float]:
    env: dict[str, Any] = {**os.environ, "PYTHONPATH": str(ROOT)} if python == sys.executable else dict(os.environ)
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder, "pyproject.toml").write_text('[project]\nname = "bench"\nversion = "0"\n[tool.plimsoll]\n')
        Path(folder, "loop.py").write_text(script)
        command = [python, "loop.py", ready.url, ready.token]
        with (
            Path(folder, "log").open("wb") as log,
            subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as loop,
        ):
            assert loop.stdin is not None
            assert loop.stdout is not None
            if loop.stdout.readline() != "begun\n":
                raise SystemExit(f"The loop did not begin:\n{Path(folder, 'log').read_text()[-3000:]}")
            disturber = threading.Thread(target=disturb, args=(ready, over))
            disturber.start()
            loop.stdin.write("go\n")
            loop.stdin.flush()
            line: dict[str, float] = json.loads(loop.stdout.readline())
            over.set()
            disturber.join()
    return line


def _leave(ready: Server, over: threading.Event) -> None:
    """Do nothing to the server."""


def _slow(ready: Server, over: threading.Event) -> None:
    """Let it answer what came within five seconds, and stop it again."""
    while not over.is_set():
        os.kill(ready.pid, signal.SIGSTOP)
        over.wait(5)
        os.kill(ready.pid, signal.SIGCONT)
        over.wait(0.05)


def _stop(ready: Server, over: threading.Event) -> None:
    """Stop it: connections are made, and nobody answers."""
    os.kill(ready.pid, signal.SIGSTOP)
    over.wait()
    os.kill(ready.pid, signal.SIGCONT)


def _kill(ready: Server, over: threading.Event) -> None:
    """Let it refuse connections."""
    os.kill(ready.pid, signal.SIGKILL)
