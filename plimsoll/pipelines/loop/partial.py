"""A part of a pipeline: up to a step, from a step on, or a step alone. Keys are those of the whole, so nothing can be spoilt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from plimsoll.errors import Corrupt, InvalidInput, NotFound, Refused, StepFailed
from plimsoll.pipelines.loop.lookup import LookUp
from plimsoll.pipelines.loop.progress import Progress
from plimsoll.pipelines.plan import Node, Plan
from plimsoll.records.pipeline import Output
from plimsoll.records.pipelines.part import PartAsked


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which nodes of a plan are run, and how."""

    #: Position -> why it is not run.
    left_out: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    #: Positions that are computed even if there is an earlier result.
    anew: frozenset[int] = frozenset()
    #: Position of a list's node -> number of the only item that is run, and why the others are not.
    alone: Mapping[int, tuple[int, str]] = field(default_factory=lambda: MappingProxyType({}))
    #: Position of a list's node that is computed anew -> number of the item that this is meant of.
    anew_items: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    #: Positions of which only an earlier result is taken.
    cached: frozenset[int] = frozenset()
    #: Positions that are there only because others need them.
    only_needed: frozenset[int] = frozenset()
    #: What was asked for, such as ``until features``; empty for the whole.
    text: str = ""

    @property
    def tags(self) -> dict[str, str]:
        """What marks the run of a part; empty for the whole."""
        return {"partial": self.text} if self.text else {}

    def is_anew(self, position: int, number: int | None) -> bool:
        """Return whether a call is computed even if there is an earlier result.

        Args:
            position: of the plan's node.
            number: which item of its list it is for; None for none.
        """
        return position in self.anew and number in (None, self.anew_items.get(position, number))

    def refusal(self, node: Node, why: str) -> Refused:
        """Return the refusal of a part that needs an earlier result which is not there.

        Args:
            node: what has no result.
            why: why it has none.
        """
        return Refused(
            f"The part '{self.text}' needs the result of {node.label}, which is not in the cache: {why}.",
            f"Run it first: --until {node.label}.",
        )


#: All of a plan.
WHOLE = Part()


def part_of(plan: Plan, asked: PartAsked) -> Part:
    """Return which nodes of a plan are run.

    Args:
        plan: the whole.
        asked: the part.

    Raises:
        InvalidInput: ``only`` is given beside another, or the end does not need the begin.
        NotFound: the plan has no such step.
    """
    until, from_, only = asked.until, asked.from_, asked.only
    if not (until or from_ or only):
        return WHOLE
    if only and (until or from_):
        raise InvalidInput("'only' cannot be given together with 'until' or 'from'.", "Use 'from' and 'until' together for a range.")
    wanted = set(range(len(plan.nodes)))
    text = " ".join(f"{word} {name}" for word, name in (("from", from_), ("until", until), ("only", only)) if name)
    why = f"only '{text}' was asked for"
    anew: set[int] = set()
    items, ends = dict[int, int](), dict[int, int]()
    if only:
        wanted, ends = _named(plan, only)
        anew, items = wanted, ends
    if from_:
        begin, items = _named(plan, from_)
        wanted = anew = _after(plan, begin)
    if until:
        end, ends = _named(plan, until)
        wanted = (wanted & _before(plan, end)) if from_ else end
        anew = anew & wanted
        if not wanted:
            raise InvalidInput(f"The step {until} does not depend on {from_}.", "Name two steps of which the second needs the first.")
    needed = _before(plan, wanted) - (set() if until and not from_ else wanted)
    taken = wanted | needed
    return Part(
        left_out={node.index: why for node in plan.nodes if node.index not in taken},
        alone={index: (number, why) for index, number in ends.items()},
        anew=frozenset(anew),
        anew_items=items,
        cached=frozenset(needed) if only else frozenset(),
        only_needed=frozenset(needed) if not (until and not from_) else frozenset(),
        text=text,
    )


def check_cached(plan: Plan, part: Part, look: LookUp) -> None:
    """Refuse a part that needs an earlier result which is not there, before a run exists.

    Args:
        plan: the whole.
        part: what of it is run.
        look: looks among earlier results.

    Raises:
        Refused: a result is not there.
    """
    if not part.cached:
        return
    needed = {node.index: "it is not needed" for node in plan.nodes if node.index not in part.cached}
    progress = Progress(plan, look.blobs, needed)
    try:
        for turn in progress.turns():
            if turn.error is not None:
                return  # what is damaged the run itself finds, and computes anew
            output = None
            if not turn.skipped and not turn.node.each:
                output = _earlier(progress.known(turn.node), progress, part, look)
            elif not turn.skipped and progress.expand(turn.node):
                continue
            parent = progress.end(turn.node.index, output)
            if parent is not None:
                progress.end(parent, None)
    except (Corrupt, StepFailed):
        return


def _earlier(node: Node, progress: Progress, part: Part, look: LookUp) -> Output:
    look.read(node)
    key = look.key(node, progress.outputs, {})
    if key.call is None or node.step.options.cache is False:
        raise part.refusal(node, key.why or "it is declared with cache=False")
    found = look.find(node, key.call)
    if found.entry is None:
        raise part.refusal(node, found.why or "it has no earlier result")
    return found.entry.output


def _named(plan: Plan, name: str) -> tuple[set[int], dict[int, int]]:
    """Return the positions of the calls that a name means; of an item, that of its list, and the item's number."""
    item = re.fullmatch(r"(.+)\[(\d+)\]", name)
    bare = item[1] if item else name
    found = {node.index for node in plan.nodes if bare.removesuffix("#1") in (node.label, node.name)}
    if item is None:
        # Without a number the name stands for all calls of the step.
        found |= {node.index for node in plan.nodes if name in (node.label.partition("#")[0], node.name.partition("#")[0])}
    labels = [node.label for node in plan.nodes]
    if not found:
        close = difflib.get_close_matches(bare, labels, 1)
        meant = f"Did you mean {close[0]}? " if close else ""
        raise NotFound(f"The pipeline {plan.name} has no step {name!r}.", f"{meant}Its steps are: {', '.join(labels) or 'none'}.")
    if item is None:
        return found, {}
    lists = {index for index in found if plan.nodes[index].each}
    if not lists:
        raise NotFound(f"The step {bare} is not called for each item of a list, so there is no {name}.", f"Name the step: {bare}.")
    return lists, dict.fromkeys(lists, int(item[2]))


def _before(plan: Plan, ends: set[int]) -> set[int]:
    """Return nodes and all that they need."""
    found = set(ends)
    for node in reversed(plan.nodes):
        if node.index in found:
            found.update(node.inputs)
    return found


def _after(plan: Plan, starts: set[int]) -> set[int]:
    """Return nodes and all that needs them."""
    found = set(starts)
    for node in plan.nodes:
        if found.intersection(node.inputs):
            found.add(node.index)
    return found
