"""Experiments, runs and what they log: params, metrics, tags, datasets, artifacts; nested runs, searches, deletion."""

from __future__ import annotations

import json
import math
import tempfile
import uuid
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from PIL import Image

client = MlflowClient()
name = f"/Users/ann (old)/tracking-{uuid.uuid4().hex}"
experiment = mlflow.set_experiment(name)


def refused(code: str, call, *arguments, **named) -> str:
    """Return the message of the error with this code that a call must end with."""
    try:
        call(*arguments, **named)
    except MlflowException as error:
        assert error.error_code == code, error
        return str(error)
    raise AssertionError(f"{call} was not refused")


# A run with everything, and one within it.
frame = pd.DataFrame({"a": [1, 2, 3], "y": [0, 1, 0]})
pixels = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
with mlflow.start_run(run_name="first", tags={"team": "x"}, description="What it is for") as run:
    mlflow.log_param("depth", 5)
    mlflow.log_params({"lr": 0.1, "kind": "gbm"})
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metrics({"auc": 0.9, "nan": math.nan, "inf": math.inf, "low": -math.inf})
    mlflow.set_tags({"stage": "draft", "dropped": "1"})
    mlflow.delete_tag("dropped")
    mlflow.log_input(mlflow.data.from_pandas(frame, name="train", targets="y"), context="training", tags={"part": "all"})
    mlflow.log_text("hello", "notes/a.txt")
    mlflow.log_dict({"a": 1}, "config.json")
    mlflow.log_table({"x": [1, 2]}, "table.json")
    mlflow.log_image(pixels, key="seen", step=85, synchronous=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "deep" / "er").mkdir(parents=True)
        (Path(folder) / "deep" / "er" / "b.bin").write_bytes(bytes(range(256)) * 10_000)
        (Path(folder) / "odd name ü (1), [2].txt").write_text("odd")
        mlflow.log_artifacts(folder, "files")
    with mlflow.start_run(run_name="inner", nested=True) as child:
        mlflow.log_metric("x", 1.0)
        mlflow.log_param("depth", 7)

id = run.info.run_id
found = client.get_run(id)
assert (found.info.status, found.info.run_name, found.info.lifecycle_stage) == ("FINISHED", "first", "active")
assert found.data.params == {"depth": "5", "lr": "0.1", "kind": "gbm"}
assert found.data.metrics["loss"] == 0.2 and found.data.metrics["inf"] == math.inf and found.data.metrics["low"] == -math.inf
assert math.isnan(found.data.metrics["nan"])
assert found.data.tags["team"] == "x" and "dropped" not in found.data.tags and found.data.tags["mlflow.note.content"] == "What it is for"
(use,) = found.inputs.dataset_inputs
assert use.dataset.name == "train" and {tag.key: tag.value for tag in use.tags} == {"mlflow.data.context": "training", "part": "all"}
assert json.loads(use.dataset.profile)["num_rows"] == 3
assert client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == id
assert [(point.step, point.value) for point in client.get_metric_history(id, "loss")] == [(step, 1 / (step + 1)) for step in range(5)]

# A batch as programs send it, and what it may not do.
client.log_batch(id, [Metric("b", float(i), 1_000 + i, i) for i in range(1000)])
client.log_batch(id, params=[Param(f"p{i}", str(i)) for i in range(100)], tags=[RunTag(f"t{i}", "v") for i in range(100)])
assert len(client.get_metric_history(id, "b")) == 1000
assert "Changing param values is not allowed" in refused("INVALID_PARAMETER_VALUE", client.log_param, id, "depth", 6)
client.log_param(id, "depth", 5)
refused("RESOURCE_DOES_NOT_EXIST", client.get_run, "0" * 32)

