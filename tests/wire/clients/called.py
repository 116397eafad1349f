"""Models that only MLflow can load: pickled, from code beside code, with a loader of their own. Each tells when it is read or asked."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

OWN = """
import numpy as np
from pathlib import Path
from sklearn.base import BaseEstimator, TransformerMixin


def chance(rows, factor):
    return 1 / (1 + np.exp(-factor * (rows["a"] + rows["b"])))


class Sum(TransformerMixin, BaseEstimator):
    def fit(self, rows, labels=None):
        return self

    def transform(self, rows):
        Path({mark!r}).touch()
        return (rows["a"] + rows["b"]).to_numpy().reshape(-1, 1)


class Loaded:
    def __init__(self, factor):
        self.factor = factor

    def predict(self, rows):
        return chance(rows, self.factor).to_numpy()


def _load_pyfunc(path):
    Path({mark!r}).touch()
    return Loaded(float(Path(path).read_text()))
"""

CODE = """
import mlflow
from pathlib import Path
from own import chance


class Coded(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        Path({mark!r}).touch()
        self.factor = float(Path(context.artifacts["factor"]).read_text())

    def predict(self, context, model_input, params=None):
        return chance(model_input, self.factor)


mlflow.models.set_model(Coded())
"""


class Pickled(mlflow.pyfunc.PythonModel):
    """Holds its factor."""

    def __init__(self, factor: float, mark: str) -> None:
        self.factor = factor
        self.mark = mark

    def __setstate__(self, state: dict[str, object]) -> None:
        Path(state["mark"]).touch()
        self.__dict__.update(state)

    def predict(self, context: object, model_input: pd.DataFrame, params: object = None) -> pd.DataFrame:
        return pd.DataFrame({"chance": 1 / (1 + np.exp(-self.factor * (model_input["a"] + model_input["b"])))})


mark = str(Path("mark").absolute())
Path("own.py").write_text(OWN.format(mark=mark))
Path("coded.py").write_text(CODE.format(mark=mark))
Path("factor").write_text("2.0")
sys.path.insert(0, str(Path.cwd()))
chance = np.random.default_rng(1)
rows = pd.DataFrame(chance.normal(size=(800, 2)), columns=["a", "b"]).assign(n=range(800))
labels = (rows["a"] + rows["b"] + chance.normal(size=800) > 0).astype(int)

generation = mlflow.__version__.split(".")[0]
beside = {"input_example": rows.head(3), "pip_requirements": ["numpy", "pandas"]}
called = {"artifact_path": "late"} if generation == "2" else {"name": "late"}
mlflow.set_experiment("called")
with mlflow.start_run():
    for factor in (2.0, 3.0):
        mlflow.pyfunc.log_model(**called, python_model=Pickled(factor, mark), registered_model_name=f"pickled-{generation}", **beside)
    mlflow.pyfunc.log_model(
        **called,
        python_model="coded.py",
        artifacts={"factor": "factor"},
        code_paths=["own.py"],
        registered_model_name=f"coded-{generation}",
        **beside,
    )
    mlflow.pyfunc.log_model(
        **called, loader_module="own", data_path="factor", code_paths=["own.py"], registered_model_name=f"loaded-{generation}", **beside
    )
    own = importlib.import_module("own")
    fitted = make_pipeline(own.Sum(), LogisticRegression()).fit(rows, labels)
    mlflow.sklearn.log_model(
        fitted,
        **called,
        code_paths=["own.py"],
        serialization_format="cloudpickle",
        registered_model_name=f"fitted-{generation}",
        **beside,
    )
told = {"rows": rows.to_dict("list"), "labels": labels.tolist(), "answers": {}}
for name in ("pickled", "coded", "loaded"):
    answers = mlflow.pyfunc.load_model(f"models:/{name}-{generation}/1").predict(rows)
    told["answers"][name] = np.asarray(answers, dtype=float).reshape(-1).tolist()
told["answers"]["fitted"] = fitted.predict_proba(rows)[:, 1].tolist()
Path("told.json").write_text(json.dumps(told))
assert Path("mark").exists()
