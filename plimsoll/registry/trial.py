"""A trial voyage: a package in a fresh process behind the real server, measured from outside over HTTP.

The process is started anew in an empty folder, so that nothing but the package and the installed packages can help it, and it
is ended with all its children whatever happens: also when this process is killed, because then its standard input closes.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import polars as pl

from plimsoll import clock, codec
from plimsoll.errors import Unavailable
from plimsoll.registry.package import check_package, read_answers, read_meta

#: Module that serves one unpacked package.
SERVER = "plimsoll.server.standalone"

#: Runs the module named by the first argument, and ends the process at once when its standard input closes.
_TETHERED = (
    "import os, runpy, sys, threading; "
    "threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start(); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)

#: One-row requests before the counted ones: caches and branch predictors are cold only once in a server's life.
_WARMING = 20
_BATCH_ROWS = 100
_REQUEST_SECONDS = 30.0
_LATENCY_SECONDS = 30.0
_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What a package did in a fresh process."""

    #: Seconds from the start of the process to its first answer over HTTP.
    load_seconds: float
    #: Peak resident memory of the process and its children together, MiB; None where the system does not tell.
    memory_mib: float | None
    #: Median of one-row requests, milliseconds; NaN when none was answered.
    latency_p50_ms: float
    #: 99th percentile of one-row requests, milliseconds; NaN when none was answered.
    latency_p99_ms: float
    #: One-row requests behind the two numbers above.
    requests: int
    #: Requests of any kind that failed.
    failed: int
    #: Rows whose answers were compared.
    rows: int
    #: Answers that training computed, float64 (rows,).
    expected: npt.NDArray[np.float64]
    #: Answers of the server to the same rows, float64 (rows,); NaN where it failed.
    answered: npt.NDArray[np.float64]
    #: Text of the first failure; empty when there was none.
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Serving:
    """A process that answers."""

    process: subprocess.Popen[bytes]
    address: str
    log: IO[bytes]
    started: float


