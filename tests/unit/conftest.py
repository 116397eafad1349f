"""What tests of the control side share."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from plimsoll import clock
from plimsoll.records.access import Actor, AddActor, Role
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.http import HttpDoor
from plimsoll.server.app import build
from plimsoll.server.supervisor import Address, configure, listen
from plimsoll.worker import LEASE, run_job
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """A new workspace with an owner, an author, an approver, an operator and a program."""
    opened = open_yard(tmp_path / "home")
    yield opened
    opened.workspace.close()


@dataclass
class Running:
    """A control server on loopback, and the workspace behind it."""

    yard: Yard
    address: Address
    made: list[HttpDoor]

    def http(self, *roles: Role) -> HttpDoor:
        """Return a door to the server for an actor with these roles; without any, for the owner."""
        token = self.yard.workspace.token("owner")
        if roles:
            name = "-".join(roles)
            token = self.yard.workspace.do(AddActor(name=name, roles=roles), self.yard.owner).token
        self.made.append(HttpDoor(self.address.url, token))
        return self.made[-1]

    def folder(self, *roles: Role) -> FolderDoor:
        """Return a door to the folder for an actor with these roles; without any, for the owner."""
        return FolderDoor(self.yard.workspace, Actor(name="-".join(roles), roles=roles) if roles else self.yard.owner)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Do the jobs of the queue in this process while the block runs."""
        stop = threading.Event()

        def work() -> None:
            stores = self.yard.workspace.stores
            while not stop.is_set():
                with stores.database.write() as tx:
                    job = stores.queue.claim(tx, "here", LEASE)
                if job is not None:
                    run_job(self.yard.workspace, job.id, "here")
                stop.wait(0.02)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that runs for a whole file of tests."""
    yard = open_yard(tmp_path_factory.mktemp("served") / "home")
    opened = listen(Address(host="127.0.0.1", port=0), "--port")
    address = Address(host="127.0.0.1", port=opened.getsockname()[1])
    server = uvicorn.Server(configure(build(yard.workspace, frozenset({f"127.0.0.1:{address.port}"}))))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    deadline = clock.monotonic() + 60
    while not server.started and clock.monotonic() < deadline:
        clock.sleep(0.005)
    found = Running(yard, address, [])
    yield found
    for door in found.made:
        door.close()
    server.should_exit = True
    thread.join(30)
    yard.workspace.close()
