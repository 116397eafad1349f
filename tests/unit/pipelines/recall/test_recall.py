"""A run of which nothing has changed is made without importing the project, and never when something has."""

from __future__ import annotations

import keyword
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from plimsoll.data.code.source import Sources
from plimsoll.pipelines.recall.steady import unsteady
from plimsoll.records.pipeline import GetLatestEntry
from plimsoll.records.run import GetRun, GetSeries, Series
from plimsoll.workspace import open_workspace
from tests.faults.command_line import ROOT
from tests.forked import plimsoll

FILES = {
    "pyproject.toml": "[tool.plimsoll]\n",
    "factors.py": "FACTOR = 2\n",
    "rate.txt": "3",
    "pipe.py": """
        import os
        from pathlib import Path
        from plimsoll import current_run, pipeline, step
        import factors

        RATE = float(open("rate.txt").read())
        OFFSET = int(os.environ.get("OFFSET", "0"))

        @step
        def rows(n: int) -> list:
            return list(range(n))

        @step
        def total(rows: list) -> float:
            current_run().log(seen=len(rows))
            current_run().set_tags(kind="small")
            more = float(Path("more.txt").read_text()) if Path("more.txt").exists() else 0.0
            return sum(rows) * factors.FACTOR * RATE + OFFSET + more

        @pipeline
        def flow(n: int = 4):
            return {"total": total(rows(n))}
    """,
}


@dataclass(frozen=True)
class Told:
    """What one run of the command line said."""

    #: It was made without importing the project.
    recalled: bool
    #: The metric, as the platform has it.
    total: str
    #: What a step has logged: tags, and the points of a series.
    logged: tuple[dict[str, str], Series]
    #: Lines about steps.
    steps: tuple[str, ...]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of two modules that reads a file and a variable while it is imported."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(dedent(text))
    return tmp_path


