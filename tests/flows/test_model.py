"""The way of a model: from its training to all of the traffic, and back when it must. Each test goes on where the one before ended."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.errors import Conflict, Denied, InvalidInput, Refused
from plimsoll.records.access import ListEvents, VerifyEvents
from plimsoll.records.deployment import (
    ApproveRelease,
    CreateRelease,
    Deployment,
    GetDeployment,
    GetRelease,
    KillDeployment,
    ListApprovals,
    MoveRollout,
    Release,
    ReviveDeployment,
    RollBack,
    StartRollout,
)
from plimsoll.records.model import GetVersion
from tests.flows.real_platform import APPROVER, AUTHOR, Platform, answers, until, weather

pytestmark = pytest.mark.slow


def deployment(platform: Platform) -> Deployment:
    """Return what is deployed."""
    return platform.author.do(GetDeployment(model="trains"))


def live(platform: Platform) -> int:
    """Return the number of the version that answers."""
    stable = deployment(platform).stable
    assert stable is not None
    return platform.author.do(GetRelease(id=stable)).number


def drive(platform: Platform, release: Release, rain: float = 0.0, outage: bool = False) -> tuple[set[tuple[str, float]], set[str]]:
    """Ask until a rollout has ended; every answer must be good. Return the steps that were seen and the tracks that answered.

    Args:
        platform: where.
        release: the candidate.
        rain: added to each second request's rain once the candidate answers by itself.
        outage: kill the server once the candidate answers by itself, and start it again after some requests.
    """
    chance = weather(3)
    seen: set[tuple[str, float]] = set()
    tracks: set[str] = set()
    asked = 0

    def once() -> bool:
        nonlocal asked, outage
        state = platform.state(release)
        now = deployment(platform)
        # Between the two answers the release may have gone on.
        if now.candidate == release.id and platform.state(release) == state:
            seen.add((state, (0.0, 0.5, 1.0)[now.step]))
        down = outage and "canary" in tracks
        if down:
            platform.kill()
        for _ in range(10):
            asked += 1
            wet = rain if now.step > 0 and asked % 2 else 0.0
            response = platform.ask((chance.gauss(0, 1) + wet, chance.gauss(0, 1)), unit=f"train {asked}")
            assert response.status_code == 200, response.text
            tracks.add(response.headers["plimsoll-track"])
        if down:
            platform.start()
            outage = False
        return state not in ("proposed", "approved", "rolling")

    until(once, f"the rollout of {release.number} has ended")
    platform.served()
    return seen, tracks


def test_a_first_version_goes_live_once_somebody_else_than_its_author_says_yes(platform: Platform) -> None:
    version = platform.train("rain_alone")
    assert (version.number, version.author) == (1, AUTHOR)
    with pytest.raises(Refused, match="was never examined"):
        platform.author.do(CreateRelease(ref="trains/1"))
    report = platform.check(version)
    assert {verdict.check: verdict.outcome for verdict in report.verdicts if verdict.outcome == "fail"} == {}
    release = platform.propose(version)
    assert (release.state, release.author) == ("proposed", AUTHOR)

    with pytest.raises(Refused, match="is the author"):
        platform.author.do(ApproveRelease(id=release.id, digest=release.digest))
    by_hand = platform.command("approve", release.id)
    assert by_hand.returncode == 3
    assert "is the author" in by_hand.stderr
    with pytest.raises(Refused, match="proposed"):
        platform.author.do(StartRollout(release_id=release.id))
    with pytest.raises(Refused, match="digest"):
        platform.approver.do(ApproveRelease(id=release.id, digest="0" * 64))
    with pytest.raises(Denied):
        platform.approver.do(CreateRelease(ref="trains/1"))
    assert platform.state(release) == "proposed"
    assert platform.plane_pid() is None

    approved = platform.approver.do(ApproveRelease(id=release.id, digest=release.digest, note="Looked at it."))
    assert approved.state == "approved"
    until(lambda: platform.state(release) == "live", "the worker has put it live")
    platform.served()
    assert live(platform) == 1
    assert platform.author.do(GetVersion(ref="trains@production")).number == 1
    approvals = platform.author.do(ListApprovals(release_id=release.id))
    assert [(given.actor, given.digest) for given in approvals] == [(APPROVER, release.digest)]
    assert len(answers(platform.ask((1.0, 1.0), (0.0, 0.0)))) == 2


def test_a_second_version_earns_its_traffic_step_by_step(platform: Platform) -> None:
    first = answers(platform.ask((1.0, 1.0)))
    release = platform.release("rain_and_wind")
    # Also across a server that is killed on the way: rollout and counts are in the database, the plane goes on alone.
    seen, tracks = drive(platform, release, outage=True)
    assert seen == {("rolling", 0.0), ("rolling", 0.5)}
    assert tracks == {"stable", "canary"}
    assert platform.state(release) == "live"
    now = deployment(platform)
    assert (now.stable, now.candidate) == (release.id, None)
    assert live(platform) == 2
    assert platform.author.do(GetRelease(id=now.previous or "")).state == "retired"
    response = platform.ask((1.0, 1.0))
    assert answers(response) != first
    assert response.headers["plimsoll-version"] == "2"
    moved = [event for event in platform.author.do(ListEvents()) if event.verb in ("MoveRollout", "StartRollout")]
    assert [event.actor for event in moved[:3]] == ["worker"] * 3


def test_a_third_version_that_fails_on_live_input_is_taken_back_and_no_caller_notices(platform: Platform) -> None:
    release = platform.release("picky")
    seen, tracks = drive(platform, release, rain=30.0)
    assert ("rolling", 0.5) in seen
    # What the canary fails on is answered by stable; it may be taken back before it has answered anything itself.
    assert "stable" in tracks <= {"stable", "canary"}
    ended = platform.author.do(GetRelease(id=release.id))
    assert ended.state == "rolled_back"
    assert "candidate failed" in ended.reason
    assert "stable version failed 0 times" in ended.reason
    assert (live(platform), deployment(platform).candidate) == (2, None)
    assert platform.metric("plimsoll_requests_total", status="500") == 0
    assert platform.metric("plimsoll_requests_total", status="503") == 0
    assert platform.ask((30.0, 0.0)).headers["plimsoll-version"] == "2"


def test_the_kill_switch_answers_in_the_same_schema_and_says_that_it_does(platform: Platform) -> None:
    def shape(body: dict[str, Any]) -> tuple[object, ...]:
        (tensor,) = body["outputs"]
        return sorted(body), sorted(tensor), tensor["name"], tensor["shape"], tensor["datatype"]

    before = platform.ask((1.0, 1.0), (0.0, 0.0))
    with pytest.raises(Conflict, match="no rollout"):
        platform.author.do(MoveRollout(model="trains", to="advance", reason="by hand"))
    platform.author.do(KillDeployment(model="trains", mode="fallback", reason="Nonsense answers."))
    platform.served()
    killed = platform.ask((1.0, 1.0), (0.0, 0.0))
    assert answers(killed) == [0.1, 0.1]
    assert shape(killed.json()) == shape(before.json())
    assert killed.json()["parameters"] == {"track": "fallback", "fallback": True, "kill": "fallback"}
    assert killed.headers["plimsoll-fallback"] == "true"

    platform.author.do(ReviveDeployment(model="trains", reason="Understood."))
    platform.served()
    assert answers(platform.ask((1.0, 1.0), (0.0, 0.0))) == answers(before)

    platform.author.do(KillDeployment(model="trains", mode="stable", reason="Version 2 is wrong."))
    platform.served()
    earlier = platform.ask((1.0, 1.0), (0.0, 0.0))
    assert earlier.headers["plimsoll-version"] == "1"
    assert earlier.json()["parameters"]["kill"] == "stable"
    assert answers(earlier) != answers(before)
    platform.author.do(ReviveDeployment(model="trains", reason="Version 2 is right."))
    platform.served()
    assert platform.ask((1.0, 1.0)).headers["plimsoll-version"] == "2"


def test_a_roll_back_returns_to_the_version_that_is_still_loaded(platform: Platform) -> None:
    losses = platform.metric("plimsoll_replica_losses_total")
    platform.approver.do(RollBack(model="trains", reason="People complain."))
    platform.served()
    response = platform.ask((1.0, 1.0))
    assert response.headers["plimsoll-version"] == "1"
    assert live(platform) == 1
    assert platform.author.do(GetVersion(ref="trains@production")).number == 1
    assert platform.metric("plimsoll_replica_losses_total") == losses
    with pytest.raises(Conflict, match="no earlier release"):
        platform.approver.do(RollBack(model="trains", reason="Again."))


def test_the_way_is_in_the_audit_log_and_the_log_is_whole(platform: Platform) -> None:
    with pytest.raises(InvalidInput):
        platform.author.do(GetRelease(id="x"))
    events = platform.author.do(ListEvents(limit=1000))
    done = {event.verb for event in events}
    assert {"CreateVersion", "RecordReport", "CreateRelease", "ApproveRelease", "StartRollout", "MoveRollout"} <= done
    assert {"KillDeployment", "ReviveDeployment", "RollBack"} <= done
    assert {event.actor for event in events if event.verb == "ApproveRelease"} == {APPROVER}
    chain = platform.author.do(VerifyEvents())
    assert chain.broken_at is None
    assert chain.events >= len(events)
