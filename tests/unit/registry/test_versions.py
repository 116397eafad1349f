from __future__ import annotations

import pytest

from plimsoll import codec
from plimsoll.errors import Corrupt, Denied, InvalidInput, NotFound, Refused
from plimsoll.records.access import Actor
from plimsoll.records.data import FileEntry, Manifest
from plimsoll.records.deployment import ExplainPrediction
from plimsoll.records.model import CreateVersion, GetLineage, GetVersion, Grant, ListGrants, ListVersions, TrustPackage
from plimsoll.records.pipeline import EndedStep, Output, RecordSteps, StepRecord, StepState
from plimsoll.records.run import StartRun
from plimsoll.store.schema import cache_entries
from plimsoll.workspace import WORKER
from tests.unit.yard import Yard


def register(yard: Yard, digest: str, model: str = "late") -> None:
    run = yard.workspace.do(StartRun(), yard.dana)
    yard.workspace.do(CreateVersion(model=model, digest=digest, run_id=run.id), yard.dana)


def grants(yard: Yard, digest: str) -> tuple[Grant, ...]:
    return yard.workspace.do(ListGrants(digest=digest), yard.dana)


def test_the_same_package_is_one_version_and_another_the_next_number(yard: Yard) -> None:
    first = yard.version("one")
    assert yard.version("one") == first
    assert (first.number, yard.version("two").number) == (1, 2)
    assert [version.number for version in yard.workspace.do(ListVersions(model="late"), yard.dana)] == [2, 1]


def test_a_package_whose_files_are_not_all_stored_is_refused_and_leaves_nothing(yard: Yard) -> None:
    blobs = yard.workspace.stores.blobs
    manifest = codec.from_json(blobs.get(yard.package("one")), Manifest)
    lost = FileEntry(path="zz.bin", digest="0" * 64, size=1)
    digest = blobs.put(codec.canonical(Manifest(kind="model", files=(*manifest.files, lost), meta={})))
    with pytest.raises(Corrupt, match=r"zz\.bin"):
        register(yard, digest)
    assert yard.workspace.do(ListVersions(), yard.dana) == ()
    with pytest.raises(NotFound):
        register(yard, "1" * 64)


def test_a_tree_that_is_no_package_is_refused(yard: Yard) -> None:
    digest = yard.workspace.stores.blobs.put(codec.canonical(Manifest(kind="tree", files=(), meta={})))
    with pytest.raises(InvalidInput, match=r"no package\.json"):
        register(yard, digest)


def test_a_package_goes_by_the_name_it_has_also_when_it_is_known_already(yard: Yard) -> None:
    digest = yard.package("one")
    with pytest.raises(InvalidInput, match="says it is 'late'"):
        register(yard, digest, model="early")
    register(yard, digest)
    with pytest.raises(InvalidInput, match="is late/1, not 'early'"):
        register(yard, digest, model="early")


def test_a_version_is_found_by_number_alias_name_and_digest(yard: Yard) -> None:
    live = yard.live("one")
    newest = yard.version("two")
    found = {
        ref: yard.workspace.do(GetVersion(ref=ref), yard.dana).number for ref in ("late/1", "late@production", "late", live.package[:12])
    }
    assert found == {"late/1": 1, "late@production": 1, "late": 2, live.package[:12]: 1}
    assert yard.workspace.do(GetVersion(ref=newest.digest), yard.dana).number == 2


@pytest.mark.parametrize("ref", ["late/9", "late@test", "other", "late/", "", "late/²", "late/99999999999999999999999", "0" * 64])
def test_a_reference_to_nothing_is_refused_by_name(yard: Yard, ref: str) -> None:
    yard.version("one")
    with pytest.raises((NotFound, InvalidInput)):
        yard.workspace.do(GetVersion(ref=ref), yard.dana)


def test_who_registers_their_own_runs_package_trusts_it_and_a_program_does_not(yard: Yard) -> None:
    own = yard.version("one", code="def f(rows): return rows\n", features="f:f")
    assert [grant.actor for grant in grants(yard, own.digest)] == ["dana"]
    made = yard.version("two", WORKER, code="def f(rows): return rows * 2\n", features="f:f")
    assert grants(yard, made.digest) == ()


