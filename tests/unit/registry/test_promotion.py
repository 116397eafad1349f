"""How a version is let past the line, and that nothing else lets it past."""

from __future__ import annotations

import contextlib
import dataclasses
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plimsoll import access, clock, verbs
from plimsoll.errors import Conflict, Denied, InvalidInput, NotFound, PlimsollError, Refused
from plimsoll.records import access as a
from plimsoll.records import deployment as dep
from plimsoll.records import model as m
from plimsoll.records import monitor as mon
from plimsoll.records.access import Actor
from plimsoll.records.deployment import (
    ApproveRelease,
    CreateRelease,
    ListApprovals,
    RejectRelease,
    Release,
    ReleasePolicy,
    RollBack,
    SetEnvironment,
    StartRollout,
)
from plimsoll.records.model import GetReport, RecordReport
from plimsoll.records.monitor import RecordWindow, WindowReport
from plimsoll.records.plane import ReportPlane
from plimsoll.records.request import Request
from plimsoll.records.run import StartRun
from plimsoll.workspace import PLANE, WORKER
from tests.unit.yard import STEPS, Yard, open_yard


@pytest.fixture
def proposed(yard: Yard) -> Release:
    """A proposed release of a version that passed its checks."""
    version = yard.version("one")
    yard.examine(version)
    return yard.propose(version)


def test_another_person_with_the_role_approves(yard: Yard, proposed: Release) -> None:
    assert (proposed.state, proposed.author, proposed.proposer) == ("proposed", "dana", "dana")
    assert yard.approve(proposed).state == "approved"
    (approval,) = yard.workspace.do(ListApprovals(release_id=proposed.id), yard.dana)
    assert (approval.actor, approval.digest) == ("omar", proposed.digest)


def test_an_author_never_approves_their_own_work_whatever_roles_they_have(yard: Yard, proposed: Release) -> None:
    for actor in (yard.add("dana", "approve"), yard.add("dana", "admin")):
        with pytest.raises(Refused, match="dana is the author of late/1"):
            yard.approve(proposed, actor)
    assert yard.release(proposed.id).state == "proposed"


def test_a_package_cannot_be_registered_as_somebody_elses_work_to_be_approved_by_its_author(yard: Yard) -> None:
    mallory = yard.add("mallory", "read", "write", "approve")
    run = yard.workspace.do(StartRun(), yard.dana)
    asked = m.CreateVersion(model="late", digest=yard.package("evil"), run_id=run.id)
    with pytest.raises(Denied, match="mallory may not register a package as the work of dana"):
        yard.workspace.do(asked, mallory)


@pytest.mark.parametrize("roles", [("approve",), ("admin",)])
def test_a_program_never_approves(yard: Yard, proposed: Release, roles: tuple[a.Role, ...]) -> None:
    with pytest.raises(Refused, match="gate is a program"):
        yard.approve(proposed, yard.add("gate", *roles, person=False))
    for program in (WORKER, PLANE):
        with pytest.raises(Denied):
            yard.approve(proposed, program)


def test_only_the_exact_digest_is_approved(yard: Yard, proposed: Release) -> None:
    with pytest.raises(Refused, match="not 000000000000"):
        yard.workspace.do(ApproveRelease(id=proposed.id, digest="0" * 64), yard.omar)
    with pytest.raises(InvalidInput):
        ApproveRelease(id=proposed.id, digest=proposed.digest[:12])


def test_the_digest_covers_environment_package_and_configuration(yard: Yard, proposed: Release) -> None:
    version = yard.workspace.do(m.GetVersion(ref="late/1"), yard.dana)
    other = yard.version("two")
    yard.examine(other)
    yard.workspace.do(SetEnvironment(name="test", policy=ReleasePolicy()), yard.owner)
    found = {
        proposed.digest,
        yard.propose(other).digest,
        yard.propose(version, "test").digest,
        yard.propose(version, config=dep.ServingConfig(threads=2)).digest,
    }
    assert len(found) == 4


