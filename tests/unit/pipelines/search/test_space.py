"""What may vary is written in a small language that is read, never run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InvalidInput
from plimsoll.pipelines.search.space import Choice, Dimension, Float, Int, dimension, read_space


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("int(2,10)", Int(2, 10)),
        (" int( -2 , 10, 4 ) ", Int(-2, 10, 4)),
        ("intlog(1, 1000)", Int(1, 1000, log=True)),
        ("float(0,1)", Float(0, 1)),
        ("float(0,1,0.25)", Float(0, 1, 0.25)),
        ("log(1e-4,1e-1)", Float(1e-4, 1e-1, log=True)),
        ("choice(gini, entropy)", Choice(("gini", "entropy"))),
        ('choice(x, "z z", 3, 1.5, None, True, (64, 64), [1])', Choice(("x", "z z", 3, 1.5, None, True, (64, 64), [1]))),
    ],
)
def test_a_dimension_is_read_and_what_it_prints_is_read_as_the_same(written: str, read: Dimension) -> None:
    assert dimension(written, "p") == read
    assert dimension(str(read), "p") == read
    assert dimension(read, "p") is read


@pytest.mark.parametrize(
    "written",
    [
        "",
        "2,10",
        "int",
        "int()",
        "int(2)",
        "int(10,2)",
        "int(2,10,0)",
        "int(2.5,10)",
        "int(True,10)",
        "int(2,10,1,2)",
        "int(2,x)",
        "int(low=2,high=10)",
        "float(1,0)",
        "float(0,1e999)",
        "float('a',1)",
        "float(0,1,-1)",
        "log(0,1)",
        "log(1,2,3)",
        "intlog(0,10)",
        "intlog(1,10,2)",
        "choice()",
        "choice(a, a)",
        "choice(1, {})",
        "choice(1e999)",
        "choice(__import__('os').getcwd())",
        "int(*[1,2])",
        "normal(0,1)",
        "int(2,10) + 1",
        "int(2,10",
    ],
)
def test_what_cannot_be_read_is_refused_with_its_text_the_parameter_and_how_to_write_it(written: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        dimension(written, "depth")
    assert repr(written) in refused.value.fact
    assert "'depth'" in refused.value.fact
    assert "int(2,10)" in refused.value.remedy


def test_an_object_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'depth' is \\[1, 2\\]"):
        dimension([1, 2], "depth")  # type: ignore[arg-type]


def test_a_parameter_that_is_set_cannot_be_searched_for() -> None:
    with pytest.raises(InvalidInput, match="'depth' is both set and searched for"):
        read_space({"depth": "int(2,10)"}, {"depth": 3})


def test_equal_numbers_of_different_types_are_different_options() -> None:
    assert Choice((1, 1.0, True, "1")).options == (1, 1.0, True, "1")


def test_steps_of_a_float_are_the_decimals_that_a_person_writes() -> None:
    assert Float(0, 1, 0.1).grid() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert Float(0, 1, 0.1).value(0.1 + 0.1 + 0.1) == 0.3
    assert Float(0, 1, 0.3).grid() == [0.0, 0.3, 0.6, 0.9]
    assert Int(1, 10, 4).grid() == [1.0, 5.0, 9.0]


_WHOLE = st.integers(-1000, 1000)


@given(
    st.builds(lambda a, b, s: Int(min(a, b), max(a, b), s), _WHOLE, _WHOLE, st.integers(1, 50))
    | st.builds(lambda a, b: Int(min(a, b), max(a, b), log=True), st.integers(1, 1000), st.integers(1, 1000))
    | st.builds(lambda a, b: Float(min(a, b), max(a, b)), *[st.floats(-1e9, 1e9)] * 2)
    | st.builds(lambda a, b: Float(min(a, b), max(a, b), log=True), *[st.floats(1e-9, 1e9)] * 2)
    | st.lists(st.none() | st.booleans() | st.integers() | st.text(), min_size=1, max_size=5, unique_by=repr).map(
        lambda one: Choice(tuple(one))
    )
)
def test_every_dimension_can_be_written_and_read_again(one: Dimension) -> None:
    assert dimension(str(one), "p") == one
    assert one.value(one.first) in (one.options if isinstance(one, Choice) else [one.low])
