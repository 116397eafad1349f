"""The parts of the demo that compute something."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from plimsoll import codec
from plimsoll.cli.demo.ledger import WAYS, Ledger, compare, money
from plimsoll.cli.demo.traffic import by_day, encode, request_id
from plimsoll.records.model import Costs

COSTS = Costs(false_alarm=200.0, missed=600.0)


def test_money_counts_both_mistakes_at_their_price() -> None:
    assert money([True, True, False, False], [1, 0, 1, 0], COSTS) == pytest.approx((200 + 600) / 4)
    assert money([True, False], [1, 0], COSTS) == 0


def test_three_ways_are_compared_on_the_same_rows_by_month_and_in_all() -> None:
    rows = pl.DataFrame(
        {"month": ["2013-05", "2013-05", "2013-06"], "late": [1, 0, 1]}
        | {WAYS[0]: [1.0, 1.0, 0.0], WAYS[1]: [0.9, 0.1, 0.1], WAYS[2]: [0.9, 0.1, 0.9]}
    )
    lines = compare(rows, COSTS)
    assert [line["month"] for line in lines] == ["2013-05", "2013-06", "all"]
    assert [line["flights"] for line in lines] == [2, 1, 3]
    total = lines[-1]
    assert (total[WAYS[0]]["money"], total[WAYS[1]]["money"], total[WAYS[2]]["money"]) == pytest.approx((800 / 3, 200.0, 0.0))
    assert total[WAYS[2]]["auc"] == 1.0


def test_a_day_is_kept_whole_and_rows_without_a_truth_are_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.last_day() is None
    ledger.keep(200, pl.DataFrame({"late": [1, None]}))
    ledger.keep(100, pl.DataFrame({"late": [0, 0]}))
    (tmp_path / "300.unfinished").write_text("half a day")
    assert ledger.last_day() == 200
    assert ledger.all()["late"].to_list() == [0, 0, 1]


def test_a_request_carries_every_column_in_the_protocols_types() -> None:
    rows = pl.DataFrame({"flight_id": ["a", "b"], "asked": [datetime(2013, 5, 1, tzinfo=UTC)] * 2, "temp": [1.5, None], "distance": [1, 2]})
    inputs = codec.from_json(encode(rows), dict)["inputs"]
    assert [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in inputs] == [
        ("flight_id", "BYTES", [2]),
        ("asked", "BYTES", [2]),
        ("temp", "FP64", [2]),
        ("distance", "INT64", [2]),
    ]
    assert inputs[1]["data"] == ["2013-05-01T00:00:00+00:00"] * 2
    assert inputs[2]["data"] == [1.5, None]


def test_the_same_flights_have_the_same_request_id_and_others_another() -> None:
    rows = pl.DataFrame({"flight_id": ["a", "b"]})
    assert request_id(rows, 0) == request_id(rows.clone(), 0)
    assert len({request_id(rows, 0), request_id(rows, 1), request_id(rows.reverse(), 0)}) == 3


@dataclass
class _At:
    at: datetime


def test_requests_are_grouped_by_their_day_in_order() -> None:
    start = datetime(2013, 5, 1, 20, tzinfo=UTC)
    asked = [_At(start + timedelta(hours=hours)) for hours in (0, 3, 4, 60)]
    groups = list(by_day(iter(asked), 86_400_000_000))
    assert [len(group) for _, group in groups] == [2, 1, 1]
    assert [datetime.fromtimestamp(day / 1e6, UTC).day for day, _ in groups] == [1, 2, 4]
