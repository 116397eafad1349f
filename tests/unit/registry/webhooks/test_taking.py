"""What webhooks are told is derived from the audit log: each thing, in order, until it is taken or given up."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.errors import Denied, InvalidInput, NotFound
from plimsoll.records.access import ListEvents
from plimsoll.records.deployment import RollBack
from plimsoll.records.model import CreateVersion, Version
from plimsoll.records.registry.catalog import AdoptFiles, CreateModel, RemoveAlias, SetAlias, TagVersion
from plimsoll.records.registry.webhooks import (
    CreateWebhook,
    DeleteWebhook,
    Delivery,
    GetWebhook,
    Happening,
    ListWebhooks,
    Message,
    SettleDelivery,
    TakeDeliveries,
    UpdateWebhook,
    Webhook,
)
from plimsoll.records.run import LogArtifact, StartRun
from plimsoll.registry.webhooks import sending
from plimsoll.registry.webhooks.couriers import Couriers
from plimsoll.registry.webhooks.places import ALLOWED
from plimsoll.registry.webhooks.taking import LEASE, WAITS, overdue
from plimsoll.store.schema import metadata
from plimsoll.workspace import WORKER
from tests.unit.registry.webhooks.receiver import receiving
from tests.unit.yard import Yard, open_yard

EVERYTHING: tuple[Happening, ...] = (
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
)


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


def webhook(yard: Yard, *happenings: Happening, url: str = "https://example.org/", **more: Any) -> Webhook:
    """Make a webhook as the operator."""
    return yard.workspace.do(CreateWebhook(name="w", url=url, happenings=happenings or EVERYTHING, secret="s3cret", **more), yard.nora)


def take(yard: Yard) -> list[Delivery]:
    return list(yard.workspace.do(TakeDeliveries(), WORKER))


def settle(yard: Yard, delivery: Delivery, outcome: Any = "sent", error: str = "") -> None:
    asked = SettleDelivery(webhook_id=delivery.webhook_id, sequence=delivery.sequence, outcome=outcome, error=error)
    yard.workspace.do(asked, WORKER)


def told(yard: Yard) -> list[Message]:
    """Take and settle all that there is."""
    found: list[Message] = []
    while deliveries := take(yard):
        for delivery in deliveries:
            found += delivery.messages
            settle(yard, delivery)
    return found


def said(messages: list[Message]) -> list[tuple[str, dict[str, Any]]]:
    return [(message.happening, message.data) for message in messages]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass, which it alone does."""
    began, passed = clock.now(), [0.0]
    monkeypatch.setattr(clock, "now", lambda: began + round(passed[0] * 1e6))

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


def adopted(yard: Yard, name: str = "early") -> Version:
    """Register a name and number a run's files under it."""
    do, blobs = yard.workspace.do, yard.workspace.stores.blobs
    run = do(StartRun(), yard.dana)
    do(LogArtifact(run_id=run.id, name="m/x", kind="file", digest=blobs.put(b"x"), size=1), yard.dana)
    do(CreateModel(name=name, tags={"team": "x"}, description="What for."), yard.dana)
    return do(AdoptFiles(model=name, owner=run.id, path="m", source=f"runs:/{run.id}/m", tags={"a": "b"}), yard.dana)


def test_everything_that_happens_to_a_model_is_told_once_and_in_order(yard: Yard) -> None:
    webhook(yard)
    made = adopted(yard)
    yard.workspace.do(TagVersion(model="early", number=1, tags={"c": "d", "e": "f"}, remove=("a",)), yard.dana)
    yard.workspace.do(SetAlias(model="early", alias="best", number=1), yard.dana)
    yard.workspace.do(RemoveAlias(model="early", alias="best"), yard.dana)
    messages = told(yard)
    about = {"name": "early", "version": "1"}
    assert said(messages) == [
        ("registered_model.created", {"name": "early", "tags": {"team": "x"}, "description": "What for."}),
        (
            "model_version.created",
            {**about, "source": made.source, "run_id": made.run_id, "tags": {"a": "b"}, "description": None},
        ),
        ("model_version_tag.set", {**about, "key": "c", "value": "d"}),
        ("model_version_tag.set", {**about, "key": "e", "value": "f"}),
        ("model_version_tag.deleted", {**about, "key": "a"}),
        ("model_version_alias.created", {"name": "early", "alias": "best", "version": "1"}),
        ("model_version_alias.deleted", {"name": "early", "alias": "best"}),
    ]
    assert len({message.id for message in messages}) == len(messages)
    assert said(told(yard)) == []


