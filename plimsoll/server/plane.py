"""The process that serves an environment's models: composition of plane, HTTP, prediction log and the way to the server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import uvicorn
import uvloop
from prometheus_client import CollectorRegistry

from plimsoll.errors import Conflict, InvalidInput
from plimsoll.server.inference import LOOPBACK, Inference, PlaneMetrics
from plimsoll.serving.plane import Follower, PackageCache, Plane, PlaneFolder
from plimsoll.serving.prediction_log import Journal, Sender
from plimsoll.store.contracts import Do

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
    #: Address to listen on; a loopback one.
    host: str = "127.0.0.1"
    #: TCP port; 0 takes a free one.
    port: int = 0
    #: Names under which the server may be called, beside the loopback ones.
    hosts: tuple[str, ...] = ()


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
        await serve(application(plane, journal, settings.hosts), listener, lambda: ready(address))
    finally:
        await asyncio.to_thread(follower.close, FLUSH_SECONDS)
        await plane.close()
        await asyncio.to_thread(sender.close, FLUSH_SECONDS)
        folder.close()


def application(plane: Plane, journal: Journal | None, hosts: Iterable[str]) -> Inference:
    """Return the HTTP side of a plane.

    Args:
        plane: answers requests.
        journal: its prediction log, or None.
        hosts: names under which it may be called, beside the loopback ones.
    """
    return Inference(plane, PlaneMetrics(CollectorRegistry(), plane, journal), hosts, _version())


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


def _version() -> str:
    try:
        return version("plimsoll")
    except PackageNotFoundError:
        # Run from a checkout that was never installed.
        return "0"
