"""What was found by sending the same requests to a server of MLflow's and to this one: both answer alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from tests.unit.conftest import Running
from tests.unit.server.asking import INVALID, MISSING, ask, client_of, refused


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    with client_of(running) as opened:
        yield opened


@pytest.fixture
def run(client: httpx.Client) -> str:
    """The id of a run that goes on."""
    return str(ask(client, "POST", "runs/create", experiment_id="0")["run"]["info"]["run_id"])


def put(client: httpx.Client, run: str, name: str) -> httpx.Response:
    return client.put(f"../mlflow-artifacts/artifacts/0/{run}/artifacts/{quote(name)}", content=b"kept")


def test_an_experiment_is_deleted_and_restored_once(client: httpx.Client) -> None:
    id = ask(client, "POST", "experiments/create", name="once")["experiment_id"]
    missing = (404, MISSING, f"No Experiment with id={id} exists")
    assert refused(client, "POST", "experiments/restore", experiment_id=id) == missing
    ask(client, "POST", "experiments/delete", experiment_id=id)
    assert refused(client, "POST", "experiments/delete", experiment_id=id) == missing


@pytest.mark.parametrize(
    "name",
    ["50%.txt", "50% off/a.txt", "epoch:10.ckpt", "a/12:30:00.log", "/".join(["deep" * 10] * 10)],
)
def test_a_file_has_any_name_that_leads_nowhere_else(client: httpx.Client, run: str, name: str) -> None:
    assert put(client, run, name).status_code == 200
    path = f"../mlflow-artifacts/artifacts/0/{run}/artifacts"
    assert client.get(f"{path}/{quote(name)}").content == b"kept"
    folder, _, _ = name.rpartition("/")
    for asked, found in ((name, []), (folder, [name])):
        files = client.get("artifacts/list", params={"run_id": run, "path": asked}).json()["files"]
        assert [each["path"] for each in files] == found
    assert client.delete(f"{path}/{quote(name)}").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "..%2fa",
        "a%2fb",
        "a%5cb",
        "%252e%252e%252fa",
        "%2e%2e",
        "a%00",
        "%66ile:a",
        "C:a",
        "a\\b",
        "a?b",
        "100%ff",
        "%41.txt",
        "a;b",
        "http:x",
    ],
)
def test_a_name_that_leads_elsewhere_where_it_is_decoded_is_refused(client: httpx.Client, run: str, name: str) -> None:
    assert put(client, run, name).json() == {"error_code": INVALID, "message": "Invalid path"}
    assert ask(client, "GET", "artifacts/list", run_id=run)["files"] == []


def test_no_file_takes_the_place_of_a_folder_or_lies_below_another_file(client: httpx.Client, run: str) -> None:
    """What was acknowledged could not be fetched any more."""
    assert put(client, run, "plots/a.txt").status_code == put(client, run, "notes").status_code == 200
    assert put(client, run, "plots").json() == {"error_code": INVALID, "message": "Invalid path: 'plots' is a folder"}
    below = put(client, run, "notes/deep/b.txt").json()["message"]
    assert below == "Invalid path: 'notes' is a file, so nothing can lie below it"
    for name in ("plots/a.txt", "notes", "notes2", "plots2/a"):
        assert put(client, run, name).status_code == 200
        assert client.get(f"../mlflow-artifacts/artifacts/0/{run}/artifacts/{name}").content == b"kept"


def test_a_file_that_is_not_there_is_told_in_mlflows_words(client: httpx.Client, run: str) -> None:
    path = f"0/{run}/artifacts/none"
    assert refused(client, "GET", f"../mlflow-artifacts/artifacts/{path}") == (404, MISSING, f"No such artifact: '{path}'")


def test_a_logged_model_keeps_long_params_and_tags_and_is_deleted_twice(client: httpx.Client, run: str) -> None:
    long = "p" * 50_000
    made = ask(client, "POST", "logged-models", experiment_id="0", name="agent", params=[{"key": "prompt", "value": long}])
    id = made["model"]["info"]["model_id"]
    ask(client, "POST", f"logged-models/{id}/params", params=[{"key": "system", "value": long}])
    ask(client, "PATCH", f"logged-models/{id}/tags", tags=[{"key": "note", "value": long}])
    found = ask(client, "GET", f"logged-models/{id}")["model"]
    assert {each["key"]: len(each["value"]) for each in found["data"]["params"]} == {"prompt": 50_000, "system": 50_000}
    assert found["info"]["tags"] == [{"key": "note", "value": long}]
    said = refused(client, "PATCH", f"logged-models/{id}", model_id=id)
    assert (said[:2], said[2].startswith("Missing value for required parameter 'status'.")) == ((400, INVALID), True)
    for _ in range(2):
        assert ask(client, "DELETE", f"logged-models/{id}") == {}


@pytest.mark.parametrize(
    "where", ["status = 'LOGGED_MODEL_READY'", "name = 'a' AND status != 'ready'", "attributes.status IN ('READY', 'x')"]
)
def test_a_filter_with_an_unknown_status_is_refused_rather_than_answered_with_nothing(client: httpx.Client, where: str) -> None:
    status, code, message = refused(client, "POST", "logged-models/search", experiment_ids=["0"], filter=where)
    assert (status, code, message[:33]) == (400, INVALID, "Unknown model status in filter: '")
    assert ask(client, "POST", "logged-models/search", experiment_ids=["0"], filter="status = 'READY'")["models"] == []


def test_a_metric_names_a_dataset_whole_or_not_at_all(client: httpx.Client, run: str) -> None:
    point = {"run_id": run, "key": "a", "value": 1, "timestamp": 1}
    said = (400, INVALID, "Both dataset_name and dataset_digest must be provided if one is provided")
    assert refused(client, "POST", "runs/log-metric", **point, dataset_name="d") == said
    assert refused(client, "POST", "runs/log-metric", **point, dataset_digest="d") == said
    assert refused(client, "POST", "runs/log-batch", run_id=run, metrics=[{**point, "dataset_name": "d"}]) == said


def test_a_versions_number_may_stand_in_quotes_and_what_is_copied_is_told_by_what_is_missing(client: httpx.Client, run: str) -> None:
    assert put(client, run, "m/MLmodel").status_code == 200
    ask(client, "POST", "registered-models/create", name="quoted")
    for _ in range(3):
        ask(client, "POST", "model-versions/create", name="quoted", source=f"runs:/{run}/m", run_id=run)

    def found(where: str) -> list[str]:
        rows: list[dict[str, Any]] = ask(client, "GET", "model-versions/search", filter=f"name = 'quoted' and {where}")["model_versions"]
        return sorted(row["version"] for row in rows)

    assert [found("version_number = '2'"), found("version_number > '1'"), found("version_number = 3")] == [["2"], ["2", "3"], ["3"]]
    assert refused(client, "GET", "model-versions/search", filter="version_number = 'two'")[:2] == (400, INVALID)
    for source, code, says in (
        ("models:/none/1", MISSING, "Registered Model with name=none not found"),
        ("models:/none@best", MISSING, "Registered Model with name=none not found"),
        ("models:/quoted@best", INVALID, "Registered model alias best not found."),
        ("models:/quoted/9", MISSING, "Model Version (name=quoted, version=9) not found"),
    ):
        assert refused(client, "POST", "model-versions/create", name="quoted", source=source)[1:] == (code, says)


def test_a_trace_with_a_long_tag_is_kept_and_the_text_cut(client: httpx.Client) -> None:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    info = {"trace_id": "tr-long", "trace_location": place, "request_time": "2026-11-21T08:17:17Z", "state": "OK"}
    long = {"long": "x" * 8001}
    sent = {"trace_info": {**info, "tags": long, "trace_metadata": long}}
    kept = ask(client, "POST", "../../3.0/mlflow/traces", trace=sent)["trace"]["trace_info"]
    assert (kept["tags"]["long"], kept["trace_metadata"]) == ("x" * 8000, {"long": "x" * 8000})


@pytest.fixture
def traces(client: httpx.Client) -> str:
    """The id of an experiment with three traces, the first of which took longest."""
    id = str(ask(client, "POST", "experiments/create", name=f"traced {uuid4().hex}")["experiment_id"])
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": id}}
    for second, took in ((1, "9s"), (2, "0.5s"), (3, "1s")):
        at = {"request_time": f"2026-11-21T08:17:0{second}Z", "execution_duration": took, "state": "OK"}
        ask(
            client,
            "POST",
            "../../3.0/mlflow/traces",
            trace={"trace_info": {"trace_id": f"tr-{id}-{second}", "trace_location": place, **at}},
        )
    return id


def test_traces_are_ordered_by_their_end_and_found_by_quoted_numbers(client: httpx.Client, traces: str) -> None:
    locations = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": traces}}]

    def found(**more: Any) -> list[str]:
        rows = ask(client, "POST", "../../3.0/mlflow/traces/search", locations=locations, max_results=10, **more)["traces"]
        return [row["trace_id"].rpartition("-")[2] for row in rows]

    assert found(order_by=["end_time"]) == ["2", "3", "1"]
    assert found(order_by=["end_time_ms DESC"]) == ["1", "3", "2"]
    assert found(filter="execution_time_ms > '600' and timestamp_ms > '1700000000000'", order_by=["timestamp"]) == ["1", "3"]
    said = refused(client, "POST", "../../3.0/mlflow/traces/search", max_results=10)
    assert (said[:2], said[2].startswith("Missing value for required parameter 'locations'.")) == ((400, INVALID), True)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "Either `max_timestamp_millis` or `trace_ids` must be specified."),
        ({"request_ids": ["tr-1"], "max_timestamp_millis": 1}, "Only one of `max_timestamp_millis` and `trace_ids` can be specified."),
        ({"max_timestamp_millis": 1_900_000_000_000, "max_traces": 0}, "`max_traces` must be a positive integer, received 0."),
        ({"max_timestamp_millis": 1_900_000_000_000, "max_traces": -1}, "`max_traces` must be a positive integer, received -1."),
    ],
)
def test_no_trace_is_deleted_by_a_request_that_names_none(client: httpx.Client, traces: str, fields: dict[str, Any], says: str) -> None:
    assert refused(client, "POST", "traces/delete-traces", experiment_id=traces, **fields) == (400, INVALID, says)
    assert len(ask(client, "GET", "traces", experiment_ids=traces)["traces"]) == 3


@pytest.mark.parametrize(
    ("name", "kept"), [("late ", "late"), (" two\nlines\t", "two lines"), ("n" * 300, "n" * 250), (f"{'n' * 249} {'m' * 9}", "n" * 249)]
)
def test_a_run_begins_whatever_it_is_called(client: httpx.Client, name: str, kept: str) -> None:
    made = ask(client, "POST", "runs/create", experiment_id="0", run_name=name)["run"]["info"]
    assert made["run_name"] == kept
    ask(client, "POST", "runs/update", run_id=made["run_id"], run_name="other")
    assert ask(client, "POST", "runs/update", run_id=made["run_id"], run_name=name)["run_info"]["run_name"] == kept
    ask(client, "POST", "runs/set-tag", run_id=made["run_id"], key="mlflow.runName", value=f"{name} ")
    assert ask(client, "GET", "runs/get", run_id=made["run_id"])["run"]["info"]["run_name"] == kept
    tagged = ask(client, "POST", "runs/create", experiment_id="0", tags=[{"key": "mlflow.runName", "value": name}])
    assert tagged["run"]["info"]["run_name"] == kept


@pytest.mark.parametrize("key", [" lead", ":lead", "trail ", " : ", ":"])
def test_a_key_begins_with_a_blank_or_a_colon(client: httpx.Client, run: str, key: str) -> None:
    ask(client, "POST", "runs/log-metric", run_id=run, key=key, value=0.5, timestamp=1)
    ask(client, "POST", "runs/log-parameter", run_id=run, key=key, value="p")
    ask(client, "POST", "runs/set-tag", run_id=run, key=key, value="t")
    data = ask(client, "GET", "runs/get", run_id=run)["run"]["data"]
    assert [{row["key"]: row["value"] for row in data[part]}.get(key) for part in ("metrics", "params", "tags")] == [0.5, "p", "t"]
    assert ask(client, "GET", "metrics/get-history", run_id=run, metric_key=key)["metrics"][0]["value"] == 0.5
    for part, value in (("metrics", "0.5"), ("params", "'p'"), ("tags", "'t'")):
        found = ask(client, "POST", "runs/search", experiment_ids=["0"], filter=f"{part}.`{key}` = {value}")["runs"]
        assert run in [each["info"]["run_id"] for each in found]
    ask(client, "POST", "runs/delete-tag", run_id=run, key=key)


@pytest.mark.parametrize("key", [" ", "   ", "..a", "a/../b"])
def test_a_key_that_nobody_sees_or_that_climbs_is_refused(client: httpx.Client, run: str, key: str) -> None:
    assert refused(client, "POST", "runs/log-parameter", run_id=run, key=key, value="p")[:2] == (400, INVALID)
