"""What ``mlflow.autolog()`` logs for scikit-learn, XGBoost and LightGBM, with no other line of MLflow's."""

from __future__ import annotations

import uuid

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

client = mlflow.MlflowClient()
experiment = mlflow.set_experiment(f"autolog-{uuid.uuid4().hex}")
chance = np.random.default_rng(1)
rows = chance.normal(size=(120, 3))
labels = (rows[:, 0] + chance.normal(size=120) > 0).astype(int)


def last() -> mlflow.entities.Run:
    """Return the run that was begun last."""
    (found,) = client.search_runs([experiment.experiment_id], max_results=1, order_by=["attributes.start_time DESC"])
    return found


mlflow.autolog(silent=True)
mlflow.sklearn.autolog(silent=True, max_tuning_runs=2)

fitted = LogisticRegression(C=0.5).fit(rows, labels)
run = last()
assert run.info.status == "FINISHED" and run.data.params["C"] == "0.5", run.data
assert 0.5 < run.data.metrics["training_accuracy_score"] <= 1.0
assert run.data.tags["estimator_name"] == "LogisticRegression"
assert run.inputs.dataset_inputs
assert (mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model").predict(rows) == fitted.predict(rows)).all()

GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2).fit(rows, labels)
parents = client.search_runs([experiment.experiment_id], filter_string="tags.estimator_name = 'GridSearchCV'")
children = client.search_runs([experiment.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
assert len(children) == 2
assert any(file.path == "cv_results.csv" for file in client.list_artifacts(parents[0].info.run_id))

booster = xgboost.train(
    {"objective": "binary:logistic", "max_depth": 2}, xgboost.DMatrix(rows, labels), 4, [(xgboost.DMatrix(rows, labels), "train")]
)
run = last()
assert run.data.params["max_depth"] == "2"
assert [point.step for point in client.get_metric_history(run.info.run_id, "train-logloss")] == [0, 1, 2, 3]
loaded = mlflow.xgboost.load_model(f"runs:/{run.info.run_id}/model")
assert (loaded.predict(xgboost.DMatrix(rows)) == booster.predict(xgboost.DMatrix(rows))).all()

booster = lightgbm.train(
    {"objective": "binary", "verbose": -1}, data := lightgbm.Dataset(rows, labels), 4, valid_sets=[data], valid_names=["train"]
)
run = last()
assert run.data.params["objective"] == "binary"
assert [point.step for point in client.get_metric_history(run.info.run_id, "train-binary_logloss")] == [0, 1, 2, 3]
assert any(file.path.startswith("feature_importance") for file in client.list_artifacts(run.info.run_id))
assert (mlflow.lightgbm.load_model(f"runs:/{run.info.run_id}/model").predict(rows) == booster.predict(rows)).all()

# What was logged is evaluated, with plots and a table.
mlflow.autolog(disable=True)
frame = pd.DataFrame(rows, columns=["a", "b", "c"])
named = {"name": "late"} if int(mlflow.__version__.split(".")[0]) >= 3 else {"artifact_path": "late"}
with mlflow.start_run() as run:
    logged = mlflow.sklearn.log_model(LogisticRegression().fit(frame, labels), **named)
    evaluated = mlflow.models.evaluate(
        logged.model_uri,
        frame.assign(label=labels),
        targets="label",
        model_type="classifier",
        evaluator_config={"log_model_explainability": False},
    )
run = client.get_run(run.info.run_id)
assert run.data.metrics["accuracy_score"] == evaluated.metrics["accuracy_score"] > 0.5
assert "confusion_matrix.png" in [file.path for file in client.list_artifacts(run.info.run_id)]
assert run.inputs.dataset_inputs
