"""A model as a plain value, and as an immutable package: the same ``predict(frame)`` in a notebook, a check and the server.

A package is a tree of files:

* ``package.json``: signature, purpose, requirements, data (:class:`PackageMeta`), as canonical JSON;
* ``model.skops``: the estimator, or ``model.txt``: LightGBM's booster, or ``mlflow/…``: a model in MLflow's own layout;
* ``code/…``: the feature function and the project's files it needs;
* ``example.parquet``: some raw input rows;
* ``answers.parquet``: up to 1,000 raw rows with the answer that training computed, the reference for parity;
* ``profile.msgpack``: the training inputs and answers in integer tables;
* ``data/ROLE.json`` and ``data/ROLE.parquet``: a snapshot's manifest and its table. Both are blobs under the very digests
  that the snapshot has, so storing the package stores the snapshot too, and it can be registered by its digest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plimsoll import clock, codec
from plimsoll.data.packed import entry_of, is_own, load_function, module_files
from plimsoll.data.project import read_project
from plimsoll.data.tables.table import TABLE_FILE, as_polars, columns_of, from_parquet, to_parquet
from plimsoll.errors import Corrupt, InvalidInput, Untrusted
from plimsoll.monitoring.sketches import Profile
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.model import PackageMeta, Purpose, Signature
from plimsoll.records.request import Json, check_slug
from plimsoll.registry import flavors, requirements
from plimsoll.registry.flavors import Answers
from plimsoll.registry.signature import PREDICTION, conform, read, same_values, schema_of, signature_of

#: What a package's manifest says beside its files; a part of its digest.
_META: dict[str, Json] = {"loader": "plimsoll.registry.package:Model"}

_REFERENCE_ROWS = 1_000
_PROBED_ROWS = 12


class Model:
    """A fitted estimator with all that is needed to use and to judge it. A plain value; return it from a step.

    Args:
        estimator: a fitted scikit-learn binary classifier (classes 0 and 1) or regressor, or LightGBM's booster. It answers the
            probability of class 1, or its prediction.
        name: the name under which the model is registered.
        example: at least 2 raw input rows without the label: polars or pandas frame, or dict of columns.
        features: a module-level function from a polars frame of raw rows to what the estimator takes (frame or array, one row
            for each row). A row's features must not depend on other rows. None gives the estimator the raw rows.
        training: the raw rows and label that the estimator was fitted to, (n, columns), or None.
        holdout: raw rows and label that it never saw and that later checks judge it on, (n, columns), or None.
        purpose: what the model is for; None reads ``[tool.plimsoll.models.NAME]`` when the model is stored.

    Raises:
        InvalidInput: a part does not fit the others; the message says which and why.
    """

    def __init__(
        self,
        estimator: Any,
        *,
        name: str,
        example: Any,
        features: Callable[[pl.DataFrame], Any] | None = None,
        training: Any = None,
        holdout: Any = None,
        purpose: Purpose | None = None,
    ) -> None:
        check_slug("Model", name)
        self.name = name
        self.estimator = estimator
        self.features = features
        self.example = as_polars(example)
        self.signature: Signature = signature_of(self.example)
        self.purpose = purpose
        self.meta: PackageMeta | None = None
        self._schema = schema_of(self.signature)
        self._rule = flavors.output_rule(estimator)
        self._files: dict[str, bytes] | None = None
        if self.example.height < 2:
            raise InvalidInput(f"The example has {self.example.height} rows.", "Give at least 2, such as rows.head(5).")
        _check_function(features)
        self.training = None if training is None else self._table("training", training)
        self.holdout = None if holdout is None else self._table("holdout", holdout)
        self._check_rows_alone()

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {type(self.estimator).__name__}, {len(self.signature.inputs)} columns)"

    def frame(self, rows: Any) -> pl.DataFrame:
        """Return rows exactly as the model takes them: the signature's columns, in its order and types.

        Args:
            rows: a polars or pandas frame or a dict of columns, (n, any columns). Columns the model does not take are left out.

        Raises:
            InvalidInput: a column is missing, or holds values of another type; the message names it.
        """
        return read(rows, self._schema)

    def predict(self, frame: Any) -> Answers:
        """Return one answer a row, float64 (n,).

        Args:
            frame: raw rows: a polars or pandas frame or a dict of columns, (n, any columns). Order of columns does not matter,
                further columns are ignored, an int is taken for a float, null is allowed.

        Raises:
            InvalidInput: a column is missing, or holds values of another type; the message names it.
        """
        return self._answer(self.frame(frame))

    def _answer(self, rows: pl.DataFrame) -> Answers:
        if rows.height == 0:
            return np.empty(0, np.float64)
        answers = self._rule(self._taken(rows if self.features is None else self.features(rows)))
        if answers.shape != (rows.height,):
            raise InvalidInput(
                f"The model {self.name!r} answers {rows.height} rows with an array of shape {answers.shape}.",
                "Let the feature function keep every row, and the estimator have one output.",
            )
        return answers

    def _taken(self, made: Any) -> Any:
        # An estimator that was fitted to an array warns when it is given names, and xgboost reads no frames of polars.
        if flavors.flavor_of(self.estimator) != "sklearn":
            return made
        named = hasattr(self.estimator, "feature_names_in_") and not type(self.estimator).__module__.startswith("xgboost.")
        return made.to_numpy() if isinstance(made, pl.DataFrame) and not named else made

    def _table(self, role: str, rows: Any) -> pl.DataFrame:
        frame = as_polars(rows)
        if frame.height == 0:
            raise InvalidInput(f"The {role} data has no rows.", "Give the rows, or leave it out.")
        try:
            conform(frame, self._schema)
        except InvalidInput as error:
            raise InvalidInput(f"The {role} data does not fit the example: {error.fact}", "Give the raw rows, like the example.") from error
        return frame

    def _check_rows_alone(self) -> None:
        """Refuse a model whose answer for a row depends on the rows beside it: a server sees other rows than training did."""
        rows = self.frame(self.example)
        if self.training is not None:
            rows = pl.concat([rows.head(_PROBED_ROWS), conform(_spread(self.training, _PROBED_ROWS), self._schema)])
        rows = rows.head(2 * _PROBED_ROWS)
        singles = [rows[index : index + 1] for index in range(rows.height)]
        if self.features is not None:
            try:
                together = _columns(self.features(rows))
                alone = pl.concat([_columns(self.features(row)) for row in singles], how="vertical_relaxed")
            except pl.exceptions.PolarsError as error:
                raise InvalidInput(
                    f"The feature function {self.features.__name__!r} fails, or gives other columns, for a single row: {error}.",
                    "Compute each row from itself alone, always with the same columns.",
                ) from error
            differing = same_values(together, alone)
            if differing is not None:
                raise InvalidInput(
                    f"The feature function {self.features.__name__!r} gives a row other values in {differing} when it is alone.",
                    "A server sees single rows: move means, ranks and the like into the estimator's pipeline, or into the data.",
                )
        one_by_one = np.concatenate([self._answer(row) for row in singles])
        if not np.allclose(self._answer(rows), one_by_one, rtol=1e-6, atol=1e-9, equal_nan=True):
            raise InvalidInput(
                f"The model {self.name!r} answers a row differently when it is alone.", "Use an estimator that treats rows one by one."
            )

    def __plimsoll_save__(self, folder: Path, project: Path) -> dict[str, Json]:
        """Write the package's files, read them back, and refuse when the package answers differently from this model.

        The same model gives the same files. A process killed within leaves a partial folder that nobody has named yet.

        Args:
            folder: an empty folder.
            project: the project's folder, with its ``pyproject.toml`` and the code that ``features`` needs.

        Returns:
            What the manifest keeps beside the files.

        Raises:
            InvalidInput: the purpose is not declared, does not fit the data, or the package would answer differently.
        """
        if self.meta is not None:
            _write(folder, self._kept())
            return {}
        types = flavors.save(self.estimator, folder / flavors.FILES[flavors.flavor_of(self.estimator)])
        files, meta = self._made(project, types)
        _write(folder, files)
        reference = read_answers(folder, meta)
        # Under a name of its own: this folder goes away, and the same package may be opened from a lasting one later.
        again = _open(folder, meta, codec.digest(clock.new_id().encode()), trusted=True).predict(reference.rows)
        if not np.allclose(again, reference.answers, rtol=1e-12, atol=1e-15, equal_nan=True):
            worst = float(np.nanmax(np.abs(again - reference.answers)))
            raise InvalidInput(
                f"Read back, the model {self.name!r} answers differently by up to {worst:g}.",
                "Look for state outside the estimator, such as files or globals that the feature function reads.",
            )
        return {}

    def _made(self, project: Path, types: tuple[str, ...]) -> tuple[dict[str, bytes], PackageMeta]:
        purpose = self.purpose or _declared(self.name, project)
        self._check_purpose(purpose)
        files: dict[str, bytes] = {}
        data: dict[str, str] = {}
        for role, frame in (("training", self.training), ("holdout", self.holdout)):
            if frame is not None:
                table = to_parquet(frame)
                manifest = codec.canonical(_table_manifest(frame, table))
                files |= {f"data/{role}.json": manifest, f"data/{role}.parquet": table}
                data[role] = codec.digest(manifest)
        entry = ""
        if self.features is not None:
            entry = entry_of(self.features, project)
            files |= {f"code/{path}": content for path, content in module_files(self.features, project).items()}
        rows = self.frame(_spread(self.holdout if self.holdout is not None else self._inputs(), _REFERENCE_ROWS))
        files["example.parquet"] = to_parquet(self.frame(self.example))
        with flavors.one_thread(self.estimator):
            files["answers.parquet"] = to_parquet(rows.with_columns(pl.Series(PREDICTION, self._answer(rows), dtype=pl.Float64)))
            if self.training is not None:
                files["profile.msgpack"] = self._profile(self.training, purpose).to_bytes()
        meta = PackageMeta(
            model=self.name,
            flavor=flavors.flavor_of(self.estimator),
            signature=self.signature,
            purpose=purpose,
            features=entry,
            requirements=requirements.exact(self.estimator, self.features),
            data=data,
            estimator=flavors.describe(self.estimator),
            types=types,
        )
        files["package.json"] = codec.canonical(meta)
        return files, meta

    def _inputs(self) -> pl.DataFrame:
        return self.example if self.training is None else self.training

    def _check_purpose(self, purpose: Purpose) -> None:
        if purpose.label in self.example.columns:
            raise InvalidInput(f"The label {purpose.label!r} is one of the model's inputs.", "Leave it out of the example.")
        for role, frame in (("training", self.training), ("holdout", self.holdout)):
            if frame is not None and purpose.label not in frame.columns:
                raise InvalidInput(f"The {role} data lacks the label {purpose.label!r}.", "Keep the label beside the raw inputs.")

    def _profile(self, training: pl.DataFrame, purpose: Purpose) -> Profile:
        # Answers to rows that the estimator was fitted to are too sure of themselves to compare traffic with.
        frames = [training] if self.holdout is None else [training, self.holdout]
        inputs = [self.frame(frame) for frame in frames]
        unseen = self._answer(inputs[-1])
        answers = np.concatenate([np.full(sum(frame.height for frame in inputs) - len(unseen), np.nan), unseen])
        time = None
        if all(purpose.time in frame.columns for frame in frames):
            time = pl.concat([frame.get_column(purpose.time) for frame in frames])
        profile = Profile.build(pl.concat(inputs), time=time, answers=answers)
        if self.holdout is None or time is None:
            return profile
        labels = self.holdout.get_column(purpose.label)
        if not set(labels.unique()) <= {0, 1}:
            return profile
        # What the holdout promises, day by day: later days of live traffic are judged against it.
        moments = self.holdout.get_column(purpose.time)
        return profile.promising(time=moments, answers=unseen, labels=labels.to_numpy(), threshold=purpose.costs.threshold)

    def _kept(self) -> dict[str, bytes]:
        if self._files is None:
            raise InvalidInput(
                f"The model {self.name!r} was opened from a package and is not stored again.", "Refer to its version instead."
            )
        return self._files

    @classmethod
    def __plimsoll_load__(cls, folder: Path, meta: dict[str, Json], trusted: bool, project: Path | None) -> Model:
        """Return the model that a step returned before. Without trust, only code that is the project's own now may run.

        Args:
            folder: the package's files, verified against their digests.
            meta: what the manifest keeps beside the files.
            trusted: the code inside this digest may run.
            project: folder of the project to compare the code with, or None.

        Raises:
            Corrupt: a file is missing or damaged.
            Untrusted: it has other code, or classes that are not known here, and ``trusted`` is False; nothing of it ran.
        """
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _paths(folder)}
        package = read_meta(folder)
        # Classes are not compared: the project's own code does not say what a file may build with them.
        own = project is not None and not package.types and is_own(folder / "code", package.features, project)
        model = _open(folder, package, package_digest(folder), trusted or own)
        # A later step may return the model as it is; it then is the same package.
        model._files = files
        return model


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Rows with the answers that training computed."""

    #: Raw input rows in the signature's columns, (n, columns).
    rows: pl.DataFrame
    #: The answers, float64 (n,).
    answers: Answers


