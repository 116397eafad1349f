"""How the steps of a run hang together, as their keys tell it: what gave an input, what decided a branch, what made a list."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.pipelines.history.past import Parts, Past, short
from plimsoll.pipelines.keys import CHOSEN_BY
from plimsoll.records.pipeline import KeyPart, StepRecord

#: A step in the earlier run and in the later one.
Pair = tuple[StepRecord, StepRecord]

#: Kinds of parts that say what a step was given.
GIVEN = ("param", "input", "list", "item")


class Links:
    """What lies behind the differences between a step and its like in another run.

    Args:
        past: where runs and keys are read.
        old: the step of the earlier run.
        new: the step of the later run.
        before: what its key was made of.
        after: the same of the later one.
    """

    def __init__(self, past: Past, old: StepRecord, new: StepRecord, before: Parts, after: Parts) -> None:
        self._past, self._old, self._new, self._before, self._after = past, old, new, before, after

    def behind(self, place: tuple[str, str]) -> list[Pair]:
        """Return the steps of which the difference comes; empty when it begins here.

        Args:
            place: kind and name of a part that differs.
        """
        kind, name = place
        if kind not in GIVEN:
            return []
        if chosen := self._chosen(name, surely=True):
            return chosen
        if kind == "param":
            return self._of_list(name)
        first, second = self.producers(place)
        if first is not None and second is not None and short(first.name) == short(second.name):
            return [(first, second)]
        return self._chosen(name, surely=False) or self._grown(first, second) or self._moved(place)

    def items(self) -> dict[tuple[str, str], Pair]:
        """Return the items of a list that answer to each other and differ, by their part in the later key of what stands for the list."""
        pairs = ((self._past.like(self._old.run_id, item), item) for item in self._past.items(self._new))
        return {("item", new.name): (old, new) for old, new in pairs if old is not None and old.key != new.key}

    def producers(self, place: tuple[str, str]) -> tuple[StepRecord | None, StepRecord | None]:
        """Return the steps that gave an input in either run.

        Args:
            place: kind and name of the part.
        """
        before, after = self._before.get(place), self._after.get(place)
        first = self._past.producer(self._old, before) if before else None
        return first, self._past.producer(self._new, after) if after else None

    def _chosen(self, name: str, *, surely: bool) -> list[Pair]:
        """Return the steps that decided which of two things an argument is, when they gave something else.

        Surely: only when the other one was taken; what else they gave may have changed nothing.
        """
        parts: dict[tuple[str, str], list[KeyPart]] = {}
        for each in (self._before, self._after):
            for (kind, place), part in each.items():
                of = place.rpartition(CHOSEN_BY)[0]
                if kind == "choice" and of and (name == of or name.startswith(f"{of}[")):
                    parts.setdefault((kind, place), []).append(part)
        found = [part[0] for part in parts.values() if not surely or (len(part) == 2 and part[0].digest != part[1].digest)]
        return list(decided(self._past, found, self._old, self._new))

    def _of_list(self, name: str) -> list[Pair]:
        """Return the steps that stand for a list, of one of whose items this is the call, when the list is another one."""
        first, second = self._past.list_of(self._old), self._past.list_of(self._new)
        if first is None or second is None:
            return []
        lists = [self._past.parts(each) or {} for each in (first, second)]
        for kind, of in {*lists[0], *lists[1]}:
            if kind in ("param", "list") and (name == of or name.startswith(f"{of}[")):
                digests = [each[kind, of].digest if (kind, of) in each else "" for each in lists]
                if digests[0] != digests[1]:
                    return [(first, second)]
        return []

    def _grown(self, first: StepRecord | None, second: StepRecord | None) -> list[Pair]:
        """Return the steps that stand for a list which has an item in one of the runs only."""
        one = first or second
        of = self._past.list_of(one) if one is not None and None in (first, second) else None
        if of is None:
            return []
        other = self._past.like((self._new if one is first else self._old).run_id, of)
        return [] if other is None else [(of, other) if one is first else (other, of)]

    def _moved(self, place: tuple[str, str]) -> list[Pair]:
        """Return the steps that stand for a list of which a step takes all items, when they came, went or moved."""
        lists: list[StepRecord | None] = []
        for record, parts in ((self._old, self._before), (self._new, self._after)):
            gave = (self._past.producer(record, part) for (_, name), part in parts.items() if name.startswith(f"{place[1]}["))
            lists.append(next((of for each in gave if each is not None and (of := self._past.list_of(each)) is not None), None))
        first, second = lists
        return [(first, second)] if first is not None and second is not None and short(first.name) == short(second.name) else []


def decided(past: Past, choices: list[KeyPart], old: StepRecord, new: StepRecord) -> Iterator[Pair]:
    """Yield the steps that decide and gave something else in the later run.

    Args:
        past: where runs are read.
        choices: parts of kind ``choice``, of either run.
        old: a step of the earlier run.
        new: a step of the later run.
    """
    for choice in choices:
        first, second = past.named(old.run_id, choice.text), past.named(new.run_id, choice.text)
        if first is None and second is not None:
            first = past.like(old.run_id, second)
        if second is None and first is not None:
            second = past.like(new.run_id, first)
        if first is not None and second is not None and _gave(first) != _gave(second):
            yield first, second


def not_run(past: Past, old: StepRecord, new: StepRecord) -> list[Pair]:
    """Return the steps for whose sake a step ran in only one of two runs.

    Args:
        past: where runs and keys are read.
        old: the step of the earlier run.
        new: the step of the later run.
    """
    ran, other = (old, new) if new.state == "skipped" else (new, old)
    parts = past.parts(ran) or {}
    flags = list(decided(past, [part for part in parts.values() if part.kind == "choice"], old, new))
    if flags:
        return flags
    found: list[Pair] = []
    for part in parts.values():
        gave = past.producer(ran, part) if part.kind in ("input", "list", "item") else None
        like = None if gave is None else past.like(other.run_id, gave)
        if gave is not None and like is None:
            # An item of a list that was never spelled out.
            gave = past.list_of(gave)
            like = None if gave is None else past.like(other.run_id, gave)
        if gave is not None and like is not None and like.state in ("skipped", "failed"):
            found.append((gave, like) if ran is old else (like, gave))
    return found


def _gave(step: StepRecord) -> str | None:
    return step.key if step.output is None else step.output.digest
