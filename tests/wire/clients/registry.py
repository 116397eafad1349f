"""The model registry: names, versions, tags, aliases, stages, searches, and what is refused."""

from __future__ import annotations

import uuid

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

client = MlflowClient()
mark = uuid.uuid4().hex
name = f"late-{mark}"


def refused(code: str, call, *arguments, **named) -> str:
    """Return the message of the error with this code that a call must end with."""
    try:
        call(*arguments, **named)
    except MlflowException as error:
        assert error.error_code == code, error
        return str(error)
    raise AssertionError(f"{call} was not refused")


mlflow.set_experiment(f"registry-{mark}")
with mlflow.start_run() as run:
    mlflow.log_text("flavors: {}", "model/MLmodel")
    mlflow.log_text("x", "model/data/x.txt")
    mlflow.log_text("beside", "other.txt")
source = f"{run.info.artifact_uri}/model"

made = client.create_registered_model(name, tags={"team": "x"}, description="What it is for")
assert (made.name, made.description, made.tags) == (name, "What it is for", {"team": "x"})
assert "already exists" in refused("RESOURCE_ALREADY_EXISTS", client.create_registered_model, name)
assert "not found" in refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, f"none-{mark}")
refused("INVALID_PARAMETER_VALUE", client.create_registered_model, "a/b")

first = client.create_model_version(name, source, run.info.run_id, tags={"part": "one"}, description="first")
second = client.create_model_version(name, f"runs:/{run.info.run_id}/model", run.info.run_id)
assert (int(first.version), int(second.version), first.tags, first.description) == (1, 2, {"part": "one"}, "first")
assert (first.source, first.run_id, first.current_stage, first.status) == (source, run.info.run_id, "None", "READY")
for bad in ("/etc", "file:///etc", "s3://elsewhere/model", f"{source}/../..", f"runs:/{run.info.run_id}/nothing", "models:/none/1"):
    try:
        client.create_model_version(name, bad, run.info.run_id)
    except MlflowException as error:
        assert error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"), error
    else:
        raise AssertionError(bad)
folder = mlflow.artifacts.download_artifacts(f"models:/{name}/1")
with open(f"{folder}/data/x.txt") as kept:
    assert kept.read() == "x"

# What a run does with its files later changes no version.
with mlflow.start_run(run_id=run.info.run_id):
    mlflow.log_text("y", "model/data/x.txt")
with open(mlflow.artifacts.download_artifacts(f"models:/{name}/2/data/x.txt")) as kept:
    assert kept.read() == "x"

client.update_model_version(name, "1", "changed")
client.set_model_version_tag(name, "1", "k", "v")
client.set_model_version_tag(name, "1", "gone", "v")
client.delete_model_version_tag(name, "1", "gone")
found = client.get_model_version(name, "1")
assert (found.description, found.tags) == ("changed", {"part": "one", "k": "v"})
client.set_registered_model_tag(name, "k", "v")
client.delete_registered_model_tag(name, "team")
assert client.update_registered_model(name, "other").description == "other"

client.set_registered_model_alias(name, "champion", "1")
client.set_registered_model_alias(name, "champion", "2")
assert int(client.get_model_version_by_alias(name, "champion").version) == 2
assert client.get_model_version(name, "2").aliases == ["champion"]
assert {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()} == {"champion": 2}
refused("INVALID_PARAMETER_VALUE", client.set_registered_model_alias, name, "latest", "1")
refused("INVALID_PARAMETER_VALUE", client.set_registered_model_alias, name, "v3", "1")
refused("RESOURCE_DOES_NOT_EXIST", client.set_registered_model_alias, name, "challenger", "9")
client.delete_registered_model_alias(name, "champion")
assert "not found" in refused("INVALID_PARAMETER_VALUE", client.get_model_version_by_alias, name, "champion")

client.transition_model_version_stage(name, "1", "production")
moved = client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
assert moved.current_stage == "Production"
assert client.get_model_version(name, "1").current_stage == "Archived"
assert [int(each.version) for each in client.get_latest_versions(name, ["Production"])] == [2]
assert "Invalid Model Version stage" in refused("INVALID_PARAMETER_VALUE", client.transition_model_version_stage, name, "1", "Live")

# Searches.
for number in range(4):
    client.create_registered_model(f"{number}-{mark}", tags={"number": str(number)})
like = f"name LIKE '%{mark}'"
assert [each.name for each in client.search_registered_models(like)] == [f"{number}-{mark}" for number in range(4)] + [name]
assert [each.name for each in client.search_registered_models(f"{like} AND tags.number = '2'")] == [f"2-{mark}"]
assert client.search_registered_models(like, order_by=["last_updated_timestamp DESC"])[0].name == f"3-{mark}"
page = client.search_registered_models(like, max_results=3, order_by=["name DESC"])
assert [each.name for each in page] == [name, f"3-{mark}", f"2-{mark}"]
assert len(client.search_registered_models(like, max_results=3, order_by=["name DESC"], page_token=page.token)) == 2
assert [int(each.version) for each in client.search_model_versions(f"name = '{name}'", order_by=["version_number ASC"])] == [1, 2]
assert [int(each.version) for each in client.search_model_versions(f"name = '{name}' and tags.k = 'v'")] == [1]
assert len(client.search_model_versions(f"run_id = '{run.info.run_id}'")) == 2
assert len(client.search_model_versions(f"source_path = '{source}'")) == 1
page = client.search_model_versions(f"name = '{name}'", max_results=1)
assert len(client.search_model_versions(f"name = '{name}'", max_results=1, page_token=page.token)) == 1

# Names change, versions and names go.
client.rename_registered_model(name, f"new-{mark}")
assert client.get_model_version(f"new-{mark}", "1").tags == {"part": "one", "k": "v"}
refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, name, "1")
refused("RESOURCE_ALREADY_EXISTS", client.rename_registered_model, f"new-{mark}", f"0-{mark}")
client.delete_model_version(f"new-{mark}", "2")
refused("RESOURCE_DOES_NOT_EXIST", client.get_model_version, f"new-{mark}", "2")
assert int(client.create_model_version(f"new-{mark}", source, run.info.run_id).version) == 3
client.delete_registered_model(f"new-{mark}")
refused("RESOURCE_DOES_NOT_EXIST", client.get_registered_model, f"new-{mark}")
