"""What a step asks of files besides their content, and of the process that it runs in, is looked at again as well."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.unit.data.trace.test_reuse import HEAD, Case, check, written
from tests.unit.pipelines.bench import Bench, states

_MODERN = sys.version_info >= (3, 12)


def _both(project: Path) -> None:
    (project / "d").mkdir(exist_ok=True)
    for name in ("a", "b"):
        (project / "d" / name).write_text("1")
        os.utime(project / "d" / name, (5, 5))


def _folder(project: Path) -> None:
    (project / "d" / "b").unlink()
    (project / "d" / "b").mkdir()


def _link(project: Path) -> None:
    (project / "d" / "b").unlink()
    (project / "d" / "b").symlink_to("a")


def _longer(project: Path) -> None:
    (project / "d" / "b").write_text("22")


def _runnable(project: Path) -> None:
    (project / "d" / "b").chmod(0o755)


def _younger(project: Path) -> None:
    os.utime(project / "d" / "b", (6, 6))


def _older(project: Path) -> None:
    _both(project)
    os.utime(project / "d" / "b", (4, 4))


def _named_for_pathlib(project: Path) -> None:
    (project / "own_pathlib").mkdir()
    code = "def newest(folder):\n    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime).name\n"
    (project / "own_pathlib" / "newest.py").write_text(code)
    _older(project)


def _led(target: str):  # type: ignore[no-untyped-def]
    def lead(project: Path) -> None:
        (project / "link").unlink(missing_ok=True)
        (project / "link").symlink_to(target)

    return lead


CASES = [
    Case("a name becomes a folder", "return sorted((each.name, each.is_dir()) for each in os.scandir(HERE / 'd'))", _both, _folder),
    Case("a walked name becomes a folder", "return [(list(one), list(two)) for _, one, two in os.walk(HERE / 'd')]", _both, _folder),
    Case("a name becomes a link", "return sorted((each.name, each.is_symlink()) for each in os.scandir(HERE / 'd'))", _both, _link),
    Case("a file becomes a link", "return (HERE / 'd' / 'b').is_symlink()", _both, _link),
    Case("whether two paths are one file", "return os.path.samefile(HERE / 'd/a', HERE / 'd/b')", _both, _link),
    Case("where a link leads", "return os.path.basename(os.path.realpath(HERE / 'link'))", _led("one"), _led("two")),
    Case("where a link leads, by pathlib", "return (HERE / 'link').resolve().name", _led("one"), _led("two")),
    Case("a state, by pathlib", "return (HERE / 'd/b').stat().st_mode", _both, _runnable),
    Case("a state without links, by pathlib", "return (HERE / 'd/b').lstat().st_size", _both, _longer),
    Case("a time", "return os.path.getmtime(HERE / 'd/b')", _both, _younger),
    Case("the newest file", "return max((HERE / 'd').iterdir(), key=lambda path: path.stat().st_mtime).name", _older, _younger),
    Case("the newest file, in a folder that is named for pathlib",
         "from own_pathlib.newest import newest\nreturn newest(HERE / 'd')", _named_for_pathlib, _younger),
    Case("a query of Arrow", "import pyarrow as pa\nreturn pa.ipc.open_file(str(HERE / 'd.arrow')).read_all().to_pylist()",
         lambda project: _arrow(project, 1), lambda project: _arrow(project, 2)),
    Case("a matrix", "import scipy.io\nreturn scipy.io.mmread(str(HERE / 'd.mtx')).tolist()",
         written("d.mtx", "%%MatrixMarket matrix array real general\n1 1\n1\n"),
         written("d.mtx", "%%MatrixMarket matrix array real general\n1 1\n2\n")),
    Case("data that a loader of code reads", "import pkgutil\nreturn pkgutil.get_data('kit', 'd.txt').decode()",
         written("kit/d.txt", "1"), written("kit/d.txt", "2")),
    Case("lines of a text", "import linecache\nlinecache.clearcache()\nreturn linecache.getlines(str(HERE / 'd.txt'))",
         written("d.txt", "1"), written("d.txt", "2")),
    Case("a program", "import shutil\nreturn shutil.which('tool', path=str(HERE / 'd'))", _both,
         lambda project: (project / "d/tool").touch(0o755)),
    Case("a variable, in a thread's own function",
         "import concurrent.futures as f\nwith f.ThreadPoolExecutor(1) as pool:\n    return pool.submit(os.getenv, 'RATE').result()",
         lambda project: os.environ.update(RATE="1"), lambda project: os.environ.update(RATE="2")),
    Case("one variable after all of them", "everything = dict(os.environ)\nreturn os.environ.get('TERM')",
         lambda project: os.environ.update(TERM="a"), lambda project: os.environ.update(TERM="b")),
    Case("the user", "import getpass\nreturn getpass.getuser()",
         lambda project: os.environ.update(LOGNAME="a"), lambda project: os.environ.update(LOGNAME="b")),
]  # fmt: skip
WITH_MONITORING = [
    Case("a state", "return os.stat(HERE / 'd/b').st_mode", _both, _runnable),
    Case("the size of each name", "return sum(each.stat().st_size for each in os.scandir(HERE / 'd'))", _both, _longer),
    Case("the time of an open file", "with open(HERE / 'd/b') as file:\n    return os.fstat(file.fileno()).st_mtime", _both, _younger),
    Case("what may be done with a file", "return os.access(HERE / 'd/b', os.X_OK)", _both, _runnable),
    Case("what a link says", "return os.readlink(HERE / 'link')", _led("one"), _led("two")),
]


def _arrow(project: Path, value: int) -> None:
    __import__("polars").DataFrame({"a": [value]}).write_ipc(project / "d.arrow")


@pytest.fixture(autouse=True)
def _here(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RATE", "TERM", "LOGNAME"):
        monkeypatch.setenv(name, "0")
    monkeypatch.chdir(bench.project)
    written("kit/__init__.py", "")(bench.project)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_step_runs_again_when_another_answer_would_be_given(bench: Bench, case: Case) -> None:
    check(bench, case)


@pytest.mark.skipif(not _MODERN, reason="Python 3.11 cannot watch calls of C functions")
@pytest.mark.parametrize("case", WITH_MONITORING, ids=lambda case: case.name)
def test_so_it_does_when_a_c_function_was_asked(bench: Bench, case: Case) -> None:
    check(bench, case)


@pytest.mark.skipif(_MODERN, reason="later Pythons see the call itself")
@pytest.mark.parametrize("case", WITH_MONITORING, ids=lambda case: case.name)
def test_where_the_call_cannot_be_seen_the_result_is_not_kept(bench: Bench, case: Case) -> None:
    _write(bench, case.body)
    case.first(bench.project)
    why = bench.run()["look"].why
    assert "cannot be seen" in why or "which only Python 3.12" in why


#: A body, and a change that gives it no other answer.
HARMLESS = [
    ("return os.path.getsize(HERE / 'd/b')", _younger),
    ("return os.path.getsize(HERE / 'd/b'), os.path.getmtime(HERE / 'd/b')", _runnable),
    ("return (HERE / 'd/b').read_text()", _runnable),
    ("return (HERE / 'd/b').read_text()", _link),
    ("return os.path.exists(HERE / 'd/b')", _longer),
    ("return sorted(os.listdir(HERE / 'd'))", lambda project: (project / "d/b").write_text("222")),
    ("import zoneinfo\nreturn str(zoneinfo.ZoneInfo('Europe/Rome'))", lambda project: (project / "d/c").touch()),
]


@pytest.mark.parametrize(("body", "change"), HARMLESS)
def test_what_a_step_cannot_tell_runs_nothing(bench: Bench, body: str, change) -> None:  # type: ignore[no-untyped-def]
    _write(bench, body)
    _both(bench.project)
    assert states(bench.run()) == {"look": "ran"}
    change(bench.project)
    again = bench.run()
    assert states(again) == {"look": "hit"}, again["look"].why


UNFIT = [
    ("with open('/proc/uptime') as file:\n    return file.read()", "read what the machine makes (/proc/uptime)"),
    ("with open('/dev/urandom', 'rb') as file:\n    return file.read(2)", "read what the machine makes (/dev/urandom)"),
    ("base = sqlite3.connect(':memory:')\nbase.execute(f\"attach '{HERE}/d.db' as more\")\nbase.close()", "attached"),
    ("import ctypes\nreturn ctypes.CDLL(None).getpid() > 0", "loaded a library of the system"),
    ("import shutil\nreturn shutil.disk_usage(HERE).free", "asked how busy the machine is"),
    ("return os.path.getatime(HERE / 'd/a')", "asked for a time"),
    ("return os.getpid()", "asked which process it runs in"),
    ("return os.getloadavg()", "asked how busy the machine is"),
    ("return hash('a')", "hash of text"),
    ("return hash(('a', 1))", "hash of text"),
    ("handle = os.open(HERE, os.O_RDONLY)\nreturn os.read(os.open('d/a', os.O_RDONLY, dir_fd=handle), 9)", "by the handle of its folder"),
]


@pytest.mark.parametrize(("body", "effect"), UNFIT)
def test_what_another_run_would_answer_otherwise_is_not_kept(bench: Bench, body: str, effect: str) -> None:
    """Each in every run; and a hash that a fixed seed repeats counts by the seed."""
    sqlite3.connect(bench.project / "d.db").close()
    _both(bench.project)
    _write(bench, body)
    why = bench.run()["look"].why
    assert "not kept for later runs, because it " in why
    assert effect in why


@pytest.mark.skipif(not _MODERN, reason="Python 3.11 cannot watch calls of C functions")
def test_a_hash_is_kept_where_every_process_takes_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of numbers, inside of a class, and under a fixed seed."""
    _write(bench, "class Key:\n    def __hash__(self):\n        return hash('a')\nreturn hash(1), hash((1, 2.0)), len({Key()})")
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert "not kept" not in bench.run()["look"].why
    _write(bench, "return hash('a')")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    assert "not kept" not in bench.run()["look"].why
    assert states(bench.run()) == {"look": "hit"}
    monkeypatch.setenv("PYTHONHASHSEED", "2")
    assert states(bench.run()) == {"look": "ran"}


