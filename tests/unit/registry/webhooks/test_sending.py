"""One message to somebody elsewhere: signed, within a time, to exactly the place that was named."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.records.registry.webhooks import Message
from plimsoll.registry.webhooks import sending
from plimsoll.registry.webhooks.places import ALLOWED
from plimsoll.registry.webhooks.sending import send
from tests.unit.registry.webhooks.receiver import receiving

MESSAGE = Message(id="0a-1", happening="model_version_tag.set", data={"name": "spät", "value": "ü"}, at=1_700_000_000_000_001)


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator allows this machine."""
    monkeypatch.setenv(ALLOWED, "127.0.0.1, localhost")


def test_whoever_knows_the_secret_can_check_who_has_told_it() -> None:
    with receiving() as receiver:
        told = send(receiver.url, "s3cret", MESSAGE)
    assert (told.status, told.body, told.outcome) == (200, "taken", "sent")
    path, headers, body = receiver.came[0]
    assert (path, headers["content-type"], headers["x-mlflow-delivery-id"]) == ("/told?by=plimsoll", "application/json", "0a-1")
    assert abs(int(headers["x-mlflow-timestamp"]) - clock.now() / 1e6) < 600
    signed = f"0a-1.{headers['x-mlflow-timestamp']}.".encode() + body
    version, _, signature = headers["x-mlflow-signature"].partition(",")
    assert version == "v1"
    assert base64.b64decode(signature) == hmac.new(b"s3cret", signed, hashlib.sha256).digest()
    assert receiver.bodies() == [
        {
            "entity": "model_version_tag",
            "action": "set",
            "timestamp": "2023-11-14T22:13:20.000001+00:00",
            "data": {"name": "spät", "value": "ü"},
        }
    ]


def test_without_a_secret_nothing_is_signed() -> None:
    with receiving() as receiver:
        send(receiver.url, "", MESSAGE)
    assert "x-mlflow-signature" not in receiver.came[0][1]


@pytest.mark.parametrize(("status", "outcome"), [(204, "sent"), (400, "refused"), (410, "refused"), (429, "failed"), (503, "failed")])
def test_only_what_may_be_different_later_is_tried_again(status: int, outcome: str) -> None:
    with receiving() as receiver:
        receiver.status = status
        told = send(receiver.url, "", MESSAGE)
    assert (told.status, told.outcome) == (status, outcome)


def test_a_redirect_leads_nowhere() -> None:
    with receiving() as other, receiving() as receiver:
        receiver.status, receiver.headers = 307, {"location": other.url}
        assert send(receiver.url, "", MESSAGE).outcome == "refused"
    assert other.came == []


def test_nobody_there_is_told_as_such_and_may_be_tried_again() -> None:
    with socket.socket() as held:
        # Taken, so that nobody else listens there, and not listened on.
        held.bind(("127.0.0.1", 0))
        told = send(f"http://127.0.0.1:{held.getsockname()[1]}/", "", MESSAGE)
    assert (told.status, told.outcome) == (0, "failed")
    assert "refused" in told.why


def test_a_host_that_is_not_allowed_any_more_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.delenv(ALLOWED)
        told = send(receiver.url, "", MESSAGE)
    assert (told.outcome, receiver.came) == ("failed", [])
    assert "scheme" in told.why


def test_whoever_answers_a_byte_at_a_time_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "LIMIT", 1.0)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            opened, _ = listener.accept()
            # Each byte comes long before a time-out of the socket, and all of them are a good answer in the end.
            with opened, contextlib.suppress(OSError):
                came = b""
                while not came.endswith(b"}") and (part := opened.recv(65536)):
                    came += part
                opened.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                for _ in range(600):
                    if not ended.wait(0.1):
                        opened.sendall(b"x")
                opened.sendall(b"\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            told = send(f"http://127.0.0.1:{listener.getsockname()[1]}/", "", MESSAGE)
        finally:
            ended.set()
            thread.join()
    assert told.outcome == "failed"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for ``localhost`` that signs itself, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("The program openssl is not here to make a certificate.")
    path = tmp_path / "both.pem"
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", *made, "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    path.write_bytes((tmp_path / "key").read_bytes() + (tmp_path / "cert").read_bytes())
    return path


def test_over_tls_the_other_side_must_be_who_it_says(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiving(lambda listener: context.wrap_socket(listener, server_side=True)) as receiver:
        stranger = send(f"https://localhost:{receiver.port}/", "", MESSAGE)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.parent / "cert"))
        known = send(f"https://localhost:{receiver.port}/", "", MESSAGE)
        otherwise = send(f"https://127.0.0.1:{receiver.port}/", "", MESSAGE)
    assert (stranger.outcome, known.outcome, otherwise.outcome, len(receiver.came)) == ("failed", "sent", "failed", 1)
    assert "CERTIFICATE_VERIFY_FAILED" in stranger.why
    assert "CERTIFICATE_VERIFY_FAILED" in otherwise.why
