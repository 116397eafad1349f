"""From a pipeline's call to a plan: which steps are called, with what, in which order.

The pipeline's body runs once, with its actual parameters, while each call of a step only adds a node and gives a
:class:`Handle` that stands for the later result. ``if`` and ``for`` over parameters therefore work as in any function;
an ``if`` over a handle cannot, and is refused with an explanation rather than taken for true.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from plimsoll.errors import InvalidInput
from plimsoll.pipelines.step import Step, is_pipeline, tracing


@dataclass(frozen=True, slots=True)
class Reference:
    """The output of an earlier node."""

    #: Position of that node in the plan.
    index: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that the pipeline passed itself, as it was at the moment of the call."""

    #: The plan's own copy.
    value: Any


@dataclass(frozen=True, slots=True)
class Group:
    """A list, tuple or dict with at least one handle somewhere inside."""

    #: ``list``, ``tuple`` or ``dict``.
    kind: str
    #: Keys of a dict; empty otherwise.
    keys: tuple[Any, ...]
    #: Items, or values of a dict.
    items: tuple[Argument, ...]


Argument = Reference | Literal | Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One call of a step."""

    #: Position in the plan, from 0; every input has a smaller one.
    index: int
    #: Qualified name of the function, with ``#2`` and so on from the second call.
    name: str
    #: The function's own name, numbered in the same way: what a person calls the node.
    label: str
    #: The step.
    step: Step
    #: Positional arguments of the call.
    args: tuple[Argument, ...]
    #: Keyword arguments of the call.
    kwargs: dict[str, Argument]
    #: Every parameter with what it gets, defaults included: ``rows``, ``args[0]``, ``kwargs[depth]``.
    bound: dict[str, Argument]

    @property
    def inputs(self) -> tuple[int, ...]:
        """Positions of the nodes whose outputs this call takes, ascending, each once."""
        return tuple(sorted({ref.index for argument in self.bound.values() for ref in references(argument)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All calls that a pipeline makes with its actual parameters."""

    #: Qualified name of the pipeline.
    name: str
    #: Every parameter with its value, defaults included.
    params: dict[str, Any]
    #: The calls, in the order in which they were made.
    nodes: tuple[Node, ...]
    #: What the pipeline returns.
    result: Argument


class Handle:
    """Stands for a step's result while the pipeline is traced. It can be passed to steps and returned, and nothing else."""

    __slots__ = ("_label", "_position", "_tracer")

    def __init__(self, tracer: _Tracer, position: int, label: str) -> None:
        self._tracer = tracer
        self._position = position
        self._label = label

    def __repr__(self) -> str:
        return f"<result of step {self._label}, not computed yet>"

    def __getattr__(self, name: str) -> Any:
        # Protocols probe for dunder names and rely on AttributeError; anything else is the user touching the value.
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        self._touched(f"takes its attribute {name!r}")

    def _touched(self, how: str) -> NoReturn:
        raise InvalidInput(
            f"The pipeline {how}: the result of step {self._label!r} does not exist while the pipeline is planned.",
            "Do this inside a step, or decide by the pipeline's parameters.",
        )


def _refuse(name: str, how: str) -> Callable[..., Any]:
    def method(self: Handle, *args: Any, **kwargs: Any) -> Any:
        self._touched(how)

    method.__name__ = name
    return method


_OPERATORS = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul"),
    *("and", "or", "xor", "lshift", "rshift"),
)
_TOUCHES = {
    "asks whether it is true": ("bool",),
    "iterates over it or unpacks it": ("iter", "next", "reversed"),
    "looks into it": ("len", "getitem", "setitem", "delitem", "contains"),
    "calls it": ("call",),
    "puts it inside another object": ("deepcopy", "copy", "reduce_ex"),
    "compares it": ("eq", "ne", "lt", "le", "gt", "ge"),
    "makes text or a number of it": ("str", "format", "bytes", "int", "float", "complex", "index", "round", "trunc", "floor", "ceil"),
    "enters it as a context": ("enter", "exit"),
    "calculates with it": ("neg", "pos", "abs", "invert", *_OPERATORS, *(f"r{name}" for name in _OPERATORS)),
}
for _how, _names in _TOUCHES.items():
    for _name in _names:
        setattr(Handle, f"__{_name}__", _refuse(f"__{_name}__", _how))


