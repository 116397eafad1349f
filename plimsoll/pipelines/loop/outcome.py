"""How a plan went."""

from __future__ import annotations

from dataclasses import dataclass

from plimsoll.pipelines.loop.progress import Progress
from plimsoll.pipelines.plan import Argument
from plimsoll.records.model import ListGrants
from plimsoll.records.pipeline import Output, RecordSteps, StepRecord
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


def granted(do: Do, output: Output) -> bool:
    """Return whether somebody has allowed the code of a stored model to run.

    Args:
        do: the door.
        output: what a step gave; only a model, or one of several outputs, has code.
    """
    return output.kind == "model" and bool(do(ListGrants(digest=output.digest)))
