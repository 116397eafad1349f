"""``mlflow.autolog()`` in a run of Plimsoll and in a step logs into that run, with no configuration."""

from __future__ import annotations

import os

import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression
from work import fits

import plimsoll
from plimsoll.records.run import GetRun

chance = np.random.default_rng(1)
rows = chance.normal(size=(80, 3))
labels = (rows[:, 0] > 0).astype(int)
door = plimsoll.connect()
before = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}

mlflow.autolog(silent=True)
with plimsoll.run(door=door, experiment="book", params={"kind": "small"}) as run:
    fitted = LogisticRegression(C=0.5).fit(rows, labels)
    mlflow.log_metric("mine", 3.0)
    assert mlflow.active_run().info.run_id == run.id
    # What was logged a moment ago is there to be asked for.
    assert mlflow.MlflowClient().get_run(run.id).data.metrics["mine"] == 3.0
    model = "runs:/" + run.id + "/model" if mlflow.__version__ < "3" else mlflow.last_logged_model().model_uri
    assert (mlflow.sklearn.load_model(model).predict(rows) == fitted.predict(rows)).all()
assert mlflow.active_run() is None
assert {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")} == before
found = door.do(GetRun(id=run.id))
assert (found.run.state, found.run.params["kind"], found.run.params["C"]) == ("finished", "small", "0.5")
assert found.run.tags["estimator_name"] == "LogisticRegression"
assert {"mine", "training_accuracy_score"} <= {each.name for each in found.metrics}
assert found.datasets

mlflow.autolog(disable=True)
runs = [plimsoll.run(fits, door=door, executor="in_process") for _ in range(2)]
assert [result["train"].state for result in runs] == ["ran", "hit"], [result["train"].why for result in runs]
first, second = (door.do(GetRun(id=result.id)) for result in runs)
assert second.run.params == first.run.params
assert second.run.params["C"] == "0.5"
assert [(each.name, each.last, each.count) for each in second.metrics] == [(each.name, each.last, each.count) for each in first.metrics]
assert {each.name for each in second.artifacts} == {each.name for each in first.artifacts} >= {"notes/a.txt", "estimator.html"}
assert second.datasets == first.datasets
