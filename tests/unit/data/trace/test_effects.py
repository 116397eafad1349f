"""What another run need not repeat alike is told, and what is mere housekeeping is not."""

from __future__ import annotations

import random
import socket
import sys
import threading
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import numpy as np
import pytest

from tests.unit.pipelines.bench import Bench, states

_HEAD = """
import datetime, os, platform, random, secrets, socket, subprocess, sys, tempfile, time, uuid
from pathlib import Path
import numpy as np, pandas as pd, polars as pl
from plimsoll import pipeline, step
HERE = Path(__file__).parent
"""

EFFECTS = [
    ("return subprocess.run(['true']).returncode", "ran another program (true)"),
    ("return os.system('true')", "ran another program (true)"),
    ("pid = os.posix_spawn('/bin/true', ['true'], os.environ)\nreturn os.waitpid(pid, 0)[1]", "ran another program (true)"),
    ("return time.time()", "read the clock (time.time"),
    ("return str(datetime.datetime.now())", "read the clock (datetime.now)"),
    ("return str(datetime.date.today())", "read the clock (date.today)"),
    ("return str(pd.Timestamp.now())", "read the clock (pandas"),
    ("return str(np.datetime64('now'))", "read the clock (datetime64)"),
    ("return time.localtime().tm_year", "read the clock (time.localtime)"),
    ("return time.strftime('%Y')", "read the clock (time.strftime)"),
    ("return os.urandom(2).hex()", "drew random numbers from the system (os.urandom)"),
    ("return str(uuid.uuid4())", "drew random numbers from the system (uuid.uuid4)"),
    ("return secrets.token_hex(2)", "drew random numbers from the system (secrets.token_hex)"),
    ("return random.SystemRandom().random()", "drew random numbers from the system (random.random)"),
    ("return random.Random().random()", "drew random numbers from the system (random."),
    ("return float(np.random.default_rng().random())", "without a seed)"),
    ("from scipy.stats import qmc\nreturn qmc.Sobol(2).random(2).tolist()", "numpy.random.default_rng without"),
    ("random.seed()\nreturn random.random()", "drew random numbers from the system (random.seed)"),
]
HARMLESS = [
    "return time.perf_counter() - time.perf_counter() < 1",
    "return str(datetime.datetime(2020, 1, 1))",
    "return time.strftime('%Y', time.gmtime(0))",
    "return float(np.random.default_rng(1).random())",
    "return random.Random(1).random()",
    "return random.random() + float(np.random.rand())",
    "return int(pl.DataFrame({'a': [1, 2, 3, 4, 5, 6]}).sample(fraction=1, shuffle=True)['a'][0])",
    "with tempfile.TemporaryDirectory() as made:\n    (Path(made) / 'x').write_text('1')\n    return (Path(made) / 'x').read_text()",
    "(HERE / 'out.txt').write_text('1')\nreturn (HERE / 'out.txt').read_text()",
    "import sqlite3\nsqlite3.connect(':memory:').close()",
    "from sklearn.linear_model import LogisticRegression\nreturn float(LogisticRegression().fit([[0.0], [1.0]], [0, 1]).coef_[0][0])",
    "from sklearn.ensemble import BaggingRegressor\nreturn BaggingRegressor(random_state=0).fit([[0.0], [1.0]], [0, 1]).n_features_in_",
    "from scipy.stats import norm, qmc\nreturn [float(norm.rvs(random_state=1)), *qmc.Sobol(2, seed=1).random(1)[0]]",
    "return pd.Series(range(9)).sample(2, random_state=3).tolist() + pd.Series(range(9)).sample(2).tolist()",
    "return len(os.environ['PATH']) > 0",
]


def _write(bench: Bench, body: str, head: str = _HEAD) -> None:
    bench.write("pipe.py", f"{head}\n@step\ndef look():\n{indent(body, '    ')}\n\n@pipeline\ndef flow():\n    return look()\n")


@pytest.mark.parametrize(("body", "effect"), EFFECTS, ids=[effect for _, effect in EFFECTS])
def test_a_step_that_another_run_need_not_repeat_alike_is_not_kept_and_says_why(bench: Bench, body: str, effect: str) -> None:
    """It runs in every run."""
    _write(bench, body)
    result = bench.run()
    assert "not kept for later runs, because it " in result["look"].why
    assert effect in result["look"].why
    assert states(bench.run()) == {"look": "ran"}


@pytest.mark.parametrize("body", HARMLESS)
def test_housekeeping_is_no_reason_to_run_again(bench: Bench, body: str) -> None:
    """Durations, seeded draws, files of the step's own and what libraries ask of the machine are no effects."""
    _write(bench, body)
    first = bench.run()
    assert "not kept" not in first["look"].why
    second = bench.run()
    assert states(second) == {"look": "hit"}, second["look"].why
    assert second.value == first.value


