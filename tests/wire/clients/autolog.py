"""What ``mlflow.autolog()`` logs for scikit-learn, XGBoost and LightGBM, with no other line of MLflow's."""

from __future__ import annotations

import uuid

import lightgbm
import mlflow
import numpy as np
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


mlflow.autolog(log_models=False, silent=True)
mlflow.sklearn.autolog(log_models=False, silent=True, max_tuning_runs=2)

LogisticRegression(C=0.5).fit(rows, labels)
run = last()
assert run.info.status == "FINISHED" and run.data.params["C"] == "0.5", run.data
assert 0.5 < run.data.metrics["training_accuracy_score"] <= 1.0
assert run.data.tags["estimator_name"] == "LogisticRegression"
assert run.inputs.dataset_inputs

GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=2).fit(rows, labels)
parents = client.search_runs([experiment.experiment_id], filter_string="tags.estimator_name = 'GridSearchCV'")
children = client.search_runs([experiment.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{parents[0].info.run_id}'")
assert len(children) == 2
assert any(file.path == "cv_results.csv" for file in client.list_artifacts(parents[0].info.run_id))

xgboost.train(
    {"objective": "binary:logistic", "max_depth": 2}, xgboost.DMatrix(rows, labels), 4, [(xgboost.DMatrix(rows, labels), "train")]
)
run = last()
assert run.data.params["max_depth"] == "2"
assert [point.step for point in client.get_metric_history(run.info.run_id, "train-logloss")] == [0, 1, 2, 3]

lightgbm.train({"objective": "binary", "verbose": -1}, data := lightgbm.Dataset(rows, labels), 4, valid_sets=[data], valid_names=["train"])
run = last()
assert run.data.params["objective"] == "binary"
assert [point.step for point in client.get_metric_history(run.info.run_id, "train-binary_logloss")] == [0, 1, 2, 3]
assert any(file.path.startswith("feature_importance") for file in client.list_artifacts(run.info.run_id))
