"""A server for MLflow's own clients, as they come from PyPI, and the environments that these stand in: 2.22 and the newest 3.

Each client has an environment of its own beside this one; ``make test`` makes them. Without an environment its tests are
skipped by name; with ``CI=true`` they fail instead.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_STARTS_WITHIN = 60.0
_ENDS_WITHIN = 900.0


@dataclass(frozen=True)
class Served:
    """A running server."""

    #: Its address.
    url: str
    #: A token of the home's owner.
    token: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """``plimsoll up`` in an empty project."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "pyproject.toml").write_text("[tool.plimsoll]\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLIMSOLL_")}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "PLIMSOLL_WEBHOOK_HOSTS": "127.0.0.1"}
    command = [sys.executable, "-m", "plimsoll.cli.app", "up", "--port", "0", "--serving-port", "0", "--parent", str(os.getpid())]
    log = folder / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], _STARTS_WITHIN)
            url = process.stdout.readline().decode().strip() if ready else ""
            assert url.startswith("http://"), log.read_text()
            yield Served(url, (folder / ".plimsoll" / "secrets" / "owner").read_text().strip())
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(params=["2", "3"])
def python(request: pytest.FixtureRequest) -> Path:
    """The Python of an environment with MLflow's client of one generation."""
    path = Path(sys.prefix) / f"wire-{request.param}" / "bin" / "python"
    if not path.exists():
        reason = f"MLflow's client {request.param} needs the environment {path.parents[1]}, which is not there. Make it with: make test"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def ends_well(command: Sequence[str | Path], folder: Path | None = None, **variables: str) -> str:
    """Run a program to its good end and return what it printed.

    Args:
        command: its words.
        folder: where it runs; None is here.
        variables: of its environment, beside those that are no setting of Plimsoll's, of MLflow's or of this Python's.
    """
    # Bytecode is kept, unlike in other tests: an environment was installed without any, and is imported a dozen times.
    dropped = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PLIMSOLL_", "MLFLOW_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment = {**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_ENDS_WITHIN)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def work(client: str, python: Path, served: Served, tmp_path: Path, **variables: str) -> None:
    """Run a program of ``clients/`` to its good end.

    Args:
        client: its name.
        python: of the client's environment.
        served: where it works.
        tmp_path: an empty folder, where it runs.
        variables: of its environment, beside those that every client needs.
    """
    own = {
        "MLFLOW_TRACKING_URI": served.url,
        "MLFLOW_TRACKING_TOKEN": served.token,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MPLBACKEND": "agg",
        "HOME": str(tmp_path),
    }
    ends_well([python, Path(__file__).parent / "clients" / f"{client}.py"], tmp_path, **own, **variables)
