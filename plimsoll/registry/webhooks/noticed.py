"""What lines of the audit log mean to a webhook, in MLflow's fields. The log is the only source: nothing else has to be remembered."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection, Row, select

from plimsoll import codec
from plimsoll.records.mlflow.words import VERSION_FILES
from plimsoll.records.registry.webhooks import Happening, Message
from plimsoll.records.request import Json
from plimsoll.store.schema import events, versions

#: Verb of a line -> what it may tell of.
_TELLS: dict[str, tuple[Happening, ...]] = {
    "CreateModel": ("registered_model.created",),
    "AdoptFiles": ("model_version.created",),
    "CreateVersion": ("registered_model.created", "model_version.created"),
    "TagVersion": ("model_version_tag.set", "model_version_tag.deleted"),
    "SetAlias": ("model_version_alias.created",),
    "PointAlias": ("model_version_alias.created",),
    "RemoveAlias": ("model_version_alias.deleted",),
}

#: What a trial tells of each, as MLflow's own does.
SAMPLES: dict[Happening, dict[str, Json]] = {
    "registered_model.created": {
        "name": "example_model",
        "tags": {"example_key": "example_value"},
        "description": "An example registered model",
    },
    "model_version.created": {
        "name": "example_model",
        "version": "1",
        "source": "models:/123",
        "run_id": "abcd1234abcd5678",
        "tags": {"example_key": "example_value"},
        "description": "An example model version",
    },
    "model_version_tag.set": {"name": "example_model", "version": "1", "key": "example_key", "value": "example_value"},
    "model_version_tag.deleted": {"name": "example_model", "version": "1", "key": "example_key"},
    "model_version_alias.created": {"name": "example_model", "alias": "example_alias", "version": "1"},
    "model_version_alias.deleted": {"name": "example_model", "alias": "example_alias"},
}


def verbs_of(happenings: Collection[Happening]) -> list[str]:
    """Return the verbs whose lines may tell of some of these.

    Args:
        happenings: what is asked for.
    """
    return [verb for verb, told in _TELLS.items() if not set(told).isdisjoint(happenings)]


def messages_of(tx: Connection, line: Row[Any], webhook_id: str, happenings: Collection[Happening]) -> tuple[Message, ...]:
    """Return what a line tells a webhook; nothing when it has asked for none of it.

    Args:
        tx: an open transaction.
        line: a row of ``events``.
        webhook_id: whose messages they are; another one's have other ids.
        happenings: what it has asked for.
    """
    told = [(happening, data) for happening, data in _said(tx, line) if happening in happenings]
    return tuple(
        Message(id=message_id(webhook_id, line.sequence, index), happening=happening, data=data, at=line.at)
        for index, (happening, data) in enumerate(told)
    )


def message_id(webhook_id: str, sequence: int, index: int) -> str:
    """Return the id that a message has each time it is sent.

    Args:
        webhook_id: the webhook.
        sequence: of the line that it tells.
        index: its place among the messages of that line.
    """
    made = codec.digest(f"{webhook_id}/{sequence}/{index}".encode())
    return "-".join((made[:8], made[8:12], made[12:16], made[16:20], made[20:32]))


def _said(tx: Connection, line: Row[Any]) -> Iterator[tuple[Happening, dict[str, Json]]]:
    asked = line.payload
    match line.verb:
        case "CreateModel":
            yield "registered_model.created", _model(asked["name"], asked["tags"], asked["description"])
        case "AdoptFiles" | "CreateVersion":
            yield from _version(tx, line)
        case "TagVersion":
            about = {"name": asked["model"], "version": str(asked["number"])}
            for key, value in asked["tags"].items():
                yield "model_version_tag.set", {**about, "key": key, "value": value}
            for key in asked["remove"]:
                yield "model_version_tag.deleted", {**about, "key": key}
        case "SetAlias" | "PointAlias":
            data = {"name": asked["model"], "alias": asked["alias"], "version": str(asked["number"])}
            yield "model_version_alias.created", data
        case "RemoveAlias":
            yield "model_version_alias.deleted", {"name": asked["model"], "alias": asked["alias"]}


def _model(name: str, tags: dict[str, str], description: str) -> dict[str, Json]:
    return {"name": name, "tags": tags, "description": description}


def _version(tx: Connection, line: Row[Any]) -> Iterator[tuple[Happening, dict[str, Json]]]:
    """Yield what a new version means; the same package again makes none, though its line is there."""
    name, asked = line.payload["model"], line.payload
    number = line.subject.rpartition("/")[2]
    row = tx.execute(select(versions).where(versions.c.model == name, versions.c.number == int(number))).one_or_none()
    if line.verb == "CreateVersion":
        same = select(events.c.sequence).where(
            events.c.subject == line.subject, events.c.verb == line.verb, events.c.sequence < line.sequence
        )
        if row is not None:
            # A name that was forgotten and came again has begun to number anew.
            same = same.where(events.c.at >= row.created)
        if tx.execute(same.limit(1)).first() is not None:
            return
        named = select(events.c.sequence).where(events.c.subject == f"registeredmodel:{name}", events.c.verb == "CreateModel")
        if number == "1" and tx.execute(named.where(events.c.sequence < line.sequence).limit(1)).first() is None:
            yield "registered_model.created", _model(name, {}, "")
    digest = asked.get("digest") or (row.digest if row is not None else "")
    data = {
        "name": name,
        "version": number,
        "source": asked.get("source") or f"{VERSION_FILES}{digest}",
        "run_id": asked.get("run_id") or (row.run_id if row is not None else None),
        "tags": asked.get("tags", {}),
        "description": asked.get("description") or None,
    }
    yield "model_version.created", data
