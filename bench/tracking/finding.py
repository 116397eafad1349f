"""Finding runs among 20,000 with 8,000,000 points: a page of 100, by filter and order, the first and a deep one.

``python -m bench tracking-search`` asks in this process and through a server, in our words and in MLflow's; ``--peers`` asks
MLflow's own server the same, with the same runs and histories of one point. Each line tells the load average beside it: the
clock of a busy machine says little, CPU time says more.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.tracking import finding_data
from bench.tracking.finding_data import EXPERIMENTS, filled, made_runs
from plimsoll.records.tracking.experiment import ListExperiments
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.sdk.http import HttpDoor

RUNS, POINTS = 20_000, 100

#: Runs on a page, and how many pages there are at most before the deep one.
PAGE, DEEP = 100, 40

#: Times that each page is asked for.
TIMES = 40


@dataclass(frozen=True)
class Question:
    """What is searched for."""

    where: str = ""
    order: tuple[str, ...] = ()
    #: Whether only one of the experiments is searched.
    one: bool = False
    #: Whether MLflow's language has it.
    mlflow: bool = True


QUESTIONS = {
    "everything, newest first": Question(),
    "one experiment": Question(one=True),
    "ordered by a metric": Question(order=("metrics.loss ASC",)),
    "ordered by a param": Question(order=("params.lr DESC",)),
    "ordered by a tag, then a metric": Question(order=("tags.team ASC", "metrics.loss ASC")),
    "metric and param, ordered by the metric": Question("metrics.auc > 0.7 and params.depth = '5'", ("metrics.auc DESC",), one=True),
    "metric and param": Question("metrics.auc > 0.6 and params.optimizer = 'adam'"),
    "a rare metric": Question("metrics.auc > 0.95"),
    "a rare metric, ordered by another": Question("metrics.auc > 0.95", ("metrics.seconds DESC",)),
    "tag that begins with": Question("tags.`mlflow.source.git.commit` LIKE 'a%'"),
    "tag that contains": Question("tags.`mlflow.source.git.commit` LIKE '%ab%'", ("metrics.auc DESC",)),
    "four conditions, ordered by a metric": Question(
        "metrics.auc > 0.75 and tags.team = 'risk' and params.optimizer = 'sgd' and params.batch_size = '32'", ("metrics.seconds ASC",)
    ),
    "one param's only run": Question("params.seed = '1234'"),
    "or, not": Question("not (tags.stage = 'dev' or params.depth IN ('2', '3'))", ("metrics.auc DESC",), mlflow=False),
}

#: Asks for a page, its token or "" for the first, and returns the next one's.
Ask = Callable[[Question, str, int], str]


def main(peers: bool) -> None:
    """Measure and print one JSON line a question and way.

    Args:
        peers: also ask MLflow's server, installed for the run in an environment of its own.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder) / "home"
        begun = time.process_time()
        workspace = filled(home, RUNS, POINTS)
        size = sum(path.stat().st_size for path in home.glob("plimsoll.db*"))
        _tell(subject="data", runs=RUNS, points=RUNS * POINTS * len(finding_data.METRICS), cpu_s=time.process_time() - begun, mb=size / 1e6)
        owner = workspace.identify(workspace.token("owner"))
        ids = [each.id for each in workspace.do(ListExperiments(), owner) if each.name.startswith("team-")]
        _measured("plimsoll, in process", _through(lambda asked: workspace.do(asked, owner), ids), time.process_time)
        workspace.close()
        with _serving(home) as (url, pid):
            token = workspace.token("owner")
            door = HttpDoor(url, token)
            _measured("plimsoll, over HTTP", _through(door.do, ids), lambda: _cpu_of(pid))
            door.close()
            _measured("plimsoll, MLflow's protocol", _spoken(url, ids, token), lambda: _cpu_of(pid))
    if peers:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, _mlflow(Path(folder)) as (url, pid):
            _measured("mlflow", _spoken(url, [str(number + 1) for number in range(EXPERIMENTS)]), lambda: _cpu_of(pid), times=8)


def _tell(**told: Any) -> None:
    rounded = {name: round(value, 2) if isinstance(value, float) else value for name, value in told.items()}
    print(json.dumps(rounded | {"load": round(os.getloadavg()[0], 1)}), flush=True)


