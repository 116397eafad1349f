"""What code inside a run logs to: the object that ``plimsoll.current_run()`` gives.

The current run is a context variable, set by whoever executes the code (a step's process, ``with plimsoll.run()``), so
threads and nested runs do not mix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from itertools import chain
from typing import Any, Protocol

from plimsoll import clock
from plimsoll.records.pipeline import Output
from plimsoll.records.request import Request
from plimsoll.records.run import LogArtifact, LogInput, PointColumns, SetTags


class RunLogger(Protocol):
    """A run that can be logged to."""

    @property
    def id(self) -> str:
        """The run's id; empty when nothing is recorded."""
        ...

    def log(self, values: Mapping[str, float] | None = None, /, *, step: int | None = None, **more: float) -> None:
        """Log metric points. Without ``step`` each metric counts on from its last one, beginning at 0."""
        ...

    def tag(self, **tags: str) -> None:
        """Add or replace tags."""
        ...

    def log_artifact(self, name: str, value: Any) -> None:
        """Keep a value, or the file or folder of a path, under a name."""
        ...

    def log_input(self, name: str, digest: str) -> None:
        """Record that the run read a registered snapshot in the role ``name``."""
        ...


#: The run of the code that executes in this context, or None outside of any run.
current: ContextVar[RunLogger | None] = ContextVar("plimsoll_current_run", default=None)


def current_run() -> RunLogger:
    """Return the run that this code executes in; outside of any run, one that keeps nothing.

    A step that logs therefore stays a plain function: a test calls it without a run, and its points go nowhere.
    """
    return current.get() or Unrecorded()


class Unrecorded:
    """Takes what a run would take, checks it in the same way, and keeps nothing."""

    @property
    def id(self) -> str:
        """Empty: there is no run."""
        return ""

    def log(self, values: Mapping[str, float] | None = None, /, *, step: int | None = None, **more: float) -> None:
        """Check points and forget them.

        Args:
            values: metric -> value.
            step: position on the metric's axis.
            more: the same as ``values``, as keywords.

        Raises:
            InvalidInput: a name is not valid, or a step does not fit 64 bits.
        """
        points({**(values or {}), **more}, lambda name: 0 if step is None else step)

    def tag(self, **tags: str) -> None:
        """Forget tags.

        Args:
            tags: tags by name.
        """

    def log_artifact(self, name: str, value: Any) -> None:
        """Forget a value.

        Args:
            name: name within the run.
            value: a value or a path.
        """

    def log_input(self, name: str, digest: str) -> None:
        """Forget an input.

        Args:
            name: role of the data.
            digest: the snapshot's digest.
        """


class StepLogger:
    """Logs from inside a step: everything is handed to ``send`` at once, and whoever executes the step does the requests.

    Args:
        id: the run's id.
        send: takes points, or a request to be done.
        keep: stores a value, or a path's content, and says where; None when it cannot for now, which it has told.
    """

    def __init__(self, id: str, send: Callable[[PointColumns | Request[Any]], None], keep: Callable[[Any], Output | None]) -> None:
        self._id = id
        self._send = send
        self._keep = keep
        self._next: dict[str, int] = {}

    @property
    def id(self) -> str:
        """The run's id."""
        return self._id

    def log(self, values: Mapping[str, float] | None = None, /, *, step: int | None = None, **more: float) -> None:
        """Log metric points. Without ``step`` each metric counts on from its last one, beginning at 0.

        Args:
            values: metric -> value.
            step: position on the metric's axis.
            more: the same as ``values``, as keywords.

        Raises:
            InvalidInput: a name is not valid, or a step does not fit 64 bits.
        """
        columns = points({**(values or {}), **more}, lambda name: self._next.get(name, 0) if step is None else step)
        self._next.update({name: at + 1 for name, at in zip(columns.names, columns.steps, strict=True)})
        self._send(columns)

    def tag(self, **tags: str) -> None:
        """Add or replace tags.

        Args:
            tags: tags by name.
        """
        self._send(SetTags(id=self._id, tags=tags))

    def log_artifact(self, name: str, value: Any) -> None:
        """Keep a value, or the file or folder of a path, under a name.

        Args:
            name: name within the run.
            value: what a step could return, or a path.

        Raises:
            InvalidInput: the name is not valid.
            Unfingerprintable: the value cannot be stored.
        """
        output = self._keep(value)
        if output is not None:
            self._send(LogArtifact(run_id=self._id, name=name, kind=output.kind, digest=output.digest, size=output.size))

    def log_input(self, name: str, digest: str) -> None:
        """Record that the run read a registered snapshot.

        Args:
            name: role of the data.
            digest: the snapshot's digest.
        """
        self._send(LogInput(run_id=self._id, name=name, digest=digest))


def points(values: Mapping[str, float], step: Callable[[str], int]) -> PointColumns:
    """Return points of this moment as columns.

    Args:
        values: metric -> value; whatever ``float`` takes.
        step: gives the step of a metric.

    Raises:
        InvalidInput: a name is not valid, or a step does not fit 64 bits.
    """
    names = tuple(values)
    return PointColumns(
        names=names,
        steps=tuple(step(name) for name in names),
        times=(clock.now(),) * len(names),
        values=tuple(float(values[name]) for name in names),
    )


def joined(parts: list[PointColumns]) -> PointColumns:
    """Return the points of all parts, in order.

    Args:
        parts: at least one.
    """
    return PointColumns(
        names=tuple(chain.from_iterable(part.names for part in parts)),
        steps=tuple(chain.from_iterable(part.steps for part in parts)),
        times=tuple(chain.from_iterable(part.times for part in parts)),
        values=tuple(chain.from_iterable(part.values for part in parts)),
    )
