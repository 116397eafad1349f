"""A part of a pipeline: up to a step, from a step on, or a step alone. Keys are those of the whole, so nothing can be spoilt."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from plimsoll.errors import InvalidInput, NotFound, Refused
from plimsoll.pipelines.plan import Node, Plan
from plimsoll.records.pipelines.part import PartAsked


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which nodes of a plan are run, and how."""

    #: Position -> why it is not run.
    left_out: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    #: Positions that are computed even if there is an earlier result.
    anew: frozenset[int] = frozenset()
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
    anew: set[int] = set()
    if only:
        wanted = anew = _named(plan, only)
    if from_:
        wanted = anew = _after(plan, _named(plan, from_))
    if until:
        end = _named(plan, until)
        wanted = (wanted & _before(plan, end)) if from_ else end
        anew = anew & wanted
        if not wanted:
            raise InvalidInput(f"The step {until} does not depend on {from_}.", "Name two steps of which the second needs the first.")
    needed = _before(plan, wanted) - (set() if until and not from_ else wanted)
    taken = wanted | needed
    return Part(
        left_out={node.index: f"only '{text}' was asked for" for node in plan.nodes if node.index not in taken},
        anew=frozenset(anew),
        cached=frozenset(needed) if only else frozenset(),
        only_needed=frozenset(needed) if not (until and not from_) else frozenset(),
        text=text,
    )


def _named(plan: Plan, name: str) -> set[int]:
    found = {node.index for node in plan.nodes if name in (node.label, node.name)}
    # Without a number the name stands for all calls of the step.
    found |= {node.index for node in plan.nodes if name in (node.label.partition("#")[0], node.name.partition("#")[0])}
    if not found:
        labels = [node.label for node in plan.nodes]
        close = difflib.get_close_matches(name, labels, 1)
        meant = f"Did you mean {close[0]}? " if close else ""
        raise NotFound(f"The pipeline {plan.name} has no step {name!r}.", f"{meant}Its steps are: {', '.join(labels) or 'none'}.")
    return found


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
