"""A live MLflow server, 2.x or 3.x, read over the interface that its own clients use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from plimsoll import clock
from plimsoll.errors import NotFound
from plimsoll.records.run import ModelUse
from plimsoll.records.tracking.dataset import DatasetUse
from plimsoll.records.tracking.logged_model import ModelMetric
from plimsoll.sdk.moving.sources.asked import AskedServer
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

_API = "/api/2.0/mlflow"

#: Runs on one page: each comes with all of its metrics, parameters and tags.
_RUNS = 100
_POINTS = 20_000

#: How deep folders of files may lie: deeper ones come from a server that makes them up.
_DEEPEST = 64

_PLAIN = re.compile(r"[^\x00-\x1f\x7f]+")


class ServerSource:
    """Reads a server.

    Args:
        url: its address.
        notes: gets what cannot be read.
    """

    def __init__(self, url: str, notes: Notes) -> None:
        self._server, self._notes = AskedServer(url), notes
        self.address = self._server.address
        #: Where each run and logged model that was listed keeps its files, as the server says.
        self._kept: dict[str, str] = {}

    def experiments(self) -> Iterator[SourceExperiment]:
        """Yield every experiment, also those that are deleted."""
        for row in self._server.pages("POST", f"{_API}/experiments/search", "experiments", max_results=1000, view_type="ALL"):
            found = self._notes.read("experiment", str(row.get("name")), partial(_experiment, row))
            if found:
                yield found

    def runs(self, experiment_id: str) -> Iterator[SourceRun]:
        """Yield the runs of an experiment, the oldest first, so that new ones come last.

        Args:
            experiment_id: the experiment's.
        """
        wanted = {"experiment_ids": [experiment_id], "run_view_type": "ALL", "order_by": ["attributes.start_time ASC"]}
        for row in self._server.pages("POST", f"{_API}/runs/search", "runs", max_results=_RUNS, **wanted):
            # One experiment's files at a time are looked for.
            info = _part(row, "info")
            found = self._notes.read("run", str(info.get("run_id")), partial(self._run, row))
            if found:
                self._kept = {found.id: str(info.get("artifact_uri") or "")}
                yield found

    def _run(self, row: dict[str, Any]) -> SourceRun:
        info, data = row["info"], row.get("data") or {}
        name, tags = named_run(info.get("run_name"), info.get("user_id"), _pairs(data.get("tags")))
        read = (row.get("inputs") or {}).get("model_inputs") or []
        made = (row.get("outputs") or {}).get("model_outputs") or []
        return SourceRun(
            id=str(info.get("run_id") or info["run_uuid"]),
            name=name,
            state=run_state(info.get("status")),
            started=micros(info.get("start_time")),
            ended=micros(info.get("end_time")),
            deleted=info.get("lifecycle_stage") == "deleted",
            params=_pairs(data.get("params")),
            tags=tags,
            metrics={str(each["key"]): _point(each) for each in data.get("metrics") or []},
            datasets=tuple(_use(each) for each in (row.get("inputs") or {}).get("dataset_inputs") or []),
            models=(
                *(ModelUse(model_id=str(each["model_id"]), role="input") for each in read),
                *(ModelUse(model_id=str(each["model_id"]), role="output", step=int(each.get("step") or 0)) for each in made),
            ),
        )

    def points(self, run_id: str, name: str) -> Iterator[Point]:
        """Yield a metric's history, by time, step and value, as the server orders it.

        Args:
            run_id: the run's.
            name: the metric's name.
        """
        wanted = {"run_id": run_id, "metric_key": name, "max_results": _POINTS}
        for row in self._server.pages("GET", f"{_API}/metrics/get-history", "metrics", **wanted):
            found = self._notes.read("point", f"{name} of {run_id}", lambda row=row: kept(_point(row)))  # type: ignore[misc]
            if found:
                yield found

    def files(self, owner: Owner) -> Iterator[SourceFile]:
        """Yield every file that a run or a logged model keeps.

        Args:
            owner: the one that was listed last.
        """
        yield from self._below(owner, "", 0)

    def _below(self, owner: Owner, folder: str, depth: int) -> Iterator[SourceFile]:
        if owner.logged:
            path = f"{_API}/logged-models/{quote(owner.id)}/artifacts/directories"
            pages = self._server.pages("GET", path, "files", artifact_directory_path=folder)
        else:
            pages = self._server.pages("GET", f"{_API}/artifacts/list", "files", run_id=owner.id, path=folder)
        for row in list(pages):
            name = str(row.get("path") or "")
            # A folder's files are below it; a server that says otherwise would lead in circles.
            below = name.startswith(f"{folder}/") if folder else bool(name)
            if not below or depth > _DEEPEST or not _PLAIN.fullmatch(name):
                yield SourceFile(name, None, "Its name is no path below its folder.")
            elif row.get("is_dir"):
                yield from self._below(owner, name, depth + 1)
            else:
                yield SourceFile(name, int(row.get("file_size") or 0))

    def fetch(self, owner: Owner, path: str, folder: Path) -> Path:
        """Return a file's content in a file of its own.

        Args:
            owner: the one that was listed last.
            path: as :meth:`files` gave it.
            folder: where the file is made.
        """
        to = folder / clock.new_id()
        root = self._kept.get(owner.id, "")
        if urlsplit(root).scheme == "mlflow-artifacts":
            self._server.download(f"/api/2.0/mlflow-artifacts/artifacts/{quote(urlsplit(root).path.strip('/'))}/{quote(path)}", to)
        elif owner.logged:
            at = f"/ajax-api/2.0/mlflow/logged-models/{quote(owner.id)}/artifacts/files"
            self._server.download(at, to, artifact_file_path=path)
        else:
            self._server.download("/get-artifact", to, path=path, run_uuid=owner.id)
        return to

    def logged_models(self, experiment_id: str) -> Iterator[SourceLogged]:
        """Yield the logged models of an experiment; a server before 3.0 has none.

        Args:
            experiment_id: the experiment's.
        """
        path = f"{_API}/logged-models/search"
        try:
            # Where experiments are deleted, their models are not found by id either.
            rows = list(self._server.pages("POST", path, "models", experiment_ids=[experiment_id], max_results=50))
        except NotFound:
            return
        for row in rows:
            info = _part(row, "info")
            found = self._notes.read("logged model", str(info.get("model_id")), partial(_logged, row))
            if found:
                self._kept = {found.id: str(info.get("artifact_uri") or "")}
                yield found

    def models(self) -> Iterator[SourceModel]:
        """Yield every registered model with its versions."""
        for row in self._server.pages("GET", f"{_API}/registered-models/search", "registered_models", max_results=100):
            found = self._notes.read("model", str(row.get("name")), partial(self._model, row))
            if found:
                yield found

    def _model(self, row: dict[str, Any]) -> SourceModel:
        name = str(row["name"])
        mark = '"' if "'" in name else "'"
        path = f"{_API}/model-versions/search"
        rows = self._server.pages("GET", path, "model_versions", filter=f"name = {mark}{name}{mark}", max_results=1000)
        return SourceModel(
            name=name,
            description=str(row.get("description") or ""),
            created=micros(row.get("creation_timestamp")),
            tags=_pairs(row.get("tags")),
            aliases={str(each["alias"]): int(each["version"]) for each in row.get("aliases") or []},
            versions=tuple(sorted((self._version(each) for each in rows), key=lambda version: version.number)),
        )

    def _version(self, row: dict[str, Any]) -> SourceVersion:
        told = self._server.get(f"{_API}/model-versions/get-download-uri", name=row["name"], version=row["version"])
        source = str(row.get("source") or "")
        return SourceVersion(
            number=int(row["version"]),
            description=str(row.get("description") or ""),
            stage=stage_named(row.get("current_stage")),
            source=source,
            stored=str(told.get("artifact_uri") or ""),
            run_id=str(row.get("run_id") or ""),
            model_id=str(row.get("model_id") or ""),
            created=micros(row.get("creation_timestamp")),
            tags=_pairs(row.get("tags")),
        )

    def close(self) -> None:
        """Close the connections."""
        self._server.close()


def _part(row: dict[str, Any], name: str) -> dict[str, Any]:
    found = row.get(name)
    return found if isinstance(found, dict) else {}


def _pairs(rows: Any) -> dict[str, str]:
    return {str(row["key"]): str(row.get("value") or "") for row in rows or []}


def _point(row: dict[str, Any]) -> Point:
    # Protobuf's JSON leaves out what is 0, and writes numbers that JSON lacks as words, which float reads.
    value = row.get("value")
    return Point(int(row.get("step") or 0), int(row.get("timestamp") or 0) * 1000, 0.0 if value is None else float(value))


def _experiment(row: dict[str, Any]) -> SourceExperiment:
    return SourceExperiment(
        id=str(row["experiment_id"]),
        name=str(row["name"]),
        tags=_pairs(row.get("tags")),
        created=micros(row.get("creation_time")),
        deleted=row.get("lifecycle_stage") == "deleted",
    )


def _use(row: dict[str, Any]) -> DatasetUse:
    return DatasetUse(dataset=dataset_of(row["dataset"], ""), tags=_pairs(row.get("tags")))


def _logged(row: dict[str, Any]) -> SourceLogged:
    info, data = row["info"], row.get("data") or {}
    return SourceLogged(
        id=str(info["model_id"]),
        name=str(info.get("name") or ""),
        kind=str(info.get("model_type") or ""),
        run_id=str(info.get("source_run_id") or ""),
        state=logged_state(info.get("status")),
        created=micros(info.get("creation_timestamp_ms")),
        params=_pairs(data.get("params")),
        tags=_pairs(info.get("tags")),
        metrics=tuple(_measured(info["model_id"], each) for each in data.get("metrics") or []),
    )


def _measured(id: str, row: dict[str, Any]) -> ModelMetric:
    point = _point(row)
    return ModelMetric(
        model_id=id,
        run_id=str(row.get("run_id") or ""),
        name=str(row["key"]),
        value=point.value,
        step=point.step,
        time=point.time,
        dataset=str(row.get("dataset_name") or ""),
        digest=str(row.get("dataset_digest") or ""),
    )