def open_package(folder: Path, digest: str, trusted: bool) -> Model:
    """Return the model of an unpacked package, after comparing every file with the digest.

    Args:
        folder: what ``get_tree`` wrote.
        digest: the package's digest.
        trusted: a person granted that the code inside this digest may run.

    Raises:
        Corrupt: a file is missing, added or changed.
        Untrusted: the package has code, or classes that are not known here, and ``trusted`` is False; nothing of it ran.
        Refused: it was made with another release of scikit-learn.
    """
    check_package(folder, digest)
    return _open(folder, read_meta(folder), digest, trusted)


def check_package(folder: Path, digest: str) -> None:
    """Compare every file of an unpacked package with its digest; nothing of it runs.

    Args:
        folder: an unpacked package.
        digest: the digest that it must have.

    Raises:
        Corrupt: a file is missing, added or changed.
    """
    found = package_digest(folder)
    if found != digest:
        raise Corrupt(f"The package in {str(folder)!r} is {found[:12]}, not {digest[:12]}.", "Fetch it again; the folder may be removed.")


def package_digest(folder: Path) -> str:
    """Return the digest of a package's files, as its manifest has it.

    Args:
        folder: an unpacked package.
    """
    entries = []
    for path in _paths(folder):
        data = path.read_bytes()
        entries.append(FileEntry(path=path.relative_to(folder).as_posix(), digest=codec.digest(data), size=len(data)))
    return codec.digest(codec.canonical(Manifest(kind="model", files=tuple(sorted(entries, key=lambda entry: entry.path)), meta=_META)))


