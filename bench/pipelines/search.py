"""What a search of 50 trials costs beside its objective, which does nothing. ``python -m bench search [--peers]``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Trials of a search.
TRIALS = 50

#: Times that a search is repeated, each in a process and a folder of its own; the least is told, since the machine may be busy.
TIMES = 3

SAMPLERS = ("tpe", "random")

_CLOCK = """
import json, os, sys, time
def spent():
    return time.perf_counter(), time.process_time() + sum(os.times()[2:4])
def measured(work):
    wall, cpu = spent()
    result = work()
    print(json.dumps({name: after - before for name, before, after in zip(("wall", "cpu"), (wall, cpu), spent())}))
    return result
def objective(depth, rate):
    return -((depth - 6) ** 2) - (rate - 0.01) ** 2
"""

_PLIMSOLL = """
import sys
from pathlib import Path
Path("pyproject.toml").write_text('[project]\\nname = "bench"\\nversion = "0"\\n[tool.plimsoll]\\n')
Path("sought.py").write_text('''
from plimsoll import pipeline, step
@step
def features(rows: int) -> list:
    return list(range(rows))
@step
def train(features: list, depth: int, rate: float) -> float:
    return -((depth - 6) ** 2) - (rate - 0.01) ** 2
@pipeline
def sought(rows: int, depth: int = 4, rate: float = 0.1):
    return {"score": train(features(rows), depth, rate)}
''')
sys.path.insert(0, ".")
from sought import sought
from plimsoll import search
from plimsoll.records.pipeline import ListSteps
from plimsoll.sdk.door import open_door
door = open_door(str(Path(".plimsoll").absolute()))
how = {"space": {"depth": "int(2,10)", "rate": "log(1e-4,1e-1)"}, "maximize": "score", "sampler": "SAMPLER", "jobs": 1}
def sought_with(trials, rows):
    return search(sought, trials=trials, executor="in_process", door=door, rows=rows, **how)
sought_with(5, 10)
result = measured(lambda: sought_with(TRIALS, 100))
steps = [step for trial in result.trials for step in door.do(ListSteps(run_id=trial.run_id))]
computed = sum(step.state == "ran" and step.name.endswith("features") for step in steps)
if computed != 1 or len(steps) != 2 * TRIALS:
    raise SystemExit(f"features were computed {computed} times in {len(steps)} steps")
door.close()
"""

_SPACE = """
import optuna
optuna.logging.set_verbosity(optuna.logging.WARNING)
def sampler():
    return {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}["SAMPLER"](seed=0)
def one(trial):
    return objective(trial.suggest_int("depth", 2, 10), trial.suggest_float("rate", 1e-4, 1e-1, log=True))
"""

_MEMORY = """
optuna.create_study(direction="maximize", sampler=sampler()).optimize(one, n_trials=2)
study = optuna.create_study(direction="maximize", sampler=sampler())
measured(lambda: study.optimize(one, n_trials=TRIALS))
"""

_SQLITE = """
optuna.create_study(storage="sqlite:///optuna.db", direction="maximize", sampler=sampler()).optimize(one, n_trials=2)
study = optuna.create_study(storage="sqlite:///optuna.db", direction="maximize", sampler=sampler())
measured(lambda: study.optimize(one, n_trials=TRIALS))
"""

_MLFLOW = """
import logging, mlflow
logging.disable(logging.WARNING)
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("bench")
def logged(trial):
    with mlflow.start_run():
        value = one(trial)
        mlflow.log_params(trial.params)
        mlflow.log_metric("score", value)
    return value
def study():
    return optuna.create_study(storage="sqlite:///optuna.db", direction="maximize", sampler=sampler())
study().optimize(logged, n_trials=2)
second = study()
measured(lambda: second.optimize(logged, n_trials=TRIALS))
"""

#: Name -> what is installed for it, and its script.
PEERS = {
    "optuna, in memory": (("optuna",), _CLOCK + _SPACE + _MEMORY),
    "optuna, sqlite": (("optuna",), _CLOCK + _SPACE + _SQLITE),
    "optuna, sqlite, logged to mlflow": (("optuna", "mlflow"), _CLOCK + _SPACE + _MLFLOW),
}


def main(peers: bool) -> None:
    """Measure and print one JSON line a tool and sampler: milliseconds a trial. It needs the extra ``search``.

    That the features were computed once, whatever the number of trials, is part of what is measured.

    Args:
        peers: also measure the peers, each in an environment of its own, installed for the run.
    """
    ours = {sampler: _measure(_CLOCK + _PLIMSOLL, sampler, sys.executable) for sampler in SAMPLERS}
    for sampler in SAMPLERS:
        # What proposes the trials is the same library with and without us.
        alone = _measure(PEERS["optuna, in memory"][1], sampler, sys.executable)
        ours[sampler]["of_it_sampler_cpu_ms"] = alone["cpu_ms"]
        print(json.dumps({"subject": "plimsoll", "sampler": sampler, "trials": TRIALS, **ours[sampler]}), flush=True)
    for name, (install, script) in PEERS.items() if peers else ():
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            venv.create(folder, with_pip=True)
            python = str(Path(folder, "bin", "python"))
            subprocess.run([python, "-m", "pip", "install", "--quiet", *install], check=True)
            for sampler in SAMPLERS:
                theirs = _measure(script, sampler, python)
                ratio = round(theirs["cpu_ms"] / ours[sampler]["cpu_ms"], 2)
                print(json.dumps({"subject": name, "sampler": sampler, "trials": TRIALS, **theirs, "cpu_ratio": ratio}), flush=True)


def _measure(script: str, sampler: str, python: str) -> dict[str, float]:
    runs = [_run(script.replace("SAMPLER", sampler).replace("TRIALS", str(TRIALS)), python) for _ in range(TIMES)]
    return {f"{name}_ms": min(round(1e3 * run[name] / TRIALS, 3) for run in runs) for name in runs[0]}


def _run(script: str, python: str) -> dict[str, float]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)} if python == sys.executable else dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder, "script.py").write_text(script)
        done = subprocess.run([python, "script.py"], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-3000:]}")
    seconds: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds
