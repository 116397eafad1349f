"""The split is sticky, fair and monotone; tallies add up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.records.deployment import Kill, ServingConfig, TrackName
from plimsoll.records.monitor import LATENCY_EDGES
from plimsoll.records.plane import DesiredModel, Track
from plimsoll.serving.batching import Replica
from plimsoll.serving.traffic import Lane, Route, Tally, arrange, cell, flips, merge, place, takes_canary

UNITS = st.text(max_size=20)


@dataclass(eq=False)
class Loaded:
    """What a route needs to know of a process."""

    state: str = "ready"
    meta: Any = field(default_factory=object)


def track(name: TrackName, share: float, release: str) -> Track:
    return Track(name=name, release_id=release, number=1, package="0" * 64, share=share, config=ServingConfig(), trusted=False)


def lane(name: TrackName, share: float, release: str) -> Lane:
    return Lane(track=track(name, share, release), replica=cast(Replica, Loaded()))


def route(share: float, kill: Kill | None = None) -> Route:
    return Route(
        model="m",
        generation=1,
        kill=kill,
        stable=lane("stable", 1 - share, "old"),
        canary=lane("canary", share, "new"),
        shadow=None,
        previous=None,
        fallback=None,
    )


@given(UNITS, UNITS)
def test_a_unit_keeps_its_place(salt: str, unit: str) -> None:
    assert place(salt, unit) == place(salt, unit)
    assert 0 <= place(salt, unit) < 1


def test_a_place_is_the_same_in_every_release_of_plimsoll() -> None:
    assert [round(place("release", unit), 6) for unit in ("", "AA100", "ü")] == [0.246429, 0.925828, 0.619178]


@given(UNITS, st.floats(0, 1), st.floats(0, 1))
def test_growing_the_share_takes_no_unit_away_from_the_canary(unit: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert takes_canary(route(large), unit) or not takes_canary(route(small), unit)


@given(UNITS)
def test_no_share_is_nobody_and_the_whole_share_is_everybody(unit: str) -> None:
    assert not takes_canary(route(0.0), unit)
    assert takes_canary(route(1.0), unit)


def test_the_canary_gets_its_share_of_units() -> None:
    taken = sum(takes_canary(route(0.25), f"unit {index}") for index in range(20_000))
    # Four standard deviations of a binomial count.
    assert abs(taken - 5_000) < 4 * (20_000 * 0.25 * 0.75) ** 0.5


def test_the_next_candidate_meets_other_units() -> None:
    units = [f"unit {index}" for index in range(2_000)]
    first = {unit for unit in units if place("first", unit) < 0.5}
    second = {unit for unit in units if place("second", unit) < 0.5}
    assert 400 < len(first & second) < 600


def test_a_kill_switch_leaves_the_canary_no_unit() -> None:
    kill = Kill(mode="stable", reason="", actor="dana", at=0)
    assert not any(takes_canary(route(1.0, kill), str(index)) for index in range(100))


def desired(*tracks: Track, kill: Kill | None = None) -> DesiredModel:
    return DesiredModel(model="m", generation=2, tracks=tracks, kill=kill)


def test_a_candidate_gets_no_traffic_before_it_is_loaded() -> None:
    old, new = track("stable", 0.5, "old"), track("canary", 0.5, "new")
    loading = Loaded(state="loading", meta=None)
    found = arrange(desired(old, new), cast(Any, {old: Loaded(), new: loading}), None)
    assert found.canary is None
    loading.state, loading.meta = "ready", object()
    assert arrange(desired(old, new), cast(Any, {old: Loaded(), new: loading}), found).canary is not None


def test_a_candidate_that_died_keeps_its_traffic_so_that_its_failures_are_seen() -> None:
    old, new = track("stable", 0.5, "old"), track("canary", 0.5, "new")
    both = cast(Any, {old: Loaded(), new: Loaded()})
    before = arrange(desired(old, new), both, None)
    both[new].state = "loading"
    assert arrange(desired(old, new), both, before).canary is not None


def test_the_old_stable_answers_until_the_new_one_is_loaded() -> None:
    old, new = track("stable", 1, "old"), track("stable", 1, "new")
    before = arrange(desired(old), cast(Any, {old: Loaded()}), None)
    after = arrange(desired(new), cast(Any, {new: Loaded(state="loading", meta=None)}), before)
    assert after.stable is not None
    assert after.stable.track == old


def test_the_release_to_return_to_is_kept_but_answers_nobody() -> None:
    live, before = track("stable", 1, "live"), track("stable", 0, "before")
    found = arrange(desired(before, live), cast(Any, {before: Loaded(), live: Loaded()}), None)
    assert found.stable is not None
    assert found.previous is not None
    assert (found.stable.track, found.previous.track) == (live, before)


def test_a_latency_on_an_edge_belongs_to_the_cell_below_it() -> None:
    assert [cell(0), cell(500), cell(501), cell(10**9)] == [0, 0, 1, len(LATENCY_EDGES)]


TALLIES = st.lists(
    st.builds(
        Tally,
        release_id=st.sampled_from(["a", "b"]),
        track=st.sampled_from(["stable", "canary"]),
        generation=st.integers(1, 2),
        requests=st.integers(0, 5),
        errors=st.integers(0, 5),
        latency=st.dictionaries(st.integers(0, 30), st.integers(1, 5), max_size=3),
        paired=st.integers(0, 5),
        flipped=st.integers(0, 5),
    ),
    max_size=8,
)


@given(TALLIES, st.integers(0, 8))
def test_merging_in_two_parts_gives_what_merging_at_once_gives(tallies: list[Tally], cut: int) -> None:
    def records(found: list[Tally]) -> list[Any]:
        return sorted((tally.record() for tally in found), key=repr)

    assert records(merge(tallies)) == records(merge([*merge(tallies[:cut]), *merge(tallies[cut:])]))
    assert sum(tally.requests for tally in merge(tallies)) == sum(tally.requests for tally in tallies)


def test_a_decision_flips_only_across_the_threshold() -> None:
    assert flips([0.1, 0.5, 0.9], [0.4, 0.49, 0.5], 0.5) == 1
