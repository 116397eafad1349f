"""Which addresses may be told anything: public ones over TLS, and the hosts that the operator of this server names.

A name is looked up once a connection, and what is connected to is what was looked at: a name that means something else a moment
later leads nowhere.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from urllib.parse import SplitResult, urlsplit

from plimsoll.errors import InvalidInput, Refused

#: Hosts, with or without a port, that may lie in a private network and be spoken to without TLS; separated by commas.
ALLOWED = "PLIMSOLL_WEBHOOK_HOSTS"

#: IPv6 addresses that stand for an IPv4 address behind a translator.
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")

_PORTS = {"https": 443, "http": 80}


def check_place(url: str) -> SplitResult:
    """Return an address in its parts, after looking at all that can be seen without a network.

    Args:
        url: where a webhook is to go.

    Raises:
        InvalidInput: it is no address, holds a password, or its host may not be spoken to so.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(f"Invalid webhook URL {url[:200]!r}: {error}.", "Give an https:// address.") from None
    host = parts.hostname or ""
    if parts.username or parts.password:
        raise InvalidInput("Webhook URL must not include embedded credentials.", "Use the webhook's secret to be known.")
    allowed = is_allowed(host, port or _PORTS.get(parts.scheme, 0))
    if parts.scheme not in (_PORTS if allowed else ("https",)):
        remedy = f"The operator of this server allows http for a host with {ALLOWED}={host or 'HOST'}."
        raise InvalidInput(f"Invalid webhook URL scheme: {parts.scheme!r}. Allowed schemes are: https.", remedy)
    if not host:
        raise InvalidInput("Webhook URL must include a hostname.", "Give an https:// address.")
    if not allowed:
        numeric = ":" in host or host.replace(".", "").isdigit()
        try:
            private = host == "localhost" or host.endswith(".localhost") or (numeric and not is_public(host))
        except ValueError:
            raise InvalidInput(f"Webhook URL host {host!r} is not a canonical IP address literal.", "Write it in full.") from None
        if private:
            raise InvalidInput(
                f"Webhook URL must not resolve to a non-public IP address. {host!r} is one.",
                f"The operator of this server allows a host of its own network with {ALLOWED}={host}.",
            )
    return parts


def port_of(parts: SplitResult) -> int:
    """Return the TCP port that an address means.

    Args:
        parts: what :func:`check_place` gave.
    """
    return parts.port or _PORTS[parts.scheme]


def is_allowed(host: str, port: int) -> bool:
    """Return whether the operator of this server vouches for a host.

    Args:
        host: name or number, in lower case.
        port: TCP port.
    """
    named = [each.strip().lower() for each in os.environ.get(ALLOWED, "").split(",")]
    shown = f"[{host}]" if ":" in host else host
    return bool(host) and (shown in named or f"{shown}:{port}" in named)


def is_public(number: str) -> bool:
    """Return whether an IP address is one of the open internet.

    Args:
        number: the address as text.

    Raises:
        ValueError: it is none.
    """
    found = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return inner.is_global if inner is not None else found.is_global and not found.is_multicast
    return found.is_global and not found.is_multicast


def connected(host: str, port: int, seconds: float) -> socket.socket:
    """Return a connection to a host, none of whose addresses may be a private one unless the operator vouches for it.

    Args:
        host: name or number.
        port: TCP port.
        seconds: to wait for each of its addresses at most.

    Raises:
        Refused: the name means an address that may not be spoken to.
        OSError: there is no such name, or nobody answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, address in found:
        if not is_allowed(host, port) and not is_public(str(address[0])):
            raise Refused(
                f"The host {host!r} is at {address[0]}, which is not a public IP address.",
                f"The operator of this server allows it with {ALLOWED}={host}.",
            )
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in found:
        opened = socket.socket(family, kind, protocol)
        try:
            opened.settimeout(seconds)
            opened.connect(address)
            return opened
        except OSError as error:
            opened.close()
            failure = error
    raise failure
