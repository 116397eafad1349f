"""One platform a file: what a journey leaves behind is where the next test of its file begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flows.real_platform import Platform


@pytest.fixture(scope="module")
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform with nothing in it yet, on the database that the file names as ``DATABASE``.

    Each verb is asked on both databases by the tests of units; a journey takes many seconds and is made on one of them.
    """
    folder = tmp_path_factory.mktemp("platform")
    databases = {
        "sqlite": lambda: f"sqlite:///{folder / 'plimsoll.db'}",
        "postgresql": lambda: request.getfixturevalue("postgres").fresh(),
    }
    made = Platform(folder, databases[request.module.DATABASE]())
    made.start()
    yield made
    made.close()
