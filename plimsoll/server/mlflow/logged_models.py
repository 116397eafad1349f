"""The logged models of MLflow's clients from 3.0: ours, in their words."""

from __future__ import annotations

from typing import Any

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.mlflow.words import LOGGED_NUMBERS, LOGGED_STATUS
from plimsoll.records.tracking.logged_model import (
    CreateLoggedModel,
    DeleteLoggedModel,
    FinishLoggedModel,
    GetLoggedModel,
    LoggedModel,
    LogModelParams,
    ModelOrder,
    OnDataset,
    SearchLoggedModels,
    TagLoggedModel,
)
from plimsoll.server.mlflow.experiments import active, checked_id
from plimsoll.server.mlflow.speech import HELP, INVALID, MISSING, Asked, Spoken, pairs, shown_number, texts


def files_root(model: LoggedModel) -> str:
    """Return where a logged model's files are, as clients address them.

    Args:
        model: the logged model.
    """
    return f"mlflow-artifacts:/{model.experiment_id}/models/{model.id}/artifacts"


def _told(model: LoggedModel) -> dict[str, Any]:
    info = {
        "model_id": model.id,
        "experiment_id": model.experiment_id,
        "name": model.name,
        "creation_timestamp_ms": model.created // 1000,
        "last_updated_timestamp_ms": model.updated // 1000,
        "artifact_uri": files_root(model),
        "status": LOGGED_STATUS[model.state],
        "model_type": model.kind,
        "source_run_id": model.run_id,
        "tags": pairs(model.tags),
    }
    metrics = [
        {
            "key": each.name,
            "value": shown_number(each.value),
            "timestamp": each.time // 1000,
            "step": each.step,
            "dataset_name": each.dataset,
            "dataset_digest": each.digest,
            "model_id": model.id,
            "run_id": each.run_id,
        }
        for each in model.metrics
    ]
    return {"model": {"info": info, "data": {"params": pairs(model.params), "metrics": metrics}}}


def known_logged(asked: Asked, id: Any, deleted: bool = False) -> LoggedModel:
    """Return a logged model.

    Args:
        asked: the request.
        id: its id, as it was sent.
        deleted: whether one that is deleted is meant as well.

    Raises:
        Spoken: there is none.
    """
    try:
        return asked.do(GetLoggedModel(id=str(id), deleted=deleted))
    except NotFound:
        raise Spoken(MISSING, f"Logged model with ID '{id}' not found.") from None


def _meant(asked: Asked) -> LoggedModel:
    return known_logged(asked, asked.text("model_id"))


def create(asked: Asked) -> dict[str, Any]:
    """Begin a logged model."""
    experiment, name = active(asked, asked.text("experiment_id")), asked.text("name", required=False)
    if any(char in "/:.%\"'" for char in name):
        raise Spoken(
            INVALID,
            f"Invalid model name ({name!r}) provided. Model name must be a non-empty string and cannot contain the following characters: "
            f"{('/', ':', '.', '%', chr(34), chr(39))}",
        )
    request = CreateLoggedModel(
        experiment_id=experiment.id,
        name=name,
        kind=asked.text("model_type", required=False),
        run_id=asked.text("source_run_id", required=False),
        params=texts("params", asked.items("params")),
        tags=texts("tags", asked.items("tags")),
    )
    return _told(asked.do(request))


def get(asked: Asked) -> dict[str, Any]:
    """Return a logged model."""
    return _told(known_logged(asked, asked.text("model_id"), asked.flag("allow_deleted")))


def finalize(asked: Asked) -> dict[str, Any]:
    """Say whether the files are all there."""
    known, status = _meant(asked), asked.fields.get("status")
    state = next(
        (state for state in LOGGED_STATUS if status in (LOGGED_STATUS[state], LOGGED_NUMBERS[state], str(LOGGED_NUMBERS[state]))), None
    )
    if status is None:
        raise Spoken(INVALID, f"Missing value for required parameter 'status'.{HELP}")
    if state is None:
        raise Spoken(INVALID, f"Invalid value {status!r} for parameter 'status' supplied.")
    return _told(asked.do(FinishLoggedModel(id=known.id, state=state)))


def delete(asked: Asked) -> dict[str, Any]:
    """Put a logged model out of sight; doing it again changes nothing."""
    asked.do(DeleteLoggedModel(id=known_logged(asked, asked.text("model_id"), deleted=True).id))
    return {}


def log_params(asked: Asked) -> dict[str, Any]:
    """Add parameters."""
    asked.do(LogModelParams(id=_meant(asked).id, params=texts("params", asked.items("params"))))
    return {}


def set_tags(asked: Asked) -> dict[str, Any]:
    """Add or replace tags."""
    return _told(asked.do(TagLoggedModel(id=_meant(asked).id, tags=texts("tags", asked.items("tags")))))


def delete_tag(asked: Asked) -> dict[str, Any]:
    """Remove a tag."""
    known, key = _meant(asked), asked.text("tag_key")
    if key not in known.tags:
        raise Spoken(MISSING, f"No tag with key {key!r} found for model with ID {known.id!r}.")
    asked.do(TagLoggedModel(id=known.id, remove=(key,)))
    return {}


def search(asked: Asked) -> dict[str, Any]:
    """Return a page of logged models."""
    datasets = [
        OnDataset(name=str(row.get("dataset_name") or ""), digest=str(row.get("dataset_digest") or "")) for row in asked.rows("datasets")
    ]
    order = [
        ModelOrder(
            by=str(row.get("field_name") or ""),
            descending=row.get("ascending") is False,
            dataset=str(row.get("dataset_name") or ""),
            digest=str(row.get("dataset_digest") or ""),
        )
        for row in asked.rows("order_by")
    ]
    if asked.fields.get("experiment_ids") is None:
        raise Spoken(INVALID, f"Missing value for required parameter 'experiment_ids'.{HELP}")
    experiments = tuple(asked.words("experiment_ids"))
    for id in experiments:
        checked_id(id)
    try:
        page = asked.do(
            SearchLoggedModels(
                experiments=experiments,
                where=asked.text("filter", required=False),
                datasets=tuple(datasets),
                order=tuple(order),
                limit=asked.whole("max_results", 100) or 100,
                page=asked.text("page_token", required=False) or None,
            )
        )
    except InvalidInput as error:
        raise Spoken(INVALID, str(error)) from None
    return {"models": [_told(model)["model"] for model in page.models], **({"next_page_token": page.next} if page.next else {})}
