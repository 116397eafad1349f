"""Runs programs of MLflow's clients, each in a process forked from this one, which has imported what takes each of them seconds.

It runs in a client's environment and is told on its standard input, a line of JSON for each program: ``command`` (its path and its
arguments), ``folder``, ``variables`` (its whole environment), ``behind`` (paths that are looked at for modules last) and ``said`` (where
its output goes). It answers ``ready`` once, and after each program how that ended.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
from typing import Any

import lightgbm
import matplotlib.pyplot
import mlflow.lightgbm
import mlflow.models.evaluation
import mlflow.sklearn
import mlflow.xgboost
import pandas
import sklearn.model_selection
import xgboost

#: Looked at here, so that nobody takes the imports away.
IMPORTED = (lightgbm, matplotlib.pyplot, mlflow, pandas, sklearn.model_selection, xgboost)


def become(program: dict[str, Any]) -> None:
    """Be the process that the program would have been given: its arguments, folder, environment, paths, and where its output goes."""
    said = os.open(program["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for to, source in enumerate((nothing, said, said)):
        os.dup2(source, to)
    os.chdir(program["folder"])
    os.environ.clear()
    os.environ.update(program["variables"])
    sys.argv = program["command"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    sys.path += program["behind"]


def main() -> str:
    """Begin every program that is asked for; return the path of the program that this process has become, or nothing at the end."""
    # What is there now is not looked at again by any collector, so that the processes go on sharing its memory.
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            return sys.argv[0]
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return ""


if __name__ == "__main__":
    mine = main()
    if mine:
        # It ends as any program does, with what it has registered for its end.
        runpy.run_path(mine, run_name="__main__")
