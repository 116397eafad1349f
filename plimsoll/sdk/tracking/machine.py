"""What the machine does while a run goes on, as metrics of the run: processors, memory, graphics processors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plimsoll import clock, extras
from plimsoll.errors import MissingExtra

#: Seconds between two looks.
EVERY = 5.0

_MB = 1_000_000


class Looks:
    """Reads the counters of this machine and this process; each look tells of the time since the last one.

    On other systems than Linux only the process's processor time is known.
    """

    def __init__(self) -> None:
        self._nvidia, self._gpus = _graphics()
        self._before = self._counters()

    def look(self) -> dict[str, float]:
        """Return metric -> value, for the time since the last look.

        Percentages of the machine are of all its processors; those of the process are of one, so four busy ones are 400. Memory is
        in MB (10**6 bytes).
        """
        counters, before = self._counters(), self._before
        self._before = counters
        seconds = max(counters["at"] - before["at"], 1e-6)
        found = {"system/process_cpu_percent": 100 * (counters["process"] - before["process"]) / seconds}
        ticks = counters["ticks"] - before["ticks"]
        if ticks > 0:
            found["system/cpu_percent"] = 100 * (1 - (counters["idle"] - before["idle"]) / ticks)
        if pages := _text("/proc/self/statm").split():
            found["system/process_memory_mb"] = int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / _MB
        memory = {line.split(":")[0]: line.split()[1] for line in _text("/proc/meminfo").splitlines() if ":" in line}
        if "MemTotal" in memory and "MemAvailable" in memory:
            found["system/memory_mb"] = (int(memory["MemTotal"]) - int(memory["MemAvailable"])) * 1024 / _MB
        return found | self._graphics()

    def _counters(self) -> dict[str, float]:
        times = os.times()
        found = {"at": clock.monotonic(), "process": times.user + times.system, "ticks": 0.0, "idle": 0.0}
        first = _text("/proc/stat").partition("\n")[0].split()
        if first[:1] == ["cpu"]:
            # User time has the guests' in it already: only the first eight are summed.
            ticks = [int(each) for each in first[1:9]]
            found |= {"ticks": float(sum(ticks)), "idle": float(ticks[3] + ticks[4])}
        return found

    def _graphics(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for number, handle in enumerate(self._gpus):
            try:
                found[f"system/gpu{number}_percent"] = float(self._nvidia.nvmlDeviceGetUtilizationRates(handle).gpu)
                found[f"system/gpu{number}_memory_mb"] = self._nvidia.nvmlDeviceGetMemoryInfo(handle).used / _MB
            except self._nvidia.NVMLError:
                continue
        return found


class Watch:
    """Looks at the machine every few seconds, from a thread of its own, until it is closed.

    Args:
        tell: takes metric -> value.
    """

    def __init__(self, tell: Callable[[dict[str, float]], None]) -> None:
        self._tell = tell
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="plimsoll-machine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        looks = Looks()
        while not self._ended.wait(EVERY):
            self._tell(looks.look())


def _graphics() -> tuple[Any, list[Any]]:
    """Return NVIDIA's library and its devices; nothing where either is missing."""
    if not Path("/proc/driver/nvidia").exists():
        return None, []
    try:
        nvidia = extras.require("pynvml")
    except MissingExtra:
        return None, []
    try:
        nvidia.nvmlInit()
        return nvidia, [nvidia.nvmlDeviceGetHandleByIndex(number) for number in range(nvidia.nvmlDeviceGetCount())]
    except nvidia.NVMLError:
        return None, []


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
