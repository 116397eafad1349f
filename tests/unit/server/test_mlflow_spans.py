"""Spans as any exporter of OpenTelemetry's protocol sends them, and the traces that they make."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from plimsoll import clock
from plimsoll.errors import MissingExtra
from plimsoll.records.access import AddActor
from plimsoll.records.tracking.experiment import CreateExperiment
from plimsoll.server.mlflow.traces import spans
from tests.unit.conftest import Running

PROTOBUF, JSON = {"content-type": "application/x-protobuf"}, {"content-type": "application/json"}
ROOT = {
    "name": "answer",
    "spanId": "aa" * 8,
    "startTimeUnixNano": "1700000000000000000",
    "endTimeUnixNano": "1700000001500000000",
    "attributes": [
        {"key": "mlflow.spanInputs", "value": {"stringValue": '{"q": 1}'}},
        {"key": "mlflow.spanOutputs", "value": {"arrayValue": {"values": [{"intValue": "2"}, {"doubleValue": 0.5}]}}},
        {"key": "mlflow.traceTag.team", "value": {"stringValue": "x"}},
        {"key": "session.id", "value": {"stringValue": "s"}},
    ],
}
INNER = {
    "name": "inner",
    "spanId": "bb" * 8,
    "parentSpanId": "aa" * 8,
    "startTimeUnixNano": "1700000000100000000",
    "endTimeUnixNano": "1700000000200000000",
}


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    headers = {"authorization": f"Bearer {running.yard.workspace.token('owner')}"}
    with httpx.Client(base_url=running.address.url, headers=headers, trust_env=False, timeout=60) as opened:
        yield opened


@pytest.fixture
def trace() -> str:
    """A trace's id that nobody has used: 32 hex digits."""
    return clock.new_id()


