"""One way to ask for anything: who may, what stays when it fails, and what the audit log tells."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from plimsoll import codec, verbs
from plimsoll.errors import Conflict, Corrupt, InvalidInput, NotFound, PlimsollError, Unauthenticated
from plimsoll.records import deployment as dep
from plimsoll.records import model as m
from plimsoll.records.access import Actor, AddActor, Event, ListActors, ListEvents, ListJobs, VerifyEvents, WhoAmI
from plimsoll.records.data import Manifest, RegisterSnapshot
from plimsoll.records.monitor import RetrainPolicy, SealPredictions, SetRetrainPolicy
from plimsoll.records.pipeline import DropEntry
from plimsoll.records.pipelines.search import FinishSearch, Objective, SearchPlan, StartSearch
from plimsoll.records.pipelines.trigger import RemoveTrigger, SetTrigger, TriggerRule
from plimsoll.records.registry import catalog as g
from plimsoll.records.registry.webhooks import CreateWebhook, DeleteWebhook, UpdateWebhook
from plimsoll.records.request import Request
from plimsoll.records.run import AppendPoints, FinishRun, PointColumns, ResumeRun, SetTags, StartRun
from plimsoll.records.tracking.change import DeleteRun, RemoveArtifacts, RemoveTags, RestoreRun, UpdateRun
from plimsoll.records.tracking.experiment import (
    CreateExperiment,
    DeleteExperiment,
    GetExperiment,
    RenameExperiment,
    RestoreExperiment,
    TagExperiment,
)
from plimsoll.records.tracking.logged_model import CreateLoggedModel, DeleteLoggedModel, DropModelFiles, FinishLoggedModel, TagLoggedModel
from plimsoll.records.tracking.traces.assessment import Assessment, DeleteAssessment, Said, UpdateAssessment
from plimsoll.records.tracking.traces.trace import DeleteTraces, RecordTrace, RequestTrace, TagTrace
from plimsoll.store.database import open_database
from plimsoll.store.schema import environments, events
from plimsoll.store.tables.tracking import runs
from plimsoll.workspace import PLANE, WORKER, Workspace, open_workspace
from tests.unit.yard import Yard

#: The least that can be searched for.
SEARCHED = SearchPlan(pipeline="p.py:p", space={"x": "int(1, 2)"}, objectives=(Objective(metric="m", direction="maximize"),))


def lines(workspace: Workspace) -> tuple[Event, ...]:
    return workspace.do(ListEvents(limit=1000), WORKER)


JUDGED = Assessment(trace_id="tr-1", id="a-1", name="good", kind="feedback", said=Said(value=True))
TRACED = RecordTrace(trace=RequestTrace(id="tr-1", experiment_id="0", state="ok", started=1, duration=1, assessments=(JUDGED,)))


def told(yard: Yard, request: Request[Any], actor: Actor) -> Event:
    """Do a request and return the one line that it left; the alias that moves with a release has one of its own."""
    before = len(lines(yard.workspace))
    yard.workspace.do(request, actor)
    new = lines(yard.workspace)[:-before]
    line, *beside = new
    assert {other.verb for other in beside} <= {"PointAlias"}, type(request).__name__
    return line


def test_every_audited_verb_leaves_exactly_one_line_with_actor_subject_and_request(yard: Yard) -> None:
    (yard.workspace.project / "pipe.py").write_text("flow = None\n")
    run = yard.workspace.do(StartRun(), yard.dana)
    tree = yard.workspace.stores.blobs.put(codec.canonical(Manifest(kind="tree", files=(), meta={})))
    package = yard.package("one")
    first, second, third = yard.version("1"), yard.version("2"), yard.version("3")
    yard.examine(first)
    release = yard.propose(first)
    verdict = m.Verdict(check="money", outcome="pass", reason="It saves some.")
    passed = m.CheckReport(id="r2", model="late", number=2, champion=first.digest, verdicts=(verdict,), created=0)
    seen = [
        told(yard, AddActor(name="pia"), yard.owner),
        told(yard, StartRun(), yard.dana),
        told(yard, SetTags(id=run.id, tags={"a": "b"}), yard.dana),
        told(yard, RemoveTags(id=run.id, names=("a",)), yard.dana),
        told(yard, RemoveArtifacts(run_id=run.id, names=("none",)), yard.dana),
        told(yard, UpdateRun(id=run.id, name="first"), yard.dana),
        told(yard, ResumeRun(id=run.id, params={"depth": 3}), yard.dana),
        told(yard, DeleteRun(id=run.id), yard.dana),
        told(yard, RestoreRun(id=run.id), yard.dana),
        told(yard, CreateExperiment(name="arrivals"), yard.dana),
        told(
            yard, RenameExperiment(id=(late := yard.workspace.do(GetExperiment(name="arrivals"), yard.dana).id), name="landings"), yard.dana
        ),
        told(yard, TagExperiment(id=late, tags={"a": "b"}), yard.dana),
        told(yard, DeleteExperiment(id=late), yard.dana),
        told(yard, RestoreExperiment(id=late), yard.dana),
        told(yard, RegisterSnapshot(name="flights", digest=tree), yard.dana),
        told(yard, m.CreateVersion(model="late", digest=package, run_id=run.id), yard.dana),
        told(yard, kept := CreateLoggedModel(experiment_id="0", run_id=run.id), yard.dana),
        told(yard, FinishLoggedModel(id=(logged := yard.workspace.do(kept, yard.dana).id)), yard.dana),
        told(yard, TagLoggedModel(id=logged, tags={"a": "b"}), yard.dana),
        told(yard, DropModelFiles(id=logged, names=("none",)), yard.dana),
        told(yard, DeleteLoggedModel(id=logged), yard.dana),
        told(yard, TagTrace(id=yard.workspace.do(TRACED, yard.dana).id, tags={"a": "b"}), yard.dana),
        told(yard, UpdateAssessment(trace_id="tr-1", id="a-1", rationale="why"), yard.dana),
        told(yard, DeleteAssessment(trace_id="tr-1", id="a-1"), yard.dana),
        told(yard, DeleteTraces(experiment_id="0", ids=("tr-1",)), yard.dana),
        told(yard, g.CreateModel(name="early"), yard.dana),
        told(yard, g.DescribeModel(name="early", description="Before."), yard.dana),
        told(yard, g.RenameModel(name="early", to="earlier"), yard.dana),
        told(yard, g.TagModel(name="earlier", tags={"a": "b"}), yard.dana),
        told(yard, g.AdoptFiles(model="earlier", ref="late/1"), yard.dana),
        told(yard, g.UpdateVersion(model="earlier", number=1, description="A copy."), yard.dana),
        told(yard, g.TagVersion(model="earlier", number=1, tags={"a": "b"}), yard.dana),
        told(yard, g.SetAlias(model="earlier", alias="best", number=1), yard.dana),
        told(yard, g.RemoveAlias(model="earlier", alias="best"), yard.dana),
        told(yard, g.DeleteVersion(model="earlier", number=1), yard.dana),
        told(yard, g.DeleteModel(name="earlier"), yard.dana),
        told(yard, FinishRun(id=run.id), yard.dana),
        told(yard, DropEntry(key="0" * 64, reason="Again."), yard.dana),
        told(yard, begun := StartSearch(plan=SEARCHED, trials=1, holder="h", key="k"), yard.dana),
        told(yard, FinishSearch(id=yard.workspace.do(begun, yard.dana).id, holder="h"), yard.dana),
        told(yard, m.TrustPackage(digest=package), yard.nora),
        told(yard, dep.SetEnvironment(name="test", policy=dep.ReleasePolicy()), yard.owner),
        told(yard, dep.ApproveRelease(id=release.id, digest=release.digest), yard.omar),
        told(yard, dep.StartRollout(release_id=release.id), WORKER),
        told(yard, m.RecordReport(report=passed), WORKER),
        told(yard, dep.CreateRelease(ref="late/2"), yard.dana),
        told(yard, SetRetrainPolicy(model="late", policy=RetrainPolicy()), yard.nora),
        told(yard, dep.KillDeployment(model="late", reason="Fire."), yard.nora),
        told(yard, dep.ReviveDeployment(model="late", reason="Out."), yard.nora),
        told(yard, SetTrigger(name="nightly", rule=TriggerRule(on="call", pipeline="pipe.py:flow")), yard.nora),
        told(yard, RemoveTrigger(name="nightly"), yard.nora),
        told(yard, hooked := CreateWebhook(name="w", url="https://example.org/", happenings=("model_version.created",)), yard.nora),
        told(yard, UpdateWebhook(id=(hook := yard.workspace.do(hooked, yard.nora).id), name="v"), yard.nora),
        told(yard, DeleteWebhook(id=hook), yard.nora),
    ]
    assert [(event.verb, event.actor, event.subject) for event in seen[:3]] == [
        ("AddActor", "olga", "actor:pia"),
        ("StartRun", "dana", seen[1].subject),
        ("SetTags", "dana", f"run:{run.id}"),
    ]
    subjects = {event.verb: event.subject for event in seen}
    assert subjects["ApproveRelease"] == f"release:{release.id}"
    assert subjects["KillDeployment"] == "deployment:late@production"
    assert subjects["CreateVersion"] == "version:late/4"
    assert subjects["SetEnvironment"] == "environment:test"
    assert seen[2].payload == {"id": run.id, "tags": {"a": "b"}}
    second_release = yard.workspace.do(dep.ListReleases(state="proposed"), yard.dana)[0]
    yard.approve(second_release)
    told(yard, dep.StartRollout(release_id=second_release.id), yard.nora)
    yard.count(second_release.id, 10)
    told(yard, dep.MoveRollout(model="late", to="advance", reason="Enough."), yard.nora)
    told(yard, dep.RollBack(model="late", reason="Worse."), yard.nora)
    yard.examine(third, champion=first.digest)
    told(yard, dep.RejectRelease(id=yard.propose(third).id, reason="No."), yard.nora)
    assert second.number == 2
    done = {event.verb for event in lines(yard.workspace)}
    audited = {verb.name for verb in verbs.VERBS if verb.kind == "write" and verb.audited}
    assert audited - done == {"AcknowledgeAlert", "RecordRetraining"}
    assert yard.workspace.do(VerifyEvents(), yard.dana).broken_at is None


def test_a_verb_that_fails_leaves_no_line_and_nothing_else(yard: Yard) -> None:
    version = yard.version("one")
    yard.examine(version)
    release = yard.propose(version)
    failing: tuple[tuple[Request[Any], Actor], ...] = (
        (FinishRun(id="abcdef"), yard.dana),
        (AddActor(name="x", roles=("work",)), yard.owner),
        (AddActor(name="x"), yard.dana),
        (m.CreateVersion(model="late", digest="1" * 64, run_id=version.run_id), yard.dana),
        (dep.ApproveRelease(id=release.id, digest="1" * 64), yard.omar),
        (dep.StartRollout(release_id=release.id), yard.nora),
        (dep.KillDeployment(model="late", reason=""), yard.nora),
        (dep.CreateRelease(ref="late/1", environment="nowhere"), yard.dana),
    )
    before = lines(yard.workspace)
    for request, actor in failing:
        with pytest.raises(PlimsollError):
            yard.workspace.do(request, actor)
    assert lines(yard.workspace) == before
    assert {actor.name for actor in yard.workspace.do(ListActors(), yard.owner)} == {
        "olga",
        "dana",
        "omar",
        "nora",
        "robot",
        "worker",
        "plane",
    }


def test_a_change_whose_line_cannot_be_written_is_undone(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Corrupt("The chain is broken.", "")

    with yard.workspace.stores.database.read() as tx:
        before = tx.execute(select(func.count()).select_from(runs)).scalar_one()
    monkeypatch.setattr("plimsoll.store.events.SqlEvents.append", full)
    with pytest.raises(Corrupt):
        yard.workspace.do(StartRun(), yard.dana)
    with yard.workspace.stores.database.read() as tx:
        assert tx.execute(select(func.count()).select_from(runs)).scalar_one() == before


def test_reading_and_counting_leave_no_line(yard: Yard) -> None:
    run = yard.workspace.do(StartRun(), yard.dana)
    before = len(lines(yard.workspace))
    yard.workspace.do(WhoAmI(), yard.dana)
    points = PointColumns(names=("a",), steps=(1,), times=(1,), values=(0.5,))
    yard.workspace.do(AppendPoints(run_id=run.id, writer="w", sequence=1, points=points), yard.dana)
    assert len(lines(yard.workspace)) == before


def test_a_reading_verb_cannot_write(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def writes(request: Any, context: Any) -> None:
        context.tx.execute(events.delete())

    row = verbs.Verb(asked="access:WhoAmI", function=writes, role="read", kind="read")
    monkeypatch.setitem(verbs.BY_NAME, "WhoAmI", row)
    with pytest.raises(PlimsollError):
        yard.workspace.do(WhoAmI(), yard.dana)
    assert lines(yard.workspace)


def test_a_changed_line_is_found(yard: Yard) -> None:
    yard.workspace.do(StartRun(), yard.dana)
    with yard.workspace.stores.database.write() as tx:
        tx.execute(events.update().where(events.c.sequence == 3).values(actor="somebody"))
    assert yard.workspace.do(VerifyEvents(), yard.dana).broken_at == 3


def test_many_writers_at_once_make_one_unbroken_chain(yard: Yard) -> None:
    def write() -> None:
        for _ in range(10):
            yard.workspace.do(StartRun(), yard.dana)

    before = len(lines(yard.workspace))
    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = lines(yard.workspace)
    assert len(found) == before + 40
    assert [event.sequence for event in found] == list(range(before + 40, 0, -1))
    assert yard.workspace.do(VerifyEvents(), yard.dana).broken_at is None


def test_no_line_and_no_row_holds_a_token(yard: Yard) -> None:
    token = yard.workspace.do(AddActor(name="pia"), yard.owner).token
    assert yard.workspace.identify(token).name == "pia"
    assert token not in codec.to_json(lines(yard.workspace)).decode()
    for path in yard.workspace.home.iterdir():
        if path.is_file():
            assert token.encode() not in path.read_bytes()


def test_a_home_opened_again_is_the_same_and_adds_no_line(yard: Yard) -> None:
    before, token = lines(yard.workspace), yard.workspace.token("owner")
    again = open_workspace(yard.workspace.home, owner="somebody-else")
    assert lines(again) == before
    assert again.identify(token).name == "olga"
    again.close()


def test_tokens_are_for_the_homes_owner_alone(yard: Yard) -> None:
    folder = yard.workspace.home / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {path.name for path in folder.iterdir()} == {"owner", "worker", "plane"}


def test_a_token_file_that_was_lost_is_made_anew_and_the_lost_token_ends(yard: Yard) -> None:
    lost = yard.workspace.token("worker")
    (yard.workspace.home / "secrets" / "worker").unlink()
    with pytest.raises(NotFound):
        yard.workspace.token("worker")
    again = open_workspace(yard.workspace.home)
    assert again.identify(again.token("worker")) == WORKER
    with pytest.raises(Unauthenticated):
        again.identify(lost)
    again.close()


@pytest.mark.parametrize("lost", ["owner", "worker", "plane", "an environment"])
def test_another_user_who_opens_a_home_becomes_nobody_in_it(yard: Yard, lost: str) -> None:
    home = yard.workspace.home
    before = yard.workspace.do(ListActors(), yard.owner)
    if lost == "an environment":
        with yard.workspace.stores.database.write() as tx:
            tx.execute(environments.delete().where(environments.c.name == "dev"))
    else:
        (home / "secrets" / lost).unlink()
    again = open_workspace(home, owner="zoe")
    assert again.do(ListActors(), WORKER) == before
    assert again.identify(again.token("owner")) == yard.owner
    assert lines(again)[0].actor == "olga"
    assert {found.name for found in again.do(dep.ListEnvironments(), WORKER)} == {"dev", "production"}
    again.close()


def test_a_home_whose_only_admin_gave_the_role_away_invites_nobody_else(yard: Yard) -> None:
    yard.workspace.do(AddActor(name="olga", roles=("read",)), yard.owner)
    (yard.workspace.home / "secrets" / "owner").unlink()
    before = yard.workspace.do(ListActors(), WORKER)
    again = open_workspace(yard.workspace.home, owner="zoe")
    assert again.do(ListActors(), WORKER) == before
    with pytest.raises(NotFound):
        again.token("owner")
    again.close()


#: Opens a home once a file is there, as all others do at that moment.
OPENS = """
import sys, time
from pathlib import Path
from plimsoll.workspace import open_workspace
home, go = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
workspace = open_workspace(home, owner=sys.argv[3])
for file in ("owner", "worker", "plane"):
    workspace.identify(workspace.token(file))