class _Client:
    """Sends rows over one kept connection and counts what fails."""

    def __init__(self, address: str) -> None:
        self._host = urlsplit(address).netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=_REQUEST_SECONDS)
        self.failed = 0
        self.failure = ""

    def answers(self, body: bytes) -> list[float] | None:
        """Return one answer a row, or None when the request failed."""
        try:
            self._connection.request("POST", "/invocations", body, {"content-type": "application/json"})
            response = self._connection.getresponse()
            data = response.read()
            if response.status == 200:
                return codec.from_json(data, _Predictions, "The answer").predictions
            self._count(f"HTTP {response.status}: {data[:300].decode(errors='replace')}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._count(f"{type(error).__name__}: {error}")
            # A connection that broke off is opened anew by the next request.
            self._connection.close()
        return None

    def _count(self, failure: str) -> None:
        self.failed += 1
        self.failure = self.failure or failure

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class _Predictions:
    predictions: list[float]


def try_package(folder: Path, digest: str, *, trusted: bool, seconds: float = 120.0, requests: int = 200) -> Trial:
    """Measure a package: load time, memory, latency, and its answers to the reference rows, all over HTTP.

    Args:
        folder: the unpacked package; absolute, or relative to the working folder.
        digest: the package's digest.
        trusted: a person granted that the package's code may run.
        seconds: for the start of the process at most; half of it again for the reference rows.
        requests: one-row requests to time, at least 1; fewer are timed when they take more than 30 seconds in all.

    Raises:
        Unavailable: the process ended or did not answer in time; the message shows what it wrote last.
        Corrupt: the package has another digest, or no reference answers.
    """
    check_package(folder, digest)
    meta = read_meta(folder)
    reference = read_answers(folder, meta)
    with _served(folder.absolute(), digest, trusted, seconds) as serving:
        client = _Client(serving.address)
        try:
            first = client.answers(_body(reference.rows[:1]))
            load_seconds = clock.monotonic() - serving.started
            times = _latencies(client, reference.rows, requests) if first is not None else []
            answered = _answered(client, reference.rows, clock.monotonic() + seconds / 2)
            memory = _peak_mib(serving.process.pid)
        finally:
            client.close()
    p50, p99 = np.percentile(times, [50, 99]).tolist() if times else (float("nan"), float("nan"))
    return Trial(
        load_seconds=load_seconds,
        memory_mib=memory,
        latency_p50_ms=p50 * 1e3,
        latency_p99_ms=p99 * 1e3,
        requests=len(times),
        failed=client.failed,
        rows=reference.rows.height,
        expected=reference.answers,
        answered=answered,
        failure=client.failure,
    )


def _latencies(client: _Client, rows: pl.DataFrame, requests: int) -> list[float]:
    bodies = [_body(rows[index : index + 1]) for index in range(min(rows.height, requests))]
    until = clock.monotonic() + _LATENCY_SECONDS
    times: list[float] = []
    for count in range(_WARMING + requests):
        begun = clock.monotonic()
        if begun > until:
            break
        if client.answers(bodies[count % len(bodies)]) is not None and count >= _WARMING:
            times.append(clock.monotonic() - begun)
    return times


def _answered(client: _Client, rows: pl.DataFrame, until: float) -> npt.NDArray[np.float64]:
    answered = np.full(rows.height, np.nan)
    for start in range(0, rows.height, _BATCH_ROWS):
        if clock.monotonic() > until:
            client._count("the time for the reference rows was over")
            break
        batch = rows[start : start + _BATCH_ROWS]
        values = client.answers(_body(batch))
        if values is not None and len(values) == batch.height:
            answered[start : start + batch.height] = values
    return answered


def _body(rows: pl.DataFrame) -> bytes:
    return codec.to_json({"dataframe_split": {"columns": rows.columns, "data": rows.rows()}})


@contextlib.contextmanager
def _served(folder: Path, digest: str, trusted: bool, seconds: float) -> Iterator[_Serving]:
    command = [sys.executable, "-c", _TETHERED, SERVER, str(folder), "--digest", digest, "--port", "0"]
    command += ["--trusted"] if trusted else []
    own = str(Path(clock.__file__).absolute().parents[1])
    path = os.pathsep.join(part for part in (own, os.environ.get("PYTHONPATH", "")) if part)
    with tempfile.TemporaryDirectory(prefix="plimsoll-trial-") as empty, tempfile.TemporaryFile() as log:
        started = clock.monotonic()
        process = subprocess.Popen(
            command,
            cwd=empty,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            # Its own group, so that it can be ended together with its children.
            start_new_session=True,
        )
        try:
            yield _Serving(process, _ready(process, log, started + seconds), log, started)
        finally:
            _end(process)


def _ready(process: subprocess.Popen[bytes], log: IO[bytes], until: float) -> str:
    """Return the address in the line that the process prints when it can answer."""
    assert process.stdout is not None
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            left = until - clock.monotonic()
            ready = selector.select(left) if left > 0 else []
            part = os.read(process.stdout.fileno(), 65_536) if ready else b""
            if not part:
                what = "did not get ready in time" if not ready else "ended before it was ready"
                raise Unavailable(f"The package's process {what}. It wrote: {_tail(log)}", "Look at the model's load time and its log.")
            line += part
    return codec.from_json(line.splitlines()[-1], dict[str, Any], "The server's first line")["address"]  # type: ignore[no-any-return]


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 1_500))
    return log.read().decode(errors="replace").strip() or "nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    # The leader may be gone while a child lives on; the group's number is the leader's as long as any of them lives.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _peak_mib(pid: int) -> float | None:
    """Return the sum of the peaks of a process and all its descendants."""
    proc = Path("/proc")
    if not (proc / str(pid) / "status").exists():
        return None
    parents: dict[int, int] = {}
    peaks: dict[int, float] = {}
    for entry in proc.iterdir():
        if entry.name.isdigit():
            # A process may end while it is looked at.
            with contextlib.suppress(OSError):
                fields = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
                parents[int(entry.name)] = int(fields["PPid"])
                peaks[int(entry.name)] = int(fields.get("VmHWM", "0 kB").split()[0]) / 1024
    found, fresh = {pid}, {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return sum(peaks.get(member, 0.0) for member in found)
