"""MLflow's protocol as any client of it sees it: paths, fields, statuses, error codes and words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from plimsoll.records.access import AddActor
from plimsoll.records.run import GetRun
from tests.unit.conftest import Running


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    headers = {"authorization": f"Bearer {running.yard.workspace.token('owner')}"}
    with httpx.Client(base_url=running.address.url, headers=headers, trust_env=False, timeout=60) as opened:
        yield opened


def post(client: httpx.Client, path: str, **fields: Any) -> Any:
    answer = client.post(f"/api/2.0/mlflow/{path}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(client: httpx.Client, noun: str, **fields: Any) -> Any:
    answer = client.get(f"/api/2.0/mlflow/{noun}", params=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: httpx.Client, path: str, **fields: Any) -> tuple[int, str, str]:
    answer = client.post(f"/api/2.0/mlflow/{path}", json=fields)
    body = answer.json()
    return answer.status_code, body["error_code"], body["message"]


@pytest.fixture
def run(client: httpx.Client) -> str:
    """The id of a run that goes on."""
    made = post(client, "runs/create", experiment_id="0", start_time=1_700_000_000_000, run_name="first", tags=[])
    return str(made["run"]["info"]["run_id"])


def test_every_path_is_there_under_both_doors_and_needs_a_token(client: httpx.Client, running: Running) -> None:
    for door in ("api", "ajax-api"):
        path = f"/{door}/2.0/mlflow/experiments/get"
        assert client.get(path, params={"experiment_id": "0"}).json()["experiment"]["name"] == "Default"
        for headers in ({}, {"authorization": "Bearer unknown"}):
            refused = httpx.get(f"{running.address.url}{path}", params={"experiment_id": "0"}, headers=headers, trust_env=False, timeout=60)
            assert refused.status_code == 401
            assert refused.json()["error_code"] == "UNAUTHENTICATED"
            assert "MLFLOW_TRACKING_TOKEN" in refused.json()["message"]
        elsewhere = client.get(path, params={"experiment_id": "0"}, headers={"host": "elsewhere:80"})
        assert (elsewhere.status_code, elsewhere.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_name_with_the_token_as_password_is_let_in(running: Running) -> None:
    url = f"{running.address.url}/api/2.0/mlflow/experiments/get"
    token = running.yard.workspace.token("owner")
    assert httpx.get(url, params={"experiment_id": "0"}, auth=("any", token), trust_env=False, timeout=60).status_code == 200
    assert httpx.get(url, params={"experiment_id": "0"}, auth=(token, "any"), trust_env=False, timeout=60).status_code == 401


def test_an_actor_who_may_only_read_logs_nothing(running: Running, run: str) -> None:
    token = running.yard.workspace.do(AddActor(name="reader", roles=("read",)), running.yard.owner).token
    with httpx.Client(base_url=running.address.url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as reader:
        assert get(reader, "runs/get", run_id=run)["run"]["info"]["run_id"] == run
        assert refused(reader, "runs/set-tag", run_id=run, key="a", value="b")[:2] == (403, "PERMISSION_DENIED")
        path = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/a"
        assert reader.put(path, content=b"x").json()["error_code"] == "PERMISSION_DENIED"
        assert reader.delete(path).json()["error_code"] == "PERMISSION_DENIED"
        begun = reader.post(f"/api/2.0/mlflow-artifacts/mpu/create/0/{run}/artifacts", json={"path": "a", "num_parts": 2})
        assert begun.json()["error_code"] == "PERMISSION_DENIED"
        assert not (running.yard.workspace.home / "uploads").exists()


def test_an_experiment_is_made_renamed_tagged_deleted_and_restored(client: httpx.Client) -> None:
    id = post(client, "experiments/create", name="late", tags=[{"key": "a", "value": "b"}])["experiment_id"]
    assert id.isdigit()
    post(client, "experiments/update", experiment_id=id, new_name="later")
    post(client, "experiments/set-experiment-tag", experiment_id=id, key="c", value="d")
    post(client, "experiments/delete-experiment-tag", experiment_id=id, key="a")
    post(client, "experiments/delete", experiment_id=id)
    assert [each["name"] for each in post(client, "experiments/search", max_results=10)["experiments"]] == ["Default"]
    found = get(client, "experiments/get-by-name", experiment_name="later")["experiment"]
    assert (found["lifecycle_stage"], found["tags"]) == ("deleted", [{"key": "c", "value": "d"}])
    assert refused(client, "experiments/set-experiment-tag", experiment_id=id, key="c", value="e") == (
        400,
        "INVALID_PARAMETER_VALUE",
        f"The experiment {id} must be in the 'active' state. Current state is deleted.",
    )
    post(client, "experiments/restore", experiment_id=id)
    assert "cannot be deleted" in refused(client, "experiments/delete", experiment_id="0")[2]
    post(client, "experiments/set-experiment-tag", experiment_id="0", key="c", value="d")
    page = get(client, "experiments/search", max_results=1)
    assert [each["name"] for each in page["experiments"]] == ["later"]
    rest = get(client, "experiments/search", max_results=1, page_token=page["next_page_token"])
    assert ([each["name"] for each in rest["experiments"]], "next_page_token" in rest) == (["Default"], False)


def test_a_taken_name_and_a_missing_experiment_are_told_in_mlflows_words(client: httpx.Client) -> None:
    status, code, message = refused(client, "experiments/create", name="Default")
    assert (status, code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert message.startswith("Experiment(name=Default) already exists.")
    assert "SELECT" not in message
    assert refused(client, "experiments/delete", experiment_id="7") == (404, "RESOURCE_DOES_NOT_EXIST", "No Experiment with id=7 exists")
    no_number = "Invalid experiment ID 'seven'. Experiment ID must be a valid integer."
    assert refused(client, "experiments/delete", experiment_id="seven") == (400, "INVALID_PARAMETER_VALUE", no_number)
    too_long = (400, "INVALID_PARAMETER_VALUE", "'value' exceeds the maximum length of 20000 characters")
    assert refused(client, "experiments/set-experiment-tag", experiment_id="0", key="a", value="x" * 20_001) == too_long
    assert refused(client, "experiments/create", name="long", tags=[{"key": "a", "value": "x" * 20_001}]) == too_long
    answer = client.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "none"})
    assert answer.json() == {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Could not find experiment with name 'none'"}


@pytest.mark.parametrize("name", ["x" * 251, "ü" * 500, "-trees", ".trees", "..", "a/b c", "日本 😀"])
def test_an_experiment_has_any_name_of_up_to_500_characters(client: httpx.Client, name: str) -> None:
    id = post(client, "experiments/create", name=f"{name}")["experiment_id"]
    assert get(client, "experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"] == id
    post(client, "experiments/set-experiment-tag", experiment_id=id, key="-note", value="n" * 20_000)
    assert get(client, "experiments/get", experiment_id=id)["experiment"]["tags"] == [{"key": "-note", "value": "n" * 20_000}]
    too_long = {"create": {"name": name * 501}, "update": {"experiment_id": id, "new_name": name * 501}}
    for path, fields in too_long.items():
        said = (400, "INVALID_PARAMETER_VALUE", "'name' exceeds the maximum length of 500 characters")
        assert refused(client, f"experiments/{path}", **fields) == said


@pytest.mark.parametrize("name", ["-x", ".x", "--", "-", ".a/b", "...a"])
def test_what_is_logged_may_have_a_name_that_begins_with_a_dash_or_a_dot(client: httpx.Client, run: str, name: str) -> None:
    fields = {
        "runs/log-metric": {"value": 1.5, "timestamp": 1},
        "runs/log-parameter": {"value": "v"},
        "runs/set-tag": {"value": "v"},
    }
    if name == "...a":
        for path, more in fields.items():
            assert "would resolve to '...a'" in refused(client, path, run_id=run, key=name, **more)[2]
        return
    for path, more in fields.items():
        post(client, path, run_id=run, key=name, **more)
    data = get(client, "runs/get", run_id=run)["run"]["data"]
    assert [[each["key"] for each in data[kind]] for kind in ("metrics", "params", "tags")][:2] == [[name], [name]]
    found = post(client, "runs/search", experiment_ids=["0"], filter=f"metrics.`{name}` = 1.5 and tags.`{name}` = 'v' and")["runs"]
    assert run in [each["info"]["run_id"] for each in found]


def test_a_run_comes_back_with_all_that_was_logged(client: httpx.Client, run: str) -> None:
    metrics = [{"key": "loss", "value": value, "timestamp": 1000 + step, "step": step} for step, value in enumerate([1.0, 0.5, 0.25])]
    odd = [{"key": name, "value": value, "timestamp": 5, "step": 0} for name, value in (("a", "NaN"), ("b", "-Infinity"), ("c", 5e-324))]
    params, tags = [{"key": "depth", "value": "5"}], [{"key": "team", "value": "x"}, {"key": "mlflow.runName", "value": "named"}]
    post(client, "runs/log-batch", run_id=run, metrics=metrics + odd, params=params, tags=tags)
    source = {"name": "train", "digest": "abc", "source_type": "local", "source": "{}", "schema": "{}"}
    use = {"tags": [{"key": "mlflow.data.context", "value": "training"}], "dataset": source}
    post(client, "runs/log-inputs", run_id=run, datasets=[use])
    post(client, "runs/update", run_id=run, status="FINISHED", end_time=1_700_000_009_000)
    found = get(client, "runs/get", run_id=run)["run"]
    assert found["info"] == {
        "run_uuid": run,
        "run_id": run,
        "run_name": "named",
        "experiment_id": "0",
        "user_id": "olga",
        "status": "FINISHED",
        "start_time": 1_700_000_000_000,
        "end_time": 1_700_000_009_000,
        "artifact_uri": f"mlflow-artifacts:/0/{run}/artifacts",
        "lifecycle_stage": "active",
    }
    values = {each["key"]: (each["value"], each["timestamp"], each["step"]) for each in found["data"]["metrics"]}
    assert values == {"loss": (0.25, 1002, 2), "a": ("NaN", 5, 0), "b": ("-Infinity", 5, 0), "c": (5e-324, 5, 0)}
    assert found["data"]["params"] == [{"key": "depth", "value": "5"}]
    assert found["data"]["tags"] == [{"key": "team", "value": "x"}, {"key": "mlflow.runName", "value": "named"}]
    assert found["inputs"] == {"dataset_inputs": [use]}


def test_a_run_may_have_begun_at_the_beginning_of_time(client: httpx.Client) -> None:
    assert post(client, "runs/create", experiment_id="0", start_time=0)["run"]["info"]["start_time"] == 0
    assert post(client, "runs/create", experiment_id="0")["run"]["info"]["start_time"] > 1_700_000_000_000


def test_what_a_run_says_of_a_dataset_first_stays(client: httpx.Client, run: str) -> None:
    dataset = {"name": "flights", "digest": "f1", "source_type": "local", "source": "flights.csv"}
    for context in ("training", "test"):
        tags = [{"key": "mlflow.data.context", "value": context}]
        post(client, "runs/log-inputs", run_id=run, datasets=[{"dataset": dataset, "tags": tags}])
    (use,) = get(client, "runs/get", run_id=run)["run"]["inputs"]["dataset_inputs"]
    assert use["tags"] == [{"key": "mlflow.data.context", "value": "training"}]


@pytest.mark.parametrize(
    ("noun", "fields", "says"),
    [
        ("registered-models", {"filter": "run_id = 'x'"}, "Invalid attribute key 'run_id' specified. Valid keys are"),
        ("registered-models", {"filter": "name = x"}, "Parameter value is either not quoted or unidentified quote types"),
        ("registered-models", {"filter": "metrics.a > 1"}, "Invalid entity type 'metrics'. Valid"),
        ("registered-models", {"order_by": "run_id"}, "Invalid order by key 'run_id' specified"),
        ("registered-models", {"page_token": "evilhax"}, "Invalid page token, could not base64-decode"),
        ("model-versions", {"filter": "run_id > 'x'"}, "Invalid comparator '>' not one of"),
        ("model-versions", {"filter": "version_number < 'x'"}, "Expected numeric value type for numeric attribute: version_number."),
        ("model-versions", {"order_by": "run_id"}, "Invalid attribute key 'run_id' specified"),
    ],
)
def test_a_bad_search_is_refused_in_mlflows_words(client: httpx.Client, noun: str, fields: dict[str, str], says: str) -> None:
    answer = client.get(f"/api/2.0/mlflow/{noun}/search", params=fields)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer.json()["message"].startswith(says)


def test_a_batch_that_is_sent_twice_is_logged_once(client: httpx.Client, running: Running, run: str) -> None:
    batch = [{"key": "loss", "value": 0.5, "timestamp": 1, "step": step} for step in (0, 1, 1)]
    for _ in range(2):
        post(client, "runs/log-batch", run_id=run, metrics=batch)
    (summary,) = running.yard.workspace.do(GetRun(id=run), running.yard.owner).metrics
    assert summary.count == 2
    post(client, "runs/log-metric", run_id=run, key="loss", value=0.75, timestamp=1, step=1)
    history = get(client, "metrics/get-history", run_id=run, metric_key="loss")["metrics"]
    assert [(point["step"], point["value"]) for point in history] == [(0, 0.5), (1, 0.5), (1, 0.75)]


def test_a_history_comes_whole_by_page_thinned_and_by_range(client: httpx.Client, run: str) -> None:
    values = [math.sin(step / 50) for step in range(1000)]
    values[333] = 1e9
    batch = [{"key": "m", "value": value, "timestamp": 1, "step": step} for step, value in enumerate(values)]
    post(client, "runs/log-batch", run_id=run, metrics=batch)
    asked = {"run_id": run, "metric_key": "m"}
    assert [point["value"] for point in get(client, "metrics/get-history", **asked)["metrics"]] == values
    found, token = [], ""
    while True:
        page = get(client, "metrics/get-history", **asked, max_results=300, **({"page_token": token} if token else {}))
        found += [point["value"] for point in page["metrics"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert found == values
    wrong = client.get("/api/2.0/mlflow/metrics/get-history", params={**asked, "page_token": "invalid_token"})
    assert (wrong.status_code, wrong.json()["message"][:18]) == (400, "Invalid page token")
    thin = get(client, "metrics/get-history-bulk-interval", run_ids=run, metric_key="m", max_results=40)["metrics"]
    assert len(thin) <= 40
    assert (333, 1e9) in [(point["step"], point["value"]) for point in thin]
    part = get(client, "metrics/get-history-bulk-interval", run_ids=run, metric_key="m", start_step=10, end_step=12)["metrics"]
    assert [(point["run_id"], point["step"]) for point in part] == [(run, 10), (run, 11), (run, 12)]
    post(client, "runs/log-batch", run_id=run, metrics=[{"key": "up", "value": step, "timestamp": 1, "step": step} for step in range(100)])
    asked = {"run_ids": run, "metric_key": "up", "max_results": 10}
    for more, steps in (
        ({}, range(100)),
        ({"start_step": 40, "end_step": 79}, range(40, 80)),
        ({"start_step": 40, "end_step": 49}, range(40, 50)),
    ):
        up = [point["step"] for point in get(client, "metrics/get-history-bulk-interval", **asked, **more)["metrics"]]
        assert (up[0], up[-1]) == (steps[0], steps[-1])
        assert 8 <= len(up) <= 10


def test_the_history_of_a_metric_that_is_not_there_is_empty_and_that_of_a_run_that_is_not_there_is_refused(
    client: httpx.Client, run: str
) -> None:
    assert get(client, "metrics/get-history", run_id=run, metric_key="m") == {"metrics": []}
    for id in ("0" * 32, run[:8], "x"):
        answer = client.get("/api/2.0/mlflow/metrics/get-history", params={"run_id": id, "metric_key": "m"})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert answer.json()["message"] == f"Run with id={id} not found"


def test_a_param_is_written_once(client: httpx.Client, run: str) -> None:
    for _ in range(2):
        post(client, "runs/log-parameter", run_id=run, key="depth", value="5")
    status, code, message = refused(client, "runs/log-parameter", run_id=run, key="depth", value="6")
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert message == (
        "Changing param values is not allowed. Param with key='depth' was already logged with value='5' "
        f"for run ID='{run}'. Attempted logging new value '6'."
    )
    # A batch is told of each that it would change.
    post(client, "runs/log-parameter", run_id=run, key="width", value="7")
    rows = [{"key": key, "value": value} for key, value in (("new", "1"), ("width", "8"), ("depth", "6"))]
    assert refused(client, "runs/log-batch", run_id=run, params=rows)[2] == (
        "Changing param values is not allowed. Params were already logged='[{'key': 'width', 'old_value': '7', 'new_value': '8'}, "
        f"{{'key': 'depth', 'old_value': '5', 'new_value': '6'}}]' for run ID='{run}'."
    )


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        ("runs/log-metric", {"key": "a", "value": 1}, "Missing value for required parameter 'run_id'."),
        ("runs/log-metric", {"run_id": "RUN", "value": 1}, "Missing value for required parameter 'key'."),
        ("runs/log-metric", {"run_id": "RUN", "key": "a"}, "Missing value for required parameter 'value'."),
        ("runs/log-metric", {"run_id": "RUN", "key": "a", "value": "x"}, "Invalid value \"x\" for parameter 'value' supplied"),
        ("runs/log-metric", {"run_id": "RUN", "key": "a", "value": 1, "timestamp": 1, "step": 2**63}, "for parameter 'step' supplied"),
        ("runs/log-metric", {"run_id": "RUN", "key": "a", "value": 1}, "Missing value for required parameter 'timestamp'. See the API"),
        (
            "runs/log-metric",
            {"run_id": "RUN", "key": "a", "value": 1, "timestamp": -1},
            "Invalid value -1 for parameter 'timestamp' supplied: metric 'a' (value=1.0). Timestamp must be a nonnegative long",
        ),
        (
            "runs/log-batch",
            {"run_id": "RUN", "metrics": [{"key": "a", "value": 1}]},
            "required parameter 'metrics[0].timestamp'. See the API",
        ),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"value": "1"}]}, "required parameter 'params[0].key'. See the API docs for"),
        ("runs/search", {"experiment_ids": ["a"]}, "Invalid experiment ID 'a'. Experiment ID must be a valid integer."),
        ("runs/search", {"max_results": 0}, "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"),
        ("runs/search", {"max_results": 50_001}, "Invalid value 50001 for parameter 'max_results' supplied:  Hint: Value was of"),
        (
            "runs/log-model",
            {"run_id": "RUN", "model_json": '{"flavors": {}, "run_id": ""}'},
            "fields: ['artifact_path', 'utc_time_created']",
        ),
        ("runs/log-inputs", {"run_id": "RUN", "datasets": [{"dataset": {"name": "n" * 501}}]}, "'name' exceeds the maximum length of 500"),
        (
            "runs/log-inputs",
            {"run_id": "RUN", "datasets": [{"dataset": {"digest": "n" * 37}}]},
            "'digest' exceeds the maximum length of 36",
        ),
        (
            "runs/log-inputs",
            {"run_id": "RUN", "datasets": [{"dataset": {"name": "d", "digest": "d"}, "tags": [{"key": "a", "value": "v" * 501}]}]},
            "'value' exceeds the maximum length of 500 characters",
        ),
        (
            "experiments/create",
            {"name": "e", "tags": [{"key": "a&b", "value": ""}]},
            "Invalid value \"a&b\" for parameter 'key' supplied: Names",
        ),
        ("experiments/set-experiment-tag", {"experiment_id": "0", "key": "a/../b", "value": ""}, "This name would resolve to 'b'"),
        (
            "experiments/set-experiment-tag",
            {"experiment_id": "0", "key": "a" * 251, "value": ""},
            "'key' exceeds the maximum length of 250",
        ),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"key": "a", "value": "1"}] * 2}, "keys have been submitted: ['a']. Please"),
        (
            "runs/log-batch",
            {"run_id": "RUN", "metrics": [{"key": "a", "value": 1, "timestamp": 1}] * 1000, "tags": [{"key": "a", "value": "b"}]},
            "at most 1000 metrics, params, and tags. Got 1001 metrics, params, and tags. Please split up metrics, params, and tags across",
        ),
        ("runs/outputs", {"run_id": "RUN"}, "Missing value for required parameter 'models'."),
        ("experiments/update", {"experiment_id": "0"}, "Missing value for required parameter 'new_name'."),
        ("runs/log-batch", {"run_id": "RUN", "metrics": 5}, "Invalid value 5 for parameter 'metrics' supplied"),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"key": str(i), "value": ""} for i in range(101)]}, "at most 100 params"),
        (
            "runs/log-parameter",
            {"run_id": "RUN", "key": "a,b", "value": ""},
            "Invalid value \"a,b\" for parameter 'key' supplied: Names may only",
        ),
        ("runs/log-metric", {"run_id": "RUN", "key": "../a", "value": 1, "timestamp": 1}, "This name would resolve to '../a'"),
        (
            "runs/log-metric",
            {"run_id": "RUN", "key": "a" * 251, "value": 1, "timestamp": 1},
            "'Metric name' exceeds the maximum length of 250 characters",
        ),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"key": "a", "value": v} for v in "xy"]}, "only one param value per param key"),
        (
            "runs/log-batch",
            {"run_id": "RUN", "metrics": [{"key": key, "value": 1, "timestamp": 1} for key in ("a", "../a")]},
            "Invalid value \"../a\" for parameter 'metrics[1].name' supplied: Names may be treated as files",
        ),
        (
            "runs/log-batch",
            {"run_id": "RUN", "params": [{"key": key, "value": ""} for key in ("a", "a,b")]},
            "Invalid value \"a,b\" for parameter 'params[1].key' supplied: Names may only",
        ),
        ("runs/log-batch", {"run_id": "RUN", "params": [{"key": "a" * 251, "value": ""}]}, "'Param key' exceeds the maximum length of 250"),
        ("runs/log-batch", {"run_id": "RUN", "tags": [{"key": "a" * 251, "value": ""}]}, "'tags[0].key' exceeds the maximum length of 250"),
        ("runs/set-tag", {"run_id": "RUN", "key": "a" * 251, "value": ""}, "'key' exceeds the maximum length of 250"),
        (
            "runs/log-metric",
            {"run_id": "RUN", "key": "a//b", "value": 1, "timestamp": 1},
            "Invalid value \"a//b\" for parameter 'name' supplied: Names may be",
        ),
        ("runs/log-parameter", {"run_id": "RUN", "key": "a/./b/", "value": ""}, "This name would resolve to 'a/b'"),
        ("runs/update", {"run_id": "RUN", "status": "DONE"}, "Invalid value \"DONE\" for parameter 'status'"),
        ("runs/set-tag", {"run_id": "RUN", "key": "bad\nkey", "value": ""}, "for parameter 'key' supplied: Names may only contain"),
    ],
)
def test_bad_fields_are_refused_by_name(client: httpx.Client, run: str, path: str, fields: dict[str, Any], says: str) -> None:
    status, code, message = refused(client, path, **{key: run if value == "RUN" else value for key, value in fields.items()})
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert says in message


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"[" * 100_000, b"\xff"])
def test_what_is_no_json_object_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/api/2.0/mlflow/runs/create", content=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_deleted_run_is_not_changed_until_it_is_restored(client: httpx.Client, run: str) -> None:
    post(client, "runs/delete", run_id=run)
    assert refused(client, "runs/set-tag", run_id=run, key="a", value="b") == (
        400,
        "INVALID_PARAMETER_VALUE",
        f"The run {run} must be in the 'active' state. Current state is deleted.",
    )
    for view, seen in (("ACTIVE_ONLY", False), ("DELETED_ONLY", True), ("ALL", True)):
        found = post(client, "runs/search", experiment_ids=["0"], run_view_type=view, max_results=1000)["runs"]
        assert (run in [each["info"]["run_id"] for each in found]) == seen
    gone = post(client, "experiments/create", name=f"gone {run}")["experiment_id"]
    post(client, "experiments/delete", experiment_id=gone)
    # A query holds a number as text.
    for view, shown in (("", False), ("1", False), ("2", True), ("3", True)):
        there = get(client, "experiments/search", view_type=view, max_results=1000)["experiments"]
        assert (gone in [each["experiment_id"] for each in there]) == shown
    post(client, "runs/restore", run_id=run)
    post(client, "runs/set-tag", run_id=run, key="a", value="b")
    post(client, "runs/delete-tag", run_id=run, key="a")
    assert refused(client, "runs/delete-tag", run_id=run, key="a")[1:] == (
        "RESOURCE_DOES_NOT_EXIST",
        f"No tag with name: a in run with id {run}",
    )


def test_deleting_and_restoring_again_changes_nothing(client: httpx.Client, run: str) -> None:
    for path, stage in (("runs/delete", "deleted"), ("runs/restore", "active")):
        for _ in range(2):
            post(client, path, run_id=run)
            assert get(client, "runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == stage


def test_values_longer_than_mlflow_keeps_are_cut_as_it_cuts_them(client: httpx.Client, run: str) -> None:
    for _ in range(2):
        post(client, "runs/log-parameter", run_id=run, key="long", value="x" * 7000)
    post(client, "runs/set-tag", run_id=run, key="long", value="y" * 9000)
    data = get(client, "runs/get", run_id=run)["run"]["data"]
    assert [each["value"] for each in data["params"]] == ["x" * 6000]
    assert [len(each["value"]) for each in data["tags"] if each["key"] == "long"] == [8000]
    made = post(client, "runs/create", experiment_id="0", tags=[{"key": "long", "value": "z" * 9000}])["run"]["data"]["tags"]
    assert [len(each["value"]) for each in made if each["key"] == "long"] == [8000]


def test_a_folder_may_end_with_a_slash_and_a_scheme_within_a_run_is_none(client: httpx.Client, run: str) -> None:
    root = f"0/{run}/artifacts"
    assert client.put(f"/api/2.0/mlflow-artifacts/artifacts/{root}/plots/a.txt", content=b"hi").status_code == 200
    assert [each["path"] for each in get(client, "artifacts/list", run_id=run, path="plots/")["files"]] == ["plots/a.txt"]
    listing = "/api/2.0/mlflow-artifacts/artifacts"
    assert [each["path"] for each in client.get(listing, params={"path": f"{root}/plots/"}).json()["files"]] == ["a.txt"]
    for wrong in ("/", "//", "plots//", "../", "c:/x", "file:/etc"):
        assert client.get("/api/2.0/mlflow/artifacts/list", params={"run_id": run, "path": wrong}).status_code == 400, wrong
        if ":" in wrong:
            for method in ("GET", "PUT", "DELETE"):
                assert client.request(method, f"{listing}/{root}/{wrong}").status_code == 400, (method, wrong)


def test_artifacts_go_up_are_listed_come_down_and_go_away(client: httpx.Client, run: str) -> None:
    root = f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts"
    large = bytes(range(256)) * 20_000
    for name, content in (("a.txt", b"hi"), ("plots/deep/x.bin", large), ("plots/y", b"")):
        assert client.put(f"{root}/{name}", content=content).status_code == 200
    listed = get(client, "artifacts/list", run_id=run)
    assert listed == {
        "root_uri": f"mlflow-artifacts:/0/{run}/artifacts",
        "files": [{"path": "a.txt", "is_dir": False, "file_size": 2}, {"path": "plots", "is_dir": True}],
    }
    inner = get(client, "artifacts/list", run_id=run, path="plots")["files"]
    assert inner == [{"path": "plots/deep", "is_dir": True}, {"path": "plots/y", "is_dir": False, "file_size": 0}]
    proxied = client.get("/api/2.0/mlflow-artifacts/artifacts", params={"path": f"0/{run}/artifacts/plots"}).json()
    assert [each["path"] for each in proxied["files"]] == ["deep", "y"]
    answer = client.get(f"{root}/plots/deep/x.bin")
    assert (answer.content == large, answer.headers["x-content-type-options"]) == (True, "nosniff")
    # The same run is in no other experiment.
    elsewhere = root.replace("/0/", "/1/")
    for method in ("GET", "PUT", "DELETE"):
        assert client.request(method, f"{elsewhere}/a.txt").json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert client.delete(f"{root}/plots").status_code == 200
    assert [each["path"] for each in get(client, "artifacts/list", run_id=run)["files"]] == ["a.txt"]
    assert client.get(f"{root}/plots/y").json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert client.delete(f"{root}/").status_code == 200
    assert get(client, "artifacts/list", run_id=run)["files"] == []


@pytest.mark.parametrize(
    "path",
    [
        *("../secrets/owner", "a/../../b", "%2e%2e/x", "a/%2e%2e/%2e%2e/x", "%252e%252e/x", "..%2fx", "..%5cx", "a%5cb", "a//b"),
        *("a%252fb", "a%3bb", "a%23b", "a%3fb", "file:%2f%2f%2fetc/passwd", "a%00b", "a%0ab", "%2fetc/passwd", "a/", "a%ffb"),
    ],
)
def test_a_path_that_could_mean_something_else_is_refused(client: httpx.Client, run: str, path: str) -> None:
    for method in ("GET", "PUT"):
        answer = client.request(method, f"/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/{path}", content=b"x")
        assert answer.status_code in (400, 404), answer.text
    assert get(client, "artifacts/list", run_id=run)["files"] == []


def test_what_is_not_spoken_says_so_and_an_unknown_path_is_missing(client: httpx.Client) -> None:
    for path in ("gateway/endpoints", "traces/metrics"):
        status, code, message = refused(client, path)
        assert (status, code) == (501, "NOT_IMPLEMENTED"), path
        assert message
    assert refused(client, "nothing/here")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert client.get("/api/3.0/mlflow/server-info").json()["workspaces_enabled"] is False


def test_a_trace_comes_back_as_it_was_sent_and_its_spans_are_a_file(client: httpx.Client) -> None:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    sent = {
        "trace_id": "tr-1",
        "trace_location": place,
        "request_time": "2026-11-21T08:17:17.879Z",
        "execution_duration": "1.296s",
        "state": "OK",
        "request_preview": "q",
        "response_preview": "r",
        "trace_metadata": {"mlflow.user": "me"},
        "tags": {"mlflow.traceName": "f"},
    }
    url = "/api/3.0/mlflow/traces"
    told = client.post(url, json={"trace": {"trace_info": sent}}).json()["trace"]["trace_info"]
    root = "mlflow-artifacts:/0/traces/tr-1/artifacts"
    assert told == {
        **sent,
        "request_time": "2026-11-21T08:17:17.879000Z",
        "execution_duration": "1.296000s",
        "tags": {**sent["tags"], "mlflow.artifactLocation": root},  # type: ignore[dict-item]
    }
    path = f"/api/2.0/mlflow-artifacts/artifacts/{root.removeprefix('mlflow-artifacts:/')}/traces.json"
    assert client.put(path, content=b"{}").status_code == 200
    assert client.get(path).content == b"{}"
    assert client.delete(path).status_code == 400
    assert client.get(f"{url}/tr-1").json() == {"trace": {"trace_info": told}}
    assert client.post(f"{url}/search", json={"locations": [place]}).json() == {"traces": [told]}
    for wrong in (
        {"request_time": "yesterday"},
        {"execution_duration": "-1s"},
        {"trace_location": {}},
        {"tags": ["a"]},
        {"trace_id": "a/b"},
    ):
        answer = client.post(url, json={"trace": {"trace_info": {**sent, **wrong}}})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), wrong
    assert client.get(f"{url}/get", params={"trace_id": "none"}).json()["message"] == "Trace with ID 'none' not found."
    assert client.post(url, json={"trace": {"trace_info": {**sent, "assessments": [{}]}}}).status_code == 400
    assert client.post("/api/3.0/mlflow/traces/metrics", json={}).status_code == 501
    assert post(client, "traces/delete-traces", experiment_id="0", request_ids=["tr-1"]) == {"traces_deleted": 1}
    assert client.get(f"{url}/tr-1").json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"
    assert refused(client, "traces/delete-traces", experiment_id="0")[1] == "INVALID_PARAMETER_VALUE"


def test_a_trace_of_an_older_client_begins_ends_and_is_found(client: httpx.Client) -> None:
    tag, note = {"key": "a", "value": "b"}, {"key": "mlflow.traceInputs", "value": "q"}
    begun = post(client, "traces", experiment_id="0", timestamp_ms=1_700_000_000_123, request_metadata=[note], tags=[tag])["trace_info"]
    id = begun["request_id"]
    place = {"key": "mlflow.artifactLocation", "value": f"mlflow-artifacts:/0/traces/{id}/artifacts"}
    assert begun == {
        "request_id": id,
        "experiment_id": "0",
        "timestamp_ms": 1_700_000_000_123,
        "execution_time_ms": 0,
        "status": "IN_PROGRESS",
        "request_metadata": [note],
        "tags": [tag, place],
    }
    later = [{"key": "mlflow.traceInputs", "value": "q?"}, {"key": "mlflow.traceOutputs", "value": "r"}]
    change = {"timestamp_ms": 1_700_000_001_000, "status": "OK", "request_metadata": later, "tags": [{"key": "a", "value": "c"}]}
    for _ in range(2):
        ended = client.patch(f"/api/2.0/mlflow/traces/{id}", json=change).json()["trace_info"]
        assert (ended["status"], ended["execution_time_ms"]) == ("OK", 877)
        assert (ended["request_metadata"], ended["tags"]) == (later, [{"key": "a", "value": "c"}, place])
    assert get(client, f"traces/{id}/info")["trace_info"] == ended
    found = get(client, "traces", experiment_ids=["0"], filter="tags.a = 'c' and status = 'OK'", max_results=5)
    assert found == {"traces": [ended]}
    newer = client.get(f"/api/3.0/mlflow/traces/{id}").json()["trace"]["trace_info"]
    assert (newer["request_preview"], newer["response_preview"], newer["state"]) == ("q?", "r", "OK")
    assert client.patch(f"/api/2.0/mlflow/traces/{id}", json={"status": "IN_PROGRESS"}).status_code == 400
    assert client.patch("/api/2.0/mlflow/traces/none", json={}).status_code == 404
    assert post(client, "traces/delete-traces", experiment_id="0", request_ids=[id]) == {"traces_deleted": 1}


def test_a_field_of_another_kind_or_with_half_a_character_is_refused_and_breaks_nothing(client: httpx.Client, run: str) -> None:
    assert refused(client, "runs/update", run_id=run, status=[{}])[:2] == (400, "INVALID_PARAMETER_VALUE")
    for path, field, said, shown in (
        ("experiments/search", "view_type", [None], "[null]"),
        ("experiments/search", "view_type", 9, "9"),
        ("experiments/search", "view_type", True, "true"),
        ("runs/search", "run_view_type", "DELETED", '"DELETED"'),
    ):
        status, code, message = refused(client, path, **{field: said})
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
        assert message.startswith(f"Invalid value {shown} for parameter '{field}' supplied")
    answer = client.post("/api/2.0/mlflow/runs/delete-tag", content=f'{{"run_id": "{run}", "key": "\\ud800"}}')
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
