"""One platform a file and database: what a journey leaves behind is where the next test of its file begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flows.real_platform import Platform


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform with nothing in it yet, on each database."""
    folder = tmp_path_factory.mktemp(request.param)
    database = f"sqlite:///{folder / 'plimsoll.db'}"
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres").fresh()
    made = Platform(folder, database)
    made.start()
    yield made
    made.close()
