"""The process that serves an environment's models: ``python -m plimsoll.server.plane``.

Composition of plane, HTTP, prediction log and the way to the server. It knows the server by HTTP alone and starts, serves
and stops without it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import uvicorn
import uvloop
from blake3 import blake3
from prometheus_client import CollectorRegistry

from plimsoll import codec
from plimsoll.errors import Conflict, Corrupt, InvalidInput, PlimsollError, Unreachable, from_wire
from plimsoll.records.data import Manifest
from plimsoll.records.request import Request, result_type
from plimsoll.server.inference import LOOPBACK, Inference, PlaneMetrics, hosts_of
from plimsoll.serving.plane import Follower, PackageCache, Plane, PlaneFolder
from plimsoll.serving.prediction_log import Journal, Sender

if TYPE_CHECKING:
    # The contracts need SQLAlchemy, which a plane has no use for.
    from plimsoll.store.contracts import Do

R = TypeVar("R")

_MSGPACK = "application/msgpack"

#: Seconds that requests under way get when the process is asked to stop.
FINISH_SECONDS = 12
#: Seconds that the log gets to reach the server before the rest stays in the journal.
FLUSH_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSettings:
    """What a plane process is told."""

    #: Name of the environment.
    environment: str
    #: Folder of the plane.
    folder: Path
    #: Home that it serves; told to whoever asks which plane this is.
    home: Path
    #: Address to listen on; a loopback one.
    host: str = "127.0.0.1"
    #: TCP port; 0 takes a free one.
    port: int = 0
    #: Names under which the server may be called, beside the loopback ones; with a port only as they stand.
    hosts: tuple[str, ...] = ()
    #: Address of the control server that it follows; told to whoever asks which plane this is.
    server: str = ""


def run_plane(settings: PlaneSettings, do: Do, fetch: Callable[[str, Path], object], ready: Callable[[str], None]) -> None:
    """Serve an environment until the process is told to stop by SIGTERM or SIGINT.

    Stopping takes a bounded time: no new connections, requests under way are finished, the log is sent or stays in the
    journal, the replicas end. A ``kill -9`` loses nothing that was answered: the journal is read by the next start.

    Args:
        settings: environment, folder and address.
        do: the door to the server; may raise at any time.
        fetch: writes the verified package of a digest into a folder that does not exist yet; may raise at any time.
        ready: called with the address, such as ``http://127.0.0.1:5152``, once connections are taken.

    Raises:
        Conflict: the port is taken, or another plane runs on the folder.
        InvalidInput: the address is not a loopback one.
    """
    uvloop.run(_plane(settings, do, fetch, ready))


async def _plane(settings: PlaneSettings, do: Do, fetch: Callable[[str, Path], object], ready: Callable[[str], None]) -> None:
    listener = listen(settings.host, settings.port)
    address = address_of(listener)
    folder = PlaneFolder(settings.folder)
    journal = Journal(folder.path / "journal")
    plane = Plane(settings.environment, PackageCache(folder.path / "packages", fetch), journal)
    sender = Sender(journal, do, folder.name, settings.environment)
    follower = Follower(plane, folder, do, address)
    follower.start()
    sender.start()
    try:
        about = {"pid": os.getpid(), "home": str(settings.home), "environment": settings.environment, "plane": folder.name}
        about["server"] = settings.server
        folder.tell(address)
        await serve(
            application(plane, journal, hosts_of(listener.getsockname()[1], settings.hosts), about), listener, lambda: ready(address)
        )
    finally:
        await asyncio.to_thread(follower.close, FLUSH_SECONDS)
        await plane.close()
        await asyncio.to_thread(sender.close, FLUSH_SECONDS)
        folder.close()


def application(plane: Plane, journal: Journal | None, hosts: frozenset[str], about: Mapping[str, Any]) -> Inference:
    """Return the HTTP side of a plane.

    Args:
        plane: answers requests.
        journal: its prediction log, or None.
        hosts: exact ``Host`` values that are served, with their port.
        about: what ``GET /plane`` answers.
    """
    return Inference(plane, PlaneMetrics(CollectorRegistry(), plane, journal), hosts, _version(), about)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket on a loopback address.

    Args:
        host: ``127.0.0.1``, ``localhost`` or ``::1``.
        port: TCP port; 0 takes a free one.

    Raises:
        InvalidInput: the address is not a loopback one: whoever reaches the plane may ask it.
        Conflict: the port is taken.
    """
    if host not in LOOPBACK:
        raise InvalidInput(
            f"The plane has no authentication of its own and does not listen on {host!r}.",
            "Use 127.0.0.1 and put a proxy with authentication before it.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise Conflict(f"Port {port} of {host} cannot be used: {error}.", "Choose another with --port, or 0 for a free one.") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Return a socket's address as ``http://host:port``.

    Args:
        listener: a listening socket.
    """
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn without its own signals, which would end the process before the log is sent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(application: Inference, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Answer on a socket until SIGTERM or SIGINT; then finish what is under way, for a bounded time.

    Args:
        application: the HTTP side.
        listener: a listening socket; closed at the end.
        ready: called once connections are taken.
    """
    server = _Server(
        uvicorn.Config(
            application,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            # Whoever connects could otherwise claim to be someone else.
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=FINISH_SECONDS,
        )
    )

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    running = loop.create_task(server.serve(sockets=[listener]))
    while not server.started and not running.done():
        await asyncio.sleep(0.001)
    if not running.done():
        ready()
    await running


class ServerLink:
    """The little of the server that a plane needs, without loading the platform: verbs that are no jobs, and packages.

    Args:
        url: such as ``http://127.0.0.1:5151``.
        token: the plane's bearer token.
    """

    def __init__(self, url: str, token: str) -> None:
        headers = {"authorization": f"Bearer {token}", "accept": _MSGPACK}
        self._url = url
        self._client = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=httpx.Timeout(30.0, connect=5.0), trust_env=False)
        self._briefs: dict[type[Request[Any]], codec.Brief] = {}

    def do(self, request: Request[R], /) -> R:
        """Post a verb and return its result, or raise its error.

        Args:
            request: what to do.

        Raises:
            Unreachable: the server does not answer.
        """
        path = f"/api/v1/{type(request).__name__}"
        with self._asking():
            response = self._client.post(path, content=self._brief(type(request)).pack(request), headers={"content-type": _MSGPACK})
        result: R = codec.from_msgpack(_checked(response), result_type(type(request)), "The server's answer")
        return result

    def _brief(self, kind: type[Request[Any]]) -> codec.Brief:
        return self._briefs.get(kind) or self._briefs.setdefault(kind, codec.Brief(kind))

    def fetch(self, digest: str, folder: Path) -> None:
        """Write a package into a folder that does not exist yet, each file verified against the manifest and that against ``digest``.

        Args:
            digest: of the package.
            folder: where to.

        Raises:
            Unreachable: the server does not answer.
            Corrupt: it sent other bytes, or a path that leaves the folder.
        """
        with self._asking():
            document = _checked(self._client.get(f"/blobs/{digest}"))
        _verify(codec.digest(document), digest)
        for entry in codec.from_json(document, Manifest, "The package's manifest").files:
            target = (folder / entry.path).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise Corrupt(f"The package {digest[:12]} has the path {entry.path!r}.", "Do not serve it.")
            target.parent.mkdir(parents=True, exist_ok=True)
            found = blake3()
            with self._asking(), self._client.stream("GET", f"/blobs/{entry.digest}") as response, target.open("wb") as file:
                if response.status_code >= 400:
                    response.read()
                    _checked(response)
                for part in response.iter_bytes():
                    found.update(part)
                    file.write(part)
            _verify(found.hexdigest(), entry.digest)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise Unreachable(f"The server at {self._url} does not answer: {error}.", "Start it with: plimsoll up") from error


