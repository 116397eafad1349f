"""MLflow's registered models: ours, in its words."""

from __future__ import annotations

from typing import Any

from plimsoll.errors import Conflict, InvalidInput, NotFound
from plimsoll.records.mlflow.words import PROMPT_TAG, STAGES
from plimsoll.records.registry.catalog import (
    LONGEST_TAG,
    CreateModel,
    DeleteModel,
    DescribeModel,
    GetModel,
    RegisteredModel,
    RemoveAlias,
    RenameModel,
    SearchModels,
    SetAlias,
    TagModel,
)
from plimsoll.server.mlflow.speech import EXISTS, INVALID, MISSING, UNSPOKEN, Asked, Spoken, checked_name, checked_value, pairs, texts
from plimsoll.server.mlflow.versions import known_version, stage_of, told_version, version_number

_LONGEST_ALIAS = 255


def _told(model: RegisteredModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "creation_timestamp": model.created // 1000,
        "last_updated_timestamp": model.updated // 1000,
        "description": model.description,
        "latest_versions": [told_version(version) for version in model.latest],
        "tags": pairs(model.tags),
        "aliases": [{"alias": alias, "version": str(number)} for alias, number in model.aliases.items()],
    }


def model_name(asked: Asked, field: str = "name") -> str:
    """Return the registered name that is meant.

    Args:
        asked: the request.
        field: where it stands.

    Raises:
        Spoken: there is none, or it is not valid.
    """
    name = asked.text(field)
    if not name.strip():
        raise Spoken(INVALID, f"Missing value for required parameter '{field}'.")
    if "/" in name or ":" in name:
        raise Spoken(INVALID, f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    return name


def known_model(asked: Asked, name: str) -> RegisteredModel:
    """Return a registered model.

    Args:
        asked: the request.
        name: its name.

    Raises:
        Spoken: there is none.
    """
    try:
        return asked.do(GetModel(name=name))
    except NotFound:
        raise Spoken(MISSING, f"Registered Model with name={name} not found") from None


def create(asked: Asked) -> dict[str, Any]:
    """Register a name."""
    name, tags = model_name(asked), texts("tags", asked.items("tags"))
    if tags.get(PROMPT_TAG, "").lower() == "true":
        raise Spoken(UNSPOKEN, "Prompts are not kept here. Keep the text as an artifact of a run.")
    for key in tags:
        checked_name("key", "key", key)
    try:
        made = asked.do(CreateModel(name=name, description=asked.text("description", required=False), tags=tags))
    except Conflict:
        raise Spoken(EXISTS, f"Registered Model (name={name}) already exists.") from None
    return {"registered_model": _told(made)}


def get(asked: Asked) -> dict[str, Any]:
    """Return a registered model."""
    return {"registered_model": _told(known_model(asked, model_name(asked)))}


def update(asked: Asked) -> dict[str, Any]:
    """Replace the description."""
    name = known_model(asked, model_name(asked)).name
    changed = asked.do(DescribeModel(name=name, description=asked.text("description", required=False)))
    return {"registered_model": _told(changed)}


def rename(asked: Asked) -> dict[str, Any]:
    """Give a registered model another name."""
    name, new = model_name(asked), model_name(asked, "new_name")
    known_model(asked, name)
    try:
        return {"registered_model": _told(asked.do(RenameModel(name=name, to=new)))}
    except Conflict:
        raise Spoken(EXISTS, f"Registered Model (name={new}) already exists.") from None


def delete(asked: Asked) -> dict[str, Any]:
    """Forget a registered model with its versions."""
    asked.do(DeleteModel(name=known_model(asked, model_name(asked)).name))
    return {}


def search(asked: Asked) -> dict[str, Any]:
    """Return a page of registered models."""
    limit = asked.whole("max_results", 100)
    if not 1 <= limit <= 1000:
        most = "positive integer" if limit < 1 else "at most 1000"
        raise Spoken(INVALID, f"Invalid value for request parameter max_results. It must be {most}, but got value {limit}")
    page = asked.do(
        SearchModels(
            where=asked.text("filter", required=False),
            order=tuple(asked.words("order_by")),
            limit=limit,
            page=asked.text("page_token", required=False) or None,
        )
    )
    return {"registered_models": [_told(model) for model in page.models], **({"next_page_token": page.next} if page.next else {})}


def set_tag(asked: Asked) -> dict[str, Any]:
    """Set a tag."""
    name = known_model(asked, model_name(asked)).name
    key, value = asked.text("key"), checked_value(asked.text("value", required=False), LONGEST_TAG)
    checked_name("key", "key", key)
    asked.do(TagModel(name=name, tags={key: value}))
    return {}


def delete_tag(asked: Asked) -> dict[str, Any]:
    """Remove a tag; one that is not there changes nothing."""
    asked.do(TagModel(name=known_model(asked, model_name(asked)).name, remove=(asked.text("key"),)))
    return {}


def latest(asked: Asked) -> dict[str, Any]:
    """Return the newest version of each stage, or of the stages that are named."""
    model = known_model(asked, model_name(asked))
    wanted = {stage_of(stage) for stage in asked.words("stages")} or set(STAGES)
    return {"model_versions": [told_version(version) for version in model.latest if version.stage in wanted]}


def set_alias(asked: Asked) -> dict[str, Any]:
    """Let an alias name a version."""
    name, alias = model_name(asked), asked.text("alias")
    number = known_version(asked, name, version_number(asked)).number
    try:
        asked.do(SetAlias(model=name, alias=alias, number=number))
    except InvalidInput:
        raise Spoken(INVALID, _alias_fault(alias)) from None
    return {}


def _alias_fault(alias: str) -> str:
    if alias.lower() == "latest":
        return "'latest' alias name (case insensitive) is reserved."
    if alias[:1] in "vV" and alias[1:].isdecimal():
        return f"Version alias name '{alias}' is reserved."
    if len(alias) > _LONGEST_ALIAS:
        return f"'Registered model alias name' exceeds the maximum length of {_LONGEST_ALIAS} characters"
    return f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores (_), and dashes (-)."


def delete_alias(asked: Asked) -> dict[str, Any]:
    """Forget an alias; one that is not there changes nothing."""
    asked.do(RemoveAlias(model=known_model(asked, model_name(asked)).name, alias=asked.text("alias")))
    return {}


def get_by_alias(asked: Asked) -> dict[str, Any]:
    """Return the version that an alias names; ``latest`` is the newest of all."""
    model, alias = known_model(asked, model_name(asked)), asked.text("alias")
    if alias.lower() == "latest":
        if not model.latest:
            raise Spoken(MISSING, f"Latest version not found for model {model.name}.")
        return {"model_version": told_version(max(model.latest, key=lambda version: version.number))}
    if alias not in model.aliases:
        raise Spoken(INVALID, f"Registered model alias {alias} not found.")
    return {"model_version": told_version(known_version(asked, model.name, model.aliases[alias]))}
