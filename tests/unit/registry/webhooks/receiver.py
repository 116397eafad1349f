"""Somebody elsewhere who is told things: a real HTTP server in a thread."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Receiver:
    """What came, and how it is answered."""

    #: Where it listens.
    port: int = 0
    #: Status of each answer.
    status: int = 200
    #: Further headers of each answer.
    headers: dict[str, str] = field(default_factory=dict)
    #: Path, headers in lower case and body of each request.
    came: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    #: Is called with each request's number before it is answered.
    before: Callable[[int], None] = lambda number: None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/told?by=plimsoll"

    def bodies(self) -> list[Any]:
        """Return what was told, in order."""
        return [json.loads(body) for _, _, body in self.came]


@contextlib.contextmanager
def receiving(wrap: Callable[[Any], Any] = lambda listener: listener) -> Iterator[Receiver]:
    """Listen within the block.

    Args:
        wrap: puts TLS around the listening socket.
    """
    found = Receiver()

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.came.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            found.before(len(found.came))
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(b"taken")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.socket = wrap(server.socket)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
