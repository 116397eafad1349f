"""A chunk's bytes: points of one series in order of arrival, as packed columns with a checksum.

A chunk begins with the CRC-32 of the rest and a byte that says its form. ``PLAIN``, for few points: steps, times and values as
little-endian 64-bit words. ``PLANES``, for many: steps and times become the gaps between neighbours, less the smallest gap,
divided by the greatest common divisor of what is left; so steps that count on are zeros, and times that are milliseconds apart
are small numbers. From the upper 16 bits of the values, sign, exponent and a little more, their smallest is taken away. Of each
column the lowest bytes of all words are a plane, the second bytes another, and so on up to 24 planes. A plane of zeros is
nothing, one of another value is that byte; one that looks like noise is kept as it is; the others are deflated together. The
lower bytes of a loss are noise: deflating them takes most of the time and saves nothing.

numpy is loaded on the first chunk with planes, so a server that nobody uses stays small.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from plimsoll import codec, extras
from plimsoll.errors import Corrupt, InvalidInput

#: Points in a full chunk.
FULL = 8192

#: Chunks of fewer points are plain.
FEW = 64

_PLAIN, _PLANES = 0, 1

_WORD = 8

#: CRC-32 and form.
_HEAD = struct.Struct("<IB")

_ALL = range(3 * _WORD)

#: What a plane is, two bits each.
_ZEROS, _SAME, _NOISE, _SOFT = range(4)

_KINDS = 2 * len(_ALL) // 8

#: Bytes of a plane that tell, about, whether it looks like noise.
_LOOKED_AT = 1024

#: Level of deflation: 6 takes ten times as long for planes that hardly repeat themselves, and saves a tenth of a byte a point at most.
_LEVEL = 1

#: Bits of a value below those from which their smallest is taken away.
_BELOW = 48

#: First number, smallest gap and divisor of steps and of times, and what was taken away from the values.
_SCALES = 7


class Block(NamedTuple):
    """Points in order of arrival, as little-endian 64-bit words in anything that has a buffer."""

    #: Signed.
    steps: Any
    #: Signed, UTC microseconds.
    times: Any
    #: IEEE 754 doubles.
    values: Any

    @property
    def size(self) -> int:
        """The number of points."""
        return memoryview(self.values).nbytes // _WORD

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest step; there is at least one point."""
        if self.size < FEW:
            steps = struct.unpack(f"<{self.size}q", self.steps)
            return min(steps), max(steps)
        numbers = extras.require("numpy").frombuffer(self.steps, "<i8")
        return int(numbers.min()), int(numbers.max())

    def cut(self, start: int, stop: int) -> Block:
        """Return the points at positions from ``start`` to before ``stop``.

        Args:
            start: from 0.
            stop: at most the size.
        """
        return Block(*(memoryview(column).cast("B")[start * _WORD : stop * _WORD] for column in self))


class Packed(NamedTuple):
    """A chunk as it is stored."""

    #: As :func:`pack` made it.
    data: bytes
    #: How many points it must hold.
    size: int
    #: How an error names it.
    what: str

    def corrupt(self) -> Corrupt:
        """Return the error for a chunk that does not hold what it must."""
        return Corrupt(f"{self.what} does not hold its {self.size} points.", "Restore the database from a backup.")


def block(steps: Sequence[int], times: Sequence[int], values: Sequence[float]) -> Block:
    """Return points as words.

    Args:
        steps: of each point.
        times: UTC microseconds of each point.
        values: of each point.

    Raises:
        InvalidInput: a step or a time does not fit 64 bits.
    """
    count = len(values)
    try:
        return Block(struct.pack(f"<{count}q", *steps), struct.pack(f"<{count}q", *times), struct.pack(f"<{count}d", *values))
    except struct.error as error:
        raise InvalidInput(f"A point does not fit 64 bits: {error}.", "Send steps and times as 64-bit integers.") from error


def joined(blocks: Sequence[Block]) -> Block:
    """Return the points of all blocks, one after the other.

    Args:
        blocks: any number of them.
    """
    if len(blocks) == 1:
        return blocks[0]
    return Block(*(b"".join(block[column] for block in blocks) for column in range(3)))


