"""Lines that benchmarks print: what was measured, what is wanted beside it, and how busy the machine was.

The clock of a busy machine says little, CPU time says more; so each line tells the load average.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Wanted(NamedTuple):
    """A bound on what is measured."""

    #: ``<=`` or ``>=``.
    sign: str
    #: In the unit of what is measured.
    bound: float

    def holds(self, value: float) -> bool:
        """Return whether a value keeps the bound.

        Args:
            value: what was measured.
        """
        return value <= self.bound if self.sign == "<=" else value >= self.bound


def most(bound: float) -> Wanted:
    """Return the bound of what should be little.

    Args:
        bound: the largest value that is good.
    """
    return Wanted("<=", bound)


def least(bound: float) -> Wanted:
    """Return the bound of what should be much.

    Args:
        bound: the smallest value that is good.
    """
    return Wanted(">=", bound)


def tell(line: Mapping[str, Any], wanted: Mapping[str, Wanted] | None = None) -> None:
    """Print a line as JSON, with what is wanted of it and the load average.

    Args:
        line: what was measured, by name.
        wanted: bounds, by the name of what they bound; None where nothing is wanted.
    """
    told = {name: round(value, 2) if isinstance(value, float) else value for name, value in line.items()}
    bounds = {name: bound for name, bound in (wanted or {}).items() if name in line}
    if bounds:
        told["wanted"] = {name: f"{bound.sign} {bound.bound:,}" for name, bound in bounds.items()}
        told["holds"] = all(bound.holds(line[name]) for name, bound in bounds.items())
    print(json.dumps(told | {"load": round(os.getloadavg()[0], 1)}), flush=True)


def times(once: Callable[[], Any], number: int, cpu: Callable[[], float] = time.process_time, name: str = "") -> dict[str, float]:
    """Return milliseconds: the median and the 95th percentile of the clock, and the mean of the CPU time.

    Args:
        once: what is measured; it is done once before.
        number: how often it is done.
        cpu: returns the CPU seconds so far of whoever does it.
        name: what the results' names begin with.
    """
    once()
    walls, before = [], cpu()
    for _ in range(number):
        begun = time.perf_counter()
        once()
        walls.append(1e3 * (time.perf_counter() - begun))
    spent = 1e3 * (cpu() - before) / number
    walls.sort()
    return {f"{name}p50_ms": statistics.median(walls), f"{name}p95_ms": walls[math.ceil(0.95 * number) - 1], f"{name}cpu_ms": spent}
