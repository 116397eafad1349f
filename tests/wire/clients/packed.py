"""A model is logged and registered by MLflow's client; what becomes of it is looked at from the other side."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

chance = np.random.default_rng(1)
rows = pd.DataFrame(chance.normal(size=(400, 2)), columns=["a", "b"]).assign(n=range(400))
labels = (rows["a"] + chance.normal(size=400) / 4 > 0).astype(int)
fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)

generation = mlflow.__version__.split(".")[0]
mlflow.set_experiment("packed")
with mlflow.start_run():
    called = {"artifact_path": "late"} if generation == "2" else {"name": "late"}
    mlflow.sklearn.log_model(fitted, input_example=rows.head(3), registered_model_name=f"late-{generation}", **called)
told = {"rows": rows.to_dict("list"), "labels": labels.tolist(), "answers": fitted.predict_proba(rows)[:, 1].tolist()}
Path("told.json").write_text(json.dumps(told))
