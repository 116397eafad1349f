"""The control server as any client sees it: who is let in, what is refused, and in which words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import httpx
import pytest

from plimsoll import clock, codec, verbs
from plimsoll.errors import StorageFull
from plimsoll.records.access import AddActor, WhoAmI
from plimsoll.records.run import StartRun
from plimsoll.server import api
from plimsoll.server.api import openapi
from plimsoll.server.mlflow.speech import SPOKEN_RELEASE
from plimsoll.workspace import open_workspace
from tests.unit.conftest import Running


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=running.address.url, trust_env=False, timeout=60) as opened:
        yield opened


@pytest.fixture
def known(running: Running, client: httpx.Client) -> httpx.Client:
    """A client with the owner's token."""
    client.headers["authorization"] = f"Bearer {running.yard.workspace.token('owner')}"
    return client


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_only_health_and_version_answer_without_a_token(client: httpx.Client) -> None:
    assert client.get("/health").text == "OK"
    assert client.get("/version").text == version("plimsoll")
    assert client.get("/version", headers={"user-agent": "mlflow-python-client/3.17.2"}).text == SPOKEN_RELEASE
    for method, path in (
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("POST", "/api/v1/WhoAmI"),
        ("GET", f"/blobs/{'0' * 64}"),
        ("GET", "/x"),
    ):
        response = client.request(method, path)
        assert error(response) == (401, "unauthenticated"), path
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic b2xnYTpvbGdh", "", "wrong"])
def test_a_token_that_is_not_known_is_refused(client: httpx.Client, header: str) -> None:
    assert error(client.post("/api/v1/WhoAmI", headers={"authorization": header})) == (401, "unauthenticated")


def test_a_token_is_worth_what_its_actor_may_at_this_moment(running: Running, client: httpx.Client) -> None:
    # Whoever changes what he may: the server, or another process.
    elsewhere = open_workspace(running.yard.workspace.home)
    first = running.yard.workspace.do(AddActor(name="ada", roles=("read",)), running.yard.owner).token

    def asked(token: str, path: str = "/api/v1/WhoAmI") -> int:
        return client.post(path, headers={"authorization": f"Bearer {token}"}, json={}).status_code

    for door in (elsewhere, running.yard.workspace):
        assert [asked(first) for _ in range(3)] == [200] * 3
        assert asked(first, "/api/v1/StartRun") == 403
        second = door.do(AddActor(name="ada", roles=("read", "write")), running.yard.owner).token
        assert [asked(first), asked(first)] == [401, 401]
        assert [asked(second, "/api/v1/StartRun"), asked(second)] == [200, 200]
        first = door.do(AddActor(name="ada", roles=("read",)), running.yard.owner).token
        assert [asked(second), asked(first, "/api/v1/StartRun")] == [401, 403]
    elsewhere.close()


def test_an_actor_without_roles_sees_neither_metrics_nor_the_description(running: Running) -> None:
    token = running.yard.workspace.do(AddActor(name="blind", roles=("approve",)), running.yard.owner).token
    for path in ("/metrics", "/openapi.json", f"/blobs/{'0' * 64}"):
        response = httpx.get(f"{running.address.url}{path}", headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60)
        assert error(response) == (403, "denied"), path


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example"])
def test_another_host_is_refused_also_for_open_paths(known: httpx.Client, host: str) -> None:
    for path in ("/health", "/metrics"):
        assert error(known.get(path, headers={"host": host})) == (421, "misdirected")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_origin_is_refused(known: httpx.Client, origin: str) -> None:
    response = known.post("/api/v1/WhoAmI", headers={"origin": origin})
    assert error(response) == (403, "denied")
    assert "access-control-allow-origin" not in response.headers


def test_a_page_of_its_own_is_let_in(running: Running, known: httpx.Client) -> None:
    assert known.post("/api/v1/WhoAmI", headers={"origin": running.address.url}).status_code == 200


def test_an_unknown_verb_is_not_found_by_name(known: httpx.Client) -> None:
    response = known.post("/api/v1/DropTables")
    assert error(response) == (404, "not_found")
    assert "DropTables" in response.json()["error"]["fact"]


