"""A trial of a webhook: something made up is told once, in a job, since it waits for somebody else's machine."""

from __future__ import annotations

from plimsoll import clock
from plimsoll.records.registry.webhooks import Message, TryWebhook, WebhookTrial
from plimsoll.registry.webhooks.known import LOST, secret_of, webhook_row
from plimsoll.registry.webhooks.noticed import SAMPLES, message_id
from plimsoll.registry.webhooks.sending import send
from plimsoll.store.contracts import JobContext


def try_webhook(request: TryWebhook, context: JobContext) -> WebhookTrial:
    """Tell an address of something made up and return how it answered."""
    with context.stores.database.read() as tx:
        row = webhook_row(tx, request.id)
    secret = secret_of(context.stores.secrets, row)
    if secret is None:
        return WebhookTrial(taken=False, status=0, body="", error=LOST)
    happening = request.happening or row.happenings[0]
    now = clock.now()
    told = send(row.url, secret, Message(id=message_id(row.id, now, 0), happening=happening, data=SAMPLES[happening], at=now))
    return WebhookTrial(taken=told.outcome == "sent", status=told.status, body=told.body, error=told.error)
