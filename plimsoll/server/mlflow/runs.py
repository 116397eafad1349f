"""MLflow's runs: ours, in its words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plimsoll import codec
from plimsoll.errors import InvalidInput, NotFound
from plimsoll.records.mlflow.words import NAME_TAG, STATES, STATUS, STATUS_NUMBERS, USER_TAG
from plimsoll.records.run import GetRun, ModelUse, PointColumns, Run, RunDetail, StartRun
from plimsoll.records.tracking.change import DeleteRun, LogBatch, LogDatasets, RemoveTags, RestoreRun, UpdateRun
from plimsoll.records.tracking.dataset import Dataset, DatasetUse
from plimsoll.records.tracking.experiment import DEFAULT_EXPERIMENT_ID, LONGEST_TAG
from plimsoll.records.tracking.find import RunText, SearchRuns, SearchRunTexts
from plimsoll.records.tracking.logged_model import LinkModels, LogModelMetrics, ModelMetric
from plimsoll.runs.described import param_text
from plimsoll.server.mlflow.experiments import active, checked_id, view_of
from plimsoll.server.mlflow.logged_models import known_logged
from plimsoll.server.mlflow.speech import (
    HELP,
    INVALID,
    MISSING,
    Asked,
    Spoken,
    checked_length,
    checked_name,
    number,
    pairs,
    shown_number,
    texts,
    whole,
)
from plimsoll.server.mlflow.traces.thought import listed, object_of

_LIMITS = {"metrics": 1000, "params": 100, "tags": 100}
_TOGETHER = "metrics, params, and tags"
_LONGEST_PARAM = 6000
_LONGEST_NAME = 250

#: Characters at most, in MLflow's order.
_LONGEST_OF_DATASET = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}
_LONGEST_INPUT_KEY, _LONGEST_INPUT_VALUE = 255, 500

#: What clients before 3.0 say of a logged model at least.
_MODEL_FIELDS = {"artifact_path", "flavors", "run_id", "utc_time_created"}


def artifact_root(run: Run | RunText) -> str:
    """Return where a run's artifacts are, as clients address it.

    Args:
        run: the run.
    """
    return f"mlflow-artifacts:/{run.experiment_id}/{run.id}/artifacts"


def known(asked: Asked, id: str) -> RunDetail:
    """Return a run by its whole id, deleted or not.

    Args:
        asked: the request.
        id: the run's.

    Raises:
        Spoken: there is none.
    """
    try:
        found = asked.do(GetRun(id=id))
    except (NotFound, InvalidInput):
        found = None
    if found is None or found.run.id != id:
        raise Spoken(MISSING, f"Run with id={id} not found")
    return found


def changeable(asked: Asked, id: str) -> Run:
    """Return a run that is not deleted.

    Args:
        asked: the request.
        id: the run's.

    Raises:
        Spoken: there is none, or it is deleted.
    """
    run = known(asked, id).run
    if run.deleted is not None:
        raise Spoken(INVALID, f"The run {id} must be in the 'active' state. Current state is deleted.")
    return run


def _info(run: Run | RunText, user: str) -> dict[str, Any]:
    ended = {} if run.ended is None else {"end_time": run.ended // 1000}
    return {
        "run_uuid": run.id,
        "run_id": run.id,
        "run_name": run.name,
        "experiment_id": run.experiment_id,
        "user_id": user,
        "status": STATUS[run.state],
        "start_time": run.started // 1000,
        **ended,
        "artifact_uri": artifact_root(run),
        "lifecycle_stage": "active" if run.deleted is None else "deleted",
    }


def _user(run: Run) -> str:
    return run.tags.get(USER_TAG, run.author)


def _text_of(detail: RunDetail) -> RunText:
    """Return a run as a search has it, so that it is told in one way."""
    run = detail.run
    return RunText(
        id=run.id,
        experiment_id=run.experiment_id,
        name=run.name,
        state=run.state,
        user=_user(run),
        started=run.started,
        ended=run.ended,
        deleted=run.deleted,
        params=codec.to_json(pairs({name: param_text(value) for name, value in run.params.items()})).decode(),
        tags=codec.to_json(pairs({name: value for name, value in run.tags.items() if name != NAME_TAG})).decode(),
        metrics=tuple((each.name, each.last, each.last_step, each.last_time) for each in detail.metrics),
        datasets=detail.datasets,
        models=detail.models,
    )


def _told(run: RunText) -> dict[str, Any]:
    uses = [{"tags": pairs(use.tags), "dataset": _dataset(use.dataset)} for use in run.datasets]
    read = [{"model_id": use.model_id} for use in run.models if use.role == "input"]
    made = [{"model_id": use.model_id, "step": use.step} for use in run.models if use.role == "output"]
    named = codec.to_json({"key": NAME_TAG, "value": run.name}).decode()
    return {
        "info": _info(run, run.user),
        "data": {
            "metrics": [
                {"key": name, "value": shown_number(value), "timestamp": time // 1000, "step": step}
                for name, value, step, time in run.metrics
            ],
            # JSON as the database wrote it.
            "params": codec.Raw(run.params),
            "tags": codec.Raw(f"{run.tags[:-1]}{',' if len(run.tags) > len('[]') else ''}{named}]"),
        },
        "inputs": {**({"dataset_inputs": uses} if uses else {}), **({"model_inputs": read} if read else {})},
        **({"outputs": {"model_outputs": made}} if made else {}),
    }


def _dataset(dataset: Dataset) -> dict[str, str]:
    named = {"name": dataset.name, "digest": dataset.digest, "source_type": dataset.source_type, "source": dataset.source}
    return {**named, **{key: value for key, value in (("schema", dataset.schema), ("profile", dataset.profile)) if value is not None}}


def _named(text: str) -> str:
    """Return a run's name on one line, cut: MLflow's server takes any, and no training ends for a blank behind its name."""
    return "".join(char if char.isprintable() else " " for char in text).strip()[:_LONGEST_NAME].rstrip()


def create(asked: Asked) -> dict[str, Any]:
    """Begin a run."""
    experiment = active(asked, asked.text("experiment_id", required=False) or DEFAULT_EXPERIMENT_ID)
    tags = texts("tags", asked.items("tags"))
    tagged = tags.pop(NAME_TAG, "")
    name = asked.text("run_name", required=False)
    if name and tagged and name != tagged:
        raise Spoken(
            INVALID,
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{name}', mlflow.runName='{tagged}').",
        )
    # Zero is a time, unlike none.
    started = None if asked.fields.get("start_time") is None else asked.whole("start_time", 0) * 1000
    user = asked.text("user_id", required=False)
    if user:
        tags.setdefault(USER_TAG, user)
    request = StartRun(experiment_id=experiment.id, name=_named(name or tagged), tags=_cut(tags), started=started)
    return {"run": _told(_text_of(RunDetail(run=asked.do(request), metrics=(), artifacts=(), inputs=())))}


def get(asked: Asked) -> dict[str, Any]:
    """Return a run."""
    return {"run": _told(_text_of(known(asked, asked.run_id())))}


def update(asked: Asked) -> dict[str, Any]:
    """Change a run's status, end or name."""
    run = changeable(asked, asked.run_id())
    status: Any = asked.fields.get("status")
    status = STATUS_NUMBERS.get(status, status) if isinstance(status, int) else status
    if status is not None and (not isinstance(status, str) or status not in STATES):
        raise Spoken(INVALID, f"Invalid value {json.dumps(status)} for parameter 'status' supplied.")
    ended = asked.whole("end_time", 0)
    changed = asked.do(
        UpdateRun(
            id=run.id,
            name=_named(asked.text("run_name", required=False)) or None,
            state=STATES[status] if status is not None else None,
            ended=ended * 1000 or None,
        )
    )
    return {"run_info": _info(changed, _user(changed))}


