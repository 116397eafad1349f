"""What a step leaves in the project counts with its result: files that it removed, logs that it reads, folders and links."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

import pytest

from tests.unit.pipelines.bench import Bench, states
from tests.unit.pipelines.conftest import bench

__all__ = ["bench"]

HEAD = """
import logging, os, shutil, tempfile
from pathlib import Path
from plimsoll import pipeline, step
HERE = Path(__file__).parent
"""

#: The later step, which sees what the first one left.
SEES = "return sorted(str(each.relative_to(HERE)) for each in HERE.rglob('*.flag'))"


def _put(bench: Bench, name: str, text: str) -> None:
    (bench.project / name).parent.mkdir(exist_ok=True)
    bench.write(name, text)


def _flow(bench: Bench, body: str, after: str = "return 0") -> None:
    first, then = indent(body, "    "), indent(after, "    ")
    bench.write(
        "pipe.py", f"{HEAD}@step\ndef clear():\n{first}\n@step\ndef look(x):\n{then}\n@pipeline\ndef flow():\n    return look(clear())\n"
    )


REMOVES = {
    "whether or not it is there": "Path(HERE / 'in.flag').unlink(missing_ok=True)\nreturn 1",
    "that it asked for": "if os.path.exists(HERE / 'in.flag'):\n    os.remove(HERE / 'in.flag')\nreturn 1",
    "that it found": "for each in list(HERE.glob('*.flag')):\n    each.unlink()\nreturn 1",
    "that it wrote itself": "Path(HERE / 'in.flag').write_text('mine')\nos.remove(HERE / 'in.flag')\nreturn 1",
    "with its folder": "shutil.rmtree(HERE / 'sub', ignore_errors=True)\nreturn 1",
    "by moving it": "(HERE / 'in.flag').rename(HERE / 'gone') if (HERE / 'in.flag').exists() else None\nreturn 1",
}


@pytest.mark.parametrize("body", REMOVES.values(), ids=REMOVES)
def test_a_file_that_a_step_removes_is_removed_again_when_it_has_come_back(bench: Bench, body: str) -> None:
    """A reused result removes nothing, and a later step would see the file."""
    _flow(bench, body, SEES)
    name = "sub/in.flag" if "sub" in body else "in.flag"
    for _ in range(3):
        _put(bench, name, "")
        assert bench.run().value == []
    bench.run()
    assert states(bench.run())["clear"] == "hit"


PASSING = {
    "of its own name": "p = HERE / 'work.tmp'\np.write_text('1')\nx = p.read_text()\np.unlink()\nreturn x",
    "in a folder of its own": "os.mkdir(HERE / 'work')\n(HERE / 'work/a').write_text('1')\nshutil.rmtree(HERE / 'work')\nreturn 1",
    "in folders of folders": "os.makedirs(HERE / 'a/b', exist_ok=True)\n(HERE / 'a/b/c').write_text('1')",
    "in folders of folders, by pathlib": "(HERE / 'a/b').mkdir(parents=True, exist_ok=True)\n(HERE / 'a/b/c').write_text('1')",
    "in a temporary folder": "with tempfile.TemporaryDirectory() as d:\n"
    "    p = Path(d, 'a')\n    p.write_text('1')\n    return p.read_text()",
    "in a temporary file": "with tempfile.NamedTemporaryFile('w') as f:\n    f.write('1')\nreturn 1",
    "that it appends to": "p = HERE / 'work.tmp'\nwith open(p, 'a') as f:\n    f.write('1')\nx = p.read_text()\nos.remove(p)\nreturn x",
    "that it renames": "(HERE / 't').write_text('1')\nos.replace(HERE / 't', HERE / 'o')\nreturn (HERE / 'o').read_text()",
    "in a folder that it empties": "shutil.rmtree(HERE / 'out', ignore_errors=True)\nos.mkdir(HERE / 'out')\n"
    "(HERE / 'out/a').write_text('1')",
}


@pytest.mark.parametrize("body", PASSING.values(), ids=PASSING)
def test_files_that_are_there_only_while_a_step_runs_do_not_keep_its_result_from_being_used(bench: Bench, body: str) -> None:
    """They are in the way of nobody."""
    _flow(bench, body)
    bench.run()
    assert states(bench.run()) == {"clear": "hit", "look": "hit"}
    _flow(bench, body + "\n# edited\nx = 1")
    assert bench.run()["clear"].why.startswith("its own code changed") or "return" in body
    assert states(bench.run()) == {"clear": "hit", "look": "hit"}


def test_a_folder_that_a_step_empties_may_hold_what_later_steps_write(bench: Bench) -> None:
    """Then each of them is a hit, also where the folder held something at first."""
    _put(bench, "out/old", "0")
    _flow(
        bench,
        "shutil.rmtree(HERE / 'out')\nos.mkdir(HERE / 'out')\n(HERE / 'out/a').write_text('1')",
        "(HERE / 'out/b').write_text('1')",
    )
    bench.run()
    assert states(bench.run()) == {"clear": "hit", "look": "hit"}


READS = {
    "by its path": "with open(HERE / 'log', 'a') as f:\n    f.write('x')\nreturn (HERE / 'log').read_text()",
    "its size": "with open(HERE / 'log', 'a') as f:\n    f.write('x')\nreturn os.path.getsize(HERE / 'log')",
    "through the same file": "with open(HERE / 'log', 'a+') as f:\n    f.write('x')\n    f.seek(0)\n    return f.read()",
    "in a folder that it made": "os.makedirs(HERE / 'd', exist_ok=True)\nwith open(HERE / 'd/log', 'a') as f:\n    f.write('x')\n"
    "return (HERE / 'd/log').read_text()",
    "of a logger": "handler = logging.FileHandler(HERE / 'log')\nhandler.emit(logging.makeLogRecord({'msg': 'x'}))\nhandler.close()\n"
    "return (HERE / 'log').read_text()",
}


@pytest.mark.parametrize("body", READS.values(), ids=READS)
def test_a_step_that_reads_what_it_has_appended_to_runs_each_time(bench: Bench, body: str) -> None:
    """The file is longer each time, also when it was not there at first; the run says so."""
    _flow(bench, body)
    values = []
    for _ in range(3):
        result = bench.run()
        values.append(result["clear"].load())
        assert "appended to" in result["clear"].why
    assert len({str(value) for value in values}) == 3


@pytest.mark.parametrize("opens", ["open(HERE / 'log', 'a')", "logging.FileHandler(HERE / 'log').stream"])
def test_a_step_runs_each_time_that_returns_the_path_of_what_it_has_appended_to(bench: Bench, opens: str) -> None:
    """A later step reads it."""
    _flow(bench, f"with {opens} as f:\n    f.write('x')\nreturn str(HERE / 'log')", "return Path(x).read_text()")
    assert [bench.run().value for _ in range(3)] == ["x", "xx", "xxx"]


@pytest.mark.parametrize("folder", ["", "logs/"])
def test_a_log_that_a_step_only_appends_to_does_not_count(bench: Bench, folder: str) -> None:
    """Neither what it held before nor what others append to it later."""
    _flow(
        bench,
        f"os.makedirs(HERE / '{folder}', exist_ok=True)\nhandler = logging.FileHandler(HERE / '{folder}log')\n"
        "handler.emit(logging.makeLogRecord({'msg': 'x'}))\nhandler.close()\nreturn 1",
    )
    bench.run()
    with (bench.project / folder / "log").open("a") as log:
        log.write("y")
    assert states(bench.run())["clear"] == "hit"


EMPTIED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "an empty folder": ("os.mkdir(HERE / 'out')", lambda project: (project / "out").rmdir()),
    "a link to a folder": (
        "(HERE / 'now').unlink(missing_ok=True)\nos.symlink(HERE / 'one', HERE / 'now')",
        lambda project: os.replace(project / "other", project / "now"),
    ),
    "a folder with a file": ("os.mkdir(HERE / 'out')\n(HERE / 'out/a').write_text('')", lambda project: shutil.rmtree(project / "out")),
}


@pytest.mark.parametrize(("body", "edit"), EMPTIED.values(), ids=EMPTIED)
def test_a_folder_or_link_that_a_step_made_must_still_be_there(bench: Bench, body: str, edit: Callable[[Path], None]) -> None:
    """Later steps write and read there."""
    for name in ("one/a", "two/a"):
        _put(bench, name, name)
    (bench.project / "other").symlink_to(bench.project / "two")
    _flow(bench, body)
    bench.run()
    assert states(bench.run())["clear"] == "hit"
    edit(bench.project)
    assert states(bench.run())["clear"] == "ran"
