"""Steps that share a process meet what others have left there; none of it is kept under a key that does not tell of it."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from plimsoll.pipelines.running import execute
from tests.unit.pipelines.bench import Bench, states

MEMO = """
import functools
from pathlib import Path
from plimsoll import pipeline, step

@functools.lru_cache(1)
def settings():
    return Path(__file__).with_name("settings.txt").read_text()

class Store:
    @staticmethod
    @functools.cache
    def more():
        return Path(__file__).with_name("more.txt").read_text()

@step
def first():
    return settings() + Store.more()

@step
def second(before):
    return [before, settings(), Store.more()]

@pipeline
def flow():
    settings()
    return second(first())
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_what_a_function_keeps_counts_for_each_step_that_reads_it_and_not_only_for_the_first(bench: Bench, executor: str) -> None:
    """Settings that are read once, by whichever comes first: an earlier step, or the plan."""
    bench.write("settings.txt", "a")
    bench.write("more.txt", "x")
    bench.write("pipe.py", MEMO)
    assert bench.run(executor=executor).value == ["ax", "a", "x"]
    assert states(bench.run(executor=executor)) == {"first": "hit", "second": "hit"}
    for name, text, value in (("settings.txt", "b", ["bx", "b", "x"]), ("more.txt", "y", ["by", "b", "y"])):
        bench.write(name, text)
        result = bench.run(executor=executor)
        assert result.value == value
        assert f"file {name} changed" in result["second"].why
        # Back and forth: what is kept is looked up for what is there.
    bench.write("settings.txt", "a")
    assert bench.run(executor=executor).value == ["ay", "a", "y"]


KEPT_BY_IMPORT = """
import functools
from pathlib import Path
from plimsoll import pipeline, step

TIMES = 1

@functools.cache
def scale(name):
    return TIMES, Path(__file__).with_name(name).read_text()

scale("one.txt")
TIMES = 7

@step
def first():
    return scale("two.txt")

@step
def second(before):
    return [before, scale("one.txt")]

@step
def third(before):
    return [*before, scale("two.txt")]

@pipeline
def flow():
    return third(second(first()))
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_what_an_import_keeps_stays(bench: Bench, executor: str) -> None:
    """What it keeps differs from what the function would give now, so it is neither emptied nor reused where a step has kept more."""
    bench.write("one.txt", "a")
    bench.write("two.txt", "x")
    bench.write("pipe.py", KEPT_BY_IMPORT)
    whole = [(7, "x"), (1, "a"), (7, "x")]
    result = bench.run(executor=executor)
    assert result.value == whole
    alone = executor == "processes"
    assert alone or "took what scale has kept by functools.cache" in result["third"].why
    again = bench.run(executor=executor)
    assert again.value == whole
    assert states(again) == {"first": "hit", "second": "hit" if alone else "ran", "third": "hit" if alone else "ran"}
    bench.write("pipe.py", KEPT_BY_IMPORT.replace("TIMES = 1", "TIMES = 2"))
    assert bench.run(executor=executor).value == [(7, "x"), (2, "a"), (7, "x")]


LAZY = """
from pathlib import Path
from plimsoll import pipeline, step

DATA = None
_kept = {}

def read():
    global DATA
    if DATA is None:
        DATA = Path(__file__).with_name("one.txt").read_text()
    if "two" not in _kept:
        _kept["two"] = Path(__file__).with_name("two.txt").read_text()
    return DATA + _kept["two"]

@step
def first():
    return read()

@step
def second(before):
    return [before, read()]

@step
def third(before):
    return len(before)

@pipeline
def flow():
    return third(second(first())), second(first())
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_a_global_that_an_earlier_step_has_filled_poisons_nothing(bench: Bench, executor: str) -> None:
    """What the second step takes from there it has not read, so its result says nothing of the files."""
    bench.write("one.txt", "a")
    bench.write("two.txt", "x")
    bench.write("pipe.py", LAZY)
    result = bench.run(executor=executor)
    assert result.value == (2, ["ax", "ax"])
    if executor == "in_process":
        assert "because it met what an earlier step has changed (constant DATA: None -> 'a'" in result["second"].why
    assert result["third"].why == "it has no earlier result"
    for name, text, value in (("one.txt", "b", "bx"), ("two.txt", "y", "by")):
        bench.write(name, text)
        for asked in ("processes", executor):
            assert bench.run(executor=asked).value == (2, [value, value])


def test_steps_of_runs_that_overlap_in_one_process_are_not_kept(bench: Bench) -> None:
    """They share the seeded generators: what they draw is nobody's to draw again."""
    bench.write(
        "pipe.py",
        """
        import random, threading, time
        from plimsoll import pipeline, step

        @step
        def draw(n):
            found = []
            for _ in range(10):
                found.append(random.random())
                time.sleep(0.01)
            return found

        @pipeline
        def flow(n=0):
            return draw(n)
        """,
    )
    kept = bench.run(executor="in_process", n=7)
    # Imported once: a bench that imports its project afresh takes it from the others.
    flow = bench.load()
    shared = {"do": bench.do, "blobs": bench.workspace.stores.blobs, "project": bench.project, "executor": "in_process"}
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda n: execute(flow, {"n": n}, **shared), range(3)))
    for result in results:
        assert "ran while a step of another run did in this process" in result["draw"].why
    assert states(bench.run(executor="in_process", n=7)) == {"draw": "hit"}
    for n in range(3):
        again = bench.run(n=n)
        assert states(again) == {"draw": "ran"}
        assert bench.run(executor="in_process", n=n).value == again.value != kept.value


