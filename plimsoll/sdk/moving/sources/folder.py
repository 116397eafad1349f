"""An ``mlruns`` folder, as MLflow's file store keeps it: a folder an experiment, a folder a run, a file a metric."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from plimsoll import extras
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.run import ModelUse
from plimsoll.records.tracking.dataset import DatasetUse
from plimsoll.records.tracking.logged_model import ModelMetric
from plimsoll.sdk.moving.sources.files import Folders, inside, listed, remote, shown
from plimsoll.sdk.moving.sources.ordered import in_order, place_of
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

_META = "meta.yaml"
_RUN, _LOGGED = re.compile(r"[0-9a-f]{32}"), re.compile(r"m-[0-9a-f]{32}")


class FolderSource:
    """Reads a file store.

    Args:
        folder: the ``mlruns`` folder.
        notes: gets what cannot be read.
        artifacts: a further folder in which files are looked for, or None.

    Raises:
        InvalidInput: it is no such folder.
        MissingExtra: there is nothing that reads YAML.
    """

    def __init__(self, folder: Path, notes: Notes, artifacts: Path | None = None) -> None:
        self.address = str(folder)
        self._yaml = extras.require("yaml")
        self._folder, self._notes = folder, notes
        self._files = Folders([folder, *([artifacts] if artifacts else [])])
        #: Folder of each run and logged model that was listed.
        self._kept: dict[str, Path] = {}
        if not any(path.is_file() for path in (*folder.glob(f"*/{_META}"), *folder.glob(f"models/*/{_META}"))):
            raise InvalidInput(
                f"{folder} holds no experiment: no {_META} in any folder of it.",
                "Name the mlruns folder itself, a database file such as mlflow.db, or a server's URL.",
            )

    def _meta(self, folder: Path, kind: str) -> dict[str, Any] | None:
        """Return a folder's description; None, noted, when there is none that can be read."""
        try:
            found = self._yaml.safe_load((folder / _META).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
            reason = f"Its {_META} holds no fields."
        except (OSError, UnicodeDecodeError, self._yaml.YAMLError, RecursionError) as error:
            reason = f"Its {_META} cannot be read: {' '.join(str(error).split())[:300]}"
        self._notes.leave(kind, str(folder.relative_to(self._folder)), reason)
        return None

    def _homes(self) -> Iterator[Path]:
        yield from (path for path in _folders(self._folder) if path.name not in ("models", ".trash"))
        yield from _folders(self._folder / ".trash")

    def experiments(self) -> Iterator[SourceExperiment]:
        """Yield every experiment, also those that are deleted."""
        for home in self._homes():
            if not (home / _META).exists():
                continue
            meta = self._meta(home, "experiment")
            found = meta and self._notes.read("experiment", home.name, partial(self._experiment, home, meta))
            if found:
                yield found

    def _experiment(self, home: Path, meta: dict[str, Any]) -> SourceExperiment:
        return SourceExperiment(
            # The folder's name is what finds it again.
            id=home.name,
            name=str(meta.get("name") or home.name),
            tags=self._texts(home / "tags"),
            created=micros(meta.get("creation_time")),
            deleted=home.parent != self._folder or meta.get("lifecycle_stage") == "deleted",
        )

    def _home(self, experiment_id: str) -> Path:
        found = next((home for home in self._homes() if home.name == experiment_id), None)
        if found is None:
            raise NotFound(f"The folder of the experiment {experiment_id} is not there any more.", "Run the same command again.")
        return found

    def runs(self, experiment_id: str) -> Iterator[SourceRun]:
        """Yield the runs of an experiment, by id.

        Args:
            experiment_id: the experiment's.
        """
        home = self._home(experiment_id)
        for folder in _folders(home):
            meta = self._meta(folder, "run") if _RUN.fullmatch(folder.name) else None
            found = meta and self._notes.read("run", folder.name, partial(self._run, home, folder, meta))
            if found:
                self._kept[folder.name] = folder
                yield found

    def _run(self, home: Path, folder: Path, meta: dict[str, Any]) -> SourceRun:
        name, tags = named_run(meta.get("run_name"), meta.get("user_id"), self._texts(folder / "tags"))
        metrics = {name: last for name in _names(folder / "metrics") if (last := self._last(folder, name)) is not None}
        return SourceRun(
            id=folder.name,
            name=name,
            state=run_state(meta.get("status")),
            started=micros(meta.get("start_time")),
            ended=micros(meta.get("end_time")),
            deleted=meta.get("lifecycle_stage") == "deleted",
            params=self._texts(folder / "params"),
            tags=tags,
            metrics=metrics,
            datasets=tuple(self._datasets(home, folder)),
            models=tuple(self._uses(folder)),
        )

    def _last(self, folder: Path, name: str) -> Point | None:
        def bad(number: int, line: str) -> None:
            self._notes.leave("point", f"{folder.name} {name} line {number}", f"It is no point: {line.strip()[:80]!r}")

        return max(_points(folder / "metrics" / name, bad), key=place_of, default=None)

    def points(self, run_id: str, name: str) -> Iterator[Point]:
        """Yield a metric's history.

        Args:
            run_id: a run that was listed.
            name: the metric's name.
        """
        path = self._kept[run_id] / "metrics" / name
        return in_order(lambda: _points(path))

    def _datasets(self, home: Path, folder: Path) -> Iterator[DatasetUse]:
        for used in _folders(folder / "inputs"):
            meta = self._meta(used, "dataset")
            if meta is None or meta.get("source_type") != "DATASET":
                continue
            told = self._meta(home / "datasets" / str(meta.get("source_id")), "dataset")
            if told is not None:
                found = self._notes.read("dataset", f"{folder.name} {told.get('name')}", partial(_use, told, meta))
                if found:
                    yield found

    def _uses(self, folder: Path) -> Iterator[ModelUse]:
        for read in _folders(folder / "inputs"):
            meta = self._meta(read, "model input")
            if meta is not None and meta.get("source_type") == "MODEL":
                yield ModelUse(model_id=str(meta.get("source_id")), role="input")
        for made in _folders(folder / "outputs"):
            meta = self._meta(made, "model output")
            if meta is not None:
                yield ModelUse(model_id=str(meta.get("source_id")), role="output", step=int(meta.get("step") or 0))

    def _place(self, owner: Owner) -> Path | None:
        folder = self._kept.get(owner.id)
        if folder is None:
            return None
        meta = self._meta(folder, "artifacts") or {}
        here = folder / "artifacts"
        if here.is_dir() and any(here.iterdir()):
            return here
        address = str(meta.get("artifact_uri") or meta.get("artifact_location") or "")
        found = self._files.find(address)
        if found is None and remote(address):
            self._notes.leave(
                "artifacts", owner.id, f"They are kept at {shown(address)}, which is not read. Copy them and name --artifacts."
            )
        return found or (here if here.is_dir() else None)

    def files(self, owner: Owner) -> Iterator[SourceFile]:
        """Yield every file that a run or a logged model keeps.

        Args:
            owner: one that was listed.
        """
        place = self._place(owner)
        if place is not None:
            yield from listed(place)

    def fetch(self, owner: Owner, path: str, folder: Path) -> Path:
        """Return the source's own file.

        Args:
            owner: one that was listed.
            path: as :meth:`files` gave it.
            folder: not needed.
        """
        return inside(self._place(owner), path)

    def logged_models(self, experiment_id: str) -> Iterator[SourceLogged]:
        """Yield the logged models of an experiment, by id.

        Args:
            experiment_id: the experiment's.
        """
        for folder in _folders(self._home(experiment_id) / "models"):
            meta = self._meta(folder, "logged model") if _LOGGED.fullmatch(folder.name) else None
            if meta is None or meta.get("lifecycle_stage") == "deleted":
                continue
            found = self._notes.read("logged model", folder.name, partial(self._logged, folder, meta))
            if found:
                self._kept[folder.name] = folder
                yield found

    def _logged(self, folder: Path, meta: dict[str, Any]) -> SourceLogged:
        return SourceLogged(
            id=folder.name,
            name=str(meta.get("name") or ""),
            kind=str(meta.get("model_type") or ""),
            run_id=str(meta.get("source_run_id") or ""),
            state=logged_state(meta.get("status")),
            created=micros(meta.get("creation_timestamp")),
            params=self._texts(folder / "params"),
            tags=self._texts(folder / "tags"),
            metrics=tuple(_measured(folder)),
        )

    def models(self) -> Iterator[SourceModel]:
        """Yield every registered model with its versions, by name."""
        for folder in _folders(self._folder / "models"):
            meta = self._meta(folder, "model")
            found = meta and self._notes.read("model", folder.name, partial(self._model, folder, meta))
            if found:
                yield found

    def _model(self, folder: Path, meta: dict[str, Any]) -> SourceModel:
        return SourceModel(
            name=str(meta.get("name") or folder.name),
            description=str(meta.get("description") or ""),
            created=micros(meta.get("creation_timestamp")),
            tags=self._texts(folder / "tags"),
            aliases={name: int(number) for name, number in self._texts(folder / "aliases").items()},
            versions=tuple(sorted(self._versions(folder), key=lambda version: version.number)),
        )

    def _versions(self, model: Path) -> Iterator[SourceVersion]:
        for folder in _folders(model):
            number = folder.name.removeprefix("version-")
            meta = self._meta(folder, "version") if folder.name.startswith("version-") and number.isdecimal() else None
            if meta is None or meta.get("current_stage") == "Deleted_Internal":
                continue
            found = self._notes.read("version", f"{model.name}/{number}", partial(self._version, folder, int(number), meta))
            if found:
                yield found

    def _version(self, folder: Path, number: int, meta: dict[str, Any]) -> SourceVersion:
        return SourceVersion(
            number=number,
            description=str(meta.get("description") or ""),
            stage=stage_named(meta.get("current_stage")),
            source=str(meta.get("source") or ""),
            stored=str(meta.get("storage_location") or ""),
            run_id=str(meta.get("run_id") or ""),
            model_id=str(meta.get("model_id") or ""),
            created=micros(meta.get("creation_timestamp")),
            tags=self._texts(folder / "tags"),
        )

    def _texts(self, folder: Path) -> dict[str, str]:
        """Return what is kept a file each: name -> text."""
        found = {}
        for name in _names(folder):
            text = self._notes.read("text", f"{folder.relative_to(self._folder)}/{name}", partial(_text, folder / name))
            if text is not None:
                found[name] = text
        return found

    def close(self) -> None:
        """Nothing is open."""


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _names(folder: Path) -> list[str]:
    """Return the names of what is kept in files: a name with ``/`` lies in a folder."""
    return [each.path for each in listed(folder) if not each.fault] if folder.is_dir() else []


def _text(path: Path) -> str:
    # Line ends are part of a value.
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _points(path: Path, bad: Callable[[int, str], None] | None = None) -> Iterator[Point]:
    """Yield the points of a file in its order; a line is ``time value``, ``time value step``, or that with a dataset."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            parts = line.split()
            try:
                point = kept(Point(int(parts[2]) if len(parts) > 2 else 0, int(parts[0]) * 1000, float(parts[1])))
            except (IndexError, ValueError):
                if bad and parts:
                    bad(number, line)
                continue
            yield point


def _use(told: dict[str, Any], meta: dict[str, Any]) -> DatasetUse:
    tags = {str(key): str(value) for key, value in (meta.get("tags") or {}).items()}
    return DatasetUse(dataset=dataset_of(told, ""), tags=tags)


def _measured(folder: Path) -> Iterator[ModelMetric]:
    """Yield what was measured of a logged model: lines are ``time value step run`` and perhaps a dataset's name and digest."""
    for name in _names(folder / "metrics"):
        for line in (folder / "metrics" / name).read_text(encoding="utf-8").splitlines():
            parts = line.split()
            if len(parts) not in (4, 6):
                continue
            more = {"dataset": parts[4], "digest": parts[5]} if len(parts) == 6 else {}
            time, value, step = int(parts[0]) * 1000, float(parts[1]), int(parts[2])
            yield ModelMetric(model_id=folder.name, run_id=parts[3], name=name, value=value, step=step, time=time, **more)