def pack(points: Block) -> bytes:
    """Return a chunk's bytes.

    Args:
        points: at least one, and at most ``FULL``.
    """
    rest = bytes((_PLAIN,)) + b"".join(points) if points.size < FEW else bytes((_PLANES,)) + _packed(points)
    return zlib.crc32(rest).to_bytes(4, "little") + rest


def unpack(data: bytes, count: int, what: str) -> Block:
    """Return the points of a chunk.

    Args:
        data: as :func:`pack` made it.
        count: how many points it must hold.
        what: how the error names the chunk.

    Raises:
        Corrupt: the bytes are not a chunk of so many points.
    """
    return unpack_all([Packed(data, count, what)])


def room(count: int) -> Any:
    """Return what :func:`unpack_all` can write the points of one part after another to; to ask for memory takes longer than to clear it.

    Args:
        count: the most chunks of a part.
    """
    return extras.require("numpy").empty((3, count * FULL, _WORD), "u1")


def unpack_all(packed: Sequence[Packed], into: Any = None) -> Block:
    """Return the points of chunks, one after the other.

    Args:
        packed: as they are stored.
        into: a :func:`room` in which the points are returned, until it is used again; None is a new one.

    Raises:
        Corrupt: the bytes of one are not a chunk of so many points; the error names the first such.
    """
    rests = [_checked(each) for each in packed]
    if len(rests) == 1 and rests[0][0] == _PLAIN:
        return Block(*_plain(*rests[0][1:]))
    np, total, begin = extras.require("numpy"), sum(each.size for each in packed), 0
    columns = np.empty((3, total, _WORD), "u1") if into is None else into[:, :total]
    columns[:] = 0
    for each, (form, rest, count) in zip(packed, rests, strict=True):
        mine, begin = columns[:, begin : begin + count], begin + count
        if form == _PLAIN:
            for words, column in zip(mine, _plain(rest, count), strict=True):
                words[:] = np.frombuffer(column, "u1").reshape(count, _WORD)
        elif not _unpacked(rest, mine):
            raise each.corrupt()
    return Block(*(column.reshape(-1).view("<i8") for column in columns))


def _checked(packed: Packed) -> tuple[int, memoryview, int]:
    """Return a chunk's form, what comes behind it, and how many points it holds."""
    data, count, _ = packed
    if len(data) >= _HEAD.size:
        crc, form = _HEAD.unpack_from(data)
        rest = memoryview(data)[_HEAD.size :]
        fits = count <= FULL and (form == _PLANES or (form == _PLAIN and len(rest) == 3 * _WORD * count))
        if fits and crc == zlib.crc32(memoryview(data)[4:]):
            return form, rest, count
    raise packed.corrupt()


def _plain(rest: memoryview, count: int) -> list[memoryview]:
    return [rest[at * _WORD * count : (at + 1) * _WORD * count] for at in range(3)]


