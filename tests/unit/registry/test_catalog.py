from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll import codec
from plimsoll.data.snapshot import get_manifest
from plimsoll.errors import Conflict, InvalidInput, NotFound, Refused
from plimsoll.records.data import Manifest
from plimsoll.records.deployment import CreateRelease
from plimsoll.records.model import GetLineage, GetVersion, ListVersions, TrustPackage, Version
from plimsoll.records.registry.catalog import (
    AdoptFiles,
    CreateModel,
    DeleteModel,
    DeleteVersion,
    DescribeModel,
    GetModel,
    RegisteredModel,
    RemoveAlias,
    RenameModel,
    SearchModels,
    SearchVersions,
    SetAlias,
    TagModel,
    TagVersion,
    UpdateVersion,
)
from plimsoll.records.run import GetRun, LogArtifact, StartRun
from plimsoll.records.tracking.change import RemoveArtifacts
from plimsoll.records.tracking.logged_model import CreateLoggedModel, FinishLoggedModel, KeepModelFile
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.models import load
from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path, database_url: str) -> Iterator[Yard]:
    """A new workspace on each database."""
    opened = open_yard(tmp_path / "home", database_url)
    yield opened
    opened.workspace.close()


def kept(yard: Yard, *names: str) -> str:
    """Return the id of a run that keeps files with these names, each with its name as content."""
    run = yard.workspace.do(StartRun(), yard.dana)
    for name in names:
        digest = yard.workspace.stores.blobs.put(name.encode())
        yard.workspace.do(LogArtifact(run_id=run.id, name=name, kind="file", digest=digest, size=len(name)), yard.dana)
    return run.id


def adopted(yard: Yard, model: str = "early", **more: str) -> Version:
    """Return a version of files that are no package."""
    if model not in [each.name for each in yard.workspace.do(SearchModels(), yard.dana).models]:
        yard.workspace.do(CreateModel(name=model), yard.dana)
    return yard.workspace.do(AdoptFiles(model=model, owner=kept(yard, "m/MLmodel", "m/data/x", "other"), path="m", **more), yard.dana)


def known(yard: Yard, name: str) -> RegisteredModel:
    return yard.workspace.do(GetModel(name=name), yard.dana)


def paths(yard: Yard, version: Version) -> list[str]:
    return [entry.path for entry in get_manifest(yard.workspace.stores.blobs, version.digest).files]


def test_a_name_is_registered_described_tagged_and_forgotten(yard: Yard) -> None:
    made = yard.workspace.do(CreateModel(name="late arrivals (v2)", description="Old.", tags={"a": "b"}), yard.dana)
    assert (made.latest, made.aliases, made.tags) == ((), {}, {"a": "b"})
    with pytest.raises(Conflict, match="already"):
        yard.workspace.do(CreateModel(name=made.name), yard.dana)
    yard.workspace.do(DescribeModel(name=made.name, description="New."), yard.dana)
    yard.workspace.do(TagModel(name=made.name, tags={"c": "d"}, remove=("a", "none")), yard.dana)
    assert (known(yard, made.name).description, known(yard, made.name).tags) == ("New.", {"c": "d"})
    assert yard.workspace.do(DeleteModel(name=made.name), yard.dana).tags == {"c": "d"}
    with pytest.raises(NotFound):
        known(yard, made.name)


@pytest.mark.parametrize("name", ["", " a", "a/b", "a:b", "a@b", "..", "a\nb", "x" * 251])
def test_a_name_that_could_not_stand_before_a_number_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="not a valid name"):
        CreateModel(name=name)


