"""The demo's stage: a copy of the example project, a real server in its own processes, and two people."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from plimsoll import clock
from plimsoll.data.project import read_project
from plimsoll.errors import Conflict, NotFound, PlimsollError, Unreachable
from plimsoll.records.access import AddActor, Job
from plimsoll.records.request import Request
from plimsoll.sdk.http import HttpDoor
from plimsoll.workspace import open_workspace

R = TypeVar("R")

#: The author: owns the home and makes the models.
AUTHOR = "dana"

#: Says yes or no, and never to work of their own.
APPROVER = "omar"

#: Seconds that the server may take until it answers.
_START = 60.0

#: Seconds that a server may take to end with everything it started.
_END = 45.0


@dataclass(slots=True)
class Person:
    """Somebody at the server's door, who tries again when the server was started anew.

    Attributes:
        name: who they are.
        door: their door.
        restart: brings the server back when it has died.
    """

    name: str
    door: HttpDoor
    restart: Callable[[], None]

    def do(self, request: Request[R]) -> R:
        """Return the verb's result; a server that died in between is started again, and asked again.

        Args:
            request: what to do; verbs bear being asked twice.
        """
        return self._insisting(lambda: self.door.do(request))

    def submit(self, request: Request[Any], key: str) -> Job:
        """Leave a job for the worker; a waiting one of the same key is that job.

        Args:
            request: whose row is a job.
            key: makes it idempotent.
        """
        return self._insisting(lambda: self.door.submit(request, key))

    def _insisting(self, ask: Callable[[], R]) -> R:
        deadline = clock.monotonic() + _START
        while True:
            try:
                return ask()
            except Unreachable:
                if clock.monotonic() > deadline:
                    raise
                # A killed process may still be on its way out, and counts as running until it is gone.
                clock.sleep(0.2)
                self.restart()


class Stage:
    """The folder, the server and the people of one demo.

    Args:
        folder: where everything stays to be looked at.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.project = self.folder / "flights"
        self.home = self.project / ".plimsoll"
        self.restarts = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self.ports = (0, 0)
        self.people: dict[str, Person] = {}

    def prepare(self) -> bool:
        """Copy the example project unless it is there, and keep other demos away; return whether an earlier one goes on.

        Raises:
            Conflict: another demo runs in this folder.
            NotFound: the example is not installed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(f"Another demo runs in {self.folder}.", "Wait for it, or give another folder with --folder.") from error
        goes_on = self.project.is_dir()
        if not goes_on:
            # What a demo that was killed while it copied has left.
            for half in self.folder.glob("flights.*"):
                shutil.rmtree(half)
            unfinished = self.folder / f"flights.{clock.new_id()}"
            shutil.copytree(_example(), unfinished, ignore=shutil.ignore_patterns("__pycache__", ".plimsoll"))
            _commit(unfinished)
            unfinished.replace(self.project)
        return goes_on

    def open(self) -> None:
        """Make the home with its two people, and start the server, once that of a killed demo has ended.

        Raises:
            Conflict: another server of this home stays.
            Unreachable: the server does not answer in time.
        """
        workspace = open_workspace(self.home, self.project, owner=AUTHOR)
        tokens = {AUTHOR: workspace.token("owner")}
        try:
            kept = self.home / "secrets" / APPROVER
            if not kept.exists():
                owner = workspace.identify(tokens[AUTHOR])
                invitation = workspace.do(AddActor(name=APPROVER, roles=("read", "approve", "operate")), owner)
                unfinished = kept.with_suffix(f".{clock.new_id()}")
                descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT, 0o600)
                with os.fdopen(descriptor, "w") as file:
                    file.write(invitation.token)
                unfinished.replace(kept)
            tokens[APPROVER] = kept.read_text().strip()
        finally:
            workspace.close()
        self._wait_for_earlier()
        self.ports = _free_ports()
        self.start()
        for name, token in tokens.items():
            self.people[name] = Person(name, HttpDoor(self.url, token), self.start)

    def _wait_for_earlier(self) -> None:
        """The server of a demo that was killed ends by itself, after it has finished what it was asked."""
        deadline = clock.monotonic() + _END
        with (self.home / "up.lock").open("a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except OSError as error:
                    if clock.monotonic() > deadline:
                        raise Conflict(f"A server of {self.home} is up.", "End it first; it tells its process in up.lock.") from error
                    clock.sleep(0.1)

    @property
    def url(self) -> str:
        """Address of the control server."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def serving(self) -> tuple[str, int]:
        """Host and port of the model server."""
        return "127.0.0.1", self.ports[1]

    def start(self) -> None:
        """Start ``plimsoll up`` unless it runs, and return once it answers.

        Raises:
            Unreachable: it does not answer in time; its log says why.
        """
        if self._server is not None and self._server.poll() is None:
            return
        self.restarts += self._server is not None
        self.home.joinpath("logs").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "plimsoll.cli.app", "up", "--port", str(self.ports[0]), "--serving-port", str(self.ports[1])]
        env = {key: value for key, value in os.environ.items() if not key.startswith("PLIMSOLL_")}
        with (self.home / "logs" / "up.log").open("ab") as log:
            self._server = subprocess.Popen(
                [*command, "--parent", str(os.getpid())],
                cwd=self.project,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._server.stdout is not None
        ready, _, _ = select.select([self._server.stdout], [], [], _START)
        if not ready or not self._server.stdout.readline():
            tail = (self.home / "logs" / "up.log").read_text(errors="replace")[-500:]
            raise Unreachable(f"The demo's server did not start: {tail}", f"Read {self.home}/logs/up.log")

    def close(self) -> None:
        """End the server and everything it started."""
        for person in self.people.values():
            person.door.close()
        if self._server is not None and self._server.poll() is not None and self.people:
            # Killed at the last moment: only another one can end the model server that it left.
            with contextlib.suppress(PlimsollError):
                self.start()
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(_END)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._server.pid, signal.SIGKILL)
                self._server.wait()
        if self._lock is not None:
            self._lock.close()

    def purpose(self) -> Any:
        """Return what the example's model is for."""
        return read_project(self.project).models["flights"]

    def config(self) -> Any:
        """Return how the example's model is served."""
        return read_project(self.project).serving["flights"]


def _example() -> Path:
    package = Path(clock.__file__).parent
    for candidate in (package / "examples" / "flights", package.parent / "examples" / "flights"):
        if (candidate / "pyproject.toml").is_file():
            return candidate
    raise NotFound("The example project is not installed.", "Install Plimsoll from its wheel, or run the demo in a checkout.")


def _commit(project: Path) -> None:
    """Put the project under git, so that runs have a commit; without git they have none, and the demo says so."""
    identity = ["-c", f"user.name={AUTHOR}", "-c", f"user.email={AUTHOR}@example.org", "-c", "commit.gpgsign=false"]
    with contextlib.suppress(OSError):
        (project / ".gitignore").write_text(".plimsoll/\n__pycache__/\n")
        for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "The flights example"]):
            if subprocess.run(["git", *identity, *command], cwd=project, capture_output=True).returncode:
                return


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def refused(act: Callable[[], object]) -> str:
    """Return why something is refused.

    Args:
        act: what must be refused.

    Raises:
        Conflict: it was not.
    """
    try:
        act()
    except PlimsollError as error:
        return str(error)
    raise Conflict("Something that must be refused was not.", "Report this with the demo's folder.")
