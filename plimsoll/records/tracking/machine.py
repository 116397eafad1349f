"""The machine that a run executed on."""

from __future__ import annotations

from plimsoll.frozen import dataclass

#: How the names of the series begin that tell what the machine does while a run goes on.
SYSTEM = "system/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that a run executed on. What cannot be known is empty or 0."""

    #: Its name in the network.
    host: str
    #: Operating system, its release and the processor, such as ``Linux 6.1.0 x86_64``.
    system: str
    #: Processors that the process may use.
    cpus: int = 0
    #: Bytes of memory.
    memory: int = 0
    #: Names of the graphics processors.
    gpus: tuple[str, ...] = ()
