"""Where an answer comes from, also when its request failed first, has rows far apart, or is held by several streams."""

from __future__ import annotations

import pytest

from plimsoll.records.deployment import ExplainPrediction, Explanation
from plimsoll.records.monitor import AppendPredictions, PredictionColumns, SealPredictions
from plimsoll.workspace import PLANE, WORKER
from tests.unit.yard import Yard

NAN = float("nan")

#: Row, time, track, release, output, status.
Line = tuple[int, int, str, str, float, int]


def log(yard: Yard, *lines: Line, environment: str = "production") -> None:
    """Log rows of the request ``r``."""
    yard.sequence += 1
    row, at, track, release, output, status = zip(*lines, strict=True)
    same = {name: (value,) * len(lines) for name, value in {"request_id": "r", "unit": "u", "trace": ""}.items()}
    columns = PredictionColumns(
        **same,  # type: ignore[arg-type]
        row=row,
        at=at,
        track=track,
        release_id=release,
        output=output,
        status=status,
        latency=(900,) * len(lines),
        inputs={"a": (1.0,) * len(lines)},
    )
    yard.workspace.do(
        AppendPredictions(plane="p", sequence=yard.sequence, model="late", environment=environment, rows=columns, counts=()), PLANE
    )


def explain(yard: Yard) -> Explanation:
    return yard.workspace.do(ExplainPrediction(request_id="r"), yard.dana)


def seen(found: Explanation) -> list[tuple[object, object, object]]:
    return [(row["row"], row["at"], row["status"]) for row in found.rows]


@pytest.mark.parametrize("answer_at", [50, 2_000])
def test_a_request_that_failed_and_was_sent_again_is_explained_by_its_answer(yard: Yard, answer_at: int) -> None:
    release = yard.live("one").id
    log(yard, (0, 1_000, "stable", "", NAN, 503))
    log(yard, (0, answer_at, "stable", release, 0.5, 200), (0, answer_at, "shadow", "other", 0.1, 200))
    found = explain(yard)
    assert seen(found) == [(0, answer_at, 200), (0, 1_000, 503), (0, answer_at, 200)]
    assert found.release is not None
    assert found.release.id == release
    assert found.lineage is not None


def test_all_rows_of_a_request_are_found_however_far_apart_they_lie(yard: Yard) -> None:
    release = yard.live("one").id
    log(yard, (0, 5_000, "stable", release, 0.5, 200), (1, 10, "stable", release, 0.6, 200), (2, 9_999_999, "stable", release, 0.7, 200))
    assert seen(explain(yard)) == [(0, 5_000, 200), (1, 10, 200), (2, 9_999_999, 200)]
    yard.workspace.do(SealPredictions(minimum_rows=1), WORKER)
    assert seen(explain(yard)) == [(0, 5_000, 200), (1, 10, 200), (2, 9_999_999, 200)]


def test_an_id_that_several_environments_hold_is_explained_over_all_of_them(yard: Yard) -> None:
    release = yard.live("one").id
    log(yard, (0, 10, "stable", "", NAN, 503), environment="a-first")
    log(yard, (0, 20, "stable", release, 0.5, 200))
    found = explain(yard)
    assert seen(found) == [(0, 20, 200), (0, 10, 503)]
    assert found.release is not None
    assert found.release.id == release


def test_a_request_that_only_failed_is_shown_with_its_failure(yard: Yard) -> None:
    release = yard.live("one").id
    log(yard, (0, 10, "stable", release, NAN, 500), (0, 10, "shadow", "other", 0.1, 200))
    found = explain(yard)
    assert seen(found) == [(0, 10, 500), (0, 10, 200)]
    assert found.release is not None
    assert found.release.id == release
