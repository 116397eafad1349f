"""The live side of the demo: flights as requests over real HTTP, and their labels when the planes have landed."""

from __future__ import annotations

import hashlib
import http.client
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from plimsoll import clock, codec
from plimsoll.errors import Unavailable

#: Open Inference types of the columns' polars types.
_DATATYPES = {
    "String": "BYTES",
    "Float64": "FP64",
    "Int64": "INT64",
    "Int32": "INT32",
    "Int16": "INT16",
    "Int8": "INT8",
    "UInt32": "UINT32",
}

#: Seconds for which a request is sent again while the model server starts anew.
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    #: As the answer carried it.
    request_id: str
    #: Probability of being late, for each row.
    values: tuple[float, ...]
    #: Version that answered, or empty for a fallback.
    version: str
    #: Track that answered.
    track: str


@dataclass(slots=True)
class Tally:
    """What callers saw."""

    #: Requests that were answered with 200.
    answered: int = 0
    #: Answers with another status, by status.
    failed: dict[int, int] = field(default_factory=dict)
    #: Requests sent again because the connection broke or the server asked for patience.
    repeated: int = 0


class Callers:
    """So many callers, each with a connection of its own that stays open.

    Args:
        host: of the model server.
        port: of the model server.
        model: registered name.
        count: callers.
    """

    def __init__(self, host: str, port: int, model: str, count: int) -> None:
        self.tally = Tally()
        self._where = (host, port)
        self._path = f"/v2/models/{model}/infer"
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[tuple[int, str, bytes, list[Any], threading.Semaphore] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def ask(self, requests: Sequence[tuple[str, pl.DataFrame]]) -> list[Answer]:
        """Send requests, in order but several at a time, and return one answer each.

        Args:
            requests: request id and rows (n, columns) of each.

        Raises:
            Unavailable: the model server stayed away.
        """
        found: list[Any] = [None] * len(requests)
        done = threading.Semaphore(0)
        for index, (request_id, rows) in enumerate(requests):
            self._tasks.put((index, request_id, encode(rows), found, done))
        for _ in requests:
            done.acquire()
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        return found

    def close(self) -> None:
        """Let the callers go."""
        for _ in self._threads:
            self._tasks.put(None)

    def _serve(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while (task := self._tasks.get()) is not None:
            index, request_id, body, found, done = task
            try:
                connection, found[index] = self._send(connection, request_id, body)
            except Exception as error:
                connection, found[index] = None, error
            done.release()

    def _send(
        self, connection: http.client.HTTPConnection | None, request_id: str, body: bytes
    ) -> tuple[http.client.HTTPConnection | None, Answer]:
        begun = clock.monotonic()
        while clock.monotonic() - begun < _PATIENCE:
            connection = connection or http.client.HTTPConnection(*self._where, timeout=30)
            try:
                connection.request("POST", self._path, body, {"content-type": "application/json", "x-request-id": request_id})
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException):
                # The model server was killed or is not there yet; the same id is asked again.
                connection = None
                self._count(repeated=True)
                clock.sleep(0.1)
                continue
            if response.status in (429, 503):
                self._count(repeated=True)
                clock.sleep(0.1)
                continue
            self._count(status=response.status)
            if response.status != 200:
                raise Unavailable(f"The model server answered {response.status}: {data.decode(errors='replace')[:300]}")
            answer = codec.from_json(data, dict[str, Any])
            version, track = response.headers["plimsoll-version"], response.headers["plimsoll-track"]
            return connection, Answer(answer["id"], tuple(answer["outputs"][0]["data"]), version, track)
        raise Unavailable("The model server stayed away for a minute.", "Read the logs in the demo's home.")

    def _count(self, status: int | None = None, repeated: bool = False) -> None:
        with self._lock:
            self.tally.repeated += repeated
            if status == 200:
                self.tally.answered += 1
            elif status is not None:
                self.tally.failed[status] = self.tally.failed.get(status, 0) + 1


def encode(rows: pl.DataFrame) -> bytes:
    """Return rows as an Open Inference Protocol v2 request.

    Args:
        rows: (n, columns); datetimes go as ISO text.
    """
    inputs = []
    for column in rows.iter_columns():
        if isinstance(column.dtype, pl.Datetime):
            column = column.dt.strftime("%Y-%m-%dT%H:%M:%S%:z")
        datatype = _DATATYPES[str(column.dtype)]
        inputs.append({"name": column.name, "shape": [rows.height], "datatype": datatype, "data": column.to_list()})
    return codec.to_json({"inputs": inputs})


def request_id(rows: pl.DataFrame, seed: int) -> str:
    """Return the id of a request: the same flights always have the same, so a repeated day is no second one.

    Args:
        rows: with the column ``flight_id``.
        seed: of the demo.
    """
    return hashlib.sha256(f"{seed}:{','.join(rows['flight_id'])}".encode()).hexdigest()[:32]


def by_day(asked: Iterator[Any], length: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield (start of the day in UTC microseconds, its requests) in order; days without requests are left out.

    Args:
        asked: requests in the order of their time, each with ``at``.
        length: of a day, microseconds.
    """
    group: list[Any] = []
    current: int | None = None
    for request in asked:
        start = round(request.at.timestamp() * 1e6) // length * length
        if current is not None and start != current:
            yield current, group
            group = []
        current = start
        group.append(request)
    if current is not None:
        yield current, group
