"""A control server on loopback, in the test's own process: no worker does its jobs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from plimsoll import clock
from plimsoll.server.app import build
from plimsoll.server.supervisor import Address, configure, listen
from plimsoll.workspace import open_workspace

#: Seconds for which an answer is waited for: what must come, comes on a slow machine, too.
PATIENCE = 120.0


class Served:
    """A control server on loopback, in this process, and what asks it.

    Args:
        home: its home.
        database: its database.
        connections: to it at once, at most.
    """

    def __init__(self, home: Path, database: str, connections: int = 10) -> None:
        self.database = database
        self._workspace = open_workspace(home, None, database=database)
        opened = listen(Address(host="127.0.0.1", port=0), "--port")
        address = f"127.0.0.1:{opened.getsockname()[1]}"
        app = build(self._workspace, frozenset({address}))
        self._turns: Any = app.user_middleware[0].kwargs["turns"]
        self._server = uvicorn.Server(configure(app))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [opened]})
        self._thread.start()
        self.url, self.token = f"http://{address}", self._workspace.token("owner")
        limits = httpx.Limits(max_connections=connections)
        headers = {"authorization": f"Bearer {self.token}"}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False, limits=limits)

    def close(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._workspace.close()

    def in_the_database(self, writes: bool) -> int:
        """Return how many requests have a thread that asks the database, or wait for one."""
        told = (self._turns._writers if writes else self._turns._readers).statistics()
        return int(told.borrowed_tokens + told.tasks_waiting)

    def ask(self, verb: str, **fields: object) -> tuple[httpx.Response, float]:
        """Return the answer and how long it took, in seconds."""
        began = clock.monotonic()
        answer = self.client.post(f"/api/v1/{verb}", json=fields)
        return answer, clock.monotonic() - began
