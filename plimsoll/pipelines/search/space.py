"""What a parameter may be in a search: ``int(2,10)``, ``log(1e-4,1e-1)``, ``choice(a,b)``; written as text or as objects."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from plimsoll import codec
from plimsoll.errors import InvalidInput, PlimsollError

_FIX = "Write int(2,10), int(2,10,2), float(0,1), float(0,1,0.1), log(1e-4,1e-1), intlog(1,1000) or choice(a,b)."

_FORM = re.compile(r"\s*(int|float|log|intlog|choice)\s*\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number from ``low`` to ``high``, both included."""

    #: Smallest value.
    low: int
    #: Largest value.
    high: int
    #: Distance of neighbours; 1 with ``log``.
    step: int = 1
    #: Whether orders of magnitude are equally likely.
    log: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        whole = all(isinstance(number, int) and not isinstance(number, bool) for number in (self.low, self.high, self.step))
        if not whole or self.low > self.high or self.step < 1:
            raise InvalidInput(f"{self} is no range of whole numbers.", "Use whole numbers, the smaller first, and a step of 1 or more.")
        if self.log and (self.low < 1 or self.step != 1):
            raise InvalidInput(f"{self} is no range of magnitudes.", "Begin at 1 or more, without a step.")

    def __str__(self) -> str:
        if self.log:
            return f"intlog({self.low}, {self.high})"
        return f"int({self.low}, {self.high})" if self.step == 1 else f"int({self.low}, {self.high}, {self.step})"

    @property
    def first(self) -> float:
        """A point of it."""
        return self.low

    def value(self, point: float) -> int:
        """Return the parameter's value.

        Args:
            point: what the sampler proposed.
        """
        return int(point)

    def grid(self) -> list[float] | None:
        """Return every point, in order, or None when there are too many to try each."""
        return None if self.log else [float(number) for number in range(self.low, self.high + 1, self.step)]


@dataclass(frozen=True, slots=True)
class Float:
    """A number from ``low`` to ``high``, both included."""

    #: Smallest value.
    low: float
    #: Largest value.
    high: float
    #: Distance of neighbours, or None for any number in between.
    step: float | None = None
    #: Whether orders of magnitude are equally likely.
    log: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        numbers = (self.low, self.high, 1.0 if self.step is None else self.step)
        sound = all(isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) for number in numbers)
        if not sound or self.low > self.high or numbers[2] <= 0:
            raise InvalidInput(f"{self} is no range of numbers.", "Use numbers, the smaller first, and a step above 0.")
        if self.log and (self.low <= 0 or self.step is not None):
            raise InvalidInput(f"{self} is no range of magnitudes.", "Begin above 0, without a step.")

    def __str__(self) -> str:
        if self.log:
            return f"log({self.low!r}, {self.high!r})"
        return f"float({self.low!r}, {self.high!r})" if self.step is None else f"float({self.low!r}, {self.high!r}, {self.step!r})"

    @property
    def first(self) -> float:
        """A point of it."""
        return self.low

    def value(self, point: float) -> float:
        """Return the parameter's value.

        Args:
            point: what the sampler proposed.
        """
        if self.step is None:
            return float(point)
        # In decimals, so that 0.1 + 2 * 0.1 is the 0.3 that a person writes, and the same result is found again.
        return self._at(round((point - self.low) / self.step))

    def _at(self, index: int) -> float:
        return float(Decimal(str(self.low)) + index * Decimal(str(self.step)))

    def grid(self) -> list[float] | None:
        """Return every point, in order, or None when there is no end of them."""
        if self.step is None:
            return None
        count = (Decimal(str(self.high)) - Decimal(str(self.low))) // Decimal(str(self.step))
        return [self._at(index) for index in range(int(count) + 1)]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values: numbers, text, True, False, None, or lists and tuples of them."""

    #: The values; each once.
    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(self.options))
        if not self.options or not all(_plain(option) for option in self.options):
            raise InvalidInput(f"{self} is no choice.", "Give one or more numbers, texts, True, False, None, or tuples of them.")
        if len({codec.canonical([type(option).__name__, option]) for option in self.options}) < len(self.options):
            raise InvalidInput(f"{self} has a value twice.", "Name each value once.")

    def __str__(self) -> str:
        return f"choice({', '.join(map(repr, self.options))})"

    @property
    def first(self) -> float:
        """A point of it."""
        return 0.0

    def value(self, point: float) -> Any:
        """Return the parameter's value.

        Args:
            point: position of an option.
        """
        return self.options[int(point)]

    def grid(self) -> list[float] | None:
        """Return every point, in order."""
        return [float(index) for index in range(len(self.options))]


Dimension = Int | Float | Choice


def dimension(written: Dimension | str, name: str) -> Dimension:
    """Return what a parameter may be.

    Args:
        written: such as ``int(2,10)``, or the object itself.
        name: the parameter, for messages.

    Raises:
        InvalidInput: it is not written like this; the message has the text and the parameter's name.
    """
    if not isinstance(written, str):
        if not isinstance(written, Int | Float | Choice):
            raise InvalidInput(f"The space of {name!r} is {written!r}, which is no range and no choice.", _FIX)
        return written
    form = _FORM.fullmatch(written)
    if form is None:
        raise InvalidInput(f"The space of {name!r} is written {written!r}.", _FIX)
    given = _arguments(form[2], written, name, words=form[1] == "choice")
    try:
        match form[1]:
            case "choice":
                return Choice(tuple(given))
            case "int":
                return Int(*given)
            case "intlog":
                return Int(*_two(given), log=True)
            case "log":
                return Float(*_two(given), log=True)
            case _:
                return Float(*given)
    except (TypeError, PlimsollError) as error:
        fact = error.fact if isinstance(error, PlimsollError) else "It has not the right number of bounds."
        raise InvalidInput(f"The space of {name!r} is written {written!r}: {fact}", _FIX) from error


def read_space(written: Mapping[str, Dimension | str], given: Container[str] = ()) -> dict[str, Dimension]:
    """Return what each parameter of a search may be.

    Args:
        written: parameter -> text or object.
        given: parameters that were set to one value by whoever asks for the search.

    Raises:
        InvalidInput: one is not written as it should be, or is set as well.
    """
    for name in written:
        if name in given:
            raise InvalidInput(f"The parameter {name!r} is both set and searched for.", "Leave one of the two out.")
    return {name: dimension(one, name) for name, one in written.items()}


def _arguments(text: str, written: str, name: str, words: bool) -> list[Any]:
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.keywords:
            raise ValueError("it has names in it")
        return [argument.id if words and isinstance(argument, ast.Name) else ast.literal_eval(argument) for argument in call.args]
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidInput(f"The space of {name!r} is written {written!r}, which cannot be read.", _FIX) from error


def _two(given: list[Any]) -> tuple[Any, Any]:
    if len(given) != 2:
        raise TypeError
    return given[0], given[1]


def _plain(option: Any) -> bool:
    if isinstance(option, list | tuple):
        return all(_plain(item) for item in option)
    return option is None or isinstance(option, str | bool | int) or (isinstance(option, float) and math.isfinite(option))
