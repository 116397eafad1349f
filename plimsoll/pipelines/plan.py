"""From a pipeline's call to a plan: which steps are called, with what, in which order.

The pipeline's body runs once, with its actual parameters, while each call of a step only adds a node and gives a
:class:`Handle` that stands for the later result. ``if`` and ``for`` over parameters therefore work as in any function;
an ``if`` over a handle cannot, and is refused with the way out: ``plimsoll.when`` for a branch, ``plimsoll.map`` for a list.
"""

from __future__ import annotations

import copy
import inspect
import sysconfig
import traceback
from collections import Counter
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from plimsoll.data.trace.memos import MEMOS
from plimsoll.errors import InvalidInput, PlimsollError
from plimsoll.pipelines.step import Step, is_named_tuple, is_pipeline, outputs_of, tracing


@dataclass(frozen=True, slots=True)
class Reference:
    """The output of an earlier node."""

    #: Position of that node in the plan.
    index: int
    #: One of the outputs of a step that gives several; empty for the only one.
    field: str = ""


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that the pipeline passed itself, as it was at the moment of the call."""

    #: The plan's own copy.
    value: Any


@dataclass(frozen=True, slots=True)
class Group:
    """A list, tuple, dict or named tuple with at least one handle somewhere inside."""

    #: ``list``, ``tuple``, ``dict`` or ``named``.
    kind: str
    #: Keys of a dict; the class of a named tuple; empty otherwise.
    keys: tuple[Any, ...]
    #: Items, or values of a dict.
    items: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of two, decided by what a step gives."""

    #: Decides; taken as Python's ``if`` takes it.
    flag: Argument
    #: What it is when the flag is true.
    then: Argument
    #: What it is otherwise.
    otherwise: Argument


Argument = Reference | Literal | Group | Choice


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
    #: Names of the outputs of a step that gives several.
    fields: tuple[str, ...] = ()
    #: Whether its first argument is a list, of which each item becomes a call of its own.
    each: bool = False
    #: The branches that it is in, from the outermost: what decides, and as what the branch takes it.
    guards: tuple[tuple[Argument, bool], ...] = ()

    @property
    def inputs(self) -> tuple[int, ...]:
        """Positions of the nodes whose outputs this call takes or waits for, ascending, each once."""
        arguments = (*self.bound.values(), *(flag for flag, _ in self.guards))
        return tuple(sorted({ref.index for argument in arguments for ref in references(argument)}))


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


#: Where Plimsoll's own code lies, and what is installed.
_OTHERS = tuple({str(Path(__file__).parents[1]), *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))})

#: Ways to go through other containers.
_VIEWS = (KeysView, ValuesView, ItemsView, zip, enumerate, reversed)


class Handle:
    """Stands for a step's result while the pipeline is traced. It can be passed to steps and returned, and nothing else."""

    __slots__ = ("_argument", "_label", "_tracer")

    def __init__(self, tracer: _Tracer, argument: Argument, label: str) -> None:
        self._tracer = tracer
        self._argument = argument
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
            _WAYS_OUT.get(how, "Do this inside a step, or decide by the pipeline's parameters."),
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
_WAYS_OUT = {
    "asks whether it is true": "Write plimsoll.when(result, then=lambda: …, otherwise=lambda: …), or decide inside a step.",
    "iterates over it or unpacks it": "Write plimsoll.map(step, result) to call a step for each item of a list, do this inside a step, "
    "or annotate a step that gives several outputs with a NamedTuple.",
    "looks into it": "Write plimsoll.map(step, result) to call a step for each item of a list, or do this inside a step.",
    "compares it": "Compare inside a step and write plimsoll.when(that, then=lambda: …, otherwise=lambda: …), or decide by the parameters.",
}
for _how, _names in _TOUCHES.items():
    for _name in _names:
        setattr(Handle, f"__{_name}__", _refuse(f"__{_name}__", _how))