# Artifacts.
assert [(file.path, file.is_dir) for file in client.list_artifacts(id)] == [
    ("config.json", False), ("files", True), ("images", True), ("notes", True), ("table.json", False),
]  # fmt: skip
assert {file.path for file in client.list_artifacts(id, "files")} == {"files/deep", "files/odd name ü (1), [2].txt"}
assert [file.file_size for file in client.list_artifacts(id, "files/deep/er")] == [2_560_000]
with tempfile.TemporaryDirectory() as folder:
    whole = Path(mlflow.artifacts.download_artifacts(run_id=id, dst_path=folder))
    shown = next(path for path in (whole / "images").iterdir() if path.suffix == ".png")
    assert shown.name.startswith("seen+step+85+timestamp+") and (np.asarray(Image.open(shown)) == pixels).all(), shown
    assert (whole / "files" / "deep" / "er" / "b.bin").read_bytes() == bytes(range(256)) * 10_000
    assert (whole / "files" / "odd name ü (1), [2].txt").read_text() == "odd"
assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/a.txt") == "hello"
assert mlflow.artifacts.load_dict(f"runs:/{id}/config.json") == {"a": 1}
assert mlflow.load_table("table.json", run_ids=[id])["x"].tolist() == [1, 2]

# Searches: filters, order, pages, a frame.
with mlflow.start_run(run_name="second"):
    mlflow.log_metric("auc", 0.7)
    mlflow.log_param("depth", 5)
by = {"experiment_ids": [experiment.experiment_id]}
assert [each.info.run_name for each in client.search_runs(**by, order_by=["metrics.auc DESC"])][:2] == ["first", "second"]
for text, expected in (
    ("metrics.auc > 0.8", {"first"}),
    ("params.depth = '5' and metrics.auc < 0.8", {"second"}),
    ("tags.team LIKE 'x%'", {"first"}),
    ("tags.`mlflow.parentRunId` = '" + id + "'", {"inner"}),
    ("attributes.status = 'FINISHED' and attributes.run_name IN ('first', 'inner')", {"first", "inner"}),
    ("datasets.name = 'train'", {"first"}),
    ("params.kind ILIKE 'GB%'", {"first"}),
    ("attributes.run_name != 'first'", {"second", "inner"}),
):
    assert {each.info.run_name for each in client.search_runs(**by, filter_string=text)} == expected, text
page = client.search_runs(**by, max_results=2)
assert len(page) == 2 and page.token
assert len(client.search_runs(**by, max_results=2, page_token=page.token)) == 1
table = mlflow.search_runs(experiment_names=[name], filter_string="params.depth = '5'", order_by=["attributes.start_time ASC"])
assert table["tags.mlflow.runName"].tolist() == ["first", "second"] and table["metrics.auc"].tolist() == [0.9, 0.7]

# Runs end otherwise, go on, are deleted and restored.
try:
    with mlflow.start_run() as broken:
        raise ValueError("on purpose")
except ValueError:
    assert client.get_run(broken.info.run_id).info.status == "FAILED"
with mlflow.start_run(run_id=id):
    mlflow.log_metric("loss", 0.1, step=5)
assert client.get_run(id).data.metrics["loss"] == 0.1
client.set_terminated(child.info.run_id, "KILLED")
client.update_run(child.info.run_id, name="renamed")
assert client.get_run(child.info.run_id).info.run_name == "renamed"
client.delete_run(child.info.run_id)
assert [each.info.run_id for each in client.search_runs(**by, run_view_type=ViewType.DELETED_ONLY)] == [child.info.run_id]
client.restore_run(child.info.run_id)
assert client.get_run(child.info.run_id).info.lifecycle_stage == "active"

# Experiments.
client.set_experiment_tag(experiment.experiment_id, "owner", "me")
client.rename_experiment(experiment.experiment_id, f"{name}-renamed")
assert client.get_experiment(experiment.experiment_id).tags["owner"] == "me"
assert client.get_experiment_by_name(name) is None
refused("RESOURCE_ALREADY_EXISTS", client.create_experiment, f"{name}-renamed")
client.delete_experiment(experiment.experiment_id)
assert experiment.experiment_id in [each.experiment_id for each in client.search_experiments(view_type=ViewType.DELETED_ONLY)]
client.restore_experiment(experiment.experiment_id)
assert experiment.experiment_id in [each.experiment_id for each in client.search_experiments()]
found = client.search_experiments(filter_string=f"name LIKE '{name}%' AND tags.owner = 'me'", order_by=["name ASC"])
assert [each.experiment_id for each in found] == [experiment.experiment_id]
