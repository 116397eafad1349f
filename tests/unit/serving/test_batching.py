"""What the two sides of the socket say to each other is fixed, and what is no number is noticed."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path

import pytest

from plimsoll import codec
from plimsoll.errors import Corrupt, PlimsollError, Unavailable, Unreachable
from plimsoll.records.deployment import ServingConfig
from plimsoll.serving.batching import Batch, Outcome, Replica, ReplicaKey, _not_finite


def test_the_messages_between_plane_and_replica_are_lists_in_a_fixed_order() -> None:
    assert codec.to_msgpack(Batch(rows=1, columns={"a": [1.5]})).hex() == "920181a16191cb3ff8000000000000"
    assert codec.to_msgpack(Outcome(values=b"\x00", error="e")).hex() == "93c40100a165c2"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_answer_that_is_no_finite_number_is_named_with_its_row(value: float) -> None:
    assert "row 1" in _not_finite(array("d", [1.0, value]))
    assert _not_finite(array("d", [1e308, -1e308, 0.0])) == ""


@pytest.mark.parametrize(
    ("error", "state"),
    [(Unreachable("No answer.", ""), "loading"), (Unavailable("Busy.", ""), "loading"), (Corrupt("Other bytes.", ""), "failed")],
)
def test_a_package_that_cannot_be_fetched_yet_is_loading_and_a_corrupt_one_has_failed(error: PlimsollError, state: str) -> None:
    class Elsewhere:
        """Packages of a server that gives none."""

        def locate(self, digest: str) -> Path:
            raise error

        def forget(self, digest: str) -> None:
            """Nothing to remove."""

    async def told() -> tuple[str, str]:
        changed = asyncio.Event()
        replica = Replica(ReplicaKey(package="0" * 64, config=ServingConfig(), trusted=False), Elsewhere(), changed.set)
        await changed.wait()
        found = replica.state, replica.reason
        await replica.close()
        return found

    assert asyncio.run(told()) == (state, str(error))
