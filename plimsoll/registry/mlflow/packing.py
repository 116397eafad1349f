"""A model that MLflow wrote becomes a package: what judges and serves models need know of one layout only."""

from __future__ import annotations

import importlib.metadata
import re
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from plimsoll import codec, extras
from plimsoll.data import values
from plimsoll.data.snapshot import get_tree
from plimsoll.data.tables.table import get_table
from plimsoll.errors import Corrupt, Denied, InvalidInput, NotFound, Refused, Untrusted
from plimsoll.records.data import GetSnapshot, ListSnapshots, RegisterSnapshot
from plimsoll.records.model import CreateVersion, GetVersion, ListGrants, Version
from plimsoll.records.registry.catalog import TagVersion
from plimsoll.records.registry.packing import PackVersion
from plimsoll.registry import flavors
from plimsoll.registry.formats import lightgbm, pyfunc
from plimsoll.registry.mlflow.layout import Layout, read_layout
from plimsoll.registry.package import Model
from plimsoll.store.contracts import JobContext

#: Tag of a package: the version that it was made of.
ORIGIN = "plimsoll.packed_from"

_DIGEST = re.compile(r"[0-9a-f]{12,64}")

#: Rows of an example that the data gives.
_ROWS = 5


def pack_version(request: PackVersion, context: JobContext) -> Version:
    """Make a package of a version that MLflow wrote, and number it.

    Raises:
        Denied: it is somebody else's work.
        Refused: it is a package already, of a flavour that is not read here, brings code, or belongs to no run.
        Untrusted: it is pickled, a ``python_function``, or names classes that are not known to be harmless, and nobody has allowed that.
        InvalidInput: the model does not fit its data or its purpose, or nothing says what its rows look like.
        Corrupt: its files cannot be read.
    """
    version = context.do(GetVersion(ref=request.ref))
    name = f"{version.model}/{version.number}"
    if version.meta is not None:
        raise Refused(f"{name} is a package already.", f"Examine it with: plimsoll checks run {name}")
    if not version.run_id:
        raise Refused(f"{name} was made by no run, so nobody is its author.", "Log the model in a run, and register it from there.")
    if version.author != context.actor.name:
        remedy = f"Ask {version.author} to pack it."
        raise Denied(f"{name} is the work of {version.author}, and a package of it would be as well.", remedy)
    trusted = bool(context.do(ListGrants(digest=version.digest)))
    training, holdout = (_table(context, ref) if ref else None for ref in (request.training, request.holdout))
    with tempfile.TemporaryDirectory(prefix="plimsoll-pack-") as place:
        folder = Path(place) / "files"
        get_tree(context.stores.blobs, version.digest, folder)
        layout = read_layout(folder, name)
        context.progress(f"Reading {name}")
        estimator = _estimator(layout, name, trusted)
        example = _rows(layout, holdout if training is None else training, name)
        model = Model(estimator, name=version.model, example=example, training=training, holdout=holdout)
        context.progress(f"Packing {name}")
        output = values.save(model, context.stores.blobs, context.project)
    return _number(version, output.digest, context)


def _estimator(layout: Layout, name: str, trusted: bool) -> Any:
    if layout.flavor == "python_function":
        return _called(layout, name, trusted)
    if layout.flavor == "xgboost":
        return _boosted(layout, name)
    if layout.flavor == "lightgbm":
        return _grown(layout, name, trusted)
    return _fitted(layout, name, trusted)


def _called(layout: Layout, name: str, trusted: bool) -> pyfunc.PyFunc:
    """Return what MLflow's own loader makes of the files, which a person has allowed."""
    if not trusted:
        raise Untrusted(
            f"{name} is a python_function that {layout.form} loads: that runs whatever its files say, and nobody has allowed it.",
            f"If you know where it comes from, run: plimsoll models trust {name} --reason ...",
        )
    return pyfunc.load(layout.file.parent, f"{name} here", "Install what its requirements.txt names.", layout.form)


def _fitted(layout: Layout, name: str, trusted: bool) -> Any:
    """Return the estimator of a file in skops, or of a pickle that a person has allowed."""
    _check_release(layout, name)
    remedy = f"If you know where it comes from, run: plimsoll models trust {name} --reason ..."
    if layout.form == "skops":
        allowed = flavors.unknown_types(layout.file.read_bytes()) if trusted else ()
        try:
            return flavors.load(layout.file, allowed)
        except Untrusted as error:
            raise Untrusted(error.fact, remedy, **error.details) from error
    if not trusted:
        raise Untrusted(
            f"{name} is written as {layout.form}, so reading it runs whatever its file says, and nobody has allowed that.", remedy
        )
    # The one place that reads pickles: under a grant for these very bytes, in the process of a job.
    pickles = extras.require("cloudpickle")
    try:
        with layout.file.open("rb") as file:
            return pickles.load(file)
    except Exception as error:  # whatever the file runs may raise anything
        raise Corrupt(
            f"{layout.file.name} of {name} cannot be read here: {error!r}.", "Install what its requirements.txt names."
        ) from error