def test_files_that_a_run_keeps_become_a_version_that_what_the_run_does_later_does_not_change(yard: Yard) -> None:
    yard.workspace.do(CreateModel(name="early"), yard.dana)
    run = kept(yard, "m/MLmodel", "m/data/x", "other", "mm")
    version = yard.workspace.do(AdoptFiles(model="early", owner=run, path="m", source="somewhere", tags={"a": "b"}), yard.robot)
    assert (version.number, version.author, version.run_id, version.meta) == (1, "dana", run, None)
    assert (version.source, version.tags, paths(yard, version)) == ("somewhere", {"a": "b"}, ["MLmodel", "data/x"])
    yard.workspace.do(RemoveArtifacts(run_id=run, names=("m/MLmodel",)), yard.dana)
    assert paths(yard, yard.workspace.do(GetVersion(ref="early/1"), yard.dana)) == ["MLmodel", "data/x"]
    second = yard.workspace.do(AdoptFiles(model="early", owner=run, path="m"), yard.dana)
    assert (second.number, paths(yard, second)) == (2, ["data/x"])
    for owner, path in ((run, "none"), (run, "m/dat"), ("0" * 32, "m"), ("m-" + "0" * 32, "")):
        with pytest.raises(NotFound):
            yard.workspace.do(AdoptFiles(model="early", owner=owner, path=path), yard.dana)
    with pytest.raises(NotFound, match="no model 'never'"):
        yard.workspace.do(AdoptFiles(model="never", owner=run, path="m"), yard.dana)


def test_a_name_of_a_logged_model_stands_for_its_files_where_its_run_keeps_none_of_that_name(yard: Yard) -> None:
    yard.workspace.do(CreateModel(name="early"), yard.dana)
    run = kept(yard, "beside", "m/MLmodel")
    experiment = yard.workspace.do(GetRun(id=run), yard.dana).run.experiment_id
    made = []
    for name, content in (("late", b"first"), ("late", b"second"), ("late", None), ("m", b"other")):
        logged = yard.workspace.do(CreateLoggedModel(experiment_id=experiment, name=name, run_id=run), yard.dana)
        if content is not None:
            digest = yard.workspace.stores.blobs.put(content)
            yard.workspace.do(KeepModelFile(id=logged.id, name="MLmodel", digest=digest, size=len(content)), yard.dana)
            yard.workspace.do(FinishLoggedModel(id=logged.id, state="ready"), yard.dana)
        made.append(logged.id)
    version = yard.workspace.do(AdoptFiles(model="early", owner=run, path="late"), yard.dana)
    assert (version.run_id, version.model_id) == (run, made[1])
    (file,) = get_manifest(yard.workspace.stores.blobs, version.digest).files
    assert yard.workspace.stores.blobs.get(file.digest) == b"second"
    # What the run itself keeps comes first.
    version = yard.workspace.do(AdoptFiles(model="early", owner=run, path="m"), yard.dana)
    assert (version.run_id, version.model_id) == (run, "")
    with pytest.raises(NotFound, match="keeps no files in 'none'"):
        yard.workspace.do(AdoptFiles(model="early", owner=run, path="none"), yard.dana)


def test_a_logged_model_becomes_a_version_once_its_files_are_said_to_be_all_there(yard: Yard) -> None:
    yard.workspace.do(CreateModel(name="early"), yard.dana)
    run = yard.workspace.do(StartRun(), yard.dana)
    logged = yard.workspace.do(CreateLoggedModel(experiment_id="0", run_id=run.id), yard.dana)
    digest = yard.workspace.stores.blobs.put(b"x")
    yard.workspace.do(KeepModelFile(id=logged.id, name="MLmodel", digest=digest, size=1), yard.dana)
    with pytest.raises(InvalidInput, match="is pending"):
        yard.workspace.do(AdoptFiles(model="early", owner=logged.id), yard.dana)
    yard.workspace.do(FinishLoggedModel(id=logged.id), yard.dana)
    version = yard.workspace.do(AdoptFiles(model="early", owner=logged.id), yard.dana)
    assert (version.model_id, version.run_id, paths(yard, version)) == (logged.id, run.id, ["MLmodel"])


