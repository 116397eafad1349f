"""Run as two processes, one after the other: the first runs the projects named on stdin, the second edits and runs them again.

Each run is a process of its own, forked from one of the two, which have imported no file of any project. The truth is the plain
function, called in a process that has no cache. Answers go to stdout as JSON, one for each case.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from plimsoll.data.trace.recording import prepare as prepare_recordings
from plimsoll.pipelines.running import Origin, execute
from plimsoll.pipelines.step import pipeline, step, step_of
from plimsoll.records.access import Actor
from plimsoll.records.run import CodeVersion
from plimsoll.records.tracking.machine import Machine
from plimsoll.workspace import open_workspace
from tests.unit.data.case import Case
from tests.unit.data.edits import CHANGES, HARMLESS, SECOND, SECOND_HARMLESS
from tests.unit.data.edits_process import INTERPRETER

OWNER = Actor(name="dana", roles=("admin",))

#: How steps are run: ``in_process`` or ``processes``.
EXECUTOR: Any = sys.argv[3] if len(sys.argv) > 3 else "in_process"

#: Asking git and every installed package where a run comes from would take longer than the run.
NOWHERE = Origin(code=CodeVersion(), environment="0" * 64, machine=Machine(host="", system=""))


def told(value: Any) -> Any:
    """Return a description of a result that tells apart all that a reader of it could."""
    kind = type(value).__name__
    if isinstance(value, (list, tuple)):
        return [kind, [told(item) for item in value]]
    if isinstance(value, dict):
        return [kind, [[told(key), told(item)] for key, item in value.items()]]
    if isinstance(value, (set, frozenset)):
        return [kind, sorted(json.dumps(told(item)) for item in value)]
    if isinstance(value, float):
        return [kind, value.hex()]
    if isinstance(value, np.ndarray):
        return [kind, str(value.dtype), value.shape, told(value.tolist())]
    if isinstance(value, pl.DataFrame):
        return [kind, str(value.schema), told(value.rows())]
    if isinstance(value, pd.DataFrame):
        return [kind, str(value.dtypes.to_dict()), told(value.to_numpy().tolist())]
    return [kind, repr(value)]


def function_of(case: Case, after: bool) -> tuple[Any, tuple[Any, ...]]:
    sys.path.insert(0, os.getcwd())
    module = importlib.import_module("steps")
    args = case.args if case.new_args is None or not after else case.new_args
    return module.run, eval(f"({args},)" if args else "()", vars(module))


def plain(case: Case, after: bool, home: Path) -> Any:
    function, args = function_of(case, after)
    return {"value": told(function(*args))}


def engine(case: Case, after: bool, home: Path) -> Any:
    function, args = function_of(case, after)
    marked = function if step_of(function) is not None else step(function)

    @pipeline
    def flow() -> Any:
        return marked(*args)

    workspace = open_workspace(home, Path.cwd())

    def do(request: Any) -> Any:
        return workspace.do(request, OWNER)

    result = execute(flow, {}, do=do, blobs=workspace.stores.blobs, project=Path.cwd(), executor=EXECUTOR, origin=NOWHERE)
    (ended,) = result.steps
    answer = {"state": ended.state, "why": ended.why, "value": told(result.value)}
    workspace.close()
    return answer


def prepare(case: Case, after: bool, home: Path) -> Any:
    exec(case.new_prepare if after and case.new_prepare is not None else case.prepare, {"np": np, "pd": pd, "pl": pl})
    return {}


def in_a_process(work: Callable[[Case, bool, Path], Any], case: Case, after: bool, folder: Path, home: Path) -> Any:
    """Do some work in a fork of this process, inside the project's folder and with the case's environment."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        # A fork is a process without the modules of the run before, at a hundredth of the price of a new interpreter.
        try:
            os.close(reader)
            os.chdir(folder)
            os.environ.update(case.new_variables if after and case.new_variables is not None else case.variables)
            os.dup2(2, 1)
            try:
                answer = work(case, after, home)
            except BaseException:
                answer = {"failed": traceback.format_exc()}
            with os.fdopen(writer, "w") as stream:
                json.dump(answer, stream)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"failed": "the process ended without an answer"}


def write(folder: Path, files: dict[str, str | None]) -> None:
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def first(case: Case, folder: Path, template: Path) -> dict[str, Any]:
    """Write a project and run it, in an empty home."""
    project = folder / "project"
    shutil.copytree(template, folder / "home")
    write(project, dict(case.before()))
    if case.prepare:
        in_a_process(prepare, case, False, project, folder)
    return {"before": in_a_process(engine, case, False, project, folder / "home")}


def second(case: Case, folder: Path, template: Path) -> dict[str, Any]:
    """Edit the project, and return what is right now and what a run gives that may use the first one's results."""
    project, fresh = folder / "project", folder / "fresh"
    before, after = case.before(), case.after()
    write(project, {**{name: None for name in before if name not in after}, **{n: t for n, t in after.items() if before.get(n) != t}})
    if case.prepare:
        in_a_process(prepare, case, True, project, folder)
    if case.truth == "engine":
        shutil.copytree(template, fresh)
    truth = in_a_process(plain if case.truth == "plain" else engine, case, True, project, fresh)
    answer = {"truth": truth, "after": in_a_process(engine, case, True, project, folder / "home")}
    shutil.rmtree(folder)
    return answer


def main() -> None:
    sys.dont_write_bytecode = True
    prepare_recordings()
    gc.freeze()  # a fork then copies fewer pages
    root, act = Path(sys.argv[1]), {"first": first, "second": second}[sys.argv[2]]
    cases = {f"change {name}": case for name, case in {**CHANGES, **SECOND, **INTERPRETER}.items()}
    cases |= {f"harmless {name}": case for name, case in {**HARMLESS, **SECOND_HARMLESS}.items()}
    template = root / "template"
    if not template.exists():
        # In a process of its own: this one must stay without threads and open files.
        made = in_a_process(lambda *_: open_workspace(template, root, owner="dana").close() or {}, Case(steps=""), False, root, root)
        assert made == {}, made
    names = sys.stdin.read().splitlines()
    print(json.dumps({name: act(cases[name], root / str(number), template) for number, name in enumerate(names)}))


if __name__ == "__main__":
    main()
