"""Model files: a fitted estimator to a file and back, without ever running what the file says.

A scikit-learn estimator is ``model.skops``, a booster of LightGBM its own text (:mod:`plimsoll.registry.formats.lightgbm`),
and what only MLflow can load its own folder (:mod:`plimsoll.registry.formats.pyfunc`), under a grant.
skops names each class in the file and builds only those it is told to. Which ones that are is decided here, beside the
loader, and never by the file. A crafted file may also use known classes with wild contents, so the index tables of trees,
which scikit-learn follows without looking, are checked before the estimator is handed out.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plimsoll import extras
from plimsoll.data.environment import bringing
from plimsoll.errors import Corrupt, InvalidInput, Untrusted
from plimsoll.records.request import Json
from plimsoll.registry.formats import lightgbm, pyfunc
from plimsoll.registry.formats.pyfunc import LOADER, PyFunc

Answers = npt.NDArray[np.float64]

#: Classes and functions beyond skops' own list that hold numbers or compute with them, and open, import or start nothing.
#: ``functools.partial`` is here because what it calls must be on a list itself.
KNOWN = frozenset(
    f"{module}.{name}"
    for module, names in {
        "functools": "partial",
        "numpy": "dtype mean median",
        "scipy._lib.array_api_compat.numpy._aliases": "asarray",
        "scipy.interpolate._bsplines": "BSpline",
        "sklearn._loss.loss": "HalfTweedieLoss HalfTweedieLossIdentity",
        "sklearn.calibration": "_CalibratedClassifier _SigmoidCalibration _TemperatureScaling",
        "sklearn.compose._column_transformer": "make_column_selector _RemainderColsList",
        "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
        "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
        "sklearn.feature_selection._univariate_selection": "f_classif f_oneway f_regression chi2 r_regression",
        "sklearn.gaussian_process._gpc": "_BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels": "ConstantKernel Product Sum RBF Matern WhiteKernel RationalQuadratic DotProduct",
        "sklearn.metrics._classification": "accuracy_score balanced_accuracy_score brier_score_loss f1_score log_loss",
        "sklearn.metrics._ranking": "roc_auc_score average_precision_score",
        "sklearn.metrics._regression": "mean_absolute_error mean_squared_error r2_score root_mean_squared_error",
        "sklearn.metrics._scorer": "_Scorer _PassthroughScorer _CurveScorer",
        "sklearn.model_selection._split": "KFold StratifiedKFold GroupKFold TimeSeriesSplit ShuffleSplit StratifiedShuffleSplit",
        "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
        "sklearn.tree._tree": "Tree",
        "sklearn.utils._bunch": "Bunch",
        "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
        "sklearn.utils.validation": "check_array",
    }.items()
    for name in names.split()
)

#: Flavour of a package -> its model file; of a ``python_function`` a folder.
FILES = {"sklearn": "model.skops", "lightgbm": "model.txt", "python_function": "mlflow"}

#: Zip members get this time, so that the same estimator gives the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def flavor_of(estimator: Any) -> str:
    """Return the flavour of the package that a model becomes: one of :data:`FILES`.

    Args:
        estimator: a scikit-learn estimator, LightGBM's booster, or a model that MLflow loaded.
    """
    if isinstance(estimator, PyFunc):
        return "python_function"
    return "lightgbm" if lightgbm.is_booster(estimator) else "sklearn"


def save(estimator: Any, path: Path) -> tuple[str, ...]:
    """Write a fitted estimator; the same estimator gives the same bytes.

    Args:
        estimator: a fitted binary classifier with ``predict_proba``, a regressor with one output, or LightGBM's booster.
        path: the file to write, usually that of its flavour in :data:`FILES`.

    Returns:
        Classes and functions in the file that need a person's grant.

    Raises:
        InvalidInput: it is not such an estimator, or holds something that skops or another process cannot rebuild.
    """
    output_rule(estimator)
    if isinstance(estimator, PyFunc):
        estimator.write(path)
        return (LOADER,)
    if lightgbm.is_booster(estimator):
        path.write_bytes(lightgbm.write(estimator))
        return ()
    skops = extras.require("skops.io")
    try:
        data = _settled(skops.dumps(estimator))
    except Exception as error:
        raise InvalidInput(
            f"The estimator {type(estimator).__name__} cannot be written by skops: {error}.",
            "Use scikit-learn's own classes, and move other row-wise code into the features function.",
        ) from error
    unknown = unknown_types(data)
    homeless = [name for name in unknown if not bringing(name.partition(".")[0])]
    if homeless:
        raise InvalidInput(
            f"The estimator holds {', '.join(homeless)}, which no installed package provides.",
            "A model's process could not rebuild it: move that code into the features function.",
        )
    path.write_bytes(data)
    return tuple(unknown)


def load(path: Path, allowed: Collection[str] = ()) -> Any:
    """Return the estimator of a file, ready to predict in one thread.

    Args:
        path: a file that :func:`save` wrote, or that pretends to be one. Its name says its flavour; any other is skops.
        allowed: classes and functions beyond the known ones that a person let be built.

    Raises:
        Untrusted: the file names others; nothing of it was built.
        Corrupt: the file is of another kind, or its contents do not fit its classes.
    """
    if path.name == FILES["python_function"]:
        return _called(path, allowed)
    data = path.read_bytes()
    if path.name == FILES["lightgbm"]:
        try:
            return lightgbm.read(data)
        except ValueError as error:
            raise Corrupt(f"{path.name} holds no usable booster: {error}.", "Make the package again with plimsoll.Model.") from error
    skops = extras.require("skops.io")
    try:
        named = skops.get_untrusted_types(data=data)
    except Exception as error:
        raise Corrupt(f"{path.name} is not a skops file: {error!r}.", "Make the package again with plimsoll.Model.") from error
    unknown = [name for name in named if name not in KNOWN and name not in allowed]
    if unknown:
        raise Untrusted(
            f"The model file uses {', '.join(unknown)}, which is not known to be harmless.",
            "If you know where the model comes from, run: plimsoll models trust REF",
            types=unknown,
        )
    try:
        estimator = skops.loads(data, trusted=named)
        _check_indices(estimator)
        _use_one_thread(estimator)
        output_rule(estimator)
    except Exception as error:
        raise Corrupt(f"{path.name} holds no usable estimator: {error!r}.", "Make the package again with plimsoll.Model.") from error
    return estimator


def _called(folder: Path, allowed: Collection[str]) -> PyFunc:
    if LOADER not in allowed:
        raise Untrusted(
            "The package is a python_function of MLflow, which runs whatever its files say, and nobody has allowed that.",
            "If you know where the model comes from, run: plimsoll models trust REF",
            types=[LOADER],
        )
    # A package is opened after its releases were compared (registry/requirements.py), and what differs was told.
    return pyfunc.load(folder, "the model", "Install the releases that its package.json names.", compared=True)


def unknown_types(data: bytes) -> list[str]:
    """Return the classes and functions that a skops file names and that need a person's grant.

    Args:
        data: the file's bytes.
    """
    return [name for name in extras.require("skops.io").get_untrusted_types(data=data) if name not in KNOWN]


def output_rule(estimator: Any) -> Callable[[Any], Answers]:
    """Return the function from the estimator's input to one float64 a row, (n,).

    A binary classifier answers the probability of class 1, a regressor its prediction.

    Args:
        estimator: a fitted scikit-learn estimator, or LightGBM's booster.

    Raises:
        InvalidInput: it is not fitted, has several outputs or other classes than 0 and 1, or gives no probabilities.
    """
    if isinstance(estimator, PyFunc):
        return estimator.predict
    if lightgbm.is_booster(estimator):
        return lightgbm.output_rule(estimator)
    bases = extras.require("sklearn.base")
    name = type(estimator).__name__
    if not isinstance(estimator, bases.BaseEstimator):
        raise InvalidInput(f"A {name} is not a scikit-learn estimator.", "Give a fitted scikit-learn classifier or regressor.")
    _check_fitted(estimator)
    if bases.is_regressor(estimator):
        return lambda rows: np.asarray(estimator.predict(rows), dtype=np.float64)
    if not bases.is_classifier(estimator):
        raise InvalidInput(f"{name} is neither a classifier nor a regressor.", "Give the estimator that makes the prediction.")
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or classes.dtype.kind not in "biuf" or classes.tolist() != [0, 1]:
        shown = classes.tolist() if isinstance(classes, np.ndarray) else classes
        raise InvalidInput(
            f"{name} was trained on the classes {shown!r}; a model answers one probability a row, so they must be 0 and 1.",
            "Encode the label as 0 and 1; for several classes train one model for each.",
        )
    if not hasattr(estimator, "predict_proba"):
        raise InvalidInput(f"{name} gives no probabilities.", "Wrap it in sklearn.calibration.CalibratedClassifierCV.")
    return lambda rows: np.asarray(estimator.predict_proba(rows), dtype=np.float64)[:, 1]


def describe(estimator: Any) -> dict[str, Json]:
    """Return an estimator's class and parameters for people, JSON-able.

    Args:
        estimator: a scikit-learn estimator, LightGBM's booster, or a model that MLflow loaded.
    """
    cls = type(estimator)
    if isinstance(estimator, PyFunc):
        return estimator.described()
    if lightgbm.is_booster(estimator):
        return {"class": f"{cls.__module__}.{cls.__qualname__}", "params": lightgbm.params_of(estimator)}
    params = {name: _plain(value) for name, value in sorted(estimator.get_params(deep=False).items())}
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "params": params}


def _plain(value: Any) -> Json:
    if hasattr(value, "get_params") and not isinstance(value, type):
        return describe(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)) and len(value) <= 100:
        return [_plain(item) for item in value]
    if isinstance(value, dict) and len(value) <= 100:
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return _plain(value.item())
    # Never repr(): it holds addresses, and a package's digest must not depend on them.
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _check_fitted(estimator: Any) -> None:
    try:
        extras.require("sklearn.utils.validation").check_is_fitted(estimator)
    except extras.require("sklearn.exceptions").NotFittedError as error:
        raise InvalidInput(f"The {type(estimator).__name__} is not fitted.", "Call its fit before making a model of it.") from error


def _settled(data: bytes) -> bytes:
    """Return the same skops file without addresses and times of the process that wrote it."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        schema = json.loads(source.read("schema.json"))
        ids: dict[int, int] = {}
        files: dict[str, str] = {}
        serial = 0
        for node in _nodes(schema):
            if isinstance(node.get("__id__"), int):
                # Whether two equal constants are one object is the interpreter's whim; of arrays and generators it has a meaning.
                serial += 1
                fresh = serial if node.get("__loader__") == "JsonNode" else ids.setdefault(node["__id__"], serial)
                node["__id__"] = fresh
            if isinstance(node.get("file"), str):
                stem, dot, suffix = node["file"].partition(".")
                node["file"] = files.setdefault(node["file"], f"{len(files)}{dot}{suffix}" if stem.isdigit() else node["file"])
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
            target.writestr(zipfile.ZipInfo("schema.json", _EPOCH), json.dumps(schema), zipfile.ZIP_DEFLATED)
            for name in sorted(set(source.namelist()) - {"schema.json"}, key=lambda name: files.get(name, name)):
                target.writestr(zipfile.ZipInfo(files.get(name, name), _EPOCH), source.read(name), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(reversed(item.values()))
        elif isinstance(item, list):
            stack.extend(reversed(item))


def parts(estimator: Any) -> Iterator[Any]:
    """Yield every object with attributes inside an estimator, itself first.

    Args:
        estimator: a scikit-learn estimator.
    """
    stack, seen = [estimator], set()
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, (str, bytes, type)):
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple, set)):
            stack.extend(item)
        elif isinstance(item, np.ndarray):
            stack.extend(item.ravel().tolist() if item.dtype == object else ())
        elif hasattr(item, "__dict__"):
            yield item
            stack.extend(vars(item).values())