def test_only_the_role_lets_a_person_approve(yard: Yard, proposed: Release) -> None:
    for roles in (("read", "write", "operate"), ()):
        with pytest.raises(Denied):
            yard.approve(proposed, yard.add("otto", *roles))


def test_a_rejected_release_is_not_approved(yard: Yard, proposed: Release) -> None:
    yard.workspace.do(RejectRelease(id=proposed.id, reason="Too late in the year."), yard.nora)
    with pytest.raises(Conflict, match="is rejected"):
        yard.approve(proposed)
    with pytest.raises(Refused, match=r"is rejected: Too late in the year\."):
        yard.start(proposed)


def test_what_was_rejected_and_is_proposed_again_is_a_new_release(yard: Yard, proposed: Release) -> None:
    yard.workspace.do(RejectRelease(id=proposed.id, reason="Not today."), yard.nora)
    again = yard.propose(yard.workspace.do(m.GetVersion(ref="late/1"), yard.dana))
    assert again.id != proposed.id
    assert (again.state, yard.release(proposed.id).state) == ("proposed", "rejected")


def test_what_answers_or_is_on_its_way_is_rolled_back_and_not_rejected(yard: Yard) -> None:
    live = yard.live("one")
    rolling = yard.approved("two", live.package)
    yard.start(rolling)
    for release, state in ((live, "live"), (rolling, "rolling")):
        with pytest.raises(Conflict, match=rf"is {state}.*plimsoll deployments rollback"):
            yard.workspace.do(RejectRelease(id=release.id, reason="No."), yard.nora)
        assert yard.release(release.id).state == state


def test_the_beginning_of_an_id_that_several_releases_have_names_none_of_them(yard: Yard, proposed: Release) -> None:
    other = yard.propose(yard.workspace.do(m.GetVersion(ref="late/1"), yard.dana), "dev")
    # Ids begin with their time.
    assert other.id[:6] == proposed.id[:6]
    with pytest.raises(InvalidInput, match="Several releases begin with"):
        yard.workspace.do(RejectRelease(id=proposed.id[:6], reason="No."), yard.nora)
    with pytest.raises(InvalidInput, match="too short"):
        yard.workspace.do(RejectRelease(id=proposed.id[:5], reason="No."), yard.nora)
    assert [yard.release(release.id).state for release in (proposed, other)] == ["proposed", other.state]


def test_two_approvals_are_two_people(yard: Yard) -> None:
    yard.rules(approvals=2)
    version = yard.version("one")
    yard.examine(version)
    release = yard.propose(version)
    assert yard.approve(release).state == "proposed"
    assert yard.approve(release).state == "proposed"
    with pytest.raises(Refused):
        yard.start(release)
    assert yard.approve(release, yard.add("pia", "approve")).state == "approved"


def test_a_proposed_release_stays_proposed_when_the_rules_become_weaker(yard: Yard, proposed: Release) -> None:
    yard.rules(approvals=0)
    again = yard.propose(yard.workspace.do(m.GetVersion(ref="late/1"), yard.dana))
    assert (again.id, again.state) == (proposed.id, "proposed")


def test_an_approved_release_is_held_against_the_rules_of_now_and_the_rest_can_still_say_yes(yard: Yard, proposed: Release) -> None:
    yard.approve(proposed)
    yard.rules(approvals=2)
    with pytest.raises(Refused, match=r"has 1 of the 2 approvals that production asks for now.*plimsoll approve") as refused:
        yard.start(proposed)
    assert refused.value.details == {"given": 1, "wanted": 2}
    assert yard.deployed() is None
    yard.approve(proposed)
    with pytest.raises(Refused):
        yard.start(proposed)
    assert yard.approve(proposed, yard.add("pia", "approve")).state == "approved"
    with pytest.raises(Conflict, match="is approved, not proposed"):
        yard.approve(proposed, yard.add("quinn", "approve"))
    assert yard.start(proposed).stable == proposed.id


