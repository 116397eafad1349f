"""Requests in MLflow's protocol, taken or refused."""

from __future__ import annotations

from typing import Any

import httpx


def ask(client: httpx.Client, method: str, path: str, **fields: Any) -> Any:
    answer = client.request(method, path, params=fields) if method == "GET" else client.request(method, path, json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: httpx.Client, method: str, path: str, **fields: Any) -> tuple[int, str, str]:
    answer = client.request(method, path, params=fields) if method == "GET" else client.request(method, path, json=fields)
    body = answer.json()
    return answer.status_code, body["error_code"], body["message"]
