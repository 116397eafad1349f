"""The house keeps its own rules, and each rule catches a planted violation."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from plimsoll import verbs
from plimsoll.records.request import result_type
from tests.house import rules

ROOT = Path(__file__).parents[2]

Rule = Callable[[Path], list[str]]


@pytest.mark.parametrize(
    "rule",
    [rules.layer_violations, rules.unused_stairs, rules.shape_violations, rules.import_violations, rules.docstring_violations],
    ids=lambda rule: rule.__name__,
)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    assert rule(ROOT) == []


PLANTED: list[tuple[Rule, str, str, str]] = [
    (rules.layer_violations, "store/rows.py", "from plimsoll.runs.lifecycle import start_run", "store may not import runs"),
    (rules.layer_violations, "monitoring/watching.py", "from plimsoll.registry.versions import x", "monitoring may not import registry"),
    (rules.layer_violations, "registry/drifting.py", "from plimsoll.monitoring.drift import x", "may not import monitoring.drift"),
    (rules.layer_violations, "records/noun.py", "import plimsoll.store.schema", "records may not import store"),
    (rules.layer_violations, "worker.py", "from plimsoll.cli.app import main", "worker may not import cli"),
    (rules.layer_violations, "serving/traffic.py", "from plimsoll.serving.rollout import judge", "imports the control side"),
    (rules.layer_violations, "attic/box.py", "x = 1", "on no floor"),
    (rules.layer_violations, "runs/points.py", "from . import lifecycle", "relative import"),
    (rules.shape_violations, "runs/long.py", "x = 1\n" * 500 + "x = 1", "501 lines"),
    (rules.shape_violations, "runs/deep.py", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
    (rules.shape_violations, "runs/helpers.py", "x = 1", "says nothing"),
    (rules.shape_violations, "runs/__init__.py", "x = 1", "is empty"),
    (rules.import_violations, "runs/late.py", "def f():\n    import json", "imported inside f"),
    (rules.import_violations, "runs/learn.py", "import sklearn.tree", "optional"),
    (rules.import_violations, "runs/when.py", "import time", "clock.py only"),
    (rules.import_violations, "runs/when2.py", "from datetime import datetime\nx = datetime.now()", "clock.py"),
    (rules.import_violations, "runs/state.py", "x = 1\ndef f():\n    global x\n    x = 2", "module state"),
    (rules.import_violations, "runs/jar.py", "import pickle", "runs code from data"),
    (rules.docstring_violations, "runs/mute.py", '"""A file."""\ndef f(a): ...', "no docstring"),
    (rules.docstring_violations, "runs/half.py", '"""A file."""\ndef f(a, b):\n    """Do.\n\n    Args:\n        a: one.\n    """', "'b'"),
    (rules.docstring_violations, "runs/flat.py", '"""A file."""\ndef f() -> np.ndarray:\n    """Return it."""', "shapes"),
]


@pytest.mark.parametrize(("rule", "file", "text", "fault"), PLANTED, ids=[f"{p[1]}-{p[3]}" for p in PLANTED])
def test_a_planted_violation_is_found(rule: Rule, file: str, text: str, fault: str, tmp_path: Path) -> None:
    for name in ("runs/lifecycle.py", "registry/versions.py", "monitoring/drift.py", "store/schema.py", "cli/app.py", "serving/rollout.py"):
        (tmp_path / "plimsoll" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plimsoll" / name).write_text('"""A file."""\n')
    assert rule(tmp_path) == []
    path = tmp_path / "plimsoll" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    assert any(fault in line for line in rule(tmp_path)), rule(tmp_path)


def test_a_room_of_ten_files_is_found(tmp_path: Path) -> None:
    room = tmp_path / "plimsoll" / "runs"
    room.mkdir(parents=True)
    for index in range(10):
        (room / f"noun{index}.py").write_text("")
    assert any("10 files" in line for line in rules.shape_violations(tmp_path))


def test_a_stair_that_nobody_climbs_is_found(tmp_path: Path) -> None:
    (tmp_path / "plimsoll").mkdir()
    assert len(rules.unused_stairs(tmp_path)) == len(rules.STAIRS)


def test_every_verb_has_one_row_with_a_function_that_exists() -> None:
    assert len({verb.name for verb in verbs.VERBS}) == len(verbs.VERBS)
    for verb in verbs.VERBS:
        assert callable(verb.load()), verb.name
        assert verb.request.__name__ == verb.name
        assert result_type(verb.request) is not None


def test_verbs_that_are_no_jobs_load_nothing_heavy() -> None:
    heavy = ("numpy", "polars", "scipy", "sklearn", "alembic", "starlette", "httpx", "pandas")
    told = subprocess.run([rules.PYTHON, "-c", rules.heavy_modules(heavy)], capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
