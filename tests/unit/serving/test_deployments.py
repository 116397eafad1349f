from __future__ import annotations

import pytest

from plimsoll.errors import Conflict, NotFound, Refused
from plimsoll.records.deployment import Deployment, Kill, KillDeployment, MoveRollout, ReviveDeployment, RollBack, RolloutStep
from plimsoll.records.model import GetVersion, ListGrants, TrustPackage
from plimsoll.records.plane import GetDesiredState
from plimsoll.workspace import PLANE, WORKER
from tests.unit.yard import Yard


def deployed(yard: Yard) -> Deployment:
    found = yard.deployed()
    assert found is not None
    return found


def tracks(yard: Yard) -> list[tuple[str, int, float]]:
    (model,) = yard.desired()
    return [(track.name, track.number, track.share) for track in model.tracks]


def alias(yard: Yard) -> int:
    return yard.workspace.do(GetVersion(ref="late@production"), yard.dana).number


def kill(yard: Yard, mode: str = "stable") -> Kill:
    killed = yard.workspace.do(KillDeployment(model="late", mode=mode, reason="Fire."), yard.nora).kill  # type: ignore[arg-type]
    assert killed is not None
    return killed


def challenge(yard: Yard, mark: str = "challenger") -> str:
    """Start the rollout of another version and return its release."""
    stable = deployed(yard).stable
    assert stable is not None
    release = yard.approved(mark, yard.release(stable).package)
    yard.start(release)
    return release.id


def advance(yard: Yard) -> Deployment:
    return yard.workspace.do(MoveRollout(model="late", to="advance", reason="Enough."), yard.nora)


def test_the_first_release_takes_all_traffic_at_once(yard: Yard) -> None:
    release = yard.live("one")
    assert release.state == "live"
    assert tracks(yard) == [("stable", 1, 1.0)]
    assert (deployed(yard).previous, deployed(yard).candidate, alias(yard)) == (None, None, 1)


def test_a_candidate_is_shadowed_then_gets_its_share_then_all(yard: Yard) -> None:
    yard.live("one")
    id = challenge(yard)
    assert tracks(yard) == [("stable", 1, 1.0), ("shadow", 2, 0.0)]
    yard.count(id, 10)
    advance(yard)
    assert tracks(yard) == [("stable", 1, 0.5), ("shadow", 2, 0.0), ("canary", 2, 0.5)]
    assert (yard.release(id).state, alias(yard)) == ("rolling", 1)
    yard.count(id, 10)
    advance(yard)
    assert tracks(yard) == [("stable", 2, 1.0), ("stable", 1, 0.0)]
    assert (yard.release(id).state, alias(yard)) == ("live", 2)


def test_the_replaced_release_is_retired_and_stays_loaded_behind_the_live_one(yard: Yard) -> None:
    first = yard.live("one")
    second = yard.live("two")
    assert yard.release(first.id).state == "retired"
    assert (deployed(yard).stable, deployed(yard).previous) == (second.id, first.id)
    assert tracks(yard) == [("stable", 2, 1.0), ("stable", 1, 0.0)]


def test_an_advance_needs_the_evidence_and_a_revert_needs_none(yard: Yard) -> None:
    yard.live("one")
    id = challenge(yard)
    yard.count(id, 9)
    with pytest.raises(Refused, match="9 of 10 requests seen"):
        advance(yard)
    reverted = yard.workspace.do(MoveRollout(model="late", to="revert", reason="A feeling."), yard.nora)
    assert (reverted.candidate, reverted.step) == (None, 0)
    assert (yard.release(id).state, yard.release(id).reason) == ("rolled_back", "A feeling.")
    assert tracks(yard) == [("stable", 1, 1.0)]
    with pytest.raises(Conflict, match="no rollout under way"):
        advance(yard)


def test_a_move_that_was_judged_on_an_older_generation_is_refused(yard: Yard) -> None:
    yard.live("one")
    challenge(yard)
    stale = deployed(yard).generation - 1
    with pytest.raises(Conflict, match=f"moved on from generation {stale}"):
        yard.workspace.do(MoveRollout(model="late", to="revert", reason="Late.", generation=stale), yard.nora)


def test_a_second_candidate_waits_for_the_first(yard: Yard) -> None:
    champion = yard.live("one").package
    challenge(yard)
    other = yard.approved("three", champion)
    with pytest.raises(Conflict, match="has a rollout under way"):
        yard.start(other)


def test_a_roll_back_takes_a_candidate_back_first_and_the_live_release_next(yard: Yard) -> None:
    first, second = yard.live("one"), yard.live("two")
    id = challenge(yard, "three")
    yard.workspace.do(RollBack(model="late", reason="Slow."), yard.nora)
    assert yard.release(id).state == "rolled_back"
    assert (deployed(yard).stable, alias(yard)) == (second.id, 2)
    yard.workspace.do(RollBack(model="late", reason="Wrong."), yard.nora)
    assert [yard.release(release.id).state for release in (first, second)] == ["live", "rolled_back"]
    assert (deployed(yard).stable, deployed(yard).previous, alias(yard)) == (first.id, None, 1)
    assert tracks(yard) == [("stable", 1, 1.0)]
    with pytest.raises(Conflict, match="no earlier release"):
        yard.workspace.do(RollBack(model="late", reason="Again."), yard.nora)


def test_the_switch_sends_traffic_to_the_version_before(yard: Yard) -> None:
    first = yard.live("one")
    yard.live("two")
    killed = kill(yard)
    assert (killed.mode, killed.release_id, killed.actor) == ("stable", first.id, "nora")
    assert tracks(yard) == [("stable", 1, 1.0), ("stable", 2, 0.0)]


