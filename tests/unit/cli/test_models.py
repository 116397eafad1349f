"""``plimsoll models``: aliases, tags, names and deletions of versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plimsoll.cli.app import main
from plimsoll.errors import NotFound
from plimsoll.records.model import GetVersion, Version
from plimsoll.records.registry.catalog import AdoptFiles, CreateModel
from plimsoll.records.run import LogArtifact, StartRun
from plimsoll.workspace import Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A project with a version in MLflow's layout."""
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLIMSOLL_URL", raising=False)
    opened = open_workspace(tmp_path / ".plimsoll", owner="dana")
    owner = opened.identify(opened.token("owner"))
    run = opened.do(StartRun(experiment="late"), owner)
    digest = opened.stores.blobs.put(b"flavors: {}")
    opened.do(LogArtifact(run_id=run.id, name="m/MLmodel", kind="file", digest=digest, size=11), owner)
    opened.do(CreateModel(name="late"), owner)
    opened.do(AdoptFiles(model="late", owner=run.id, path="m", source=f"runs:/{run.id}/m"), owner)
    yield opened
    opened.close()


def version(workspace: Workspace, ref: str) -> Version:
    return workspace.do(GetVersion(ref=ref), workspace.identify(workspace.token("owner")))


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command in this process and gives its exit status."""

    def called(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["plimsoll", *words])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return called


def test_a_version_is_named_tagged_renamed_and_deleted(
    workspace: Workspace, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("models", "alias", "late/1", "best") == 0
    assert call("models", "tag", "late/1", "team=blue", "note=a=b") == 0
    assert version(workspace, "late@best").tags == {"team": "blue", "note": "a=b"}
    assert call("models", "tag", "late/1", "note") == 0
    assert "late/1 has the tags: team=blue." in capsys.readouterr().err
    assert call("models", "alias", "late/1", "best", "--remove") == 0
    assert version(workspace, "late/1").aliases == ()
    assert call("models", "rename", "late", "later") == 0
    assert version(workspace, "later/1").tags == {"team": "blue"}
    assert call("models", "delete", "later/1") == 0
    with pytest.raises(NotFound):
        version(workspace, "later/1")


def test_a_model_that_cannot_be_packed_says_why(workspace: Workspace, call: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert call("models", "show", "late/1") == 0
    assert "plimsoll models pack late/1" in capsys.readouterr().err
    assert call("models", "pack", "late/1") == 3
    assert "late/1 has the flavours" in capsys.readouterr().err
    assert call("models", "trust", "late/1", "--reason", "seen") == 0
