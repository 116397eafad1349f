"""Webhooks: addresses elsewhere that are told of what happens to registered models."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Literal

from plimsoll.errors import InvalidInput
from plimsoll.frozen import dataclass
from plimsoll.records.request import Json, Request

#: What a webhook can be told of, in MLflow's words.
Happening = Literal[
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
]

#: How an attempt to tell ended: taken; not taken, and to be tried again; not taken, and of no use to try again.
Outcome = Literal["sent", "failed", "refused"]

_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?")

#: Characters of an address at most.
_LONGEST = 2048


def check_webhook(name: str | None, url: str | None, happenings: tuple[Happening, ...] | None) -> None:
    """Refuse what no webhook can have; None is not looked at.

    Args:
        name: 1 to 63 letters, digits and ``. _ -``, with a letter or digit at both ends.
        url: an address without a name and password, of at most 2,048 characters.
        happenings: what it is told of, at least one.

    Raises:
        InvalidInput: it is something else.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise InvalidInput(
            f"Webhook name {name[:80]!r} is invalid.",
            "It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), "
            "underscores (_), and hyphens (-).",
        )
    if url is not None and not url.strip():
        raise InvalidInput(f"Webhook URL cannot be empty or just whitespace: {url!r}.", "Give an https:// address.")
    if url is not None and (not url.isprintable() or " " in url or len(url) > _LONGEST):
        raise InvalidInput(f"Invalid webhook URL {url[:200]!r}: it is too long or has blanks.", "Give an https:// address.")
    if happenings is not None and not happenings:
        raise InvalidInput("Webhook events cannot be empty.", "Name at least one, such as model_version.created.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Who is told of what. The secret is in no answer."""

    #: UUIDv7 in hex.
    id: str
    #: For people; need not be unique.
    name: str
    #: Where to.
    url: str
    #: What it is told of.
    happenings: tuple[Happening, ...]
    #: For people.
    description: str
    #: Whether it is told of anything; what happens meanwhile is not made up for.
    active: bool
    #: Whether what it is told is signed.
    signed: bool
    #: UTC microseconds.
    created: int
    #: UTC microseconds of the last change by somebody.
    updated: int
    #: Sequence of the last line of the audit log that it knows.
    position: int
    #: How often in a row it was not reached.
    attempts: int
    #: What it was not told of, because it could not be reached or would not take it.
    dropped: int
    #: Why it was not reached last; empty when it was.
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateWebhook(Request[Webhook]):
    """Tell an address of what happens to registered models from now on."""

    #: For people.
    name: str
    #: ``https://…``; ``http://`` and addresses of a private network only where this server's operator allows the host.
    url: str
    #: What it is told of.
    happenings: tuple[Happening, ...]
    #: For people.
    description: str = ""
    #: Signs what it is told; empty for no signature. It is kept as a file of the home, and in no answer.
    secret: str = field(default="", repr=False)
    #: Whether it is told of anything yet.
    active: bool = True

    def __post_init__(self) -> None:
        check_webhook(self.name, self.url, self.happenings)


@dataclass(frozen=True, slots=True, kw_only=True)
class GetWebhook(Request[Webhook]):
    """Return a webhook."""

    #: Its id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPage:
    """Some of the webhooks, newest first."""

    #: The webhooks.
    webhooks: tuple[Webhook, ...]
    #: Token of the next page, or None when this is the last.
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWebhooks(Request[WebhookPage]):
    """Return a page of the webhooks, newest first."""

    #: At most so many, up to 1,000.
    limit: int = 100
    #: Token of the page before.
    page: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= 1000:
            raise InvalidInput(f"The limit {self.limit} is out of range.", "Ask for 1 to 1,000 webhooks.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateWebhook(Request[Webhook]):
    """Change a webhook; None leaves a thing as it is. One that is switched on again is told of what happens from then on."""

    #: Its id.
    id: str
    #: For people.
    name: str | None = None
    #: Where to.
    url: str | None = None
    #: What it is told of.
    happenings: tuple[Happening, ...] | None = None
    #: For people.
    description: str | None = None
    #: Signs what it is told; empty for no signature.
    secret: str | None = field(default=None, repr=False)
    #: Whether it is told of anything.
    active: bool | None = None

    def __post_init__(self) -> None:
        check_webhook(self.name, self.url, self.happenings)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteWebhook(Request[Webhook]):
    """Forget a webhook, and return it as it was."""

    #: Its id.
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTrial:
    """How a trial ended."""

    #: Whether the address took it.
    taken: bool
    #: HTTP status of its answer; 0 without one.
    status: int
    #: Beginning of its answer.
    body: str
    #: Why there was no answer; empty when there was one.
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TryWebhook(Request[WebhookTrial]):
    """Tell an address of something made up, once and now, also when the webhook is switched off."""

    #: The webhook's id.
    id: str
    #: What it is told of; None takes the first that it wants.
    happening: Happening | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing to tell."""

    #: The same however often it is sent, as a UUID with hyphens: who has it already may know it by that.
    id: str
    #: What it tells.
    happening: Happening
    #: Of what, in MLflow's fields.
    data: dict[str, Json]
    #: When it happened, UTC microseconds.
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A line of the audit log as one webhook is told it. Whoever took it tells it, and then says how that went."""

    #: The webhook.
    webhook_id: str
    #: Where to.
    url: str
    #: Signs it; empty for no signature.
    secret: str = field(repr=False)
    #: The line's sequence.
    sequence: int
    #: What to tell, in this order.
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeDeliveries(Request[tuple[Delivery, ...]]):
    """Return what is to be told now, the next line for each webhook. Nobody else gets it until the time to tell it is over."""

    #: Webhooks at most.
    limit: int = 8
    #: Only for this webhook.
    webhook_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleDelivery(Request[None]):
    """Say how a delivery went. One that was settled already, or whose webhook is gone, changes nothing."""

    #: The webhook.
    webhook_id: str
    #: Sequence of the line.
    sequence: int
    #: How it went.
    outcome: Outcome
    #: Why it was not taken.
    error: str = ""
