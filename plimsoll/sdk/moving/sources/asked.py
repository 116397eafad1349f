"""Asking a live MLflow server: with what its clients read from the environment to log in, again when it stumbles, and never by redirect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from plimsoll import clock
from plimsoll.errors import Denied, InvalidInput, NotFound, Refused, Unauthenticated, Unreachable

#: Seconds to wait for an answer; a page of runs of a busy server takes a while.
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)

#: Seconds to wait before asking again.
_PAUSES = (0.5, 2.0, 5.0)

#: What a server answers that is not well for a moment.
_PASSING = (429, 502, 503, 504)

_REMEDY = "Look after the server and run the same command again: it goes on where it stopped."


class AskedServer:
    """A server that is only read.

    Args:
        url: ``http(s)://…``, with a path where it has one, without anything to log in with.

    Raises:
        InvalidInput: the address is none, or holds a password.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            inside, _ = parts.username or parts.password, parts.port
        except ValueError as error:
            raise InvalidInput(f"The address is not a URL: {error}.", "Use http://HOST:PORT.") from None
        if inside or parts.query or parts.fragment:
            raise InvalidInput(
                "The address holds something to log in with, and others see a command line.",
                "Leave it out, and set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
            )
        self.address = url.rstrip("/")
        token, user = os.environ.get("MLFLOW_TRACKING_TOKEN", ""), os.environ.get("MLFLOW_TRACKING_USERNAME", "")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        login = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user and not token else None
        self._client = httpx.Client(base_url=self.address, headers=headers, auth=login, timeout=_TIMEOUT)

    def get(self, path: str, /, **fields: object) -> dict[str, Any]:
        """Return an answer.

        Args:
            path: after the server's address.
            fields: of the query; those that are None or empty are left out.
        """
        return self._asked("GET", path, params={name: str(value) for name, value in fields.items() if value not in (None, "")})

    def post(self, path: str, /, **fields: object) -> dict[str, Any]:
        """Return the answer of a search.

        Args:
            path: after the server's address.
            fields: of the body; those that are None or empty are left out.
        """
        return self._asked("POST", path, json={name: value for name, value in fields.items() if value not in (None, "")})

    def pages(self, method: str, path: str, name: str, /, **fields: object) -> Iterator[dict[str, Any]]:
        """Yield what a search finds, page by page.

        Args:
            method: ``GET`` or ``POST``.
            path: after the server's address.
            name: the answer's list.
            fields: what is searched for.
        """
        token = ""
        while True:
            ask = self.get if method == "GET" else self.post
            answer = ask(path, **fields, page_token=token)
            rows = answer.get(name) or []
            yield from (row for row in rows if isinstance(row, dict))
            following = str(answer.get("next_page_token") or "")
            if not following or following == token:
                return
            token = following

    def _asked(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        for pause in (*_PAUSES, None):
            try:
                response = self._client.request(method, path, **kwargs)
            except httpx.HTTPError as error:
                fault = self._unreachable(f"does not answer: {error or type(error).__name__}")
            else:
                if response.status_code not in _PASSING:
                    return self._read(response)
                fault = self._unreachable(f"answers {response.status_code} at {path}")
            if pause is None:
                raise fault
            clock.sleep(pause)
        raise AssertionError

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        self._check(response)
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unreachable(f"{self.address} does not answer like an MLflow server.", "Check the address.")
        return found

    def _check(self, response: httpx.Response) -> None:
        if response.status_code == 200:
            return
        if response.status_code == 401:
            raise Unauthenticated(f"{self.address} wants to know who asks.", "Set MLFLOW_TRACKING_TOKEN, or …_USERNAME and …_PASSWORD.")
        if response.status_code == 403:
            raise Denied(f"{self.address} does not let you read {response.request.url.path}.", "Log in as somebody who may read all of it.")
        if response.status_code == 404:
            raise NotFound(f"{self.address} has nothing at {response.request.url.path}.", "Check the address.")
        # Of one file or run: the rest may still be read.
        raise Refused(f"{self.address} answers {response.status_code} at {response.request.url.path}.", "Look at the server's log.")

    def _unreachable(self, what: str) -> Unreachable:
        return Unreachable(f"The MLflow server at {self.address} {what}.", _REMEDY)

    def download(self, path: str, to: Path, /, **fields: str) -> None:
        """Write an answer's bytes to a file.

        Args:
            path: after the server's address.
            to: the file.
            fields: of the query.
        """
        for pause in (*_PAUSES, None):
            try:
                with self._client.stream("GET", path, params=fields) as response, to.open("wb") as file:
                    if response.status_code not in _PASSING:
                        self._check(response)
                        for part in response.iter_bytes():
                            file.write(part)
                        return
                    fault = self._unreachable(f"answers {response.status_code} for a file")
            except httpx.HTTPError as error:
                fault = self._unreachable(f"stopped in the middle of a file: {error or type(error).__name__}")
            if pause is None:
                raise fault
            clock.sleep(pause)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
