"""A place where steps wait until a test lets them go, seen by no key: steps of any process connect to it."""

from __future__ import annotations

import contextlib
import socket
import threading

STEP = """
    import socket
    from plimsoll.pipelines.step import pipeline, step
    from plimsoll.runs.logger import current_run

    @step(cache="forever")
    def slow(name, port):
        with socket.create_connection(("127.0.0.1", port)) as gate:
            gate.sendall(name.encode())
            assert gate.recv(1) == b"1"
        current_run().log(held=1.0)
        return name
"""


class Gate:
    """Notes which steps come, and holds them."""

    def __init__(self) -> None:
        #: What was really computed, in order.
        self.calls: list[str] = []
        #: Set when the first one has come.
        self.reached = threading.Event()
        self._opened = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def open(self) -> None:
        """Let the steps end."""
        self._opened.set()

    def close(self) -> None:
        """Let go whoever still waits, and take no more."""
        self.open()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._server.accept()[0],), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.calls.append(connection.recv(10).decode())
            self.reached.set()
            self._opened.wait()
            connection.sendall(b"1")
