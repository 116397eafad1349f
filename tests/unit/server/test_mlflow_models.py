"""Registered models, versions and logged models in MLflow's protocol: paths, fields, statuses, error codes and words."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from plimsoll.records.access import AddActor
from tests.unit.conftest import Running
from tests.unit.server.asking import INVALID, MISSING, ask, client_of, refused


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    with client_of(running) as opened:
        yield opened


def artifacts(client: httpx.Client, method: str, path: str, content: bytes = b"") -> httpx.Response:
    return client.request(method, f"../mlflow-artifacts/artifacts/{path}", content=content)


@pytest.fixture
def run(client: httpx.Client) -> str:
    """The id of a run that keeps a folder with a model."""
    id = str(ask(client, "POST", "runs/create", experiment_id="0")["run"]["info"]["run_id"])
    for name in ("m/MLmodel", "m/data/x", "beside"):
        assert artifacts(client, "PUT", f"0/{id}/artifacts/{name}", name.encode()).status_code == 200
    return id


@pytest.fixture
def name(client: httpx.Client, run: str) -> str:
    """A registered name with one version."""
    name = f"late {run[-8:]}"
    ask(client, "POST", "registered-models/create", name=name, tags=[{"key": "a", "value": "b"}], description="Late.")
    ask(client, "POST", "model-versions/create", name=name, source=f"runs:/{run}/m", run_id=run, tags=[{"key": "c", "value": "d"}])
    return name


def test_a_registered_model_and_its_version_come_back_in_mlflows_fields(client: httpx.Client, name: str, run: str) -> None:
    ask(client, "POST", "registered-models/alias", name=name, alias="best", version="1")
    found = ask(client, "GET", "registered-models/get", name=name)["registered_model"]
    version = found["latest_versions"][0]
    assert {key: found[key] for key in ("name", "description", "tags", "aliases")} == {
        "name": name,
        "description": "Late.",
        "tags": [{"key": "a", "value": "b"}],
        "aliases": [{"alias": "best", "version": "1"}],
    }
    at = {key: version.pop(key) for key in ("creation_timestamp", "last_updated_timestamp")}
    assert all(10**12 < value < 10**13 for value in at.values())
    assert version == {
        "name": name,
        "version": "1",
        "user_id": "olga",
        "current_stage": "None",
        "description": "",
        "source": f"runs:/{run}/m",
        "run_id": run,
        "status": "READY",
        "tags": [{"key": "c", "value": "d"}],
        "aliases": ["best"],
    }
    assert ask(client, "GET", "registered-models/alias", name=name, alias="best")["model_version"]["version"] == "1"
    assert ask(client, "GET", "registered-models/alias", name=name, alias="latest")["model_version"]["version"] == "1"
    assert ask(client, "POST", "registered-models/get-latest-versions", name=name, stages=["production"]) == {"model_versions": []}


def test_a_versions_files_are_at_its_digest_and_never_change(client: httpx.Client, name: str) -> None:
    root = ask(client, "GET", "model-versions/get-download-uri", name=name, version="1")["artifact_uri"]
    place = root.removeprefix("mlflow-artifacts:/")
    listed = client.get("../mlflow-artifacts/artifacts", params={"path": place}).json()["files"]
    assert listed == [{"path": "MLmodel", "is_dir": False, "file_size": 9}, {"path": "data", "is_dir": True}]
    assert artifacts(client, "GET", f"{place}/data/x").content == b"m/data/x"
    for method in ("PUT", "DELETE"):
        answer = artifacts(client, method, f"{place}/data/x", b"other")
        assert (answer.status_code, answer.json()["error_code"]) == (400, INVALID)
    for place in (f"versions/{'0' * 64}/data/x", "versions/production/x", "versions"):
        assert artifacts(client, "GET", place).json()["error_code"] == MISSING


@pytest.mark.parametrize(
    "source",
    ["/etc", "file:///etc", "s3://b/k", "http://host/x", "m", "runs:/RUN", "runs:/RUN/../m", "runs:/RUN/m?x", "runs:/RUN/none", "runs://RUN/m",
     "models:/none/1", "models:/none", "models:/none@best", "models:/m-00000000000000000000000000000000", "mlflow-artifacts:/0/RUN/m",
     "mlflow-artifacts://host/0/RUN/artifacts/m", "mlflow-artifacts:/versions/abc", "dbfs:/x", "runs:/%52UN/m", "runs:/" + "0" * 32 + "/m"],
)  # fmt: skip
def test_a_source_that_names_nothing_kept_here_is_refused(client: httpx.Client, name: str, run: str, source: str) -> None:
    status, code, message = refused(client, "POST", "model-versions/create", name=name, source=source.replace("RUN", run))
    assert (status, code) in ((400, INVALID), (404, MISSING))
    assert "not found" in message if status == 404 else message.startswith("Invalid model version source: ")
    assert len(ask(client, "GET", "model-versions/search", filter=f"name = '{name}'")["model_versions"]) == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        *((local, "To use a local path as a model version source, the run_id request") for local in ("/tmp", "file:///tmp", "m")),
        *(
            (climbing, "If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow-artifacts uri, an absolute")
            for climbing in (
                "mlflow-artifacts://host:9000/models/../../../",
                "http://host:9000/models/../../../",
                "mlflow-artifacts://host:9000/models/..%2f..%252fartifacts",
                "mlflow-artifacts://host:9000/models/artifact%00",
                "s3a://my_bucket/a/./b",
            )
        ),
        ("http://[x", "This server numbers files that it keeps"),
    ],
)
def test_a_local_or_a_climbing_source_is_refused_in_mlflows_words(client: httpx.Client, name: str, source: str, says: str) -> None:
    status, code, message = refused(client, "POST", "model-versions/create", name=name, source=source)
    assert (status, code) == (400, INVALID)
    assert message.startswith(f"Invalid model version source: '{source}'. {says}")


def test_a_run_that_does_not_keep_the_source_is_refused(client: httpx.Client, name: str, run: str) -> None:
    source = f"runs:/{run}/m"
    assert refused(client, "POST", "model-versions/create", name=name, source=source, run_id="0" * 32) == (
        400,
        INVALID,
        f"Invalid model version source: '{source}'. The run_id request parameter must identify the resource that contains the source.",
    )


def test_what_is_not_there_or_not_valid_is_told_in_mlflows_words(client: httpx.Client, name: str) -> None:
    post, get = "POST", "GET"
    told = [
        (refused(client, get, "registered-models/get", name="none"), 404, MISSING, "Registered Model with name=none not found"),
        (
            refused(client, post, "registered-models/create", name=name),
            400,
            "RESOURCE_ALREADY_EXISTS",
            f"Registered Model (name={name}) already exists.",
        ),
        (
            refused(client, post, "registered-models/create", name="a/b"),
            400,
            INVALID,
            "Invalid model name 'a/b'. Names cannot contain '/' or ':'.",
        ),
        (refused(client, post, "registered-models/create"), 400, INVALID, "Missing value for required parameter 'name'."),
        (
            refused(client, get, "model-versions/get", name=name, version="7"),
            404,
            MISSING,
            f"Model Version (name={name}, version=7) not found",
        ),
        (
            refused(client, get, "model-versions/get", name=name, version="x"),
            400,
            INVALID,
            "Parameter 'version' must be an integer, got 'x'.",
        ),
        (refused(client, get, "registered-models/alias", name=name, alias="x"), 400, INVALID, "Registered model alias x not found."),
        (
            refused(client, post, "registered-models/alias", name=name, alias="a b", version="1"),
            400,
            INVALID,
            "Invalid alias name: 'a b'. Names may only contain alphanumerics, underscores (_), and dashes (-).",
        ),
        (
            refused(client, post, "registered-models/alias", name=name, alias="a" * 256, version="1"),
            400,
            INVALID,
            "'Registered model alias name' exceeds the maximum length of 255 characters",
        ),
        *(
            (refused(client, post, path, name=name, key=key, value="", **more), 400, INVALID, says)
            for path, more in (("registered-models/set-tag", {}), ("model-versions/set-tag", {"version": "1"}))
            for key, says in (
                ("a&b", "Invalid value \"a&b\" for parameter 'key' supplied: Names may only contain alphanumerics"),
                ("a" * 251, "'key' exceeds the maximum length of 250 characters"),
            )
        ),
        *(
            (refused(client, post, path, name="other", source="runs:/none/m", tags=[{"key": "a//b"}]), 400, INVALID, 'Invalid value "')
            for path in ("registered-models/create", "model-versions/create")
        ),
        (
            refused(client, post, "logged-models/search", experiment_ids=["none"]),
            400,
            INVALID,
            "Invalid experiment ID 'none'. Experiment ID must be a valid integer.",
        ),
        (refused(client, post, "logged-models/search"), 400, INVALID, "Missing value for required parameter 'experiment_ids'."),
        (
            refused(client, post, "model-versions/transition-stage", name=name, version=1, stage="Staging", archive_existing_versions="y"),
            400,
            INVALID,
            "Invalid value \"y\" for parameter 'archive_existing_versions' supplied",
        ),
        (
            refused(client, post, "registered-models/alias", name=name, alias="V2", version="1"),
            400,
            INVALID,
            "Version alias name 'V2' is reserved.",
        ),
        (
            refused(client, post, "model-versions/transition-stage", name=name, version="1", stage="Live"),
            400,
            INVALID,
            "Invalid Model Version stage: Live. Value must be one of None, Staging, Production, Archived.",
        ),
        (
            refused(client, get, "registered-models/search", max_results="1001"),
            400,
            INVALID,
            "Invalid value for request parameter max_results. It must be at most 1000, but got value 1001",
        ),
        (
            refused(client, get, "logged-models/m-1"),
            404,
            MISSING,
            "Logged model with ID 'm-1' not found.",
        ),
        (refused(client, post, "registered-models/create", name="p", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}]), 501,
         "NOT_IMPLEMENTED", "Prompts are not kept here."),
    ]  # fmt: skip
    for (status, code, message), wanted, wanted_code, words in told:
        assert (status, code, message[: len(words)]) == (wanted, wanted_code, words)


def test_names_tags_aliases_and_versions_change_and_go(client: httpx.Client, name: str) -> None:
    ask(client, "PATCH", "registered-models/update", name=name, description="Other.")
    ask(client, "POST", "registered-models/set-tag", name=name, key="k", value="v")
    ask(client, "DELETE", "registered-models/delete-tag", name=name, key="a")
    ask(client, "PATCH", "model-versions/update", name=name, version="1", description="First.")
    ask(client, "POST", "model-versions/set-tag", name=name, version="1", key="k", value="v")
    too_long = (400, "INVALID_PARAMETER_VALUE", "'value' exceeds the maximum length of 100000 characters")
    assert refused(client, "POST", "registered-models/set-tag", name=name, key="k", value="x" * 100_001) == too_long
    assert refused(client, "POST", "model-versions/set-tag", name=name, version="1", key="k", value="x" * 100_001) == too_long
    ask(client, "DELETE", "model-versions/delete-tag", name=name, version="1", key="c")
    ask(client, "POST", "registered-models/alias", name=name, alias="best", version="1")
    ask(client, "DELETE", "registered-models/alias", name=name, alias="best")
    ask(client, "POST", "model-versions/transition-stage", name=name, version="1", stage="staging", archive_existing_versions=True)
    new = f"{name} new"
    found = ask(client, "POST", "registered-models/rename", name=name, new_name=new)["registered_model"]
    (version,) = found["latest_versions"]
    assert (found["name"], found["description"], found["tags"], found.get("aliases")) == (new, "Other.", [{"key": "k", "value": "v"}], [])
    assert (version["current_stage"], version["description"], version["tags"]) == ("Staging", "First.", [{"key": "k", "value": "v"}])
    ask(client, "DELETE", "model-versions/delete", name=new, version="1")
    ask(client, "DELETE", "registered-models/delete", name=new)
    assert refused(client, "GET", "registered-models/get", name=new)[1] == MISSING


def test_a_search_takes_one_order_or_several_from_the_query(client: httpx.Client, name: str) -> None:
    for order in (["name DESC"], ["last_updated_timestamp DESC", "name"]):
        assert ask(client, "GET", "registered-models/search", order_by=order, filter=f"name = '{name}'")["registered_models"]
        assert refused(client, "GET", "model-versions/search", order_by=[*order, "colour"])[1] == INVALID


def test_a_logged_model_is_made_filled_finished_and_found(client: httpx.Client, run: str, name: str) -> None:
    made = ask(
        client,
        "POST",
        "logged-models",
        experiment_id="0",
        name="late",
        model_type="agent",
        source_run_id=run,
        params=[{"key": "d", "value": "3"}],
    )
    info = made["model"]["info"]
    id = info["model_id"]
    assert (info["status"], info["artifact_uri"]) == ("LOGGED_MODEL_PENDING", f"mlflow-artifacts:/0/models/{id}/artifacts")
    place = f"0/models/{id}/artifacts"
    assert artifacts(client, "PUT", f"{place}/MLmodel", b"flavors: {}").status_code == 200
    assert artifacts(client, "PUT", f"1/models/{id}/artifacts/MLmodel", b"x").status_code == 404
    refusal = refused(client, "POST", "model-versions/create", name=name, source=f"models:/{id}", model_id=id)
    assert (refusal[1], "is pending" in refusal[2]) == (INVALID, True)
    assert ask(client, "PATCH", f"logged-models/{id}", status="LOGGED_MODEL_READY")["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    ask(client, "POST", f"logged-models/{id}/params", params=[{"key": "e", "value": "4"}])
    ask(client, "PATCH", f"logged-models/{id}/tags", tags=[{"key": "a/b", "value": "x"}, {"key": "c", "value": "y"}])
    ask(client, "DELETE", f"logged-models/{id}/tags/a/b")
    row = {"key": "auc", "value": 0.5, "timestamp": 7, "step": 1, "model_id": id, "dataset_name": "held", "dataset_digest": "1"}
    ask(client, "POST", "runs/log-batch", run_id=run, metrics=[row])
    ask(client, "POST", "runs/outputs", run_id=run, models=[{"model_id": id, "step": 3}])
    ask(client, "POST", "runs/log-inputs", run_id=run, models=[{"model_id": id}])
    told = ask(client, "GET", f"logged-models/{id}")["model"]
    assert told["data"] == {
        "params": [{"key": "d", "value": "3"}, {"key": "e", "value": "4"}],
        "metrics": [{**row, "run_id": run}],
    }
    assert (told["info"]["tags"], told["info"]["model_type"], told["info"]["source_run_id"]) == ([{"key": "c", "value": "y"}], "agent", run)
    found = ask(client, "GET", "runs/get", run_id=run)["run"]
    assert (found["inputs"], found["outputs"]) == ({"model_inputs": [{"model_id": id}]}, {"model_outputs": [{"model_id": id, "step": 3}]})
    listed = ask(client, "GET", f"logged-models/{id}/artifacts/directories")
    assert listed["files"] == [{"path": "MLmodel", "is_dir": False, "file_size": 11}]
    version = ask(client, "POST", "model-versions/create", name=name, source=f"models:/{id}", model_id=id)["model_version"]
    assert (version["model_id"], version["run_id"]) == (id, run)
    tags = ask(client, "GET", f"logged-models/{id}")["model"]["info"]["tags"]
    assert {"key": "mlflow.modelVersions", "value": f'[{{"name": "{name}", "version": 2}}]'} in tags
    by = {"experiment_ids": ["0"], "filter": "metrics.auc >= 0.5", "order_by": [{"field_name": "metrics.auc", "ascending": False}]}
    assert id in [each["info"]["model_id"] for each in ask(client, "POST", "logged-models/search", **by)["models"]]
    assert refused(client, "POST", "logged-models/search", experiment_ids=["0"], order_by=["name"])[1] == INVALID
    artifacts(client, "DELETE", f"{place}/MLmodel")
    assert ask(client, "GET", f"logged-models/{id}/artifacts/directories")["files"] == []
    ask(client, "DELETE", f"logged-models/{id}")
    assert refused(client, "GET", f"logged-models/{id}")[:2] == (404, MISSING)
    assert ask(client, "GET", f"logged-models/{id}", allow_deleted="true")["model"]["info"]["model_id"] == id
    root = ask(client, "GET", "model-versions/get-download-uri", name=name, version="2")["artifact_uri"]
    assert artifacts(client, "GET", f"{root.removeprefix('mlflow-artifacts:/')}/MLmodel").content == b"flavors: {}"


def test_a_package_of_ours_is_shown_and_given_out_and_what_its_releases_decide_is_not_changed_here(
    client: httpx.Client, running: Running
) -> None:
    live = running.yard.live("one")
    version = ask(client, "GET", "model-versions/get", name="late", version="1")["model_version"]
    assert (version["source"], version["aliases"], version["user_id"]) == (
        f"mlflow-artifacts:/versions/{live.package}",
        ["production"],
        "dana",
    )
    assert artifacts(client, "GET", f"versions/{live.package}/model.skops").content == b"one"
    running.yard.version("two")
    for method, path, fields, words in (
        ("POST", "registered-models/alias", {"name": "late", "alias": "production", "version": "2"}, "moves with releases"),
        ("DELETE", "registered-models/alias", {"name": "late", "alias": "production"}, "moves with releases"),
        ("POST", "registered-models/rename", {"name": "late", "new_name": "later"}, "has packages"),
        ("DELETE", "model-versions/delete", {"name": "late", "version": "1"}, "has a release"),
        ("DELETE", "registered-models/delete", {"name": "late"}, "has a release"),
    ):
        status, code, message = refused(client, method, path, **fields)
        assert (status, code, words in message) == (400, INVALID, True), message
    ask(client, "POST", "registered-models/alias", name="late", alias="best", version="2")
    assert ask(client, "GET", "registered-models/alias", name="late", alias="production")["model_version"]["version"] == "1"


def test_an_actor_who_may_only_read_changes_no_model(running: Running, name: str) -> None:
    token = running.yard.workspace.do(AddActor(name=f"reader-{name[-8:]}", roles=("read",)), running.yard.owner).token
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{running.address.url}/ajax-api/2.0/mlflow/", headers=headers, trust_env=False, timeout=60) as reader:
        assert ask(reader, "GET", "registered-models/get", name=name)["registered_model"]["name"] == name
        for method, path, fields in (
            ("POST", "registered-models/create", {"name": "mine"}),
            ("DELETE", "registered-models/delete", {"name": name}),
            ("POST", "registered-models/alias", {"name": name, "alias": "best", "version": "1"}),
            ("POST", "logged-models", {"experiment_id": "0"}),
        ):
            assert refused(reader, method, path, **fields)[:2] == (403, "PERMISSION_DENIED")
