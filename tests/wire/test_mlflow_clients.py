"""MLflow's own clients against ``plimsoll up``.

Each runs a file of ``clients/`` in its own environment: a program with plain asserts that knows nothing of Plimsoll but its
address.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tests.wire.conftest import Served, ends_well, work

#: Those that other files of tests go on from are run there.
CLIENTS = sorted(path.stem for path in (Path(__file__).parent / "clients").glob("*.py") if path.stem not in ("called", "packed"))

#: A client loads each model that it logs in one more process, to see which packages that imports. No server hears of it.
_HASTY = {"MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1"}


@pytest.mark.parametrize("client", CLIENTS)
def test_an_unmodified_client_does_its_work_here(client: str, python: Path, served: Served, tmp_path: Path) -> None:
    work(client, python, served, tmp_path, **_HASTY)


def test_autolog_within_a_run_and_within_a_step_logs_there(python: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    for program in (Path(__file__).parent / "inside").glob("*.py"):
        (tmp_path / program.name).write_bytes(program.read_bytes())
    # This environment's packages stand behind the client's own, in every process that the program begins.
    behind = [str(Path(__file__).parents[2]), sysconfig.get_path("platlib")]
    (tmp_path / "behind").mkdir()
    (tmp_path / "behind" / "sitecustomize.py").write_text(f"import sys\nsys.path += {behind!r}\n")
    own = {"PYTHONPATH": str(tmp_path / "behind"), "HOME": str(tmp_path), **_HASTY}
    ends_well([python, "inside.py"], tmp_path, **own)
