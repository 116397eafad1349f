"""Tracing a pipeline into a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import InvalidInput
from plimsoll.pipelines.plan import Group, Handle, Literal, Plan, Reference, trace
from plimsoll.pipelines.step import pipeline, step, step_of


@step
def numbers(count: int, start: int = 0) -> list[int]:
    """Count."""
    return list(range(start, start + count))


@step(retries=2, memory="1.5GB", timeout=3)
def total(values: list[int]) -> int:
    """Add up."""
    return sum(values)


@step
def gather(*values: Any, **named: Any) -> Any:
    """Take anything."""
    return values, named


def plan(body: Any, **params: Any) -> Plan:
    return trace(pipeline(body), params)


def test_a_step_called_plainly_is_a_plain_function() -> None:
    assert total(numbers(3)) == 3
    assert numbers.__name__ == "numbers"
    assert numbers.__doc__ == "Count."


def test_a_pipeline_called_plainly_runs_its_steps_as_plain_functions() -> None:
    @pipeline
    def flow(count: int = 4) -> int:
        return total(numbers(count))

    assert flow(5) == 10


def test_tracing_runs_no_step_and_lists_the_calls_in_order() -> None:
    def flow(count: int = 4) -> int:
        return total(numbers(count))

    made = plan(flow)
    assert [node.label for node in made.nodes] == ["numbers", "total"]
    assert made.nodes[1].inputs == (0,)
    assert made.result == Reference(1)
    assert made.params == {"count": 4}


def test_branches_and_loops_over_parameters_shape_the_plan() -> None:
    def flow(counts: tuple[int, ...] = (1, 2), add: bool = True) -> Any:
        made = [numbers(count) for count in counts]
        return {"totals": [total(item) for item in made]} if add else made

    assert [node.label for node in plan(flow).nodes] == ["numbers", "numbers#2", "total", "total#2"]
    assert [node.label for node in plan(flow, add=False, counts=(1,)).nodes] == ["numbers"]
    result = plan(flow).result
    assert isinstance(result, Group)
    assert result.keys == ("totals",)


def test_the_same_call_written_differently_binds_the_same_parameters() -> None:
    def flow() -> Any:
        return [numbers(3), numbers(count=3, start=0)]

    first, second = plan(flow).nodes
    assert first.bound == second.bound == {"count": Literal(3), "start": Literal(0)}


def test_every_argument_of_a_variadic_step_is_named() -> None:
    def flow() -> Any:
        return gather(numbers(1), 2, deep={"a": [numbers(2)]})

    node = plan(flow).nodes[2]
    assert list(node.bound) == ["values[0]", "values[1]", "named[deep]"]
    assert node.inputs == (0, 1)


def test_a_list_changed_after_the_call_stays_as_it_was_in_the_call() -> None:
    def flow() -> Any:
        given = [1]
        made = total(given)
        given.append(2)
        return made

    assert plan(flow).nodes[0].bound == {"values": Literal([1])}


@pytest.mark.parametrize(
    "touch",
    [
        lambda value: bool(value),
        lambda value: list(value),
        lambda value: value.height,
        lambda value: value["a"],
        lambda value: value + 1,
        lambda value: 1 - value,
        lambda value: value == 3,
        lambda value: value < 3,
        lambda value: len(value),
        lambda value: 3 in value,
        lambda value: f"{value}",
        lambda value: str(value),
        lambda value: float(value),
        lambda value: value(),
        lambda value: -value,
        lambda value: total({1: {value}}),
    ],
)
def test_touching_a_result_while_planning_is_refused_with_the_step_named(touch: Any) -> None:
    def flow() -> Any:
        return touch(numbers(3))

    with pytest.raises(InvalidInput, match="numbers") as caught:
        plan(flow)
    assert "inside a step" in caught.value.remedy
    assert "test_plan.py:" in str(caught.value)


def test_what_the_body_raises_is_told_with_its_line() -> None:
    def flow(count: int = 4) -> int:
        if count < 5:
            raise LookupError("too few")
        return total(numbers(count))

    with pytest.raises(InvalidInput, match="too few") as caught:
        plan(flow)
    assert f"LookupError (at {Path(__file__).relative_to(Path.cwd())}:{flow.__code__.co_firstlineno + 2})" in caught.value.fact
    assert isinstance(caught.value.__cause__, LookupError)


@pytest.mark.parametrize(
    "view", [lambda given: given.values(), lambda given: zip(given.values(), strict=True), lambda given: given.items()]
)
def test_the_views_of_a_dict_hold_results_as_lists_do(view: Any) -> None:
    made = plan(lambda: total(view({"a": numbers(1), "b": numbers(2)})))
    assert made.nodes[2].inputs == (0, 1)


def test_a_handle_of_another_plan_is_refused() -> None:
    kept: list[Handle] = []

    def first() -> Any:
        kept.append(numbers(1))  # type: ignore[arg-type]
        return kept[0]

    plan(first)
    with pytest.raises(InvalidInput, match="another pipeline"):
        plan(lambda: total(kept[0]))  # type: ignore[arg-type]


def test_an_unknown_parameter_is_refused_with_the_known_ones() -> None:
    def flow(count: int = 4) -> int:
        return total(numbers(count))

    with pytest.raises(InvalidInput) as caught:
        plan(flow, depth=1)
    assert "depth" in caught.value.fact
    assert "count" in caught.value.remedy


def test_a_wrong_call_of_a_step_is_refused_while_planning() -> None:
    with pytest.raises(InvalidInput, match="numbers"):
        plan(lambda: numbers())  # type: ignore[call-arg]


def test_steps_are_plain_again_after_a_plan_failed() -> None:
    with pytest.raises(InvalidInput):
        plan(lambda: bool(numbers(1)))
    assert numbers(1) == [0]


def test_options_are_read_once_and_refused_when_they_make_no_sense() -> None:
    marked = step_of(total)
    assert marked is not None
    assert (marked.options.memory, marked.options.retries, marked.options.timeout) == (1_500_000_000, 2, 3)
    for options in ({"memory": "much"}, {"retries": -1}, {"timeout": 0}, {"memory": 0}):
        with pytest.raises(InvalidInput):
            step(**options)(numbers)  # type: ignore[call-overload]


def test_coroutines_generators_and_classes_cannot_be_steps() -> None:
    async def later() -> None: ...

    def many() -> Any:
        yield 1

    for wrong in (later, many, int):
        with pytest.raises(InvalidInput):
            step(wrong)


def test_an_argument_that_holds_itself_is_refused_by_its_name() -> None:
    loop: list[Any] = [1]
    loop.append({"more": loop})
    with pytest.raises(InvalidInput, match="The argument 'values' of a step holds itself"):
        plan(lambda: total(loop))
