"""The two decorators: a step and a pipeline, both still plain functions.

Called plainly, a decorated function runs as if it were not decorated: plain arguments, plain result. Only while a
pipeline is being traced (:mod:`plimsoll.pipelines.plan`) does a step's call become a node of the plan instead.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast, get_type_hints, overload

from plimsoll.errors import InvalidInput

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S")

_UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_MEMORY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """How a step is run. None of these may alter its result, so none of them is part of its key."""

    #: Resident bytes that the step's process may use, and that are kept for it; None without a limit.
    memory: int | None = None
    #: Processors that it keeps busy; None counts as one, and leaves the number of its threads to how many run beside it.
    cpu: float | None = None
    #: Graphics processors that it needs; a part of one may be shared.
    gpu: float = 0.0
    #: How often a failed step is tried again.
    retries: int = 0
    #: Seconds before the first retry; each later pause is twice as long, up to 30 s or this.
    backoff: float = 0.5
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

    def knows(self, value: Any) -> bool:
        """Return whether a value is there while the pipeline is planned, and no handle."""
        ...

    def map(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the handle of the list of results of a call for each item of the first argument."""
        ...

    def choose(self, flag: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """Trace both branches, and return the handle of what the taken one gives."""
        ...


#: The tracer of the pipeline that is being traced in this context; None when steps are plain functions.
tracing: ContextVar[Tracer | None] = ContextVar("plimsoll_tracing", default=None)


@overload
def step(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def step(
    *,
    memory: str | int | None = None,
    cpu: float | None = None,
    gpu: float = 0,
    retries: int = 0,
    backoff: float = 0.5,
    timeout: float | None = None,
    cache: bool | float | str = True,
    snapshot: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    memory: str | int | None = None,
    cpu: float | None = None,
    gpu: float = 0,
    retries: int = 0,
    backoff: float = 0.5,
    timeout: float | None = None,
    cache: bool | float | str = True,
    snapshot: str | None = None,
) -> Any:
    """Mark a function as a step: inside a pipeline's run its result is kept and reused as long as nothing it depends on changed.

    It must give the same result for the same arguments, and must not change them.

    Args:
        function: the function, when the decorator is used without brackets.
        memory: resident memory that its process may use, and that it waits for: bytes, or text such as ``"2GB"``, ``"512MiB"``.
        cpu: processors that it keeps busy and waits for, one unless given; it gets as many threads.
        gpu: graphics processors that it waits for: 2, or 0.5 to share one. It sees only its own (``CUDA_VISIBLE_DEVICES``).
        retries: how often it is tried again after a failure.
        backoff: seconds before the first retry; each later pause is twice as long, up to 30 seconds.
        timeout: seconds that one try may take.
        cache: True reuses its result unless it did what another run need not repeat alike (network, clock, child processes …);
            ``"forever"`` in any case; ``"12h"``, ``"7d"`` or a number of seconds for so long; False computes it in every run.
        snapshot: dataset name under which its table is registered as a version.

    Raises:
        InvalidInput: an option makes no sense, or the function is a coroutine, a generator or a class.
    """
    if not isinstance(retries, int) or retries < 0:
        raise InvalidInput(f"A step cannot be tried again {retries!r} times.", "Use retries=0 or more.")
    options = StepOptions(
        memory=_bytes(memory),
        cpu=None if cpu is None else _amount("cpu", cpu, least=0.001),
        gpu=_amount("gpu", gpu),
        retries=retries,
        backoff=_amount("backoff", backoff),
        timeout=None if timeout is None else _amount("timeout", timeout, least=0.001),
        cache=_cache(cache),
        snapshot=snapshot,
    )

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


@overload
def pipeline(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def pipeline() -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def pipeline(function: Callable[..., Any] | None = None, /) -> Any:
    """Mark a function as a pipeline: its parameters are what a run can set, and its steps are what a run executes.

    Called plainly it runs its steps as plain functions, in this process and without a cache.

    Args:
        function: calls steps and returns a step's result, or a dict, list or tuple of them; left out where brackets follow the name.

    Raises:
        InvalidInput: the function is a coroutine, a generator or a class.
    """
    if function is None:
        return pipeline
    _check_function("pipeline", function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__plimsoll_pipeline__ = True  # type: ignore[attr-defined]
    return call


def map(step: Callable[Concatenate[T, P], R], items: Iterable[T], /, *args: P.args, **kwargs: P.kwargs) -> list[R]:
    """Call a step for each item of a list; in a pipeline the list may be the result of a step, whose length only the run knows.

    Each item is a call of its own, with its own key: a list that has grown by one item computes one. The results keep the
    order of the items.

    Args:
        step: a function decorated with ``@step``; its first argument is the item.
        items: the items; as the result of a step a list or a tuple.
        args: further arguments, the same for all items.
        kwargs: further arguments by name.

    Raises:
        InvalidInput: the function is no step.
    """
    marked, tracer = step_of(step), tracing.get()
    if marked is None:
        raise InvalidInput(f"{getattr(step, '__qualname__', step)!r} is not a step.", "Decorate it with @plimsoll.step.")
    if tracer is None or tracer.knows(items):
        return [step(item, *args, **kwargs) for item in items]
    return cast(list[R], tracer.map(marked, (items, *args), kwargs))


def when(flag: Any, then: Callable[[], R], otherwise: Callable[[], S] | None = None) -> R | S | None:
    """Return what one of two branches gives: Python's ``if`` for a condition that only a step's result decides.

    In a pipeline both branches are planned and the steps of one run; those of the other are skipped.

    Args:
        flag: decides; in a pipeline usually the result of a step.
        then: makes the calls for a true ``flag``, such as ``lambda: retrain(rows)``.
        otherwise: makes the calls for a false one; without it the result is None.
    """
    tracer = tracing.get()
    if tracer is None or tracer.knows(flag):
        return then() if flag else None if otherwise is None else otherwise()
    return cast(R | S, tracer.choose(flag, then, otherwise or (lambda: None)))


def outputs_of(function: Callable[..., Any]) -> type[tuple[Any, ...]] | None:
    """Return the NamedTuple that a function's return annotation names, whose fields are its several outputs; None without one.

    Args:
        function: the user's own function.
    """
    function = inspect.unwrap(function)
    hint = getattr(function, "__annotations__", {}).get("return")
    if isinstance(hint, str):
        try:
            hint = get_type_hints(function).get("return")
        except (NameError, TypeError, AttributeError, SyntaxError):
            hint = None  # names that only a type checker sees
    return hint if is_named_tuple(hint) else None


def is_named_tuple(cls: Any) -> bool:
    """Return whether a type is a NamedTuple.

    Args:
        cls: anything.
    """
    return isinstance(cls, type) and issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple)


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


def _amount(name: str, value: Any, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < float("inf"):
        raise InvalidInput(f"A step's {name} cannot be {value!r}.", f"Use a number that is {'positive' if least else 'not negative'}.")
    if name == "gpu" and value > 1 and value != int(value):
        raise InvalidInput(f"A step cannot have {value!r} graphics processors.", "Use a part of one, such as gpu=0.5, or whole ones.")
    return float(value)


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
