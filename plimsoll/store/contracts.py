"""What the floors above may ask of the stores, in words first.

*Metadata* is small and transactional. A verb's function gets one open transaction (``context.tx``) and sees its own
writes; when it returns the transaction is committed together with its audit line, when it raises nothing of it stays.
Writers wait for each other (30 s) on every dialect, so what a verb read is still so when it writes; readers never wait.
(``BEGIN IMMEDIATE`` on SQLite, one advisory lock on PostgreSQL.)

*Bytes* are content-addressed and written before the row that names them: a crash leaves garbage, never a lie.

*Points*, *segments*, *events* and *queue* write through the caller's transaction, so what they tell is there exactly when
the change they tell of is.

Every backend passes the suites in :mod:`plimsoll.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TypeVar

from plimsoll.records.access import Actor, Event, Job, Verification
from plimsoll.records.request import Json, Request
from plimsoll.records.run import PointColumns, Series, SeriesSummary
from plimsoll.records.tracking.find import LastPoint

if TYPE_CHECKING:
    # Whoever needs the bytes alone, as a step's process does, does not load the library of databases.
    from sqlalchemy import Connection

R = TypeVar("R")


class Database(Protocol):
    """Opens transactions on the metadata."""

    #: ``sqlite`` or ``postgresql``.
    dialect: str

    def read(self) -> AbstractContextManager[Connection]:
        """Return a transaction that sees one state of the database and writes nothing."""
        ...

    def write(self, durable: bool = True) -> AbstractContextManager[Connection]:
        """Return a writing transaction: committed at the end of the block, undone when it raises.

        One that is not ``durable`` does not wait for the disk: killed processes lose nothing of it, a power cut may.

        Raises:
            StorageFull: the disk has no room; nothing was written.
        """
        ...

    def version(self) -> int | None:
        """Return a number that is another one after each commit, whoever makes it; None where the database does not tell.

        It is for one thread that would look again only after a change.
        """
        ...

    def copy_to(self, path: Path) -> None:
        """Write one state of the whole database to a new file, while others write on.

        Raises:
            Unavailable: it cannot be done here; the fact says why.
            StorageFull: there is no room for the file.
        """
        ...

    def close(self) -> None:
        """Give back all connections."""
        ...


class Blobs(Protocol):
    """Bytes by their BLAKE3 digest."""

    def put(self, data: bytes) -> str:
        """Store ``data`` and return its digest; storing the same bytes again writes nothing.

        Raises:
            StorageFull: the disk has no room; nothing is visible.
        """
        ...

    def put_all(self, parts: Iterable[bytes]) -> tuple[str, ...]:
        """Store several small blobs and return their digests.

        Raises:
            StorageFull: the disk has no room; some of them may be stored.
        """
        ...

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file's content, in bounded memory, and return its digest and size in bytes."""
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes, verified against the digest.

        Raises:
            NotFound: there is no such blob.
            Corrupt: the stored bytes have another digest.
        """
        ...

    def get_file(self, digest: str, path: Path) -> None:
        """Write the verified bytes to ``path``, which appears whole or not at all; parent folders are made."""
        ...

    def has(self, digest: str) -> bool:
        """Return whether the blob is stored, without reading it; one that is asked for is as young as one that is stored now."""
        ...

    def size(self, digest: str) -> int:
        """Return the blob's bytes.

        Raises:
            NotFound: there is no such blob.
        """
        ...

    def delete(self, digest: str) -> None:
        """Remove the blob; one that is not there is no error."""
        ...

    def collect(self, digest: str, age: float) -> int:
        """Remove the blob unless somebody has stored or asked for it within ``age`` seconds; return the bytes that it had.

        0 when it stays or is not there. Whoever stores the same bytes meanwhile finds them stored afterwards.
        """
        ...


class Incoming(Protocol):
    """A blob that is written part by part. Nobody sees it until it is kept; one that is never kept leaves nothing."""

    def write(self, data: bytes) -> None:
        """Add the next part.

        Raises:
            StorageFull: the disk has no room.
        """
        ...

    def keep(self, digest: str | None = None) -> tuple[str, int]:
        """Make it a blob, and return its digest and bytes.

        Raises:
            Damaged: it is not the digest that it must be; nothing is kept.
            StorageFull: the disk has no room; nothing is kept.
        """
        ...

    def drop(self) -> None:
        """Give up what was not kept; after it was kept this does nothing."""
        ...


class StoredBlob(NamedTuple):
    """A blob as it lies in its home."""

    #: 64 hex digits.
    digest: str
    #: Bytes.
    size: int
    #: When it was last stored or asked for, UTC microseconds.
    used: int


class StreamedBlobs(Blobs, Protocol):
    """Bytes that are read and written part by part."""

    def open(self, digest: str) -> BinaryIO:
        """Return the stored bytes as a file to read at any place, not verified: the reader compares. They stay until it is closed.

        Raises:
            NotFound: there is no such blob.
        """
        ...

    def incoming(self) -> Incoming:
        """Return a blob that is written part by part.

        Raises:
            StorageFull: the disk has no room.
        """
        ...


class HomeBlobs(StreamedBlobs, Protocol):
    """Bytes that lie here, so that all of them can be looked at."""

    def stored(self) -> Iterator[StoredBlob]:
        """Yield every blob; what comes or goes meanwhile may be among them or not."""
        ...

    def blocks(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes in blocks as they are stored, not verified.

        Raises:
            NotFound: there is no such blob.
        """
        ...

    def kept(self) -> AbstractContextManager[None]:
        """Let nothing be collected, by any process, until the block ends."""
        ...


