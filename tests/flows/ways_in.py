"""Ways to run a pipeline, each as a user takes it, in a process of its own; and what each step came to."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from plimsoll.records.pipeline import ListSteps
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.workspace import WORKER, Workspace, open_workspace
from tests.begun import Begun
from tests.flows.real_platform import PATIENCE, kept_port, port_of, until
from tests.forked import plimsoll

ROOT = Path(__file__).parents[2]

_EXECUTED = """
import sys, nbformat, nbclient
made = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(made, timeout=800, kernel_name='python3', resources={'metadata': {'path': sys.argv[2]}}).execute()
nbformat.write(made, sys.argv[1])
"""

#: Step -> key, digest of its output, state, why.
Steps = dict[str, list[str]]


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that has its results in a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLIMSOLL_")}
    own = {"PLIMSOLL_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **own, **more}


def python(project: Path, home: Path, *words: str, **more: str) -> str:
    """Run Python in a project and return what it printed."""
    settings = {"cwd": project, "env": environment(home, **more), "timeout": 900, "check": False}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, **settings)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def command(project: Path, home: Path, *words: str, **more: str) -> str:
    """Run a command line in a project and return what it printed."""
    done = plimsoll(words, project, environment(home, **more))
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def notebook(project: Path, home: Path, *cells: str) -> Any:
    """Return a notebook of these cells, executed in the project's folder by nbclient."""
    path = home.with_suffix(".ipynb")
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    # A process of its own: the client's event loop warns of things that are no concern of this suite.
    python(project, home, "-c", _EXECUTED, str(path), str(project))
    return nbformat.read(path, as_version=4)


@contextlib.contextmanager
def opened(project: Path, home: Path) -> Iterator[Workspace]:
    """Open a home in this process, beside whatever serves it."""
    workspace = open_workspace(home, project)
    try:
        yield workspace
    finally:
        workspace.close()


def newest(project: Path, home: Path) -> Steps:
    """Return the steps of a home's newest run, which must have ended well."""
    with opened(project, home) as workspace:
        (run,) = workspace.do(SearchRuns(limit=1), WORKER).runs
        assert run.run.state == "finished", run
        steps = workspace.do(ListSteps(run_id=run.run.id), WORKER)
    return {step.name.rpartition(".")[2]: [step.key, step.output.digest, step.state, step.why] for step in steps}


def same(one: Steps, other: Steps) -> bool:
    """Return whether keys and outputs are the same."""
    return {label: step[:2] for label, step in one.items()} == {label: step[:2] for label, step in other.items()}


@contextlib.contextmanager
def serving(project: Path, home: Path) -> Iterator[None]:
    """Serve a project with its worker while the block runs."""
    with contextlib.ExitStack() as during:
        control, plane = (port_of(during.enter_context(kept_port())) for _ in range(2))
        log = during.enter_context((home.parent / f"{home.name}.log").open("wb"))
        words = [sys.executable, "-m", "plimsoll.cli.app", "up", "--port", str(control), "--serving-port", str(plane)]
        served = Begun(words, cwd=project, env=environment(home), stdout=log, stderr=log)
        try:
            until(lambda: _answers(control), "the server answers")
            yield
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait(PATIENCE)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
