"""How far a plan has come: which calls can begin, and what their arguments are now that earlier ones have ended.

Two things show only while the run is under way. A call for each item of a list becomes as many calls as the list has items;
they stand in the list of nodes behind those of the plan. And of two branches one is taken, when what decides is there.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from plimsoll.data.snapshot import get_manifest, outputs_in
from plimsoll.errors import Corrupt, PlimsollError, StepFailed
from plimsoll.fingerprint import digest_value
from plimsoll.pipelines.executors.call import load_input
from plimsoll.pipelines.keys import CHOSEN_BY
from plimsoll.pipelines.plan import Argument, Choice, Group, Literal, Node, Plan, Reference, beside, last_uses, references
from plimsoll.records.pipeline import KeyPart, Output
from plimsoll.store.contracts import Blobs

#: Calls beside each item's call: as a list may grow, and the number of threads must not change with it, each gets one.
_MANY = 1 << 16


@dataclass(frozen=True, slots=True)
class Turn:
    """A node whose turn it is."""

    #: As the plan has it.
    node: Node
    #: Why it is not to be run; empty when it is.
    skipped: str = ""
    #: What is wrong with a value that decides whether it is run.
    error: PlimsollError | None = None


class _Lost(Exception):
    """Ends the wait of a node that will never run; the text says why."""


class Progress:
    """The state of one run of a plan.

    Args:
        plan: what is run.
        blobs: where outputs are; values that decide, and lists, are read from there.
        left_out: position -> why that node is not run.
        alone: position of a list's node -> number of the only item that is run, and why the others are not.
    """

    def __init__(
        self, plan: Plan, blobs: Blobs, left_out: Mapping[int, str], alone: Mapping[int, tuple[int, str]] = MappingProxyType({})
    ) -> None:
        self._blobs = blobs
        self._left_out, self._alone = dict(left_out), alone
        self._result = plan.result
        #: The calls of the plan, and behind them those of items.
        self.nodes = list(plan.nodes)
        #: Position -> output. Negative positions are those of the several outputs of one step.
        self.outputs: dict[int, Output] = {}
        self._beside, self._last = beside(plan), last_uses(plan)
        self._static = len(plan.nodes)
        self._ended: set[int] = set()
        self._needs: dict[int, Iterator[int]] = {}
        self._waiting: dict[int, list[int]] = {}
        self._turns: list[tuple[int, str]] = []
        self._errors: dict[int, PlimsollError] = {}
        self._slots: dict[tuple[int, str], int] = {}
        self._owners: list[tuple[int, str]] = []
        #: Position of a node for each item -> the results, once they are all there.
        self._lists: dict[int, Group] = {}
        #: The same -> how many items have not ended. Position of an item -> that of its list.
        self._open: dict[int, int] = {}
        self._items: dict[int, int] = {}
        self._truths: dict[int, bool] = {}
        for node in plan.nodes:
            self.ask(node.index)

    @property
    def done(self) -> bool:
        """Whether every node has ended."""
        return len(self._ended) == len(self.nodes)

    @property
    def ready(self) -> bool:
        """Whether it is the turn of some node."""
        return bool(self._turns)

    def ask(self, index: int) -> None:
        """Let a node wait for what it needs, from the start.

        Args:
            index: its position.
        """
        self._needs[index] = self._needed(self.nodes[index])
        self._go_on(index)

    def turns(self) -> Iterator[Turn]:
        """Yield the nodes whose turn it is, in the order of the plan."""
        while self._turns:
            index, skipped = heapq.heappop(self._turns)
            yield Turn(self.nodes[index], skipped, self._errors.pop(index, None))

    def end(self, index: int, output: Output | None) -> int | None:
        """Take a node's end, and return the position of the list that ends with it, or None.

        Args:
            index: its position.
            output: what it gave, or None.
        """
        self._ended.add(index)
        if output is not None:
            self.outputs[index] = output
            if self.nodes[index].fields:
                for name, part in outputs_in(get_manifest(self._blobs, output.digest)).items():
                    self.outputs[self._slot(index, name)] = part
        for waiting in self._waiting.pop(index, ()):
            self._go_on(waiting)
        parent = self._items.get(index)
        if parent is None:
            return None
        self._open[parent] -= 1
        return None if self._open[parent] else parent

    def expand(self, node: Node) -> tuple[Node, ...]:
        """Add a node for each item of the list that a node takes, and return them; for an empty list there are none.

        Args:
            node: one with ``each``.

        Raises:
            StepFailed: what it takes is no list, or has not the item that was asked for.
            Corrupt: the list is damaged; ``details["input"]`` is its position.
        """
        first = next(iter(node.bound))
        known, found = self.known(replace(node, guards=())), list[Node]()
        items = self._items_of(known.bound[first], node)
        only, why = self._alone.get(node.index, (None, ""))
        if only is not None and only >= len(items):
            raise StepFailed(f"There is no {node.label}[{only}]: the list has {len(items)} items.", "Name one that there is, from [0] on.")
        for number, item in enumerate(items):
            index = len(self.nodes)
            if only not in (None, number):
                self._left_out[index] = why
            args, bound = (item, *known.args[1:]), {**known.bound, first: item}
            name, label = f"{node.name}[{number}]", f"{node.label}[{number}]"
            found.append(replace(known, index=index, name=name, label=label, args=args, bound=bound, each=False))
            self.nodes.append(found[-1])
            self._items[index] = node.index
        self._open[node.index] = len(found)
        self._lists[node.index] = Group("list", (), tuple(Reference(made.index) for made in found))
        for made in found:
            self.ask(made.index)
        return tuple(found)

    def items(self, index: int) -> tuple[int, ...]:
        """Return the positions of the calls of a list's items.

        Args:
            index: position of the list's node.
        """
        return tuple(item.index for item in self._lists[index].items if isinstance(item, Reference))

    def choices(self, node: Node) -> tuple[KeyPart, ...]:
        """Return what a key tells, for people, of what decided the arguments of a call, and whether it is made at all.

        Args:
            node: as the plan has it, one whose turn it is.
        """
        found = [("", flag) for flag, _ in node.guards]
        for name, argument in node.bound.items():
            found += [(name, flag) for flag in _flags(argument)]
        parts = {}
        for name, flag in found:
            try:
                digest = digest_value(self._is_true(flag))
            except KeyError:
                continue  # of the branch that was not taken
            for reference in _deciding(flag):
                by = self.name(self._place(reference))
                parts[name, by] = KeyPart(kind="choice", name=f"{name}{CHOSEN_BY}{by}", digest=digest, text=by)
        return tuple(parts.values())

    def mapped(self, node: Node) -> tuple[str, Argument, Reference | None]:
        """Return the parameter of a node with ``each`` that is mapped, what it is, and the output or the list that this is.

        Args:
            node: as the plan has it, one whose items have ended.
        """
        name = next(iter(node.bound))
        source = node.bound[name]
        while isinstance(source, Choice):
            source = source.then if self._is_true(source.flag) else source.otherwise
        known = self._known(source)
        if isinstance(source, Reference):
            return name, known, Reference(self._place(source))
        return name, known, None

    def reopen(self, position: int) -> int:
        """Forget an output that is damaged, and return the position of its node, which is to be asked again.

        Args:
            position: of the output.
        """
        index = self.owner(position)
        self._ended.discard(index)
        self.outputs.pop(index, None)
        for place in (index, *(slot for (owner, _), slot in self._slots.items() if owner == index)):
            self.outputs.pop(place, None)
            self._truths.pop(place, None)
        return index

    def holds(self, node: Node) -> bool:
        """Return whether all that a call takes is still there; a damaged output may have gone since.

        Args:
            node: the call, as :meth:`known` gave it.
        """
        return all(index in self.outputs for index in node.inputs)

    def known(self, node: Node) -> Node:
        """Return a node with every choice made and every list spelled out, so that it takes outputs alone.

        Args:
            node: one whose turn it is.
        """
        bound = {name: self._known(argument) for name, argument in node.bound.items()}
        if not node.guards and all(bound[name] is argument for name, argument in node.bound.items()):
            return node
        args = tuple(self._known(argument) for argument in node.args)
        kwargs = {name: self._known(argument) for name, argument in node.kwargs.items()}
        return replace(node, bound=bound, args=args, kwargs=kwargs, guards=())

    def result(self) -> Argument:
        """Return what the pipeline returns, with every choice made; None stands for what was not decided."""
        return self._decided(self._result)

    def owner(self, position: int) -> int:
        """Return the position of the node that gave an output.

        Args:
            position: of the output.
        """
        return position if position >= 0 else self._owners[-1 - position][0]

    def name(self, position: int) -> str:
        """Return the name of the call that gave an output, with the output's own when there are several.

        Args:
            position: of the output.
        """
        node = self.nodes[self.owner(position)]
        return node.name if position >= 0 else f"{node.name}.{self._owners[-1 - position][1]}"

    def label(self, position: int) -> str:
        """Return the short name of an output.

        Args:
            position: of the output.
        """
        node = self.nodes[self.owner(position)]
        return node.label if position >= 0 else f"{node.label}.{self._owners[-1 - position][1]}"

    def origin(self, index: int) -> int:
        """Return the position of the plan's own node that a node belongs to.

        Args:
            index: its position.
        """
        return self._items.get(index, index)

    def number(self, index: int) -> int | None:
        """Return which item of its list a node is the call for, from 0; None for a node of the plan.

        Args:
            index: its position.
        """
        return None if index not in self._items else index - self.items(self._items[index])[0]

    def is_item(self, position: int) -> bool:
        """Return whether an output is that of an item's call.

        Args:
            position: of the output.
        """
        return position >= self._static

    def beside(self, index: int) -> int:
        """Return how many calls may run at the same time as a node, itself included.

        Args:
            index: its position.
        """
        return self._beside[index] if index < self._static else _MANY

    def shared(self, node: Node) -> dict[int, str]:
        """Return the positions of the outputs that a later call, or the pipeline's caller, gets as well -> name of the argument.

        Args:
            node: the call, as :meth:`known` gave it.
        """
        at, mapped = self.origin(node.index), next(iter(node.bound), "") if node.index in self._items else ""
        found = {}
        for name, argument in node.bound.items():
            for reference in references(argument):
                place = reference.index
                owner = self._owners[-1 - place] if place < 0 else (self.origin(place), "")
                # What is no item goes to the calls for all of them.
                if self._last.get(owner, -1) > at or (mapped and name != mapped):
                    found[place] = name
        return found

    def _decided(self, argument: Argument) -> Argument:
        if isinstance(argument, Group):
            return replace(argument, items=tuple(self._decided(item) for item in argument.items))
        try:
            return self._known(argument)
        except KeyError:
            return Literal(None)

    def _go_on(self, index: int) -> None:
        try:
            needed = next(self._needs[index], None)
        except _Lost as lost:
            heapq.heappush(self._turns, (index, str(lost)))
            return
        except (Corrupt, StepFailed) as error:
            self._errors[index] = error
            needed = None
        if needed is None:
            heapq.heappush(self._turns, (index, ""))
        else:
            self._waiting.setdefault(needed, []).append(index)

    def _needed(self, node: Node) -> Iterator[int]:
        """Yield the positions that a node has to wait for, one after the other."""
        if node.index in self._left_out:
            raise _Lost(self._left_out[node.index])
        for flag, wanted in node.guards:
            yield from self._missing(flag)
            if self._is_true(flag) is not wanted:
                names = ", ".join(dict.fromkeys(self.label(self._place(found)) for found in _deciding(flag)))
                raise _Lost(f"its branch was not taken: {names} was {'false' if wanted else 'true'}")
        for argument in node.bound.values():
            yield from self._missing(argument)

    def _missing(self, argument: Argument) -> Iterator[int]:
        if isinstance(argument, Reference):
            if argument.index not in self._ended:
                yield argument.index
            if argument.index in self._lists:
                yield from self._missing(self._lists[argument.index])
            elif argument.index not in self.outputs:
                raise _Lost(f"step {self.nodes[argument.index].label} has no result")
        elif isinstance(argument, Group):
            for item in argument.items:
                yield from self._missing(item)
        elif isinstance(argument, Choice):
            yield from self._missing(argument.flag)
            yield from self._missing(argument.then if self._is_true(argument.flag) else argument.otherwise)

    def _known(self, argument: Argument) -> Argument:
        if isinstance(argument, Reference):
            if argument.index in self._lists:
                return self._lists[argument.index]
            return Reference(self._slot(argument.index, argument.field)) if argument.field else argument
        if isinstance(argument, Group):
            items = tuple(self._known(item) for item in argument.items)
            same = all(new is old for new, old in zip(items, argument.items, strict=True))
            return argument if same else replace(argument, items=items)
        if isinstance(argument, Choice):
            return self._known(argument.then if self._is_true(argument.flag) else argument.otherwise)
        return argument

    def _is_true(self, flag: Argument) -> bool:
        known = self._known(flag)
        if isinstance(known, Literal):
            return bool(known.value)
        if isinstance(known, Group):
            return bool(known.items)
        assert isinstance(known, Reference)
        if known.index not in self._truths:
            value = self._value(known.index)
            try:
                self._truths[known.index] = bool(value)
            except Exception as error:  # whatever a frame or an array makes of the question
                label = self.label(known.index)
                raise StepFailed(f"{label} decides a branch, but is neither true nor false: {error}", "Let it return a bool.") from error
        return self._truths[known.index]

    def _items_of(self, argument: Argument, node: Node) -> tuple[Argument, ...]:
        if isinstance(argument, Group) and argument.kind in ("list", "tuple"):
            return argument.items
        if isinstance(argument, Reference | Literal):
            value = argument.value if isinstance(argument, Literal) else self._value(argument.index)
            if type(value) in (list, tuple):
                return tuple(Literal(item) for item in value)
            name = type(value).__qualname__
            what = f"an {name}" if name[0] in "aeiou" else f"a {name}"
        else:
            what = "a dict"
        raise StepFailed(f"{node.label} is mapped over {what}, not over a list or a tuple.", "Let the step before it return a list.")

    def _value(self, position: int) -> Any:
        return load_input(position, self.outputs[position], self._blobs)

    def _slot(self, index: int, field: str) -> int:
        if (index, field) not in self._slots:
            self._owners.append((index, field))
            self._slots[index, field] = -len(self._owners)
        return self._slots[index, field]

    def _place(self, reference: Reference) -> int:
        return self._slot(reference.index, reference.field) if reference.field else reference.index


def _flags(argument: Argument) -> Iterator[Argument]:
    """Yield all that decides inside an argument."""
    if isinstance(argument, Choice):
        yield argument.flag
        for part in (argument.flag, argument.then, argument.otherwise):
            yield from _flags(part)
    elif isinstance(argument, Group):
        for item in argument.items:
            yield from _flags(item)


def _deciding(argument: Argument) -> Iterator[Reference]:
    if isinstance(argument, Reference):
        yield argument
    elif isinstance(argument, Choice):
        yield from _deciding(argument.flag)
    elif isinstance(argument, Group):
        for item in argument.items:
            yield from _deciding(item)