def test_a_release_that_needed_nobody_needs_somebody_once_the_rules_ask_for_it(yard: Yard) -> None:
    yard.rules(approvals=0)
    version = yard.version("one")
    yard.examine(version)
    release = yard.propose(version)
    yard.rules(approvals=1)
    with pytest.raises(Refused, match="has 0 of the 1 approvals"):
        yard.start(release)
    yard.approve(release)
    assert yard.start(release).stable == release.id


def test_the_same_proposal_while_one_is_open_is_that_one_also_when_a_roll_back_opened_a_second(yard: Yard) -> None:
    first = yard.live("one")
    yard.live("two")
    version = yard.workspace.do(m.GetVersion(ref="late/1"), yard.dana)
    yard.examine(version, champion=yard.workspace.do(m.GetVersion(ref="late/2"), yard.dana).digest)
    again = yard.propose(version)
    assert again.id != first.id
    yard.workspace.do(RollBack(model="late", reason="Worse."), yard.nora)
    assert yard.release(first.id).state == "live"
    assert yard.propose(version).id == again.id


def test_a_version_that_was_never_examined_is_refused(yard: Yard) -> None:
    with pytest.raises(Refused, match=r"late/1 was never examined.*plimsoll checks run late/1"):
        yard.propose(yard.version("one"))
    with pytest.raises(NotFound):
        yard.workspace.do(GetReport(ref="late/1"), yard.dana)


def test_a_failed_check_refuses_with_its_name_and_reason_and_a_warning_does_not(yard: Yard) -> None:
    version = yard.version("one")
    yard.examine(version)
    yard.examine(version, "fail")
    with pytest.raises(Refused, match=r"failed 1 of 1 checks: \[money\] It is a fail") as refused:
        yard.propose(version)
    assert refused.value.details == {"failed": ["money"]}
    yard.examine(version, "warn")
    assert yard.propose(version).state == "proposed"


def test_an_examination_without_a_single_check_refuses(yard: Yard) -> None:
    version = yard.version("one")
    empty = m.CheckReport(id=clock.new_id(), model="late", number=1, champion=None, verdicts=(), created=0)
    yard.workspace.do(RecordReport(report=empty), WORKER)
    with pytest.raises(Refused, match="No check ran"):
        yard.propose(version)


def test_an_examination_against_another_champion_is_refused_when_proposed_and_when_rolled_out(yard: Yard) -> None:
    late = yard.approved("second, compared with nothing")
    first = yard.live("first")
    with pytest.raises(Refused, match="compared with another version than late/2"):
        yard.start(late)
    stale = yard.version("third")
    yard.examine(stale, champion="0" * 64)
    with pytest.raises(Refused, match="--environment production"):
        yard.propose(stale)
    yard.examine(stale, champion=first.package)
    assert yard.propose(stale).state == "proposed"


def test_verdicts_and_window_reports_cannot_be_typed_in_by_anybody(yard: Yard) -> None:
    version = yard.version("one")
    report = m.CheckReport(id=clock.new_id(), model="late", number=version.number, champion=None, verdicts=(), created=0)
    window = WindowReport(model="late", environment="production", start=0, end=1, rows=0, labels=0, metrics={}, slices={}, findings=())
    requests: tuple[Request[Any], ...] = (
        RecordReport(report=report),
        RecordWindow(report=window, table=b"", labelled=0, pipeline=""),
        mon.RecordRetraining(alert_id="a", release_id=None, outcome=""),
        mon.Retrain(alert_id="a", pipeline="p", params={}),
    )
    everything = Actor(name="root", roles=("read", "write", "approve", "operate", "serve", "admin"))
    for request in requests:
        for actor in (yard.owner, everything, PLANE):
            with pytest.raises(Denied, match="it needs the role 'work'"):
                yard.workspace.do(request, actor)
    with pytest.raises(Denied):
        yard.workspace.submit(requests[3], yard.owner)


