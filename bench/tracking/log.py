"""What one log call costs the training loop around it: ``python -m bench tracking-log [--peers]``.

A loop works for a millisecond a step, half of the time with a log call and half of the time without. It is measured while the
server is well, slow (it answers after five seconds), dead (it takes connections and never answers) and refusing connections.
``noise_p99_us`` is what the same clock shows for no call at all: what other processes of the machine do to the loop.
What a millisecond's work loses is ``calls_cpu_percent``, in the calls themselves, and ``threads_cpu_percent``,
to the client's threads; both are CPU time, which a busy machine spoils less than the clock on the wall.
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

#: Steps of a block, and blocks with and without log calls.
STEPS, BLOCKS = 1_000, 4

_WANTED = {"median_us": most(10), "p99_us": most(1_000), "cpu_percent": most(2)}

_LOOP = """
import json, os, sys, time
SETUP
def work(count):
    value = 0
    for index in range(count):
        value += index
began = time.thread_time()
work(2_000_000)
millisecond = int(2_000 / (time.thread_time() - began))
def block(log, step, took):
    others = time.process_time() - time.thread_time()
    for step in range(step, step + STEPS):
        work(millisecond)
        cpu, began = time.thread_time_ns(), time.perf_counter_ns()
        if log:
            log(1.0 / step, step)
        took.append(((time.perf_counter_ns() - began) / 1e3, time.thread_time_ns() - cpu))
    time.sleep(1.2)  # what other threads do with the points is part of it
    return time.process_time() - time.thread_time() - others
def measured(log):
    calls, nothing, others = [], [], [0, 0]
    block(log, 1, [])
    print("begun", flush=True)
    sys.stdin.readline()
    for at in range(2 * BLOCKS):
        others[at % 2] += block(log if at % 2 else None, (at + 1) * STEPS, calls if at % 2 else nothing)
    own = sum(cpu for _, cpu in calls) - sum(cpu for _, cpu in nothing)
    calls, nothing = sorted(took for took, _ in calls), sorted(took for took, _ in nothing)
    print(json.dumps({
        "median_us": round(calls[len(calls) // 2], 1), "p99_us": round(calls[len(calls) * 99 // 100], 1),
        "noise_p99_us": round(nothing[len(nothing) * 99 // 100], 1),
        "calls_cpu_percent": round(1e-4 * own / len(calls), 2),
        "threads_cpu_percent": round(1e5 * (others[1] - others[0]) / len(calls), 2),
        "cpu_percent": round(1e-4 * own / len(calls) + 1e5 * (others[1] - others[0]) / len(calls), 2),
    }), flush=True)
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
    script = _LOOP.replace("SETUP", _PLIMSOLL).replace("RUN", _RUN_PLIMSOLL).replace("STEPS", str(STEPS)).replace("BLOCKS", str(BLOCKS))
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
            theirs = theirs.replace("STEPS", str(steps)).replace("BLOCKS", str(BLOCKS))
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
