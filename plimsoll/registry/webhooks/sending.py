"""One message on its way: signed as MLflow signs, to an address that was looked at, and within a time. Redirects lead nowhere."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from plimsoll import clock, codec
from plimsoll.errors import PlimsollError
from plimsoll.records.registry.webhooks import Delivery, Message, Outcome
from plimsoll.registry.webhooks.places import check_place, connected, port_of

#: Seconds for one message, from the connection to the end of the answer.
LIMIT = 10.0

#: Bytes of an answer that are read.
_READ = 4096

#: Statuses below 500 that may be others a moment later.
_LATER = (408, 425, 429)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How the other side answered."""

    #: HTTP status; 0 without an answer.
    status: int = 0
    #: Beginning of the answer.
    body: str = ""
    #: Why there was none.
    error: str = ""

    @property
    def outcome(self) -> Outcome:
        """What is to be made of it."""
        if 200 <= self.status < 300:
            return "sent"
        return "failed" if self.status == 0 or self.status in _LATER or self.status >= 500 else "refused"

    @property
    def why(self) -> str:
        """Why it was not taken, in one line."""
        return self.error or f"HTTP {self.status}: {self.body[:200]}"


def deliver(delivery: Delivery) -> Told:
    """Tell all messages of a delivery, until one is not taken, and return how the last one was answered.

    Args:
        delivery: what was taken.
    """
    told = Told(status=200)
    for message in delivery.messages:
        told = send(delivery.url, delivery.secret, message)
        if told.outcome != "sent":
            break
    return told


def send(url: str, secret: str, message: Message) -> Told:
    """Tell one message, once.

    Args:
        url: where to.
        secret: signs it; empty for no signature.
        message: what to tell.
    """
    entity, _, action = message.happening.partition(".")
    happened = (_EPOCH + timedelta(microseconds=message.at)).isoformat(timespec="microseconds")
    body = codec.to_json({"entity": entity, "action": action, "timestamp": happened, "data": message.data})
    at = str(clock.now() // 1_000_000)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "plimsoll",
        "X-MLflow-Delivery-Id": message.id,
        "X-MLflow-Timestamp": at,
        "Connection": "close",
    }
    if secret:
        headers["X-MLflow-Signature"] = signature(secret, message.id, at, body)
    try:
        return _posted(url, body, headers)
    except PlimsollError as error:
        return Told(error=error.fact)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Told(error=f"{type(error).__name__}: {error}"[:500])


def signature(secret: str, id: str, at: str, body: bytes) -> str:
    """Return the signature that whoever knows the secret can check.

    Args:
        secret: what both sides know.
        id: the message's.
        at: seconds since 1970, as text.
        body: what is sent.
    """
    signed = hmac.new(secret.encode(), f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"


def _posted(url: str, body: bytes, headers: dict[str, str]) -> Told:
    parts = check_place(url)
    host, port = parts.hostname or "", port_of(parts)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port)
        secured = ssl.create_default_context()
    else:
        connection, secured = http.client.HTTPConnection(host, port), None
    # A connection of its own making would look the name up again.
    connection.auto_open = 0
    began = clock.monotonic()
    opened = connected(host, port, LIMIT / 2)
    try:
        if secured is not None:
            opened = secured.wrap_socket(opened, server_hostname=host, do_handshake_on_connect=False)
        connection.sock = opened
        # Time-outs of a socket are for each piece: whoever sends a byte at a time is cut off all the same.
        late = threading.Event()
        timer = threading.Timer(max(0.0, LIMIT - (clock.monotonic() - began)), _cut, (opened, late))
        timer.daemon = True
        timer.start()
        try:
            opened.settimeout(LIMIT)
            if isinstance(opened, ssl.SSLSocket):
                opened.do_handshake()
            connection.request("POST", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), body, headers)
            answer = connection.getresponse()
            told = Told(status=answer.status, body=answer.read(_READ).decode(errors="replace"))
            # What was cut off within its headers looks like a whole answer.
            return Told(error=f"It has not answered within {LIMIT:.0f} seconds.") if late.is_set() else told
        finally:
            timer.cancel()
    finally:
        connection.close()
        opened.close()


def _cut(opened: socket.socket, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError):
        # Of TLS the socket below: whoever reads finds its end.
        socket.socket.shutdown(opened, socket.SHUT_RDWR)