def delete(asked: Asked) -> dict[str, Any]:
    """Delete a run; it can be restored. Deleting it again changes nothing."""
    asked.do(DeleteRun(id=known(asked, asked.run_id()).run.id))
    return {}


def restore(asked: Asked) -> dict[str, Any]:
    """Restore a run; one that is not deleted stays as it is."""
    run = known(asked, asked.run_id()).run
    if run.deleted is not None:
        asked.do(RestoreRun(id=run.id))
    return {}


def search(asked: Asked) -> dict[str, Any]:
    """Return a page of the runs that a filter lets through."""
    limit = asked.page_size(1000, 50_000)
    experiments = tuple(str(id) for id in asked.items("experiment_ids"))
    for id in experiments:
        checked_id(id)
    search = SearchRuns(
        experiments=experiments,
        where=asked.text("filter", required=False),
        order=tuple(str(order) for order in asked.items("order_by")),
        view=view_of(asked, "run_view_type"),
        limit=limit,
        page=asked.text("page_token", required=False) or None,
    )
    page = asked.do(SearchRunTexts(search=search))
    return {"runs": [_told(run) for run in page.runs], **({"next_page_token": page.next} if page.next else {})}


def _points(rows: list[Any]) -> PointColumns:
    names, steps, times, values = [], [], [], []
    for index, row in enumerate(rows):
        at = f"metrics[{index}]"
        if not isinstance(row, dict) or not row.get("key"):
            raise Spoken(INVALID, f"Missing value for required parameter '{at}.key'.{HELP}")
        checked_name("Metric name", f"{at}.name", str(row["key"]))
        if bool(row.get("dataset_name")) != bool(row.get("dataset_digest")):
            raise Spoken(INVALID, "Both dataset_name and dataset_digest must be provided if one is provided")
        names.append(str(row["key"]))
        values.append(number(f"{at}.value", row.get("value")))
        times.append(_time(f"{at}.timestamp", row.get("timestamp"), names[-1], values[-1]) * 1000)
        steps.append(whole(f"{at}.step", row.get("step"), 0))
    return PointColumns(names=tuple(names), steps=tuple(steps), times=tuple(times), values=tuple(values))


