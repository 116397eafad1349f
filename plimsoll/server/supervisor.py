"""``plimsoll up``: the control server in this process, a worker, and one serving plane an environment.

The plane is started when something is deployed. It outlives a server that is killed, goes on with the last state it was
given, and is taken over by the next ``plimsoll up`` of the same home. The worker ends with its server.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from plimsoll import clock
from plimsoll.errors import Conflict, InvalidInput
from plimsoll.records.deployment import ListDeployments
from plimsoll.server.app import build
from plimsoll.workspace import WORKER, Workspace

#: Is told both addresses once requests are answered.
Announce = Callable[["Address", "Address"], None]

#: Seconds after which a child that ended is started again; doubled with each try up to the second.
_BACKOFF = (0.5, 30.0)

#: Seconds that a child must live for its next start to be a first one again.
_STEADY = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens."""

    #: Interface, such as ``127.0.0.1``.
    host: str
    #: TCP port; 0 takes a free one.
    port: int

    @property
    def url(self) -> str:
        """The address as ``http://host:port``."""
        return f"http://{self.name}:{self.port}"

    @property
    def name(self) -> str:
        """The interface as it stands in a URL: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host


def listen(address: Address, flag: str) -> socket.socket:
    """Return a listening socket.

    Args:
        address: where to listen.
        flag: the option that changes the port, for the message.

    Raises:
        InvalidInput: the interface is not this machine's own loopback.
        Conflict: the port is taken.
    """
    if address.host not in ("127.0.0.1", "localhost", "::1"):
        raise InvalidInput(
            f"{address.host} can be reached from other machines.", "Listen on 127.0.0.1 and put a TLS proxy with authentication before it."
        )
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((address.host, address.port))
    except OSError as error:
        opened.close()
        raise Conflict(f"Port {address.port} of {address.host} is taken: {error.strerror}.", f"Choose another with {flag}.") from error
    opened.listen(2048)
    return opened


class Lock:
    """One ``plimsoll up`` a home: an advisory lock that the kernel gives back when its holder dies.

    Args:
        home: the home folder.

    Raises:
        Conflict: another one holds it.
    """

    def __init__(self, home: Path) -> None:
        self._file = (home / "up.lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            raise Conflict(f"This home is already up: {holder}.", "Use that one, or end it first.") from error

    def close(self) -> None:
        """Let another one hold it."""
        self._file.close()

    def tell(self, text: str) -> None:
        """Write who holds the lock.

        Args:
            text: for the message of the next one who tries.
        """
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text)
        self._file.flush()


class Child:
    """A process that is started again when it ends.

    Args:
        command: what to run.
        log: file that takes its output.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self.command = command
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self._pause = _BACKOFF[0]
        self._next = 0.0
        self._began = 0.0
        #: Whoever ends it may find another thread about to start it again.
        self._lock, self._over = threading.Lock(), False

    def keep(self) -> None:
        """Start it unless it runs, or was ended."""
        with self._lock:
            if not self._over:
                self._keep()

    def _keep(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        now = clock.monotonic()
        if self.process is not None and self._next == 0.0:
            if now - self._began > _STEADY:
                self._pause = _BACKOFF[0]
            self._next = now + self._pause
            self._pause = min(_BACKOFF[1], self._pause * 2)
        if now < self._next:
            return
        self._next, self._began = 0.0, now
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(self, seconds: float) -> None:
        """Ask it to end, and end it when it does not; it is not started again.

        Args:
            seconds: how long it may take.
        """
        with self._lock:
            self._over = True
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Planes:
    """The serving planes of a home: started when needed, taken over when they are alive already.

    Args:
        workspace: the opened home.
        control: where the control server listens.
        serving: where the plane listens.
    """

    def __init__(self, workspace: Workspace, control: Address, serving: Address) -> None:
        self.workspace = workspace
        self.control = control
        self.serving = serving
        self.adopted: int | None = None
        self.state = workspace.home / "plane-production"
        command = [sys.executable, "-m", "plimsoll.server.plane", "--home", str(workspace.home), "--environment", "production"]
        command += ["--server", control.url, "--host", serving.host, "--port", str(serving.port)]
        self.child = Child(command, workspace.home / "logs" / "plane.log")

    def running(self) -> int | None:
        """Return the process id of a plane of this home that answers at the serving address, or None."""
        found = self._ask(self.serving.url)
        return None if found is None else int(found["pid"])

    def keep(self) -> None:
        """Start the plane once something is deployed, unless one lives that can be taken over.

        One that lives at another address, or follows a server that was at another address, is asked to end first: it would
        never hear of this server, and it holds the plane's folder.
        """
        if self.child.process is not None and self.child.process.poll() is None:
            return
        if self.adopted is not None and _alive(self.adopted):
            return
        self.adopted = None
        if self.child.process is None and not self.workspace.do(ListDeployments(environment="production"), WORKER):
            return
        found = self._elder()
        if found is None:
            self.child.keep()
        elif (found["address"], found.get("server")) == (self.serving.url, self.control.url):
            self.adopted = int(found["pid"])
        else:
            os.kill(int(found["pid"]), signal.SIGTERM)

    def end(self, seconds: float) -> None:
        """Ask the plane to answer what it has, write its log, and end.

        Args:
            seconds: how long it may take.
        """
        found = self._elder()
        if found is not None:
            pid, deadline = int(found["pid"]), clock.monotonic() + seconds
            os.kill(pid, signal.SIGTERM)
            while self.child.process is None and _alive(pid) and clock.monotonic() < deadline:
                clock.sleep(0.05)
        self.child.end(seconds)

    def _elder(self) -> dict[str, Any] | None:
        """Return what a living plane of this home says about itself, with its address, or None."""
        told = self.state / "address"
        for url in (told.read_text() if told.exists() else "", self.serving.url):
            if url and (found := self._ask(url)) is not None:
                return {**found, "address": url}
        return None

    def _ask(self, url: str) -> dict[str, Any] | None:
        try:
            answer = httpx.get(f"{url}/plane", timeout=2.0, trust_env=False)
            found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return None
        return found if found.get("home") == str(self.workspace.home) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


class Server(uvicorn.Server):
    """uvicorn that says when it is ready.

    Args:
        config: uvicorn's configuration.
        ready: set once requests are answered.
    """

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, and return: uvicorn's own would end the process before its children are ended."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell.

        Args:
            sockets: listening sockets.
        """
        await super().startup(sockets)
        self._ready.set()


def configure(app: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for a server of ours.

    Args:
        app: the ASGI application.
    """
    return uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        lifespan="off",
        # Nothing here speaks it, so no request may get past the gate by asking for it.
        ws="none",
    )


