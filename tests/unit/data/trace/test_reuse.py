"""A result is used again while everything that its step read by itself is as it was, and not otherwise."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent

import polars as pl
import pytest

from plimsoll.pipelines.executors.processes import Processes
from plimsoll.pipelines.plan import trace
from tests.unit.pipelines.bench import Bench, states

Edit = Callable[[Path], None]

_MODERN = sys.version_info >= (3, 12)
HEAD = """
import glob, json, os, sqlite3, string
from os import environ
from pathlib import Path
import numpy as np, pandas as pd, polars as pl
from plimsoll import pipeline, step
HERE = Path(__file__).parent
"""


@dataclass(frozen=True)
class Case:
    """A step, and two states of what it reads."""

    name: str
    #: Body of the step.
    body: str
    #: Makes the first state, in the project's folder.
    first: Edit
    #: Makes the second.
    second: Edit


def written(name: str, text: str) -> Edit:
    def write(project: Path) -> None:
        (project / name).parent.mkdir(exist_ok=True, parents=True)
        (project / name).write_text(text)

    return write


def _file(title: str, body: str, name: str, first: str, second: str) -> Case:
    return Case(title, body, written(name, first), written(name, second))


def _csv(title: str, body: str, name: str = "d.csv") -> Case:
    return _file(title, body, name, "a\n1\n", "a\n2\n")


def _parquet(title: str, body: str) -> Case:
    def write(value: int) -> Edit:
        return lambda project: pl.DataFrame({"a": [value]}).write_parquet(project / "d.pq")

    return Case(title, body, write(1), write(2))


def _variable(title: str, body: str, first: str | None, second: str | None) -> Case:
    def state(value: str | None) -> Edit:
        def set_it(project: Path) -> None:
            os.environ.pop("RATE", None)
            if value is not None:
                os.environ["RATE"] = value

        return set_it

    return Case(title, body, state(first), state(second))


def appears(title: str, body: str, name: str) -> Case:
    return Case(title, body, lambda project: (project / name).parent.mkdir(exist_ok=True), written(name, "x"))


def _times_kept(project: Path) -> None:
    path = project / "rate.txt"
    before = path.stat()
    path.write_text("7")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _database(value: int) -> Edit:
    def write(project: Path) -> None:
        base = sqlite3.connect(project / "d.db")
        base.executescript(f"create table if not exists t(a); delete from t; insert into t values ({value})")
        base.close()

    return write


_OPEN = "with open({}) as file:\n    return file.read()"
_TRY = "try:\n    return {}\nexcept OSError:\n    return -1"
_SELECT = "base = sqlite3.connect(HERE / 'd.db')\nvalue = base.execute('select a from t').fetchone()[0]\nbase.close()\nreturn value"

#: Cases that are run in processes of their own as well.
BOTH = [
    _file("a file", _OPEN.format("HERE / 'rate.txt'"), "rate.txt", "2", "3"),
    _file("a relative file", _OPEN.format("'rate.txt'"), "rate.txt", "2", "3"),
    _csv("polars", "return int(pl.read_csv(HERE / 'd.csv')['a'].sum())"),
    Case("sqlite", _SELECT, _database(1), _database(2)),
    _variable("a variable", "return os.environ.get('RATE', '1')", "2", "3"),
    _variable("the whole environment", "return {k: v for k, v in os.environ.items() if k == 'RATE'}", "2", "3"),
    _file("a file's size", "return os.path.getsize(HERE / 'rate.txt')", "rate.txt", "2", "22"),
]
CASES = [
    Case("a file whose size and time are kept", "return (HERE / 'rate.txt').read_text()", written("rate.txt", "2"), _times_kept),
    _file("a file by its number", "return os.read(os.open(HERE / 'rate.txt', os.O_RDONLY), 9).decode()", "rate.txt", "2", "3"),
    appears("a file that appears", _TRY.format("(HERE / 'rate.txt').read_text()"), "rate.txt"),
    appears("names in a folder", "return sorted(path.name for path in (HERE / 'd').iterdir())", "d/b"),
    appears("a pattern", "return sorted(glob.glob(str(HERE / 'd' / '*.csv')))", "d/b.csv"),
    _file("a configuration", "return json.loads((HERE / 'c.json').read_text())['a']", "c.json", '{"a": 1}', '{"a": 2}'),
    _csv("pandas", "return int(pd.read_csv(HERE / 'd.csv')['a'].sum())"),
    _file("numpy", "return float(np.loadtxt(HERE / 'd.csv'))", "d.csv", "1\n", "2\n"),
    _csv("polars, lazily", "return int(pl.scan_csv(str(HERE / 'd.csv')).collect()['a'].sum())"),
    _csv("polars, by a pattern", "return int(pl.scan_csv(str(HERE / 'd/*.csv')).collect()['a'].sum())", "d/1.csv"),
    Case(
        "polars, one more file",
        "return pl.scan_csv(str(HERE / 'd/*.csv')).collect().height",
        written("d/1.csv", "a\n1\n"),
        written("d/2.csv", "a\n1\n"),
    ),
    _parquet("polars, parquet", "return int(pl.read_parquet(HERE / 'd.pq')['a'].sum())"),
    _parquet("pyarrow, parquet", "import pyarrow.parquet as pq\nreturn pq.read_table(HERE / 'd.pq')['a'].to_pylist()"),
    _csv(
        "pyarrow, dataset", "import pyarrow.dataset as ds\nreturn ds.dataset(str(HERE / 'd'), format='csv').head(9).to_pylist()", "d/a.csv"
    ),
    _parquet("pandas, parquet", "return int(pd.read_parquet(HERE / 'd.pq')['a'].sum())"),
    _variable("a variable that appears", "return os.getenv('RATE', '1')", None, "3"),
    _variable("whether a variable is set", "return 'RATE' in environ", None, "3"),
    _variable("a variable in a path", "return os.path.expandvars('$RATE/x')", "2", "3"),
    _variable("a variable in a template", "return string.Template('$RATE').substitute(os.environ)", "2", "3"),
    appears("whether a file is there", "return os.path.exists(HERE / 'flag')", "flag"),
    appears("whether a file is there, by pathlib", "return (HERE / 'flag').is_file()", "flag"),
    _file("a file's size, by pathlib", "return (HERE / 'rate.txt').stat().st_size", "rate.txt", "2", "22"),
]
WITH_MONITORING = [
    _csv("pyarrow, csv", "import pyarrow.csv as pc\nreturn pc.read_csv(str(HERE / 'd.csv'))['a'].to_pylist()"),
    _csv("pyarrow, memory map", "import pyarrow as pa\nreturn pa.memory_map(str(HERE / 'd.csv')).read().decode()"),
    appears("whether a file is there, by os", _TRY.format("os.stat(HERE / 'flag').st_size"), "flag"),
]


def check(bench: Bench, case: Case, executor: str | Processes = "in_process") -> None:
    body = indent(case.body, "    ")
    bench.write("pipe.py", f"{HEAD}\n@step\ndef look():\n{body}\n\n@pipeline\ndef flow():\n    return look()\n")
    case.first(bench.project)
    before = bench.run(executor=executor)
    assert states(before) == {"look": "ran"}
    assert states(bench.run(executor=executor)) == {"look": "hit"}, before["look"].why
    case.second(bench.project)
    after = bench.run(executor=executor)
    assert after["look"].state == "ran"
    assert after.value != before.value
    assert after["look"].why.startswith(("file", "variable")), after["look"].why
    assert states(bench.run(executor=executor)) == {"look": "hit"}


@pytest.fixture(autouse=True)
def _here(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATE", "0")
    monkeypatch.chdir(bench.project)


@pytest.mark.parametrize("case", [*BOTH, *CASES], ids=lambda case: case.name)
def test_a_step_runs_again_when_what_it_read_has_changed_and_only_then(bench: Bench, case: Case) -> None:
    """Each case runs, is reused, runs again after the edit with another result, and is reused once more."""
    check(bench, case)


def test_so_does_a_step_in_a_process_of_its_own(bench: Bench) -> None:
    """What another process found is checked by the one that began the run."""
    bench.write("pipe.py", HEAD + "@step\ndef look():\n    return 0\n\n@pipeline\ndef flow():\n    return look()\n")
    # All cases are forked from one process, which reads nothing of the project.
    processes = Processes(bench.workspace.stores.blobs, bench.project, functions=[trace(bench.load(), {}).nodes[0].step.function])
    try:
        for case in BOTH:
            print(case.name)  # shown where one fails
            check(bench, case, processes)
    finally:
        processes.close()


@pytest.mark.skipif(not _MODERN, reason="Python 3.11 cannot watch calls of C functions")
@pytest.mark.parametrize("case", WITH_MONITORING, ids=lambda case: case.name)
def test_calls_of_c_functions_are_seen(bench: Bench, case: Case) -> None:
    """What raises no event is seen where it is called."""
    check(bench, case)


@pytest.mark.skipif(_MODERN, reason="later Pythons see the file itself")
def test_a_reader_that_this_python_cannot_see_makes_its_step_run_each_time(bench: Bench) -> None:
    """Rather than guessing which file it reads."""
    bench.write("d.csv", "a\n1\n")
    bench.write(
        "pipe.py",
        f"{HEAD}\nimport pyarrow.csv as pc\n@step\ndef look():\n    return pc.read_csv(str(HERE / 'd.csv'))['a'].to_pylist()\n"
        "@pipeline\ndef flow():\n    return look()\n",
    )
    assert "cannot be seen" in bench.run()["look"].why
    assert states(bench.run()) == {"look": "ran"}


WRITTEN = {
    "Python": "(HERE / 'o.txt').write_text(str(K))",
    "pandas": "pd.DataFrame({'a': [K]}).to_csv(HERE / 'o.txt')",
    "polars": "pl.DataFrame({'a': [K]}).write_csv(HERE / 'o.txt')",
    "polars, as JSON": "pl.DataFrame({'a': [K]}).write_json(HERE / 'o.txt')",
    "a lazy frame of polars": "pl.LazyFrame({'a': [K]}).sink_csv(HERE / 'o.txt')",
    "pyarrow": "pd.DataFrame({'a': [K]}).to_parquet(HERE / 'o.txt')",
    "native code": "import pyarrow as pa, pyarrow.csv as pc\npc.write_csv(pa.table({'a': [K]}), str(HERE / 'o.txt'))",
    "numpy": "np.savetxt(HERE / 'o.txt', [K])",
    "a file that is renamed": "(HERE / 't.txt').write_text(str(K))\nos.replace(HERE / 't.txt', HERE / 'o.txt')",
}


@pytest.mark.parametrize("body", WRITTEN.values(), ids=WRITTEN)
def test_a_step_runs_again_when_what_it_wrote_is_no_longer_as_it_left_it(bench: Bench, body: str) -> None:
    """A later step reads the file, and must not find what another setting, a hand or nobody has written there."""
    source = (
        f"{HEAD}\nK = VALUE\n@step\ndef write():\n" + indent(body, "    ") + "\n    return str(HERE / 'o.txt')\n"
        "@step\ndef read(path):\n    return Path(path).read_bytes()\n@pipeline\ndef flow():\n    return read(write())\n"
    )
    values = []
    for k in (1, 2, 1):
        bench.write("pipe.py", source.replace("VALUE", str(k)))
        values.append(bench.run().value)
    assert values[0] == values[2] != values[1]
    assert states(bench.run()) == {"write": "hit", "read": "hit"}
    (bench.project / "o.txt").write_text("edited")
    assert (bench.run().value, states(bench.run())) == (values[0], {"write": "hit", "read": "hit"})
    (bench.project / "o.txt").unlink()
    assert bench.run().value == values[0]


PLUGIN = """
from shared import FACTOR
RATE = {rate}
class Scaled:
    by = FACTOR
    def __call__(self, number):
        return number * self.by
