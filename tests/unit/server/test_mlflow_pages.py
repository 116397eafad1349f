"""What MLflow's pages and links ask beside its clients, and what is not spoken."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.unit.conftest import Running
from tests.unit.server.asking import INVALID, MISSING, ask, client_of, refused


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    with client_of(running, "ajax-api") as opened:
        yield opened


@pytest.fixture
def experiment(client: httpx.Client) -> str:
    """An empty experiment."""
    return str(ask(client, "POST", "experiments/create", name=uuid.uuid4().hex)["experiment_id"])


def begun(client: httpx.Client, experiment: str) -> str:
    return str(ask(client, "POST", "runs/create", experiment_id=experiment)["run"]["info"]["run_id"])


def test_histories_of_several_runs_come_whole_until_there_are_enough(client: httpx.Client, experiment: str) -> None:
    ids = sorted(begun(client, experiment) for _ in range(2))
    for id in ids:
        points = [{"key": "m", "value": step / 2, "timestamp": 1000 + step, "step": step} for step in range(5)]
        ask(client, "POST", "runs/log-batch", run_id=id, metrics=points)
    found = ask(client, "GET", "metrics/get-history-bulk", run_id=ids[::-1], metric_key="m")["metrics"]
    assert [(each["run_id"], each["step"]) for each in found] == [(id, step) for id in ids for step in range(5)]
    assert found[3] == {"key": "m", "value": 1.5, "timestamp": 1003, "step": 3, "run_id": ids[0]}
    found = ask(client, "GET", "metrics/get-history-bulk", run_id=ids, metric_key="m", max_results=7)["metrics"]
    assert [(each["run_id"], each["step"]) for each in found[4:]] == [(ids[0], 4), (ids[1], 0), (ids[1], 1)]
    assert ask(client, "GET", "metrics/get-history-bulk", run_id=ids[0], metric_key="none") == {"metrics": []}
    for fields, says in (
        ({"metric_key": "m"}, "GetMetricHistoryBulk request must specify at least one run_id."),
        ({"run_id": ids}, "GetMetricHistoryBulk request must specify a metric_key."),
        ({"run_id": ids * 51, "metric_key": "m"}, "cannot specify more than 100 run_ids. Received 102 run_ids."),
    ):
        status, code, message = refused(client, "GET", "metrics/get-history-bulk", **fields)
        assert (status, code) == (400, INVALID)
        assert says in message


def test_the_datasets_that_runs_of_experiments_read_are_told_once_for_each_purpose(client: httpx.Client, experiment: str) -> None:
    def read(name: str, *contexts: str) -> None:
        for context in contexts:
            tags = [{"key": "mlflow.data.context", "value": context}] if context else []
            dataset = {"name": name, "digest": f"d-{name}", "source_type": "local", "source": "{}"}
            ask(client, "POST", "runs/log-inputs", run_id=begun(client, experiment), datasets=[{"tags": tags, "dataset": dataset}])

    read("b", "training", "training", "test")
    read("a", "")
    found = ask(client, "POST", "experiments/search-datasets", experiment_ids=[experiment])["dataset_summaries"]
    assert found == [
        {"experiment_id": experiment, "name": "a", "digest": "d-a"},
        {"experiment_id": experiment, "name": "b", "digest": "d-b", "context": "test"},
        {"experiment_id": experiment, "name": "b", "digest": "d-b", "context": "training"},
    ]
    assert ask(client, "POST", "experiments/search-datasets", experiment_ids=["77"]) == {"dataset_summaries": []}
    assert "at least one experiment_id" in refused(client, "POST", "experiments/search-datasets")[2]
    assert "Received 21 experiment_ids." in refused(client, "POST", "experiments/search-datasets", experiment_ids=["1"] * 21)[2]


def test_files_of_a_run_a_version_and_a_logged_model_come_by_the_links_of_mlflows_pages(client: httpx.Client, experiment: str) -> None:
    run, name = begun(client, experiment), f"late {uuid.uuid4().hex}"
    assert client.put(f"../mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/m/MLmodel", content=b"flavors: {}").status_code == 200
    ask(client, "POST", "registered-models/create", name=name)
    ask(client, "POST", "model-versions/create", name=name, source=f"runs:/{run}/m", run_id=run)
    model = ask(client, "POST", "logged-models", experiment_id=experiment, source_run_id=run)["model"]["info"]["model_id"]
    root = f"../mlflow-artifacts/artifacts/{experiment}/models/{model}/artifacts"
    assert client.put(f"{root}/data/x", content=b"of a model").status_code == 200
    for path, fields, content in (
        ("/get-artifact", {"run_uuid": run, "path": "m/MLmodel"}, b"flavors: {}"),
        ("/get-artifact", {"run_id": run, "path": "m/MLmodel"}, b"flavors: {}"),
        ("/model-versions/get-artifact", {"name": name, "version": "1", "path": "MLmodel"}, b"flavors: {}"),
        (f"logged-models/{model}/artifacts/files", {"artifact_file_path": "data/x"}, b"of a model"),
    ):
        url = client.base_url.copy_with(path=path) if path.startswith("/") else path
        answer = client.get(url, params=fields)
        assert (answer.status_code, answer.content) == (200, content), answer.text
        assert answer.headers["content-disposition"].startswith("attachment")
        field = "artifact_file_path" if "artifact_file_path" in fields else "path"
        assert client.get(url, params=fields | {field: "none"}).json()["error_code"] == MISSING
        for climbing in ("../x", "/etc/passwd", "a/../../b", ""):
            assert client.get(url, params=fields | {field: climbing}).status_code == 400
        assert httpx.get(client.base_url.join(url), params=fields, trust_env=False, timeout=60).status_code == 401


def test_a_file_comes_with_its_name_and_the_type_of_its_ending(client: httpx.Client, experiment: str) -> None:
    run = begun(client, experiment)
    root = f"../mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/x"
    for name, kind, said in (
        ("a.txt", "text/plain", "a.txt"),
        ("MLmodel", "text/plain", "MLmodel"),
        ("page.html", "text/html", "page.html"),
        ("A.PNG", "image/png", "A.PNG"),
        ("dog+step+2.webp", "image/webp", "dog+step+2.webp"),
        ("b.pkl", "application/octet-stream", "b.pkl"),
        ('a "b".unheard', "application/octet-stream", r'"a \"b\".unheard"'),
        ("Grün.csv", "text/plain", "Grun.csv; filename*=UTF-8''Gr%C3%BCn.csv"),
        ("日本", "application/octet-stream", "download; filename*=UTF-8''%E6%97%A5%E6%9C%AC"),
    ):
        assert client.put(f"{root}/{name}", content=b"12").status_code == 200, name
        page = client.base_url.copy_with(path="/get-artifact")
        for answer in (
            client.get(f"{root}/{name}", headers={"accept": "text/html"}),
            client.get(f"{root}/{name}", headers={"range": "bytes=0-0"}),
            client.get(page, params={"run_id": run, "path": f"x/{name}"}),
        ):
            told = {field: answer.headers[field] for field in ("content-type", "content-disposition", "x-content-type-options")}
            wanted = {"content-type": kind, "content-disposition": f"attachment; filename={said}", "x-content-type-options": "nosniff"}
            assert (answer.is_success, told) == (True, wanted)


@pytest.mark.parametrize("step", [2, 10, 23, 85])
def test_an_image_with_a_key_has_the_name_that_newer_clients_give_it(client: httpx.Client, experiment: str, step: int) -> None:
    run = begun(client, experiment)
    root = f"../mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/images"
    end = "timestamp%251763800000000%25k115f450-7f45-4597-80cc-f3f864e107b4"
    for name in (f"a dog%25step%25{step}%25{end}.png", f"a dog%25step%25{step}%25{end}%25compressed.webp"):
        assert client.put(f"{root}/{name}", content=b"12").status_code == 200, name
        assert client.get(f"{root}/{name}").content == client.get(f"{root}/{name.replace('%25', '+')}").content == b"12"
    listed = client.get("artifacts/list", params={"run_id": run, "path": "images"}).json()["files"]
    plain = f"images/a dog+step+{step}+timestamp+1763800000000+k115f450-7f45-4597-80cc-f3f864e107b4"
    assert [each["path"] for each in listed] == [f"{plain}+compressed.webp", f"{plain}.png"]
    other = f"..%252fdog%25step%25{step}%25{end}.png"
    assert client.put(f"{root}/{other}", content=b"12").status_code == 400


def test_a_page_sends_a_file_to_a_run_by_its_name(client: httpx.Client, experiment: str) -> None:
    run = begun(client, experiment)
    for asked, says in (
        ({}, "Request must specify run_uuid."),
        ({"run_uuid": run}, "Request must specify path."),
        ({"run_uuid": run, "path": ""}, "Request must specify path."),
        ({"run_uuid": run, "path": "../a.txt"}, "Invalid path"),
        ({"run_uuid": run, "path": "a.txt"}, "Request must specify data."),
    ):
        assert client.post("upload-artifact", params=asked).json() == {"error_code": INVALID, "message": says}
    missing = client.post("upload-artifact", params={"run_uuid": "0" * 32, "path": "a.txt"}, content=b"a")
    assert (missing.status_code, missing.json()["error_code"]) == (404, MISSING)
    assert client.post("upload-artifact", params={"run_uuid": run, "path": "deep/a.txt"}, content=b"kept").status_code == 200
    assert client.get("../../../get-artifact", params={"run_uuid": run, "path": "deep/a.txt"}).content == b"kept"
    ask(client, "POST", "runs/delete", run_id=run)
    assert client.post("upload-artifact", params={"run_uuid": run, "path": "b.txt"}, content=b"b").status_code == 400


def test_two_slashes_before_the_file_of_a_version_are_one(client: httpx.Client) -> None:
    address = f"{client.base_url.scheme}://{client.base_url.host}:{client.base_url.port}//model-versions/get-artifact"
    answer = client.get(address, params={"name": "m", "version": 1, "path": "../a"})
    assert answer.json() == {"error_code": INVALID, "message": "Invalid path"}


@pytest.mark.parametrize(
    "path",
    [
        *("../graphql", "2.0/mlflow/graphql"),
        *("2.0/mlflow/traces/link-prompts", "2.0/mlflow/unified-traces"),
        *(
            "2.0/mlflow/gateway-proxy",
            "3.0/mlflow/gateway/endpoints/list",
            "2.0/mlflow/runs/create-promptlab-run",
            "3.0/mlflow/scorers/list",
        ),
        *("3.0/mlflow/genai/evaluate/invoke", "3.0/mlflow/issues/search", "3.0/mlflow/label-schemas/list", "3.0/mlflow/review-queues/list"),
        *("3.0/mlflow/prompt-optimization/jobs", "3.0/mlflow/datasets/search", "3.0/mlflow/workspaces", "3.0/mlflow/jobs/1"),
        *("3.0/mlflow/demo/generate", "3.0/mlflow/ui-telemetry", "2.0/mlflow/artifacts/presigned-upload-url"),
    ],
)
def test_what_is_not_spoken_says_why(client: httpx.Client, path: str) -> None:
    for method in ("GET", "POST"):
        status, code, message = refused(client, method, f"../../{path}")
        assert (status, code) == (501, "NOT_IMPLEMENTED"), message
        assert len(message) > 20


def test_traces_are_linked_to_a_run_at_most_a_hundred_at_once(client: httpx.Client, experiment: str) -> None:
    run = begun(client, experiment)
    assert ask(client, "POST", "traces/link-to-run", run_id=run, trace_ids=["tr-1", "tr-2"]) == {}
    for fields, told in (
        ({"run_id": run, "trace_ids": [f"tr-{number}" for number in range(101)]}, "Cannot link more than 100 traces"),
        ({"run_id": run}, "Missing value for required parameter 'trace_ids'"),
        ({"trace_ids": ["tr-1"]}, "Missing value for required parameter 'run_id'"),
    ):
        status, code, message = refused(client, "POST", "traces/link-to-run", **fields)
        assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
        assert told in message
    assert refused(client, "POST", "traces/link-to-run", run_id="0" * 32, trace_ids=["tr-1"])[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