def _boosted(layout: Layout, name: str) -> Any:
    """Return the estimator of a file in xgboost's own format, which is data; its releases read what earlier ones wrote."""
    xgboost = extras.require("xgboost")
    # From memory it looks at the bytes, and of a file at the name.
    data = bytearray(layout.file.read_bytes())
    try:
        booster = xgboost.Booster(model_file=data)
        config = codec.from_json(booster.save_config(), dict[str, Any], "The booster's configuration")
        objective = str(config["learner"]["objective"]["name"])
    except (xgboost.core.XGBoostError, KeyError, TypeError) as error:
        raise Corrupt(f"{layout.file.name} of {name} cannot be read: {str(error)[:200]}", "Log the model again.") from error
    kind = "XGBClassifier" if objective == "binary:logistic" else "XGBRegressor" if objective.startswith("reg:") else ""
    if not kind:
        raise Refused(
            f"{name} has xgboost's objective {objective!r}; a model answers one number a row.", "Train it with binary:logistic or reg:…"
        )
    _check_columns(layout, booster.feature_names or [], name)
    estimator = getattr(xgboost, kind)()
    estimator.load_model(data)
    if layout.kind == "xgboost.core.Booster":
        # By itself a booster answers with all of its trees, whichever was the best.
        estimator.get_booster().set_attr(best_iteration=None, best_score=None)
    return estimator


def _grown(layout: Layout, name: str, trusted: bool) -> Any:
    """Return LightGBM's booster: its text is data. Its estimators come as skops or pickles, and of them only the booster goes on."""
    if layout.form == "text":
        text = layout.file.read_bytes()
    else:
        estimator = _fitted(layout, name, trusted)
        try:
            # What it was fitted to say: the booster alone does not know its classes.
            flavors.output_rule(estimator)
            text = lightgbm.write(estimator.booster_)
        except (InvalidInput, AttributeError) as error:
            raise Refused(f"{name} is no model of one number a row: {error}", "Log a LGBMClassifier, LGBMRegressor or Booster.") from error
    try:
        booster = lightgbm.read(text)
    except InvalidInput as error:
        raise Refused(f"{name} cannot become a package. {error.fact}", error.remedy) from error
    except ValueError as error:
        raise Corrupt(f"{layout.file.name} of {name} cannot be read: {str(error)[:200]}", "Log the model again.") from error
    # It writes underscores for spaces, and such names for rows that had none.
    fitted = booster.feature_name()
    unnamed = fitted == [f"Column_{index}" for index in range(len(fitted))]
    _check_columns(layout, [] if unnamed else fitted, name)
    return booster


def _check_columns(layout: Layout, fitted: list[str], name: str) -> None:
    """Refuse a booster whose columns, where it names them, are not those of its signature: it takes them by their place."""
    said = list(layout.schema or (fitted if layout.example is None else layout.example.columns))
    if fitted and [each.replace(" ", "_") for each in said] != [each.replace(" ", "_") for each in fitted]:
        raise Refused(
            f"{name} was fitted to the columns {', '.join(fitted)}, and its signature says {', '.join(said)}.",
            "Log it with the rows that it was fitted to as input_example.",
        )


def _check_release(layout: Layout, name: str) -> None:
    """Refuse a file of another minor release of scikit-learn, which may mean something else."""
    try:
        have = importlib.metadata.version("scikit-learn")
    except importlib.metadata.PackageNotFoundError:
        have = "none"
    if layout.sklearn and layout.sklearn.split(".")[:2] != have.split(".")[:2]:
        remedy = f"Run: pip install 'scikit-learn=={layout.sklearn}', or train the model again."
        raise Refused(f"{name} was made with scikit-learn {layout.sklearn}; here is {have}.", remedy)


def _rows(layout: Layout, table: pl.DataFrame | None, name: str) -> pl.DataFrame:
    """Return rows that show what the model takes: its example, or the first of its data in the columns of its signature."""
    if layout.example is not None and layout.example.height > 1:
        return layout.example
    schema = layout.schema or (None if layout.example is None else dict(layout.example.schema))
    if schema is None or table is None:
        raise InvalidInput(
            f"{name} keeps no example of two rows or more with named columns.",
            "Log it with input_example=rows.head(5), or name its data: plimsoll models pack REF --training DATASET",
        )
    missing = [column for column in schema if column not in table.columns]
    if missing:
        raise InvalidInput(f"The data of {name} lacks the columns {', '.join(missing)}.", "Name the data that the model was fitted to.")
    return table.select(pl.col(column).cast(dtype) for column, dtype in schema.items()).head(_ROWS)


def _table(context: JobContext, ref: str) -> pl.DataFrame:
    if _DIGEST.fullmatch(ref):
        return get_table(context.stores.blobs, context.do(GetSnapshot(digest=ref)).digest)
    found = context.do(ListSnapshots(name=ref, limit=1))
    if not found:
        raise NotFound(f"There is no dataset {ref!r}.", "Give its name or a snapshot's digest; @step(snapshot=NAME) makes one.")
    return get_table(context.stores.blobs, found[0].digest)


def _number(origin: Version, digest: str, context: JobContext) -> Version:
    made = context.do(CreateVersion(model=origin.model, digest=digest, run_id=origin.run_id))
    for role, snapshot in made.package.data.items():
        context.do(RegisterSnapshot(name=f"{made.model}-{role}", digest=snapshot))
    return context.do(TagVersion(model=made.model, number=made.number, tags={**origin.tags, ORIGIN: f"{origin.model}/{origin.number}"}))
