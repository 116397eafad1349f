"""What a run logs, on its way: into a file beside the run at once, to the platform in batches by a thread of its own.

``append`` is a ``write`` to a local file, so a training loop waits for no network, and ``kill -9`` loses nothing that was
logged. A batch is cut by a mark in the same file before it is sent: whoever sends it again, now or after a crash, sends the same
points under the same sequence, and the platform applies each sequence once. Tags and artifacts that an outage keeps back take a
number of their own between the batches.

A frame is ``length (u32) · crc32 (u32) · msgpack``. A file that was cut in the middle of a frame keeps every frame before it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from plimsoll import clock, codec
from plimsoll.errors import FINAL, Conflict, InvalidInput, NotFound, PlimsollError, StorageFull, Unreachable
from plimsoll.records.run import AppendPoints, FinishRun, LogArtifact, LogInput, PointColumns, SetTags
from plimsoll.runs.logger import joined
from plimsoll.store.contracts import Do

_HEAD = struct.Struct("<II")

#: Points after which a batch is sent without waiting.
_BATCH = 1_000

#: Points after which a batch takes no more, about: what an outage has gathered must not become too large to send.
_MOST = 20_000

#: Seconds after which a batch is sent however small it is.
_PAUSE = 1.0


#: Refusals of the request itself; another token does not help.
REFUSED = (NotFound, Conflict, InvalidInput)

#: Requests that a journal can keep beside points.
Kept = SetTags | LogArtifact | LogInput


class Frame(msgspec.Struct, omit_defaults=True):
    """One record of a journal."""

    #: The run and the writer's name; the first frame.
    begin: tuple[str, str] | None = None
    #: Where the platform is that knows the run; beside ``begin``.
    address: str = ""
    #: Logged points.
    points: PointColumns | None = None
    #: Number of what is to be done next: the batch of the points since the last such batch, or the request of this frame.
    cut: int | None = None
    #: Tags that the platform did not take at once; beside ``cut``, like the next two.
    tags: SetTags | None = None
    #: An artifact whose bytes are stored.
    artifact: LogArtifact | None = None
    #: A snapshot that the run read.
    input: LogInput | None = None
    #: Everything up to this number is acknowledged.
    sent: int | None = None
    #: How the run ended.
    end: FinishRun | None = None


def frames(data: bytes) -> Iterator[tuple[Frame, int]]:
    """Yield (frame, where it ends) for every whole frame from the beginning; what is cut or damaged ends it.

    Args:
        data: a journal's bytes.
    """
    at = 0
    while at + _HEAD.size <= len(data):
        length, crc = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length or zlib.crc32(body) != crc:
            return
        at += _HEAD.size + length
        yield codec.from_msgpack(body, Frame, "A frame of the journal"), at


class Journal:
    """The journal of one run; at most one process has it open.

    Args:
        path: the file; made, with its folder, when it is not there.

    Raises:
        Conflict: another process has it open.
        StorageFull: the disk has no room for it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise Conflict(f"The journal {path} is in use by a run that is under way.", "Let that run end.") from error
        self.run_id, self.writer, self.address = "", "", ""
        self.waiting: list[PointColumns] = []
        self._waiting = 0
        self.batches: dict[int, AppendPoints | Kept] = {}
        self.number = 0
        self._sequence = 0
        self.end: FinishRun | None = None
        self._recall()

    def _recall(self) -> None:
        whole = 0
        for frame, end in frames(self.path.read_bytes()):
            whole = end
            if frame.begin is not None:
                self.run_id, self.writer = frame.begin
                self.address = frame.address
            if frame.points is not None:
                self.waiting.append(frame.points)
                self._waiting += len(frame.points.names)
            if frame.cut is not None:
                self._number(frame.cut, frame.tags or frame.artifact or frame.input)
            if frame.sent is not None:
                self.batches = {number: batch for number, batch in self.batches.items() if number > frame.sent}
            self.end = frame.end or self.end
        os.ftruncate(self._file, whole)

    def _number(self, number: int, request: Kept | None) -> None:
        self.number = number
        if request is None:
            # The platform counts a writer's batches without holes, so they are counted apart from the requests.
            self._sequence += 1
            points = joined(self.waiting)
            self.batches[number] = AppendPoints(run_id=self.run_id, writer=self.writer, sequence=self._sequence, points=points)
            self.waiting, self._waiting = [], 0
        else:
            self.batches[number] = request

    def write(self, frame: Frame) -> None:
        """Add a frame; once this returns, it survives the death of the process.

        Args:
            frame: the record.

        Raises:
            StorageFull: the disk has no room; the journal is as before.
        """
        body = codec.to_msgpack(frame)
        data = _HEAD.pack(len(body), zlib.crc32(body)) + body
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, data)
        except OSError as error:
            written = -1
            cause: OSError | None = error
        else:
            cause = None
        if written != len(data):
            os.ftruncate(self._file, before)
            raise StorageFull(f"The journal {self.path} cannot grow.", "Free some space; training may go on.") from cause

    def add(self, points: PointColumns) -> None:
        """Write points; they wait for the next batch.

        Args:
            points: of one moment.

        Raises:
            StorageFull: the disk has no room; these points are not kept.
        """
        self.write(Frame(points=points))
        self.waiting.append(points)
        self._waiting += len(points.names)
        if self._waiting >= _MOST:
            # These points are kept. Without room for the mark the next ones try again.
            with contextlib.suppress(StorageFull):
                self.cut()

    def begin(self, run_id: str, address: str) -> None:
        """Write the first frame.

        Args:
            run_id: the run.
            address: where the platform is that knows it.

        Raises:
            StorageFull: the disk has no room.
        """
        self.run_id, self.writer, self.address = run_id, clock.new_id(), address
        self.write(Frame(begin=(self.run_id, self.writer), address=address))

    def cut(self, last: bool = False) -> None:
        """Make a batch of the points that wait, if any do.

        Args:
            last: nothing is logged after it, so that whoever cuts it again makes the same batch: it need not be on the disk.

        Raises:
            StorageFull: the disk has no room, and it is not the last one.
        """
        if self.waiting:
            try:
                self.write(Frame(cut=self.number + 1))
            except StorageFull:
                if not last:
                    raise
            self._number(self.number + 1, None)

    def keep(self, request: Kept) -> None:
        """Add a request, to be done after everything before it.

        Args:
            request: what to do.

        Raises:
            StorageFull: the disk has no room; it is not kept.
        """
        self.cut()
        number = self.number + 1
        match request:
            case SetTags():
                self.write(Frame(cut=number, tags=request))
            case LogArtifact():
                self.write(Frame(cut=number, artifact=request))
            case LogInput():
                self.write(Frame(cut=number, input=request))
        self._number(number, request)

    def remove(self) -> None:
        """Forget the journal: everything in it is acknowledged."""
        self.path.unlink(missing_ok=True)
        self.close()

    def set_aside(self) -> Path:
        """Keep a journal that the platform refuses for good where nobody sends it again, and return where that is."""
        kept = self.path.with_suffix(".refused")
        self.path.rename(kept)
        self.close()
        return kept

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Sender:
    """Takes points at once and sends them in batches, about one a second, from a thread of its own.

    Args:
        journal: empty, or of an earlier process.
        do: the door.
        warn: is told, once an outage, that points stay in the journal for now.
    """

    def __init__(self, journal: Journal, do: Do, warn: Callable[[str], None]) -> None:
        self.journal = journal
        self._do = do
        self._warn = warn
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._count = 0
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="plimsoll-points", daemon=True)
        self._thread.start()

    def append(self, points: PointColumns) -> None:
        """Write points to the journal and return; they are sent soon.

        Args:
            points: of one moment.

        Raises:
            StorageFull: the disk has no room; these points are not kept.
        """
        with self._lock:
            self.journal.add(points)
            self._count += len(points.names)
            full = self._count >= _BATCH
        if full:
            self._wake.set()

    def do(self, request: Kept) -> None:
        """Do a request now, or, when the platform does not take it now, leave it in the journal behind the earlier ones.

        Args:
            request: tags, an artifact or an input of the run.

        Raises:
            NotFound: what it names does not exist.
            Conflict: the run has ended.
            InvalidInput: it cannot be done.
            StorageFull: neither the platform nor the disk takes it.
        """
        with self._lock:
            behind = any(not isinstance(batch, AppendPoints) for batch in self.journal.batches.values())
        if not behind:
            try:
                self._do(request)
                return
            except REFUSED:
                raise
            except PlimsollError as error:
                self._tell(error)
        with self._lock:
            self.journal.keep(request)

    def _tell(self, error: PlimsollError) -> None:
        """Warn, once an outage."""
        if not self._warned:
            self._warned = True
            self._warn(f"{error} What the run logs stays in {self.journal.path} for now; the run goes on.")

    def finish(self, end: FinishRun, seconds: float) -> Any:
        """Send what is left, end the run, and forget the journal; return the ended run.

        Args:
            end: how the run ended.
            seconds: how long to try.

        Raises:
            PlimsollError: the platform does not take it now; the journal keeps everything, for the next run to send.
        """
        with self._lock:
            # On a full disk the end may still reach the platform; otherwise the next run finds that this one is lost.
            with contextlib.suppress(StorageFull):
                self.journal.write(Frame(end=end))
            self._stopping = True
        self._wake.set()
        self._thread.join()
        deadline = clock.monotonic() + seconds
        while True:
            try:
                run = deliver(self.journal, self._do, end, self._warn)
                self.journal.remove()
                return run
            except REFUSED:
                self.journal.set_aside()
                raise
            except PlimsollError as error:
                # Another token may be taken, but this process has none.
                if clock.monotonic() > deadline or isinstance(error, FINAL):
                    self.journal.close()
                    raise
                clock.sleep(0.2)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(_PAUSE)
            self._wake.clear()
            with contextlib.suppress(StorageFull):
                self._send()

    def _send(self) -> None:
        with self._lock:
            self._count = 0
            if not self.journal.batches:
                self.journal.cut()
        while not self._stopping:
            with self._lock:
                number = min(self.journal.batches, default=0)
            if not number:
                return
            try:
                _post(self.journal, self._do, number, self._warn)
            except FINAL as error:
                self._warn(f"{error} Points stay in {self.journal.path}.")
                self._stopping = True
                return
            except PlimsollError as error:
                self._tell(error)
                return
            self._warned = False
            with self._lock:
                self.journal.write(Frame(sent=number))
                del self.journal.batches[number]
                if not self.journal.batches and self._count >= _BATCH:
                    self._count = 0
                    self.journal.cut()