def run(workspace: Workspace, control: Address, serving: Address, announce: Announce, parent: int | None = None) -> None:
    """Serve a home until the process is asked to end (SIGINT, SIGTERM), then end the children in order.

    Args:
        workspace: the opened home.
        control: where the control server listens.
        serving: where the plane listens, once something is deployed.
        announce: called with both addresses once requests are answered.
        parent: id of the process that started this one and without which it ends as well; None lives on its own.

    Raises:
        Conflict: the home is up already, or a port is taken.
    """
    with contextlib.ExitStack() as kept:
        lock = kept.enter_context(contextlib.closing(Lock(workspace.home)))
        opened = kept.enter_context(listen(control, "--port"))
        _run(workspace, lock, opened, (control, serving), announce, parent)


def _run(
    workspace: Workspace, lock: Lock, opened: socket.socket, addresses: tuple[Address, Address], announce: Announce, parent: int | None
) -> None:
    control, serving = addresses
    control = Address(host=control.host, port=opened.getsockname()[1])
    (workspace.home / "logs").mkdir(exist_ok=True)
    hosts = frozenset(f"{name}:{control.port}" for name in (control.name, "127.0.0.1", "localhost"))
    ready, stop = threading.Event(), threading.Event()
    planes = Planes(workspace, control, serving)
    if planes.running() is None:
        listen(serving, "--serving-port").close()
    lock.tell(f"process {os.getpid()} at {control.url}")
    command = [sys.executable, "-m", "plimsoll.worker", str(workspace.home), "--project", str(workspace.project)]
    worker = Child([*command, "--parent", str(os.getpid())], workspace.home / "logs" / "worker.log")

    def watch() -> None:
        ready.wait()
        announce(control, serving)
        while not stop.wait(0.3):
            if parent is not None and os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
            for child in (worker, planes):
                try:
                    child.keep()
                except Exception as error:
                    print(f"up: {error}", file=sys.stderr, flush=True)

    watcher = threading.Thread(target=watch, name="watcher", daemon=True)
    watcher.start()
    try:
        app = build(workspace, hosts)
        # What a server begins with stays. The collector would look through all of it again and again, while a request waits.
        gc.collect()
        gc.freeze()
        # An answer is made of thousands of records, none of which refers back: they go without the collector.
        gc.set_threshold(10_000, 10, 10)
        Server(configure(app), ready).run(sockets=[opened])
    finally:
        stop.set()
        watcher.join(5)
        worker.end(10)
        planes.end(15)