def _packed(points: Block) -> bytes:
    np = extras.require("numpy")
    words = np.empty((3, points.size), "<u8")
    scales: list[int] = []
    for row, column in enumerate((points.steps, points.times)):
        numbers = np.frombuffer(column, "<i8")
        gaps = np.diff(numbers)
        least = gaps.min()
        above = (gaps - least).view("<u8")
        unit = np.gcd.reduce(above) or np.uint64(1)
        words[row, 0] = 0
        words[row, 1:] = above // unit if unit > 1 else above
        scales += [int(numbers[0]), int(least), int(unit)]
    values = np.frombuffer(points.values, "<u8")
    scales.append(int(values.min()) >> _BELOW)
    np.subtract(values, np.uint64(scales[-1] << _BELOW), out=words[2])
    planes = np.ascontiguousarray(words.view("u1").reshape(3, -1, _WORD).transpose(0, 2, 1)).reshape(len(_ALL), -1)
    begins, same = planes[:, 0].tolist(), (planes == planes[:, :1]).all(axis=1).tolist()
    kinds = [_SAME if begins[at] else _ZEROS for at in _ALL]
    several = [at for at in _ALL if not same[at]]
    for at, noisy in zip(several, _noisy(np, planes[several, :: -(-points.size // _LOOKED_AT)]), strict=True):
        kinds[at] = _NOISE if noisy else _SOFT
    soft, told = _which(kinds, _SOFT), codec.to_msgpack(scales)
    return b"".join(
        (
            sum(kind << 2 * at for at, kind in enumerate(kinds)).to_bytes(_KINDS, "little"),
            bytes((len(told), *told, *(begins[at] for at in _which(kinds, _SAME)))),
            planes[_which(kinds, _NOISE)].tobytes(),
            zlib.compress(planes[soft].tobytes(), _LEVEL, -zlib.MAX_WBITS) if soft else b"",
        )
    )


def _which(kinds: Sequence[int], kind: int) -> list[int]:
    """Return the planes that are of one kind."""
    return [at for at in _ALL if kinds[at] == kind]


def _noisy(np: Any, planes: Any) -> list[bool]:
    """Return of each plane whether its bytes meet each other not much more often than random ones do: less than a fifth could be saved."""
    rows, count = planes.shape
    # All planes at once: a call for each would take longer than what it does.
    kept_apart = planes + (np.arange(rows) << 8)[:, None]
    met = (np.bincount(kept_apart.ravel(), minlength=rows << 8).reshape(rows, 256) ** 2).sum(axis=1) - count
    noisy: list[bool] = (met < 4.0 * count * (count - 1) / 256).tolist()
    return noisy


@functools.lru_cache(maxsize=64)
def _layout(told: int) -> tuple[list[int], list[int], list[int]]:
    """Return the planes that are one byte, those that are kept as they are, and those that are deflated."""
    kinds = [told >> 2 * at & 3 for at in _ALL]
    return _which(kinds, _SAME), _which(kinds, _NOISE), _which(kinds, _SOFT)


def _unpacked(rest: memoryview, into: Any) -> bool:
    """Write the points of a chunk with planes over zeros of shape ``(3, n, 8)``; return False when it does not hold ``n``."""
    np, count = extras.require("numpy"), into.shape[1]
    ones, raw, soft = _layout(int.from_bytes(rest[:_KINDS], "little"))
    begin = _KINDS + 1 + (rest[_KINDS] if len(rest) > _KINDS else 0)
    middle = begin + len(ones)
    end = middle + len(raw) * count
    try:
        scales = codec.from_msgpack(bytes(rest[_KINDS + 1 : begin]), list[int])
        inflated = zlib.decompress(rest[end:], -zlib.MAX_WBITS, len(soft) * count) if soft else b""
    except (InvalidInput, zlib.error):
        return False
    if len(scales) != _SCALES or len(rest) < end or len(inflated) != len(soft) * count:
        return False
    for at, byte in zip(ones, rest[begin:middle], strict=True):
        into[at // _WORD, :, at % _WORD] = byte
    for chosen, stored in ((raw, rest[middle:end]), (soft, inflated)):
        for at, plane in zip(chosen, np.frombuffer(stored, "u1").reshape(-1, count), strict=True):
            into[at // _WORD, :, at % _WORD] = plane
    even = {0, 1}.difference(at // _WORD for at in (*ones, *raw, *soft))
    for row in range(2):
        _count(np, into[row].view("<i8")[:, 0], scales[3 * row : 3 * row + 3], row in even)
    if scales[-1]:
        into[2].view("<i8")[:, 0] += np.uint64(scales[-1] << _BELOW).astype("<i8")
    return True


@functools.cache
def _places(np: Any) -> Any:
    return np.arange(FULL)


def _count(np: Any, column: Any, scales: list[int], even: bool) -> None:
    """Make steps or times of what is above the smallest gap, nothing where they are even; they wrap around as they did before."""
    first, least, unit = scales
    if even:
        np.multiply(_places(np)[: len(column)], least, out=column)
        column += first
        return
    if unit > 1:
        column *= np.uint64(unit).astype("<i8")
    column += least
    column[0] = first
    column.cumsum(out=column)
