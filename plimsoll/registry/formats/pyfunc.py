"""MLflow's ``python_function``: its files as they are, and MLflow's own loader, which runs whatever they say.

So nothing of it is read without a person's grant for these very files, and only in the process of a job or of the model. What
answers is MLflow's own object, for models of any of its flavours; it has to be installed where the model is packed and served.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plimsoll import extras
from plimsoll.errors import Corrupt, InvalidInput, MissingExtra
from plimsoll.records.request import Json

Answers = npt.NDArray[np.float64]

#: What a package says that it calls: code that only a grant for the whole package covers.
LOADER = "mlflow.pyfunc.load_model"

#: MLflow's loaders of estimators in scikit-learn's way.
_LOADERS = ("mlflow.sklearn", "mlflow.lightgbm", "mlflow.xgboost")

#: The distribution that a line of ``requirements.txt`` names.
_NAMED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)


class PyFunc:
    """A loaded model of MLflow's. Making one runs its code.

    Args:
        folder: the model's files, with ``MLmodel``; they must stay, for a model may read them later.
        loader: the module that ``MLmodel`` says loads it, for people.
        compared: the installed releases were compared with those that it was made with; MLflow would spend longer on that than on loading.

    Raises:
        MissingExtra: MLflow is not installed.
        Exception: whatever the model's code raises.
    """

    # Without a dictionary: what looks through an estimator's parts must not walk through the objects of a stranger.
    __slots__ = ("_classifier", "_folder", "_model", "loader")

    def __init__(self, folder: Path, loader: str = "", compared: bool = False) -> None:
        # It would tell its makers that it was used, and in which way.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        library = extras.require("mlflow.pyfunc")
        self.loader = loader
        self._folder = folder
        # Called by its name in LOADER; of a path it asks no server.
        self._model = library.load_model(str(folder.resolve()), suppress_warnings=compared)
        self._classifier = _classifier(self._model)

    def predict(self, rows: pl.DataFrame) -> Answers:
        """Return one answer a row, float64 (n,): of a classifier in scikit-learn's way the probability of class 1, and not its label.

        Args:
            rows: the columns of its signature, (n, columns).

        Raises:
            InvalidInput: it gives several numbers a row, or none.
            Exception: whatever the model's code raises.
        """
        pandas = extras.require("pandas")
        frame = pandas.DataFrame({column.name: _cells(column) for column in rows.iter_columns()})
        made = self._model.predict(frame) if self._classifier is None else self._classifier.predict_proba(frame)[:, 1]
        try:
            answers = np.asarray(made, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"The model answers a {type(made).__name__} that is not numbers.", "Let it answer one number a row."
            ) from error
        if answers.shape == (rows.height, 1):
            answers = answers[:, 0]
        if answers.shape != (rows.height,):
            raise InvalidInput(
                f"The model answers {rows.height} rows with numbers of the shape {answers.shape}.", "Let it answer one number a row."
            )
        return answers

    def write(self, folder: Path) -> None:
        """Copy its files.

        Args:
            folder: where to; it is made.
        """
        # Byte code that loading it left there is none of its files.
        shutil.copytree(self._folder, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def distributions(self) -> set[str]:
        """Return the names of the distributions that its ``requirements.txt`` names."""
        file = self._folder / "requirements.txt"
        return set(_NAMED.findall(file.read_text())) if file.is_file() else set()

    def described(self) -> dict[str, Json]:
        """Return what it is, for people."""
        return {"class": LOADER, "params": {"loader_module": self.loader}}


def _classifier(model: Any) -> Any:
    """Return the classifier of 0 and 1 that MLflow asks for labels, where it is one; else None."""
    if model.metadata.flavors["python_function"].get("loader_module") not in _LOADERS:
        return None
    inner = model.get_raw_model()
    classes = getattr(inner, "classes_", None)
    return inner if hasattr(inner, "predict_proba") and classes is not None and list(classes) == [0, 1] else None


def load(folder: Path, called: str, remedy: str, loader: str = "", compared: bool = False) -> PyFunc:
    """Return what MLflow's own loader makes of a model's files, which a person has allowed.

    Args:
        folder: the model's files, with ``MLmodel``.
        called: what the model is called in the message.
        remedy: what to do where it does not load.
        loader: the module that ``MLmodel`` says loads it, for people.
        compared: as :class:`PyFunc` has it.

    Raises:
        MissingExtra: MLflow is not installed.
        Corrupt: loading it fails.
    """
    try:
        return PyFunc(folder, loader, compared)
    except MissingExtra:
        raise
    except Exception as error:  # whatever the files run may raise anything
        raise Corrupt(f"MLflow does not load {called}: {error!r}.", remedy) from error


def _cells(column: pl.Series) -> Any:
    """Return a column as a frame of pandas that somebody made by hand has it: whole numbers with gaps are floats, times have no zone."""
    if isinstance(column.dtype, pl.Datetime):
        return column.dt.replace_time_zone(None).to_numpy()
    if column.dtype.is_float() or column.dtype.is_integer():
        return column.to_numpy()
    return column.to_list()
