"""Fill a place with some of everything that is moved in, by MLflow's own client.

Arguments: the address of the place, and a mark for its names.
"""

import os
import sys

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

PLACE, MARK = sys.argv[1:]
MODEL = f"late-{MARK}"
BEFORE_3 = mlflow.__version__ < "3"


class Echo(mlflow.pyfunc.PythonModel):
    """A model that answers what it is asked."""

    def predict(self, context, model_input, params=None):
        """Return the input."""
        return model_input


def run(client, experiment, number):
    """A run with histories, params, tags and files."""
    id = client.create_run(experiment, start_time=1700000000000 + number, tags={"mlflow.user": "ann"}, run_name=f"try {number}").info.run_id
    for step in range(20):
        client.log_metric(id, "loss", 1 / (step + 1), timestamp=1700000001000 + step, step=step)
    odd = [(float("nan"), 0), (float("inf"), 1), (float("-inf"), 2), (1e-310, 2), (2.0, 2), (3.0, -7)]
    points = [Metric("odd", value, 1700000000500 + at, step) for at, (value, step) in enumerate(odd)]
    params = [Param("depth", str(number)), Param("text", "a\nb = 'ü'"), Param("empty", "")]
    client.log_batch(id, points, params, [RunTag("mlflow.note.content", "# note\n")])
    # The last one is not the latest.
    for value, time in ((0.5, 1700000002000), (0.7, 1700000001000)):
        client.log_metric(id, "val/auc", value, timestamp=time, step=5)
    client.log_text(id, "hello", "notes/hello.txt")
    client.log_dict(id, {"a": number}, "plots/deep/a.json")
    return id


def models(client, frame):
    """A registered model with versions, one of them deleted, a stage, an alias, tags and texts."""
    mlflow.set_experiment(f"late arrivals {MARK}")
    with mlflow.start_run(run_name="with model") as made:
        where = {"artifact_path": "model"} if BEFORE_3 else {"name": "model"}
        logged = mlflow.pyfunc.log_model(python_model=Echo(), registered_model_name=MODEL, pip_requirements=[], **where)
        if not BEFORE_3:
            mlflow.log_metric("auc", 0.9, model_id=logged.model_id, dataset=frame)
    source = f"runs:/{made.info.run_id}/model" if BEFORE_3 else f"models:/{logged.model_id}"
    client.create_model_version(MODEL, source, made.info.run_id, description="second\nline")
    client.create_model_version(MODEL, source, made.info.run_id, tags={"t": "1"})
    client.delete_model_version(MODEL, "2")
    client.update_registered_model(MODEL, "a: description\n- with 'yaml'")
    client.set_registered_model_tag(MODEL, "owner", "ann")
    client.set_registered_model_alias(MODEL, "champion", "3")
    client.transition_model_version_stage(MODEL, "1", "Staging")


def main():
    """Fill it."""
    mlflow.set_tracking_uri(PLACE)
    mlflow.set_registry_uri(PLACE)
    client = MlflowClient(PLACE, PLACE)
    late = client.create_experiment(f"late arrivals {MARK}", tags={"team": "x", "mlflow.note.content": "two\nlines"})
    old = client.create_experiment(f"old one {MARK}")
    first, second, _ = (run(client, late, number) for number in range(3))
    client.set_terminated(first, "FINISHED", end_time=1700000009000)
    client.set_terminated(second, "KILLED", end_time=1700000009001)
    client.delete_run(second)
    frame = mlflow.data.from_pandas(pd.DataFrame({"a": [1, 2]}), name="frame")
    with mlflow.start_run(run_id=first):
        mlflow.log_input(frame, context="training")
    models(client, frame)
    client.set_terminated(run(client, old, 9))
    client.delete_experiment(old)


main()