def test_a_version_that_is_no_package_is_shown_and_neither_released_nor_loaded_also_when_it_is_trusted(yard: Yard) -> None:
    adopted(yard)
    lineage = yard.workspace.do(GetLineage(ref="early/1"), yard.dana)
    assert (lineage.grants, lineage.data, lineage.run is not None) == ((), {}, True)
    # Trust is for making a package of it.
    yard.workspace.do(TrustPackage(digest=lineage.version.digest, reason="seen"), yard.nora)
    with pytest.raises(Refused, match="not a package"):
        yard.workspace.do(CreateRelease(ref="early/1"), yard.dana)
    with pytest.raises(Refused, match="not a package"):
        load("early/1", door=FolderDoor(yard.workspace, yard.dana))
    never_kept = yard.workspace.stores.blobs.put(codec.canonical(Manifest(kind="tree", files=(), meta={})))
    with pytest.raises(InvalidInput, match=r"no package\.json"):
        yard.workspace.do(TrustPackage(digest=never_kept), yard.nora)


def test_a_copy_of_a_package_under_another_name_is_no_package_and_does_not_stand_for_it(yard: Yard) -> None:
    package = yard.version("one")
    yard.workspace.do(CreateModel(name="early"), yard.dana)
    copy = yard.workspace.do(AdoptFiles(model="early", ref="late/1"), yard.dana)
    assert (copy.digest, copy.meta, copy.author) == (package.digest, None, "dana")
    assert yard.workspace.do(GetVersion(ref=package.digest), yard.dana).model == "late"
    assert yard.version("one") == package
    assert yard.live("one").package == package.digest


def test_numbers_are_not_given_again(yard: Yard) -> None:
    assert [adopted(yard).number, adopted(yard).number] == [1, 2]
    yard.workspace.do(DeleteVersion(model="early", number=2), yard.dana)
    assert adopted(yard).number == 3
    assert [version.number for version in yard.workspace.do(ListVersions(model="early"), yard.dana)] == [3, 1]


def test_what_was_proposed_is_not_forgotten(yard: Yard) -> None:
    first, second = yard.version("one"), yard.version("two")
    yard.examine(second)
    yard.propose(second)
    yard.workspace.do(DeleteVersion(model="late", number=first.number), yard.dana)
    for request in (DeleteVersion(model="late", number=2), DeleteModel(name="late")):
        with pytest.raises(Refused, match="has a release for production"):
            yard.workspace.do(request, yard.dana)


def test_a_model_is_renamed_with_all_it_has_unless_it_has_packages(yard: Yard) -> None:
    adopted(yard)
    yard.workspace.do(TagVersion(model="early", number=1, tags={"a": "b"}), yard.dana)
    yard.workspace.do(TagModel(name="early", tags={"c": "d"}), yard.dana)
    yard.workspace.do(SetAlias(model="early", alias="best", number=1), yard.dana)
    renamed = yard.workspace.do(RenameModel(name="early", to="earlier"), yard.dana)
    assert (renamed.name, renamed.tags, renamed.aliases) == ("earlier", {"c": "d"}, {"best": 1})
    assert yard.workspace.do(GetVersion(ref="earlier@best"), yard.dana).tags == {"a": "b"}
    assert adopted(yard, "earlier").number == 2
    with pytest.raises(NotFound):
        known(yard, "early")
    yard.version("one")
    with pytest.raises(Conflict):
        yard.workspace.do(RenameModel(name="earlier", to="late"), yard.dana)
    with pytest.raises(Refused, match="has packages"):
        yard.workspace.do(RenameModel(name="late", to="later"), yard.dana)


def test_an_alias_moves_and_goes_with_its_version(yard: Yard) -> None:
    adopted(yard)
    adopted(yard)
    for number in (1, 2):
        assert yard.workspace.do(SetAlias(model="early", alias="best", number=number), yard.dana).aliases == {"best": number}
    with pytest.raises(NotFound):
        yard.workspace.do(SetAlias(model="early", alias="best", number=3), yard.dana)
    yard.workspace.do(SetAlias(model="early", alias="other", number=1), yard.dana)
    assert yard.workspace.do(RemoveAlias(model="early", alias="other"), yard.dana).aliases == {"best": 2}
    yard.workspace.do(DeleteVersion(model="early", number=2), yard.dana)
    assert known(yard, "early").aliases == {}
    for alias in ("", "a b", "latest", "LATEST", "v2", "x" * 256):
        with pytest.raises(InvalidInput):
            SetAlias(model="early", alias=alias, number=1)


