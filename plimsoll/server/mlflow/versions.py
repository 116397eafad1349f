"""MLflow's model versions: ours, in its words. A source is a name for files that are kept here, and is looked up once."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.mlflow.words import PROMPT_TAG, STAGES, VERSION_FILES
from plimsoll.records.model import GetVersion, Stage, Version
from plimsoll.records.registry.catalog import LONGEST_TAG, AdoptFiles, DeleteVersion, GetModel, SearchVersions, TagVersion, UpdateVersion
from plimsoll.records.tracking.logged_model import GetLoggedModel, TagLoggedModel
from plimsoll.server.mlflow.speech import INVALID, MISSING, UNSPOKEN, Asked, Spoken, checked_name, checked_value, pairs, texts

_REGISTERED = "mlflow.modelVersions"
_LOGGED = re.compile(r"m-[0-9a-f]{32}")
_KEPT = (
    "This server numbers files that it keeps: runs:/RUN/PATH, models:/LOGGED_MODEL, models:/NAME/VERSION or an artifact's "
    "mlflow-artifacts:/ address."
)


def stage_of(named: str) -> Stage:
    """Return a stage that MLflow names, in any case.

    Args:
        named: such as ``Production``.

    Raises:
        Spoken: there is none of this name.
    """
    found: Stage | None = next((stage for stage, name in STAGES.items() if name.lower() == named.lower()), None)
    if found is None:
        raise Spoken(INVALID, f"Invalid Model Version stage: {named}. Value must be one of {', '.join(STAGES.values())}.")
    return found


def files_root(version: Version) -> str:
    """Return where a version's files are, as clients address them: by digest, so that they are the same whatever becomes of the run.

    Args:
        version: the version.
    """
    return f"{VERSION_FILES}{version.digest}"


def told_version(version: Version) -> dict[str, Any]:
    """Return a version in MLflow's words.

    Args:
        version: the version.
    """
    return {
        "name": version.model,
        "version": str(version.number),
        "creation_timestamp": version.created // 1000,
        "last_updated_timestamp": version.updated // 1000,
        "user_id": version.author,
        "current_stage": STAGES[version.stage],
        "description": version.description,
        "source": version.source or files_root(version),
        "run_id": version.run_id,
        "status": "READY",
        "tags": pairs(version.tags),
        "aliases": list(version.aliases),
        **({"model_id": version.model_id} if version.model_id else {}),
    }


def version_number(asked: Asked) -> int:
    """Return the version number that is meant.

    Args:
        asked: the request.

    Raises:
        Spoken: there is none, or it is no whole number.
    """
    named = asked.fields.get("version")
    if isinstance(named, bool) or not (isinstance(named, int) or (isinstance(named, str) and named)):
        return int(asked.text("version"))
    if not re.fullmatch(r"\d{1,9}", str(named)):
        raise Spoken(INVALID, f"Parameter 'version' must be an integer, got '{named}'.")
    return int(named)


def known_version(asked: Asked, name: str, number: int) -> Version:
    """Return a version.

    Args:
        asked: the request.
        name: registered name.
        number: version number.

    Raises:
        Spoken: there is none.
    """
    try:
        return asked.do(GetVersion(ref=f"{name}/{number}"))
    except NotFound:
        raise Spoken(MISSING, f"Model Version (name={name}, version={number}) not found") from None


def _meant(asked: Asked) -> Version:
    return known_version(asked, asked.text("name"), version_number(asked))


def create(asked: Asked) -> dict[str, Any]:
    """Number the files that a source names: of a run, of a logged model or of another version."""
    name, source, tags = asked.text("name"), asked.text("source"), texts("tags", asked.items("tags"))
    if tags.get(PROMPT_TAG, "").lower() == "true":
        raise Spoken(UNSPOKEN, "Prompts are not kept here. Keep the text as an artifact of a run.")
    for key in tags:
        checked_name("key", "key", key)
    try:
        asked.do(GetModel(name=name))
    except NotFound:
        raise Spoken(MISSING, f"Registered Model with name={name} not found") from None
    owner, path, ref = _origin(asked, source)
    _check_claims(asked, source, owner)
    described = asked.text("description", required=False)
    try:
        made = asked.do(AdoptFiles(model=name, owner=owner, path=path, ref=ref, source=source, description=described, tags=tags))
    except (NotFound, InvalidInput) as error:
        raise Spoken(INVALID, f"Invalid model version source: '{source}'. {error}") from None
    if owner and made.model_id:
        _note(asked, made)
    return {"model_version": told_version(made)}


def _origin(asked: Asked, source: str) -> tuple[str, str, str]:
    """Return the run or logged model with the path of the files in it, or else the version that is copied."""
    try:
        parts = urlsplit(source)
    except ValueError:
        raise Spoken(INVALID, f"Invalid model version source: '{source}'. {_KEPT}") from None
    if parts.scheme in ("", "file"):
        claim = "model_id" if asked.text("model_id", required=False) else "run_id"
        raise Spoken(
            INVALID,
            f"Invalid model version source: '{source}'. To use a local path as a model version source, the {claim} request parameter "
            "has to be specified and the local path has to be contained within the artifact directory of the run specified by the "
            f"{claim}. Nothing is kept at a local path here. {_KEPT}",
        )
    path = parts.path.strip("/")
    if _climbs(source):
        raise Spoken(
            INVALID,
            f"Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp, objectstore, or "
            "mlflow-artifacts uri, an absolute path must be provided without relative path references present. "
            "Please provide an absolute path.",
        )
    if parts.netloc or parts.query or parts.fragment or "%" in source or "\\" in source:
        raise Spoken(INVALID, f"Invalid model version source: '{source}'. {_KEPT}")
    head, _, rest = path.partition("/")
    if parts.scheme == "runs" and head and rest:
        return head, rest, ""
    if parts.scheme == "models":
        if _LOGGED.fullmatch(head):
            return head, rest, ""
        return "", "", _copied(asked, source, path)
    if parts.scheme == "mlflow-artifacts":
        if head == "versions" and re.fullmatch(r"[0-9a-f]{64}", rest):
            return "", "", rest
        second, _, rest = rest.partition("/")
        if second == "models":
            second, _, rest = rest.partition("/")
        fixed, _, inner = rest.partition("/")
        if fixed == "artifacts" and second:
            return second, inner, ""
    raise Spoken(INVALID, f"Invalid model version source: '{source}'. {_KEPT}")


def _climbs(source: str) -> bool:
    """Tell whether a source points elsewhere by its parts, encoded or not; what is encoded more often is no source anyway."""
    for _ in range(3):
        source = unquote_plus(source)
    return "\0" in source or any(part in ("..", ".") for part in source.split("/"))


def _copied(asked: Asked, source: str, path: str) -> str:
    """Return the version that ``models:/`` names, as ``name/3``."""
    name, at, last = path.partition("@")
    if not at:
        name, _, last = path.rpartition("/")
        if not last.isdecimal():
            raise Spoken(INVALID, f"Invalid model version source: '{source}'.")
    try:
        found = asked.do(GetVersion(ref=path))
    except NotFound:
        raise _uncopied(asked, name, last, is_alias=bool(at)) from None
    return f"{found.model}/{found.number}"


def _uncopied(asked: Asked, name: str, last: str, is_alias: bool) -> Spoken:
    try:
        asked.do(GetModel(name=name))
    except NotFound:
        return Spoken(MISSING, f"Registered Model with name={name} not found")
    if is_alias:
        return Spoken(INVALID, f"Registered model alias {last} not found.")
    return Spoken(MISSING, f"Model Version (name={name}, version={last}) not found")


def _check_claims(asked: Asked, source: str, owner: str) -> None:
    """Refuse a run or a logged model that is claimed and is not the one that keeps the files."""
    for field, logged in (("run_id", False), ("model_id", True)):
        claimed = asked.text(field, required=False)
        if claimed and owner and logged == bool(_LOGGED.fullmatch(owner)) and claimed != owner:
            raise Spoken(
                INVALID,
                f"Invalid model version source: '{source}'. The {field} request parameter must identify the resource that contains the "
                "source.",
            )


def _note(asked: Asked, made: Version) -> None:
    """Tell the logged model which version it has become, where MLflow's clients look for it."""
    known = asked.do(GetLoggedModel(id=made.model_id)).tags.get(_REGISTERED, "[]")
    try:
        noted = json.loads(known)
    except ValueError:
        noted = []
    noted = [*noted, {"name": made.model, "version": made.number}] if isinstance(noted, list) else noted
    asked.do(TagLoggedModel(id=made.model_id, tags={_REGISTERED: json.dumps(noted)}))


