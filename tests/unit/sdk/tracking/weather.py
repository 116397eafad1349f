"""A way to a server on which anything may happen: refused, hung up, answered with 500 or by somebody else, cut before the answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Literal

from plimsoll import clock

#: ``cut`` lets requests through and drops the answers, ``slow`` holds each answer up for a while. ``login`` is somebody in between
#: who answers everything with a page of his own, ``moved`` one who sends elsewhere.
Mode = Literal["fair", "refused", "hangs", "500", "login", "moved", "cut", "slow"]

_REST = b"content-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\nOops"
_ANSWERS = {
    "500": b"HTTP/1.1 500 Internal Server Error\r\n" + _REST,
    "login": b"HTTP/1.1 200 OK\r\n" + _REST,
    "moved": b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n" + _REST,
}


class Weather:
    """Stands between a client and a server on loopback.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.mode: Mode = "fair"
        self._host = b"Host: 127.0.0.1:%d\r\n" % self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def turn(self, mode: Mode) -> None:
        """Change, also for the connections that are open."""
        self.mode = mode
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End all."""
        self.turn("refused")
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "refused":
                client.close()
            else:
                threading.Thread(target=self._serve, args=(client, self.mode), daemon=True).start()

    def _serve(self, client: socket.socket, mode: Mode) -> None:
        with client, contextlib.suppress(OSError), self._held(client):
            if mode != self.mode:
                return  # the weather turned before this one was known to be open
            if mode == "hangs":
                while client.recv(65536):
                    pass
            elif mode in _ANSWERS:
                client.recv(65536)
                client.sendall(_ANSWERS[mode])
            else:
                with socket.create_connection(("127.0.0.1", self._to)) as server, self._held(server):
                    back = threading.Thread(target=self._pump, args=(server, client, mode), daemon=True)
                    back.start()
                    self._pump(client, server, "fair")
                    back.join()

    @contextlib.contextmanager
    def _held(self, each: socket.socket) -> Iterator[None]:
        with self._lock:
            self._open.add(each)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(each)

    def _pump(self, source: socket.socket, sink: socket.socket, mode: Mode) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if mode == "cut":
                    break
                if mode == "slow":
                    clock.sleep(0.3)
                # The server checks the host that it is called by.
                sink.sendall(data.replace(self._host, b"host: 127.0.0.1:%d\r\n" % self._to))
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
