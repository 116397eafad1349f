from __future__ import annotations

import threading
from typing import Any

import pytest

from plimsoll import clock
from plimsoll.errors import Unreachable
from plimsoll.records.request import Request
from plimsoll.records.run import BeatRun
from plimsoll.runs.pulse import pulse


def test_a_run_says_that_it_lives_through_outages_until_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.runs.pulse.BEAT", 0.01)
    heard: list[Request[Any]] = []
    thrice = threading.Event()

    def do(request: Request[Any], /) -> Any:
        heard.append(request)
        if len(heard) == 3:
            thrice.set()
        raise Unreachable("The server does not answer.")

    with pulse("r", do, clock.Alarms()):
        assert thrice.wait(60)
    count = len(heard)
    assert set(heard) == {BeatRun(id="r")}
    clock.sleep(0.05)
    assert len(heard) == count
