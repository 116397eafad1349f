"""Predictions and labels as they arrive, on a real workspace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from plimsoll.errors import InvalidInput, NotFound
from plimsoll.monitoring.log import labels_stream, predictions_stream
from plimsoll.records.monitor import LATENCY_EDGES, AppendLabels, AppendPredictions, PredictionColumns, TrafficCount
from plimsoll.store.schema import planes, prediction_index, traffic
from plimsoll.workspace import PLANE, WORKER
from tests.unit.monitoring.deployed import Deployed, deploy

CELLS = len(LATENCY_EDGES) + 1
ROWS = PredictionColumns(
    request_id=("r1", "r1", "r2"),
    row=(0, 1, 0),
    at=(10, 11, 20),
    unit=("a", "b", "c"),
    track=("stable", "stable", "canary"),
    release_id=("x", "x", "y"),
    output=(0.1, 0.2, float("nan")),
    status=(200, 200, 500),
    latency=(900, 900, 1_000),
    trace=("", "", ""),
    inputs={"weight": (1.5, None, 2.0), "depot": ("north", "south", None)},
)
LATENCY = (2,) + (0,) * (CELLS - 1)
COUNT = TrafficCount(release_id="x", track="stable", generation=4, requests=2, errors=1, latency=LATENCY, paired=3, flipped=1)
BATCH = AppendPredictions(plane="p1", sequence=1, model="parcels", environment="production", rows=ROWS, counts=(COUNT,), dropped=7)


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    """A workspace with one live release."""
    found = deploy(tmp_path / "home")
    yield found
    found.workspace.close()


def test_a_batch_sent_twice_counts_once_everywhere(deployed: Deployed) -> None:
    first = deployed.workspace.do(BATCH, PLANE)
    second = deployed.workspace.do(BATCH, PLANE)
    assert (first.sequence, first.added) == (1, 3)
    assert (second.sequence, second.added) == (1, 0)
    stores = deployed.workspace.stores
    with stores.database.read() as tx:
        assert stores.segments.scan(tx, predictions_stream("parcels", "production"), 0, 100).height == 3
        row = tx.execute(select(traffic)).one()
        assert (row.requests, row.errors, row.paired, row.flipped, row.latency[0]) == (2, 1, 3, 1, 2)
        assert tx.execute(select(planes.c.dropped).where(planes.c.plane == "p1")).scalar_one() == 7


def test_the_next_batch_adds_to_the_counters_and_drops(deployed: Deployed) -> None:
    deployed.workspace.do(BATCH, PLANE)
    deployed.workspace.do(replace(BATCH, sequence=2), PLANE)
    with deployed.workspace.stores.database.read() as tx:
        row = tx.execute(select(traffic)).one()
        assert (row.requests, row.errors, row.latency[0]) == (4, 2, 4)
        assert tx.execute(select(planes.c.dropped).where(planes.c.plane == "p1")).scalar_one() == 14


def test_every_request_is_indexed_once_with_its_first_and_last_time(deployed: Deployed) -> None:
    deployed.workspace.do(BATCH, PLANE)
    deployed.workspace.do(replace(BATCH, sequence=2, rows=replace(ROWS, at=(4, 11, 30))), PLANE)
    deployed.workspace.do(replace(BATCH, sequence=3), PLANE)
    with deployed.workspace.stores.database.read() as tx:
        found = tx.execute(select(prediction_index).order_by(prediction_index.c.request_id)).all()
    assert [(row.request_id, row.stream, row.start, row.end) for row in found] == [
        ("r1", "predictions/parcels/production", 4, 11),
        ("r2", "predictions/parcels/production", 20, 30),
    ]


def test_logged_rows_come_back_with_inputs_under_their_own_names(deployed: Deployed) -> None:
    deployed.workspace.do(BATCH, PLANE)
    stores = deployed.workspace.stores
    with stores.database.read() as tx:
        frame = stores.segments.scan(tx, predictions_stream("parcels", "production"), 0, 100)
    assert frame["in.weight"].to_list() == [1.5, None, 2.0]
    assert frame["in.depot"].to_list() == ["north", "south", None]
    assert frame["track"].to_list() == ["stable", "stable", "canary"]


def test_a_batch_of_counts_alone_is_applied_once(deployed: Deployed) -> None:
    empty = PredictionColumns(**{name: () for name in PredictionColumns.__slots__ if name != "inputs"}, inputs={})
    counts_alone = replace(BATCH, rows=empty)
    deployed.workspace.do(counts_alone, PLANE)
    deployed.workspace.do(counts_alone, PLANE)
    with deployed.workspace.stores.database.read() as tx:
        assert tx.execute(select(traffic.c.requests)).scalar_one() == 2


def test_a_malformed_batch_changes_nothing(deployed: Deployed) -> None:
    with pytest.raises(InvalidInput, match="latency count has 2 cells"):
        deployed.workspace.do(replace(BATCH, counts=(replace(COUNT, latency=(1, 2)),)), PLANE)
    with pytest.raises(InvalidInput, match=r"in\.weight"):
        deployed.workspace.do(replace(BATCH, rows=replace(ROWS, inputs={"weight": (1.0,)})), PLANE)
    with deployed.workspace.stores.database.read() as tx:
        assert tx.execute(select(traffic)).all() == []
        assert tx.execute(select(prediction_index)).all() == []


def test_labels_are_taken_once_and_only_for_a_known_model(deployed: Deployed) -> None:
    labels = AppendLabels(model="parcels", writer="truth", sequence=1, request_id=("r1",), row=(0,), at=(50,), value=(1,))
    assert deployed.workspace.do(labels, WORKER).added == 1
    assert deployed.workspace.do(labels, WORKER).added == 0
    stores = deployed.workspace.stores
    with stores.database.read() as tx:
        assert stores.segments.scan(tx, labels_stream("parcels", "production"), 0, 100)["value"].to_list() == [1]
    with pytest.raises(NotFound, match="no model 'other'"):
        deployed.workspace.do(replace(labels, model="other"), WORKER)
