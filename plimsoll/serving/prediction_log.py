"""The prediction log of a plane: on its own disk before the answer goes out, in the store soon after, each row exactly once.

A journal is a folder of numbered files. Entries are appended to the newest with one ``write`` each, so they outlive the
process; nothing is forced to the disk, so a power cut may take the last seconds. A thread closes the newest file every
``PERIOD`` seconds or ``BATCH_ROWS`` rows and sends the closed ones, oldest first. The batches of a file, and so their
sequence numbers, depend on nothing but its content and the last acknowledged sequence: after a crash the same batches are
sent again, under the same numbers, and the store takes each of them once.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from plimsoll import codec
from plimsoll.errors import Corrupt, PlimsollError
from plimsoll.records.deployment import TrackName
from plimsoll.records.monitor import AppendPredictions, PredictionColumns
from plimsoll.serving.traffic import Tally, merge

if TYPE_CHECKING:
    # The contracts need SQLAlchemy, which a plane has no use for.
    from plimsoll.store.contracts import Do

log = logging.getLogger(__name__)

#: First bytes of each file: the format and its version.
MAGIC = b"plimsoll-journal-1\n"
#: Seconds between two batches.
PERIOD = 0.2
#: Rows of one batch, about: a request's rows stay together.
BATCH_ROWS = 500
#: Bytes that may wait for the store; beyond them rows are dropped and counted, and only the counts are kept.
CAPACITY = 256 * 2**20
#: Seconds between two tries while the store does not take a batch.
RETRY = 1.0

_FRAME = struct.Struct("<II")


class Entry(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """One request and what one track made of it. The order of the fields is the format on disk."""

    #: Registered name.
    model: str
    #: Request id.
    request_id: str
    #: Event time of each row, UTC microseconds.
    at: list[int]
    #: Unit of each row.
    unit: list[str]
    #: Which track.
    track: TrackName
    #: The release's id; empty for a fallback.
    release_id: str
    #: One number a row; NaN when there was no answer. Empty when the rows were dropped.
    output: list[float]
    #: HTTP status.
    status: int
    #: Microseconds.
    latency: int
    #: ``traceparent``.
    trace: str
    #: Input columns by name.
    inputs: dict[str, list[Any]]
    #: What it adds to the tracks' counters.
    tallies: list[Tally]
    #: Rows that were dropped before this entry.
    dropped: int = 0


class Acknowledged(msgspec.Struct, frozen=True):
    """How far the store has followed."""

    #: Number of the last file of which every batch was taken.
    file: int
    #: Sequence of its last batch.
    sequence: int


class Journal:
    """Numbered files of entries in one folder, which only one process may use.

    Args:
        folder: made when it is not there.
        capacity: bytes that may wait for the store.
    """

    def __init__(self, folder: Path, capacity: int = CAPACITY) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._capacity = capacity
        self._lock = threading.Lock()
        self.acknowledged = self._read_acknowledged()
        for number in self._numbers():
            if number <= self.acknowledged.file:
                self._path(number).unlink()
        self._number = max(self._numbers(), default=self.acknowledged.file) + 1
        self._size = sum(self._path(number).stat().st_size for number in self._numbers())
        self._file = -1
        self._end = 0
        self._held: dict[str, Entry] = {}
        #: Rows dropped since the start, all models together.
        self.dropped = 0

    def append(self, entry: Entry) -> None:
        """Keep an entry so that it outlives this process; when there is no room its rows are dropped and its counts kept.

        Args:
            entry: what to keep.
        """
        with self._lock:
            if self._size > self._capacity or not self._write(codec.to_msgpack(entry)):
                self._hold(entry)

    def seal(self) -> None:
        """Close the newest file, so that its batches can be sent; the next entry begins another."""
        with self._lock:
            for model, entry in list(self._held.items()):
                if self._size <= self._capacity and self._write(codec.to_msgpack(entry)):
                    del self._held[model]
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
                self._number += 1

    def waiting(self) -> list[int]:
        """Return the numbers of closed files, oldest first."""
        with self._lock:
            newest = self._number
        # A file that was sent and could not be removed is not sent again.
        return [number for number in self._numbers() if self.acknowledged.file < number < newest]

    def entries(self, number: int) -> list[Entry]:
        """Return a file's entries up to its end or its first broken byte.

        Args:
            number: of a closed file.
        """
        return list(read_entries(self._path(number).read_bytes()))

    def acknowledge(self, number: int, sequence: int) -> None:
        """Forget a file: first the mark on disk, then the file, so that a crash or a failure in between sends nothing twice.

        Args:
            number: of the oldest closed file.
            sequence: of its last batch.
        """
        mark = Acknowledged(number, sequence)
        path = self._folder / "acknowledged"
        _replace(path, codec.to_json(mark))
        # Not before: had the mark failed, the same rows would be sent again under sequences that the store never saw.
        self.acknowledged = mark
        for done in [known for known in self._numbers() if known <= number]:
            size = self._path(done).stat().st_size
            self._path(done).unlink()
            with self._lock:
                self._size -= size

    def _write(self, data: bytes) -> bool:
        try:
            if self._file < 0:
                self._file = os.open(self._path(self._number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                self._end = 0
                self._put(MAGIC)
            self._put(_FRAME.pack(len(data), zlib.crc32(data)) + data)
            return True
        except OSError as error:
            log.error("the journal takes no entry", extra={"action": "journal_full", "reason": str(error)})
            if self._file >= 0:
                # What was written in part would hide every entry after it.
                os.ftruncate(self._file, self._end)
                os.lseek(self._file, self._end, os.SEEK_SET)
                if not self._end:
                    os.close(self._file)
                    self._file = -1
            return False

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        self._end += len(data)
        self._size += len(data)

    def _hold(self, entry: Entry) -> None:
        held = self._held.get(entry.model)
        rows = len(entry.output)
        self.dropped += rows
        self._held[entry.model] = Entry(
            **{name: getattr(entry, name) for name in ("model", "request_id", "track", "release_id", "status", "latency")},
            at=[],
            unit=[],
            output=[],
            trace="",
            inputs={},
            tallies=merge([*(held.tallies if held else []), *entry.tallies]),
            dropped=rows + (held.dropped if held else 0),
        )

    def _read_acknowledged(self) -> Acknowledged:
        path = self._folder / "acknowledged"
        return codec.from_json(path.read_bytes(), Acknowledged, str(path)) if path.exists() else Acknowledged(0, 0)

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self._folder.glob("*.journal"))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}.journal"


def _replace(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all, and force it and its name to the disk."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # The numbers of sent files would be given again if a power cut kept their removal and lost the mark.
        os.fsync(folder)
    finally:
        os.close(folder)


def read_entries(data: bytes) -> Iterator[Entry]:
    """Yield the whole entries of a journal file; what a crash cut off at its end is left out.

    Args:
        data: the file's bytes.

    Raises:
        Corrupt: the file is of another format.
    """
    if not data.startswith(MAGIC):
        if MAGIC.startswith(data):
            return
        raise Corrupt("A journal file begins with unknown bytes.", "It was written by another version: move it out of the journal folder.")
    start = len(MAGIC)
    while start + _FRAME.size <= len(data):
        size, check = _FRAME.unpack_from(data, start)
        body = data[start + _FRAME.size : start + _FRAME.size + size]
        if len(body) < size or zlib.crc32(body) != check:
            return
        yield codec.from_msgpack(body, Entry, "A journal entry")
        start += _FRAME.size + size


def batches(entries: Sequence[Entry], plane: str, environment: str, sequence: int) -> list[AppendPredictions]:
    """Return the requests that carry ``entries`` to the store; the same arguments give the same requests.

    Args:
        entries: a file's entries.
        plane: the plane's unique name.
        environment: its environment.
        sequence: of the batch before the first of these.
    """
    by_model: dict[str, list[list[Entry]]] = {}
    rows: dict[str, int] = {}
    for entry in entries:
        groups = by_model.setdefault(entry.model, [[]])
        if rows.get(entry.model, 0) >= BATCH_ROWS:
            groups.append([])
            rows[entry.model] = 0
        groups[-1].append(entry)
        rows[entry.model] = rows.get(entry.model, 0) + len(entry.output)
    numbered = [(model, group) for model, groups in by_model.items() for group in groups]
    return [
        AppendPredictions(
            plane=plane,
            sequence=sequence + offset,
            model=model,
            environment=environment,
            rows=columns(group),
            counts=tuple(tally.record() for tally in merge([tally for entry in group for tally in entry.tallies])),
            dropped=sum(entry.dropped for entry in group),
        )
        for offset, (model, group) in enumerate(numbered, start=1)
    ]


def columns(entries: Sequence[Entry]) -> PredictionColumns:
    """Return the entries' rows as columns.

    Args:
        entries: of one model.
    """
    sized = [(entry, len(entry.output)) for entry in entries]
    names = dict.fromkeys(name for entry in entries for name in entry.inputs)
    return PredictionColumns(
        request_id=tuple(entry.request_id for entry, rows in sized for _ in range(rows)),
        row=tuple(row for _, rows in sized for row in range(rows)),
        at=tuple(at for entry in entries for at in entry.at),
        unit=tuple(unit for entry in entries for unit in entry.unit),
        track=tuple(entry.track for entry, rows in sized for _ in range(rows)),
        release_id=tuple(entry.release_id for entry, rows in sized for _ in range(rows)),
        output=tuple(value for entry in entries for value in entry.output),
        status=tuple(entry.status for entry, rows in sized for _ in range(rows)),
        latency=tuple(entry.latency for entry, rows in sized for _ in range(rows)),
        trace=tuple(entry.trace for entry, rows in sized for _ in range(rows)),
        inputs={name: tuple(v for entry, rows in sized for v in entry.inputs.get(name, [None] * rows)) for name in names},
    )


class Sender:
    """The thread that carries a journal to the store.

    Args:
        journal: what to send.
        do: the door to the server.
        plane: the plane's unique name, which stays with the journal's folder.
        environment: the plane's environment.
    """

    def __init__(self, journal: Journal, do: Do, plane: str, environment: str) -> None:
        self._journal = journal
        self._do = do
        self._plane = plane
        self._environment = environment
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin sending."""
        self._thread.start()

    def close(self, seconds: float) -> None:
        """Send what is there once more and stop; what cannot be sent in time stays in the journal for the next start.

        Args:
            seconds: to wait at most.
        """
        self._stop.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            last = self._stop.wait(PERIOD)
            self._journal.seal()
            sent = self._send()
            if last:
                return
            if not sent:
                self._stop.wait(RETRY)

    def _send(self) -> bool:
        for number in self._journal.waiting():
            try:
                sequence = self._journal.acknowledged.sequence
                for batch in batches(self._journal.entries(number), self._plane, self._environment, sequence):
                    self._do(batch)
                    sequence = batch.sequence
                self._journal.acknowledge(number, sequence)
            except Exception as error:
                # The journal keeps everything, so whatever went wrong is tried again; a refusal is loud, an outage is not.
                known = isinstance(error, PlimsollError) and error.status >= 500
                level = logging.INFO if known else logging.ERROR
                log.log(level, "not sent", exc_info=not known, extra={"action": "not_sent", "file": number, "reason": str(error)})
                return False
        return True
