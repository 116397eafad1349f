"""Pipelines of a notebook's own cells: the keys that they have in a module, and a view while they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.flows.ways_in import command, newest, notebook, same

pytestmark = pytest.mark.slow

STEPS = """
import numpy as np
from plimsoll import pipeline, step

RATE = 3

def scaled(number):
    return number * RATE

@step
def begin(count: int):
    'Whole numbers.'
    return np.arange(count).tolist()

@step
def total(numbers):
    return {"sum": float(sum(scaled(number) for number in numbers))}

@pipeline
def flow(count: int = 4):
    return total(begin(count))
"""


def html(cell: Any) -> list[str]:
    """Return what a cell shows as HTML."""
    return [output["data"]["text/html"] for output in cell.outputs if "text/html" in output.get("data", {})]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project."""
    made = tmp_path / "project"
    made.mkdir()
    (made / "pyproject.toml").write_text('[project]\nname = "notebook"\n')
    return made


def test_a_step_of_a_cell_has_the_key_that_it_has_in_a_module_and_the_view_says_where_it_ran(project: Path, tmp_path: Path) -> None:
    made = notebook(project, tmp_path / "here", STEPS, "import plimsoll\nplimsoll.run(flow);")
    found = newest(project, tmp_path / "here")
    (view,) = html(made.cells[1])
    assert "run in the calling process" in view
    assert "notebook" in view

    (project / "pipe.py").write_text(STEPS)
    # In the same home, where the notebook's results are found; and in another, where nothing is.
    command(project, tmp_path / "here", "run", "pipe.py:flow")
    again = newest(project, tmp_path / "here")
    assert same(found, again)
    assert {step[2] for step in again.values()} == {"hit"}
    command(project, tmp_path / "there", "run", "pipe.py:flow")
    assert same(found, newest(project, tmp_path / "there"))


def test_a_part_that_is_refused_leaves_no_view_of_steps_that_are_still_to_come(project: Path, tmp_path: Path) -> None:
    refused = "import plimsoll\ntry:\n    plimsoll.run(flow, only='total')\nexcept plimsoll.PlimsollError as error:\n    print(error.code)"
    made = notebook(project, tmp_path / "here", STEPS, refused)
    (view,) = html(made.cells[1])
    assert "2 not run" in view
    assert "to do" not in view
    assert [output["text"] for output in made.cells[1].outputs if "text" in output] == ["refused\n"]


def test_a_failed_step_is_shown_with_what_went_wrong(project: Path, tmp_path: Path) -> None:
    broken = STEPS.replace("number * RATE", "number / 0")
    caught = "import plimsoll\ntry:\n    plimsoll.run(flow)\nexcept plimsoll.PlimsollError as error:\n    print(type(error).__name__)"
    made = notebook(project, tmp_path / "here", broken, caught)
    (view,) = html(made.cells[1])
    assert "ZeroDivisionError" in view
    assert [output["text"] for output in made.cells[1].outputs if "text" in output] == ["StepFailed\n"]
