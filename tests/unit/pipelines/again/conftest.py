"""Earlier code is run again in processes that are forked from one that has imported their program, and no more."""

from __future__ import annotations

import subprocess

import pytest

from tests.begun import Begun


@pytest.fixture(autouse=True)
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", Begun)
