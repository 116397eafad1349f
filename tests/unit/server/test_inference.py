"""Who may ask a plane: its own host names with its port, no foreign page, and JSON that says that it is JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from plimsoll.server.inference import Inference, PlaneMetrics, hosts_of
from plimsoll.serving.plane import PackageCache, Plane

INFER = "/v2/models/demo/infer"


@pytest.fixture
def application(tmp_path: Path) -> Inference:
    """A plane without a model on port 5152: what is let in finds that there is none."""
    plane = Plane("production", PackageCache(tmp_path, lambda digest, folder: None), None)
    return Inference(plane, PlaneMetrics(CollectorRegistry(), plane, None), hosts_of(5152, ("Models.example",)), "1", {"pid": 1})


def send(application: Inference, method: str, path: str, headers: dict[str, str]) -> int:
    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://127.0.0.1:5152") as client:
            return (await client.request(method, path, content=b"{}" if method == "POST" else b"", headers=headers)).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:5151", "localhost.evil.example:5152", "models.example:1", ""])
def test_a_name_or_port_that_is_not_the_planes_is_refused(application: Inference, host: str) -> None:
    assert send(application, "GET", "/plane", {"host": host}) == 400
    assert send(application, "POST", INFER, {"host": host}) == 400


@pytest.mark.parametrize("host", ["127.0.0.1:5152", "LOCALHOST:5152", "[::1]:5152", "models.example", "models.example:5152"])
def test_the_planes_own_names_are_served(application: Inference, host: str) -> None:
    assert send(application, "GET", "/plane", {"host": host, "origin": f"http://{host}"}) == 200


def test_a_configured_name_with_a_port_stands_for_itself_alone_and_port_80_may_be_left_out() -> None:
    assert {host for host in hosts_of(5152, ("models.example:8443",)) if host.startswith("models")} == {"models.example:8443"}
    assert {"localhost", "localhost:80", "[::1]"} <= hosts_of(80, ())
    assert "localhost" not in hosts_of(5152, ())


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1"])
def test_a_foreign_page_is_refused(application: Inference, origin: str) -> None:
    for method, path in (("POST", INFER), ("POST", "/invocations"), ("GET", "/plane")):
        assert send(application, method, path, {"origin": origin, "content-type": "application/json"}) == 403


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_an_open_inference_request_that_is_not_said_to_be_json_is_refused(application: Inference, media: str) -> None:
    assert send(application, "POST", INFER, {"content-type": media}) == 415


def test_a_missing_content_type_is_taken_from_a_program_and_from_no_page(application: Inference) -> None:
    assert send(application, "POST", INFER, {}) == 404
    assert send(application, "POST", INFER, {"content-type": "Application/JSON; charset=utf-8"}) == 404
    assert send(application, "POST", INFER, {"origin": "http://127.0.0.1:5152"}) == 415
    assert send(application, "POST", INFER, {"origin": "http://127.0.0.1:5152", "content-type": "application/json"}) == 404