def rate():  # {comment}
    return Scaled()(RATE)
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_module_that_is_imported_by_a_computed_name_counts_whole_and_the_others_do_not(bench: Bench, executor: str) -> None:
    """So does what it imports in turn."""
    bench.write("shared.py", "FACTOR = 10")
    bench.write("plug_a.py", PLUGIN.format(rate=2, comment=""))
    bench.write("plug_b.py", PLUGIN.format(rate=3, comment=""))
    bench.write(
        "pipe.py",
        dedent("""
        import importlib
        from plimsoll import pipeline, step

        @step
        def look(kind: str):
            return importlib.import_module(f"plug_{kind}").rate()

        @step
        def constant(kind: str):
            return getattr(importlib.import_module("plug_" + kind), "RATE")

        @pipeline
        def flow(kind: str = "a"):
            return {"rate": look(kind), "constant": constant(kind)}
        """),
    )
    assert bench.run(executor=executor).value == {"rate": 20, "constant": 2}
    assert states(bench.run(executor=executor)) == {"look": "hit", "constant": "hit"}
    bench.write("plug_b.py", PLUGIN.format(rate=4, comment=""))
    assert states(bench.run(executor=executor)) == {"look": "hit", "constant": "hit"}
    bench.write("plug_a.py", PLUGIN.format(rate=5, comment=""))
    result = bench.run(executor=executor)
    assert result.value == {"rate": 50, "constant": 5}
    assert result["look"].why == result["constant"].why == "module plug_a changed"
    bench.write("shared.py", "FACTOR = 100")
    assert bench.run(executor=executor).value == {"rate": 500, "constant": 5}