class Points(Protocol):
    """Metric histories: append-only, huge, in chunks of packed columns, with one summary row a series."""

    def append(self, tx: Connection, run_id: str, writer: str, sequence: int, points: PointColumns) -> int:
        """Append points and return how many were added; 0 when this writer's sequence was applied before.

        Raises:
            Conflict: the sequence leaves a gap (an earlier batch is missing).
        """
        ...

    def settle(self, tx: Connection, run_id: str, last: PointColumns | None = None) -> None:
        """Add the last points of a run, and store its histories as small as can be, since no more are expected.

        What is read stays the same. The last points belong to no writer: to settle again with them adds them again.
        """
        ...

    def last_sequence(self, tx: Connection, run_id: str, writer: str) -> int:
        """Return the last sequence applied of a writer, 0 when it never wrote."""
        ...

    def read(
        self,
        tx: Connection,
        run_id: str,
        name: str,
        width: int | None = None,
        steps: tuple[int, int] | None = None,
        positions: tuple[int, int] | None = None,
    ) -> Series:
        """Return a history in order of (step, arrival); with a width, first, min, max and last of each of so many columns.

        ``steps``: first and last step of the range that is read. ``positions``: how many of its points to pass over, and how many
        to return at most; not beside a width.

        Raises:
            NotFound: the run has no such metric.
        """
        ...

    def summaries(self, tx: Connection, run_ids: Sequence[str], names: Sequence[str] | None = None) -> dict[str, tuple[SeriesSummary, ...]]:
        """Return one summary a series for each run, by name, of the metrics named; runs without them are left out."""
        ...

    def last_points(self, tx: Connection, run_ids: Sequence[str]) -> dict[str, list[LastPoint]]:
        """Return the last point of each series for each run, by name, as its summary has it; runs without metrics are left out."""
        ...


class Queue(Protocol):
    """Requests that wait for a worker. At least once: a verb that is queued must bear being done twice."""

    def put(self, tx: Connection, request: Request[Any], actor: str, due: int = 0, key: str | None = None) -> Job:
        """Add a request; with a ``key`` that a waiting or working job has, return that job instead. ``due``: UTC microseconds."""
        ...

    def claim(self, tx: Connection, worker: str, lease: float, verbs: Sequence[str] | None = None) -> Job | None:
        """Return the oldest due job that nobody works on, now leased to ``worker`` for ``lease`` seconds; None when there is none.

        With ``verbs`` only jobs of these verbs are looked at.
        """
        ...

    def due(self, tx: Connection, verbs: Sequence[str] | None = None) -> bool:
        """Return whether :meth:`claim` with the same ``verbs`` would find a job now; a reading transaction is enough."""
        ...

    def beat(self, tx: Connection, id: str, worker: str, lease: float, progress: str | None) -> bool:
        """Renew a lease and, unless None, say how far the work is; False when the job was given to another worker."""
        ...

    def finish(self, tx: Connection, id: str, worker: str, result: Json, error: Json) -> bool:
        """End a job; False (and nothing changes) when it was given to another worker."""
        ...

    def get(self, tx: Connection, id: str) -> Job:
        """Return a job.

        Raises:
            NotFound: there is no such job.
        """
        ...

    def list(self, tx: Connection, state: str | None, limit: int) -> tuple[Job, ...]:
        """Return jobs, newest first."""
        ...