def _post(journal: Journal, do: Do, number: int, warn: Callable[[str], None]) -> None:
    batch = journal.batches[number]
    try:
        do(batch)
    except REFUSED as error:
        if isinstance(batch, AppendPoints):
            raise
        # One of them must not hold up the points behind it, which say themselves when the whole run is refused.
        warn(f"{error} The run {journal.run_id} goes on without this {type(batch).__name__}.")


def deliver(journal: Journal, do: Do, end: FinishRun | None, warn: Callable[[str], None]) -> Any:
    """Send every batch and request that a journal still has, and the end of its run; return the ended run, or None without an end.

    Args:
        journal: opened.
        do: the door.
        end: how the run ended, or None when nobody knows.
        warn: is told of a request that is refused for good.
    """
    journal.cut(last=True)
    for number in sorted(journal.batches):
        _post(journal, do, number, warn)
        # Sent again, it changes nothing: a full disk does not stop the rest.
        with contextlib.suppress(StorageFull):
            journal.write(Frame(sent=number))
        del journal.batches[number]
    return do(end) if end is not None else None


def replay(folder: Path, address: str, do: Do, warn: Callable[[str], None]) -> int:
    """Send what earlier runs left in their journals, each point once; return how many journals are done.

    A run whose process died is ended as lost. A journal that the platform refuses for good is kept beside the others under
    another name. One of another platform, or one that this actor may not send, stays as it is.

    Args:
        folder: of the journals.
        address: of the platform.
        do: the door.
        warn: is told what could not be sent.

    Raises:
        Unreachable: the platform does not answer.
    """
    done = 0
    others: set[str] = set()
    for path in sorted(folder.glob("*.journal")) if folder.is_dir() else ():
        try:
            journal = Journal(path)
        except Conflict:
            continue  # its run is under way
        try:
            if journal.address not in ("", address):
                others.add(journal.address)
                continue
            if journal.run_id:
                gone = FinishRun(id=journal.run_id, state="lost", error="Its process ended without saying how.")
                deliver(journal, do, journal.end or gone, warn)
            journal.remove()
            done += 1
        except REFUSED as error:
            warn(f"{error} Its points are kept in {journal.set_aside()}.")
        except Unreachable:
            raise
        except PlimsollError as error:
            warn(f"{error} What an earlier run logged stays in {path} until it can be sent.")
        finally:
            journal.close()
    if others:
        warn(f"Runs on {', '.join(sorted(others))} have left journals in {folder}; the next run there sends them.")
    return done
