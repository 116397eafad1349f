"""What MLflow's own client has written to a folder, and what it reads here after it was moved in: the same, field by field."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.wire.test_mlflow_clients import Served, python, served  # noqa: F401

_ENDS_WITHIN = 600.0


def _ends_well(command: list[str], **variables: str) -> str:
    dropped = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PLIMSOLL_", "MLFLOW_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet", **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_ENDS_WITHIN)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def test_what_a_client_wrote_to_a_folder_reads_the_same_here(python: Path, served: Served, tmp_path: Path) -> None:  # noqa: F811
    here, folder = Path(__file__).parent / "moving", tmp_path / "mlruns"
    _ends_well([str(python), str(here / "fill.py"), folder.as_uri(), python.parents[1].name])
    told = {"PYTHONPATH": str(Path(__file__).parents[2]), "PLIMSOLL_URL": served.url, "PLIMSOLL_TOKEN": served.token}
    command = [sys.executable, "-m", "plimsoll.cli.app", "import", "mlflow", str(folder)]
    _ends_well(command, **told)
    _ends_well([str(python), str(here / "compare.py"), folder.as_uri(), served.url], COPY_TOKEN=served.token)
    # Again, with every history and file read again: nothing is copied.
    again = _ends_well([*command, "--recheck", "--csv"], **told)
    assert {line.split(",")[1] for line in again.splitlines()[1:]} == {"0"}
