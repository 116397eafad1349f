from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InvalidInput
from plimsoll.runs.search.language import Comparison, Condition, Every, Name, Not, Order, Some, Unquoted, parsed_filter, parsed_order


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("metrics.auc > 1", Name("metrics", "auc")),
        ("metrics.`a b` > 1", Name("metrics", "a b")),
        ('metrics."a b" > 1', Name("metrics", "a b")),
        ("`metrics`.`a.b` > 1", Name("metrics", "a.b")),
        ("metrics.val/auc-1 > 1", Name("metrics", "val/auc-1")),
        ("tags.mlflow.source.name>1", Name("tags", "mlflow.source.name")),
        ("start_time > 1", Name("", "start_time")),
        ("`run name` > 1", Name("", "run name")),
    ],
)
def test_a_name_may_be_written_in_many_ways(text: str, name: Name) -> None:
    assert parsed_filter(text) == Comparison(name, ">", 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), (".8", 0.8), ("-1e3", -1000.0), ("-inf", float("-inf")), ("'it''s'", "it's"), ('"it\'s"', "it's"), ("'a\\'", "a\\")],
)
def test_a_value_is_a_number_or_a_quoted_text(text: str, value: object) -> None:
    assert parsed_filter(f"tags.t = {text}") == Comparison(Name("tags", "t"), "=", value)  # type: ignore[arg-type]


def test_and_binds_closer_than_or_and_not_closest() -> None:
    a, b, c = (Comparison(Name("", name), "=", 1) for name in "abc")
    assert parsed_filter("a = 1 or not b = 1 and c = 1") == Some((a, Every((Not(b), c))))
    assert parsed_filter("(a=1 or b=1) and c=1") == Every((Some((a, b)), c))


def test_an_empty_filter_lets_all_through() -> None:
    assert parsed_filter("  ") == Every(())


@pytest.mark.parametrize(
    "text",
    ["and a = 1 and b = 1", "a = 1 and b = 1 AND", "AND and a = 1 and and b = 1 and", "(and a = 1 and b = 1 and)", "a = 1 and (b = 1)and"],
)
def test_an_and_that_has_nothing_beside_it_is_left_out_as_mlflow_leaves_it_out(text: str) -> None:
    a, b = (Comparison(Name("", name), "=", 1) for name in "ab")
    assert parsed_filter(text) == Every((a, b))


def test_a_filter_of_nothing_but_and_lets_all_through() -> None:
    assert parsed_filter("and") == parsed_filter(" AND and ") == Every(())


@pytest.mark.parametrize("text", ["or a = 1", "a = 1 or", "a = 1 or and", "a = 1 and or b = 1", "not and a = 1", "()", "(and)", "not"])
def test_no_other_word_is_left_out(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"expected a (name|comparison)"):
        parsed_filter(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("metrics.a >", "found the end"),
        ("metrics.a > 1 metrics.b > 2", "found 'metrics.b' at character 15"),
        ("a = 1;", "';' at character 6"),
        ("a = true", "found 'true' at character 5"),
        ("a in (", "found the end"),
        ("(a = 1", r"expected '\)'"),
        ("a = 'x", "at character 5"),
        ("a = 1\0", "NUL"),
        ("(" * 60, "nests too deeply"),
    ],
)
def test_what_is_not_of_the_language_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parsed_filter(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = 1; drop table runs", "Search filter contained multiple expression 'a = 1; drop table runs'"),
        ("1.0 > metrics.a", "Invalid comparison clause. Expected 'Identifier' found '1.0'"),
        ("'a' = 'b'", "Expected 'Identifier' found"),
        ("tags.t ~ 'x'", "Invalid comparator '~' not one of"),
        ("a in ()", "expected a non-empty list of string values, but got empty list"),
        ("a in (1, 'b')", r"but got different type in list: \(1,'b'\)"),
        ("a in (,)", "but got ill-formed list"),
        ("a in ('b',,'c')", "but got ill-formed list"),
        ("a in ('b' 'c')", "but got ill-formed list"),
    ],
)
def test_a_fault_that_mlflow_names_is_told_in_its_words(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parsed_filter(text)


def test_a_value_without_quotes_is_left_to_what_knows_the_name() -> None:
    assert parsed_filter("metrics.a > nan") == Comparison(Name("metrics", "a"), ">", Unquoted("nan"))
    assert parsed_filter("params.a = `LR` and b = 1") == Every(
        (Comparison(Name("params", "a"), "=", Unquoted("`LR`")), Comparison(Name("", "b"), "=", 1))
    )


@given(st.text())
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        parsed_filter(text)


def test_an_order_is_a_name_and_perhaps_a_direction() -> None:
    assert parsed_order("metrics.`a b` desc") == Order(Name("metrics", "a b"), True)
    assert parsed_order("start_time") == Order(Name("", "start_time"), False)
    for wrong in ("", "metrics.a down", "metrics.a DESC x", "5"):
        with pytest.raises(InvalidInput, match="order_by clause"):
            parsed_order(wrong)


def _plain(key: str) -> bool:
    """Return whether a name keeps the quotes that it may hold."""
    return not (key[0] == key[-1] == '"')


_keys = st.text(st.characters(exclude_characters="`\0"), min_size=1).filter(_plain)
_numbers = st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False))
_texts = st.text(st.characters(exclude_characters="\0"))
_names = st.one_of(
    st.builds(Name, st.just(""), st.sampled_from(["status", "run_name", "x1"])),
    st.builds(Name, st.sampled_from(["metrics", "tags", "params"]), _keys),
)
_values: st.SearchStrategy[tuple[Any, Any]] = st.one_of(
    st.tuples(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE"]), st.one_of(_texts, _numbers)),
    st.tuples(st.sampled_from(["IN", "NOT IN"]), st.lists(_texts, min_size=1, max_size=3).map(tuple)),
    st.tuples(st.sampled_from(["IS NULL", "IS NOT NULL"]), st.none()),
)
_conditions: st.SearchStrategy[Condition] = st.recursive(
    st.builds(lambda name, told: Comparison(name, *told), _names, _values),
    lambda inner: st.one_of(
        st.builds(Every, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Some, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)


def _written(condition: Condition) -> str:
    match condition:
        case Every(parts):
            return "(" + " and ".join(map(_written, parts)) + ")"
        case Some(parts):
            return "(" + " or ".join(map(_written, parts)) + ")"
        case Not(part):
            return f"not {_written(part)}"
    name = f"{condition.name.kind}.`{condition.name.key}`" if condition.name.kind else condition.name.key
    return f"{name} {condition.operator} {_shown(condition.value)}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_shown, value)) + ")"
    return "" if value is None else "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


@given(_conditions)
def test_a_filter_that_was_written_is_read_as_what_it_was(condition: Condition) -> None:
    assert parsed_filter(_written(condition)) == condition