SHOWN = """
import numpy as np, pandas as pd
from plimsoll import pipeline, step

@step
def plain():
    return pd.array(["x"], dtype="string").dtype.storage

@step
def text():
    return str(np.array([1 / 3])), pd.Series([1 / 3]).to_string()

@pipeline
def flow():
    return plain(), text()
"""


@pytest.mark.parametrize("executor", ["in_process", "processes"])
def test_how_tables_are_shown_counts_where_text_is_made_and_other_options_everywhere(bench: Bench, executor: str) -> None:
    """Set by a notebook's cell, say: nothing of the step's code leads there."""
    bench.write("pipe.py", SHOWN)
    bench.run(executor=executor)
    hits = {"plain": "hit", "text": "hit"}
    with pd.option_context("display.precision", 2):
        result = bench.run(executor=executor)
        assert states(result) == hits | {"text": "ran"}
        assert "0.33" in result.value[1][1]
        assert "pandas' text" in result["text"].why
    assert states(bench.run(executor=executor)) == hits
    with pd.option_context("mode.string_storage", "python"):
        again = bench.run(executor=executor)
        assert states(again) == {"plain": "ran", "text": "ran"}
        assert (again.value[0], result.value[0]) == ("python", "pyarrow")
    assert states(bench.run(executor=executor)) == hits
    with np.printoptions(precision=2):
        assert bench.run(executor=executor).value[1][0] == "[0.33]"
    assert states(bench.run(executor=executor)) == hits


#: How an installed package has work done in threads that it keeps.
THREADS = {
    "a pool": "import concurrent.futures as f\nPOOL = f.ThreadPoolExecutor(1)\ndef have(*work): return POOL.submit(*work).result()",
    "multiprocessing's": "from multiprocessing.pool import ThreadPool\nPOOL = ThreadPool(1)\n"
    "def have(work, given): return POOL.apply(work, [given])\n"
    "end = POOL.terminate",
    "a loop of events": "import asyncio, threading\nLOOP = asyncio.new_event_loop()\n"
    "THREAD = threading.Thread(target=LOOP.run_forever)\nTHREAD.start()\nasync def later(work): return work[0](*work[1:])\n"
    "def have(*work): return asyncio.run_coroutine_threadsafe(later(work), LOOP).result()\n"
    "def end():\n    LOOP.call_soon_threadsafe(LOOP.stop)\n    THREAD.join()\n    LOOP.close()",
    "one that Python does not list": "import _thread, queue\nASKED, GIVEN = queue.Queue(), queue.Queue()\n"
    "def loop():\n    while True:\n        work = ASKED.get()\n        GIVEN.put(work[0](*work[1:]))\n"
    "_thread.start_new_thread(loop, ())\ndef have(*work):\n    ASKED.put(work)\n    return GIVEN.get()",
    "the package's own": "import threading, queue\nASKED, GIVEN = queue.Queue(), queue.Queue()\n"
    "def loop():\n    while True:\n        work = ASKED.get()\n        GIVEN.put(work[0](*work[1:]))\n"
    "threading.Thread(target=loop, daemon=True).start()\ndef have(*work):\n    ASKED.put(work)\n    return GIVEN.get()",
    "polars's": "import polars as pl\ndef have(work, number):\n"
    "    one = [pl.col('n').map_elements(work, return_dtype=pl.String).alias(str(at)) for at in range(8)]\n"
    "    return pl.DataFrame({'n': [number]}).with_columns(one)['7'][0]",
}


@pytest.mark.parametrize("way", THREADS)
def test_what_threads_that_a_package_keeps_read_for_a_step_counts(
    bench: Bench, way: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """An earlier step has begun them, and they work for whoever asks."""
    # Not where the bench takes a test's modules for those of its project.
    folder = tempfile.TemporaryDirectory()
    request.addfinalizer(folder.cleanup)
    home = Path(folder.name) / "site-packages"
    (home / "tinywork-1.dist-info").mkdir(parents=True)
    (home / "tinywork-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tinywork\nVersion: 1\n")
    (home / "tinywork-1.dist-info" / "RECORD").write_text("tinywork.py,,\n")
    (home / "tinywork.py").write_text(THREADS[way])
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.delitem(sys.modules, "tinywork", raising=False)
    bench.write(
        "pipe.py",
        """
        from pathlib import Path
        import tinywork
        from plimsoll import pipeline, step

        def text(number):
            return Path(__file__).with_name(f"{number}.txt").read_text()

        @step(cache=False)
        def first():
            return tinywork.have(text, 1)

        @step
        def second(before):
            return tinywork.have(text, 2)

        @pipeline
        def flow():
            return second(first())
        """,
    )
    bench.write("1.txt", "1")
    bench.write("2.txt", "a")
    assert bench.run().value == "a"
    bench.write("2.txt", "b")
    result = bench.run()
    assert (result.value, result["second"].why) == ("b", "file 2.txt changed")
    assert states(bench.run()) == {"first": "ran", "second": "hit"}
    getattr(sys.modules["tinywork"], "end", int)()