def test_a_package_that_comes_from_a_step_is_told_with_the_name_that_it_brings(yard: Yard) -> None:
    webhook(yard)
    first = yard.version("one")
    yard.version("two")
    found = said(told(yard))
    assert [(happening, data.get("version")) for happening, data in found] == [
        ("registered_model.created", None),
        ("model_version.created", "1"),
        ("model_version.created", "2"),
    ]
    assert found[1][1]["run_id"] == first.run_id
    # The same package again is the version that it already is.
    yard.workspace.do(CreateVersion(model="late", digest=first.digest, run_id=first.run_id), yard.dana)
    assert told(yard) == []


def test_the_alias_that_a_release_moves_is_told(yard: Yard) -> None:
    webhook(yard, "model_version_alias.created")
    yard.live("one")
    yard.live("two")
    yard.workspace.do(RollBack(model="late", reason="Worse."), yard.nora)
    assert said(told(yard)) == [
        ("model_version_alias.created", {"name": "late", "alias": "production", "version": number}) for number in ("1", "2", "1")
    ]


def test_a_webhook_is_told_what_it_asks_for_and_nothing_of_before(yard: Yard) -> None:
    adopted(yard)
    known = webhook(yard, "model_version_alias.created")
    adopted(yard, "other")
    yard.workspace.do(SetAlias(model="early", alias="best", number=1), yard.dana)
    assert [data["alias"] for _, data in said(told(yard))] == ["best"]
    # What does not concern it is passed over, so that it is not read again and again.
    yard.workspace.do(StartRun(), yard.dana)
    with yard.workspace.stores.database.read() as tx:
        assert overdue(tx)
    assert take(yard) == []
    newest = yard.workspace.do(ListEvents(limit=1), yard.nora)[0].sequence
    assert yard.workspace.do(GetWebhook(id=known.id), yard.nora).position == newest
    with yard.workspace.stores.database.read() as tx:
        assert not overdue(tx)


def test_what_was_taken_is_nobody_elses_until_its_time_is_over_and_then_the_same(yard: Yard, later: Callable[[float], None]) -> None:
    webhook(yard, "registered_model.created")
    adopted(yard)
    first = take(yard)
    assert (len(first), take(yard)) == (1, [])
    later(LEASE + 1)
    again = take(yard)
    assert again == first
    settle(yard, again[0])
    # Whoever was late changes nothing.
    settle(yard, first[0], "failed")
    assert take(yard) == []


def test_what_is_not_taken_is_tried_again_some_times_and_then_given_up(yard: Yard, later: Callable[[float], None]) -> None:
    known = webhook(yard, "registered_model.created")
    adopted(yard, "one")
    adopted(yard, "two")
    for wait in WAITS:
        settle(yard, take(yard)[0], "failed", "HTTP 503")
        later(wait - 0.5)
        assert take(yard) == []
        later(1.0)
    settle(yard, take(yard)[0], "failed", "HTTP 503")
    found = yard.workspace.do(GetWebhook(id=known.id), yard.nora)
    assert (found.dropped, found.error) == (1, "HTTP 503")
    line = yard.workspace.do(ListEvents(limit=1), yard.nora)[0]
    assert (line.verb, line.subject) == ("DropDelivery", f"webhook:{known.id}")
    # The next gets one attempt, since the other side has been gone for long, and one success makes all good.
    delivery = take(yard)[0]
    assert delivery.messages[0].data["name"] == "two"
    settle(yard, delivery, "failed")
    assert take(yard) == []
    adopted(yard, "three")
    settle(yard, take(yard)[0])
    found = yard.workspace.do(GetWebhook(id=known.id), yard.nora)
    assert (found.dropped, found.attempts, found.error) == (2, 0, "")


