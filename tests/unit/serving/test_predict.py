"""Which release may answer, above all while the kill switch is on."""

from __future__ import annotations

import asyncio
from array import array
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from plimsoll import clock
from plimsoll.errors import NotFound, Unavailable
from plimsoll.records.deployment import Kill, ServingConfig
from plimsoll.records.plane import DesiredModel, Track
from plimsoll.serving.plane import Plane
from plimsoll.serving.predict import Answer, Call, Predictor
from plimsoll.serving.traffic import Route, arrange


@dataclass(eq=False)
class Loaded:
    """What a request needs of a process: it answers one number."""

    value: float
    state: str = "ready"
    meta: Any = field(default_factory=object)

    async def predict(self, columns: dict[str, list[Any]], rows: int, deadline: float) -> array[float]:
        if self.state != "ready":
            raise Unavailable("The model cannot answer now.")
        return array("d", [self.value] * rows)


def track(release: str, number: int, share: float, fallback: float | None = None) -> Track:
    config = ServingConfig(fallback=fallback)
    return Track(name="stable", release_id=release, number=number, package=f"{number:064x}", share=share, config=config, trusted=False)


def switch(release: str | None = "good") -> Kill:
    return Kill(mode="stable", reason="odd answers", actor="dana", at=0, release_id=release)


def routed(good: Loaded, bad: Loaded, kill: Kill | None, fallback: float | None = None) -> Route:
    """Return the route after the switch was pulled on a deployment whose stable release turned out to be bad."""
    live = DesiredModel(model="m", generation=1, tracks=(track("bad", 2, 1.0, fallback), track("good", 1, 0.0, fallback)), kill=None)
    killed = DesiredModel(model="m", generation=2, tracks=(track("good", 1, 1.0, fallback), track("bad", 2, 0.0, fallback)), kill=kill)
    processes = {track("good", 1, share, fallback): good for share in (0.0, 1.0)}
    processes |= {track("bad", 2, share, fallback): bad for share in (0.0, 1.0)}
    before = arrange(live, cast(Any, {one: processes[one] for one in live.tracks}), None)
    return arrange(killed, cast(Any, {one: processes[one] for one in killed.tracks}), before)


def ask(route: Route, version: int | None = None) -> Answer:
    now = clock.monotonic()
    call = Call(version=version, request_id="r", trace="", columns={}, rows=1, unit=[""], at=[0], arrived=now, deadline=now + 5)
    return asyncio.run(Predictor(None).answer(route, call))


def test_the_switch_answers_from_the_release_that_it_names() -> None:
    answer = ask(routed(Loaded(0.1), Loaded(0.9), switch()))
    assert (answer.values, answer.number, answer.fallback) == ([0.1], 1, True)


@pytest.mark.parametrize("meta", [None, object()])
def test_the_killed_release_never_stands_in_for_one_that_is_lost_or_still_loading(meta: object) -> None:
    route = routed(Loaded(0.1, "loading", meta), Loaded(0.9), switch())
    assert not Plane.can_answer(route)
    with pytest.raises(Unavailable):
        ask(route)
    declared = routed(Loaded(0.1, "loading", meta), Loaded(0.9), switch(), fallback=0.5)
    assert Plane.can_answer(declared)
    assert (ask(declared).values, ask(declared).track, ask(declared).number) == ([0.5], "fallback", None)


def test_a_switch_that_names_no_release_lets_none_answer() -> None:
    route = routed(Loaded(0.1), Loaded(0.9), switch(None))
    assert not Plane.can_answer(route)
    with pytest.raises(Unavailable):
        ask(route)
    assert ask(routed(Loaded(0.1), Loaded(0.9), switch(None), fallback=0.5)).values == [0.5]


@pytest.mark.parametrize(("state", "meta", "begun"), [("loading", None, False), ("loading", object(), True), ("failed", None, True)])
def test_a_plane_has_not_begun_while_a_fallback_stands_in_for_a_release_that_was_never_loaded(state: str, meta: Any, begun: bool) -> None:
    live = DesiredModel(model="m", generation=1, tracks=(track("new", 2, 1.0, 0.5), track("old", 1, 0.0, 0.5)), kill=None)
    route = arrange(live, cast(Any, dict(zip(live.tracks, (Loaded(0.1, state, meta), Loaded(0.9)), strict=True))), None)
    assert Plane.can_answer(route)
    assert Plane.has_begun(route) is begun


def test_nobody_can_insist_on_the_killed_release() -> None:
    for good in (Loaded(0.1), Loaded(0.1, "loading", None)):
        with pytest.raises(NotFound, match="Version 2"):
            ask(routed(good, Loaded(0.9), switch()), version=2)


def test_the_release_that_the_switch_names_keeps_answering_while_its_process_is_replaced() -> None:
    good = Loaded(0.1)
    first = routed(good, Loaded(0.9), switch())
    trusted = Track(name="stable", release_id="good", number=1, package=f"{1:064x}", share=1.0, config=ServingConfig(), trusted=True)
    again = DesiredModel(model="m", generation=3, tracks=(trusted,), kill=switch())
    assert ask(arrange(again, cast(Any, {trusted: Loaded(0.1, "loading", None)}), first)).values == [0.1]
