"""Finding runs among 20,000 with 8,000,000 points: a page of 100, by filter and order, the first and a deep one.

``python -m bench tracking-search`` asks in this process and through a server, in our words and in MLflow's, and then for whole
histories of single runs; ``--peers`` asks MLflow's own server the same, with the same runs. Its histories are whole where they are
asked for, and of one point elsewhere.

A first page is asked for by a filter that was not asked before, one space longer each time: whoever turns pages is answered sooner,
because the way to the runs of a question is remembered, and so deep pages are measured.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bench.tracking.finding_data import EXPERIMENTS, METRICS, POINTS, RUNS, WHOLE, fill_mlflow, filled
from bench.tracking.lines import most, tell, times
from bench.tracking.live import Server, cpu_of_group, mlflow, server
from plimsoll.records.run import GetSeries
from plimsoll.records.tracking.experiment import ListExperiments
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.sdk.http import HttpDoor

#: Runs on a page, and how many pages there are at most before the deep one.
PAGE, DEEP = 100, 40

#: Times that each page is asked for, and that a history is.
TIMES, HISTORIES = 40, 200

#: Milliseconds; where MLflow's server takes longer for a first answer, as it does for an order, it is asked once.
SLOW = 3000


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


class _Token(msgspec.Struct):
    """Of a page in MLflow's words what leads to the next one. What a client makes of the rest is its own time."""

    next_page_token: str = ""


_TOKEN = msgspec.json.Decoder(_Token)

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
        workspace = filled(home)
        size = sum(path.stat().st_size for path in home.glob("plimsoll.db*"))
        tell(
            {
                "subject": "data",
                "runs": RUNS,
                "points": RUNS * POINTS * len(METRICS),
                "cpu_s": time.process_time() - begun,
                "mb": size / 1e6,
            }
        )
        owner = workspace.identify(workspace.token("owner"))
        ids = [each.id for each in workspace.do(ListExperiments(), owner) if each.name.startswith("team-")]
        _pages("plimsoll, in process", _through(lambda asked: workspace.do(asked, owner), ids), time.process_time)
        workspace.close()
        with server(home) as ready:
            cpu = partial(cpu_of_group, ready.pid)
            door = HttpDoor(ready.url, ready.token)
            _pages("plimsoll, over HTTP", _through(door.do, ids), cpu)
            whole = _whole(door, ids)
            _histories("plimsoll, over HTTP", lambda run: len(door.do(GetSeries(run_id=run, name="loss")).values), whole, cpu)
            door.close()
            with _asking(ready) as client:
                _pages("plimsoll, MLflow's protocol", _spoken(client, ids), cpu)
                _histories("plimsoll, MLflow's protocol", partial(_history, client), whole, cpu)
    if peers:
        with mlflow(fill_mlflow) as (ready, _), _asking(ready) as client:
            cpu = partial(cpu_of_group, ready.pid)
            ids = [str(number + 1) for number in range(EXPERIMENTS)]
            _pages("mlflow", _spoken(client, ids), cpu, 8)
            _histories("mlflow", partial(_history, client), [f"{number:032x}" for number in WHOLE], cpu)


def _pages(subject: str, ask: Ask, cpu: Callable[[], float], number: int = TIMES) -> None:
    wanted = {"p95_ms": most(15)} if "HTTP" in subject or "protocol" in subject else None
    for name, question in QUESTIONS.items():
        if not question.mlflow and "lflow" in subject:
            continue
        # The first answer is told by itself: a new statement is compiled for it.
        begun = time.perf_counter()
        following = ask(question, "", PAGE)
        first = {"first_answer_ms": round(1e3 * (time.perf_counter() - begun), 2)}
        line = {"subject": subject, "question": name}
        if subject == "mlflow" and first["first_answer_ms"] > SLOW:
            tell(line | {"page": "first"} | first)
            continue
        # One long page leads to the deep one; who has fewer runs is gone through page by page, and the last may be short.
        deep, number_of = ask(question, "", PAGE * (DEEP - 1)) if following else "", DEEP
        if not deep:
            tokens = ["", following]
            while tokens[-1]:
                tokens.append(ask(question, tokens[-1], PAGE))
            deep, number_of = (tokens[-3], len(tokens) - 2) if len(tokens) > 3 else ("", 0)
        anew = partial(_anew, ask, question, itertools.count(1))
        tell(line | {"page": "first"} | first | times(anew, number, cpu), wanted)
        if deep:
            page = {"page": f"page {number_of}"}
            tell(line | page | times(partial(ask, question, deep, PAGE), number, cpu), wanted)


def _anew(ask: Ask, question: Question, spaces: Iterator[int]) -> str:
    return ask(replace(question, where=f"{question.where}{' ' * next(spaces)}" if question.where else ""), "", PAGE)


def _histories(subject: str, ask: Callable[[str], int], whole: list[str], cpu: Callable[[], float]) -> None:
    """Ask for whole histories, of one run after the other."""
    waiting = iter(whole * (HISTORIES // len(whole) + 2))

    def once() -> None:
        found = ask(next(waiting))
        assert found == POINTS, found

    wanted = {"p95_ms": most(3)} if subject != "mlflow" else None
    tell({"subject": subject, "question": f"a history of {POINTS} points"} | times(once, HISTORIES, cpu), wanted)


def _whole(door: HttpDoor, ids: list[str]) -> list[str]:
    """Return the ids of the runs whose histories are asked for."""
    seeds = ", ".join(f"'{number}'" for number in WHOLE)
    page = door.do(SearchRuns(experiments=tuple(ids), where=f"params.seed IN ({seeds})", limit=len(WHOLE)))
    return [detail.run.id for detail in page.runs]


def _through(do: Callable[[SearchRuns], Any], ids: list[str]) -> Ask:
    def ask(question: Question, token: str, limit: int) -> str:
        some = tuple(ids[:1] if question.one else ids)
        page = do(SearchRuns(experiments=some, where=question.where, order=question.order, limit=limit, page=token or None))
        return page.next or ""

    return ask


@contextmanager
def _asking(ready: Server) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {ready.token}"} if ready.token else {}
    with httpx.Client(base_url=ready.url, timeout=600, headers=headers) as client:
        yield client


def _spoken(client: httpx.Client, ids: list[str]) -> Ask:
    def ask(question: Question, token: str, limit: int) -> str:
        some = ids[:1] if question.one else ids
        body = {"experiment_ids": some, "filter": question.where, "order_by": list(question.order), "max_results": limit}
        answer = client.post("/api/2.0/mlflow/runs/search", json=body | ({"page_token": token} if token else {}))
        answer.raise_for_status()
        return _TOKEN.decode(answer.content).next_page_token

    return ask


def _history(client: httpx.Client, run: str) -> int:
    answer = client.get("/api/2.0/mlflow/metrics/get-history", params={"run_id": run, "metric_key": "loss", "max_results": 25_000})
    answer.raise_for_status()
    return len(answer.json()["metrics"])
