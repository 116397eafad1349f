"""What MLflow's own client has written to a folder, and what it reads here after it was moved in: the same, field by field."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.wire.conftest import Served, ends_well

#: MLflow's client reads and writes folders of its own only when it is told that this is meant.
_OWN = {"MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet"}


def test_what_a_client_wrote_to_a_folder_reads_the_same_here(python: Path, served: Served, tmp_path: Path) -> None:
    here, folder = Path(__file__).parent / "moving", tmp_path / "mlruns"
    ends_well([str(python), str(here / "fill.py"), folder.as_uri(), python.parents[1].name], **_OWN)
    told = {"PYTHONPATH": str(Path(__file__).parents[2]), "PLIMSOLL_URL": served.url, "PLIMSOLL_TOKEN": served.token}
    command = [sys.executable, "-m", "plimsoll.cli.app", "import", "mlflow", str(folder)]
    ends_well(command, **told)
    ends_well([str(python), str(here / "compare.py"), folder.as_uri(), served.url], COPY_TOKEN=served.token, **_OWN)
    # Again, with every history and file read again: nothing is copied.
    again = ends_well([*command, "--recheck", "--csv"], **told)
    assert {line.split(",")[1] for line in again.splitlines()[1:]} == {"0"}
