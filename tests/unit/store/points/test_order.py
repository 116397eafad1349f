from __future__ import annotations

import math
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.store.points.chunks import block, joined
from plimsoll.store.points.order import Bounds, Chart, between, in_order, page

_VALUE = st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, 2.0, -1.0]) | st.floats()
_STEP = st.integers(-3, 12) | st.integers(-(2**63), 2**63 - 1)
_PARTS = st.lists(st.lists(st.tuples(_STEP, _VALUE), min_size=1, max_size=30), min_size=1, max_size=5)


def _needed(points: list[tuple[int, float]], low: int, high: int, width: int) -> list[int]:
    """Return which of the ordered points a chart needs, the slow way."""
    columns: dict[int, list[int]] = {}
    for at, (step, _) in enumerate(points):
        columns.setdefault((step - low) * width // (high - low + 1), []).append(at)
    kept: set[int] = set()
    for inside in columns.values():
        kept |= {inside[0], inside[-1]}
        numbers = [at for at in inside if not math.isnan(points[at][1])]
        if len(numbers) < len(inside):
            kept.add(next(at for at in inside if at not in numbers))
        if numbers:
            kept |= {min(numbers, key=lambda at: points[at][1]), max(numbers, key=lambda at: points[at][1])}
    return sorted(kept)


@settings(max_examples=300, deadline=None)
@given(parts=_PARTS, width=st.integers(1, 20), bounds=st.none() | st.tuples(st.integers(-3, 12), st.integers(-3, 12)))
def test_thinning_part_by_part_keeps_what_each_column_needs(
    parts: list[list[tuple[int, float]]], width: int, bounds: tuple[int, int] | None
) -> None:
    whole = sorted((point for part in parts for point in part), key=lambda point: point[0])
    low, high = (whole[0][0], whole[-1][0]) if bounds is None else (min(bounds), max(bounds))
    whole = [point for point in whole if low <= point[0] <= high]
    chart, at, kept = Chart(low, high, width), 0, []
    for part in parts:
        columns = block([step for step, _ in part], range(at, at + len(part)), [value for _, value in part])
        kept.append(block(*(each.tolist() for each in chart.thinned(between(in_order(columns), low, high)))))
        at += len(part)
    columns = chart.thinned(in_order(joined(kept)))
    found = [(step, struct.pack("<d", value)) for step, value in zip(columns.steps.tolist(), columns.values.tolist(), strict=True)]
    assert found == [(whole[at][0], struct.pack("<d", whole[at][1])) for at in _needed(whole, low, high, width)]


@settings(max_examples=300, deadline=None)
@given(parts=_PARTS, first=st.integers(0, 60), count=st.integers(0, 60))
def test_a_page_is_a_part_of_the_whole_order(parts: list[list[tuple[int, float]]], first: int, count: int) -> None:
    numbered, at = [], 0
    for part in parts:
        numbered.append([(step, at + place) for place, (step, _) in enumerate(part)])
        at += len(part)
    bounds = [Bounds(index, len(part), min(step for step, _ in part), max(step for step, _ in part)) for index, part in enumerate(numbered)]
    chosen, passed = page(bounds, first, count)
    some = sorted((point for index in chosen for point in numbered[index]), key=lambda point: point[0])
    whole = sorted((point for part in numbered for point in part), key=lambda point: point[0])
    assert some[passed : passed + count] == whole[first : first + count]


def test_a_page_of_a_long_history_reads_the_chunks_that_hold_it() -> None:
    bounds = [Bounds(index, 100, 100 * index, 100 * index + 99) for index in range(50)]
    assert page(bounds, 1_050, 100) == ([10, 11], 50)
    assert page(bounds, 5_000, 100) == ([], 0)
    # All at one step: the order is that of arrival, and each chunk stands alone.
    assert page([Bounds(index, 100, 0, 0) for index in range(50)], 200, 100) == ([2], 0)
