"""Environments with the packages of one run and some of another, really installed, from a folder with two wheels."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest

from plimsoll.errors import Unavailable
from plimsoll.pipelines.again import surroundings
from plimsoll.pipelines.again.surroundings import Environments
from tests.unit.pipelines.again.wheels import wheel

PYTHON = {"python": platform.python_version()}


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        wheel(folder, version)
    for name in ("UV_NO_INDEX", "PIP_NO_INDEX"):
        monkeypatch.setenv(name, "1")
    for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, str(folder))
    return folder


def version(python: str) -> str:
    code = "import lucky; print(lucky.times(1))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_each_set_of_packages_is_installed_once(wheels: Path, tmp_path: Path) -> None:
    made = Environments({**PYTHON, "lucky": "1.0"}, {**PYTHON, "lucky": "2.0"}, ["lucky"], tmp_path / "made")
    old, new = made.python(()), made.python({"lucky"})
    assert (version(old), version(new)) == ("1", "2")
    assert (made.python(()), made.python(["lucky"])) == (old, new)


def test_a_version_that_nobody_has_is_refused(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As where no pip is installed that could be used: then each environment gets its own.
    monkeypatch.setattr(surroundings, "version", lambda name: None)
    made = Environments({**PYTHON, "lucky": "1.0"}, {**PYTHON, "lucky": "3.0"}, ["lucky"], tmp_path / "made")
    with pytest.raises(Unavailable, match="lucky"):
        made.python({"lucky"})
