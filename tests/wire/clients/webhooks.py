"""Webhooks: made, shown, changed, tried, told what happens to models, and checked by who knows the secret. Clients before 3.0 know none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import queue
import threading
import uuid

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

client = MlflowClient()
came: queue.Queue = queue.Queue()


class Told(http.server.BaseHTTPRequestHandler):
    """Keeps what it is told."""

    def do_POST(self):
        """Take one message."""
        came.put((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"thanks")

    def log_message(self, *arguments):
        """Say nothing."""


def refused(code: str, call, *arguments, **named) -> str:
    """Return the message of the error with this code that a call must end with."""
    try:
        call(*arguments, **named)
    except MlflowException as error:
        assert error.error_code == code, error
        return str(error)
    raise AssertionError(f"{call} was not refused")


def work(url: str) -> None:
    """Use everything that a client has for webhooks.

    Args:
        url: where it listens itself.
    """
    from mlflow.entities.webhook import WebhookEvent, WebhookStatus

    mark = uuid.uuid4().hex
    events = ["registered_model.created", "model_version_tag.set", "model_version_alias.created"]
    made = client.create_webhook(name=f"w-{mark}", url=url, events=events, description="For us", secret="s3cret")
    assert (made.name, made.url, made.description, made.status) == (f"w-{mark}", url, "For us", WebhookStatus.ACTIVE)
    assert [str(event) for event in made.events] == events
    assert made.creation_timestamp == made.last_updated_timestamp > 1_600_000_000_000
    assert client.get_webhook(made.webhook_id).name == made.name
    second = client.create_webhook(name="other", url="https://example.org/", events=[WebhookEvent.from_str(events[0])], status="DISABLED")
    page = client.list_webhooks(max_results=1)
    assert [each.webhook_id for each in page] == [second.webhook_id]
    assert made.webhook_id in [each.webhook_id for each in client.list_webhooks(max_results=100, page_token=page.token)]

    trial = client.test_webhook(made.webhook_id, "model_version_alias.created")
    assert (trial.success, trial.response_status, trial.response_body) == (True, 200, "thanks"), trial
    assert json.loads(came.get(timeout=60)[1])["data"] == {"name": "example_model", "alias": "example_alias", "version": "1"}

    client.create_registered_model(mark, tags={"team": "x"}, description="Late.")
    headers, body = came.get(timeout=60)
    told = json.loads(body)
    assert (told["entity"], told["action"]) == ("registered_model", "created")
    assert told["data"] == {"name": mark, "tags": {"team": "x"}, "description": "Late."}
    signed = f"{headers['X-MLflow-Delivery-Id']}.{headers['X-MLflow-Timestamp']}.{body.decode()}"
    signature = base64.b64encode(hmac.new(b"s3cret", signed.encode(), hashlib.sha256).digest()).decode()
    assert headers["X-MLflow-Signature"] == f"v1,{signature}"

    changed = client.update_webhook(second.webhook_id, name="third", status="ACTIVE", url=url, events=["registered_model.created"])
    assert (changed.name, changed.url, changed.status) == ("third", url, WebhookStatus.ACTIVE)
    client.update_webhook(made.webhook_id, status=WebhookStatus.DISABLED)
    client.create_registered_model(f"{mark}-2")
    headers, body = came.get(timeout=60)
    assert json.loads(body)["data"]["name"] == f"{mark}-2"
    assert "X-MLflow-Signature" not in headers

    refused("INVALID_PARAMETER_VALUE", client.create_webhook, name="w", url="http://10.0.0.1/", events=events)
    refused("INVALID_PARAMETER_VALUE", client.create_webhook, name="w w", url=url, events=events)
    assert "Prompts" in refused("NOT_IMPLEMENTED", client.create_webhook, name="w", url=url, events=["prompt.created"])
    for each in (made, second):
        client.delete_webhook(each.webhook_id)
        assert "not found" in refused("RESOURCE_DOES_NOT_EXIST", client.get_webhook, each.webhook_id)
    refused("RESOURCE_DOES_NOT_EXIST", client.delete_webhook, made.webhook_id)


if hasattr(client, "create_webhook"):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Told)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    work(f"http://127.0.0.1:{server.server_address[1]}/told")
