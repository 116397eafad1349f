from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from plimsoll.data.project import load_object
from plimsoll.data.values import save
from plimsoll.errors import Corrupt, NotFound, Untrusted
from plimsoll.records.access import Actor
from plimsoll.records.model import Costs, CreateVersion, Purpose, TrustPackage, Version
from plimsoll.records.run import StartRun
from plimsoll.registry.package import Model
from plimsoll.sdk.door import FolderDoor
from plimsoll.sdk.models import load
from plimsoll.workspace import WORKER, Workspace, open_workspace
from tests.unit.conftest import Running

PURPOSE = Purpose(goal="Say who is late.", label="late", unit="id", time="at", costs=Costs(false_alarm=1.0, missed=2.0))
ROWS = pl.DataFrame({"a": [0.0, 1.0, 2.0, 3.0] * 10})
LATE = np.array([0, 0, 1, 1] * 10)
OWNER = Actor(name="dana", roles=("admin",))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A home beside a project with a feature function that leaves a mark when its module is imported."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\n')
    (tmp_path / "loaded_features.py").write_text("def doubled(rows):\n    return rows.select(rows['a'] * 2)\n")
    path = list(sys.path)
    opened = open_workspace(tmp_path / ".plimsoll", owner="dana")
    yield opened
    opened.close()
    sys.path[:] = path
    sys.modules.pop("loaded_features", None)


def register(workspace: Workspace, model: Model, actor: Actor) -> Version:
    output = save(model, workspace.stores.blobs, workspace.project)
    run = workspace.do(StartRun(), actor)
    return workspace.do(CreateVersion(model=model.name, digest=output.digest, run_id=run.id), actor)


def plain() -> Model:
    return Model(LogisticRegression().fit(ROWS.to_numpy(), LATE), name="late", example=ROWS.head(2), purpose=PURPOSE)


def neighbours(count: int) -> Model:
    return Model(KNeighborsClassifier(count).fit(ROWS.to_numpy(), LATE), name="late", example=ROWS.head(2), purpose=PURPOSE)


def with_code(workspace: Workspace) -> Model:
    doubled = load_object(workspace.project, "loaded_features.py:doubled")
    estimator = LogisticRegression().fit(doubled(ROWS).to_numpy(), LATE)
    return Model(estimator, name="late", example=ROWS.head(2), features=doubled, purpose=PURPOSE)


def test_a_model_without_code_needs_nobodys_trust_and_answers_the_same(workspace: Workspace) -> None:
    model = plain()
    version = register(workspace, model, WORKER)
    door = FolderDoor(workspace, OWNER)
    for ref in ("late/1", "late", version.digest):
        assert np.array_equal(load(ref, door=door).predict(ROWS), model.predict(ROWS))


def test_code_that_nobody_trusts_is_not_run_and_runs_once_somebody_does(workspace: Workspace) -> None:
    model = with_code(workspace)
    version = register(workspace, model, WORKER)
    door = FolderDoor(workspace, OWNER)
    with pytest.raises(Untrusted, match="plimsoll models trust"):
        load("late/1", door=door)
    workspace.do(TrustPackage(digest=version.digest), OWNER)
    assert np.array_equal(load("late/1", door=door).predict(ROWS), model.predict(ROWS))


def test_ones_own_model_is_trusted(workspace: Workspace) -> None:
    model = with_code(workspace)
    register(workspace, model, OWNER)
    assert np.array_equal(load("late", door=FolderDoor(workspace, OWNER)).predict(ROWS), model.predict(ROWS))


def test_trust_in_one_model_with_unusual_classes_is_no_trust_in_the_next(workspace: Workspace) -> None:
    first, second = register(workspace, neighbours(3), WORKER), register(workspace, neighbours(5), WORKER)
    assert first.meta.types
    workspace.do(TrustPackage(digest=first.digest), OWNER)
    door = FolderDoor(workspace, OWNER)
    assert load(first.digest, door=door).predict(ROWS).shape == (40,)
    with pytest.raises(Untrusted, match="KDTree"):
        load(second.digest, door=door)


def test_a_damaged_package_is_not_loaded(workspace: Workspace) -> None:
    register(workspace, plain(), OWNER)
    for path in (workspace.home / "blobs").rglob("*"):
        if path.is_file() and path.read_bytes()[:2] == b"PK":
            path.chmod(0o600)
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Corrupt):
        load("late", door=FolderDoor(workspace, OWNER))


def test_a_model_that_is_not_there_is_not_found(workspace: Workspace) -> None:
    with pytest.raises(NotFound):
        load("late@production", door=FolderDoor(workspace, OWNER))


def test_a_model_goes_up_to_a_server_and_comes_back_the_same(running: Running, tmp_path: Path) -> None:
    door, model = running.http(), plain()
    run = door.do(StartRun())
    output = save(model, door.blobs, tmp_path)
    version = door.do(CreateVersion(model="late", digest=output.digest, run_id=run.id))
    assert np.array_equal(load(version.digest, door=running.http("read")).predict(ROWS), model.predict(ROWS))
