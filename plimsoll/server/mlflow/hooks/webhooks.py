"""MLflow's webhooks: ours, in its words. A secret goes in and does not come out."""

from __future__ import annotations

from typing import Any, cast, get_args

from plimsoll.errors import NotFound
from plimsoll.records.registry.webhooks import (
    CreateWebhook,
    DeleteWebhook,
    GetWebhook,
    Happening,
    ListWebhooks,
    TryWebhook,
    UpdateWebhook,
    Webhook,
)
from plimsoll.server.mlflow.speech import INVALID, MISSING, UNSPOKEN, Asked, Spoken

#: MLflow's numbers of what a webhook is about, and of what happens to it.
_ENTITIES = {
    1: "registered_model",
    2: "model_version",
    3: "model_version_tag",
    4: "model_version_alias",
    5: "prompt",
    6: "prompt_version",
    7: "prompt_tag",
    8: "prompt_version_tag",
    9: "prompt_alias",
    10: "budget_policy",
}
_ACTIONS = {1: "created", 2: "updated", 3: "deleted", 4: "set", 5: "exceeded"}

_ACTIVE = {"ACTIVE": True, "DISABLED": False, 1: True, 2: False}


def _told(webhook: Webhook) -> dict[str, Any]:
    events = [happening.partition(".") for happening in webhook.happenings]
    return {
        "webhook_id": webhook.id,
        "name": webhook.name,
        **({"description": webhook.description} if webhook.description else {}),
        "url": webhook.url,
        "events": [{"entity": entity.upper(), "action": action.upper()} for entity, _, action in events],
        "status": "ACTIVE" if webhook.active else "DISABLED",
        "creation_timestamp": webhook.created // 1000,
        "last_updated_timestamp": webhook.updated // 1000,
    }


def _word(sent: Any, numbered: dict[int, str], name: str) -> str:
    found = numbered.get(sent) if isinstance(sent, int) else str(sent).lower()
    if found not in numbered.values():
        raise Spoken(INVALID, f"Invalid value {sent!r} for parameter '{name}' supplied.")
    return str(found)


def _happening(sent: Any) -> Happening:
    """Return what a client names by entity and action."""
    if not isinstance(sent, dict):
        raise Spoken(INVALID, f"Invalid value {sent!r} for parameter 'events' supplied.")
    entity, action = _word(sent.get("entity"), _ENTITIES, "events.entity"), _word(sent.get("action"), _ACTIONS, "events.action")
    found = f"{entity}.{action}"
    if found in get_args(Happening):
        return cast(Happening, found)
    if entity.startswith("prompt"):
        raise Spoken(UNSPOKEN, f"Prompts are not kept here, so nothing tells of {found}.")
    if entity == "budget_policy":
        raise Spoken(UNSPOKEN, f"The gateway is not what this server is for, so nothing tells of {found}.")
    valid = sorted(known.partition(".")[2] for known in get_args(Happening) if known.partition(".")[0] == entity)
    raise Spoken(INVALID, f"Invalid action '{action}' for entity '{entity}'. Valid actions are: {valid}")


def _status(asked: Asked) -> bool | None:
    sent = asked.fields.get("status")
    if sent is None:
        return None
    found = _ACTIVE.get(sent) if isinstance(sent, str | int) else None
    if found is None:
        raise Spoken(INVALID, f"Invalid value {sent!r} for parameter 'status' supplied.")
    return found


def _missing(asked: Asked) -> Spoken:
    return Spoken(MISSING, f"Webhook with ID {asked.fields['webhook_id']} not found.")


def create(asked: Asked) -> dict[str, Any]:
    """Make a webhook."""
    name, url, events = asked.text("name"), asked.text("url"), asked.items("events")
    if not events:
        raise Spoken(INVALID, "Missing value for required parameter 'events'. Webhook events must be a non-empty list.")
    request = CreateWebhook(
        name=name,
        url=url,
        happenings=tuple(map(_happening, events)),
        description=asked.text("description", required=False),
        secret=asked.text("secret", required=False),
        active=_status(asked) is not False,
    )
    return {"webhook": _told(asked.do(request))}


def listing(asked: Asked) -> dict[str, Any]:
    """Return a page of webhooks, newest first."""
    limit = asked.whole("max_results", 100) or 100
    if not 1 <= limit <= 1000:
        raise Spoken(INVALID, "max_results must be between 1 and 1000.")
    page = asked.do(ListWebhooks(limit=limit, page=asked.text("page_token", required=False) or None))
    return {"webhooks": [_told(each) for each in page.webhooks], **({"next_page_token": page.next} if page.next else {})}


def get(asked: Asked) -> dict[str, Any]:
    """Return a webhook."""
    try:
        return {"webhook": _told(asked.do(GetWebhook(id=asked.text("webhook_id"))))}
    except NotFound:
        raise _missing(asked) from None


def update(asked: Asked) -> dict[str, Any]:
    """Change what the request has; an empty description or secret takes that away."""
    events = asked.items("events")
    given = {field: asked.text(field, required=False) for field in ("description", "secret") if asked.fields.get(field) is not None}
    request = UpdateWebhook(
        id=asked.text("webhook_id"),
        name=asked.text("name", required=False) or None,
        url=asked.text("url", required=False) or None,
        happenings=tuple(map(_happening, events)) if events else None,
        description=given.get("description"),
        secret=given.get("secret"),
        active=_status(asked),
    )
    try:
        return {"webhook": _told(asked.do(request))}
    except NotFound:
        raise _missing(asked) from None


def delete(asked: Asked) -> dict[str, Any]:
    """Forget a webhook."""
    try:
        asked.do(DeleteWebhook(id=asked.text("webhook_id")))
    except NotFound:
        raise _missing(asked) from None
    return {}


def test(asked: Asked) -> dict[str, Any]:
    """Tell a webhook of something made up, and return how it answered."""
    sent = asked.fields.get("event")
    try:
        trial = asked.do(TryWebhook(id=asked.text("webhook_id"), happening=_happening(sent) if sent else None))
    except NotFound:
        raise _missing(asked) from None
    answered = {"response_status": trial.status, "response_body": trial.body} if trial.status else {}
    failed = {"error_message": f"Failed to test webhook: {trial.error}"} if trial.error else {}
    return {"result": {"success": trial.taken, **answered, **failed}}
