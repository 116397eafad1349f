"""Logged models, registered models, their versions and aliases are moved in after the runs, whose files they name."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from plimsoll.errors import Conflict, NotFound
from plimsoll.records.mlflow.words import PROMPT_TAG
from plimsoll.records.model import GetVersion, Version
from plimsoll.records.registry.catalog import (
    AdoptFiles,
    CreateModel,
    DescribeModel,
    GetModel,
    RegisteredModel,
    SetAlias,
    TagModel,
    TagVersion,
    UpdateVersion,
    check_notes,
)
from plimsoll.records.run import GetRun
from plimsoll.records.tracking.experiment import check_tags
from plimsoll.records.tracking.logged_model import (
    CreateLoggedModel,
    FinishLoggedModel,
    ListModelFiles,
    LogModelMetrics,
    LogModelParams,
    ModelMetric,
    TagLoggedModel,
)
from plimsoll.sdk.door import Door
from plimsoll.sdk.moving.artifacts import ArtifactCopy
from plimsoll.sdk.moving.ledger import Ledger
from plimsoll.sdk.moving.sources.source import Owner, Source, SourceExperiment, SourceLogged, SourceModel, SourceVersion

_KEPT = re.compile(r"(?:^|/)(m-[0-9a-f]{32}|[0-9a-f]{32})/artifacts(?:/(.*))?$")
_NAMED = re.compile(r"(?:runs:/+([0-9a-f]{32})|models:/+(m-[0-9a-f]{32}))(?:/(.*))?$")
_COPIED = re.compile(r"models:/+([^/@]+/\d+)$")


class CatalogCopy:
    """Copies models of both kinds.

    Args:
        door: where to.
        source: where from.
        ledger: gets what happened.
        artifacts: copies files.
        tell: told where the copy stands.
    """

    def __init__(self, door: Door, source: Source, ledger: Ledger, artifacts: ArtifactCopy, tell: Callable[[str], None]) -> None:
        self._door, self._source, self._ledger, self._artifacts, self._tell = door, source, ledger, artifacts, tell

    def logged(self, found: SourceExperiment, experiment_id: str) -> None:
        """Bring the logged models of an experiment.

        Args:
            found: the experiment at the source.
            experiment_id: id of the experiment here.
        """
        for model in self._source.logged_models(found.id):
            self._tell(f"{found.name}: logged model {model.name}")
            with self._ledger.refusals("logged model", model.id):
                self._logged(model, found, experiment_id)

    def _logged(self, model: SourceLogged, found: SourceExperiment, experiment_id: str) -> None:
        check_tags(model.tags)
        made = self._door.do(
            CreateLoggedModel(
                experiment_id=experiment_id,
                id=model.id,
                name=model.name,
                kind=model.kind,
                run_id=model.run_id if self._has_run(model.run_id) else "",
                params=model.params,
                tags=model.tags,
                created=model.created,
            )
        )
        if made.deleted is not None:
            self._ledger.here("logged model")
            return
        self._artifacts.copy(Owner(model.id, found.id), {kept.name: kept for kept in self._door.do(ListModelFiles(id=model.id))})
        if params := {name: value for name, value in model.params.items() if name not in made.params}:
            self._door.do(LogModelParams(id=model.id, params=params))
        if tags := {name: value for name, value in model.tags.items() if made.tags.get(name) != value}:
            self._door.do(TagLoggedModel(id=model.id, tags=tags))
        known = {_key(each): (each.step, each.time) for each in made.metrics}
        if new := tuple(each for each in model.metrics if known.get(_key(each)) != (each.step, each.time) and self._has_run(each.run_id)):
            self._door.do(LogModelMetrics(metrics=new))
        if made.state != model.state:
            self._door.do(FinishLoggedModel(id=model.id, state=model.state))
            self._ledger.copied("logged model")
        else:
            self._ledger.here("logged model")

    def _has_run(self, id: str) -> bool:
        try:
            return bool(id) and self._door.do(GetRun(id=id)).run.deleted is None
        except NotFound:
            return False

    def registered(self) -> None:
        """Bring the registered models with their versions and aliases."""
        for model in self._source.models():
            self._tell(f"model {model.name}")
            with self._ledger.refusals("model", model.name):
                self._model(model)

    def _model(self, model: SourceModel) -> None:
        if model.tags.get(PROMPT_TAG, "").lower() == "true":
            self._ledger.leave("model", model.name, "It is a prompt, and prompts are not kept here.")
            return
        check_notes(model.tags)
        try:
            here: RegisteredModel = self._door.do(GetModel(name=model.name))
            self._ledger.here("model")
        except NotFound:
            here = self._door.do(CreateModel(name=model.name, description=model.description, tags=model.tags, created=model.created))
            self._ledger.copied("model")
        if model.description and here.description != model.description:
            self._door.do(DescribeModel(name=model.name, description=model.description))
        if tags := {name: value for name, value in model.tags.items() if here.tags.get(name) != value}:
            self._door.do(TagModel(name=model.name, tags=tags))
        for version in model.versions:
            with self._ledger.refusals("version", f"{model.name}/{version.number}"):
                self._version(model.name, version)
        for alias, number in model.aliases.items():
            with self._ledger.refusals("alias", f"{model.name}@{alias}"):
                if here.aliases.get(alias) == number:
                    self._ledger.here("alias")
                else:
                    self._door.do(SetAlias(model=model.name, alias=alias, number=number))
                    self._ledger.copied("alias")

    def _version(self, model: str, version: SourceVersion) -> None:
        here = self._known(model, version)
        if here is None:
            owner, path, ref = files_of_version(version)
            here = self._door.do(
                AdoptFiles(
                    model=model,
                    owner=owner,
                    path=path,
                    ref=ref,
                    source=version.source,
                    description=version.description,
                    tags=version.tags,
                    number=version.number,
                    created=version.created,
                )
            )
            self._ledger.copied("version")
        else:
            self._ledger.here("version")
        stage = version.stage if version.stage != here.stage else None
        description = version.description if version.description and version.description != here.description else None
        if stage is not None or description is not None:
            self._door.do(UpdateVersion(model=model, number=version.number, stage=stage, description=description))
        if tags := {name: value for name, value in version.tags.items() if here.tags.get(name) != value}:
            self._door.do(TagVersion(model=model, number=version.number, tags=tags))

    def _known(self, model: str, version: SourceVersion) -> Version | None:
        """Return the version of this number, which was moved in before; one that was made here is in the way."""
        try:
            here = self._door.do(GetVersion(ref=f"{model}/{version.number}"))
        except NotFound:
            return None
        if here.source != version.source or (version.created is not None and here.created != version.created):
            raise Conflict(
                f"{model}/{version.number} is here already and is another one.",
                f"Rename the model at the source and import again; {model}/{version.number} here is as it was.",
            )
        return here


def _key(metric: ModelMetric) -> tuple[str, str, str, str]:
    return metric.run_id, metric.name, metric.dataset, metric.digest


def files_of_version(version: SourceVersion) -> tuple[str, str, str]:
    """Return the run or logged model that keeps a version's files with the folder in it, or else the version that it copies.

    Args:
        version: at the source.

    Raises:
        NotFound: its files are kept by neither.
    """
    for address in (version.stored, version.source):
        address = unquote(address)
        if kept := _KEPT.search(address):
            return kept[1], kept[2] or "", ""
        if named := _NAMED.match(address):
            return named[1] or named[2], named[3] or "", ""
        if copied := _COPIED.match(address):
            return "", "", copied[1]
    raise NotFound(
        f"Its files are at {version.source[:200]!r}, which is no place of a run or a logged model.", "Log them in a run, and register that."
    )
