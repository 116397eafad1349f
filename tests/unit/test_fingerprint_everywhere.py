"""Digests over processes that order their sets differently, for values that hypothesis thinks of."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.fingerprint import digest_value
from tests.repeats import repeats
from tests.unit.digests import value_of

ROOT = Path(__file__).parents[2]


class Elsewhere:
    """A process that tells digests; asked with expressions, so that it makes each value by itself."""

    def __init__(self, hash_seed: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(hash_seed), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "tests.unit.digests"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)

    def digest(self, text: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(text) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[tuple[Elsewhere, Elsewhere]]:
    made = Elsewhere(1), Elsewhere(2)
    yield made
    for each in made:
        each.close()


def joined(before: str, items: st.SearchStrategy[list[str]], after: str) -> st.SearchStrategy[str]:
    return items.map(lambda texts: before + "".join(f"{text}, " for text in texts) + after)


NUMBERS = st.integers().map(repr) | st.floats().map(repr) | st.booleans().map(repr)
HASHABLE = NUMBERS | st.text(max_size=6).map(repr) | st.binary(max_size=6).map(repr) | st.just("None")
MOMENTS = st.datetimes(min_value=datetime.datetime(1900, 1, 1)).map(lambda moment: f"dt.datetime.fromisoformat({moment.isoformat()!r})")
CELLS = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=5)
WORDS = st.lists(st.none() | st.text(max_size=4), min_size=1, max_size=5)
ARRAYS = st.tuples(CELLS, st.sampled_from(["i4", "i8", "f4", "f8", ">i8", "U3", "O"])).map(
    lambda made: f"np.array({made[0]!r}, {made[1]!r})"
)
COLUMNS = st.fixed_dictionaries({"a": CELLS, "b": CELLS}).filter(lambda made: len(made["a"]) == len(made["b"])).map(repr) | WORDS.map(
    lambda words: repr({"w": words})
)
TABLES = st.tuples(st.sampled_from(["pl.DataFrame", "pd.DataFrame", "pa.table"]), COLUMNS).map(lambda made: f"{made[0]}({made[1]})")
TEXTS = st.recursive(
    HASHABLE | MOMENTS | st.decimals(allow_nan=False).map(lambda number: f"D({str(number)!r})") | ARRAYS | TABLES,
    lambda inner: (
        joined("[", st.lists(inner, max_size=4), "]")
        | joined("(", st.lists(inner, max_size=3), ")")
        | joined("{*(", st.lists(HASHABLE, max_size=5), ")}")
        | joined("frozenset((", st.lists(HASHABLE, max_size=5), "))")
        | joined("{", st.lists(st.tuples(HASHABLE, inner).map(": ".join), max_size=4), "}")
    ),
    max_leaves=10,
)
LONG = settings(max_examples=repeats(1_200, 5_000), deadline=None, suppress_health_check=list(HealthCheck))
SHORT = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def same_in_every_process(elsewhere: tuple[Elsewhere, Elsewhere], text: str) -> None:
    here = digest_value(value_of(text))
    assert here == digest_value(value_of(text)) == elsewhere[0].digest(text) == elsewhere[1].digest(text)


def shown(value: object) -> str:
    """Return a text that tells values apart as their readers can: types, order of lists and dicts, bits of numbers, dtypes."""
    kind = type(value).__name__
    if isinstance(value, float):
        return f"{kind} {value.hex()} {value!s}"
    if isinstance(value, (list, tuple)):
        return f"{kind}[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{kind}[{', '.join(f'{shown(key)}: {shown(item)}' for key, item in value.items())}]"
    if isinstance(value, (set, frozenset)):
        return f"{kind}[{', '.join(sorted(map(shown, value)))}]"
    if hasattr(value, "to_pydict"):
        return f"{kind} {value.schema} {shown(value.to_pydict())}"
    if hasattr(value, "schema"):
        return f"{kind} {value.schema} {shown(value.rows())}"
    if hasattr(value, "dtypes"):
        return f"{kind} {value.dtypes.to_dict()} {shown(value.to_numpy().tolist())}"
    if hasattr(value, "tolist"):
        return f"{kind} {value.dtype!r} {shown(value.tolist())}"
    return f"{kind} {value!r}"


def alike_exactly_when_equal(one: str, other: str) -> None:
    first, second = value_of(one), value_of(other)
    assert (digest_value(first) == digest_value(second)) == (shown(first) == shown(second))


@SHORT
@given(TEXTS)
def test_a_value_has_one_digest_in_every_process(elsewhere: tuple[Elsewhere, Elsewhere], text: str) -> None:
    same_in_every_process(elsewhere, text)


@SHORT
@given(TEXTS, TEXTS)
def test_different_values_have_different_digests(one: str, other: str) -> None:
    alike_exactly_when_equal(one, other)


@pytest.mark.slow
@LONG
@given(TEXTS)
def test_each_of_a_thousand_values_has_one_digest_in_every_process(elsewhere: tuple[Elsewhere, Elsewhere], text: str) -> None:
    same_in_every_process(elsewhere, text)


@pytest.mark.slow
@LONG
@given(TEXTS, TEXTS)
def test_a_thousand_different_values_have_different_digests(one: str, other: str) -> None:
    alike_exactly_when_equal(one, other)
