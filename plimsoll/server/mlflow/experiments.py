"""MLflow's experiments: ours, in its words."""

from __future__ import annotations

from typing import Any

from plimsoll.errors import Conflict, NotFound
from plimsoll.records.request import LONGEST_EXPERIMENT
from plimsoll.records.tracking.dataset import ListReadDatasets
from plimsoll.records.tracking.experiment import (
    LONGEST_EXPERIMENT_TAG,
    CreateExperiment,
    DeleteExperiment,
    Experiment,
    GetExperiment,
    RenameExperiment,
    RestoreExperiment,
    SearchExperiments,
    TagExperiment,
)
from plimsoll.records.tracking.find import View
from plimsoll.server.mlflow.speech import EXISTS, INVALID, MISSING, Asked, Spoken, checked_name, checked_value, mistyped, texts

#: Experiments whose datasets are asked for at once.
_MOST_AT_ONCE = 20

#: By name, or by the number that old clients send.
_VIEWS: dict[Any, View] = {"ACTIVE_ONLY": "active", "DELETED_ONLY": "deleted", "ALL": "all", 1: "active", 2: "deleted", 3: "all"}


def view_of(asked: Asked, name: str) -> View:
    """Return which records a search sees.

    Args:
        asked: the request.
        name: the field that says it; without it, those that are not deleted.

    Raises:
        Spoken: it says none of the three. A search of others than are meant would look like an answer.
    """
    said = asked.fields.get(name)
    if said is None or said == "":
        return "active"
    # A query holds a number as text.
    key = int(said) if isinstance(said, str) and said.isdecimal() else said
    if isinstance(key, bool) or not isinstance(key, str | int) or key not in _VIEWS:
        raise mistyped(name, said)
    return _VIEWS[key]


def _told(experiment: Experiment) -> dict[str, Any]:
    return {
        "experiment_id": experiment.id,
        "name": experiment.name,
        "artifact_location": f"mlflow-artifacts:/{experiment.id}",
        "lifecycle_stage": "active" if experiment.deleted is None else "deleted",
        "last_update_time": experiment.updated // 1000,
        "creation_time": experiment.created // 1000,
        "tags": [{"key": name, "value": value} for name, value in experiment.tags.items()],
    }


def checked_id(id: str) -> None:
    """Refuse what cannot be an experiment's id in MLflow's words.

    Args:
        id: what was sent.

    Raises:
        Spoken: it is no whole number.
    """
    if not id.removeprefix("-").isdecimal():
        raise Spoken(INVALID, f"Invalid experiment ID '{id}'. Experiment ID must be a valid integer.")


def _known(asked: Asked, id: str) -> Experiment:
    try:
        return asked.do(GetExperiment(id=id))
    except NotFound:
        checked_id(id)
        raise _missing(id) from None


def _missing(id: str) -> Spoken:
    return Spoken(MISSING, f"No Experiment with id={id} exists")


def active(asked: Asked, id: str) -> Experiment:
    """Return an experiment that is in use.

    Args:
        asked: the request.
        id: the experiment's.

    Raises:
        Spoken: there is none, or it is deleted.
    """
    found = _known(asked, id)
    if found.deleted is not None:
        raise Spoken(INVALID, f"The experiment {id} must be in the 'active' state. Current state is deleted.")
    return found


def _named(asked: Asked, field: str) -> str:
    name = asked.text(field)
    if len(name) > LONGEST_EXPERIMENT:
        raise Spoken(INVALID, f"'name' exceeds the maximum length of {LONGEST_EXPERIMENT} characters")
    return name


def create(asked: Asked) -> dict[str, Any]:
    """Make an experiment; artifacts are always kept here."""
    name, elsewhere = _named(asked, "name"), asked.text("artifact_location", required=False)
    tags = {key: checked_value(value, LONGEST_EXPERIMENT_TAG) for key, value in texts("tags", asked.items("tags")).items()}
    for key in tags:
        checked_name("key", "key", key)
    if elsewhere:
        raise Spoken(INVALID, "This server keeps artifacts itself. Leave artifact_location out.")
    try:
        made = asked.do(CreateExperiment(name=name, tags=tags))
    except Conflict as error:
        raise Spoken(EXISTS, f"Experiment(name={name}) already exists. {error.fact} {error.remedy}") from None
    return {"experiment_id": made.id}


