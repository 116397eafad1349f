"""What the folder of a model that MLflow wrote says of itself. Nothing of it runs here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from plimsoll import codec, extras
from plimsoll.errors import Corrupt, PlimsollError, Refused
from plimsoll.registry.signature import conform

DOCUMENT = "MLmodel"

#: Bytes of the documents at most; MLflow writes some thousand.
_LARGEST = 1 << 24

#: The flavour of whatever MLflow itself can load, which is code.
_CALLED = "python_function"

#: Flavours that are read, the one that counts first.
_READ = ("sklearn", "xgboost", "lightgbm", _CALLED)

#: MLflow's types of columns -> ours.
_TYPES: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "integer": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "datetime": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A model of one of the flavours that are read."""

    #: The flavour: ``sklearn``, ``xgboost`` or ``lightgbm``; ``python_function`` where there is none of these or it brings code.
    flavor: str
    #: The estimator's file; of a ``python_function`` the document itself.
    file: Path
    #: How it is written: ``skops``, ``cloudpickle`` or ``pickle``; of xgboost ``ubj``, ``json``, or ``xgb`` for whichever was its default;
    #: of LightGBM's booster ``text``; of a ``python_function`` the module that loads it.
    form: str
    #: Release of scikit-learn that it was made with; empty when it does not say, or does not matter.
    sklearn: str
    #: Class that wrote it, as ``xgboost.core.Booster``; empty when it does not say.
    kind: str
    #: Columns that it takes; None when it does not say, or says it of arrays.
    schema: dict[str, pl.DataType] | None
    #: Rows that it was logged with, in those columns; None for none.
    example: pl.DataFrame | None


def read_layout(folder: Path, name: str) -> Layout:
    """Return what a model's folder says.

    Args:
        folder: the version's files.
        name: of the version, for messages.

    Raises:
        Refused: the flavour is another one, or the model brings code of its own and is no ``python_function`` as well.
        Corrupt: the document cannot be read.
    """
    document = _document(folder, name)
    flavors = document.get("flavors")
    flavors = flavors if isinstance(flavors, dict) else {}
    library = next((each for each in _READ if isinstance(flavors.get(each), dict)), "")
    if not library:
        have = ", ".join(sorted(map(str, flavors))) or "none"
        raise Refused(
            f"{name} has the flavours {have}; only models of the flavours {', '.join(map(repr, _READ))} become packages.",
            "It is kept and given out. To check, release and serve another model, return a plimsoll.Model from a step.",
        )
    if flavors[library].get("code") and isinstance(flavors.get(_CALLED), dict):
        library = _CALLED  # MLflow's own loader puts that code where it is found
    flavor = flavors[library]
    file, form = (DOCUMENT, str(flavor.get("loader_module") or "nothing")) if library == _CALLED else _written(library, flavor, name)
    schema = _schema(document, name)
    return Layout(
        flavor=library,
        file=_inside(folder, file, name),
        form=form,
        sklearn=str(flavor.get("sklearn_version") or ""),
        kind=str(flavor.get("model_class") or ""),
        schema=schema,
        example=_example(folder, document, schema, name),
    )


def _written(library: str, flavor: dict[str, Any], name: str) -> tuple[str, str]:
    """Return an estimator's file, and how it is written."""
    if flavor.get("code"):
        raise Refused(
            f"{name} brings code of its own ({flavor['code']}), which a package does not take over.",
            "Log it without code_paths or with its python_function, or return a plimsoll.Model, which packs the code that it needs.",
        )
    file, form = (
        str(flavor.get("pickled_model" if library == "sklearn" else "data", "")),
        str(flavor.get("serialization_format") or "pickle"),
    )
    read, remedy = {"skops", "cloudpickle", "pickle"}, "Log it with serialization_format='skops'."
    if library == "xgboost":
        form = str(flavor.get("model_format") or "xgb")
        read, remedy = {"ubj", "json", "xgb"}, "Log it with model_format='ubj'."
    elif library == "lightgbm" and flavor.get("model_class") == "lightgbm.basic.Booster":
        # Clients from 3.0 name a format here as well, which is that of estimators.
        form, read = "text", {"text"}
    if form not in read:
        raise Refused(f"{name} is written as {form!r}, which is not read here.", remedy)
    return file, form


def _document(folder: Path, name: str) -> dict[str, Any]:
    yaml = extras.require("yaml")
    path = _inside(folder, DOCUMENT, name)
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has {path.stat().st_size} bytes")
        # The safe loader makes plain values only.
        found = yaml.safe_load(path.read_bytes())
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise Corrupt(f"{DOCUMENT} of {name} cannot be read: {error}.", "Log the model again.") from error
    if not isinstance(found, dict):
        raise Corrupt(f"{DOCUMENT} of {name} holds no fields.", "Log the model again.")
    return found


def _inside(folder: Path, path: str, name: str) -> Path:
    """Return a file of the folder; the document is somebody's word, so a path in it may be anything."""
    if path not in {found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file()}:
        raise Corrupt(f"{name} has no file {path[:80]!r}.", "Log the model again.")
    return folder / path


def _schema(document: dict[str, Any], name: str) -> dict[str, pl.DataType] | None:
    signature = document.get("signature")
    text = signature.get("inputs") if isinstance(signature, dict) else None
    if not isinstance(text, str):
        return None
    try:
        columns = codec.from_json(text.encode(), list[dict[str, Any]], "The signature's inputs")
    except PlimsollError as error:
        raise Corrupt(f"The signature of {name} cannot be read: {error.fact}", "Log the model again.") from error
    if any("name" not in column or column.get("type") == "tensor" for column in columns):
        return None
    for column in columns:
        if column.get("type") not in _TYPES:
            raise Refused(
                f"The column {column['name']!r} of {name} has MLflow's type {column.get('type')!r}, which a request cannot carry.",
                f"Use {', '.join(_TYPES)}.",
            )
    return {str(column["name"]): _TYPES[column["type"]] for column in columns}


def _example(folder: Path, document: dict[str, Any], schema: dict[str, pl.DataType] | None, name: str) -> pl.DataFrame | None:
    info = document.get("saved_input_example_info")
    if not isinstance(info, dict) or info.get("type") != "dataframe" or info.get("pandas_orient") != "split":
        return None
    path = _inside(folder, str(info.get("artifact_path", "")), name)
    try:
        data = codec.from_json(path.read_bytes()[:_LARGEST], dict[str, Any], path.name)
        rows = pl.DataFrame(data["data"], schema=[str(column) for column in data["columns"]], orient="row", infer_schema_length=None)
        return rows if schema is None else conform(rows, schema)
    except (PlimsollError, KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise Corrupt(f"The example of {name} does not fit its signature: {error}.", "Log the model again with input_example=.") from error
