"""What a request of MLflow's clients holds is looked at before what it names, and refused by its place in the request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.unit.conftest import Running


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    headers = {"authorization": f"Bearer {running.yard.workspace.token('owner')}"}
    with httpx.Client(base_url=running.address.url, headers=headers, trust_env=False, timeout=60) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        ("runs/set-tag", {"run_id": "RUN", "key": "../,", "value": ""}, "for parameter 'key' supplied: Names may only contain"),
        (
            "runs/log-batch",
            {"run_id": "RUN", "metrics": [{"key": "a,", "value": 1, "timestamp": 1}]},
            "parameter 'metrics[0].name' supplied",
        ),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"key": "a,", "value": ""}]}, "parameter 'params[0].key' supplied"),
        ("runs/log-batch", {"run_id": "RUN", "tags": [{"key": "a,", "value": ""}]}, "parameter 'tags[0].key' supplied"),
        # What a request holds is looked at before the run is looked for.
        ("runs/log-metric", {"run_id": "none", "value": 1, "timestamp": 1}, "Missing value for required parameter 'key'."),
        ("runs/log-parameter", {"run_id": "none"}, "Missing value for required parameter 'key'."),
        ("runs/set-tag", {"run_id": "none"}, "Missing value for required parameter 'key'."),
        ("runs/delete-tag", {"run_id": "none"}, "Missing value for required parameter 'key'."),
        ("runs/log-inputs", {"run_id": "RUN", "datasets": [5]}, "Invalid value for parameter 'datasets' supplied"),
        ("runs/log-inputs", {"run_id": "RUN", "datasets": [{"dataset": 5}]}, "Invalid value for parameter 'dataset' supplied"),
        (
            "runs/log-inputs",
            {"run_id": "RUN", "datasets": [{"dataset": {"name": "a", "digest": "1"}, "tags": 5}]},
            "Invalid value for parameter 'tags' supplied",
        ),
        ("runs/log-inputs", {"run_id": "RUN", "models": [5]}, "Invalid value for parameter 'models' supplied"),
        ("runs/outputs", {"run_id": "RUN", "models": [5]}, "Invalid value for parameter 'models' supplied"),
        (
            "experiments/create",
            {"name": "x", "artifact_location": "here", "tags": "5"},
            "Invalid value \"5\" for parameter 'tags' supplied",
        ),
    ],
)
def test_what_a_request_holds_is_refused_by_its_place(client: httpx.Client, path: str, fields: dict[str, Any], says: str) -> None:
    run = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    sent = {key: run if value == "RUN" else value for key, value in fields.items()}
    answer = client.post(f"/api/2.0/mlflow/{path}", json=sent)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert says in answer.json()["message"]


def test_a_dot_is_the_folder_itself(client: httpx.Client) -> None:
    run = client.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    root, listing = f"0/{run}/artifacts", "/api/2.0/mlflow-artifacts/artifacts"
    assert client.put(f"{listing}/{root}/plots/a.txt", content=b"hi").status_code == 200
    for dotted in (".", "./", "./.", "./plots", "plots/.", "./plots/"):
        path = "plots/a.txt" if "plots" in dotted else "plots"
        answer = client.get("/api/2.0/mlflow/artifacts/list", params={"run_id": run, "path": dotted}).json()
        assert [each["path"] for each in answer["files"]] == [path], dotted
        proxied = client.get(listing, params={"path": f"{root}/{dotted}"}).json()
        assert [each["path"] for each in proxied["files"]] == [path.rpartition("/")[2]], dotted
    assert client.get(listing, params={"path": f"{root}/plots/.."}).status_code == 400


def test_a_search_tells_of_a_run_what_asking_for_it_by_its_id_tells(client: httpx.Client) -> None:
    def post(path: str, **fields: Any) -> Any:
        answer = client.post(f"/api/2.0/mlflow/{path}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    run = post("runs/create", experiment_id="0", run_name='n"1', tags=[{"key": "mlflow.user", "value": "ada"}])["run"]["info"]["run_id"]
    values = [1.5, "NaN", "Infinity", "-Infinity", -0.0, 1e300]
    metrics = [{"key": f"m{number}", "value": value, "timestamp": 7, "step": number} for number, value in enumerate(values)]
    params = [{"key": "p", "value": 'a"\\\n\x01é'}, {"key": "empty", "value": ""}]
    post("runs/log-batch", run_id=run, metrics=metrics, params=params, tags=[{"key": "t", "value": "\u2028<>"}])
    dataset = {"name": "d", "digest": "1", "source_type": "local", "source": "x", "schema": "{}"}
    uses = [{"tags": [{"key": "mlflow.data.context", "value": "training"}], "dataset": dataset}]
    post("runs/log-inputs", run_id=run, datasets=uses)
    model = post("logged-models", experiment_id="0", name="m")["model"]["info"]["model_id"]
    post("runs/outputs", run_id=run, models=[{"model_id": model, "step": 3}])
    bare = post("runs/create", experiment_id="0", run_name="bare")["run"]["info"]["run_id"]
    found = {each["info"]["run_id"]: each for each in post("runs/search", experiment_ids=["0"])["runs"]}
    for id in (run, bare):
        got = client.get("/api/2.0/mlflow/runs/get", params={"run_id": id}).json()["run"]
        for told in (got, found[id]):
            for rows in told["data"].values():
                rows.sort(key=lambda row: row["key"])
        assert found[id] == got
    data = found[run]["data"]
    assert [row["value"] for row in data["metrics"]] == values
    assert data["params"] == sorted(params, key=lambda row: row["key"])
    named = {row["key"]: row["value"] for row in data["tags"]}
    assert named == {"mlflow.user": "ada", "mlflow.runName": 'n"1', "t": "\u2028<>"}
    assert (found[run]["inputs"], found[run]["outputs"]) == ({"dataset_inputs": uses}, {"model_outputs": [{"model_id": model, "step": 3}]})
    assert found[run]["info"]["user_id"] == "ada"
