"""The two decorators: a step and a pipeline, both still plain functions.

Called plainly, a decorated function runs as if it were not decorated: plain arguments, plain result. Only while a
pipeline is being traced (:mod:`plimsoll.pipelines.plan`) does a step's call become a node of the plan instead.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from plimsoll.errors import InvalidInput

P = ParamSpec("P")
R = TypeVar("R")

_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How a step is run. None of these may alter its result, so none of them is part of its key."""

    #: Resident bytes that the step's process may use, or None without a limit.
    memory: int | None = None
    #: How often a failed step is tried again.
    retries: int = 0
    #: Seconds that one try may take, or None without a limit.
    timeout: float | None = None
    #: Whether later runs may use its result: True unless it did what need not repeat alike (network, clock …), ``"forever"``
    #: in any case, a number for so many seconds, False never.
    cache: bool | float | Literal["forever"] = True
    #: Dataset name under which a table or tree that the step gives is registered, or None.
    snapshot: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What the decorator knows of a step."""

    #: The user's own function.
    function: Callable[..., Any]
    #: How it is run.
    options: StepOptions

    @property
    def name(self) -> str:
        """Qualified name, such as ``examples.flights.pipeline.clean``."""
        return f"{self.function.__module__}.{self.function.__qualname__}"


class Tracer(Protocol):
    """Takes the calls of steps while a pipeline is being traced."""

    def call(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the handle of a new node."""
        ...


#: The tracer of the pipeline that is being traced in this context; None when steps are plain functions.
tracing: ContextVar[Tracer | None] = ContextVar("plimsoll_tracing", default=None)


@overload
def step(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def step(
    *,
    memory: str | int | None = None,
    retries: int = 0,
    timeout: float | None = None,
    cache: bool | float | str = True,
    snapshot: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    memory: str | int | None = None,
    retries: int = 0,
    timeout: float | None = None,
    cache: bool | float | str = True,
    snapshot: str | None = None,
) -> Any:
    """Mark a function as a step: inside a pipeline's run its result is kept and reused as long as nothing it depends on changed.

    A step must give the same result for the same arguments, and must not change its arguments.

    Args:
        function: the function, when the decorator is used without brackets.
        memory: resident memory that its process may use: bytes, or text such as ``"2GB"`` or ``"512MiB"``.
        retries: how often it is tried again after a failure, with growing pauses.
        timeout: seconds that one try may take.
        cache: True reuses its result unless it did what another run need not repeat alike (network, clock, child processes,
            randomness from the system); ``"forever"`` reuses it in any case; a time such as ``"12h"``, ``"7d"`` or a number of
            seconds reuses it for so long; False computes it in every run.
        snapshot: dataset name under which its table is registered as a version.

    Raises:
        InvalidInput: an option makes no sense, or the function is a coroutine, a generator or a class.
    """
    options = StepOptions(memory=_bytes(memory), retries=retries, timeout=timeout, cache=_cache(cache), snapshot=snapshot)
    if not isinstance(retries, int) or retries < 0:
        raise InvalidInput(f"A step cannot be tried again {retries!r} times.", "Use retries=0 or more.")
    if timeout is not None and not timeout > 0:
        raise InvalidInput(f"A step cannot have a timeout of {timeout!r} seconds.", "Use a positive number of seconds.")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        _check_function("step", function)
        marked = Step(function, options)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            tracer = tracing.get()
            if tracer is None:
                return function(*args, **kwargs)
            return cast(R, tracer.call(marked, args, kwargs))

        call.__plimsoll_step__ = marked  # type: ignore[attr-defined]
        return call

    return decorate if function is None else decorate(function)


def pipeline(function: Callable[P, R], /) -> Callable[P, R]:
    """Mark a function as a pipeline: its parameters are what a run can set, and its steps are what a run executes.

    Called plainly it runs its steps as plain functions, in this process and without a cache.

    Args:
        function: calls steps and returns a step's result, or a dict, list or tuple of them.

    Raises:
        InvalidInput: the function is a coroutine, a generator or a class.
    """
    _check_function("pipeline", function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    call.__plimsoll_pipeline__ = True  # type: ignore[attr-defined]
    return call


def step_of(function: Any) -> Step | None:
    """Return what the decorator knows of ``function``, or None when it is not a step.

    Args:
        function: anything.
    """
    found = getattr(function, "__plimsoll_step__", None)
    return found if isinstance(found, Step) else None


def is_pipeline(function: Any) -> bool:
    """Return whether ``function`` was decorated with :func:`pipeline`.

    Args:
        function: anything.
    """
    return getattr(function, "__plimsoll_pipeline__", False) is True


def _check_function(what: str, function: Any) -> None:
    named = getattr(function, "__qualname__", repr(function))
    if not inspect.isfunction(function):
        raise InvalidInput(f"@{what} cannot decorate {named}, which is not a function.", "Decorate a function made with 'def'.")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(f"@{what} cannot decorate {named}, which is a coroutine or a generator.", "Let it return its whole result.")


def _cache(cache: bool | float | str) -> bool | float | Literal["forever"]:
    if isinstance(cache, bool) or cache == "forever":
        return cache  # type: ignore[return-value]
    match = _TIME.fullmatch(cache) if isinstance(cache, str) else None
    seconds = float(match[1]) * _SECONDS[match[2]] if match else cache
    if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise InvalidInput(f"A step cannot be cached {cache!r}.", "Use True, False, 'forever', or a time such as '30m', '12h' or '7d'.")
    return float(seconds)


def _bytes(memory: str | int | None) -> int | None:
    if memory is None:
        return None
    match = _MEMORY.fullmatch(str(memory))
    size = int(float(match[1]) * _UNITS[(match[2] or "").lower()]) if match else 0
    if size < 1:
        raise InvalidInput(f"A step's memory cannot be {memory!r}.", "Use bytes, or text such as '2GB' or '512MiB'.")
    return size
