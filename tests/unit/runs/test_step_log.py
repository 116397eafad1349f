"""What a step logged comes back bit for bit, in order, and as another run's."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import codec
from plimsoll.errors import Corrupt
from plimsoll.records.run import LogArtifact, LogInput, PointColumns, SetTags
from plimsoll.runs.step_log import Logged, StepLog, read_log
from plimsoll.store.points.chunks import FULL

DIGEST = "d" * 64

NUMBERS = st.integers(-(2**63), 2**63 - 1)
POINTS = st.lists(st.tuples(st.sampled_from(["loss", "auc", "ß"]), NUMBERS, NUMBERS, st.floats(width=64)), min_size=1, max_size=80)


def columns(points: list[tuple[str, int, int, float]]) -> PointColumns:
    names, steps, times, values = zip(*points, strict=True)
    return PointColumns(names=names, steps=steps, times=times, values=values)


def bits(points: PointColumns) -> list[tuple[str, int, int, bytes]]:
    values = (struct.pack("<d", value) for value in points.values)
    return list(zip(points.names, points.steps, points.times, values, strict=True))


def stored(*logged: PointColumns | SetTags | LogArtifact | LogInput) -> Logged:
    log = StepLog()
    for one in logged:
        log.take(one)
    return read_log(log.packed())


@given(st.lists(POINTS, max_size=4))
def test_points_come_back_bit_for_bit_in_the_order_in_which_they_were_logged(parts: list[list[tuple[str, int, int, float]]]) -> None:
    logged = stored(*map(columns, parts))
    found = [point for part in logged.parts if isinstance(part, PointColumns) for point in bits(part)]
    assert found == [point for part in parts for point in bits(columns(part))]


def test_requests_keep_their_place_among_the_points_and_become_another_runs() -> None:
    tags = SetTags(id="a", tags={"kind": "small"})
    artifact = LogArtifact(run_id="a", name="notes", kind="value", digest=DIGEST, size=3)
    read = LogInput(run_id="a", name="training", digest="e" * 64)
    first, last = columns([("loss", 0, 1, 0.5)]), columns([("loss", 1, 2, 0.25)])
    logged = stored(first, tags, artifact, last, read)
    assert logged.kept == (DIGEST,)
    assert list(logged.of("b")) == [
        first,
        SetTags(id="b", tags={"kind": "small"}),
        LogArtifact(run_id="b", name="notes", kind="value", digest=DIGEST, size=3),
        last,
        LogInput(run_id="b", name="training", digest="e" * 64),
    ]


def test_a_step_that_logs_nothing_or_whose_try_was_lost_has_no_log() -> None:
    log = StepLog()
    assert log.packed() == b""
    log.take(columns([("loss", 0, 1, 0.5)]))
    log.take(SetTags(id="a", tags={"kind": "small"}))
    log.clear()
    assert log.packed() == b""
    assert read_log(b"").parts == ()


def test_a_hundred_thousand_points_take_ten_bytes_each_and_come_in_parts() -> None:
    draw = random.Random(7)
    log = StepLog()
    for step in range(100_000):
        log.take(columns([("loss", step, 1_700_000_000_000_000 + 1_000 * step + draw.randrange(50), draw.random() / (step + 1))]))
    data = log.packed()
    assert len(data) < 1_000_000
    parts = read_log(data).parts
    assert sum(len(part.names) for part in parts if isinstance(part, PointColumns)) == 100_000
    assert max(len(part.names) for part in parts if isinstance(part, PointColumns)) == FULL


#: A log as the first form has it.
GOLDEN = (
    "83a4666f726d01a56e616d657391a46c6f7373a570617274739285a476657262a0a77265717565737480a5636f756e7401a56e616d6573c40c780163"
    "606060000000040001a6706f696e7473c41d0698785b0000000000000000000100000000000000000000000000f87f85a476657262a7536574546167"
    "73a77265717565737482a26964a161a47461677381a46b696e64a5736d616c6ca5636f756e7400a56e616d6573c400a6706f696e7473c400"
)


def test_the_first_form_is_read_as_long_as_it_is_told_to_be() -> None:
    logged = stored(columns([("loss", 0, 1, float("nan"))]), SetTags(id="a", tags={"kind": "small"}))
    log = StepLog()
    for part in logged.parts:
        log.take(part)
    assert log.packed().hex() == GOLDEN
    assert repr(read_log(bytes.fromhex(GOLDEN))) == repr(logged)


@pytest.mark.parametrize(
    "data",
    [
        b"?",
        codec.to_msgpack({"form": 2, "names": [], "parts": []}),
        codec.to_msgpack({"form": 1, "names": [], "parts": [{"verb": "FinishRun", "request": {}}]}),
        codec.to_msgpack({"form": 1, "names": [], "parts": [{"count": 1, "names": b"", "points": b""}]}),
    ],
    ids=["garbled", "another release's", "a request that no step may make", "short points"],
)
def test_what_is_no_log_is_damaged(data: bytes) -> None:
    with pytest.raises(Corrupt, match="log of a step"):
        read_log(data)