def get(asked: Asked) -> dict[str, Any]:
    """Return a version."""
    return {"model_version": told_version(_meant(asked))}


def update(asked: Asked) -> dict[str, Any]:
    """Replace the description."""
    known = _meant(asked)
    changed = asked.do(UpdateVersion(model=known.model, number=known.number, description=asked.text("description", required=False)))
    return {"model_version": told_version(changed)}


def transition(asked: Asked) -> dict[str, Any]:
    """Move a version to a stage, which is a label and serves nothing."""
    known, named = _meant(asked), asked.text("stage")
    stage, archive = stage_of(named), asked.flag("archive_existing_versions")
    if archive and stage not in ("staging", "production"):
        raise Spoken(
            INVALID,
            f"Model version transition cannot archive existing model versions because '{named}' is not an Active stage. "
            "Valid stages are ['Staging', 'Production']",
        )
    changed = asked.do(UpdateVersion(model=known.model, number=known.number, stage=stage, archive=archive))
    return {"model_version": told_version(changed)}


def delete(asked: Asked) -> dict[str, Any]:
    """Forget a version."""
    known = _meant(asked)
    asked.do(DeleteVersion(model=known.model, number=known.number))
    return {}


def search(asked: Asked) -> dict[str, Any]:
    """Return a page of versions."""
    limit = asked.whole("max_results", 200_000)
    if limit < 1:
        raise Spoken(INVALID, f"Invalid value for max_results. It must be a positive integer, but got {limit}")
    if limit > 200_000:
        raise Spoken(INVALID, f"Invalid value for request parameter max_results. It must be at most 200000, but got value {limit}")
    page = asked.do(
        SearchVersions(
            where=asked.text("filter", required=False),
            order=tuple(asked.words("order_by")),
            limit=limit,
            page=asked.text("page_token", required=False) or None,
        )
    )
    return {"model_versions": [told_version(version) for version in page.versions], **({"next_page_token": page.next} if page.next else {})}


def download_uri(asked: Asked) -> dict[str, Any]:
    """Return where a version's files are."""
    return {"artifact_uri": files_root(_meant(asked))}


def set_tag(asked: Asked) -> dict[str, Any]:
    """Set a tag."""
    known = _meant(asked)
    key, value = asked.text("key"), checked_value(asked.text("value", required=False), LONGEST_TAG)
    checked_name("key", "key", key)
    asked.do(TagVersion(model=known.model, number=known.number, tags={key: value}))
    return {}


def delete_tag(asked: Asked) -> dict[str, Any]:
    """Remove a tag; one that is not there changes nothing."""
    known = _meant(asked)
    asked.do(TagVersion(model=known.model, number=known.number, remove=(asked.text("key"),)))
    return {}