def _measured(subject: str, ask: Ask, cpu: Callable[[], float], times: int = TIMES) -> None:
    for name, question in QUESTIONS.items():
        if not question.mlflow and "lflow" in subject:
            continue
        # The last page may be short: the deep one has others behind it.
        tokens = ["", ask(question, "", PAGE)]
        while tokens[-1] and len(tokens) < DEEP + 1:
            tokens.append(ask(question, tokens[-1], PAGE))
        deep = tokens[-2] if tokens[-1] else tokens[-3] if len(tokens) > 2 else ""
        for page, begin in {"first": "", f"page {tokens.index(deep) + 1}": deep}.items():
            if begin or page == "first":
                _tell(subject=subject, question=name, page=page, **_times(lambda: ask(question, begin, PAGE), cpu, times))  # noqa: B023


def _times(once: Callable[[], Any], cpu: Callable[[], float], times: int) -> dict[str, float]:
    walls = []
    once()
    before = cpu()
    for _ in range(times):
        begun = time.perf_counter()
        once()
        walls.append(1e3 * (time.perf_counter() - begun))
    spent = 1e3 * (cpu() - before) / times
    walls.sort()
    return {"p50_ms": statistics.median(walls), "p95_ms": walls[math.ceil(0.95 * len(walls)) - 1], "cpu_ms": spent}


def _through(do: Callable[[SearchRuns], Any], ids: list[str]) -> Ask:
    def ask(question: Question, token: str, limit: int) -> str:
        some = tuple(ids[:1] if question.one else ids)
        page = do(SearchRuns(experiments=some, where=question.where, order=question.order, limit=limit, page=token or None))
        return page.next or ""

    return ask


def _spoken(url: str, ids: list[str], token: str = "") -> Ask:
    client = httpx.Client(base_url=url, timeout=60, headers={"authorization": f"Bearer {token}"} if token else {})

    def ask(question: Question, token: str, limit: int) -> str:
        some = ids[:1] if question.one else ids
        body = {"experiment_ids": some, "filter": question.where, "order_by": list(question.order), "max_results": limit}
        answer = client.post("/api/2.0/mlflow/runs/search", json=body | ({"page_token": token} if token else {}))
        answer.raise_for_status()
        return str(answer.json().get("next_page_token", ""))

    return ask


@contextmanager
def _serving(home: Path) -> Iterator[tuple[str, int]]:
    command = [sys.executable, "-m", "plimsoll.cli.app", "up", "--port", "0", "--serving-port", "0", "--home", str(home)]
    server = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        assert server.stdout is not None
        select.select([server.stdout], [], [], 60)
        yield server.stdout.readline().decode().strip(), server.pid
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@contextmanager
def _mlflow(folder: Path) -> Iterator[tuple[str, int]]:
    venv.create(folder / "env", with_pip=True)
    python = str(folder / "env" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "mlflow==3.17.2"], check=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(vars(row)) + "\n" for row in made_runs(RUNS)))
    (folder / "fill.py").write_text(_FILL)
    subprocess.run([python, "fill.py"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    port = 17_601
    command = [python, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///mlflow.db", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                httpx.get(f"{url}/health", timeout=1).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url, server.pid
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


#: Writes the same runs into MLflow's tables, made by MLflow; through its API 20,000 runs take half an hour.
_FILL = """
import json, sqlite3, uuid
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore("sqlite:///mlflow.db", "./artifacts")
ids = [store.create_experiment(f"team-{number}") for number in range(4)]
assert ids == ["1", "2", "3", "4"], ids
db = sqlite3.connect("mlflow.db")
def insert(table, rows):
    names = ", ".join(rows[0])
    db.executemany(f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + name for name in rows[0])})", rows)
for line in open("rows.jsonl"):
    row = json.loads(line)
    id, at = uuid.uuid4().hex, row["started"] // 1000
    insert("runs", [dict(run_uuid=id, name=row["name"], source_type="LOCAL", source_name="train.py", entry_point_name="", user_id="ada",
        status=row["state"].upper(), start_time=at, end_time=at + 50_000, source_version="", lifecycle_stage="active",
        artifact_uri=f"./artifacts/{id}", experiment_id=int(ids[row["experiment"]]))])
    points = [dict(key=key, value=value, timestamp=at, run_uuid=id, step=99, is_nan=False) for key, value in row["metrics"].items()]
    insert("latest_metrics", points)
    insert("metrics", points)
    insert("params", [dict(key=key, value=value, run_uuid=id) for key, value in row["params"].items()])
    insert("tags", [dict(key=key, value=value, run_uuid=id) for key, value in (row["tags"] | {"mlflow.runName": row["name"]}).items()])
db.commit()
"""


def _cpu_of(pid: int) -> float:
    """Return seconds of CPU of a process and of those that it began."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pid:
            # The process group: a server was begun with a session of its own.
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
