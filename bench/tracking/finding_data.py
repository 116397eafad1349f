"""What is searched: runs as a team leaves them behind, the same for Plimsoll and for its peer."""

from __future__ import annotations

import json
import math
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert

from plimsoll import clock
from plimsoll.records.run import PointColumns
from plimsoll.records.tracking.experiment import CreateExperiment
from plimsoll.runs.described import insert_params, put_tags
from plimsoll.store.tables.tracking import runs
from plimsoll.workspace import WORKER, Workspace, open_workspace

#: Experiments; each has as many runs as the others.
EXPERIMENTS = 4

RUNS, POINTS = 20_000, 100

#: Runs whose whole histories are asked for.
WHOLE = range(0, RUNS, 500)

METRICS = ("auc", "loss", "val_loss", "seconds")

#: UTC microseconds of the first run's start.
_FIRST = 1_760_000_000_000_000


@dataclass(frozen=True)
class Made:
    """One run."""

    number: int
    experiment: int
    name: str
    state: str
    started: int
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def made_runs() -> Iterator[Made]:
    """Return runs, always the same ones, the oldest first."""
    luck = random.Random(23)
    for number in range(RUNS):
        depth, rate = luck.randint(2, 9), 10 ** luck.uniform(-4, -1)
        auc = min(0.999, max(0.5, luck.gauss(0.75, 0.1)))
        yield Made(
            number=number,
            experiment=number % EXPERIMENTS,
            name=f"{luck.choice(('brave', 'calm', 'eager', 'quiet'))}-{luck.choice(('heron', 'otter', 'raven', 'seal'))}-{number % 1000}",
            state="failed" if number % 20 == 7 else "finished",
            started=_FIRST + number * 60_000_000,
            metrics={
                "auc": auc, "loss": -math.log(auc), "val_loss": -math.log(auc) + luck.uniform(0, 0.1), "seconds": luck.uniform(5, 500),
            },
            params={
                "depth": str(depth), "lr": f"{rate:.6f}", "optimizer": luck.choice(("adam", "sgd", "rmsprop")), "seed": str(number),
                "batch_size": luck.choice(("32", "64", "128")), "dropout": f"{luck.uniform(0, 0.5):.3f}",
                "features": "age,income,region,channel", "data.version": f"v{number // 500}",
            },
            tags={
                "team": luck.choice(("risk", "ads", "search", "supply", "fraud")), "stage": luck.choice(("dev", "dev", "dev", "candidate")),
                "mlflow.user": luck.choice(("ada", "grace", "alan", "edsger")), "mlflow.source.name": "train.py",
                "mlflow.source.type": "LOCAL", "mlflow.source.git.commit": f"{luck.getrandbits(160):040x}",
            },
        )  # fmt: skip


def filled(home: Path) -> Workspace:
    """Return a new home with runs in it, written by the store's own functions.

    Args:
        home: a folder that is not there yet.
    """
    workspace = open_workspace(home)
    owner = workspace.identify(workspace.token("owner"))
    experiments = [workspace.do(CreateExperiment(name=f"team-{number}"), owner).id for number in range(EXPERIMENTS)]
    steps, times = tuple(range(POINTS)) * len(METRICS), tuple(_FIRST + step * 1_000_000 for step in range(POINTS)) * len(METRICS)
    names = tuple(name for name in METRICS for _ in range(POINTS))
    blank = {"author": owner.name, "cause": {"kind": "person", "id": ""}, "code": {}, "environment": None}
    rows = made_runs()
    while some := [row for _, row in zip(range(500), rows, strict=False)]:
        with workspace.stores.database.write(durable=False) as tx:
            for row in some:
                id = clock.new_id()
                own = {"name": row.name, "state": row.state, "started": row.started, "ended": row.started + 50_000_000}
                tx.execute(insert(runs).values(id=id, experiment_id=experiments[row.experiment], **own, **blank))
                insert_params(tx, id, dict(row.params))
                put_tags(tx, id, row.tags)
                values = tuple(value * (2 - step / (POINTS - 1)) for value in row.metrics.values() for step in range(POINTS))
                workspace.stores.points.append(tx, id, WORKER.name, 1, PointColumns(names=names, steps=steps, times=times, values=values))
    return workspace


def fill_mlflow(folder: Path, python: str) -> None:
    """Write the same runs into MLflow's tables; through its API they would take half an hour.

    Args:
        folder: where ``mlflow.db`` is made.
        python: of an environment that has MLflow.
    """
    with (folder / "rows.jsonl").open("w") as file:
        for row in made_runs():
            steps = range(POINTS) if row.number in WHOLE else range(POINTS - 1, POINTS)
            file.write(json.dumps(vars(row) | {"id": f"{row.number:032x}", "steps": list(steps)}) + "\n")
    (folder / "fill.py").write_text(_FILL)
    subprocess.run([python, "fill.py"], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


_FILL = """
import json, sqlite3
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
    id, at, steps = row["id"], row["started"] // 1000, row["steps"]
    insert("runs", [dict(run_uuid=id, name=row["name"], source_type="LOCAL", source_name="train.py", entry_point_name="", user_id="ada",
        status=row["state"].upper(), start_time=at, end_time=at + 50_000, source_version="", lifecycle_stage="active",
        artifact_uri=f"./artifacts/{id}", experiment_id=int(ids[row["experiment"]]))])
    points = [
        dict(key=key, value=value * (2 - step / 99), timestamp=at + 1000 * step, run_uuid=id, step=step, is_nan=False)
        for key, value in row["metrics"].items() for step in steps
    ]
    insert("latest_metrics", [point for point in points if point["step"] == steps[-1]])
    insert("metrics", points)
    insert("params", [dict(key=key, value=value, run_uuid=id) for key, value in row["params"].items()])
    insert("tags", [dict(key=key, value=value, run_uuid=id) for key, value in (row["tags"] | {"mlflow.runName": row["name"]}).items()])
db.commit()
"""
