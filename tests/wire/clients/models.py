"""A model is logged, loaded again and registered, by run, by logged model, by version, stage and alias."""

from __future__ import annotations

import uuid

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

client = MlflowClient()
name = f"models {uuid.uuid4().hex}"
mlflow.set_experiment(name)
THREE = int(mlflow.__version__.split(".")[0]) >= 3
called = {"name": "late"} if THREE else {"artifact_path": "late"}

chance = np.random.default_rng(1)
rows = pd.DataFrame(chance.normal(size=(80, 3)), columns=["a", "b", "c"])
labels = (rows["a"] > 0).astype(int)
fitted = LogisticRegression().fit(rows, labels)
answers = fitted.predict(rows)


def same(uri: str) -> bool:
    """Return whether the model at an address answers as the one that was logged."""
    loaded = mlflow.sklearn.load_model(uri)
    return bool((loaded.predict(rows) == answers).all())


with mlflow.start_run() as run:
    logged = mlflow.sklearn.log_model(fitted, input_example=rows.head(3), **called)
    mlflow.log_metric("auc", 0.9)
assert same(logged.model_uri)
assert same(f"runs:/{run.info.run_id}/late")
assert (mlflow.pyfunc.load_model(logged.model_uri).predict(rows) == answers).all()
assert mlflow.models.get_model_info(logged.model_uri).signature.inputs.input_names() == ["a", "b", "c"]

# Registered while it is logged, and afterwards.
with mlflow.start_run():
    mlflow.sklearn.log_model(fitted, registered_model_name=name, **called)
version = mlflow.register_model(f"runs:/{run.info.run_id}/late", name)
assert (version.version, version.status, version.run_id) in (("2", "READY", run.info.run_id), (2, "READY", run.info.run_id))
client.set_registered_model_alias(name, "champion", "2")
client.transition_model_version_stage(name, "2", "Production")
for uri in (f"models:/{name}/1", f"models:/{name}/2", f"models:/{name}@champion", f"models:/{name}/Production", f"models:/{name}/latest"):
    assert same(uri), uri

# A version keeps its files, whatever becomes of the run.
client.delete_run(run.info.run_id)
assert same(f"models:/{name}/2")
client.restore_run(run.info.run_id)
copied = client.copy_model_version(f"models:/{name}/2", f"{name} copy")
assert same(f"models:/{name} copy/{copied.version}")

if THREE:
    assert same(f"models:/{logged.model_id}")
    again = mlflow.register_model(f"models:/{logged.model_id}", name)
    assert again.run_id == run.info.run_id
    for source, claimed in ((f"models:/{logged.model_id}", None), (f"runs:/{run.info.run_id}/late", run.info.run_id)):
        made = client.create_model_version(name, source, run_id=claimed)
        assert (made.run_id, made.status) == (run.info.run_id, "READY"), made
        assert same(f"models:/{name}/{made.version}")
    found = mlflow.get_logged_model(logged.model_id)
    assert found.status == "READY"
    assert found.source_run_id == run.info.run_id
    assert [output.model_id for output in client.get_run(run.info.run_id).outputs.model_outputs] == [logged.model_id]
    assert {file.path for file in client.list_logged_model_artifacts(logged.model_id)} >= {"MLmodel", "conda.yaml"}
    client.set_logged_model_tags(logged.model_id, {"team": "x"})
    client.log_model_params(logged.model_id, {"depth": "3"})
    with mlflow.start_run():
        data = mlflow.data.from_pandas(rows, name="held out")
        mlflow.log_metric("f1", 0.8, model_id=logged.model_id, dataset=data)
        mlflow.log_input(data, model=mlflow.entities.LoggedModelInput(logged.model_id))
    mlflow.initialize_logged_model(name="other")
    by = {"experiment_ids": [run.info.experiment_id], "output_format": "list"}
    for text, expected in (
        ("name = 'late' and params.depth = '3'", 1),
        ("metrics.f1 > 0.7", 1),
        ("metrics.f1 > 0.9", 0),
        ("tags.team LIKE 'x%' AND status = 'READY'", 1),
        ("status = 'PENDING'", 1),
    ):
        assert len(mlflow.search_logged_models(filter_string=text, **by)) == expected, text
    best = mlflow.search_logged_models(order_by=[{"field_name": "metrics.f1", "ascending": False}], **by)
    assert (len(best), best[0].model_id) == (3, logged.model_id)
    assert best[0].metrics[-1].dataset_name == "held out"
    page = client.search_logged_models([run.info.experiment_id], max_results=2)
    assert len(client.search_logged_models([run.info.experiment_id], max_results=2, page_token=page.token)) == 1
    client.delete_logged_model_tag(logged.model_id, "team")
    client.delete_logged_model(logged.model_id)
    assert len(mlflow.search_logged_models(**by)) == 2

if THREE:
    # One that no run has made.
    alone = mlflow.sklearn.log_model(fitted, name="alone")
    if mlflow.active_run() is not None:
        mlflow.end_run()
    assert same(f"models:/{name}/{mlflow.register_model(f'models:/{alone.model_id}', name).version}")
