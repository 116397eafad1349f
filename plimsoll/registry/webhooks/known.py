"""Webhooks as verbs: made, shown, changed, forgotten. Their secrets go in and never come out: no row and no line of the log has them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, func, insert, select, update

from plimsoll import clock, codec
from plimsoll.errors import NotFound
from plimsoll.records.registry.webhooks import (
    CreateWebhook,
    DeleteWebhook,
    GetWebhook,
    ListWebhooks,
    UpdateWebhook,
    Webhook,
    WebhookPage,
)
from plimsoll.registry.webhooks.places import check_place
from plimsoll.runs.search.pages import Key
from plimsoll.runs.search.vocabulary import page_of
from plimsoll.store.contracts import Context, Secrets
from plimsoll.store.schema import events, webhooks

#: What is told where a secret is lost, as after a restore without the home's secrets.
LOST = "Its secret is not among the secrets of this home. Set it again: MlflowClient().update_webhook(webhook_id, secret=...)"


def newest_line(tx: Connection) -> int:
    """Return the sequence of the last line of the audit log, 0 when it is empty.

    Args:
        tx: an open transaction.
    """
    return int(tx.execute(select(func.max(events.c.sequence))).scalar() or 0)


def webhook_row(tx: Connection, id: str) -> Row[Any]:
    """Return the row of a webhook.

    Args:
        tx: an open transaction.
        id: its id.

    Raises:
        NotFound: there is none.
    """
    row = tx.execute(select(webhooks).where(webhooks.c.id == id)).one_or_none()
    if row is None:
        raise NotFound(f"Webhook with ID {id} not found.", "List webhooks with: plimsoll webhooks list")
    return row


def secret_of(secrets: Secrets, row: Row[Any]) -> str | None:
    """Return what signs what a webhook is told: empty for nothing, None when it is lost.

    Args:
        secrets: where it is.
        row: of the webhook.
    """
    return secrets.say(_kept_as(row.id)) if row.signed else ""


def _kept_as(id: str) -> str:
    return f"webhook-{id}"


def _webhook(row: Row[Any]) -> Webhook:
    kept = {name: row._mapping[name] for name in Webhook.__dataclass_fields__}
    return codec.convert(kept, Webhook, "The stored webhook")


def create_webhook(request: CreateWebhook, context: Context) -> Webhook:
    """Make a webhook that is told of what happens from now on."""
    check_place(request.url)
    now, id = clock.now(), clock.new_id()
    given = {**codec.plain(request), "happenings": list(dict.fromkeys(request.happenings))}
    secret = given.pop("secret")
    if secret:
        # Before the row: killed in between, nothing names the file, and it is nobody's.
        context.stores.secrets.keep(_kept_as(id), secret)
    state = {"position": newest_line(context.tx), "attempts": 0, "dropped": 0, "error": "", "due": 0}
    context.tx.execute(insert(webhooks).values(id=id, created=now, updated=now, signed=bool(secret), **given, **state))
    made = _webhook(webhook_row(context.tx, id))
    _note(context, "CreateWebhook", made)
    return made


def get_webhook(request: GetWebhook, context: Context) -> Webhook:
    """Return a webhook."""
    return _webhook(webhook_row(context.tx, request.id))


def list_webhooks(request: ListWebhooks, context: Context) -> WebhookPage:
    """Return a page of the webhooks, newest first."""
    keys = [Key(webhooks.c.created, True), Key(webhooks.c.id, True)]
    rows, token = page_of(context.tx, select(webhooks), keys, request.limit, request.page, "webhooks")
    return WebhookPage(webhooks=tuple(_webhook(row) for row in rows), next=token)


def update_webhook(request: UpdateWebhook, context: Context) -> Webhook:
    """Change a webhook."""
    known = webhook_row(context.tx, request.id)
    changed = {name: value for name, value in codec.plain(request).items() if name != "id" and value is not None}
    if "url" in changed:
        check_place(changed["url"])
    if "happenings" in changed:
        changed["happenings"] = list(dict.fromkeys(changed["happenings"]))
    if changed.get("active") and not known.active:
        changed["position"] = newest_line(context.tx)
    if (secret := changed.pop("secret", None)) is not None:
        changed["signed"] = bool(secret)
        if secret:
            context.stores.secrets.keep(_kept_as(known.id), secret)
        else:
            context.stores.secrets.forget(_kept_as(known.id))
    if not changed.keys().isdisjoint(("url", "active", "signed")):
        # What went wrong before is no reason to wait.
        changed |= {"attempts": 0, "error": "", "due": 0}
    context.tx.execute(update(webhooks).where(webhooks.c.id == known.id).values(**changed, updated=clock.now()))
    found = _webhook(webhook_row(context.tx, known.id))
    _note(context, "UpdateWebhook", found)
    return found


def delete_webhook(request: DeleteWebhook, context: Context) -> Webhook:
    """Forget a webhook."""
    known = _webhook(webhook_row(context.tx, request.id))
    context.tx.execute(webhooks.delete().where(webhooks.c.id == known.id))
    context.stores.secrets.forget(_kept_as(known.id))
    return known


def _note(context: Context, verb: str, webhook: Webhook) -> None:
    # Not the request itself: it has the secret. Nor the whole address: its path may be one.
    kept = ("name", "happenings", "description", "active", "signed")
    told = {**{name: getattr(webhook, name) for name in kept}, "host": urlsplit(webhook.url).hostname}
    context.stores.events.append(context.tx, context.actor.name, verb, f"webhook:{webhook.id}", told)
