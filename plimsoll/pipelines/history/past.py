"""What is remembered of runs, their steps and their keys, read once an explanation."""

from __future__ import annotations

import difflib

from sqlalchemy import select

from plimsoll import codec
from plimsoll.errors import NotFound
from plimsoll.pipelines.cache import get_key_parts, list_steps
from plimsoll.records.pipeline import GetKeyParts, KeyPart, ListSteps, StepRecord
from plimsoll.records.run import GetRun, Run, RunDetail
from plimsoll.runs.lifecycle import get_run
from plimsoll.store.contracts import Context
from plimsoll.store.schema import steps
from plimsoll.store.tables.tracking import runs

#: Kind and name of a part -> the part.
Parts = dict[tuple[str, str], KeyPart]


class Past:
    """Reads runs, steps and keys through one transaction, each once.

    Args:
        context: the open transaction.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._steps: dict[str, tuple[StepRecord, ...]] = {}
        self._parts: dict[str, Parts | None] = {}
        self._runs: dict[str, RunDetail] = {}

    def detail(self, id: str) -> RunDetail:
        """Return a run with what it logged.

        Args:
            id: the run's id, or the beginning of it.

        Raises:
            NotFound: there is no such run.
            InvalidInput: the beginning is too short, or several runs have it.
        """
        if id not in self._runs:
            self._runs[id] = get_run(GetRun(id=id), self.context)
        return self._runs[id]

    def run(self, id: str) -> Run:
        """Return a run.

        Args:
            id: the run's id, or the beginning of it.
        """
        return self.detail(id).run

    def steps(self, run_id: str) -> tuple[StepRecord, ...]:
        """Return a run's steps in the order of the plan.

        Args:
            run_id: the run's whole id.
        """
        if run_id not in self._steps:
            self._steps[run_id] = list_steps(ListSteps(run_id=run_id), self.context)
        return self._steps[run_id]

    def parts(self, record: StepRecord) -> Parts | None:
        """Return what a step's key was made of, or None when it has no key or nothing is remembered of it.

        Args:
            record: the step.
        """
        if record.key is None:
            return None
        if record.key not in self._parts:
            try:
                found = get_key_parts(GetKeyParts(key=record.key), self.context)
                self._parts[record.key] = {(part.kind, part.name): part for part in found}
            except NotFound:
                self._parts[record.key] = None
        return self._parts[record.key]

    def producer(self, record: StepRecord, part: KeyPart) -> StepRecord | None:
        """Return the step of the same run that gave an input, or None when none did.

        Args:
            record: the step that took it.
            part: the input, as its key has it.
        """
        item = next((step for step in self.steps(record.run_id) if step.key == part.digest and step.name == part.name), None)
        if item is not None:
            return item  # the call for an item of a list, which the call for the list names by its key
        # The calls for the items of a list are recorded after the calls of the plan, so the order says nothing.
        others = [step for step in self.steps(record.run_id) if step.index != record.index and step.output is not None]
        gave = [step for step in others if step.output is not None and step.output.digest == part.digest]
        # Two steps may have given the same; the part says which was meant, unless another run of another pipeline has written it.
        named = [step for step in gave if step.name == part.text] or gave
        if named:
            return named[0]
        # One of several outputs has a digest of its own, and the name of its step before its own.
        return next((step for step in others if part.text.startswith(f"{step.name}.") and "." not in part.text[len(step.name) + 1 :]), None)

    def before(self, record: StepRecord) -> StepRecord | None:
        """Return the same step of the newest earlier run that has a key for it; a run of the same experiment comes first.

        Args:
            record: the step.
        """
        query = (
            select(steps)
            .join(runs, runs.c.id == steps.c.run_id)
            .where(steps.c.name == record.name, steps.c.run_id < record.run_id, steps.c.key.is_not(None))
            .order_by(steps.c.run_id.desc())
            .limit(1)
        )
        own = query.where(runs.c.experiment_id == self.run(record.run_id).experiment_id)
        for asked in (own, query):
            row = self.context.tx.execute(asked).one_or_none()
            if row is not None:
                return codec.convert(dict(row._mapping), StepRecord, "The stored step")
        return None


def short(name: str) -> str:
    """Return what a person calls a step: ``features#2`` for ``pipeline.features#2``.

    Args:
        name: its qualified name.
    """
    return name.rpartition(".")[2]


def find_step(steps: tuple[StepRecord, ...], name: str, run_id: str) -> StepRecord:
    """Return a step by its qualified or short name.

    Args:
        steps: all steps of the run.
        name: what a person wrote.
        run_id: the run, for the message.

    Raises:
        NotFound: the run has no such step; the message names those that are near.
    """
    for called in (lambda step: step.name, lambda step: short(step.name)):
        found = next((step for step in steps if called(step) == name), None)
        if found is not None:
            return found
    known = [short(step.name) for step in steps]
    if not known:
        raise NotFound(f"The run {run_id[:16]} has no steps.", "Name a run of a pipeline; list runs with: plimsoll runs list")
    near = difflib.get_close_matches(short(name), known, n=3) or known[:20]
    raise NotFound(f"The run {run_id[:16]} has no step {name!r}.", f"Did you mean: {', '.join(near)}?")


def same_step(steps: tuple[StepRecord, ...], record: StepRecord) -> StepRecord | None:
    """Return the step of another run that answers to a step: of the same qualified name, else of the same short one.

    A notebook's steps keep their short names when they are moved to a module.

    Args:
        steps: all steps of the other run.
        record: the step.
    """
    named = [step for step in steps if step.name == record.name] or [step for step in steps if short(step.name) == short(record.name)]
    return named[0] if named else None