def _checked(response: httpx.Response) -> bytes:
    if response.status_code < 400:
        return response.content
    if response.headers.get("content-type", "").startswith(_MSGPACK):
        raise from_wire(codec.from_msgpack(response.content, dict[str, dict[str, Any]], "The server's error").get("error", {}))
    raise Unreachable(f"{response.request.url} answered {response.status_code}, unlike Plimsoll.", "Check the address.")


def _verify(found: str, digest: str) -> None:
    if found != digest:
        raise Corrupt(f"The server sent other bytes than {digest[:12]}.", "Run: plimsoll doctor")


def main(arguments: list[str] | None = None) -> int:
    """Serve an environment; prints one JSON line with ``address`` and ``pid`` when it answers.

    Args:
        arguments: command line without the program's name; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="plimsoll.server.plane", description="Serve an environment's models.")
    parser.add_argument("--home", type=Path, required=True, help="the home folder, for its token and for the plane's own folder")
    parser.add_argument("--environment", default="production")
    parser.add_argument("--server", required=True, help="address of the control server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--allow-host", action="append", default=[], help="further name, or NAME:PORT, under which the plane may be called")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = PlaneSettings(
        environment=chosen.environment,
        folder=chosen.home / f"plane-{chosen.environment}",
        home=chosen.home,
        host=chosen.host,
        port=chosen.port,
        hosts=tuple(chosen.allow_host),
        server=chosen.server,
    )

    def ready(address: str) -> None:
        print(codec.to_json({"address": address, "pid": os.getpid()}).decode(), flush=True)

    try:
        link = ServerLink(chosen.server, (chosen.home / "secrets" / "plane").read_text().strip())
        run_plane(settings, link.do, link.fetch, ready)
    except PlimsollError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except FileNotFoundError as error:
        print(f"The plane's token is missing: {error}. Start the home once with: plimsoll up", file=sys.stderr)
        return 1
    return 0


def _version() -> str:
    try:
        return version("plimsoll")
    except PackageNotFoundError:
        # Run from a checkout that was never installed.
        return "0"


if __name__ == "__main__":
    sys.exit(main())
