"""A run as a notebook shows it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from plimsoll.pipelines.engine import StepEvent
from plimsoll.pipelines.loop.shown import Graph, duration, table
from plimsoll.pipelines.plan import trace
from tests.unit.pipelines.bench import Bench

PIPE = """
    import plimsoll
    from plimsoll.pipelines.step import pipeline, step

    @step
    def load(count):
        return list(range(count))

    @step
    def double(number):
        return number * 2

    @step
    def total(numbers):
        return {"sum<b>": sum(numbers)}

    @pipeline
    def flow(count=3):
        return total(plimsoll.map(double, load(count)))
"""


def event(index: int, label: str, state: Any, why: str = "", seconds: float = 0.0) -> StepEvent:
    """Return an event."""
    return StepEvent(index=index, label=label, state=state, why=why, seconds=seconds)


@pytest.fixture
def graph(bench: Bench) -> Graph:
    """The graph of a pipeline with a list in its middle."""
    bench.write("pipe.py", PIPE)
    return Graph(trace(bench.load(), {}))


def texts(graph: Graph) -> list[str]:
    """Return the words of a graph's steps; it must be well formed."""
    root = ElementTree.fromstring(graph.html())
    return [element.text or "" for element in root.iter("text")]


def test_every_step_shows_its_state_and_time(graph: Graph) -> None:
    assert texts(graph) == ["load", "to do", "double", "to do", "total", "to do"]
    assert not graph.moving
    graph.take(event(0, "load", "started"))
    assert texts(graph)[1].startswith("running ")
    assert graph.moving
    graph.take(event(0, "load", "ran", "it has no earlier result", 1.25))
    graph.take(event(2, "total", "hit"))
    assert texts(graph)[1::2] == ["ran 1.2 s", "to do", "hit"]


def test_the_items_of_a_list_are_counted_at_their_step(graph: Graph) -> None:
    for index in (3, 4, 5):
        graph.take(event(index, f"double[{index - 3}]", "started"))
    for index in (3, 4):
        graph.take(event(index, f"double[{index - 3}]", "ran"))
    assert texts(graph)[3].startswith("running 2/3 ")


def test_what_has_not_ended_with_the_run_is_shown_as_stopped_and_moves_no_more(graph: Graph) -> None:
    graph.take(event(0, "load", "ran"))
    graph.take(event(3, "double[0]", "ran"))
    assert graph.moving
    graph.stop()
    assert not graph.moving
    assert texts(graph)[1] == "ran 0 ms"
    assert texts(graph)[3].startswith("stopped 1/1 ")
    assert texts(graph)[5] == "not run"


def test_a_failure_and_a_step_that_ran_in_the_calling_process_are_told_below(graph: Graph) -> None:
    graph.take(event(0, "load", "ran", "it has no earlier result; run in the calling process: it is defined in a notebook"))
    graph.take(event(1, "double", "failed", "ValueError: <b>"))
    assert "run in the calling process: it is defined in a notebook" in graph.html()
    assert "ValueError: &lt;b&gt;" in graph.html()


def test_a_run_that_has_ended_is_a_table_in_which_nothing_of_the_users_is_markup(bench: Bench) -> None:
    bench.write("pipe.py", PIPE)
    shown = bench.run()._repr_html_()
    root = ElementTree.fromstring(shown)
    rows = [[cell.text for cell in row] for row in root.iter("tr")]
    assert [row[:2] for row in rows[1:]] == [
        ["load", "ran"],
        ["double", "ran"],
        ["total", "ran"],
        *([f"double[{n}]", "ran"] for n in range(3)),
    ]
    assert "sum_b_ = 6" in shown
    assert "<script>" not in table("<script>", "<script>", [("<script>", "ran", 0.0, "<script>")], {"<script>": 1.0})


def test_a_long_list_is_cut_and_says_so() -> None:
    shown = table("x", "finished", [(str(number), "hit", 0.0, "") for number in range(203)], {})
    assert shown.count("<tr") == 201
    assert "… and 3 more" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.0124, "12 ms"),
        (0.9996, "1.0 s"),
        (3.44, "3.4 s"),
        (59.97, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3_780, "1 h 3 min"),
    ],
)
def test_a_time_is_told_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text