def test_traffic_cannot_be_typed_in_by_anybody_to_let_a_rollout_advance(yard: Yard) -> None:
    champion = yard.live("one").package
    release = yard.approved("two", champion)
    deployment = yard.start(release)
    count = mon.TrafficCount(
        release_id=release.id,
        track="shadow",
        generation=deployment.generation,
        requests=1000,
        errors=0,
        latency=(1000,) + (0,) * len(mon.LATENCY_EDGES),
    )
    rows = mon.PredictionColumns(
        request_id=(), row=(), at=(), unit=(), track=(), release_id=(), output=(), status=(), latency=(), trace=(), inputs={}
    )
    made_up: tuple[Request[Any], ...] = (
        mon.AppendPredictions(plane="p", sequence=1, model="late", environment="production", rows=rows, counts=(count,)),
        ReportPlane(plane="p", environment="production", address="", generations={"late": deployment.generation}, tracks=()),
    )
    everything = Actor(name="root", roles=("read", "write", "approve", "operate", "work", "admin"))
    for request in made_up:
        for actor in (yard.owner, yard.dana, everything, WORKER):
            with pytest.raises(Denied, match="it needs the role 'serve'"):
                yard.workspace.do(request, actor)
    with pytest.raises(Refused, match="0 of 10 requests seen"):
        yard.workspace.do(dep.MoveRollout(model="late", to="advance", reason="Now."), yard.owner)
    yard.workspace.do(made_up[0], PLANE)
    assert yard.workspace.do(dep.MoveRollout(model="late", to="advance", reason="Now."), yard.owner).step == 1


@pytest.mark.parametrize("role", ["work", "serve"])
def test_the_programs_roles_and_names_are_not_given_away(yard: Yard, role: a.Role) -> None:
    with pytest.raises(InvalidInput, match=f"{role}.*not given away"):
        yard.add("walter", "read", role)
    for name in ("worker", "plane"):
        with pytest.raises(Refused, match="is a program of this workspace"):
            yard.add(name, "write")
    assert yard.workspace.identify(yard.workspace.token("worker")) == WORKER


def requests_for(release: Release, version: m.Version) -> dict[type[Request[Any]], Callable[[], Request[Any]]]:
    """How each verb would be used by somebody who wants this release live without an approval."""
    same = {"model": release.model, "environment": release.environment}
    made = {
        a.AddActor: lambda: a.AddActor(name="sock", roles=("write", "operate")),
        dep.SetEnvironment: lambda: dep.SetEnvironment(name="production", policy=ReleasePolicy(approvals=0, checks=False, steps=STEPS)),
        dep.CreateRelease: lambda: CreateRelease(ref=version.digest),
        dep.StartRollout: lambda: StartRollout(release_id=release.id),
        dep.MoveRollout: lambda: dep.MoveRollout(**same, to="advance", reason="Now."),
        dep.RollBack: lambda: RollBack(**same, reason="Now."),
        dep.KillDeployment: lambda: dep.KillDeployment(**same, reason="Now."),
        dep.ReviveDeployment: lambda: dep.ReviveDeployment(**same, reason="Now."),
        m.TrustPackage: lambda: m.TrustPackage(digest=version.digest),
        m.CreateVersion: lambda: m.CreateVersion(model="late", digest=version.digest, run_id=version.run_id),
    }
    return typing.cast(dict[type[Request[Any]], Callable[[], Request[Any]]], made)


def guess(request: type[Request[Any]], release: Release) -> Request[Any] | None:
    """Return a request whose fields name the release wherever they can."""
    known = {
        "id": release.id,
        "release_id": release.id,
        "model": release.model,
        "digest": release.digest,
        "reason": "Now.",
        "ref": release.package,
    }
    fields = [field for field in dataclasses.fields(typing.cast(Any, request)) if field.default is field.default_factory]
    try:
        return request(**{field.name: known[field.name] for field in fields})
    except (KeyError, PlimsollError):
        return None


