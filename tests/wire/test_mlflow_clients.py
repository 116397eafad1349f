"""MLflow's own clients against ``plimsoll up``.

Each runs a file of ``clients/`` in its own environment: a program with plain asserts that knows nothing of Plimsoll but its
address.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from tests.wire.conftest import Client, Served, ends_well, where

HERE = Path(__file__).parent

#: Those that other files of tests go on from are run there.
PROGRAMS = sorted(path.stem for path in (HERE / "clients").glob("*.py") if path.stem not in ("called", "packed"))

#: A client loads each model that it logs in one more process, to see which packages that imports. No server hears of it: it ends at once.
_HASTY = {"MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "0"}

#: MLflow's client reads and writes folders of its own only when it is told that this is meant.
_OWN = {"MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unmodified_client_does_its_work_here(program: str, client: Client, served: Served, tmp_path: Path) -> None:
    client.ends_well([HERE / "clients" / f"{program}.py"], tmp_path, **where(served, tmp_path), **_HASTY)


def test_autolog_within_a_run_and_within_a_step_logs_there(client: Client, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.plimsoll]\n")
    for program in (HERE / "inside").glob("*.py"):
        (tmp_path / program.name).write_bytes(program.read_bytes())
    # This environment's packages stand behind the client's own.
    behind = [str(HERE.parents[1]), sysconfig.get_path("platlib")]
    client.ends_well([tmp_path / "inside.py"], tmp_path, behind, HOME=str(tmp_path), **_HASTY)


def test_what_a_client_wrote_to_a_folder_reads_the_same_here(client: Client, served: Served, tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    client.ends_well([HERE / "moving" / "fill.py", folder.as_uri(), f"wire-{client.generation}"], tmp_path, **_OWN)
    told = {"PYTHONPATH": str(HERE.parents[1]), "PLIMSOLL_URL": served.url, "PLIMSOLL_TOKEN": served.token}
    command = [sys.executable, "-m", "plimsoll.cli.app", "import", "mlflow", str(folder)]
    ends_well(command, **told)
    client.ends_well([HERE / "moving" / "compare.py", folder.as_uri(), served.url], tmp_path, COPY_TOKEN=served.token, **_OWN)
    # Again, with every history and file read again: nothing is copied.
    again = ends_well([*command, "--recheck", "--csv"], **told)
    assert {line.split(",")[1] for line in again.splitlines()[1:]} == {"0"}