"""


def test_many_processes_that_open_one_new_home_at_once_leave_tokens_that_are_known(tmp_path: Path) -> None:
    for attempt in range(3):
        home, go = tmp_path / f"home-{attempt}", tmp_path / f"go-{attempt}"
        # With its tables there, all of them come to the making of actors at the same moment.
        open_database(f"sqlite:///{home}/plimsoll.db").close()
        command = [sys.executable, "-c", OPENS, str(home), str(go)]
        opening = [
            subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for name in ("a", "b", "c", "d")
        ]
        for process in opening:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        go.touch()
        said = [process.communicate(timeout=300) for process in opening]
        assert [process.returncode for process in opening] == [0] * 4, said
        workspace = open_workspace(home)
        people = [actor for actor in workspace.do(ListActors(), WORKER) if actor.person]
        assert len(people) == 1
        assert workspace.identify(workspace.token("owner")) == people[0]
        assert workspace.identify(workspace.token("worker")) == WORKER
        assert workspace.identify(workspace.token("plane")) == PLANE
        assert len(lines(workspace)) == 5
        assert {path.name for path in (home / "secrets").iterdir()} == {"owner", "worker", "plane"}
        workspace.close()


#: Dies when it first gives a token file its name, or, with ``commit``, just before the transaction that knows it ends.
DIES = """
import os, sys
from pathlib import Path
from plimsoll.store.events import SqlEvents
from plimsoll.workspace import open_workspace
def die(*args, **kwargs):
    os._exit(9)
