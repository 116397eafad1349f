"""A way in for MLflow's client that runs beside the code: an address of this machine that lives as long as the run.

The client of any release speaks HTTP, so it is given an address in its environment, and nothing of it is replaced. Each guest has
an address of its own, which nobody else knows; it opens one run, and nothing once the run has ended.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import select
import socket
import threading
from typing import Any

from plimsoll.data.trace.origin import HOST
from plimsoll.runs.guests.guest import MARK, Guest
from plimsoll.store.contracts import Blobs

#: What answers, found by name, as the verbs' functions are: the server's rooms lie above this one, and most runs need none of them.
_SERVED = "plimsoll.server.mlflow.guests.served"

#: The variable that tells MLflow's client where to log.
ADDRESS = "MLFLOW_TRACKING_URI"
_OURS = re.compile(rf"http://127\.0\.0\.1:(\d+)/{MARK}[\w-]+")

#: Variables by which programs are told to ask elsewhere first, and those that make exceptions.
_PROXIES, _EXCEPT = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), ("no_proxy", "NO_PROXY")

#: What is told when nothing can listen on this machine.
NOBODY_COMES_IN = "MLflow's client finds no way into the run"

#: Seconds that what is being answered may take at the end.
_GRACE = 5.0


def elsewhere(address: str) -> str | None:
    """Return where MLflow's client in this process logs to by the user's own choice; None when nothing was chosen, or this platform.

    Args:
        address: of the platform.
    """
    chosen = os.environ.get(ADDRESS, "").rstrip("/")
    return None if chosen in ("", address.rstrip("/")) or is_ours(chosen) else chosen


def is_ours(address: str) -> bool:
    """Return whether an address was given to a guest.

    Args:
        address: what a variable holds.
    """
    return _OURS.fullmatch(address) is not None


def is_installed() -> bool:
    """Return whether there is a client here that could ask."""
    try:
        return importlib.util.find_spec("mlflow") is not None
    except ValueError:
        return True  # it is imported, by something that does not say from where


def is_gone(address: str) -> bool:
    """Return whether an address was given to a guest of a run that has ended.

    Args:
        address: what a variable holds.
    """
    found = _OURS.fullmatch(address)
    if found is None:
        return False
    try:
        socket.create_connection(("127.0.0.1", int(found[1])), timeout=1.0).close()
    except OSError:
        return True
    return False


class Loopback:
    """Listens on this machine for guests. Until one comes it costs a socket and a thread that waits.

    Args:
        blobs: where bytes are.
    """

    def __init__(self, blobs: Blobs) -> None:
        #: Where bytes are.
        self.blobs = blobs
        self._guests: dict[str, Guest] = {}
        self._turn = threading.Lock()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._ended, self._end = socket.socketpair()
        #: Stops what answers, once it does.
        self._stop: Any = None

    def admit(self, guest: Guest) -> dict[str, str]:
        """Let a guest in and return the variables by which MLflow's client finds the way.

        Args:
            guest: who may come.

        Raises:
            OSError: this machine lets nobody listen.
        """
        with self._turn:
            if self._listener is None:
                self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
                self._thread = threading.Thread(target=self._answer, name=HOST, daemon=True)
                self._thread.start()
            port = self._listener.getsockname()[1]
        self._guests[guest.name] = guest
        variables = {ADDRESS: f"http://127.0.0.1:{port}/{guest.name}", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
        if guest.run.experiment_id and "MLFLOW_EXPERIMENT_NAME" not in os.environ:
            variables["MLFLOW_EXPERIMENT_ID"] = guest.run.experiment_id
        if any(os.environ.get(name) for name in _PROXIES):
            variables |= {name: ",".join(filter(None, (os.environ.get(name), "127.0.0.1"))) for name in _EXCEPT}
        return variables

    def dismiss(self, guest: Guest) -> None:
        """Let a guest in no more.

        Args:
            guest: who was admitted.
        """
        self._guests.pop(guest.name, None)

    def close(self) -> None:
        """Answer nobody any more."""
        self._guests.clear()
        self._end.close()
        if self._stop is not None:
            self._stop()
        if self._thread is not None:
            self._thread.join(_GRACE)
        if self._listener is not None:
            self._listener.close()
        self._ended.close()

    def _answer(self) -> None:
        assert self._listener is not None
        ready, _, _ = select.select([self._listener, self._ended], [], [])
        if self._ended in ready:
            return
        run, self._stop = importlib.import_module(_SERVED).served(self._guests, self.blobs, self._listener)
        # Closed in this very moment: what stops it was not known yet.
        if select.select([self._ended], [], [], 0)[0]:
            return
        run()
