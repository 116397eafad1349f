"""A replica as the plane sees it: a child process that is kept alive, fed with batches and noticed at once when it dies.

One unix socket joins the two. A frame is four bytes of length and one msgpack document. The child sends :class:`Loaded`
once, then one :class:`Outcome` for each :class:`Batch`. Whichever side dies, the other reads the end of the socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import msgspec

from plimsoll import clock, codec, errors
from plimsoll.errors import Corrupt, DeadlineExceeded, InvalidInput, Overloaded, PlimsollError, PredictionFailed, Unavailable, Unreachable
from plimsoll.records.deployment import ServingConfig
from plimsoll.records.model import PackageMeta
from plimsoll.serving.limits import Waiting, WaitingLine

log = logging.getLogger(__name__)

HEAD = struct.Struct("<I")

#: Seconds that a package may take to load before its process is given up.
LOAD_SECONDS = 120.0
#: Seconds that a batch may outlast its last deadline before the process counts as hung.
HANG_SECONDS = 2.0
#: Seconds to wait before the first restart; doubled with each one that follows, up to the last.
FIRST_RESTART, LAST_RESTART = 0.1, 10.0
#: Seconds a replica must live for its next restart to be a first one again.
STEADY_SECONDS = 30.0
#: Seconds a replica gets to end by itself.
STOP_SECONDS = 2.0

ReplicaState = Literal["loading", "ready", "failed"]


class Loaded(msgspec.Struct, array_like=True, frozen=True):
    """First word of a child: what it loaded, or why it could not."""

    #: ``package.json`` as plain values; None when loading failed.
    meta: dict[str, Any] | None
    #: The error as :func:`plimsoll.errors.to_wire` gives it; None when loading went well.
    error: dict[str, Any] | None = None


class Batch(msgspec.Struct, array_like=True, frozen=True):
    """Rows to answer."""

    #: Number of rows.
    rows: int
    #: Columns by name, each of ``rows`` values.
    columns: dict[str, list[Any]]


class Outcome(msgspec.Struct, array_like=True, frozen=True):
    """Answers to one batch."""

    #: Little-endian float64, one a row; empty when the model failed.
    values: bytes
    #: What the model raised; empty when it did not.
    error: str = ""
    #: True when the model refused the rows rather than failed on them.
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaKey:
    """What makes two tracks share a process."""

    #: Digest of the package.
    package: str
    #: How it is served.
    config: ServingConfig
    #: A person granted that the package's code may run.
    trusted: bool


class Packages(Protocol):
    """Where packages come from. Both methods may block: they are called in threads."""

    def locate(self, digest: str) -> Path:
        """Return the folder that holds the package, fetching it when it is not there."""
        ...

    def forget(self, digest: str) -> None:
        """Remove a package that turned out to be corrupt, so that it is fetched anew."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class _Ask:
    """One request's rows on their way through a replica."""

    columns: dict[str, list[Any]]
    rows: int
    answer: asyncio.Future[array[float]]


class _Lost(Exception):
    """The child is gone; the text says how that was noticed."""


class _Absent(Exception):
    """A package could not be fetched yet, which says nothing of it: a rollout is not taken back for it."""


