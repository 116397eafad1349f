"""MLflow's protocol for the guests of a run: the same routes, behind an address that only the guest knows."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from plimsoll.data.trace.files.places import OWN
from plimsoll.data.trace.origin import HOST
from plimsoll.records.access import Actor
from plimsoll.records.request import Request
from plimsoll.runs.guests.guest import Guest
from plimsoll.server.answers import Turns
from plimsoll.server.mlflow.guests.passing import Passing
from plimsoll.server.mlflow.routes import routes
from plimsoll.store.contracts import Blobs, StreamedBlobs

R = TypeVar("R")

#: Ends of the paths by which a client only writes: what is known here of the run answers them.
_WRITES = ("/runs/create", "/runs/update", "/runs/log-metric", "/runs/log-parameter", "/runs/log-batch", "/runs/set-tag")

#: Whether the request that is being answered only writes.
_writes: ContextVar[bool] = ContextVar("plimsoll_guest_writes", default=False)


@dataclass(frozen=True, slots=True)
class _Bytes:
    #: Where bytes are.
    blobs: StreamedBlobs


@dataclass(frozen=True, slots=True)
class _Platform:
    """What the routes ask: each guest's own way, by the name of the actor."""

    #: By name.
    guests: Mapping[str, Guest]
    #: Where bytes are.
    stores: _Bytes
    #: Where uploads wait.
    home: Path

    def do(self, request: Request[R], actor: Actor) -> R:
        """Do what a guest asks.

        Args:
            request: what it asks.
            actor: named as the guest.
        """
        # One of the server's pool, which a recording of a step in this process must not take for the step's.
        threading.current_thread().name = HOST
        return cast(R, self.guests[actor.name].do(request, _writes.get()))


class _Doorman:
    """Finds the guest by the first part of the path."""

    def __init__(self, app: ASGIApp, guests: Mapping[str, Guest]) -> None:
        self._app, self._guests, self._turns = app, guests, Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = str(scope["path"]).split("/")[1]
        if scope["type"] != "http" or name not in self._guests:
            await PlainTextResponse("There is no run under way here.", 404)(scope, receive, send)
            return
        # The platform itself asks whether this guest's owner may do it.
        actor = Actor(name=name, roles=("admin",), person=False)
        # Those who fetch or send files in parts are told again what lets them in.
        headers = [*(each for each in scope["headers"] if each[0] != b"authorization"), (b"authorization", b"Bearer guest")]
        _writes.set(scope["path"].endswith(_WRITES) or scope["method"] == "PUT")
        await self._app(
            {**scope, "root_path": f"/{name}", "headers": headers, "state": {"actor": actor, "turns": self._turns}}, receive, send
        )


class _Server(uvicorn.Server):
    """uvicorn without its own signals, which are the user's program's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def served(guests: Mapping[str, Guest], blobs: Blobs, listener: socket.socket) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what answers guests until it is stopped, and what stops it.

    Args:
        guests: who may come now, by name.
        blobs: where bytes are.
        listener: listens on this machine.
    """
    ends = contextlib.ExitStack()

    def app() -> _Doorman:
        # Named so that a step in this very process is not found to read what its guest uploads.
        waiting = ends.enter_context(tempfile.TemporaryDirectory(prefix=OWN))
        platform = _Platform(guests, _Bytes(Passing(blobs, Path(waiting))), Path(waiting))
        behind = Starlette(routes=routes(platform))
        behind.state.home = waiting
        return _Doorman(behind, guests)

    server = _Server(
        uvicorn.Config(
            app,
            factory=True,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
    )

    def run() -> None:
        with ends:
            server.run(sockets=[listener])

    def stop() -> None:
        server.should_exit = True

    return run, stop