def _time(name: str, sent: Any, key: str, value: float) -> int:
    """Return the milliseconds of a point; its client says when it was."""
    if sent is None or sent == "":
        raise Spoken(INVALID, f"Missing value for required parameter '{name}'.{HELP}")
    at = whole(name, sent, 0)
    if at < 0:
        raise Spoken(
            INVALID,
            f"Invalid value {at} for parameter '{name}' supplied: metric '{key}' (value={value}). "
            "Timestamp must be a nonnegative long (64-bit integer) ",
        )
    return at


def _changed(run: Run, params: dict[str, str], told: Mapping[str, Any]) -> str:
    """Return how MLflow refuses a batch: it names every parameter that is there with another value."""
    # What somebody else logged in this very moment is known from the refusal alone.
    kept = {name: param_text(value) for name, value in run.params.items()} | {str(told["param"]): str(told["old"])}
    rows = [{"key": key, "old_value": kept[key], "new_value": value} for key, value in params.items() if kept.get(key, value) != value]
    return f"Changing param values is not allowed. Params were already logged='{rows}' for run ID='{run.id}'."


def _log(asked: Asked, run: Run, metrics: list[Any], params: dict[str, str], tags: dict[str, str], alone: bool = True) -> dict[str, Any]:
    name = _named(tags.pop(NAME_TAG, ""))
    # MLflow's server cuts what is longer, and existing code relies on that it does not raise.
    params = {key: value[:_LONGEST_PARAM] for key, value in params.items()}
    for key in params:
        checked_name("Param key", "key", key)
    measured = _measured(run.id, metrics)
    try:
        asked.do(LogBatch(run_id=run.id, points=_points(metrics) if metrics else None, params=params, tags=_cut(tags)))
    except InvalidInput as error:
        if not {"param", "old", "new"} <= error.details.keys():
            raise
        told = error.details
        raise Spoken(
            INVALID,
            f"Changing param values is not allowed. Param with key='{told['param']}' was already logged with value="
            f"'{told['old']}' for run ID='{run.id}'. Attempted logging new value '{told['new']}'."
            if alone
            else _changed(run, params, told),
        ) from None
    if measured:
        asked.do(LogModelMetrics(metrics=tuple(measured)))
    if name:
        asked.do(UpdateRun(id=run.id, name=name))
    return {}


def _cut(tags: dict[str, str]) -> dict[str, str]:
    for key in tags:
        checked_name("key", "key", key)
    return {key: value[:LONGEST_TAG] for key, value in tags.items()}


def _measured(run_id: str, rows: list[Any]) -> list[ModelMetric]:
    """Return what clients from 3.0 say of logged models beside the run's own points."""
    found = []
    for row in rows:
        if not isinstance(row, dict) or not row.get("model_id"):
            continue
        found.append(
            ModelMetric(
                model_id=str(row["model_id"]),
                run_id=run_id,
                name=str(row.get("key")),
                value=number("value", row.get("value")),
                step=whole("step", row.get("step"), 0),
                time=whole("timestamp", row.get("timestamp"), 0) * 1000,
                dataset=str(row.get("dataset_name") or ""),
                digest=str(row.get("dataset_digest") or ""),
            )
        )
    return found


def log_metric(asked: Asked) -> dict[str, Any]:
    """Log one point."""
    id, key, value = asked.run_id(), asked.text("key"), number("value", asked.fields.get("value"))
    more = {name: asked.text(name, required=False) for name in ("model_id", "dataset_name", "dataset_digest")}
    checked_name("Metric name", "name", key)
    at = _time("timestamp", asked.fields.get("timestamp"), key, value)
    row = {"key": key, "value": value, "timestamp": at, "step": asked.whole("step", 0), **more}
    return _log(asked, changeable(asked, id), [row], {}, {})


def log_param(asked: Asked) -> dict[str, Any]:
    """Log one parameter."""
    id, key, value = asked.run_id(), asked.text("key"), asked.text("value", required=False)
    return _log(asked, changeable(asked, id), [], {key: value}, {})


def set_tag(asked: Asked) -> dict[str, Any]:
    """Set one tag."""
    id, key, value = asked.run_id(), asked.text("key"), asked.text("value", required=False)
    return _log(asked, changeable(asked, id), [], {}, {key: value})