if sys.argv[2] == "commit":
    SqlEvents.append = die
else:
    Path.replace = die
open_workspace(Path(sys.argv[1]), owner="olga")
"""


@pytest.mark.parametrize("moment", ["commit", "replace"])
@pytest.mark.parametrize("new", [True, False])
def test_a_home_whose_making_was_killed_opens_with_tokens_that_are_known(tmp_path: Path, moment: str, new: bool) -> None:
    home = tmp_path / "home"
    if not new:
        open_workspace(home, owner="olga").close()
        (home / "secrets" / "worker").unlink()
    assert subprocess.run([sys.executable, "-c", DIES, str(home), moment], check=False).returncode == 9
    workspace = open_workspace(home, owner="zoe" if moment == "replace" or not new else "olga")
    assert workspace.identify(workspace.token("owner")) == Actor(name="olga", roles=("admin",))
    assert workspace.identify(workspace.token("worker")) == WORKER
    assert workspace.identify(workspace.token("plane")) == PLANE
    assert {path.name for path in (home / "secrets").iterdir()} == {"owner", "worker", "plane"}
    workspace.close()


def test_a_new_home_is_for_its_owner_alone_and_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    open_workspace(tmp_path / "new").close()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen").chmod(0o750)
    open_workspace(tmp_path / "chosen").close()
    assert stat.S_IMODE((tmp_path / "chosen").stat().st_mode) == 0o750


def test_the_address_of_a_home_shows_no_password(postgres_url: str, tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "home", database=f"{postgres_url}&password=hidden")
    assert "hidden" not in workspace.address
    assert workspace.address.startswith("postgresql://")
    workspace.close()


def test_a_home_that_cannot_be_made_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="PLIMSOLL_HOME"):
        open_workspace(tmp_path / "file" / "home")


def test_a_job_is_submitted_with_a_line_and_the_same_key_gives_the_same_job_without_one(yard: Yard) -> None:
    first = yard.workspace.submit(SealPredictions(), yard.nora, key="k")
    before = len(lines(yard.workspace))
    assert lines(yard.workspace)[0].verb == "SubmitSealPredictions"
    assert yard.workspace.submit(SealPredictions(), yard.nora, key="k") == first
    assert len(lines(yard.workspace)) == before
    with pytest.raises(Conflict, match="belongs to a SealPredictions"):
        yard.workspace.submit(m.CheckVersion(ref="late/1"), yard.dana, key="k")
    assert len(yard.workspace.do(ListJobs(), yard.dana)) == 1
    with pytest.raises(InvalidInput, match="is no job"):
        yard.workspace.submit(WhoAmI(), yard.dana)


def test_work_within_a_job_is_done_as_whoever_asked_and_verdicts_as_the_worker(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    version = yard.version("one")
    report = m.CheckReport(id="r", model="late", number=version.number, champion=None, verdicts=(), created=0)

    def job(request: Any, context: Any) -> m.CheckReport:
        context.do(StartRun(name="inside"))
        with pytest.raises(PlimsollError):
            context.do(dep.SetEnvironment(name="x", policy=dep.ReleasePolicy()))
        done: m.CheckReport = context.do(m.RecordReport(report=report))
        return done

    found = verbs.find("CheckVersion")
    row = verbs.Verb(asked=found.asked, function=job, role=found.role, kind="job")
    monkeypatch.setitem(verbs.BY_NAME, "CheckVersion", row)
    assert yard.workspace.do(m.CheckVersion(ref="late/1"), yard.dana) == report
    assert [(event.verb, event.actor) for event in lines(yard.workspace)[:2]] == [("RecordReport", "worker"), ("StartRun", "dana")]


def test_the_table_names_every_verb_once_and_each_can_be_loaded() -> None:
    assert len(verbs.BY_NAME) == len(verbs.VERBS)
    for verb in verbs.VERBS:
        function: Callable[..., Any] = verb.load()
        assert callable(function)
    with pytest.raises(NotFound, match="plimsoll doctor"):
        verbs.find("DropTables")


def test_git_does_not_see_a_home(tmp_path: Path) -> None:
    """Its tokens would be committed with the project that it lies in."""
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    open_workspace(tmp_path / ".plimsoll", tmp_path).close()
    assert (tmp_path / ".plimsoll" / "secrets" / "owner").exists()
    assert subprocess.run([*git, "status", "--porcelain", "-uall"], check=True, capture_output=True).stdout == b""