def test_what_the_other_side_does_not_want_is_given_up_at_once(yard: Yard) -> None:
    known = webhook(yard, "registered_model.created")
    adopted(yard)
    settle(yard, take(yard)[0], "refused", "HTTP 410")
    assert take(yard) == []
    assert yard.workspace.do(GetWebhook(id=known.id), yard.nora).dropped == 1


@pytest.mark.parametrize("payload", [{"title": "early"}, {"name": "early", "tags": [], "description": ""}, []])
def test_a_line_that_this_release_cannot_read_is_given_up_and_told_and_the_next_one_goes_out(yard: Yard, payload: Any) -> None:
    known = webhook(yard, "registered_model.created", "model_version_tag.set")
    stores = yard.workspace.stores
    with stores.database.write() as tx:
        verb = "TagVersion" if isinstance(payload, dict) and "tags" in payload else "CreateModel"
        stores.events.append(tx, "dana", verb, "registeredmodel:early", payload)
    adopted(yard, "one")
    delivery = take(yard)[0]
    assert delivery.messages[0].data["name"] == "one"
    found = yard.workspace.do(GetWebhook(id=known.id), yard.nora)
    assert found.dropped == 1
    assert "is not as this release writes it" in found.error
    lines = [line for line in yard.workspace.do(ListEvents(limit=50), yard.nora) if line.verb == "DropDelivery"]
    assert [line.subject for line in lines] == [f"webhook:{known.id}"]
    settle(yard, delivery)
    assert take(yard) == []
    assert yard.workspace.do(GetWebhook(id=known.id), yard.nora).dropped == 1


def test_one_that_is_switched_off_is_told_nothing_and_later_only_what_happens_from_then_on(yard: Yard) -> None:
    known = webhook(yard, "registered_model.created")
    yard.workspace.do(UpdateWebhook(id=known.id, active=False), yard.nora)
    adopted(yard, "one")
    assert take(yard) == []
    changed = yard.workspace.do(UpdateWebhook(id=known.id, active=True, name="other"), yard.nora)
    assert (changed.name, changed.url, changed.happenings) == ("other", known.url, known.happenings)
    adopted(yard, "two")
    assert [data["name"] for _, data in said(told(yard))] == ["two"]
    yard.workspace.do(DeleteWebhook(id=known.id), yard.nora)
    adopted(yard, "three")
    assert take(yard) == []
    with pytest.raises(NotFound, match=known.id):
        yard.workspace.do(GetWebhook(id=known.id), yard.nora)


def test_a_secret_is_in_no_table_but_a_file_that_only_the_owner_reads_and_goes_with_its_webhook(yard: Yard) -> None:
    known = webhook(yard)
    (kept,) = (yard.workspace.home / "secrets").glob("webhook-*")
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == ("s3cret", 0o600)
    yard.workspace.do(UpdateWebhook(id=known.id, secret="an0ther\r\n"), yard.nora)
    adopted(yard)
    assert take(yard)[0].secret == "an0ther\r\n"
    with yard.workspace.stores.database.read() as tx:
        for table in metadata.sorted_tables:
            shown = str(tx.execute(table.select()).all())
            assert not any(secret in shown for secret in ("s3cret", "an0ther")), table.name
    assert not yard.workspace.do(UpdateWebhook(id=known.id, secret=""), yard.nora).signed
    assert not kept.exists()
    yard.workspace.do(UpdateWebhook(id=known.id, secret="third"), yard.nora)
    yard.workspace.do(DeleteWebhook(id=known.id), yard.nora)
    assert not kept.exists()


def test_without_its_secret_a_webhook_is_told_nothing_until_it_is_set_again(yard: Yard) -> None:
    known = webhook(yard, "registered_model.created")
    for kept in (yard.workspace.home / "secrets").glob("webhook-*"):
        kept.unlink()
    adopted(yard, "one")
    assert take(yard) == []
    found = yard.workspace.do(GetWebhook(id=known.id), yard.nora)
    assert "Its secret is not among the secrets of this home" in found.error
    assert found.dropped == 0
    assert not overdue_now(yard)
    yard.workspace.do(UpdateWebhook(id=known.id, secret="again"), yard.nora)
    (delivery,) = take(yard)
    assert (delivery.secret, delivery.messages[0].data["name"]) == ("again", "one")


