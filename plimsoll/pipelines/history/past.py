"""What is remembered of runs, their steps and their keys, read once an explanation."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

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

#: Names of parameters and what a call was given for them.
Given = frozenset[tuple[str, Any]]


class _Known:
    """A run's steps, to be found without looking at each."""

    def __init__(self, steps: tuple[StepRecord, ...]) -> None:
        #: The first of each name, of each short name, and all that gave something, by its digest.
        self.names: dict[str, StepRecord] = {}
        self.shorts: dict[str, StepRecord] = {}
        self.gave: dict[str, list[StepRecord]] = {}
        for step in steps:
            self.names.setdefault(step.name, step)
            self.shorts.setdefault(short(step.name), step)
            if step.output is not None:
                self.gave.setdefault(step.output.digest, []).append(step)


class Past:
    """Reads runs, steps and keys through one transaction, each once.

    Args:
        context: the open transaction.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._steps: dict[str, tuple[StepRecord, ...]] = {}
        self._indexes: dict[str, _Known] = {}
        self._parts: dict[str, Parts | None] = {}
        self._runs: dict[str, RunDetail] = {}
        self._lists: dict[tuple[str, str], dict[Given, StepRecord]] = {}

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
        if part.kind == "list":
            return self.named(record.run_id, part.text)
        known = self._known(record.run_id)
        item = known.names.get(part.name)
        if item is not None and item.key == part.digest:
            return item  # the call for an item of a list, which the call for the list names by its key
        # The calls for the items of a list are recorded after the calls of the plan, so the order says nothing.
        gave = [step for step in known.gave.get(part.digest, ()) if step.index != record.index]
        # Two steps may have given the same; the part says which was meant, unless another run of another pipeline has written it.
        meant = [step for step in gave if step.name == part.text] or gave
        if meant:
            return meant[0]
        # One of several outputs has a digest of its own, and the name of its step before its own.
        several = known.names.get(part.text.rpartition(".")[0])
        return several if several is not None and several.output is not None and several.index != record.index else None

    def named(self, run_id: str, name: str) -> StepRecord | None:
        """Return the step of a run that has a name, or that gave the output of that name, or None.

        Args:
            run_id: the run's whole id.
            name: of a step, or with that of one of its outputs behind it.
        """
        names = self._known(run_id).names
        return names.get(name) or names.get(name.rpartition(".")[0])

    def like(self, run_id: str, record: StepRecord) -> StepRecord | None:
        """Return the step of another run that answers to a step: the one of its name, or of its short name.

        An item of a list answers to the one that was given the same there, whatever their places.

        Args:
            run_id: the other run's whole id.
            record: the step.
        """
        known = self._known(run_id)
        found = known.names.get(record.name) or known.shorts.get(short(record.name))
        of = None if found is not None and found.key == record.key else self.list_of(record)
        there = None if of is None else self.like(run_id, of)
        if of is None or there is None:
            return found
        given = self._given(record)
        if given is None or given in (items := self._items(there)):
            return found if given is None else items[given]
        return None if found is not None and self._given(found) in self._items(of) else found

    def items(self, record: StepRecord) -> list[StepRecord]:
        """Return the calls for the items of a list, for the step of the same run that stands for all of them; none for any other.

        Args:
            record: the step.
        """
        names = [name for kind, name in self.parts(record) or {} if kind == "item" and name.startswith(f"{record.name}[")]
        known = self._known(record.run_id).names
        return [known[name] for name in names if name in known]

    def _items(self, record: StepRecord) -> dict[Given, StepRecord]:
        """Return the calls for the items of a list by what they were given."""
        place = record.run_id, record.name
        if place not in self._lists:
            self._lists[place] = {given: item for item in reversed(self.items(record)) if (given := self._given(item)) is not None}
        return self._lists[place]

    def _given(self, record: StepRecord) -> Given | None:
        """Return what tells an item of a list from the others: a value that it was given, or the item of another list that gave it."""
        found = set[tuple[str, Any]]()
        for (kind, name), part in (self.parts(record) or {}).items():
            gave = self.producer(record, part) if kind == "input" else None
            if gave is not None:
                found.add((name, self._given(gave) if self.list_of(gave) is not None else gave.name))
            elif kind in ("param", "input"):
                found.add((name, part.digest))
        return frozenset(found) or None

    def _known(self, run_id: str) -> _Known:
        if run_id not in self._indexes:
            self._indexes[run_id] = _Known(self.steps(run_id))
        return self._indexes[run_id]

    def list_of(self, record: StepRecord) -> StepRecord | None:
        """Return the step of the same run that stands for all items of a list, for the call of one of them; None for any other.

        Args:
            record: the step.
        """
        name, bracket, _ = record.name.rpartition("[")
        return self._known(record.run_id).names.get(name) if bracket and record.name.endswith("]") else None

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
                found = codec.convert(dict(row._mapping), StepRecord, "The stored step")
                return self.like(found.run_id, record) if self.list_of(record) is not None else found
        return None


def short(name: str) -> str:
    """Return what a person calls a step: ``features#2`` for ``pipeline.features#2``.

    Args:
        name: its qualified name.
    """
    return name.rpartition(".")[2]


def labels_of(steps: tuple[StepRecord, ...]) -> dict[str, StepRecord]:
    """Return the steps of a run by the names that the run printed for them: ``clean``, ``clean#2``, ``clean[1]`` for an item of a list.

    Args:
        steps: all steps of the run, in the order of the plan.
    """
    labels = printed(step.name for step in steps)
    found: dict[str, StepRecord] = {}
    for step in steps:
        found.setdefault(labels[step.name], step)
    return found


def printed(names: Iterable[str]) -> dict[str, str]:
    """Return qualified name of a step -> the name that its run printed for it.

    Args:
        names: of a run's steps in the order of the plan; at least those that end alike.
    """
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for name in names:
        of, bracket, number = name.rpartition("[")
        if bracket and of in found:
            found[name] = f"{found[of]}[{number}"
        else:
            own = short(name.partition("#")[0])
            counts[own] = counts.get(own, 0) + 1
            found[name] = own if counts[own] == 1 else f"{own}#{counts[own]}"
    return found


def find_step(steps: tuple[StepRecord, ...], name: str, run_id: str) -> StepRecord:
    """Return a step by its qualified or short name, or by what the run printed for it.

    Args:
        steps: all steps of the run, in the order of the plan.
        name: what a person wrote.
        run_id: the run, for the message.

    Raises:
        NotFound: the run has no such step; the message names those that are near.
    """
    labels = labels_of(steps)
    found = {step.name: step for step in steps}.get(name) or labels.get(name) or labels.get(name.removesuffix("#1"))
    found = found or next((step for step in steps if short(step.name) == name), None)
    if found is not None:
        return found
    if not labels:
        raise NotFound(f"The run {run_id[:16]} has no steps.", "Name a run of a pipeline; list runs with: plimsoll runs list")
    near = difflib.get_close_matches(short(name), labels, n=3) or list(labels)[:20]
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
