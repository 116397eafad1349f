"""Packages lie where something was installed, and not in every folder of that name."""

from __future__ import annotations

import site
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from plimsoll.data.environment import packages_folder
from tests.unit.pipelines.bench import Bench, states
from tests.unit.pipelines.conftest import bench

__all__ = ["bench"]


def test_files_of_an_installed_package_lie_in_a_folder_of_packages() -> None:
    """Also those of a package that comes from another folder than the first."""
    folder = packages_folder(np.__file__)
    assert folder is not None
    assert np.__file__.startswith(folder + "/numpy/")
    for own in (*site.getsitepackages(), sysconfig.get_path("purelib")):
        assert packages_folder(own + "/any/file.txt") == own
    assert packages_folder("/data/rows.csv") is None


@pytest.mark.parametrize("name", ["site-packages", "dist-packages"])
def test_a_folder_that_is_only_called_so_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It holds packages once something was installed there and modules are imported from it."""
    folder = tmp_path / name
    folder.mkdir()
    file = str(folder / "rows.csv")
    assert packages_folder(file) is None
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    assert packages_folder(file) is None
    (folder / "tiny-1.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [f"{folder}/", *sys.path])
    assert packages_folder(file) == str(folder)
    (tmp_path / "link").symlink_to(tmp_path)
    assert packages_folder(str(tmp_path / "link" / name / "rows.csv")) == str(tmp_path / "link" / name)
    monkeypatch.setattr(sys, "path", sys.path[2:])
    assert packages_folder(str(tmp_path / "other" / name / "x")) is None


@pytest.mark.parametrize("name", ["site-packages", "dist-packages"])
def test_data_and_code_of_the_user_count_in_a_folder_of_that_name(bench: Bench, name: str) -> None:
    """By their content, since no version tells of them."""
    (bench.project / "data" / name).mkdir(parents=True)
    bench.write(f"data/{name}/rows.txt", "1")
    bench.write(f"data/{name}/plug.py", "def rate():\n    return 1")
    bench.write(
        "pipe.py",
        f"""
        import sys
        from pathlib import Path
        from plimsoll import pipeline, step
        HERE = Path(__file__).parent / "data/{name}"
        sys.path.insert(0, str(HERE))
        import plug

        @step
        def read():
            return (HERE / "rows.txt").read_text()

        @step
        def names():
            return len(list(HERE.iterdir()))

        @step
        def rate():
            return plug.rate()

        @pipeline
        def flow():
            return read(), names(), rate()
        """,
    )
    assert bench.run().value == ("1", 2, 1)
    assert set(states(bench.run()).values()) == {"hit"}
    bench.write(f"data/{name}/rows.txt", "2")
    bench.write(f"data/{name}/plug.py", "def rate():\n    return 20")
    bench.write(f"data/{name}/more.txt", "")
    assert bench.run().value == ("2", 3, 20)