class Events(Protocol):
    """The audit log: one hash chain over everything that changed."""

    def append(self, tx: Connection, actor: str, verb: str, subject: str, payload: Json) -> Event:
        """Add a line in the transaction of what it tells."""
        ...

    def list(self, tx: Connection, subject: str | None, before: int | None, limit: int) -> tuple[Event, ...]:
        """Return lines, newest first."""
        ...

    def verify(self, tx: Connection) -> Verification:
        """Recompute the chain."""
        ...


class Segments(Protocol):
    """Append-only columns in named streams, ordered by event time only on reading."""

    def append(
        self, tx: Connection, stream: str, writer: str, sequence: int, columns: Mapping[str, Sequence[Any]], times: Sequence[int]
    ) -> int:
        """Append rows and return how many were added; 0 when this writer's sequence was applied before. ``times``: UTC microseconds.

        A writer may skip sequences: what it dropped it counts itself.
        """
        ...

    def scan(self, tx: Connection, stream: str, start: int, end: int) -> Any:
        """Return a polars frame of the rows whose time ``at`` lies in [start, end), by ``at``; columns a row never had are null.

        Lists, dicts and columns of mixed kinds come back as JSON text.
        """
        ...

    def last_sequence(self, tx: Connection, stream: str, writer: str) -> int:
        """Return the last sequence applied of a writer, 0 when it never wrote."""
        ...

    def waiting(self, tx: Connection) -> dict[str, int]:
        """Return stream -> rows that are not yet in a Parquet blob."""
        ...

    def seal(self, database: Database, stream: str) -> int:
        """Move a stream's waiting rows into one Parquet blob and return how many; readers see each row exactly once throughout."""
        ...


class Secrets(Protocol):
    """What must be said again and is no row: files that only the home's owner can read."""

    def keep(self, name: str, value: str) -> None:
        """Store a secret in the place of what had its name."""
        ...

    def say(self, name: str) -> str | None:
        """Return a secret; None when it is not here."""
        ...

    def forget(self, name: str) -> None:
        """Remove a secret, if it is there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Everything durable, opened once by the composition root."""

    #: Metadata.
    database: Database
    #: Bytes.
    blobs: HomeBlobs
    #: Metric histories.
    points: Points
    #: Waiting requests.
    queue: Queue
    #: The audit log.
    events: Events
    #: Logged rows.
    segments: Segments
    #: Secrets of others.
    secrets: Secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a verb's function gets beside its request."""

    #: Who asks.
    actor: Actor
    #: The open transaction: reading for a reading verb, writing for a changing one.
    tx: Connection
    #: Everything durable.
    stores: Stores


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """What the function of a worker's verb gets: no transaction, since it takes minutes; it changes things by doing verbs."""

    #: For whom the worker acts.
    actor: Actor
    #: Everything durable; for reading, and for blobs.
    stores: Stores
    #: Folder of the project whose code may be run: the one that holds ``pyproject.toml``.
    project: Path
    #: The home folder.
    home: Path
    #: Does another verb as the same actor.
    do: Do
    #: Says how far the work is, in one line; also keeps the lease.
    progress: Callable[[str], None]


class Do(Protocol):
    """A door: does a request and returns its result."""

    def __call__(self, request: Request[R], /) -> R:
        """Return the verb's result, or raise the verb's error."""
        ...


def chunks(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    """Yield ``items`` in runs of at most ``size``, for statements with a bounded number of parameters.

    Args:
        items: any sequence.
        size: at least 1.
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]
