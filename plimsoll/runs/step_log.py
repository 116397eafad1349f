"""What a step logged while it ran, kept beside its result, so that a run that finds the result has its log as well.

It is stored as one blob: points and requests for params, tags, artifacts and inputs, in the order in which the step logged them. The
bytes of an artifact are blobs of their own.
"""

from __future__ import annotations

import struct
import threading
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from plimsoll import codec
from plimsoll.errors import Corrupt, InvalidInput
from plimsoll.records.request import Request
from plimsoll.records.run import LogArtifact, LogInput, PointColumns, SetTags
from plimsoll.records.tracking.change import LogBatch, LogDatasets
from plimsoll.records.tracking.logged_model import LinkModels
from plimsoll.store.points.chunks import FULL, block, pack, unpack

#: What a step may ask to be done for its run.
LOGGED: Mapping[str, type[Request[Any]]] = {
    cls.__name__: cls for cls in (SetTags, LogArtifact, LogInput, LogBatch, LogDatasets, LinkModels)
}

#: Rises whenever logs of an earlier release cannot be read.
_FORM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A request, or some points."""

    #: Name of the request's verb; empty for points.
    verb: str = ""
    #: The request.
    request: dict[str, Any] = field(default_factory=dict)
    #: How many points.
    count: int = 0
    #: Position of each point's name, as deflated little-endian 32-bit words.
    names: bytes = b""
    #: Steps, times and values, as :func:`plimsoll.store.points.chunks.pack` makes them.
    points: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A log as it is stored."""

    #: How it is written.
    form: int
    #: Names of the series.
    names: tuple[str, ...]
    #: In order.
    parts: tuple[_Part, ...]


class StepLog:
    """Gathers what one try of a step logs, from any thread; it takes some ten bytes a point."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all of it: the try was lost and is made again."""
        with self._turn:
            self._names: dict[str, int] = {}
            self._parts: list[_Part] = []
            self._begin()

    def _begin(self) -> None:
        self._which, self._steps, self._times, self._values = array("I"), array("q"), array("q"), array("d")

    def take(self, logged: PointColumns | Request[Any]) -> None:
        """Add what the step has just logged.

        Args:
            logged: points, or a request to be done.
        """
        with self._turn:
            if not isinstance(logged, PointColumns):
                self._cut()
                self._parts.append(_Part(verb=type(logged).__name__, request=codec.plain(logged)))
                return
            for name, step, time, value in zip(logged.names, logged.steps, logged.times, logged.values, strict=True):
                self._which.append(self._names.setdefault(name, len(self._names)))
                self._steps.append(step)
                self._times.append(time)
                self._values.append(value)
                if len(self._which) == FULL:
                    self._cut()

    def _cut(self) -> None:
        count = len(self._which)
        if count:
            names = zlib.compress(struct.pack(f"<{count}I", *self._which), 1)
            self._parts.append(_Part(count=count, names=names, points=pack(block(self._steps, self._times, self._values))))
            self._begin()

    def packed(self) -> bytes:
        """Return what was gathered, as :func:`read_log` reads it; empty when nothing was logged."""
        with self._turn:
            self._cut()
            if not self._parts:
                return b""
            return codec.to_msgpack(_Stored(form=_FORM, names=tuple(self._names), parts=tuple(self._parts)))


@dataclass(frozen=True, slots=True)
class Logged:
    """What a step has logged."""

    #: In order: points, up to 8,192 together, and requests for params, tags, artifacts and inputs of the run that the step was part of.
    parts: tuple[PointColumns | Request[Any], ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """Digests of the artifacts' manifests."""
        return tuple(dict.fromkeys(part.digest for part in self.parts if isinstance(part, LogArtifact)))

    def of(self, run_id: str) -> Iterator[PointColumns | Request[Any]]:
        """Yield all of it in order, as another run's.

        Args:
            run_id: that run.
        """
        part: Any
        for part in self.parts:
            yield part if isinstance(part, PointColumns) else replace(part, **{"id" if isinstance(part, SetTags) else "run_id": run_id})


#: The log of a step that logs nothing.
NOTHING = Logged()


def read_log(data: bytes) -> Logged:
    """Return a stored log.

    Args:
        data: as :meth:`StepLog.packed` made it.

    Raises:
        Corrupt: the bytes are no log, or one of another release.
    """
    if not data:
        return NOTHING
    try:
        stored = codec.from_msgpack(data, _Stored, "The log of a step")
        if stored.form != _FORM:
            raise Corrupt(f"The log of a step is written in the form {stored.form}; this Plimsoll reads {_FORM}.", "Run the step again.")
        return Logged(tuple(_read(part, stored.names) for part in stored.parts))
    except (InvalidInput, KeyError, IndexError, ValueError, zlib.error, struct.error) as error:
        raise Corrupt(f"The log of a step cannot be read: {error}", "Run the step again.") from error


def _read(part: _Part, names: tuple[str, ...]) -> PointColumns | Request[Any]:
    if part.verb:
        return codec.convert(part.request, LOGGED[part.verb], "What a step logged")
    points = unpack(part.points, part.count, "The log of a step")
    which = struct.unpack(f"<{part.count}I", zlib.decompress(part.names))
    return PointColumns(
        names=tuple(names[at] for at in which),
        steps=struct.unpack(f"<{part.count}q", points.steps),
        times=struct.unpack(f"<{part.count}q", points.times),
        values=struct.unpack(f"<{part.count}d", points.values),
    )


def one_by_one(points: PointColumns) -> Iterator[PointColumns]:
    """Yield each point by itself, for one who must be able to stop at any of them.

    Args:
        points: any number of them.
    """
    for name, step, time, value in zip(points.names, points.steps, points.times, points.values, strict=True):
        yield PointColumns(names=(name,), steps=(step,), times=(time,), values=(value,))


def joined(parts: list[PointColumns]) -> PointColumns:
    """Return the points of all parts, in order.

    Args:
        parts: at least one.
    """
    names: list[str] = []
    steps: list[int] = []
    times: list[int] = []
    values: list[float] = []
    for part in parts:
        names += part.names
        steps += part.steps
        times += part.times
        values += part.values
    return PointColumns(names=tuple(names), steps=tuple(steps), times=tuple(times), values=tuple(values))
