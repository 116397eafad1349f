"""A pipeline whose step is logged by ``mlflow.autolog()``."""

from __future__ import annotations

import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression

from plimsoll import pipeline, step


@step
def train(c: float) -> float:
    """Fit a model, and log to MLflow as any program does."""
    mlflow.sklearn.autolog(silent=True, log_models=False)
    chance = np.random.default_rng(1)
    rows = chance.normal(size=(80, 3))
    labels = (rows[:, 0] > 0).astype(int)
    fitted = LogisticRegression(C=c).fit(rows, labels)
    mlflow.log_metric("coefficient", float(fitted.coef_[0, 0]), step=2)
    mlflow.log_text("hello", "notes/a.txt")
    return float(fitted.coef_[0, 0])


@pipeline
def fits(c: float = 0.5) -> float:
    """One step."""
    return train(c)
