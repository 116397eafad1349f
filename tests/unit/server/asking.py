"""Requests in MLflow's protocol, taken or refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.unit.conftest import Running

INVALID, MISSING = "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"


@contextmanager
def client_of(running: Running, door: str = "api") -> Iterator[httpx.Client]:
    """A client with the owner's token, at one of the doors of MLflow's protocol."""
    headers = {"authorization": f"Bearer {running.yard.workspace.token('owner')}"}
    with httpx.Client(base_url=f"{running.address.url}/{door}/2.0/mlflow/", headers=headers, trust_env=False, timeout=60) as opened:
        yield opened


def ask(client: httpx.Client, method: str, path: str, **fields: Any) -> Any:
    answer = client.request(method, path, params=fields) if method == "GET" else client.request(method, path, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: httpx.Client, method: str, path: str, **fields: Any) -> tuple[int, str, str]:
    answer = client.request(method, path, params=fields) if method == "GET" else client.request(method, path, json=fields)
    body = answer.json()
    return answer.status_code, body["error_code"], body["message"]
