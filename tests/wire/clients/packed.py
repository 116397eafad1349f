"""A model is logged and registered by MLflow's client; what becomes of it is looked at from the other side."""

from __future__ import annotations

import json
import os
from pathlib import Path

import lightgbm
import mlflow
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

chance = np.random.default_rng(1)
rows = pd.DataFrame(chance.normal(size=(800, 2)), columns=["a", "b"]).assign(n=range(800))
labels = (rows["a"] + rows["b"] + chance.normal(size=800) > 0).astype(int)
fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)

generation = mlflow.__version__.split(".")[0]
name = f"late-{generation}"
# What MLflow itself answers is then the probability, as a package does.
kept = {
    "input_example": rows.head(3),
    "registered_model_name": name,
    "pyfunc_predict_fn": "predict_proba",
    "pip_requirements": ["scikit-learn"],
}
mlflow.set_experiment("packed")
# Clients before 3.0 pickle; later ones write skops unless they are told otherwise.
for form in ({},) if generation == "2" else ({}, {"serialization_format": "cloudpickle"}):
    with mlflow.start_run():
        called = {"artifact_path": "late"} if generation == "2" else {"name": "late"}
        mlflow.sklearn.log_model(fitted, **kept, **called, **form)
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true"
# LightGBM: its booster is text; its estimators are written as any other.
grown = lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1).fit(rows, labels)
for model, registered in ((grown.booster_, f"grown-{generation}"), (grown, f"fitted-{generation}")):
    with mlflow.start_run():
        called = {"artifact_path": "late"} if generation == "2" else {"name": "late"}
        mlflow.lightgbm.log_model(
            model, **called, input_example=rows.head(3), registered_model_name=registered, pip_requirements=["lightgbm"]
        )
answers = mlflow.pyfunc.load_model(f"models:/{name}/1").predict(rows)[:, 1]
told = {"rows": rows.to_dict("list"), "labels": labels.tolist(), "answers": answers.tolist()}
told["grown"] = mlflow.pyfunc.load_model(f"models:/grown-{generation}/1").predict(rows).tolist()
told["fitted"] = mlflow.lightgbm.load_model(f"models:/fitted-{generation}/1").predict_proba(rows)[:, 1].tolist()
Path("told.json").write_text(json.dumps(told))
