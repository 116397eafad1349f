"""Everything that tracking and the registry hold as Parquet and blobs, readable without Plimsoll: a folder that is whole, or none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll import codec
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Conflict, NotFound
from plimsoll.records.model import Version
from plimsoll.records.registry.catalog import SearchModels, SearchVersions
from plimsoll.records.run import Artifact, GetRun, GetSeries, RunDetail
from plimsoll.records.tracking.experiment import Experiment, GetExperiment, ListExperiments
from plimsoll.records.tracking.find import SearchRuns
from plimsoll.records.tracking.logged_model import ListModelFiles, LoggedModel, SearchLoggedModels
from plimsoll.runs.described import param_text
from plimsoll.runs.outputs.files import FILE
from plimsoll.sdk.door import Door
from plimsoll.sdk.leaving.tables import TABLES, Table

#: Written into the manifest; rises when a column changes its meaning or goes.
FORMAT = 1

_PAGE, _POINTS = 200, 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export holds: its ``manifest.json``."""

    #: Version of this layout.
    format: int
    #: Rows of each table.
    rows: dict[str, int]
    #: BLAKE3 digest of each Parquet file.
    files: dict[str, str]
    #: Number of blobs; each is named by its digest.
    blobs: int
    #: Bytes of all blobs.
    bytes: int
    #: Digests that are named and not stored any more.
    missing: tuple[str, ...]


