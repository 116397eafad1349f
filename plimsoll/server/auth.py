"""Who is at the door: exact Host, own Origin, a bearer token. Nothing is open but what :data:`OPEN` names."""

from __future__ import annotations

import base64
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from plimsoll.errors import Denied, Misdirected, PlimsollError, Unauthenticated
from plimsoll.server.answers import Turns, outward, refusal
from plimsoll.server.mlflow.answering import refused
from plimsoll.server.mlflow.routes import DOORS
from plimsoll.server.mlflow.speech import spoken
from plimsoll.workspace import Workspace

#: Paths that answer without a token; they tell nothing about the project.
OPEN = frozenset({"/health", "/version"})

#: Paths that MLflow's clients ask, who read errors in its words only.
_MLFLOWS = re.compile(f"({'|'.join(DOORS)})/(?!v1/)")


class Gate:
    """ASGI middleware that lets in only requests to this host, from no foreign page, by a known actor.

    Args:
        app: what lies behind.
        workspace: knows the tokens.
        hosts: exact ``Host`` values that are served, with their port.
        turns: what waits for the database.
    """

    def __init__(self, app: ASGIApp, workspace: Workspace, hosts: frozenset[str], turns: Turns) -> None:
        self.app = app
        self.workspace = workspace
        self.hosts = hosts
        self.turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_origin(headers)
            if scope["path"] not in OPEN:
                token = _token(headers.get("authorization", ""))
                if not token:
                    raise Unauthenticated("The request has no bearer token.", "Set PLIMSOLL_TOKEN, or use the home's own user.")
                actor = await self.turns.take(False, self.workspace.identify, token)
                scope.setdefault("state", {}).update(actor=actor, turns=self.turns)
        except PlimsollError as error:
            told = outward(error, str(self.workspace.home))
            answer = refused(spoken(told)) if _MLFLOWS.match(scope["path"]) else refusal(told, headers.get("accept", ""))
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check_origin(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if host not in self.hosts:
            raise Misdirected(f"This server is not {host!r}.", "Use the address it printed when it started.")
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}", f"https://{host}"}:
            raise Denied(f"Pages of {origin} may not ask this server.", "Open the server's own pages.")


def _token(authorization: str) -> str:
    """Return the token: a bearer's, or the password of those who can only send a name with one, such as clients with it in their URL."""
    kind, _, given = authorization.partition(" ")
    if kind.lower() == "bearer":
        return given.strip()
    if kind.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given.strip(), validate=True).decode().partition(":")[2].strip()
    except ValueError:
        return ""
