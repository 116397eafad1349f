"""Webhooks in MLflow's protocol: paths, fields, statuses, error codes and words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from plimsoll.registry.webhooks.places import ALLOWED
from tests.unit.conftest import Running
from tests.unit.registry.webhooks.receiver import receiving
from tests.unit.server.asking import INVALID, MISSING, ask, client_of, refused

UNSPOKEN = "NOT_IMPLEMENTED"
EVENT = {"entity": "MODEL_VERSION", "action": "CREATED"}


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client with the owner's token."""
    with client_of(running) as opened:
        yield opened


def made(client: httpx.Client, **more: Any) -> dict[str, Any]:
    """Make a webhook."""
    fields = {"name": "w", "url": "https://example.org/hook", "events": [EVENT], "secret": "s3cret", **more}
    found: dict[str, Any] = ask(client, "POST", "webhooks", **fields)["webhook"]
    return found


def test_a_webhook_comes_back_in_mlflows_fields_and_without_its_secret(client: httpx.Client) -> None:
    # Protobuf lets clients send numbers for words.
    events = [EVENT, {"entity": 3, "action": 4}]
    found = made(client, description="For us", events=events, status="DISABLED")
    at = {key: found.pop(key) for key in ("creation_timestamp", "last_updated_timestamp")}
    assert all(10**12 < value < 10**13 for value in at.values())
    assert found == {
        "webhook_id": found["webhook_id"],
        "name": "w",
        "description": "For us",
        "url": "https://example.org/hook",
        "events": [EVENT, {"entity": "MODEL_VERSION_TAG", "action": "SET"}],
        "status": "DISABLED",
    }
    known = ask(client, "GET", f"webhooks/{found['webhook_id']}")["webhook"]
    assert known == found | at
    assert known in ask(client, "GET", "webhooks")["webhooks"]


def test_pages_go_from_the_newest_to_the_oldest(client: httpx.Client) -> None:
    ids = [made(client)["webhook_id"] for _ in range(3)]
    first = ask(client, "GET", "webhooks", max_results=2)
    second = ask(client, "GET", "webhooks", max_results=1, page_token=first["next_page_token"])
    assert [each["webhook_id"] for each in first["webhooks"] + second["webhooks"]] == ids[::-1]
    assert refused(client, "GET", "webhooks", max_results=1001) == (400, INVALID, "max_results must be between 1 and 1000.")
    assert refused(client, "GET", "webhooks", page_token="x")[:2] == (400, INVALID)


def test_a_change_touches_what_it_names(client: httpx.Client) -> None:
    found = made(client, description="For us")
    path = f"webhooks/{found['webhook_id']}"
    changed = ask(client, "PATCH", path, name="v", status=2)["webhook"]
    assert (changed["name"], changed["status"], changed["url"], changed["events"]) == ("v", "DISABLED", found["url"], [EVENT])
    assert "description" not in ask(client, "PATCH", path, description="", events=[])["webhook"]
    assert ask(client, "DELETE", path) == {}
    for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test")):
        gone = (404, MISSING, f"Webhook with ID {found['webhook_id']} not found.")
        assert refused(client, method, path + more) == gone


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"name": "a b"}, INVALID, "Webhook name 'a b' is invalid. It must start and end with a letter or digit"),
        ({"url": "http://example.org/"}, INVALID, "Invalid webhook URL scheme: 'http'. Allowed schemes are: https."),
        ({"url": "   "}, INVALID, "Webhook URL cannot be empty or just whitespace"),
        ({"url": "http://[invalid"}, INVALID, "Invalid webhook URL"),
        ({"url": "https://127.0.0.1/"}, INVALID, "Webhook URL must not resolve to a non-public IP address."),
        ({"events": []}, INVALID, "Missing value for required parameter 'events'."),
        ({"events": ["model_version.created"]}, INVALID, "'events'"),
        ({"events": [{"entity": "MODEL_VERSION", "action": "DELETED"}]}, INVALID, "Valid actions are: ['created']"),
        ({"events": [{"entity": "PROMPT", "action": "CREATED"}]}, UNSPOKEN, "Prompts are not kept here"),
        ({"events": [{"entity": "BUDGET_POLICY", "action": "EXCEEDED"}]}, UNSPOKEN, "gateway"),
        ({"status": "ASLEEP"}, INVALID, "'status'"),
    ],
)
def test_what_is_not_possible_is_refused_in_mlflows_words(client: httpx.Client, fields: dict[str, Any], code: str, words: str) -> None:
    status, found, message = refused(
        client, "POST", "webhooks", **{"name": "w", "url": "https://example.org/", "events": [EVENT], **fields}
    )
    assert (status, found) == (501 if code == UNSPOKEN else 400, code)
    assert words in message


def test_a_trial_tells_how_the_other_side_answered(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "127.0.0.1")
    with receiving() as receiver:
        path = f"webhooks/{made(client, url=receiver.url)['webhook_id']}/test"
        assert ask(client, "POST", path)["result"] == {"success": True, "response_status": 200, "response_body": "taken"}
        receiver.status = 500
        other = {"entity": "MODEL_VERSION_ALIAS", "action": "DELETED"}
        assert ask(client, "POST", path, event=other)["result"]["success"] is False
        assert [body["entity"] for body in receiver.bodies()] == ["model_version", "model_version_alias"]
    result = ask(client, "POST", path)["result"]
    assert (result["success"], "response_status" in result) == (False, False)
    assert result["error_message"].startswith("Failed to test webhook: ")