def get(asked: Asked) -> dict[str, Any]:
    """Return an experiment by its id."""
    return {"experiment": _told(_known(asked, asked.text("experiment_id")))}


def get_by_name(asked: Asked) -> dict[str, Any]:
    """Return an experiment by its name."""
    name = asked.text("experiment_name")
    try:
        return {"experiment": _told(asked.do(GetExperiment(name=name)))}
    except NotFound:
        raise Spoken(MISSING, f"Could not find experiment with name '{name}'") from None


def search(asked: Asked) -> dict[str, Any]:
    """Return a page of the experiments that a filter lets through, the newest first unless an order is asked for."""
    limit = asked.whole("max_results", 1000)
    if not 1 <= limit <= 50_000:
        raise Spoken(
            INVALID,
            f"Invalid value {limit} for parameter 'max_results' supplied. It must be a positive integer"
            if limit < 1
            else f"Invalid value {limit} for parameter 'max_results' supplied. It must be at most 50000",
        )
    page = asked.do(
        SearchExperiments(
            where=asked.text("filter", required=False),
            # MLflow's clients say that the one changed last comes first; its server, and their tests, go by when it was made.
            order=tuple(asked.words("order_by")) or ("creation_time DESC",),
            view=view_of(asked, "view_type"),
            limit=limit,
            page=asked.text("page_token", required=False) or None,
        )
    )
    return {"experiments": [_told(each) for each in page.experiments], **({"next_page_token": page.next} if page.next else {})}


def search_datasets(asked: Asked) -> dict[str, Any]:
    """Return the datasets that the runs of experiments read, as MLflow's pages ask for them."""
    ids = asked.words("experiment_ids")
    if not ids:
        raise Spoken(INVALID, "SearchDatasets request must specify at least one experiment_id.")
    if len(ids) > _MOST_AT_ONCE:
        raise Spoken(
            INVALID,
            f"SearchDatasets request cannot specify more than {_MOST_AT_ONCE} experiment_ids. Received {len(ids)} experiment_ids.",
        )
    found = asked.do(ListReadDatasets(experiments=tuple(ids)))
    told = [{"experiment_id": each.experiment_id, "name": each.name, "digest": each.digest, "context": each.context} for each in found]
    return {"dataset_summaries": [{name: text for name, text in each.items() if text is not None} for each in told]}


def delete(asked: Asked) -> dict[str, Any]:
    """Delete an experiment; it can be restored. To MLflow's server one that is deleted is not there to be deleted again."""
    found = _known(asked, asked.text("experiment_id"))
    if found.deleted is not None:
        raise _missing(found.id)
    asked.do(DeleteExperiment(id=found.id))
    return {}


def restore(asked: Asked) -> dict[str, Any]:
    """Restore an experiment that is deleted."""
    found = _known(asked, asked.text("experiment_id"))
    if found.deleted is None:
        raise _missing(found.id)
    asked.do(RestoreExperiment(id=found.id))
    return {}


def update(asked: Asked) -> dict[str, Any]:
    """Rename an experiment."""
    found = active(asked, asked.text("experiment_id"))
    name = _named(asked, "new_name")
    try:
        asked.do(RenameExperiment(id=found.id, name=name))
    except Conflict:
        raise Spoken(EXISTS, f"Experiment(name={name}) already exists.") from None
    return {}


def set_tag(asked: Asked) -> dict[str, Any]:
    """Set a tag of an experiment."""
    found = active(asked, asked.text("experiment_id"))
    value = checked_value(asked.text("value", required=False), LONGEST_EXPERIMENT_TAG)
    key = asked.text("key")
    checked_name("key", "key", key)
    asked.do(TagExperiment(id=found.id, tags={key: value}))
    return {}


def delete_tag(asked: Asked) -> dict[str, Any]:
    """Remove a tag of an experiment."""
    found, key = active(asked, asked.text("experiment_id")), asked.text("key")
    if key not in found.tags:
        raise Spoken(MISSING, f"No tag with name: {key} in experiment with id {found.id}")
    asked.do(TagExperiment(id=found.id, remove=(key,)))
    return {}
