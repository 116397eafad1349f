"""A project of its own for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.workspace import open_workspace
from tests.unit.pipelines.bench import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """An empty project with a new workspace."""
    project = tmp_path / "project"
    project.mkdir()
    # Byte code is trusted by whole seconds and size, which a test's quick edits do not change.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    workspace = open_workspace(tmp_path / "home", project, owner="dana")
    yield Bench(workspace)
    workspace.close()
    # Whatever was there before by such a name: it was loaded anew from here.
    for name, module in tuple(sys.modules.items()):
        if str(getattr(module, "__dict__", {}).get("__file__")).startswith(str(project)):
            del sys.modules[name]