def packed(trace: str, *sent: dict[str, Any]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": trace, **span} for span in sent]}]}]}).encode()


def as_protobuf(trace: str, *sent: dict[str, Any]) -> bytes:
    read = spans._with_bytes(json.loads(packed(trace, *sent)))
    return bytes(ParseDict(read, ExportTraceServiceRequest()).SerializeToString())


def post(client: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    return client.post("/v1/traces", content=body, headers=PROTOBUF | headers)


def whole(client: httpx.Client, trace: str) -> Any:
    return client.get("/api/3.0/mlflow/traces/get", params={"trace_id": f"tr-{trace}"}).json()["trace"]


def test_a_trace_is_made_of_its_spans_whatever_comes_first(client: httpx.Client, trace: str) -> None:
    answer = post(client, as_protobuf(trace, INNER))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", PROTOBUF["content-type"])
    assert whole(client, trace)["trace_info"]["state"] == "IN_PROGRESS"
    answer = client.post("/v1/traces", content=packed(trace, ROOT), headers=JSON)
    assert (answer.status_code, answer.json()) == (200, {})
    for _ in range(2):
        found = whole(client, trace)
        info = found["trace_info"]
        assert (info["state"], info["execution_duration"], info["request_time"]) == ("OK", "1.500000s", "2023-11-14T22:13:20.000000Z")
        assert (info["request_preview"], info["response_preview"]) == ('{"q": 1}', "[2, 0.5]")
        assert info["tags"]["mlflow.traceName"] == "answer"
        assert (info["tags"]["team"], info["tags"]["mlflow.trace.spansLocation"]) == ("x", "TRACKING_STORE")
        assert info["trace_metadata"] == {"mlflow.trace_schema.version": "3", "mlflow.trace.session": "s"}
        assert [(span["name"], span.get("parent_span_id", "")) for span in found["spans"]] == [("answer", ""), ("inner", "qqqqqqqqqqo=")]
        # Sent again, as after a lost answer.
        assert post(client, as_protobuf(trace, ROOT, INNER)).status_code == 200
    several = client.get("/api/3.0/mlflow/traces/batchGet", params={"trace_ids": [f"tr-{trace}", "tr-none"]}).json()["traces"]
    assert several == [whole(client, trace)]
    infos = client.post("/api/3.0/mlflow/traces/batchGetInfos", json={"trace_ids": [f"tr-{trace}"]}).json()["trace_infos"]
    assert infos == [several[0]["trace_info"]]


def test_spans_are_one_file_for_pages_and_a_traces_attachments_are_others(client: httpx.Client, trace: str) -> None:
    event = {"name": "read", "timeUnixNano": "1700000000150000000", "attributes": [{"key": "n", "value": {"intValue": "3"}}]}
    link = {"traceId": "cc" * 16, "spanId": "dd" * 8, "attributes": [{"key": "why", "value": {"stringValue": "same"}}]}
    failed = {"status": {"code": "STATUS_CODE_ERROR", "message": "no"}, "events": [event], "links": [link]}
    client.post("/v1/traces", content=packed(trace, ROOT, INNER | failed), headers=JSON)
    path, asked = "/ajax-api/2.0/mlflow/get-trace-artifact", {"request_id": f"tr-{trace}"}
    answer = client.get(path, params=asked)
    assert answer.headers["content-disposition"] == "attachment; filename=traces.json"
    root, inner = answer.json()["spans"]
    assert root["attributes"] == {
        "mlflow.spanInputs": '"{\\"q\\": 1}"',
        "mlflow.spanOutputs": "[2, 0.5]",
        "mlflow.traceTag.team": '"x"',
        "session.id": '"s"',
    }
    assert (root["parent_span_id"], root["status"], root["events"]) == (None, {"code": "STATUS_CODE_UNSET", "message": ""}, [])
    assert (inner["parent_span_id"], inner["start_time_unix_nano"]) == (root["span_id"], 1700000000100000000)
    assert inner["status"] == {"code": "STATUS_CODE_ERROR", "message": "no"}
    assert inner["events"] == [{"name": "read", "time_unix_nano": 1700000000150000000, "attributes": {"n": 3}}]
    assert inner["links"] == [{"trace_id": f"tr-{'cc' * 16}", "span_id": "dd" * 8, "attributes": {"why": "same"}}]
    kept = f"/api/2.0/mlflow-artifacts/artifacts/0/traces/tr-{trace}/artifacts/attachments/image"
    assert client.put(kept, content=b"bytes").status_code == 200
    assert client.get(path, params={**asked, "path": "image"}).content == b"bytes"
    for wrong, status in (
        ({**asked, "path": "none"}, 404),
        ({**asked, "path": "../image"}, 400),
        ({"request_id": "tr-none"}, 404),
        ({}, 400),
    ):
        assert client.get(path, params=wrong).status_code == status


def test_what_was_tagged_stays_when_the_trace_ends_and_a_failure_is_told(client: httpx.Client, trace: str) -> None:
    post(client, as_protobuf(trace, INNER))
    client.patch(f"/api/3.0/mlflow/traces/tr-{trace}/tags", json={"key": "mine", "value": "1"})
    post(client, as_protobuf(trace, ROOT | {"status": {"code": "STATUS_CODE_ERROR"}}))
    info = whole(client, trace)["trace_info"]
    assert (info["state"], info["tags"]["mine"]) == ("ERROR", "1")


def test_a_trace_belongs_where_the_header_says(running: Running, client: httpx.Client, trace: str) -> None:
    other = running.yard.workspace.do(CreateExperiment(name=clock.new_id()), running.yard.dana).id
    body = as_protobuf(trace, ROOT)
    assert post(client, body, **{"x-mlflow-experiment-id": other, "x-mlflow-run-id": "r1"}).status_code == 200
    info = whole(client, trace)["trace_info"]
    assert info["trace_location"]["mlflow_experiment"]["experiment_id"] == other
    assert info["trace_metadata"]["mlflow.sourceRun"] == "r1"
    assert post(client, body).status_code == 400
    assert post(client, body, **{"x-mlflow-experiment-id": "777"}).status_code == 404


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
def test_a_body_may_be_packed(client: httpx.Client, trace: str, encoding: str) -> None:
    body = as_protobuf(trace, ROOT)
    body = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding](body)
    assert post(client, body, **{"content-encoding": encoding}).status_code == 200
    assert len(whole(client, trace)["spans"]) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff\xff", PROTOBUF),
        (b"{", JSON),
        (b"[]", JSON),
        (b'{"resourceSpans": [1]}', JSON),
        (packed("zz" * 16, ROOT), JSON),
        (packed("aa" * 16, ROOT | {"startTimeUnixNano": str(2**64 - 1), "endTimeUnixNano": "0"}), JSON),
        (b"x", {"content-type": "text/plain"}),
        (b"x", {}),
        (b"x", PROTOBUF | {"content-encoding": "br"}),
        (b"x", PROTOBUF | {"content-encoding": "gzip"}),
        (gzip.compress(b"x" * 1000)[:-9], PROTOBUF | {"content-encoding": "gzip"}),
        (gzip.compress(bytes(17 << 20)), PROTOBUF | {"content-encoding": "gzip"}),
    ],
    ids=map(str, range(12)),
)
def test_what_is_no_export_of_spans_is_refused(client: httpx.Client, body: bytes, headers: dict[str, str]) -> None:
    answer = client.post("/v1/traces", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer.text


@pytest.mark.parametrize("experiment", ["0", "no experiment"])
@pytest.mark.parametrize(
    ("trace", "wrong"),
    [
        ("aa" * 15, {}),
        ("", {}),
        ("aa" * 16, {"spanId": "aa"}),
        ("aa" * 16, {"spanId": ""}),
        ("aa" * 16, {"parentSpanId": "aa"}),
        ("aa" * 16, {"endTimeUnixNano": "1"}),
    ],
)
def test_what_can_be_read_but_is_no_span_has_a_status_of_its_own_wherever_it_belongs(
    client: httpx.Client, trace: str, wrong: dict[str, str], experiment: str
) -> None:
    answer = client.post("/v1/traces", content=packed(trace, ROOT | wrong), headers=JSON | {"x-mlflow-experiment-id": experiment})
    assert (answer.status_code, answer.json()["error_code"]) == (422, "INVALID_PARAMETER_VALUE"), answer.text


def test_a_body_over_the_limit_is_refused_and_an_empty_one_is_nothing(client: httpx.Client) -> None:
    assert post(client, bytes((16 << 20) + 1)).status_code == 400
    assert post(client, b"").status_code == 200


def test_who_may_only_read_sends_no_spans(running: Running, trace: str) -> None:
    token = running.yard.workspace.do(AddActor(name="looks", roles=("read",)), running.yard.owner).token
    with httpx.Client(base_url=running.address.url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as reader:
        assert post(reader, as_protobuf(trace, ROOT)).status_code == 403
        assert reader.post("/v1/traces", headers={"authorization": ""}).status_code == 401


def test_without_its_package_spans_are_refused_in_words_that_clients_heed(
    client: httpx.Client, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = as_protobuf(trace, ROOT)

    def missing(module: str) -> None:
        raise MissingExtra(f"The package {module!r} is not installed.", "Run: pip install 'plimsoll[otel]'")

    monkeypatch.setattr("plimsoll.extras.require", missing)
    answer = post(client, body)
    assert (answer.status_code, answer.json()["error_code"]) == (501, "NOT_IMPLEMENTED")
    assert "REST OTLP span logging is not supported" in answer.json()["message"]
    assert "pip install 'plimsoll[otel]'" in answer.json()["message"]