def read_meta(folder: Path) -> PackageMeta:
    """Return ``package.json``; nothing of the package runs.

    Args:
        folder: an unpacked package.

    Raises:
        Corrupt: it is missing or not readable.
    """
    try:
        return codec.from_json(_file(folder, "package.json"), PackageMeta, "package.json")
    except InvalidInput as error:
        raise Corrupt(error.fact, "Make the package again with plimsoll.Model.") from error


def read_answers(folder: Path, meta: PackageMeta) -> Reference:
    """Return the reference for parity; nothing of the package runs.

    Args:
        folder: an unpacked package.
        meta: its ``package.json``.

    Raises:
        Corrupt: it is missing or not readable.
    """
    frame = from_parquet(_file(folder, "answers.parquet"), (*meta.signature.inputs, meta.signature.output))
    return Reference(rows=frame.drop(PREDICTION), answers=frame.get_column(PREDICTION).to_numpy().astype(np.float64))


def _open(folder: Path, meta: PackageMeta, digest: str, trusted: bool) -> Model:
    if meta.features and not trusted:
        raise Untrusted(
            f"The package {digest[:12]} of {meta.model!r} has feature code that nobody has allowed to run.",
            f"Read it in {folder / 'code'}, then run: plimsoll models trust REF",
            digest=digest,
        )
    requirements.check(meta)
    if meta.flavor not in flavors.FILES:
        known = ", ".join(flavors.FILES)
        raise Corrupt(f"The package {digest[:12]} has the flavor {meta.flavor!r}.", f"This release knows {known}; use a newer one.")
    model = Model.__new__(Model)
    model.name, model.signature, model.purpose, model.meta = meta.model, meta.signature, meta.purpose, meta
    # A package cannot hold more than it declares: a grant for its code is looked up by what it declares.
    model.estimator = flavors.load(folder / flavors.FILES[meta.flavor], meta.types if trusted else ())
    model._rule = flavors.output_rule(model.estimator)
    model._schema = schema_of(meta.signature)
    model.example = from_parquet(_file(folder, "example.parquet"), meta.signature.inputs)
    model.features = load_function(folder / "code", meta.features, digest) if meta.features else None
    model.training = model.holdout = model._files = None
    return model


