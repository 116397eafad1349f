"""Servers of their own processes, for the benchmarks of tracking."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from plimsoll.workspace import open_workspace

#: What a peer's environment gets.
MLFLOW = "mlflow==3.17.2"


class Server(NamedTuple):
    """A server that answers."""

    url: str
    token: str
    pid: int


@contextmanager
def server(home: Path | None = None) -> Iterator[Server]:
    """Yield a server.

    Args:
        home: what it serves; None takes an empty one of its own.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = home or Path(folder) / "home"
        workspace = open_workspace(home, None, owner="bench")
        token = workspace.token("owner")
        workspace.close()
        command = [sys.executable, "-m", "plimsoll.cli.app", "up", "--port", "0", "--serving-port", "0", "--home", str(home)]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            assert process.stdout is not None
            select.select([process.stdout], [], [], 60)
            yield Server(process.stdout.readline().decode().strip(), token, process.pid)
        finally:
            _end(process)


@contextmanager
def mlflow(fill: Callable[[Path, str], None] | None = None) -> Iterator[tuple[Server, str]]:
    """Yield MLflow's server on SQLite, and the Python of an environment that has its client; both are installed for the benchmark.

    Args:
        fill: puts something into ``mlflow.db`` in a folder before the server begins; its arguments are that folder and the Python.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        venv.create(Path(folder) / "environment", with_pip=True)
        python = str(Path(folder) / "environment" / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", MLFLOW], check=True)
        if fill is not None:
            fill(Path(folder), python)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        words = ["server", "--backend-store-uri", "sqlite:///mlflow.db", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([python, "-m", "mlflow", *words], cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 120
            while not _answers(f"{url}/health"):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise SystemExit(f"MLflow's server did not start:\n{Path(folder, 'log').read_text()[-3000:]}")
                time.sleep(0.2)
            yield Server(url, "", process.pid), python
        finally:
            _end(process)


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status == 200)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGCONT, signal.SIGTERM):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    if process.stdout is not None:
        process.stdout.close()


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a process has used.

    Args:
        pid: its id.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_group(leader: int) -> float:
    """Return the CPU seconds of a server with all processes that it has started; one that idles beside it adds next to nothing.

    Args:
        leader: the server's id, which began a session of its own.
    """
    total = 0.0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == leader:
                total += cpu_of(int(process.name))
        except OSError:
            continue
    return total
