"""A step that changes what it is given says so where a later step would have seen it in a plain call."""

from __future__ import annotations

import pytest

from tests.unit.pipelines.bench import Bench, states

PIPE = """
    from typing import NamedTuple
    import numpy as np
    import pandas as pd
    import polars as pl
    from plimsoll.pipelines.step import map as each_of, pipeline, step

    class Halves(NamedTuple):
        low: list
        high: list

    @step
    def load(kind):
        rows = [3, 1, 2]
        return {"list": rows, "dict": {"x": rows}, "array": np.array(rows), "pandas": pd.DataFrame({"x": rows}),
                "polars": pl.DataFrame({"x": rows})}[kind]

    @step
    def split() -> Halves:
        return Halves([2, 1], [4, 3])

    def changed(rows):
        if isinstance(rows, list):
            rows.sort()
        elif isinstance(rows, np.ndarray):
            rows += 1
        elif isinstance(rows, pl.DataFrame):
            rows[0, "x"] = 7
        elif isinstance(rows, pd.DataFrame):
            rows["y"] = 1
        else:
            rows["x"].append(1)
        return len(rows)

    @step
    def clean(rows):
        return changed(rows)

    @step
    def count(rows):
        return len(rows)

    @step
    def add(x, rows):
        rows.append(x)
        return x

    @pipeline
    def flow(kind: str = "list"):
        rows = load(kind)
        return {"clean": clean(rows), "count": count(rows)}

    @pipeline
    def last(kind: str = "list"):
        rows = load(kind)
        return {"count": count(rows), "clean": clean(rows)}

    @pipeline
    def returned(kind: str = "list"):
        rows = load(kind)
        return {"clean": clean(rows), "rows": rows}

    @pipeline
    def halves():
        low, high = split()
        return [clean(low), count(high), clean(high)]

    @pipeline
    def mapped():
        return each_of(add, load("list"), load("list"))
"""

WARNING = "it changed its argument rows in place"


@pytest.fixture(autouse=True)
def written(bench: Bench) -> None:
    """The pipelines of these tests."""
    bench.write("pipe.py", PIPE)


@pytest.mark.parametrize("kind", ["list", "dict", "array", "pandas", "polars"])
def test_a_change_that_a_later_step_does_not_see_is_told(bench: Bench, kind: str) -> None:
    result = bench.run(kind=kind)
    assert WARNING in result["clean"].why
    assert "return a changed copy" in result["clean"].why
    assert WARNING not in result["count"].why
    assert states(bench.run(kind=kind))["clean"] == "hit"


def test_a_change_that_nobody_could_see_is_not_told(bench: Bench) -> None:
    assert WARNING not in bench.run("pipe.py:last")["clean"].why
    assert all(WARNING not in step.why for step in bench.run("pipe.py:halves").steps)


def test_it_is_told_of_what_the_pipeline_returns_and_of_what_all_items_get(bench: Bench) -> None:
    result = bench.run("pipe.py:returned")
    assert WARNING in result["clean"].why
    assert result["load"].load() == [3, 1, 2]
    assert WARNING in bench.run("pipe.py:mapped")["add[0]"].why


def test_it_is_told_from_a_process_of_its_own_as_well(bench: Bench) -> None:
    assert WARNING in bench.run(executor="processes")["clean"].why


def test_the_order_of_keywords_that_a_step_collects_counts(bench: Bench) -> None:
    source = """
        from plimsoll import pipeline, step
        @step
        def one():
            return 1
        @step
        def names(first=0, **options):
            return list(options)
        @pipeline
        def flow():
            return names(CALL)
    """
    found = []
    for call in ("a=one(), b=2", "b=2, a=one()", "first=0, b=2, a=one()"):
        bench.write("pipe.py", source.replace("CALL", call))
        result = bench.run()
        found.append((result.value, result["names"].state))
    assert found == [(["a", "b"], "ran"), (["b", "a"], "ran"), (["b", "a"], "hit")]
