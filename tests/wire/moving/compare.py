"""Read two places with one client of MLflow and compare all that it can see: what was moved in looks as it did at the source.

Arguments: address of the source, address of the copy. A token of the copy is in ``COPY_TOKEN``.
"""

import os
import sys
import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import ViewType

SOURCE, COPY = sys.argv[1], sys.argv[2]


def tagged(tags):
    """Tags, without a user that the source keeps elsewhere."""
    return {name: value for name, value in tags.items() if name != "mlflow.user"}


def same(what, left, right):
    """Assert that both places say the same."""
    assert left == right, f"{what}:\n  source {left!r}\n  copy   {right!r}"


def shown(value):
    """A number that equals itself."""
    return repr(float(value))


def files(client, run_id, path=None):
    """Every file of a run with its size."""
    found = {}
    for each in client.list_artifacts(run_id, path):
        found.update(files(client, run_id, each.path) if each.is_dir else {each.path: each.file_size})
    return found


def content(client, run_id, path):
    """The bytes of a file of a run."""
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, path, folder)).read_bytes()


def run_of(run):
    """All that a run says of itself, but where its files are."""
    info, data = run.info, run.data
    uses = [(use.dataset.name, use.dataset.digest, use.dataset.source_type, use.dataset.source, use.dataset.schema, use.dataset.profile,
             sorted((tag.key, tag.value) for tag in use.tags)) for use in run.inputs.dataset_inputs]  # fmt: skip
    made = [(use.model_id, use.step) for use in getattr(getattr(run, "outputs", None), "model_outputs", None) or []]
    return {
        "name": info.run_name,
        "user": info.user_id,
        "status": info.status,
        "start": info.start_time,
        "end": info.end_time,
        "stage": info.lifecycle_stage,
        "experiment": info.experiment_id,
        "params": data.params,
        "tags": tagged(data.tags),
        "metrics": {name: shown(value) for name, value in data.metrics.items()},
        "data": sorted(uses),
        "made": sorted(made),
    }


def history(client, run_id, name):
    """Every point of a metric, by step, time and value."""
    return sorted((point.step, point.timestamp, shown(point.value)) for point in client.get_metric_history(run_id, name))


def registered(client):
    """All that the registry says, but where files are and when anything was changed last."""
    found = {}
    for model in client.search_registered_models():
        versions = [
            (int(v.version), v.current_stage, v.description or "", v.tags, v.run_id or "", v.creation_timestamp)
            for v in client.search_model_versions(f"name='{model.name}'")
        ]
        aliases = {alias: int(version) for alias, version in model.aliases.items()}
        found[model.name] = (model.description or "", model.tags, aliases, model.creation_timestamp, sorted(versions))
    return found


def main():
    """Compare everything."""
    token = os.environ.get("COPY_TOKEN", "")
    source = MlflowClient(SOURCE, SOURCE)
    experiments = {each.name: each for each in source.search_experiments(ViewType.ALL)}
    runs = {}
    seen = {}
    for experiment in experiments.values():
        for run in source.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL):
            id = run.info.run_id
            runs[id] = (run_of(run), {name: history(source, id, name) for name in run.data.metrics})
            seen[id] = {path: content(source, id, path) for path in files(source, id)}
    models = registered(source)
    logged = {each.model_id: (each.name, str(each.status), each.params, each.tags, each.source_run_id, each.creation_timestamp) for each in
              (source.search_logged_models(list({e.experiment_id for e in experiments.values() if e.lifecycle_stage == "active"}))
               if hasattr(source, "search_logged_models") else [])}  # fmt: skip

    os.environ["MLFLOW_TRACKING_TOKEN"] = token
    copy = MlflowClient(COPY, COPY)
    for name, experiment in experiments.items():
        here = copy.get_experiment_by_name(name)
        same(f"tags of {name}", experiment.tags, here.tags)
        same(f"stage of {name}", experiment.lifecycle_stage, here.lifecycle_stage)
        same(f"id of {name}", experiment.experiment_id, here.experiment_id)
    for id, (told, points) in runs.items():
        here = copy.get_run(id)
        same(f"run {id}", told, run_of(here))
        for name, wanted in points.items():
            same(f"history of {name}", wanted, history(copy, id, name))
        # MLflow moves a deleted experiment's folder and then looks for its files where they were.
        if seen[id] or told["stage"] == "active":
            same(f"files of {id}", seen[id], {path: content(copy, id, path) for path in files(copy, id)})
    # The copy may hold more than this one source.
    same("models", models, {name: told for name, told in registered(copy).items() if name in models})
    for id, wanted in logged.items():
        each = copy.get_logged_model(id)
        same(
            f"logged model {id}", wanted, (each.name, str(each.status), each.params, each.tags, each.source_run_id, each.creation_timestamp)
        )
    print(len(experiments), len(runs), sum(len(p) for _, ps in runs.values() for p in ps.values()), len(models), len(logged))


main()
