"""A call on its way to a result."""

from __future__ import annotations

from dataclasses import dataclass, field

from plimsoll.pipelines.executors.hosted import StepGuest
from plimsoll.pipelines.loop.lookup import Key
from plimsoll.pipelines.loop.room import Place
from plimsoll.pipelines.plan import Node
from plimsoll.records.pipeline import WantedCall
from plimsoll.runs.step_log import StepLog


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A call that has no earlier result, on its way to one."""

    #: The call, with every choice made.
    node: Node
    #: What its key is made of.
    key: Key
    #: Why it runs; empty until that is known.
    why: str
    #: UTC microseconds.
    started: int
    #: Keys of entries that cannot be used.
    seen: tuple[str, ...] = ()
    #: Whether no other run may compute it meanwhile.
    claims: bool = True
    #: Whether this run has claimed it.
    claimed: bool = False
    #: Whether it was told that another run computes it.
    waits: bool = False
    #: What it has of the machine while it runs.
    place: Place | None = None
    #: MLflow's client in its newest try.
    guest: StepGuest | None = None
    #: What its newest try has logged.
    log: StepLog = field(default_factory=StepLog)
    #: Number of the try, from 1.
    attempt: int = 1
    #: Monotonic seconds before which it must not begin, and at which it began.
    due: float = 0.0
    began: float = 0.0

    def wanted(self) -> WantedCall:
        """Return what a claim of it asks for."""
        code = "" if self.key.code is None else self.key.code.digest
        return WantedCall(call=str(self.key.call), step=self.node.name, seen=self.seen, code=code)
