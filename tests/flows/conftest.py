"""One platform a file and database: what a journey leaves behind is where the next test of its file begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flows.real_platform import Platform


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make each journey on both databases, unless its file names fewer as ``DATABASES``, because they play no part in it."""
    if "platform" in metafunc.fixturenames:
        databases = getattr(metafunc.module, "DATABASES", ("sqlite", "postgresql"))
        metafunc.parametrize("platform", databases, indirect=True, scope="module")


@pytest.fixture(scope="module")
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform with nothing in it yet."""
    folder = tmp_path_factory.mktemp(request.param)
    database = f"sqlite:///{folder / 'plimsoll.db'}"
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres").fresh()
    made = Platform(folder, database, forked=getattr(request.module, "FORKED", True))
    made.start()
    yield made
    made.close()
