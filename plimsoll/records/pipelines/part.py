"""Which part of a pipeline is run, and where."""

from __future__ import annotations

from typing import Literal

from plimsoll.frozen import dataclass

#: Where steps run: each in a process of its own, in the process of the run, or on a Ray cluster.
ExecutorName = Literal["processes", "in_process", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartAsked:
    """The part of a pipeline that somebody has asked for, by names of steps; empty ones ask for the whole."""

    #: It and what it needs are run.
    until: str = ""
    #: It and all that depends on it are computed anew, with what they need of the others.
    from_: str = ""
    #: It alone is computed anew; all that it needs must be in the cache.
    only: str = ""


#: All of a pipeline.
NO_PART = PartAsked()
