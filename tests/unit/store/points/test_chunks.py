from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import Corrupt, InvalidInput
from plimsoll.store.points.chunks import FEW, FULL, Block, Packed, block, joined, pack, room, unpack, unpack_all

_WORD = st.integers(0, 2**64 - 1) | st.integers(0, 3)


def _bytes(points: Block) -> list[bytes]:
    return [bytes(memoryview(column).cast("B")) for column in points]


def _losses(count: int, unit: int) -> Block:
    """Points as a training run gives them: steps that count on, times about a second apart, a loss with noise."""
    dice = np.random.default_rng(7)
    times = 1_700_000_000_000_000 + unit * np.cumsum(dice.normal(1e6 / unit, 5e3 / unit, count).astype("<i8"))
    values = 2 * np.exp(-np.arange(count) / count) + dice.normal(0, 0.1, count)
    return block(range(count), times.tolist(), values.tolist())


@settings(max_examples=150, deadline=None)
@given(words=st.lists(st.tuples(_WORD, _WORD, _WORD), min_size=1, max_size=200))
def test_any_bits_come_back(words: list[tuple[int, int, int]]) -> None:
    points = Block(*(struct.pack(f"<{len(words)}Q", *column) for column in zip(*words, strict=True)))
    assert _bytes(unpack(pack(points), len(words), "It")) == _bytes(points)


@pytest.mark.parametrize("count", [1, FEW - 1, FEW, 1000, FULL])
@pytest.mark.parametrize("gap", [0, 1, 10, -3, 2**62])
def test_what_counts_on_evenly_takes_next_to_nothing(count: int, gap: int) -> None:
    steps = np.arange(count, dtype="<i8") * gap
    points = Block(steps.tobytes(), steps.tobytes(), bytes(8 * count))
    data = pack(points)
    assert _bytes(unpack(data, count, "It")) == _bytes(points)
    assert count < FEW or len(data) < 100


@pytest.mark.parametrize(("count", "unit", "most"), [(FULL, 1, 9.2), (FULL, 1000, 8.0), (400, 1, 9.8)])
def test_a_loss_with_noise_takes_some_nine_bytes_a_point(count: int, unit: int, most: float) -> None:
    points = _losses(count, unit)
    data = pack(points)
    assert len(data) / count < most
    assert _bytes(unpack(data, count, "It")) == _bytes(points)


def test_a_chunk_keeps_its_bytes_for_ever() -> None:
    assert pack(block([1, 2], [3, 4], [0.5, -0.0])).hex() == (
        "54d91761000100000000000000020000000000000003000000000000000400000000000000000000000000e03f0000000000000080"
    )
    steps = [10 * step for step in range(FEW)]
    assert pack(block(steps, steps, [1.0] * FEW)).hex() == ("33073ef0010000000000000a97000a01000a01cd3ff0")


@pytest.mark.parametrize("count", [3, 100])
def test_every_flipped_bit_and_every_cut_is_noticed(count: int) -> None:
    data = pack(_losses(count, 1))
    for at in range(len(data)):
        spoilt = [data[:at], data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]]
        for wrong in spoilt:
            with pytest.raises(Corrupt, match="It does not hold"):
                unpack(wrong, count, "It")
    with pytest.raises(Corrupt):
        unpack(data, count + 1, "It")


def test_a_form_that_nobody_knows_is_corrupt() -> None:
    for rest in (b"\x09", b"\x01", b"\x01" + bytes(56), b"\x01" + bytes(60)):
        with pytest.raises(Corrupt):
            unpack(zlib.crc32(rest).to_bytes(4, "little") + rest, 70, "It")


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput):
        block([2**63], [0], [0.0])


def test_parts_are_cut_and_joined() -> None:
    points = block(range(10), range(10), [0.5] * 10)
    assert _bytes(joined([points.cut(0, 4), points.cut(4, 10)])) == _bytes(points)
    assert joined([]).size == 0
    assert sys.byteorder == "big" or list(memoryview(points.cut(3, 5).steps).cast("q")) == [3, 4]


def test_chunks_of_both_forms_come_back_one_after_the_other_in_a_room_that_was_used() -> None:
    parts = [_losses(count, 1) for count in (FULL, 3, 1_000, FEW - 1)] + [block([2**63 - 1] * FEW, range(FEW), [-0.0] * FEW)]
    packed = [Packed(pack(part), part.size, "It") for part in parts]
    place = room(len(parts))
    place[:] = 255
    for into in (None, place, place):
        assert _bytes(unpack_all(packed, into)) == _bytes(joined(parts))
    with pytest.raises(Corrupt, match="The last does not hold its 9 points"):
        unpack_all([*packed, Packed(packed[2].data, 9, "The last")], room(len(packed) + 1))
    assert unpack_all([]).size == 0