def overdue_now(yard: Yard) -> bool:
    with yard.workspace.stores.database.read() as tx:
        return overdue(tx)


def test_a_secret_is_in_no_answer_and_no_line_of_the_log(yard: Yard) -> None:
    known = webhook(yard, url="https://example.org/token-in-the-path")
    shown: list[Any] = [
        known,
        yard.workspace.do(GetWebhook(id=known.id), yard.nora),
        yard.workspace.do(ListWebhooks(), yard.nora),
        yard.workspace.do(UpdateWebhook(id=known.id, secret="s3cret2"), yard.nora),
        yard.workspace.do(DeleteWebhook(id=known.id), yard.nora),
        CreateWebhook(name="w", url="https://example.org/", happenings=EVERYTHING, secret="s3cret"),
    ]
    log = str(yard.workspace.do(ListEvents(limit=100), yard.nora))
    assert "s3cret" not in str(shown) + log
    assert "token-in-the-path" not in log
    assert [event.verb for event in yard.workspace.do(ListEvents(limit=3), yard.nora)] == [
        "DeleteWebhook",
        "UpdateWebhook",
        "CreateWebhook",
    ]


def test_only_who_operates_sees_and_makes_webhooks_and_only_the_worker_takes_what_they_are_told(yard: Yard) -> None:
    known = webhook(yard)
    for request in (ListWebhooks(), GetWebhook(id=known.id), CreateWebhook(name="w", url="https://example.org/", happenings=EVERYTHING)):
        with pytest.raises(Denied):
            yard.workspace.do(request, yard.dana)
    with pytest.raises(Denied):
        yard.workspace.do(TakeDeliveries(), yard.owner)


def test_what_no_webhook_can_be_is_refused(yard: Yard) -> None:
    for name in ("", "-a", "a-", "a" * 64, "a b"):
        with pytest.raises(InvalidInput, match="is invalid"):
            CreateWebhook(name=name, url="https://example.org/", happenings=EVERYTHING)
    with pytest.raises(InvalidInput, match="cannot be empty"):
        CreateWebhook(name="a", url="https://example.org/", happenings=())
    known = webhook(yard)
    for url in ("https://127.0.0.1/", "http://example.org/"):
        with pytest.raises(InvalidInput):
            webhook(yard, url=url)
        with pytest.raises(InvalidInput):
            yard.workspace.do(UpdateWebhook(id=known.id, url=url), yard.nora)


def test_one_whose_host_is_allowed_no_more_can_still_be_switched_off(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "127.0.0.1")
    known = webhook(yard, url="http://127.0.0.1:9/")
    monkeypatch.delenv(ALLOWED)
    assert not yard.workspace.do(UpdateWebhook(id=known.id, active=False), yard.nora).active


def test_one_that_does_not_answer_holds_up_no_other(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "127.0.0.1")
    monkeypatch.setattr(sending, "LIMIT", 120.0)
    with receiving() as slow, receiving() as quick:
        arrived, go = threading.Event(), threading.Event()

        def hold(number: int) -> None:
            arrived.set()
            go.wait(60)

        def release(number: int) -> None:
            if number == 3 and arrived.wait(60):
                go.set()

        slow.before, quick.before = hold, release
        for receiver in (slow, quick):
            webhook(yard, "registered_model.created", url=receiver.url)
        for name in ("one", "two", "three"):
            adopted(yard, name)
        couriers = Couriers(lambda request: yard.workspace.do(request, WORKER))
        couriers.send_out()
        # The slow one answers its first only when the quick one has been told all three.
        assert go.wait(60)
        for thread in couriers._threads:
            thread.join(60)
        couriers.end()
        for receiver in (slow, quick):
            assert [body["data"]["name"] for body in receiver.bodies()] == ["one", "two", "three"]
    assert take(yard) == []
