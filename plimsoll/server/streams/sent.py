"""Bytes that go out, whole or in part, in bounded memory. No reader takes damaged bytes for sound ones."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO
from weakref import WeakValueDictionary

from blake3 import blake3
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from plimsoll import codec
from plimsoll.errors import Corrupt
from plimsoll.store.contracts import StreamedBlobs

#: Bytes that are read, hashed and sent at once.
_BLOCK = 1 << 20

#: Bytes that are hashed at once before a part is sent.
_SLICE = 16 * _BLOCK

#: Blobs that are known to be sound, at most.
_KNOWN = 1000

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class Sender:
    """Sends blobs.

    What is sent from its beginning to its end is hashed on its way, and its last block is kept back when it is not what its
    name says: the reader then sees a body that is too short. What is sent in part is hashed as a whole before, once while
    the file stays as it is.

    Args:
        blobs: what is sent.
    """

    def __init__(self, blobs: StreamedBlobs) -> None:
        self._blobs = blobs
        self._sound: dict[str, tuple[int, ...]] = {}
        #: Whose turn it is to hash a blob, while somebody hashes it.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def answer(self, request: HttpRequest, digest: str, headers: Mapping[str, str] | None = None) -> Response:
        """Return the response with a blob, or with the part of it that the request's ``Range`` asks for.

        Args:
            request: what was asked.
            digest: of the blob.
            headers: more headers.

        Raises:
            NotFound: there is no such blob.
            Corrupt: it is damaged, and small, or asked for in part.
        """
        file = await run_in_threadpool(self._blobs.open, digest)
        try:
            size = os.fstat(file.fileno()).st_size
            told = {"accept-ranges": "bytes", "etag": f'"{digest}"', **(headers or {})}
            part = _part(request, digest, size)
            if part is not None and part.start >= part.stop:
                file.close()
                return Response(status_code=416, headers=told | {"content-range": f"bytes */{size}"})
            if part is None and size <= _BLOCK:
                data = await run_in_threadpool(_whole, file, size, digest)
                file.close()
                return Response(data, headers=told, media_type="application/octet-stream")
            if part is not None:
                await self._verify(file, digest)
                told |= {"content-range": f"bytes {part.start}-{part.stop - 1}/{size}", "content-length": str(len(part))}
                return _Sent(file, _read(file, part), told, 206)
            return _Sent(file, self._hashed(file, size, digest), told | {"content-length": str(size)}, 200)
        except BaseException:
            file.close()
            raise

    async def check(self, digest: str) -> int:
        """Return a blob's bytes once it is known to be sound.

        Args:
            digest: of the blob.

        Raises:
            NotFound: there is no such blob.
            Corrupt: it is damaged.
        """
        with await run_in_threadpool(self._blobs.open, digest) as file:
            await self._verify(file, digest)
            return os.fstat(file.fileno()).st_size

    async def _verify(self, file: BinaryIO, digest: str) -> None:
        # Whoever waits for another one's hashing holds no thread meanwhile, and who hashes lets others have theirs between two slices:
        # many parts of one huge file must not take the threads that everything else needs.
        turn = self._turns.setdefault(digest, asyncio.Lock())
        async with turn:
            state, seen, at = _state(file), blake3(), 0
            if self._sound.get(digest) == state:
                return
            while (end := await run_in_threadpool(_slice, file, seen, at)) > at:
                at = end
            if seen.hexdigest() != digest:
                raise _damaged(digest)
            self._remember(digest, state)

    def _remember(self, digest: str, state: tuple[int, ...]) -> None:
        if len(self._sound) >= _KNOWN:
            self._sound.pop(next(iter(self._sound)), None)
        self._sound[digest] = state

    async def _hashed(self, file: BinaryIO, size: int, digest: str) -> AsyncIterator[bytes]:
        state, seen = _state(file), blake3()

        def block_at(at: int) -> bytes:
            block = os.pread(file.fileno(), _BLOCK, at)
            seen.update(block)
            if not block or (at + len(block) >= size and seen.hexdigest() != digest):
                raise _damaged(digest)
            return block

        at = 0
        while at < size:
            block = await run_in_threadpool(block_at, at)
            at += len(block)
            yield block
        self._remember(digest, state)


class _Sent(StreamingResponse):
    """A response that closes its file however it ends."""

    def __init__(self, file: BinaryIO, parts: AsyncIterator[bytes], headers: Mapping[str, str], status: int) -> None:
        super().__init__(parts, status, headers, "application/octet-stream")
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _slice(file: BinaryIO, seen: blake3, at: int) -> int:
    """Hash the next part of a file and return where that ends."""
    end = at + _SLICE
    while at < end and (block := os.pread(file.fileno(), _BLOCK, at)):
        seen.update(block)
        at += len(block)
    return at


async def _read(file: BinaryIO, part: range) -> AsyncIterator[bytes]:
    at = part.start
    while at < part.stop:
        block = await run_in_threadpool(os.pread, file.fileno(), min(_BLOCK, part.stop - at), at)
        if not block:
            raise Corrupt("A blob became shorter while it was sent.", "Run: plimsoll doctor")
        at += len(block)
        yield block


def _whole(file: BinaryIO, size: int, digest: str) -> bytes:
    data = os.pread(file.fileno(), size, 0)
    if codec.digest(data) != digest:
        raise _damaged(digest)
    return data


def _state(file: BinaryIO) -> tuple[int, ...]:
    """Return what changes when a file does; the time of its change cannot be set back."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _part(request: HttpRequest, digest: str, size: int) -> range | None:
    """Return what one range asks for, empty when there is nothing there; None for the whole, which several ranges get too."""
    match = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if match is None or not (match[1] or match[2]) or request.headers.get("if-range", f'"{digest}"') != f'"{digest}"':
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    first, last = int(match[1]), int(match[2] or size)
    return None if last < first else range(first, min(last + 1, size))


def _damaged(digest: str) -> Corrupt:
    return Corrupt(f"The blob {digest} does not hold the bytes of its name.", "Make its content again, or restore it.", digest=digest)
