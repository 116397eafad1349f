"""Bytes that come in, of any length: stored while they come, in bounded memory, and seen when they are whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool

from plimsoll.store.contracts import StreamedBlobs

#: Bytes that are hashed and written at once.
_BLOCK = 1 << 20


async def take(blobs: StreamedBlobs, stream: AsyncIterator[bytes], digest: str | None = None) -> tuple[str, int]:
    """Store bytes as they come, and return their digest and number. A stream that is cut leaves nothing.

    Args:
        blobs: where to.
        stream: the bytes.
        digest: what they must be; None takes any.

    Raises:
        Damaged: they are something else; nothing is kept.
        StorageFull: the disk has no room; nothing is kept.
    """
    coming = await run_in_threadpool(blobs.incoming)
    try:
        parts, waiting = [], 0
        async for part in stream:
            parts.append(part)
            waiting += len(part)
            if waiting >= _BLOCK:
                await run_in_threadpool(coming.write, b"".join(parts))
                parts, waiting = [], 0
        await run_in_threadpool(coming.write, b"".join(parts))
        return await run_in_threadpool(coming.keep, digest)
    finally:
        coming.drop()
