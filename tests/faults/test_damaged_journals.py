"""A journal that ends at any byte, or in which any bit has changed: what is before that place is kept, and the place is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plimsoll import clock
from plimsoll.records.run import AppendPoints, PointColumns, SetTags
from plimsoll.sdk.journal import Journal, frames
from tests.repeats import repeats

_BYTES = 64 << 10


def _filled(path: Path, seed: int, size: int) -> tuple[bytes, list[int], list[int]]:
    """Write a journal of at least so many bytes; return them, where its frames end, and how many points there are up to each."""
    dice = clock.generator(seed)
    journal = Journal(path)
    journal.begin("run", "somewhere")
    step = 0
    while path.stat().st_size < size:
        count = dice.choice((1, 10, 100))
        steps = tuple(range(step, step + count))
        step += count
        journal.add(PointColumns(names=("loss",) * count, steps=steps, times=(1,) * count, values=tuple(map(float, steps))))
        if dice.random() < 0.2:
            journal.cut()
        if dice.random() < 0.1:
            journal.keep(SetTags(id="run", tags={"at": str(step)}))
    journal.close()
    data = path.read_bytes()
    ends, counts, total = [], [], 0
    for frame, end in frames(data):
        total += len(frame.points.names) if frame.points is not None else 0
        ends.append(end)
        counts.append(total)
    assert ends[-1] == len(data) >= size
    return data, ends, counts


def _values(journal: Journal) -> list[float]:
    journal.cut()
    found: list[float] = []
    for number in sorted(journal.batches):
        request = journal.request(number)
        if isinstance(request, AppendPoints):
            found += request.points.values
    return found


def _named(journal: Journal) -> tuple[int, int]:
    """Return the record and the byte that a damaged journal names."""
    found = re.match(r"Record (\d+) of the journal .*, at byte (\d+), is damaged or was cut off", journal.damage)
    assert found is not None, journal.damage
    return int(found[1]), int(found[2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_journal_that_ends_at_any_byte_keeps_what_is_before(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "x.journal"
    # Several short ones are read sooner than a long one: of each all that is before the byte is read, for every byte.
    data, ends, counts = _filled(path, seed, _BYTES // repeats(12, 4))
    path.unlink()
    whole = written = 0
    for size in range(len(data) + 1):
        with path.open("ab") as file:
            file.write(data[written:size])
        if whole < len(ends) and size == ends[whole]:
            whole += 1
        journal = Journal(path)
        written = ends[whole - 1] if whole else 0
        assert path.stat().st_size == written
        if size == written:
            assert journal.damage == ""
            points = counts[whole - 1] if whole else 0
            assert _values(journal) == list(map(float, range(points)))
            # That made a mark, which is not in the data.
            journal.close()
            path.write_bytes(data[:written])
        else:
            assert _named(journal) == (whole + 1, written)
            aside = path.with_suffix(".damaged")
            assert aside.read_bytes() == data[written:size]
            aside.unlink()
            journal.close()
    assert whole == len(ends)


def test_any_bit_that_changes_is_noticed_and_named(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    data, ends, counts = _filled(path, 7, _BYTES)
    dice = clock.generator(11)
    for _ in range(repeats(400, 1_000)):
        place = dice.randrange(len(data))
        path.write_bytes(data[:place] + bytes((data[place] ^ 1 << dice.randrange(8),)) + data[place + 1 :])
        whole = sum(end <= place for end in ends)
        journal = Journal(path)
        assert _named(journal) == (whole + 1, ends[whole - 1] if whole else 0)
        assert _values(journal) == list(map(float, range(counts[whole - 1] if whole else 0)))
        journal.close()
        path.with_suffix(".damaged").unlink()