def given(yard: Yard, digest: str, actor: Actor, state: StepState, several: bool) -> str:
    """Return a run of an actor with a step that gave a package, which later runs may use when it was computed there."""
    output = Output(digest=digest, kind="model", size=1)
    if several:
        manifest = Manifest(kind="outputs", files=(), meta={"outputs": [["model", codec.plain(output)]]})
        output = Output(digest=yard.workspace.stores.blobs.put(codec.canonical(manifest)), kind="outputs", size=1)
    run = yard.workspace.do(StartRun(), actor)
    record = StepRecord(run_id=run.id, index=0, name="train", state=state, key="a" * 64, why="", started=1, ended=2, output=output)
    step = EndedStep(record=record, call="c" * 64, keep=state == "ran")
    yard.workspace.do(RecordSteps(run_id=run.id, steps=(step,)), actor)
    return run.id


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("writer", "lost", "trusted"), [("dana", False, True), ("robot", False, False), ("robot", True, False)])
def test_a_package_that_a_run_found_under_its_key_is_trusted_only_when_its_author_had_made_it(
    yard: Yard, writer: str, lost: bool, trusted: bool, several: bool
) -> None:
    digest = yard.package("one", code="import os\n", features="f:f")
    given(yard, digest, getattr(yard, writer), "ran", several)
    found = given(yard, digest, yard.dana, "hit", several)
    if lost:
        with yard.workspace.stores.database.write() as tx:
            tx.execute(cache_entries.delete())
    yard.workspace.do(CreateVersion(model="late", digest=digest, run_id=found), yard.dana)
    assert [grant.actor for grant in grants(yard, digest)] == (["dana"] if trusted else [])


def test_a_grant_covers_the_same_code_in_a_later_package_and_no_other_code(yard: Yard) -> None:
    code = "def f(rows): return rows\n\ndef g(rows): return rows\n"
    trusted = yard.version("one", WORKER, code=code, features="f:f")
    yard.workspace.do(TrustPackage(digest=trusted.digest, reason="Read it."), yard.nora)
    (grant,) = grants(yard, trusted.digest)
    assert (grant.actor, grant.reason, grant.digest) == ("nora", "Read it.", trusted.digest)
    retrained = yard.version("two", WORKER, code=code, features="f:f")
    assert [found.actor for found in grants(yard, retrained.digest)] == ["nora"]
    assert grants(yard, yard.version("three", WORKER, code=code + "#", features="f:f").digest) == ()
    assert grants(yard, yard.version("four", WORKER, code=code, features="f:g").digest) == ()


def test_a_grant_never_covers_another_model_file_with_classes_that_are_not_known(yard: Yard) -> None:
    code = "def f(rows): return rows\n"
    first = yard.package("one", code=code, features="f:f", types=("os.system",))
    second = yard.package("two", code=code, features="f:f", types=("os.system",))
    yard.workspace.do(TrustPackage(digest=first), yard.nora)
    assert len(grants(yard, first)) == 1
    assert grants(yard, second) == ()


def test_a_grant_for_a_package_without_code_is_for_that_package_alone(yard: Yard) -> None:
    yard.workspace.do(TrustPackage(digest=yard.package("one")), yard.nora)
    assert grants(yard, yard.package("two")) == ()


def test_a_program_cannot_trust(yard: Yard) -> None:
    digest = yard.package("one", code="import os\n", features="f:f")
    with pytest.raises(Refused, match="robot is a program"):
        yard.workspace.do(TrustPackage(digest=digest), yard.robot)
    with pytest.raises(Denied):
        yard.workspace.do(TrustPackage(digest=digest), yard.dana)
    assert grants(yard, digest) == ()


def test_trust_given_again_replaces_the_reason(yard: Yard) -> None:
    digest = yard.package("one")
    for reason in ("First.", "Second."):
        yard.workspace.do(TrustPackage(digest=digest, reason=reason), yard.nora)
    assert [grant.reason for grant in grants(yard, digest)] == ["Second."]


def test_the_lineage_names_version_run_checks_and_grants(yard: Yard) -> None:
    version = yard.version("one")
    report = yard.examine(version)
    lineage = yard.workspace.do(GetLineage(ref="late/1"), yard.dana)
    assert (lineage.version, lineage.run.id, lineage.report) == (version, version.run_id, report)
    assert [grant.actor for grant in lineage.grants] == ["dana"]


def test_an_unknown_answer_is_not_explained(yard: Yard) -> None:
    with pytest.raises(NotFound, match="no prediction 'r1'"):
        yard.workspace.do(ExplainPrediction(request_id="r1"), yard.dana)