class _Tracer:
    def __init__(self, signatures: dict[Callable[..., Any], inspect.Signature]) -> None:
        self.nodes: list[Node] = []
        self._names: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self._guards: tuple[tuple[Argument, bool], ...] = ()
        self._outputs: dict[int, type[tuple[Any, ...]] | None] = {}
        self._signatures = signatures

    def call(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        node = self._node(step, args, kwargs, each=False)
        outputs = self._outputs_of(step)
        if outputs is None:
            return Handle(self, Reference(node.index), node.label)
        # A real one, so that its fields, its items and its unpacking are Python's own.
        return outputs._make(Handle(self, Reference(node.index, name), f"{node.label}.{name}") for name in node.fields)  # type: ignore[attr-defined]

    def knows(self, value: Any) -> bool:
        return not isinstance(value, Handle)

    def map(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Handle:
        if self._outputs_of(step) is not None:
            raise InvalidInput(f"{step.name} gives several outputs, so it cannot be mapped.", "Map a step that gives one.")
        node = self._node(step, args, kwargs, each=True)
        return Handle(self, Reference(node.index), node.label)

    def choose(self, flag: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Handle:
        decides, outer = self.freeze(flag), self._guards
        branches = []
        try:
            for branch, wanted in ((then, True), (otherwise, False)):
                self._guards = (*outer, (decides, wanted))
                branches.append(self.freeze(branch()))
        finally:
            self._guards = outer
        return Handle(self, Choice(decides, *branches), f"when({flag._label})")

    def _node(self, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any], each: bool) -> Node:
        try:
            bound = _signature(step.function, self._signatures).bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidInput(f"The step {step.name} cannot be called like this: {error}.", "Correct the call in the pipeline.") from error
        bound.apply_defaults()
        # Frozen argument by argument, so that a list the pipeline changes later stays as it was in this call.
        taken = {name: self._frozen_parameter(bound, name, value) for name, value in bound.arguments.items()}
        flat, positional, keyword = _arranged(bound, taken)
        outputs = self._outputs_of(step)
        node = Node(
            index=len(self.nodes),
            name=_numbered(self._names, step.name),
            label=_numbered(self._labels, step.function.__name__),
            step=step,
            args=positional,
            kwargs=keyword,
            bound=flat,
            fields=() if outputs is None else outputs._fields,  # type: ignore[attr-defined]
            each=each,
            guards=self._guards,
        )
        self.nodes.append(node)
        return node

    def _outputs_of(self, step: Step) -> type[tuple[Any, ...]] | None:
        if id(step) not in self._outputs:
            outputs = self._outputs[id(step)] = outputs_of(step.function)
            if outputs is not None and step.options.snapshot is not None:
                raise InvalidInput(f"{step.name} has snapshot= and gives several outputs.", "Register the table in a step of its own.")
        return self._outputs[id(step)]

    def _frozen_parameter(self, bound: inspect.BoundArguments, name: str, value: Any) -> Any:
        kind = bound.signature.parameters[name].kind
        try:
            if kind is inspect.Parameter.VAR_POSITIONAL:
                return tuple(self.freeze(item) for item in value)
            if kind is inspect.Parameter.VAR_KEYWORD:
                return {key: self.freeze(item) for key, item in value.items()}
            return self.freeze(value)
        except RecursionError as error:
            raise InvalidInput(f"The argument {name!r} of a step holds itself.", "Give a value that ends.", argument=name) from error

    def freeze(self, value: Any) -> Argument:
        if isinstance(value, Handle):
            if value._tracer is not self:
                raise InvalidInput(f"{value!r} belongs to another pipeline's plan.", "Pass results of steps only within one pipeline.")
            return value._argument
        if isinstance(value, _VIEWS):
            value = list(value)
        if is_named_tuple(type(value)) and any(map(_holds_handle, value)):
            return Group("named", (type(value),), tuple(self.freeze(item) for item in value))
        if type(value) in (list, tuple, dict) and _holds_handle(value):
            if isinstance(value, dict):
                keys = tuple(value)
                return Group("dict", keys, tuple(self.freeze(value[key]) for key in keys))
            return Group(type(value).__name__, (), tuple(self.freeze(item) for item in value))
        return Literal(_copied(value))


def trace(
    function: Callable[..., Any], params: Mapping[str, Any], signatures: dict[Callable[..., Any], inspect.Signature] | None = None
) -> Plan:
    """Return the plan of calling a pipeline; no step runs.

    Args:
        function: a function decorated with ``@pipeline``.
        params: parameters by name; the others take their defaults.
        signatures: what functions take, shared among the plans of a search, since it takes long to find out; None finds out anew.

    Raises:
        InvalidInput: it is no pipeline, a parameter is unknown or missing, or the body raises, or touches a value that does not
            exist yet; the message names the line.
    """
    name = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"
    if not is_pipeline(function):
        raise InvalidInput(f"{name} is not a pipeline.", "Decorate it with @plimsoll.pipeline.")
    signatures = {} if signatures is None else signatures
    signature = _signature(function, signatures)
    try:
        bound = signature.bind(**params)
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise InvalidInput(f"The pipeline {name} cannot be called like this: {error}.", f"Its parameters are: {known}.") from error
    bound.apply_defaults()
    values = {key: _copied(value) for key, value in bound.arguments.items()}
    tracer = _Tracer(signatures)
    MEMOS.begin()
    token = tracing.set(tracer)
    try:
        result = function(*bound.args, **bound.kwargs)
    except PlimsollError as error:
        error.fact = f"{error.fact.removesuffix('.')}{_place(error)}."
        error.args = (f"{error.fact} {error.remedy}".strip(),)
        raise
    except Exception as error:
        fact = f"The pipeline {name} raised {type(error).__name__}{_place(error)}: {error}"
        text = "".join(traceback.format_exception(error))
        raise InvalidInput(fact, "Correct the pipeline, or what it is called with.", traceback=text) from error
    finally:
        tracing.reset(token)
    return Plan(name=name, params=values, nodes=tuple(tracer.nodes), result=tracer.freeze(result))


def _place(error: Exception) -> str:
    """Return ``(at file:line)`` of the innermost code of the user's; empty where there is none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OTHERS)]
    if not frames:
        return ""
    path = Path(frames[-1].filename)
    return f" (at {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{frames[-1].lineno})"


def _signature(function: Callable[..., Any], known: dict[Callable[..., Any], inspect.Signature]) -> inspect.Signature:
    if function not in known:
        known[function] = inspect.signature(function)
    return known[function]


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


def last_uses(plan: Plan) -> dict[tuple[int, str], int]:
    """Return for each output that anything takes, by node and field, the position of the last node that does.

    What the pipeline returns is taken after all of them.

    Args:
        plan: what is run.
    """
    found: dict[tuple[int, str], int] = {}
    for node in plan.nodes:
        for argument in node.bound.values():
            found.update(((ref.index, ref.field), node.index) for ref in references(argument))
    found.update(((ref.index, ref.field), len(plan.nodes)) for ref in references(plan.result))
    return found


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
    elif isinstance(argument, Choice):
        for part in (argument.flag, argument.then, argument.otherwise):
            yield from references(part)


def resolve(argument: Argument, value_of: Callable[[int], Any]) -> Any:
    """Return the plain value of an argument.

    Args:
        argument: an argument of a node, or a plan's result.
        value_of: gives the value of the node at a position.
    """
    if isinstance(argument, Reference):
        return getattr(value_of(argument.index), argument.field) if argument.field else value_of(argument.index)
    if isinstance(argument, Literal):
        return argument.value
    if isinstance(argument, Choice):
        return resolve(argument.then if resolve(argument.flag, value_of) else argument.otherwise, value_of)
    items = [resolve(item, value_of) for item in argument.items]
    if argument.kind == "named":
        return argument.keys[0]._make(items)
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
    return (type(value) in (list, tuple) or is_named_tuple(type(value))) and any(_holds_handle(item) for item in value)


def _numbered(counts: dict[str, int], name: str) -> str:
    counts[name] = counts.get(name, 0) + 1
    return name if counts[name] == 1 else f"{name}#{counts[name]}"
