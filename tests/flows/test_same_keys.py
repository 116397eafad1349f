"""The flights pipeline gives the same keys and outputs whichever way it is run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from plimsoll.records.tracking.find import SearchRuns
from plimsoll.workspace import WORKER
from tests.flows.real_platform import until
from tests.flows.ways_in import ROOT, Steps, command, newest, notebook, opened, same, serving
from tests.ray_nodes import ray_cluster

pytestmark = pytest.mark.slow

#: Three weeks of flights: the same steps as the whole, in seconds.
SLICE = {"first": "2013-01-01", "last": "2013-01-22", "holdout_days": 7}

PIPELINE = "late/pipeline.py:late_arrivals"

_SET = [word for name, value in SLICE.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def by_command(project: Path, home: Path) -> Steps:
    """Run it on the command line. A search with one trial, whose point is what the pipeline takes by itself, finds every result."""
    command(project, home, "run", PIPELINE, "--executor", "processes", *_SET)
    ran = newest(project, home)
    command(project, home, "search", PIPELINE, "--trials", "1", "--space", "seed=int(0,0)", "--maximize", "auc", *_SET)
    _finds(newest(project, home), ran)
    return ran


def _finds(steps: Steps, ran: Steps) -> None:
    """See that a way has the same keys as one before it in the same home: it found what that one had stored."""
    assert {step[2] for step in steps.values()} == {"hit"}
    assert same(steps, ran)


def in_process(project: Path, home: Path) -> None:
    """Run it on the command line, in the command's own process."""
    command(project, home, "run", PIPELINE, "--executor", "in_process", *_SET)


def from_notebook(project: Path, home: Path) -> None:
    """Run it in a cell, and look at what the cells show."""
    run = f"import plimsoll\nfrom late.pipeline import late_arrivals\nresult = plimsoll.run(late_arrivals, **{SLICE!r})"
    made = notebook(project, home, run, "result", "print(result['split'].load().height)")
    (view,) = [output["data"]["text/html"] for output in made.cells[0].outputs if "text/html" in output.get("data", {})]
    assert "to do" not in view
    assert "running" not in view
    (shown,) = [output["data"]["text/html"] for output in made.cells[1].outputs if "text/html" in output.get("data", {})]
    assert "train" in shown
    assert "auc = " in shown
    assert int(made.cells[2].outputs[0]["text"]) > 10_000


def by_trigger(project: Path, home: Path) -> Steps:
    """Fire a trigger, and let the server's worker run it. Handed to the same worker, it has the same keys: it finds every result."""
    with serving(project, home):
        rule = [word for name, value in SLICE.items() for word in ("--param", f"{name}={json.dumps(value)}")]
        command(project, home, "triggers", "set", "hook", "--on", "call", "--pipeline", PIPELINE, *rule)
        command(project, home, "triggers", "fire", "hook")
        with opened(project, home) as workspace:
            until(
                lambda: [each for each in workspace.do(SearchRuns(), WORKER).runs if each.run.state == "finished"], "the run has ended", 900
            )
        fired = newest(project, home)
        command(project, home, "submit", PIPELINE, *_SET, "--wait")
        _finds(newest(project, home), fired)
    return fired


def on_ray(project: Path, home: Path) -> None:
    """Run it on a cluster whose head runs no step and whose two nodes do."""
    with ray_cluster(0, 1, 1) as cluster:
        command(project, home, "run", PIPELINE, "--executor", "ray", *_SET, RAY_ADDRESS=cluster.address)


WAYS: dict[str, Callable[[Path, Path], Steps | None]] = {
    "command line and search": by_command,
    "command line, in process": in_process,
    "notebook": from_notebook,
    "trigger and submit": by_trigger,
    "two-node Ray": on_ray,
}


def test_flights_have_the_same_keys_and_outputs_whichever_way_they_are_run(tmp_path: Path) -> None:
    project = tmp_path / "flights"
    shutil.copytree(ROOT / "examples" / "flights", project, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    found: dict[str, Steps] = {}
    for way, run in WAYS.items():
        # A home of its own, so that nothing is a hit.
        home = tmp_path / re.sub(r"\W+", "-", way)
        found[way] = run(project, home) or newest(project, home)
        assert {step[2] for step in found[way].values()} == {"ran"}, way
    # A step that could not run on a node would have run here, with the same result.
    assert not [step[3] for step in found["two-node Ray"].values() if "calling process" in step[3]]
    keys = {way: {label: step[:2] for label, step in steps.items()} for way, steps in found.items()}
    assert keys == dict.fromkeys(WAYS, keys["notebook"])
