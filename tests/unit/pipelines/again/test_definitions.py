"""Two versions of a file, mixed definition by definition."""

from __future__ import annotations

import ast
from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.pipelines.again.definitions import differing, mixed

OLD = '''"""A model."""
import os, sys
from a import f, g

LIMIT = 15


def helper(x):
    return x + LIMIT


def caller(x):
    return helper(x)


class Model(Base):
    depth: int = 3

    @property
    def rate(self):
        return 1

    @rate.setter
    def rate(self, value):
        pass

    def fit(self):
        return 1

    def gone(self):
        return 2


register("a", caller)
for each in range(3):
    print(each)
'''

NEW = '''"""A model."""
from __future__ import annotations
import json
import os
from a import f
from b import g

LIMIT = 5


def assist(x):
    return json.loads(x) + LIMIT


def caller(x):
    return assist(x)


class Model(Base):
    depth: int = 4

    @property
    def rate(self):
        return 1

    @rate.setter
    def rate(self, value):
        self.value = value

    def fit(self):
        return 2

    def added(self):
        return 3


register("b", caller)
for each in range(3):
    print(each)
'''


def plain(text: str) -> str:
    return ast.unparse(ast.parse(text))


def test_each_definition_that_differs_is_named_with_what_goes_where_it_goes() -> None:
    assert {label: (each.kind, each.told, each.brings) for label, each in differing(OLD, NEW).items()} == {
        "import annotations": ("import", " is new", ()),
        "import g": ("import", ": from a import g -> from b import g", ()),
        "LIMIT": ("constant", ": 15 -> 5", ()),
        "caller": ("function", " changed", ("import json", "assist", "helper")),
        "Model.depth": ("constant", ": 3 -> 4", ()),
        "Model.rate#2": ("method", " changed", ()),
        "Model.fit": ("method", " changed", ()),
        "Model.added": ("method", " is new", ()),
        "Model.gone": ("method", " is gone", ()),
        "statement 2": ("statement", ": register('a', caller) -> register('b', caller)", ()),
        "import sys": ("import", " is gone", ()),
    }


def test_every_mixture_is_python_and_the_ends_are_the_versions() -> None:
    labels = list(differing(OLD, NEW))
    assert (mixed(OLD, NEW, []), mixed(OLD, NEW, labels)) == (OLD, NEW)
    for taken in chain(combinations(labels, 1), combinations(labels, 2), combinations(labels, len(labels) - 1)):
        compile(mixed(OLD, NEW, taken), "mixed.py", "exec")


def test_what_is_taken_is_new_and_all_else_is_old() -> None:
    text = mixed(OLD, NEW, ["Model.fit", "LIMIT"])
    wanted = OLD.replace("LIMIT = 15", "LIMIT = 5").replace("def fit(self):\n        return 1", "def fit(self):\n        return 2")
    assert plain(text) == plain(
        wanted.replace("import os, sys", "import os\nimport sys").replace("import f, g", "import f\nfrom a import g")
    )


def test_a_new_helper_comes_with_the_first_that_needs_it_and_an_old_one_goes_with_the_last() -> None:
    old = "def scale(x):\n    return x\n\ndef one(x):\n    return scale(x)\n\ndef two(x):\n    return scale(x)\n"
    new = old.replace("scale", "twice")
    assert {label: each.brings for label, each in differing(old, new).items()} == {"one": ("twice", "scale"), "two": ("twice", "scale")}
    half = mixed(old, new, ["one"])
    assert [name in half for name in ("def twice", "def scale")] == [True, True]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("def f():\n    return sum([1])\n", "def sum(x):\n    return 0\n\ndef f():\n    return sum([1])\n"),
        ("K = 1\n", "import noise\nK = 2\n"),
        ("NAMES = ['late']\n", "NAMES = ['late', 'x']\ndef late():\n    return 1\n"),
    ],
)
def test_what_is_new_and_may_act_by_itself_is_a_difference_of_its_own(old: str, new: str) -> None:
    assert [each for each in differing(old, new).values() if each.told.startswith(" is new")]


def test_files_that_can_only_be_taken_whole_have_no_definitions() -> None:
    assert differing("x = 1\n", "x = = 2\n") == {}
    assert differing("x = 1  # one\n", "x = 1  # two\n") == {}


def test_the_order_of_definitions_is_a_difference() -> None:
    old, new = "A = 1\nB = 2\n", "B = 2\nA = 1\n"
    assert list(differing(old, new)) == ["(order)"]
    old, new = "A = 1\nB = 2\nC = 3\n", "B = 2\nA = 1\nC = 4\n"
    assert plain(mixed(old, new, ["(order)"])) == plain("B = 2\nA = 1\nC = 3\n")


LINES = [
    "import a",
    "from b import c, d",
    "x = 1",
    "x = 2",
    "y = x",
    "def f():\n    return x",
    "def f():\n    return y",
    "print(f)",
    "x += 1",
]
LINES += [
    "class K:\n    z = 1\n    def m(self):\n        return x",
    "class K:\n    def m(self):\n        return y\n    z = 2",
    "import a as f",
]


@given(st.lists(st.sampled_from(LINES), max_size=8), st.lists(st.sampled_from(LINES), max_size=8), st.data())
def test_whatever_the_versions_all_but_one_are_python_and_all_are_the_second(
    first: list[str], second: list[str], data: st.DataObject
) -> None:
    old, new = "\n".join(first), "\n".join(second)
    found = differing(old, new)
    if plain(old) == plain(new):
        assert not found
        return
    assert found
    assert mixed(old, new, found) == new
    compile(mixed(old, new, data.draw(st.sets(st.sampled_from(sorted(found))))), "mixed.py", "exec")


@given(st.lists(st.sampled_from(LINES), max_size=8), st.lists(st.sampled_from(LINES), max_size=8))
def test_all_differences_but_one_give_all_of_the_second_version_but_that(first: list[str], second: list[str]) -> None:
    old, new = "\n".join([*first, "LAST = 1"]), "\n".join([*second, "LAST = 2"])
    made = mixed(old, new, differing(old, new).keys() - {"LAST"})
    one, other = (plain(text).replace("import c, d", "import c\nfrom b import d") for text in (made, "\n".join([*second, "LAST = 1"])))
    assert one == other
