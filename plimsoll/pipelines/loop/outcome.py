"""How a plan went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from plimsoll import clock
from plimsoll.errors import Unfingerprintable
from plimsoll.pipelines.keys import argument_parts, digest_parts
from plimsoll.pipelines.loop.progress import Progress
from plimsoll.pipelines.plan import Argument, Node
from plimsoll.records.model import ListGrants
from plimsoll.records.pipeline import KeyPart, Output, RecordSteps, StepRecord
from plimsoll.store.contracts import Do


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a plan went."""

    #: One record a node, in the order of the plan; behind them those of calls for the items of lists.
    records: tuple[StepRecord, ...]
    #: Position -> output, for every node that has one. The outputs of a step that gives several have negative positions.
    outputs: dict[int, Output]
    #: Position -> short name, for every output.
    labels: dict[int, str]
    #: Position -> name of the call, for every output.
    names: dict[int, str]
    #: Positions whose output this run has computed itself.
    made: frozenset[int]
    #: Positions of outputs that are of an item's call, or only needed by the part that was asked for.
    aside: frozenset[int]
    #: What the pipeline returns, with every choice made.
    result: Argument
    #: The last steps, which are still to be recorded; None when all are.
    rest: RecordSteps | None

    @property
    def failed(self) -> StepRecord | None:
        """The first step that failed, or None."""
        return next((record for record in self.records if record.state == "failed"), None)


def outcome_of(
    progress: Progress, records: dict[int, StepRecord], made: set[int], only_needed: frozenset[int], rest: RecordSteps | None
) -> Outcome:
    """Return how a plan went that has come to its end.

    Args:
        progress: its state.
        records: by position.
        made: positions of the nodes whose output the run has computed itself.
        only_needed: positions of the nodes that were not asked for.
        rest: what is still to be recorded.
    """
    places = progress.outputs
    return Outcome(
        records=tuple(records[node.index] for node in progress.nodes),
        outputs=places,
        labels={place: progress.label(place) for place in places},
        names={place: progress.nodes[progress.owner(place)].name for place in places},
        made=frozenset(place for place in places if progress.owner(place) in made),
        aside=frozenset(place for place in places if progress.is_item(place) or progress.owner(place) in only_needed),
        result=progress.result(),
        rest=rest,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEnd:
    """How the node of a list ended, all of whose items have ended."""

    #: How it went.
    state: Literal["hit", "ran", "failed"]
    #: Why items ran or failed, in one line.
    why: str
    #: UTC microseconds at which the first item began.
    started: int
    #: Digest over what was mapped and the keys of the items; None when one of these is not known.
    key: str | None
    #: What that is made of, and what decided it; empty without a key.
    parts: tuple[KeyPart, ...]
    #: Traceback of the first item that failed.
    error: str | None


def list_end(node: Node, progress: Progress, records: Mapping[int, StepRecord]) -> ListEnd:
    """Return how the node of a list ended.

    Args:
        node: as the plan has it.
        progress: the run's.
        records: by position, at least of the items and of what was mapped.
    """
    items = [records[index] for index in progress.items(node.index)]
    failed = [record for record in items if record.state == "failed"]
    ran = sum(record.state == "ran" for record in items)
    keyed = tuple(KeyPart(kind="item", name=record.name, digest=record.key) for record in items if record.key is not None)
    given = _mapped(node, progress, records) if len(keyed) == len(items) else None
    parts = () if given is None else (*given, *keyed)
    if failed:
        labels = ", ".join(progress.label(record.index) for record in failed[:3])
        why = f"{labels}{' and others' if len(failed) > 3 else ''} failed: {failed[0].why}"
    else:
        reasons = {record.why for record in items if record.state == "ran"}
        why = f"{ran} of {len(items)} items ran{f': {reasons.pop()}' if len(reasons) == 1 else ''}" if ran else ""
    return ListEnd(
        state="failed" if failed else "ran" if ran else "hit",
        why=why,
        started=min((record.started for record in items), default=clock.now()),
        key=None if given is None else digest_parts(parts),
        parts=() if given is None else (*parts, *progress.choices(node)),
        error=failed[0].error if failed else None,
    )


def _mapped(node: Node, progress: Progress, records: Mapping[int, StepRecord]) -> tuple[KeyPart, ...] | None:
    """Return what a list's key says of what was mapped; None when it cannot be seen."""
    name, known, source = progress.mapped(node)
    if source is None:
        try:
            return argument_parts(replace(node, bound={name: known}), progress.outputs, {})
        except Unfingerprintable:
            return None
    output = progress.outputs.get(source.index)
    # What stands for the items of another list has no output of its own.
    digest = records[source.index].key or "" if output is None else output.digest
    return (KeyPart(kind="list", name=name, digest=digest, text=progress.name(source.index)),)


def granted(do: Do, output: Output) -> bool:
    """Return whether somebody has allowed the code of a stored model to run.

    Args:
        do: the door.
        output: what a step gave; only a model, or one of several outputs, has code.
    """
    return output.kind == "model" and bool(do(ListGrants(digest=output.digest)))
