"""What was moved in, what was here already, what was left out, and what is not the same: the table at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from plimsoll.errors import Conflict, InvalidInput, NotFound, Refused
from plimsoll.sdk.moving.sources.source import Notes

#: What is counted, in the order of the table; a kind of one thing is how it is named when it is left out.
KINDS = {
    "experiment": "experiments",
    "run": "runs",
    "param": "params",
    "tag": "tags",
    "point": "points",
    "dataset": "datasets",
    "artifact": "artifacts",
    "byte": "bytes",
    "logged model": "logged models",
    "model": "models",
    "version": "versions",
    "alias": "aliases",
}

#: Errors that concern one thing: it is left out and named, and the rest goes on. Any other ends the command.
_OF_ONE = (InvalidInput, Conflict, NotFound, Refused)


@dataclass(slots=True)
class Count:
    """How many of a kind."""

    #: Written now, read back and compared.
    copied: int = 0
    #: Here before.
    here: int = 0
    #: Not moved in.
    left: int = 0
    #: Here, but not as at the source.
    different: int = 0


@dataclass(slots=True)
class Ledger:
    """The counts of one import."""

    #: What is not moved in; the source adds what it cannot read.
    notes: Notes = field(default_factory=Notes)
    #: By kind.
    counts: dict[str, Count] = field(default_factory=lambda: {kind: Count() for kind in KINDS})
    #: What is here, but not as at the source: a sentence each.
    differences: list[str] = field(default_factory=list)

    def copied(self, kind: str, number: int = 1) -> None:
        """Count what was written and compared.

        Args:
            kind: a key of ``KINDS``.
            number: how many.
        """
        self.counts[kind].copied += number

    def here(self, kind: str, number: int = 1) -> None:
        """Count what was here before.

        Args:
            kind: a key of ``KINDS``.
            number: how many.
        """
        self.counts[kind].here += number

    def differs(self, kind: str, fact: str) -> None:
        """Note what is here, but not as at the source.

        Args:
            kind: a key of ``KINDS``.
            fact: a sentence.
        """
        self.counts[kind].different += 1
        self.differences.append(fact)

    def leave(self, kind: str, name: str, reason: str) -> None:
        """Note what is not moved in.

        Args:
            kind: a key of ``KINDS``.
            name: what it is called.
            reason: why.
        """
        self.notes.leave(kind, name, reason)

    @contextlib.contextmanager
    def refusals(self, kind: str, name: str) -> Iterator[None]:
        """Note as left out what one of the platform's rules refuses while the block runs, and go on.

        Args:
            kind: a key of ``KINDS``.
            name: what it is called.
        """
        try:
            yield
        except _OF_ONE as error:
            self.leave(kind, name, str(error))

    def settle(self) -> None:
        """Count what was left out, by kind."""
        for left in self.notes.left:
            if left.kind in self.counts:
                self.counts[left.kind].left += 1

    @property
    def whole(self) -> bool:
        """Whether everything came, and is the same."""
        return not self.notes.left and not self.differences