def delete_tag(asked: Asked) -> dict[str, Any]:
    """Remove one tag."""
    id, key = asked.run_id(), asked.text("key")
    run = changeable(asked, id)
    if key not in run.tags:
        raise Spoken(MISSING, f"No tag with name: {key} in run with id {run.id}")
    asked.do(RemoveTags(id=run.id, names=(key,)))
    return {}


def log_batch(asked: Asked) -> dict[str, Any]:
    """Log points, parameters and tags, all or none."""
    rows = {name: asked.items(name) for name in _LIMITS}
    together = sum(map(len, rows.values()))
    for name, limit, count in (*((name, limit, len(rows[name])) for name, limit in _LIMITS.items()), (_TOGETHER, 1000, together)):
        if count > limit:
            raise Spoken(
                INVALID,
                f"A batch logging request can contain at most {limit} {name}. Got {count} {name}. "
                f"Please split up {name} across multiple requests and try again.",
            )
    params = texts("params", rows["params"])
    if len(params) < len(rows["params"]):
        keys = [str(row["key"]) for row in rows["params"]]
        twice = [key for index, key in enumerate(keys) if key in keys[:index]]
        raise Spoken(
            INVALID,
            f"Duplicate parameter keys have been submitted: {twice}. "
            "Please ensure the request contains only one param value per param key.",
        )
    tags = texts("tags", rows["tags"])
    for kind, what in (("params", "Param key"), ("tags", "")):
        for index, row in enumerate(rows[kind]):
            at = f"{kind}[{index}].key"
            checked_name(what or at, at, str(row["key"]))
    return _log(asked, changeable(asked, asked.run_id()), rows["metrics"], params, tags, alone=False)


def _use(row: dict[str, Any]) -> DatasetUse:
    described = object_of("dataset", row.get("dataset"))
    for name, longest in _LONGEST_OF_DATASET.items():
        checked_length(name, str(described.get(name) or ""), longest)
    named = {name: str(described.get(name) or "") for name in ("name", "digest", "source_type", "source")}
    more = {name: str(described[name]) for name in ("schema", "profile") if described.get(name) is not None}
    tags = texts("tags", listed("tags", row.get("tags")))
    for key, value in tags.items():
        checked_length("key", key, _LONGEST_INPUT_KEY)
        checked_length("value", value, _LONGEST_INPUT_VALUE)
    return DatasetUse(dataset=Dataset(**named, **more), tags=tags)


def log_inputs(asked: Asked) -> dict[str, Any]:
    """Record the datasets and the logged models that a run read."""
    id, sent, models = asked.run_id(), [_use(row) for row in asked.rows("datasets")], asked.rows("models")
    run = changeable(asked, id)
    # What a run said of a dataset first stays, as at MLflow's server.
    said = {(use.dataset.name, use.dataset.digest) for use in known(asked, run.id).datasets} if sent else set()
    uses = tuple(use for use in sent if (use.dataset.name, use.dataset.digest) not in said)
    if uses:
        asked.do(LogDatasets(run_id=run.id, uses=uses))
    read = tuple(ModelUse(model_id=known_logged(asked, row.get("model_id")).id, role="input") for row in models)
    if read:
        asked.do(LinkModels(run_id=run.id, uses=read))
    return {}


def log_outputs(asked: Asked) -> dict[str, Any]:
    """Record the logged models that a run made."""
    id, rows = asked.run_id(), asked.rows("models")
    if not rows:
        raise Spoken(INVALID, f"Missing value for required parameter 'models'.{HELP}")
    run = changeable(asked, id)
    made = tuple(
        ModelUse(model_id=known_logged(asked, row.get("model_id")).id, role="output", step=whole("step", row.get("step"), 0))
        for row in rows
    )
    asked.do(LinkModels(run_id=run.id, uses=made))
    return {}


def log_model(asked: Asked) -> dict[str, Any]:
    """Note a logged model's description, as clients before 3.0 keep it: in a tag of the run."""
    id, described = asked.run_id(), asked.text("model_json")
    run = changeable(asked, id)
    try:
        model = json.loads(described)
        noted = [*json.loads(run.tags.get("mlflow.log-model.history", "[]")), model]
    except (ValueError, TypeError):
        raise Spoken(INVALID, f"Malformed model info. \n {described[:200]} \n is not a valid JSON.") from None
    if isinstance(model, dict) and not model.keys() >= _MODEL_FIELDS:
        raise Spoken(INVALID, f"Model json is missing mandatory fields: {sorted(_MODEL_FIELDS - model.keys())}")
    return _log(asked, run, [], {}, {"mlflow.log-model.history": json.dumps(noted)})
