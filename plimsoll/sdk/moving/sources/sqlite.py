"""A database file of an MLflow server, opened so that nothing can be written to it. Its rows are read as they are, without its code."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.run import ModelUse
from plimsoll.records.tracking.dataset import DatasetUse
from plimsoll.records.tracking.logged_model import ModelMetric
from plimsoll.sdk.moving.sources.files import Folders, inside, listed, remote, shown
from plimsoll.sdk.moving.sources.source import (
    Notes,
    Owner,
    Point,
    SourceExperiment,
    SourceFile,
    SourceLogged,
    SourceModel,
    SourceRun,
    SourceVersion,
    dataset_of,
    kept,
    logged_state,
    micros,
    named_run,
    run_state,
    stage_named,
)

#: Folders beside the file in which MLflow keeps files when nothing else is said.
_BESIDE = ("mlartifacts", "mlruns")


class SqliteSource:
    """Reads a database file.

    Args:
        path: the file.
        notes: gets what cannot be read.
        artifacts: folder in which files are looked for first, or None.

    Raises:
        InvalidInput: it is no database of an MLflow server.
    """

    def __init__(self, path: Path, notes: Notes, artifacts: Path | None = None) -> None:
        self.address = str(path)
        self._notes = notes
        self._files = Folders([*([artifacts] if artifacts else []), *(path.parent / name for name in _BESIDE)])
        try:
            self._database, self._tables = _opened(path)
        except sqlite3.Error as error:
            raise InvalidInput(f"{path} cannot be read as an SQLite database: {error}.", "Name the server's database file.") from error
        if not {"experiments", "runs", "metrics", "latest_metrics", "params", "tags"} <= self._tables:
            self._database.close()
            raise InvalidInput(f"{path} is no database of an MLflow server: it lacks its tables.", "Name the server's database file.")

    def _rows(self, table: str, where: str = "1", *values: object, order: str = "1") -> Iterator[dict[str, Any]]:
        """Yield rows of a table; none when the server was too old to have it. Only names that stand in this file are put together."""
        if table in self._tables:
            for row in self._database.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY {order}", values):
                yield dict(row)

    def _pairs(self, table: str, where: str, *values: object, key: str = "key", value: str = "value") -> dict[str, str]:
        return {str(row[key]): str(row[value] or "") for row in self._rows(table, where, *values)}

    def experiments(self) -> Iterator[SourceExperiment]:
        """Yield every experiment, also those that are deleted."""
        for row in list(self._rows("experiments", order="experiment_id")):
            yield SourceExperiment(
                id=str(row["experiment_id"]),
                name=str(row["name"]),
                tags=self._pairs("experiment_tags", "experiment_id = ?", row["experiment_id"]),
                created=micros(row.get("creation_time")),
                deleted=row["lifecycle_stage"] == "deleted",
            )

    def runs(self, experiment_id: str) -> Iterator[SourceRun]:
        """Yield the runs of an experiment, the oldest first.

        Args:
            experiment_id: the experiment's.
        """
        of = "SELECT run_uuid FROM runs WHERE experiment_id = ? ORDER BY start_time, run_uuid"
        for (id,) in self._database.execute(of, (int(experiment_id),)).fetchall():
            for row in list(self._rows("runs", "run_uuid = ?", id)):
                found = self._notes.read("run", str(id), partial(self._run, str(id), row))
                if found:
                    yield found

    def _run(self, id: str, row: dict[str, Any]) -> SourceRun:
        name, tags = named_run(row["name"], row["user_id"], self._pairs("tags", "run_uuid = ?", id))
        last = {str(each["key"]): _point(each) for each in self._rows("latest_metrics", "run_uuid = ?", id)}
        return SourceRun(
            id=id,
            name=name,
            state=run_state(row["status"]),
            started=micros(row["start_time"]),
            ended=micros(row["end_time"]),
            deleted=row["lifecycle_stage"] == "deleted",
            params=self._pairs("params", "run_uuid = ?", id),
            tags=tags,
            metrics=last,
            datasets=tuple(self._datasets(id)),
            models=tuple(self._uses(id)),
        )

    def _datasets(self, run_id: str) -> Iterator[DatasetUse]:
        for used in self._rows("inputs", "source_type = 'DATASET' AND destination_type = 'RUN' AND destination_id = ?", run_id):
            tags = self._pairs("input_tags", "input_uuid = ?", used["input_uuid"], key="name")
            for row in self._rows("datasets", "dataset_uuid = ?", used["source_id"]):
                found = self._notes.read("dataset", f"{run_id} {row['name']}", partial(dataset_of, row, "dataset_"))
                if found:
                    yield DatasetUse(dataset=found, tags=tags)

    def _uses(self, run_id: str) -> Iterator[ModelUse]:
        for row in self._rows("inputs", "source_type = 'RUN_INPUT' AND source_id = ?", run_id):
            yield ModelUse(model_id=str(row["destination_id"]), role="input")
        for row in self._rows("inputs", "source_type = 'RUN_OUTPUT' AND source_id = ?", run_id):
            yield ModelUse(model_id=str(row["destination_id"]), role="output", step=int(row.get("step") or 0))

    def points(self, run_id: str, name: str) -> Iterator[Point]:
        """Yield a metric's history.

        Args:
            run_id: the run's.
            name: the metric's name.
        """
        for row in self._rows("metrics", "run_uuid = ? AND key = ?", run_id, name, order="step, timestamp, is_nan DESC, value"):
            found = self._notes.read("point", f"{name} of {run_id}", lambda row=row: kept(_point(row)))  # type: ignore[misc]
            if found:
                yield found

    def _place(self, owner: Owner) -> Path | None:
        table, id, column = ("logged_models", "model_id", "artifact_location") if owner.logged else ("runs", "run_uuid", "artifact_uri")
        told = next((str(row[column] or "") for row in self._rows(table, f"{id} = ?", owner.id)), "")
        return self._files.find(told, f"{owner.experiment_id}/{'models/' if owner.logged else ''}{owner.id}/artifacts")

    def files(self, owner: Owner) -> Iterator[SourceFile]:
        """Yield every file that a run or a logged model keeps.

        Args:
            owner: one that was listed.
        """
        place = self._place(owner)
        if place is not None:
            yield from listed(place)
            return
        table, id, column = ("logged_models", "model_id", "artifact_location") if owner.logged else ("runs", "run_uuid", "artifact_uri")
        told = next((str(row[column] or "") for row in self._rows(table, f"{id} = ?", owner.id)), "")
        if remote(told):
            self._notes.leave("artifacts", owner.id, f"They are kept at {shown(told)}, not read. Copy them and name --artifacts.")
        elif not self._files.roots:
            reason = "There is no folder mlruns or mlartifacts beside the database. Name the folder of the files with --artifacts."
            self._notes.leave_once("artifacts", "of all runs", reason)

    def fetch(self, owner: Owner, path: str, folder: Path) -> Path:
        """Return the source's own file.

        Args:
            owner: one that was listed.
            path: as :meth:`files` gave it.
            folder: not needed.
        """
        return inside(self._place(owner), path)

    def logged_models(self, experiment_id: str) -> Iterator[SourceLogged]:
        """Yield the logged models of an experiment, the oldest first.

        Args:
            experiment_id: the experiment's.
        """
        mine = "experiment_id = ? AND lifecycle_stage = 'active'"
        for row in list(self._rows("logged_models", mine, int(experiment_id), order="creation_timestamp_ms, model_id")):
            id = str(row["model_id"])
            yield SourceLogged(
                id=id,
                name=str(row["name"]),
                kind=str(row["model_type"] or ""),
                run_id=str(row["source_run_id"] or ""),
                state=logged_state(row["status"]),
                created=micros(row["creation_timestamp_ms"]),
                params=self._pairs("logged_model_params", "model_id = ?", id, key="param_key", value="param_value"),
                tags=self._pairs("logged_model_tags", "model_id = ?", id, key="tag_key", value="tag_value"),
                metrics=tuple(self._measured(id)),
            )

    def _measured(self, id: str) -> Iterator[ModelMetric]:
        for row in self._rows("logged_model_metrics", "model_id = ?", id, order="metric_step, metric_timestamp_ms"):
            value = row["metric_value"]
            yield ModelMetric(
                model_id=id,
                run_id=str(row["run_id"]),
                name=str(row["metric_name"]),
                value=math.nan if value is None else float(value),
                step=int(row["metric_step"]),
                time=int(row["metric_timestamp_ms"]) * 1000,
                dataset=str(row["dataset_name"] or ""),
                digest=str(row["dataset_digest"] or ""),
            )

    def models(self) -> Iterator[SourceModel]:
        """Yield every registered model with its versions, by name."""
        for row in list(self._rows("registered_models", order="name")):
            name = str(row["name"])
            yield SourceModel(
                name=name,
                description=str(row["description"] or ""),
                created=micros(row["creation_time"]),
                tags=self._pairs("registered_model_tags", "name = ?", name),
                aliases={
                    alias: int(number)
                    for alias, number in self._pairs("registered_model_aliases", "name = ?", name, key="alias", value="version").items()
                },
                versions=tuple(self._versions(name)),
            )

    def _versions(self, model: str) -> Iterator[SourceVersion]:
        kept = "name = ? AND current_stage <> 'Deleted_Internal'"
        for row in list(self._rows("model_versions", kept, model, order="version")):
            # Made of a logged model, a version says so in its source alone.
            source = str(row["source"] or "")
            yield SourceVersion(
                number=int(row["version"]),
                description=str(row["description"] or ""),
                stage=stage_named(row["current_stage"]),
                source=source,
                stored=str(row.get("storage_location") or ""),
                run_id=str(row["run_id"] or ""),
                model_id=source.removeprefix("models:/") if source.startswith("models:/m-") else "",
                created=micros(row["creation_time"]),
                tags=self._pairs("model_version_tags", "name = ? AND version = ?", model, row["version"]),
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _opened(path: Path) -> tuple[sqlite3.Connection, set[str]]:
    """Return a connection that cannot write, and the names of the tables."""
    # A file whose folder cannot be written has no place for the lock of a reader, and nobody writes to it either.
    modes = ("mode=ro",) if os.access(path.parent, os.W_OK) else ("mode=ro", "mode=ro&immutable=1")
    for mode in modes:
        database = sqlite3.connect(f"file:{quote(str(path))}?{mode}", uri=True, timeout=30)
        database.row_factory = sqlite3.Row
        database.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.Error:
            database.close()
            if mode == modes[-1]:
                raise
            continue
        return database, tables
    raise NotFound(f"There is no database at {path}.", "Name the server's database file.")


def _point(row: dict[str, Any]) -> Point:
    return Point(int(row["step"] or 0), int(row["timestamp"]) * 1000, math.nan if row["is_nan"] else float(row["value"]))
