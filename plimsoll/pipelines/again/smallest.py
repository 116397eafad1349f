"""The smallest set of differences that does it: delta debugging (ddmin of Zeller and Hildebrandt) over reruns.

A rerun is good (it gives the second run's value), not good, or unresolved, because the mixture does not run. An unresolved one never
counts as good, so what is found has been seen to do it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Reruns that one search may take.
_RERUNS = 100

#: So many differences are tried one by one; of more, halves are tried first.
_FEW = 8

#: Relative difference up to which two values of a metric are the same.
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The first run with some differences of the second."""

    #: Names of the differences.
    taken: tuple[str, ...]
    #: The metric; None when the mixture does not run, or does not give it.
    value: float | None
    #: Why there is no value; empty when there is one.
    error: str = ""
    #: Steps that were computed.
    computed: int = 0
    #: Steps whose results came from the cache.
    reused: int = 0


class _Enough(Exception):
    """Ends a search that has taken all of its reruns."""


class Search:
    """Looks for the smallest set that reaches a value, and makes no rerun twice.

    Args:
        run: makes the rerun with the differences at these positions.
        target: the value.
    """

    def __init__(self, run: Callable[[frozenset[int]], Trial], target: float) -> None:
        self._run, self._target = run, target
        #: Every rerun, in order.
        self.known: dict[frozenset[int], Trial] = {}
        #: Nothing can be left out of what was found; else the search ended before.
        self.complete = True
        self._best: frozenset[int] = frozenset()

    def smallest(self, likely: frozenset[int], others: frozenset[int]) -> frozenset[int]:
        """Return a set of which nothing can be left out; all together must reach the value.

        Args:
            likely: positions of the differences that are tried by themselves.
            others: positions of those that are tried together, and taken apart only if that matters.
        """
        self._best = likely | others
        units = [frozenset({index}) for index in sorted(likely)] + ([others] if others else [])
        try:
            found = self._minimal(units, frozenset())
            if others in found and len(others) > 1:
                fixed = frozenset[int]().union(*(unit for unit in found if unit != others))
                parts = self._minimal([frozenset({index}) for index in sorted(others)], fixed)
                # With fewer of the others, some that were needed before may not be any more.
                found = self._minimal([frozenset({index}) for index in sorted(fixed.union(*parts))], frozenset())
            self._best = frozenset[int]().union(*found)
            for index in sorted(self._best) if 1 < len(self._best) <= _FEW else ():
                self._trial(frozenset({index}))
        except _Enough:
            self.complete = False
        return self._best

    def reaches(self, taken: frozenset[int]) -> bool:
        """Return whether these differences alone give the value.

        Args:
            taken: positions of the differences.
        """
        value = self._trial(taken).value
        good = value is not None and same_value(value, self._target)
        if good and len(taken) < len(self._best):
            self._best = taken
        return good

    def _trial(self, taken: frozenset[int]) -> Trial:
        if taken not in self.known:
            if len(self.known) >= _RERUNS:
                raise _Enough
            self.known[taken] = self._run(taken)
        return self.known[taken]

    def _minimal(self, units: Sequence[frozenset[int]], fixed: frozenset[int]) -> list[frozenset[int]]:
        """Return units of which none can be left out; with ``fixed``, all of them together reach the value."""
        if len(units) <= _FEW:
            # All of them, also after the first that does it: the table is half of the answer.
            reached = [unit for unit in units if self.reaches(fixed | unit)]
            if reached:
                return reached[:1]
        left, parts = list(units), 2
        while len(left) >= 2:
            size = math.ceil(len(left) / parts)
            chunks = [left[start : start + size] for start in range(0, len(left), size)]
            smaller = next((chunk for chunk in chunks if self.reaches(fixed.union(*chunk))), None)
            if smaller is not None:
                left, parts = smaller, 2
                continue
            rests = ([unit for unit in left if unit not in chunk] for chunk in chunks) if len(chunks) > 2 else iter(())
            rest = next((rest for rest in rests if self.reaches(fixed.union(*rest))), None)
            if rest is not None:
                left, parts = rest, max(parts - 1, 2)
            elif parts >= len(left):
                break
            else:
                parts = min(len(left), parts * 2)
        return left


def same_value(first: float, second: float) -> bool:
    """Return whether two values of a metric are the same, but for rounding.

    Args:
        first: a value.
        second: another.
    """
    return math.isclose(first, second, rel_tol=_CLOSE, abs_tol=0.0) or (math.isnan(first) and math.isnan(second))