def run(project: Path, *words: str, begun: Sequence[str] = (), executor: str = "in_process", **variables: str) -> Told:
    """Run the pipeline in a process that tells what it imports, and read what it came to."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(project), **variables}
    asked, timed = ["run", "pipe.py:flow", "--executor", executor, *words], ("-X", "importtime")
    if begun or "PYTHONPATH" in variables:
        command = [sys.executable, *timed, *(begun or ("-m", "plimsoll.cli.app")), *asked]
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120)
    else:
        done = plimsoll(asked, project, env, timed)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    imported = [line for line in done.stderr.splitlines() if re.fullmatch(r"import time:.*\| +factors", line)]
    workspace = open_workspace(project / ".plimsoll")
    try:
        owner = workspace.identify(workspace.token("owner"))
        detail = workspace.do(GetRun(id=done.stdout.split()[-1]), owner)
        seen = workspace.do(GetSeries(run_id=detail.run.id, name="seen"), owner)
    finally:
        workspace.close()
    (total,) = (metric.last for metric in detail.metrics if metric.name == "total")
    assert detail.run.state == "finished"
    return Told(not imported, f"{total:g}", (detail.run.tags, seen), tuple(line.strip() for line in said if line.startswith("  ")))


def memories(project: Path) -> list[Path]:
    """Return the files of what is remembered of runs."""
    return [path for path in (project / ".plimsoll").glob("recall/*") if path.is_file()]


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_run_that_changes_nothing_is_made_without_importing_the_project(project: Path, executor: str) -> None:
    first = run(project, executor=executor)
    assert (first.recalled, first.total) == (False, "36")
    second = run(project, executor=executor)
    assert (second.recalled, second.total) == (True, "36")
    assert [line.split()[1] for line in second.steps] == ["hit", "hit"]
    assert second.logged == first.logged
    assert (second.logged[0], second.logged[1].values) == ({"kind": "small"}, (4.0,))


def test_the_installed_command_whose_own_folder_python_searches_first_remembers_as_well(project: Path) -> None:
    command = project / "bin" / "plimsoll"
    command.parent.mkdir()
    command.write_text("from plimsoll.cli.app import main\nmain()\n")
    # As joblib does, so that its processes find what they are begun from.
    (project / "factors.py").write_text("import sys\nsys.modules['__mp_main__'] = sys.modules['__main__']\nFACTOR = 2\n")
    assert [run(project, begun=[str(command)]).recalled for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("executor", "changes"),
    [
        (
            "in_process",
            [
                ("factors.py", "FACTOR = 5\n", "90"),
                ("rate.txt", "4", "120"),
                ("pyproject.toml", '[tool.plimsoll.params."pipe.py:flow"]\nn = 3\n', "60"),
            ],
        ),
        # Here a process that ends tells of what it looked for.
        ("processes", [("more.txt", "0.5", "36.5"), ("more.txt", "1.5", "37.5")]),
    ],
    ids=["a module, a file read at import, the project's table", "a file that a step looked for and read"],
)
def test_a_change_is_seen(project: Path, executor: str, changes: list[tuple[str, str, str]]) -> None:
    run(project, executor=executor)
    for name, text, expected in changes:
        assert run(project, executor=executor).recalled
        (project / name).write_text(text)
        changed = run(project, executor=executor)
        assert (changed.recalled, changed.total) == (False, expected)
    again = run(project, executor=executor)
    assert (again.recalled, again.total) == (True, expected)


def test_another_value_of_a_variable_that_an_import_reads_is_seen(project: Path) -> None:
    run(project)
    changed = run(project, OFFSET="10")
    assert (changed.recalled, changed.total) == (False, "46")
    assert run(project).total == "36"


@pytest.mark.parametrize("cache", ["False", "0.001"], ids=["never", "for a millisecond"])
def test_a_step_that_is_not_reused_any_more_is_computed_though_an_earlier_run_kept_its_result(project: Path, cache: str) -> None:
    run(project)
    pipe = project / "pipe.py"
    pipe.write_text(pipe.read_text().replace("@step\ndef rows", f"@step(cache={cache})\ndef rows"))
    for _ in range(2):
        told = run(project)
        assert not told.recalled
        assert [line.split()[1] for line in told.steps] == ["ran", "hit"]


def test_parameters_have_memories_of_their_own(project: Path) -> None:
    run(project)
    other = run(project, "--set", "n=3")
    assert (other.recalled, other.total) == (False, "18")
    assert run(project).recalled
    again = run(project, "--set", "n=3")
    assert (again.recalled, again.total) == (True, "18")


def test_a_module_that_takes_the_place_of_another_is_seen(project: Path) -> None:
    aside = project / "lib"
    aside.mkdir()
    (project / "factors.py").rename(aside / "factors.py")
    path = os.pathsep.join((str(ROOT), str(aside)))
    assert run(project, PYTHONPATH=path).total == "36"
    assert run(project, PYTHONPATH=path).recalled
    (project / "factors.py").write_text("FACTOR = 5\n")
    assert run(project, PYTHONPATH=path).total == "90"


def test_another_version_of_a_package_is_seen(project: Path) -> None:
    installed = project / "site-packages" / "other-1.0.dist-info"
    installed.mkdir(parents=True)
    path = os.pathsep.join((str(ROOT), str(installed.parent)))
    assert [run(project, PYTHONPATH=path).recalled for _ in range(2)] == [False, True]
    installed.rename(installed.with_name("other-2.0.dist-info"))
    assert not run(project, PYTHONPATH=path).recalled


def test_a_memory_that_is_garbled_is_done_without(project: Path) -> None:
    run(project)
    (memory,) = memories(project)
    memory.write_bytes(memory.read_bytes()[:-7])
    told = run(project)
    assert (told.recalled, told.total) == (False, "36")
    assert run(project).recalled


def test_an_entry_that_was_dropped_or_damaged_is_computed_again(project: Path) -> None:
    run(project)
    blobs = [path for path in (project / ".plimsoll" / "blobs").rglob("*") if path.is_file()]
    for blob in blobs:
        blob.unlink()
    told = run(project)
    assert (told.recalled, told.total) == (False, "36")


def test_an_output_that_is_gone_is_computed_again_though_all_else_is_there(project: Path) -> None:
    run(project)
    workspace = open_workspace(project / ".plimsoll")
    try:
        owner = workspace.identify(workspace.token("owner"))
        entry = workspace.do(GetLatestEntry(step="pipe.rows"), owner)
    finally:
        workspace.close()
    (project / ".plimsoll" / "blobs" / entry.output.digest[:2] / entry.output.digest).unlink()
    told = run(project)
    assert (told.recalled, [line.split()[1] for line in told.steps]) == (False, ["ran", "hit"])


@pytest.mark.parametrize(
    "line",
    [
        *("import time\nSTARTED = time.time()", "import random\nDRAWN = random.random()", "import uuid\nNAME = str(uuid.uuid4())"),
        "from random import randint as draw\nDRAWN = draw(0, 1)",
        "import time\nDAY = getattr(time, 'time')()",
        "import time\nDAY = time.strftime('%d')",
        "import sqlite3\nNOW = sqlite3.connect(':memory:').execute(\"select datetime('now')\").fetchone()",
        "import sqlite3\nDB = sqlite3.connect(':memory:')\nDB.execute(\"attach 'other.db' as other\")\nDB.close()\ndel DB",
        "import subprocess\nTOLD = subprocess.run(['true']).returncode",
    ],
)
def test_a_project_whose_import_need_not_come_to_the_same_is_imported_each_time(project: Path, line: str) -> None:
    (project / "factors.py").write_text(f"{line}\nFACTOR = 2\n")
    run(project)
    assert memories(project) == []


def test_a_module_that_was_imported_before_the_command_watched_leaves_no_memory(project: Path) -> None:
    """What its import read is not known."""
    run(project, begun=["-c", "import sys; sys.path.insert(0, '.'); import factors; from plimsoll.cli.app import main; main()"])
    assert memories(project) == []


def test_what_a_systems_python_imports_into_every_program_is_no_reason() -> None:
    """Debian's has a ``sitecustomize`` beside the standard library."""
    assert unsteady([keyword], {"keyword"}, "flow", Sources()) == ""
    assert unsteady([pytest], {"pytest"}, "flow", Sources()) == "pytest"


def test_what_makes_such_a_run_loads_no_library_of_numbers() -> None:
    script = "import sys, plimsoll.cli.recalled; print(*{'numpy', 'polars', 'pandas', 'scipy', 'optuna', 'httpx'} & set(sys.modules))"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.split() == []