@contextmanager
def one_thread(estimator: Any) -> Iterator[None]:
    """Let the estimator predict in one thread within the block: sums over several threads differ in the last bits.

    Args:
        estimator: a scikit-learn estimator; its own settings are back after the block.
    """
    before = [(part, part.n_jobs) for part in parts(estimator) if "n_jobs" in vars(part)]
    try:
        _use_one_thread(estimator)
        yield
    finally:
        for part, jobs in before:
            part.n_jobs = jobs


def _use_one_thread(estimator: Any) -> None:
    # How many threads a prediction takes is the host's decision and not the file's.
    for part in parts(estimator):
        if "n_jobs" in vars(part):
            part.n_jobs = None


def _check_indices(estimator: Any) -> None:
    """Refuse trees that point outside their tables: compiled code follows these indices without looking."""
    tree_class = extras.require("sklearn.tree._tree").Tree
    forests = (extras.require("sklearn.ensemble._forest").BaseForest, extras.require("sklearn.ensemble._gb").BaseGradientBoosting)
    for part in parts(estimator):
        fields = vars(part)
        width = fields.get("n_features_in_")
        tree = fields.get("tree_")
        if isinstance(tree, tree_class):
            split = tree.children_left != -1
            _check_tree(tree.children_left, tree.children_right, tree.feature, split, min(width or 0, tree.n_features))
        # Forests check the width of their input once, with their own number, and their trees no more.
        for grown in _grown(fields.get("estimators_")) if isinstance(part, forests) else ():
            if vars(grown).get("n_features_in_") != width:
                raise ValueError("a tree takes another number of features than its forest")
        for predictor in _grown(fields.get("_predictors")):
            nodes = predictor.nodes
            categorical = (nodes["is_leaf"] == 0) & (nodes["is_categorical"] != 0)
            _check_tree(nodes["left"], nodes["right"], nodes["feature_idx"], nodes["is_leaf"] == 0, width or 0)
            if (nodes["bitset_idx"][categorical] >= len(predictor.raw_left_cat_bitsets)).any():
                raise ValueError("a category table is missing")
            if len(fields["_bin_mapper"].is_categorical_) != width:
                raise ValueError("the bins are of another number of features")


def _grown(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel().tolist()
    if not isinstance(value, list):
        return []
    flat = [item for row in value for item in (row if isinstance(row, list) else [row])]
    return [item for item in flat if hasattr(item, "__dict__")]


def _check_tree(left: Any, right: Any, feature: Any, split: Any, width: int) -> None:
    own = np.arange(len(left))[split]
    for child in (left[split].astype(np.int64), right[split].astype(np.int64)):
        # Growers number a child after its parent; anything else may also be a circle.
        if ((child <= own) | (child >= len(left))).any():
            raise ValueError("a tree's branch leads outside the tree")
    chosen = feature[split].astype(np.int64)
    if ((chosen < 0) | (chosen >= width)).any():
        raise ValueError("a tree asks for a feature that does not exist")