def test_a_connection_makes_a_step_uncacheable_unless_it_is_declared(bench: Bench) -> None:
    """``cache="forever"`` takes the risk knowingly."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        body = f"with socket.create_connection(('127.0.0.1', {port})):\n    return 1"
        _write(bench, body)
        assert f"opened a network connection (127.0.0.1:{port})" in bench.run()["look"].why
        assert states(bench.run()) == {"look": "ran"}
        source = (bench.project / "pipe.py").read_text()
        bench.write("pipe.py", source.replace("@step", "@step(cache='forever')"))
        assert states(bench.run()) == {"look": "ran"}
        assert states(bench.run()) == {"look": "hit"}


def test_a_step_that_gives_work_to_joblibs_processes_is_reused_where_that_is_declared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the folder that joblib names after the process counts, nor all the variables that it hands on to its own."""
    body = (
        "from joblib import Parallel, delayed\nfrom joblib.externals.loky import get_reusable_executor\n"
        "found = Parallel(n_jobs=2, max_nbytes=100)(delayed(np.sum)(np.arange(n * 1000)) for n in (1, 2))\n"
        "get_reusable_executor().shutdown()\nreturn [int(each) for each in found]"
    )
    _write(bench, body)
    source = (bench.project / "pipe.py").read_text()
    bench.write("pipe.py", source.replace("@step", "@step(cache='forever')"))
    first = bench.run(executor="processes")
    monkeypatch.setenv("OF_THIS_TERMINAL", "2")
    second = bench.run(executor="processes")
    assert states(second) == {"look": "hit"}, second["look"].why
    assert second.value == first.value == [499500, 1999000]


def test_unseeded_draws_repeat_in_every_process_and_leave_the_callers_generators_alone(bench: Bench) -> None:
    """The global generators are set from the step's name and arguments, and put back afterwards."""
    _write(bench, "return [random.random(), float(np.random.rand())]")
    random.seed(5)
    np.random.seed(5)
    expected = [random.random(), float(np.random.rand())]
    random.seed(5)
    np.random.seed(5)
    here = bench.run().value
    assert [random.random(), float(np.random.rand())] == expected
    source = (bench.project / "pipe.py").read_text()
    bench.write("pipe.py", source.replace("@step", "@step(cache=False)"))
    assert bench.run(executor="processes").value == here != expected


def test_a_file_that_the_step_reads_and_rewrites_makes_it_uncacheable(bench: Bench) -> None:
    """Its result depends on something that is no longer there."""
    bench.write("n.txt", "1")
    _write(bench, "n = int((HERE / 'n.txt').read_text())\n(HERE / 'n.txt').write_text(str(n + 1))\nreturn n")
    assert "read and rewrote n.txt" in bench.run()["look"].why
    assert bench.run().value == 2


def test_a_file_that_somebody_else_changes_while_the_step_runs_makes_it_uncacheable(bench: Bench) -> None:
    """What was read cannot be told any more."""
    bench.write("n.txt", "1")
    body = (
        "import multiprocessing\nn = (HERE / 'n.txt').read_text()\n"
        "os.utime(HERE / 'n.txt', ns=(1, 1))\nos.rename(HERE / 'other.txt', HERE / 'n.txt')\nreturn n"
    )
    bench.write("other.txt", "2")
    _write(bench, body)
    assert "n.txt" in bench.run()["look"].why


def test_what_threads_of_a_notebook_do_by_themselves_does_not_count_in_process(bench: Bench) -> None:
    """A loop of an installed package, such as the one that keeps a notebook's history, works for nobody else."""
    bench.write("mine.txt", "1")
    bench.write("other.txt", "1")
    go, done, stop = threading.Event(), threading.Event(), threading.Event()
    sys._plimsoll_test = (go, done)  # type: ignore[attr-defined]

    loop = """
    def other(go, done, stop, path):
        while not stop.is_set():
            if go.wait(0.05):
                path.read_text()
                done.set()
    """
    named: dict[str, Any] = {}
    exec(compile(dedent(loop), str(Path(pytest.__file__)), "exec"), named)
    thread = threading.Thread(target=named["other"], args=(go, done, stop, bench.project / "other.txt"))
    thread.start()
    try:
        _write(
            bench,
            "import threading\nfound = []\n"
            "def read():\n    found.append((HERE / 'mine.txt').read_text())\n"
            "thread = threading.Thread(target=read)\nthread.start()\nthread.join()\n"
            "go, done = getattr(sys, '_plimsoll_test')\ngo.set()\ndone.wait(60)\nreturn found",
        )
        bench.run()
        bench.write("other.txt", "2")
        assert states(bench.run()) == {"look": "hit"}
        bench.write("mine.txt", "2")
        assert bench.run()["look"].why == "file mine.txt changed"
    finally:
        stop.set()
        thread.join()
        del sys._plimsoll_test  # type: ignore[attr-defined]


def test_a_template_counts_by_its_files(bench: Bench) -> None:
    """jinja2 makes code of them, which no key can see."""
    bench.write(
        "pipe.py",
        """
        from pathlib import Path
        import jinja2
        from plimsoll import pipeline, step

        @step
        def render(value):
            pages = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent))
            return pages.get_template("page.txt").render(value=value)

        @pipeline
        def flow():
            return render(3)
        """,
    )
    bench.write("base.txt", "{% block whole %}{% endblock %}!")
    bench.write("part.txt", "x")
    bench.write("page.txt", "{% extends 'base.txt' %}{% block whole %}{{ value }}{% include 'part.txt' %}{% endblock %}")
    assert bench.run().value == "3x!"
    assert states(bench.run()) == {"render": "hit"}
    for name, text, value in (
        ("part.txt", "y", "3y!"),
        ("base.txt", "{% block whole %}{% endblock %}?", "3y?"),
        ("page.txt", "{% extends 'base.txt' %}{% block whole %}{{ value * 2 }}{% include 'part.txt' %}{% endblock %}", "6y?"),
    ):
        bench.write(name, text)
        result = bench.run()
        assert result.value == value
        assert result["render"].why.startswith(f"file {name}")
