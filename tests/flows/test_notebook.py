"""The same pipelines from a notebook: the same keys and outputs as from the command line, and a view while they run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]

#: Three weeks of flights: the same steps as the whole, in seconds.
SLICE = {"first": "2013-01-01", "last": "2013-01-22", "holdout_days": 7}

IDENTITY = """
import json
print("IDENTITY " + json.dumps({step.label: [step.record.key, step.record.output.digest, step.state, step.why] for step in result.steps}))
"""

STEPS = """
from plimsoll import pipeline, step

RATE = 3

def scaled(number):
    return number * RATE

@step
def begin(count: int):
    return list(range(count))

@step
def total(numbers):
    return {"sum": float(sum(scaled(number) for number in numbers))}

@pipeline
def flow(count: int = 4):
    return total(begin(count))
"""


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a process that has its results in a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLIMSOLL_")}
    return {**kept, "PLIMSOLL_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def execute(project: Path, home: Path, *cells: str) -> Any:
    """Return a notebook of these cells, executed in the project's folder by nbclient."""
    path = home.with_suffix(".ipynb")
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(made, path)
    # A process of its own: the client's event loop warns of things that are no concern of this suite.
    program = (
        "import sys, nbformat, nbclient\n"
        "made = nbformat.read(sys.argv[1], as_version=4)\n"
        "nbclient.NotebookClient(made, timeout=240, kernel_name='python3', resources={'metadata': {'path': sys.argv[2]}}).execute()\n"
        "nbformat.write(made, sys.argv[1])\n"
    )
    command = [sys.executable, "-c", program, str(path), str(project)]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(path, as_version=4)


def identity(notebook: Any) -> dict[str, list[str]]:
    """Return key, output, state and why of each step, as the last cell printed them."""
    printed = "".join(output.get("text", "") for output in notebook.cells[-1].outputs)
    return json.loads(printed.partition("IDENTITY ")[2])


def html(cell: Any) -> list[str]:
    """Return what a cell shows as HTML."""
    return [output["data"]["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]


def from_command_line(project: Path, home: Path, pipeline: str, params: dict[str, Any]) -> dict[str, list[str]]:
    """Run a pipeline by the command line and return the same as :func:`identity`."""
    words = [word for name, value in params.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    run = [sys.executable, "-m", "plimsoll.cli.app", "run", pipeline, *words]
    done = subprocess.run(run, cwd=project, env=environment(home), capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    asked = (
        "import json, sys, plimsoll\n"
        "from plimsoll.records.pipeline import ListSteps\n"
        "steps = plimsoll.connect().do(ListSteps(run_id=sys.argv[1]))\n"
        "print(json.dumps({s.name.rpartition('.')[2]: [s.key, s.output.digest, s.state, s.why] for s in steps}))\n"
    )
    command = [sys.executable, "-c", asked, done.stdout.strip()]
    told = subprocess.run(command, cwd=project, env=environment(home), capture_output=True, text=True, timeout=60, check=True)
    return json.loads(told.stdout)


def same(one: dict[str, list[str]], other: dict[str, list[str]]) -> bool:
    """Return whether keys and outputs are the same."""
    return {label: step[:2] for label, step in one.items()} == {label: step[:2] for label, step in other.items()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project."""
    made = tmp_path / "project"
    made.mkdir()
    (made / "pyproject.toml").write_text('[project]\nname = "notebook"\n')
    return made


def test_flights_have_the_same_keys_and_outputs_from_a_notebook_as_from_the_command_line(tmp_path: Path) -> None:
    project = tmp_path / "flights"
    shutil.copytree(ROOT / "examples" / "flights", project, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    run = f"import plimsoll\nfrom late.pipeline import late_arrivals\nresult = plimsoll.run(late_arrivals, **{SLICE!r})"
    notebook = execute(project, tmp_path / "here", run, "result", "print(result['split'].load().height)", IDENTITY)
    found = identity(notebook)
    there = from_command_line(project, tmp_path / "there", "late/pipeline.py:late_arrivals", SLICE)
    assert same(found, there)
    assert {step[2] for step in (*found.values(), *there.values())} == {"ran"}

    (view,) = html(notebook.cells[0])
    assert view.count("<rect") == len(found)
    assert "to do" not in view
    assert "running" not in view
    (shown,) = html(notebook.cells[1])
    assert all(label in shown for label in found)
    assert "auc = " in shown
    assert int(notebook.cells[2].outputs[0]["text"]) > 10_000


def test_a_step_of_a_cell_has_the_key_that_it_has_in_a_module_and_the_view_says_where_it_ran(project: Path, tmp_path: Path) -> None:
    notebook = execute(project, tmp_path / "here", STEPS, "import plimsoll\nresult = plimsoll.run(flow)", IDENTITY)
    found = identity(notebook)
    (view,) = html(notebook.cells[1])
    assert "run in the calling process" in view
    assert "notebook" in view

    (project / "pipe.py").write_text(STEPS)
    # In the same home, where the notebook's results are found; and in another, where nothing is.
    again = from_command_line(project, tmp_path / "here", "pipe.py:flow", {})
    assert same(found, again)
    assert {step[2] for step in again.values()} == {"hit"}
    assert same(found, from_command_line(project, tmp_path / "there", "pipe.py:flow", {}))


def test_a_failed_step_is_shown_with_what_went_wrong(project: Path, tmp_path: Path) -> None:
    broken = STEPS.replace("number * RATE", "number / 0")
    caught = "import plimsoll\ntry:\n    plimsoll.run(flow)\nexcept plimsoll.PlimsollError as error:\n    print(type(error).__name__)"
    notebook = execute(project, tmp_path / "here", broken, caught)
    (view,) = html(notebook.cells[1])
    assert "ZeroDivisionError" in view
    assert [output["text"] for output in notebook.cells[1].outputs if "text" in output] == ["StepFailed\n"]
