"""What the commands of models and webhooks are tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plimsoll.cli.app import main
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