def test_the_machine_counts_where_a_step_asks_for_it(bench: Bench) -> None:
    _write(bench, "import platform, socket\nreturn platform.node(), socket.gethostname()")
    assert "not kept" not in bench.run()["look"].why
    assert states(bench.run()) == {"look": "hit"}


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_arguments_of_the_program_count_where_a_step_reads_them(bench: Bench, executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same in a process of its own."""
    _write(bench, "import sys\nreturn sys.argv[1:]")
    for rate in ("1", "2"):
        monkeypatch.setattr(sys, "argv", ["program", "--rate", rate])
        assert bench.run(executor=executor).value == ["--rate", rate]
        again = bench.run(executor=executor)
        assert states(again) == {"look": "hit"}, again["look"].why
        assert "calling process" not in again["look"].why


SETTING = """
import decimal, os
from plimsoll import pipeline, step

def strictly():
    return os.environ.get("RATE") == "2"

if strictly():
    decimal.getcontext().prec = 5

@step
def look():
    return str(decimal.Decimal(1) / 3)

@pipeline
def flow():
    return look()
"""


def test_a_variable_that_decides_a_setting_of_the_process_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("pipe.py", SETTING)
    with __import__("decimal").localcontext():
        assert len(bench.run().value) > 20
        assert states(bench.run()) == {"look": "hit"}
        monkeypatch.setenv("RATE", "2")
        assert bench.run().value == "0.33333"


def _write(bench: Bench, body: str) -> None:
    inner = body.replace("\n", "\n    ")
    bench.write("pipe.py", f"{HEAD}\n@step\ndef look():\n    {inner}\n\n@pipeline\ndef flow():\n    return look()\n")