class _Channel(asyncio.Protocol):
    """Frames over the socket; at most one answer is awaited at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._expected: asyncio.Future[bytes] | None = None
        self.ended = asyncio.Event()
        self.on_end: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Not asserted with isinstance: uvloop's transports are not subclasses of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Collect bytes until the awaited frame is whole."""
        self._buffer += data
        self._deliver()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for a frame or for work."""
        self.ended.set()
        if self._expected is not None and not self._expected.done():
            self._expected.set_exception(_Lost("its process ended"))
        self.on_end()

    def send(self, frame: bytes) -> None:
        """Write one frame."""
        assert self._transport is not None
        self._transport.write(HEAD.pack(len(frame)) + frame)

    async def receive(self, seconds: float) -> bytes:
        """Return the next frame, or raise :class:`_Lost` when none comes in time."""
        if self.ended.is_set():
            raise _Lost("its process ended")
        self._expected = asyncio.get_running_loop().create_future()
        self._deliver()
        try:
            return await asyncio.wait_for(self._expected, seconds)
        except TimeoutError:
            raise _Lost(f"it said nothing for {seconds:.1f} s") from None
        finally:
            self._expected = None

    def close(self) -> None:
        """End the conversation; the child exits when it reads the end."""
        if self._transport is not None:
            self._transport.close()

    def _deliver(self) -> None:
        if self._expected is None or self._expected.done() or len(self._buffer) < HEAD.size:
            return
        (size,) = HEAD.unpack_from(self._buffer)
        if len(self._buffer) >= HEAD.size + size:
            self._expected.set_result(bytes(self._buffer[HEAD.size : HEAD.size + size]))
            del self._buffer[: HEAD.size + size]


class Replica:
    """One child process with one loaded package, restarted with growing pauses whenever it dies.

    Args:
        key: package, configuration and trust.
        packages: where the package comes from.
        changed: called in the event loop after each change of :attr:`state`.
    """

    def __init__(self, key: ReplicaKey, packages: Packages, changed: Callable[[], None]) -> None:
        self.key = key
        #: Where the process stands.
        self.state: ReplicaState = "loading"
        #: Why it failed, in one sentence; empty unless it did.
        self.reason = ""
        #: What was loaded last; stays while the process is restarted.
        self.meta: PackageMeta | None = None
        #: Times that the process was lost after it had been ready.
        self.losses = 0
        self._packages = packages
        self._changed = changed
        self._line: WaitingLine[_Ask] = WaitingLine(key.config.queue, key.config.batch_rows)
        self._work = asyncio.Event()
        self._asked: list[_Ask] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._channel = _Channel()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._line)

    @property
    def pid(self) -> int | None:
        """The child's process id, or None while there is none."""
        return self._process.pid if self._process is not None else None

    def check(self, deadline: float) -> None:
        """Refuse early what :meth:`predict` would refuse, before the request's body is read.

        Args:
            deadline: seconds on the monotonic clock.

        Raises:
            Overloaded: the queue is full, or the wait would outlast the deadline.
            Unavailable: the process is not ready.
        """
        if self.state != "ready":
            raise self._unavailable()
        self._line.check(deadline, clock.monotonic())

    async def predict(self, columns: dict[str, list[Any]], rows: int, deadline: float) -> array[float]:
        """Return one finite float64 a row.

        Args:
            columns: the signature's inputs by name, each of ``rows`` values.
            rows: at least 1; more than ``batch_rows`` go in several batches.
            deadline: seconds on the monotonic clock.

        Raises:
            Overloaded: the queue is full, or the wait would outlast the deadline.
            Unavailable: the process is not ready, or died with this request in its hands.
            DeadlineExceeded: no answer came in time.
            PredictionFailed: the model raised, or its answer has a wrong length, a NaN or an infinity.
            InvalidInput: a column of this package's own signature is missing or does not fit.
        """
        columns = self._own(columns)
        size = self.key.config.batch_rows
        if rows <= size:
            return await self._submit(columns, rows, deadline)
        answer = array("d")
        for start in range(0, rows, size):
            part = {name: values[start : start + size] for name, values in columns.items()}
            answer += await self._submit(part, min(size, rows - start), deadline)
        return answer

    async def close(self) -> None:
        """Stop the process; requests still waiting get :class:`Unavailable`. Takes two seconds or a little more at most."""
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        self._fail_all(self._unavailable())
        await self._stop()

    def _own(self, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if self.meta is None:
            raise self._unavailable()
        names = [column.name for column in self.meta.signature.inputs]
        missing = [name for name in names if name not in columns]
        if missing:
            raise InvalidInput(f"The column {missing[0]!r} is missing.", f"Send every column: {', '.join(names)}.", columns=missing)
        return {name: columns[name] for name in names}

    async def _submit(self, columns: dict[str, list[Any]], rows: int, deadline: float) -> array[float]:
        if self.state != "ready":
            raise self._unavailable()
        loop = asyncio.get_running_loop()
        ask = _Ask(columns=columns, rows=rows, answer=loop.create_future())
        now = clock.monotonic()
        place = self._line.enter(ask, rows, deadline, now)
        self._work.set()
        timer = loop.call_later(max(0.0, deadline - now), self._expire, place)
        try:
            return await ask.answer
        finally:
            timer.cancel()
            self._line.leave(place)

    def _expire(self, place: Waiting[_Ask]) -> None:
        self._line.leave(place)
        if not place.item.answer.done():
            place.item.answer.set_exception(_late())

    async def _keep(self) -> None:
        """Start the process, feed it, and start it again, until cancelled."""
        pause = FIRST_RESTART
        while True:
            began = clock.monotonic()
            try:
                await self._start()
                self._become("ready", "")
                await self._feed()
            except Exception as error:
                # Fetching, starting and talking fail in many ways; each is a reason to report and to try again.
                self._note_loss(error)
            finally:
                await self._stop()
            if clock.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_RESTART
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RESTART)

    def _note_loss(self, error: Exception) -> None:
        was_ready = self.state == "ready"
        self.losses += was_ready
        reason = f"The replica of {self.key.package[:12]} was lost: {error}." if isinstance(error, _Lost) else str(error)
        log.warning("replica lost", extra={"action": "replica_lost", "package": self.key.package, "reason": reason})
        self._become("loading" if was_ready or isinstance(error, _Absent) else "failed", reason)
        self._fail_all(self._unavailable())

    async def _start(self) -> None:
        try:
            folder = await asyncio.to_thread(self._packages.locate, self.key.package)
        except (Unreachable, Unavailable, Overloaded) as later:
            raise _Absent(str(later)) from later
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "plimsoll.serving.replica", "--fd", str(theirs.fileno())),
                    *("--folder", str(folder), "--digest", self.key.package),
                    *(["--trusted"] if self.key.trusted else []),
                ],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=_environment(self.key.config.threads),
                # A terminal's Ctrl-C is for the plane, which ends its replicas after the last answer.
                start_new_session=True,
            )
            self._channel = _Channel()
            ours.setblocking(False)
            await asyncio.get_running_loop().create_connection(lambda: self._channel, sock=ours)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        loaded = codec.from_msgpack(await self._channel.receive(LOAD_SECONDS), Loaded, "The replica's first message")
        if loaded.error is not None:
            error = errors.from_wire(loaded.error)
            if isinstance(error, Corrupt):
                await asyncio.to_thread(self._packages.forget, self.key.package)
            raise error
        self.meta = codec.convert(loaded.meta, PackageMeta, "The package's description")

    async def _feed(self) -> None:
        """Hand over batches until the process is lost; a batch waits for nothing but the one before it."""
        self._channel.on_end = self._work.set
        while not self._channel.ended.is_set():
            batch, late = self._line.take(clock.monotonic())
            for ask in late:
                if not ask.answer.done():
                    ask.answer.set_exception(_late())
            if batch:
                await self._answer(batch)
            else:
                self._work.clear()
                if not self._channel.ended.is_set():
                    await self._work.wait()
        raise _Lost("its process ended")

    async def _answer(self, batch: list[_Ask]) -> None:
        self._asked = batch
        outcome = await self._exchange(batch)
        if outcome.error and len(batch) > 1:
            # One request's rows may have broken the others': each gets an answer of its own.
            for ask in batch:
                self._settle([ask], await self._exchange([ask]))
        else:
            self._settle(batch, outcome)
        self._asked = []

    async def _exchange(self, batch: list[_Ask]) -> Outcome:
        columns = batch[0].columns
        if len(batch) > 1:
            columns = {name: [value for ask in batch for value in ask.columns[name]] for name in columns}
        began = clock.monotonic()
        self._channel.send(codec.to_msgpack(Batch(rows=sum(ask.rows for ask in batch), columns=columns)))
        frame = await self._channel.receive(self.key.config.deadline_ms / 1000 + HANG_SECONDS)
        self._line.took(clock.monotonic() - began)
        return codec.from_msgpack(frame, Outcome, "The replica's answer")

    def _settle(self, batch: list[_Ask], outcome: Outcome) -> None:
        values = array("d")
        values.frombytes(outcome.values)
        if sys.byteorder == "big":
            values.byteswap()
        error = outcome.error
        if not error and len(values) != sum(ask.rows for ask in batch):
            error = f"it gave {len(values)} answers for {sum(ask.rows for ask in batch)} rows"
        start = 0
        for ask in batch:
            part = values[start : start + ask.rows]
            start += ask.rows
            if ask.answer.done():
                continue
            bad = "" if error else _not_finite(part)
            if outcome.refused:
                ask.answer.set_exception(InvalidInput(f"The model takes no such rows: {error}", "Send what its signature says."))
            elif error or bad:
                ask.answer.set_exception(
                    PredictionFailed(f"The model failed: {error or bad}.", "Look at the replica's log; the input may be outside its reach.")
                )
            else:
                ask.answer.set_result(part)

    def _fail_all(self, error: PlimsollError) -> None:
        lost, self._asked = self._asked, []
        while len(self._line):
            batch, late = self._line.take(clock.monotonic())
            lost = lost + batch + late
        for ask in lost:
            if not ask.answer.done():
                ask.answer.set_exception(error)

    def _become(self, state: ReplicaState, reason: str) -> None:
        self.state, self.reason = state, reason
        self._changed()

    def _unavailable(self) -> Unavailable:
        why = self.reason or "Its process is being started."
        return Unavailable(f"The model cannot answer now. {why}", "Send it again after the time in Retry-After.", retry_after=1)

    async def _stop(self) -> None:
        self._channel.close()
        process, self._process = self._process, None
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        except asyncio.CancelledError:
            process.kill()
            process.wait()
            raise


def _late() -> DeadlineExceeded:
    return DeadlineExceeded(
        "The answer did not come before the request's deadline.", "Send it again later, or raise `deadline_ms` where it is served."
    )


def _not_finite(values: array[float]) -> str:
    for row, value in enumerate(values):
        if value - value != 0:
            return f"its answer for row {row} is {value}"
    return ""


def _environment(threads: int) -> dict[str, str]:
    """The child's environment: thread pools of numeric libraries are sized when they are imported."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    return {**os.environ, **{name: str(threads) for name in names}}