def _declared(name: str, project: Path) -> Purpose:
    purpose = read_project(project).models.get(name)
    if purpose is None:
        raise InvalidInput(
            f"Nothing says what the model {name!r} is for.", f"Declare [tool.plimsoll.models.{name}] in pyproject.toml, or give purpose=."
        )
    return purpose


def _check_function(features: Any) -> None:
    if features is None:
        return
    plain = inspect.isfunction(features) and features.__qualname__ == features.__name__ != "<lambda>" and features.__closure__ is None
    if not plain:
        raise InvalidInput(
            f"The feature function {getattr(features, '__qualname__', features)!r} is not a plain function of a module.",
            "Define it with def at the top level of a file of the project.",
        )


def _table_manifest(frame: pl.DataFrame, table: bytes) -> Manifest:
    entry = FileEntry(path=TABLE_FILE, digest=codec.digest(table), size=len(table))
    meta: dict[str, Json] = {"rows": frame.height, "columns": codec.plain(columns_of(frame))}
    return Manifest(kind="table", files=(entry,), meta=meta)


def _spread(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Return at most ``rows`` rows at even distances, so that an ordered frame is seen from end to end."""
    if frame.height <= rows:
        return frame
    return frame[np.linspace(0, frame.height - 1, rows).astype(np.int64)]


def _columns(made: Any) -> pl.DataFrame:
    """Return what a feature function gave as a frame to compare; arrays get numbered columns."""
    if isinstance(made, pl.DataFrame):
        return made
    if hasattr(made, "columns") or isinstance(made, Mapping):
        return as_polars(made)
    array = made.toarray() if hasattr(made, "toarray") else np.asarray(made)
    if array.ndim != 2:
        raise InvalidInput(f"The feature function gives {array.ndim} dimensions.", "Give a frame or an array (rows, columns).")
    return pl.DataFrame({f"column {index}": array[:, index] for index in range(array.shape[1])})


def _paths(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.relative_to(folder).parts]


def _file(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise Corrupt(f"The package in {str(folder)!r} has no {name}.", "Fetch the package again.")
    return path.read_bytes()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