def test_a_step_that_reads_one_of_two_files_by_a_parameter_of_its_own_depends_on_that_one_only(bench: Bench) -> None:
    """Other states of the same call are kept side by side, so going back is a hit."""
    bench.write("a.txt", "1")
    bench.write("b.txt", "2")
    bench.write("which.txt", "a.txt")
    body = "    return (HERE / (HERE / 'which.txt').read_text()).read_text()"
    bench.write("pipe.py", f"{HEAD}\n@step\ndef look():\n{body}\n\n@pipeline\ndef flow():\n    return look()\n")
    assert bench.run().value == "1"
    bench.write("b.txt", "3")
    assert states(bench.run()) == {"look": "hit"}
    bench.write("which.txt", "b.txt")
    result = bench.run()
    assert result.value == "3"
    assert result["look"].why == "file which.txt changed"
    bench.write("which.txt", "a.txt")
    assert (states(bench.run()), bench.run().value) == ({"look": "hit"}, "1")


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_what_python_compiles_while_a_step_imports_does_not_keep_its_result_from_later_runs(
    bench: Bench, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    bench.write("zoo_rates.py", "RATE = 2")
    bench.write("plug_a.py", PLUGIN.format(rate=2, comment="").replace("shared", "zoo_rates").replace("FACTOR", "RATE as FACTOR", 1))
    body = "    import importlib\n    import zoo_rates\n    return zoo_rates.RATE * importlib.import_module('plug_' + kind).rate()"
    bench.write("pipe.py", f"{HEAD}\n@step\ndef look(kind):\n{body}\n\n@pipeline\ndef flow(kind: str = 'a'):\n    return look(kind)\n")
    assert bench.run(executor=executor).value == 8
    assert list(bench.project.glob("__pycache__/plug_a.*.pyc"))
    assert states(bench.run(executor=executor)) == {"look": "hit"}
