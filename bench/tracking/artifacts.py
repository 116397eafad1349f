"""Large files up and down, four at once, through both doors: ``python -m bench tracking-artifacts``.

Each line tells the most memory that the server's process had of its own while the files went through it (resident, without the
system's page cache), what a GiB cost it in CPU time, and how fast the bytes went on this machine's disk. The files have 2 GiB
where 20 GB are free, and less elsewhere, which the line tells. ``--peers`` sends the same to MLflow's server.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

from blake3 import blake3

from bench.tracking.lines import most, tell
from bench.tracking.live import Server, cpu_of, mlflow, server
from plimsoll.records.run import StartRun
from plimsoll.sdk.door import open_door

#: Files that go at once.
AT_ONCE = 4

_BLOCK = 1 << 20


def main(peers: bool) -> None:
    """Measure and print one JSON line a door and direction.

    Args:
        peers: measure MLflow's server too.
    """
    free = shutil.disk_usage(tempfile.gettempdir()).free
    size = (2 << 30) if free >= 20 * 10**9 else max(1 << 26, free // 12 // _BLOCK * _BLOCK)
    with server() as ours:
        _measure("plimsoll, own client", ours, size, _send_own, _fetch_own)
    with server() as ours:
        door = open_door(ours.url, ours.token)
        run = door.do(StartRun(experiment="artifacts"))
        door.close()
        _through("plimsoll, MLflow's paths", ours, size, f"{run.experiment_id}/{run.id}/artifacts")
    if peers:
        with mlflow() as (theirs, _):
            _through("mlflow", theirs, size, "0/bench/artifacts")


def _through(subject: str, ready: Server, size: int, folder: str) -> None:
    _measure(subject, ready, size, partial(_send_wire, folder), partial(_fetch_wire, folder))


def _blocks(number: int, size: int) -> Iterator[bytes]:
    block = random.Random(number).randbytes(_BLOCK - 8)
    for index in range(size // _BLOCK):
        yield index.to_bytes(8, "big") + block


def _send_own(ready: Server, size: int, number: int) -> float:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder, "file")
        with path.open("wb") as file:
            file.writelines(_blocks(number, size))
            file.flush()
            os.fsync(file.fileno())
        door = open_door(ready.url, ready.token)
        began = time.monotonic()
        door.blobs.put_file(path)
        return time.monotonic() - began


def _fetch_own(ready: Server, size: int, number: int) -> float:
    seen = blake3()
    for block in _blocks(number, size):
        seen.update(block)
    door = open_door(ready.url, ready.token)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        began = time.monotonic()
        door.blobs.get_file(seen.hexdigest(), Path(folder, "file"))
        took = time.monotonic() - began
        assert Path(folder, "file").stat().st_size == size
        return took


def _ask(ready: Server, method: str, folder: str, number: int) -> http.client.HTTPConnection:
    wire = http.client.HTTPConnection(urlsplit(ready.url).netloc, timeout=600)
    wire.putrequest(method, f"/api/2.0/mlflow-artifacts/artifacts/{folder}/file-{number}")
    if ready.token:
        wire.putheader("authorization", f"Bearer {ready.token}")
    return wire


def _send_wire(folder: str, ready: Server, size: int, number: int) -> float:
    began = time.monotonic()
    wire = _ask(ready, "PUT", folder, number)
    wire.putheader("content-length", str(size))
    wire.endheaders()
    for block in _blocks(number, size):
        wire.send(block)
    answer = wire.getresponse()
    assert answer.status == 200, answer.read()
    return time.monotonic() - began


def _fetch_wire(folder: str, ready: Server, size: int, number: int) -> float:
    began = time.monotonic()
    wire = _ask(ready, "GET", folder, number)
    wire.endheaders()
    answer = wire.getresponse()
    assert answer.status == 200, answer.read()
    for block in _blocks(number, size):
        assert answer.read(_BLOCK) == block
    assert answer.read() == b""
    return time.monotonic() - began


Moving = Callable[[Server, int, int], float]


def _measure(subject: str, ready: Server, size: int, send: Moving, fetch: Moving) -> None:
    for direction, move in (("up", send), ("down", fetch)):
        cpu = cpu_of(ready.pid)
        with _watched(ready.pid) as seen, ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
            took = max(pool.map(partial(move, ready, size), range(AT_ONCE)))
        gib = AT_ONCE * size / 2**30
        line = {
            "subject": f"{subject}, {direction}",
            "files": f"{AT_ONCE} x {size / 2**30:g} GiB",
            "server_mb_before": round(seen[0] / 2**20),
            "server_mb_most": round(max(seen) / 2**20),
            "server_cpu_s_per_gib": round((cpu_of(ready.pid) - cpu) / gib, 2),
            "mib_per_s": round(gib * 1024 / took),
        }
        tell(line, {"server_mb_most": most(200)} if subject.startswith("plimsoll") else None)


@contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """Yield the resident bytes of a process, looked at twenty times a second."""
    seen, stop = [_resident(pid)], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            seen.append(_resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