def export(door: Door, folder: Path, experiment: str | None, tell: Callable[[str], None]) -> Exported:
    """Write everything, or the runs of one experiment and the models, to a new folder. The same store gives the same bytes.

    Args:
        door: where from.
        folder: appears when it is whole; it must not be there.
        experiment: name of the only experiment; None is all of them.
        tell: told where the export stands, in a few words.

    Raises:
        Conflict: the folder is there, or one is that an export has left unfinished.
        NotFound: there is no such experiment.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    if folder.exists() or folder.is_symlink():
        raise Conflict(f"{folder} is there already.", "Name a folder that is not there.")
    chosen = door.do(ListExperiments(deleted=True)) if experiment is None else (door.do(GetExperiment(name=experiment)),)
    try:
        unfinished.mkdir(parents=True)
    except FileExistsError as error:
        raise Conflict(f"{unfinished} is there: an export was cut off, or goes on.", f"When none goes on: rm -r {unfinished}") from error
    try:
        found = _Export(door, unfinished, tell).all(sorted(chosen, key=lambda each: (len(each.id), each.id)))
        (unfinished / "manifest.json").write_bytes(codec.to_json(found) + b"\n")
        unfinished.rename(folder)
    except BaseException:
        # Only a process that is killed leaves something.
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return found


class _Export:
    def __init__(self, door: Door, folder: Path, tell: Callable[[str], None]) -> None:
        self._door, self._folder, self._tell = door, folder, tell
        self._tables = {name: Table(folder, name) for name in TABLES}
        (folder / "blobs").mkdir()
        self._blobs: set[str] = set()
        self._trees: set[str] = set()
        self._missing: set[str] = set()
        self._bytes = 0

    def all(self, chosen: list[Experiment]) -> Exported:
        """Write everything of these experiments, and the registry."""
        for each in chosen:
            times = {"created": each.created, "updated": each.updated, "deleted": each.deleted}
            self._tables["experiments"].add(id=each.id, name=each.name, tags_json=_json(each.tags), **times)
            for number, run_id in enumerate(self._run_ids(each), 1):
                self._tell(f"{each.name}: run {number}, {self._tables['points'].count:,} points, {len(self._blobs):,} files")
                self._run(self._door.do(GetRun(id=run_id)))
            if each.deleted is None:
                self._logged_models(each)
        self._registry()
        for table in self._tables.values():
            table.close()
        return Exported(
            format=FORMAT,
            rows={name: table.count for name, table in self._tables.items()},
            files={path: digest for table in self._tables.values() for path, digest in table.files.items()},
            blobs=len(self._blobs),
            bytes=self._bytes,
            missing=tuple(sorted(self._missing)),
        )

    def _run_ids(self, experiment: Experiment) -> Iterator[str]:
        page: str | None = None
        while True:
            asked = SearchRuns(experiments=(experiment.id,), view="all", limit=_PAGE, page=page, metrics=(), params=(), tags=())
            found = self._door.do(asked)
            yield from (detail.run.id for detail in found.runs)
            page = found.next
            if page is None:
                return

    def _run(self, detail: RunDetail) -> None:
        run, tables = detail.run, self._tables
        packed = {f"{name}_json": _json(codec.plain(getattr(run, name))) for name in ("cause", "code", "machine")}
        same = ("id", "experiment_id", "experiment", "name", "state", "author", "error", "environment", "started", "ended", "deleted")
        tables["runs"].add(**{name: getattr(run, name) for name in same}, **packed)
        for name, value in run.params.items():
            tables["params"].add(run_id=run.id, name=name, value=param_text(value), value_json=_json(value))
        for name, text in run.tags.items():
            tables["tags"].add(run_id=run.id, name=name, value=text)
        for series in detail.metrics:
            tables["metrics"].add(run_id=run.id, **codec.plain(series))
            self._points(run.id, series.name)
        for use in detail.datasets:
            tables["datasets"].add(run_id=run.id, tags_json=_json(use.tags), **codec.plain(use.dataset))
        for read in detail.inputs:
            tables["inputs"].add(run_id=run.id, name=read.name, digest=read.digest)
            self._tree(read.digest)
        for model in detail.models:
            tables["model_uses"].add(run_id=run.id, **codec.plain(model))
        self._artifacts(run.id, detail.artifacts)
        for digest in (run.environment, run.code.dirty_diff):
            if digest:
                self._blob(digest)

    def _points(self, run_id: str, name: str) -> None:
        first = 0
        while True:
            page = self._door.do(GetSeries(run_id=run_id, name=name, first=first, limit=_POINTS))
            columns = {"step": page.steps, "time": page.times, "value": page.values}
            self._tables["points"].extend(len(page.steps), run_id=run_id, name=name, **columns)
            first += len(page.steps)
            if not page.steps or first >= page.count:
                return

    def _artifacts(self, owner: str, kept: tuple[Artifact, ...]) -> None:
        for each in kept:
            self._tables["artifacts"].add(owner=owner, **codec.plain(each))
            if each.kind == FILE:
                self._blob(each.digest)
            else:
                self._tree(each.digest)

    def _logged_models(self, experiment: Experiment) -> None:
        page: str | None = None
        while True:
            found = self._door.do(SearchLoggedModels(experiments=(experiment.id,), limit=_PAGE, page=page))
            for model in found.models:
                self._logged_model(model)
            page = found.next
            if page is None:
                return

    def _logged_model(self, model: LoggedModel) -> None:
        packed = {f"{name}_json": _json(codec.plain(getattr(model, name))) for name in ("params", "tags", "metrics")}
        same = ("id", "experiment_id", "name", "kind", "run_id", "state", "author", "created", "updated")
        self._tables["logged_models"].add(**{name: getattr(model, name) for name in same}, **packed)
        self._artifacts(model.id, self._door.do(ListModelFiles(id=model.id)))

    def _registry(self) -> None:
        page: str | None = None
        while True:
            models = self._door.do(SearchModels(order=("name ASC",), limit=_PAGE, page=page))
            for model in models.models:
                self._tell(f"model {model.name}")
                times = {"created": model.created, "updated": model.updated}
                self._tables["models"].add(name=model.name, description=model.description, tags_json=_json(model.tags), **times)
                for alias, number in model.aliases.items():
                    self._tables["aliases"].add(model=model.name, alias=alias, number=number)
            page = models.next
            if page is None:
                break
        while True:
            versions = self._door.do(SearchVersions(order=("name ASC", "version_number ASC"), limit=_PAGE, page=page))
            for version in versions.versions:
                self._version(version)
            page = versions.next
            if page is None:
                return

    def _version(self, version: Version) -> None:
        same = ("model", "number", "digest", "run_id", "model_id", "author", "description", "stage", "source", "created", "updated")
        packed = {"tags_json": _json(version.tags), "package_json": None if version.meta is None else _json(codec.plain(version.meta))}
        self._tables["versions"].add(**{name: getattr(version, name) for name in same}, **packed)
        self._tree(version.digest)

    def _tree(self, digest: str) -> None:
        """Write a tree's manifest, its files, and which they are."""
        if digest in self._trees:
            return
        self._trees.add(digest)
        self._blob(digest)
        try:
            files = get_manifest(self._door.blobs, digest).files
        except NotFound:
            return
        for entry in files:
            self._tables["files"].add(tree=digest, path=entry.path, digest=entry.digest, size=entry.size)
            self._blob(entry.digest)

    def _blob(self, digest: str) -> None:
        if digest in self._blobs or digest in self._missing:
            return
        path = self._folder / "blobs" / digest[:2] / digest
        try:
            self._door.blobs.get_file(digest, path)
        except NotFound:
            self._missing.add(digest)
            return
        self._blobs.add(digest)
        self._bytes += path.stat().st_size


def _json(value: Any) -> str:
    return codec.to_json(value).decode()
