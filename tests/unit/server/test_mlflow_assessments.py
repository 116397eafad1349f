"""Assessments of traces as MLflow's clients send them, as any client of its protocol sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from plimsoll.records.access import AddActor
from tests.unit.conftest import Running

PLACE = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
URL = "/api/3.0/mlflow/traces"
FEEDBACK = {
    "assessment_name": "good",
    "trace_id": "tr-1",
    "source": {"source_type": "HUMAN", "source_id": "me"},
    "create_time": "2026-11-21T11:35:07.298Z",
    "last_update_time": "2026-11-21T11:35:07.298Z",
    "feedback": {"value": {"y": None, "x": 1.5}, "error": {"error_code": "C", "error_message": "m"}},
    "rationale": "r",
    "metadata": {"a": "1"},
    "valid": True,
}


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token, and a trace."""
    headers = {"authorization": f"Bearer {running.yard.workspace.token('owner')}"}
    with httpx.Client(base_url=running.address.url, headers=headers, trust_env=False, timeout=60) as opened:
        info = {"trace_id": "tr-1", "trace_location": PLACE, "request_time": "2026-11-21T08:17:17Z", "state": "OK"}
        assert opened.post(URL, json={"trace": {"trace_info": info}}).status_code == 200
        yield opened
        opened.post(f"{URL}/delete-traces", json={"experiment_id": "0", "request_ids": ["tr-1"]})


def log(client: httpx.Client, **more: Any) -> dict[str, Any]:
    answer = client.post(f"{URL}/tr-1/assessments", json={"assessment": FEEDBACK | more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["assessment"])


def test_an_assessment_is_logged_read_changed_and_deleted(client: httpx.Client) -> None:
    kept = log(client)
    id = kept.pop("assessment_id")
    moment = "2026-11-21T11:35:07.298000Z"
    error = {"error_code": "C", "error_message": "m", "stack_trace": ""}
    assert kept == FEEDBACK | {
        "create_time": moment,
        "last_update_time": moment,
        "feedback": {"value": {"y": None, "x": 1.5}, "error": error},
    }
    path = f"{URL}/tr-1/assessments/{id}"
    assert client.get(path).json()["assessment"] == kept | {"assessment_id": id}
    change = {"assessment": {"assessment_name": "better", "feedback": {"value": 3.0}}, "update_mask": "assessmentName,feedback"}
    changed = client.patch(path, json=change).json()["assessment"]
    assert (changed["assessment_name"], changed["feedback"], changed["rationale"]) == ("better", {"value": 3}, "r")
    asked = {"locations": [PLACE], "filter": "feedback.better > 2 and feedback.better = '3'"}
    found = client.post(f"{URL}/search", json=asked).json()["traces"]
    assert [each["assessments"] for each in found] == [[changed]]
    for _ in range(2):
        assert client.delete(path).json() == {}
    answer = client.get(path)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert answer.json()["message"] == f"Assessment with ID '{id}' not found for trace 'tr-1'"
    assert client.get(f"{URL}/tr-2/assessments/{id}").json()["message"] == "Trace with ID 'tr-2' not found."


def test_an_expectation_of_several_values_comes_back_packed(client: httpx.Client) -> None:
    packed = {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": '{"x": [1]}'}}
    assert log(client, feedback=None, expectation=packed)["expectation"] == packed
    assert log(client, feedback=None, expectation={"value": "plain"})["expectation"] == {"value": "plain"}
    assert log(client, feedback=None, issue={"issue_name": "slow"})["issue"] == {"issue_name": "slow"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"feedback": None},
        {"expectation": {"value": 1}},
        {"assessment_name": ""},
        {"assessment_name": 5},
        {"source": "me"},
        {"create_time": "yesterday"},
        {"metadata": ["a"]},
        {"feedback": {"value": {"a": float("nan")}}},
        {"feedback": {"value": 1, "error": "late"}},
        {"feedback": None, "expectation": {"serialized_value": {"serialization_format": "XML", "value": "1"}}},
        {"feedback": None, "expectation": {"serialized_value": {"serialization_format": "JSON_FORMAT", "value": "{"}}},
        {"assessment_id": "../x"},
        {"rationale": "x" * 70_000},
    ],
)
def test_what_is_no_assessment_is_refused(client: httpx.Client, wrong: dict[str, Any]) -> None:
    body = json.dumps({"assessment": FEEDBACK | wrong})
    answer = client.post(f"{URL}/tr-1/assessments", content=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer.text
    assert "assessments" not in client.get(f"{URL}/tr-1").json()["trace"]["trace_info"]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"update_mask": "rationale"},
        {"update_mask": ""},
        {"update_mask": "valid"},
        {"update_mask": "feedback", "assessment": {}},
        {"update_mask": 5},
    ],
)
def test_a_change_that_names_nothing_known_is_refused(client: httpx.Client, change: dict[str, Any]) -> None:
    path = f"{URL}/tr-1/assessments/{log(client)['assessment_id']}"
    assert client.patch(path, json=change).status_code == 400


def test_who_may_only_read_judges_nothing(running: Running, client: httpx.Client) -> None:
    token = running.yard.workspace.do(AddActor(name="reads", roles=("read",)), running.yard.owner).token
    path = f"{URL}/tr-1/assessments/{log(client)['assessment_id']}"
    with httpx.Client(base_url=running.address.url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as reader:
        assert reader.get(path).status_code == 200
        assert reader.post(f"{URL}/tr-1/assessments", json={"assessment": FEEDBACK}).status_code == 403
        assert reader.patch(path, json={"assessment": {"rationale": ""}, "update_mask": "rationale"}).status_code == 403
        assert reader.delete(path).status_code == 403


def test_one_that_overrides_what_is_not_there_is_refused_by_name(client: httpx.Client) -> None:
    answer = client.post(f"{URL}/tr-1/assessments", json={"assessment": FEEDBACK | {"overrides": "a-1"}})
    assert answer.json()["message"] == "Assessment with ID 'a-1' not found for trace 'tr-1'"


def test_a_long_tag_is_cut_and_what_is_no_tag_or_no_page_is_refused_in_mlflows_words(client: httpx.Client) -> None:
    client.patch(f"{URL}/tr-1/tags", json={"key": "long", "value": "x" * 8001}).raise_for_status()
    assert client.get(f"{URL}/tr-1").json()["trace"]["trace_info"]["tags"]["long"] == "x" * 8000
    told = client.patch(f"{URL}/tr-1/tags", json={"key": "a" * 251, "value": "x"})
    assert (told.status_code, told.json()["message"]) == (400, "'key' exceeds the maximum length of 250 characters")
    for limit, says in ((0, "0 for parameter 'max_results' supplied. It must be a positive integer"), (501, "501 for parameter")):
        told = client.post(f"{URL}/search", json={"locations": [PLACE], "max_results": limit})
        assert (told.status_code, told.json()["message"].startswith(f"Invalid value {says}")) == (400, True)
