"""What tests of the control side share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.yard import Yard, open_yard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    """A new workspace with an owner, an author, an approver, an operator and a program."""
    opened = open_yard(tmp_path / "home")
    yield opened
    opened.workspace.close()
