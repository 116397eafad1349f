"""What every executor takes and does: load the inputs (verified), call the function, store what it returns.

An executor takes a :class:`Call` and gives a future of its output. It never looks at the cache and never calls back into
the engine, except to hand over what the step logs.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from plimsoll import errors
from plimsoll.data import values
from plimsoll.data.trace.recording import Recording
from plimsoll.errors import Corrupt, NotFound, Refused, StepFailed, Unfingerprintable
from plimsoll.fingerprint import digest_value
from plimsoll.pipelines.loop.room import Room
from plimsoll.pipelines.plan import Node
from plimsoll.pipelines.step import outputs_of
from plimsoll.records.pipeline import KeyPart, Output
from plimsoll.records.request import Request
from plimsoll.records.run import PointColumns
from plimsoll.runs.guests.surroundings import Surroundings
from plimsoll.runs.logger import RunLogger, begun_here, current
from plimsoll.store.contracts import Blobs

#: Bytes of a stored input up to which it is looked at again after the call: of what is digested at the speed of memory, and of all else.
_LOOKED_AT, _DEAR = 64 << 20, 2 << 20

#: Packages of what is digested so.
_QUICK = ("numpy", "polars")


class Unsuitable(Refused):
    """This executor cannot run the call; another one may. The fact says why."""

    code = "unsuitable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One try of one call of a step."""

    #: The call.
    node: Node
    #: Outputs of the nodes that it takes, by their position.
    inputs: dict[int, Output]
    #: Digest of the code that the key was made of; empty when the code could not be seen.
    code: str
    #: The run.
    run_id: str
    #: Takes what the step logs; called from any thread.
    heard: Callable[[PointColumns | Request[Any]], None]
    #: Forgets for later runs what was heard, because the executor begins the call once more.
    again: Callable[[], None] = lambda: None
    #: Tells how code and globals differ from what the key was made of, empty when they do not; for a call that begins in this process.
    met: Callable[[], str] = lambda: ""
    #: Seed of the global random generators, from 0 to 2**32 - 1.
    seed: int = 0
    #: Positions of the inputs whose packed code may run, although it is not the project's own any more.
    trusted: frozenset[int] = frozenset()
    #: Distributions that its key names.
    known: frozenset[str] = frozenset()
    #: Positions of the inputs that a later call gets as well -> name of the argument.
    shared: Mapping[int, str] = field(default_factory=dict)
    #: Calls of the plan that may run at the same time, this one included; they share the processors.
    beside: int = 1
    #: Names of the graphics processors that it may use; empty when it has asked for none.
    gpus: tuple[str, ...] = ()
    #: Variables by which MLflow's client finds the run, for an executor on this machine.
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a call gave, and what was found while it ran."""

    #: What it returned, stored.
    output: Output
    #: What it read by itself, sorted by (kind, name).
    trace: tuple[KeyPart, ...] = ()
    #: What it did that another run need not repeat alike, each as the end of a sentence: ``opened a network connection``.
    effects: tuple[str, ...] = ()
    #: Arguments of which a later call gets the same, and that it has changed in place.
    changed: tuple[str, ...] = ()


class Executor(Protocol):
    """Runs calls of steps."""

    #: What they may take together.
    room: Room

    def submit(self, call: Call) -> Future[Ran]:
        """Begin a call and return the future of what it gives.

        The future raises ``StepFailed`` when the step fails (``details["traceback"]``), ``Corrupt`` with ``details["input"]``
        when the output of that position cannot be read, and ``Unsuitable`` when the call cannot run here.
        """
        ...

    def close(self) -> None:
        """Kill whatever still runs, and give back what was held."""
        ...


def perform(
    function: Callable[..., Any],
    args: list[Any],
    kwargs: dict[str, Any],
    logger: RunLogger,
    blobs: Blobs,
    project: Path,
    recording: Recording,
    variables: Mapping[str, str],
    shared: Mapping[str, Any] = MappingProxyType({}),
) -> Ran:
    """Call a step's function with its run as the current one, store what it returns, and tell what was found meanwhile.

    Args:
        function: the user's own function.
        args: positional arguments.
        kwargs: keyword arguments.
        logger: the current run for the time of the call.
        blobs: where to.
        project: folder of the project.
        recording: of this very call; the random generators are set by it.
        variables: set for the time of the call; what reads them has not read the user's.
        shared: arguments by name that later calls get as well.

    Raises:
        StepFailed: it raised, or returned what cannot be stored; ``details["traceback"]`` is the user's traceback.
    """
    marks = {name: _mark(value) for name, value in shared.items()}
    token, here = current.set(logger), begun_here()
    here.append(logger)
    try:
        with Surroundings(variables), recording:
            value = function(*args, **kwargs)
    except (Exception, SystemExit) as error:
        # The first frame is this function, which tells the user nothing.
        inner = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, inner))
        raise StepFailed(f"{type(error).__name__}: {error}", traceback=text) from error
    finally:
        here.remove(logger)
        current.reset(token)
    try:
        # A path that the step returns is read only now, and a file that changes until its bytes are stored must be noticed.
        outputs = outputs_of(function)
        for part in (value,) if outputs is None else _checked(function, value, outputs):
            recording.read(part)
        output = values.save(value, blobs, project) if outputs is None else values.save_outputs(value._asdict(), blobs, project)
        trace = recording.trace()
        changed = tuple(name for name, mark in marks.items() if mark is not None and _mark(shared[name]) != mark)
        return Ran(output=output, trace=trace.parts, effects=trace.effects, changed=changed)
    except (Unfingerprintable, errors.InvalidInput) as error:
        fact = f"What {function.__qualname__} returned cannot be stored: {error.fact}"
        raise StepFailed(fact, error.remedy, traceback=f"{fact}\n{error.remedy}\n") from error


def changeable(shared: Mapping[int, str], inputs: Mapping[int, Output], loaded: Mapping[int, Any]) -> dict[str, Any]:
    """Return name of an argument -> its value, of those that are looked at again after the call; large ones are not, since it takes time.

    Args:
        shared: position -> name of the argument, of those that later calls get as well.
        inputs: position -> what is stored.
        loaded: position -> its value.
    """
    found = {}
    for index, name in shared.items():
        quick = type(loaded[index]).__module__.partition(".")[0] in _QUICK if index in loaded else False
        if index in loaded and inputs[index].size <= (_LOOKED_AT if quick else _DEAR):
            found[name] = loaded[index]
    return found


def _mark(value: Any) -> str | None:
    """Return what changes when a value is changed in place; None for what cannot be, or cannot be seen."""
    if isinstance(value, (bool, int, float, complex, str, bytes, type(None))):
        return None
    try:
        return digest_value(value)
    except Unfingerprintable:
        return None


def _checked(function: Callable[..., Any], value: Any, outputs: type[tuple[Any, ...]]) -> tuple[Any, ...]:
    if isinstance(value, outputs):
        return value
    fact = f"{function.__qualname__} is annotated to return {outputs.__qualname__}, but returned a {type(value).__qualname__}"
    raise StepFailed(f"{fact}.", f"Return {outputs.__qualname__}({', '.join(outputs._fields)}).", traceback=f"{fact}.\n")  # type: ignore[attr-defined]


def load_input(index: int, output: Output, blobs: Blobs, trusted: bool = False, project: Path | None = None) -> Any:
    """Return the value of an earlier step's output, verified.

    Args:
        index: position of the step that gave it.
        output: what it gave.
        blobs: where from.
        trusted: code that a model packs may run.
        project: folder of the project, whose own code may run in any case.

    Raises:
        Untrusted: a model packs other code.
        Corrupt: it is damaged or gone; ``details["input"]`` is ``index``.
    """
    try:
        return values.load(output, blobs, trusted=trusted, project=project)
    except (Corrupt, NotFound) as error:
        raise Corrupt(error.fact, error.remedy, input=index) from error


def reference(function: Callable[..., Any]) -> tuple[str, str]:
    """Return module and qualified name under which a fresh process finds a step's function.

    Args:
        function: the user's own function.

    Raises:
        Unsuitable: there is no such name.
    """
    module, qualname = function.__module__, function.__qualname__
    if module == "__main__":
        raise Unsuitable("it is defined in a notebook or script, which another process cannot import", "Move it to a module.")
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    if getattr(getattr(found, "__plimsoll_step__", None), "function", found) is not function:
        raise Unsuitable(f"another process would not find it as {module}.{qualname}", "Define it at the top level of a module.")
    return module, qualname