def test_the_switch_takes_a_candidate_back_and_leaves_the_stable_version(yard: Yard) -> None:
    first = yard.live("one")
    id = challenge(yard)
    killed = kill(yard)
    assert (killed.mode, killed.release_id) == ("stable", first.id)
    assert (yard.release(id).state, yard.release(id).reason) == ("rolled_back", "Kill switch: Fire.")
    assert tracks(yard) == [("stable", 1, 1.0)]


def test_the_switch_pulled_again_keeps_the_version_that_it_found_good(yard: Yard) -> None:
    first = yard.live("one")
    challenge(yard)
    kill(yard)
    again = kill(yard)
    assert (again.mode, again.release_id) == ("stable", first.id)
    assert kill(yard, "fallback").release_id is None


@pytest.mark.parametrize("on_its_way", [True, False])
def test_the_switch_to_the_default_and_then_to_the_good_version_finds_it_again(yard: Yard, on_its_way: bool) -> None:
    first = yard.live("one")
    if on_its_way:
        challenge(yard)
    else:
        yard.live("two")
    default = kill(yard, "fallback")
    assert (default.mode, default.release_id, default.good) == ("fallback", None, first.id)
    again = kill(yard, "stable")
    assert (again.mode, again.release_id, again.reason) == ("stable", first.id, "Fire.")
    assert kill(yard, "fallback").good == first.id


def test_the_switch_without_an_earlier_version_answers_the_default(yard: Yard) -> None:
    yard.live("one")
    killed = kill(yard)
    assert (killed.mode, killed.release_id) == ("fallback", None)
    assert killed.reason == "Fire. (There is no earlier version: the declared default answers.)"
    assert tracks(yard) == [("stable", 1, 1.0)]
    (model,) = yard.desired()
    assert model.kill == killed


def test_a_version_that_is_rolled_back_under_the_switch_answers_no_more(yard: Yard) -> None:
    first = yard.live("one")
    yard.live("two")
    challenge(yard, "three")
    kill(yard)
    yard.workspace.do(RollBack(model="late", reason="Two is wrong as well."), yard.nora)
    found = deployed(yard)
    assert found.kill is not None
    assert (found.stable, found.kill.good, found.kill.release_id) == (first.id, first.id, first.id)
    assert tracks(yard) == [("stable", 1, 1.0)]


def test_the_switch_to_the_default_names_no_version(yard: Yard) -> None:
    yard.live("one")
    yard.live("two")
    killed = kill(yard, "fallback")
    assert (killed.mode, killed.release_id) == ("fallback", None)


def test_nothing_is_rolled_out_while_the_switch_is_on(yard: Yard) -> None:
    champion = yard.live("one").package
    kill(yard)
    release = yard.approved("two", champion)
    with pytest.raises(Conflict, match="kill switch of late is on"):
        yard.start(release)
    yard.workspace.do(ReviveDeployment(model="late", reason="Out."), yard.nora)
    assert yard.start(release).candidate == release.id


def test_the_switch_turned_off_gives_the_traffic_back(yard: Yard) -> None:
    yard.live("one")
    yard.live("two")
    kill(yard)
    revived = yard.workspace.do(ReviveDeployment(model="late", reason="Out."), yard.nora)
    assert revived.kill is None
    assert tracks(yard) == [("stable", 2, 1.0), ("stable", 1, 0.0)]
    assert yard.workspace.do(ReviveDeployment(model="late", reason="Out."), yard.nora).generation == revived.generation


def test_each_change_raises_the_generation_by_one(yard: Yard) -> None:
    seen = []
    yard.live("one")
    seen.append(deployed(yard).generation)
    id = challenge(yard)
    seen.append(deployed(yard).generation)
    yard.count(id, 10)
    for change in (
        MoveRollout(model="late", to="advance", reason="Enough."),
        KillDeployment(model="late", reason="Fire."),
        ReviveDeployment(model="late", reason="Out."),
    ):
        seen.append(yard.workspace.do(change, yard.nora).generation)  # type: ignore[arg-type]
    assert seen == [1, 2, 3, 4, 5]
    (model,) = yard.desired()
    assert model.generation == 5


def test_rules_changed_within_a_rollout_are_for_the_next_one(yard: Yard) -> None:
    yard.live("one")
    id = challenge(yard)
    yard.rules(steps=(RolloutStep(share=1.0, requests=1),))
    yard.count(id, 10)
    assert advance(yard).step == 1


def test_code_of_a_release_runs_only_when_somebody_approved_or_trusted_it(yard: Yard) -> None:
    yard.rules(approvals=0)
    version = yard.version("one", WORKER, code="def f(rows): return rows\n", features="f:f")
    yard.examine(version)
    yard.start(yard.propose(version))
    assert [track.trusted for track in yard.desired()[0].tracks] == [False]
    yard.workspace.do(TrustPackage(digest=version.digest), yard.nora)
    assert [track.trusted for track in yard.desired()[0].tracks] == [True]


def test_an_approval_alone_lets_the_code_of_a_release_run(yard: Yard) -> None:
    version = yard.version("one", WORKER, code="def f(rows): return rows\n", features="f:f")
    assert yard.workspace.do(ListGrants(digest=version.digest), yard.dana) == ()
    yard.examine(version)
    yard.start(yard.approve(yard.propose(version)))
    assert [track.trusted for track in yard.desired()[0].tracks] == [True]


def test_a_plane_of_an_environment_that_is_not_there_is_told_so(yard: Yard) -> None:
    with pytest.raises(NotFound, match="There is no environment 'prodution'"):
        yard.workspace.do(GetDesiredState(environment="prodution"), PLANE)
