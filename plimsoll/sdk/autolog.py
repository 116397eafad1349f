"""MLflow's client in the process of a run around code: what it logs goes into that run, by the run's own journal."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from plimsoll.errors import Unavailable, Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import LogArtifact, PointColumns, Run, SetTags
from plimsoll.records.tracking.change import LogBatch
from plimsoll.runs.guests.guest import Guest
from plimsoll.runs.guests.loopback import ADDRESS, NOBODY_COMES_IN, Loopback, elsewhere, is_installed, is_ours
from plimsoll.runs.guests.surroundings import Surroundings
from plimsoll.sdk.door import Door
from plimsoll.store.contracts import Blobs

#: Seconds for which a question waits until what was logged before is on the platform.
_PATIENCE = 5.0

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Tracked(Protocol):
    """As much of a run around code as is needed here."""

    @property
    def record(self) -> Run:
        """The run."""
        ...

    @property
    def id(self) -> str:
        """Its id."""
        ...

    def set_params(self, values: dict[str, Any]) -> None:
        """Add parameters."""
        ...

    def take(self, what: PointColumns | Request[Any]) -> None:
        """Take points, or a request for the journal."""
        ...

    def lose(self, kind: str, count: int, fact: str) -> None:
        """Count what cannot be kept."""
        ...

    def settle(self, seconds: float) -> None:
        """Return when what was logged is on the platform, or after so many seconds."""
        ...


class Autolog:
    """Lets MLflow's client in, for as long as a run is under way.

    Args:
        run: the run.
        door: the platform.
        blobs: where the run's bytes are until the platform has them.
    """

    def __init__(self, run: Tracked, door: Door, blobs: Blobs) -> None:
        self._run, self._door = run, door
        self._elsewhere = elsewhere(door.address) if is_installed() else ""
        self._loopback: Loopback | None = None
        self._around: Surroundings | None = None
        if self._elsewhere is None and not _has_begun():
            self._loopback = Loopback(_Both(blobs, door.blobs))
            guest = Guest(self._record, self._ask, self._write, self._loopback.blobs, lambda: run.settle(_PATIENCE))
            try:
                self._around = Surroundings(self._loopback.admit(guest))
            except OSError as error:
                print(f"plimsoll: {NOBODY_COMES_IN} ({error}).", file=sys.stderr, flush=True)
                return
            self._around.__enter__()

    def close(self) -> None:
        """End what the client left open, and let it in no more."""
        if self._around is not None:
            self._around.__exit__(None, None, None)
        if self._loopback is not None:
            self._loopback.close()
        if self._elsewhere and "mlflow" in sys.modules:
            said = f"so what MLflow logged went there and not into the run {self._run.id}. Unset it to have it here."
            print(f"plimsoll: MLFLOW_TRACKING_URI names {self._elsewhere}, {said}", file=sys.stderr, flush=True)

    def _record(self) -> Run:
        return self._run.record

    def _write(self, request: Request[Any]) -> None:
        match request:
            case LogBatch():
                if request.params:
                    self._run.set_params(dict(request.params))
                if request.points is not None:
                    self._run.take(request.points)
                if request.tags:
                    self._run.take(SetTags(id=request.run_id, tags=request.tags))
            case SetTags() | LogArtifact():
                self._run.take(request)
            case _:
                self._run.settle(_PATIENCE)
                try:
                    self._door.do(request)
                except (Unreachable, Unavailable) as error:
                    self._run.lose("things that MLflow told", 1, error.fact)

    def _ask(self, request: Request[Any]) -> Any:
        blobs = self._loopback.blobs if self._loopback is not None else None
        if isinstance(blobs, _Both):
            blobs.bring(str(getattr(request, "digest", "")))
        return self._door.do(request)


def _has_begun() -> bool:
    """Return whether the user's own code has begun a run of MLflow's, which goes on where it began."""
    active = getattr(sys.modules.get("mlflow"), "active_run", None)
    return active is not None and not is_ours(os.environ.get(ADDRESS, "")) and active() is not None


class _Both:
    """Bytes that wait beside a run's journal, and behind them those of the platform.

    Args:
        near: where new bytes go.
        far: the platform's.
    """

    def __init__(self, near: Blobs, far: Blobs) -> None:
        self._near, self._far = near, far
        self.put: Callable[[bytes], str] = near.put
        self.put_all: Callable[[Iterable[bytes]], tuple[str, ...]] = near.put_all
        self.put_file: Callable[[Path], tuple[str, int]] = near.put_file
        self.delete: Callable[[str], None] = near.delete
        self.collect: Callable[[str, float], int] = near.collect

    def _of(self, digest: str) -> Blobs:
        return self._near if self._near.has(digest) else self._far

    def has(self, digest: str) -> bool:
        """Return whether the bytes are in either place.

        Args:
            digest: 64 hex digits.
        """
        return self._of(digest).has(digest)

    def size(self, digest: str) -> int:
        """Return the number of bytes.

        Args:
            digest: 64 hex digits.
        """
        return self._of(digest).size(digest)

    def get(self, digest: str) -> bytes:
        """Return the bytes, verified.

        Args:
            digest: 64 hex digits.
        """
        return self._of(digest).get(digest)

    def get_file(self, digest: str, path: Path) -> None:
        """Write the verified bytes to a file.

        Args:
            digest: 64 hex digits.
            path: where to.
        """
        self._of(digest).get_file(digest, path)

    def bring(self, digest: str) -> None:
        """Bring bytes to the platform that a request names.

        Args:
            digest: 64 hex digits, or anything else, which names none.
        """
        if self._near is self._far or not _DIGEST.fullmatch(digest) or not self._near.has(digest) or self._far.has(digest):
            return
        with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
            path = Path(folder) / digest
            self._near.get_file(digest, path)
            self._far.put_file(path)
