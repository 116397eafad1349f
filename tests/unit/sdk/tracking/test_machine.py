from __future__ import annotations

import math

from plimsoll import clock
from plimsoll.sdk.tracking.machine import Looks, Watch


def burn(seconds: float) -> None:
    before = clock.cpu()
    while clock.cpu() - before < seconds:
        math.sqrt(2.0)


def test_a_look_tells_of_the_time_since_the_last_one() -> None:
    began = clock.monotonic()
    looks = Looks()
    burn(0.1)
    first = looks.look()
    took = clock.monotonic() - began
    assert set(first) >= {"system/process_cpu_percent", "system/cpu_percent", "system/process_memory_mb", "system/memory_mb"}
    assert first["system/process_cpu_percent"] >= 100 * 0.05 / took  # the system counts in hundredths of a second
    assert 0 <= first["system/cpu_percent"] <= 100
    assert 10 < first["system/process_memory_mb"] < first["system/memory_mb"] + 1e6
    # As long, with next to no work in it, whatever share of the machine this process gets.
    clock.sleep(took)
    assert looks.look()["system/process_cpu_percent"] < first["system/process_cpu_percent"]


def test_looks_are_told_until_the_watch_is_closed_and_cost_next_to_nothing() -> None:
    looks = Looks()
    before = clock.cpu()
    for _ in range(20):
        looks.look()
    assert (clock.cpu() - before) / 20 < 0.01 * 5.0
    watch = Watch(lambda values: None)
    watch.close()
    assert not watch._thread.is_alive()
