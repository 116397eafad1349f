"""Which addresses a webhook may have, and what is connected to."""

from __future__ import annotations

import socket

import pytest

from plimsoll.errors import InvalidInput, Refused
from plimsoll.registry.webhooks.places import ALLOWED, check_place, connected, is_public, port_of


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.org/hook", "scheme"),
        ("ftp://example.org/", "scheme"),
        ("example.org/hook", "scheme"),
        ("https://", "hostname"),
        ("https://name:word@example.org/", "credentials"),
        ("https://127.0.0.1/", "non-public"),
        ("https://localhost:8443/", "non-public"),
        ("https://a.localhost/", "non-public"),
        ("https://10.1.2.3/", "non-public"),
        ("https://169.254.169.254/latest/meta-data", "non-public"),
        ("https://[::1]/", "non-public"),
        ("https://[::ffff:127.0.0.1]/", "non-public"),
        ("https://[64:ff9b::7f00:1]/", "non-public"),
        ("https://[fd00::1]/", "non-public"),
        ("https://0177.0.0.1/", "canonical"),
        ("https://2130706433/", "canonical"),
        ("https://127.1/", "canonical"),
        ("https://example.org:99999/", "Invalid webhook URL"),
        ("https://[::1/", "Invalid webhook URL"),
    ],
)
def test_an_address_that_leads_into_a_private_network_or_is_none_is_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_place(url)


def test_a_public_address_is_taken_with_its_port() -> None:
    assert port_of(check_place("https://example.org/hook?x=1")) == 443
    assert port_of(check_place("https://8.8.8.8:8443/")) == 8443


def test_a_host_that_the_operator_names_may_be_private_and_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOWED, "hooks.internal, 127.0.0.1:9000, [::1]")
    for url in ("http://hooks.internal/", "https://HOOKS.internal:1234/", "http://127.0.0.1:9000/", "http://[::1]:5/"):
        check_place(url)
    # Another port, another host and another scheme are not meant.
    for url in ("http://127.0.0.1:9001/", "https://127.0.0.1:9001/", "http://other.internal/", "ftp://hooks.internal/"):
        with pytest.raises(InvalidInput):
            check_place(url)


def test_a_name_that_means_a_private_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # As a name does that meant something else when the webhook was made.
        with pytest.raises(Refused, match="not a public IP address"):
            connected("localhost", port, 5.0)
        monkeypatch.setenv(ALLOWED, f"127.0.0.1:{port}")
        connected("127.0.0.1", port, 5.0).close()


def test_shared_translated_and_multicast_addresses_are_not_public() -> None:
    for number in ("100.64.0.1", "224.0.0.1", "0.0.0.0", "2002:7f00:1::", "ff02::1", "fe80::1%eth0"):
        assert not is_public(number), number
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1:248:1893:25c8:1946")