class _Tracer:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._names: dict[str, int] = {}
        self._labels: dict[str, int] = {}

    def call(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle:
        try:
            bound = inspect.signature(step.function).bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidInput(f"The step {step.name} cannot be called like this: {error}.", "Correct the call in the pipeline.") from error
        bound.apply_defaults()
        # Frozen argument by argument, so that a list the pipeline changes later stays as it was in this call.
        taken = {name: self._frozen_parameter(bound, name, value) for name, value in bound.arguments.items()}
        flat, positional, keyword = _arranged(bound, taken)
        node = Node(
            index=len(self.nodes),
            name=_numbered(self._names, step.name),
            label=_numbered(self._labels, step.function.__name__),
            step=step,
            args=positional,
            kwargs=keyword,
            bound=flat,
        )
        self.nodes.append(node)
        return Handle(self, node.index, node.label)

    def _frozen_parameter(self, bound: inspect.BoundArguments, name: str, value: Any) -> Any:
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return tuple(self.freeze(item) for item in value)
        if kind is inspect.Parameter.VAR_KEYWORD:
            return {key: self.freeze(item) for key, item in value.items()}
        return self.freeze(value)

    def freeze(self, value: Any) -> Argument:
        if isinstance(value, Handle):
            if value._tracer is not self:
                raise InvalidInput(f"{value!r} belongs to another pipeline's plan.", "Pass results of steps only within one pipeline.")
            return Reference(value._position)
        if type(value) in (list, tuple, dict) and _holds_handle(value):
            if isinstance(value, dict):
                keys = tuple(value)
                return Group("dict", keys, tuple(self.freeze(value[key]) for key in keys))
            return Group(type(value).__name__, (), tuple(self.freeze(item) for item in value))
        return Literal(_copied(value))


def trace(function: Callable[..., Any], params: Mapping[str, Any]) -> Plan:
    """Return the plan of calling a pipeline; no step runs.

    Args:
        function: a function decorated with ``@pipeline``.
        params: parameters by name; the others take their defaults.

    Raises:
        InvalidInput: it is no pipeline, a parameter is unknown or missing, or the body touches a value that does not exist yet.
    """
    name = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"
    if not is_pipeline(function):
        raise InvalidInput(f"{name} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    signature = inspect.signature(function)
    try:
        bound = signature.bind(**params)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise InvalidInput(f"The pipeline {name} cannot be called like this: {error}.", f"Its parameters are: {known}.") from error
    bound.apply_defaults()
    values = {key: _copied(value) for key, value in bound.arguments.items()}
    tracer = _Tracer()
    token = tracing.set(tracer)
    try:
        result = function(*bound.args, **bound.kwargs)
    finally:
        tracing.reset(token)
    return Plan(name=name, params=values, nodes=tuple(tracer.nodes), result=tracer.freeze(result))


def beside(plan: Plan) -> tuple[int, ...]:
    """Return for each node how many nodes have as long a way to them as it has, itself included.

    Those are the calls that usually run at the same time. It follows from the plan alone, so that a step has the same
    number of threads, and with it the same last bits, in every run.

    Args:
        plan: what is run.
    """
    depths: list[int] = []
    for node in plan.nodes:
        depths.append(1 + max((depths[index] for index in node.inputs), default=-1))
    counts = Counter(depths)
    return tuple(counts[depth] for depth in depths)


def references(argument: Argument) -> Iterator[Reference]:
    """Yield every reference inside an argument, from left to right.

    Args:
        argument: an argument of a node, or a plan's result.
    """
    if isinstance(argument, Reference):
        yield argument
    elif isinstance(argument, Group):
        for item in argument.items:
            yield from references(item)


def resolve(argument: Argument, value_of: Callable[[int], Any]) -> Any:
    """Return the plain value of an argument.

    Args:
        argument: an argument of a node, or a plan's result.
        value_of: gives the value of the node at a position.
    """
    if isinstance(argument, Reference):
        return value_of(argument.index)
    if isinstance(argument, Literal):
        return argument.value
    items = [resolve(item, value_of) for item in argument.items]
    if argument.kind == "dict":
        return dict(zip(argument.keys, items, strict=True))
    return tuple(items) if argument.kind == "tuple" else items


def _arranged(
    bound: inspect.BoundArguments, taken: dict[str, Any]
) -> tuple[dict[str, Argument], tuple[Argument, ...], dict[str, Argument]]:
    flat: dict[str, Argument] = {}
    positional: list[Argument] = []
    keyword: dict[str, Argument] = {}
    for name, argument in taken.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            positional.extend(argument)
            flat.update({f"{name}[{index}]": item for index, item in enumerate(argument)})
        elif kind is inspect.Parameter.VAR_KEYWORD:
            keyword.update(argument)
            flat.update({f"{name}[{key}]": item for key, item in argument.items()})
        elif kind is inspect.Parameter.KEYWORD_ONLY:
            flat[name] = keyword[name] = argument
        else:
            flat[name] = argument
            positional.append(argument)
    return flat, tuple(positional), keyword


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except InvalidInput:
        raise
    except Exception:  # whatever a user's class raises; what cannot be copied is used as it is, and its digest decides
        return value


def _holds_handle(value: Any) -> bool:
    if isinstance(value, Handle):
        return True
    if type(value) is dict:
        return any(_holds_handle(item) for item in value.values())
    return type(value) in (list, tuple) and any(_holds_handle(item) for item in value)


def _numbered(counts: dict[str, int], name: str) -> str:
    counts[name] = counts.get(name, 0) + 1
    return name if counts[name] == 1 else f"{name}#{counts[name]}"