def test_reading_changes_nothing_so_a_verb_has_no_get(known: httpx.Client) -> None:
    assert known.get("/api/v1/StartRun").status_code == 405


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"experiment": 3}', "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"\xc1", "application/msgpack"),
        (codec.to_msgpack({"experiment": ["a"]}), "application/msgpack"),
        (codec.to_json({"experiment": "a\nb"}), "application/json"),
        (b'{"params": ' + b"[" * 5000 + b"]" * 5000 + b"}", "application/json"),
    ],
)
def test_a_request_that_does_not_fit_names_what_is_wrong_and_starts_nothing(
    running: Running, known: httpx.Client, body: bytes, kind: str
) -> None:
    response = known.post("/api/v1/StartRun", content=body, headers={"content-type": kind})
    assert error(response) == (400, "invalid_input")
    assert response.json()["error"]["remedy"]


def test_a_field_is_named_in_the_refusal(known: httpx.Client) -> None:
    response = known.post("/api/v1/StartRun", content=b'{"experiment": 3}')
    assert "$.experiment" in response.json()["error"]["fact"]


@pytest.mark.parametrize(
    ("body", "named"),
    [({"experimnt": "a"}, "'experimnt'"), ({"code": {"comit": "a"}}, "'comit' at `$.code`"), ({"key": 3, "experimnt": "a"}, "'experimnt'")],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_field_that_is_not_known_is_refused_by_name_at_any_depth(known: httpx.Client, body: Any, named: str, packed: bool) -> None:
    content = codec.to_msgpack(body) if packed else codec.to_json(body)
    response = known.post("/api/v1/StartRun", content=content, headers={"content-type": f"application/{'msgpack' if packed else 'json'}"})
    assert error(response) == (400, "invalid_input")
    assert f"has the field {named}, which is not known here" in response.json()["error"]["fact"]


def test_a_request_that_is_too_large_is_refused(known: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LARGEST_REQUEST", 1000)
    assert error(known.post("/api/v1/StartRun", content=b" " * 1001)) == (413, "too_large")
    assert known.post("/api/v1/StartRun", content=b"{}" + b" " * 998).status_code == 200


def test_a_defect_gives_an_id_and_no_trace(
    known: httpx.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("plimsoll.workspace.Workspace.do", broken)
    response = known.post("/api/v1/WhoAmI")
    assert error(response) == (500, "internal")
    assert "secret detail" not in response.text
    printed = capsys.readouterr().out
    assert response.json()["error"]["details"]["id"] in printed
    assert "secret detail" in printed


def test_an_error_does_not_tell_where_the_home_lies(running: Running, known: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    home = str(running.yard.workspace.home)

    def full(*_: Any) -> None:
        raise StorageFull(f"The disk of {home}/blobs is full.", f"Look into {home}.", folder=f"{home}/blobs")

    monkeypatch.setattr("plimsoll.workspace.Workspace.do", full)
    told = known.post("/api/v1/WhoAmI")
    assert home not in told.text
    assert told.json()["error"]["fact"] == "The disk of the server's home/blobs is full."
    monkeypatch.setattr("plimsoll.workspace.Workspace.identify", full)
    at_the_gate = known.post("/api/v1/WhoAmI")
    assert home not in at_the_gate.text
    assert at_the_gate.json() == told.json()


def test_the_metrics_tell_jobs_rollouts_and_switches(known: httpx.Client) -> None:
    text = known.get("/metrics").text
    assert 'plimsoll_jobs{state="waiting"}' in text
    assert "plimsoll_rollouts 0.0" in text
    assert "plimsoll_killed 0.0" in text


def test_every_verb_is_described_with_its_role(known: httpx.Client) -> None:
    described = known.get("/openapi.json").json()
    others = {"/health", "/version", "/metrics", "/openapi.json", "/blobs/{digest}"}
    assert set(described["paths"]) == {f"/api/v1/{verb.name}" for verb in verbs.VERBS} | others
    for verb in verbs.VERBS:
        assert f"`{verb.role}`" in described["paths"][f"/api/v1/{verb.name}"]["post"]["description"]
    schemas = described["components"]["schemas"]
    assert schemas["StartRun"]["additionalProperties"] is schemas["CodeVersion"]["additionalProperties"] is False
    # Answers may have more fields one day.
    assert "additionalProperties" not in schemas["RunDetail"]
    assert described == codec.from_json(codec.to_json(openapi(described["info"]["version"])), dict[str, Any])


def test_json_is_for_everybody_and_msgpack_for_our_own_client(known: httpx.Client) -> None:
    assert known.post("/api/v1/WhoAmI").json()["name"] == "olga"
    headers = {"content-type": "application/msgpack", "accept": "application/msgpack"}
    packed = known.post("/api/v1/WhoAmI", content=codec.to_msgpack(WhoAmI()), headers=headers)
    assert packed.headers["content-type"] == "application/msgpack"
    assert codec.from_msgpack(packed.content, dict[str, Any])["name"] == "olga"


def test_a_job_sent_twice_with_one_key_is_one_job_and_one_line(running: Running, known: httpx.Client) -> None:
    first, second = (known.post("/api/v1/SealPredictions", headers={"idempotency-key": "once"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    subject = {"subject": f"job:{first.json()['id']}"}
    assert len(known.post("/api/v1/ListEvents", json=subject).json()) == 1
    other = known.post("/api/v1/CheckVersion", json={"ref": "late/1"}, headers={"idempotency-key": "once"})
    assert error(other) == (409, "conflict")


def test_an_upload_that_is_not_what_its_name_says_is_refused_and_the_name_stays_free(running: Running, known: httpx.Client) -> None:
    digest = codec.digest(b"what it should be")
    assert error(known.put(f"/blobs/{digest}", content=b"something else")) == (400, "damaged")
    assert known.head(f"/blobs/{digest}").status_code == 404
    assert known.put("/blobs/..%2fsecrets", content=b"x").status_code == 404
    assert error(known.put("/blobs/ABC", content=b"x")) == (400, "invalid_input")
    assert not list((running.yard.workspace.home / "blobs" / "tmp").iterdir())


def test_a_blob_that_was_damaged_is_not_served_and_leaves_no_copy(
    running: Running, known: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    digest = running.yard.workspace.stores.blobs.put(b"sound bytes")
    assert known.get(f"/blobs/{digest}").content == b"sound bytes"
    (stored,) = [path for path in (running.yard.workspace.home / "blobs").rglob("*") if path.name.endswith(digest[4:])]
    stored.chmod(0o600)
    stored.write_bytes(b"wrong bytes")
    assert error(known.get(f"/blobs/{digest}")) == (500, "corrupt")
    assert list(tmp_path.iterdir()) == []
    assert known.delete(f"/blobs/{digest}").status_code == 204
    assert known.head(f"/blobs/{digest}").status_code == 404


def test_sound_bytes_are_not_dropped_and_whoever_only_reads_neither_sends_nor_drops(running: Running, known: httpx.Client) -> None:
    digest = running.yard.workspace.stores.blobs.put(b"sound and kept")
    assert error(known.delete(f"/blobs/{digest}")) == (409, "refused")
    reader = running.yard.workspace.do(AddActor(name="reader", roles=("read",)), running.yard.owner).token
    known.headers["authorization"] = f"Bearer {reader}"
    new = codec.digest(b"new")
    assert error(known.put(f"/blobs/{new}", content=b"new")) == (403, "denied")
    assert error(known.delete(f"/blobs/{digest}")) == (403, "denied")
    assert known.head(f"/blobs/{new}").status_code == 404
    assert known.get(f"/blobs/{digest}").content == b"sound and kept"


def test_the_length_of_a_blob_is_told_without_sending_it(running: Running, known: httpx.Client) -> None:
    digest = running.yard.workspace.stores.blobs.put(b"12345")
    response = known.head(f"/blobs/{digest}")
    assert (response.headers["content-length"], response.content) == ("5", b"")


def test_bytes_that_somebody_was_told_of_are_as_young_as_new_ones_so_that_collecting_leaves_them(
    running: Running, known: httpx.Client
) -> None:
    digest = running.yard.workspace.stores.blobs.put(b"old, and named by nothing")
    (stored,) = (running.yard.workspace.home / "blobs").rglob(digest)
    os.utime(stored, (0, 0))
    assert known.head(f"/blobs/{digest}").status_code == 200
    assert stored.stat().st_mtime > clock.now() / 1e6 - 3600


def test_a_started_run_is_authored_by_the_token_and_not_by_the_body(running: Running, known: httpx.Client) -> None:
    assert known.post("/api/v1/StartRun", json=codec.plain(StartRun())).json()["author"] == "olga"
    assert error(known.post("/api/v1/StartRun", json={"author": "somebody"})) == (400, "invalid_input")


def test_a_request_for_another_protocol_is_still_a_request_at_the_gate(client: httpx.Client) -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "A" * 22 + "=="}
    assert error(client.get("/metrics", headers=headers)) == (401, "unauthenticated")
