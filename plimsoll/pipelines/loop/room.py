"""How much of a machine the running steps may take, and who has it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from plimsoll.errors import InvalidInput
from plimsoll.pipelines.step import Step

_CGROUP = Path("/sys/fs/cgroup/memory.max")

#: Digits of a processor that count: sums of parts must come out even.
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Place:
    """What one step has while it runs."""

    #: Processors.
    cpu: float
    #: Bytes.
    memory: int
    #: Name of a graphics processor -> how much of it.
    gpus: dict[str, float]


class Room:
    """What the steps of one executor may take together; several runs may share it, from any thread.

    Args:
        cpu: processors.
        memory: bytes.
        gpus: names of graphics processors, as ``CUDA_VISIBLE_DEVICES`` has them; None when somebody else hands them out.
    """

    def __init__(self, cpu: float, memory: float, gpus: tuple[str, ...] | None) -> None:
        self._whole = cpu, memory, gpus
        self._cpu, self._memory = cpu, memory
        self._gpus = None if gpus is None else dict.fromkeys(gpus, 1.0)
        self._turn = threading.Lock()

    def check(self, steps: Iterable[Step]) -> None:
        """Refuse steps that ask for more than there is.

        Args:
            steps: what is to be run.

        Raises:
            InvalidInput: one of them could never begin.
        """
        for step in steps:
            self._check(step)

    def _check(self, step: Step) -> None:
        cpu, memory, gpus = self._whole
        options = step.options
        if (options.cpu or 1.0) > max(cpu, 1.0):
            raise InvalidInput(f"The step {step.name} asks for {options.cpu:g} processors; there are {cpu:g}.", "Lower @step(cpu=…).")
        if (options.memory or 0) > memory:
            fact = f"The step {step.name} asks for {(options.memory or 0) / 1e9:.1f} GB of memory; there are {memory / 1e9:.1f}."
            raise InvalidInput(fact, "Lower @step(memory=…), or run it on a bigger machine.")
        if gpus is not None and options.gpu > len(gpus):
            fact = f"The step {step.name} asks for {options.gpu:g} graphics processors; there are {len(gpus)}."
            raise InvalidInput(fact, "Lower @step(gpu=…), or run it where there are more: see nvidia-smi and CUDA_VISIBLE_DEVICES.")

    def take(self, step: Step) -> Place | None:
        """Return a place for a step, or None while there is none.

        Args:
            step: one that :meth:`check` has let pass.
        """
        options = step.options
        with self._turn:
            cpu, memory = min(options.cpu or 1.0, self._whole[0]), options.memory or 0
            gpus = self._free(options.gpu)
            if cpu > self._cpu or memory > self._memory or gpus is None:
                return None
            self._move(Place(cpu, memory, gpus), -1)
            return Place(cpu, memory, gpus)

    def give(self, place: Place) -> None:
        """Take a place back.

        Args:
            place: what :meth:`take` gave.
        """
        with self._turn:
            self._move(place, +1)

    def _move(self, place: Place, sign: int) -> None:
        self._cpu = round(self._cpu + sign * place.cpu, _DIGITS)
        self._memory += sign * place.memory
        for name, part in place.gpus.items():
            assert self._gpus is not None
            self._gpus[name] = round(self._gpus[name] + sign * part, _DIGITS)

    def _free(self, wanted: float) -> dict[str, float] | None:
        if not wanted or self._gpus is None:
            return {}
        if wanted < 1:
            # The fullest that has room, so that whole ones stay free.
            shared = sorted((free, name) for name, free in self._gpus.items() if free >= wanted)
            return {shared[0][1]: wanted} if shared else None
        whole = [name for name, free in self._gpus.items() if free == 1]
        return dict.fromkeys(whole[: int(wanted)], 1.0) if len(whole) >= wanted else None


def one_at_a_time() -> Room:
    """Return the room of a thread that runs one step after another, and can keep none of their limits."""
    return Room(1.0, float("inf"), None)


def elsewhere() -> Room:
    """Return the room of an executor that has its own way to make steps wait."""
    return Room(float("inf"), float("inf"), None)


def this_machine(at_once: int | None = None) -> Room:
    """Return the room of this machine: the processors and the memory that this process may use, and the graphics processors.

    Args:
        at_once: processors; None takes all.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Room(float(at_once or processors), float(_memory()), _graphics())


def _memory() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(_CGROUP.read_text()))
    except (OSError, ValueError):  # no limit, or none that is told
        return physical


def _graphics() -> tuple[str, ...]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name for name in (part.strip() for part in visible.split(",")) if name and name != "-1")
    found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*"))
    return tuple(sorted((match[1] for match in found if match), key=int))
