"""What tests of tracking through a server share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.conftest import Running
from tests.unit.sdk.tracking.weather import Weather


@pytest.fixture
def weather(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Weather]:
    """The way to the server that the settings name, in a project of its own."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "notes"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("PLIMSOLL_HOME", raising=False)
    monkeypatch.setenv("PLIMSOLL_CAPTURE", "once")
    opened = Weather(running.address.port)
    monkeypatch.setenv("PLIMSOLL_URL", opened.url)
    monkeypatch.setenv("PLIMSOLL_TOKEN", running.yard.workspace.token("owner"))
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._PATIENCE", 60.0)
    monkeypatch.setattr("plimsoll.sdk.tracking.opened._WELCOME", 0.5)
    monkeypatch.setattr("plimsoll.sdk.sender._GRACE", 1.0)
    monkeypatch.setattr("plimsoll.sdk.sender._PAUSE", 0.05)
    yield opened
    opened.close()
