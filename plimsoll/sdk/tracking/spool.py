"""Bytes of a run that wait beside its journal until the platform has them, so that nobody waits for an upload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plimsoll import clock
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Corrupt, NotFound
from plimsoll.records.request import Request
from plimsoll.records.run import LogArtifact, StartRun
from plimsoll.sdk.door import Door
from plimsoll.store.blobs import LocalBlobs
from plimsoll.store.contracts import Blobs

#: Seconds without a part that went out after which an upload is no progress any more.
_STALL = 5.0


class Spool:
    """A door that brings the bytes which a request names before it asks.

    Bytes are written here first and are dropped when the request that names them is acknowledged. Killed in between, they are
    brought again, which changes nothing.

    Args:
        folder: of the bytes; made when it is not there.
        door: the platform.
    """

    def __init__(self, folder: Path, door: Door) -> None:
        self.blobs = LocalBlobs(folder)
        self._door = door
        #: Where bytes went last.
        self._there: Blobs | None = None

    def moving(self) -> bool:
        """Return whether bytes are on their way: some have gone out within the last seconds."""
        return clock.monotonic() - getattr(self._there, "moved", float("-inf")) < _STALL

    def do(self, request: Request[Any], /) -> Any:
        """Bring the bytes, do the request, and drop the bytes.

        Args:
            request: of a run.

        Raises:
            NotFound: the bytes of an artifact are not what was written here.
            PlimsollError: the platform does not take the bytes or the request.
        """
        digests = self._named(request)
        for digest in digests:
            path = self.blobs.folder / digest[:2] / digest
            # What is not here was brought with an earlier request; the platform says if it misses it.
            if path.is_file():
                self._there = self._door.blobs
                found, _ = self._there.put_file(path)
                # Of a run's beginning the run itself counts, with a list of packages or without.
                if found != digest and isinstance(request, LogArtifact):
                    raise _damaged(request)
        answer = self._door.do(request)
        for digest in digests:
            self.blobs.delete(digest)
        return answer

    def _named(self, request: Request[Any]) -> list[str]:
        """Return the digests that a request names, a manifest after its files."""
        if isinstance(request, StartRun):
            return [digest for digest in (request.environment, request.code.dirty_diff) if digest]
        if not isinstance(request, LogArtifact) or not self.blobs.has(request.digest):
            return []
        try:
            manifest = get_manifest(self.blobs, request.digest)
        except Corrupt as error:
            raise _damaged(request) from error
        return [*(entry.digest for entry in manifest.files), request.digest]


def _damaged(request: LogArtifact) -> NotFound:
    return NotFound(f"The bytes of {request.name!r} that waited to be sent are damaged.", "Log it again.")
