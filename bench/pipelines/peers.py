"""What peers run: a chain of steps that do nothing, each with the caching that its documentation shows first.

Every script prints one JSON line: seconds of wall and of CPU for the chain, imports and set-up left out. It is run twice in
processes of their own, on one folder: the first run is cold, the second finds everything cached.
"""

from __future__ import annotations

from dataclasses import dataclass

_CLOCK = """
import json, os, time
def spent():
    return time.perf_counter(), sum(os.times()[:4])
def measured(work):
    wall, cpu = spent()
    work()
    print(json.dumps({name: after - before for name, before, after in zip(("wall", "cpu"), (wall, cpu), spent())}))
"""


@dataclass(frozen=True)
class Peer:
    """A tool, how to install it, and its script; ``STEPS`` stands for the length of the chain."""

    name: str
    install: tuple[str, ...]
    script: str


_JOBLIB = """
import joblib
memory = joblib.Memory("cache", verbose=0)
@memory.cache
def step(index, value):
    return index
def chain():
    value = 0
    for index in range(STEPS):
        value = step(index, value)
measured(chain)
"""

_REDUN = """
from redun import Scheduler, task
from redun.config import Config
redun_namespace = "bench"
@task()
def step(index, value):
    return index
@task()
def chain(steps):
    value = 0
    for index in range(steps):
        value = step(index, value)
    return value
scheduler = Scheduler(config=Config({"backend": {"db_uri": "sqlite:///redun.db"}}))
scheduler.load()
import logging
logging.disable(logging.CRITICAL)
measured(lambda: scheduler.run(chain(STEPS)))
"""

_HAMILTON = """
import sys, types
from hamilton import driver
source = "def s0() -> int:\\n    return 0\\n" + "".join(f"def s{i}(s{i - 1}: int) -> int:\\n    return {i}\\n" for i in range(1, STEPS))
open("chain.py", "w").write(source)
sys.path.insert(0, ".")
import chain
made = driver.Builder().with_modules(chain).with_cache(path="cache").build()
import logging
logging.disable(logging.CRITICAL)
measured(lambda: made.execute([f"s{STEPS - 1}"]))
"""

_PREFECT = """
import os
os.environ.update(PREFECT_HOME=os.path.abspath("prefect"), PREFECT_LOGGING_LEVEL="CRITICAL", PREFECT_SERVER_ANALYTICS_ENABLED="false")
from prefect import flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE
@task(persist_result=True, cache_policy=INPUTS + TASK_SOURCE)
def step(index, value):
    return index
@flow(persist_result=True)
def chain(steps):
    value = 0
    for index in range(steps):
        value = step(index, value)
    return value
chain(1)
measured(lambda: chain(STEPS))
"""

_DVC = """
import os, subprocess, sys
from pathlib import Path
if not Path("dvc.yaml").exists():
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], check=True)
    Path("step.py").write_text("import sys; open(sys.argv[1], 'w').write(sys.argv[1])")
    stages = ["stages:"]
    for i in range(STEPS):
        deps = ["step.py", *([f"out{i - 1}"] if i else [])]
        stages += [f"  s{i}:", f"    cmd: {sys.executable} step.py out{i}", "    deps:", *(f"    - {dep}" for dep in deps)]
        stages += ["    outs:", f"    - out{i}"]
    Path("dvc.yaml").write_text("\\n".join(stages))
from dvc.repo import Repo
repo = Repo()
measured(lambda: repo.reproduce())
"""

_PLIMSOLL = """
import sys
from pathlib import Path
Path("pyproject.toml").write_text('[project]\\nname = "bench"\\nversion = "0"\\n[tool.plimsoll]\\n')
Path("chain.py").write_text('''
from plimsoll import pipeline, step
@step
def one(index: int, value: int) -> int:
    return index
@pipeline
def chain(steps: int):
    value = 0
    for index in range(steps):
        value = one(index, value)
    return value
''')
sys.path.insert(0, ".")
from chain import chain
from plimsoll import run
from plimsoll.sdk.door import open_door
door = open_door(str(Path(".plimsoll").absolute()))
run(chain, door=door, executor="in_process", steps=1)
measured(lambda: run(chain, door=door, executor="in_process", steps=STEPS))
door.close()
"""

PLIMSOLL = Peer("plimsoll", (), _CLOCK + _PLIMSOLL)

PEERS = (
    Peer("joblib", ("joblib",), _CLOCK + _JOBLIB),
    Peer("hamilton", ("sf-hamilton",), _CLOCK + _HAMILTON),
    Peer("redun", ("redun",), _CLOCK + _REDUN),
    Peer("prefect", ("prefect", "fastapi<0.119"), _CLOCK + _PREFECT),
    Peer("dvc", ("dvc",), _CLOCK + _DVC),
)