def test_the_alias_of_an_environment_moves_with_releases_alone_once_there_is_a_package(yard: Yard) -> None:
    adopted(yard)
    yard.workspace.do(SetAlias(model="early", alias="production", number=1), yard.dana)
    yard.live("one")
    yard.version("two")
    for request in (SetAlias(model="late", alias="production", number=2), RemoveAlias(model="late", alias="production")):
        with pytest.raises(Refused, match="moves with releases"):
            yard.workspace.do(request, yard.owner)
    assert known(yard, "late").aliases == {"production": 1}


def test_a_stage_is_a_label_and_archives_the_others_when_asked(yard: Yard) -> None:
    for number in (1, 2, 3):
        adopted(yard)
        yard.workspace.do(UpdateVersion(model="early", number=number, stage="staging", description=f"{number}"), yard.dana)
    yard.workspace.do(UpdateVersion(model="early", number=2, stage="production"), yard.dana)
    yard.workspace.do(UpdateVersion(model="early", number=1, stage="staging", archive=True), yard.dana)
    found = yard.workspace.do(SearchVersions(where="name = 'early'", order=("version_number",)), yard.dana).versions
    assert [(each.stage, each.description) for each in found] == [("staging", "1"), ("production", "2"), ("archived", "3")]
    assert {each.stage: each.number for each in known(yard, "early").latest} == {"staging": 1, "production": 2, "archived": 3}


def test_models_and_versions_are_found_by_filter_in_order_and_page_by_page(yard: Yard) -> None:
    for name in ("one", "two", "Three"):
        version = adopted(yard, name, source=f"{name} 'files'")
        yard.workspace.do(TagVersion(model=name, number=1, tags={"team": name.upper()}), yard.dana)
        yard.workspace.do(TagModel(name=name, tags={"length": str(len(name))}), yard.dana)

    def models(where: str, *order: str) -> list[str]:
        return [each.name for each in yard.workspace.do(SearchModels(where=where, order=order), yard.dana).models]

    def versions(where: str, *order: str) -> list[str]:
        return [each.model for each in yard.workspace.do(SearchVersions(where=where, order=order), yard.dana).versions]

    assert models("") == ["Three", "one", "two"]
    assert models("name ILIKE 't%'", "name DESC") == ["two", "Three"]
    assert models("tags.length = '3' and name != 'one'") == ["two"]
    assert models("", "last_updated_timestamp DESC") == ["Three", "two", "one"]
    assert models("tags.`mlflow.prompt.is_prompt` != 'true' and name = 'one'") == ["one"]
    assert models("tags.`mlflow.prompt.is_prompt` = 'true'") == []
    assert versions("") == ["Three", "two", "one"]
    assert versions("tags.team IN ('ONE', 'TWO') and version_number >= 1", "name ASC") == ["one", "two"]
    assert versions("source_path = 'two ''files'''") == ["two"]
    assert versions(f"run_id = '{version.run_id}'") == ["Three"]
    assert versions("creation_timestamp > 5 and version_number != 1") == []
    seen, token = [], None
    while len(seen) < 3:
        page = yard.workspace.do(SearchModels(order=("name DESC",), limit=1, page=token), yard.dana)
        seen += [each.name for each in page.models]
        token = page.next
    assert (seen, token) == (["two", "one", "Three"], None)
    for where in ("nothing = 'x'", "name > 'x'", "params.a = 'b'", "name = 5", "name"):
        with pytest.raises(InvalidInput):
            models(where)
    for order in ("colour", "tags.team"):
        with pytest.raises(InvalidInput):
            versions("", order)
    with pytest.raises(InvalidInput, match="duplicate"):
        models("", "name", "name DESC")
