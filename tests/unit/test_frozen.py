"""Records are what ``dataclasses`` would make of them, but their methods are made when they are first needed."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import threading
from dataclasses import FrozenInstanceError, field
from typing import Any, Generic, TypeVar

import pytest

from plimsoll import codec, verbs
from plimsoll.frozen import dataclass

T = TypeVar("T")


class Base(Generic[T]):
    """A base as requests have one."""

    __slots__ = ()


def written() -> type[Any]:
    """Return a class as it is written, anew each time."""

    class Point(Base[int]):
        """A place."""

        #: From the left.
        x: int
        #: From below.
        y: int = 2
        #: Words about it.
        words: dict[str, str] = field(default_factory=dict, compare=False)
        #: Not shown.
        secret: str = field(default="s", repr=False)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError(f"x is {self.x}")

    return Point


def record() -> type[Any]:
    """Return the class as a record."""
    return dataclass(frozen=True, slots=True, kw_only=True)(written())


def standard() -> type[Any]:
    """Return the class as the standard library makes it."""
    return dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(written())


def test_methods_are_made_when_an_object_is_first_made() -> None:
    made = record()
    first = {name: vars(made)[name] for name in ("__init__", "__repr__", "__eq__", "__hash__")}
    assert made(x=1).y == 2
    assert all(vars(made)[name] is not method for name, method in first.items())
    assert inspect.signature(made.__init__) == inspect.signature(standard().__init__)


@pytest.mark.parametrize(
    "look",
    [
        repr,
        lambda point: hash(point) == hash(codec.convert({"x": 1}, type(point))),
        lambda point: point == codec.convert({"x": 1, "words": {"a": "b"}}, type(point)),
        lambda point: point == codec.convert({"x": 2}, type(point)),
        lambda point: point != 5,
        lambda point: copy.deepcopy(point) == point,
        lambda point: dataclasses.asdict(dataclasses.replace(point, x=7)),
        codec.to_json,
    ],
)
def test_an_object_that_was_decoded_is_as_the_standard_librarys(look: Any) -> None:
    """Decoding calls no ``__init__``: here each of the other methods is what is needed first."""
    found, wanted = (look(codec.convert({"x": 1, "secret": "t"}, made)) for made in (record(), standard()))
    assert found == wanted


def test_what_is_refused_is_refused_in_the_same_words() -> None:
    def told(made: type[Any]) -> list[str]:
        said = []
        for begin in (lambda: made(), lambda: made(1), lambda: made(x=1, z=2), lambda: made(x=-1), lambda: setattr(made(x=1), "x", 2)):
            with pytest.raises((TypeError, ValueError, FrozenInstanceError)) as error:
                begin()
            said.append(f"{error.type.__name__}: {error.value}".replace("written.<locals>.", ""))
        point = made(x=1)
        with pytest.raises(FrozenInstanceError) as deleted:
            del point.x
        return [*said, str(deleted.value)]

    assert told(record()) == told(standard())


def test_another_kind_of_class_is_refused() -> None:
    with pytest.raises(TypeError, match="frozen, slotted and keyword-only"):
        dataclass(frozen=False, slots=True, kw_only=True)


def test_threads_may_make_the_first_objects_together() -> None:
    made = record()
    gate, points = threading.Barrier(8), []

    def make(x: int) -> None:
        gate.wait()
        points.append(made(x=x))

    threads = [threading.Thread(target=make, args=(x,)) for x in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {point.x for point in points} == set(range(8))
    assert len(set(points)) == 8


def test_every_request_has_slots_and_cannot_be_changed() -> None:
    for verb in verbs.VERBS:
        names = [each.name for each in dataclasses.fields(verb.request)]
        assert "__dict__" not in dir(verb.request), verb.name
        empty = object.__new__(verb.request)
        with pytest.raises(FrozenInstanceError):
            setattr(empty, (names or ["anything"])[0], 1)
