"""The way of a metric point: from ``run.log`` through a server that is killed on the way to the store, and back exactly."""

from __future__ import annotations

import math
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import plimsoll
from plimsoll import clock
from plimsoll.errors import Unreachable
from plimsoll.records.run import AppendPoints, FinishRun, GetRun, GetSeries, PointColumns, PointsReceipt, StartRun
from plimsoll.records.tracking.find import SearchRuns
from tests.flows.real_platform import PATIENCE, Platform, until

pytestmark = pytest.mark.slow

#: Values that JSON or a careless column would change.
ODD = (0.1, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 1 / 3, math.inf, -math.inf, math.nan)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a run leaves nothing to a later replay because the machine is slow."""
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._PATIENCE", PATIENCE)


def bits(values: tuple[float, ...]) -> list[bytes]:
    return [struct.pack(">d", value) for value in values]


def batch(run: str, sequence: int, size: int = 3) -> AppendPoints:
    steps = tuple(range((sequence - 1) * size, sequence * size))
    columns = PointColumns(names=("loss",) * size, steps=steps, times=(clock.now(),) * size, values=tuple(1 / (step + 1) for step in steps))
    return AppendPoints(run_id=run, writer="trainer", sequence=sequence, points=columns)


def test_what_a_run_logs_comes_back_bit_for_bit(platform: Platform) -> None:
    with plimsoll.run(door=platform.author, experiment="points", params={"seed": 7}) as run:
        for value in ODD:
            run.log(odd=value)
        run.log({"a/b c": 2.5}, step=10)
        run.set_tags(kind="odd")
    odd = platform.author.do(GetSeries(run_id=run.id, name="odd"))
    assert bits(odd.values) == bits(ODD)
    assert odd.steps == tuple(range(len(ODD)))
    assert not odd.sampled
    detail = platform.author.do(GetRun(id=run.id))
    assert (detail.run.state, detail.run.params, detail.run.tags, detail.run.author) == ("finished", {"seed": 7}, {"kind": "odd"}, "dana")
    summary = {metric.name: metric for metric in detail.metrics}
    assert math.isnan(summary["odd"].last)
    assert (summary["odd"].count, summary["odd"].min, summary["odd"].max) == (len(ODD), -math.inf, math.inf)
    assert (summary["a/b c"].last, summary["a/b c"].last_step) == (2.5, 10)
    listed = platform.author.do(SearchRuns(where="experiment = 'points'")).runs
    assert [(found.run.id, len(found.metrics)) for found in listed] == [(run.id, 2)]


def test_a_writers_batch_that_is_sent_again_changes_nothing(platform: Platform) -> None:
    run = platform.author.do(StartRun(experiment="again")).id
    assert platform.author.do(batch(run, 1)) == PointsReceipt(sequence=1, added=3)
    assert platform.author.do(batch(run, 2)) == PointsReceipt(sequence=2, added=3)
    before = platform.author.do(GetSeries(run_id=run, name="loss"))
    for sequence in (1, 2):
        assert platform.author.do(batch(run, sequence)) == PointsReceipt(sequence=2, added=0)
    assert platform.author.do(GetSeries(run_id=run, name="loss")) == before
    assert platform.author.do(GetRun(id=run)).metrics[0].count == 6


def test_a_server_that_is_killed_in_the_middle_loses_nothing_that_it_acknowledged(platform: Platform) -> None:
    run = platform.author.do(StartRun(experiment="killed")).id
    sent: list[int] = []
    refused: list[int] = []
    enough = threading.Event()

    def write() -> None:
        # However quick the server is, it is killed in the middle.
        while not enough.is_set():
            sequence = len(sent) + 1
            try:
                receipt = platform.author.do(batch(run, sequence))
            except Unreachable:
                # What was not acknowledged is sent again under its own sequence, as every writer must.
                refused.append(sequence)
                clock.sleep(0.05)
                continue
            assert receipt.sequence == sequence
            sent.append(sequence)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            for mark in (40, 120):
                until(lambda mark=mark: len(sent) >= mark or writing.done(), "some batches are acknowledged")  # type: ignore[misc]
                platform.kill()
                acknowledged = len(sent)
                refused.clear()
                until(lambda: refused or writing.done(), "the writer has noticed")
                platform.start()
                held = platform.author.do(GetSeries(run_id=run, name="loss")).steps
                assert held[: acknowledged * 3] == tuple(range(acknowledged * 3))
            until(lambda: len(sent) >= 200 or writing.done(), "the writer goes on")
        finally:
            enough.set()
    writing.result()
    count = 3 * len(sent)
    assert sent == list(range(1, len(sent) + 1))
    series = platform.author.do(GetSeries(run_id=run, name="loss"))
    assert series.steps == tuple(range(count))
    assert series.values == tuple(1 / (step + 1) for step in range(count))
    assert platform.author.do(FinishRun(id=run)).state == "finished"
    assert platform.author.do(GetRun(id=run)).metrics[0].count == count


def test_a_loop_that_logs_does_not_notice_that_the_server_is_killed_and_nothing_it_logged_is_lost(platform: Platform) -> None:
    with plimsoll.run(door=platform.author, experiment="loop") as run:
        for step in range(500):
            if step == 200:
                platform.kill()
            if step == 400:
                platform.start()
            run.log(loss=1 / (step + 1), step=step)
    series = platform.author.do(GetSeries(run_id=run.id, name="loss"))
    assert series.steps == tuple(range(500))
    assert series.values == tuple(1 / (step + 1) for step in range(500))
    assert platform.author.do(GetRun(id=run.id)).run.state == "finished"
