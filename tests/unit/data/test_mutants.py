"""Every edit of the catalogues, run for real: what the cache gives is what the code would give, and harmless edits run nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.data.edits import CHANGES, HARMLESS

ROOT = Path(__file__).parents[3]
NAMES = [f"change {name}" for name in CHANGES] + [f"harmless {name}" for name in HARMLESS]

#: Of these the step runs, is not kept, and says why: refusing is right, guessing never is.
NOT_KEPT = {
    "change method set on an object": "refers to itself",
    "change thread-local default": "value is a steps.L, which cannot be fingerprinted",
    "change weak registry": "KeyedRef, which cannot be fingerprinted",
    "change ufunc from a function": "value is a numpy.ufunc, which cannot be fingerprinted",
    "change module imported by __import__": "'__import__' runs or finds code",
    "change module looked up in sys.modules": "sys.modules runs or finds code",
    "change name resolved from text": "pkgutil.resolve_name runs or finds code",
    "change name located from text": "pydoc.locate runs or finds code",
    "change module run from its path": "runpy.run_path runs or finds code",
    "change module loaded from its path": "importlib.util.spec_from_file_location runs or finds code",
    "change code read and executed": "'exec' runs or finds code",
    "change plug-ins of a folder": "pkgutil.iter_modules runs or finds code",
    "change globals of a helper": "__globals__ leads to any name of a module",
    "change output of a child process": "it ran another program (cat)",
    "change output of a shell": "it ran another program (sh)",
}

#: Harmless edits that run the step all the same, each with its reason.
NEEDLESS: dict[str, str] = {}
if sys.version_info < (3, 12):
    NEEDLESS["harmless hash of numbers"] = "what is hashed is not seen there, and the hash of text would depend on PYTHONHASHSEED"


def judged(names: list[str], folder: Path, executor: str = "in_process") -> dict[str, Any]:
    """Return for each edit what the run before it gave, what is right after it, and what the run after it gave."""
    found: dict[str, Any] = {name: {} for name in names}
    for seed, phase in enumerate(("first", "second")):
        # Another process orders its sets otherwise and has its objects elsewhere.
        more = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        command = [sys.executable, "-B", "-m", "tests.unit.data.mutants", str(folder), phase, executor]
        done = subprocess.run(
            command, input="\n".join(names), env={**os.environ, **more}, cwd=ROOT, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-2000:]
        for name, answer in json.loads(done.stdout).items():
            found[name] |= answer
    return found


def faults(names: list[str], answers: dict[str, Any]) -> list[str]:
    """Return what is wrong, one line for each edit with a fault."""
    found = []
    for name in names:
        before, truth, after = (answers[name][side] for side in ("before", "truth", "after"))
        if any("value" not in answer for answer in (before, truth, after)):
            found.append(f"{name}: {before} {truth} {after}")
        elif after["value"] != truth["value"]:
            found.append(f"{name}: STALE, {after['value']} instead of {truth['value']}")
        elif (before["value"] == truth["value"]) == name.startswith("change "):
            found.append(f"{name}: before {before['value']}, after {truth['value']}, which is not what the catalogue says")
        elif name.startswith("harmless ") and after["state"] != "hit" and name not in NEEDLESS:
            found.append(f"{name}: run needlessly, because {after['why']}")
        elif name in NOT_KEPT and NOT_KEPT[name] not in before["why"]:
            found.append(f"{name}: not told that it cannot be kept, but {before['why']!r}")
        elif name not in NOT_KEPT and ("cannot be cached" in before["why"] or "not kept" in before["why"]):
            found.append(f"{name}: not kept, because {before['why']}")
    return found


def test_the_catalogues_hold_what_was_promised() -> None:
    assert len(CHANGES) >= 150
    assert len(HARMLESS) >= 60
    assert len(NEEDLESS) <= len(HARMLESS) * 0.05
    assert set(NEEDLESS) | set(NOT_KEPT) <= set(NAMES)


def test_a_sample_of_edits_gives_what_the_code_gives(tmp_path: Path) -> None:
    names = NAMES[::24]
    assert faults(names, judged(names, tmp_path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(4))
def test_every_edit_gives_what_the_code_gives_and_harmless_ones_run_nothing(tmp_path: Path, shard: int) -> None:
    names = NAMES[shard::4]
    assert faults(names, judged(names, tmp_path)) == []


@pytest.mark.slow
def test_edits_are_met_by_steps_in_processes_of_their_own_as_well(tmp_path: Path) -> None:
    # Arguments that no other process can be sent run in the calling one, whichever executor is asked for.
    names = [name for name in NAMES[5::24] if "argument" not in name]
    assert faults(names, judged(names, tmp_path, "processes")) == []
