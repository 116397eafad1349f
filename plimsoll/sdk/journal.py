"""The file beside a run in which what it logs waits until the platform has taken it.

Points become a batch by a mark in the file before they are sent: whoever sends them again, now or after a crash, sends the same
points under the same sequence, and the platform applies each sequence once. The run's beginning, its params, tags and artifacts
take numbers of their own between the batches, and everything is done in the order of its numbers. What waits lies in the file
alone, so an outage of days takes no memory; once nothing waits, a file that has grown is cut back to its beginning.

A frame is ``length (u32) · crc32 (u32) · msgpack``. Of a file that was cut or damaged, every frame before that place counts; the
rest is put beside it, and the bad frame is named.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from plimsoll import clock, codec
from plimsoll.errors import Conflict, Corrupt, Denied, StorageFull
from plimsoll.records.run import AppendPoints, FinishRun, LogArtifact, LogInput, PointColumns, ResumeRun, SetTags, StartRun
from plimsoll.records.tracking.change import LogBatch
from plimsoll.runs.step_log import joined

_HEAD = struct.Struct("<II")

#: Points after which a batch takes no more, about: what an outage has gathered must not become too large to send.
_MOST = 20_000

#: Bytes after which a file in which nothing waits is cut back.
_LONG = 4 << 20

#: Suffix of a file that becomes a journal.
BEGUN = ".begun"

#: Requests that a journal can keep beside points.
Kept = StartRun | ResumeRun | SetTags | LogArtifact | LogInput | LogBatch


class Frame(msgspec.Struct, omit_defaults=True):
    """One record of a journal."""

    #: The run and the writer's name; the first frame.
    begin: tuple[str, str] | None = None
    #: Where the platform is that knows the run; beside ``begin``, like the next one.
    address: str = ""
    #: Another process has begun the run and ends it.
    forked: bool = False
    #: Last number and last sequence that were given before the file was cut back.
    base: tuple[int, int] | None = None
    #: Logged points.
    points: PointColumns | None = None
    #: Number of what is to be done next: the batch of the points since the last such batch, or the request of this frame.
    cut: int | None = None
    #: How the run begins; beside ``cut``, like the next five.
    start: StartRun | None = None
    #: How a run that is known goes on.
    resume: ResumeRun | None = None
    #: Tags.
    tags: SetTags | None = None
    #: Parameters.
    params: LogBatch | None = None
    #: An artifact whose bytes are stored.
    artifact: LogArtifact | None = None
    #: A snapshot that the run read.
    input: LogInput | None = None
    #: The platform knows the run under this id: one with the same key was there.
    known: str = ""
    #: Everything up to this number is acknowledged.
    sent: int | None = None
    #: How the run ended.
    end: FinishRun | None = None


class Batch(NamedTuple):
    """Points of the file that are sent together."""

    #: Number among the writer's batches, from 1 without gaps.
    sequence: int
    #: Where the frames that hold them begin, in bytes.
    first: int
    #: Where they end.
    end: int
    #: How many points there are.
    size: int


def frames(data: bytes | mmap.mmap) -> Iterator[tuple[Frame, int]]:
    """Yield (frame, where it ends) for every whole frame from the beginning; what is cut or damaged ends it.

    Args:
        data: a journal's bytes.
    """
    at = 0
    while at + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        # Zeros, which a power cut may leave at the end of a file, are the checksum of nothing.
        if not length or len(body) < length or zlib.crc32(body) != crc:
            return
        at += _HEAD.size + length
        yield codec.from_msgpack(body, Frame, "A frame of the journal"), at


def _renamed(batch: AppendPoints | Kept, id: str) -> AppendPoints | Kept:
    match batch:
        case AppendPoints() | LogArtifact() | LogInput() | LogBatch():
            return batch if batch.run_id == id else replace(batch, run_id=id)
        case SetTags():
            return batch if batch.id == id else replace(batch, id=id)
    return batch


def _packed(frame: Frame) -> bytes:
    body = codec.to_msgpack(frame)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


class Journal:
    """The journal of one run; at most one process has it open. Its methods may be called from any thread.

    Args:
        path: the file; made, with its folder, when it is not there.

    Raises:
        Conflict: another process has it open.
        StorageFull: the disk has no room for it.
        Denied: this user may not write it.
        InvalidInput: another version of Plimsoll wrote it; it stays as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Held by whoever does several things that belong together.
        self.lock = threading.RLock()
        self.run_id, self.writer, self.address = "", "", ""
        #: Whether another process has begun the run and ends it.
        self.forked = False
        #: What is not acknowledged, by number. A batch that the disk had no room for is here itself.
        self.batches: dict[int, Batch | AppendPoints | Kept] = {}
        self.number = 0
        #: Points that are in no batch yet.
        self.waiting = 0
        self.end: FinishRun | None = None
        #: What was found damaged when it was opened, in a sentence; empty otherwise.
        self.damage = ""
        self._sequence = 0
        self._size = self._begun = self._first = 0
        #: Marks that the disk had no room for: they stand before whatever is written next.
        self._owed = b""
        self._torn = False
        self._file = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Nobody may find a new one before it is locked: whoever sends journals would take it for one that was left.
            place = path if path.exists() else path.with_suffix(BEGUN)
            self._file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if place != path:
                place.rename(path)
        except BlockingIOError as error:
            self.close()
            raise Conflict(f"The journal {path} is in use by a run that is under way.", "Let that run end.") from error
        except OSError as error:
            self.close()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full(error) from error
            raise Denied(f"The journal {path} cannot be written: {error.strerror}.", "Give yourself write access to its folder.") from error
        try:
            self._recall()
        except BaseException:
            self.close()
            raise

    def _full(self, error: OSError) -> StorageFull:
        return StorageFull(f"The journal {self.path} cannot grow: {error.strerror}.", "Free some space; training may go on.")

    def _recall(self) -> None:
        size = os.fstat(self._file).st_size
        if not size:
            return
        count = 0
        with mmap.mmap(self._file, size, access=mmap.ACCESS_READ) as data:
            for frame, end in frames(data):
                self._remember(frame, end)
                self._size = end
                count += 1
            if self._size < size:
                self._put_aside(count + 1, data[self._size :])

    def _remember(self, frame: Frame, end: int) -> None:
        if frame.begin is not None:
            self.run_id, self.writer = frame.begin
            self.address, self.forked, self._begun = frame.address, frame.forked, end
        if frame.base is not None:
            self.number, self._sequence = frame.base
        if frame.points is not None:
            self._wait(len(frame.points.names), self._size)
        if frame.cut is not None:
            kept = frame.start or frame.resume or frame.tags or frame.artifact or frame.input or frame.params
            self._number(kept or self._batch(end))
        self.run_id = frame.known or self.run_id
        if frame.sent is not None:
            self.batches = {number: batch for number, batch in self.batches.items() if number > frame.sent}
        self.end = frame.end or self.end

    def _put_aside(self, number: int, rest: bytes) -> None:
        kept = self.path.with_suffix(".damaged")
        try:
            with kept.open("ab") as file:
                file.write(rest)
            os.ftruncate(self._file, self._size)
        except OSError as error:
            raise self._full(error) from error
        self.damage = (
            f"Record {number} of the journal {self.path}, at byte {self._size}, is damaged or was cut off. "
            f"The records before it are kept; the {len(rest)} bytes from there on are in {kept}."
        )

    def _wait(self, count: int, first: int) -> None:
        self._first = self._first if self.waiting else first
        self.waiting += count

    def _batch(self, end: int) -> Batch:
        # The platform counts a writer's batches without holes, so they are counted apart from the requests.
        self._sequence += 1
        batch = Batch(self._sequence, self._first if self.waiting else end, end, self.waiting)
        self.waiting = 0
        return batch

    def _number(self, what: Batch | AppendPoints | Kept) -> None:
        self.number += 1
        self.batches[self.number] = what

    def begin(self, run_id: str, address: str, forked: bool = False) -> None:
        """Write the first frame.

        Args:
            run_id: the run.
            address: where the platform is that knows it.
            forked: whether another process has begun the run and ends it.

        Raises:
            StorageFull: the disk has no room.
        """
        self.run_id, self.writer, self.address, self.forked = run_id, clock.new_id(), address, forked
        self.write(Frame(begin=(self.run_id, self.writer), address=address, forked=forked))
        self._begun = self._size

    def write(self, frame: Frame) -> None:
        """Add a frame; once this returns, it survives the death of the process.

        Args:
            frame: the record.

        Raises:
            StorageFull: the disk has no room; the journal is as before.
        """
        self._write(_packed(frame))

    def _write(self, data: bytes) -> None:
        with self.lock:
            data = self._owed + data
            try:
                if self._torn:
                    os.ftruncate(self._file, self._size)
                self._torn = True
                if os.write(self._file, data) != len(data):
                    raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._size)
                    self._torn = False
                raise self._full(error) from error
            self._torn, self._owed = False, b""
            self._size += len(data)

    def _mark(self, frame: Frame) -> None:
        """Add a frame, on a full disk with the next one: killed before that, the journal means the same without it."""
        with self.lock:
            self._owed += _packed(frame)
            with contextlib.suppress(StorageFull):
                self._write(b"")

    def add(self, points: PointColumns) -> None:
        """Write points; they wait for the next batch.

        Args:
            points: any number.

        Raises:
            StorageFull: the disk has no room; these points are not kept.
        """
        with self.lock:
            first = self._size
            self.write(Frame(points=points))
            self._wait(len(points.names), first)
            if self.waiting >= _MOST:
                self.cut()

    def cut(self, rest: PointColumns | None = None) -> None:
        """Make a batch of the points that wait, if any do.

        Args:
            rest: points that the disk has no room for, to be sent behind the others; nothing is logged after them.
        """
        with self.lock:
            if not self.waiting and rest is None:
                return
            batch = self._batch(self._size)
            self._mark(Frame(cut=self.number + 1))
            self._number(batch if rest is None else self._points(batch, rest))

    def keep(self, request: Kept) -> bool:
        """Add a request, to be done after everything before it, and return whether it survives the death of the process.

        On a full disk it is held in memory, and written with what comes next.

        Args:
            request: what to do.
        """
        with self.lock:
            self.cut()
            number = self.number + 1
            match request:
                case StartRun():
                    self._mark(Frame(cut=number, start=request))
                case ResumeRun():
                    self._mark(Frame(cut=number, resume=request))
                case SetTags():
                    self._mark(Frame(cut=number, tags=request))
                case LogArtifact():
                    self._mark(Frame(cut=number, artifact=request))
                case LogInput():
                    self._mark(Frame(cut=number, input=request))
                case LogBatch():
                    self._mark(Frame(cut=number, params=request))
            self._number(request)
            return not self._owed

    def adopt(self, id: str) -> None:
        """Go on with the run that the platform knows under another id than this journal was begun with.

        Args:
            id: the run's id.
        """
        with self.lock:
            if id != self.run_id:
                self.run_id = id
                self._mark(Frame(known=id))

    @property
    def left(self) -> tuple[int, int]:
        """How many points, about, and how many requests are not acknowledged; the end is no request."""
        with self.lock:
            requests = sum(isinstance(batch, Kept) for batch in self.batches.values())
            return self.waiting + sum(batch.size for batch in self.batches.values() if isinstance(batch, Batch)), requests

    def request(self, number: int) -> AppendPoints | Kept:
        """Return what is to be done.

        Args:
            number: one that is not acknowledged.

        Raises:
            Corrupt: the file has changed since.
        """
        with self.lock:
            batch = self.batches[number]
            return self._points(batch) if isinstance(batch, Batch) else _renamed(batch, self.run_id)

    def _points(self, batch: Batch, *more: PointColumns) -> AppendPoints:
        data = b""
        while len(data) < batch.end - batch.first and (
            part := os.pread(self._file, batch.end - batch.first - len(data), batch.first + len(data))
        ):
            data += part
        whole, parts = 0, []
        for frame, end in frames(data):
            whole = end
            if frame.points is not None:
                parts.append(frame.points)
        if whole < batch.end - batch.first:
            raise Corrupt(f"The journal {self.path} is damaged at byte {batch.first + whole}.", "Look at the machine's disk.")
        return AppendPoints(run_id=self.run_id, writer=self.writer, sequence=batch.sequence, points=joined([*parts, *more]))

    def acknowledge(self, number: int) -> None:
        """Note that the platform has taken everything up to a number.

        Args:
            number: one that is not acknowledged, the lowest.
        """
        with self.lock:
            del self.batches[number]
            self._mark(Frame(sent=number))
            if not self.batches and not self.waiting and (self._size > _LONG or self._owed):
                os.ftruncate(self._file, self._begun)
                self._size, self._owed = self._begun, _packed(Frame(base=(self.number, self._sequence), known=self.run_id))

    def sync(self) -> None:
        """Return once everything that was written survives a power cut."""
        os.fsync(self._file)

    def touch(self) -> None:
        """Leave the time on the file: whoever finds it knows how long its process lived."""
        with self.lock:
            if self._file >= 0:
                os.utime(self._file)

    @property
    def bytes(self) -> Path:
        """Folder of the bytes that go with the journal's requests, where they do not go to the platform at once."""
        return self.path.with_suffix(".blobs")

    def remove(self) -> None:
        """Forget the journal: everything in it is acknowledged."""
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self.bytes, ignore_errors=True)
        self.close()

    def set_aside(self) -> Path:
        """Keep a journal that the platform refuses for good where nobody sends it again, and return where that is."""
        kept = self.path.with_suffix(".refused")
        self.path.rename(kept)
        self.close()
        return kept

    def close(self) -> None:
        """Let go of the file."""
        with self.lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