@pytest.mark.parametrize("standing", ["nothing live", "another live"])
def test_no_verb_but_the_approval_brings_a_proposed_release_live(yard: Yard, standing: str) -> None:
    champion = yard.live("champion").package if standing == "another live" else None
    version = yard.version("two")
    yard.examine(version, champion=champion)
    release = yard.propose(version)
    everything = Actor(name="root", roles=("read", "write", "operate", "serve", "admin"))
    shaped = requests_for(release, version)
    tried = set()
    for verb in verbs.VERBS:
        if verb.role in ("approve", "work", "serve") or verb.kind == "job":
            continue
        if verb.request is dep.RejectRelease:
            continue
        request = shaped[verb.request]() if verb.request in shaped else guess(verb.request, release)
        if request is None:
            continue
        tried.add(verb.name)
        for actor in (everything, yard.robot):
            with contextlib.suppress(PlimsollError):
                yard.workspace.do(request, actor)
        assert yard.release(release.id).state == "proposed", verb.name
        for model in yard.desired():
            assert release.package not in {track.package for track in model.tracks}, verb.name
    assert {verb.name for verb in verbs.VERBS if verb.role == "operate" and verb.kind == "write"} - tried <= {
        "RejectRelease",
        "AcknowledgeAlert",
        "SetRetrainPolicy",
        "SetTrigger",
        "RemoveTrigger",
        "CreateWebhook",
    }
    assert yard.approve(release).state == "approved"


def test_every_verb_is_denied_to_an_actor_without_roles(yard: Yard) -> None:
    nobody = yard.add("nobody")
    for verb in verbs.VERBS:
        request = object.__new__(verb.request)
        with pytest.raises(Denied, match=f"nobody may not {verb.name}"):
            yard.workspace.do(request, nobody)
        if verb.kind == "job":
            with pytest.raises(Denied):
                yard.workspace.submit(request, nobody)


def test_each_role_opens_its_own_verbs_only_and_admin_all_but_the_programs(yard: Yard) -> None:
    for verb in verbs.VERBS:
        request = object.__new__(verb.request)
        for role in typing.get_args(a.Role):
            allowed = role == verb.role or (role == "admin" and verb.role not in ("work", "serve"))
            if not allowed:
                with pytest.raises(Denied):
                    yard.workspace.do(request, Actor(name="x", roles=(role,)))
            else:
                access.require(Actor(name="x", roles=(role,)), verb.role, verb.name)


def test_the_way_of_two_releases_is_the_same_on_each_database(database_url: str, tmp_path: Path) -> None:
    yard = open_yard(tmp_path / "home", database_url)
    try:
        first, second = yard.live("one"), yard.live("two")
        assert [track.number for track in yard.desired()[0].tracks] == [2, 1]
        yard.workspace.do(dep.KillDeployment(model="late", reason="Fire."), yard.nora)
        assert [track.number for track in yard.desired()[0].tracks] == [1, 2]
        yard.workspace.do(dep.ReviveDeployment(model="late", reason="Out."), yard.nora)
        yard.workspace.do(RollBack(model="late", reason="Worse."), yard.nora)
        assert [yard.release(release.id).state for release in (first, second)] == ["live", "rolled_back"]
        assert yard.workspace.do(m.GetLineage(ref="late@production"), yard.dana).version.number == 1
        for ref in ("late/9", "late/99999999999999999999999", "late/²"):
            with pytest.raises((NotFound, InvalidInput)):
                yard.workspace.do(m.GetVersion(ref=ref), yard.dana)
        assert yard.workspace.do(a.VerifyEvents(), yard.dana).broken_at is None
    finally:
        yard.workspace.close()
