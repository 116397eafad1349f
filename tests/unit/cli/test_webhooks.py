"""``plimsoll webhooks``: who is told what, whom it did not reach, and a trial."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from plimsoll.records.registry.webhooks import CreateWebhook
from plimsoll.registry.webhooks.places import ALLOWED
from plimsoll.workspace import Workspace
from tests.unit.registry.webhooks.receiver import receiving


def test_a_webhook_is_listed_tried_and_removed(
    workspace: Workspace,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ALLOWED, "127.0.0.1")
    with receiving() as receiver:
        asked = CreateWebhook(name="ours", url=receiver.url, happenings=("model_version.created",), secret="s3cret")
        id = workspace.do(asked, workspace.identify(workspace.token("owner"))).id
        assert call("webhooks", "list", "--json") == 0
        printed = capsys.readouterr().out
        (row,) = json.loads(printed)
        assert (row["name"], row["events"], row["dropped"]) == ("ours", "model_version.created", 0)
        assert "s3cret" not in printed
        assert call("webhooks", "try", id) == 0
        assert receiver.bodies()[0]["data"]["name"] == "example_model"
    assert call("webhooks", "try", id) == 3
    assert "did not answer" in capsys.readouterr().err
    assert call("webhooks", "remove", id) == 0
    assert call("webhooks", "try", id) == 4
