"""Every edit of the catalogues, run for real: what the cache gives is what the code would give, and harmless edits run nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.repeats import repeats
from tests.unit.data.edits import CHANGES, HARMLESS, SECOND, SECOND_HARMLESS

ROOT = Path(__file__).parents[3]
NAMES = [f"change {name}" for name in CHANGES] + [f"harmless {name}" for name in HARMLESS]
SECOND_NAMES = [f"change {name}" for name in SECOND] + [f"harmless {name}" for name in SECOND_HARMLESS]

#: One edit in so many is tried before every commit, and one in so many of these by steps in processes of their own.
_SAMPLED, _IN_PROCESSES = 24, repeats(96, 24)

#: One in so many is tried by ``make test``, others on each Python; all of them take as long as a third of all other tests.
_ONE_IN = repeats(7, 1)
_FROM = sys.version_info.minor % _ONE_IN

Flags = tuple[tuple[str, ...], tuple[str, ...]]
Variables = tuple[dict[str, str], dict[str, str]]

#: Of these the step runs, is not kept, and says why: refusing is right, guessing never is.
NOT_KEPT = {
    "change thread-local default": "value is a steps.L, which cannot be fingerprinted",
    "change weak registry": "KeyedRef, which cannot be fingerprinted",
    "change ufunc from a function": "value is a numpy.ufunc, which cannot be fingerprinted",
    "change module imported by __import__": "'__import__' runs or finds code",
    "change module looked up in sys.modules": "sys.modules runs or finds code",
    "change name resolved from text": "pkgutil.resolve_name runs or finds code",
    "change name located from text": "pydoc.locate runs or finds code",
    "change module run from its path": "runpy.run_path runs or finds code",
    "change module loaded from its path": "exec_module leads to any name of a module",
    "change code read and executed": "'exec' runs or finds code",
    "change plug-ins of a folder": "pkgutil.iter_modules runs or finds code",
    "change globals of a helper": "__globals__ leads to any name of a module",
    "change output of a child process": "it ran another program (cat)",
    "change output of a shell": "it ran another program (sh)",
}

#: The same of the second catalogue.
NOT_KEPT |= {
    "change context that is copied": "_contextvars.Context, which cannot be fingerprinted",
    "change constant of a module by importlib's own import": "importlib.__import__ runs or finds code",
    "change constant of a module of a function": "inspect.getmodule runs or finds code",
    "change constant by a loader": "exec_module leads to any name of a module",
    "change source by a loader": "__loader__ leads to any name of a module",
    "change source by a loader that is found": "get_source leads to any name of a module",
    "change module of an importer": "'exec' runs or finds code",
    "change setting by a context that stays": "decimal.ContextManager, which cannot be fingerprinted",
    "change entry point's value": "'entry_points' runs or finds code",
    "change entry point's object": "'points' runs or finds code",
    "change entry points in the body": "importlib.metadata.entry_points runs or finds code",
    "change archive opened at import": "BufferedReader, which cannot be fingerprinted",
    "change file opened at import": "TextIOWrapper, which cannot be fingerprinted",
    "change map of a file at import": "mmap.mmap, which cannot be fingerprinted",
    "change database opened at import": "sqlite3.Connection, which cannot be fingerprinted",
    "change structure of ctypes": "CField, which cannot be fingerprinted",
    "change legacy state of numpy": "RandomState without a seed",
    "change lazy frame of a file": "LazyFrame, a plan rather than data",
    "change lazy frame of another module": "LazyFrame, a plan rather than data",
    "change lazy frame of Parquet": "LazyFrame, a plan rather than data",
    "change lazy frame's filter": "LazyFrame, a plan rather than data",
    "change lazy frame in a cell": "LazyFrame, a plan rather than data",
    "change lazy frame as an argument": "LazyFrame, a plan rather than data",
    "change function in a lazy frame": "LazyFrame, a plan rather than data",
    "change data set of Arrow": "FileSystemDataset, which cannot be fingerprinted",
    "change file of Parquet opened at import": "ParquetReader, which cannot be fingerprinted",
    "change archive of arrays at import": "cannot be fingerprinted",
    "change table of an address of SQLite": "refers to itself",
    "change decoder of a struct": "msgspec.json.Decoder, which cannot be fingerprinted",
    "change hook of an encoder": "msgspec.json.Encoder, which cannot be fingerprinted",
    "change column of a table": "refers to itself",
    "change tables that a base knows": "weakref.KeyedRef, which cannot be fingerprinted",
    "change table that another module adds": "weakref.KeyedRef, which cannot be fingerprinted",
    "change statement kept as a constant": "refers to itself",
    "change listener of an engine": "refers to itself",
    "change CSV by keywords of a dict": "so that they cannot be seen",
    "change CSV after another keyword": "so that they cannot be seen",
}

if sys.version_info < (3, 12):
    NOT_KEPT |= {
        "change batches of a file of Arrow": "may have read files by pyarrow._csv.read_csv",
        "change CSV by keywords of a dict": "may have read files by pyarrow._csv.read_csv",
        "change CSV after another keyword": "may have read files by pyarrow._csv.read_csv",
        "change function in an expression": "Expr, which cannot be fingerprinted",
        "change helper of a function in an expression": "Expr, which cannot be fingerprinted",
    }

#: Harmless edits that run the step all the same, each with its reason.
NEEDLESS: dict[str, str] = {
    "harmless path of modules that the step extends": "the module counts, and is found only while the step runs",
}
if sys.version_info < (3, 12):
    NEEDLESS["harmless hash of numbers"] = "what is hashed is not seen there, and the hash of text would depend on PYTHONHASHSEED"


def judged(
    names: list[str], folder: Path, executor: str = "in_process", flags: Flags = ((), ()), variables: Variables = ({}, {})
) -> dict[str, Any]:
    """Return for each edit what the run before it gave, what is right after it, and what the run after it gave.

    Args:
        names: of edits.
        folder: where projects are written.
        executor: runs the steps.
        flags: of the interpreter, before and after the edits.
        variables: of the environment, before and after the edits.
    """
    found: dict[str, Any] = {name: {} for name in names}
    for seed, phase in enumerate(("first", "second")):
        # Another process orders its sets otherwise and has its objects elsewhere.
        more = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        command = [sys.executable, "-B", *flags[seed], "-m", "tests.unit.data.mutants", str(folder), phase, executor]
        done = subprocess.run(
            command,
            input="\n".join(names),
            env={**os.environ, **more, **variables[seed]},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=3600,
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
    assert len(SECOND) >= 350
    assert len(SECOND_HARMLESS) >= 80
    assert set(NEEDLESS) | set(NOT_KEPT) <= {*NAMES, *SECOND_NAMES}


def test_enough_changes_are_tried_each_time() -> None:
    tried = NAMES[_FROM::_ONE_IN] + SECOND_NAMES[_FROM::_ONE_IN]
    assert sum(name.startswith("change ") for name in tried) >= 150


def test_a_sample_of_edits_gives_what_the_code_gives(tmp_path: Path) -> None:
    names = NAMES[::_SAMPLED]
    assert faults(names, judged(names, tmp_path)) == []


@pytest.mark.slow
def test_edits_of_both_catalogues_give_what_the_code_gives_and_harmless_ones_run_nothing(tmp_path: Path) -> None:
    names = NAMES[_FROM::_ONE_IN] + SECOND_NAMES[_FROM::_ONE_IN]
    assert faults(names, judged(names, tmp_path)) == []


@pytest.mark.slow
def test_edits_are_met_by_steps_in_processes_of_their_own_as_well(tmp_path: Path) -> None:
    # Arguments that no other process can be sent run in the calling one, whichever executor is asked for.
    names = [name for name in NAMES[5::_IN_PROCESSES] if "argument" not in name]
    assert faults(names, judged(names, tmp_path, "processes")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "flags", "variables"),
    [
        (["assertions that are left out"], ((), ("-O",)), ({}, {})),
        (
            ["warnings that are errors", "encoding of text files"],
            ((), ()),
            ({}, {"PYTHONWARNINGS": "error::UserWarning", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        ),
        (["longest number of the interpreter"], ((), ()), ({"PYTHONINTMAXSTRDIGITS": "0"}, {"PYTHONINTMAXSTRDIGITS": "1000"})),
        (["text that is compared with bytes"], ((), ("-bb",)), ({}, {})),
        (["setting by sitecustomize", "patch by sitecustomize"], ((), ()), ({}, {"PYTHONPATH": "{folder}"})),
    ],
    ids=["optimised", "variables", "digits", "bytes", "sitecustomize"],
)
def test_another_interpreter_gives_what_the_code_gives(tmp_path: Path, names: list[str], flags: Flags, variables: Variables) -> None:
    site, projects = tmp_path / "site", tmp_path / "projects"
    site.mkdir()
    projects.mkdir()
    code = "import decimal, textwrap\ndecimal.getcontext().prec = 3\ntextwrap.shorten = lambda *given: 'short'\n"
    (site / "sitecustomize.py").write_text(code)
    paths = f"{ROOT}{os.pathsep}{site}"
    after = {name: text.format(folder=paths) for name, text in variables[1].items()}
    changes = [f"change {name}" for name in names]
    assert faults(changes, judged(changes, projects, "in_process", flags, (variables[0], after))) == []
