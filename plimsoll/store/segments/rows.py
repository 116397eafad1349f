"""Append-only columns in named streams: small chunks that wait in the database, then one Parquet blob.

A chunk is msgpack in its row. Sealing writes the blob first and then, in one transaction, puts one row that names it in the
place of the chunks: a reader sees the one or the other. Killed in between, the blob is garbage and the chunks are still there.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select

from plimsoll import clock, codec
from plimsoll.errors import Corrupt, InvalidInput, PlimsollError
from plimsoll.records.request import check_name
from plimsoll.store import schema
from plimsoll.store.contracts import Blobs, Database, chunks
from plimsoll.store.segments import frames, writers

#: Rows that one blob takes at most, so that sealing needs bounded memory; the rest waits for the next one.
SEALED_AT_ONCE = 500_000


class _Chunk(msgspec.Struct, array_like=True):
    times: list[int]
    columns: dict[str, list[Any]]


class SqlSegments:
    """Streams in the table ``segments``.

    Args:
        blobs: where sealed rows go.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def append(
        self, tx: Connection, stream: str, writer: str, sequence: int, columns: Mapping[str, Sequence[Any]], times: Sequence[int]
    ) -> int:
        """Append rows and return how many were added; 0 when this writer's sequence was applied before.

        A writer may skip sequences: what it dropped it counts itself.

        Args:
            tx: an open writing transaction.
            stream: name of the stream.
            writer: id of who sends, its own for each process.
            sequence: number of the batch, from 1, growing.
            columns: name -> one value a row: None, bool, int, float, text, bytes, or lists and dicts of them.
            times: event times, one a row, UTC microseconds.

        Raises:
            InvalidInput: the columns differ in length, one is called ``at``, or a value is of another kind.
        """
        check_name("Stream", stream)
        if sequence < 1:
            raise InvalidInput(f"The sequence {sequence} is below 1.", "Number the batches of a writer from 1.")
        data = _pack(columns, times)
        last = writers.last_sequence(tx, stream, writer)
        if sequence <= last:
            return 0
        if times:
            self._insert(tx, stream, len(times), min(times), max(times), data=data)
        writers.advance(tx, stream, writer, last, sequence)
        return len(times)

    def scan(self, tx: Connection, stream: str, start: int, end: int) -> Any:
        """Return a polars frame of the rows whose time ``at`` lies in [start, end), in order of ``at``.

        Columns a row never had are null. Lists, dicts and columns of mixed kinds come back as JSON text.

        Args:
            tx: an open transaction.
            stream: name of the stream; an unknown one has no rows.
            start: UTC microseconds.
            end: UTC microseconds.

        Raises:
            Corrupt: a chunk or a blob does not hold what its row says.
        """
        table = schema.segments
        query = select(table).where(table.c.stream == stream, table.c.start < end, table.c.end >= start).order_by(table.c.id)
        return frames.together((self._frame(row) for row in tx.execute(query)), start, end)

    def last_sequence(self, tx: Connection, stream: str, writer: str) -> int:
        """Return the last sequence applied of a writer, 0 when it never wrote.

        Args:
            tx: an open transaction.
            stream: name of the stream.
            writer: the writer's id.
        """
        return writers.last_sequence(tx, stream, writer)

    def waiting(self, tx: Connection) -> dict[str, int]:
        """Return stream -> rows that are not yet in a Parquet blob.

        Args:
            tx: an open transaction.
        """
        table = schema.segments
        query = select(table.c.stream, func.sum(table.c.rows)).where(table.c.digest.is_(None)).group_by(table.c.stream)
        return {stream: int(rows) for stream, rows in tx.execute(query)}

    def seal(self, database: Database, stream: str) -> int:
        """Move a stream's waiting rows into one Parquet blob and return how many; readers see each row exactly once throughout.

        One blob takes at most :data:`SEALED_AT_ONCE` rows, or a single larger chunk. Of two processes that seal the same rows
        one does it and the other returns 0.

        Args:
            database: where transactions are opened: the blob is written between them.
            stream: name of the stream.

        Raises:
            StorageFull: the disk has no room; the rows wait on.
        """
        with database.read() as tx:
            waiting = list(self._waiting(tx, stream))
        if not waiting:
            return 0
        frame = frames.together(self._frame(row) for row in waiting)
        digest = self._blobs.put(frames.to_parquet(frame))
        table = schema.segments
        ids = [row.id for row in waiting]
        with database.write() as tx:
            left = sum(tx.execute(select(func.count()).where(table.c.id.in_(some))).scalar_one() for some in chunks(ids, 500))
            if left != len(ids):
                # Another process sealed them meanwhile; what this one wrote is garbage, or the very same blob.
                return 0
            for some in chunks(ids, 500):
                tx.execute(delete(table).where(table.c.id.in_(some)))
            start, end = min(row.start for row in waiting), max(row.end for row in waiting)
            self._insert(tx, stream, frame.height, start, end, digest=digest)
        return int(frame.height)

    def _insert(
        self, tx: Connection, stream: str, rows: int, start: int, end: int, data: bytes | None = None, digest: str | None = None
    ) -> None:
        row = {"id": clock.new_id(), "stream": stream, "rows": rows, "start": start, "end": end, "data": data, "digest": digest}
        tx.execute(insert(schema.segments).values(row))

    def _waiting(self, tx: Connection, stream: str) -> Iterator[Row[Any]]:
        table = schema.segments
        query = select(table).where(table.c.stream == stream, table.c.digest.is_(None)).order_by(table.c.id)
        rows = 0
        result = tx.execute(query.execution_options(yield_per=100))
        for row in result:
            rows += row.rows
            if rows > SEALED_AT_ONCE and rows > row.rows:
                break
            yield row
        result.close()

    def _frame(self, row: Row[Any]) -> Any:
        if row.digest is not None:
            frame = frames.from_parquet(self._blobs.get(row.digest))
        else:
            chunk = _unpack(row.data, row.id)
            frame = frames.from_columns(dict(chunk.columns), chunk.times)
        if frame.height != row.rows:
            raise Corrupt(f"The segment {row.id!r} holds {frame.height} rows instead of {row.rows}.", "Restore it from a backup.")
        return frame


def _pack(columns: Mapping[str, Sequence[Any]], times: Sequence[int]) -> bytes:
    for name, values in columns.items():
        if name == "at":
            raise InvalidInput("A column is called 'at'.", "Give it another name: 'at' is the row's time.")
        if len(values) != len(times):
            raise InvalidInput(f"The column {name!r} has {len(values)} values for {len(times)} rows.", "Send one value a row, or None.")
    try:
        packed = codec.to_msgpack(_Chunk([int(time) for time in times], {name: list(values) for name, values in columns.items()}))
    except (TypeError, OverflowError, msgspec.EncodeError) as error:
        remedy = "Log None, bools, 64-bit integers, floats, text, bytes, or lists and dicts of them."
        raise InvalidInput(f"A value cannot be logged: {error}.", remedy) from error
    return zlib.compress(packed, 1)


def _unpack(data: bytes, id: str) -> _Chunk:
    try:
        return codec.from_msgpack(zlib.decompress(data), _Chunk)
    except (zlib.error, PlimsollError) as error:
        raise Corrupt(f"The waiting segment {id!r} is damaged.", "Restore the database from a backup.") from error
